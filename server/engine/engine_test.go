package engine

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/storage"
	"github.com/stretchr/testify/require"
)

// Minutes of the samples: all of them, and those that are in the local store.
const (
	minutes = 360
	young   = 240
)

// samples are series of a sample a minute from the minute from on, with more labels.
func samples(from int, more string) string {
	s := ""
	for n, slope := range []int{3, 5, 7} {
		s += fmt.Sprintf("  c{i=\"%d\"%s} _x%d %d+%dx%d\n", n, more, from, from*slope, slope, minutes-from)
		s += fmt.Sprintf("  g{i=\"%d\",cpu=\"x\"%s} _x%d %d-%dx%d\n", n, more, from, 9000-from*slope, slope, minutes-from)
	}
	return strings.ReplaceAll(s, " _x0", "")
}

var queryParser = parser.NewParser(parser.Options{EnableExperimentalFunctions: true})

func newPromQL(t testing.TB) *promql.Engine {
	e := promql.NewEngine(promql.EngineOpts{
		MaxSamples: 1e6, Timeout: time.Minute, LookbackDelta: 5 * time.Minute, Parser: queryParser,
		EnableAtModifier: true, EnableNegativeOffset: true,
		NoStepSubqueryIntervalFn: func(int64) int64 { return 60_000 },
	})
	t.Cleanup(func() { e.Close() })
	return e
}

// fake is another engine: a Prometheus with all samples, whose labels have more of them.
type fake struct {
	*httptest.Server
	mu       sync.Mutex
	requests []url.Values // with the path
	answer   http.HandlerFunc
}

func (f *fake) asked() []url.Values {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.requests
}

// newFake answers with answer if that is not nil, else by PromQL.
func newFake(t testing.TB, answer http.HandlerFunc) *fake {
	f := &fake{answer: answer}
	if answer == nil {
		store := promqltest.LoadedStorage(t, "load 1m\n"+samples(0, `,site="home",replica="a"`)+samples(0, `,site="other",replica="a"`))
		t.Cleanup(func() { store.Close() })
		e := newPromQL(t)
		f.answer = func(w http.ResponseWriter, r *http.Request) { evaluate(t, w, r, e, store) }
	}
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		r.Form.Set("path", r.URL.Path)
		f.mu.Lock()
		f.requests = append(f.requests, r.Form)
		answer := f.answer
		f.mu.Unlock()
		answer(w, r)
	}))
	t.Cleanup(f.Close)
	return f
}

func evaluate(t testing.TB, w http.ResponseWriter, r *http.Request, e *promql.Engine, store storage.Queryable) {
	at := func(name string) time.Time {
		s, err := strconv.ParseFloat(r.Form.Get(name), 64)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		return time.UnixMilli(int64(s * 1000))
	}
	var q promql.Query
	var err error
	if strings.HasSuffix(r.URL.Path, "/query") {
		q, err = e.NewInstantQuery(r.Context(), store, nil, r.Form.Get("query"), at("time"))
	} else {
		step := at("step").Sub(time.UnixMilli(0))
		q, err = e.NewRangeQuery(r.Context(), store, nil, r.Form.Get("query"), at("start"), at("end"), step)
	}
	if err != nil {
		t.Errorf("the engine cannot read %s: %v", r.Form.Get("query"), err)
		return
	}
	defer q.Close()
	result := q.Exec(r.Context())
	if result.Err != nil {
		t.Error(result.Err)
		return
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"status": "success", "data": map[string]any{
		"resultType": result.Value.Type(), "result": result.Value,
	}})
}

// setup is a store with the younger samples, behind which is an engine with all.
type setup struct {
	t       *testing.T
	own     storage.Storage
	plain   promql.QueryEngine // without the engine
	engine  *Engine
	queries promql.QueryEngine
	log     *bytes.Buffer
	clock   time.Time
	reg     *prometheus.Registry
}

