package capacity

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/stretchr/testify/require"
)

// Where file systems come and go, what is gone is forgotten in time, and nothing is read twice.
func TestWhatIsGoneIsForgotten(t *testing.T) {
	begin := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	queries := 0
	// One stays; 40 others are there for 6 hours each.
	g := newGrid(coarse, func(_ context.Context, at time.Time) (promql.Vector, error) {
		queries++
		v := promql.Vector{{Metric: labels.FromStrings("machine", "a", "device", "sda", "instance", "a:1"), F: float64(1e6 - at.Unix()%1e6)}}
		for i := range 40 {
			v = append(v, promql.Sample{Metric: labels.FromStrings("machine", "a", "device", fmt.Sprint(at.Unix()/21600, "-", i), "instance", "a:1"), F: 1})
		}
		return v, nil
	})
	now := begin
	for range 120 {
		now = now.Add(12 * time.Hour)
		require.NoError(t, g.fill(t.Context(), now))
		v, err := g.query(t.Context(), now)
		require.NoError(t, err)
		g.forecasts(v, 0)
		g.prune(len(v))
	}
	require.Less(t, len(g.index), 104*40+2100, "of 60 days")
	queries = 0
	require.NoError(t, g.fill(t.Context(), now))
	require.LessOrEqual(t, queries, rereads)
	left, trends := g.of(labels.FromStrings("machine", "a", "device", "sda", "instance", "a:1"), nil, nil)
	require.Len(t, left, len(g.times))
	require.True(t, trends[2].known)
}
