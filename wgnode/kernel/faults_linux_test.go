package kernel

import (
	"errors"
	"log/slog"
	"net/netip"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/mdlayher/netlink"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/internal/testutil"
	"github.com/waylume/waylume/internal/testutil/netns"
	"github.com/waylume/waylume/isolation"
	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/shaping"
	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/kernel/internal/nft"
	"github.com/waylume/waylume/wgnode/kernel/internal/wgdev"
)

// Written is how much the dataplane has written to the kernel, of each kind.
type Written struct{ Links, Transactions, Classes, Device uint64 }

// Written counts for tests.
func (dp *Dataplane) Written() Written {
	dp.turn <- struct{}{}
	defer dp.leave()
	w := Written{Links: dp.links.Writes(), Transactions: dp.nft.Commits(), Classes: dp.tree.Stats().Requests}
	if device, ok := dp.device.(interface{ Writes() uint64 }); ok {
		w.Device = device.Writes()
	}
	return w
}

// faulty is a socket to nftables on which one transaction fails.
type faulty struct {
	nft.Socket
	after   int   // so many transactions that do not fail; below 0 for all
	err     error // of the one that does
	how     failure
	pending error
	failed  bool
}

// failure is where a transaction fails.
type failure int

const (
	atSend    failure = iota // the kernel has no room for the request
	atMessage                // it refuses one part
	atCommit                 // it refuses the whole
	atAnswer                 // it does all, and has no room to say so
)

func (f *faulty) SendMessages(messages []netlink.Message) ([]netlink.Message, error) {
	if messages[0].Header.Type != unix.NFNL_MSG_BATCH_BEGIN || f.failed {
		return f.Socket.SendMessages(messages)
	}
	if f.after != 0 {
		f.after--
		return f.Socket.SendMessages(messages)
	}
	f.failed = true
	switch f.how {
	case atSend:
		return nil, f.err
	case atAnswer:
		f.pending = f.err
		sent, err := f.Socket.SendMessages(messages)
		return sent, err
	}
	sent := slices.Clone(messages)
	for i := range sent {
		sent[i].Header.Sequence = 1<<30 + uint32(i)
	}
	refused := &netlink.OpError{Op: "receive", Err: f.err, Sequence: sent[0].Header.Sequence}
	if f.how == atMessage {
		refused.Sequence = sent[len(sent)-2].Header.Sequence
	}
	f.pending = refused
	return sent, nil
}

func (f *faulty) Receive() ([]netlink.Message, error) {
	if err := f.pending; err != nil {
		f.pending = nil
		if f.how == atAnswer {
			_, _ = f.Socket.Receive() // lost
		}
		return nil, err
	}
	return f.Socket.Receive()
}

