package config

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDotenv(t *testing.T) {
	env, err := parseDotenv("# x\r\n\nA=1\r\nexport B = two words # y\nC='a $b \\n #'\nD=\"a\\nb\\\"\\\\\\$ \\x\" # " +
		"z\nE=\nF=a#b\nG=#\n_h1=a=b\nA=2")
	require.NoError(t, err)
	require.Equal(t, map[string]string{
		"A": "2", "B": "two words", "C": `a $b \n #`, "D": "a\nb\"\\$ \\x", "E": "", "F": "a#b", "G": "", "_h1": "a=b",
	}, env)
	for text, want := range map[string]string{
		"A=1\nsecret":    "line 2 is no variable",
		"1A=secret":      "line 1 is no variable",
		"=secret":        "line 1 is no variable",
		"A-B=secret":     "line 1 is no variable",
		"A='secret":      "line 1 has a quote without its other one",
		"A=\"secret\\\"": "line 1 has a quote without its other one",
		"A='secret'x":    "line 1 has a quote without its other one, or something behind that",
	} {
		_, err := parseDotenv(text)
		require.ErrorContains(t, err, want, text)
		require.NotContains(t, err.Error(), "secret")
	}
}

// What is written in single quotes comes back, whatever it is.
func FuzzDotenv(f *testing.F) {
	f.Add("A=1\nexport B='x'")
	f.Add(`C="a\n`)
	f.Fuzz(func(t *testing.T, text string) {
		env, err := parseDotenv(text)
		for name := range env {
			if err != nil || !isVariable(name) {
				t.Fatalf("%q: %q, %v", text, name, err)
			}
		}
		if strings.ContainsAny(text, "'\r\n") {
			return
		}
		env, err = parseDotenv("A='" + text + "'")
		if err != nil || env["A"] != text {
			t.Fatalf("%q: %q, %v", text, env["A"], err)
		}
	})
}
