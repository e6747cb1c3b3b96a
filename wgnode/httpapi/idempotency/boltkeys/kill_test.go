package boltkeys_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/boltstore"
	"github.com/waylume/waylume/wgnode/httpapi/idempotency"
	"github.com/waylume/waylume/wgnode/httpapi/idempotency/boltkeys"
	"github.com/waylume/waylume/wgnode/wgnodetest"
)

// shared is the account whose data cap the requests top up, each once.
const shared, cap0 = "shared", 1 << 30

// made is the answer to a request for a peer.
type made struct{ Public, Private, Name string }

// serve is a node with a durable state behind a durable store of keys, until it is killed: it adds peers whose key pairs it
// makes, removes them, and tops the account up, which cannot be done twice.
func serve(args []string) error {
	ctx := context.Background()
	state, err := boltstore.Open(filepath.Join(args[0], "node.db"), boltstore.Options{})
	if err != nil {
		return err
	}
	node, err := wgnode.New(wgnode.Config{Dataplane: wgnodetest.NewDataplane(), Store: state})
	if err != nil {
		return err
	}
	if err := node.Start(ctx); err != nil {
		return err
	}
	if _, err := node.Account(shared); errors.Is(err, wgnode.ErrNotFound) {
		_, err = node.PutAccount(ctx, wgnode.AccountSpec{ID: shared, DataCap: quota.Cap{Bytes: cap0}})
		if err != nil {
			return err
		}
	}
	store, err := boltkeys.Open(filepath.Join(args[0], "keys.db"), boltkeys.Options{Strict: true})
	if err != nil {
		return err
	}
	keys, err := idempotency.New(ctx, idempotency.Config{Store: store})
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /peers", func(w http.ResponseWriter, r *http.Request) {
		name, err := io.ReadAll(r.Body)
		if err != nil {
			panic(err)
		}
		derived, ok := idempotency.Derive(r.Context(), "peer")
		if !ok {
			panic("a request without a key")
		}
		private := wgtypes.Key(derived)
		private[0], private[31] = private[0]&248, private[31]&127|64 // RFC 7748, section 5
		public := private.PublicKey()
		_, err = node.AddPeer(r.Context(), wgnode.PeerSpec{PublicKey: public, Name: string(name)})
		answer(w, made{public.String(), private.String(), string(name)}, err)
	})
	mux.HandleFunc("DELETE /peers", func(w http.ResponseWriter, r *http.Request) {
		key, err := wgtypes.ParseKey(r.URL.Query().Get("key"))
		if err == nil {
			err = node.RemovePeer(r.Context(), key)
		}
		if errors.Is(err, wgnode.ErrNotFound) && idempotency.Interrupted(r.Context()) {
			err = nil // gone already
		}
		answer(w, made{}, err)
	})
	mux.Handle("POST /top-up", idempotency.OnlyOnce(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer(w, made{}, node.TopUp(r.Context(), wgnode.OfAccount(shared), 1))
	})))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(listener.Addr())
	server := &http.Server{Handler: keys.Middleware(mux), ReadHeaderTimeout: time.Minute}
	return server.Serve(listener)
}

func answer(w http.ResponseWriter, m made, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusConflict)
		return
	}
	_ = json.NewEncoder(w).Encode(m)
}

// asker is a client that sends each request until it has an answer, through any number of kills.
type asker struct {
	address  func() string // of the server that runs; waits for one
	sent     int           // requests, sent again ones too
	peers    map[string]made
	removed  []string
	topUps   int // acknowledged
	unknown  int // top-ups of which nobody knows
	client   *http.Client
	finished func() bool
}

func (a *asker) run(id int) error {
	a.peers = make(map[string]made)
	for n := 0; !a.finished(); n++ {
		name := fmt.Sprintf("peer-%d-%d", id, n)
		var m made
		status, again, err := a.ask(http.MethodPost, "/peers", "add "+name, name, &m)
		if err != nil || status != http.StatusOK || m.Name != name {
			return fmt.Errorf("%s: %d, %+v, %w", name, status, m, err)
		}
		a.peers[m.Public] = m
		if again { // and once more: what was said stays so
			var same made
			if _, _, err := a.ask(http.MethodPost, "/peers", "add "+name, name, &same); err != nil || same != m {
				return fmt.Errorf("%s was %+v, and is %+v: %w", name, m, same, err)
			}
		}
		if n%3 == 0 {
			path := "/peers?key=" + strings.ReplaceAll(m.Public, "+", "%2B")
			if status, _, err := a.ask(http.MethodDelete, path, "remove "+name, "", nil); err != nil || status != http.StatusOK {
				return fmt.Errorf("remove %s: %d, %w", name, status, err)
			}
			delete(a.peers, m.Public)
			a.removed = append(a.removed, m.Public)
		}
		status, _, err = a.ask(http.MethodPost, "/top-up", "top up "+name, "", nil)
		if err != nil {
			return err
		}
		// What was answered is answered again, also when the first was the last thing that a process did.
		if again, _, err := a.ask(http.MethodPost, "/top-up", "top up "+name, "", nil); err != nil || again != status {
			return fmt.Errorf("a top-up was answered %d, and then %d: %w", status, again, err)
		}
		switch status {
		case http.StatusOK:
			a.topUps++
		case http.StatusConflict:
			a.unknown++
		default:
			return fmt.Errorf("top-up: %d", status)
		}
	}
	return nil
}

