package wgnode

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/shaping"
)

// notebook is a tracer that writes down what it is told of a test's own calls, each operation below that which it is a part of.
type notebook struct {
	mu   sync.Mutex
	told []string
}

type depth struct{}

// noted is the context for a call that is written down: the node has work of its own meanwhile.
func noted(t *testing.T) context.Context { return context.WithValue(t.Context(), depth{}, "") }

func (b *notebook) Begin(ctx context.Context, op Operation) (context.Context, func(error)) {
	above, ours := ctx.Value(depth{}).(string)
	if !ours {
		return ctx, func(error) {}
	}
	b.mu.Lock()
	at := len(b.told)
	b.told = append(b.told, above+op.Name)
	b.mu.Unlock()
	return context.WithValue(ctx, depth{}, above+"  "), func(err error) {
		b.mu.Lock()
		defer b.mu.Unlock()
		if at < len(b.told) && err != nil {
			b.told[at] += " failed"
		}
	}
}

func (b *notebook) take() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	told := b.told
	b.told = nil
	return told
}

func TestTracer(t *testing.T) {
	book := &notebook{}
	r := startRig(t, func(c *Config) { c.Tracer = book })
	ctx := noted(t)
	key := newKey(t)
	for _, c := range []struct {
		do   func() error
		want []string
	}{
		{
			func() error { _, err := r.PutAccount(ctx, AccountSpec{ID: "acme"}); return err },
			[]string{"put account", "  write to store", "  apply to dataplane"},
		},
		{
			func() error {
				_, err := r.AddPeer(ctx, PeerSpec{PublicKey: key, Account: "acme"})
				return err
			},
			[]string{"add peer", "  write to store", "  apply to dataplane"},
		},
		{
			func() error { return r.SetSpeedLimit(ctx, OfPeer(key), shaping.Limit{Download: 8000}) },
			[]string{"set speed limit", "  write to store", "  apply to dataplane"},
		},
		{
			func() error { return r.SetDataCap(ctx, OfPeer(key), quota.Cap{Bytes: quota.GiB}) },
			[]string{"set data cap", "  read counters", "  write to store", "  apply to dataplane"},
		},
		{
			func() error { _, err := r.Sync(ctx); return err },
			[]string{"sync"},
		},
		{
			func() error { return r.RemovePeer(ctx, key) },
			[]string{"remove peer", "  read counters", "  apply to dataplane", "  write to store"},
		},
	} {
		book.take()
		require.NoError(t, c.do())
		require.Equal(t, c.want, book.take())
	}

	r.dataplane.setRefuse(func(Change) error { return errInjected })
	_, err := r.AddPeer(ctx, PeerSpec{PublicKey: key})
	require.ErrorIs(t, err, errInjected)
	require.Equal(t, []string{
		"add peer failed", "  write to store", "  apply to dataplane failed", "  undo", "    write to store",
	}, book.take())
}

// Without a tracer nothing is told, and nothing is allocated.
func TestTraceWithoutTracer(t *testing.T) {
	n, err := New(Config{Dataplane: &fakeDataplane{}})
	require.NoError(t, err)
	ctx := t.Context()
	require.Zero(t, testing.AllocsPerRun(100, func() {
		inner, end := n.trace(ctx, "add peer", Subject{}, 1)
		_, endInner := Trace(inner, Operation{Name: "apply"})
		endInner(nil)
		end(errors.ErrUnsupported)
	}))
	require.NoError(t, n.Close())
}

func TestSubjectOfChange(t *testing.T) {
	key, other := newKey(t), newKey(t)
	require.Equal(t, OfPeer(key), Change{SetPeers: []PeerState{{PublicKey: key}}}.subject())
	require.Equal(t, OfPeer(key), Change{RemovePeers: []wgtypes.Key{key}}.subject())
	require.Equal(t, OfAccount("a"), Change{SetAccounts: []AccountState{{ID: "a"}}}.subject())
	require.Equal(t, OfAccount("a"), Change{RemoveAccounts: []string{"a"}}.subject())
	require.Zero(t, Change{RemovePeers: []wgtypes.Key{key, other}}.subject())
	require.Zero(t, Change{SpeedLimit: &shaping.Limit{}}.subject())
}
