package wgnode

import (
	"net/netip"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/quota"
)

// WireGuard's own times and sizes (Donenfeld, "WireGuard: Next Generation Kernel Network Tunnel", sections 5.4 and 6.1).
const (
	// rekeyAfter is the age at which the side that began a session begins another one when it sends (REKEY_AFTER_TIME).
	rekeyAfter = 120 * time.Second
	// sessionLife is the age at which a session ends (REJECT_AFTER_TIME).
	sessionLife = 180 * time.Second
	// retryAfter is how long a side waits for the answer to a handshake before it begins another one (REKEY_TIMEOUT).
	retryAfter = 5 * time.Second
	// maxRetries is how many handshakes can fail between rekeyAfter and the end of the session.
	maxRetries = int64((sessionLife - rekeyAfter) / retryAfter)
	// initiationSize and responseSize are the bytes of the two messages of a handshake.
	initiationSize, responseSize = 148, 92
)

const (
	// throughputWindow is what throughput is measured over at least: twice that at most, or a checkpoint if that is longer.
	throughputWindow = 5 * time.Second
	// activeWindow is how long ago the last packet of a peer that is online was counted at most, and the last handshake that
	// was begun of one that is unreachable.
	activeWindow = 30 * time.Second
	// minAttempts is how many handshakes must have been judged for a share to be told, and maxAttempts how many count: then
	// the older ones count half.
	minAttempts, maxAttempts = 5, 64
)

// ConnectionState is how a peer is connected, in a word.
type ConnectionState int

const (
	// ConnectionUnknown: the peer's handshakes were not read since the node was started, or not of late.
	ConnectionUnknown ConnectionState = iota
	// ConnectionInactive: the peer is suspended, or its time is over: it may not connect.
	ConnectionInactive
	// ConnectionNever: no handshake of the peer with its key was seen since the node was started, nor does any side try.
	ConnectionNever
	// ConnectionOnline: there is a session, which is one whose handshake is at most 180 s ago, and in the last 30 s packets
	// of the peer were counted.
	ConnectionOnline
	// ConnectionIdle: there is a session, and in the last 30 s no packet was counted. Keepalives are not.
	ConnectionIdle
	// ConnectionStale: there was a session, and there is none. The device is off, away, or has nothing to send.
	ConnectionStale
	// ConnectionUnreachable: there is no session, and in the last 30 s one side, the peer or the node, tried to begin one.
	ConnectionUnreachable
)

// String is "unknown", "inactive", "never connected", "online", "idle", "stale" or "unreachable".
func (s ConnectionState) String() string {
	names := [...]string{"unknown", "inactive", "never connected", "online", "idle", "stale", "unreachable"}
	if s < 0 || int(s) >= len(names) {
		return "unknown"
	}
	return names[s]
}

// MarshalText is String.
func (s ConnectionState) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// PeerQuality is how good a peer's connection is, as far as the node can see. It comes from what the node reads anyway:
// counters at each checkpoint, handshakes and endpoints every 10 s, or with a checkpoint if those are rarer.
type PeerQuality struct {
	PublicKey wgtypes.Key
	State     ConnectionState
	// ReadAt is when handshake and endpoint were read last; zero: not since the node was started.
	ReadAt time.Time
	// WatchedSince is since when changes of the endpoint and handshakes are counted.
	WatchedSince time.Time
	// LastHandshake is zero when none is known.
	LastHandshake time.Time
	// FormerKey: the peer still knows the node by its former key, as that is what its last handshake was with, and the overlap goes
	// on; see [Node.RotateKey].
	FormerKey bool
	// Endpoint is where the peer was heard from last; not valid when that is not known.
	Endpoint netip.AddrPort
	// EndpointChanges counts how often another endpoint was read than the time before: two changes between two readings are
	// one, or none. EndpointChangedAt is when the last one was seen; zero: never.
	EndpointChanges   uint64
	EndpointChangedAt time.Time
	Throughput        Throughput
	// Counters are the peer's as they were last read, at a checkpoint.
	Counters   quota.Counters
	Handshakes HandshakeLoss
}

// HandshakeAge is how long ago the last handshake was, at a moment; ok is false when none is known.
func (q PeerQuality) HandshakeAge(now time.Time) (age time.Duration, ok bool) {
	if q.LastHandshake.IsZero() {
		return 0, false
	}
	return max(now.Sub(q.LastHandshake), 0), true
}

// Throughput is how fast a peer moves inner IP bytes now. It is the difference of two readings of its counters.
type Throughput struct {
	// DownloadBPS, which is towards the peer, and UploadBPS are bit/s.
	DownloadBPS, UploadBPS uint64
	// Window is how long the measurement took, 5 to 10 s, or one or two checkpoints if those take longer. 0: not known, as the
	// peer has not been read for that long, its counters began anew, or it was not read in the last minute and two checkpoints.
	Window time.Duration
}