// TestFaults has each transaction of each change fail in each way, once: the change fails as a whole, and when it is made again
// it succeeds.
func TestFaults(t *testing.T) {
	netns.Require(t)
	testutil.RequireTool(t, "nft", "nftables")
	key := func() wgtypes.Key {
		k, err := wgtypes.GeneratePrivateKey()
		require.NoError(t, err)
		return k
	}
	limit := shaping.Limit{Download: 1_000_000, Upload: 2_000_000}
	account := wgnode.AccountState{ID: "account", SpeedLimit: limit, Budget: quota.Budget{Limited: true, Limit: 1 << 30}}
	peer := func(n byte) wgnode.PeerState {
		return wgnode.PeerState{
			PublicKey: key().PublicKey(), Addrs: []netip.Addr{netip.AddrFrom4([4]byte{10, 77, 0, n}), netip.AddrFrom16([16]byte{0xfd, 77, 15: n})},
		}
	}
	member, single, fresh := peer(2), peer(3), peer(4)
	member.Account = account.ID
	single.SpeedLimit, single.Budget = limit, quota.Budget{Limited: true, Limit: 1 << 20}
	single.Counters = quota.Counters{Download: 7, Upload: 9}
	fresh.SpeedLimit, fresh.Budget, fresh.Account = limit, quota.Budget{Limited: true, Limit: 1 << 30, Mark: 1 << 20}, account.ID
	// Who is blocked by a cap stays so, whatever becomes of a change of the other cap that is over it.
	spent := wgnode.AccountState{ID: "spent", Budget: quota.Budget{Limited: true, Limit: 1}, Counters: quota.Counters{Upload: 2}}
	blocked, of := peer(7), peer(8)
	blocked.Account, blocked.Budget, blocked.Counters = account.ID, spent.Budget, spent.Counters
	of.Account, of.Budget = spent.ID, quota.Budget{Limited: true, Limit: 1 << 20}
	want := wgnode.State{
		Accounts: []wgnode.AccountState{account, spent}, Peers: []wgnode.PeerState{member, single, peer(6), blocked, of},
	}

	recounted, ofCapped := account, of
	recounted.Budget.Counted, ofCapped.Budget.Counted = quota.CountUpload, quota.CountUpload
	wider, raised, capped, moved := account, single, single, single
	wider.SpeedLimit.Download, wider.Budget.Limit = 9_000_000, 1<<31
	raised.SpeedLimit.Upload, raised.Budget = 3_000_000, quota.Budget{}
	capped.Budget.Counted = quota.CountDownload // another quota: packets are held up meanwhile
	moved.Addrs = peer(5).Addrs
	heir := fresh
	heir.Addrs = single.Addrs
	ceiling := shaping.Limit{Download: 50_000_000}
	policy := isolation.Policy{Deny: []isolation.Rule{{To: isolation.Match{Prefixes: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}}}}}
	for name, change := range map[string]wgnode.Change{
		"add":           {SetPeers: []wgnode.PeerState{fresh}},
		"remove":        {RemovePeers: []wgtypes.Key{single.PublicKey}},
		"replace":       {RemovePeers: []wgtypes.Key{single.PublicKey}, SetPeers: []wgnode.PeerState{heir}},
		"readdress":     {SetPeers: []wgnode.PeerState{moved}},
		"uncap":         {SetPeers: []wgnode.PeerState{raised}},
		"recap":         {SetPeers: []wgnode.PeerState{capped}},
		"account":       {SetAccounts: []wgnode.AccountState{wider}},
		"recount":       {SetAccounts: []wgnode.AccountState{recounted}},
		"recap blocked": {SetPeers: []wgnode.PeerState{ofCapped}},
		"ceiling":       {SpeedLimit: &ceiling},
		"policy":        {Policy: &policy, SetPeers: []wgnode.PeerState{fresh}},
		"all":           {SpeedLimit: &ceiling, SetAccounts: []wgnode.AccountState{wider}, RemovePeers: []wgtypes.Key{member.PublicKey}, SetPeers: []wgnode.PeerState{fresh, moved}},
		"whole account": {RemovePeers: []wgtypes.Key{member.PublicKey, blocked.PublicKey}, RemoveAccounts: []string{account.ID}},
	} {
		t.Run(name, func(t *testing.T) {
			for how, kind := range []struct {
				name string
				err  error
			}{{"send", unix.ENOBUFS}, {"message", unix.EBUSY}, {"commit", unix.ENOMEM}, {"answer", unix.ENOBUFS}} {
				t.Run(kind.name, func(t *testing.T) {
					f := newFaultRig(t, key(), want)
					n := 0
					for f.try(t, change, failure(how), kind.err, n) {
						n++
					}
					require.NotZero(t, n, "the change makes no transaction")
				})
			}
		})
	}
}

// faultRig is a dataplane that runs, on a socket of ours.
type faultRig struct {
	dp     *Dataplane
	socket *faulty
	want   wgnode.State
}

