package source_test

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/waylume/waylume/wgnode/httpapi/auth/source"
)

func TestOf(t *testing.T) {
	proxies := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	xff, err := source.New(source.XForwardedFor, proxies...)
	require.NoError(t, err)
	forwarded, err := source.New(source.Forwarded, proxies...)
	require.NoError(t, err)
	for _, c := range []struct {
		name     string
		resolver *source.Resolver
		remote   string
		header   http.Header
		want     string
	}{
		{"no proxy is trusted", nil, "10.0.0.1:1", http.Header{"X-Forwarded-For": {"203.0.113.9"}}, "10.0.0.1"},
		{"not a proxy's word", xff, "198.51.100.7:1", http.Header{"X-Forwarded-For": {"203.0.113.9"}}, "198.51.100.7"},
		{"a proxy's word", xff, "10.0.0.1:1", http.Header{"X-Forwarded-For": {"203.0.113.9"}}, "203.0.113.9"},
		{"the other header is anybody's", xff, "10.0.0.1:1", http.Header{"Forwarded": {"for=203.0.113.9"}}, "10.0.0.1"},
		{"what the client claims", xff, "10.0.0.1:1", http.Header{"X-Forwarded-For": {"192.0.2.1, 203.0.113.9"}}, "203.0.113.9"},
		{"what the client claims of a proxy", xff, "10.0.0.1:1", http.Header{"X-Forwarded-For": {"10.9.9.9, 203.0.113.9"}},
			"203.0.113.9"},
		{"two headers", xff, "10.0.0.1:1", http.Header{"X-Forwarded-For": {"192.0.2.1", "203.0.113.9"}}, "203.0.113.9"},
		{"two proxies", xff, "10.0.0.1:1", http.Header{"X-Forwarded-For": {"192.0.2.1, 203.0.113.9 , 10.0.0.2"}}, "203.0.113.9"},
		{"all are proxies", xff, "10.0.0.1:1", http.Header{"X-Forwarded-For": {"10.0.0.3,10.0.0.2"}}, "10.0.0.3"},
		{"no address", xff, "10.0.0.1:1", http.Header{"X-Forwarded-For": {"192.0.2.1, unknown"}}, "10.0.0.1"},
		{"empty", xff, "10.0.0.1:1", http.Header{"X-Forwarded-For": {""}}, "10.0.0.1"},
		{"no header", xff, "10.0.0.1:1", nil, "10.0.0.1"},
		{"with a port", xff, "10.0.0.1:1", http.Header{"X-Forwarded-For": {"203.0.113.9:4711"}}, "203.0.113.9"},
		{"IPv6", xff, "[fd00::1]:1", http.Header{"X-Forwarded-For": {"2001:db8::1"}}, "2001:db8::1"},
		{"IPv6 with a port", xff, "[fd00::1]:1", http.Header{"X-Forwarded-For": {"[2001:db8::1]:443"}}, "2001:db8::1"},
		{"IPv4 within IPv6", xff, "[::ffff:10.0.0.1]:1", http.Header{"X-Forwarded-For": {"::ffff:203.0.113.9"}}, "203.0.113.9"},
		{"Forwarded", forwarded, "10.0.0.1:1",
			http.Header{"Forwarded": {`for=192.0.2.1, By=x;For="[2001:db8::1]:443";proto=https`}}, "2001:db8::1"},
		{"Forwarded by nobody", forwarded, "10.0.0.1:1", http.Header{"Forwarded": {"for=192.0.2.1, proto=https"}}, "10.0.0.1"},
		{"Forwarded hidden", forwarded, "10.0.0.1:1", http.Header{"Forwarded": {"for=192.0.2.1, for=_hidden"}}, "10.0.0.1"},
		{"Forwarded with a quote left open", forwarded, "10.0.0.1:1", http.Header{"Forwarded": {`for="192.0.2.1, for=203.0.113.9`}},
			"203.0.113.9"},
		{"a socket", xff, "@", http.Header{"X-Forwarded-For": {"203.0.113.9"}}, "unix"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodGet, "/", http.NoBody)
			r.RemoteAddr, r.Header = c.remote, c.header
			require.Equal(t, c.want, c.resolver.Of(r).String())
		})
	}
}

func TestNew(t *testing.T) {
	for _, header := range []string{"", "X-Real-IP", "x-forwarded-for"} {
		_, err := source.New(header)
		require.ErrorContains(t, err, "X-Forwarded-For or Forwarded")
	}
	for _, p := range []netip.Prefix{{}, netip.MustParsePrefix("10.0.0.1/8"), netip.MustParsePrefix("::ffff:10.0.0.0/104")} {
		_, err := source.New(source.Forwarded, p)
		require.ErrorContains(t, err, "trusted proxy")
	}
}

func TestGroup(t *testing.T) {
	for addr, want := range map[string]string{
		"203.0.113.9": "203.0.113.9/32", "2001:db8:1:2:3:4:5:6": "2001:db8:1:2::/64",
	} {
		require.Equal(t, want, source.Source{Addr: netip.MustParseAddr(addr)}.Group().String())
	}
	require.False(t, source.Source{}.Group().IsValid())
}

// A table is a list of the keys in the order in which they were seen, cut at its limit.
func TestTableModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.IntRange(1, 5).Draw(t, "limit")
		table := source.NewTable[int, int](limit)
		var seen []int
		values := make(map[int]int)
		t.Repeat(map[string]func(*rapid.T){
			"get": func(t *rapid.T) {
				key := rapid.IntRange(0, 8).Draw(t, "key")
				for i, k := range seen {
					if k == key {
						seen = append(seen[:i], seen[i+1:]...)
						break
					}
				}
				if seen = append(seen, key); len(seen) > limit {
					delete(values, seen[0])
					seen = seen[1:]
				}
				v := table.Get(key)
				require.Equal(t, values[key], *v)
				values[key]++
				*v++
			},
			"": func(t *rapid.T) {
				require.Equal(t, len(seen), table.Len())
				for key := range 9 {
					v := table.Peek(key)
					require.Equal(t, values[key] > 0, v != nil)
				}
			},
		})
	})
}

// Whatever a header says, it counts from a proxy alone, and only an address that is the last one or follows trusted ones alone.
func FuzzOf(f *testing.F) {
	f.Add("192.0.2.1, 203.0.113.9, 10.0.0.2", `for="[2001:db8::1]:443";by=x, for=10.0.0.1`)
	f.Add(",,,", `for=",;=`)
	proxy := netip.MustParsePrefix("10.0.0.0/8")
	f.Fuzz(func(t *testing.T, xff, forwarded string) {
		for _, header := range []string{source.XForwardedFor, source.Forwarded} {
			r, err := source.New(header, proxy)
			if err != nil {
				t.Fatal(err)
			}
			req := &http.Request{RemoteAddr: "198.51.100.7:1", Header: http.Header{"X-Forwarded-For": {xff}, "Forwarded": {forwarded}}}
			if got := r.Of(req).String(); got != "198.51.100.7" {
				t.Fatal(got)
			}
			req.RemoteAddr = "10.0.0.1:1"
			first := r.Of(req)
			if !first.Addr.IsValid() || !first.Group().Contains(first.Addr) {
				t.Fatal(first)
			}
			// What a client has put in front changes nothing, once an address that is not a proxy's follows.
			if !r.Trusts(first.Addr) {
				req.Header = http.Header{"X-Forwarded-For": {"192.0.2.66", xff}, "Forwarded": {"for=192.0.2.66", forwarded}}
				if got := r.Of(req); got != first {
					t.Fatal(got, first)
				}
			}
		}
	})
}
