package registry_test

import (
	"encoding/json"
	"fmt"
	"math"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/waylume/waylume/registry"
)

var publicKey = registry.Key{1}

// refused requires an error that is ErrInvalid and names each of the fields, and as many problems as there are fields.
func refused(t *testing.T, err error, fields ...string) {
	t.Helper()
	require.ErrorIs(t, err, registry.ErrInvalid)
	for _, f := range fields {
		require.ErrorContains(t, err, f+": ")
	}
	require.Equal(t, len(fields)-1, strings.Count(err.Error(), "\n"), err)
}

func TestRegistrationIsValidatedWhole(t *testing.T) {
	t.Parallel()
	good := registry.Registration{Name: "fra-1", PublicKey: publicKey, EndpointV6: netip.MustParseAddrPort("[2001:db8::1]:51820")}
	require.NoError(t, good.Validate())
	good.APIURL, good.Country, good.Features = "https://[2001:db8::1]:8443/", "DE", []string{"ipv6"}
	good.Capacity = registry.Capacity{Peers: registry.MaxPeers, Rate: math.MaxInt64}
	good.Position = &registry.Position{Latitude: -90, Longitude: 180}
	require.NoError(t, good.Validate())
	require.NoError(t, good.WithDefaults().Validate())
	require.Equal(t, "fra-1", good.WithDefaults().Audience)
	require.Equal(t, registry.DefaultPool, good.WithDefaults().Pool)
	require.Equal(t, "https://[2001:db8::1]:8443", good.WithDefaults().APIURL)

	refused(t, registry.Registration{}.Validate(), "Name", "PublicKey", "EndpointV4")
	refused(t, registry.Registration{
		Name: "fra 1", PublicKey: publicKey, EndpointV4: netip.MustParseAddrPort("[2001:db8::1]:51820"),
		EndpointV6: netip.MustParseAddrPort("[::ffff:192.0.2.1]:51820"), APIURL: "ftp://example.org", Audience: strings.Repeat("a", 600),
		Location: registry.Location{
			Region: "a\x00b", Country: "de", City: strings.Repeat("x", 65), Position: &registry.Position{Latitude: math.NaN(), Longitude: 181},
		},
		Pool: "\xff", Capacity: registry.Capacity{Peers: -1, Rate: -1}, Version: "a\nb", Features: []string{"", "ok"},
	}.Validate(), "Name", "EndpointV4", "EndpointV6", "APIURL", "Audience", "Region", "Country", "City", "Position.Latitude", "Position.Longitude",
		"Pool", "Capacity.Peers", "Capacity.Rate", "Version", "Features[0]")
	for _, endpoint := range []string{"192.0.2.1:0", "0.0.0.0:51820", "224.0.0.1:51820"} {
		bad := good
		bad.EndpointV4 = netip.MustParseAddrPort(endpoint)
		refused(t, bad.Validate(), "EndpointV4")
	}
	for _, url := range []string{"https://", "https://u:p@host", "https://host/path", "https://host?q", "host:8443", "https://host#f", "\x7f"} {
		bad := good
		bad.APIURL = url
		refused(t, bad.Validate(), "APIURL")
	}
}

func TestHeartbeatIsValidatedWhole(t *testing.T) {
	t.Parallel()
	require.NoError(t, registry.Heartbeat{Server: id(1), Incarnation: 1, Sequence: 1}.Validate())
	half, over := 0.5, 1.5
	refused(t, registry.Heartbeat{
		Server: "1", Released: -1, Status: registry.Status{
			Peers: -1, Connected: registry.MaxPeers + 1, Health: "ill", Reasons: []string{strings.Repeat("x", registry.MaxReasonLen+1)},
			Load: registry.Load{Score: math.NaN(), CPU: &over, Memory: &half, SentRate: -1, Scaling: "up"},
		},
	}.Validate(), "Server", "Incarnation", "Sequence", "Released", "Peers", "Connected", "Health", "Reasons[0]", "Load.Score", "Load.CPU", "Load.SentRate",
		"Load.Scaling")
	refused(t, registry.Status{Reasons: make([]string, 17)}.Validate(), append([]string{"Reasons"}, numbered("Reasons", 16)...)...)
}

func numbered(field string, n int) []string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf("%s[%d]", field, i))
	}
	return all
}

func TestUsageReportIsValidated(t *testing.T) {
	t.Parallel()
	now := time.Now()
	good := registry.UsageReport{Server: id(1), Sequence: 1, From: now, To: now, Usages: []registry.PeerUsage{{PublicKey: publicKey, Download: 1}}}
	require.NoError(t, good.Validate())
	refused(t, registry.UsageReport{Server: id(1), Usages: make([]registry.PeerUsage, registry.MaxUsages+1)}.Validate(),
		"Sequence", "To", "Usages", "Usages[0].PublicKey")
	good.Usages = []registry.PeerUsage{{PublicKey: publicKey, Download: -1, Upload: registry.MaxUsageBytes + 1}}
	good.To = now.Add(-time.Second)
	refused(t, good.Validate(), "To", "Usages[0].Download", "Usages[0].Upload")
}

func TestNewSessionIsValidatedWhole(t *testing.T) {
	t.Parallel()
	good := registry.NewSession{User: "ann", IdempotencyKey: "1", PublicKey: publicKey, Peer: json.RawMessage(`{}`)}
	require.NoError(t, good.Validate())
	refused(t, registry.NewSession{
		User: strings.Repeat("x", 129), Peer: json.RawMessage(`{`), Query: registry.Query{
			SessionKey: "mine", Family: 5, Slack: -1, Freshness: 86_401, MaxLoad: 1.1, Current: "x", Exclude: []registry.ID{id(1), "y"},
			Position: &registry.Position{Latitude: 91}, Country: "Germany",
		},
	}.Validate(), "User", "IdempotencyKey", "PublicKey", "Peer", "Query.SessionKey", "Query.Family", "Query.Slack", "Query.Freshness", "Query.MaxLoad",
		"Query.Current", "Query.Exclude[1]", "Query.Position.Latitude", "Query.Country")
	good.Peer = make(json.RawMessage, registry.MaxPeerLen+1)
	refused(t, good.Validate(), "Peer")
	refused(t, registry.Query{Exclude: make([]registry.ID, 65)}.Validate(), append([]string{"Exclude"}, numbered("Exclude", 64)...)...)
	q := registry.Query{}.WithDefaults()
	require.Equal(t, registry.Query{Pool: registry.DefaultPool, Slack: 300, Freshness: 60, MaxLoad: 0.95}, q)
}

func TestIDs(t *testing.T) {
	t.Parallel()
	require.NoError(t, id(1).Validate())
	require.NoError(t, registry.SessionID(id(1)).Validate())
	for _, bad := range []registry.ID{"", "00000000-0000-4000-8000-00000000000A", "00000000000040008000000000000000", id(1) + "0", "0000000000000-4000-8000-000000000000"} {
		refused(t, bad.Validate(), "server")
	}
	refused(t, registry.SessionID("x").Validate(), "session")
}

func TestKeyIsText(t *testing.T) {
	t.Parallel()
	var k registry.Key
	require.NoError(t, k.UnmarshalText([]byte(publicKey.String())))
	require.Equal(t, publicKey, k)
	require.NoError(t, k.UnmarshalText(nil))
	require.Empty(t, k.String())
	require.ErrorIs(t, k.UnmarshalText([]byte("short")), registry.ErrInvalid)
}
