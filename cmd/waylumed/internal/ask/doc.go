// Package ask is what commands that ask a daemon have in common: where its API is, which peer is meant, what to do about a
// refusal, and how peers, accounts and the node are shown. Asking needs the right to open the API's socket, or a token; showing
// needs none.
package ask
