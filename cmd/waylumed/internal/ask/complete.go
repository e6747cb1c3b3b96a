package ask

import (
	"context"
	"strings"
	"unicode"

	"github.com/waylume/waylume/wgnode/httpapi/client"
	api "github.com/waylume/waylume/wgnode/httpapi/v1"
)

// maxCompletions is how many words a shell is given.
const maxCompletions = 500

// Completion is a word for a shell, and what it is.
type Completion struct{ Word, About string }

// CompletePeers returns words for peers that begin so: a name that only one has, else the key. What cannot be had is left out.
func CompletePeers(ctx context.Context, c *client.Client, begun string) []Completion {
	var peers []api.Peer
	called := make(map[string]int)
	for p, err := range c.Peers(ctx, client.PeerQuery{Page: pageSize}) {
		if err != nil {
			break
		}
		peers = append(peers, p)
		called[p.Name]++
	}
	var found []Completion
	for _, p := range peers {
		word, about := p.PublicKey.String(), addressText(p.Addresses, ", ")
		if called[p.Name] == 1 && plainWord(p.Name) {
			word = p.Name
		} else if p.Name != "" {
			about = Clean(p.Name) + ", " + about
		}
		if p.Account != "" {
			about += ", account " + Clean(p.Account)
		}
		if strings.HasPrefix(word, begun) && len(found) < maxCompletions {
			found = append(found, Completion{word, about})
		}
	}
	return found
}

// CompleteAccounts returns the ids of accounts that begin so.
func CompleteAccounts(ctx context.Context, c *client.Client, begun string) []Completion {
	var found []Completion
	for a, err := range c.Accounts(ctx, pageSize) {
		if err != nil || len(found) == maxCompletions {
			break
		}
		if strings.HasPrefix(a.ID, begun) && plainWord(a.ID) {
			found = append(found, Completion{a.ID, Limit(a.SpeedLimit) + ", " + Cap(a.DataCap)})
		}
	}
	return found
}

// plainWord reports that a shell takes a text as one word without quotes, and that no command takes it for a flag.
func plainWord(text string) bool {
	return text != "" && text[0] != '-' && text[0] != '~' && !strings.ContainsFunc(text, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("-_.@+/:", r)
	})
}
