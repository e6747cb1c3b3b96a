package wgnode

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/isolation"
	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/shaping"
)

var _ Dataplane = (*fakeDataplane)(nil)

// fakeDataplane keeps what it is told, and complains when a node breaks the contract of [Dataplane]. Traffic is made with
// move. A hook may fail or delay any call.
type fakeDataplane struct {
	// hook, when not nil, is called at the start of every call with its name, with no lock held.
	hook func(ctx context.Context, call string) error

	mu         sync.Mutex
	cfg        DataplaneConfig
	started    bool
	closed     bool
	speedLimit shaping.Limit
	policy     isolation.Policy
	peers      map[wgtypes.Key]*fakePeer
	accounts   map[string]*fakeAccount
	handshakes map[wgtypes.Key]time.Time
	calls      []string
	dropped    uint64

	// adopted is what a dataplane that outlived a former node has counted beyond what that node stored.
	adopted quota.Counters
	// refuse, when not nil, is asked about every change.
	refuse func(Change) error
	// onKeys, when not nil, is asked about keys.
	onKeys func(key, former wgtypes.Key) error
	// onDevice, when not nil, is called when handshakes of some peers are read.
	onDevice func()
	// outer are the bytes of WireGuard's messages, received as upload and sent as download; endpoints where peers are.
	outer     map[wgtypes.Key]quota.Counters
	endpoints map[wgtypes.Key]netip.AddrPort
	// laggards are the peers whose last handshake was with the former key.
	laggards map[wgtypes.Key]bool
	// problems is what Health finds.
	problems []HealthProblem
	// mute keeps the dataplane from reporting what its counters reach.
	mute bool
}

type fakePeer struct {
	PeerState
	meter *quota.Meter
}

type fakeAccount struct {
	AccountState
	meter *quota.Meter
}

func (f *fakeDataplane) enter(ctx context.Context, call string) error {
	f.mu.Lock()
	f.calls = append(f.calls, call)
	hook := f.hook
	f.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if hook != nil {
		return hook(ctx, call)
	}
	return nil
}

func (f *fakeDataplane) setHook(hook func(ctx context.Context, call string) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hook = hook
}

func (f *fakeDataplane) setRefuse(refuse func(Change) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refuse = refuse
}

