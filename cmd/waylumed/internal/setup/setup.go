package setup

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/waylume/waylume/cmd/waylumed/internal/config"
	"github.com/waylume/waylume/internal/durable"
	"github.com/waylume/waylume/wgnode/httpapi/auth"
)

// Options say what to make.
type Options struct {
	// File is what is written; absolute.
	File string
	// Force writes it in place of one that is there. A key that is there is kept.
	Force bool
	// Answers are those that are given. Ask asks for the others; without it they are what is best by default.
	Answers Answers
	Ask     bool
	// In has the answers of a person, Out is where they are asked.
	In  io.Reader
	Out io.Writer
	// Environ says where state is kept by default, Dir is what relative paths in answers count from.
	Environ []string
	Dir     string
	Now     time.Time
}

// Result is what was made.
type Result struct {
	File   string
	Loaded *config.Loaded
	// KeyFile is the secret that clients sign with, KID what it is called; empty: none. KeyKept says that it was there.
	KeyFile, KID string
	KeyKept      bool
}

// Run asks, and writes.
func Run(ctx context.Context, opts Options) (Result, error) {
	if _, err := os.Lstat(opts.File); err == nil && !opts.Force {
		return Result{}, exists(opts.File)
	}
	ask := byDefault
	if opts.Ask {
		ctx, stop := context.WithCancel(ctx)
		defer stop()
		ask = asker{opts.Out, lines(ctx, opts.In), ctx}.ask
	}
	a := opts.Answers
	if err := a.decide(opts.Now, ask); err != nil {
		return Result{}, err
	}
	if err := a.check(); err != nil {
		return Result{}, err
	}
	a.CertFile, a.KeyFile = absolute(opts.Dir, a.CertFile), absolute(opts.Dir, a.KeyFile)
	return write(opts, &a)
}

// absolute is a path seen from dir.
func absolute(dir, path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}

func exists(file string) error {
	return fmt.Errorf("%s is there already: name another file with --output, or say --force to replace it", file)
}

// check looks at answers that were given and not asked for.
func (a *Answers) check() error {
	var errs []error
	for _, given := range []struct {
		name, text string
		check      func(string) error
	}{
		{"purpose", a.Purpose, oneOf(Local, Remote)}, {"endpoint", a.Endpoint, valid("node.endpoint")},
		{"listen-port", a.ListenPort, valid("node.listen_port")}, {"dataplane", a.Dataplane, valid("node.dataplane")},
		{"listen", a.Listen, listen}, {"kid", a.KID, kid},
	} {
		if given.name == "kid" && a.Key != Yes {
			continue
		}
		if err := given.check(given.text); err != nil {
			errs = append(errs, fmt.Errorf("--%s: %w", given.name, err))
		}
	}
	return errors.Join(errs...)
}

// chosen are the settings that answers come to.
func (a *Answers) chosen(dir, stateDir, keyFile string) map[string]any {
	chosen := map[string]any{"node.listen_port": a.ListenPort, "node.dataplane": a.Dataplane}
	if a.Endpoint != "" {
		chosen["node.endpoint"] = a.Endpoint
	}
	if a.Listen != Unix {
		chosen["api.listen"] = a.addresses(dir, "unix:"+filepath.Join(stateDir, "api.sock"))
	}
	if a.CertFile != "" {
		chosen["api.tls.cert_file"] = a.CertFile
	}
	if a.KeyFile != "" {
		chosen["api.tls.key_file"] = a.KeyFile
	}
	if a.Key == Yes {
		chosen["api.auth.keys"] = []map[string]any{{
			"kid": a.KID, "alg": config.HS256, "file": keyFile, "scopes": []string{string(auth.PeersRead), string(auth.PeersWrite)},
		}}
	}
	if a.Production == Yes {
		chosen["profile"] = config.Production
		chosen["log.redaction"] = config.Strict
	}
	return chosen
}

