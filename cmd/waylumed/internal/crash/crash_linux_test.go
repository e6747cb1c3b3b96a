package crash

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/cmd/waylumed/internal/state"
	"github.com/waylume/waylume/internal/testutil"
	"github.com/waylume/waylume/internal/testutil/netns"
	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/wgnode/keyfile"
)

var (
	killsFlag = flag.Int("kills", 0, "how many processes are killed; 0: what CI has time for")
	seedFlag  = flag.Uint64("seed", 0, "decides what is asked and when processes are killed; 0: another each time")
)

const (
	killsInCI     = 30
	clientsOfLife = 4
	// mostForgotten is how long before a death what came is stored: a checkpoint is due every second, and a machine may keep the
	// node waiting.
	mostForgotten = 4 * time.Second
	// lateness is by how much a node that lives may be late with what time brings.
	lateness = 2 * time.Second
)

// harness is a row of lives of one node.
type harness struct {
	program  program
	net      *internet
	rand     *rand.Rand
	peers    []subject
	expiring int // of peers
	asker    *asker
	began    time.Time
	birth    time.Duration // what the last start took
	key      string        // the node's public key

	made   map[recordID]string // what there was at first
	before map[recordID]string // what the state had when the last life began
	total  []tally             // of all lives
	// started is when a node last did that then had all that was due; zero: none has.
	started time.Time
	forgot  uint64 // bytes of one peer in one life, at most
}

// TestKilled kills waylumed.
func TestKilled(t *testing.T) {
	netns.Require(t)
	testutil.RequireTool(t, "go", "golang")
	kills, seed := killsInCI, *seedFlag
	if *killsFlag > 0 {
		kills = *killsFlag
	}
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	dir := t.TempDir()
	h := &harness{rand: rand.New(rand.NewPCG(seed, 0)), began: time.Now(), birth: 100 * time.Millisecond}
	stateDir, backups := filepath.Join(dir, "state"), filepath.Join(dir, "backups")
	require.NoError(t, errors.Join(os.Mkdir(stateDir, 0o700), os.Mkdir(backups, 0o700)))
	var err error
	h.program, err = build(t.Context(), dir, stateDir)
	require.NoError(t, err)
	h.peers, err = prepare(t.Context(), stateDir, time.Now().Add(5*time.Second))
	require.NoError(t, err)
	h.expiring = slices.IndexFunc(h.peers, func(s subject) bool { return !s.peer.ExpiresAt.IsZero() })
	h.net, h.total = newInternet(t, len(h.peers)), make([]tally, len(h.peers))
	h.made, err = records(state.File(stateDir))
	require.NoError(t, err)
	h.before = h.made
	key, err := keyfile.Read(state.KeyFile(stateDir))
	require.NoError(t, err)
	h.key = key.PublicKey().String()
	h.asker = &asker{
		program: h.program, backups: backups, since: h.began.Add(-time.Hour), peers: len(h.peers), asked: make(map[string]int),
	}
	begun := time.Now()
	for i := range kills {
		require.NoError(t, h.live(),
			"life %d; to see it again: go test ./cmd/waylumed/internal/crash -args -kills %d -seed %d", i+1, kills, seed)
	}
	t.Logf("%d kills in %v; commands answered: %v, ended with an error: %d; %d bytes passed, %d forgotten at most of one peer or "+
		"account in one life", kills, time.Since(begun).Round(time.Millisecond), h.asker.asked, h.asker.refused, h.passed(), h.forgot)
	require.NoError(t, h.endInPeace(), "seed %d", seed)
	require.NoError(t, h.restore(filepath.Join(dir, "other")), "seed %d", seed)
}

func (h *harness) passed() (n uint64) {
	for _, t := range h.total {
		n += t.came.Of(quota.CountBoth)
	}
	return n
}

// moment is what had come at a time.
type moment struct {
	at      time.Time
	tallies []tally
}

// live is one life, and what is found after it.
func (h *harness) live() error {
	l, err := h.program.up(h.program.state)
	if err != nil {
		return err
	}
	if h.rand.IntN(6) == 0 { // while it starts
		time.Sleep(time.Duration(h.rand.Int64N(int64(h.birth) + 1)))
		return errors.Join(l.kill(), h.bury(l, false, h.net.look(), nil))
	}
	select {
	case <-l.started:
	case <-l.ended:
		return fmt.Errorf("waylumed ended by itself: %s", l.screen.String())
	case <-time.After(patience):
		return errors.Join(fmt.Errorf("waylumed has not started in %v", patience), l.kill())
	}
	h.birth = time.Since(l.born)
	first := h.net.look()
	moments, err := h.spend(l, h.span())
	return errors.Join(err, h.bury(l, true, first, moments))
}

