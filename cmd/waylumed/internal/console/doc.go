// Package console knows what the writer of a command is: a terminal that shows colours and can redraw a line, or a file or a
// pipe that gets plain lines. It starts nothing but what Status is asked to draw, and reads no environment: what matters of
// it is given to New.
package console
