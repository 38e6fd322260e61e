package exporter

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/clanmon/clanmon/exporter/collector"
	"github.com/clanmon/clanmon/exporter/node"
	"github.com/clanmon/clanmon/internal/testport"
)

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// anyPort lets the kinds listen on whatever port is free.
func anyPort() map[string][]string {
	return map[string][]string{"node": {"127.0.0.1:0"}, "systemd": {"127.0.0.1:0"}}
}

// running is an Exporter that runs until stop or the end of the test.
type running struct {
	*Exporter
	stop func()
}

func start(t *testing.T, o Options) *running {
	t.Helper()
	if o.Listen == nil {
		o.Listen = anyPort()
	}
	if o.Logger == nil {
		o.Logger = quiet()
	}
	ready := make(chan struct{})
	o.Started = func() { close(ready) }
	e, err := New(o)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		require.NoError(t, <-ended)
	})
	t.Cleanup(stop)
	<-ready
	return &running{e, stop}
}

// client dials addr whatever the URL's host is, and keeps no connection.
func client(addr net.Addr) *http.Client {
	return &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, addr.Network(), addr.String())
		},
	}}
}

func (r *running) get(t *testing.T, kind, pathAndQuery string) (int, string) {
	t.Helper()
	resp, err := client(r.Addr(kind)).Get("http://exporter" + pathAndQuery)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, string(body)
}

func (r *running) metrics(t *testing.T, kind, query string) map[string]*dto.MetricFamily {
	t.Helper()
	code, body := r.get(t, kind, "/metrics"+query)
	require.Equal(t, http.StatusOK, code, body)
	p := expfmt.NewTextParser(model.UTF8Validation)
	families, err := p.TextToMetricFamilies(strings.NewReader(body))
	require.NoError(t, err)
	return families
}

func names(families map[string]*dto.MetricFamily, prefix string) []string {
	var out []string
	for n := range families {
		if strings.HasPrefix(n, prefix) {
			out = append(out, n)
		}
	}
	slices.Sort(out)
	return out
}

func labels(m *dto.Metric) map[string]string {
	out := map[string]string{}
	for _, l := range m.Label {
		out[l.GetName()] = l.GetValue()
	}
	return out
}

func TestEachKindHasItsPort(t *testing.T) {
	r := start(t, Options{Version: "1.2.3", Commit: "abc", ModuleVersion: func(m string) string { return "v of " + m }})
	machine, units := r.metrics(t, "node", ""), r.metrics(t, "systemd", "")

	require.Contains(t, machine, "node_memory_MemTotal_bytes")
	require.Contains(t, machine, "node_scrape_collector_success")
	require.Empty(t, names(machine, "systemd_"))
	require.Empty(t, names(units, "node_"))
	var collectors []string
	for _, m := range units["clanmon_exporter_collector_success"].Metric {
		collectors = append(collectors, labels(m)["collector"])
	}
	require.ElementsMatch(t, []string{"resources", "systemd"}, collectors)

	// Metrics of the process: those that each upstream exporter has.
	handler := []string{"promhttp_metric_handler_requests_in_flight", "promhttp_metric_handler_requests_total"}
	require.Equal(t, handler, names(units, "promhttp_"))
	require.Equal(t, append([]string{"promhttp_metric_handler_errors_total"}, handler...), names(machine, "promhttp_"))
	require.NotEmpty(t, names(machine, "process_"))
	require.NotEmpty(t, names(machine, "go_"))
	require.Empty(t, names(units, "process_"))
	require.Empty(t, names(units, "go_"))

	require.Equal(t, "v of github.com/prometheus/node_exporter", labels(machine["node_exporter_build_info"].Metric[0])["version"])
	info := units["systemd_exporter_build_info"]
	require.Equal(t, "v of github.com/prometheus-community/systemd_exporter", labels(info.Metric[0])["version"])
	for _, l := range []string{"version", "revision", "branch", "goversion", "goos", "goarch", "tags"} {
		require.Contains(t, labels(info.Metric[0]), l)
	}
	require.Equal(t, map[string]string{"version": "1.2.3", "commit": "abc", "role": "exporter"}, labels(machine["clanmon_build_info"].Metric[0]))
}

