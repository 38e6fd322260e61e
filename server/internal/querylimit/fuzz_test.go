package querylimit

import (
	"strings"
	"testing"

	"github.com/prometheus/prometheus/promql/parser"
	"github.com/stretchr/testify/require"
)

// FuzzCheck compares what the limits think of a query with what the parser makes of
// it: nothing that is let through is deeper than it may be.
func FuzzCheck(f *testing.F) {
	for _, query := range []string{
		`up`, `sum by (a, b) (rate(x{a=~"b|c",d!="e"}[5m:1m] offset -1h @ end())) > bool on (a) group_left (b) 5`,
		`-(-(1 + 2) ^ 3 ^ -4) * {"a.b"}`, `((((((1))))))`, `1+2*3-4/5%6^7 or 8 unless 9 and 10`, `label_replace(a, "b", "$1", "c", "(.*){9}")`,
		`quantile(0.5, a{})[1h:]`, `topk(1, --a)`, `'a' "b" # c`, `x[5m + 2*3m]`, `((1)+(2)+(3))`, `{`, `)`, `"\`, "\xff",
	} {
		f.Add(query)
	}
	p := parser.NewParser(parser.Options{EnableExperimentalFunctions: true})
	const nesting = 5
	f.Fuzz(func(t *testing.T, query string) {
		few := Limits{Length: 4096, Nesting: nesting}
		if few.Check(query) != nil {
			return
		}
		expr, err := p.ParseExpr(query)
		if err != nil {
			return
		}
		require.LessOrEqual(t, height(expr), nesting, "%s", query)
		require.NotPanics(t, func() { _ = expr.Pretty(0) })
		require.NoError(t, Limits{Length: 8 * len(expr.String()), Nesting: 10 * nesting * max(1, strings.Count(query, ","))}.Check(expr.String()), "what is printed is about what was asked")
	})
}

// height counts operators, brackets and functions within each other.
func height(node parser.Node) int {
	most := 0
	for child := range parser.ChildrenIter(node) {
		most = max(most, height(child))
	}
	switch node.(type) {
	case *parser.BinaryExpr, *parser.ParenExpr, *parser.Call, *parser.AggregateExpr, *parser.UnaryExpr, *parser.SubqueryExpr, *parser.MatrixSelector:
		most++
	}
	return most
}
