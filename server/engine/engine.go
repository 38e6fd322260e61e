// Package engine reads history from an engine that others run: Prometheus, Mimir, Thanos or
// VictoriaMetrics (--query.url). The server's store has the recent part, the engine what is older.
//
// It asks by the HTTP API for queries, because all four have it. Remote read would keep
// PromQL's semantics exactly, but VictoriaMetrics and Thanos lack it, and a chart of a month
// would move every sample instead of a few hundred points.
//
// What a step needs is either all in the local store, or the step is the engine's. So a range
// query is divided at one step; no expression is put together from samples of both.
// As with remote read, the server's external labels are added to each selector that does
// not mention them, and removed from what comes back. That makes series of both the same.
// A query whose selectors all demand an external label is the engine's as a whole: series of
// the local store lack the label. Where it has series of each value that is demanded, by labels
// of targets or because other servers send their samples here, the query is divided like others.
//
// Nothing fails because the engine does: the local part is returned with a warning that
// begins with NotReached. Results of the engine are not cached.
package engine

import (
	"context"
	"log/slog"
	"math"
	"regexp"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
)

// NotReached and Incomplete begin the warnings of answers that lack history. The pages
// look for them.
const (
	NotReached = "History not reached: "
	Incomplete = "History incomplete: "
)

// Options say what an Engine is made of.
type Options struct {
	Settings
	Parser     parser.Parser
	MaxSamples int // of one result, as in the query engine; 0 is no limit
	// Local is the local store.
	Local storage.Queryable
	// Oldest is the time from which the local store has samples, in milliseconds.
	Oldest func() (int64, error)
	// ReplicaLabels are external labels by which the servers of a pair differ.
	ReplicaLabels []string
	Registerer    prometheus.Registerer
	Logger        *slog.Logger

	Now func() time.Time // nil is time.Now
}

// Engine asks an engine. Safe for concurrent use.
type Engine struct {
	Options
	client   *client
	external atomic.Pointer[[]labels.Label]
}

// New returns an Engine. It does not connect yet.
func New(o Options) (*Engine, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	c, err := newClient(o)
	if err != nil {
		return nil, err
	}
	e := &Engine{Options: o, client: c}
	e.SetExternalLabels(labels.EmptyLabels())
	return e, nil
}

// SetExternalLabels says which labels this server's series have in the engine.
func (e *Engine) SetExternalLabels(external labels.Labels) {
	var all []labels.Label
	external.Range(func(l labels.Label) { all = append(all, l) })
	e.external.Store(&all)
}

// ExternalLabels are this server's.
func (e *Engine) ExternalLabels() []labels.Label { return *e.external.Load() }

// oldest is the time from which the local store has everything.
func (e *Engine) oldest() int64 {
	t, err := e.Oldest()
	if err != nil {
		return math.MaxInt64
	}
	return t
}

// scope is what external labels mean for one request.
type scope struct {
	add   []*labels.Matcher
	strip map[string]string
}

// scopeOf takes the selectors of a request.
func (e *Engine) scopeOf(selectors ...[]*labels.Matcher) scope {
	s := scope{strip: make(map[string]string)}
	external := *e.external.Load()
	others := false // series of other servers are wanted, whose replicas are not ours
	for _, l := range external {
		others = others || !slices.Contains(e.ReplicaLabels, l.Name) && anyOf(selectors, func(m *labels.Matcher) bool {
			return m.Name == l.Name && !m.Matches("") && (m.Type != labels.MatchEqual || m.Value != l.Value)
		})
	}
	for _, l := range external {
		replica := slices.Contains(e.ReplicaLabels, l.Name)
		if replica && others || anyOf(selectors, func(m *labels.Matcher) bool { return m.Name == l.Name }) {
			continue
		}
		s.strip[l.Name] = l.Value
		if !replica {
			s.add = append(s.add, labels.MustNewMatcher(labels.MatchEqual, l.Name, l.Value))
			continue
		}
		// An engine that deduplicates has dropped the label, or does so after it selects:
		// then series of both servers are wanted.
		if e.Dialect != Thanos {
			s.add = append(s.add, labels.MustNewMatcher(labels.MatchRegexp, l.Name, regexp.QuoteMeta(l.Value)+"|"))
		}
	}
	return s
}

func anyOf(selectors [][]*labels.Matcher, is func(*labels.Matcher) bool) bool {
	return slices.ContainsFunc(selectors, func(ms []*labels.Matcher) bool { return slices.ContainsFunc(ms, is) })
}

// demanded reports whether each of the selectors demands an external label, and one of them
// demands a value that the local store lacks between mint and maxt.
func (e *Engine) demanded(ctx context.Context, mint, maxt int64, selectors ...[]*labels.Matcher) bool {
	external := *e.external.Load()
	demands := func(m *labels.Matcher) bool {
		return !m.Matches("") && slices.ContainsFunc(external, func(l labels.Label) bool { return l.Name == m.Name })
	}
	var demanding []*labels.Matcher
	for _, ms := range selectors {
		n := slices.IndexFunc(ms, demands)
		if n < 0 {
			return false
		}
		demanding = append(demanding, ms[n])
	}
	if len(demanding) == 0 {
		return false
	}
	q, err := e.Local.Querier(mint, maxt)
	if err != nil {
		return false
	}
	defer q.Close()
	for n, m := range demanding {
		here, _, err := q.LabelValues(ctx, m.Name, nil, selectors[n]...)
		if err != nil {
			return false
		}
		wanted := m.SetMatches()
		if m.Type == labels.MatchEqual {
			wanted = []string{m.Value}
		}
		lacks := func(value string) bool { return !slices.Contains(here, value) }
		if len(wanted) == 0 || slices.ContainsFunc(wanted, lacks) {
			return true
		}
	}
	return false
}

