package console

import (
	"io"
	"os"

	"golang.org/x/term"
)

// Console is a writer and what it can show.
type Console struct {
	io.Writer
	// Terminal reports that a person may be watching, and that a line can be drawn again.
	Terminal bool
	// Colour reports that colours are wanted.
	Colour bool
	// Width is that of a terminal, in columns; 0 for anything else.
	Width int
}

// New looks at a writer. Colours are for terminals, unless NO_COLOR is set (no-color.org) or TERM is "dumb"; getenv reads
// the environment, and may be nil.
func New(w io.Writer, getenv func(string) string) Console {
	c := Console{Writer: w}
	file, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return c
	}
	c.Terminal, c.Colour = true, true
	if getenv != nil {
		dumb := getenv("TERM") == "dumb"
		c.Terminal = !dumb
		c.Colour = !dumb && getenv("NO_COLOR") == ""
	}
	if width, _, err := term.GetSize(int(file.Fd())); err == nil {
		c.Width = width
	}
	return c
}

// Style is how a text stands out.
type Style string

// Styles as the terminal's own palette has them (ECMA-48, SGR), so that they fit a light and a dark one.
const (
	Bold  Style = "1"
	Faint Style = "2"
	Red   Style = "31"
	Green Style = "32"
)

// Paint puts a text in a style, where colours are wanted.
func (c Console) Paint(s Style, text string) string {
	if !c.Colour || text == "" {
		return text
	}
	return "\x1b[" + string(s) + "m" + text + "\x1b[0m"
}

// Mark is a check mark or a cross.
func (c Console) Mark(ok bool) string {
	if ok {
		return c.Paint(Green, "✓")
	}
	return c.Paint(Red, "✗")
}
