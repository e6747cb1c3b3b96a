// Package config reads what an operator decides about waylumed: from a file in YAML, the environment, a file .env and flags.
//
//	loaded, err := config.Load(config.Options{File: "/etc/waylume/waylumed.yaml", Environ: os.Environ(), Dir: dir})
//	if err != nil {
//		return err // an *Error names every problem, where it is, and how to mend it
//	}
//	dataplane, err := kernel.New(loaded.Config.Kernel())
//
// A flag beats the environment, that beats .env, that beats the file, and that the defaults. All settings are in one table,
// [Settings], from which reading, flags, [Show], the commented file of [Template] and the documentation come.
//
// Load reads files and changes none, and needs no privilege but to read them. [Diff] compares two configurations for a reload.
package config
