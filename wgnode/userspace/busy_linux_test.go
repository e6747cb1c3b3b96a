package userspace

import (
	"bufio"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/blake2s"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/wgnode"
)

// busyNode is set in the process of a node that other tests keep busy: what kind of node it is, as JSON of [busyConfig].
const busyNode = "WAYLUME_TEST_BUSY_NODE"

// busyConfig is a node with so many peers; the rest is as in [Config].
type busyConfig struct {
	Peers     int
	InFlight  int
	TCPMemory int
}

// busyKey is the private key of a peer, or of the node, which is number 0.
func busyKey(i int) wgtypes.Key {
	return wgtypes.Key(blake2s.Sum256([]byte("busy " + strconv.Itoa(i))))
}

// busyAddr is a peer's address, from 1 on.
func busyAddr(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}) }

// busyProcess is a node in a process of its own, so that the memory is the node's alone.
type busyProcess struct {
	pid  int
	port uint16
	stop func() (cpu time.Duration) // what the node took of processors
}

func startBusy(t testing.TB, cfg busyConfig) *busyProcess {
	t.Helper()
	text, err := json.Marshal(cfg)
	require.NoError(t, err)
	cmd := exec.Command(os.Args[0], "-test.run=^TestBusyNode$")
	cmd.Env = append(os.Environ(), busyNode+"="+string(text))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	p := &busyProcess{pid: cmd.Process.Pid, stop: func() time.Duration {
		require.NoError(t, in.Close())
		require.NoError(t, cmd.Wait())
		return cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	}}
	for scanner := bufio.NewScanner(out); scanner.Scan(); {
		if rest, ok := strings.CutPrefix(scanner.Text(), "port "); ok {
			port, err := strconv.ParseUint(rest, 10, 16)
			require.NoError(t, err)
			p.port = uint16(port)
			return p
		}
	}
	p.stop()
	require.FailNow(t, "the node did not start")
	return nil
}

// peak is the most that was resident until now, in bytes (proc_pid_status(5)).
func (p *busyProcess) peak(t testing.TB) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.pid))
	require.NoError(t, err)
	_, rest, _ := strings.Cut(string(text), "VmHWM:")
	kb, err := strconv.Atoi(strings.Fields(rest)[0])
	require.NoError(t, err)
	return kb << 10
}

// TestBusyNode is the node of another test.
func TestBusyNode(t *testing.T) {
	text := os.Getenv(busyNode)
	if text == "" {
		t.Skip("it is what other tests start as a process")
	}
	var cfg busyConfig
	require.NoError(t, json.Unmarshal([]byte(text), &cfg))
	dp, err := New(Config{Dial: onLoopback, Limits: Limits{TCPMemory: cfg.TCPMemory}, inFlight: cfg.InFlight})
	require.NoError(t, err)
	var want wgnode.State
	for i := range cfg.Peers {
		want.Peers = append(want.Peers, wgnode.PeerState{PublicKey: busyKey(i + 1).PublicKey(), Addrs: []netip.Addr{busyAddr(i + 1)}})
	}
	info, err := dp.Start(t.Context(), wgnode.DataplaneConfig{
		PrivateKey: busyKey(0), MTU: testMTU, Addresses: []netip.Prefix{testGateway4}, Pool: []netip.Prefix{testGateway4.Masked()},
		Notify: func(wgnode.DataplaneEvent) {}, Logger: slog.New(slog.DiscardHandler),
	}, want)
	require.NoError(t, err)
	fmt.Printf("port %d\n", info.ListenPort)
	_, _ = bufio.NewReader(os.Stdin).ReadByte() // until the other test is at its end
	require.NoError(t, dp.Close())
}

// busyBound is the most that a node with so many peers may have resident, in bytes, when each has so many connections of which each
// has a buffer so large in use: what doc.go says under "Memory".
func busyBound(peers, connections, buffer int) int {
	const (
		program = 40 << 20
		peer    = 100 << 10
		splice  = 64 << 10
	)
	messages := (768 + 256*max(2, runtime.GOMAXPROCS(0))) << 16
	return program + 2*(messages+peers*(peer+connections*(buffer+splice)))
}

