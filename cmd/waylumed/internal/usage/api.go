package usage

import (
	"context"
	"time"

	"github.com/waylume/waylume/usagelog"
	"github.com/waylume/waylume/wgnode/httpapi/client"
	api "github.com/waylume/waylume/wgnode/httpapi/v1"
)

// AskAPI asks a daemon for what Ask reads; Dir does not matter.
func AskAPI(ctx context.Context, c *client.Client, q Query) (*Report, error) {
	ask := client.UsageQuery{From: q.From, To: q.To, Account: q.Account}
	if q.Peer != "" {
		if err := ask.Peer.UnmarshalText([]byte(q.Peer)); err != nil {
			return nil, err
		}
	}
	whole, err := c.Usage(ctx, ask)
	if err != nil {
		return nil, err
	}
	r := &Report{Schema: Schema, From: q.From, To: q.To, Covers: spanOf(usagelog.Span(whole.Span)), Damage: append([]string{}, whole.Damage...)}
	if q.By == 0 {
		r.Steps = []Step{stepOf(q.From, q.To, whole)}
		return r, nil
	}
	bounds, err := usagelog.Steps(q.From, q.To, q.By)
	if err != nil {
		return nil, err
	}
	for i, to := range bounds[1:] {
		ask.From, ask.To = bounds[i], to
		part, err := c.Usage(ctx, ask)
		if err != nil {
			return nil, err
		}
		r.Steps = append(r.Steps, stepOf(bounds[i], to, part))
	}
	return r, nil
}

func stepOf(from, to time.Time, report api.UsageReport) Step {
	step := newStep(from, to)
	step.cover(spanOf(usagelog.Span(report.Span)))
	for _, u := range report.Usages {
		subject := usagelog.Subject{Kind: usagelog.Account, Name: u.Account, Sequence: u.Sequence}
		if u.Peer != (api.Key{}) {
			subject.Kind, subject.Name = usagelog.Peer, u.Peer.String()
		}
		step.Usages = append(step.Usages, usageOf(subject, usagelog.Counters{Download: uint64(u.Download), Upload: uint64(u.Upload)}))
	}
	return step
}
