package checks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/teststorage"
	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/discovery/checks"
	"github.com/clanmon/clanmon/internal/probe"
)

// The machine that a check names is a label of its series, not of its target: up of the target
// is this process' and would hide that the machine is down. A probe ends before its scrape.
func TestTheMachineOfACheck(t *testing.T) {
	hangs, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { hangs.Close() })
	every := model.Duration(5 * time.Second)
	check, err := checks.Section{URL: "http://" + hangs.Addr().String(), Machine: "web1", Every: &every}.Complete("x")
	require.NoError(t, err)
	part := checks.Part([]checks.Check{check}, "a:1", "@s", "hub")
	target := part.SD["static_configs"][0].(map[string]any)["labels"].(map[string]string)
	require.NotContains(t, target, "machine")
	require.Equal(t, []string{"5s", "5s"}, []string{target["__scrape_interval__"], target["__scrape_timeout__"]})
	require.Equal(t, 4*time.Second, check.Timeout)
	check.Timeout = 100 * time.Millisecond
	c := New(Options{Logger: slog.New(slog.DiscardHandler)})
	c.Apply([]checks.Check{check}, "hub")
	w := httptest.NewRecorder()
	c.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics?module=x&from=hub", nil))
	require.Contains(t, w.Body.String(), `probe_success{machine="web1"} 0`)

	// Who hangs up before the end says nothing of the service.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = c.entry(key{"x", "hub"}).probe(ctx)
	require.NoError(t, err)
	require.Len(t, c.entry(key{"x", "hub"}).results, 1)
}

// Two failures of three are a failing check; the API says since when and why, and what the
// store knows of the past.
func TestStatesAndAPI(t *testing.T) {
	broken := false
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if broken {
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(site.Close)
	c := New(Options{Logger: slog.New(slog.DiscardHandler), Query: func(_ context.Context, expr string, _ time.Time) (promql.Vector, error) {
		if strings.Contains(expr, "[90d]") {
			return nil, nil
		}
		return promql.Vector{{Metric: labels.FromStrings("check", "site", "from", "hub"), F: 0.5}}, nil
	}})
	check, err := checks.Parse("site=" + site.URL)
	require.NoError(t, err)
	c.Apply([]checks.Check{check}, "hub")
	get := func() row {
		w := httptest.NewRecorder()
		c.APIHandler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
		var a struct{ Data struct{ Checks []row } }
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &a), w.Body)
		require.Len(t, a.Data.Checks, 1)
		return a.Data.Checks[0]
	}
	probe := func() {
		_, err := c.entry(key{"site", "hub"}).probe(t.Context())
		require.NoError(t, err)
	}
	r := get()
	require.Equal(t, "unknown", r.State)
	require.Equal(t, "hub", r.From)
	require.EqualValues(t, 0.5, *r.Uptime.Month)
	require.Nil(t, r.Uptime.Quarter)
	for _, step := range []struct {
		broken bool
		state  string
	}{{false, "ok"}, {true, "failed once"}, {true, "failing"}, {false, "failing"}, {false, "ok"}} {
		broken = step.broken
		probe()
		require.Equal(t, step.state, get().State)
	}
	require.Equal(t, "HTTP status 404", get().LastFailure.Why)
	require.Empty(t, get().LastFailure.Log)
	require.Empty(t, get().Why)

	// By hand, not more often than once a second; a reload keeps what is known.
	run := func(name string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		c.APIHandler().ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/"+name+"/run", nil))
		return w
	}
	require.Equal(t, http.StatusNotFound, run("other").Code)
	e := c.entry(key{"site", "hub"})
	before := e.last.At
	e.running = true
	require.Equal(t, http.StatusTooManyRequests, run("site").Code, "somebody else runs it")
	e.running = false
	w := run("site")
	require.GreaterOrEqual(t, e.last.At.Sub(before), minRunPause-10*time.Millisecond)
	require.False(t, e.running)
	require.Equal(t, http.StatusOK, w.Code, w.Body)
	require.Contains(t, w.Body.String(), `"ok":true`)
	require.Contains(t, w.Body.String(), "Resolved target address")
	c.Apply([]checks.Check{check}, "hub")
	require.Equal(t, "ok", get().State)
	check.Every = 30 * time.Second
	c.Apply([]checks.Check{check}, "hub")
	require.Equal(t, "unknown", get().State)
	c.Apply(nil, "hub")
	require.Nil(t, c.entry(key{"site", "hub"}))
}

