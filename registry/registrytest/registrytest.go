package registrytest

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/registry"
)

// Fleet is what is tested: an empty fleet, of one subtest alone.
type Fleet struct {
	// Registry is for all nodes. Nil: As is there.
	Registry registry.Registry
	// As returns the Registry of the node of a name, where each has its own, which speaks for that node alone. A name may be asked
	// for more than once, and is the same node then.
	As func(name string) registry.Registry
	// Directory and Sessions are what a control plane has of the same fleet. RunRegistry goes without them.
	Directory registry.Directory
	Sessions  registry.Sessions
	// Advance lets time pass for the registry: it sets its clock forward, or shifts all times that it has noted back.
	Advance func(d time.Duration)
	// SetDraining says what whoever runs the fleet wants. Nil: it cannot be said.
	SetDraining func(ctx context.Context, server registry.ID, draining bool) error
}

// Run tests all three interfaces. Each subtest asks for a fleet.
func Run(t *testing.T, fleet func(t *testing.T) Fleet) {
	RunRegistry(t, fleet)
	group(t, "Directory", fleet, directoryTests)
	group(t, "Watch", fleet, watchTests)
	group(t, "Sessions", fleet, sessionTests)
	group(t, "Move", fleet, moveTests)
	group(t, "Stranded", fleet, strandedTests)
	RunReleases(t, fleet)
	group(t, "SessionUsage", fleet, sessionUsageTests)
	group(t, "Concurrency", fleet, concurrencyTests)
	group(t, "Random", fleet, randomTests)
}

// RunRegistry tests the node's part. The fleet may be without Directory and Sessions.
func RunRegistry(t *testing.T, fleet func(t *testing.T) Fleet) {
	group(t, "Register", fleet, registerTests)
	group(t, "Heartbeat", fleet, heartbeatTests)
	group(t, "Usage", fleet, usageTests)
}

// RunReleases tests what servers are told to release; Run has it. The fleet may be without Directory.
func RunReleases(t *testing.T, fleet func(t *testing.T) Fleet) {
	group(t, "Releases", fleet, releaseTests)
}

func group(t *testing.T, name string, fleet func(t *testing.T) Fleet, tests map[string]func(*env)) {
	t.Run(name, func(t *testing.T) {
		for name, test := range tests {
			t.Run(name, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute) // a hang ends with words
				defer cancel()
				test(&env{T: t, Fleet: fleet(t), ctx: ctx})
			})
		}
	})
}

// nobody is a UUID that no server and no session has.
const nobody = "00000000-0000-4000-8000-000000000000"

// env is a subtest.
type env struct {
	*testing.T
	Fleet
	ctx   context.Context
	nodes []*node
}

// as returns the Registry of a node.
func (e *env) as(name string) registry.Registry {
	if e.As != nil {
		return e.As(name)
	}
	return e.Registry
}

// node plays one that registers and sends heartbeats.
type node struct {
	*env
	reg          registry.Registry
	registration registry.Registration
	registry.Registered
	sequence int64
	released int64
	status   registry.Status
	draining bool
	reports  int64
}

// key is a public key made of a name.
func key(name string) registry.Key {
	var k registry.Key
	copy(k[:], name)
	k[31] = 1
	return k
}

// registration is one of a node that could be placed on.
func registration(name string) registry.Registration {
	return registry.Registration{
		Name:       name,
		PublicKey:  key(name),
		EndpointV4: netip.MustParseAddrPort("192.0.2.1:51820"),
		APIURL:     "https://192.0.2.1:8443",
	}
}

// join registers a node and sends its first heartbeat.
func (e *env) join(name string, edit ...func(*registry.Registration)) *node {
	e.Helper()
	n := &node{env: e, reg: e.as(name), registration: registration(name)}
	for _, f := range edit {
		f(&n.registration)
	}
	n.register()
	n.beat()
	e.nodes = append(e.nodes, n)
	return n
}