func TestEachKindCountsItsOwnScrapes(t *testing.T) {
	r := start(t, Options{})
	for range 3 {
		r.metrics(t, "node", "?collect[]=cpu")
	}
	scrapes := func(kind string) (n float64) {
		for _, m := range r.metrics(t, kind, "?collect[]=cpu")["promhttp_metric_handler_requests_total"].Metric {
			n += m.Counter.GetValue()
		}
		return n
	}
	require.Equal(t, 3.0, scrapes("node"))
	require.Equal(t, 0.0, scrapes("systemd"))
}

func TestWithoutExporterMetrics(t *testing.T) {
	r := start(t, Options{DisableExporterMetrics: true})
	for _, kind := range DefaultKinds() {
		f := r.metrics(t, kind, "")
		for _, prefix := range []string{"go_", "process_", "promhttp_"} {
			require.Empty(t, names(f, prefix))
		}
		require.NotEmpty(t, f)
	}
}

func TestCollectAndExclude(t *testing.T) {
	r := start(t, Options{Config: Config{Node: node.Config{NoFacts: true}}})
	collectors := func(query string) []string {
		var got []string
		for _, m := range r.metrics(t, "node", query)["node_scrape_collector_success"].Metric {
			got = append(got, labels(m)["collector"])
		}
		slices.Sort(got)
		return got
	}
	all := collectors("")
	require.Greater(t, len(all), 20)
	require.Equal(t, []string{"loadavg", "meminfo"}, collectors("?collect[]=meminfo&collect[]=loadavg&collect[]=meminfo"))
	require.Equal(t, slices.DeleteFunc(slices.Clone(all), func(n string) bool { return n == "cpu" || n == "meminfo" }),
		collectors("?exclude[]=cpu&exclude[]=meminfo&exclude[]=unknown"))
	everything := url.Values{"exclude[]": all}
	require.Equal(t, all, collectors("?"+everything.Encode()), "upstream: nothing left means no choice")

	for query, want := range map[string]string{
		"?collect[]=cpu&exclude[]=meminfo": "Combined collect and exclude queries are not allowed.",
		"?collect[]=cpu&collect[]=nope":    "Couldn't create filtered metrics handler: couldn't create collector: missing collector: nope",
		"?collect[]=ntp":                   "Couldn't create filtered metrics handler: couldn't create collector: disabled collector: ntp",
	} {
		code, body := r.get(t, "node", "/metrics"+query)
		require.Equal(t, http.StatusBadRequest, code)
		require.Equal(t, want, body)
	}
	code, _ := r.get(t, "systemd", "/metrics?collect[]=cpu&exclude[]=x")
	require.Equal(t, http.StatusOK, code, "systemd_exporter has no such parameters")
}

func TestPages(t *testing.T) {
	r := start(t, Options{TelemetryPath: "/m"})
	for kind, title := range map[string]string{"node": "Node Exporter", "systemd": "systemd Exporter"} {
		code, body := r.get(t, kind, "/")
		require.Equal(t, http.StatusOK, code)
		require.Contains(t, body, title)
		require.Contains(t, body, `<a href="/m">Metrics</a>`)
		code, body = r.get(t, kind, "/m")
		require.Equal(t, http.StatusOK, code)
		require.Contains(t, body, "# HELP")
		code, _ = r.get(t, kind, "/metrics")
		require.Equal(t, http.StatusNotFound, code)
		code, _ = r.get(t, kind, "/debug/pprof/")
		require.Equal(t, http.StatusNotFound, code, "nothing of http.DefaultServeMux")
	}
	r = start(t, Options{TelemetryPath: "/"})
	_, body := r.get(t, "node", "/")
	require.Contains(t, body, "# HELP")
}

func TestKinds(t *testing.T) {
	r := start(t, Options{Kinds: []string{"systemd"}})
	require.Nil(t, r.Addr("node"))
	require.NotNil(t, r.Addr("systemd"))

	_, err := New(Options{Kinds: []string{"node", "sytemd"}, Logger: quiet()})
	var unknown *UnknownError
	require.ErrorAs(t, err, &unknown)
	require.Equal(t, UnknownError{What: "exporter", Got: "sytemd", Known: kindNames()}, *unknown)

	_, err = New(Options{Config: Config{Node: node.Config{Collectors: []string{"cpuu"}}}, Logger: quiet()})
	require.ErrorAs(t, err, &unknown)
	require.Equal(t, "collector", unknown.What)
	require.Equal(t, "cpuu", unknown.Got)

	_, err = New(Options{Kinds: []string{"node", "node"}, Logger: quiet()})
	require.ErrorContains(t, err, "twice")
}

