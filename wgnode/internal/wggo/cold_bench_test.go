package wggo

import (
	"encoding/binary"
	"fmt"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tai64n"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
)

// BenchmarkRegister is what peers cost that have never come: the time of Set, and memory.
func BenchmarkRegister(b *testing.B) {
	for _, n := range []int{10_000, 200_000} {
		b.Run(fmt.Sprintf("peers=%d", n), func(b *testing.B) {
			var took, held, read float64
			for b.Loop() {
				b.StopTimer()
				d, _ := benchDevice(b)
				all := manyPeers(n)
				before := inUse()
				b.StartTimer()
				began := time.Now()
				require.NoError(b, d.Set(b.Context(), nil, all))
				took += time.Since(began).Seconds()
				b.StopTimer()
				held += inUse() - before
				began = time.Now()
				_, err := d.Status()
				require.NoError(b, err)
				read += time.Since(began).Seconds()
				runtime.KeepAlive(all)
				d.Close()
				b.StartTimer()
			}
			b.ReportMetric(took/float64(b.N)*1000, "ms/set")
			b.ReportMetric(read/float64(b.N)*1000, "ms/status")
			b.ReportMetric(held/float64(b.N)/float64(n), "B/peer")
		})
	}
}

// BenchmarkActive is what a node holds with peers that are registered and some that have a session, and what reading them takes.
func BenchmarkActive(b *testing.B) {
	for _, c := range []struct{ registered, active int }{{10_000, 100}, {200_000, 1000}} {
		b.Run(fmt.Sprintf("peers=%d/active=%d", c.registered, c.active), func(b *testing.B) {
			before := inUse()
			d, server := benchDevice(b)
			defer d.Close()
			require.NoError(b, d.Set(b.Context(), nil, manyPeers(c.registered-c.active)))
			_, err := d.Up()
			require.NoError(b, err)
			from, err := d.m.bind.ParseEndpoint("127.0.0.1:9")
			require.NoError(b, err)
			for range c.active {
				own := newKey(b)
				require.NoError(b, d.Set(b.Context(), nil, []Peer{{PublicKey: own.PublicKey()}}))
				secret, ok := d.owner.identity.Load().shared(keyBytes(own.PublicKey()))
				require.True(b, ok)
				d.m.gate.receive(&knock{written(b, server, own.PublicKey(), secret, tai64n.Now()), from})
			}
			held := inUse() - before
			for b.Loop() {
				s, err := d.Status()
				require.NoError(b, err)
				require.Equal(b, c.active, s.Active)
				require.Len(b, s.Peers, c.registered)
			}
			b.ReportMetric(held/1e6, "MB")
		})
	}
}

func keyBytes(k wgtypes.Key) []byte { return k[:] }

func benchDevice(b *testing.B) (*Device, wgtypes.Key) {
	b.Helper()
	key := newKey(b)
	d, err := New(newPipe(func([]byte) {}), Config{PrivateKey: key})
	require.NoError(b, err)
	return d, key.PublicKey()
}

