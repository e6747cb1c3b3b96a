package config

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

const (
	envPrefix = "WAYLUME_"
	// FileEnv names the file in the environment.
	FileEnv = envPrefix + "CONFIG"
	dotenv  = ".env"
)

// Environment makes a map of what [os.Environ] returns.
func Environment(environ []string) map[string]string {
	env := make(map[string]string)
	for _, pair := range environ {
		if name, text, ok := strings.Cut(pair, "="); ok {
			env[name] = text
		}
	}
	return env
}

// readEnv reads variables; an empty one is as none, since whoever composes an environment often cannot leave one out.
func (r *reader) readEnv(env map[string]string, source Source, file, base string) (secrets bool) {
	byEnv := make(map[string]*Setting)
	for i := range r.table {
		s := &r.table[i]
		byEnv[s.Env] = s
		if s.Secret {
			byEnv[s.FileEnv()] = s
		}
	}
	for _, name := range slices.Sorted(maps.Keys(env)) {
		text := env[name]
		at := Origin{Source: source, Where: name}
		if file != "" {
			at.Where = name + " in " + file
		}
		s := byEnv[name]
		switch {
		case !strings.HasPrefix(name, envPrefix) || strings.HasPrefix(name, "WAYLUME_TEST_") || strings.HasPrefix(name,
			"WAYLUME_CRASHTEST_"):
		case name == FileEnv && source == FromEnvironment:
		case name == FileEnv:
			r.add("", at, "names the file, and is read with it: set it in the environment, or use --config")
		case s == nil: // Kubernetes sets WAYLUME_PORT for a service of that name
			r.warn("", at, "is no setting%s, and does nothing", nearest(name, slices.Sorted(maps.Keys(byEnv))))
		case text == "":
		default:
			asFile := s.Secret && name == s.FileEnv()
			secrets = secrets || s.Secret && !asFile
			r.giveText(s, []string{text}, asFile, at, base)
		}
	}
	return secrets
}

// giveText notes words of the environment or of a command line.
func (r *reader) giveText(s *Setting, texts []string, asFile bool, at Origin, base string) {
	g := given{origin: at, asFile: asFile}
	switch {
	case asFile || !s.List:
		g.value.items = texts
	case s.kind == structured:
		tree, ok := r.keysIn([]byte(texts[len(texts)-1]), s.Key, at)
		if !ok {
			r.bad[s.Key] = true
			return
		}
		g.value.tree = tree
	default:
		g.value.items = split(strings.Join(texts, ","))
	}
	r.give(s, g, base)
}

// keysIn reads keys in YAML that is not part of a file of settings.
func (r *reader) keysIn(data []byte, key string, at Origin) ([]keyText, bool) {
	var document yaml.Node
	if err := yaml.Unmarshal(data, &document); err != nil { // the error may quote a secret
		r.add(key, at, "is no list of keys in YAML: give such as [{kid: a, alg: HS256, file: a.secret, scopes: [peers:read]}]")
		return nil, false
	}
	if document.Kind == 0 {
		return nil, true
	}
	before := len(r.problems)
	tree := r.readKeys(document.Content[0], key, at)
	return tree, len(r.problems) == before
}

// readDotenv reads the file .env in dir or, without one, beside the file of settings.
func (r *reader) readDotenv(dir, fileDir string) {
	for _, base := range slices.Compact([]string{dir, fileDir}) {
		path := filepath.Join(base, dotenv)
		at := Origin{Source: FromDotenv, Where: path}
		if base == "" {
			continue
		}
		info, err := os.Stat(path)
		if errors.Is(err, fs.ErrNotExist) || err == nil && info.IsDir() {
			continue
		}
		data, err := readFile(path)
		if err != nil {
			r.add("", at, "%v", err)
			return
		}
		env, err := parseDotenv(string(data))
		if err != nil {
			r.add("", at, "%v", err)
			return
		}
		if r.readEnv(env, FromDotenv, path, base) {
			if err := private(path, info.Mode()); err != nil {
				r.add("", at, "has a secret, and %v", err)
			}
		}
		return
	}
}
