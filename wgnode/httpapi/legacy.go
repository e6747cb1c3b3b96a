package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"reflect"
	"strings"
	"time"
	"unicode"

	"github.com/danielgtaylor/huma/v2"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/quota"
	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/httpapi/auth"
	"github.com/waylume/waylume/wgnode/httpapi/internal/param"
	"github.com/waylume/waylume/wgnode/httpapi/problem"
	api "github.com/waylume/waylume/wgnode/httpapi/v1"
)

const legacyPath = "/api/peers"

// What the legacy routes read and answer: flat objects, whose names may also be written in camel case in a request.
type (
	legacySpec struct {
		PublicKey api.Key   `json:"public_key,omitzero" doc:"Left out: the node makes a key pair, and answers with the private key, once."`
		Name      string    `json:"name,omitempty" maxLength:"128"`
		Account   string    `json:"account,omitempty" maxLength:"128" doc:"An account that exists."`
		Download  api.Rate  `json:"download,omitzero" doc:"Speed limit towards the peer; 0: none."`
		Upload    api.Rate  `json:"upload,omitzero" doc:"Speed limit from the peer; 0: none."`
		DataCap   api.Bytes `json:"data_cap,omitzero" doc:"Without a period; 0: none."`
		ExpiresAt time.Time `json:"expires_at,omitzero"`
	}
	legacyID struct {
		PublicKey api.Key `json:"public_key"`
	}
	legacySpeedLimit struct {
		PublicKey api.Key  `json:"public_key"`
		Download  api.Rate `json:"download,omitzero" doc:"Towards the peer; 0: no limit."`
		Upload    api.Rate `json:"upload,omitzero" doc:"From the peer; 0: no limit."`
	}
	legacyDataCap struct {
		PublicKey api.Key   `json:"public_key"`
		DataCap   api.Bytes `json:"data_cap,omitzero" doc:"0: none. The period that the cap has stays."`
	}
	legacyPeer struct {
		PublicKey  api.Key      `json:"public_key"`
		PrivateKey api.Key      `json:"private_key,omitzero" doc:"Shown this once."`
		Config     string       `json:"config,omitempty" doc:"For wg-quick(8) and the apps."`
		Name       string       `json:"name,omitempty"`
		Addresses  []netip.Addr `json:"addresses" nullable:"false"`
		Account    string       `json:"account,omitempty"`
		Download   api.Rate     `json:"download"`
		Upload     api.Rate     `json:"upload"`
		DataCap    api.Bytes    `json:"data_cap"`
		ExpiresAt  time.Time    `json:"expires_at,omitzero"`
		Active     bool         `json:"active"`
		CreatedAt  time.Time    `json:"created_at"`
	}
	legacyPeers struct {
		Peers []legacyPeer `json:"peers" nullable:"false"`
		Next  string       `json:"next,omitempty" doc:"Give it as cursor for the next page; left out: this is the last."`
	}
)

// flatBody is a bodyOf a flat object whose names may be in camel case.
type flatBody[T any] struct{ bodyOf[T] }

// Resolve decodes the body. What a T needs that is missing is a fault, as the schema cannot say it of two names.
func (b *flatBody[T]) Resolve(huma.Context) []error {
	var members map[string]json.RawMessage
	if json.Unmarshal(b.Body, &members) != nil || members == nil {
		return nil // huma has found it
	}
	var faults []error
	snake := make(map[string]json.RawMessage, len(members))
	for name, value := range members {
		if _, twice := snake[snakeCase(name)]; twice {
			faults = append(faults, fault("body."+snakeCase(name), "is given twice: leave one out"))
		}
		snake[snakeCase(name)] = value
	}
	for field := range reflect.TypeFor[T]().Fields() {
		name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		if value, given := snake[name]; options == "" && (!given || string(value) == "null") {
			faults = append(faults, fault("body", fmt.Sprintf("expected required property %s to be present", name)))
		}
	}
	body, err := json.Marshal(snake)
	if err != nil {
		return append(faults, err)
	}
	return append(faults, b.decode(body)...)
}