// write makes the key and the file, and takes back what it made if the whole is not valid.
func write(opts Options, a *Answers) (result Result, err error) {
	dir := filepath.Dir(opts.File)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return Result{}, err
	}
	result.File = opts.File
	if a.Key == Yes {
		result.KID, result.KeyFile = a.KID, filepath.Join(dir, a.KID+".secret")
		secret := make([]byte, 32)
		if _, err := rand.Read(secret); err != nil {
			return Result{}, err
		}
		made := publish(result.KeyFile, []byte(base64.RawURLEncoding.EncodeToString(secret)+"\n"), durable.Link, nil)
		result.KeyKept = errors.Is(made, fs.ErrExist)
		if made != nil && !result.KeyKept {
			return Result{}, made
		}
		defer func() {
			if err != nil && !result.KeyKept {
				err = errors.Join(err, os.Remove(result.KeyFile))
			}
		}()
	}
	var text strings.Builder
	if err := config.Template(&text, a.chosen(opts.Dir, config.DefaultState(opts.Environ), result.KeyFile)); err != nil {
		return Result{}, err
	}
	name := durable.Link
	if opts.Force {
		name = os.Rename
	}
	err = publish(opts.File, []byte(text.String()), name, func(path string) error {
		loaded, err := config.Load(config.Options{File: path, Alone: true, Environ: opts.Environ, Now: opts.Now})
		if invalid, ok := errors.AsType[*config.Error](err); ok {
			for i := range invalid.Problems {
				invalid.Problems[i].Where = "" // in a file that is not there
			}
			return fmt.Errorf("nothing was written: %w", err)
		}
		result.Loaded = loaded
		return err
	})
	if errors.Is(err, fs.ErrExist) {
		err = exists(opts.File)
	}
	if err != nil {
		return result, err
	}
	result.Loaded.File = opts.File
	return result, nil
}

// publish puts a whole file on the disk, has check look at it, has name give it its name, and puts that on the disk.
func publish(path string, data []byte, name func(from, to string) error, check func(path string) error) (err error) {
	if err := durable.Sweep(path); err != nil { // no secret lies about longer than it must
		return err
	}
	file, err := os.CreateTemp(filepath.Dir(path), durable.Prefix(path)+"*")
	if err != nil {
		return err
	}
	defer func() {
		if left := os.Remove(file.Name()); !errors.Is(left, fs.ErrNotExist) {
			err = errors.Join(err, left)
		}
	}()
	_, err = file.Write(data)
	if err := errors.Join(err, file.Chmod(0o600), file.Sync(), file.Close()); err != nil {
		return err
	}
	if check != nil {
		if err := check(file.Name()); err != nil {
			return err
		}
	}
	if err := name(file.Name(), path); err != nil {
		return err
	}
	return durable.SyncDir(filepath.Dir(path))
}

// Show says what was made and what to do next.
func (r Result) Show(w io.Writer) {
	fmt.Fprintf(w, "Wrote %s\n", r.File)
	switch {
	case r.KeyFile != "" && r.KeyKept:
		fmt.Fprintf(w, "The key %s in %s was there, and is kept.\n", r.KID, r.KeyFile)
	case r.KeyFile != "":
		fmt.Fprintf(w, "Wrote %s, the key %s: whoever has it can sign requests. Give it to the control plane over a safe way.\n",
			r.KeyFile, r.KID)
	}
	if cfg := r.Loaded.Config; r.KeyFile != "" {
		fmt.Fprintf(w, "Tokens name that key (kid %s) and this node (aud %s): docs/trust.md has how to sign.\n", r.KID,
			cmp.Or(cfg.API.Auth.Audience, cfg.Node.Name))
	}
	for _, p := range r.Loaded.Warnings {
		fmt.Fprintf(w, "warning: %s\n", p)
	}
	listen := make([]string, len(r.Loaded.Config.API.Listen))
	for i, a := range r.Loaded.Config.API.Listen {
		listen[i] = a.String()
	}
	fmt.Fprintf(w, "The API will listen at %s.\nNext:\n", strings.Join(listen, ", "))
	fmt.Fprintf(w, "  waylumed config check --file %s    after each change\n", r.File)
	fmt.Fprintf(w, "  waylumed run --config %s\n", r.File)
}
