package backfill

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/relabel"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/scrape"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/stretchr/testify/require"

	wire "github.com/clanmon/clanmon/internal/history"
)

// second is the unit of the tests' times, which are seconds after start.
const second = int64(1000)

// fixture is a server's store, a target that is scraped every 15 s, and its exporter.
type fixture struct {
	*Backfill
	t        *testing.T
	start    int64 // Unix milliseconds
	db       *tsdb.DB
	job      *config.ScrapeConfig
	target   *scrape.Target
	exporter *httptest.Server
	reg      *prometheus.Registry
	log      *bytes.Buffer

	mu     sync.Mutex
	answer func(w http.ResponseWriter, after, before int64)
	asked  []string // after, before
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{t: t, start: time.Now().Add(-3 * time.Hour).Truncate(time.Hour).UnixMilli(), log: &bytes.Buffer{}}
	o := tsdb.DefaultOptions()
	o.OutOfOrderTimeWindow = (25 * time.Hour).Milliseconds()
	db, err := tsdb.Open(t.TempDir(), slog.New(slog.DiscardHandler), nil, o, nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	f.db = db
	f.exporter = httptest.NewServer(http.HandlerFunc(f.serve))
	t.Cleanup(f.exporter.Close)
	f.job = &config.ScrapeConfig{JobName: "node", ScrapeInterval: model.Duration(15 * time.Second), MetricNameValidationScheme: model.UTF8Validation}
	f.target = f.newTarget("/metrics")
	f.restart(t.TempDir())
	return f
}

func (f *fixture) newTarget(path string) *scrape.Target {
	where, err := url.Parse(f.exporter.URL)
	require.NoError(f.t, err)
	ls := labels.FromStrings("__address__", where.Host, "__scheme__", "http", "__metrics_path__", path, "job", "node", "instance", "m1:9100", "machine", "m1")
	t := scrape.NewTarget(ls, f.job, nil, nil)
	t.Report(time.Now(), time.Second, nil)
	return t
}

// restart is the server's.
func (f *fixture) restart(dir string) {
	f.reg = prometheus.NewRegistry()
	f.Backfill = New(Options{
		MaxAge:  24 * time.Hour,
		Targets: func() map[string][]*scrape.Target { return map[string][]*scrape.Target{"node": {f.target}} },
		Job:     func(string) (*config.ScrapeConfig, error) { return f.job, nil },
		Client:  func(string) (*http.Client, error) { return f.exporter.Client(), nil },
		Store:   f.db, Appendable: appendable{f.db}, Delete: f.db.Delete, Dir: dir,
		SetAside:   func(file, _, _ string, _ error) error { return os.Rename(file, file+".aside") },
		Registerer: f.reg, Logger: slog.New(slog.NewTextHandler(f.log, nil)),
	})
}

type appendable struct{ *tsdb.DB }

func (f *fixture) serve(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	after, _ := strconv.ParseInt(q.Get("after"), 10, 64)
	before, _ := strconv.ParseInt(q.Get("before"), 10, 64)
	f.mu.Lock()
	f.asked = append(f.asked, fmt.Sprintf("%s %s %d %d", r.URL.Path, q.Get("path"), (after-f.start)/second, (before-f.start)/second))
	answer := f.answer
	f.mu.Unlock()
	answer(w, after, before)
}

func key(pairs ...string) []byte {
	k := wire.AppendString(nil, "node")
	for _, p := range pairs {
		k = wire.AppendString(k, p)
	}
	return k
}

// history answers with a gather at each of the times that was asked for.
func (f *fixture) history(gather func(at int64, add func([]byte, float64)), times ...int64) func(http.ResponseWriter, int64, int64) {
	return func(w http.ResponseWriter, after, before int64) {
		w.Header().Set("Content-Type", wire.ContentType)
		w.Header().Set(wire.TimeHeader, strconv.FormatInt(time.Now().UnixMilli(), 10))
		_, _ = w.Write([]byte(wire.Header))
		out := wire.NewWriter()
		for _, at := range times {
			if t := f.start + at*second; t > after && t < before {
				out.Begin(t)
				gather(at, out.Add)
				record, err := out.Encode()
				if err != nil {
					panic(err)
				}
				out.Commit()
				_, _ = w.Write(record)
			}
		}
		_, _ = w.Write(wire.EndRecord())
	}
}

// gauge is a gather of one gauge whose value is the time.
func gauge(at int64, add func([]byte, float64)) { add(key("__name__", "gauge"), float64(at)) }

// scraped stores what a scrape of a gauge at each of the times does; 0 is a failed one.
func (f *fixture) scraped(good bool, times ...int64) {
	f.t.Helper()
	app := f.db.Appender(context.Background())
	for _, at := range times {
		upValue, v := 1.0, float64(at)
		if !good {
			upValue, v = 0, math.Float64frombits(value.StaleNaN)
		}
		for name, x := range map[string]float64{"up": upValue, "gauge": v, "scrape_duration_seconds": 1} {
			_, err := app.Append(0, labels.FromStrings("__name__", name, "job", "node", "instance", "m1:9100", "machine", "m1"), f.start+at*second, x)
			require.NoError(f.t, err)
		}
	}
	require.NoError(f.t, app.Commit())
}

// run looks for gaps once and fills what there is to fill.
func (f *fixture) run() {
	f.t.Helper()
	ctx := context.Background()
	f.watch.until = 0 // scrapes of these tests were hours ago
	f.find(ctx)
	for g := f.take(); g != nil; g = f.take() {
		f.done(ctx, g, f.fill(ctx, g))
	}
}

// now lets what failed be tried again.
func (f *fixture) now() {
	for _, g := range f.gaps {
		g.next = time.Time{}
	}
}

// stored are the samples of all series of a name, by their other labels.
func (f *fixture) stored(name string) map[string][]int64 {
	f.t.Helper()
	q, err := f.db.Querier(f.start-48*3600*second, f.start+48*3600*second)
	require.NoError(f.t, err)
	defer q.Close()
	set := q.Select(context.Background(), true, nil, labels.MustNewMatcher(labels.MatchEqual, "__name__", name))
	all := map[string][]int64{}
	for set.Next() {
		ls := set.At().Labels().MatchLabels(false, "__name__", "job", "instance").String()
		for it := set.At().Iterator(nil); it.Next() != chunkenc.ValNone; {
			t, v := it.At()
			at := (t - f.start) / second
			if value.IsStaleNaN(v) {
				at = -at // ended
			} else if name == "gauge" {
				require.InDelta(f.t, float64(at), v, 0)
			}
			all[ls] = append(all[ls], at)
		}
	}
	require.NoError(f.t, set.Err())
	return all
}

func (f *fixture) gauge() []int64 { return f.stored("gauge")[`{machine="m1"}`] }

func (f *fixture) result(name string) float64 {
	return testutil.ToFloat64(f.metrics.gaps.WithLabelValues(name))
}

func every15(from, to int64) (all []int64) {
	for at := from; at <= to; at += 15 {
		all = append(all, at)
	}
	return all
}

func TestAGapIsFilled(t *testing.T) {
	f := newFixture(t)
	f.answer = f.history(gauge, every15(3, 300)...)
	f.scraped(true, every15(0, 60)...)
	f.run()
	require.Empty(t, f.asked, "there is no gap")

	f.scraped(true, every15(150, 180)...) // the server was away
	f.run()
	require.Equal(t, []string{"/history /metrics 60 150"}, f.asked)
	want := slices.Concat(every15(0, 60), every15(63, 138), every15(150, 180))
	require.Equal(t, want, f.gauge(), "only what is in the gap")
	require.Equal(t, slices.Concat(every15(0, 60), every15(150, 180)), f.stored("up")[`{machine="m1"}`], "nobody scraped")
	require.EqualValues(t, 1, f.result("filled"))
	require.EqualValues(t, 6, testutil.ToFloat64(f.metrics.samples))

	f.run()
	require.Len(t, f.asked, 1, "once")
	f.save(true)
	f.restart(f.opts.Dir)
	f.run()
	require.Len(t, f.asked, 1, "also after a restart")

	f.restart(t.TempDir()) // which is not remembered
	f.run()
	require.Len(t, f.asked, 2)
	require.Equal(t, want, f.gauge(), "what is there is not stored again")
}

func TestADamagedListIsSetAside(t *testing.T) {
	f := newFixture(t)
	file := filepath.Join(f.opts.Dir, "clanmon-backfill.json")
	require.NoError(t, os.WriteFile(file, []byte(`{"a": [[1`), 0o600))
	f.restart(f.opts.Dir)
	require.FileExists(t, file+".aside")
	f.known.add("a", 1, 2)
	f.save(true)
	require.FileExists(t, file)

	require.NoError(t, os.Remove(file+".aside"))
	require.NoError(t, os.Mkdir(file+".aside", 0o700)) // it cannot be moved there
	require.NoError(t, os.WriteFile(file, []byte("damaged"), 0o600))
	f.restart(f.opts.Dir)
	f.known.add("a", 1, 2)
	f.save(true)
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, "damaged", string(text))
}

