// Package setup makes a first configuration of waylumed for a person: it asks a few questions, or takes the answers as they are
// given, makes a key for the API, and writes a commented file that is known to be valid before it has its name.
//
// Files are written whole and on the disk, with mode 0600, or not at all. It needs no privilege but to write where it is told.
package setup
