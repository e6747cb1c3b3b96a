package wggo

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// manyPeers have any bytes for keys, which is what public keys are, and addresses that no phone has.
func manyPeers(n int) []Peer {
	all := make([]Peer, n)
	for i := range all {
		var k wgtypes.Key
		k[0], k[1], k[2], k[3] = byte(i), byte(i>>8), 1, byte(i>>16)
		v4 := netip.AddrFrom4([4]byte{10, byte(9 + i>>16), byte(i >> 8), byte(i)})
		v6 := netip.AddrFrom16([16]byte{0: 0xfd, 13: byte(i >> 16), 14: byte(i >> 8), 15: byte(i)})
		all[i] = Peer{PublicKey: k, AllowedIPs: []netip.Prefix{netip.PrefixFrom(v4, 32), netip.PrefixFrom(v6, 128)}}
	}
	return all
}

// BenchmarkOverlap is what the beginning and the end of an overlap take, and what the second device holds meanwhile.
func BenchmarkOverlap(b *testing.B) {
	for _, n := range []int{1000, 10_000} {
		b.Run(fmt.Sprintf("peers=%d", n), func(b *testing.B) {
			var began, ended, held float64
			for b.Loop() {
				b.StopTimer()
				first, second, all := newKey(b), newKey(b), manyPeers(n)
				d, err := New(newPipe(func([]byte) {}), Config{PrivateKey: first})
				require.NoError(b, err)
				require.NoError(b, d.Set(b.Context(), nil, all))
				_, err = d.Up()
				require.NoError(b, err)
				before := inUse()
				b.StartTimer()
				at := time.Now()
				require.NoError(b, d.SetKeys(b.Context(), second, first, all))
				began += time.Since(at).Seconds()
				held += inUse() - before
				at = time.Now()
				require.NoError(b, d.SetKeys(b.Context(), second, none, all))
				ended += time.Since(at).Seconds()
				b.StopTimer()
				d.Close()
				b.StartTimer()
			}
			b.ReportMetric(began/float64(b.N)*1000, "ms/begin")
			b.ReportMetric(ended/float64(b.N)*1000, "ms/end")
			b.ReportMetric(held/float64(b.N)/1e6, "MB/device")
		})
	}
}

func inUse() float64 {
	runtime.GC()
	runtime.GC() // what pools keep goes with the second
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc + m.StackInuse)
}

// BenchmarkPair is what is done for each message during an overlap, and for each handshake.
func BenchmarkPair(b *testing.B) {
	const sessions = 30_000
	var reg registry
	reg.set(manyPeers(10_000))
	p := newPair(&reg, newBenchLane(&reg), newBenchLane(&reg))
	for i := range uint32(sessions) {
		p.guest.indices.add(i*2654435761, time.Now())
	}
	data := make([]byte, 1400)
	data[0] = device.MessageTransportType
	initiation := make([]byte, device.MessageInitiationSize)
	initiation[0] = device.MessageInitiationType
	inner := packet(netip.MustParseAddr("10.9.1.1"), gateway, 0)
	for name, f := range map[string]func(i int){
		"transport": func(int) { p.forGuest(data) },
		"came":      func(int) { p.came(p.owner, inner) },
		"learn": func(i int) {
			binary.LittleEndian.PutUint32(initiation[4:], uint32(i)*2654435761)
			p.guest.sending([][]byte{initiation}, p)
		},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				f(i)
			}
		})
	}
}

// newBenchLane is a lane without a device that has all peers that are registered.
func newBenchLane(reg *registry) *lane {
	l := &lane{present: make(map[*entry]*presence)}
	reg.open(l)
	for _, e := range reg.all() {
		p := &presence{lane: l}
		l.present[e] = p
		if e.now == nil {
			e.now = new(activity)
			e.now.by.Store(l)
		}
		e.now.at = append(e.now.at, p)
	}
	return l
}

// BenchmarkOneKey is what a batch takes more on its way than straight to the port and the TUN, while there is one key.
func BenchmarkOneKey(b *testing.B) {
	var reg registry
	reg.set(manyPeers(10_000))
	m := &mux{tun: idleTUN{}, bind: idleBind{}, gate: newGate(&reg, nil), caller: newCaller(&reg, nil), lanes: make(map[*lane]struct{})}
	defer m.gate.limit.Close()
	l := newBenchLane(&reg)
	l.m, l.open = m, true
	m.add(l)
	m.sockets = []conn.ReceiveFunc{idleBind{}.receive}
	batch, sizes, eps := make([][]byte, conn.IdealBatchSize), make([]int, conn.IdealBatchSize), make([]conn.Endpoint, conn.IdealBatchSize)
	for i := range batch {
		batch[i] = make([]byte, 1500)
		batch[i][0] = 4<<4 | 5
		copy(batch[i][16:], []byte{10, 9, 0, byte(i)}) // each for another peer, the worst case
	}
	receive := laneBind{l}.receiver(0)
	for name, f := range map[string]func() (int, error){
		"receive":   func() (int, error) { return receive(batch, sizes, eps) },
		"send":      func() (int, error) { return 0, laneBind{l}.Send(batch, nil) },
		"TUN read":  func() (int, error) { return laneTUN{l}.Read(batch, sizes, 0) },
		"TUN write": func() (int, error) { return laneTUN{l}.Write(batch, 0) },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := f(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

type idleBind struct{ conn.Bind }

func (idleBind) receive(_ [][]byte, sizes []int, _ []conn.Endpoint) (int, error) {
	for i := range sizes {
		sizes[i] = 1400
	}
	return conn.IdealBatchSize, nil
}
func (idleBind) Send([][]byte, conn.Endpoint) error { return nil }

type idleTUN struct{ TUN }

func (idleTUN) Read(_ [][]byte, sizes []int, _ int) (int, error) {
	for i := range sizes {
		sizes[i] = 1400
	}
	return conn.IdealBatchSize, nil
}
func (idleTUN) Write([][]byte, int) (int, error) { return conn.IdealBatchSize, nil }
