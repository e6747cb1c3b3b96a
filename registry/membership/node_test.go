package membership

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/registry"
)

// fakeNode is a node with a disk, which outlives the processes that a test starts and kills.
type fakeNode struct {
	mu           sync.Mutex
	name         string
	status       registry.Status
	statusErr    error
	registerErr  error
	releaseErr   error
	releaseDelay time.Duration
	statusCalls  int
	released     map[int64]bool
	batches      [][]int64
}

func (n *fakeNode) Registration(context.Context) (registry.Registration, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return registry.Registration{
		Name: n.name, PublicKey: registry.Key{1}, EndpointV4: netip.MustParseAddrPort("192.0.2.1:51820"), APIURL: "https://192.0.2.1:8443",
	}, n.registerErr
}

func (n *fakeNode) Status(context.Context) (registry.Status, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.statusCalls++
	return n.status, n.statusErr
}

func (n *fakeNode) Release(ctx context.Context, releases []registry.Release) error {
	n.mu.Lock()
	delay := n.releaseDelay
	n.mu.Unlock()
	if err := sleepContext(ctx, delay); err != nil {
		return err
	}
	if err := n.carryOut(releases); err != nil {
		return err
	}
	return sleepContext(ctx, delay)
}

func (n *fakeNode) carryOut(releases []registry.Release) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	var batch []int64
	for i, r := range releases {
		if n.releaseErr != nil && i == len(releases)/2 {
			return n.releaseErr // half of it was done
		}
		n.released[r.Sequence] = true
		batch = append(batch, r.Sequence)
	}
	n.batches = append(n.batches, batch)
	return nil
}

func (n *fakeNode) set(change func(n *fakeNode)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	change(n)
}

func (n *fakeNode) has(sequence int64) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.released[sequence]
}

// fakeLog is a usage log: each entry is one usage, whose download is its number from 1.
type fakeLog struct {
	mu       sync.Mutex
	entries  []registry.PeerUsage
	kept     int // entries before are not there any more
	perChunk int // at most; 0: as many as are asked for
	err      error
}

func (l *fakeLog) append(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for range n {
		l.entries = append(l.entries, registry.PeerUsage{PublicKey: registry.Key{2}, Download: int64(len(l.entries) + 1)})
	}
}

func (l *fakeLog) set(change func(l *fakeLog)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change(l)
}

func (l *fakeLog) UsageAfter(_ context.Context, after string, limit int) (UsageChunk, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.perChunk > 0 {
		limit = min(limit, l.perChunk)
	}
	from, _ := strconv.Atoi(after)
	return l.chunkLocked(from, min(max(from, l.kept)+limit, len(l.entries)))
}

func (l *fakeLog) UsageOf(_ context.Context, after, upTo string) (UsageChunk, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	from, _ := strconv.Atoi(after)
	to, _ := strconv.Atoi(upTo)
	return l.chunkLocked(from, to)
}

func (l *fakeLog) chunkLocked(from, to int) (UsageChunk, error) {
	if l.err != nil {
		return UsageChunk{}, l.err
	}
	c := UsageChunk{More: to < len(l.entries), Lost: from < l.kept}
	if to > 0 {
		c.Next = strconv.Itoa(to)
	}
	if first := max(from, l.kept); first < to {
		c.Usages = slices.Clone(l.entries[first:to])
		c.From, c.To = time.Unix(int64(first), 0), time.Unix(int64(to), 0)
	}
	return c, nil
}

// logged collects what is logged.
type logged struct {
	mu      sync.Mutex
	records []slog.Record
}

func (l *logged) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelInfo }
func (l *logged) WithAttrs([]slog.Attr) slog.Handler               { return l }
func (l *logged) WithGroup(string) slog.Handler                    { return l }

func (l *logged) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.records = append(l.records, r)
	return nil
}

// from returns the messages of a level and above.
func (l *logged) from(level slog.Level) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var messages []string
	for _, r := range l.records {
		if r.Level >= level {
			messages = append(messages, r.Message)
		}
	}
	return messages
}

// rig is a node, its fleet, and the process that keeps it there.
type rig struct {
	t     testing.TB
	fleet *fakeFleet
	node  *fakeNode
	usage *fakeLog
	logs  *logged
	cfg   Config

	*Member
	stopRun func() error
}

// newRig makes a rig without starting it.
func newRig(t testing.TB, fleet *fakeFleet, name string) *rig {
	r := &rig{
		t: t, fleet: fleet, node: &fakeNode{name: name, released: map[int64]bool{}}, usage: &fakeLog{}, logs: &logged{},
	}
	r.cfg = Config{
		Registry: fleet, Node: r.node, Usage: r.usage, StateFile: filepath.Join(t.TempDir(), "fleet.json"), Logger: slog.New(r.logs),
	}
	return r
}

// start starts a process.
func (r *rig) start() {
	r.t.Helper()
	member, err := New(r.cfg)
	require.NoError(r.t, err)
	ctx, cancel := context.WithCancel(r.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- member.Run(ctx) }()
	r.Member = member
	r.stopRun = sync.OnceValue(func() error {
		cancel()
		return <-ended
	})
}

// kill ends the process where it stands.
func (r *rig) kill() {
	r.t.Helper()
	require.NoError(r.t, r.stopRun())
}

// run tests a rig that has started and joined, in a bubble with its own time.
func run(t *testing.T, adjust func(*rig), test func(t *testing.T, r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, newFakeFleet(), "fra-1")
		if adjust != nil {
			adjust(r)
		}
		r.start()
		defer r.kill()
		pass(registry.DefaultInterval)
		test(t, r)
		require.Empty(t, r.fleet.broken)
	})
}

// pass lets time pass, and all that is due then happen.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

var errNode = errors.New("node is out of order")

// wrongSource is wrong in a way that the place says.
type wrongSource struct{}

func (wrongSource) UsageAfter(_ context.Context, after string, limit int) (UsageChunk, error) {
	one := []registry.PeerUsage{{}}
	return map[string]UsageChunk{
		"stays":   {Next: after, More: true},
		"many":    {Next: "x", Usages: slices.Repeat(one, limit+1), From: time.Unix(1, 0), To: time.Unix(2, 0)},
		"nowhere": {Usages: one, From: time.Unix(1, 0), To: time.Unix(2, 0)},
		"long":    {Next: string(make([]byte, MaxCursor+1))},
	}[after], nil
}

func (wrongSource) UsageOf(context.Context, string, string) (UsageChunk, error) {
	return UsageChunk{}, errNode
}
