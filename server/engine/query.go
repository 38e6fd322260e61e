package engine

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/util/annotations"
)

// query is a query of which the engine answers the steps from first to until. Query is
// the local store's for all steps: it is what there is if the engine fails.
type query struct {
	promql.Query
	engine       *Engine
	expr         parser.Expr
	selectors    [][]*labels.Matcher
	first, until int64 // milliseconds
	step         int64 // 0 for an instant query
	oldest       int64
	lookback     time.Duration

	reads bool // it has selectors
	// whole tells that a step depends on the range of the query, so that it cannot be divided.
	whole bool
	// adds tells that more samples can only make more series: what the engine does not know,
	// because it is not fed by this server, may then be filled in.
	adds bool

	cancel atomic.Pointer[context.CancelFunc]
}

// inspect sets what follows from the expression.
func (q *query) inspect() {
	q.adds = true
	parser.Inspect(q.expr, func(node parser.Node, _ []parser.Node) error {
		switch n := node.(type) {
		case *parser.VectorSelector:
			q.reads = true
			q.selectors = append(q.selectors, n.LabelMatchers)
			q.whole = q.whole || n.StartOrEnd != 0 || ofRange(n.OriginalOffsetExpr)
		case *parser.MatrixSelector:
			q.whole = q.whole || ofRange(n.RangeExpr)
		case *parser.SubqueryExpr:
			q.whole = q.whole || n.StartOrEnd != 0 || ofRange(n.RangeExpr, n.OriginalOffsetExpr, n.StepExpr)
		case *parser.Call:
			switch n.Func.Name {
			case "start", "end", "range":
				q.whole = true
			case "absent", "absent_over_time", "scalar", "vector":
				q.adds = false
			}
		case *parser.BinaryExpr:
			q.adds = q.adds && n.Op != parser.LUNLESS && !n.Op.IsComparisonOperator()
		case *parser.AggregateExpr:
			q.adds = q.adds && !slices.Contains([]parser.ItemType{parser.TOPK, parser.BOTTOMK, parser.LIMITK, parser.LIMIT_RATIO}, n.Op)
		}
		return nil
	})
	q.adds = q.adds && !q.whole
}

// ofRange reports whether one of these durations depends on the range of the query.
func ofRange(durations ...*parser.DurationExpr) bool {
	return slices.ContainsFunc(durations, func(d *parser.DurationExpr) bool {
		return d != nil && strings.Contains(d.String(), "range()")
	})
}

// Exec implements promql.Query.
func (q *query) Exec(ctx context.Context) *promql.Result {
	type answer struct {
		value    parser.Value
		warnings []string
		err      error
	}
	asked := make(chan answer, 1)
	ctx, cancel := context.WithCancel(ctx)
	q.cancel.Store(&cancel)
	defer cancel() // if the local part fails, the query has failed
	go func() {
		var a answer
		a.value, a.warnings, a.err = q.ask(ctx)
		asked <- a
	}()
	result := q.Query.Exec(ctx)
	if result.Err != nil {
		return result
	}
	a := <-asked
	if errors.Is(ctx.Err(), context.Canceled) {
		return &promql.Result{Err: promql.ErrQueryCanceled("query history"), Warnings: result.Warnings}
	}
	notes := annotations.New()
	notes.Merge(result.Warnings)
	value := result.Value
	if a.err == nil {
		value, a.err = q.join(a.value, result.Value)
	}
	if a.err != nil {
		notes.Add(errors.New(NotReached + a.err.Error()))
		return &promql.Result{Value: result.Value, Warnings: *notes}
	}
	for _, w := range a.warnings {
		notes.Add(errors.New(Incomplete + w))
	}
	if m, ok := value.(promql.Matrix); ok && q.engine.MaxSamples > 0 && m.TotalSamples() > q.engine.MaxSamples {
		return &promql.Result{Err: promql.ErrTooManySamples("query history")}
	}
	return &promql.Result{Value: value, Warnings: *notes}
}

// Cancel implements promql.Query.
func (q *query) Cancel() {
	if cancel := q.cancel.Load(); cancel != nil {
		(*cancel)()
	}
}

// ask returns the engine's part.
func (q *query) ask(ctx context.Context) (parser.Value, []string, error) {
	scope := q.engine.scopeOf(q.selectors...)
	text := q.String() // as it was written
	if len(scope.add) > 0 {
		parser.Inspect(q.expr, func(node parser.Node, _ []parser.Node) error {
			if s, ok := node.(*parser.VectorSelector); ok {
				s.LabelMatchers = append(s.LabelMatchers, scope.add...)
			}
			return nil
		})
		text = q.expr.String()
	}
	r := request{query: text, first: q.first, last: q.until, step: q.step, lookback: q.lookback}
	a, err := q.engine.client.query(ctx, r)
	if err != nil {
		return nil, nil, err
	}
	value, err := a.value(r, scope, q.engine.Dialect == VictoriaMetrics && dropsName(q.expr))
	return value, a.Warnings, err
}

