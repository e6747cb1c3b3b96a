// Package migrations has the schema of a fleet's database, its SQL functions and its grants, as files that come one after the
// other, and applies those that a database does not have yet.
//
//	applied, err := migrations.Up(ctx, "postgres://owner@db/fleet")
//
// It is apart from package postgres so that a program which only uses a fleet does not link what changes its schema. Nobody calls
// it but a person who wants it, by waylumed migrate: a daemon never changes a schema.
//
// The files are plain SQL. Another tool may apply them in the order of their names, psql or the command line of Supabase for
// instance, and then has to keep to itself which were. They only go forward: what a later version needs, it adds. A program works
// with a schema that is newer than it.
//
// Whoever applies them owns the tables, in the schema public. To make the roles waylume_node and waylume_control they need CREATEROLE;
// without it somebody else makes these, and the owner runs "select waylume_grants()" after that.
package migrations
