package sysctl

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// DefaultRoot is where the kernel shows its parameters.
const DefaultRoot = "/proc/sys"

// Setting is one parameter and a value.
type Setting struct {
	// Name is dotted, as sysctl(8) takes it; a dot in an interface's name is written as a slash
	// ("net.ipv6.conf.eth0/100.accept_ra").
	Name  string
	Value string
}

// Saved is a parameter that was set, and what to put back. One whose value was right already is among them if putting back
// another would change it.
type Saved struct {
	Setting
	// Before is the value that was there.
	Before string
}

// Tree is a tree of parameters.
type Tree struct{ root string }

// New returns the tree below a directory; empty for [DefaultRoot].
func New(root string) Tree {
	if root == "" {
		root = DefaultRoot
	}
	return Tree{root}
}

// Get reads one parameter. One that the kernel does not have gives an error that matches fs.ErrNotExist.
func (t Tree) Get(name string) (string, error) {
	b, err := os.ReadFile(t.path(name))
	if err != nil {
		return "", fmt.Errorf("sysctl: read %s: %w", name, bare(err))
	}
	return strings.TrimSpace(string(b)), nil
}

// Plan returns what [Tree.Set] would, and writes nothing: so that what was before can be noted where a process that is killed after
// it set something has left it.
func (t Tree) Plan(settings []Setting) ([]Saved, error) {
	var saved []Saved
	for _, s := range settings {
		before, err := t.Get(s.Name)
		if err != nil {
			return nil, err
		}
		if before == s.Value {
			continue
		}
		along, err := t.along(Saved{s, before})
		if err != nil {
			return nil, err
		}
		saved = append(append(saved, along...), Saved{s, before})
	}
	return saved, nil
}

// Set writes the parameters whose value differs, in order, and returns what to give to [Tree.Restore]: nothing for those that
// were right already, which may then be on a read-only file system. After an error everything is as it was.
func (t Tree) Set(settings []Setting) ([]Saved, error) {
	var saved []Saved
	for _, s := range settings {
		before, err := t.Get(s.Name)
		if err == nil && before == s.Value {
			continue
		}
		var along []Saved
		if err == nil {
			along, err = t.along(Saved{s, before})
		}
		if err == nil {
			err = t.write(s)
		}
		if err != nil {
			return nil, errors.Join(err, t.Restore(saved))
		}
		saved = append(append(saved, along...), Saved{s, before})
	}
	return saved, nil
}

// Restore puts back what [Tree.Set] found, in whatever order it is given, where the value is still the one that was set: what
// someone has changed since stays. Parameters that are gone, as those of an interface go with it, are left out. It goes on
// after an error.
func (t Tree) Restore(saved []Saved) error {
	var errs []error
	targets := make([]Setting, 0, len(saved))
	for _, s := range saved {
		now, err := t.Get(s.Name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			errs = append(errs, err)
		case now == s.Value:
			targets = append(targets, Setting{s.Name, s.Before})
		default: // stays, even if the kernel is about to change it along with another
			targets = append(targets, Setting{s.Name, now})
		}
	}
	// What changes others comes first. IPv6 stops forwarding before interfaces stop to listen to advertisements in spite of it.
	slices.SortStableFunc(targets, func(a, b Setting) int {
		return cmp.Compare(len(changedAlong(a.Name)), len(changedAlong(b.Name)))
	})
	for _, s := range slices.Backward(targets) {
		now, err := t.Get(s.Name)
		if err == nil && now != s.Value {
			err = t.write(s)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (t Tree) write(s Setting) error {
	f, err := os.OpenFile(t.path(s.Name), os.O_WRONLY|os.O_TRUNC, 0)
	if err == nil {
		_, err = f.WriteString(s.Value)
		err = errors.Join(bare(err), f.Close())
	}
	switch err = bare(err); {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return fmt.Errorf("sysctl: set %s to %s: %w: set it on the host (sysctl -w %s=%s) or for the container "+
			"(docker run --sysctl %s=%s), or run as root with a /proc/sys that can be written",
			s.Name, s.Value, err, s.Name, s.Value, s.Name, s.Value)
	}
	return fmt.Errorf("sysctl: set %s to %s: %w", s.Name, s.Value, err)
}

// path is where a parameter is: each dot of its name is a slash, and each slash a dot.
func (t Tree) path(name string) string {
	return filepath.Join(t.root, strings.Map(func(r rune) rune {
		switch r {
		case '.':
			return '/'
		case '/':
			return '.'
		}
		return r
	}, name))
}

// bare takes the operation and the path from an error: ours says them better.
func bare(err error) error {
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		return path.Err
	}
	return err
}
