package contract

import (
	"cmp"
	"log/slog"
	"slices"
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
	reporters map[string]*StatusReporter
}

// Register implements discovery.DiscovererMetrics; the metrics of refreshes are
// registered by Prometheus for all mechanisms.
func (*Metrics) Register() error { return nil }

// Unregister implements discovery.DiscovererMetrics.
func (*Metrics) Unregister() {}

// Status implements Reporter.
func (m *Metrics) Status() []Status {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []Status
	for config, r := range m.reporters {
		s := Status{Method: m.Method, Config: config}
		r.mu.Lock()
		if r.last != nil {
			s.Error = r.last.Error()
		}
		s.LastSuccess = r.good
		asked := r.asked
		r.mu.Unlock()
		if asked {
			all = append(all, s)
		}
	}
	slices.SortFunc(all, func(a, b Status) int { return CompareJobs(a.Config, b.Config) })
	return all
}

// Reporter is for one discoverer, which config (a job) was made for first.
func (m *Metrics) Reporter(config string) *StatusReporter {
	r := &StatusReporter{owner: m, config: config, metrics: m.Refresh.Instantiate(cmp.Or(m.Mechanism, m.Method), config)}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.reporters == nil {
		m.reporters = make(map[string]*StatusReporter)
	}
	m.reporters[config] = r
	return r
}

// StatusReporter says how the refreshes of one discoverer went.
type StatusReporter struct {
	owner   *Metrics
	config  string
	metrics *discovery.RefreshMetrics

	mu    sync.Mutex
	asked bool
	last  error
	good  time.Time // of the last success
}

// Close forgets the discoverer, unless another took its place.
func (r *StatusReporter) Close() {
	r.owner.mu.Lock()
	defer r.owner.mu.Unlock()
	if r.owner.reporters[r.config] == r {
		delete(r.owner.reporters, r.config)
	}
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

func (r *StatusReporter) outcome(log *slog.Logger, err error, changes bool) {
	if err != nil {
		r.metrics.Failures.Inc()
	}
	r.owner.mu.Lock()
	defer r.owner.mu.Unlock()
	r.mu.Lock()
	before := r.last
	r.asked, r.last = true, err
	if err == nil {
		r.good = time.Now().UTC()
	}
	r.mu.Unlock()
	switch {
	case err != nil && (before == nil || changes && before.Error() != err.Error()):
		if !r.owner.any(r, func(other error) bool { return other.Error() == err.Error() }) {
			log.Error("Unable to refresh targets; those found before stay", "err", err)
		}
	case err == nil && before != nil:
		if !r.owner.any(r, func(error) bool { return true }) {
			log.Info("Targets can be refreshed again")
		}
	}
}

// any reports whether the last error of a discoverer other than r is as wanted:
// several may read one file, of which one line in the log is enough.
func (m *Metrics) any(r *StatusReporter, wanted func(error) bool) bool {
	for _, other := range m.reporters {
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
