package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/waylume/waylume/cmd/waylumed/internal/ask"
	"github.com/waylume/waylume/cmd/waylumed/internal/console"
	"github.com/waylume/waylume/cmd/waylumed/internal/up"
	"github.com/waylume/waylume/wgnode/httpapi/auth"
	"github.com/waylume/waylume/wgnode/httpapi/client"
)

// asking is what commands that ask a daemon have in common.
type asking struct {
	sys    system
	where  ask.Where
	state  string
	asJSON bool
}

// whereAPI is in the help of commands that ask a daemon.
const whereAPI = `A daemon that runs is asked through its API: the Unix socket api.sock in the
directory of its state, or where --api or the environment variable WAYLUME_API
says, with the token in the file that --token-file or WAYLUME_TOKEN_FILE names.`

// whichPeer is in the help of commands that are about peers.
const whichPeer = `A PEER is a public key or an id, the first characters of one, at least 4, or a
name. If that may be any of several, nothing is done and they are listed.`

// flags are those of every command that asks a daemon.
func (a *asking) flags(cmd *cobra.Command, f *pflag.FlagSet) {
	f.StringVar(&a.where.URL, "api", "", "`URL` of the daemon's API, as https://host:port or unix:/path (default as above)")
	f.StringVar(&a.state, "state", "", "`directory` of the node's state, with the API's socket (default where up has it)")
	f.StringVar(&a.where.TokenFile, "token-file", "", "`file` of a bearer token to send")
	f.StringVar(&a.where.CAFile, "ca-file", "", "`file` of the certificates of the API's authorities, in PEM (default the system's)")
	f.StringVar(&a.where.CertFile, "cert-file", "", "`file` of a certificate to show, in PEM")
	f.StringVar(&a.where.KeyFile, "key-file", "", "`file` of that certificate's private key, in PEM")
	f.BoolVar(&a.asJSON, "json", false, "print the answer as JSON, one document")
	if err := cobra.MarkFlagDirname(f, "state"); err != nil {
		panic(err) // a flag that is not there: a mistake in this file
	}
	complete(cmd, "api", cobra.FixedCompletions([]string{"unix:", "https://", "http://127.0.0.1:"}, cobra.ShellCompDirectiveNoSpace|cobra.ShellCompDirectiveNoFileComp))
}

// complete registers completions of a flag.
func complete(cmd *cobra.Command, flag string, f cobra.CompletionFunc) {
	if err := cmd.RegisterFlagCompletionFunc(flag, f); err != nil {
		panic(err) // a flag that is not there: a mistake in the command's file
	}
}

// target says where the API is; named: somebody has said so.
func (a *asking) target() (where ask.Where, named bool, err error) {
	where = a.where
	if where.TokenFile == "" {
		where.TokenFile = a.sys.getenv("WAYLUME_TOKEN_FILE")
	}
	switch {
	case where.URL != "" && a.state != "":
		return where, true, usageError{errors.New("--api and --state both say where the API is: give one of them")}
	case where.URL == "" && a.state == "":
		where.URL = a.sys.getenv("WAYLUME_API")
	}
	if where.URL != "" {
		return where, true, nil
	}
	dir := a.state
	if dir == "" {
		home, _ := os.UserHomeDir() // without one, --api is asked for
		dir = up.StateDir(a.sys.getenv, os.Geteuid() == 0, home)
	}
	if dir == "" {
		return where, false, usageError{errors.New("there is no home to look for the daemon's socket in: say where its API is with --api or WAYLUME_API")}
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return where, false, err
	}
	where.URL = "unix:" + ask.Socket(filepath.ToSlash(dir))
	return where, a.state != "", nil
}

// do has a command ask the daemon for something that needs a scope.
func (a *asking) do(cmd *cobra.Command, scope auth.Scope, f func(context.Context, *client.Client) error) error {
	where, _, err := a.target()
	if err != nil {
		return err
	}
	c, err := where.Client(readBuild(debug.ReadBuildInfo()).Version)
	if err != nil {
		return usageError{fmt.Errorf("%s", strings.TrimPrefix(err.Error(), "client: "))}
	}
	defer c.Close()
	return ask.Explain(f(cmd.Context(), c), where.URL, string(scope))
}

// show writes an answer for a program or for a person.
func (a *asking) show(answer any, toPerson func(console.Console) error) error {
	if a.asJSON {
		return ask.WriteJSON(a.sys.stdout, answer)
	}
	return toPerson(console.New(a.sys.stdout, a.sys.getenv))
}

// say writes a line to a person.
func say(format string, args ...any) func(console.Console) error {
	return func(c console.Console) error {
		_, err := fmt.Fprintln(c, ask.Clean(fmt.Sprintf(format, args...)))
		return err
	}
}

// group is a command that has others below it.
func group(cmd *cobra.Command, below ...*cobra.Command) *cobra.Command {
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return usageError{fmt.Errorf("unknown command %q for %q\nRun '%[2]s --help' for what there is", args[0], cmd.CommandPath())}
		}
		return nil
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return usageError{fmt.Errorf("say what to do\nRun '%s --help' for what there is", cmd.CommandPath())}
	}
	cmd.AddCommand(below...)
	return cmd
}

// arguments wants so many arguments at least, and at most; most < 0: any number.
func arguments(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < least || most >= 0 && len(args) > most {
			return usageError{fmt.Errorf("wants %s\nRun '%s --help' for what that is", cmd.UseLine(), cmd.CommandPath())}
		}
		return nil
	}
}
