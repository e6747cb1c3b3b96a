package wgnode

import (
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
	"pgregory.net/rapid"
)

// TestUsageLogAgainstModel drives a node as TestNodeAgainstModel does, with a usage log that fails at times. In the end the log
// has of each subject that there ever was, under all names that it had, what the node counted, and no byte more.
func TestUsageLogAgainstModel(t *testing.T) {
	keys := make([]wgtypes.Key, 5)
	for i := range keys {
		keys[i] = newKey(t)
	}
	rapid.Check(t, func(rt *rapid.T) {
		var failure any
		synctest.Test(t, func(t *testing.T) {
			l := &logDriver{dir: filepath.Join(t.TempDir(), "usage"), counted: make(map[uint64]uint64)}
			l.driver = &driver{t: t, rt: rt, model: &model{now: time.Now()}, keys: keys, again: l.settings}
			l.rig = startRig(t, l.settings)
			defer func() {
				failure = recover()
				l.log.set(nil)
				l.rig.dataplane.setHook(nil)
				l.rig.store.set(nil, nil)
				l.rig.Close()
			}()
			l.run()
		})
		if failure != nil {
			panic(failure)
		}
	})
}

// logDriver is a driver of a node with a usage log.
type logDriver struct {
	*driver
	dir string
	log *hookedLog
	// counted is what subjects had moved when they were last seen, by sequence; numbers are the sequences of those that are there.
	counted map[uint64]uint64
	numbers map[Subject]uint64
}

// settings give each node the same log, which it opens anew.
func (l *logDriver) settings(c *Config) {
	unhurried(c)
	log, logged := hooked(l.t, l.dir)
	l.log = log
	logged(c)
}

func (l *logDriver) run() {
	actions := l.actions()
	compare := actions[""]
	actions[""] = func(rt *rapid.T) {
		compare(rt)
		l.note(rt)
	}
	actions["log fails"] = func(*rapid.T) { l.log.set(func() error { return errInjected }) }
	actions["log works"] = func(*rapid.T) { l.log.set(nil) }
	actions["restart"] = l.restartLogged
	// More happens between two readings than by chance alone.
	actions["use and remove"] = func(rt *rapid.T) { l.use(rt, l.removePeer) }
	actions["use and rekey"] = func(rt *rapid.T) { l.use(rt, l.rekeyPeer) }
	actions["fail and remove"] = func(rt *rapid.T) {
		actions["log fails"](rt)
		l.use(rt, l.removePeer)
	}
	for range l.keys {
		l.addPeer(l.rt)
		l.note(l.rt) // before it may leave
	}
	l.rt.Repeat(actions)
	l.log.set(nil)
	require.NoError(l.rt, l.rig.Close())
	l.note(l.rt)
	logged := make(map[uint64]uint64)
	for s, n := range inDirectory(l.rt, l.dir) {
		logged[s.Sequence] += n
	}
	for sequence, n := range l.counted {
		if n == 0 {
			delete(l.counted, sequence)
		}
	}
	require.Equal(l.rt, l.counted, logged)
}

// restartLogged restarts a node whose log works: what it owes to one that does not is lost with it, as its error says.
func (l *logDriver) restartLogged(rt *rapid.T) {
	l.log.set(nil)
	l.restart(rt)
}

// use has peers move something before something else happens.
func (l *logDriver) use(rt *rapid.T, do func(*rapid.T)) {
	for range 5 {
		l.traffic(rt)
		l.compare(rt)
	}
	do(rt)
}

// note remembers what each subject has been counted for: those that left say so in the event of their leaving.
func (l *logDriver) note(rt *rapid.T) {
	for _, e := range l.rig.drain() {
		if e.Kind == PeerRemoved || e.Kind == AccountRemoved {
			s := OfAccount(e.Account)
			if e.Kind == PeerRemoved {
				s = OfPeer(e.Peer)
			}
			require.Contains(rt, l.numbers, s)
			l.counted[l.numbers[s]] = e.Counters.Download + e.Counters.Upload
		}
	}
	l.rig.mu.RLock()
	defer l.rig.mu.RUnlock()
	l.numbers = make(map[Subject]uint64)
	for e := range l.rig.inv.entities {
		c := e.common()
		l.numbers[e.subject()] = c.sequence
		l.counted[c.sequence] = c.counters.Download + c.counters.Upload
	}
}