func (f *fakeDataplane) Start(ctx context.Context, cfg DataplaneConfig, want State) (DataplaneInfo, error) {
	if err := f.enter(ctx, "Start"); err != nil {
		return DataplaneInfo{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.started || f.closed:
		return DataplaneInfo{}, errors.New("fake: Start called after Start or Close")
	case cfg.PrivateKey == wgtypes.Key{} || cfg.MTU == 0 || len(cfg.Addresses) == 0 || cfg.Notify == nil || cfg.Logger == nil:
		return DataplaneInfo{}, errors.New("fake: incomplete configuration")
	}
	f.cfg, f.started = cfg, true
	f.peers, f.accounts = make(map[wgtypes.Key]*fakePeer), make(map[string]*fakeAccount)
	if f.handshakes == nil {
		f.handshakes = make(map[wgtypes.Key]time.Time)
	}
	for i := range want.Peers {
		want.Peers[i].Counters.Download += f.adopted.Download
		want.Peers[i].Counters.Upload += f.adopted.Upload
	}
	if err := f.applyLocked(Change{
		SpeedLimit: &want.SpeedLimit, Policy: &want.Policy, SetAccounts: want.Accounts, SetPeers: want.Peers,
	}); err != nil {
		f.started = false
		return DataplaneInfo{}, err
	}
	port := cfg.ListenPort
	if port == 0 {
		port = 40404
	}
	return DataplaneInfo{Name: "fake", ListenPort: port, Limitations: []string{"moves no packets"}}, nil
}

func (f *fakeDataplane) Apply(ctx context.Context, change Change) error {
	if err := f.enter(ctx, "Apply"); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.started || f.closed {
		return errors.New("fake: Apply on a dataplane that is not running")
	}
	if f.refuse != nil {
		if err := f.refuse(change); err != nil {
			return err
		}
	}
	return f.applyLocked(change)
}

// applyLocked takes a change in the order that the contract gives, after checking that it can be taken whole.
func (f *fakeDataplane) applyLocked(c Change) error {
	if err := f.checkLocked(c); err != nil {
		return err
	}
	if c.SpeedLimit != nil {
		f.speedLimit = *c.SpeedLimit
	}
	if c.Policy != nil {
		f.policy = *c.Policy
	}
	for _, a := range c.SetAccounts {
		if old, ok := f.accounts[a.ID]; ok {
			old.AccountState = a
			old.meter.SetBudget(a.Budget)
			continue
		}
		f.accounts[a.ID] = &fakeAccount{a, quota.NewMeter(a.Counters, a.Budget, f.notifier(DataplaneEvent{Account: a.ID}))}
	}
	for _, key := range c.RemovePeers {
		delete(f.peers, key)
		delete(f.handshakes, key)
	}
	for _, p := range c.SetPeers {
		if old, ok := f.peers[p.PublicKey]; ok {
			old.PeerState = p
			old.meter.SetBudget(p.Budget)
			continue
		}
		f.peers[p.PublicKey] = &fakePeer{p, quota.NewMeter(p.Counters, p.Budget, f.notifier(DataplaneEvent{Peer: p.PublicKey}))}
	}
	for _, id := range c.RemoveAccounts {
		delete(f.accounts, id)
	}
	return nil
}

// notifier reports what a meter finds; the node's Notify must neither block nor call back.
func (f *fakeDataplane) notifier(e DataplaneEvent) func(quota.Crossing) {
	e.Kind = BudgetReached
	return func(quota.Crossing) {
		if !f.mute {
			f.cfg.Notify(e)
		}
	}
}

func (f *fakeDataplane) checkLocked(c Change) error {
	accounts := make(map[string]bool)
	for id := range f.accounts {
		accounts[id] = true
	}
	for _, a := range c.SetAccounts {
		accounts[a.ID] = true
	}
	holders := make(map[netip.Addr]wgtypes.Key)
	members := make(map[wgtypes.Key]string)
	for key, p := range f.peers {
		if !slices.Contains(c.RemovePeers, key) && !slices.ContainsFunc(c.SetPeers, func(q PeerState) bool { return q.PublicKey == key }) {
			members[key] = p.Account
			for _, addr := range p.Addrs {
				holders[addr] = key
			}
		}
	}
	for _, p := range c.SetPeers {
		if p.Account != "" && !accounts[p.Account] {
			return fmt.Errorf("fake: peer %s names account %q, which is not there", p.PublicKey, p.Account)
		}
		members[p.PublicKey] = p.Account
		for _, addr := range p.Addrs {
			if other, ok := holders[addr]; ok {
				return fmt.Errorf("fake: peers %s and %s have address %s", p.PublicKey, other, addr)
			}
			holders[addr] = p.PublicKey
		}
	}
	for _, id := range c.RemoveAccounts {
		for key, account := range members {
			if account == id {
				return fmt.Errorf("fake: account %q is removed and has peer %s", id, key)
			}
		}
	}
	return nil
}

func (f *fakeDataplane) Sync(ctx context.Context, want State) ([]Repair, error) {
	if err := f.enter(ctx, "Sync"); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var repairs []Repair
	change := Change{SpeedLimit: &want.SpeedLimit, Policy: &want.Policy}
	for _, a := range want.Accounts {
		if have, ok := f.accounts[a.ID]; !ok || have.SpeedLimit != a.SpeedLimit || have.Budget != a.Budget || have.Throttle != a.Throttle {
			change.SetAccounts = append(change.SetAccounts, a)
			repairs = append(repairs, Repair{"set account", a.ID})
		}
	}
	for _, p := range want.Peers {
		if have, ok := f.peers[p.PublicKey]; !ok || !have.Equal(p) {
			change.SetPeers = append(change.SetPeers, p)
			repairs = append(repairs, Repair{"set peer", p.PublicKey.String()})
		}
	}
	for key := range f.peers {
		if !slices.ContainsFunc(want.Peers, func(p PeerState) bool { return p.PublicKey == key }) {
			change.RemovePeers = append(change.RemovePeers, key)
			repairs = append(repairs, Repair{"removed stray peer", key.String()})
		}
	}
	for id := range f.accounts {
		if !slices.ContainsFunc(want.Accounts, func(a AccountState) bool { return a.ID == id }) {
			change.RemoveAccounts = append(change.RemoveAccounts, id)
			repairs = append(repairs, Repair{"removed stray account", id})
		}
	}
	if f.speedLimit != want.SpeedLimit {
		repairs = append(repairs, Repair{What: "set limit"})
	}
	return repairs, f.applyLocked(change)
}

func (f *fakeDataplane) Stats(ctx context.Context, q StatsQuery) (Stats, error) {
	if err := f.enter(ctx, "Stats"); err != nil {
		return Stats{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if q.Device && !q.All && f.onDevice != nil {
		f.onDevice()
	}
	s := Stats{Dropped: map[string]uint64{"quota": f.dropped}}
	if q.Health {
		s.Problems = slices.Clone(f.problems)
	}
	for key, p := range f.peers {
		if q.All || slices.Contains(q.Peers, key) {
			stats := PeerStats{PublicKey: key, Counters: p.meter.Counters(), Depleted: p.meter.Depleted()}
			if q.Device {
				stats.LastHandshake, stats.Endpoint = f.handshakes[key], f.endpoints[key]
				stats.Received, stats.Sent = f.outer[key].Upload, f.outer[key].Download
				stats.FormerKey = f.laggards[key] && f.cfg.FormerKey != wgtypes.Key{}
			}
			s.Peers = append(s.Peers, stats)
		}
	}
	for id, a := range f.accounts {
		if q.All || slices.Contains(q.Accounts, id) {
			s.Accounts = append(s.Accounts, AccountStats{ID: id, Counters: a.meter.Counters(), Depleted: a.meter.Depleted()})
		}
	}
	return s, nil
}

func (f *fakeDataplane) Close() error {
	err := f.enter(context.Background(), "Close")
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	return err
}

// move sends one packet of n bytes to (or from) a peer, and reports whether it passed.
func (f *fakeDataplane) move(key wgtypes.Key, d quota.Direction, n int) bool {
	f.mu.Lock()
	p, ok := f.peers[key]
	if !ok {
		f.mu.Unlock()
		return false
	}
	a := f.accounts[p.Account]
	f.mu.Unlock()
	var verdict quota.Verdict
	if a == nil {
		verdict = p.meter.Take(d, n)
	} else {
		verdict = quota.TakeBoth(p.meter, a.meter, d, n)
	}
	passed := verdict != quota.Refuse
	if !passed {
		f.mu.Lock()
		f.dropped++
		f.mu.Unlock()
	}
	return passed
}

// lose makes the dataplane forget a peer, as if a stranger had removed it.
func (f *fakeDataplane) lose(key wgtypes.Key) {
	f.mu.Lock()
	delete(f.peers, key)
	delete(f.handshakes, key)
	f.mu.Unlock()
	f.cfg.Notify(DataplaneEvent{Kind: DataplaneDisturbed})
}

func (f *fakeDataplane) peer(key wgtypes.Key) (PeerState, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p, ok := f.peers[key]
	if !ok {
		return PeerState{}, false
	}
	return p.PeerState, true
}

func (f *fakeDataplane) account(id string) (AccountState, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	a, ok := f.accounts[id]
	if !ok {
		return AccountState{}, false
	}
	return a.AccountState, true
}

// count returns how often a call was made.
func (f *fakeDataplane) count(call string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, c := range f.calls {
		if c == call {
			n++
		}
	}
	return n
}
