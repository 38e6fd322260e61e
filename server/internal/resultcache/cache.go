// Package resultcache remembers the results of range queries. A dashboard that is
// refreshed asks for the same steps again and again; only those that are new are
// evaluated.
//
// A Cache is a promql.QueryEngine in front of another one. Its answers equal those of
// that engine bit by bit, so it has to learn of everything that changes the past:
// Source tells it of blocks, Changed of samples that arrive late and of deletes. The
// newest minute is never kept, because samples still arrive there.
//
// Not every expression can be put together from parts; those that cannot are passed
// on (see shapeOf), and so are results with native histograms.
package resultcache

import (
	"context"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
)

// settled is how old a step has to be to be kept. Samples are visible when their
// scrape ends, which is at most its timeout after their time. What comes later still is
// reported by Changed, so this is about use, not about truth.
const settled = time.Minute

// longestPhase bounds the grids that are kept: a step divides the time since 1970, or
// at least a quarter of an hour does, as for the charts of long ranges in our pages. A
// client whose range ends at any millisecond never asks for the same step twice.
const longestPhase = 15 * time.Minute

// Source is what the engine reads.
type Source interface {
	// Version changes when stored samples come or go other than by being appended or
	// deleted, as by retention or backfilled blocks. It is false while nothing may be
	// kept, because the store is closed or does not know of all changes.
	Version() (version uint64, ok bool)
	// InBlocks reports whether a block has a part of mint to maxt, in milliseconds.
	// If so, series are read in the order of their labels, else in that in which they
	// appeared; sums and ties depend on it.
	InBlocks(mint, maxt int64) bool
}

// Options say what a Cache is made of.
type Options struct {
	Engine     promql.QueryEngine
	Parser     parser.Parser // that of Engine
	Source     Source
	Size       int64 // bytes of results to keep, more than 0
	MaxSamples int   // of one result, as in Engine; 0 is no limit
	Registerer prometheus.Registerer

	Now func() time.Time // nil is time.Now
}

// Cache keeps results of range queries. It is safe for concurrent use.
type Cache struct {
	Options
	metrics metrics
	horizon atomic.Int64 // no kept or running evaluation has read samples after it

	mu      sync.Mutex
	off     bool
	version uint64
	entries map[key]*entry
	running map[*evaluation]struct{}
	size    int64
	clock   uint64 // counts uses, for the least recent one
}

// key is what a result depends on besides the samples and the range.
type key struct {
	query           string
	step, phase     int64 // milliseconds
	lookback        time.Duration
	startTimestamps string
}

// New returns an empty cache.
func New(o Options) *Cache {
	if o.Now == nil {
		o.Now = time.Now
	}
	c := &Cache{Options: o, entries: make(map[key]*entry), running: make(map[*evaluation]struct{})}
	c.horizon.Store(math.MinInt64)
	c.metrics = newMetrics(c)
	return c
}

type bypass struct{}

// Bypass returns a context whose queries neither use the cache nor fill it.
func Bypass(ctx context.Context) context.Context { return context.WithValue(ctx, bypass{}, true) }

// NewInstantQuery implements promql.QueryEngine; it is the engine's.
func (c *Cache) NewInstantQuery(ctx context.Context, q storage.Queryable, opts promql.QueryOpts, qs string, ts time.Time) (promql.Query, error) {
	return c.Engine.NewInstantQuery(ctx, q, opts, qs, ts)
}

// NewRangeQuery implements promql.QueryEngine.
func (c *Cache) NewRangeQuery(ctx context.Context, q storage.Queryable, opts promql.QueryOpts, qs string, start, end time.Time, step time.Duration) (promql.Query, error) {
	whole, err := c.Engine.NewRangeQuery(ctx, q, opts, qs, start, end, step)
	if err != nil {
		return nil, err
	}
	k, ok := keyOf(opts, qs, start, end, step)
	var s *shape
	if ok && ctx.Value(bypass{}) == nil {
		s = c.shape(k, whole)
	}
	if s == nil {
		c.metrics.queries.WithLabelValues("bypass").Inc()
		return whole, nil
	}
	first := start.UnixMilli()
	return &query{
		Query: whole, cache: c, key: k, shape: s,
		first: first, last: first + (end.UnixMilli()-first)/k.step*k.step,
		tail: func(ctx context.Context, from int64, byLabels bool) (promql.Query, error) {
			if byLabels {
				q = sorted{q}
			}
			return c.Engine.NewRangeQuery(ctx, q, opts, qs, time.UnixMilli(from), end, step)
		},
	}, nil
}

// keyOf is false for a query whose steps are not those of other queries.
func keyOf(opts promql.QueryOpts, qs string, start, end time.Time, step time.Duration) (key, bool) {
	if opts == nil {
		opts = promql.NewPrometheusQueryOpts(false, 0, nil)
	}
	ms := step.Milliseconds()
	if ms <= 0 || step%time.Millisecond != 0 || start.Nanosecond()%int(time.Millisecond) != 0 ||
		end.Sub(start) < step || opts.EnablePerStepStats() {
		return key{}, false
	}
	first := start.UnixMilli()
	if first%min(ms, longestPhase.Milliseconds()) != 0 {
		return key{}, false
	}
	k := key{query: qs, step: ms, phase: first % ms, lookback: max(0, opts.LookbackDelta())}
	if use := opts.UseStartTimestamps(); use != nil {
		k.startTimestamps = map[bool]string{false: "no", true: "yes"}[*use]
	}
	return k, true
}