// A failed scrape ends all series. Where the exporter shows that they went on, that goes.
func TestMarkersOfAFailedScrape(t *testing.T) {
	f := newFixture(t)
	f.answer = f.history(gauge, every15(3, 300)...)
	f.scraped(true, every15(0, 60)...)
	f.scraped(false, 75)
	f.scraped(true, every15(135, 180)...)
	require.Contains(t, f.gauge(), int64(-75))
	f.run()
	require.Equal(t, slices.Concat(every15(0, 60), every15(63, 123), every15(135, 180)), f.gauge())
	require.Len(t, f.stored("up")[`{machine="m1"}`], 10, "the server's own series stay")
	require.Contains(t, f.stored("scrape_duration_seconds")[`{machine="m1"}`], int64(75))
}

// The machine was off: the marker says the truth.
func TestMarkersOfAMachineThatWasOff(t *testing.T) {
	f := newFixture(t)
	f.answer = f.history(gauge, append(every15(3, 63), every15(513, 600)...)...)
	f.scraped(true, every15(0, 60)...)
	f.scraped(false, 75)
	f.scraped(true, every15(540, 600)...)
	f.run()
	require.Contains(t, f.gauge(), int64(-75))
	require.Contains(t, f.gauge(), int64(528), "what there is, is filled")
}