func newSetup(t *testing.T, f *fake, change func(*Options)) *setup {
	s := &setup{t: t, log: &bytes.Buffer{}, clock: time.Unix(minutes*60, 0), reg: prometheus.NewRegistry()}
	own := promqltest.LoadedStorage(t, "load 1m\n"+samples(young, ""))
	t.Cleanup(func() { own.Close() })
	s.own = own
	u, err := ParseURL(f.URL + "/prefix")
	require.NoError(t, err)
	o := Options{
		Settings: Settings{URL: u, Dialect: Prometheus}, Parser: queryParser,
		Local:         own,
		Oldest:        func() (int64, error) { return young * 60_000, nil },
		ReplicaLabels: []string{"replica"},
		Registerer:    s.reg, Logger: slog.New(slog.NewTextHandler(s.log, nil)),
		Now: func() time.Time { return s.clock },
	}
	if change != nil {
		change(&o)
	}
	s.engine, err = New(o)
	require.NoError(t, err)
	t.Cleanup(s.engine.client.http.CloseIdleConnections)
	s.engine.SetExternalLabels(labels.FromStrings("site", "home", "replica", "a"))
	s.plain = newPromQL(t)
	s.queries = s.engine.QueryEngine(s.plain)
	return s
}

// minute is a time.
func minute(n float64) time.Time { return time.UnixMilli(int64(n * 60_000)) }

// ask returns the result as text, and the warnings.
func (s *setup) ask(e promql.QueryEngine, store storage.Queryable, query string, from, to, step float64) (string, []string) {
	s.t.Helper()
	var q promql.Query
	var err error
	if step == 0 {
		q, err = e.NewInstantQuery(s.t.Context(), store, nil, query, minute(to))
	} else {
		q, err = e.NewRangeQuery(s.t.Context(), store, nil, query, minute(from), minute(to), time.Duration(step*float64(time.Minute)))
	}
	require.NoError(s.t, err)
	defer q.Close()
	r := q.Exec(s.t.Context())
	require.NoError(s.t, r.Err)
	warnings, _ := r.Warnings.AsStrings(query, 0, 0)
	return r.Value.String(), warnings
}

// What the local store and the engine return together is what a store with everything
// returns, whatever an expression reads.
func TestTogetherTheyAreAsOneStore(t *testing.T) {
	t.Parallel()
	f := newFake(t, nil)
	s := newSetup(t, f, nil)
	whole := promqltest.LoadedStorage(t, "load 1m\n"+samples(0, ""))
	t.Cleanup(func() { whole.Close() })
	for _, query := range []string{
		`c`, `g{i="1"}`, `-g`, `rate(c[5m])`, `increase(c[1h])`, `sum by (i) (rate(c[10m]))`, `sum(c) / count(c)`,
		`c offset 1h`, `c offset -10m`, `rate(c[5m] offset 30m)`, `c - c offset 2h`,
		`c @ 3600`, `c - c @ 18000`, `c @ start()`, `c - c @ end()`, `rate(c[5m] @ end())`,
		`max_over_time(rate(c[5m])[1h:5m])`, `avg_over_time(g[30m:])`, `sum_over_time((c offset 10m)[20m:1m])`,
		`topk(1, rate(c[5m]))`, `absent(c)`, `absent(c offset 4h30m)`, `absent(nothing)`, `c > 900`, `c unless on (i) g{i="0"}`, `c or g`,
		`label_replace(rate(c[5m]), "j", "$1", "i", "(.)")`, `time()`, `vector(1)`, `1`, `scalar(c{i="0"})`, `timestamp(c)`,
		`c * on (i) group_left (cpu) g`, `sum without (cpu) (g)`, `quantile_over_time(0.9, c[7m])`,
		`count_values("v", c % 10)`, `sort(c)`, `nothing`, `max(c) - min(c offset 5m)`, `changes(c[1m:15s])`, `rate(c[range()])`, `c offset step()`,
	} {
		for _, r := range [][3]float64{{0, 360, 5}, {0, 360, 7}, {100, 200, 1}, {235, 250, 0.25}, {300, 360, 1}, {240, 240, 1}, {0, 100, 0}, {0, 242, 0}, {0, 360, 0}} {
			if strings.Contains(query, "range()") && (r[2] == 0 || r[0] == r[1]) {
				continue // the range is empty
			}
			want, _ := s.ask(s.plain, whole, query, r[0], r[1], r[2])
			got, warnings := s.ask(s.queries, s.own, query, r[0], r[1], r[2])
			require.NotContains(t, fmt.Sprint(warnings), "History", "%s %v", query, r)
			if r[2] == 0 && !strings.HasPrefix(query, "sort") { // vectors have no order
				require.ElementsMatch(t, strings.Split(want, "\n"), strings.Split(got, "\n"), "%s %v", query, r)
				continue
			}
			require.Equal(t, want, got, "%s %v", query, r)
		}
	}
}

