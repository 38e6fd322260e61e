package querylimit

import (
	"strings"
	"testing"

	"github.com/prometheus/prometheus/promql/parser"
	"github.com/stretchr/testify/require"
)

var limits = Limits{Length: 1 << 20, Nesting: 500}

func times(n int, open, middle, end string) string {
	return strings.Repeat(open, n) + middle + strings.Repeat(end, n)
}

func TestWhatNestsTooDeeplyIsRefused(t *testing.T) {
	for name, query := range map[string]func(n int) string{
		"brackets":           func(n int) string { return times(n, "(", "up", ")") },
		"open brackets":      func(n int) string { return times(n, "(", "", "") },
		"functions":          func(n int) string { return times(n, "abs(", "up", ")") },
		"aggregations":       func(n int) string { return times(n, "sum by (a) (", "up", ")") },
		"signs":              func(n int) string { return times(n, "-", "up", "") },
		"a chain":            func(n int) string { return times(n, "", "up", " + up") },
		"a set":              func(n int) string { return times(n, "", "up", " or up") },
		"powers":             func(n int) string { return times(n, "", "2", "^2") },
		"comparisons":        func(n int) string { return times(n, "", "up", " == bool up") },
		"subqueries":         func(n int) string { return times(n, "max_over_time(", "up", "[1m:1m])") },
		"chains in brackets": func(n int) string { return times(n/50+1, "(", "up", times(50, "", "", "+1")+")") },
		"signs before chain": func(n int) string { return times(n/2+1, "-", "up", "+1") },
		"ranges":             func(n int) string { return times(n, "", "up", "[1m:1m]") },
		"many deep ones":     func(n int) string { return times(n, "", "1", ","+times(n/2, "(", "1", ")")) },
	} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, limits.Check(query(100)))
			for _, n := range []int{501, 100000} {
				if name == "many deep ones" {
					n = min(n, 501)
				}
				err := limits.Check(query(n))
				require.Error(t, err)
				require.Contains(t, err.Error(), "--query.max-")
			}
		})
	}
}

// What people and programs write, much longer than they do.
func TestHonestQueriesPass(t *testing.T) {
	names := strings.TrimSuffix(strings.Repeat("machine-17.example.org:9100|", 10000), "|")
	for _, query := range []string{
		`sum by (instance) (rate(node_cpu_seconds_total{mode!="idle",instance=~"` + names + `"}[5m])) > 0.5`,
		times(400, "", `up{job="a"}`, ` or up{job="b"}`),
		times(300, "", `(up)`, ` + (up)`),
		`label_join(up, "a", "-"` + strings.Repeat(`, "b"`, 10000) + `)`,
		`up{` + strings.Repeat(`a!="b",`, 10000) + `}`,
		`up{a=~"\\p{L}{1,64}[a-z]{1000}"}`,
		`histogram_quantile(0.9, sum by (le) (rate(x_bucket[5m] offset 1h @ end()))) ` + "# why",
		`"a string"`, ``, `up{`, `)))`, `{{`, "\"\\", "\xff",
	} {
		require.NoError(t, limits.Check(query), query[:min(len(query), 80)])
	}
}

func TestLongQueriesAreRefused(t *testing.T) {
	require.ErrorContains(t, limits.Check(strings.Repeat(" ", 2<<20)), "2097152 bytes; --query.max-length allows 1048576")
	require.ErrorContains(t, limits.Check(strings.Repeat("a", 600<<10), strings.Repeat("b", 600<<10)), "--query.max-length")
	require.ErrorContains(t, limits.Check(make([]string, 501)...), "501 selectors")

	for name, query := range map[string]string{
		"repetitions": `up{a=~"` + strings.Repeat("(abc{1000})", 1000) + `"}`,
		"optional":    `up{a=~"` + strings.Repeat("a{0,999}", 800) + `"}`,
		"classes":     `up{a=~"` + strings.Repeat(`\\pL`, 20000) + `"}`,
		"negated":     `up{a!~"` + strings.Repeat(`[^\\pL]`, 20000) + `"}`,
		"raw":         "up{a=~`" + strings.Repeat(`\pL`, 20000) + "`}",
		"function":    `label_replace(up, "a", "b", "c", "` + strings.Repeat("(abc{1000})", 1000) + `")`,
		"many":        `up{` + strings.Repeat(`a=~".",`, 100000) + `}`,
	} {
		require.ErrorContains(t, limits.Check(query), "regular expressions", name)
	}
}

func TestZeroIsNoLimit(t *testing.T) {
	long := times(100000, "", "up", "+up") + strings.Repeat(" ", 2<<20)
	require.NoError(t, Limits{}.Check(long))
	require.NoError(t, Limits{}.Check(make([]string, 5000)...))
	require.ErrorContains(t, Limits{Nesting: 1000}.Check(long), "--query.max-nesting")
	require.ErrorContains(t, Limits{Length: 1 << 20}.Check(long), "--query.max-length")
}

// Every way into the parser is limited, and says what the limits say.
func TestParser(t *testing.T) {
	p := limits.Parser(parser.NewParser(parser.Options{}))
	deep := times(2000, "(", "up", ")")
	_, err := p.ParseExpr(deep)
	require.ErrorContains(t, err, nestingFlag)
	_, err = p.ParseMetricSelector(deep)
	require.ErrorContains(t, err, nestingFlag)
	_, err = p.ParseMetricSelectors([]string{"up", deep})
	require.ErrorContains(t, err, nestingFlag)
	_, err = p.ParseMetric(deep)
	require.ErrorContains(t, err, nestingFlag)
	expr, err := p.ParseExpr("up")
	require.NoError(t, err)
	require.Equal(t, "up", expr.String())
}