func TestListenAddresses(t *testing.T) {
	dir := t.TempDir()
	t.Run("several, IPv6 and unix", func(t *testing.T) {
		sock := filepath.Join(dir, "n.sock")
		r := start(t, Options{Kinds: []string{"node"}, Listen: map[string][]string{"node": {"[::1]:0", "127.0.0.1:0", "unix:" + sock}}})
		require.Len(t, r.servers[0].listeners, 3)
		require.True(t, r.Addr("node").(*net.TCPAddr).IP.IsLoopback())
		for _, l := range r.servers[0].listeners {
			resp, err := client(l.Addr()).Get("http://exporter/metrics?collect[]=loadavg")
			require.NoError(t, err)
			resp.Body.Close()
			require.Equal(t, http.StatusOK, resp.StatusCode, l.Addr())
		}
		r.stop()
		_, err := os.Lstat(sock)
		require.ErrorIs(t, err, os.ErrNotExist, "the socket goes with the exporter")
	})
	t.Run("left behind by a killed process", func(t *testing.T) {
		sock := filepath.Join(dir, "dead.sock")
		l, err := net.Listen("unix", sock)
		require.NoError(t, err)
		l.(*net.UnixListener).SetUnlinkOnClose(false)
		l.Close()
		r := start(t, Options{Kinds: []string{"node"}, Listen: map[string][]string{"node": {"unix://" + sock}}})
		require.Equal(t, sock, r.Addr("node").String())
	})
	t.Run("in use", func(t *testing.T) {
		sock := filepath.Join(dir, "live.sock")
		u, err := net.Listen("unix", sock)
		require.NoError(t, err)
		defer u.Close()
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer l.Close()
		for _, address := range []string{l.Addr().String(), "unix:" + sock} {
			free := testport.Address(t)
			_, err = New(Options{Logger: quiet(), Listen: map[string][]string{"node": {free}, "systemd": {address}}})
			require.ErrorContains(t, err, "exporter systemd")
			require.ErrorContains(t, err, address)
			again, err := net.Listen("tcp", free)
			require.NoError(t, err, "the other kind's listener was closed")
			again.Close()
		}
	})
	t.Run("wrong", func(t *testing.T) {
		notASocket := filepath.Join(dir, "file")
		require.NoError(t, os.WriteFile(notASocket, []byte("precious"), 0o600))
		for _, address := range []string{"localhost", "127.0.0.1:99999", "vsock://", "vsock://:x", "unix:" + notASocket} {
			_, err := New(Options{Kinds: []string{"node"}, Logger: quiet(), Listen: map[string][]string{"node": {address}}})
			require.ErrorContains(t, err, "listen address")
			require.ErrorContains(t, err, address)
		}
		text, err := os.ReadFile(notASocket)
		require.NoError(t, err)
		require.Equal(t, "precious", string(text))
	})
}

// portOf changes the usual port of a kind to one that is free, for this test.
func portOf(t *testing.T, kind string) int {
	t.Helper()
	port := testport.Port(t)
	i := slices.IndexFunc(kinds, func(k Kind) bool { return k.Name == kind })
	before := kinds[i].Port
	kinds[i].Port = port
	t.Cleanup(func() { kinds[i].Port = before })
	return port
}

// Who binds the exporter to one address does not get a second port on all.
func TestOtherKindsListenOnTheHostsOfTheFirst(t *testing.T) {
	port := portOf(t, "systemd")
	addresses := func(r *running) []string {
		var found []string
		for _, l := range r.servers[1].listeners {
			found = append(found, l.Addr().String())
		}
		return found
	}
	r := start(t, Options{Listen: map[string][]string{"node": {"127.0.0.1:0", "[::1]:0", "127.0.0.1:0", "unix:" + filepath.Join(t.TempDir(), "s")}}})
	require.Equal(t, []string{fmt.Sprintf("127.0.0.1:%d", port), fmt.Sprintf("[::1]:%d", port)}, addresses(r))
	r.stop()
	r = start(t, Options{Listen: map[string][]string{"node": {":0"}}})
	require.Equal(t, []string{fmt.Sprintf("[::]:%d", port)}, addresses(r))
	r.stop()

	own := testport.Address(t)
	r = start(t, Options{Listen: map[string][]string{"node": {"[::1]:0"}, "systemd": {own}}})
	require.Equal(t, []string{own}, addresses(r))
}

