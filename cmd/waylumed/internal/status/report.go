package status

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"time"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/wgnode"
)

// Schema names the form of a [Report] as JSON: under one name no field is renamed or removed.
const Schema = "waylume.status/1"

// Report is a node at one moment.
type Report struct {
	Schema      string    `json:"schema"`
	At          time.Time `json:"at"`
	State       string    `json:"state"`
	Since       time.Time `json:"since,omitzero"`
	PublicKey   string    `json:"public_key"`
	Overlap     *Overlap  `json:"key_overlap,omitempty"`
	ListenPort  uint16    `json:"listen_port"`
	Dataplane   string    `json:"dataplane"`
	Limitations []string  `json:"limitations"`
	Problems    []Problem `json:"problems"`
	Peers       []Peer    `json:"peers"`
}

// Overlap is the time in which devices may know the node by its former key too.
type Overlap struct {
	FormerKey string    `json:"former_key"`
	EndsAt    time.Time `json:"ends_at"`
	// Peers is how many of them had their last handshake with the former key.
	Peers int `json:"peers"`
}

// Problem is something that is wrong with the node.
type Problem struct {
	Kind  string    `json:"kind"`
	Area  string    `json:"area"`
	What  string    `json:"what"`
	Since time.Time `json:"since"`
}

// Peer is how a peer is connected. What is not known is left out.
type Peer struct {
	Name              string    `json:"name,omitempty"`
	PublicKey         string    `json:"public_key"`
	Account           string    `json:"account,omitempty"`
	State             string    `json:"state"`
	LastHandshake     time.Time `json:"last_handshake,omitzero"`
	FormerKey         bool      `json:"former_key,omitempty"` // that was with the node's former key
	Endpoint          string    `json:"endpoint,omitempty"`
	EndpointChanges   uint64    `json:"endpoint_changes"`
	EndpointChangedAt time.Time `json:"endpoint_changed_at,omitzero"`
	// DownloadBPS and UploadBPS are bit/s.
	DownloadBPS *uint64 `json:"download_bps,omitempty"`
	UploadBPS   *uint64 `json:"upload_bps,omitempty"`
	// HandshakeLoss is the share of handshakes that failed, 0 to 1.
	HandshakeLoss *float64 `json:"handshake_loss,omitempty"`
}

// Of makes the report of a node. What the dataplane cannot be asked is told as a problem.
func Of(ctx context.Context, node *wgnode.Node) (Report, error) {
	s, err := node.Status(ctx)
	r := Report{
		Schema: Schema, At: time.Now().UTC(), State: s.State, Since: s.Since.UTC(), PublicKey: s.PublicKey.String(), ListenPort: s.ListenPort,
		Dataplane: s.Dataplane, Limitations: slices.Concat([]string{}, s.Limitations), Problems: []Problem{}, Peers: []Peer{},
	}
	if s.FormerKey != (wgtypes.Key{}) {
		r.Overlap = &Overlap{s.FormerKey.String(), s.OverlapEnds, s.FormerKeyPeers}
	}
	for _, p := range s.Problems {
		r.Problems = append(r.Problems, Problem{p.Kind.String(), p.Kind.Area(), p.What, p.Since})
	}
	if err != nil && len(r.Problems) == 0 {
		return Report{}, err
	}
	qualities, err := node.PeerQualities()
	if err != nil {
		return Report{}, fmt.Errorf("the node is %s: %w", r.State, err)
	}
	for _, q := range qualities {
		if p, err := node.Peer(q.PublicKey); err == nil { // else it was removed meanwhile
			r.Peers = append(r.Peers, peerOf(p, q))
		}
	}
	return r, nil
}

func peerOf(p wgnode.Peer, q wgnode.PeerQuality) Peer {
	peer := Peer{
		Name: p.Name, PublicKey: p.PublicKey.String(), Account: p.Account, State: q.State.String(), LastHandshake: q.LastHandshake,
		FormerKey: q.FormerKey, EndpointChanges: q.EndpointChanges, EndpointChangedAt: q.EndpointChangedAt,
	}
	if q.Endpoint.IsValid() {
		peer.Endpoint = q.Endpoint.String()
	}
	if q.Throughput.Window > 0 {
		peer.DownloadBPS, peer.UploadBPS = &q.Throughput.DownloadBPS, &q.Throughput.UploadBPS
	}
	if share, known := q.Handshakes.Share(); known {
		peer.HandshakeLoss = &share
	}
	return peer
}

// WriteJSON writes the report as one object.
func (r Report) WriteJSON(to io.Writer) error {
	encoder := json.NewEncoder(to)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(r); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}

// Read reads what WriteJSON wrote.
func Read(data []byte) (Report, error) {
	var r Report
	err := json.Unmarshal(data, &r)
	if err == nil && r.Schema != Schema {
		err = fmt.Errorf("its schema is %q, and this program reads %q", r.Schema, Schema)
	}
	if err != nil {
		return Report{}, fmt.Errorf("the node's answer cannot be read: %w: use the node's own waylumed", err)
	}
	return r, nil
}

// called is a peer's name, or its key's beginning.
func (p Peer) called() string { return cmp.Or(p.Name, p.PublicKey[:min(8, len(p.PublicKey))]) }