// ask sends a request until there is an answer. Again says that it was sent more than once.
func (a *asker) ask(method, path, key, body string, into *made) (status int, again bool, err error) {
	key = base64.RawURLEncoding.EncodeToString([]byte(key))
	for tries := 0; ; tries++ {
		a.sent++
		req, err := http.NewRequestWithContext(ctx, method, "http://"+a.address()+path, bytes.NewBufferString(body))
		if err != nil {
			return 0, false, err
		}
		req.Header.Set(idempotency.Header, key)
		req.GetBody = nil // the client is not to send it again by itself
		res, err := a.client.Do(req)
		if err != nil {
			continue
		}
		data, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil {
			continue
		}
		if into != nil && res.StatusCode == http.StatusOK {
			err = json.Unmarshal(data, into)
		}
		if res.StatusCode >= 300 && !strings.Contains(string(data), "outcome-unknown") {
			err = fmt.Errorf("%d: %s", res.StatusCode, data)
		}
		return res.StatusCode, tries > 0, err
	}
}

// A node is killed again and again while clients add, remove and top up. Each request has one effect, whatever was answered stays
// so, and what cannot be done twice is not.
func TestKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("kills a process many times")
	}
	const kills, clients = 60, 8
	dir := t.TempDir()
	var mu sync.Mutex
	var address string
	running := sync.NewCond(&mu)
	over := false
	set := func(to string) {
		mu.Lock()
		defer mu.Unlock()
		address = to
		running.Broadcast()
	}
	askers := make([]*asker, clients)
	var all sync.WaitGroup
	errs := make(chan error, clients)
	for i := range askers {
		transport := &http.Transport{}
		defer transport.CloseIdleConnections()
		askers[i] = &asker{
			client: &http.Client{Transport: transport},
			address: func() string {
				mu.Lock()
				defer mu.Unlock()
				for address == "" {
					running.Wait()
				}
				return address
			},
			finished: func() bool {
				mu.Lock()
				defer mu.Unlock()
				return over
			},
		}
		all.Go(func() { errs <- askers[i].run(i) })
	}
	for i := range kills + 1 {
		server := child("serve", dir)
		server.Stderr = os.Stderr
		out, err := server.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, server.Start())
		line, err := bufio.NewReader(out).ReadString('\n')
		require.NoError(t, err)
		set(strings.TrimSpace(line))
		if i < kills {
			time.Sleep(time.Duration(rand.IntN(100)) * time.Millisecond)
		} else {
			mu.Lock()
			over = true
			mu.Unlock()
			all.Wait()
		}
		set("")
		require.NoError(t, server.Process.Kill())
		require.Error(t, server.Wait())
		require.Equal(t, -1, server.ProcessState.ExitCode(), "it ended by itself")
	}
	for range clients {
		require.NoError(t, <-errs)
	}
	judge(t, dir, askers)
}

// judge compares what the node has with what the clients were told.
func judge(t *testing.T, dir string, askers []*asker) {
	state, err := boltstore.Open(filepath.Join(dir, "node.db"), boltstore.Options{})
	require.NoError(t, err)
	node, err := wgnode.New(wgnode.Config{Dataplane: wgnodetest.NewDataplane(), Store: state})
	require.NoError(t, err)
	require.NoError(t, node.Start(ctx))
	defer node.Close()
	want, got := make(map[string]string), make(map[string]string)
	removed, topUps, unknown, sent := 0, 0, 0, 0
	for _, a := range askers {
		for key, m := range a.peers {
			want[key] = m.Name
			private, err := wgtypes.ParseKey(m.Private)
			require.NoError(t, err)
			require.Equal(t, key, private.PublicKey().String())
		}
		removed += len(a.removed)
		topUps, unknown, sent = topUps+a.topUps, unknown+a.unknown, sent+a.sent
	}
	for p := range node.Peers(wgnode.ListOptions{}) {
		got[p.PublicKey.String()] = p.Name
	}
	require.Equal(t, want, got)
	usage, err := node.Usage(ctx, wgnode.OfAccount(shared))
	require.NoError(t, err)
	done := int(usage.Limit - cap0)
	require.GreaterOrEqual(t, done, topUps, "one that was acknowledged is lost")
	require.LessOrEqual(t, done, topUps+unknown, "one was done twice")
	t.Logf("%d requests sent: %d peers there, %d removed, %d top-ups acknowledged, %d unknown, of which %d were done",
		sent, len(got), removed, topUps, unknown, done-topUps)
	require.Greater(t, len(got), len(askers))
}
