package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/e2e/oracle"
)

const parityRules = `groups:
- name: demo
  interval: 1s
  labels: {team: a}
  rules:
  - {record: "demo:requests:rate", expr: "sum(rate(demo_requests_total[5s]))"}
  - {alert: Warm, expr: "demo_temperature_celsius > 0", labels: {severity: info}, annotations: {summary: "{{ $labels.room }} is warm"}}
`

// record lets program scrape for a few seconds into dir/data and stops it.
func record(t *testing.T, dir, program string, sig os.Signal) {
	t.Helper()
	x := startTarget(t)
	writeFile(t, dir, "rules.yml", parityRules)
	config := writeFile(t, dir, "record.yml", fmt.Sprintf(`
global: {scrape_interval: 1s, evaluation_interval: 1s, external_labels: {site: lab}}
rule_files: [rules.yml]
scrape_configs:
- {job_name: demo, static_configs: [{targets: [%q], labels: {dc: one}}]}
`, x.address))
	s := startServer(t, dir, program, "--config.file="+config, "--storage.tsdb.path="+dir+"/data", "--scrape.discovery-reload-interval=100ms")
	eventually(t, 40*time.Second, func() error {
		got, err := s.query(`count_over_time(demo_temperature_celsius[1m]) > 5`)
		if err == nil && len(got) != 1 {
			err = fmt.Errorf("only %d scrapes so far", x.scrapes.Load())
		}
		return err
	})
	s.stop(sig)
}

// What one writes the other reads, and both give the same answers.
func TestDropInBothDirections(t *testing.T) {
	t.Parallel()
	for _, writer := range []string{binary(t), oracle.Path(t, "prometheus")} {
		for _, sig := range []os.Signal{syscall.SIGTERM, syscall.SIGKILL} {
			t.Run(fmt.Sprintf("%s %v", filepath.Base(writer), sig), func(t *testing.T) {
				t.Parallel()
				dir := t.TempDir()
				record(t, dir, writer, sig)
				compareServers(t, dir, time.Now())
			})
		}
	}
}

// compareServers runs both programs on copies of dir/data and compares what
// they answer.
func compareServers(t *testing.T, dir string, end time.Time) {
	writeFile(t, dir, "prometheus.yml", `
global: {scrape_interval: 1h, evaluation_interval: 1h, external_labels: {site: lab}}
rule_files: [rules.yml]
scrape_configs:
- {job_name: demo, static_configs: [{targets: ["127.0.0.1:1"], labels: {dc: one}}]}
`)
	// The rules would write while we read.
	writeFile(t, dir, "rules.yml", strings.ReplaceAll(parityRules, "interval: 1s", "interval: 1h"))
	run := func(program string) *server {
		data := filepath.Join(dir, "copy-"+filepath.Base(program))
		copyDir(t, dir+"/data", data)
		return startServer(t, dir, program, "--storage.tsdb.path="+data)
	}
	theirs, ours := run(oracle.Path(t, "prometheus")), run(binary(t))
	for _, r := range parityRequests(end) {
		want, got := ask(t, theirs.base, r), ask(t, ours.base, r)
		require.Equal(t, want.status, got.status, "%s %s", r.method, r.path)
		require.Equal(t, want.contentType, got.contentType, "%s %s", r.method, r.path)
		requireSameText(t, want.body, got.body, fmt.Sprintf("%s %s", r.method, r.path))
	}
}

// requireSameText shows only the place where two long texts part.
func requireSameText(t *testing.T, want, got, what string) {
	t.Helper()
	if want == got {
		return
	}
	i := 0
	for i < len(want) && i < len(got) && want[i] == got[i] {
		i++
	}
	around := func(s string) string { return s[max(0, i-60):min(len(s), i+200)] }
	t.Fatalf("%s: not as Prometheus answers:\n want …%s\n  got …%s", what, around(want), around(got))
}

type request struct{ method, path string }

