package usage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/waylume/waylume/usagelog"
)

// Query is what is asked of a log.
type Query struct {
	// Dir is the log's directory.
	Dir string
	// Peer, a public key, or Account, an ID, is whose usage is wanted; with neither it is everybody's.
	Peer, Account string
	From, To      time.Time
	// By is the length of the steps; 0: one step.
	By time.Duration
}

// Ask reads the log, whether a node writes it or not.
func Ask(ctx context.Context, q Query) (*Report, error) {
	reader, err := usagelog.OpenReader(q.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w\nThere is no usage log: a node that runs writes one, unless --usage-log none says otherwise", err)
	}
	if err != nil {
		return nil, err
	}
	whole, err := reader.Usage(ctx, q.From, q.To, nil)
	if err != nil {
		return nil, err
	}
	bounds := []time.Time{q.From, q.To}
	if q.By > 0 {
		if bounds, err = usagelog.Steps(q.From, q.To, q.By); err != nil {
			return nil, err
		}
	}
	r := &Report{Schema: Schema, From: q.From, To: q.To, Covers: spanOf(whole.Span), Damage: []string{}}
	for _, d := range whole.Damage {
		r.Damage = append(r.Damage, d.String())
	}
	if q.Peer == "" && q.Account == "" {
		err = r.all(ctx, reader, bounds)
	} else {
		err = r.some(ctx, reader, bounds, q.choose(whole))
	}
	return r, err
}

// choose are the subjects that are asked for. One that used nothing is asked for all the same, for the time that is known.
func (q Query) choose(whole usagelog.Summary) (subjects []usagelog.Subject) {
	s := usagelog.Subject{Kind: usagelog.Peer, Name: q.Peer}
	if q.Account != "" {
		s = usagelog.Subject{Kind: usagelog.Account, Name: q.Account}
	}
	for _, u := range whole.Named(s.Kind, s.Name) {
		subjects = append(subjects, u.Subject)
	}
	if len(subjects) == 0 {
		return []usagelog.Subject{s}
	}
	return subjects
}

// all asks for each step of everybody.
func (r *Report) all(ctx context.Context, reader *usagelog.Reader, bounds []time.Time) error {
	for i, to := range bounds[1:] {
		summary, err := reader.Usage(ctx, bounds[i], to, nil)
		if err != nil {
			return err
		}
		step := newStep(bounds[i], to)
		step.cover(spanOf(summary.Span))
		for _, u := range summary.Usages {
			step.Usages = append(step.Usages, usageOf(u.Subject, u.Counters))
		}
		r.Steps = append(r.Steps, step)
	}
	return nil
}

// some asks for all steps of each of a few.
func (r *Report) some(ctx context.Context, reader *usagelog.Reader, bounds []time.Time, subjects []usagelog.Subject) error {
	for i, to := range bounds[1:] {
		r.Steps = append(r.Steps, newStep(bounds[i], to))
	}
	for _, subject := range subjects {
		series, err := reader.Series(ctx, subject, bounds)
		if err != nil {
			return err
		}
		for i, s := range series.Steps {
			step := &r.Steps[i]
			step.cover(spanOf(s.Span))
			if s.Counters != (usagelog.Counters{}) {
				step.Usages = append(step.Usages, usageOf(subject, s.Counters))
			}
		}
	}
	return nil
}
