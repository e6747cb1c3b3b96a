package guard

import (
	"log/slog"
	"net/http"
	"time"

	"github.com/waylume/waylume/wgnode/httpapi/auth"
)

// ServerConfig bounds what a connection may cost. Zero values are the defaults.
type ServerConfig struct {
	HeaderTimeout  time.Duration // to read the headers of a request. 0: 5 s
	ReadTimeout    time.Duration // to read a request whole. 0: 30 s
	WriteTimeout   time.Duration // from the end of the headers to the end of the answer. 0: 60 s
	IdleTimeout    time.Duration // between two requests. 0: 2 min
	MaxHeaderBytes int           // of all headers. 0: 32 KiB; net/http allows 4 KiB more
	MaxStreams     int           // requests at a time of an HTTP/2 connection. 0: 100
	// Logger is told what net/http complains of. nil: nobody is.
	Logger *slog.Logger
}

// NewServer returns a server with bounds on what a connection may cost, that knows who is at the other end of a unix socket
// ([auth.ConnContext]). A handler that answers for longer than WriteTimeout, as a stream of events does, sets its own with
// [http.ResponseController].
func NewServer(handler http.Handler, cfg ServerConfig) *http.Server {
	logger := cfg.Logger
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: or(cfg.HeaderTimeout, 5*time.Second),
		ReadTimeout:       or(cfg.ReadTimeout, 30*time.Second),
		WriteTimeout:      or(cfg.WriteTimeout, time.Minute),
		IdleTimeout:       or(cfg.IdleTimeout, 2*time.Minute),
		MaxHeaderBytes:    or(cfg.MaxHeaderBytes, 32<<10),
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: or(cfg.MaxStreams, 100)},
		ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelDebug), // anybody can make it complain
		ConnContext:       auth.ConnContext,
	}
}

func or[T comparable](value, otherwise T) T {
	var zero T
	if value == zero {
		return otherwise
	}
	return value
}
