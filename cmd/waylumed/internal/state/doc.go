// Package state knows where a node's state is, makes backups of it, whether the node runs or not, and puts what was found in
// a file into words for a person.
package state
