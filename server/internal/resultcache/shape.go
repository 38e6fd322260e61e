package resultcache

import (
	"strings"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
)

// shape is what the cache has to know of an expression. It does not change.
type shape struct {
	selectors [][]*labels.Matcher
	// A step reads samples from back before it to reach after it, in milliseconds; reach
	// is negative where everything has an offset.
	back, reach int64
	// ordered tells that the order in which series are read shows in the result: in the
	// last bit of a sum, or in which of equals are the top ones.
	ordered bool
}

// reads reports whether a result depends on a series; one without labels stands for any.
func (s *shape) reads(series labels.Labels) bool {
	if series.IsEmpty() {
		return true
	}
	for _, selector := range s.selectors {
		matches := true
		for _, m := range selector {
			matches = matches && m.Matches(series.Get(m.Name))
		}
		if matches {
			return true
		}
	}
	return false
}

// shapeOf returns nil for an expression with steps that depend on anything but the
// samples around them: on the range of the query, on a fixed time, or on chance.
// stmt is the expression as the engine evaluates it.
func shapeOf(expr parser.Expr, stmt *parser.EvalStmt) *shape {
	s, parts := &shape{}, true
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		switch n := node.(type) {
		case *parser.VectorSelector:
			s.selectors = append(s.selectors, n.LabelMatchers)
			parts = parts && n.Timestamp == nil && n.StartOrEnd == 0 && !ofRange(n.OriginalOffsetExpr)
		case *parser.MatrixSelector:
			parts = parts && !ofRange(n.RangeExpr)
		case *parser.SubqueryExpr:
			parts = parts && n.Timestamp == nil && n.StartOrEnd == 0 && !ofRange(n.RangeExpr, n.OriginalOffsetExpr, n.StepExpr)
		case *parser.Call:
			switch n.Func.Name {
			case "start", "end", "range", "info":
				parts = false
			}
		case *parser.AggregateExpr:
			switch n.Op {
			case parser.LIMITK, parser.LIMIT_RATIO:
				parts = false
			case parser.TOPK, parser.BOTTOMK:
				// Which of equals is in is chance, unless they come in order. Groups come in
				// the order of their first series in the range: where series ended within it,
				// equals may change places. That is said in docs/prometheus.md; such panels are
				// too common to be left out.
				parts = parts && inOrder(n.Expr)
				s.ordered = true
			case parser.SUM, parser.AVG, parser.STDDEV, parser.STDVAR, parser.MIN, parser.MAX:
				s.ordered = s.ordered || inOrder(n.Expr)
			}
		}
		return nil
	})
	if !parts || len(s.selectors) == 0 { // without samples there is nothing to save
		return nil
	}
	mint, maxt := promql.FindMinMaxTime(stmt)
	s.back, s.reach = stmt.Start.UnixMilli()-mint, maxt-stmt.End.UnixMilli()
	return s
}

// ofRange reports whether one of these durations depends on the range of the query.
func ofRange(durations ...*parser.DurationExpr) bool {
	for _, d := range durations {
		if d != nil && strings.Contains(d.String(), "range()") {
			return true
		}
	}
	return false
}

// inOrder reports whether the engine evaluates e to series in the order in which they
// were read. Where it evaluates step by step it collects them in a map.
func inOrder(e parser.Expr) bool {
	switch e := e.(type) {
	case *parser.ParenExpr:
		return inOrder(e.Expr)
	case *parser.UnaryExpr:
		return inOrder(e.Expr)
	case *parser.VectorSelector, *parser.MatrixSelector:
		return true
	case *parser.SubqueryExpr:
		return inOrder(e.Expr)
	case *parser.AggregateExpr:
		switch e.Op {
		case parser.TOPK, parser.BOTTOMK, parser.COUNT_VALUES:
			return false
		}
		return inOrder(e.Expr)
	case *parser.Call:
		if e.Func.Name == "label_replace" || e.Func.Name == "label_join" {
			return inOrder(e.Args[0])
		}
		for _, arg := range e.Args {
			if arg.Type() == parser.ValueTypeMatrix {
				return inOrder(arg)
			}
		}
	}
	return false
}
