package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/waylume/waylume/cmd/waylumed/internal/state"
)

// Options say where to look.
type Options struct {
	// File is the file of settings. Empty: what Flags say, or else the environment's WAYLUME_CONFIG, or else DefaultFile if it is
	// there.
	File, DefaultFile string
	// Environ is the environment, as [os.Environ] has it.
	Environ []string
	// Dir is the working directory, where .env may be and from which relative paths of the environment and of flags count.
	// Empty: no .env is read there, and such paths stay as they are.
	Dir string
	// Flags are what [Register] returned, after they were parsed; nil: none.
	Flags *Flags
	// Alone reads the file and nothing else; of the environment, where state is by default.
	Alone bool
	// Now is the time at which keys end; zero: it is now.
	Now time.Time
}

// Loaded is a configuration that is valid.
type Loaded struct {
	Config Config
	// File is the file that was read; empty: none.
	File string
	// Origins says of each setting, by its key, where it comes from.
	Origins map[string]Origin
	// Warnings are what is odd and no reason to stop.
	Warnings []Problem
}

// DefaultFile is where the file is unless a person says otherwise: in /etc for root, else where the XDG Base Directory
// Specification has it. It is empty when there is no home.
func DefaultFile(getenv func(string) string, root bool, home string) string {
	const name = "waylumed.yaml"
	switch {
	case root:
		return "/etc/waylume/" + name
	case filepath.IsAbs(getenv("XDG_CONFIG_HOME")):
		return filepath.Join(getenv("XDG_CONFIG_HOME"), "waylumed", name)
	case home != "":
		return filepath.Join(home, ".config", "waylumed", name)
	}
	return ""
}

// DefaultState is where state is kept for a process with this environment.
func DefaultState(environ []string) string {
	env := Environment(environ)
	return state.Dir(func(name string) string { return env[name] }, os.Geteuid() == 0, env["HOME"])
}

// Load reads all sources and checks the whole. The error is an [*Error] with everything that is wrong.
func Load(opts Options) (*Loaded, error) {
	env := Environment(opts.Environ)
	r := newReader(Settings(DefaultState(opts.Environ)))
	loaded := &Loaded{File: opts.File}
	if opts.Alone {
		opts.Flags, opts.DefaultFile, env = nil, "", nil
	}
	if loaded.File == "" && opts.Flags != nil {
		loaded.File = opts.Flags.File
	}
	if loaded.File == "" {
		loaded.File = env[FileEnv]
	}
	if _, err := os.Stat(opts.DefaultFile); loaded.File == "" && opts.DefaultFile != "" && !errors.Is(err, fs.ErrNotExist) {
		loaded.File = opts.DefaultFile
	}
	fileDir := ""
	if loaded.File != "" {
		loaded.File = resolved(loaded.File, opts.Dir)
		fileDir = filepath.Dir(loaded.File)
		data, mode, err := readWithMode(loaded.File, maxFile)
		if err != nil {
			r.add("", Origin{Where: loaded.File}, "%v", err)
		} else {
			r.readYAML(data, loaded.File, fileDir)
			r.guard(loaded.File, mode)
		}
	}
	if !opts.Alone {
		r.readDotenv(opts.Dir, fileDir)
		r.readEnv(env, FromEnvironment, "", opts.Dir)
		r.readFlags(opts.Flags, opts.Dir)
	}
	loaded.Config, loaded.Origins = r.resolve()
	r.check(&loaded.Config, loaded.Origins, opts.now())
	loaded.Warnings = r.warnings
	if len(r.problems) > 0 {
		return nil, &Error{r.problems}
	}
	return loaded, nil
}

func (o Options) now() time.Time {
	if o.Now.IsZero() {
		return time.Now()
	}
	return o.Now
}

// guard refuses a file that has a secret in it and that others may use.
func (r *reader) guard(path string, mode fs.FileMode) {
	err := private(path, mode)
	if err == nil {
		return
	}
	for _, s := range r.table {
		for _, g := range r.given[s.Key] {
			exposed := s.Secret && !g.asFile && s.kind != structured
			for _, key := range g.value.tree {
				exposed = exposed || key.value != "" && key.alg == HS256
			}
			if exposed {
				r.add(s.Key, g.origin, "is a secret in this file, and %v", err)
			}
		}
	}
}

// resolve puts together what the strongest source has for each setting. What a weaker one has must be valid, too.
func (r *reader) resolve() (Config, map[string]Origin) {
	var cfg Config
	origins := make(map[string]Origin)
	for _, s := range r.table {
		origins[s.Key] = Origin{Source: FromDefault}
		if s.Default != "" {
			v := value{items: []string{s.Default}}
			if s.List {
				v.items = split(s.Default)
			}
			for _, f := range s.bind.set(&cfg, v) {
				r.add(s.Key, Origin{Where: string(FromDefault)}, "%v", f.err)
			}
		}
		all := r.given[s.Key]
		for i, g := range all {
			target := new(Config)
			if i == len(all)-1 {
				target = &cfg
				g = r.opened(&s, g)
				origins[s.Key] = g.origin
			}
			if g.asFile {
				continue // that of another source is read, or this one cannot be
			}
			for _, f := range s.bind.set(target, g.value) {
				r.bad[s.Key] = true
				r.add(s.Key+f.part, g.origin.at(f.line), "%v", f.err)
			}
		}
		if len(all) == 0 && s.after != nil && !r.bad[s.Key] {
			s.after(&cfg)
		}
	}
	return cfg, origins
}

// opened is what the file has that a secret is in. The origin keeps its name.
func (r *reader) opened(s *Setting, g given) given {
	if !g.asFile {
		return g
	}
	path := g.value.items[0]
	g.origin.SecretFile = path
	text, err := secretIn(path)
	if err != nil {
		r.bad[s.Key] = true
		r.add(s.FileKey(), g.origin, "%v", err)
		return g
	}
	g.asFile = false
	if s.kind != structured {
		g.value.items = []string{text}
		return g
	}
	at := g.origin
	at.Where, at.file = path, path
	before := len(r.problems)
	g.value = value{tree: nil}
	g.value.tree, _ = r.keysIn([]byte(text), s.Key, at)
	for i := range g.value.tree {
		g.value.tree[i].file = resolved(g.value.tree[i].file, filepath.Dir(path))
		g.value.tree[i].line = 0
		g.value.tree[i].lines = nil
	}
	if len(r.problems) > before {
		r.bad[s.Key], g.asFile = true, true
	}
	return g
}

// String is for a line in a log or on a terminal.
func (l *Loaded) String() string {
	if l.File == "" {
		return "no file of settings"
	}
	return fmt.Sprintf("settings of %s", l.File)
}
