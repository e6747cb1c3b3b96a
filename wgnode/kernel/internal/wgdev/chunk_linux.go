package wgdev

import "iter"

// A chunk is what goes to a device in one request: at most so many peers with at most so many prefixes together, or one
// peer. wgctrl falls back to a request for each peer above either (internal/wglinux, shouldBatch).
const (
	chunkPeers    = 32
	chunkPrefixes = 256
)

// chunks cuts peers into chunks, in order.
func chunks(peers []Peer) iter.Seq[[]Peer] {
	return func(yield func([]Peer) bool) {
		for len(peers) > 0 {
			n, prefixes := 0, 0
			for n < min(len(peers), chunkPeers) {
				prefixes += len(peers[n].AllowedIPs)
				if n > 0 && prefixes > chunkPrefixes {
					break
				}
				n++
			}
			if !yield(peers[:n]) {
				return
			}
			peers = peers[n:]
		}
	}
}
