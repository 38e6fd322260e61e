// Package collector is the contract between what is measured and the exporter
// that serves it, and the discipline around it.
//
// A Collector reads one thing. A Set runs many at once so that each costs only
// itself: in a buffer of its own, under the deadline of the scrape, recovered
// if it panics, and never twice at the same time. The package knows no exporter
// kind. A Set owns no goroutine between scrapes, but a collector that hangs
// keeps the one it hangs in.
package collector

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Collector reads one thing, such as a file of /proc or a service.
type Collector interface {
	// Collect sends what it finds to ch and returns. It should give up when ctx
	// ends; what it sends after that is discarded. Set never calls it while an
	// earlier call runs.
	Collect(ctx context.Context, ch chan<- prometheus.Metric) error
	// Close releases what the collector holds. No Collect follows.
	Close() error
}

// ErrNoData is what a Collector returns when this machine lacks the thing that
// it reads. It counts as no success, but is not worth a line in the log.
var ErrNoData = errors.New("no data")

// Outcome describes one run of one collector.
type Outcome struct {
	Collector string
	Duration  time.Duration
	Err       error
}

// Set runs collectors. Its methods are safe for concurrent use.
type Set struct {
	members map[string]*member
	log     *slog.Logger
	report  func(Outcome) []prometheus.Metric
}

type member struct {
	name      string
	collector Collector
	running   atomic.Bool

	mu   sync.Mutex
	last string // text of the last error, "" after a success
}

// NewSet returns a Set of named collectors. report turns the outcome of each
// run into metrics.
func NewSet(collectors map[string]Collector, log *slog.Logger, report func(Outcome) []prometheus.Metric) *Set {
	s := &Set{members: make(map[string]*member, len(collectors)), log: log, report: report}
	for name, c := range collectors {
		s.members[name] = &member{name: name, collector: c}
	}
	return s
}

// Names are the names of all collectors, sorted.
func (s *Set) Names() []string { return slices.Sorted(maps.Keys(s.members)) }

// Close closes all collectors.
func (s *Set) Close() error {
	var errs []error
	for _, m := range s.members {
		errs = append(errs, m.collector.Close())
	}
	return errors.Join(errs...)
}

// Collect runs the collectors of those names, all when names is nil, and sends
// what they found and how they fared. It returns when all are done or ctx ends.
func (s *Set) Collect(ctx context.Context, names []string, ch chan<- prometheus.Metric) {
	if names == nil {
		names = s.Names()
	}
	var wg sync.WaitGroup
	for _, name := range names {
		m, ok := s.members[name]
		if !ok {
			continue
		}
		wg.Go(func() {
			metrics, o := m.run(ctx)
			s.logChange(m, o)
			for _, x := range metrics {
				ch <- x
			}
			for _, x := range s.report(o) {
				ch <- x
			}
		})
	}
	wg.Wait()
}

// run collects once, or fails at once while an earlier run still hangs.
func (m *member) run(ctx context.Context) ([]prometheus.Metric, Outcome) {
	begin := time.Now()
	if !m.running.CompareAndSwap(false, true) {
		return nil, Outcome{Collector: m.name, Err: errors.New("an earlier run has not ended")}
	}
	type result struct {
		metrics []prometheus.Metric
		err     error
	}
	done := make(chan result, 1)
	go func() {
		ch := make(chan prometheus.Metric, 32)
		failed := make(chan error, 1)
		go func() {
			defer close(ch)
			failed <- m.safely(ctx, ch)
		}()
		var r result
		for x := range ch { // also of a run that nobody waits for any more
			r.metrics = append(r.metrics, x)
		}
		r.err = <-failed
		m.running.Store(false)
		done <- r
	}()
	select {
	case r := <-done:
		return r.metrics, Outcome{m.name, time.Since(begin), r.err}
	case <-ctx.Done():
		return nil, Outcome{m.name, time.Since(begin), fmt.Errorf("gave up: %w", context.Cause(ctx))}
	}
}

// safely turns a panic into an error with the place where it happened.
func (m *member) safely(ctx context.Context, ch chan<- prometheus.Metric) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v\n%s", r, debug.Stack())
		}
	}()
	return m.collector.Collect(ctx, ch)
}

// logChange logs an error when it appears, changes or goes away: a machine
// without some hardware would otherwise fill the journal, a line per scrape.
func (s *Set) logChange(m *member, o Outcome) {
	text := ""
	if o.Err != nil {
		text = o.Err.Error()
	}
	m.mu.Lock()
	changed := text != m.last
	before := m.last
	m.last = text
	m.mu.Unlock()
	log := s.log.With("collector", m.name)
	switch {
	case !changed:
	case errors.Is(o.Err, ErrNoData):
		log.Debug("Collector found nothing to collect", "err", o.Err)
	case o.Err != nil:
		log.Error("Collector failed", "duration", o.Duration, "err", o.Err)
	case before != ErrNoData.Error():
		log.Info("Collector works again")
	}
}

var (
	durationDesc = prometheus.NewDesc("clanmon_exporter_collector_duration_seconds",
		"How long the collector took at this scrape.", []string{"collector"}, nil)
	successDesc = prometheus.NewDesc("clanmon_exporter_collector_success",
		"Whether the collector succeeded at this scrape.", []string{"collector"}, nil)
)

// Report is the report of kinds whose upstream exporter has none of its own.
func Report(o Outcome) []prometheus.Metric {
	return ReportAs(durationDesc, successDesc, o)
}

// ReportAs turns o into a duration in seconds and a success of 0 or 1; both
// descriptions have the one label "collector".
func ReportAs(duration, success *prometheus.Desc, o Outcome) []prometheus.Metric {
	ok := 1.0
	if o.Err != nil {
		ok = 0
	}
	return []prometheus.Metric{
		prometheus.MustNewConstMetric(duration, prometheus.GaugeValue, o.Duration.Seconds(), o.Collector),
		prometheus.MustNewConstMetric(success, prometheus.GaugeValue, ok, o.Collector),
	}
}
