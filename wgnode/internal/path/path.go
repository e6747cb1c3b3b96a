package path

import (
	"errors"
	"net/netip"
	"sync"

	"github.com/waylume/waylume/internal/keytable"
	"github.com/waylume/waylume/internal/packet"
	"github.com/waylume/waylume/isolation"
	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/shaping"
	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/internal/addrtable"
	"github.com/waylume/waylume/wgnode/internal/desired"
)

// Config says where packets go when they have passed.
type Config struct {
	// MTU is the largest inner IP packet in bytes.
	MTU int
	// Pool are the prefixes that peers' addresses come from: a packet to an address in them that no peer has is dropped.
	Pool []netip.Prefix
	// Host are the addresses of the host, closed to peers unless a policy opens them.
	Host []netip.Addr
	// ToPeers delivers packets to the tunnel and takes ownership of each; the slice itself is not to be kept. It may block
	// while the tunnel is busy.
	ToPeers func([]*shaping.Packet)
	// ToNet delivers packets to the network; it must not keep them.
	ToNet func([][]byte)
	// Notify receives wgnode.BudgetReached, from the goroutine that moved the packet.
	Notify func(wgnode.DataplaneEvent)
	// FlowsPerPeer bounds the flows between peers that are tracked for one peer; 0 takes package isolation's default.
	FlowsPerPeer int
}

// Path carries packets between peers and the network under the state it was last given.
type Path struct {
	cfg      Config
	want     *desired.Set
	host     []netip.Addr
	filter   *isolation.Filter
	down, up *shaping.Scheduler
	table    addrtable.Table[*peer]
	drops    drops
	shaped   shapedPeers
	scratch  sync.Pool // *scratch

	mu       sync.RWMutex // guards the maps, not what they point to
	peers    keytable.Map[*peer]
	accounts map[string]*account
}

// scratch is what one call of FromPeer or of the upload shaper's output needs.
type scratch struct {
	info packet.Info
	net  [][]byte
	// run are packets in a row that go through one leaf, and sizes theirs in bytes.
	run   []passing
	sizes []int
	pkts  []*shaping.Packet
}

// New builds a path with no peer and the default policy.
func New(cfg Config) (*Path, error) {
	p := &Path{
		cfg: cfg, host: cfg.Host, accounts: make(map[string]*account),
		shaped: shapedPeers{all: make(map[*peer]*leaves)},
	}
	p.want = desired.NewOver(p.Holder)
	p.scratch.New = func() any { return new(scratch) }
	p.filter = isolation.NewFilter(isolation.Config{MaxFlows: cfg.FlowsPerPeer, Lookup: p.memberOf, KeepSubjects: true})
	var err error
	if err := p.setPolicy(isolation.Policy{}); err != nil {
		return nil, err
	}
	if p.down, err = shaping.NewScheduler(shaping.Config{MTU: cfg.MTU, Output: p.outputDown}); err != nil {
		return nil, err
	}
	if p.up, err = shaping.NewScheduler(shaping.Config{MTU: cfg.MTU, Output: p.outputUp}); err != nil {
		return nil, err
	}
	return p, nil
}

// Start lets packets pass.
func (p *Path) Start() {
	p.down.Start()
	p.up.Start()
}

// Close stops the shapers and frees what they hold. FromPeer and FromNet called afterwards drop what they are given.
func (p *Path) Close() {
	p.table.Clear()
	p.up.Close()
	p.down.Close()
}

// Sweep gives back the memory of flows between peers that have timed out, and of peers that move no packet any more. Call it
// about once a minute.
func (p *Path) Sweep() {
	p.filter.Sweep()
	p.restLeaves()
}

// Want is the state in force; the caller reads it under the lock that serialises Apply.
func (p *Path) Want() *desired.Set { return p.want }

// NewPacket returns a packet of n bytes for FromNet.
func (p *Path) NewPacket(n int) *shaping.Packet { return p.down.NewPacket(n) }

// FromPeer takes decrypted packets from the tunnel. Each element holds one packet from offset on; none is kept.
func (p *Path) FromPeer(bufs [][]byte, offset int) {
	s := p.scratch.Get().(*scratch)
	var leaf *shaping.Leaf // of the packets in s.run
	for _, buf := range bufs {
		raw := buf[offset:]
		from, to, ok := p.admit(&s.info, raw)
		if !ok {
			continue
		}
		l := p.leavesOf(from)
		if l == nil {
			p.drops.add(dropNoPeer)
			continue
		}
		up := l.up
		if up != leaf {
			p.shape(s, leaf)
			leaf = up
		}
		if !up.Unshaped() {
			s.run, s.sizes = append(s.run, passing{raw, from, to, s.info.FlowHash()}), append(s.sizes, len(raw))
			continue
		}
		p.shape(s, leaf)
		p.forward(s, from, to, raw)
	}
	p.shape(s, leaf)
	p.flush(s)
}

// passing is a packet on its way through FromPeer.
type passing struct {
	raw      []byte
	from, to *peer
	flow     uint32
}