// join puts the parts together. Points of the engine win up to until.
func (q *query) join(theirs, own parser.Value) (parser.Value, error) {
	if q.step == 0 {
		return q.instant(theirs, own)
	}
	old, ok := theirs.(promql.Matrix)
	newer, own2 := own.(promql.Matrix)
	if !ok || !own2 {
		return nil, errors.New("the response has another type than the query")
	}
	known := make(map[string]int, len(old)) // by labels, which have no common order in own
	var key []byte
	for n, s := range old {
		key = s.Metric.Bytes(key)
		known[string(key)] = n
	}
	joined := old
	for _, s := range newer {
		key = s.Metric.Bytes(key)
		n, found := known[string(key)]
		if !found {
			n = len(joined)
			joined = append(joined, promql.Series{Metric: s.Metric})
		}
		j := &joined[n]
		wanted := func(t int64, has bool) bool { return t > q.until || q.adds && !has && t >= q.oldest }
		j.Floats = merge(j.Floats, s.Floats, func(p promql.FPoint) int64 { return p.T }, wanted)
		j.Histograms = merge(j.Histograms, s.Histograms, func(p promql.HPoint) int64 { return p.T }, wanted)
	}
	joined = slices.DeleteFunc(joined, func(s promql.Series) bool { return len(s.Floats)+len(s.Histograms) == 0 })
	slices.SortFunc(joined, func(a, b promql.Series) int { return labels.Compare(a.Metric, b.Metric) })
	return joined, nil
}

// merge adds to old what of newer is wanted, in the order of time.
func merge[P any](old, newer []P, at func(P) int64, wanted func(t int64, has bool) bool) []P {
	if len(old) == 0 || len(newer) == 0 || at(newer[0]) > at(old[len(old)-1]) {
		for _, p := range newer {
			if wanted(at(p), false) {
				old = append(old, p)
			}
		}
		return old
	}
	var joined []P
	for len(old) > 0 || len(newer) > 0 {
		switch {
		case len(newer) == 0 || len(old) > 0 && at(old[0]) <= at(newer[0]):
			if len(newer) > 0 && at(old[0]) == at(newer[0]) {
				newer = newer[1:]
			}
			joined, old = append(joined, old[0]), old[1:]
		default:
			if wanted(at(newer[0]), false) {
				joined = append(joined, newer[0])
			}
			newer = newer[1:]
		}
	}
	return joined
}

// instant chooses: the engine's, unless it knows nothing of what the local store has in part.
func (q *query) instant(theirs, own parser.Value) (parser.Value, error) {
	if s, scalar := own.(promql.Scalar); scalar {
		switch v, vector := theirs.(promql.Vector); { // VictoriaMetrics has no scalars
		case vector && len(v) == 1:
			return promql.Scalar{T: s.T, V: v[0].F}, nil
		case vector && len(v) == 0:
			return promql.Scalar{T: s.T, V: math.NaN()}, nil
		}
	}
	if theirs.Type() != own.Type() {
		return nil, errors.New("the response has another type than the query")
	}
	empty := false
	switch v := theirs.(type) {
	case promql.Vector:
		empty = len(v) == 0
	case promql.Matrix:
		empty = len(v) == 0
	}
	if empty && q.adds {
		return own, nil
	}
	return theirs, nil
}

// dropsName reports whether PromQL removes the metric name from the result of e.
// VictoriaMetrics keeps it for functions that do not change what a value means.
func dropsName(e parser.Expr) bool {
	switch e := e.(type) {
	case *parser.ParenExpr:
		return dropsName(e.Expr)
	case *parser.UnaryExpr:
		return true
	case *parser.BinaryExpr:
		return !e.Op.IsSetOperator() && (!e.Op.IsComparisonOperator() || e.ReturnBool)
	case *parser.AggregateExpr:
		return slices.Contains([]parser.ItemType{parser.TOPK, parser.BOTTOMK, parser.LIMITK, parser.LIMIT_RATIO}, e.Op) && dropsName(e.Expr)
	case *parser.Call:
		switch e.Func.Name {
		case "last_over_time", "first_over_time", "label_replace", "label_join", "info":
			return false
		case "sort", "sort_desc", "sort_by_label", "sort_by_label_desc":
			return dropsName(e.Args[0])
		}
		return true
	}
	return false
}
