package shaping

import "sync/atomic"

// fewPackets is how many packets a leaf may queue while any memory is left at all.
const fewPackets = 8

// memory bounds what all queues hold by dynamic thresholds (Choudhury and Hahne, IEEE/ACM Transactions on Networking 6(2),
// 1998): a queue may be as long as what is free, so that n greedy leaves settle at a part in n+1 each and one part stays free
// for the next. Until they have settled there may be nothing free, so a quarter is kept from them for those with few packets.
type memory struct {
	limit  int64
	buffer int64 // of one packet
	queued atomic.Int64
}

// allows reports whether a leaf may hold so many packets while so many bytes are free beside them.
func (m *memory) allows(packets, free int64) bool {
	if packets <= fewPackets {
		return free >= 0
	}
	return packets*m.buffer <= free-m.limit/4
}
