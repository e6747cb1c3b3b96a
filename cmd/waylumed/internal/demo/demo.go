package demo

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/waylume/waylume/isolation"
	"github.com/waylume/waylume/wgnode"
)

// Options say how the demonstration is run. The zero value runs it silently.
type Options struct {
	// Progress is told what goes on; nil: nobody is. Its methods may be called from several goroutines at once.
	Progress Progress
	// Logger receives what the node logs; nil: nothing is logged.
	Logger *slog.Logger
}

// Progress follows a demonstration.
type Progress interface {
	// Begin says that a part begins; several may run at once.
	Begin(part string)
	// Again says why something of a part is measured again.
	Again(part, why string)
	// End says that it ended, with the result in words, and whether all its rows hold.
	End(part, result string, ok bool)
}

type silent struct{}

func (silent) Begin(string)             {}
func (silent) Again(string, string)     {}
func (silent) End(string, string, bool) {}

// Run runs the demonstration, which takes about 20 seconds. A row that does not hold is no error, and is in the report;
// errors are that the node or a client could not be started, and that the context ended.
func Run(ctx context.Context, opts Options) (_ *Report, err error) {
	if opts.Progress == nil {
		opts.Progress = silent{}
	}
	r := &Report{Schema: Schema, StartedAt: time.Now().UTC()}
	s := stage{report: r, progress: opts.Progress}

	opts.Progress.Begin(partStart)
	if s.lab, err = newLab(ctx, opts.Logger, isolation.Policy{}); err != nil {
		return nil, fmt.Errorf("start the node: %w", err)
	}
	defer func() { err = errors.Join(err, s.lab.close()) }()
	if s.cast, err = assemble(ctx, s.lab); err != nil {
		return nil, fmt.Errorf("connect the clients: %w", err)
	}
	defer s.cast.close()
	if err := s.describe(ctx); err != nil {
		return nil, err
	}
	for _, act := range []func(context.Context) error{s.idle, s.downloads, s.uploads, s.caps} {
		if err := act(ctx); err != nil {
			return nil, err
		}
	}
	r.DurationMS = time.Since(r.StartedAt).Milliseconds()
	r.OK = true
	for _, row := range r.rows() {
		r.OK = r.OK && row.OK
	}
	return r, nil
}

// The parts of the demonstration, as they are shown.
const (
	partStart     = "Node and clients"
	partIsolation = "Isolation"
	partIdle      = "Latency, idle"
	partDownload  = "Download and latency"
	partUpload    = "Upload"
	partShared    = "Account limit"
	partCap       = "Data cap"
	partThrottle  = "Throttle"
)

// stage runs the parts, those at once that do not disturb each other.
type stage struct {
	lab      *lab
	cast     *cast
	report   *Report
	progress Progress
	alone    sync.RWMutex
}

// retries passes on why something of a part is measured again: that of a peer, an account or a probe.
func (s *stage) retries(part, of string) retries {
	return retries{&s.alone, func(problems []string) { s.progress.Again(part, of+": "+strings.Join(problems, "; ")) }}
}

func (s *stage) describe(ctx context.Context) error {
	status, err := s.lab.node.Status(ctx)
	if err != nil {
		return err
	}
	s.report.Node = Node{Dataplane: status.Dataplane, ListenPort: status.ListenPort, MTU: wgnode.DefaultMTU, Limitations: status.Limitations}
	s.progress.End(partStart, fmt.Sprintf("UDP port %d, %d peers of %d accounts", status.ListenPort, status.Peers, status.Accounts), true)
	s.report.Speeds = make([]Speed, len(s.cast.speeds))
	for i, t := range s.cast.speeds {
		family := "ipv4"
		if t.v6 {
			family = "ipv6"
		}
		s.report.Speeds[i] = Speed{Peer: t.client.peer.Name, Account: t.account, Transport: t.transport, Family: family}
	}
	return nil
}

// idle measures latency while the tunnels have nothing else to do but the few packets of the probes.
func (s *stage) idle(ctx context.Context) error {
	var all errgroup.Group
	all.Go(func() error { return s.probe(ctx) })
	s.progress.Begin(partIdle)
	for i, t := range s.cast.speeds {
		all.Go(func() (err error) {
			row := &s.report.Speeds[i]
			row.IdleRTT, err = t.idle(ctx)
			row.expect(row.IdleRTT.Lost*10 <= row.IdleRTT.Sent, "%d of %d pings were lost while idle", row.IdleRTT.Lost, row.IdleRTT.Sent)
			return err
		})
	}
	if err := all.Wait(); err != nil {
		return err
	}
	worst, ok := 0.0, true
	for _, row := range s.report.Speeds {
		worst, ok = max(worst, row.IdleRTT.MedianMS), ok && len(row.Problems) == 0
	}
	s.progress.End(partIdle, fmt.Sprintf("median RTT %.1f ms or less", worst), ok)
	return nil
}

