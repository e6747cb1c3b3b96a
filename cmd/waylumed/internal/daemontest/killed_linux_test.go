package daemontest

import (
	"context"
	crand "crypto/rand"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	api "github.com/waylume/waylume/wgnode/httpapi/v1"
)

// unlimited are the rates of a daemon that is to be kept busy.
var unlimited = settings{"api.rate.per_source": 1e6, "api.rate.per_key": 1e6, "api.rate.burst": 1_000_000}

// uuid is one of version 4 (RFC 9562, section 5.4).
func uuid() string {
	var b [16]byte
	_, _ = crand.Read(b[:]) // it does not fail
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// creator creates peers, and asks again, with the same idempotency key, until it has an answer.
type creator struct {
	client  *http.Client
	name    string
	made    map[string]api.CreatedPeer // by idempotency key
	repeats int
}

// create makes the request with a key until it is answered, or the context ends.
func (c *creator) create(ctx context.Context, key string) (made api.CreatedPeer, ok bool, err error) {
	for ctx.Err() == nil {
		r, err := ask(c.client, http.MethodPost, onSocket+peers, api.PeerSpec{Name: c.name}, "Idempotency-Key", key)
		switch {
		case err != nil: // killed, or not there yet
		case r.status == http.StatusCreated || r.status == http.StatusOK:
			return made, true, json.Unmarshal(r.body, &made)
		case r.status == http.StatusServiceUnavailable || r.status == http.StatusConflict && r.header.Get("Retry-After") != "":
		default:
			return made, false, fmt.Errorf("key %s: status %d: %s", key, r.status, r.body)
		}
		c.repeats++
		time.Sleep(5 * time.Millisecond)
	}
	return made, false, nil
}

// run creates peers until the context ends; now and then it asks again for one that it has.
func (c *creator) run(ctx context.Context, random *rand.Rand) error {
	for ctx.Err() == nil {
		key := uuid()
		if random.IntN(8) == 0 {
			for key = range c.made { // any
				break
			}
		}
		made, ok, err := c.create(ctx, key)
		if err != nil {
			return err
		}
		if !ok { // it may be there or not: ask once more, when nobody kills
			if made, ok, err = c.create(context.Background(), key); err != nil || !ok {
				return err
			}
		}
		if before, again := c.made[key]; again && before.PrivateKey != made.PrivateKey {
			return fmt.Errorf("key %s: peer %s has become %s", key, before.ID, made.ID)
		}
		if made.PrivateKey == (api.Key{}) {
			return fmt.Errorf("key %s: peer %s came without its private key", key, made.ID)
		}
		c.made[key] = made
	}
	return nil
}

// TestKilled kills daemons while eight clients create peers: each idempotency key has made one peer, whose private key is the same
// however often it is asked for, nothing that was answered is lost, nothing else is there, and the audit log is sound each time.
func TestKilled(t *testing.T) {
	const clients = 8
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	s := newSite(t, unlimited)
	n := *kills
	if testing.Short() {
		n = min(n, 3)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	group := new(errgroup.Group)
	creators := make([]*creator, clients)
	for i := range creators {
		c := &creator{client: s.unix(), name: fmt.Sprintf("client %d", i), made: map[string]api.CreatedPeer{}}
		creators[i] = c
		own := rand.New(rand.NewPCG(seed, uint64(i)+1))
		group.Go(func() error { return c.run(ctx, own) })
	}
	for i := range n {
		d := s.launch(t)
		if i%4 == 3 { // in the middle of its start; the first has been ready
			time.Sleep(time.Duration(random.IntN(60)) * time.Millisecond)
		} else {
			d.waitReady(t)
			time.Sleep(time.Duration(random.IntN(400)) * time.Millisecond)
		}
		d.kill()
		require.False(t, d.cmd.ProcessState.Exited(), "the daemon has ended by itself: %s", d.log)
		verify(t, s)
	}
	d := s.start(t)
	time.Sleep(100 * time.Millisecond)
	stop()
	require.NoError(t, group.Wait())

	want := map[string]string{} // names by ID
	repeats := 0
	for _, c := range creators {
		repeats += c.repeats
		for key, made := range c.made {
			require.NotContains(t, want, made.ID, "one peer of two keys")
			want[made.ID] = c.name
			again, ok, err := c.create(t.Context(), key)
			require.NoError(t, err)
			require.True(t, ok)
			require.Equal(t, made.PrivateKey, again.PrivateKey)
		}
	}
	got := map[string]string{}
	for _, p := range allPeers(t, s.unix(), onSocket) {
		got[p.ID] = p.Name
	}
	require.Equal(t, want, got)
	t.Logf("%d peers, %d requests made again, %d daemons killed", len(got), repeats, n)
	d.stop(t)
	verify(t, s)
}

// verify has the program look at the audit log.
func verify(t *testing.T, s *site) {
	t.Helper()
	status, out := s.waylumed(t, "audit", "verify", s.path("state/audit.log"))
	require.Zero(t, status, out)
}
