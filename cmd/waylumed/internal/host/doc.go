// Package host gives a node what it has of the host: the state in its directory, the dataplane that can be had, the address at which
// devices reach it, and what other processes may ask of it.
package host

// Names are what a person calls the settings that advice and errors speak of: flags, or keys of a file.
type Names struct{ State, PrivateKeyFile, AcceptNewKey, ListenPort, Endpoint, Dataplane, UsageLog string }