func parityRequests(end time.Time) []request {
	at := fmt.Sprintf("%.3f", float64(end.UnixMilli())/1000)
	from := fmt.Sprintf("%.3f", float64(end.Add(-time.Minute).UnixMilli())/1000)
	q := func(expr string) string { return "/api/v1/query?time=" + at + "&query=" + url.QueryEscape(expr) }
	qr := func(expr, step string) string {
		return "/api/v1/query_range?start=" + from + "&end=" + at + "&step=" + step + "&query=" + url.QueryEscape(expr)
	}
	get := func(paths ...string) (rs []request) {
		for _, p := range paths {
			rs = append(rs, request{http.MethodGet, p})
		}
		return rs
	}
	rs := get(
		q(`demo_temperature_celsius`), q(`sum by (path) (rate(demo_requests_total[30s]))`), q(`count_over_time(demo_requests_total[1m])`),
		q(`histogram_quantile(0.9, rate(demo_duration_seconds_bucket[30s]))`), q(`demo:requests:rate`), q(`ALERTS`), q(`up`),
		q(`absent(nothing)`), q(`sum(`), q(`rate(demo_temperature_celsius)`), q(`{__name__=~".+"}`), q(`1/0`), q(`"text"`),
		q(`demo_temperature_celsius * on() group_right up`), q(`topk(2, demo_requests_total)`), q(`quantile(2, demo_requests_total)`),
		"/api/v1/query", "/api/v1/query?query=up&time=yesterday", "/api/v1/query?query=up&timeout=never", q(`up`)+"&stats=all&limit=1",
		qr(`demo_requests_total`, "5"), qr(`rate(demo_requests_total[10s])`, "1"), qr(`up`, "0"), qr(`up`, "0.001"), qr(`sum(`, "5"),
		"/api/v1/query_range?query=up&start=2&end=1&step=1",
		"/api/v1/series?match[]=demo_requests_total", "/api/v1/series", "/api/v1/series?match[]={",
		"/api/v1/labels", "/api/v1/labels?match[]=up", "/api/v1/label/job/values", "/api/v1/label/path/values?match[]=demo_requests_total&limit=2",
		"/api/v1/label/__name__/values", "/api/v1/query_exemplars?query=demo_requests_total&start="+from+"&end="+at,
		"/api/v1/format_query?query=sum(rate(x[5m]))by(a)", "/api/v1/parse_query?query=sum(x)", "/api/v1/parse_query?query=sum(",
		"/api/v1/targets?state=dropped", "/api/v1/targets/metadata", "/api/v1/metadata", "/api/v1/alertmanagers", "/api/v1/scrape_pools",
		"/api/v1/status/config", "/api/v1/status/buildinfo", "/api/v1/status/walreplay", "/api/v1/status/tsdb?limit=x", "/api/v1/features",
		"/api/v1/nothing", "/api/v2/status", "/nothing", "/-/healthy", "/-/ready", "/-/reload", "/-/quit",
		"/federate?match[]=demo_temperature_celsius&match[]=up", "/federate", "/federate?match[]={", "/consoles/none.html", "/user/x",
		"/api/v1/notifications", "/debug/pprof/cmdline?nothing", "/api/v1/openapi.yaml", "/debug/nothing",
	)
	for _, p := range []string{
		"/-/reload", "/-/quit", "/api/v1/admin/tsdb/snapshot", "/api/v1/admin/tsdb/clean_tombstones",
		"/api/v1/admin/tsdb/delete_series?match[]=up", "/api/v1/write", "/api/v1/otlp/v1/metrics", "/api/v1/targets", "/metrics",
		"/api/v1/query?query=up&time=" + at, "/api/v1/read", "/federate",
	} {
		rs = append(rs, request{http.MethodPost, p})
	}
	return append(rs,
		request{http.MethodOptions, "/api/v1/query"}, request{http.MethodDelete, "/api/v1/series"},
		request{http.MethodHead, "/-/healthy"}, request{http.MethodHead, "/-/ready"}, request{http.MethodPut, "/-/reload"},
	)
}

type answer struct {
	status            int
	contentType, body string
}

// changing are the parts of an answer that differ between any two processes.
var changing = regexp.MustCompile(`"(version|revision|branch|buildDate|buildUser|goVersion|timings|evalTotalTime|resultSortTime|queryPreparationTime|innerEvalTime|execQueueTime|execTotalTime|date)":("[^"]*"|[0-9.e+-]+|\{[^}]*\})`)

// The oracle is built without a version; TestBuildInfo looks at ours.
var yamlVersion = regexp.MustCompile(`version: \S+`)

func ask(t *testing.T, base string, r request) answer {
	t.Helper()
	req, err := http.NewRequest(r.method, base+r.path, nil)
	require.NoError(t, err)
	resp, err := (&http.Client{
		Timeout:       30 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}).Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	var body strings.Builder
	_, err = fmt.Fprint(&body, readAll(t, resp))
	require.NoError(t, err)
	text := strings.ReplaceAll(body.String(), base[strings.LastIndex(base, ":"):], ":PORT")
	text = changing.ReplaceAllString(text, `"$1":0`)
	text = yamlVersion.ReplaceAllString(text, "version: 0")
	if strings.HasPrefix(r.path, "/debug/pprof/cmdline") {
		text = "" // the command lines differ, as they must
	}
	return answer{resp.StatusCode, resp.Header.Get("Content-Type"), text}
}

