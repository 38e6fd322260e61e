package checks

import (
	"context"
	"math"
	"sync"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"github.com/clanmon/clanmon/discovery/checks"
	"github.com/clanmon/clanmon/internal/probe"
)

const (
	pastEvery = 30 * time.Second
	// every probe of this long is looked at for when a state began, and before that every hour.
	probesBack = 24 * time.Hour
	hoursBack  = 90 * 24 * time.Hour
	// resultsKept is for how long results of before a start count for the state of now.
	resultsKept = time.Hour

	ratio = "check:success:ratio1h" // recorded by the built-in rules
)

// past is what the store says of checks.
type past struct {
	reading sync.Mutex // one query at a time
	mu      sync.Mutex // the rest, held for moments only
	at      time.Time
	uptime  map[key]uptime

	seeding sync.Mutex // one look at the time before the start at a time
}

func (p *past) last() (time.Time, map[key]uptime) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.at, p.uptime
}

func (p *past) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.at = time.Time{}
}

// uptimes says how often checks succeeded; it asks the store at most every pastEvery. The hourly
// records make the long windows cheap; they begin with the server's first full hour.
func (c *Checks) uptimes(ctx context.Context) map[key]uptime {
	c.past.reading.Lock()
	defer c.past.reading.Unlock()
	at, known := c.past.last()
	if c.opts.Query == nil || time.Since(at) < pastEvery {
		return known
	}
	now := time.Now()
	read := make(map[key]uptime)
	for _, window := range []struct {
		expr string
		set  func(*uptime, *float64)
	}{
		{`avg by (check, from) (avg_over_time(probe_success{job="` + checks.Job + `",check!=""}[1d]))`, func(u *uptime, v *float64) { u.Day = v }},
		{`avg by (check, from) (avg_over_time(` + ratio + `[30d]))`, func(u *uptime, v *float64) { u.Month = v }},
		{`avg by (check, from) (avg_over_time(` + ratio + `[90d]))`, func(u *uptime, v *float64) { u.Quarter = v }},
	} {
		vector, err := c.opts.Query(ctx, window.expr, now)
		if err != nil {
			return known // said by the rules and the log of the store
		}
		for _, s := range vector {
			k := keyOf(s.Metric)
			u := read[k]
			window.set(&u, &s.F)
			read[k] = u
		}
	}
	c.past.mu.Lock()
	defer c.past.mu.Unlock()
	c.past.at, c.past.uptime = now, read
	return read
}

func keyOf(ls labels.Labels) key { return key{ls.Get(checks.NameLabel), ls.Get(checks.FromLabel)} }

// history is what the store has of one check from one place.
type history struct {
	results []bool
	since   time.Time
	last    time.Time
}

// remember tells entries that are new what the store says of the time before, so that a restart
// changes no state. If the store cannot be read, the next probe tries again.
func (c *Checks) remember(ctx context.Context) {
	c.past.seeding.Lock()
	defer c.past.seeding.Unlock()
	c.mu.RLock()
	fresh := make(map[key]*entry)
	born := time.Time{}
	for k, e := range c.entries {
		if !e.seeded { // only written here
			fresh[k] = e
			if e.born.After(born) {
				born = e.born
			}
		}
	}
	c.mu.RUnlock()
	if len(fresh) == 0 {
		return
	}
	found, err := c.lookBack(ctx, fresh, born)
	if err != nil {
		return
	}
	for k, e := range fresh {
		e.seed(found[k])
	}
}

// seed takes what is known of the time before e was made.
func (e *entry) seed(h history) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.seeded = true
	if h.last.IsZero() || e.born.Sub(h.last) > resultsKept {
		return
	}
	before := stateOf(h.results)
	own := e.results
	e.results = append(h.results, own...) // probes since then, by hand or of a moment ago
	e.results = e.results[max(0, len(e.results)-lastResults):]
	if len(own) == 0 {
		e.last = probe.Result{At: h.last, OK: h.results[len(h.results)-1]}
	}
	if e.trouble == "" && stateOf(e.results) == before {
		e.since = h.since
	}
}

// lookBack reads the results of checks before a time.
func (c *Checks) lookBack(ctx context.Context, wanted map[key]*entry, before time.Time) (map[key]history, error) {
	found := make(map[key]history)
	if c.opts.Store == nil {
		return found, nil
	}
	store := c.opts.Store()
	if store == nil {
		return found, nil
	}
	unsure := make(map[key]bool) // whose state may have begun before the probes that are looked at
	err := samples(ctx, store, "probe_success", before.Add(-probesBack), before, func(ls labels.Labels, values []sample) {
		k := keyOf(ls)
		e := wanted[k]
		if e == nil || ls.Get(model.InstanceLabel) != e.check.Instance() || len(values) == 0 {
			return
		}
		h, same := historyOf(values)
		if h.last.After(found[k].last) { // of several, such as with another machine label, the newest
			found[k], unsure[k] = h, same
		}
	})
	if err != nil {
		return nil, err
	}
	err = samples(ctx, store, ratio, before.Add(-hoursBack), before, func(ls labels.Labels, values []sample) {
		k := keyOf(ls)
		h, ok := found[k]
		if !ok || !unsure[k] || ls.Get(model.InstanceLabel) != wanted[k].check.Instance() {
			return
		}
		// From the newest hour backwards, as long as all of its probes had the same result.
		want := 0.0
		if h.results[len(h.results)-1] {
			want = 1
		}
		for i := len(values) - 1; i >= 0 && values[i].v == want; i-- {
			if at := values[i].t.Add(-time.Hour); at.Before(h.since) {
				h.since = at
			}
		}
		found[k] = h
	})
	return found, err
}

// historyOf makes the state of probes, oldest first, as keep does. same is that all had the same
// result, so that the state may have begun before them.
func historyOf(values []sample) (h history, same bool) {
	state := ""
	same = true
	for _, s := range values {
		h.results = append(h.results, s.v == 1)
		h.results = h.results[max(0, len(h.results)-lastResults):]
		if now := stateOf(h.results); now != state {
			state, h.since = now, s.t
		}
		same = same && s.v == values[0].v
	}
	if same { // the first failure, not the second one that made it failing
		h.since = values[0].t
	}
	h.last = values[len(values)-1].t
	return h, same
}

type sample struct {
	t time.Time
	v float64
}

// samples calls each with the samples of every series of a metric, oldest first.
func samples(ctx context.Context, store storage.Queryable, metric string, from, to time.Time, each func(labels.Labels, []sample)) error {
	q, err := store.Querier(from.UnixMilli(), to.UnixMilli())
	if err != nil {
		return err
	}
	defer q.Close()
	set := q.Select(ctx, false, nil,
		labels.MustNewMatcher(labels.MatchEqual, model.MetricNameLabel, metric),
		labels.MustNewMatcher(labels.MatchNotEqual, checks.NameLabel, ""))
	var it chunkenc.Iterator
	var values []sample
	for set.Next() {
		values = values[:0]
		it = set.At().Iterator(it)
		for it.Next() == chunkenc.ValFloat {
			if t, v := it.At(); !math.IsNaN(v) { // stale markers
				values = append(values, sample{time.UnixMilli(t), v})
			}
		}
		if it.Err() != nil {
			return it.Err()
		}
		each(set.At().Labels(), values)
	}
	return set.Err()
}
