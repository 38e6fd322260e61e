package resultcache

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/util/teststorage"
	"github.com/stretchr/testify/require"
)

var start = time.Unix(1_700_000_100, 0) // divided by 5 minutes

type fixture struct {
	t      *testing.T
	db     *teststorage.TestStorage
	engine *promql.Engine
	cache  *Cache
	now    time.Time
}

func newFixture(t *testing.T, size int64) *fixture {
	f := &fixture{t: t, engine: newEngine(false), now: start.Add(2 * time.Hour)}
	f.db = teststorage.New(t, func(o *tsdb.Options) { o.OutOfOrderTimeWindow = day })
	f.cache = New(Options{Engine: f.engine, Parser: testParser, Source: source{&Blocks{}, f.db.DB}, Size: size, MaxSamples: 1e6, Now: func() time.Time { return f.now }})
	return f
}

// add stores a sample of a series and tells the cache, as the store does.
func (f *fixture) add(series labels.Labels, at time.Time, v float64) {
	app := f.db.AppenderV2(context.Background())
	_, err := app.Append(0, series, 0, at.UnixMilli(), v, nil, nil, storage.AOptions{})
	require.NoError(f.t, err)
	require.NoError(f.t, app.Commit())
	if at.UnixMilli() <= f.cache.Horizon() {
		f.cache.Changed(at.UnixMilli(), series)
	}
}

func (f *fixture) fill(series int, length time.Duration) {
	app := f.db.AppenderV2(context.Background())
	for at := start; at.Before(start.Add(length)); at = at.Add(15 * time.Second) {
		for i := range series {
			_, err := app.Append(0, labels.FromStrings("__name__", "m_total", "i", fmt.Sprint(i)), 0, at.UnixMilli(), float64(at.Unix()%977*int64(i+1))/7, nil, nil, storage.AOptions{})
			require.NoError(f.t, err)
		}
	}
	require.NoError(f.t, app.Commit())
}

func (f *fixture) compare(qs string, from, to time.Time) {
	f.t.Helper()
	compare(f.t, f.engine, f.cache, f.db, qs, from, to, 15*time.Second)
}

func (f *fixture) queries(result string) int {
	return int(testutil.ToFloat64(f.cache.metrics.queries.WithLabelValues(result)))
}

// While a range moves on, each step is evaluated about once.
func TestOnlyNewStepsAreEvaluated(t *testing.T) {
	f := newFixture(t, 32<<20)
	f.fill(20, 3*time.Hour)
	for range 40 {
		f.compare("sum(rate(m_total[5m])) by (i)", f.now.Add(-time.Hour).Truncate(15*time.Second), f.now)
		f.now = f.now.Add(15 * time.Second)
	}
	require.Equal(t, 1, f.queries("miss"))
	require.Equal(t, 39, f.queries("partial"))
	evaluated := testutil.ToFloat64(f.cache.metrics.steps.WithLabelValues("engine"))
	require.Less(t, evaluated, 241.0+39*7, "the minute that is not settled, the new step, and the one before")
	require.Zero(t, testutil.ToFloat64(f.cache.metrics.invalidations.WithLabelValues("mismatch")))
}

// Memory is bounded, and the results that are not asked for any more go first.
func TestMemoryIsBounded(t *testing.T) {
	const size = 200_000
	f := newFixture(t, size)
	f.fill(20, 3*time.Hour)
	from := start.Add(time.Hour)
	for i := range 50 {
		f.compare(fmt.Sprintf("m_total > %d", i), from, from.Add(30*time.Minute))
		f.compare("m_total", from, from.Add(30*time.Minute))
		require.LessOrEqual(t, f.cache.size, int64(size))
	}
	require.Equal(t, 49, f.queries("hit"))
	require.NotZero(t, testutil.ToFloat64(f.cache.metrics.evictions))
	entries := len(f.cache.entries)
	f.compare("m_total", start, start.Add(2*time.Hour))
	require.Equal(t, entries, len(f.cache.entries), "one that would take more than a quarter is not kept")
}

