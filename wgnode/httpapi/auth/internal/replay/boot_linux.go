package replay

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// BootID names the boot of the system: another after every boot (random(4)). Empty: nothing does.
func BootID() (string, error) {
	data, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("the boot's id: %w", err)
	}
	return strings.TrimSpace(string(data)), nil
}
