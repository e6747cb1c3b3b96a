package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"
	"rsc.io/qr"

	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/httpapi/problem"
	api "github.com/waylume/waylume/wgnode/httpapi/v1"
)

// errNoEndpoint is why there is no configuration for anybody.
func errNoEndpoint() *problem.Problem {
	return problem.New(http.StatusConflict, problem.Conflict,
		"the node does not know where clients reach it: set its endpoint in its configuration")
}

// noEndpoint reports whether an error of ClientConfig's is that the node has no endpoint.
func noEndpoint(err error) bool {
	v, ok := errors.AsType[*wgnode.ValidationError](err)
	return ok && v.What == "configuration"
}

// checkQR refuses, before anything is done, a code that could not be made.
func (a *API) checkQR(kind string, public api.Key) error {
	if kind == "none" {
		return nil
	}
	if public != (api.Key{}) {
		return invalid([]problem.Fault{{
			Location: "query.qr", Message: "needs the private key, which the node does not have: leave out qr, or public_key",
		}})
	}
	if _, err := a.cfg.Node.ClientConfig(wgtypes.Key{}, wgtypes.Key{}); noEndpoint(err) {
		return errNoEndpoint()
	}
	return nil
}

// created is what is answered once to whoever made a peer or gave it another key. As that is done, and a private key is in no
// other place, a configuration that cannot be made is left out.
func (a *API) created(ctx context.Context, p wgnode.Peer, private wgtypes.Key, kind string) api.CreatedPeer {
	created := api.CreatedPeer{Peer: peerOf(p), PrivateKey: api.Key(private)}
	config, err := a.cfg.Node.ClientConfig(p.PublicKey, private)
	if noEndpoint(err) {
		return created
	}
	if err == nil {
		created.Config = config.String()
	}
	if err == nil && kind != "none" {
		created.QR, err = code(config, kind)
	}
	if err != nil {
		a.log.WarnContext(ctx, "no configuration for a peer", "peer", created.PublicKey, "error", err)
	}
	return created
}

// code is a configuration as a QR code, an image of a kind.
func code(config wgnode.ClientConfig, kind string) (*api.QR, error) {
	if kind == "png" {
		image, err := config.QRPNG()
		if err != nil {
			return nil, err
		}
		return &api.QR{MediaType: "image/png", Data: image}, nil
	}
	c, err := qr.Encode(config.String(), qr.L) // as QRPNG does
	if err != nil {
		return nil, err
	}
	return &api.QR{MediaType: "image/svg+xml", Data: []byte(svg(c))}, nil
}

// svg draws a code, black on white, each run of modules in a row as one rectangle, with the quiet zone of 4 modules around
// (ISO/IEC 18004, section 5.3.8).
func svg(c *qr.Code) string {
	const quietZone = 4
	var b strings.Builder
	size := c.Size + 2*quietZone
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" shape-rendering="crispEdges">`+
		`<path fill="#fff" d="M0 0h%[1]dv%[2]dH0z"/><path d="`, size, size)
	for y := range c.Size {
		for x := 0; x < c.Size; x++ {
			from := x
			for c.Black(x, y) { // nothing is beyond the edge
				x++
			}
			if x > from {
				fmt.Fprintf(&b, "M%d %dh%dv1h-%[3]dz", from+quietZone, y+quietZone, x-from)
			}
		}
	}
	b.WriteString(`"/></svg>`)
	return b.String()
}

// publicParts is a configuration without secrets.
func publicParts(config wgnode.ClientConfig) api.PeerConfig {
	preshared := config.PresharedKey != wgtypes.Key{}
	config.PresharedKey = wgtypes.Key{}
	out := api.PeerConfig{
		Addresses: config.Addrs, DNS: config.DNS, MTU: config.MTU, ServerPublicKey: api.Key(config.ServerKey),
		HasPresharedKey: preshared, AllowedIPs: config.AllowedIPs, Endpoint: config.Endpoint,
		Keepalive: api.Duration(config.Keepalive), Text: config.String(),
	}
	if out.DNS == nil {
		out.DNS = []netip.Addr{}
	}
	return out
}
