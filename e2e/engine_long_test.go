//go:build long

package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	neturl "net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/prompb"
	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/e2e/harness"
	"github.com/clanmon/clanmon/e2e/oracle"
)

// buildModule builds a program outside of our module, with its own dependencies.
func buildModule(t *testing.T, module, program string) string {
	t.Helper()
	dir := t.TempDir()
	download := exec.Command("go", "mod", "download", "-json", module)
	download.Dir = dir
	text, err := download.Output()
	require.NoError(t, err, "%s", text)
	var found struct{ Dir string }
	require.NoError(t, json.Unmarshal(text, &found))
	source, path := filepath.Join(dir, "src"), filepath.Join(dir, filepath.Base(program))
	require.NoError(t, os.CopyFS(source, os.DirFS(found.Dir)))
	build := exec.Command("go", "build", "-mod=mod", "-o", path, program)
	build.Dir, build.Env = source, append(os.Environ(), "CGO_ENABLED=0")
	text, err = build.CombinedOutput()
	require.NoError(t, err, "%s", text)
	return path
}

// VictoriaMetrics as the engine: no step is missing, no series has another name, and
// values differ by no more than docs/scale.md says.
func TestHistoryOfVictoriaMetrics(t *testing.T) {
	t.Parallel()
	h := newMonth()
	listen := harness.Address(t)
	harness.Start(t, harness.Command{Path: buildModule(t, "github.com/VictoriaMetrics/VictoriaMetrics@v1.150.0", "./app/victoria-metrics"), Dir: t.TempDir(), Args: []string{
		"-storageDataPath=data", "-retentionPeriod=10y", "-httpListenAddr=" + listen,
	}})
	var lines strings.Builder
	for _, line := range strings.Split(h.text(h.from, `,site="home"`), "\n") {
		if f := strings.Fields(line); len(f) == 3 && f[0] != "#" {
			fmt.Fprintf(&lines, "%s %s %s000\n", f[0], f[1], f[2])
		}
	}
	harness.Eventually(t, harness.Patience, func() error {
		r, err := http.Post("http://"+listen+"/api/v1/import/prometheus", "text/plain", strings.NewReader(lines.String()))
		if err != nil {
			return err
		}
		defer r.Body.Close()
		if r.StatusCode != http.StatusNoContent {
			return fmt.Errorf("%s", r.Status)
		}
		return nil
	})
	whole := harness.StartServer(t, harness.ServerOptions{
		Path: oracle.Path(t, "prometheus"), Config: "global: {}\n", Data: h.blocks(t, h.from, ""),
		Args: []string{"--storage.tsdb.retention.time=10y"},
	})
	s := harness.StartServer(t, harness.ServerOptions{
		Config: "global: {}\n", Data: h.blocks(t, h.young, ""),
		Args: []string{"--query.url=http://" + listen, "--query.dialect=victoriametrics", "--external-label=site=home"},
	})
	for query, tolerance := range map[string]float64{
		"requests_total": 0, "requests_total offset 1d": 0, "avg_over_time(requests_total[1h])": 0, "max_over_time(requests_total[1h])": 0,
		"quantile_over_time(0.9, requests_total[1h])": 1e-9, "deriv(requests_total[1h])": 1e-6, "topk(1, requests_total)": 0,
		"rate(requests_total[1h])": 0.02, "sum(increase(requests_total[1d]))": 0.02, "count by (path) (requests_total)": 0, "absent(requests_total)": 0,
	} {
		harness.Eventually(t, harness.Patience, func() error { // what was imported is found a little later
			want, got := h.ask(t, whole, query, 3600), h.ask(t, s, query, 3600)
			require.Empty(t, got.Warnings, query)
			a, b := want.points(t, h.from+2*24*3600), got.points(t, h.from+2*24*3600) // windows are full then
			for at, v := range a {
				w, ok := b[at]
				if !ok {
					return fmt.Errorf("%s: nothing at %s", query, at)
				}
				if math.Abs(v-w) > tolerance*math.Abs(v) {
					return fmt.Errorf("%s: %v instead of %v at %s", query, w, v, at)
				}
			}
			if len(b) != len(a) {
				return fmt.Errorf("%s: %d points instead of %d", query, len(b), len(a))
			}
			return nil
		})
	}
}

