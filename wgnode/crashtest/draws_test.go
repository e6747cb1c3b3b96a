package crashtest

import (
	"math/rand/v2"
	"net/netip"
	"strconv"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/isolation"
	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/shaping"
	"github.com/waylume/waylume/wgnode"
)

func microseconds(r *rand.Rand, most int) time.Duration {
	return time.Duration(1+r.IntN(most)) * time.Microsecond
}

func pick[T any](r *rand.Rand, of []T) T { return of[r.IntN(len(of))] }

// drawSpec makes a specification of a peer, half of them in an account that is there.
func drawSpec(r *rand.Rand, s *shard, key wgtypes.Key) wgnode.PeerSpec {
	spec := wgnode.PeerSpec{PublicKey: key, Name: strconv.Itoa(r.IntN(1000)), SpeedLimit: drawLimit(r), DataCap: drawCap(r)}
	if id := pick(r, s.names); r.IntN(2) == 0 && (s.accounts[id] != nil || r.IntN(10) == 0) {
		spec.Account = id
	}
	if r.IntN(3) == 0 {
		spec.PresharedKey = drawKey(r)
	}
	if r.IntN(3) == 0 {
		spec.Labels = map[string]string{"plan": pick(r, []string{"free", "paid"})}
	}
	if r.IntN(2) == 0 {
		spec.ExpiresAt, spec.GracePeriod = drawEnd(r), drawGrace(r)
	}
	if r.IntN(5) == 0 { // longer than any test takes
		spec.IdleTimeout = time.Duration(5+r.IntN(1000)) * time.Minute
	}
	return spec
}

// drawPeer makes a specification for a key, which is at times the one of a peer that is there.
func drawPeer(r *rand.Rand, s *shard, key wgtypes.Key) wgnode.PeerSpec {
	if p := s.peers[key]; p != nil && r.IntN(2) == 0 {
		return p.spec
	}
	return drawSpec(r, s, key)
}

func drawAddPeer(r *rand.Rand, s *shard) (operation, bool) {
	return operation{Peers: []wgnode.PeerSpec{drawPeer(r, s, pick(r, s.keys).public)}}, true
}

func drawAddPeers(r *rand.Rand, s *shard) (o operation, ok bool) {
	for _, i := range r.Perm(len(s.keys))[:2+r.IntN(3)] {
		key := s.keys[i].public
		if s.peers[key] == nil || r.IntN(4) == 0 {
			o.Peers = append(o.Peers, drawPeer(r, s, key))
		}
	}
	return o, len(o.Peers) > 0
}

// drawKeys chooses keys, most of them of peers that are there.
func drawKeys(most int) func(*rand.Rand, *shard) (operation, bool) {
	return func(r *rand.Rand, s *shard) (o operation, ok bool) {
		for _, i := range r.Perm(len(s.keys)) {
			if key := s.keys[i].public; len(o.Keys) < most && (s.peers[key] != nil || r.IntN(20) == 0) {
				o.Keys = append(o.Keys, key)
			}
		}
		return o, len(o.Keys) > 0
	}
}

func drawPutAccount(r *rand.Rand, s *shard) (operation, bool) {
	spec := wgnode.AccountSpec{ID: pick(r, s.names), SpeedLimit: drawLimit(r), DataCap: drawCap(r)}
	if r.IntN(3) == 0 {
		spec.Labels = map[string]string{"note": strconv.Itoa(r.IntN(1000))}
	}
	return operation{Account: spec}, true
}

func drawAccountName(r *rand.Rand, s *shard) (operation, bool) {
	return operation{Account: wgnode.AccountSpec{ID: pick(r, s.names)}}, true
}

// drawSubject chooses a peer or an account, most often one that is there.
func drawSubject(r *rand.Rand, s *shard) (operation, bool) {
	if all := s.present(); len(all) > 0 && r.IntN(20) > 0 {
		return operation{Subject: pick(r, all)}, true
	}
	if r.IntN(2) == 0 {
		return operation{Subject: subject{Account: pick(r, s.names)}}, true
	}
	return operation{Subject: subject{Peer: pick(r, s.keys).public}}, true
}

func drawSpeedLimit(r *rand.Rand, s *shard) (operation, bool) {
	o, ok := drawSubject(r, s)
	o.Limit = drawLimit(r)
	return o, ok
}

func drawDataCap(r *rand.Rand, s *shard) (operation, bool) {
	o, ok := drawSubject(r, s)
	o.Cap = drawCap(r)
	return o, ok
}

func drawTopUp(r *rand.Rand, s *shard) (operation, bool) {
	o, ok := drawSubject(r, s)
	o.Bytes = quota.Bytes(1 + r.IntN(50_000))
	return o, ok
}

// drawLimit makes limits that are none as often as not, and let some traffic pass in a short life.
func drawLimit(r *rand.Rand) (l shaping.Limit) {
	for _, rate := range []*shaping.Rate{&l.Download, &l.Upload} {
		if r.IntN(2) == 0 {
			*rate = shaping.Rate(2_000_000 + 1000*r.IntN(50_000))
		}
	}
	return l
}

// drawCap makes caps that some lives use up, in periods of which some end within a campaign.
func drawCap(r *rand.Rand) quota.Cap {
	if r.IntN(3) == 0 {
		return quota.Cap{}
	}
	c := quota.Cap{
		Bytes:   quota.Bytes(1 + r.IntN(150_000)),
		Counted: pick(r, []quota.Counted{quota.CountBoth, quota.CountDownload, quota.CountUpload}),
	}
	switch r.IntN(6) {
	case 0:
		c.Period = quota.Period{Kind: quota.Rolling, Window: 30 * 24 * time.Hour}
	case 1, 2, 3:
		c.Period = drawPeriod(r)
	}
	if r.IntN(4) == 0 {
		c.AtEnd, c.ThrottleDownload, c.ThrottleUpload = quota.Throttle, 1_000_000, 1_000_000
	}
	return c
}

// drawPolicy makes a policy that does not close the way to the internet of the test.
func drawPolicy(r *rand.Rand, _ *shard) (o operation, ok bool) {
	if r.IntN(3) > 0 {
		prefix := netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 70, byte(r.IntN(256)), 0}), 24)
		o.Policy.Deny = []isolation.Rule{{To: isolation.Match{Prefixes: []netip.Prefix{prefix}}}}
	}
	return o, true
}

func drawNodeLimit(r *rand.Rand, _ *shard) (operation, bool) {
	return operation{Limit: drawLimit(r)}, true
}
