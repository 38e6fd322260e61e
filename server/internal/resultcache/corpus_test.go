package resultcache

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/util/annotations"
	"github.com/prometheus/prometheus/util/teststorage"
	"github.com/stretchr/testify/require"
)

var (
	testParser = parser.NewParser(promqltest.TestParserOpts)
	day        = (24 * time.Hour).Milliseconds()
)

func newEngine(delayedNames bool) *promql.Engine {
	return promql.NewEngine(promql.EngineOpts{
		MaxSamples: 1e6, Timeout: time.Minute, Parser: testParser,
		NoStepSubqueryIntervalFn: func(int64) int64 { return time.Minute.Milliseconds() },
		EnableAtModifier:         true, EnableNegativeOffset: true, UseStartTimestamps: true,
		EnableDelayedNameRemoval: delayedNames,
	})
}

// sample is one that a test of the corpus loads.
type sample struct {
	series labels.Labels
	st, t  int64
	v      float64
	h      *histogram.Histogram
	fh     *histogram.FloatHistogram
}

func (s sample) append(a storage.AppenderV2) {
	// What the store refuses, such as the same time twice, is not in the test.
	_, _ = a.Append(0, s.series, s.st, s.t, s.v, s.h, s.fh, storage.AOptions{})
}

// scene is what a test of the corpus loads and evaluates.
type scene struct {
	storage.Storage
	samples []sample
	queries []string
	heard   int
}

func (s *scene) AppenderV2(ctx context.Context) storage.AppenderV2 {
	return &sceneAppender{s.Storage.AppenderV2(ctx), s}
}

// note remembers an expression. Most of those with an @ are made from others; some will do.
func (s *scene) note(qs string) {
	s.heard++
	if !slices.Contains(s.queries, qs) && (!strings.Contains(qs, "@") || s.heard%50 == 0) {
		s.queries = append(s.queries, qs)
	}
}

type sceneAppender struct {
	storage.AppenderV2
	scene *scene
}

func (a *sceneAppender) Append(ref storage.SeriesRef, ls labels.Labels, st, t int64, v float64, h *histogram.Histogram, fh *histogram.FloatHistogram, o storage.AOptions) (storage.SeriesRef, error) {
	a.scene.samples = append(a.scene.samples, sample{ls, st, t, v, h, fh})
	return a.AppenderV2.Append(ref, ls, st, t, v, h, fh, o)
}

// listener notes in each scene what is evaluated on it.
type listener struct{ promql.QueryEngine }

func (l listener) NewInstantQuery(ctx context.Context, q storage.Queryable, opts promql.QueryOpts, qs string, ts time.Time) (promql.Query, error) {
	q.(*scene).note(qs)
	return l.QueryEngine.NewInstantQuery(ctx, q, opts, qs, ts)
}

func (l listener) NewRangeQuery(ctx context.Context, q storage.Queryable, opts promql.QueryOpts, qs string, start, end time.Time, step time.Duration) (promql.Query, error) {
	q.(*scene).note(qs)
	return l.QueryEngine.NewRangeQuery(ctx, q, opts, qs, start, end, step)
}

// source is what the store tells of a database.
type source struct {
	*Blocks
	db *tsdb.DB
}

func (s source) Version() (uint64, bool) { return s.Blocks.Version(s.db, 0), true }

func (s source) InBlocks(mint, maxt int64) bool {
	return slices.ContainsFunc(s.db.Blocks(), func(b *tsdb.Block) bool { return b.OverlapsClosedInterval(mint, maxt) })
}

// Every expression of Prometheus' own tests, over the samples that it is tested with, in
// ranges that move on while samples arrive in order, late and out of order, are deleted
// and are compacted, is answered as without a cache, bit by bit.
func TestCorpus(t *testing.T) {
	var scenes []*scene
	promqltest.RunBuiltinTestsWithStorage(t, listener{newEngine(true)}, func(t testing.TB) storage.Storage {
		s := &scene{Storage: promqltest.NewBuiltinTestStorage(t)}
		scenes = append(scenes, s)
		return s
	})
	total := map[string]float64{}
	queries := 0
	for i, s := range scenes {
		if len(s.samples) == 0 || len(s.queries) == 0 {
			continue
		}
		queries += len(s.queries)
		rng := rand.New(rand.NewPCG(1, uint64(i)))
		c := play(t, s, rng)
		for _, result := range []string{"hit", "partial", "miss", "bypass"} {
			total[result] += testutil.ToFloat64(c.metrics.queries.WithLabelValues(result))
		}
		for _, reason := range []string{"changed_samples", "blocks", "mismatch"} {
			total[reason] += testutil.ToFloat64(c.metrics.invalidations.WithLabelValues(reason))
		}
	}
	t.Logf("%d expressions: %v", queries, total)
	require.Greater(t, queries, 1000, "the corpus was not read")
	require.Greater(t, total["partial"], 1000.0, "hardly anything came from the cache")
	require.NotZero(t, total["hit"])
	require.NotZero(t, total["changed_samples"])
	require.NotZero(t, total["blocks"])
}

