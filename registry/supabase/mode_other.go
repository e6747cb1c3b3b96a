//go:build !unix

package supabase

import "io/fs"

// private asks nothing: the mode of a file does not say who may use it.
func private(string, fs.FileMode) error { return nil }
