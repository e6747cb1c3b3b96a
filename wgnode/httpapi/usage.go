package httpapi

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"github.com/waylume/waylume/usagelog"
	"github.com/waylume/waylume/wgnode"
	"github.com/waylume/waylume/wgnode/httpapi/auth"
	"github.com/waylume/waylume/wgnode/httpapi/internal/param"
	api "github.com/waylume/waylume/wgnode/httpapi/v1"
)

// maxSteps bounds a series.
const maxSteps = 10_000

type readUsage struct {
	From    time.Time `query:"from" required:"true" doc:"What was used after this time."`
	To      time.Time `query:"to" required:"true" doc:"What was used up to this time."`
	Peer    api.Key   `query:"peer" doc:"Only what this peer used, under all the keys that it has had; its id or public key."`
	Account string    `query:"account" maxLength:"128" doc:"Only what this account's peers used."`
	Step    string    `query:"step" maxLength:"32" example:"1h" doc:"Step by step of this length, such as 24h, the last one shorter, of peer or account; at most 10,000 steps."`
	param.Page
	step time.Duration
}

func (a *API) addUsageRoutes() {
	register(a, operation{
		id: "get-usage", method: http.MethodGet, path: Prefix + "/usage", tag: "usage", scope: auth.PeersRead,
		summary: "Show what was used over time",
		description: "From the node's usage log: also by who has been removed since. What was used after the last reading " +
			"is not in it yet; " +
			"span says what the sums really cover.",
		refusals: []int{http.StatusNotImplemented},
	}, a.readUsage)
}

func (a *API) readUsage(ctx context.Context, in *readUsage) (*answer[api.UsageReport], error) {
	subject := wgnode.OfAccount(in.Account)
	if in.Peer != (api.Key{}) {
		subject = wgnode.OfPeer(wgtypes.Key(in.Peer))
	}
	if in.step > 0 {
		return a.usageSeries(ctx, in, subject)
	}
	var only []wgnode.Subject
	if in.Account != "" || in.Peer != (api.Key{}) {
		only = append(only, subject)
	}
	after, err := usageAfter(in.Cursor)
	if err != nil {
		return nil, err
	}
	summary, err := a.cfg.Node.UsageBetween(ctx, in.From, in.To, only...)
	if err != nil {
		return nil, refusal(err)
	}
	report := api.UsageReport{Span: api.Span(summary.Span), Damage: damage(summary.Damage)}
	for _, u := range summary.Usages {
		place := placeOf(u)
		if after != nil && place.compare(*after) <= 0 {
			continue
		}
		if len(report.Usages) == in.Limit {
			report.Next = placeOfSpent(report.Usages[in.Limit-1]).cursor()
			break
		}
		spent := api.SpentUsage{
			Sequence: u.Sequence, Span: api.Span(u.Span), Download: api.Bytes(u.Counters.Download), Upload: api.Bytes(u.Counters.Upload),
		}
		if key, isPeer := u.Subject.Peer(); isPeer {
			spent.Peer = api.Key(key)
		} else {
			spent.Account, _ = u.Subject.Account()
		}
		report.Usages = append(report.Usages, spent)
	}
	return ok(report), nil
}

// Resolve names what is wrong with parameters that depend on each other.
func (in *readUsage) Resolve(huma.Context) []error {
	var faults []error
	add := func(name, message string) { faults = append(faults, fault("query."+name, message)) }
	known := !in.From.IsZero() && !in.To.IsZero() // else huma has found it
	if known && !in.From.Before(in.To) {
		add("to", "is not after from")
	}
	one := in.Peer != (api.Key{}) || in.Account != ""
	if in.Peer != (api.Key{}) && in.Account != "" {
		add("account", "is given beside peer: give one of them")
	}
	if in.Step == "" {
		return faults
	}
	var step api.Duration
	if err := step.UnmarshalText([]byte(in.Step)); err != nil {
		add("step", err.Error())
		return faults
	}
	switch in.step = time.Duration(step); {
	case in.step < time.Minute:
		add("step", "is too short: give 1m or more")
	case known && in.To.Sub(in.From)/in.step >= maxSteps:
		add("step", "makes more than 10000 steps: give a longer one, or less time")
	case !one:
		add("step", "is for one peer or account: give peer or account")
	}
	return faults
}

func (a *API) usageSeries(ctx context.Context, in *readUsage, s wgnode.Subject) (*answer[api.UsageReport], error) {
	bounds, err := usagelog.Steps(in.From, in.To, in.step)
	if err != nil {
		return nil, refusal(err)
	}
	series, err := a.cfg.Node.UsageSeries(ctx, s, bounds)
	if err != nil {
		return nil, refusal(err)
	}
	report := api.UsageReport{Damage: damage(series.Damage), Steps: make([]api.UsageStep, len(series.Steps))}
	for i, step := range series.Steps {
		span := api.Span(step.Span)
		report.Steps[i] = api.UsageStep{
			Span: span, Download: api.Bytes(step.Counters.Download), Upload: api.Bytes(step.Counters.Upload),
		}
		if span != (api.Span{}) && report.Span == (api.Span{}) {
			report.Span.From = span.From
		}
		if span != (api.Span{}) {
			report.Span.To = span.To
		}
	}
	return ok(report), nil
}

func damage(found []usagelog.Damage) []string {
	var texts []string
	for _, d := range found {
		texts = append(texts, d.String())
	}
	return texts
}

// place is where a usage stands in the order of a summary: peers by key before accounts by ID, and each by sequence.
type place struct {
	Account  bool   `json:"a,omitzero"`
	Name     string `json:"n"`
	Sequence uint64 `json:"s"`
}

func placeOf(u wgnode.LoggedUsage) place {
	if key, ok := u.Subject.Peer(); ok {
		return place{Name: key.String(), Sequence: u.Sequence}
	}
	id, _ := u.Subject.Account()
	return place{Account: true, Name: id, Sequence: u.Sequence}
}

func placeOfSpent(u api.SpentUsage) place {
	if u.Account != "" {
		return place{Account: true, Name: u.Account, Sequence: u.Sequence}
	}
	return place{Name: u.Peer.String(), Sequence: u.Sequence}
}

func (p place) compare(q place) int {
	if p.Account != q.Account {
		if q.Account {
			return -1
		}
		return 1
	}
	return cmp.Or(cmp.Compare(p.Name, q.Name), cmp.Compare(p.Sequence, q.Sequence))
}

func (p place) cursor() string {
	text, err := json.Marshal(p)
	if err != nil { // texts and numbers always can
		panic(err)
	}
	return base64.RawURLEncoding.EncodeToString(text)
}

func usageAfter(cursor string) (*place, error) {
	if cursor == "" {
		return nil, nil
	}
	text, err := base64.RawURLEncoding.Strict().DecodeString(cursor)
	var p place
	if err != nil || json.Unmarshal(text, &p) != nil || p.cursor() != cursor {
		return nil, badCursor()
	}
	return &p, nil
}