func TestAKindThatNobodyNamedCostsOnlyItself(t *testing.T) {
	port := portOf(t, "systemd")
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	require.NoError(t, err)
	defer l.Close()
	for name, node := range map[string]string{
		"its port is taken":           "127.0.0.1:0",
		"the first has no host":       "unix:" + filepath.Join(t.TempDir(), "s"),
		"the first is not of the net": "unix://" + filepath.Join(t.TempDir(), "s"),
	} {
		t.Run(name, func(t *testing.T) {
			o := Options{Listen: map[string][]string{"node": {node}}, Optional: []string{"systemd"}}
			var log syncBuffer
			o.Logger = slog.New(slog.NewTextHandler(&log, nil))
			r := start(t, o)
			require.Equal(t, []string{"node"}, r.Kinds())
			require.Nil(t, r.Addr("systemd"))
			code, _ := r.get(t, "node", "/metrics?collect[]=loadavg")
			require.Equal(t, http.StatusOK, code)
			require.Equal(t, 1, strings.Count(log.String(), `level=WARN msg="Exporter is left out" kind=systemd`), log.String())
			r.stop()

			o.Optional, o.Logger = nil, quiet()
			_, err := New(o)
			require.ErrorContains(t, err, "exporter systemd", "it was named")
		})
	}
	taken := l.Addr().String()
	_, err = New(Options{Logger: quiet(), Listen: map[string][]string{"node": {taken}, "systemd": {testport.Address(t)}}, Optional: []string{"node", "systemd"}})
	require.ErrorContains(t, err, "exporter node", "without the first kind there is no exporter")
}

func TestBasicAuth(t *testing.T) {
	file := filepath.Join(t.TempDir(), "web.yml")
	require.NoError(t, os.WriteFile(file, []byte("basic_auth_users: {alibaba: $2a$04$q03A7GdF7CBcnrfHG6BpJ.ENOUv0ekJG9k2fHSnROR/VojI9n4lqC}\n"), 0o600))
	r := start(t, Options{WebConfigFile: file})
	for _, kind := range DefaultKinds() {
		for password, want := range map[string]int{"": http.StatusUnauthorized, "open wheat": http.StatusUnauthorized, "open sesame": http.StatusOK} {
			req, err := http.NewRequest(http.MethodGet, "http://exporter/metrics?collect[]=loadavg", nil)
			require.NoError(t, err)
			if password != "" {
				req.SetBasicAuth("alibaba", password)
			}
			resp, err := client(r.Addr(kind)).Do(req)
			require.NoError(t, err)
			resp.Body.Close()
			require.Equal(t, want, resp.StatusCode, "%s with %q", kind, password)
		}
	}
}

func TestWebConfigIsCheckedBeforeAnythingListens(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "web.yml")
	for _, text := range []string{"basic_auth_users: {x: plain}", "tls_server_confg: {}", "tls_server_config: {cert_file: none.pem, key_file: none.key}", "{"} {
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		_, err := New(Options{WebConfigFile: file, Listen: anyPort(), Logger: quiet()})
		require.ErrorContains(t, err, file, text)
	}
	_, err := New(Options{WebConfigFile: filepath.Join(dir, "none.yml"), Listen: anyPort(), Logger: quiet()})
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestTwoExportersInOneProcess(t *testing.T) {
	a, b := start(t, Options{}), start(t, Options{DisableExporterMetrics: true})
	require.NotEqual(t, a.Addr("node").String(), b.Addr("node").String())
	var wg sync.WaitGroup
	for range 4 {
		for _, r := range []*running{a, b} {
			wg.Go(func() {
				code, body := r.get(t, "node", "/metrics")
				if code != http.StatusOK || strings.Contains(body, `node_scrape_collector_success{collector="meminfo"} 0`) {
					t.Errorf("code %d", code)
				}
			})
		}
	}
	wg.Wait()
	a.stop()
	require.Contains(t, b.metrics(t, "node", ""), "node_memory_MemTotal_bytes", "the other one lives on")

	// Upstream's flags are the process's.
	_, err := New(Options{Listen: anyPort(), Logger: quiet(), UpstreamArgs: []string{"--no-collector.cpu"}})
	require.ErrorContains(t, err, "--no-collector.cpu")
}

