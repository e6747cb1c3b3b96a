package config

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/waylume/waylume/cmd/waylumed/internal/words"
)

// samples are texts that are valid for a setting by itself.
func samples(s Setting) []string {
	values := map[string][]string{
		"node.name": {"a", "b c", "null", "#5: x"}, "node.endpoint": {"vpn.example.com", "192.0.2.1:443", "[2001:db8::1]:5"},
		"node.pool": {"10.1.0.0/16", "fd00::/64,10.2.0.0/24"}, "node.pool_excluded": {"none", "10.0.0.0/24"},
		"node.interface": {"wl0", "wl1"}, "node.uplink": {"eth0", "eth1"},
		"api.listen":        {"none", ":8443", "127.0.0.1:80,[::1]:80", "unix:/run/a.sock", "unix:/run/b c.sock,localhost:5"},
		"admin.listen":      {"none", "127.0.0.1:9586", "unix:/run/admin.sock"},
		"api.auth.audience": {"a", "https://b"}, "api.auth.bearer_token": {strings.Repeat("a", 32), strings.Repeat("b,", 16) + "c"},
		"tracing.headers": {"a=b", "authorization=Bearer x,c=d"},
		"fleet.token":     {strings.Repeat("A", 43), strings.Repeat("B", 42) + "A"}, "fleet.database": {"postgres://u:p@db/fleet", "host=db"},
		"fleet.pins": {"none", "sha256/" + strings.Repeat("A", 43) + "="}, "fleet.city": {"none", "Frankfurt", "S\u00e3o Paulo"},
		"fleet.pool": {"default", "eu"},
		"api.auth.keys": {
			"[]", "[{kid: a, alg: HS256, file: /a.secret, scopes: [peers:read]}]",
			`[{"kid": "b: #", "alg": "EdDSA", "file": "/b", "scopes": ["node:admin", "peers:write"], "not_after": "2027-06-30T00:00:00Z"},
			  {"kid": "c", "alg": "ES256", "file": "/c", "scopes": ["node:admin"]}]`,
		},
	}[s.Key]
	number := regexp.MustCompile(`^[^,]*, ([0-9.]+) to ([0-9.]+)$`).FindStringSubmatch(strings.TrimPrefix(s.Unit, "list of: "))
	period := regexp.MustCompile(`^duration, (\w+) to (\w+)`).FindStringSubmatch(s.Unit)
	switch {
	case values != nil:
	case number != nil:
		values = number[1:]
		if n, err := strconv.Atoi(number[1]); err == nil {
			values = append(values, strconv.Itoa(n+1))
		}
	case period != nil:
		least, _ := words.Duration(period[1])
		values = []string{period[1], period[2], words.InWords(least + time.Second)}
	case strings.Contains(s.Unit, "rate"):
		values = []string{"20mbit", "1.5gbit", "unlimited"}
	case strings.Contains(s.Unit, "amount"):
		values = []string{"2KiB", "1MB", "64KiB"}
	case strings.Contains(s.Unit, "IP address"):
		values = []string{"192.0.2.1", "192.0.2.2,2001:db8::1", "none"}
	case strings.Contains(s.Unit, "prefix"):
		values = []string{"198.51.100.0/24", "192.0.2.2,2001:db8::/32", "none"}
	case strings.Contains(s.Unit, "URL"):
		values = []string{"https://example.com/a?b#c", "http://127.0.0.1:5", "none"}
	case s.Path:
		values = []string{"/a/b", "/c d/'e", "/null: #"}
	default:
		values = s.Values
	}
	return values
}

// apply reads sources as Load does, and checks nothing across settings.
func apply(t require.TestingT, file string, dotenv, env map[string]string, args []string) (Config, map[string]Origin) {
	r := newReader(Settings("/state"))
	r.readYAML([]byte(file), "w.yaml", "/")
	r.readEnv(dotenv, FromDotenv, ".env", "/")
	r.readEnv(env, FromEnvironment, "", "/")
	set := pflag.NewFlagSet("", pflag.ContinueOnError)
	flags := Register(set, "/state")
	require.NoError(t, set.Parse(args))
	r.readFlags(flags, "/")
	cfg, origins := r.resolve()
	require.Empty(t, r.problems, "%s %v %v %v", file, dotenv, env, args)
	return cfg, origins
}