// moved is what a node's peers have moved.
type moved struct {
	down, up float64 // bit/s
	bytes    int64   // in all
}

// keepBusy has all connections of a node move bytes, one way after the other.
func (p *busyProcess) keepBusy(t testing.TB, peers, connections int, d time.Duration) (m moved) {
	t.Helper()
	c := connectBusy(t, p, peers)
	defer c.close(t)
	m.down, m.up = c.move(t, connections, false, d), c.move(t, connections, true, d)
	m.bytes = c.arrived.Load()
	return m
}

func TestBusyMemory(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector has its own memory beside the program's; what is in the device package wggo counts under it, too")
	}
	if testing.Short() {
		t.Skip("it takes some seconds")
	}
	for _, at := range []struct{ peers, connections, tcp, buffer int }{
		{1, 8, 0, maxTCPBuffer}, {100, 1, 0, maxTCPBuffer}, {100, 1, 4 << 20, 4 << 20 / (2 * tcpShare)},
	} {
		t.Run(fmt.Sprintf("peers=%d/connections=%d/TCPMemory=%d", at.peers, at.connections, at.tcp), func(t *testing.T) {
			p := startBusy(t, busyConfig{Peers: at.peers, TCPMemory: at.tcp})
			defer p.stop()
			m := p.keepBusy(t, at.peers, at.connections, time.Second)
			require.Positive(t, m.down)
			require.Positive(t, m.up)
			peak, bound := p.peak(t), busyBound(at.peers, at.connections, at.buffer)
			t.Logf("%d MB of %d", peak/1e6, bound/1e6)
			require.Less(t, peak, bound)
		})
	}
}

// BenchmarkBusyMemory keeps two nodes busy by turns, one without the bound on what is in the WireGuard device, and one with it: what the
// machine does to one it does to the other.
func BenchmarkBusyMemory(b *testing.B) {
	for _, at := range []struct{ peers, connections int }{{1, 8}, {100, 1}, {1000, 1}} {
		b.Run(fmt.Sprintf("peers=%d", at.peers), func(b *testing.B) {
			for b.Loop() {
				busyByTurns(b, at.peers, at.connections)
			}
		})
	}
}

// busyByTurns reports what a node with the bound does, beside one without, in medians of turns of two seconds.
func busyByTurns(b *testing.B, peers, connections int) {
	b.Helper()
	const turns = 3 // an odd number, for a median
	type side struct {
		node    *busyProcess
		clients *busyClients
		peak    float64
	}
	start := func(inFlight int) *side {
		node := startBusy(b, busyConfig{Peers: peers, InFlight: inFlight})
		return &side{node: node, clients: connectBusy(b, node, peers)}
	}
	bounded, unbounded := start(0), start(-1)
	rates := make(map[string][]float64)
	for way, upload := range map[string]bool{"up": true, "down": false} {
		for range turns {
			move := func(s *side) float64 { return s.clients.move(b, connections, upload, 2*time.Second) }
			// A speed that rises or falls steadily is the same to both.
			rate, without := move(bounded), move(unbounded)+move(unbounded)
			rate += move(bounded)
			rates["Mbit/s-"+way] = append(rates["Mbit/s-"+way], rate/2e6)
			rates[way+"-of-unbounded"] = append(rates[way+"-of-unbounded"], rate/without)
		}
	}
	work := make(map[*side]float64)
	for _, s := range []*side{bounded, unbounded} {
		s.peak = float64(s.node.peak(b))
		s.clients.close(b)
		work[s] = s.node.stop().Seconds() / float64(s.clients.arrived.Load())
	}
	for unit, of := range rates {
		slices.Sort(of)
		b.ReportMetric(of[turns/2], unit)
	}
	b.ReportMetric(bounded.peak/1e6, "MB")
	b.ReportMetric(bounded.peak/unbounded.peak, "MB-of-unbounded")
	b.ReportMetric(work[bounded]*1e9, "cpu-s/GB")
	b.ReportMetric(work[bounded]/work[unbounded], "cpu-of-unbounded")
	b.ReportMetric(0, "ns/op")
}
