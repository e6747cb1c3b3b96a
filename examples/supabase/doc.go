// Package supabase is the control plane of a fleet on Supabase: migrations of the database, and edge functions in TypeScript. The
// folder is laid out as Supabase's command line wants it, and README.md says how to use it; what there is in Go are its tests.
package supabase

//go:generate sh -c "cp ../../registry/postgres/migrations/*.sql migrations/"
