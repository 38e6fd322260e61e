// Package collector is the contract between what is measured and the exporter
// that serves it, and the discipline around it.
//
// A Collector reads one thing. A Set runs many at once so that each costs only
// itself: in a buffer of its own, under the deadline of the scrape, recovered
// if it panics, and never twice at the same time. The package knows no exporter
// kind. There is nothing to stop: a Set owns no goroutine between scrapes, but a
// collector that hangs keeps those it hangs in. The Set does not call it again
// until that run ends, unless the collector is an Overtaker.
package collector

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Collector reads one thing, such as a file of /proc or a service.
type Collector interface {
	// Collect sends what it finds to ch and returns. It should give up when ctx
	// ends; what it sends after that is discarded. Set never calls it while an
	// earlier call runs, unless it is an Overtaker.
	Collect(ctx context.Context, ch chan<- prometheus.Metric) error
	// Close releases what the collector holds. No Collect follows.
	Close() error
}

// A Backend is a Collector that asks a service, which may be down.
type Backend interface {
	Collector
	// Down are the metrics that say so, such as an "up" of 0. They stand in for
	// what Collect would have found, when the service did not answer in time.
	Down() []prometheus.Metric
}

// An Overtaker is a Collector that finds its own way round what hangs: while an
// earlier call hangs, another one may do better. node_exporter's collector of
// file systems leaves out a mount in which an earlier call is stuck.
type Overtaker interface {
	Collector
	// Overtakes says that Collect may be called while earlier calls hang.
	Overtakes() bool
}

// mostStuck is how many runs of an Overtaker hang at most. Each of them may block
// a few threads of the process until the kernel lets go of them.
const mostStuck = 8

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

// ErrHung is how a collector fares that misses the deadline, and at each scrape
// from then on until that run ends: one error, so that it is logged once.
var ErrHung = errors.New("did not finish before the scrape timeout")

// slow is how long a collector runs at least before it counts as hanging. Who
// grants it less learns nothing of it, and must not speak for others.
const slow = 500 * time.Millisecond

var errImpatient = errors.New("the scrape's timeout is too short")

type member struct {
	name      string
	collector Collector

	mu      sync.Mutex
	current *run   // nil between runs
	stuck   int    // runs that hang and were overtaken
	last    string // signature of the last error, "" after a success
}

// overtakes says whether a run may begin beside the one that hangs.
func (m *member) overtakes() bool {
	o, ok := m.collector.(Overtaker)
	return ok && o.Overtakes() && m.stuck < mostStuck-1
}

// run is one call of Collect.
type run struct {
	began time.Time
	ended chan struct{}
	// hung is set once somebody waited for it until a deadline: others need not.
	hung atomic.Bool
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
			metrics, o := m.collect(ctx)
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

// collect runs the collector once. Of several scrapes at one time each waits for
// its turn, as long as its own deadline allows; while a run hangs they fail at
// once.
func (m *member) collect(ctx context.Context) ([]prometheus.Metric, Outcome) {
	begin := time.Now()
	fail := func(err error) ([]prometheus.Metric, Outcome) {
		var down []prometheus.Metric
		if b, ok := m.collector.(Backend); ok && errors.Is(err, ErrHung) {
			down = b.Down()
		}
		return down, Outcome{m.name, time.Since(begin), err}
	}
	r, err := m.begin(ctx)
	if err != nil {
		return fail(err)
	}
	begin = time.Now()
	ch := make(chan prometheus.Metric, 32)
	var failed error // read after ch is closed
	go func() {
		defer close(ch)
		failed = m.safely(ctx, ch)
	}()
	var found []prometheus.Metric
	for {
		select {
		case x, more := <-ch:
			if more {
				found = append(found, x)
				continue
			}
			m.end(r)
			if ctx.Err() != nil {
				return fail(r.gaveUp(ctx)) // what it found may be incomplete
			}
			return found, Outcome{m.name, time.Since(begin), failed}
		case <-ctx.Done():
			go func() {
				for range ch { // nobody waits for it any more
				}
				m.end(r)
			}()
			return fail(r.gaveUp(ctx))
		}
	}
}

// begin waits until no other run is under way and starts one. A run that hangs is
// overtaken if the collector allows it.
func (m *member) begin(ctx context.Context) (*run, error) {
	for {
		m.mu.Lock()
		other := m.current
		if other == nil {
			m.current = &run{began: time.Now(), ended: make(chan struct{})}
			defer m.mu.Unlock()
			return m.current, nil
		}
		if other.hung.Load() {
			overtakes := m.overtakes()
			if overtakes {
				m.stuck++
				m.current = nil
			}
			m.mu.Unlock()
			if overtakes {
				continue
			}
			return nil, ErrHung
		}
		m.mu.Unlock()
		select {
		case <-other.ended:
		case <-ctx.Done():
			return nil, other.gaveUp(ctx)
		}
	}
}

func (m *member) end(r *run) {
	m.mu.Lock()
	if m.current == r {
		m.current = nil
	} else {
		m.stuck-- // it was overtaken
	}
	m.mu.Unlock()
	close(r.ended)
}

// gaveUp is the error of a scrape that waited for r until ctx ended. Only a
// deadline says something about the collector, and only if it left it time; a
// scraper may also hang up.
func (r *run) gaveUp(ctx context.Context) error {
	if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return context.Cause(ctx)
	}
	if time.Since(r.began) < slow {
		return errImpatient
	}
	r.hung.Store(true)
	return ErrHung
}

// panicError is a panic of a collector.
type panicError struct {
	value any
	stack []byte // not part of the text, in which it would never be twice the same
}

func (e *panicError) Error() string { return fmt.Sprintf("panic: %v", e.value) }

func (m *member) safely(ctx context.Context, ch chan<- prometheus.Metric) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = &panicError{r, debug.Stack()}
		}
	}()
	return m.collector.Collect(ctx, ch)
}

// logChange logs an error when it appears, changes or goes away: a machine
// without some hardware would otherwise fill the journal, a line per scrape.
func (s *Set) logChange(m *member, o Outcome) {
	if errors.Is(o.Err, context.Canceled) || errors.Is(o.Err, errImpatient) {
		return // nothing is known of the collector
	}
	now := signature(o.Err)
	m.mu.Lock()
	before := m.last
	m.last = now
	stuck := m.stuck
	m.mu.Unlock()
	if now == before {
		return
	}
	log := s.log.With("collector", m.name)
	switch {
	case errors.Is(o.Err, ErrNoData):
		log.Debug("Collector found no data", "err", o.Err)
	case o.Err != nil:
		if p, ok := errors.AsType[*panicError](o.Err); ok {
			log = log.With("stack", string(p.stack))
		}
		log.Error("Collector failed", "duration", o.Duration, "err", o.Err)
	case before != signature(ErrNoData):
		if stuck > 0 {
			log = log.With("stuck_runs", stuck) // it went round what they hang in
		}
		log.Info("Collector succeeded again")
	}
}

// signature is what makes err the same as another: its text but for the digits,
// for ports and times differ at each scrape.
func signature(err error) string {
	if err == nil {
		return ""
	}
	return "failed: " + strings.Map(func(c rune) rune {
		if '0' <= c && c <= '9' {
			return -1
		}
		return c
	}, err.Error())
}

var (
	durationDesc = prometheus.NewDesc("clanmon_exporter_collector_duration_seconds",
		"Duration of the collector in this scrape.", []string{"collector"}, nil)
	successDesc = prometheus.NewDesc("clanmon_exporter_collector_success",
		"Whether the collector succeeded in this scrape.", []string{"collector"}, nil)
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