// play evaluates what was noted in s.
func play(t *testing.T, s *scene, rng *rand.Rand) *Cache {
	db, err := teststorage.NewWithError(func(o *tsdb.Options) {
		o.OutOfOrderTimeWindow = 1000 * day
		o.EnableSTStorage, o.EnableHistogramSTEncoding, o.FloatChunkEncoding = true, true, chunkenc.EncXOR2
	})
	require.NoError(t, err)
	defer db.Close()
	var now time.Time
	engine := newEngine(false)
	from := source{&Blocks{}, db.DB}
	c := New(Options{Engine: engine, Parser: testParser, Source: from, Size: 64 << 20, Now: func() time.Time { return now }})

	// When each sample arrives: most in order, some late, of which some very late.
	type arrival struct {
		sample
		at int64
	}
	var arrivals []arrival
	first, last := int64(math.MaxInt64), int64(math.MinInt64)
	for _, sample := range s.samples {
		at := sample.t
		switch r := rng.Float64(); {
		case r < 0.03:
			at += rng.Int64N(6 * time.Hour.Milliseconds())
		case r < 0.1:
			at += rng.Int64N(10 * time.Minute.Milliseconds())
		}
		arrivals = append(arrivals, arrival{sample, at})
		first, last = min(first, sample.t), max(last, sample.t)
	}
	slices.SortStableFunc(arrivals, func(a, b arrival) int { return int(min(1, max(-1, a.at-b.at))) })
	last = min(last, first+day) // some are years long

	steps := []time.Duration{10 * time.Second, time.Minute, 5 * time.Minute}
	const rounds = 6
	for round := range rounds {
		clock := first + (last-first)*int64(round+1)/rounds
		now = time.UnixMilli(clock + rng.Int64N(2*time.Minute.Milliseconds()))
		app := db.AppenderV2(context.Background())
		var late []sample
		for len(arrivals) > 0 && (arrivals[0].at <= clock || round == rounds-1) {
			arrivals[0].append(app)
			if arrivals[0].t <= c.Horizon() {
				late = append(late, arrivals[0].sample)
			}
			arrivals = arrivals[1:]
		}
		require.NoError(t, app.Commit())
		for _, sample := range late {
			c.Changed(sample.t, sample.series)
		}
		switch rng.IntN(10) {
		case 0: // of parts of a series, upstream's tombstones and out-of-order samples do not go together
			series := s.samples[rng.IntN(len(s.samples))].series
			from.Deleted()
			require.NoError(t, db.Delete(context.Background(), first, last+day, matchersOf(series)...))
			c.Changed(first, labels.EmptyLabels())
		case 1:
			if head := db.Head(); head.MaxTime()-head.MinTime() > 1000 {
				require.NoError(t, db.CompactHead(tsdb.NewRangeHead(head, head.MinTime(), (head.MinTime()+head.MaxTime())/2)))
				for _, b := range db.Blocks() {
					if m := b.Meta(); !m.Compaction.FromOutOfOrder() {
						from.Written(m.ULID)
					}
				}
			}
		case 2:
			require.NoError(t, db.CompactOOOHead(context.Background()))
		}
		for _, qs := range s.queries {
			step := steps[(len(qs)+round/3)%len(steps)]
			length := step * time.Duration(2+rng.IntN(30))
			end := now.Truncate(step).Add(step * time.Duration(rng.IntN(3)-1))
			start := end.Add(-length)
			if start.UnixMilli() < 0 { // where some of upstream's iterators begin
				start = time.UnixMilli(0)
			}
			if rng.IntN(8) == 0 {
				end = start.Add(length / 2) // older ones too
			}
			compare(t, engine, c, db, qs, start, end.Add(time.Duration(rng.IntN(2))*time.Millisecond), step)
		}
	}
	return c
}

func matchersOf(ls labels.Labels) (ms []*labels.Matcher) {
	ls.Range(func(l labels.Label) { ms = append(ms, labels.MustNewMatcher(labels.MatchEqual, l.Name, l.Value)) })
	return ms
}

// compare asks the cache, and fails where the engine does not say the same. Where
// the engine itself evaluates in the order of a map, one of its answers will do.
func compare(t *testing.T, engine promql.QueryEngine, c *Cache, q storage.Queryable, qs string, start, end time.Time, step time.Duration) {
	got := ask(t, c, q, qs, start, end, step)
	want := ""
	for range 20 {
		if want = ask(t, engine, q, qs, start, end, step); want == got {
			return
		}
	}
	require.Equal(t, want, got, "%s from %s to %s every %s", qs, start.UTC(), end.UTC(), step)
}

// ask is the whole answer as text, with the bits of numbers.
func ask(t *testing.T, engine promql.QueryEngine, q storage.Queryable, qs string, start, end time.Time, step time.Duration) string {
	query, err := engine.NewRangeQuery(context.Background(), q, nil, qs, start, end, step)
	if err != nil {
		return "refused: " + err.Error()
	}
	defer query.Close()
	r := query.Exec(context.Background())
	if r.Err != nil {
		return "error: " + r.Err.Error()
	}
	var b strings.Builder
	for _, s := range r.Value.(promql.Matrix) {
		fmt.Fprintln(&b, s.Metric)
		for _, p := range s.Floats {
			fmt.Fprintf(&b, "  %d %v %x\n", p.T, p.F, math.Float64bits(p.F))
		}
		for _, p := range s.Histograms {
			fmt.Fprintf(&b, "  %d %s\n", p.T, p.H)
		}
	}
	return b.String() + notes(r.Warnings, qs)
}

func notes(all annotations.Annotations, qs string) string {
	warnings, infos := all.AsStrings(qs, 0, 0)
	slices.Sort(warnings)
	slices.Sort(infos)
	return fmt.Sprint(warnings, infos)
}
