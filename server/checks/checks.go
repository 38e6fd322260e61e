// Package checks looks at services from outside, as blackbox_exporter does and with its
// packages: a site responds, a certificate is good, a host answers ping. It is asked for each
// check and place by the scrape manager, as a job of this process, and keeps the last results for
// the pages. A place is this server, or a machine whose blackbox exporter runs the check.
//
// It stores nothing itself; what was before the start it reads from the store.
package checks

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/storage"

	"google.golang.org/protobuf/proto"

	"github.com/clanmon/clanmon/discovery/checks"
	"github.com/clanmon/clanmon/discovery/contract"
	"github.com/clanmon/clanmon/internal/probe"
)

const (
	// enough results say whether a check fails: two of three.
	lastResults = 3
	runLimit    = 30 * time.Second
)

// Options for New.
type Options struct {
	// Query evaluates PromQL on what is stored, and Store is what that is. Both are called once
	// the store is open. Nil is that nothing is kept.
	Query func(ctx context.Context, expr string, t time.Time) (promql.Vector, error)
	Store func() storage.Queryable
	// Exporter is the URL of a machine's exporter of the job checks.Job and a client for it. The
	// error is for people: why the machine cannot check. Nil knows none.
	Exporter func(machine string) (url string, client *http.Client, err error)
	Logger   *slog.Logger
}

// Checks are those that the configuration asks for. It is safe for concurrent use.
type Checks struct {
	opts Options

	mu      sync.RWMutex
	here    string // the machine of this server
	order   []key
	entries map[key]*entry
	past    past
}

// key is a check from one place.
type key struct{ name, from string }

// entry is a check from one place, with its last results.
type entry struct {
	key
	check checks.Check
	run   func(context.Context) (probe.Result, error)
	born  time.Time
	// seeded is that it knows what the store says of the time before; only remember looks at it.
	seeded bool

	mu      sync.Mutex
	results []bool // the last ones, newest last
	since   time.Time
	last    probe.Result
	failed  probe.Result // the last one that failed
	running bool         // by hand
	// trouble is why the last attempt was no probe: the place could not be asked.
	trouble string
}

// New returns Checks without any.
func New(o Options) *Checks {
	return &Checks{opts: o, entries: make(map[key]*entry)}
}

// Apply takes the checks of a configuration; here is the machine of this server. Results of those
// that stay as they are stay.
func (c *Checks) Apply(all []checks.Check, here string) {
	entries := make(map[key]*entry, len(all))
	c.past.forget()
	c.mu.Lock()
	defer c.mu.Unlock()
	order := make([]key, 0, len(all))
	pings := false
	for _, check := range all {
		for _, from := range check.Places(here) {
			k := key{check.Name, from}
			e := c.entries[k]
			if e == nil || here != c.here || !same(e.check, check) {
				e = &entry{key: k, check: check, born: time.Now()}
				if from == here {
					e.run = func(ctx context.Context) (probe.Result, error) {
						return probe.Run(ctx, check, probe.Bounds{Named: check.URL.Hostname()}), nil
					}
					pings = pings || check.URL.Scheme == "ping"
				} else {
					e.run = func(ctx context.Context) (probe.Result, error) { return c.ask(ctx, from, check) }
				}
			}
			entries[k] = e
			order = append(order, k)
		}
	}
	c.here, c.order, c.entries = here, order, entries
	if pings {
		if why := probe.CannotPing(); why != "" {
			c.opts.Logger.Warn("Checks by ping fail: this process may send no ICMP", "reason", why)
		}
	}
}

func same(a, b checks.Check) bool {
	regex := func(c checks.Check) string {
		if c.Body == nil {
			return ""
		}
		return c.Body.String()
	}
	return a.Instance() == b.Instance() && a.Every == b.Every && a.Timeout == b.Timeout && slices.Equal(a.Status, b.Status) &&
		regex(a) == regex(b) && a.CertificateDays == b.CertificateDays && a.Machine == b.Machine && a.Severity == b.Severity
}