func (n *node) register() {
	n.Helper()
	registered, err := n.reg.Register(n.ctx, n.registration)
	require.NoError(n, err)
	n.Registered, n.sequence = registered, 0
}

func (n *node) heartbeat() registry.Heartbeat {
	return registry.Heartbeat{
		Server: n.Server, Incarnation: n.Incarnation, Sequence: n.sequence, Status: n.status, Draining: n.draining, Released: n.released,
	}
}

// beat sends the next heartbeat.
func (n *node) beat() registry.Answer {
	n.Helper()
	n.sequence++
	answer, err := n.reg.Heartbeat(n.ctx, n.heartbeat())
	require.NoError(n, err)
	return answer
}

// takeReleases sends heartbeats until there is no release left, and returns what it got.
func (n *node) takeReleases() []registry.Release {
	n.Helper()
	var all []registry.Release
	for {
		answer := n.beat()
		if len(answer.Releases) == 0 {
			require.False(n, answer.More)
			return all
		}
		all = append(all, answer.Releases...)
		n.released = all[len(all)-1].Sequence
	}
}

// report sends the next usage report, of the hour that ends at a time of the registry's clock.
func (n *node) report(to time.Time, usages ...registry.PeerUsage) {
	n.Helper()
	n.reports++
	receipt, err := n.reg.ReportUsage(n.ctx, registry.UsageReport{
		Server: n.Server, Sequence: n.reports, From: to.Add(-time.Hour), To: to, Usages: usages,
	})
	require.NoError(n, err)
	require.Equal(n, n.reports, receipt.Sequence)
}

// beatAll keeps all nodes fresh, but some.
func (e *env) beatAll(but ...*node) {
	e.Helper()
next:
	for _, n := range e.nodes {
		for _, b := range but {
			if n == b {
				continue next
			}
		}
		n.beat()
	}
}

// server returns the record of a node from the directory.
func (n *node) server() registry.Server {
	n.Helper()
	servers, err := n.Directory.List(n.ctx, registry.Filter{})
	require.NoError(n, err)
	for _, s := range servers {
		if s.ID == n.Server {
			return s
		}
	}
	n.Fatalf("the directory has no %s", n.registration.Name)
	return registry.Server{}
}

// request is for a session of a user, whose key is made of the name.
func request(user string) registry.NewSession {
	return registry.NewSession{User: user, IdempotencyKey: "first", PublicKey: key(user)}
}

func (e *env) begin(r registry.NewSession) registry.Session {
	e.Helper()
	s, err := e.Sessions.Begin(e.ctx, r)
	require.NoError(e, err)
	return s
}

// active begins a session and confirms it.
func (e *env) active(r registry.NewSession) registry.Session {
	e.Helper()
	s := e.begin(r)
	s, err := e.Sessions.Confirm(e.ctx, s.ID, s.Generation, []netip.Addr{netip.MustParseAddr("10.0.0.2")})
	require.NoError(e, err)
	return s
}

// owner is the node that has the session.
func (e *env) owner(s registry.Session) *node {
	e.Helper()
	for _, n := range e.nodes {
		if n.Server == s.Server {
			return n
		}
	}
	e.Fatalf("session %s is on %s, which nobody knows", s.ID, s.Server)
	return nil
}

// stranded are the IDs of sessions that should be moved.
func (e *env) stranded(freshness time.Duration) []registry.SessionID {
	e.Helper()
	sessions, err := e.Sessions.Stranded(e.ctx, freshness, 100)
	require.NoError(e, err)
	var ids []registry.SessionID
	for _, s := range sessions {
		ids = append(ids, s.ID)
	}
	return ids
}

// keyText is a key as JSON has it.
func keyText(k registry.Key) string { return base64.StdEncoding.EncodeToString(k[:]) }

func name(prefix string, i int) string { return fmt.Sprintf("%s-%d", prefix, i) }
