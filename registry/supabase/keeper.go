package supabase

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
)

// keeper holds a credential as its file has it, and changes both. The methods of a nil keeper do nothing. They may be called from any
// goroutine.
type keeper struct {
	path  string
	write func(path string, data []byte) error

	changing sync.Mutex // one change at a time, with the file

	mu   sync.Mutex
	doc  document
	text []byte // the file, as it was read or written
}

// openKeeper reads a file.
func openKeeper(path string) (*keeper, error) {
	doc, text, err := readDocument(path)
	if err != nil {
		return nil, err
	}
	return &keeper{path: path, write: writeFile, doc: doc, text: text}, nil
}

// document returns what the file has. Whoever gets it changes nothing in it.
func (k *keeper) document() document {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.doc
}

func (k *keeper) hold(doc document, text []byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.doc, k.text = doc, text
}

// identity is who signs now.
func (k *keeper) identity() identity { return identify(k.document(), false) }

func identify(doc document, former bool) identity {
	key := doc.Current
	if former {
		key = doc.Former
	}
	return identity{server: doc.Server, audience: doc.Audience, key: key}
}

// change replaces the file by what a change makes of it. Where another process has written the file meanwhile, what it says is taken
// over, and the error matches [ErrChanged]. Else after an error the credential is what the file is: the one or the other.
func (k *keeper) change(change func(*document)) error {
	k.changing.Lock()
	defer k.changing.Unlock()
	if changed, err := k.reload(); err != nil {
		return err
	} else if changed {
		return fmt.Errorf("%s: %w: nothing was done", k.path, ErrChanged)
	}
	doc := k.document()
	change(&doc)
	text, err := doc.encode()
	if err != nil {
		return err
	}
	if err := k.write(k.path, text); err != nil {
		_, unread := k.reload()
		return errors.Join(err, unread)
	}
	k.hold(doc, text)
	return nil
}

// reload takes over what the file says, and reports whether that is something else. It is called with changing held.
func (k *keeper) reload() (changed bool, err error) {
	doc, text, err := readDocument(k.path)
	if err != nil {
		return false, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if bytes.Equal(text, k.text) {
		return false, nil
	}
	if doc.Current == nil || doc.Server != k.doc.Server || doc.Audience != k.doc.Audience {
		return false, fmt.Errorf("%s: %w: it is of another enrollment now: start anew with it", k.path, ErrChanged)
	}
	k.doc, k.text = doc, text
	return true, nil
}

// used says that a request which was signed so was answered: then the key before it is needed no more; and if it is that one which was
// taken, the later one is not known, and goes.
func (k *keeper) used(ctx context.Context, who identity, logger *slog.Logger) {
	if k == nil {
		return
	}
	doc := k.document()
	current := doc.Current.ID == who.key.ID
	if doc.Former == nil || !current && !who.fallback {
		return
	}
	err := k.change(func(d *document) {
		switch {
		case d.Former == nil:
		case d.Current.ID == who.key.ID:
			d.Former = nil
		case d.Former.ID == who.key.ID && who.fallback:
			d.Current, d.Former = d.Former, nil
		}
	})
	switch {
	case err != nil: // the next answer is another chance
		logger.WarnContext(ctx, "the credential's file was not written", "error", err)
	case current:
		logger.InfoContext(ctx, "the fleet has taken the new credential", "credential", who.key.ID)
	default:
		logger.WarnContext(ctx, "the fleet does not know the new credential: the former one is kept",
			"credential", who.key.ID, "refused", doc.Current.ID)
	}
}

// instead returns who else might sign, after the fleet has refused one: the credential that has taken its place meanwhile, here or in
// the file, or the one before it.
func (k *keeper) instead(ctx context.Context, who identity, logger *slog.Logger) (identity, bool) {
	if k == nil {
		return identity{}, false
	}
	k.changing.Lock()
	_, err := k.reload()
	k.changing.Unlock()
	if err != nil {
		logger.WarnContext(ctx, "the credential's file was not read again", "error", err)
	}
	doc := k.document()
	if doc.Current.ID != who.key.ID {
		return identify(doc, false), true
	}
	if doc.Former != nil {
		former := identify(doc, true)
		former.fallback = true
		return former, true
	}
	return identity{}, false
}
