package main

import (
	"context"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/waylume/waylume/cmd/waylumed/internal/ask"
	"github.com/waylume/waylume/wgnode/httpapi/client"
)

const (
	// completionTime is how long a person waits for completions at most.
	completionTime = 700 * time.Millisecond
	noFiles        = cobra.ShellCompDirectiveNoFileComp
)

// suggest completes with fixed values.
func suggest(values ...string) cobra.CompletionFunc {
	return cobra.FixedCompletions(values, noFiles|cobra.ShellCompDirectiveKeepOrder)
}

// peers completes the first arguments, as many as most, with peers that the daemon has and that were not given yet; most < 0: any
// number. A daemon that does not answer at once completes nothing. Those after are completed by then, if there are such.
func (a *asking) peers(most int, then ...cobra.CompletionFunc) cobra.CompletionFunc {
	return a.completing(most, ask.CompletePeers, then...)
}

// accounts does the same with accounts.
func (a *asking) accounts(most int, then ...cobra.CompletionFunc) cobra.CompletionFunc {
	return a.completing(most, ask.CompleteAccounts, then...)
}

func (a *asking) completing(most int, list func(context.Context, *client.Client, string) []ask.Completion,
	then ...cobra.CompletionFunc) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if most >= 0 && len(args) >= most {
			if next := len(args) - most; next < len(then) {
				return then[next](cmd, args, begun)
			}
			return nil, noFiles
		}
		where, err := a.target()
		if err != nil {
			return nil, noFiles
		}
		where.Attempts, where.Timeout = 1, completionTime
		c, err := where.Client(readBuild(debug.ReadBuildInfo()).Version)
		if err != nil {
			return nil, noFiles
		}
		defer c.Close()
		ctx, cancel := context.WithTimeout(cmd.Context(), completionTime)
		defer cancel()
		var found []cobra.Completion
		for _, completion := range list(ctx, c, begun) {
			if !slices.Contains(args, completion.Word) {
				found = append(found, cobra.CompletionWithDesc(completion.Word, strings.ReplaceAll(completion.About, "\n", " ")))
			}
		}
		return found, noFiles
	}
}
