package ask

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"unicode"

	"github.com/waylume/waylume/wgnode/httpapi/client"
	"github.com/waylume/waylume/wgnode/httpapi/problem"
	api "github.com/waylume/waylume/wgnode/httpapi/v1"
)

// draining is the problem of a node that takes no new peers (see package httpapi).
const draining problem.Type = "/problems/draining"

// Explain says what to do about an error of a request that needs a scope, to the API at a URL. A nil error stays one.
func Explain(err error, url, scope string) error {
	if err == nil {
		return nil
	}
	advice := ""
	var refusal *client.Error
	errors.As(err, &refusal)
	switch {
	case errors.Is(err, fs.ErrNotExist) && errors.Is(err, client.ErrUnreachable):
		advice = "There is no socket: does the daemon run, and with this state? Say where its API is with --api or WAYLUME_API"
	case errors.Is(err, client.ErrUnreachable):
		advice = "Nobody answers at " + url + ": does the daemon run? Say where its API is with --api or WAYLUME_API"
	case errors.Is(err, fs.ErrPermission) && strings.HasPrefix(url, "unix:"):
		advice = "This user may not use that socket: be root or the daemon's own user, or ask elsewhere with --api and --token-file"
	case errors.Is(err, client.ErrUnauthenticated):
		advice = "Give a token that the daemon knows with --token-file, or a certificate with --cert-file and --key-file"
	case errors.Is(err, client.ErrForbidden):
		advice = "Whoever asks needs the scope " + scope + ": use a token that has it with --token-file"
	case errors.Is(err, client.ErrRateLimited) && refusal.RetryAfter > 0:
		advice = fmt.Sprintf("Try again in %v", refusal.RetryAfter)
	case refusal != nil && refusal.Problem.Type == draining:
		advice = "'waylumed undrain' has the node take new peers again"
	case errors.As(err, new(*tls.CertificateVerificationError)):
		advice = "Name the certificate of the authority that the daemon's is of with --ca-file"
	case errors.As(err, new(tls.RecordHeaderError)):
		advice = "Nobody there speaks TLS: is it http:// that is meant?"
	}
	text := err.Error()
	if refusal != nil && len(refusal.Problem.Faults) > 0 {
		text = refusal.Op + ": the node refuses it"
		for _, f := range refusal.Problem.Faults {
			text += "\n  " + strings.TrimPrefix(f.Location, "body.") + ": " + f.Message
		}
	}
	if advice != "" {
		text += "\n" + advice
	}
	return &explainedError{err, Clean(text)}
}

// explainedError is an error with advice, in words that a terminal can be shown.
type explainedError struct {
	error
	text string
}

func (e *explainedError) Error() string { return e.text }

func (e *explainedError) Unwrap() error { return e.error }

// Clean keeps what a server says from doing anything to a terminal, but for new lines.
func Clean(text string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, text)
}

// AccountInUse says what to do about an account that was not removed because it has peers.
func AccountInUse(err error, account api.Account) error {
	if errors.Is(err, client.ErrConflict) && account.Peers > 0 {
		return fmt.Errorf("%w\n--peers removes those that it has with it: %d", err, account.Peers)
	}
	return err
}