func snakeCase(name string) string {
	var b strings.Builder
	for _, r := range name {
		if unicode.IsUpper(r) {
			b.WriteByte('_')
			r = unicode.ToLower(r)
		}
		b.WriteRune(r)
	}
	return b.String()
}

// flatSchema has both forms of each name.
func flatSchema(registry huma.Registry, t reflect.Type) *huma.Schema {
	s := *registry.Schema(t, false, "")
	s.Required = nil
	members := make(map[string]*huma.Schema, 2*len(s.Properties))
	for name, member := range s.Properties {
		words := strings.Split(name, "_")
		for i, w := range words[1:] {
			words[i+1] = strings.ToUpper(w[:1]) + w[1:]
		}
		members[name], members[strings.Join(words, "")] = member, member
	}
	s.Properties = members
	s.PrecomputeMessages()
	return &s
}

func (a *API) addLegacyRoutes() {
	const why = " Names may be written in camel case, too. Use " + Prefix + " instead."
	legacy := func(o operation) operation {
		o.tag, o.deprecated, o.flat, o.description = "legacy", true, o.body != nil, o.description+why
		return o
	}
	missing := []int{http.StatusNotFound}
	register(a, legacy(operation{
		id: "legacy-create-peer", method: http.MethodPost, path: legacyPath, scope: auth.PeersWrite, summary: "Create a peer",
		description: "As POST " + peersPath + ", with flat names.",
		status:      http.StatusCreated, also: []int{http.StatusOK},
		refusals: []int{http.StatusConflict, http.StatusServiceUnavailable}, body: typeOf[legacySpec](),
	}), a.legacyCreate)
	register(a, legacy(operation{
		id: "legacy-remove-peer", method: http.MethodPost, path: legacyPath + "/delete", scope: auth.PeersWrite,
		summary:  "Remove a peer",
		refusals: missing, body: typeOf[legacyID](), description: "As DELETE " + peersPath + "/{id}.",
	}), a.legacyRemove)
	register(a, legacy(operation{
		id: "legacy-set-speed-limit", method: http.MethodPost, path: legacyPath + "/speed-limit", scope: auth.PeersWrite,
		summary: "Set a peer's speed limit", refusals: missing, body: typeOf[legacySpeedLimit](),
		description: "Both directions are set.",
	}), func(ctx context.Context, in *struct{ flatBody[legacySpeedLimit] }) (*answer[legacyPeer], error) {
		limit := speedLimit(api.SpeedLimit{Download: in.value.Download, Upload: in.value.Upload})
		return a.legacyChange(ctx, in.value.PublicKey, func(s wgnode.Subject, _ wgnode.Peer) error {
			return a.cfg.Node.SetSpeedLimit(ctx, s, limit)
		})
	})
	register(a, legacy(operation{
		id: "legacy-set-data-cap", method: http.MethodPost, path: legacyPath + "/data-cap", scope: auth.PeersWrite,
		summary: "Set a peer's data cap", refusals: missing, body: typeOf[legacyDataCap](),
		description: "Its bytes are set, all else of it stays.",
	}), func(ctx context.Context, in *struct{ flatBody[legacyDataCap] }) (*answer[legacyPeer], error) {
		return a.legacyChange(ctx, in.value.PublicKey, func(s wgnode.Subject, p wgnode.Peer) error {
			p.DataCap.Bytes = quota.Bytes(in.value.DataCap)
			return a.cfg.Node.SetDataCap(ctx, s, p.DataCap)
		})
	})
	register(a, legacy(operation{
		id: "legacy-list-peers", method: http.MethodGet, path: legacyPath, scope: auth.PeersRead, summary: "List peers",
		description: "As GET " + peersPath + ", with flat names.",
	}), a.legacyList)
	register(a, legacy(operation{
		id: "legacy-get-peer", method: http.MethodGet, path: legacyPath + "/{id}", scope: auth.PeersRead, summary: "Show a peer",
		refusals: missing, description: "As GET " + peersPath + "/{id}, with flat names.",
	}), func(_ context.Context, in *struct{ param.Peer }) (*answer[legacyPeer], error) {
		peer, err := a.cfg.Node.Peer(in.Key())
		if err != nil {
			return nil, refusal(err)
		}
		return ok(legacyOf(peer)), nil
	})
}

