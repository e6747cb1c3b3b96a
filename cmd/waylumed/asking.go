package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/waylume/waylume/cmd/waylumed/internal/ask"
	"github.com/waylume/waylume/cmd/waylumed/internal/console"
	"github.com/waylume/waylume/cmd/waylumed/internal/state"
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

// flags are those of every command that asks a daemon and nobody else.
func (a *asking) flags(cmd *cobra.Command, f *pflag.FlagSet) {
	f.StringVar(&a.state, "state", "", "`directory` of the node's state, with the API's socket (default where up has it)")
	f.BoolVar(&a.asJSON, "json", false, "print the answer as JSON, one document")
	if err := cobra.MarkFlagDirname(f, "state"); err != nil {
		panic(err) // a flag that is not there: a mistake in this file
	}
	a.apiFlags(cmd, f)
}

// apiFlags say where an API is, and who asks.
func (a *asking) apiFlags(cmd *cobra.Command, f *pflag.FlagSet) {
	f.StringVar(&a.where.URL, "api", "",
		"`URL` of the daemon's API, as https://host:port or unix:/path (default WAYLUME_API, else its socket)")
	f.StringVar(&a.where.TokenFile, "token-file", "", "`file` of a bearer token to send")
	f.StringVar(&a.where.Signer.KeyFile, "sign-key", "", "`file` of a key that signs requests, as 'waylumed init' makes one")
	f.StringVar(&a.where.Signer.KeyID, "kid", "", "`name` by which the node knows that key")
	f.StringVar(&a.where.Signer.Audience, "audience", "", "`name` of the node that is asked, for which requests are signed")
	f.StringVar(&a.where.CAFile, "ca-file", "", "`file` of the certificates of the API's authorities, in PEM (default the system's)")
	f.StringVar(&a.where.CertFile, "cert-file", "", "`file` of a certificate to show, in PEM")
	f.StringVar(&a.where.KeyFile, "key-file", "", "`file` of that certificate's private key, in PEM")
	complete(cmd, "api", cobra.FixedCompletions([]string{"unix:", "https://", "http://127.0.0.1:"},
		cobra.ShellCompDirectiveNoSpace|cobra.ShellCompDirectiveNoFileComp))
}

// complete registers completions of a flag.
func complete(cmd *cobra.Command, flag string, f cobra.CompletionFunc) {
	if err := cmd.RegisterFlagCompletionFunc(flag, f); err != nil {
		panic(err) // a flag that is not there: a mistake in the command's file
	}
}

// named reports that somebody has said where an API is, rather than where a node's state is.
func (a *asking) named() bool {
	return a.where.URL != "" || a.state == "" && a.sys.getenv("WAYLUME_API") != ""
}

// target says where the API is.
func (a *asking) target() (ask.Where, error) {
	where := a.where
	if where.TokenFile == "" {
		where.TokenFile = a.sys.getenv("WAYLUME_TOKEN_FILE")
	}
	switch {
	case where.URL != "" && a.state != "":
		return where, usageError{errors.New("--api and --state both say where the API is: give one of them")}
	case where.URL != "":
		return where, nil
	case a.named():
		where.URL = a.sys.getenv("WAYLUME_API")
		return where, nil
	}
	dir := a.state
	if dir == "" {
		home, _ := os.UserHomeDir() // without one, --api is asked for
		dir = state.Dir(a.sys.getenv, os.Geteuid() == 0, home)
	}
	if dir == "" {
		return where, usageError{errors.New("there is no home to look for the daemon's socket in: " +
			"say where its API is with --api or WAYLUME_API")}
	}
	dir, err := filepath.Abs(dir)
	where.URL = "unix:" + filepath.ToSlash(ask.Socket(dir))
	return where, err
}

// do has a command ask the daemon for something that needs a scope.
func (a *asking) do(cmd *cobra.Command, scope auth.Scope, f func(context.Context, *client.Client) error) error {
	where, err := a.target()
	if err != nil {
		return err
	}
	c, err := where.Client(readBuild(debug.ReadBuildInfo()).Version)
	switch {
	case errors.As(err, new(*fs.PathError)):
		return err
	case err != nil:
		return usageError{errors.New(strings.TrimPrefix(err.Error(), "client: "))}
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
