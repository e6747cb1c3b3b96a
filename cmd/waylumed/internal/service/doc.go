// Package service speaks with the supervisor of a daemon, if there is one, as systemd defines it: sd_notify(3) for readiness, reloads,
// the end and the watchdog, and sd_listen_fds(3) for sockets that are open before the daemon is. Elsewhere it does nothing.
package service