func (s *stage) probe(ctx context.Context) error {
	s.progress.Begin(partIsolation)
	dropped := func(ctx context.Context) (map[string]uint64, error) {
		status, err := s.lab.node.Status(ctx)
		return status.Dropped, err
	}
	rows := make([]Probe, len(s.cast.probes))
	var all errgroup.Group
	for i, p := range s.cast.probes {
		all.Go(func() (err error) {
			rows[i], err = attempt(ctx, s.retries(partIsolation, p.name), func(ctx context.Context, row *Probe) error { return p.measure(ctx, row, dropped) })
			return err
		})
	}
	if err := all.Wait(); err != nil {
		return err
	}
	s.report.Probes = rows
	held := 0
	for _, row := range rows {
		if row.OK {
			held++
		}
	}
	s.progress.End(partIsolation, fmt.Sprintf("%d of %d probes as expected", held, len(rows)), held == len(rows))
	return nil
}

// each measures something of all speed tests at once, and notes it in their rows.
func (s *stage) each(ctx context.Context, part string, measure func(*speedTest) func(context.Context, *loaded) error, note func(*Speed, loaded)) error {
	s.progress.Begin(part)
	var all errgroup.Group
	measured := make([]loaded, len(s.cast.speeds))
	for i, t := range s.cast.speeds {
		all.Go(func() (err error) {
			measured[i], err = attempt(ctx, s.retries(part, t.name), measure(t))
			return err
		})
	}
	if err := all.Wait(); err != nil {
		return err
	}
	result, ok := "", true
	for i, m := range measured {
		row := &s.report.Speeds[i]
		note(row, m)
		row.Problems = append(row.Problems, m.Problems...)
		row.Attempts = max(row.Attempts, m.Attempts)
		row.OK = len(row.Problems) == 0
		ok = ok && m.OK
		if i > 0 {
			result += ", "
		}
		result += fmt.Sprintf("%s %s", row.Peer, mbit(m.rate.MeasuredBPS))
	}
	s.progress.End(part, result, ok)
	return nil
}

func (s *stage) downloads(ctx context.Context) error {
	return s.each(ctx, partDownload,
		func(t *speedTest) func(context.Context, *loaded) error { return t.download },
		func(row *Speed, m loaded) { row.Download, row.LoadedRTT = m.rate, m.rtt })
}

// uploads measures uploads, and beside them the downloads of the account, which are of other peers.
func (s *stage) uploads(ctx context.Context) error {
	var all errgroup.Group
	all.Go(func() error {
		return s.each(ctx, partUpload,
			func(t *speedTest) func(context.Context, *loaded) error { return t.upload },
			func(row *Speed, m loaded) { row.Upload = m.rate })
	})
	all.Go(func() error {
		s.progress.Begin(partShared)
		row, err := attempt(ctx, s.retries(partShared, s.cast.shared.account), s.cast.shared.measure)
		if err != nil {
			return err
		}
		s.report.Shared = []SharedLimit{row}
		s.progress.End(partShared, fmt.Sprintf("%s of %s, in %d parts", mbit(row.Download.MeasuredBPS), mbit(row.Download.ConfiguredBPS), len(row.Shares)), row.OK)
		return nil
	})
	return all.Wait()
}

func (s *stage) caps(ctx context.Context) error {
	var all errgroup.Group
	all.Go(func() error {
		s.progress.Begin(partCap)
		row, err := attempt(ctx, s.retries(partCap, s.cast.block.name), s.cast.block.block)
		if err != nil {
			return err
		}
		s.report.Caps = []Cap{row}
		s.progress.End(partCap, fmt.Sprintf("%d bytes beyond it", row.OvershootBytes), row.OK)
		return nil
	})
	all.Go(func() error {
		s.progress.Begin(partThrottle)
		row, err := attempt(ctx, s.retries(partThrottle, s.cast.slow.name), s.cast.slow.throttle)
		if err != nil {
			return err
		}
		s.report.Throttles = []Throttle{row}
		s.progress.End(partThrottle, fmt.Sprintf("%s, then %s", mbit(row.Before.MeasuredBPS), mbit(row.After.MeasuredBPS)), row.OK)
		return nil
	})
	return all.Wait()
}