// Only steps for which the local store is too young are the engine's.
func TestTheSeam(t *testing.T) {
	t.Parallel()
	f := newFake(t, nil)
	s := newSetup(t, f, nil)
	for _, c := range []struct {
		query string
		until float64 // the last minute that is asked for, of steps of a minute; 0 for none
		from  float64
	}{
		{"c", 244, 0}, // looks back 5 minutes
		{"rate(c[1h])", 299, 0},
		{"c offset 1h", 304, 0},
		{"rate(c[10m] offset 1h)", 309, 0},
		{"c offset -10m", 234, 0},
		{"max_over_time(c[30m:1m])", 274, 0},
		{"c + c @ 3600", 360, 0},    // every step needs it
		{"c @ 18000", 0, 0},         // none does
		{"c - c @ 18000", 244, 0},   // only the first half
		{"c - c @ start()", 360, 0}, // cannot be divided
		{"c", 0, 245},
		{"rate(c[1h])", 299, 245},
		{"1 + 1", 0, 0},
	} {
		before := len(f.asked())
		s.ask(s.queries, s.own, c.query, c.from, 360, 1)
		asked := f.asked()[before:]
		if c.until == 0 {
			require.Empty(t, asked, c.query)
			continue
		}
		require.Len(t, asked, 1, c.query)
		require.Equal(t, "/prefix/api/v1/query_range", asked[0].Get("path"))
		require.Equal(t, []string{fmt.Sprint(c.from * 60), fmt.Sprint(c.until * 60), "60"},
			[]string{asked[0].Get("start"), asked[0].Get("end"), asked[0].Get("step")}, c.query)
	}
}

// The server's labels are added to selectors that do not mention them.
func TestExternalLabels(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		dialect     Dialect
		query, sent string
	}{
		{Prometheus, `c`, `c{replica=~"a|",site="home"}`},
		{Thanos, `c`, `c{site="home"}`}, // has both replicas, and deduplicates
		{Prometheus, `rate(c{i="1"}[5m]) / on (i) g`, `rate(c{i="1",replica=~"a|",site="home"}[5m]) / on (i) g{replica=~"a|",site="home"}`},
		{Prometheus, `c{site="other"} + g`, `c{site="other"} + g`}, // whose replicas have other names
		{Prometheus, `c{site=~"home|other"}`, `c{site=~"home|other"}`},
		{Prometheus, `c{site="home"}`, `c{replica=~"a|",site="home"}`},
		{Prometheus, `c{site!="other"}`, `c{replica=~"a|",site!="other"}`},
	} {
		f := newFake(t, nil)
		s := newSetup(t, f, func(o *Options) { o.Dialect = c.dialect })
		_, warnings := s.ask(s.queries, s.own, c.query, 0, 100, 1)
		require.Empty(t, warnings)
		require.Equal(t, c.sent, f.asked()[0].Get("query"))
	}
	f := newFake(t, nil)
	s := newSetup(t, f, nil)
	got, _ := s.ask(s.queries, s.own, `c{site="other",i="1"}`, 0, 100, 0)
	require.Equal(t, `{__name__="c", i="1", replica="a", site="other"} => 500 @[6000000]`, got, "who asks for another site sees that")
	s.engine.SetExternalLabels(labels.EmptyLabels())
	s.ask(s.queries, s.own, `sum( c )`, 0, 100, 0)
	require.Equal(t, `sum( c )`, f.asked()[1].Get("query"), "as it was written")
}

