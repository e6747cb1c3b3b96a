package wggo

import (
	"context"
	"fmt"
	"log/slog"

	"golang.zx2c4.com/wireguard/device"
)

// deviceLogger passes wireguard-go's words on.
func deviceLogger(log *slog.Logger) *device.Logger {
	if log == nil {
		return &device.Logger{Verbosef: device.DiscardLogf, Errorf: device.DiscardLogf}
	}
	verbose := device.DiscardLogf
	if log.Enabled(context.Background(), slog.LevelDebug) {
		verbose = func(format string, args ...any) { log.Debug(fmt.Sprintf(format, args...)) }
	}
	return &device.Logger{
		Verbosef: verbose,
		Errorf:   func(format string, args ...any) { log.Warn(fmt.Sprintf(format, args...)) },
	}
}