func selectorsOf(expr parser.Expr) (all [][]*labels.Matcher) {
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		if s, ok := node.(*parser.VectorSelector); ok {
			all = append(all, s.LabelMatchers)
		}
		return nil
	})
	return all
}

// Instant evaluates an expression in the engine alone, as it is written: its selectors get
// no labels, and the result keeps those that it has. It also returns the engine's warnings.
func (e *Engine) Instant(ctx context.Context, expr string, t time.Time, lookback time.Duration) (promql.Vector, []string, error) {
	r := request{query: expr, first: t.UnixMilli(), lookback: lookback}
	a, err := e.client.query(ctx, r)
	if err != nil {
		return nil, nil, err
	}
	value, err := a.value(r, scope{}, false)
	if err != nil {
		return nil, nil, err
	}
	v, ok := value.(promql.Vector)
	if !ok {
		return nil, nil, errMalformed
	}
	return v, a.Warnings, nil
}

// own removes the external labels from ls.
func (s scope) own(ls map[string]string) labels.Labels {
	b := labels.NewScratchBuilder(len(ls))
	for name, value := range ls {
		if value != "" && s.strip[name] != value {
			b.Add(name, value)
		}
	}
	b.Sort()
	return b.Labels()
}

// QueryEngine returns an engine that evaluates with next what the local store has.
func (e *Engine) QueryEngine(next promql.QueryEngine) promql.QueryEngine {
	return &queryEngine{e, next}
}

type queryEngine struct {
	*Engine
	next promql.QueryEngine
}

// NewInstantQuery implements promql.QueryEngine.
func (e *queryEngine) NewInstantQuery(ctx context.Context, q storage.Queryable, opts promql.QueryOpts, qs string, ts time.Time) (promql.Query, error) {
	own, err := e.next.NewInstantQuery(ctx, q, opts, qs, ts)
	if err != nil {
		return nil, err
	}
	at := ts.UnixMilli()
	return e.divided(ctx, own, opts, qs, at, at, 0), nil
}

// NewRangeQuery implements promql.QueryEngine.
func (e *queryEngine) NewRangeQuery(ctx context.Context, q storage.Queryable, opts promql.QueryOpts, qs string, start, end time.Time, step time.Duration) (promql.Query, error) {
	own, err := e.next.NewRangeQuery(ctx, q, opts, qs, start, end, step)
	if err != nil || step < time.Millisecond {
		return own, err
	}
	return e.divided(ctx, own, opts, qs, start.UnixMilli(), end.UnixMilli(), step.Milliseconds()), nil
}

// divided returns own, or a query that asks the engine for the steps for which the own
// store is too young. A step of 0 is for an instant query.
func (e *queryEngine) divided(ctx context.Context, own promql.Query, opts promql.QueryOpts, qs string, first, end, step int64) promql.Query {
	stmt, ok := own.Statement().(*parser.EvalStmt)
	if !ok {
		return own
	}
	oldest, last := e.oldest(), end
	if step > 0 {
		last = first + (end-first)/step*step
	}
	mint, maxt := promql.FindMinMaxTime(stmt)
	labelled := e.demanded(ctx, mint, maxt, selectorsOf(stmt.Expr)...)
	if !labelled && earliest(stmt, first) >= oldest || last < first {
		return own
	}
	expr, err := e.Parser.ParseExpr(qs) // as it was written: stmt has what the query engine made of it
	if err != nil {
		return own
	}
	d := &query{Query: own, engine: e.Engine, expr: expr, first: first, until: last, step: step, oldest: oldest}
	if opts != nil {
		d.lookback = opts.LookbackDelta()
	}
	if d.lookback <= 0 {
		d.lookback = stmt.LookbackDelta
	}
	d.inspect()
	if d.whole {
		d.until = end // end() is that, and not the last step
	} else if step > 0 && !labelled {
		// earliest does not fall with time: find the last step that needs the engine.
		lo, hi := int64(0), (last-first)/step
		for lo < hi {
			if mid := (lo + hi + 1) / 2; earliest(stmt, first+mid*step) < oldest {
				lo = mid
			} else {
				hi = mid - 1
			}
		}
		d.until = first + lo*step
	}
	if !d.reads { // 1 + 1
		return own
	}
	return d
}

// earliest is the time of the oldest sample that a step at the time t may read; without
// selectors it is far away.
func earliest(stmt *parser.EvalStmt, t int64) int64 {
	at := *stmt
	at.Start, at.End = time.UnixMilli(t), time.UnixMilli(t)
	mint, _ := promql.FindMinMaxTime(&at)
	return mint
}
