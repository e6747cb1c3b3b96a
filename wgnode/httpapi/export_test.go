package httpapi

// For tests.
var (
	Merge      = merge
	UsageAfter = usageAfter
	After      = after
	Cursor     = cursor
	SnakeCase  = snakeCase
)

// Cursor is that of a place.
func (p place) Cursor() string { return p.cursor() }