// inFile writes a setting in a file.
func inFile(s Setting, text string) string {
	switch {
	case s.kind == structured:
	case s.List:
		text = flow(split(strings.TrimPrefix(text, words.None)))
	default:
		text = flow(text)
	}
	var b strings.Builder
	for i, part := range strings.Split(s.Key, ".") {
		b.WriteString("\n" + strings.Repeat("  ", i) + part + ":")
	}
	return b.String() + " " + text + "\n"
}

// Whatever sources have a setting, the strongest one counts; whatever has none is as it is by default.
func TestPrecedence(t *testing.T) {
	table := Settings("/state")
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.SampledFrom(table).Draw(t, "setting")
		texts := samples(s)
		require.NotEmpty(t, texts, s.Key)
		var file string
		dotenv, env, args := map[string]string{}, map[string]string{s.FileEnv(): ""}, []string(nil)
		source, want := FromDefault, ""
		for _, from := range []Source{FromFile, FromDotenv, FromEnvironment, FromFlag} {
			if from == FromFlag && s.Secret || !rapid.Bool().Draw(t, string(from)) {
				continue
			}
			source, want = from, rapid.SampledFrom(texts).Draw(t, "text")
			switch from {
			case FromFile:
				file = inFile(s, want)
			case FromDotenv:
				dotenv[s.Env] = want
			case FromEnvironment:
				env[s.Env] = want
			default:
				args = []string{"--" + s.Flag + "=" + want}
			}
		}
		cfg, origins := apply(t, file, dotenv, env, args)
		require.Equal(t, source, origins[s.Key].Source)
		standard, _ := apply(t, "", nil, nil, nil)
		expected := standard
		if source != FromDefault {
			v := value{items: []string{want}}
			if s.List {
				v.items = split(want)
			}
			if s.kind == structured {
				v.tree, _ = newReader(table).keysIn([]byte(want), s.Key, Origin{})
			}
			require.Empty(t, s.bind.set(&expected, v))
		}
		require.Equal(t, s.bind.get(&expected, true), s.bind.get(&cfg, true))
		for _, other := range table {
			if other.Key != s.Key {
				require.Equal(t, FromDefault, origins[other.Key].Source, other.Key)
				if other.after == nil {
					require.Equal(t, other.bind.get(&standard, true), other.bind.get(&cfg, true), other.Key)
				}
			}
		}
	})
}

// What is shown is read to the same again, whatever the settings are.
func TestShowAndLoad(t *testing.T) {
	table := Settings("/state")
	again := func(t require.TestingT, file string) {
		cfg, origins := apply(t, file, nil, nil, nil)
		var shown strings.Builder
		require.NoError(t, (&Loaded{Config: cfg, Origins: origins}).WriteYAML(&shown))
		// A secret that is in no file of its own is hidden, and refused.
		text := regexp.MustCompile(`(?m)^.*\(hidden\).*$`).ReplaceAllString(shown.String(), "")
		cfg.API.Auth.BearerToken, cfg.Tracing.Headers, cfg.Fleet.Token, cfg.Fleet.Database = Secret{}, Secret{}, Secret{}, Secret{}
		back, _ := apply(t, text, nil, nil, nil)
		for _, s := range table {
			require.Equal(t, s.bind.get(&cfg, true), s.bind.get(&back, true), "%s in\n%s", s.Key, text)
		}
		require.Empty(t, Diff(cfg, back))
		require.Equal(t, Merge(cfg, back), cfg)
	}
	for _, s := range table {
		for _, text := range samples(s) {
			again(t, inFile(s, text))
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		chosen := map[string]any{}
		for _, s := range table {
			if s.Secret || !rapid.Bool().Draw(t, s.Key) {
				continue
			}
			text := rapid.SampledFrom(samples(s)).Draw(t, "text")
			chosen[s.Key] = text
			if s.List {
				chosen[s.Key] = split(strings.TrimPrefix(text, words.None))
			}
		}
		var b strings.Builder
		require.NoError(t, Template(&b, chosen))
		again(t, b.String())
	})
}