// shape passes s.run through a leaf: what it lets go now without another copy, and the rest through its queue.
func (p *Path) shape(s *scratch, leaf *shaping.Leaf) {
	if len(s.run) == 0 {
		return
	}
	n := leaf.Take(s.sizes)
	for _, pkt := range s.run[:n] {
		p.forward(s, pkt.from, pkt.to, pkt.raw)
	}
	if n < len(s.run) {
		p.send(s) // before those that are behind them
		for _, queued := range s.run[n:] {
			pkt := p.up.NewPacket(len(queued.raw))
			copy(pkt.Data, queued.raw)
			pkt.Flow, pkt.Owner = queued.flow, queued.from
			s.pkts = append(s.pkts, pkt)
		}
		leaf.Enqueue(s.pkts...)
		clear(s.pkts)
		s.pkts = s.pkts[:0]
	}
	clear(s.run)
	s.run, s.sizes = s.run[:0], s.sizes[:0]
}

// admit says whom a packet is from and, when it is for another peer, for whom; ok is false when it may not pass.
func (p *Path) admit(info *packet.Info, raw []byte) (from, to *peer, ok bool) {
	if info.Parse(raw) != nil {
		p.drops.add(dropMalformed)
		return nil, nil, false
	}
	if from = p.lookup(info.Src); from == nil {
		p.drops.add(dropNoPeer)
		return nil, nil, false
	}
	var toMember *isolation.Member
	if to = p.lookup(info.Dst); to != nil {
		toMember = to.member.Load()
	}
	if verdict := p.filter.Check(from.member.Load(), toMember, info, raw); !verdict.Allow {
		p.drops.addReason(verdict.Reason)
		return nil, nil, false
	}
	return from, to, true
}

// forward meters a packet that a peer sent and passes it on. What goes to the network gathers in s until flush.
func (p *Path) forward(s *scratch, from, to *peer, raw []byte) {
	if !from.take(quota.Upload, len(raw)) {
		p.drops.add(dropCap)
		return
	}
	if to == nil {
		s.net = append(s.net, raw)
		return
	}
	pkt := p.down.NewPacket(len(raw))
	copy(pkt.Data, raw)
	var info packet.Info
	if err := info.Parse(raw); err == nil {
		pkt.Flow = info.FlowHash()
	}
	p.enqueueDown(to, []*shaping.Packet{pkt})
}

// send passes on what has gathered for the network.
func (p *Path) send(s *scratch) {
	if len(s.net) > 0 {
		p.cfg.ToNet(s.net)
		clear(s.net)
		s.net = s.net[:0]
	}
}

func (p *Path) flush(s *scratch) {
	p.send(s)
	p.scratch.Put(s)
}

// outputUp passes on what the upload shaper lets go.
func (p *Path) outputUp(pkts []*shaping.Packet) {
	s := p.scratch.Get().(*scratch)
	for _, pkt := range pkts {
		from := pkt.Owner.(*peer)
		var to *peer
		if from.gone.Load() {
			p.drops.add(dropNoPeer)
			continue
		}
		if p.inPool(destination(pkt.Data)) {
			// Whose address that is may have changed while the packet waited: it is judged anew, lest it go to a peer that
			// it was not meant for, or to the network.
			var ok bool
			if from, to, ok = p.admit(&s.info, pkt.Data); !ok {
				continue
			}
		}
		p.forward(s, from, to, pkt.Data)
	}
	p.flush(s)
	for _, pkt := range pkts {
		pkt.Free()
	}
}

// FromNet takes packets for peers and takes ownership of each; the slice is not kept. Packets for nobody are dropped.
func (p *Path) FromNet(pkts []*shaping.Packet) {
	for start := 0; start < len(pkts); {
		to := p.lookup(destination(pkts[start].Data))
		end := start + 1
		for end < len(pkts) && p.lookup(destination(pkts[end].Data)) == to {
			end++
		}
		p.enqueueDown(to, pkts[start:end])
		start = end
	}
}

func (p *Path) enqueueDown(to *peer, pkts []*shaping.Packet) {
	var l *leaves
	if to != nil {
		l = p.leavesOf(to)
	}
	if l == nil {
		for _, pkt := range pkts {
			p.drops.add(dropNoPeer)
			pkt.Free()
		}
		return
	}
	for _, pkt := range pkts {
		pkt.Owner = to
	}
	l.down.Enqueue(pkts...)
}

// outputDown meters what the download shaper lets go and delivers it.
func (p *Path) outputDown(pkts []*shaping.Packet) {
	passed := pkts[:0]
	for _, pkt := range pkts {
		to := pkt.Owner.(*peer)
		switch {
		case to.gone.Load():
			p.drops.add(dropNoPeer)
			pkt.Free()
		case !to.take(quota.Download, len(pkt.Data)):
			p.drops.add(dropCap)
			pkt.Free()
		default:
			passed = append(passed, pkt)
		}
	}
	if len(passed) > 0 {
		p.cfg.ToPeers(passed)
	}
}

// Apply makes one change, whole or not at all.
func (p *Path) Apply(c wgnode.Change) error {
	if err := p.want.Check(c); err != nil {
		return err
	}
	undo := p.want.Inverse(c)
	if err := p.execute(c); err != nil {
		return errors.Join(err, p.execute(undo))
	}
	p.want.Record(c)
	return nil
}
