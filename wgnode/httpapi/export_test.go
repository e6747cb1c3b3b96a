package httpapi

// For tests.
var (
	Merge      = merge
	UsageAfter = usageAfter
	After      = after
	Cursor     = cursor
	SnakeCase  = snakeCase
)
