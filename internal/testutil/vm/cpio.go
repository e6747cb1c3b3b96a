package vm

import (
	"fmt"
	"io"
)

// Kinds and permissions of a file, as cpio has them.
const (
	modeDir  = 0o040755
	modeFile = 0o100755
)

// cpioWriter writes an archive in the format "newc" of initial RAM disks (Documentation/driver-api/early-userspace/
// buffer-format.rst in the kernel's sources). The first error stays.
type cpioWriter struct {
	w     io.Writer
	inode int
	err   error
}

// add writes a file or a directory, which has no content.
func (c *cpioWriter) add(name string, mode int, content []byte) {
	c.inode++
	const magic = "070701"
	header := fmt.Appendf(nil, "%s%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s\x00",
		magic, c.inode, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name)+1, 0, name)
	c.write(pad(header))
	c.write(content)
	c.write(make([]byte, -len(content)&3))
}

// close ends the archive.
func (c *cpioWriter) close() error {
	c.inode = -1 // so that the trailer's is 0
	c.add("TRAILER!!!", 0, nil)
	return c.err
}

func (c *cpioWriter) write(b []byte) {
	if c.err == nil {
		_, c.err = c.w.Write(b)
	}
}

// pad adds zeros up to a multiple of four bytes.
func pad(b []byte) []byte { return append(b, make([]byte, -len(b)&3)...) }