// A query that demands an external label in each selector is the engine's, also where the
// local store has samples of that time: they lack the label.
func TestSeriesOfOtherServers(t *testing.T) {
	t.Parallel()
	f := newFake(t, nil)
	s := newSetup(t, f, nil)
	whole := promqltest.LoadedStorage(t, "load 1m\n"+samples(0, `,site="other",replica="a"`))
	t.Cleanup(func() { whole.Close() })
	for _, query := range []string{`c{site="other"}`, `rate(c{site="other"}[5m])`, `sum by (i) (c{site="other"}) / sum by (i) (g{site=~"oth.*"})`, `absent(c{site="other"})`} {
		for _, r := range [][3]float64{{0, 360, 5}, {300, 360, 1}, {0, 360, 0}} {
			want, _ := s.ask(s.plain, whole, query, r[0], r[1], r[2])
			got, warnings := s.ask(s.queries, s.own, query, r[0], r[1], r[2])
			require.Empty(t, warnings)
			require.ElementsMatch(t, strings.Split(want, "\n"), strings.Split(got, "\n"), "%s %v", query, r)
		}
	}
	before := len(f.asked())
	for _, query := range []string{`c`, `c{site!="other"}`, `c{site=""}`, `c{site="other"} or c`, `c{i="1"}`} {
		want, _ := s.ask(s.plain, s.own, query, 300, 360, 1)
		got, _ := s.ask(s.queries, s.own, query, 300, 360, 1)
		require.Equal(t, want, got, query)
	}
	require.Len(t, f.asked(), before, "the local store may have what these select")

	s = newSetup(t, newFake(t, func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"status":"success","data":["there"]}`)
	}), nil)
	q, err := s.engine.Storage(s.own).Querier(young*60_000, 1<<62)
	require.NoError(t, err)
	defer q.Close()
	names, _, err := q.LabelNames(t.Context(), nil, labels.MustNewMatcher(labels.MatchEqual, "site", "other"))
	require.NoError(t, err)
	require.Equal(t, []string{"there"}, names)
	values, _, err := q.LabelValues(t.Context(), "i", nil, labels.MustNewMatcher(labels.MatchEqual, "site", "other"))
	require.NoError(t, err)
	require.Equal(t, []string{"there"}, values)
}

// Where series of the local store have an external label, by a label of their targets or
// because another server sends them here, the newest samples are the local ones.
func TestLocalSeriesWithAnExternalLabel(t *testing.T) {
	t.Parallel()
	own := promqltest.LoadedStorage(t, "load 1m\n"+samples(young, `,site="home"`)+samples(young, `,site="sender"`))
	t.Cleanup(func() { own.Close() })
	f := newFake(t, nil)
	s := newSetup(t, f, func(o *Options) { o.Local = own })
	for _, query := range []string{`c{site="home"}`, `c{site="sender"}`, `c{site=~"home|sender"}`, `rate(c{site="home"}[5m])`, `sum(c{site="sender"}) / sum(g{site="home"})`} {
		for _, r := range [][3]float64{{300, 360, 1}, {0, 360, 0}} {
			want, _ := s.ask(s.plain, own, query, r[0], r[1], r[2])
			got, _ := s.ask(s.queries, own, query, r[0], r[1], r[2])
			if r[2] == 0 {
				require.ElementsMatch(t, strings.Split(want, "\n"), strings.Split(got, "\n"), query)
				continue
			}
			require.Equal(t, want, got, query)
		}
	}
	q, err := s.engine.Storage(own).Querier(young*60_000, minutes*60_000)
	require.NoError(t, err)
	defer q.Close()
	values, _, err := q.LabelValues(t.Context(), "i", nil, labels.MustNewMatcher(labels.MatchEqual, "site", "sender"))
	require.NoError(t, err)
	require.Equal(t, []string{"0", "1", "2"}, values)
	require.Empty(t, f.asked())

	s.ask(s.queries, own, `c{site="home"}`, 0, 360, 1)
	require.Equal(t, fmt.Sprint(244*60), f.asked()[0].Get("end"), "it is divided")
	for _, query := range []string{`c{site="other"}`, `g{site=~"oth.*"}`, `c{site=~"sender|other"}`, `count by (site) (c{site=~".+"})`, `c{site!=""}`} {
		got, _ := s.ask(s.queries, own, query, 300, 360, 1)
		require.Contains(t, got, `site="other"`, "the engine's, because the local store lacks some of what is selected")
	}
}

func TestInstant(t *testing.T) {
	t.Parallel()
	f := newFake(t, nil)
	s := newSetup(t, f, nil)
	got, warnings, err := s.engine.Instant(t.Context(), `sum by (site) (c{i="1",site!="home"})`, minute(100), time.Hour)
	require.NoError(t, err)
	require.Empty(t, warnings)
	require.Equal(t, `{site="other"} => 500 @[6000000]`, got.String())
	require.Equal(t, "3600", f.asked()[0].Get("lookback_delta"))

	for _, body := range []string{`<html>`, `{}`, `{"status":"success","data":{"resultType":"scalar","result":[0,"1"]}}`, `{"status":"success","data":{"resultType":"vector","result":7}}`, `{"status":"error","error":"too much"}`} {
		s := newSetup(t, newFake(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, body) }), nil)
		_, _, err := s.engine.Instant(t.Context(), "up", minute(1), time.Minute)
		require.Error(t, err, body)
	}
}

func TestDialects(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		dialect Dialect
		sent    map[string]string
	}{
		{Prometheus, map[string]string{"lookback_delta": "300"}},
		{Mimir, map[string]string{"lookback_delta": "300"}},
		{Thanos, map[string]string{"lookback_delta": "300", "dedup": "true", "partial_response": "true", "max_source_resolution": "auto"}},
		{VictoriaMetrics, map[string]string{"nocache": "1", "max_lookback": "300s"}},
	} {
		f := newFake(t, nil)
		s := newSetup(t, f, func(o *Options) { o.Dialect = c.dialect })
		s.ask(s.queries, s.own, "c", 0, 100, 1)
		sent := f.asked()[0]
		for _, name := range []string{"query", "start", "end", "step", "path"} {
			sent.Del(name)
		}
		for name, value := range c.sent {
			require.Equal(t, value, sent.Get(name), "%s %s", c.dialect, name)
		}
		require.Len(t, sent, len(c.sent), "%s %v", c.dialect, sent)
	}
}

// VictoriaMetrics keeps names that PromQL drops, and has no scalars.
func TestVictoriaMetricsNames(t *testing.T) {
	t.Parallel()
	f := newFake(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/query") {
			if r.Form.Get("query") == "scalar(nothing)" {
				fmt.Fprint(w, `{"status":"success","data":{"resultType":"vector","result":[]}}`)
				return
			}
			fmt.Fprint(w, `{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[6000,"7"]}]}}`)
			return
		}
		fmt.Fprint(w, `{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"__name__":"c","i":"1"},"values":[[0,"1"],[60,"2"]]}]}}`)
	})
	s := newSetup(t, f, func(o *Options) { o.Dialect = VictoriaMetrics })
	got, _ := s.ask(s.queries, s.own, `max_over_time(c{i="1"}[5m])`, 0, 2, 1)
	require.Equal(t, "{i=\"1\"} =>\n1 @[0]\n2 @[60000]", got)
	got, _ = s.ask(s.queries, s.own, `last_over_time(c{i="1"}[5m])`, 0, 2, 1)
	require.Equal(t, "{__name__=\"c\", i=\"1\"} =>\n1 @[0]\n2 @[60000]", got)
	got, warnings := s.ask(s.queries, s.own, `scalar(c{i="1"})`, 0, 100, 0)
	require.Empty(t, warnings)
	require.Equal(t, "scalar: 7 @[6000000]", got)
	s.engine.SetExternalLabels(labels.EmptyLabels())
	got, warnings = s.ask(s.queries, s.own, `scalar(nothing)`, 0, 100, 0)
	require.Empty(t, warnings)
	require.Equal(t, "scalar: NaN @[6000000]", got)
}

// An engine that this server does not feed leaves no hole: what it does not know is the
// local store's, as far as that can be right.
func TestAnEngineThatIsNotFed(t *testing.T) {
	t.Parallel()
	f := newFake(t, func(w http.ResponseWriter, r *http.Request) {
		kind := "matrix"
		if strings.HasSuffix(r.URL.Path, "/query") {
			kind = "vector"
		}
		fmt.Fprintf(w, `{"status":"success","data":{"resultType":%q,"result":[]}}`, kind)
	})
	s := newSetup(t, f, nil)
	for _, r := range [][3]float64{{240, 300, 1}, {0, 243, 0}} {
		for _, query := range []string{"c", "rate(c[1h])", "sum by (i) (increase(g[1h]))"} {
			want, _ := s.ask(s.plain, s.own, query, r[0], r[1], r[2])
			got, warnings := s.ask(s.queries, s.own, query, r[0], r[1], r[2])
			require.Empty(t, warnings)
			require.Equal(t, want, got)
			require.NotEmpty(t, got)
		}
	}
	// It may have had samples an hour ago, and says that they were there.
	got, _ := s.ask(s.queries, s.own, "absent(c offset 1h)", 0, 250, 0)
	require.Empty(t, got)
}

// Whatever is wrong with the engine, the local part is there, with a warning.
func TestFailures(t *testing.T) {
	t.Parallel()
	body := func(code int, text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(code)
			fmt.Fprint(w, text)
		}
	}
	matrix := func(result string) http.HandlerFunc {
		return body(200, `{"status":"success","data":{"resultType":"matrix","result":`+result+`}}`)
	}
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		says   string
	}{
		"hangs": {func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "no response within 200ms"},
		"stops in the middle": {func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, `{"status":`)
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}, "no response within 200ms"},
		"closes":           {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "EOF"},
		"refuses":          {body(422, `{"status":"error","errorType":"execution","error":"too\nmany samples"}`), "422 Unprocessable Entity: too many samples"},
		"wants a password": {body(401, "who are you?"), "401 Unauthorized"},
		"gateway":          {body(502, "<html>"), "502 Bad Gateway"},
		"a page":           {body(200, "<html>"), "not one of Prometheus' API"},
		"nothing":          {body(200, ""), "not one of Prometheus' API"},
		"null":             {body(200, "null"), "not one of Prometheus' API"},
		"an error with 200": {
			body(200, `{"status":"error","error":"`+strings.Repeat("no ", 1000)+`"}`), "no no no n…",
		},
		"no data":    {body(200, `{"status":"success"}`), "malformed"},
		"other type": {body(200, `{"status":"success","data":{"resultType":"vector","result":[]}}`), "another type"},
		"off grid":   {matrix(`[{"metric":{},"values":[[1,"1"]]}]`), "other times than requested"},
		"too new":    {matrix(`[{"metric":{},"values":[[21600,"1"]]}]`), "other times than requested"},
		"backwards":  {matrix(`[{"metric":{},"values":[[60,"1"],[0,"1"]]}]`), "other times than requested"},
		"twice":      {matrix(`[{"metric":{"a":"b"},"values":[[0,"1"]]},{"metric":{"a":"b","site":"home"},"values":[[0,"1"]]}]`), "two series"},
		"words":      {matrix(`[{"metric":{},"values":[[0,"one"]]}]`), "malformed"},
		"no time":    {matrix(`[{"metric":{},"values":[[1e300,"1"]]}]`), "malformed"},
		"numbers":    {matrix(`[{"metric":1,"values":2}]`), "malformed"},
		"huge": {func(w http.ResponseWriter, _ *http.Request) {
			chunk := bytes.Repeat([]byte(" "), 1<<20)
			for range maxBody>>20 + 1 {
				if _, err := w.Write(chunk); err != nil {
					return
				}
			}
		}, "larger than 32 MiB"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t, c.answer)
			s := newSetup(t, f, nil)
			if strings.Contains(c.says, "200ms") {
				s.engine.client.timeout = 200 * time.Millisecond
			} else {
				s.engine.client.timeout = time.Minute
			}
			want, _ := s.ask(s.plain, s.own, "c", 0, 360, 1)
			got, warnings := s.ask(s.queries, s.own, "c", 0, 360, 1)
			require.Equal(t, want, got)
			require.Len(t, warnings, 1)
			require.True(t, strings.HasPrefix(warnings[0], NotReached), warnings)
			require.Contains(t, warnings[0], c.says[:min(len(c.says), 200)])
			require.Less(t, len(warnings[0]), 300)
			require.NotContains(t, s.log.String()+warnings[0], "Panic")
		})
	}
}

// Warnings of the engine are said; notes of PromQL are not about history.
func TestPartialHistory(t *testing.T) {
	t.Parallel()
	f := newFake(t, func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"status":"success","warnings":["store 1 away","PromQL warning: x","2","3","4"],"data":{"resultType":"matrix","result":[
			{"metric":{"__name__":"h"},"histograms":[[0,{"count":"1","sum":"1"}]]},{"metric":{"__name__":"c","i":"9"},"values":[[0,"NaN"],[60.000,"+Inf"],[120,"-1.5e3"]]}]}}`)
	})
	s := newSetup(t, f, nil)
	got, warnings := s.ask(s.queries, s.own, "c", 0, 2, 1)
	require.Equal(t, "{__name__=\"c\", i=\"9\"} =>\nNaN @[0]\n+Inf @[60000]\n-1500 @[120000]", got)
	require.ElementsMatch(t, []string{Incomplete + "store 1 away", Incomplete + "2", Incomplete + "3", Incomplete + "native histograms are not read from the engine"}, warnings)
}