func readAll(t *testing.T, r *http.Response) string {
	t.Helper()
	var b strings.Builder
	buf := make([]byte, 32<<10)
	for {
		n, err := r.Body.Read(buf)
		b.Write(buf[:n])
		if err != nil {
			return b.String()
		}
	}
}

// documentedFlags reads the table that --write-documentation prints: the name
// of each flag and its default.
func documentedFlags(t *testing.T, program string, args ...string) map[string]string {
	t.Helper()
	out, err := exec.Command(program, append(args, "--write-documentation")...).Output()
	require.NoError(t, err)
	flags := map[string]string{}
	for _, line := range strings.Split(string(out), "\n") {
		cells := strings.Split(line, "|")
		if len(cells) < 5 || !strings.Contains(cells[1], "--") {
			continue
		}
		name := regexp.MustCompile(`--[a-z0-9.-]+`).FindString(cells[1])
		flags[name] = strings.TrimSpace(cells[len(cells)-2]) // the help may contain bars
	}
	require.Greater(t, len(flags), 40)
	return flags
}

// Grafana decides by this version what it may ask for.
func TestBuildInfo(t *testing.T) {
	t.Parallel()
	s := startServer(t, t.TempDir(), binary(t))
	_, body := s.get("/api/v1/status/buildinfo")
	require.Contains(t, body, `"version":"3.15.0"`)
	_, metrics := s.get("/metrics")
	require.Regexp(t, `prometheus_build_info\{[^}]*version="3\.15\.0"`, metrics)
	require.Contains(t, metrics, "clanmon_build_info{")
}

func TestEveryFlagOfPrometheusWithItsDefault(t *testing.T) {
	t.Parallel()
	want := documentedFlags(t, oracle.Path(t, "prometheus"))
	got := documentedFlags(t, binary(t), "server")
	// Named without a default here, so that a missing file can be told from one
	// that nobody asked for; what is read is the same.
	want["--config.file"] = got["--config.file"]
	for name, def := range want {
		require.Contains(t, got, name)
		require.Equal(t, def, got[name], "default of %s", name)
	}
}

// The flags API shows hidden flags too, with the values in force.
func TestFlagValuesAreThoseOfPrometheus(t *testing.T) {
	t.Parallel()
	flags := func(program string) map[string]string {
		dir := t.TempDir()
		writeFile(t, dir, "prometheus.yml", "")
		s := startServer(t, dir, program)
		_, body := s.get("/api/v1/status/flags")
		var answer struct{ Data map[string]string }
		require.NoError(t, json.Unmarshal([]byte(body), &answer))
		delete(answer.Data, "web.listen-address")
		require.Greater(t, len(answer.Data), 60)
		return answer.Data
	}
	want, got := flags(oracle.Path(t, "prometheus")), flags(binary(t))
	for name, value := range want {
		require.Contains(t, got, name)
		require.Equal(t, value, got[name], name)
	}
}

// Every metric of Prometheus' own is there, with its labels.
func TestOwnMetricsAreThoseOfPrometheus(t *testing.T) {
	t.Parallel()
	series := func(program string) map[string]bool {
		dir := t.TempDir()
		writeFile(t, dir, "prometheus.yml", "scrape_configs: [{job_name: self, static_configs: [{targets: ['127.0.0.1:1']}]}]")
		s := startServer(t, dir, program)
		_, _ = s.get("/api/v1/query?query=up")
		_, body := s.get("/metrics")
		names := map[string]bool{}
		value := regexp.MustCompile(` [^ ]+$`)
		for _, line := range strings.Split(body, "\n") {
			if line != "" && !strings.HasPrefix(line, "# ") {
				line = value.ReplaceAllString(line, "")
				line = regexp.MustCompile(`"[^"]*"`).ReplaceAllString(line, `""`)
				names[line] = true
			} else if strings.HasPrefix(line, "# ") {
				names[line] = true // HELP and TYPE
			}
		}
		require.Greater(t, len(names), 300)
		return names
	}
	want, got := series(oracle.Path(t, "prometheus")), series(binary(t))
	for name := range want {
		require.Contains(t, got, name)
	}
}
