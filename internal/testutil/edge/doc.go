// Package edge runs the edge functions of examples/supabase for tests: all of them in one real Deno, against a real
// PostgreSQL that has the roles and the defaults of Supabase, under one base URL as Supabase has it.
//
// It needs a Deno and what the functions import, which "make deno" installs, and Debian's PostgreSQL.
package edge