// HandshakeLoss counts handshakes that WireGuard had to begin again: it waits 5 s for the answer to each message. They are
// judged where it is known that one was due: when the session is 120 s old and data comes from the peer still, each 5 s without
// a new one is a handshake that failed; and while there is no session, each first message of the peer's that arrives is one.
//
// A handshake fails when one of its two messages is lost either way. What is lost of data cannot be seen, nor anything of a peer
// that is silent; and a peer that sends no data while its session is between 120 and 180 s old is not judged.
type HandshakeLoss struct {
	// Attempts counts the handshakes that were judged, the failed ones included, those of the last hours at most: past 64, older
	// ones count half.
	Attempts uint32
	Failed   uint32
}

// Share is the part of handshakes that failed, 0 to 1. With loss p of single packets that is about 1-(1-p)². known is false
// with fewer than 5 attempts.
func (l HandshakeLoss) Share() (share float64, known bool) {
	if l.Attempts < minAttempts {
		return 0, false
	}
	return float64(l.Failed) / float64(l.Attempts), true
}

// add counts some attempts, all but one of which failed, or all.
func (l *HandshakeLoss) add(attempts, failed int64) {
	l.Attempts += uint32(attempts)
	l.Failed += uint32(failed)
	for l.Attempts > maxAttempts {
		l.Attempts, l.Failed = l.Attempts/2, l.Failed/2
	}
}

// PeerQuality tells of one peer's connection. It asks nobody. Errors: [ErrNotFound], [ErrNotStarted], [ErrClosed].
func (n *Node) PeerQuality(key wgtypes.Key) (PeerQuality, error) {
	const op = "read connection quality of"
	if err := n.life.check(); err != nil {
		return PeerQuality{}, &OpError{op, OfPeer(key), err}
	}
	now := time.Now()
	n.mu.RLock()
	defer n.mu.RUnlock()
	p, ok := n.inv.peers.Get(key)
	if !ok {
		return PeerQuality{}, &OpError{op, OfPeer(key), ErrNotFound}
	}
	return p.qualityAt(&n.inv.quiet, now, n.stalePeriod()), nil
}

// PeerQualities tells of the connections of all peers, in the order in which they were added. It asks nobody. Errors:
// [ErrNotStarted], [ErrClosed].
func (n *Node) PeerQualities() ([]PeerQuality, error) {
	if err := n.life.check(); err != nil {
		return nil, &OpError{Op: "read connection quality", Err: err}
	}
	now := time.Now()
	n.mu.RLock()
	defer n.mu.RUnlock()
	list := make([]PeerQuality, 0, n.inv.peers.Len())
	for _, p := range n.inv.peerOrder.entries {
		list = append(list, p.qualityAt(&n.inv.quiet, now, n.stalePeriod()))
	}
	return list, nil
}

// stalePeriod is how old a reading may be to say something of now.
func (n *Node) stalePeriod() time.Duration { return time.Minute + 2*n.cfg.CheckpointPeriod }

// qualityAt is what is known of a peer's connection.
func (p *peer) qualityAt(quiet *quietPeers, now time.Time, stale time.Duration) PeerQuality {
	q := PeerQuality{PublicKey: p.key}
	if c := quiet.known(p); c != nil {
		q.ReadAt, q.WatchedSince, q.LastHandshake = wallClock(c.readAt), c.since.time(), c.handshake.time()
		q.Endpoint, q.EndpointChanges, q.EndpointChangedAt = c.endpoint, uint64(c.changes), c.changedAt.time()
		q.Handshakes, q.FormerKey, q.Counters = c.loss, c.formerKey, c.latest.counters
		if now.Sub(c.latest.at) < stale {
			q.Throughput = c.throughput()
		}
		q.State = c.state(now, stale)
	}
	if !p.active() {
		q.State, q.Throughput = ConnectionInactive, Throughput{}
	}
	return q
}

// mark is a reading of counters.
type mark struct {
	at       time.Time
	counters quota.Counters
}

// between is the throughput from a mark to a later one.
func (m mark) between(later mark) Throughput {
	window := later.at.Sub(m.at)
	rate := func(from, to uint64) uint64 { return uint64(float64(to-from) * 8 / window.Seconds()) }
	return Throughput{
		DownloadBPS: rate(m.counters.Download, later.counters.Download), UploadBPS: rate(m.counters.Upload, later.counters.Upload),
		Window: window,
	}
}