func newFaultRig(t *testing.T, key wgtypes.Key, want wgnode.State) *faultRig {
	t.Helper()
	dp, err := New(Config{Interface: "faulty0", Driver: DriverTUN})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, dp.Close()) })
	pool := []netip.Prefix{netip.MustParsePrefix("10.77.0.1/16"), netip.MustParsePrefix("fd4d::1/64")}
	_, err = dp.Start(t.Context(), wgnode.DataplaneConfig{
		PrivateKey: key, MTU: wgnode.DefaultMTU, Addresses: pool, Pool: []netip.Prefix{pool[0].Masked(), pool[1].Masked()},
		Notify: func(wgnode.DataplaneEvent) {}, Logger: slog.New(slog.DiscardHandler),
	}, want)
	require.NoError(t, err)
	socket, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	require.NoError(t, err)
	require.NoError(t, errors.Join(socket.SetWriteBuffer(64<<20), socket.SetReadBuffer(16<<20), socket.SetOption(netlink.CapAcknowledge, true)))
	f := &faultRig{dp: dp, socket: &faulty{Socket: socket, after: -1}, want: want}
	dp.turn <- struct{}{}
	dp.mu.Lock()
	before := dp.nft
	dp.nft = nft.NewConn(f.socket)
	dp.mu.Unlock()
	dp.leave()
	require.NoError(t, before.Close())
	return f
}

// faultView is what a change changes.
type faultView struct {
	stats   wgnode.Stats
	tables  []string
	peers   []wgdev.Peer
	classes int
}

func (f *faultRig) look(t *testing.T) (v faultView) {
	t.Helper()
	var err error
	v.stats, err = f.dp.Stats(t.Context(), wgnode.StatsQuery{All: true})
	require.NoError(t, err)
	v.stats.Dropped = nil
	slices.SortFunc(v.stats.Peers, func(a, b wgnode.PeerStats) int { return slices.Compare(a.PublicKey[:], b.PublicKey[:]) })
	slices.SortFunc(v.stats.Accounts, func(a, b wgnode.AccountStats) int { return strings.Compare(a.ID, b.ID) })
	out, err := exec.Command("nft", "-s", "list", "ruleset").Output()
	require.NoError(t, err)
	lines := strings.Split(regexp.MustCompile(`_([lw])\d+\b`).ReplaceAllString(string(out), "_$1"), "\n") // a quota may be made again
	slices.Sort(lines)                                                                                    // objects are listed by age
	v.tables = slices.DeleteFunc(lines, func(line string) bool { return line == "" })
	status, err := f.dp.device.Status(t.Context())
	require.NoError(t, err)
	for _, s := range status.Peers {
		slices.SortFunc(s.AllowedIPs, netip.Prefix.Compare)
		v.peers = append(v.peers, s.Peer)
	}
	slices.SortFunc(v.peers, func(a, b wgdev.Peer) int { return slices.Compare(a.PublicKey[:], b.PublicKey[:]) })
	v.classes = f.dp.tree.Stats().Claimed
	return v
}

// try makes a change of which the transaction after n others fails, and then makes it again, and undoes it. It reports
// whether there were so many.
func (f *faultRig) try(t *testing.T, change wgnode.Change, how failure, fault error, n int) bool {
	t.Helper()
	before := f.look(t)
	f.socket.after, f.socket.how, f.socket.err, f.socket.failed = n, how, fault, false
	err := f.dp.Apply(t.Context(), change)
	f.socket.after = -1
	if f.socket.failed {
		require.ErrorIs(t, err, fault, "failure %d of transaction %d", how, n)
		require.Equal(t, before, f.look(t), "failure %d of transaction %d", how, n)
		repairs, err := f.dp.Sync(t.Context(), f.want)
		require.NoError(t, err)
		require.Empty(t, repairs, "failure %d of transaction %d", how, n)
		err = f.dp.Apply(t.Context(), change)
		require.NoError(t, err, "the change fails without a fault")
	} else {
		require.NoError(t, err)
	}
	_, err = f.dp.Sync(t.Context(), f.want)
	require.NoError(t, err)
	return f.socket.failed
}
