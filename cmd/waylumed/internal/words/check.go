package words

import (
	"errors"
	"strings"

	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/kernel"
	"github.com/waylume/waylume/wgnode/userspace"
)

// Problem is what a configuration of the library is refused for.
type Problem struct {
	// Field is its name there, without an index: "Endpoint", "Pool.Prefixes"; empty if it is of none.
	Field string
	// Text says what is wrong, and begins without the field.
	Text string
}

// Node has a node check its configuration, of which the dataplane does not matter. It touches nothing.
func Node(cfg wgnode.Config) (problems []Problem) {
	dataplane, err := userspace.New(userspace.Config{})
	if err == nil {
		cfg.Dataplane = dataplane
		var n *wgnode.Node
		if n, err = wgnode.New(cfg); err == nil {
			err = n.Close()
		}
	}
	if err == nil {
		return nil
	}
	var invalid *wgnode.ValidationError
	if !errors.As(err, &invalid) {
		return []Problem{{Text: err.Error()}}
	}
	for _, problem := range invalid.Problems {
		field, _, _ := strings.Cut(problem.Field, "[")
		problems = append(problems, Problem{field, problem.Message})
	}
	return problems
}

// Kernel has the kernel dataplane check its configuration. It touches nothing. A system that has no such dataplane is no problem
// of the configuration.
func Kernel(cfg kernel.Config) (problems []Problem) {
	dataplane, err := kernel.New(cfg)
	if err == nil {
		err = dataplane.Close()
	}
	for _, problem := range leaves(err) {
		if errors.Is(problem, wgnode.ErrNotSupported) {
			continue
		}
		text := problem.Error()
		field, what, ok := strings.Cut(text, " is ")
		field, _, _ = strings.Cut(field, "[")
		if !ok || strings.Contains(field, " ") {
			field, what = "", text
		}
		problems = append(problems, Problem{field, what})
	}
	return problems
}

// leaves are the errors that joined ones are made of.
func leaves(err error) []error {
	if err == nil {
		return nil
	}
	var all []error
	for inner := err; inner != nil; inner = errors.Unwrap(inner) {
		if joined, ok := inner.(interface{ Unwrap() []error }); ok {
			for _, e := range joined.Unwrap() {
				all = append(all, leaves(e)...)
			}
			return all
		}
	}
	return []error{err}
}