func TestASeriesEndsInAGap(t *testing.T) {
	f := newFixture(t)
	f.answer = f.history(func(at int64, add func([]byte, float64)) {
		gauge(at, add)
		if at < 100 {
			add(key("__name__", "short"), 1)
		}
	}, every15(3, 300)...)
	f.scraped(true, 0, 15, 150)
	f.run()
	require.Equal(t, []int64{18, 33, 48, 63, 78, 93, -108}, f.stored("short")[`{machine="m1"}`])
}

func TestLabelsAreThoseOfAScrape(t *testing.T) {
	exposed := key("__name__", "m", "device", "sda", "machine", "x86", "exported_machine", "taken")
	for name, c := range map[string]struct {
		change func(*config.ScrapeConfig)
		want   []string
	}{
		"conflicts": {func(*config.ScrapeConfig) {}, []string{`{device="sda", exported_exported_machine="x86", exported_machine="taken", machine="m1"}`}},
		"honoured":  {func(c *config.ScrapeConfig) { c.HonorLabels = true }, []string{`{device="sda", exported_machine="taken", machine="x86"}`}},
		"relabelled": {func(c *config.ScrapeConfig) {
			c.MetricRelabelConfigs = []*relabel.Config{{
				SourceLabels: model.LabelNames{"device"}, Regex: relabel.MustNewRegexp("(.*)"), TargetLabel: "disk", Replacement: "$1", Action: relabel.Replace, NameValidationScheme: model.UTF8Validation,
			}}
		}, []string{`{device="sda", disk="sda", exported_exported_machine="x86", exported_machine="taken", machine="m1"}`}},
		"dropped": {func(c *config.ScrapeConfig) {
			c.MetricRelabelConfigs = []*relabel.Config{{SourceLabels: model.LabelNames{"__name__"}, Regex: relabel.MustNewRegexp("m"), Action: relabel.Drop, NameValidationScheme: model.UTF8Validation}}
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			c.change(f.job)
			f.answer = f.history(func(at int64, add func([]byte, float64)) { add(exposed, 1) }, 30)
			f.scraped(true, 0, 60)
			f.run()
			require.ElementsMatch(t, c.want, slices.Collect(maps.Keys(f.stored("m"))))
			require.EqualValues(t, 1, f.result("filled"))
		})
	}
}

