// Package path is the packet path of the dataplanes that move packets inside this process: from a peer through isolation,
// shaping and metering to the network, and back.
//
//	device -> isolation -> upload shaper   -> meter -> network (or another peer)
//	device <- meter     <- download shaper <---------- network (or another peer)
//
// The meter stands behind the shaper, so that a byte is counted when it is delivered and never when it was dropped; and
// at the moment a cap is reached, what is queued behind it does not pass. A packet between two peers passes both halves:
// it is upload for one and download for the other.
//
// Life: [New], [Path.Start], any number of Apply beside FromPeer and FromNet, then Close, which joins every goroutine. No
// privilege is needed and no system call is made. The caller serialises Apply, SetHost and Close; FromPeer, FromNet and
// Stats may run from any number of goroutines beside them.
//
// In steady state a packet costs no allocation, and waits for no lock that other accounts share unless the node as a
// whole has a speed limit.
package path
