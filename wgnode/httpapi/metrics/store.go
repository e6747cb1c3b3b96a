package metrics

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/waylume/waylume/wgnode"
)

// Sizer is a store that knows how large it is. That of package boltstore does.
type Sizer interface {
	// Size is in bytes.
	Size() (int64, error)
}

// Store is a store that is measured. It is a collector. What another interface of the store offers is called on that itself, which
// Unwrap returns; the node asks for none.
type Store struct {
	wgnode.Store
	descs     descs
	duration  prometheus.Histogram
	commits   *prometheus.CounterVec
	mutations prometheus.Counter
}

var (
	_ wgnode.Store         = (*Store)(nil)
	_ prometheus.Collector = (*Store)(nil)
)

// MeasureStore wraps a store. It is given to the node, and to a registry.
func MeasureStore(store wgnode.Store) *Store {
	all := storeFamilies()
	commits := family(all, "waylume_store_commits_total")
	s := &Store{
		Store: store, descs: describe([]Family{family(all, "waylume_store_size_bytes")}),
		// A flash disk syncs in some 0.1 ms to 5 ms, a disk that turns in 10 ms, one that is overloaded in seconds.
		duration: prometheus.NewHistogram(histogramOpts(family(all, "waylume_store_commit_duration_seconds"),
			[]float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .5, 2.5})),
		commits:   prometheus.NewCounterVec(counterOpts(commits), commits.Labels),
		mutations: prometheus.NewCounter(counterOpts(family(all, "waylume_store_mutations_total"))),
	}
	for _, result := range []string{"success", "failure"} {
		s.commits.WithLabelValues(result)
	}
	return s
}

// Unwrap returns the store that is measured.
func (s *Store) Unwrap() wgnode.Store { return s.Store }

// Commit implements [wgnode.Store].
func (s *Store) Commit(ctx context.Context, batch []wgnode.Mutation) error {
	began := time.Now()
	err := s.Store.Commit(ctx, batch)
	s.duration.Observe(time.Since(began).Seconds())
	if err != nil {
		s.commits.WithLabelValues("failure").Inc()
		return err
	}
	s.commits.WithLabelValues("success").Inc()
	s.mutations.Add(float64(len(batch)))
	return nil
}

// Describe implements [prometheus.Collector].
func (s *Store) Describe(ch chan<- *prometheus.Desc) {
	s.duration.Describe(ch)
	s.commits.Describe(ch)
	s.mutations.Describe(ch)
	s.descs.describe(ch)
}

// Collect implements [prometheus.Collector].
func (s *Store) Collect(ch chan<- prometheus.Metric) {
	s.duration.Collect(ch)
	s.commits.Collect(ch)
	s.mutations.Collect(ch)
	if sizer, ok := s.Store.(Sizer); ok {
		if size, err := sizer.Size(); err == nil { // absent says that it is not known; a store that fails is a problem of the node's
			s.descs.send(ch, "waylume_store_size_bytes", float64(size))
		}
	}
}