// span is how long a life is.
func (h *harness) span() time.Duration {
	most := 400 * time.Millisecond
	switch n := h.rand.IntN(25); {
	case n < 8:
		most = 2 * time.Second // some checkpoints
	case n == 8:
		return mostForgotten + 2*time.Second
	}
	return time.Duration(h.rand.Int64N(int64(most)))
}

// spend has clients send and commands ask until the life is over.
func (h *harness) spend(l *life, span time.Duration) (moments []moment, err error) {
	key, err := keyfile.Read(state.KeyFile(h.program.state))
	if err != nil {
		return nil, errors.Join(err, l.kill())
	}
	stop := make(chan struct{})
	errs := make(chan error, 2)
	rotates := h.rand.IntN(4) == 0
	for range cap(errs) {
		r := rand.New(rand.NewPCG(h.rand.Uint64(), 0))
		go func() { errs <- h.asker.run(r, stop, rotates) }()
	}
	var clients []*client
	for _, i := range h.rand.Perm(len(h.peers))[:clientsOfLife] {
		c, err := h.net.connect(rand.New(rand.NewPCG(h.rand.Uint64(), 0)), i, h.peers[i], key.PublicKey())
		if err != nil {
			return nil, errors.Join(err, l.kill())
		}
		clients = append(clients, c)
	}
	for end := time.Now().Add(span); time.Now().Before(end); time.Sleep(min(5*time.Millisecond, time.Until(end))) {
		moments = append(moments, moment{time.Now(), h.net.look()})
	}
	err = l.kill()
	close(stop)
	for range cap(errs) {
		err = errors.Join(err, <-errs)
	}
	for _, c := range clients {
		err = errors.Join(err, c.close())
	}
	time.Sleep(5 * time.Millisecond) // what has left the node arrives
	return moments, err
}

// bury looks at what a life has left. First is what had passed before it.
func (h *harness) bury(l *life, started bool, first []tally, moments []moment) error {
	if started {
		h.started = l.born
	}
	if _, err := h.program.must("state", "check", state.File(h.program.state)); err != nil {
		return err
	}
	now, err := records(state.File(h.program.state))
	if err != nil {
		return err
	}
	expiring := h.peers[h.expiring]
	gone := new(bool)
	switch end := expiring.peer.ExpiresAt; {
	case !end.After(h.started) || started && l.died.Sub(end) > lateness:
		*gone = true
	case !end.After(l.died):
		gone = nil
	}
	last := h.net.look()
	var came []tally
	for _, m := range moments {
		if m.at.Before(l.died.Add(-mostForgotten)) {
			came = m.tallies
		}
	}
	errs := []error{
		compare(now, h.made, expiring, gone), h.judge(now, first, came, last), h.judgeLog(started, now), h.judgeKey(now),
		h.inspectFiles(),
	}
	h.before = now
	o, err := h.program.run("status", "--state", h.program.state)
	if err == nil && (o.status == 0 || !strings.Contains(o.stderr, "no node runs there")) {
		err = fmt.Errorf("status of a node that is dead ended with %d: %s%s", o.status, o.stdout, o.stderr)
	}
	return errors.Join(append(errs, err, h.judgeBackup())...)
}

// inspectFiles checks that nothing is left but what belongs there.
func (h *harness) inspectFiles() error {
	entries, err := os.ReadDir(h.program.state)
	if err != nil {
		return err
	}
	keys, sockets := 0, 0
	for _, e := range entries {
		switch name := e.Name(); {
		case strings.HasPrefix(name, ".node.key.new-"):
			keys++
		case name == "node.sock", name == "node.sock.new": // until it has its mode
			sockets++
		case !slices.Contains([]string{"node.db", "node.key", "usage"}, name):
			return fmt.Errorf("%s was left in %s", name, h.program.state)
		}
	}
	if keys > 1 {
		return fmt.Errorf("%d key files were left that nobody needs", keys)
	}
	if sockets > 1 {
		return errors.New("both node.sock and node.sock.new were left: the daemon has one socket, which it renames")
	}
	temporary, err := filepath.Glob(filepath.Join(h.asker.backups, ".*"))
	if err == nil && len(temporary) > 0 {
		err = fmt.Errorf("commands that nobody killed have left %v", temporary)
	}
	return err
}
