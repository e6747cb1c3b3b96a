// Package control lets another process ask something of a node that runs: for a copy of its state, how it is, and to take another
// key.
//
// [Listen] serves a Unix socket beside the state file. Its mode is 0600, which is all that says who may ask: the user that
// the node runs as, and root. The node writes nothing for those who ask, and opens no file that they name: a backup goes
// through the socket, and the one who asked writes it with rights of its own.
//
// # Protocol
//
// A connection carries one request, a line of JSON of at most 4 KiB:
//
//	{"version":1,"verb":"backup"}
//
// The verb "status" asks how the node is. The answer is a line of JSON, with "error" if there is none. After {"version":1} the
// state, or a report as JSON, follows in pieces, each with its length before it as 32 bits in network byte order, at most
// 64 KiB; the length 0 ends them, and another line of JSON says whether they are all. The verb "rotate-key" is answered by one line, once the node has another key:
//
//	{"version":1,"keys":{"public":"...","former":"..."}}
//
// So is "rotate-key-with-overlap", whose request has "overlap":"24h0m0s", and whose answer has "overlap_ends" beside the keys; and
// "end-key-overlap", in whose answer "former" is empty if there was none. These are verbs of their own, lest a node of an earlier
// version passes over the overlap and cuts everybody off.
//
// Either side gives up when the other does nothing for half a minute, or for two and a half while a node changes its key.
package control
