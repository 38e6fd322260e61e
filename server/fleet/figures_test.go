package fleet

import (
	"slices"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/stretchr/testify/require"
)

// What is read of other servers keeps their machines apart by more labels.
func TestFiguresByMoreLabels(t *testing.T) {
	t.Parallel()
	raw := 0
	for _, f := range Figures() {
		require.NotEmpty(t, f.Record, f.Name)
		if f.Raw == nil {
			continue
		}
		raw++
		expr, err := parser.NewParser(parser.Options{}).ParseExpr(f.Raw(`site!="home"`, "site"))
		require.NoError(t, err)
		parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
			switch n := node.(type) {
			case *parser.AggregateExpr:
				require.Contains(t, n.Grouping, "site", n.String())
			case *parser.VectorSelector:
				require.True(t, slices.ContainsFunc(n.LabelMatchers, func(m *labels.Matcher) bool { return m.Name == "site" }), n.String())
			}
			return nil
		})
	}
	require.Equal(t, 3, raw, "CPU, memory and file systems")
}
