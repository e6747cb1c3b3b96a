package hostload

import (
	"io/fs"
	"os"
)

func systemRoot() fs.FS { return os.DirFS("/") }
