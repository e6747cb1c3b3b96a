package config_test

import (
	"os"
	"strings"
	"testing"
	"unicode"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/cmd/waylumed/internal/config"
	"github.com/waylume/waylume/cmd/waylumed/internal/host"
	"github.com/waylume/waylume/cmd/waylumed/internal/up"
)

// Every setting says what it is, and has names of its own everywhere.
func TestTable(t *testing.T) {
	names := make(map[string]bool)
	own := func(name string) {
		require.False(t, names[name], "%s is the name of two", name)
		names[name] = true
	}
	for _, s := range config.Settings("/state") {
		require.Regexp(t, `^[A-Z].*[^.]$`, s.Doc, s.Key)
		require.LessOrEqual(t, len(s.Doc), 260, s.Key)
		require.NotEmpty(t, s.Unit, s.Key)
		require.True(t, s.Default != "" || s.DefaultText != "", s.Key)
		require.Regexp(t, `^[a-z_]+(\.[a-z_]+)*$`, s.Key)
		require.Regexp(t, `^WAYLUME(_[A-Z]+)+$`, s.Env)
		require.Regexp(t, `^[a-z]+(-[a-z]+)*$`, s.Flag)
		own(s.Key)
		own(s.Env)
		own("--" + s.Flag)
		if s.Secret {
			own(s.FileKey())
			own(s.FileEnv())
			own("--" + s.FileFlag())
		}
		if s.Default != "" {
			require.NoError(t, config.Valid(s.Key, s.Default), s.Key)
		}
	}
	require.ErrorContains(t, config.Valid("node.prot", "1"), "node.prot is no setting")
	require.NotContains(t, names, "--"+config.FileFlag)
	require.NotContains(t, names, config.FileEnv)
}

// The words are those of waylumed up, and so are the flags that both have.
func TestWordsOfUp(t *testing.T) {
	require.Equal(t, []string{config.AutoDataplane, config.KernelDataplane, config.UserspaceDataplane}, host.Dataplanes())
	require.Equal(t, []string{config.Masquerade, config.NoNAT}, up.NATs())
	set := pflag.NewFlagSet("", pflag.ContinueOnError)
	config.Register(set, "/state")
	for _, flag := range []string{
		"state", "private-key-file", "listen-port", "endpoint", "dns", "dataplane", "interface", "uplink", "nat", "source-addrs",
		"fwmark",
		"leave-firewalls", "control-ports", "control-allow", "usage-log", "usage-retention",
	} {
		require.NotNil(t, set.Lookup(flag), flag)
	}
	set.VisitAll(func(f *pflag.Flag) {
		name, usage := pflag.UnquoteUsage(f)
		require.NotContains(t, name, " ", f.Name)
		require.NotContains(t, usage, "`", f.Name)
		require.True(t, unicode.IsUpper(rune(usage[0])) || f.Name == config.FileFlag, f.Name)
	})
	usages := set.FlagUsages()
	for _, help := range []string{
		"--listen-port port ", "--dns addresses ", "--pool prefixes ", "--api-tls-cert-file file ", "--state directory ",
		"--store word ",
		"--api-socket-uids IDs ", "--mtu number ", "--tracing-sample-ratio number ", "--api-docs  ", "--api-auth-bearer-scopes scopes ",
	} {
		require.Contains(t, usages, help)
	}
	require.Contains(t, usages, "--log-redaction word ")
	require.NotContains(t, usages, "bearer-token ")
}

func TestDocumented(t *testing.T) {
	const file = "../../../../docs/configuration.md"
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	text, err := config.Update(string(data))
	require.NoError(t, err)
	require.Equal(t, text, string(data), "the table is stale: go run ./cmd/waylumed config docs --update docs/configuration.md")
	for _, s := range config.Settings("") {
		require.Equal(t, 1, strings.Count(text, "\n| `"+s.Key+"`"), s.Key)
	}
	_, err = config.Update("no table")
	require.ErrorContains(t, err, "has no place for the table")
}