// Mimir 3.0.5 as the engine and the receiver: all steps are those of a Prometheus that has everything,
// and what the server scrapes arrives once, with its times and values.
func TestHistoryOfMimir(t *testing.T) {
	t.Parallel()
	h := newMonth()
	dir := t.TempDir()
	_, grpc, err := net.SplitHostPort(harness.Address(t))
	require.NoError(t, err)
	listen := harness.Address(t)
	_, port, err := net.SplitHostPort(listen)
	require.NoError(t, err)
	url := "http://" + listen
	config := fmt.Sprintf(`
multitenancy_enabled: false
usage_stats: {enabled: false}
server: {http_listen_address: 127.0.0.1, http_listen_port: %s, grpc_listen_address: 127.0.0.1, grpc_listen_port: %s}
memberlist: {bind_addr: [127.0.0.1], bind_port: %d}
blocks_storage:
  backend: filesystem
  filesystem: {dir: blocks}
  bucket_store: {sync_dir: sync}
  tsdb: {dir: tsdb, head_compaction_interval: 15m}
compactor: {data_dir: compactor, sharding_ring: {instance_addr: 127.0.0.1}}
distributor: {ring: {instance_addr: 127.0.0.1}}
ingester: {ring: {instance_addr: 127.0.0.1, replication_factor: 1}}
store_gateway: {sharding_ring: {instance_addr: 127.0.0.1, replication_factor: 1}}
ruler: {rule_path: rules-tmp, ring: {instance_addr: 127.0.0.1}}
ruler_storage: {backend: filesystem, filesystem: {dir: rules}}
frontend: {address: 127.0.0.1}
querier: {query_store_after: 0s}
limits: {query_ingesters_within: 0s, out_of_order_time_window: 60d, compactor_blocks_retention_period: 0s}
`, port, grpc, harness.Port(t))
	mimir := harness.Start(t, harness.Command{
		Path: buildModule(t, "github.com/grafana/mimir@v1.3.1-0.20260423142704-aced80d74930", "./cmd/mimir"), // its VERSION is 3.0.5
		Dir:  dir, Args: []string{"-config.file=" + harness.WriteFile(t, dir, "mimir.yml", config)},
	})
	for n := range 2 {
		var samples []prompb.Sample
		for at := h.from; at <= h.to; at += 240 {
			samples = append(samples, prompb.Sample{Timestamp: at * 1000, Value: float64(1e6 + (at-h.from)*int64(n+1))})
		}
		series := harness.Series(samples, "requests_total", "path", fmt.Sprintf("/%d", n), "site", "home")
		harness.Eventually(t, 2*harness.Patience, func() error {
			require.False(t, mimir.Exited(), "Mimir ended")
			req, err := harness.RemoteWrite(url, series)
			require.NoError(t, err)
			req.URL.Path = "/api/v1/push"
			r, err := http.DefaultClient.Do(req)
			if err != nil {
				return err
			}
			defer r.Body.Close()
			text, _ := io.ReadAll(r.Body)
			if r.StatusCode != http.StatusOK {
				return fmt.Errorf("%s: %s", r.Status, text)
			}
			return nil
		})
	}
	whole := harness.StartServer(t, harness.ServerOptions{
		Path: oracle.Path(t, "prometheus"), Config: "global: {}\n", Data: h.blocks(t, h.from, ""),
		Args: []string{"--storage.tsdb.retention.time=10y"},
	})
	target := harness.NewChangingTarget(t, func(n int) string {
		return fmt.Sprintf("# TYPE scrapes counter\nscrapes_total %d\n# TYPE size histogram\nsize_bucket{le=\"1\"} %d\nsize_bucket{le=\"+Inf\"} %d\nsize_sum %g\nsize_count %d\n", n, n, 2*n, 1.3*float64(n), 2*n)
	})
	s := harness.StartServer(t, harness.ServerOptions{
		Config: fmt.Sprintf("global: {scrape_interval: 1s}\nscrape_configs: [{job_name: x, static_configs: [{targets: [%q]}]}]\n", target.Host()),
		Data:   h.blocks(t, h.young, ""),
		Args: []string{
			"--query.url=" + url + "/prometheus", "--query.dialect=mimir", "--external-label=site=home", "--remote-write=" + url + "/api/v1/push",
		},
	})
	total := 0
	for _, query := range mimirQueries {
		for _, step := range []int64{3600, 0} {
			want, got := h.ask(t, whole, query, step), h.ask(t, s, query, step)
			require.Empty(t, got.Warnings, query)
			require.Equal(t, want.points(t, 0), got.points(t, 0), "%s every %d s", query, step)
			total += len(want.points(t, 0))
		}
	}
	t.Logf("%d expressions, %d points: 0 different", len(mimirQueries), total)

	// What was scraped is in both. Mimir may have it a little later.
	const live = `{job="x",site=~"home|"}[30m]`
	harness.Eventually(t, 2*harness.Patience, func() error {
		want, err := rawSamples(t, s.URL+"/api/v1/query?query="+neturl.QueryEscape(live))
		if err != nil {
			return err
		}
		last, scrapes := time.Now().Add(-10*time.Second).UnixMilli(), 0
		got, err := rawSamples(t, url+"/prometheus/api/v1/query?query="+neturl.QueryEscape(live))
		if err != nil {
			return err
		}
		for name, samples := range want {
			for at, v := range samples {
				if at > last {
					continue
				}
				if w, ok := got[name][at]; !ok || w != v {
					return fmt.Errorf("%s at %d: %q instead of %q", name, at, w, v)
				}
				scrapes++
			}
		}
		if scrapes < 300 {
			return fmt.Errorf("%d samples", scrapes)
		}
		t.Logf("%d samples: all arrived, equal", scrapes)
		return nil
	})
}