// A sample that arrives late drops what it touched, and nothing else.
func TestALateSampleDropsWhatItTouched(t *testing.T) {
	f := newFixture(t, 32<<20)
	f.fill(2, 3*time.Hour)
	first, last := `m_total{i="0"}`, f.now
	from := last.Add(-time.Hour)
	for _, qs := range []string{first, `m_total{i="1"}`, `m_total{i="0"} offset 30m`, `m_total{i="0"} offset -10m`} {
		f.compare(qs, from, last)
	}
	late := from.Add(20*time.Minute + time.Second)
	f.add(labels.FromStrings("__name__", "m_total", "i", "0"), late, 4711)
	steps := func(qs string) int {
		for k, e := range f.cache.entries {
			if k.query == qs {
				return e.steps
			}
		}
		return 0
	}
	require.Equal(t, 20*4+1, steps(first), "up to the late sample")
	require.Equal(t, 59*4+1, steps(`m_total{i="1"}`), "another series")
	require.Equal(t, 50*4+1, steps(`m_total{i="0"} offset 30m`))
	require.Equal(t, 10*4+1, steps(`m_total{i="0"} offset -10m`))
	for _, qs := range []string{first, `m_total{i="1"}`, `m_total{i="0"} offset 30m`, `m_total{i="0"} offset -10m`} {
		f.compare(qs, from, last)
	}
	require.Equal(t, 4, f.queries("miss"))
}

// A change while a query is evaluated is not lost.
func TestAChangeDuringAnEvaluation(t *testing.T) {
	f := newFixture(t, 32<<20)
	f.fill(1, 3*time.Hour)
	from := f.now.Add(-time.Hour)
	series := labels.FromStrings("__name__", "m_total", "i", "0")
	for i := range 3 { // when nothing is cached, when the newest is not, and when all is
		q := &interrupted{Queryable: f.db, after: func() { f.add(series, from.Add(time.Duration(10+i)*time.Minute+time.Second), 4711) }}
		ask(t, f.cache, q, "m_total", from, f.now, 15*time.Second)
		f.compare("m_total", from, f.now)
		f.now = f.now.Add(30 * time.Second)
	}
}

// interrupted runs after once a querier is open.
type interrupted struct {
	storage.Queryable
	after func()
}

func (i *interrupted) Querier(mint, maxt int64) (storage.Querier, error) {
	q, err := i.Queryable.Querier(mint, maxt)
	i.after()
	return q, err
}

// Many ask and append at one time; when it is quiet again, all is right.
func TestConcurrentUse(t *testing.T) {
	f := newFixture(t, 1<<20)
	f.fill(5, 3*time.Hour)
	queries := []string{"m_total", "sum(m_total)", "topk(2, rate(m_total[2m]))", "rate(m_total[1m])", "m_total @ end()"}
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(7, uint64(g)))
			for range 60 {
				from := start.Add(time.Duration(rng.IntN(90)) * time.Minute)
				ask(t, f.cache, f.db, queries[rng.IntN(len(queries))], from, from.Add(time.Duration(1+rng.IntN(40))*time.Minute), 15*time.Second)
				if rng.IntN(6) == 0 {
					f.add(labels.FromStrings("__name__", "m_total", "i", fmt.Sprint(rng.IntN(5))), start.Add(time.Duration(rng.IntN(7_200_000))*time.Millisecond), rng.Float64())
				}
				if rng.IntN(30) == 0 {
					f.cache.Configure(rng.IntN(2) == 0)
				}
			}
		})
	}
	wg.Wait()
	f.cache.Configure(false)
	require.Empty(t, f.cache.running)
	for _, qs := range queries {
		for i := range 10 {
			from := start.Add(time.Duration(i) * 9 * time.Minute)
			f.compare(qs, from, from.Add(30*time.Minute))
		}
	}
	require.NotZero(t, f.queries("hit")+f.queries("partial"))
}

