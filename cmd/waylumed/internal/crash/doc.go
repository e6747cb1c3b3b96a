// Package crash kills the real waylumed, and looks whether anything is missing. It has tests only, for Linux.
//
// A node of the library makes a state: peers with limits, caps and accounts, one that is suspended, one that expires. Then lives
// of the program as it is built go by, `waylumed up` with the dataplane that needs no privilege, while WireGuard clients send and
// receive, and other processes ask it for its status, its usage, backups and other keys. Each life ends by SIGKILL at a random
// moment. After each death
//
//   - `waylumed state check` finds the file sound, and its peers and accounts are those that there were, to the byte, but for the
//     one that expired: that is gone, its addresses are in quarantine, and what it used is in the usage log;
//   - usage is no less than what had come some seconds before, and than it was before; and never more than was sent;
//   - what passed in the life is not a byte more than what the caps of peers and accounts had left in the file when it began;
//   - the usage log has no less than the file had when the life began, and never more than was sent;
//   - the node's key is the last that was acknowledged, or the one that was being made;
//   - nothing is left in the directory of the state, but for a key file that the next rotation takes away, and the control
//     socket, which nobody serves and the next life takes the place of;
//   - commands that were under way ended, with an answer or an error, and backups that they say they made are sound.
//
// In the end one node ends in peace, and one starts on the last backup.
//
//	go test ./cmd/waylumed/internal/crash                            # what CI runs
//	go test ./cmd/waylumed/internal/crash -args -kills 300 -seed 42  # or: make crash N=300 SEED=42
package crash
