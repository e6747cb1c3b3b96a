//go:build linux

package kernel_test

import (
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/wgctrl"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/wgnode"
)

const (
	// spent is a cap that a test moves to its last byte.
	spent = 50_000
	// headers are those of a datagram over IPv4.
	headers = 20 + 8
)

// survival is two peers of a node whose processes come and go.
type survival struct {
	r       *rig
	lasting bool // sessions do not end with the process
	server  *server
	limited survivor
	capped  survivor
}

// survivor is one of them.
type survivor struct {
	peer      wgnode.Peer
	cfg       wgnode.ClientConfig
	phone     *phone
	handshake time.Time
	down, up  string // the names of its counters
}

func (s *survival) add(t *testing.T, node *wgnode.Node, m *survivor, spec wgnode.PeerSpec) {
	t.Helper()
	added, err := node.AddPeer(t.Context(), spec)
	require.NoError(t, err)
	m.peer = added.Peer
	m.cfg, err = node.ClientConfig(added.PublicKey, added.PrivateKey)
	require.NoError(t, err)
	counter := func(in string) string {
		addr := m.peer.Addrs[0].String()
		element := output(t, "nft", "get", "element", "inet", "waylume_"+rigInterface, in, "{ "+addr+" }")
		found := regexp.MustCompile(regexp.QuoteMeta(addr) + ` : "(\w+)"`).FindStringSubmatch(element)
		require.Len(t, found, 2, element)
		return found[1]
	}
	m.down, m.up = counter("count_down4"), counter("count_up4")
}

// connect turns on the phones whose sessions have ended.
func (s *survival) connect(t *testing.T) {
	t.Helper()
	for _, m := range []*survivor{&s.limited, &s.capped} {
		if m.phone != nil {
			continue
		}
		m.phone = newPhone(t, s.r, m.cfg)
		w := watched{phone: m.phone}
		require.True(t, m.total(t) == spent || w.comes(w.answers), "nothing comes through")
		if s.lasting {
			m.handshake = handshakeOf(t, m.peer.PublicKey)
			require.WithinRange(t, m.handshake, time.Unix(1, 0), time.Now())
		}
	}
}

func (s *survival) close() {
	for _, m := range []*survivor{&s.limited, &s.capped} {
		m.phone.close()
		m.phone = nil
	}
}

// requireAlone asserts what must be so while no process serves the node.
func (s *survival) requireAlone(t *testing.T) {
	t.Helper()
	if s.lasting {
		s.requireCrossing(t)
		return
	}
	require.False(t, s.limited.phone.reaches(server4))
	s.close()
}

// requireCrossing asserts that packets cross both ways, and are counted to the byte, in the session that there was.
func (s *survival) requireCrossing(t *testing.T) {
	t.Helper()
	const datagrams, size = 10, 32
	m := &s.limited
	w := watched{phone: m.phone}
	require.True(t, w.comes(w.answers), "nothing comes through")
	before, received := m.counters(t), m.phone.received.Load()
	for range datagrams { // one by one: as super-packets they would be counted with fewer headers
		m.phone.send(t, size)
		received += size
		require.True(t, w.comes(func() bool { return m.phone.received.Load() == received }))
	}
	before.Download += datagrams * (size + headers)
	before.Upload += datagrams * (size + headers)
	require.Equal(t, before, m.counters(t))
	for _, m := range []*survivor{&s.limited, &s.capped} {
		if s.lasting {
			require.Equal(t, m.handshake, handshakeOf(t, m.peer.PublicKey), "a session was begun anew")
		}
	}
}

func (s *survival) requireLimited(t *testing.T) {
	t.Helper()
	(&watched{server: s.server, phone: s.limited.phone}).requireLimited(t)
}

// requireLimits uploads the cap to its last byte, and asserts that the limit holds.
func (s *survival) requireLimits(t *testing.T) {
	t.Helper()
	const payload = 1200
	w := watched{}
	send := func(size int) {
		received := s.server.received.Load() + uint64(size)
		s.capped.phone.send(t, size)
		require.True(t, w.comes(func() bool { return s.server.received.Load() == received }))
	}
	left := spent - s.capped.total(t)
	for ; left > wgnode.DefaultMTU; left -= payload + headers {
		send(payload)
	}
	send(left - headers)
	require.Equal(t, spent, s.capped.total(t))
	s.requireSpent(t)
	s.requireLimited(t)
}

func (p *phone) send(t *testing.T, size int) {
	t.Helper()
	_, err := p.main.Write(make([]byte, size))
	require.NoError(t, err)
}

// requireSpent asserts that nothing passes beyond the cap, whose last byte was used.
func (s *survival) requireSpent(t *testing.T) {
	t.Helper()
	require.False(t, s.capped.phone.reaches(server4))
	require.False(t, s.capped.phone.reaches(server6))
	require.Equal(t, spent, s.capped.total(t))
}

// counters reads what the kernel has counted, once it stays so.
func (m *survivor) counters(t *testing.T) (now quota.Counters) {
	t.Helper()
	read := func(name string) uint64 {
		counter := output(t, "nft", "list", "counter", "inet", "waylume_"+rigInterface, name)
		found := regexp.MustCompile(`packets \d+ bytes (\d+)`).FindStringSubmatch(counter)
		require.Len(t, found, 2, counter)
		bytes, err := strconv.ParseUint(found[1], 10, 64)
		require.NoError(t, err)
		return bytes
	}
	require.True(t, (&watched{}).comes(func() bool {
		before := now
		now = quota.Counters{Download: read(m.down), Upload: read(m.up)}
		time.Sleep(100 * time.Millisecond)
		return now == before
	}), "the counters do not rest")
	return now
}

// total is the value that its cap holds.
func (m *survivor) total(t *testing.T) int {
	t.Helper()
	return int(m.counters(t).Of(quota.CountBoth))
}

// handshakeOf is when the module's session with a peer began.
func handshakeOf(t *testing.T, key wgtypes.Key) time.Time {
	t.Helper()
	client, err := wgctrl.New()
	require.NoError(t, err)
	defer client.Close()
	device, err := client.Device(rigInterface)
	require.NoError(t, err)
	for _, p := range device.Peers {
		if p.PublicKey == key {
			return p.LastHandshakeTime
		}
	}
	require.Fail(t, "the device has no such peer")
	return time.Time{}
}
