package capacity

import (
	"context"
	"math"
	"math/rand"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// now is when everything here is asked, at any time of the day.
var now = time.Date(2026, 11, 28, 17, 12, 40, 0, time.UTC)

// shape is what is left, in GB, some days before now; NaN for no sample.
type shape func(days float64) float64

var gap = math.NaN()

// since is a shape that has begun only some days ago.
func since(days float64, s shape) shape {
	return func(d float64) float64 {
		if d > days {
			return gap
		}
		return s(d)
	}
}

// plus adds shapes.
func plus(all ...shape) shape {
	return func(d float64) float64 {
		sum := 0.0
		for _, s := range all {
			sum += s(d)
		}
		return sum
	}
}

// steady is left GB now, after a growth of perDay.
func steady(left, perDay float64) shape {
	return func(d float64) float64 { return left + d*perDay }
}

// step is what happened at once, some days ago: by GB less or more were left since then.
func step(days, by float64) shape {
	return func(d float64) float64 {
		if d > days {
			return -by
		}
		return 0
	}
}

// tooth takes up to depth away, and gives it back, again and again. It was given back last
// some days ago.
func tooth(period, depth, last float64) shape {
	return func(d float64) float64 {
		phase := math.Mod(last-d+1000*period, period) // since it was given back
		return -depth * phase / period
	}
}

// nightly takes away by each night at two o'clock.
func nightly(by float64) shape {
	return func(d float64) float64 {
		at := now.Add(-time.Duration(d * float64(day)))
		return -by * math.Floor(at.Sub(time.Date(2026, 1, 1, 2, 0, 0, 0, time.UTC)).Hours()/24)
	}
}

// busy is noise of a few GB by the minute, and a wave by the day.
func busy(depth float64) shape {
	r := rand.New(rand.NewSource(1))
	return func(d float64) float64 { return depth * (r.Float64() + math.Sin(d*2*math.Pi)) / 2 }
}

// gone has no samples between two times.
func gone(from, to float64, s shape) shape {
	return func(d float64) float64 {
		if d <= from && d >= to {
			return gap
		}
		return s(d)
	}
}

func (s shape) grid(t *testing.T, steps []resolution) *grid {
	g := newGrid(steps, func(_ context.Context, at time.Time) (promql.Vector, error) {
		v := s(now.Sub(at).Hours() / 24)
		if math.IsNaN(v) {
			return nil, nil
		}
		return promql.Vector{{Metric: labels.FromStrings("machine", "a"), F: v * 1e9}}, nil
	})
	require.NoError(t, g.fill(t.Context(), now))
	return g
}

func (s shape) forecast(t *testing.T) Forecast {
	g := s.grid(t, fine)
	return g.forecasts(promql.Vector{{Metric: labels.FromStrings("machine", "a"), F: s(0) * 1e9}}, 0)[0]
}

func TestShapes(t *testing.T) {
	never, unknown := math.Inf(1), math.NaN()
	base := nightly(5)(0)
	for name, x := range map[string]struct {
		shape  shape
		days   float64
		within float64 // how much it may be wrong, as a part
		window string
	}{
		"nothing happens":                       {steady(100, 0), never, 0, ""},
		"steady growth":                         {steady(100, 2), 50, .01, "30d"},
		"steady growth, full within a week":     {steady(14, 2), 7, .01, "7d"},
		"a lot of noise and a daily wave":       {plus(steady(100, 2), busy(20)), 50, .25, "30d"},
		"it shrinks":                            {steady(100, -2), never, 0, ""},
		"full":                                  {steady(0, 2), 0, 0, ""},
		"a backup each night":                   {plus(steady(100-base, 0), nightly(5)), 20, .05, "7d"},
		"a runaway log, for 5 hours":            {func(d float64) float64 { return 50 + 240*min(d, 5./24) }, 50. / 240, .05, "6h"},
		"a runaway log, for 20 hours":           {func(d float64) float64 { return 50 + 240*min(d, 20./24) }, 50. / 240, .05, "6h"},
		"a runaway log after a clean-up":        {plus(func(d float64) float64 { return 230 + 240*min(d, 5./24) }, step(.5, 220)), 230. / 240, .05, "6h"},
		"a big copy an hour ago":                {plus(steady(100, 0), step(1./24, -300)), never, 0, ""},
		"a big copy that took 2 hours":          {func(d float64) float64 { return 100 + 600*min(max(d-.02, 0), 2./24) }, never, 0, ""},
		"a big copy 3 days ago, steady growth":  {plus(steady(100, 2), step(3, -200)), 50, .02, "30d"},
		"two big copies this week":              {plus(steady(100, 2), step(1.5, -200), step(5, -100)), 50, .02, "30d"},
		"a cache cleaned 10 hours ago, steady":  {plus(steady(400, 2), step(10./24, 300)), 200, .02, "30d"},
		"log rotation each hour":                {plus(steady(100, 0), tooth(1./24, 5, .01)), never, 0, ""},
		"log rotation each night":               {plus(steady(100, 0), tooth(1, 90, .6)), never, 0, ""},
		"log rotation each night, just rotated": {plus(steady(100, 0), tooth(1, 90, .1)), never, 0, ""},
		"log rotation each night, near its end": {plus(steady(100, 0), tooth(1, 95, .95)), never, 0, ""},
		"log rotation each night, growing":      {plus(steady(200, 2), tooth(1, 90, .6)), 73, .03, "30d"},
		"log rotation each Sunday":              {plus(steady(100, 0), tooth(7, 80, 4.3)), never, 0, ""},
		"a server that was off for 3 days":      {gone(6, 3, steady(100, 2)), 50, .02, "30d"},
		"a machine that is on in the evenings": {func(d float64) float64 {
			if h := now.Add(-time.Duration(d * float64(day))).Hour(); h < 17 || h > 21 {
				return gap
			}
			return 100 + 2*d
		}, 50, .02, "30d"},
		"a filesystem that was resized":        {plus(steady(500, 2), step(4, 400)), 250, .02, "30d"},
		"a filesystem that was made smaller":   {plus(steady(100, 2), step(4, -300)), 50, .02, "30d"},
		"nobody has seen it before":            {since(0, steady(100, 2)), unknown, 0, ""},
		"one hour of data":                     {since(1./24, steady(1, 24)), unknown, 0, ""},
		"5 hours of data, full in 10":          {since(5./24, steady(10, 24)), 10. / 24, .02, "6h"},
		"5 hours of data, full in 10 days":     {since(5./24, steady(10, 1)), never, 0, ""},
		"installed 5 hours ago, in an hour":    {since(5./24, func(d float64) float64 { return 100 + 240*max(0, d-4./24) }), never, 0, ""},
		"a day of data, full in 3":             {since(1, steady(6, 2)), 3, .02, "1d"},
		"a day of data, full in 50":            {since(1, steady(100, 2)), never, 0, ""},
		"three days of data, full in 20":       {since(3, steady(40, 2)), 20, .02, "7d"},
		"it grew until 3 days ago, for a year": {func(d float64) float64 { return 100 + 3*max(0, d-3) }, 100. / 3, .2, "30d"},
	} {
		t.Run(name, func(t *testing.T) {
			f := x.shape.forecast(t)
			got := f.Left / day.Seconds()
			switch {
			case math.IsNaN(x.days):
				assert.True(t, math.IsNaN(got), "%v days by %s", got, f.Window)
				return
			case math.IsInf(x.days, 0):
				assert.True(t, math.IsInf(got, 1), "%v days by %s", got, f.Window)
				return
			}
			assert.InDelta(t, x.days, got, x.days*x.within, "by %s", f.Window)
			assert.Equal(t, x.window, f.Window)
			assert.LessOrEqual(t, f.Earliest, f.Left)
			assert.GreaterOrEqual(t, f.Latest, f.Left)
		})
	}
}