// An engine that is away is asked again later, not by every query.
func TestAnEngineThatIsAwayIsLeftAlone(t *testing.T) {
	t.Parallel()
	f := newFake(t, nil)
	answer := f.answer
	f.mu.Lock()
	f.answer = func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
	f.mu.Unlock()
	s := newSetup(t, f, nil)
	for range 3 {
		_, warnings := s.ask(s.queries, s.own, "c", 0, 360, 1)
		require.Len(t, warnings, 1)
	}
	failed := len(f.asked())
	require.LessOrEqual(t, failed, 2, "a transport may try a request again")
	f.mu.Lock()
	f.answer = answer
	f.mu.Unlock()
	s.clock = s.clock.Add(pause)
	_, warnings := s.ask(s.queries, s.own, "c", 0, 360, 1)
	require.Empty(t, warnings)
	require.Len(t, f.asked(), failed+1)
	require.Contains(t, s.log.String(), "does not respond")
	require.Contains(t, s.log.String(), "responds again")
	require.Equal(t, 1, strings.Count(s.log.String(), "level=WARN"))
	require.NoError(t, testutil.GatherAndCompare(s.reg, strings.NewReader(`
		# HELP clanmon_query_url_requests_total Requests for history to --query.url, by result: ok, failed, or skipped because the engine did not respond shortly before.
		# TYPE clanmon_query_url_requests_total counter
		clanmon_query_url_requests_total{result="failed"} 1
		clanmon_query_url_requests_total{result="ok"} 1
		clanmon_query_url_requests_total{result="skipped"} 2
`), "clanmon_query_url_requests_total"))
}

