// Package collectortest is what every exporter kind has to pass: that it
// collects, that a scrape which was called off ends at once, and that its names
// are in order. It is for tests only and keeps nothing running.
package collectortest

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/exporter/collector"
)

// Expect is what is known of a kind.
type Expect struct {
	// Prefix starts the name of each metric but those about the collectors.
	Prefix string
	// Families are some metrics that any machine has.
	Families []string
	// Upstream says that the names are somebody else's, who is not asked to
	// follow the conventions to the letter.
	Upstream bool
}

// Check checks a kind's Set.
func Check(t *testing.T, set *collector.Set, want Expect) {
	t.Helper()
	t.Run("collects", func(t *testing.T) {
		families := Gather(t, set, nil)
		for _, name := range want.Families {
			require.NotNil(t, families[name], name)
		}
		require.NotEmpty(t, set.Names())
		require.ElementsMatch(t, set.Names(), reported(families), "each collector reports on itself once")
	})
	t.Run("ends with the scrape", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		ch := make(chan prometheus.Metric)
		go func() {
			defer close(ch)
			set.Collect(ctx, nil, ch)
		}()
		n := 0
		for range ch {
			n++
		}
		require.Equal(t, 2*len(set.Names()), n, "only the reports remain of a scrape that was called off")
	})
	t.Run("names", func(t *testing.T) {
		for name, f := range Gather(t, set, nil) {
			require.True(t, model.LegacyValidation.IsValidMetricName(name), "metric name %q", name)
			require.NotEmpty(t, f.GetHelp(), name)
			require.True(t, strings.HasPrefix(name, want.Prefix) || strings.HasPrefix(name, "clanmon_exporter_collector_"), "metric name %q", name)
		}
		if !want.Upstream {
			problems, err := testutil.GatherAndLint(registry(t, set, nil))
			require.NoError(t, err)
			require.Empty(t, problems)
		}
	})
	t.Run("close", func(t *testing.T) { require.NoError(t, set.Close()) })
}

// Gather runs collectors of a Set, all if names is nil, and returns the metric
// families by name. It fails the test if they contradict each other.
func Gather(t testing.TB, set *collector.Set, names []string) map[string]*dto.MetricFamily {
	t.Helper()
	all, err := registry(t, set, names).Gather()
	require.NoError(t, err)
	families := make(map[string]*dto.MetricFamily, len(all))
	for _, f := range all {
		families[f.GetName()] = f
	}
	return families
}

// registry has nothing but the Set in it.
func registry(t testing.TB, set *collector.Set, names []string) *prometheus.Registry {
	reg := prometheus.NewRegistry()
	reg.MustRegister(gatherer{set, t.Context(), names})
	return reg
}

type gatherer struct {
	set   *collector.Set
	ctx   context.Context
	names []string
}

func (gatherer) Describe(chan<- *prometheus.Desc) {}

func (g gatherer) Collect(ch chan<- prometheus.Metric) { g.set.Collect(g.ctx, g.names, ch) }

// reported are the collectors that the success metric names, sorted.
func reported(families map[string]*dto.MetricFamily) []string {
	var names []string
	for name, f := range families {
		if strings.HasSuffix(name, "_collector_success") {
			for _, m := range f.Metric {
				names = append(names, m.Label[0].GetValue())
			}
		}
	}
	slices.Sort(names)
	return names
}

// Discard is a logger for tests that look at metrics only.
func Discard() *slog.Logger { return slog.New(slog.DiscardHandler) }