// BenchmarkHandshake is the time from a peer's initiation until it has the answer, over the loopback: of a peer that is in no device,
// of one that is, and of one of stock wireguard-go's.
func BenchmarkHandshake(b *testing.B) {
	key := newKey(b)
	id, err := newIdentity(key)
	require.NoError(b, err)
	answered := func(b *testing.B, w wire, own wgtypes.Key) {
		b.Helper()
		b.StopTimer()
		secret, ok := id.shared(keyBytes(own.PublicKey()))
		require.True(b, ok)
		time.Sleep(25 * time.Millisecond) // another initiation is not taken earlier
		m := written(b, key.PublicKey(), own.PublicKey(), secret, tai64n.Now())
		b.StartTimer()
		require.EqualValues(b, device.MessageResponseType, w.answer(m, patience))
	}
	node := func(b *testing.B) (*Device, wire) {
		b.Helper()
		d, err := New(newPipe(func([]byte) {}), Config{PrivateKey: key})
		require.NoError(b, err)
		b.Cleanup(d.Close)
		require.NoError(b, d.Set(b.Context(), nil, manyPeers(10_000)))
		port, err := d.Up()
		require.NoError(b, err)
		return d, newWire(b, port)
	}
	b.Run("cold", func(b *testing.B) {
		d, w := node(b)
		for b.Loop() {
			b.StopTimer()
			own := newKey(b)
			require.NoError(b, d.Set(b.Context(), nil, []Peer{{PublicKey: own.PublicKey()}}))
			answered(b, w, own)
			b.StopTimer()
			require.NoError(b, d.Set(b.Context(), []wgtypes.Key{own.PublicKey()}, nil))
			b.StartTimer()
		}
	})
	b.Run("warm", func(b *testing.B) {
		d, w := node(b)
		own := newKey(b)
		require.NoError(b, d.Set(b.Context(), nil, []Peer{{PublicKey: own.PublicKey()}}))
		answered(b, w, own)
		for b.Loop() {
			answered(b, w, own)
		}
	})
	b.Run("stock", func(b *testing.B) {
		own := newKey(b)
		dev := device.NewDevice(newPipe(func([]byte) {}), conn.NewDefaultBind(), device.NewLogger(device.LogLevelSilent, ""))
		b.Cleanup(dev.Close)
		require.NoError(b, dev.IpcSet("private_key="+hexKey(key)+"\nlisten_port=0\npublic_key="+hexKey(own.PublicKey())+"\n"))
		require.NoError(b, dev.Up())
		text, err := dev.IpcGet()
		require.NoError(b, err)
		s, err := parseReport(strings.NewReader(text))
		require.NoError(b, err)
		w := newWire(b, s.ListenPort)
		answered(b, w, own)
		for b.Loop() {
			answered(b, w, own)
		}
	})
}

// BenchmarkGate is what an initiation takes that does not come from a peer, by how far it gets, and what messages take that pass.
func BenchmarkGate(b *testing.B) {
	d, server := benchDevice(b)
	defer d.Close()
	known := manyPeers(10_000)
	require.NoError(b, d.Set(b.Context(), nil, known))
	from, err := d.m.bind.ParseEndpoint("127.0.0.1:9")
	require.NoError(b, err)
	wrong := knock{forged(b, newKey(b).PublicKey(), known[0].PublicKey), from}
	stranger := knock{forged(b, server, newKey(b).PublicKey()), from}
	own := newKey(b)
	require.NoError(b, d.Set(b.Context(), nil, []Peer{{PublicKey: own.PublicKey()}}))
	forgery := knock{forged(b, server, own.PublicKey()), from}
	for name, k := range map[string]*knock{"wrong MAC": &wrong, "stranger": &stranger, "forgery": &forgery} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				d.m.gate.receive(k)
			}
		})
	}
	b.Run("without a cookie", func(b *testing.B) {
		socket, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		require.NoError(b, err)
		defer socket.Close()
		_, err = d.Up()
		require.NoError(b, err)
		d.m.gate.loaded.Store(time.Now().Add(time.Hour).UnixNano())
		to, err := d.m.bind.ParseEndpoint(socket.LocalAddr().String())
		require.NoError(b, err)
		k := knock{stranger.message, to}
		for b.Loop() {
			d.m.gate.receive(&k)
		}
	})
	b.Run("batch that passes", func(b *testing.B) {
		batch, sizes := make([][]byte, conn.IdealBatchSize), make([]int, conn.IdealBatchSize)
		for i := range batch {
			batch[i], sizes[i] = make([]byte, 1500), 1500
			binary.LittleEndian.PutUint32(batch[i], device.MessageTransportType)
		}
		b.ReportAllocs()
		for b.Loop() {
			d.m.gate.sift(batch, sizes, nil)
		}
	})
}