// mimirQueries are of the kinds that the pages use.
var mimirQueries = []string{
	"requests_total", "requests_total offset 1d", "requests_total @ end()", "rate(requests_total[5m])", "rate(requests_total[15m])",
	"rate(requests_total[1h])", "irate(requests_total[15m])", "increase(requests_total[1h])", "sum(increase(requests_total[1d]))",
	"delta(requests_total[1h])", "deriv(requests_total[1h])", "predict_linear(requests_total[1h], 3600)", "changes(requests_total[1h])",
	"resets(requests_total[1h])", "avg_over_time(requests_total[1h])", "max_over_time(requests_total[1h])", "min_over_time(requests_total[1h])",
	"quantile_over_time(0.9, requests_total[1h])", "stddev_over_time(requests_total[1h])", "count_over_time(requests_total[1h])",
	"last_over_time(requests_total[1h])", "present_over_time(requests_total[1h])", "sum by (path) (rate(requests_total[15m]))",
	"topk(1, requests_total)", "count(requests_total)", "absent(requests_total)", "max_over_time(rate(requests_total[15m])[3h:10m])",
	`requests_total{path="/1"} - on () requests_total{path="/0"}`, `label_replace(requests_total, "p", "$1", "path", "/(.*)")`,
	`requests_total{path="/1"} - requests_total{path="/1"} offset 1w`, "clamp_max(requests_total, 2e6)", "requests_total > 2e6 or vector(0)",
}

// rawSamples are the samples of an instant query of a range, as they are written, without the label site.
func rawSamples(t *testing.T, url string) (map[string]map[int64]string, error) {
	t.Helper()
	r, err := http.Get(url)
	if err != nil {
		return nil, err
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil || r.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s: %s: %w", url, r.Status, text, err)
	}
	var m matrixAnswer
	require.NoError(t, json.Unmarshal(text, &m))
	all := make(map[string]map[int64]string)
	for _, s := range m.Data.Result {
		delete(s.Metric, "site")
		samples := make(map[int64]string)
		for _, v := range s.Values {
			at := int64(math.Round(v[0].(float64) * 1000))
			require.NotContains(t, samples, at, "two samples at one time")
			samples[at] = v[1].(string)
		}
		all[fmt.Sprint(s.Metric)] = samples
	}
	return all, nil
}

// points are the values from a time on, by series and time.
func (m matrixAnswer) points(t *testing.T, from int64) map[string]float64 {
	all := make(map[string]float64)
	for _, s := range m.Data.Result {
		for _, v := range s.Values {
			f, err := strconv.ParseFloat(v[1].(string), 64)
			require.NoError(t, err)
			if v[0].(float64) >= float64(from) {
				all[fmt.Sprint(s.Metric, v[0])] = f
			}
		}
	}
	return all
}
