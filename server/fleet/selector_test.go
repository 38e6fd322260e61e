package fleet

import (
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/stretchr/testify/require"
)

func TestHostOfAnInstance(t *testing.T) {
	for instance, want := range map[string]string{
		"web1:9100": "web1", "web1": "web1", "web1.example.org:9100": "web1.example.org",
		"10.0.0.5:9100": "10.0.0.5", "10.0.0.5": "10.0.0.5",
		"[fd00::1]:9100": "fd00::1", "[fd00::1]": "fd00::1", "fd00::1": "fd00::1", "[fe80::1%eth0]:9100": "fe80::1%eth0",
		"https://web1/health": "", "web1/health": "", "/run/x.sock": "", "": "",
	} {
		require.Equal(t, want, hostOf(instance), instance)
	}
}

// Whatever a machine is called, its selector selects its series and no other's.
func TestSelectorsSelect(t *testing.T) {
	hostile := []string{`a"b`, `a\b`, "a\nb", `a.b`, `axb`, `a|b`, `(a`, `a}b`, `é`, `{`, `a.*`, "`", "web1:9100", "[fd00::1]:9100"}
	p := parser.NewParser(parser.Options{})
	matches := func(selector, label, value string) bool {
		expr, err := p.ParseExpr("{" + selector + "}")
		require.NoError(t, err, selector)
		for _, m := range expr.(*parser.VectorSelector).LabelMatchers {
			have := ""
			if m.Name == label {
				have = value
			}
			if m.Type != labels.MatchEqual || m.Value != "" {
				if !m.Matches(have) {
					return false
				}
			}
		}
		return true
	}
	for _, name := range hostile {
		for _, other := range hostile {
			require.Equal(t, name == other, matches(selector(name, true, []string{"x:1"}), "machine", other), "%q %q", name, other)
			two := selector("m", false, []string{name, "second:1"})
			require.Equal(t, name == other, matches(two, "instance", other), "%q %q", two, other)
		}
		require.True(t, matches(earlier([]string{name, "second:1"}), "instance", name))
	}
	require.Equal(t, `machine="alpha"`, selector("alpha", true, nil))
	require.Equal(t, `instance="web1:9100"`, selector("web1", false, []string{"web1:9100"}))
	require.Equal(t, `instance=~"web1:9100|web1:9558"`, selector("web1", false, []string{"web1:9558", "web1:9100", "web1:9100"}))
	require.Equal(t, `instance="10.0.0.5:9100",machine=""`, earlier([]string{"10.0.0.5:9100"}))
}
