// Package postgres keeps a fleet in a PostgreSQL database. A [Fleet] is a [registry.Registry] for nodes that reach the database, and
// a [registry.Directory] and [registry.Sessions] for control planes, of which there may be any number.
//
//	fleet, err := postgres.New(postgres.Config{DSN: "postgres://control@db1,db2/fleet?target_session_attrs=read-write"})
//	if err != nil {
//		return err
//	}
//	defer fleet.Close()
//	server, err := fleet.Select(ctx, registry.Query{Country: "DE"})
//
// What a fleet does is done by SQL functions, one call of which is one round trip and one transaction: package migrations has
// them and the tables. They are the same for programs in other languages, such as edge functions, and take and return the
// JSON of the types of package registry. The database has to be migrated before; nothing here does it.
//
// # Outages
//
// What has to do with the connection, with time-outs and with a server that lacks something is [registry.ErrUnavailable], and says
// why. Whether what was asked for has been done is then unknown; all methods may be repeated. Each call ends within
// [Config].StatementTimeout and some seconds, in which a connection is made if need be: to another host of the DSN, where one does
// not answer. No error and no line of the log has the password.
//
// The database's clock is the registry's.
//
// # What it needs
//
// PostgreSQL 13 or later, and a role that may execute the functions: waylume_node has those of a node, waylume_control those of
// a control plane. A role that may register one server may register any: where nodes are not to be trusted with that, they go
// through package supabase. The DSN is completed, as of every program that uses PostgreSQL, from the environment
// variables of libpq (PGPASSWORD, PGSSLROOTCERT, ...) and from ~/.pgpass: this is what pgx does.
package postgres