// The exporter of another machine cannot say something of a third one.
func TestNoPlaceTakesAMachine(t *testing.T) {
	exporter := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"ok": true, "series": "probe_success{machine=\"victim\"} 0\n"}`)
	}))
	t.Cleanup(exporter.Close)
	c := New(Options{Logger: slog.New(slog.DiscardHandler), Exporter: func(string) (string, *http.Client, error) { return exporter.URL, exporter.Client(), nil }})
	check, err := checks.Section{URL: "tcp://localhost:1", From: []string{"web1"}}.Complete("port")
	require.NoError(t, err)
	c.Apply([]checks.Check{check}, "hub")
	w := httptest.NewRecorder()
	c.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics?module=port&from=web1", nil))
	require.Contains(t, w.Body.String(), "\nprobe_success 0\n")
	require.NotContains(t, w.Body.String(), "victim")
}

// A place is asked for what the check says; what it cannot do is no result of the check.
func TestPlaces(t *testing.T) {
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "welcome") }))
	t.Cleanup(site.Close)
	var respond atomic.Pointer[http.HandlerFunc]
	now := func(h http.HandlerFunc) { respond.Store(&h) }
	now(func(w http.ResponseWriter, r *http.Request) {
		check, err := checks.FromQuery(r.URL.Query())
		require.NoError(t, err)
		require.Equal(t, probe.Path, r.URL.Path)
		require.NoError(t, probe.Run(r.Context(), check, probe.Bounds{}).Encode(w))
	})
	exporter := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { (*respond.Load())(w, r) }))
	t.Cleanup(exporter.Close)
	c := New(Options{Logger: slog.New(slog.DiscardHandler), Exporter: func(machine string) (string, *http.Client, error) {
		if machine != "web1" {
			return "", nil, errors.New("no machine is called " + machine)
		}
		return exporter.URL + "/metrics", exporter.Client(), nil
	}})
	section := checks.Section{URL: site.URL, From: []string{"web1", "hub", "gone"}, Machine: "m"}
	section.Expect.Status, section.Expect.Body = []int{200, 204}, "wel+come"
	check, err := section.Complete("site")
	require.NoError(t, err)
	c.Apply([]checks.Check{check}, "hub")
	scrape := func(from string) (int, string) {
		w := httptest.NewRecorder()
		c.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics?module=site&from="+from, nil))
		return w.Code, w.Body.String()
	}
	places := func() map[string]place {
		all := make(map[string]place)
		for _, p := range c.rows(t.Context(), "site")[0].Places {
			all[p.From] = p
		}
		return all
	}
	for _, from := range []string{"web1", "hub"} {
		code, text := scrape(from)
		require.Equal(t, http.StatusOK, code, text)
		require.Contains(t, text, `probe_success{machine="m"} 1`)
		require.Contains(t, text, `clanmon_check_info{severity="warning",machine="m"} 1`)
		require.Equal(t, "ok", places()[from].State)
	}
	code, text := scrape("gone")
	require.Equal(t, http.StatusBadGateway, code)
	require.Equal(t, "no machine is called gone\n", text)
	require.Equal(t, []string{"not run", "no machine is called gone"}, []string{places()["gone"].State, places()["gone"].Why})
	row := c.rows(t.Context(), "")[0]
	require.Equal(t, []string{"not run", "gone"}, []string{row.State, row.From}, "the worst of the places")

	for want, handler := range map[string]http.HandlerFunc{
		"is not clanmon's": http.NotFound,
		"responds with HTTP status 403: no, never": func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "no, never\nmore", http.StatusForbidden)
		},
		"responds with HTTP status 302": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, site.URL, http.StatusFound) },
		"not a result of a check":       func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "# metrics") },
		"does not respond":              func(w http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) },
	} {
		now(handler)
		code, text := scrape("web1")
		require.Equal(t, http.StatusBadGateway, code)
		require.Contains(t, text, want)
		require.NotContains(t, text, "wel%2Bcome", "the query is long and known")
		require.Equal(t, "not run", places()["web1"].State)
	}
	now(func(w http.ResponseWriter, r *http.Request) {
		require.NoError(t, probe.Result{Why: "name not found", Log: "log"}.Encode(w))
	})
	scrape("web1")
	require.Equal(t, []string{"failed once", "name not found"}, []string{places()["web1"].State, places()["web1"].Why})
	require.Equal(t, "log", places()["web1"].LastFailure.Log)
	require.Equal(t, "failed once", c.rows(t.Context(), "")[0].State)

	w := httptest.NewRecorder()
	c.APIHandler().ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/site/run?from=gone", nil))
	require.Equal(t, http.StatusBadGateway, w.Code)
	require.Contains(t, w.Body.String(), "no machine is called gone")
	w = httptest.NewRecorder()
	c.APIHandler().ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/site/run?from=other", nil))
	require.Equal(t, http.StatusNotFound, w.Code)
}

// A restart of the server changes no state, and a state may be older than the server.
func TestStatesBeforeTheStart(t *testing.T) {
	now := time.Now().Truncate(time.Second)
	store := teststorage.New(t)
	write := func(metric, check, instance string, age time.Duration, values string, every time.Duration) {
		t.Helper()
		app := store.Appender(t.Context())
		ls := labels.FromStrings("__name__", metric, "check", check, "from", "hub", "instance", instance, "job", "blackbox")
		for i, v := range values {
			if v != ' ' { // a gap
				_, err := app.Append(0, ls, now.Add(-age+time.Duration(i)*every).UnixMilli(), float64(v-'0'))
				require.NoError(t, err)
			}
		}
		require.NoError(t, app.Commit())
	}
	const minute = time.Minute
	write(ratio, "old", "http://old", 5*time.Hour, "01111", time.Hour)
	write("probe_success", "old", "http://old", 50*minute, strings.Repeat("1", 50), minute)
	write("probe_success", "failing", "http://failing", 40*minute, strings.Repeat("1", 20)+"0000     0000000000000000", minute)
	write("probe_success", "quiet", "http://quiet", 3*time.Hour, "000", minute)
	write("probe_success", "changed", "http://before", 10*minute, "0000000000", minute)
	var all []checks.Check
	for _, name := range []string{"old", "failing", "quiet", "changed", "new"} {
		check, err := checks.Parse(name + "=http://" + name)
		require.NoError(t, err)
		all = append(all, check)
	}
	c := New(Options{Logger: slog.New(slog.DiscardHandler), Store: func() storage.Queryable { return store }})
	c.Apply(all, "hub")
	since := func(name string) (string, time.Duration) {
		r := c.rows(t.Context(), name)[0]
		at, err := time.Parse(time.RFC3339, r.Since)
		if err != nil {
			return r.State, 0
		}
		return r.State, now.Sub(at)
	}
	for name, want := range map[string]struct {
		state string
		ago   time.Duration
	}{
		"old":     {"ok", 5 * time.Hour},    // from the start of the first good hour
		"failing": {"failing", 19 * minute}, // the second failure, before a gap
		"quiet":   {"unknown", 0},
		"changed": {"unknown", 0},
		"new":     {"unknown", 0},
	} {
		state, ago := since(name)
		require.Equal(t, want.state, state, name)
		require.InDelta(t, want.ago.Seconds(), ago.Seconds(), 2, name)
	}
	// The first probe since then goes on from there.
	e := c.entry(key{"failing", "hub"})
	e.keep(probe.Result{At: time.Now(), OK: true}, nil)
	state, ago := since("failing")
	require.Equal(t, "failing", state)
	require.InDelta(t, (19 * minute).Seconds(), ago.Seconds(), 2)
	e.keep(probe.Result{At: time.Now(), OK: true}, nil)
	state, ago = since("failing")
	require.Equal(t, "ok", state)
	require.Less(t, ago, minute)
}

// Many checks, some of which hang, leave nothing behind but their last results.
func TestManyChecks(t *testing.T) {
	site := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 50_000)) }))
	site.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	t.Cleanup(site.Close)
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { silent.Close() })
	const many = 50
	var all []checks.Check
	for i := range many {
		u := site.URL
		if i%10 == 0 {
			u = "http://" + silent.Addr().String() // with TLS the transport gives up after 10 s
		}
		check, err := checks.Parse(fmt.Sprintf("c%d=%s/%d", i, u, i))
		require.NoError(t, err)
		check.Timeout = 300 * time.Millisecond
		all = append(all, check)
	}
	c := New(Options{Logger: slog.New(slog.DiscardHandler)})
	c.Apply(all, "hub")
	handler := c.Handler()
	round := func() {
		var wg sync.WaitGroup
		for i := range many {
			wg.Go(func() {
				handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, fmt.Sprintf("/metrics?module=c%d&from=hub", i), nil))
			})
		}
		wg.Wait()
	}
	memory := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	round()
	goroutines, heap := runtime.NumGoroutine(), memory()
	for range 3 {
		round()
	}
	require.Eventually(t, func() bool { return runtime.NumGoroutine() <= goroutines+10 }, time.Minute, 10*time.Millisecond)
	require.Less(t, memory(), heap+many*20_000, "a log of a failure is kept for each, and not more")
}