// Handler serves the job: a probe of the check that the parameter module names, from the place
// that the parameter from names. A place that cannot be asked is no metrics: the target is down.
func (c *Checks) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e := c.entry(key{r.URL.Query().Get("module"), r.URL.Query().Get("from")})
		if e == nil {
			http.Error(w, "no such check", http.StatusNotFound)
			return
		}
		c.remember(r.Context())
		result, err := e.probe(r.Context())
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		promhttp.HandlerFor(e.gatherer(result), promhttp.HandlerOpts{}).ServeHTTP(w, r)
	})
}

// gatherer are the series of a result, with what the settings say of the check. All have the
// machine that the check names. It is no label of the target, whose up would then be taken for
// the machine's.
func (e *entry) gatherer(r probe.Result) prometheus.Gatherer {
	gauge := func(name, help string, value float64, labels ...*dto.LabelPair) *dto.MetricFamily {
		return &dto.MetricFamily{
			Name: &name, Help: &help, Type: dto.MetricType_GAUGE.Enum(),
			Metric: []*dto.Metric{{Label: labels, Gauge: &dto.Gauge{Value: &value}}},
		}
	}
	families := append(slices.Clone(r.Families),
		gauge("clanmon_check_info", "What the settings say of the check. The value is 1.", 1, pair("severity", e.check.Severity)),
		gauge("clanmon_check_certificate_days", "Days before the certificate expires from which on it is to be renewed.", float64(e.check.CertificateDays)),
	)
	for _, f := range families {
		for _, m := range f.Metric {
			// What another machine responds must not pass for a third one's.
			m.Label = slices.DeleteFunc(m.Label, func(l *dto.LabelPair) bool { return l.GetName() == contract.MachineLabel })
			if e.check.Machine != "" {
				m.Label = append(m.Label, pair(contract.MachineLabel, e.check.Machine))
			}
		}
	}
	return prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) { return families, nil })
}

func pair(name, value string) *dto.LabelPair {
	return &dto.LabelPair{Name: proto.String(name), Value: &value}
}

func (c *Checks) entry(k key) *entry {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.entries[k]
}

// of are the entries of a check, in the order of its places; nil if there is no such check.
func (c *Checks) of(name string) []*entry {
	c.mu.RLock()
	defer c.mu.RUnlock()
	var all []*entry
	for _, k := range c.order {
		if k.name == name {
			all = append(all, c.entries[k])
		}
	}
	return all
}

// probe runs a check once and keeps the result. An error is that its place could not be asked.
func (e *entry) probe(ctx context.Context) (probe.Result, error) {
	r, err := e.run(ctx)
	if ctx.Err() == nil { // else whoever asked went away, which says nothing of the service
		e.keep(r, err)
	}
	return r, err
}

// keep remembers a result, or why there is none.
func (e *entry) keep(r probe.Result, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	before := e.state()
	if err != nil {
		e.trouble = err.Error()
	} else {
		e.trouble = ""
		e.results = append(e.results, r.OK)
		if len(e.results) > lastResults {
			e.results = e.results[1:]
		}
		r.Families = nil // they are stored
		if !r.OK {
			e.failed = r
		}
		e.last, e.last.Log = r, ""
	}
	if e.state() != before {
		e.since = cmp.Or(r.At, time.Now())
	}
}

// States of a check.
const (
	stateUnknown = "unknown" // not probed yet
	stateOK      = "ok"
	stateOnce    = "failed once" // the last probe failed
	stateFailing = "failing"     // two of the last three did
	stateNotRun  = "not run"     // its place could not be asked the last time
)

// state is called with mu held.
func (e *entry) state() string {
	if e.trouble != "" {
		return stateNotRun
	}
	return stateOf(e.results)
}

// stateOf is the state that the last results make, newest last.
func stateOf(results []bool) string {
	if len(results) == 0 {
		return stateUnknown
	}
	failures := 0
	for _, ok := range results {
		if !ok {
			failures++
		}
	}
	switch {
	case failures >= 2:
		return stateFailing
	case !results[len(results)-1]:
		return stateOnce
	}
	return stateOK
}
