package resultcache

import (
	"context"
	"maps"
	"math"
	"sync"
	"sync/atomic"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/util/annotations"
	"github.com/prometheus/prometheus/util/stats"
)

// query is a range query whose result the cache may have. Query is the engine's for the
// whole range.
type query struct {
	promql.Query
	cache       *Cache
	key         key
	shape       *shape
	first, last int64 // steps, in milliseconds
	tail        func(ctx context.Context, from int64, byLabels bool) (promql.Query, error)

	cancel atomic.Pointer[context.CancelFunc]
	part   promql.Query // what was evaluated in place of Query
	room   []promql.FPoint
}

// evaluation is one attempt to answer a query. The cache's lock guards changed.
type evaluation struct {
	shape    *shape
	version  uint64
	inBlocks bool
	keep     int64 // the last step that is worth keeping
	changed  int64 // steps from here on have changed since the evaluation began

	cached promql.Matrix // the steps that the cache had, nil for none
	known  int64         // the last of them
	notes  map[string]struct{}
}

// Exec implements promql.Query.
func (q *query) Exec(ctx context.Context) *promql.Result {
	ctx, cancel := context.WithCancel(ctx)
	q.cancel.Store(&cancel)
	defer cancel()

	ev := q.begin(true)
	if ev == nil {
		q.cache.metrics.queries.WithLabelValues("bypass").Inc()
		return q.Query.Exec(ctx)
	}
	defer func() { q.end(ev) }()
	if ev.cached != nil {
		if result, ok := q.continued(ctx, ev); ok {
			return result
		}
		q.end(ev)
		ev = q.begin(false)
	}
	q.count("miss", 0)
	result := q.Query.Exec(ctx)
	if m, ok := result.Value.(promql.Matrix); ok && result.Err == nil && ev != nil {
		q.keepWhole(ev, m, result.Warnings)
	}
	return result
}

// count counts the query, of which the cache had so many steps.
func (q *query) count(result string, cached int64) {
	m := q.cache.metrics
	m.queries.WithLabelValues(result).Inc()
	m.steps.WithLabelValues("cache").Add(float64(cached))
	m.steps.WithLabelValues("engine").Add(float64((q.last-q.first)/q.key.step + 1 - cached))
}

// begin registers an evaluation, so that it learns of changes, and has copied what is
// in the cache if asked. It is nil if nothing may be kept.
func (q *query) begin(withCached bool) *evaluation {
	c := q.cache
	c.mu.Lock()
	defer c.mu.Unlock()
	version, ok := c.Source.Version()
	if !ok || c.off {
		return nil
	}
	if version != c.version {
		c.forgetAll("blocks")
		c.version = version
	}
	keep := min(q.last, c.Now().Add(-settled).UnixMilli()-q.shape.reach)
	ev := &evaluation{
		shape: q.shape, version: version, changed: math.MaxInt64, keep: keep,
		inBlocks: c.Source.InBlocks(q.first-q.shape.back, q.last+q.shape.reach),
	}
	c.running[ev] = struct{}{}
	c.horizon.Store(max(c.horizon.Load(), keep+q.shape.reach))

	e := c.entries[q.key]
	if !withCached || e == nil || e.inBlocks != ev.inBlocks || e.noisy || q.first < e.start || q.first >= e.end() {
		return ev
	}
	known := min(q.last, e.end())
	const point = 16 // bytes
	if int64(len(e.rows))*((q.last-known)/q.key.step)*point > c.Size {
		return ev // room for what is missing is made before the limit of samples is checked
	}
	if known == q.last && len(e.notes) > 0 {
		return ev // which of these steps the annotations are of is not known
	}
	c.touch(e)
	e.wanted = max(e.wanted, int((q.last-q.first)/q.key.step)+1)
	ev.known, ev.notes = known, e.notes
	ev.cached, q.room = e.result(q.first, known, int((q.last-known)/q.key.step))
	return ev
}

func (q *query) end(ev *evaluation) {
	q.cache.mu.Lock()
	defer q.cache.mu.Unlock()
	delete(q.cache.running, ev)
}

// continued evaluates what comes after the cached steps, with the last of them again,
// and joins the two. It is false if the whole has to be evaluated after all.
func (q *query) continued(ctx context.Context, ev *evaluation) (*promql.Result, bool) {
	cached := (ev.known-q.first)/q.key.step + 1
	if ev.known == q.last {
		q.count("hit", cached)
		return q.checked(&promql.Result{Value: ev.cached}), true
	}
	part, err := q.tail(ctx, ev.known, q.shape.ordered && ev.inBlocks)
	if err != nil {
		return &promql.Result{Err: err}, true
	}
	q.part = part
	result := part.Exec(ctx)
	newer, ok := result.Value.(promql.Matrix)
	if result.Err != nil || !ok {
		return result, true
	}
	joined, same := join(ev.cached, newer, ev.known)
	if !q.keepTail(ev, newer, same, result.Warnings) {
		return nil, false
	}
	q.count("partial", cached-1)
	return q.checked(&promql.Result{Value: joined, Warnings: result.Warnings}), true
}

