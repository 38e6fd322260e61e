package contract

import (
	"cmp"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/prometheus/discovery"
)

// Metrics are the discovery metrics of one of clanmon's mechanisms. There is one
// for each mechanism and server, which is why it also is where the server learns
// how discovery fares. It is safe for concurrent use.
type Metrics struct {
	Method    string
	Mechanism string // in metrics; Method if empty
	Refresh   discovery.RefreshMetricsInstantiator

	mu        sync.Mutex
	reporters map[*StatusReporter]struct{}
}

// Register implements discovery.DiscovererMetrics; the metrics of refreshes are
// registered by Prometheus for all mechanisms.
func (*Metrics) Register() error { return nil }

// Unregister implements discovery.DiscovererMetrics.
func (*Metrics) Unregister() {}

// Status implements Reporter: one for each discoverer.
func (m *Metrics) Status() []Status {
	var all []Status
	for _, r := range m.sorted() {
		r.mu.Lock()
		s := Status{Method: m.Method, From: r.from, Config: r.config, Jobs: []string{r.config}, LastSuccess: r.good, FailingSince: r.since, Never: r.good.IsZero()}
		if r.last != nil {
			s.Error = r.last.Error()
		}
		r.mu.Unlock()
		all = append(all, s)
	}
	return all
}

// Refused implements Reporter. Discoverers that read the same say it once.
func (m *Metrics) Refused() []Refused {
	var all []Refused
	for _, r := range m.sorted() {
		r.mu.Lock()
		for _, entry := range r.refused {
			if !slices.Contains(all, entry) {
				all = append(all, entry)
			}
		}
		r.mu.Unlock()
	}
	return all
}

func (m *Metrics) sorted() []*StatusReporter {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.SortedFunc(maps.Keys(m.reporters), func(a, b *StatusReporter) int {
		return cmp.Or(CompareJobs(a.config, b.config), strings.Compare(a.from, b.from))
	})
}

// Reporter is for one discoverer, which asks or reads from, and which config (a
// job) was made for first.
func (m *Metrics) Reporter(config, from string) *StatusReporter {
	r := &StatusReporter{owner: m, config: config, from: from, metrics: m.Refresh.Instantiate(cmp.Or(m.Mechanism, m.Method), config)}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.reporters == nil {
		m.reporters = make(map[*StatusReporter]struct{})
	}
	m.reporters[r] = struct{}{}
	return r
}

// StatusReporter says how the refreshes of one discoverer went.
type StatusReporter struct {
	owner        *Metrics
	config, from string
	metrics      *discovery.RefreshMetrics

	mu      sync.Mutex
	last    error
	good    time.Time // of the last success
	since   time.Time // of the first failure after it
	refused []Refused
}

// Close forgets the discoverer.
func (r *StatusReporter) Close() {
	r.owner.mu.Lock()
	defer r.owner.mu.Unlock()
	delete(r.owner.reporters, r)
}

// Refreshed counts a refresh as Prometheus does, and logs an error when it
// appears, changes or goes away.
func (r *StatusReporter) Refreshed(log *slog.Logger, took time.Duration, err error) {
	r.metrics.Duration.Observe(took.Seconds())
	r.metrics.DurationHistogram.Observe(took.Seconds())
	r.outcome(log, err, true)
}

// Outcome is Refreshed for a discoverer whose refreshes are measured elsewhere,
// and whose error is worded differently from time to time: it is logged when it
// appears and when it goes away.
func (r *StatusReporter) Outcome(log *slog.Logger, err error) { r.outcome(log, err, false) }

// maxRefused bounds how many entries are named.
const maxRefused = 100

// Refuse replaces the entries that could not be used in the last refresh; each is
// logged when it appears. Method is filled in.
func (r *StatusReporter) Refuse(log *slog.Logger, entries []Refused) {
	if more := len(entries) - maxRefused; more > 0 {
		entries = append(slices.Clone(entries[:maxRefused]), Refused{Entry: fmt.Sprintf("%d more", more), Reason: "see those above"})
	}
	for i := range entries {
		entries[i].Method = r.owner.Method
	}
	before := r.owner.Refused()
	for _, e := range entries {
		if !slices.Contains(before, e) {
			shared(log).Warn("Invalid discovery entry is left out; all others are used", "method", e.Method, "from", r.from, "entry", e.Entry, "reason", e.Reason)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refused = entries
}

func (r *StatusReporter) outcome(log *slog.Logger, err error, changes bool) {
	if err != nil {
		r.metrics.Failures.Inc()
	}
	r.owner.mu.Lock()
	defer r.owner.mu.Unlock()
	r.mu.Lock()
	before, now := r.last, time.Now().UTC()
	r.last = err
	switch {
	case err == nil:
		r.good, r.since = now, time.Time{}
	case before == nil:
		r.since = now
	}
	r.mu.Unlock()
	switch {
	case err != nil && (before == nil || changes && before.Error() != err.Error()):
		if !r.owner.any(r, func(other error) bool { return other.Error() == err.Error() }) {
			log.Error("Unable to refresh targets; keeping the previous ones", "err", err)
		}
	case err == nil && before != nil:
		if !r.owner.any(r, func(error) bool { return true }) {
			log.Info("Targets are refreshed again")
		}
	}
}

// any reports whether the last error of a discoverer other than r is as wanted:
// several may read one file, of which one line in the log is enough.
func (m *Metrics) any(r *StatusReporter, wanted func(error) bool) bool {
	for other := range m.reporters {
		if other == r {
			continue
		}
		other.mu.Lock()
		err := other.last
		other.mu.Unlock()
		if err != nil && wanted(err) {
			return true
		}
	}
	return false
}
