//go:build !linux

package privilege

// Drop does nothing.
func Drop(Need) (Left, error) { return Left{Unsupported: true}, nil }
