package crashtest

import (
	"fmt"
	"net/netip"
	"os"
	"regexp"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/waylume/waylume/internal/testutil/datagram"
	"github.com/waylume/waylume/internal/testutil/netns"
	"github.com/waylume/waylume/wgnode"
)

const (
	uplinkName = "uplink0"
	// uplinkQueue is so long that no packet of a life is lost on its way out.
	uplinkQueue = 20_000
)

// uplink is the internet of package kernel: this host's way out, with the far server behind it.
type uplink struct {
	wire    *os.File
	packets atomic.Uint64
	done    sync.WaitGroup
}

func newUplink(tb testing.TB, f *flows) *uplink {
	tb.Helper()
	u := &uplink{wire: netns.OpenTUN(tb, uplinkName, wgnode.DefaultMTU, uplinkQueue)}
	netns.AddAddr(tb, nil, uplinkName, netip.MustParsePrefix("203.0.113.1/24"))
	netns.AddRoute(tb, nil, uplinkName, netip.MustParsePrefix("0.0.0.0/0"), netip.Addr{})
	u.done.Go(func() {
		for buf := make([]byte, 1<<16); ; {
			n, err := u.wire.Read(buf)
			if err != nil {
				return
			}
			if packet := buf[:n]; datagram.IsQuestion(packet) && f.arrive(packet[datagram.Headers:]) {
				datagram.Turn(packet)
				_, _ = u.wire.Write(packet) // lost like any packet
			}
			u.packets.Add(1)
		}
	})
	return u
}

// Settle waits until nothing waits in a queue of this host's, the shaper's own included, and nothing has come for a while.
func (u *uplink) Settle() error {
	const still = 20 * time.Millisecond
	deadline := time.Now().Add(patience)
	for before := u.packets.Load(); ; {
		time.Sleep(still)
		queues, err := output("tc -s qdisc show")
		if err != nil {
			return err
		}
		now := u.packets.Load()
		if now == before && !backlog.MatchString(queues) {
			return nil
		}
		if before = now; time.Now().After(deadline) {
			return fmt.Errorf("packets still wait %v after the last one was sent: %s", patience, queues)
		}
	}
}

// backlog is what tc says of a queue that is not empty.
var backlog = regexp.MustCompile(`backlog (?:[1-9]|0b [1-9])`)

func (u *uplink) Close() error {
	err := u.wire.Close()
	u.done.Wait()
	return err
}
