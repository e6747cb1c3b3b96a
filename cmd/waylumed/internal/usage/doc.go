// Package usage reads what peers and accounts have used from the usage log of a node, and shows it to a person or a program.
package usage