// Whatever a target responds, the server goes on, nothing wrong is stored, and it says why.
func TestBadResponses(t *testing.T) {
	valid := func(f *fixture) func(http.ResponseWriter, int64, int64) { return f.history(gauge, every15(3, 300)...) }
	status := func(code int) func(*fixture) func(http.ResponseWriter, int64, int64) {
		return func(*fixture) func(http.ResponseWriter, int64, int64) {
			return func(w http.ResponseWriter, _, _ int64) { http.Error(w, "no", code) }
		}
	}
	with := func(header, text string, body func(f *fixture) string) func(*fixture) func(http.ResponseWriter, int64, int64) {
		return func(f *fixture) func(http.ResponseWriter, int64, int64) {
			return func(w http.ResponseWriter, after, before int64) {
				rec := httptest.NewRecorder()
				valid(f)(rec, after, before)
				maps.Copy(w.Header(), rec.Header())
				if header != "" {
					w.Header().Set(header, text)
				}
				out := rec.Body.String()
				if body != nil {
					out = body(f)
				}
				_, _ = w.Write([]byte(out))
			}
		}
	}
	series := func(k []byte) func(*fixture) func(http.ResponseWriter, int64, int64) {
		return func(f *fixture) func(http.ResponseWriter, int64, int64) {
			return f.history(func(_ int64, add func([]byte, float64)) { add(k, 1) }, 30)
		}
	}
	for name, c := range map[string]struct {
		answer  func(*fixture) func(http.ResponseWriter, int64, int64)
		change  func(*config.ScrapeConfig)
		result  string // "" is one that is tried again
		message string
		stored  []int64 // by then; nil for nothing
	}{
		"no history":      {answer: status(404), result: "no_history"},
		"a page":          {answer: with("Content-Type", "text/html", nil), result: "no_history"},
		"not allowed":     {answer: status(405), result: "no_history"},
		"unauthorized":    {answer: status(401), message: "401"},
		"forbidden":       {answer: status(403), message: "403"},
		"too many":        {answer: status(429), message: "429"},
		"broken":          {answer: status(500), message: "500"},
		"proxy":           {answer: status(502), message: "502"},
		"busy":            {answer: status(503), message: "503"},
		"slow proxy":      {answer: status(504), message: "504"},
		"another version": {answer: with("", "", func(*fixture) string { return "clanmon history 9\nxxxx" }), result: "refused", message: "another version"},
		"nothing":         {answer: with("", "", func(*fixture) string { return "" }), message: "broke off"},
		"broken off":      {answer: with("", "", func(*fixture) string { return wire.Header }), message: "broke off"},
		"noise":           {answer: with("", "", func(*fixture) string { return wire.Header + strings.Repeat("x", 1000) }), message: "damaged"},
		"no clock":        {answer: with(wire.TimeHeader, "", nil), message: "clock"},
		"clock behind":    {answer: with(wire.TimeHeader, strconv.FormatInt(time.Now().Add(-10*time.Minute).UnixMilli(), 10), nil), message: "its clock is off by -10m"},
		"clock ahead":     {answer: with(wire.TimeHeader, strconv.FormatInt(time.Now().Add(10*time.Minute).UnixMilli(), 10), nil), message: "its clock is off by"},
		"other times": {answer: func(f *fixture) func(http.ResponseWriter, int64, int64) {
			all := valid(f)
			return func(w http.ResponseWriter, _, _ int64) { all(w, 0, math.MaxInt64) }
		}, result: "refused", message: "other times", stored: []int64{3, 18, 33, 48}},
		"no name":         {answer: series(key("a", "b")), result: "refused", message: "no name"},
		"twice":           {answer: series(key("__name__", "m", "a", "b", "a", "c")), result: "refused", message: "twice"},
		"invalid UTF-8":   {answer: series(key("__name__", "m", "a", "\xff")), result: "refused", message: "invalid"},
		"half a key":      {answer: series(key("__name__", "m", "a")), result: "refused", message: "invalid"},
		"too many labels": {answer: series(key("__name__", "m", "a", "b")), change: func(c *config.ScrapeConfig) { c.LabelLimit = 3 }, result: "refused", message: "label_limit"},
		"a long name":     {answer: series(key("__name__", "m", strings.Repeat("n", 20), "b")), change: func(c *config.ScrapeConfig) { c.LabelNameLengthLimit = 10 }, result: "refused", message: "label_name_length_limit"},
		"a long value":    {answer: series(key("__name__", "m", "a", strings.Repeat("n", 20))), change: func(c *config.ScrapeConfig) { c.LabelValueLengthLimit = 10 }, result: "refused", message: "label_value_length_limit"},
		"too many series": {answer: func(f *fixture) func(http.ResponseWriter, int64, int64) {
			return f.history(func(_ int64, add func([]byte, float64)) {
				for i := range maxSeries + 1 {
					add(key("__name__", strconv.Itoa(i)), 1)
				}
			}, 30)
		}, result: "refused", message: "more than 200000 series"},
		"too large labels": {answer: func(f *fixture) func(http.ResponseWriter, int64, int64) {
			return f.history(func(at int64, add func([]byte, float64)) {
				add(key("__name__", "m", "at", strconv.FormatInt(at, 10)+strings.Repeat("x", maxKeys/2)), 1)
			}, 30, 45)
		}, change: func(c *config.ScrapeConfig) {
			c.MetricRelabelConfigs = []*relabel.Config{{Regex: relabel.MustNewRegexp("at"), Action: relabel.LabelDrop, NameValidationScheme: model.UTF8Validation}}
		}, result: "refused", message: "more than 16777216 bytes"},
		"over and over": {answer: func(f *fixture) func(http.ResponseWriter, int64, int64) {
			return f.history(func(int64, func([]byte, float64)) {}, slices.Repeat([]int64{30}, 2000)...)
		}, result: "refused", message: "more gathers"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			if c.change != nil {
				c.change(f.job)
			}
			f.answer = c.answer(f)
			f.scraped(true, 0, 60)
			f.run()
			require.Equal(t, slices.Concat([]int64{0}, c.stored, []int64{60}), f.gauge())
			require.Contains(t, f.log.String(), c.message)
			f.now()
			f.answer = valid(f)
			f.run()
			if c.result != "" {
				require.EqualValues(t, 1, f.result(c.result))
				require.Len(t, f.asked, 1, "it is not asked again")
				return
			}
			require.Contains(t, f.log.String(), "Could not fill a gap; trying again")
			require.Equal(t, []int64{0, 3, 18, 33, 48, 60}, f.gauge())
		})
	}
}

