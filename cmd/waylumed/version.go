package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// build is what this program was built from.
type build struct {
	// Version is the module's: "v1.2.3", or "(devel)" when built from a working tree.
	Version string `json:"version"`
	// Commit and Time are of the source, when it was built from a repository; Modified, that there were changes to it.
	Commit   string `json:"commit,omitempty"`
	Time     string `json:"time,omitempty"`
	Modified bool   `json:"modified,omitempty"`
	Go       string `json:"go"`
	OS       string `json:"os"`
	Arch     string `json:"arch"`
}

func readBuild(info *debug.BuildInfo, ok bool) build {
	b := build{Version: "(unknown)", Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH}
	if !ok {
		return b
	}
	b.Version = cmp.Or(info.Main.Version, "(devel)")
	b.Go = cmp.Or(info.GoVersion, b.Go)
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Commit = s.Value
		case "vcs.time":
			b.Time = s.Value
		case "vcs.modified":
			b.Modified = s.Value == "true"
		}
	}
	return b
}

func (b build) write(w io.Writer) error {
	commit := ""
	if b.Commit != "" {
		commit = fmt.Sprintf("commit %s %s", b.Commit, b.Time)
		if b.Modified {
			commit += ", with changes"
		}
		commit += "\n"
	}
	_, err := fmt.Fprintf(w, "waylumed %s\n%s%s %s/%s\n", b.Version, commit, b.Go, b.OS, b.Arch)
	return err
}

func versionCommand(sys system) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Show what this program was built from",
		Example: `  waylumed version
  waylumed version --json`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			b := readBuild(debug.ReadBuildInfo())
			if asJSON {
				return json.NewEncoder(sys.stdout).Encode(b)
			}
			return b.write(sys.stdout)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print it as JSON")
	return cmd
}