// A file with nothing chosen is all comments, and each of them is what holds without it.
func TestTemplate(t *testing.T) {
	var b strings.Builder
	require.NoError(t, Template(&b, nil))
	standard, _ := apply(t, "", nil, nil, nil)
	cfg, origins := apply(t, b.String(), nil, nil, nil)
	require.Equal(t, standard, cfg)
	for key, origin := range origins {
		require.Equal(t, FromDefault, origin.Source, key)
	}
	for line := range strings.Lines(b.String()) {
		require.LessOrEqual(t, len(line), 110)
		require.NotRegexp(t, ` \n$`, line)
	}
	for _, s := range Settings("/state") {
		if s.Default == "" || s.Secret || s.Key == "node.state" {
			continue
		}
		name := s.Key[strings.LastIndexByte(s.Key, '.')+1:]
		require.Regexp(t, `(?m)^ *# `+name+": ", b.String(), s.Key)
	}
	require.Less(t, len(b.String()), 16<<10)
}

// Several problems in several sources are all told, each with its place.
func TestPlaces(t *testing.T) {
	r := newReader(Settings("/state"))
	r.readYAML([]byte("node:\n  mtu: 5\n  dns: [x]\n"), "w.yaml", "/")
	r.readEnv(map[string]string{"WAYLUME_MTU": "6", "WAYLUME_LISTEN_PROT": "5", "OTHER": "x"}, FromEnvironment, "", "/")
	r.readEnv(map[string]string{"WAYLUME_LOG_LEVEL": "loud", FileEnv: "x"}, FromDotenv, ".env", "/")
	set := pflag.NewFlagSet("", pflag.ContinueOnError)
	flags := Register(set, "/state")
	require.NoError(t, set.Parse([]string{"--mtu=1300", "--mtu", "7", "--source-addrs", "192.0.2.1", "--source-addrs=y,2001:db8::1",
		"--api-docs"}))
	r.readFlags(flags, "/")
	cfg, _ := r.resolve()
	require.True(t, cfg.API.Docs)
	texts := make([]string, 0, len(r.problems))
	for _, p := range r.problems {
		texts = append(texts, p.String())
	}
	slices.Sort(texts)
	not := `" is not a number that can be here: give 1280 to 9000`
	require.Equal(t, []string{
		"--mtu: node.mtu: \"7" + not,
		`--source-addrs: node.source_addrs[1]: "y" is not an IP address: give such as 192.0.2.1 or 2001:db8::1`,
		"WAYLUME_CONFIG in .env: names the file, and is read with it: set it in the environment, or use --config",
		`WAYLUME_LOG_LEVEL in .env: log.level: "loud" is not known: give debug, info, warn or error`,
		"WAYLUME_MTU: node.mtu: \"6" + not,
		"w.yaml:2: node.mtu: \"5" + not,
		`w.yaml:3: node.dns[0]: "x" is not an IP address: give such as 192.0.2.1 or 2001:db8::1`,
	}, texts)
	require.Equal(t, []Problem{{Where: "WAYLUME_LISTEN_PROT", Text: "is no setting (is WAYLUME_LISTEN_PORT meant?), and does " +
		"nothing"}}, r.warnings)
}

func TestNearest(t *testing.T) {
	require.Equal(t, 0, distance("abc", "abc"))
	require.Equal(t, 3, distance("kitten", "sitting"))
	require.Equal(t, 4, distance("", "four"))
	require.Equal(t, " (is listen meant?)", nearest("lisen", []string{"limits", "listen", "docs"}))
	require.Empty(t, nearest("x", []string{"listen"}))
	require.Empty(t, nearest(strings.Repeat("listen", 100), []string{"listen"}))
}