func legacyOf(p wgnode.Peer) legacyPeer {
	return legacyPeer{
		PublicKey: api.Key(p.PublicKey), Name: p.Name, Addresses: p.Addrs, Account: p.Account,
		Download: api.Rate(p.SpeedLimit.Download), Upload: api.Rate(p.SpeedLimit.Upload), DataCap: api.Bytes(p.DataCap.Bytes),
		ExpiresAt: p.ExpiresAt, Active: p.Active(), CreatedAt: p.CreatedAt,
	}
}

func (a *API) legacyCreate(ctx context.Context, in *struct{ flatBody[legacySpec] }) (*answer[legacyPeer], error) {
	release, err := a.admit(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	spec := wgnode.PeerSpec{
		PublicKey: wgtypes.Key(in.value.PublicKey), Name: in.value.Name, Account: in.value.Account, ExpiresAt: in.value.ExpiresAt,
		SpeedLimit: speedLimit(api.SpeedLimit{Download: in.value.Download, Upload: in.value.Upload}),
		DataCap:    quota.Cap{Bytes: quota.Bytes(in.value.DataCap)},
	}
	specs := []wgnode.PeerSpec{spec}
	private := complete(ctx, specs)
	added, err := a.cfg.Node.AddPeer(ctx, specs[0])
	if err != nil {
		return nil, legacyRefusal(err)
	}
	added = took(ctx, added, private[0])
	created := a.created(ctx, added.Peer, added.PrivateKey, "none")
	out := &answer[legacyPeer]{Status: http.StatusCreated, CacheControl: secret, Body: legacyOf(added.Peer)}
	out.Body.PrivateKey, out.Body.Config = created.PrivateKey, created.Config
	if !added.Created {
		out.Status = http.StatusOK
	}
	return out, nil
}

// legacyRefusal is refusal, of a request with flat names.
func legacyRefusal(err error) error {
	err = refusal(err)
	if p, ok := errors.AsType[*problem.Problem](err); ok {
		for i, f := range p.Faults {
			if rest, ok := strings.CutPrefix(f.Location, "body.data_cap."); ok {
				p.Faults[i] = problem.Fault{Location: "body.data_cap", Message: rest + " " + f.Message}
			}
		}
	}
	return err
}

func (a *API) legacyRemove(ctx context.Context, in *struct{ flatBody[legacyID] }) (*struct{}, error) {
	release, err := a.hold(ctx, wgnode.OfPeer(wgtypes.Key(in.value.PublicKey)))
	if err != nil {
		return nil, refusal(err)
	}
	defer release()
	return nil, refusal(gone(ctx, a.cfg.Node.RemovePeer(ctx, wgtypes.Key(in.value.PublicKey))))
}

func (a *API) legacyChange(
	ctx context.Context, id api.Key, change func(wgnode.Subject, wgnode.Peer) error,
) (*answer[legacyPeer], error) {
	release, err := a.hold(ctx, wgnode.OfPeer(wgtypes.Key(id)))
	if err != nil {
		return nil, refusal(err)
	}
	defer release()
	peer, err := a.cfg.Node.Peer(wgtypes.Key(id))
	if err == nil {
		err = change(wgnode.OfPeer(peer.PublicKey), peer)
	}
	if err == nil {
		peer, err = a.cfg.Node.Peer(peer.PublicKey)
	}
	if err != nil {
		return nil, legacyRefusal(err)
	}
	return ok(legacyOf(peer)), nil
}

func (a *API) legacyList(_ context.Context, in *listPeers) (*answer[legacyPeers], error) {
	items, next, err := peersPage(a, in, legacyOf)
	if err != nil {
		return nil, err
	}
	return ok(legacyPeers{Peers: items, Next: next}), nil
}