// What arrived before a response broke off is not asked for again.
func TestABrokenResponseIsContinued(t *testing.T) {
	f := newFixture(t)
	all := f.history(gauge, every15(3, 300)...)
	f.answer = func(w http.ResponseWriter, after, before int64) {
		rec := httptest.NewRecorder()
		all(rec, after, f.start+50*second)
		maps.Copy(w.Header(), rec.Header())
		_, _ = w.Write(rec.Body.Bytes()[:rec.Body.Len()-len(wire.EndRecord())])
	}
	f.scraped(true, 0, 150)
	f.run()
	require.Equal(t, []int64{0, 3, 18, 33, 48, 150}, f.gauge())
	gaps := f.Gaps()
	require.Len(t, gaps, 1)
	require.Equal(t, "m1", gaps[0].Machine)
	require.Contains(t, gaps[0].Error, "broke off")
	require.Equal(t, f.start+48*second, gaps[0].Until.UnixMilli())

	f.save(true)
	f.restart(f.opts.Dir)
	f.answer = all
	f.run()
	require.Equal(t, []string{"/history /metrics 0 150", "/history /metrics 48 150"}, f.asked)
	require.Equal(t, slices.Concat([]int64{0}, every15(3, 138), []int64{150}), f.gauge())
}

// A gather with more samples than the job allows would not have been stored.
func TestTheSampleLimit(t *testing.T) {
	f := newFixture(t)
	f.job.SampleLimit = 1
	f.answer = f.history(func(at int64, add func([]byte, float64)) {
		gauge(at, add)
		if at == 33 {
			add(key("__name__", "more"), 1)
		}
	}, every15(3, 48)...)
	f.scraped(true, 0, 60)
	f.run()
	require.Equal(t, []int64{0, 3, 18, 48, 60}, f.gauge())
	require.Equal(t, []int64{-48}, f.stored("more")[`{machine="m1"}`], "it has ended at the next gather")
}

