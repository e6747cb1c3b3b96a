package eventstream

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/httpapi/problem"
)

// maxChosen is how many values a filter may have.
const maxChosen = 256

// question is what a client asks for.
type question struct {
	lastID   string // empty: from now on
	kinds    map[Kind]bool
	peers    map[wgtypes.Key]bool
	accounts map[string]bool
}

// ask reads a request. All that is wrong with it is in the problem.
func ask(r *http.Request) (question, *problem.Problem) {
	q := question{kinds: make(map[Kind]bool), peers: make(map[wgtypes.Key]bool), accounts: make(map[string]bool)}
	var faults []problem.Fault
	fault := func(parameter, format string, args ...any) {
		faults = append(faults, problem.Fault{Location: "query." + parameter, Message: fmt.Sprintf(format, args...)})
	}
	known := Kinds()
	values := r.URL.Query()
	for _, name := range sortedKeys(values) {
		given := values[name]
		if len(given) > maxChosen {
			fault(name, "it is given %d times: give it at most %d times", len(given), maxChosen)
			continue
		}
		for _, v := range given {
			switch name {
			case "last_event_id":
				q.lastID = v
			case "kind":
				if !slices.Contains(known, Kind(v)) {
					fault(name, "%q is none: give one of %s", v, join(known))
				}
				q.kinds[Kind(v)] = true
			case "peer":
				key, err := wgtypes.ParseKey(v)
				if err != nil {
					fault(name, "%q is not a public key: give 32 bytes in base64, with + written as %%2B", v)
				}
				q.peers[key] = true
			case "account":
				if v == "" {
					fault(name, "it is empty: give the ID of an account")
				}
				q.accounts[v] = true
			default:
				fault(name, "there is no such parameter: kind, peer, account and last_event_id are")
			}
		}
	}
	if id := r.Header.Get("Last-Event-ID"); id != "" {
		q.lastID = id // of a browser that connects again with the URL it began with
	}
	if len(faults) > 0 {
		return question{}, problem.New(http.StatusUnprocessableEntity, problem.Invalid, "The request for events breaks rules.",
			faults...)
	}
	return q, nil
}

func sortedKeys(m map[string][]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func join(kinds []Kind) string {
	words := make([]string, len(kinds))
	for i, k := range kinds {
		words[i] = string(k)
	}
	return strings.Join(words, ", ")
}

// wants reports whether an event is asked for. What is about the stream always is.
func (q question) wants(e wgnode.Event) bool {
	if e.Kind == wgnode.Missed {
		return true
	}
	return (len(q.kinds) == 0 || q.kinds[kindOf(e.Kind)]) &&
		(len(q.peers) == 0 || q.peers[e.Peer] || q.peers[e.FormerPeer]) &&
		(len(q.accounts) == 0 || q.accounts[e.Account] || q.accounts[e.FormerAccount])
}

// formatID is the place of an event: the boot, and its sequence.
func formatID(boot string, sequence uint64) string {
	return boot + "-" + strconv.FormatUint(sequence, 10)
}

// parseID reads the place of an event of this boot; not ok: it is not of this boot.
func parseID(id, boot string) (sequence uint64, ok bool) {
	text, found := strings.CutPrefix(id, boot+"-")
	sequence, err := strconv.ParseUint(text, 10, 64)
	return sequence, found && err == nil
}
