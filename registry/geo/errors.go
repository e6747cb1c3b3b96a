package geo

import "errors"

// Conditions that a caller may want to tell apart with [errors.Is].
var (
	// ErrNotDatabase: the file is none in MaxMind's format, or is damaged.
	ErrNotDatabase = errors.New("no whole database in MaxMind's format (.mmdb): fetch it again")
	// ErrForeign: the database is one of something else than places.
	ErrForeign = errors.New("the database does not say where addresses are: use one of cities or countries")
	// ErrTooLarge: the file is larger than MaxSize.
	ErrTooLarge = errors.New("too large for a database of places")
	// ErrFormer: the file has been replaced by one that cannot be used; the database that was there before gave the answer.
	ErrFormer = errors.New("the answer is that of the former database")
	// ErrClosed: the database was closed.
	ErrClosed = errors.New("the database is closed")
)