// Targets with parameters are scraped for a part of what their exporters have.
func TestWhatIsNotFilled(t *testing.T) {
	for name, change := range map[string]func(*fixture){
		"parameters": func(f *fixture) {
			f.job.Params = url.Values{"collect[]": {"cpu"}}
			f.target = f.newTarget("/metrics")
		},
		"converted histograms": func(f *fixture) { on := true; f.job.ConvertClassicHistogramsToNHCB = &on },
		"down":                 func(f *fixture) { f.target.Report(time.Now(), 0, context.DeadlineExceeded) },
		"not scraped before": func(f *fixture) {
			f.target = scrape.NewTarget(labels.FromStrings("__address__", "x", "job", "other"), f.job, nil, nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.answer = f.history(gauge, every15(3, 300)...)
			f.scraped(true, 0, 60)
			change(f)
			f.run()
			require.Empty(t, f.asked)
		})
	}
}

// A server that was away for longer than gaps are filled gets what it may have.
func TestAnOldGap(t *testing.T) {
	f := newFixture(t)
	f.answer = f.history(gauge, every15(3, 300)...)
	f.scraped(true, -30*3600)
	f.scraped(true, 60)
	f.run()
	require.Len(t, f.asked, 1)
	require.Equal(t, []int64{-30 * 3600, 3, 18, 33, 48, 60}, func() []int64 {
		all := f.gauge()
		all[0] = -30 * 3600 // its value is negative, too
		return all
	}())
}

func TestGapsOfUp(t *testing.T) {
	stale := math.Float64frombits(value.StaleNaN)
	for name, c := range map[string]struct {
		samples [][2]float64
		want    []gap
	}{
		"none":           {[][2]float64{{0, 1}, {15, 1}, {36, 1}}, nil},
		"away":           {[][2]float64{{0, 1}, {100, 1}}, []gap{{from: 0, to: 100}}},
		"down":           {[][2]float64{{0, 1}, {15, 0}, {30, 0}, {45, 1}}, []gap{{from: 0, to: 45, marks: []int64{15}}}},
		"gone":           {[][2]float64{{0, 1}, {15, stale}, {90, 1}}, []gap{{from: 0, to: 90, marks: []int64{15}}}},
		"down, gone":     {[][2]float64{{0, 1}, {15, 0}, {30, stale}, {90, 0}, {105, 1}}, []gap{{from: 0, to: 105, marks: []int64{15, 30}}}},
		"never up":       {[][2]float64{{0, 0}, {15, 0}}, nil},
		"not up before":  {[][2]float64{{0, 0}, {15, 1}}, nil},
		"read once more": {[][2]float64{{0, 1}, {100, 1}, {0, 1}, {100, 1}}, []gap{{from: 0, to: 100}}},
		"two":            {[][2]float64{{0, 1}, {100, 1}, {115, 1}, {130, 0}, {145, 1}}, []gap{{from: 0, to: 100}, {from: 115, to: 145, marks: []int64{130}}}},
	} {
		t.Run(name, func(t *testing.T) {
			x := &watched{interval: 15}
			for _, s := range c.samples {
				x.see(int64(s[0])+1, s[1])
			}
			require.Len(t, x.gaps, len(c.want))
			for i, g := range x.gaps {
				require.Equal(t, c.want[i].from+1, g.from)
				require.Equal(t, c.want[i].to+1, g.to)
				require.Len(t, g.marks, len(c.want[i].marks))
				for j, m := range g.marks {
					require.Equal(t, c.want[i].marks[j]+1, m)
				}
			}
		})
	}
}

