package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/waylume/waylume/cmd/waylumed/internal/config"
)

func configCommand(sys system) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Check and show the settings of waylumed run",
		Long: `Config looks at what an operator has decided about a node that is managed through
its API. Settings are in a file, in YAML: --config or --file names it, else
WAYLUME_CONFIG, else it is /etc/waylume/waylumed.yaml for root and waylumed.yaml
in $XDG_CONFIG_HOME/waylumed or ~/.config/waylumed for others, if that is there.

A flag of 'waylumed run' beats a variable of the environment, that beats one in
the file .env of the working directory or, without that, beside the file, and
that beats the file. 'waylumed init' writes a first one.`,
		Example: `  waylumed config check
  waylumed config show --yaml > effective.yaml`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageError{errors.New("say what to do with the settings\nRun 'waylumed config --help' for what there is")}
			}
			return cobra.NoArgs(cmd, args)
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(configCheckCommand(sys), configShowCommand(sys), configDocsCommand(sys))
	return cmd
}

// configOptions say where settings are for this process; flags may be nil.
func configOptions(sys system, file string, flags *config.Flags) (config.Options, error) {
	dir, err := os.Getwd()
	if err != nil {
		return config.Options{}, err
	}
	return config.Options{
		File: file, DefaultFile: config.DefaultFile(sys.getenv, os.Geteuid() == 0, sys.getenv("HOME")),
		Environ: sys.environ, Dir: dir, Flags: flags,
	}, nil
}

// configFlags adds every setting as a flag, and what a shell can complete.
func configFlags(sys system, cmd *cobra.Command) *config.Flags {
	flags := config.Register(cmd.Flags(), config.DefaultState(sys.environ))
	flags.Complete(func(flag string, values []string, isPath bool) {
		directive := cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
		if isPath {
			directive = cobra.ShellCompDirectiveDefault
		}
		if err := cmd.RegisterFlagCompletionFunc(flag, func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return values, directive
		}); err != nil {
			panic(err) // a flag that is not there: a mistake in the table
		}
	})
	return flags
}

// loadConfig loads what the flags of a command and everything else say.
func loadConfig(sys system, file string, flags *config.Flags) (*config.Loaded, error) {
	opts, err := configOptions(sys, file, flags)
	if err != nil {
		return nil, err
	}
	return config.Load(opts)
}

func configCheckCommand(sys system) *cobra.Command {
	var file string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Say everything that is wrong with the settings",
		Long: `Check reads the settings as 'waylumed run' would, with the files that they name,
and says everything that is wrong, where that is, and how to mend it. It changes
nothing. Settings can be given as flags here, too.

The exit status is 0 if nothing is wrong, and 1 if something is. Warnings are no
reason for 1.`,
		Example: `  waylumed config check
  waylumed config check --file waylumed.yaml --profile production`,
		Args: cobra.NoArgs,
	}
	cmd.Flags().StringVar(&file, "file", "", "check this `file`, as --config does")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the result as JSON: \"ok\", \"file\", \"problems\" and \"warnings\"")
	flags := configFlags(sys, cmd)
	cmd.RunE = func(*cobra.Command, []string) error {
		loaded, err := loadConfig(sys, file, flags)
		var invalid *config.Error
		if err != nil && (!asJSON || !errors.As(err, &invalid)) {
			return err
		}
		if asJSON {
			return checkedJSON(sys, loaded, invalid)
		}
		for _, p := range loaded.Warnings {
			fmt.Fprintf(sys.stdout, "warning: %s\n", p)
		}
		if loaded.File == "" {
			fmt.Fprintln(sys.stdout, "There is no file of settings; nothing is wrong with what holds without one.")
		} else {
			fmt.Fprintf(sys.stdout, "%s: nothing is wrong\n", loaded.File)
		}
		return nil
	}
	return cmd
}

func checkedJSON(sys system, loaded *config.Loaded, invalid *config.Error) error {
	result := struct {
		OK       bool             `json:"ok"`
		File     string           `json:"file,omitempty"`
		Problems []config.Problem `json:"problems"`
		Warnings []config.Problem `json:"warnings"`
	}{OK: invalid == nil, Problems: []config.Problem{}, Warnings: []config.Problem{}}
	if invalid != nil {
		result.Problems = invalid.Problems
	} else {
		result.File, result.Warnings = loaded.File, append(result.Warnings, loaded.Warnings...)
	}
	encoder := json.NewEncoder(sys.stdout)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(result); err != nil {
		return err
	}
	if !result.OK {
		return errSilent
	}
	return nil
}

func configShowCommand(sys system) *cobra.Command {
	var file string
	var asJSON, asYAML bool
	cmd := &cobra.Command{
		Use:   "show",
		Short: "Show what holds for each setting, and why",
		Long: `Show prints every setting as 'waylumed run' would have it, and where it comes
from. Secrets are hidden.

With --yaml the result is a file that waylumed reads to the same effect. In place
of a secret that is in no file of its own stands what waylumed refuses, and says
so. With --json the result is one object; its "schema" is "` + config.ShowSchema + `".`,
		Example: `  waylumed config show
  waylumed config show --yaml > effective.yaml`,
		Args: cobra.NoArgs,
	}
	cmd.Flags().StringVar(&file, "file", "", "show what holds with this `file`, as --config does")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().BoolVar(&asYAML, "yaml", false, "print YAML")
	cmd.MarkFlagsMutuallyExclusive("json", "yaml")
	flags := configFlags(sys, cmd)
	cmd.RunE = func(*cobra.Command, []string) error {
		loaded, err := loadConfig(sys, file, flags)
		switch {
		case err != nil:
			return err
		case asJSON:
			return loaded.WriteJSON(sys.stdout)
		case asYAML:
			return loaded.WriteYAML(sys.stdout)
		}
		return loaded.WriteText(sys.stdout)
	}
	return cmd
}

func configDocsCommand(sys system) *cobra.Command {
	var update string
	cmd := &cobra.Command{
		Use:   "docs",
		Short: "Print a table of every setting",
		Long: `Docs prints, in Markdown, every setting with what it does, its value, default,
variable, flag, and whether a process that runs takes it over.`,
		Example: `  waylumed config docs
  go run ./cmd/waylumed config docs --update docs/configuration.md`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if update == "" {
				return config.Table(sys.stdout)
			}
			old, err := os.ReadFile(update)
			if err != nil {
				return err
			}
			text, err := config.Update(string(old))
			if err != nil {
				return fmt.Errorf("%s: %w", update, err)
			}
			return os.WriteFile(update, []byte(text), 0o644)
		},
	}
	cmd.Flags().StringVar(&update, "update", "", "put the table into this `file`, where it has one")
	return cmd
}