// Names, values and series of the engine are added to the local ones.
func TestMetadata(t *testing.T) {
	t.Parallel()
	var broken bool
	f := newFake(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case broken:
			w.WriteHeader(http.StatusForbidden)
		case strings.HasSuffix(r.URL.Path, "/labels"):
			fmt.Fprint(w, `{"status":"success","data":["__name__","gone","i","replica","site"]}`)
		case strings.HasSuffix(r.URL.Path, "/values"):
			fmt.Fprint(w, `{"status":"success","data":["0","old"],"warnings":["store 1 away"]}`)
		case strings.HasSuffix(r.URL.Path, "/series"):
			fmt.Fprint(w, `{"status":"success","data":[{"__name__":"c","i":"0","site":"home","replica":"a"},{"__name__":"c","i":"old","site":"home"},{"__name__":"c","i":"old","site":"home","replica":"a"}]}`)
		}
	})
	s := newSetup(t, f, nil)
	store := s.engine.Storage(s.own)
	q, err := store.Querier(-1<<62, 1<<62)
	require.NoError(t, err)
	defer q.Close()
	i := labels.MustNewMatcher(labels.MatchRegexp, "i", "0|old")
	ctx := t.Context()

	names, warnings, err := q.LabelNames(ctx, &storage.LabelHints{Limit: 7}, i)
	require.NoError(t, err)
	require.Empty(t, warnings)
	require.Equal(t, []string{"__name__", "cpu", "gone", "i"}, names)
	require.Equal(t, url.Values{"path": {"/prefix/api/v1/labels"}, "limit": {"7"}, "start": {"0"}, "end": {"21600"}, "match[]": {`{i=~"0|old",site="home",replica=~"a|"}`}}, sortMatch(f.asked()[0]))

	values, warnings, err := q.LabelValues(ctx, "i", nil)
	require.NoError(t, err)
	require.Equal(t, []string{"0", "1", "2", "old"}, values)
	require.Contains(t, warnings, Incomplete+"store 1 away")
	values, _, err = q.LabelValues(ctx, "site", nil)
	require.NoError(t, err)
	require.Empty(t, values, "the local series have no such label")

	series := func() (all []string, warnings int) {
		set := q.Select(ctx, true, &storage.SelectHints{Func: "series", Start: -1 << 62, End: 1 << 62}, i, labels.MustNewMatcher(labels.MatchEqual, "__name__", "c"))
		for set.Next() {
			all = append(all, set.At().Labels().String())
		}
		require.NoError(t, set.Err())
		return all, len(set.Warnings())
	}
	all, n := series()
	require.Equal(t, []string{`{__name__="c", i="0"}`, `{__name__="c", i="old"}`}, all)
	require.Zero(t, n)

	broken = true
	names, warnings, err = q.LabelNames(ctx, nil)
	require.NoError(t, err)
	require.Equal(t, []string{"__name__", "cpu", "i"}, names)
	require.Contains(t, warnings, NotReached+"403 Forbidden")
	all, n = series()
	require.Equal(t, []string{`{__name__="c", i="0"}`}, all)
	require.Equal(t, 1, n)

	before := len(f.asked())
	young, err := store.Querier(young*60_000, 1<<62)
	require.NoError(t, err)
	defer young.Close()
	_, _, err = young.LabelNames(ctx, nil)
	require.NoError(t, err)
	require.Len(t, f.asked(), before, "what is young is in the local store")
}