// join adds newer to cached. Both have the step known, and same tells that they agree
// on it.
func join(cached, newer promql.Matrix, known int64) (joined promql.Matrix, same bool) {
	joined = make(promql.Matrix, 0, max(len(cached), len(newer)))
	same = true
	for len(cached) > 0 || len(newer) > 0 {
		order := 0
		switch {
		case len(cached) == 0:
			order = 1
		case len(newer) == 0:
			order = -1
		default:
			order = labels.Compare(cached[0].Metric, newer[0].Metric)
		}
		var a, b promql.Series
		if order <= 0 {
			a, cached = cached[0], cached[1:]
		}
		if order >= 0 {
			b, newer = newer[0], newer[1:]
		}
		had, has := len(a.Floats) > 0 && a.Floats[len(a.Floats)-1].T == known, len(b.Floats) > 0 && b.Floats[0].T == known
		same = same && had == has && (len(b.Histograms) == 0 || b.Histograms[0].T > known)
		if had && has {
			same = same && math.Float64bits(a.Floats[len(a.Floats)-1].F) == math.Float64bits(b.Floats[0].F)
			b.Floats = b.Floats[1:]
		}
		switch {
		case order < 0:
			joined = append(joined, a)
		case order > 0:
			joined = append(joined, b)
		default:
			a.Floats, a.Histograms = append(a.Floats, b.Floats...), b.Histograms
			joined = append(joined, a)
		}
	}
	return joined, same
}

// keepTail keeps what was evaluated from the last cached step on. It is false if what
// the cache had is not, or may not be, what an evaluation would give.
func (q *query) keepTail(ev *evaluation, newer promql.Matrix, same bool, notes annotations.Annotations) bool {
	c := q.cache
	c.mu.Lock()
	defer c.mu.Unlock()
	if ev.changed <= ev.known {
		return false
	}
	e := c.entries[q.key]
	if !same {
		if e != nil {
			c.drop(q.key)
			c.metrics.invalidations.WithLabelValues("mismatch").Inc()
		}
		return false
	}
	// Annotations are not known by step. If those of the older steps are among those of
	// the newer ones, it does not matter which of them they are of.
	newest := q.texts(notes, nil)
	for text := range ev.notes {
		if _, ok := newest[text]; !ok {
			if e != nil {
				e.noisy = true
			}
			return false
		}
	}
	until, ok := c.until(q, ev, ev.known)
	if !ok || e == nil || e.start > ev.known || e.end() < ev.known || until <= e.end() || e.inBlocks != ev.inBlocks {
		return true
	}
	if !e.extend(newer, ev.known, until) {
		c.drop(q.key)
		return true
	}
	e.notes = q.texts(notes, e.notes)
	e.trim()
	c.put(q.key, e)
	return true
}

// keepWhole keeps the result of an evaluation of all steps.
func (q *query) keepWhole(ev *evaluation, m promql.Matrix, notes annotations.Annotations) {
	c := q.cache
	c.mu.Lock()
	defer c.mu.Unlock()
	until, ok := c.until(q, ev, q.first)
	if !ok || q.tooLarge(m) {
		return
	}
	old := c.entries[q.key]
	if e := old; e != nil && e.start <= q.first && e.end() >= until && e.inBlocks == ev.inBlocks && len(e.notes) == 0 {
		return // somebody else has been quicker
	}
	e := &entry{
		shape: q.shape, step: q.key.step, start: q.first, inBlocks: ev.inBlocks,
		wanted: int((q.last-q.first)/q.key.step) + 1, notes: q.texts(notes, nil),
	}
	e.noisy = old != nil && old.noisy && len(e.notes) > 0
	if e.extend(m, q.first, until) {
		c.put(q.key, e)
	}
}

// tooLarge reports whether a result would not be kept: each of its series takes a value for
// every step between its first and its last point.
func (q *query) tooLarge(m promql.Matrix) bool {
	var size int64
	for _, s := range m {
		if n := len(s.Floats); n > 0 {
			size += ((s.Floats[n-1].T-s.Floats[0].T)/q.key.step + 1) * 8
		}
	}
	return size > q.cache.Size/4
}

// until is the last step from the time from on that may be kept; c.mu is held.
func (c *Cache) until(q *query, ev *evaluation, from int64) (int64, bool) {
	if version, ok := c.Source.Version(); !ok || version != ev.version || c.off {
		return 0, false
	}
	last := min(ev.keep, ev.changed-1)
	if last < from || ev.changed == math.MinInt64 {
		return 0, false
	}
	return from + (last-from)/q.key.step*q.key.step, true
}

// texts are those of notes as they are shown, with what they count and from when to
// when, and more.
func (q *query) texts(notes annotations.Annotations, more map[string]struct{}) map[string]struct{} {
	all := make(map[string]struct{}, len(notes)+len(more))
	maps.Copy(all, more)
	warnings, infos := notes.AsStrings(q.key.query, 0, 0)
	for _, text := range append(warnings, infos...) {
		all[text] = struct{}{}
	}
	return all
}

// checked refuses a result that the engine would refuse for its size.
func (q *query) checked(r *promql.Result) *promql.Result {
	if limit := q.cache.MaxSamples; limit > 0 && r.Value.(promql.Matrix).TotalSamples() > limit {
		return &promql.Result{Err: promql.ErrTooManySamples("query execution")}
	}
	return r
}

// Close implements promql.Query.
func (q *query) Close() {
	q.Query.Close()
	if q.part != nil {
		q.part.Close()
	}
	putPoints(q.room)
	q.room = nil
}

// Stats implements promql.Query: what was evaluated.
func (q *query) Stats() *stats.Statistics {
	if q.part != nil {
		return q.part.Stats()
	}
	return q.Query.Stats()
}

// Cancel implements promql.Query.
func (q *query) Cancel() {
	if cancel := q.cancel.Load(); cancel != nil {
		(*cancel)()
	}
}

var pool sync.Pool

// getPoints returns an empty slice with room for n points.
func getPoints(n int) []promql.FPoint {
	if p, ok := pool.Get().(*[]promql.FPoint); ok && cap(*p) >= n {
		return (*p)[:0]
	}
	return make([]promql.FPoint, 0, n)
}

func putPoints(p []promql.FPoint) {
	if cap(p) > 0 {
		pool.Put(&p)
	}
}