// shape is that of whole's expression, nil if its results cannot be put together.
func (c *Cache) shape(k key, whole promql.Query) *shape {
	c.mu.Lock()
	e := c.entries[k]
	c.mu.Unlock()
	if e != nil {
		return e.shape
	}
	// As it was written: what the engine has made of it lacks start(), end(), range().
	expr, err := c.Parser.ParseExpr(k.query)
	if err != nil {
		return nil
	}
	stmt, ok := whole.Statement().(*parser.EvalStmt)
	if !ok {
		return nil
	}
	return shapeOf(expr, stmt)
}

// Configure switches the cache off or on, and forgets everything: the configuration
// says something else than before that results depend on.
func (c *Cache) Configure(off bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.off = off
	c.forgetAll("reload")
}

// Horizon is the time in milliseconds after which samples were not read yet; Changed
// need not be told of those.
func (c *Cache) Horizon() int64 { return c.horizon.Load() }

// Changed forgets what samples from the time from on, in milliseconds, have changed: of
// one series, or of any if it has no labels. It has to be called when the change can be
// read, and before who made it is told that it was made.
func (c *Cache) Changed(from int64, series labels.Labels) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if from > c.horizon.Load() {
		return
	}
	horizon := int64(math.MinInt64)
	for k, e := range c.entries {
		if e.shape.reads(series) && e.forget(from-e.shape.reach) {
			c.metrics.invalidations.WithLabelValues("changed_samples").Inc()
		}
		if e.steps == 0 {
			c.drop(k)
			continue
		}
		horizon = max(horizon, e.end()+e.shape.reach)
	}
	for ev := range c.running {
		if ev.shape.reads(series) {
			ev.changed = min(ev.changed, from-ev.shape.reach)
		}
		horizon = max(horizon, ev.keep+ev.shape.reach)
	}
	c.horizon.Store(horizon)
}

// forgetAll empties the cache; c.mu is held.
func (c *Cache) forgetAll(why string) {
	for k := range c.entries {
		c.drop(k)
		c.metrics.invalidations.WithLabelValues(why).Inc()
	}
	for ev := range c.running {
		ev.changed = math.MinInt64
	}
}

// drop forgets one entry; c.mu is held.
func (c *Cache) drop(k key) {
	if e := c.entries[k]; e != nil {
		c.size -= e.size
		delete(c.entries, k)
	}
}

// put keeps e, and forgets the least recently used ones that are too much then; c.mu is
// held.
func (c *Cache) put(k key, e *entry) {
	c.drop(k)
	e.size = e.bytes() + int64(len(k.query))
	if e.steps == 0 || e.size > c.Size/4 { // one that is huge must not take the place of all others
		return
	}
	c.entries[k] = e
	c.size += e.size
	c.touch(e)
	for c.size > c.Size {
		var oldest key
		used := uint64(math.MaxUint64)
		for k, e := range c.entries {
			if e.used < used {
				oldest, used = k, e.used
			}
		}
		c.drop(oldest)
		c.metrics.evictions.Inc()
	}
}

func (c *Cache) touch(e *entry) {
	c.clock++
	e.used = c.clock
}

// sorted reads series in the order of their labels.
type sorted struct{ storage.Queryable }

func (s sorted) Querier(mint, maxt int64) (storage.Querier, error) {
	q, err := s.Queryable.Querier(mint, maxt)
	if err != nil {
		return nil, err
	}
	return sortedQuerier{q}, nil
}

type sortedQuerier struct{ storage.Querier }

func (q sortedQuerier) Select(ctx context.Context, _ bool, hints *storage.SelectHints, ms ...*labels.Matcher) storage.SeriesSet {
	return q.Querier.Select(ctx, true, hints, ms...)
}

// metrics are what the cache says of itself.
type metrics struct {
	queries       *prometheus.CounterVec
	steps         *prometheus.CounterVec
	invalidations *prometheus.CounterVec
	evictions     prometheus.Counter
}

func newMetrics(c *Cache) metrics {
	const prefix = "clanmon_query_cache_"
	m := metrics{
		queries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: prefix + "queries_total",
			Help: "Range queries by what the result cache had of them: all steps (hit), older steps (partial), nothing (miss), or they cannot be cached (bypass).",
		}, []string{"result"}),
		steps: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: prefix + "steps_total",
			Help: "Steps of cacheable range queries by where they came from: the cache or the engine.",
		}, []string{"source"}),
		invalidations: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: prefix + "invalidations_total",
			Help: "Cached results of which some or all steps were dropped, by reason.",
		}, []string{"reason"}),
		evictions: prometheus.NewCounter(prometheus.CounterOpts{
			Name: prefix + "evictions_total",
			Help: "Cached results that were dropped to make room for others.",
		}),
	}
	for _, r := range []string{"hit", "partial", "miss", "bypass"} {
		m.queries.WithLabelValues(r)
	}
	for _, s := range []string{"cache", "engine"} {
		m.steps.WithLabelValues(s)
	}
	for _, r := range []string{"changed_samples", "blocks", "mismatch", "reload"} {
		m.invalidations.WithLabelValues(r)
	}
	gauge := func(name, help string, value func() int64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: prefix + name, Help: help}, func() float64 {
			c.mu.Lock()
			defer c.mu.Unlock()
			return float64(value())
		})
	}
	if c.Registerer != nil {
		c.Registerer.MustRegister(m.queries, m.steps, m.invalidations, m.evictions,
			gauge("size_bytes", "Estimated memory of the cached results.", func() int64 { return c.size }),
			gauge("size_limit_bytes", "Maximum memory of the cached results.", func() int64 { return c.Size }),
			gauge("entries", "Number of cached results.", func() int64 { return int64(len(c.entries)) }))
	}
	return m
}