// What depends on the range, on chance, or on nothing is not put together from parts.
func TestWhatIsNotCached(t *testing.T) {
	f := newFixture(t, 32<<20)
	f.fill(3, 3*time.Hour)
	not := []string{
		"m_total @ end()", "m_total @ start()", "m_total @ 1700000000", "rate(m_total[5m] @ end())", "max_over_time(m_total[5m:1m] @ start())",
		"m_total + on() group_left vector(end())", "rate(m_total[range()])", "limitk(1, m_total)", "limit_ratio(0.5, m_total)",
		"topk(1, m_total * 1)", "sum(bottomk(1, abs(m_total)))", "time()", "vector(1)", "info(m_total)",
	}
	for i, qs := range not {
		f.compare(qs, f.now.Add(-time.Hour), f.now)
		require.Equal(t, i+1, f.queries("bypass"), qs)
	}
	for i, qs := range []string{
		"m_total * time()", "absent(m_total)", "timestamp(m_total)", "topk(1, rate(m_total[5m]))", "rate(m_total[step()])",
		"sort(m_total)", "sort_desc(absent_over_time(x[5m]))", "stddev(m_total)", "max_over_time(rate(m_total[1m])[5m:1m])",
	} {
		for range 3 {
			f.compare(qs, f.now.Add(-time.Hour), f.now)
		}
		require.Equal(t, 2*(i+1), f.queries("hit")+f.queries("partial"), qs)
	}

	opts := promql.NewPrometheusQueryOpts(true, 0, nil)
	for name, ask := range map[string]func() (promql.Query, error){
		"per step statistics": func() (promql.Query, error) {
			return f.cache.NewRangeQuery(t.Context(), f.db, opts, "m_total", start, f.now, 15*time.Second)
		},
		"an odd start": func() (promql.Query, error) {
			return f.cache.NewRangeQuery(t.Context(), f.db, nil, "m_total", start.Add(time.Millisecond), f.now, 15*time.Second)
		},
		"one step": func() (promql.Query, error) {
			return f.cache.NewRangeQuery(t.Context(), f.db, nil, "m_total", start, start, 15*time.Second)
		},
		"asked for": func() (promql.Query, error) {
			return f.cache.NewRangeQuery(Bypass(t.Context()), f.db, nil, "m_total", start, f.now, 15*time.Second)
		},
	} {
		before := f.queries("bypass")
		_, err := ask()
		require.NoError(t, err)
		require.Equal(t, before+1, f.queries("bypass"), name)
	}
	lookback := promql.NewPrometheusQueryOpts(false, 10*time.Second, nil)
	a, _ := keyOf(nil, "m_total", start, f.now, 15*time.Second)
	b, _ := keyOf(lookback, "m_total", start, f.now, 15*time.Second)
	require.NotEqual(t, a, b)
}

// A result from parts may be no larger than one that is evaluated.
func TestTooManySamples(t *testing.T) {
	f := newFixture(t, 32<<20)
	f.fill(2, 3*time.Hour)
	f.cache.MaxSamples = 400
	f.compare("m_total", start, start.Add(time.Hour))
	require.Contains(t, ask(t, f.cache, f.db, "m_total", start, start.Add(time.Hour), 15*time.Second), "too many samples")
	require.False(t, strings.Contains(ask(t, f.cache, f.db, "m_total", start, start.Add(30*time.Minute), 15*time.Second), "error"))
}

// An expression whose annotations differ with each range is evaluated as a whole, and
// only once each time.
func TestAnnotationsThatDifferEachTime(t *testing.T) {
	f := newFixture(t, 32<<20)
	app := f.db.AppenderV2(context.Background())
	for at := start; at.Before(start.Add(3 * time.Hour)); at = at.Add(15 * time.Second) {
		for i, le := range []string{"1", "10", "+Inf"} { // the smaller bucket has more
			_, err := app.Append(0, labels.FromStrings("__name__", "m_bucket", "le", le), 0, at.UnixMilli(), float64(at.Unix()%977+int64(10-i)), nil, nil, storage.AOptions{})
			require.NoError(t, err)
		}
	}
	require.NoError(t, app.Commit())
	const qs = "histogram_quantile(0.9, m_bucket)"
	for range 5 {
		f.compare(qs, f.now.Add(-time.Hour).Truncate(15*time.Second), f.now)
		f.now = f.now.Add(15 * time.Second)
	}
	require.Equal(t, 5, f.queries("miss"))
	for _, e := range f.cache.entries {
		require.True(t, e.noisy)
	}
	f.fill(1, 3*time.Hour)
	for range 5 { // always the same one
		f.compare("sort(rate(m_total[5m]))", f.now.Add(-time.Hour).Truncate(15*time.Second), f.now)
		f.now = f.now.Add(15 * time.Second)
	}
	require.Equal(t, 4, f.queries("partial"))
}
