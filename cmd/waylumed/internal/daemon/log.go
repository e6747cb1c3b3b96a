package daemon

import (
	"io"
	"log/slog"

	"github.com/waylume/waylume/cmd/waylumed/internal/config"
	"github.com/waylume/waylume/wgnode/redact"
)

// NewLog returns a log as the configuration says, whose level and redaction can be changed while the daemon runs.
func NewLog(w io.Writer, cfg config.Log) (Log, error) {
	var level slog.LevelVar
	var inner slog.Handler = slog.NewTextHandler(w, &slog.HandlerOptions{Level: &level})
	if cfg.Format == config.JSON {
		inner = slog.NewJSONHandler(w, &slog.HandlerOptions{Level: &level})
	}
	redactor := redact.New(redact.Strict, redact.Options{Harmless: harmless(), Verbatim: []string{servedAt}})
	set := func(cfg config.Log) error {
		mode, err := redact.ParseMode(cfg.Redaction)
		if err != nil {
			return err
		}
		level.Set(cfg.Level)
		redactor.SetMode(mode)
		return nil
	}
	if err := set(cfg); err != nil {
		return Log{}, err
	}
	return Log{Logger: slog.New(redactor.Handler(inner)), Reload: set, Addr: redactor.Addr}, nil
}

// servedAt is the key of an address that the configuration or a supervisor names: the node's own, and nobody else's.
const servedAt = "served_at"

// harmless are keys whose text is this program's, its operator's or nobody's: without it a log would not say what was done.
func harmless() []string {
	return []string{"left", "setting", "old", "new", "why", "why_not_kernel", "advice", "kid", "request", "request_id"}
}