func TestKnown(t *testing.T) {
	k := known{targets: map[string][]span{}}
	k.add("a", 10, 15)
	k.add("a", 10, 20)
	k.add("a", 40, 50)
	for _, c := range [][4]int64{{10, 30, 20, 30}, {10, 20, 20, 20}, {12, 18, 20, 18}, {5, 30, 5, 30}, {40, 45, 50, 45}, {60, 70, 60, 70}} {
		from, to := k.open("a", c[0], c[1])
		require.Equal(t, [2]int64{c[2], c[3]}, [2]int64{from, to}, c)
	}
	from, to := k.open("b", 10, 20)
	require.Equal(t, [2]int64{10, 20}, [2]int64{from, to})
	k.forget(30)
	require.Equal(t, map[string][]span{"a": {{40, 50}}}, k.targets)
	k.forget(60)
	require.Empty(t, k.targets)
}

// All targets together are filled at 50,000 samples a second.
func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p pace
		begin := time.Now()
		var wg sync.WaitGroup
		for range workers {
			wg.Go(func() {
				for range 100 {
					p.wait(t.Context(), 1500)
				}
			})
		}
		wg.Wait()
		took := time.Since(begin).Seconds()
		require.InDelta(t, workers*100*1500/50_000, took, 0.1)
	})
}

func TestWorkersFillAll(t *testing.T) {
	f := newFixture(t)
	f.answer = f.history(gauge, every15(3, 300)...)
	f.scraped(true, 0, 60, 75, 180)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- f.Run(ctx) }()
	require.Eventually(t, func() bool { return f.result("filled") == 2 }, time.Minute, 10*time.Millisecond)
	stop()
	require.NoError(t, <-done)
	require.Equal(t, slices.Concat([]int64{0, 3, 18, 33, 48, 60, 75}, every15(78, 168), []int64{180}), f.gauge())
}

// A target that went down again is filled as soon as it is back, however long that takes.
func TestATargetThatGoesDownAgain(t *testing.T) {
	f := newFixture(t)
	f.answer = f.history(gauge, every15(3, 300)...)
	f.scraped(true, 0, 60)
	f.find(context.Background())
	f.target.Report(time.Now(), 0, context.DeadlineExceeded)
	for range 20 {
		f.now()
		f.run()
	}
	require.Empty(t, f.asked)
	require.Len(t, f.Gaps(), 1)
	require.LessOrEqual(t, time.Until(f.gaps[0].next), firstRetry)
	f.target.Report(time.Now(), 0, nil)
	f.now()
	f.run()
	require.Equal(t, []int64{0, 3, 18, 33, 48, 60}, f.gauge())
}

func TestOff(t *testing.T) {
	var b *Backfill
	rec := httptest.NewRecorder()
	b.Handler().ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/", nil))
	require.JSONEq(t, `{"status":"success","data":{"enabled":false,"gaps":[]}}`, rec.Body.String())
	ctx, stop := context.WithCancel(context.Background())
	stop()
	require.NoError(t, b.Run(ctx))
}