func TestHandlers(t *testing.T) {
	handlers, err := Handlers(Options{Logger: quiet(), DisableExporterMetrics: true})
	require.NoError(t, err)
	require.Len(t, handlers, 2)
	for kind, want := range map[string]string{"node": "node_memory_MemTotal_bytes ", "systemd": "clanmon_exporter_collector_success"} {
		w := httptest.NewRecorder()
		handlers[kind].ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
		require.Equal(t, http.StatusOK, w.Code)
		require.Contains(t, w.Body.String(), want)
	}
}

func TestStopLeavesNothingBehind(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	var log syncBuffer
	stopping := 0
	own := func() map[string][]string { // which nobody else takes when the exporter has stopped
		return map[string][]string{"node": {testport.Address(t)}, "systemd": {testport.Address(t)}}
	}
	r := start(t, Options{Listen: own(), Logger: slog.New(slog.NewTextHandler(&log, nil)), Stopping: func() { stopping++ }})
	r.metrics(t, "node", "")
	r.metrics(t, "systemd", "")
	idle, err := net.Dial("tcp", r.Addr("node").String())
	require.NoError(t, err)
	defer idle.Close()
	addr := r.Addr("node").String()
	r.stop()
	require.Equal(t, 1, stopping)
	_, err = net.Dial("tcp", addr)
	require.Error(t, err)
	require.NotContains(t, log.String(), "level=ERROR source=")

	e, err := New(Options{Listen: own(), Logger: quiet()})
	require.NoError(t, err)
	require.NoError(t, e.Close())
	_, err = net.Dial("tcp", e.Addr("node").String())
	require.Error(t, err)
}

// An exporter that stops before it served anything stops as well.
func TestStopAtOnce(t *testing.T) {
	e, err := New(Options{Listen: anyPort(), Logger: quiet()})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	require.NoError(t, e.Run(ctx))
}

func TestFailedListenerEndsTheExporter(t *testing.T) {
	e, err := New(Options{Listen: anyPort(), Logger: quiet()})
	require.NoError(t, err)
	e.servers[1].listeners[0].Close()
	require.ErrorContains(t, e.Run(t.Context()), "exporter systemd")
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func TestScrapeTimeout(t *testing.T) {
	for header, want := range map[string]time.Duration{
		"10":     9500 * time.Millisecond,
		"1":      750 * time.Millisecond,
		"0.4":    300 * time.Millisecond,
		"2.5e1":  24500 * time.Millisecond,
		"":       30 * time.Second,
		"0":      30 * time.Second,
		"-3":     30 * time.Second,
		"soon":   30 * time.Second,
		"NaN":    30 * time.Second,
		"Inf":    30 * time.Second,
		"1e300":  30 * time.Second,
		"100000": 30 * time.Second,
	} {
		r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
		r.Header.Set("X-Prometheus-Scrape-Timeout-Seconds", header)
		require.Equal(t, want, scrapeTimeout(r), "%q", header)
	}
}

// blocked is a collector that waits for its channel to be closed.
type blocked chan struct{}

func (b blocked) Collect(_ context.Context, ch chan<- prometheus.Metric) error {
	<-b
	ch <- prometheus.MustNewConstMetric(prometheus.NewDesc("blocked", "Help.", nil, nil), prometheus.GaugeValue, 1)
	return nil
}
func (blocked) Close() error { return nil }

// handlerOf serves one collector beside one that works.
func handlerOf(o Options, c collector.Collector) http.Handler {
	free := make(blocked)
	close(free)
	o.ModuleVersion = func(string) string { return "" }
	set := collector.NewSet(map[string]collector.Collector{"x": c, "free": free}, quiet(), collector.Report)
	h, _ := newMetricsHandler(o, Kind{Name: "test", Upstream: "test"}, set, quiet())
	return h
}

func TestTheScrapersTimeoutBoundsAHangingCollector(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(blocked)
		defer close(release)
		h := handlerOf(Options{}, release)
		for header, want := range map[string]time.Duration{"4": 3500 * time.Millisecond} {
			begin := time.Now()
			r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
			r.Header.Set("X-Prometheus-Scrape-Timeout-Seconds", header)
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			require.Equal(t, want, time.Since(begin))
			require.Equal(t, http.StatusOK, w.Code)
			require.Contains(t, w.Body.String(), `clanmon_exporter_collector_success{collector="x"} 0`)
			require.Contains(t, w.Body.String(), `clanmon_exporter_collector_success{collector="free"} 1`)
			require.Contains(t, w.Body.String(), "\nblocked 1\n", "of the one that works")
		}
	})
}

func TestMaxRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(blocked)
		h := handlerOf(Options{MaxRequests: 2}, release)
		serve := func() *httptest.ResponseRecorder {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
			return w
		}
		var wg sync.WaitGroup
		codes := make([]int, 2)
		for i := range codes {
			wg.Go(func() { codes[i] = serve().Code })
		}
		synctest.Wait()
		w := serve()
		require.Equal(t, http.StatusServiceUnavailable, w.Code)
		require.Equal(t, "Limit of concurrent requests reached (2), try again later.\n", w.Body.String())
		close(release)
		wg.Wait()
		require.Equal(t, []int{200, 200}, codes)
		w = serve()
		require.Equal(t, http.StatusOK, w.Code)
		require.Contains(t, w.Body.String(), `promhttp_metric_handler_requests_total{code="503"} 1`)
	})
}

// twice finds the same metric two times, as two text files can.
type twice struct{}

func (twice) Collect(_ context.Context, ch chan<- prometheus.Metric) error {
	for range 2 {
		ch <- prometheus.MustNewConstMetric(prometheus.NewDesc("twice", "Help.", nil, nil), prometheus.GaugeValue, 1)
	}
	return nil
}
func (twice) Close() error { return nil }

func TestContradictingMetricsCostOnlyThemselvesAndOneLine(t *testing.T) {
	var log bytes.Buffer
	set := collector.NewSet(map[string]collector.Collector{"x": twice{}}, quiet(), collector.Report)
	h, _ := newMetricsHandler(Options{ModuleVersion: func(string) string { return "" }}, Kind{Upstream: "test"}, set, slog.New(slog.NewTextHandler(&log, nil)))
	for range 3 {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
		require.Equal(t, http.StatusOK, w.Code)
		require.Contains(t, w.Body.String(), "test_build_info")
	}
	require.Equal(t, 1, strings.Count(log.String(), "\n"), log.String())
	require.Contains(t, log.String(), "twice")
}

// A stop waits for the scrapes under way, but not for ever.
func TestStopDrains(t *testing.T) {
	release, entered := make(chan struct{}), make(chan struct{})
	e, err := New(Options{Kinds: []string{"node"}, Listen: anyPort(), Logger: quiet()})
	require.NoError(t, err)
	e.servers[0].page = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(entered)
		<-release
		fmt.Fprint(w, "complete")
	})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	body := make(chan string, 1)
	go func() {
		resp, err := client(e.Addr("node")).Get("http://exporter/")
		if err != nil {
			body <- err.Error()
			return
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		body <- string(b)
	}()
	<-entered
	cancel()
	// Once the listener is gone the stop is under way.
	for {
		c, err := net.Dial("tcp", e.Addr("node").String())
		if err != nil {
			break
		}
		c.Close()
	}
	close(release)
	require.Equal(t, "complete", <-body)
	require.NoError(t, <-ended)
}

func TestWordsAndCollectors(t *testing.T) {
	require.Equal(t, []string{"meminfo"}, CollectorWords()["memory"])
	defaults := map[string]bool{}
	for _, c := range Collectors() {
		defaults[c.Name] = c.Default
	}
	require.True(t, defaults["cpu"])
	require.False(t, defaults["systemd"], "the kind systemd has its own")
	require.Contains(t, defaults, "systemd")
}