// sortMatch leaves the matchers as they are; their order is that of the external labels.
func sortMatch(v url.Values) url.Values {
	v.Set("match[]", strings.Replace(v.Get("match[]"), `replica=~"a|",site="home"`, `site="home",replica=~"a|"`, 1))
	return v
}

func TestSettings(t *testing.T) {
	t.Parallel()
	for text, says := range map[string]string{
		"http://u:geheim@h":  "--query.config-file",
		"mimir:8080":         "must be http://HOST/PATH",
		"ftp://h":            "must be http://HOST/PATH",
		"http://h/?tenant=1": "below which /api/v1 is",
		"h/?tenant=geheim":   "below which /api/v1 is",
		"http://h/#geheim":   "below which /api/v1 is",
		"u:geheim@h:8080":    "--query.config-file",
		"http://\x00":        "not a URL",
	} {
		_, err := ParseURL(text)
		require.ErrorContains(t, err, says, text)
		require.NotContains(t, err.Error(), "geheim")
	}
	dir := t.TempDir()
	for text, says := range map[string]string{
		"timeout: 0s":                   "must be more than 0s",
		"timeout: soon":                 "soon",
		"tenant: a":                     "tenant",
		"basic_auth: {a: b}":            "field a not found",
		"basic_auth: geheim":            "line 1: cannot unmarshal !!str into ",
		"proxy_url: http://u:geheim/@h": "not a URL",
		"bearer_token_file: nowhere\nbasic_auth: {username: u}": "at most one",
	} {
		path := filepath.Join(dir, "bad.yml")
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		_, err := New(Options{Settings: Settings{URL: &url.URL{}, ConfigFile: path}, Registerer: prometheus.NewRegistry(), Logger: promslog.NewNopLogger()})
		require.ErrorContains(t, err, says)
		require.ErrorContains(t, err, path)
		require.NotContains(t, err.Error(), "geheim")
	}

	// The tenant, and secrets from files beside it.
	require.NoError(t, os.WriteFile(filepath.Join(dir, "password"), []byte("geheim\n"), 0o600))
	path := filepath.Join(dir, "query.yml")
	require.NoError(t, os.WriteFile(path, []byte("timeout: 1m\nbasic_auth: {username: u, password_file: password}\nhttp_headers: {X-Scope-OrgID: {values: [team]}}\n"), 0o600))
	var got http.Header
	f := newFake(t, func(w http.ResponseWriter, r *http.Request) {
		got = r.Header.Clone()
		w.WriteHeader(http.StatusForbidden)
	})
	s := newSetup(t, f, func(o *Options) { o.ConfigFile = path })
	_, warnings := s.ask(s.queries, s.own, "c", 0, 10, 1)
	require.Equal(t, []string{NotReached + "403 Forbidden"}, warnings)
	require.Equal(t, "team", got.Get("X-Scope-OrgID"))
	require.Equal(t, "Basic dTpnZWhlaW0=", got.Get("Authorization"))
	require.NotContains(t, s.log.String(), "geheim")
}

// Nothing listens there: the reason is short, and has no names of system calls.
func TestConnectionRefused(t *testing.T) {
	t.Parallel()
	f := newFake(t, nil)
	f.Close()
	s := newSetup(t, f, nil)
	_, warnings := s.ask(s.queries, s.own, "c", 0, 10, 1)
	require.Equal(t, []string{NotReached + strings.TrimPrefix(f.URL, "http://") + ": connection refused"}, warnings)
}

func TestPoints(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`[]`:                                  "[]",
		`null`:                                "[]",
		`[[1,"2"]]`:                           "[2 @[1000]]",
		` [ [ 1.5 , "2e3" ] , [2, "-Inf"] ] `: "[2000 @[1500] -Inf @[2000]]",
		`[[1,"2"],[3]]`:                       "[2 @[1000]]",
	} {
		var p points
		require.NoError(t, json.Unmarshal([]byte(text), &p), text)
		require.Equal(t, want, fmt.Sprint(p))
	}
	for _, text := range []string{`[["1","2"]]`, `[["a"]]`, `["a"]`, `[[1,"2",3]]`, `{"a":"b"}`} {
		var p points
		_ = json.Unmarshal([]byte(text), &p)
		require.Empty(t, p, text)
	}
}
