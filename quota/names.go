package quota

import (
	"fmt"
	"slices"
	"strings"
)

// names gives the constants of an integer type their texts. An empty text is no constant.
type names[T ~int | ~int8] struct {
	what string
	list []string
}

func (n names[T]) valid(v T) bool { return v >= 0 && int(v) < len(n.list) && n.list[v] != "" }

func (n names[T]) text(v T) string {
	if n.valid(v) {
		return n.list[v]
	}
	return fmt.Sprintf("%s-%d", n.what, int(v))
}

func (n names[T]) marshal(v T) ([]byte, error) {
	if !n.valid(v) {
		return nil, fmt.Errorf("quota: %s %d is unknown", n.what, int(v))
	}
	return []byte(n.list[v]), nil
}

func (n names[T]) unmarshal(v *T, text []byte) error {
	i := slices.Index(n.list, string(text))
	if i < 0 || len(text) == 0 {
		return fmt.Errorf("quota: %s %q is unknown: write %s", n.what, clip(string(text)), n.choices())
	}
	*v = T(i)
	return nil
}

func (n names[T]) choices() string {
	known := slices.DeleteFunc(slices.Clone(n.list), func(s string) bool { return s == "" })
	return strings.Join(known, ", ")
}
