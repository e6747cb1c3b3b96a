// Package privilege gives up what a process may do beyond what it needs. What was given up does not come back: it is for a daemon
// that has opened what needed it. On other systems than Linux there is nothing to give up, and the package says so.
package privilege
