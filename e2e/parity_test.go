package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/e2e/harness"
)

const parityRules = `groups:
- name: demo
  interval: 1s
  labels: {team: a}
  rules:
  - {record: "demo:requests:rate", expr: "sum(rate(demo_requests_total[5s]))"}
  - {alert: Warm, expr: "demo_temperature_celsius > 0", labels: {severity: info}, annotations: {summary: "{{ $labels.room }} is warm"}}
`

// demo is a target with a few series of each kind; counters grow with each
// scrape.
func demo(t *testing.T) *harness.Target {
	return harness.NewChangingTarget(t, func(n int) string {
		var b strings.Builder
		fmt.Fprintf(&b, "# HELP demo_requests_total Requests.\n# TYPE demo_requests_total counter\n")
		for i := range 5 {
			fmt.Fprintf(&b, "demo_requests_total{path=\"/%d\"} %d\n", i, n*(i+1))
		}
		fmt.Fprintf(&b, "# HELP demo_temperature_celsius Temperature.\n# TYPE demo_temperature_celsius gauge\ndemo_temperature_celsius{room=\"hall \\\"<b>é\"} %d\n", 20+n%7)
		fmt.Fprintf(&b, "# TYPE demo_duration_seconds histogram\n")
		for _, le := range []string{"0.1", "1", "+Inf"} {
			fmt.Fprintf(&b, "demo_duration_seconds_bucket{le=%q} %d\n", le, n*3)
		}
		fmt.Fprintf(&b, "demo_duration_seconds_sum %d\ndemo_duration_seconds_count %d\n", n, n*3)
		return b.String()
	})
}

// programs are ours and the one that it has to agree with, as harness wants
// them: ours is the default.
func programs(t *testing.T) map[string]string {
	return map[string]string{"clanmon": "", "prometheus": harness.Upstream(t)}
}

// What one writes the other reads, and both give the same answers.
func TestDropInBothDirections(t *testing.T) {
	t.Parallel()
	for name, writer := range programs(t) {
		for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
			t.Run(fmt.Sprintf("%s %v", name, sig), func(t *testing.T) {
				t.Parallel()
				compareServers(t, recorded(t, writer, sig), time.Now())
			})
		}
	}
}

// recorded lets a program scrape for a few seconds and stops it; it returns the
// data directory.
func recorded(t *testing.T, path string, sig syscall.Signal) string {
	t.Helper()
	rules := harness.WriteFile(t, t.TempDir(), "rules.yml", parityRules)
	s := harness.StartServer(t, harness.ServerOptions{Path: path, Config: fmt.Sprintf(`
global: {scrape_interval: 1s, evaluation_interval: 1s, external_labels: {site: lab}}
rule_files: [%q]
scrape_configs:
- {job_name: demo, static_configs: [{targets: [%q], labels: {dc: one}}]}
`, rules, demo(t).Host())})
	s.WaitValue("count_over_time(demo_temperature_celsius[1m]) >= bool 5", 1)
	s.Signal(sig)
	s.Wait()
	return s.Data
}

// compareServers runs both programs on copies of the directory and compares
// what they answer. Neither scrapes nor evaluates: that would write while we
// read.
func compareServers(t *testing.T, data string, end time.Time) {
	t.Helper()
	rules := harness.WriteFile(t, t.TempDir(), "rules.yml", strings.ReplaceAll(parityRules, "interval: 1s", "interval: 1000h"))
	run := func(path string) *harness.Server {
		s := harness.StartServer(t, harness.ServerOptions{Path: path, Data: harness.CopyDir(t, data), Config: fmt.Sprintf(`
global: {scrape_interval: 1000h, evaluation_interval: 1000h, external_labels: {site: lab}}
rule_files: [%q]
scrape_configs:
- {job_name: demo, static_configs: [{targets: ["127.0.0.1:1"], labels: {dc: one}}]}
`, rules)})
		waitTarget(t, s, "demo")
		return s
	}
	theirs, ours := run(harness.Upstream(t)), run("")
	for _, r := range parityRequests(end) {
		want, got := ask(t, theirs.URL, r), ask(t, ours.URL, r)
		require.Equal(t, want.status, got.status, "%s %s", r.method, r.path)
		require.Equal(t, want.contentType, got.contentType, "%s %s", r.method, r.path)
		requireSameText(t, want.body, got.body, fmt.Sprintf("%s %s", r.method, r.path))
	}
	for _, path := range []string{
		"/api/v1/targets", "/api/v1/rules", "/api/v1/rules?type=alert", "/api/v1/alerts", "/api/v1/status/tsdb?limit=1000",
		"/api/v1/status/runtimeinfo", "/api/v1/targets/relabel_steps?scrapePool=demo", "/api/v1/rules?type=x", "/api/v1/status/tsdb/blocks",
	} {
		want, got := ask(t, theirs.URL, request{http.MethodGet, path}), ask(t, ours.URL, request{http.MethodGet, path})
		require.Equal(t, want.status, got.status, path)
		require.Equal(t, masked(t, want.body), masked(t, got.body), path)
	}
}

// waitTarget waits until a job has a target: they come a moment after the server
// is ready.
func waitTarget(t *testing.T, s *harness.Server, job string) {
	t.Helper()
	harness.Eventually(t, harness.Patience, func() error {
		if a := s.Get("/api/v1/targets"); !strings.Contains(a.Body, fmt.Sprintf(`"scrapePool":%q`, job)) {
			return fmt.Errorf("job %s has no target yet: %s", job, a.Body)
		}
		return nil
	})
}

// masked parses JSON and replaces what differs between two processes, or two
// moments, by its mere presence. Lists are sorted, for some come from maps.
func masked(t *testing.T, text string) any {
	t.Helper()
	var v any
	require.NoError(t, json.Unmarshal([]byte(text), &v), text)
	var mask func(v any) any
	mask = func(v any) any {
		switch x := v.(type) {
		case map[string]any:
			for k, e := range x {
				switch k {
				case "lastScrape", "lastScrapeDuration", "lastError", "health", "lastEvaluation", "evaluationTime", "activeAt",
					"startTime", "CWD", "hostname", "serverTime", "goroutineCount", "lastConfigTime", "globalUrl":
					x[k] = "…"
				default:
					x[k] = mask(e)
				}
			}
		case []any:
			for i := range x {
				x[i] = mask(x[i])
			}
			slices.SortFunc(x, func(a, b any) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
		}
		return v
	}
	return mask(v)
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
		"/api/v1/nothing", "/api/v3/status", "/nothing", "/-/healthy", "/-/ready", "/-/reload", "/-/quit",
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

// added are the features that clanmon has beside those of Prometheus.
var added = regexp.MustCompile(`"(inventory|machine_dns|tailscale)":true,`)

// The oracle is built without a version; TestBuildInfo looks at ours.
var yamlVersion = regexp.MustCompile(`version: \S+`)

func ask(t *testing.T, base string, r request) answer {
	t.Helper()
	req, err := http.NewRequest(r.method, base+r.path, nil)
	require.NoError(t, err)
	resp, err := (&http.Client{
		Timeout:       harness.Patience,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}).Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	text := strings.ReplaceAll(string(body), base[strings.LastIndex(base, ":"):], ":PORT")
	text = changing.ReplaceAllString(text, `"$1":0`)
	text = yamlVersion.ReplaceAllString(text, "version: 0")
	if r.path == "/api/v1/features" {
		text = added.ReplaceAllString(text, "")
	}
	if strings.HasPrefix(r.path, "/debug/pprof/cmdline") {
		text = "" // the command lines differ, as they must
	}
	return answer{resp.StatusCode, resp.Header.Get("Content-Type"), text}
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
	s := harness.StartServer(t, harness.ServerOptions{Bare: true})
	require.Contains(t, s.Get("/api/v1/status/buildinfo").Body, `"version":"3.16.0"`)
	metrics := s.Get("/metrics").Body
	require.Regexp(t, `prometheus_build_info\{[^}]*version="3\.16\.0"`, metrics)
	require.Contains(t, metrics, "clanmon_build_info{")
}

func TestEveryFlagOfPrometheusWithItsDefault(t *testing.T) {
	t.Parallel()
	want := documentedFlags(t, harness.Upstream(t))
	got := documentedFlags(t, harness.Clanmon(t), "server")
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
	flags := func(path string) map[string]string {
		s := harness.StartServer(t, harness.ServerOptions{Path: path, Bare: true, Files: map[string]string{"prometheus.yml": ""}})
		var answer struct{ Data map[string]string }
		require.NoError(t, json.Unmarshal([]byte(s.Get("/api/v1/status/flags").Body), &answer))
		delete(answer.Data, "web.listen-address")
		require.Greater(t, len(answer.Data), 60)
		return answer.Data
	}
	want, got := flags(harness.Upstream(t)), flags("")
	for name, value := range want {
		require.Contains(t, got, name)
		require.Equal(t, value, got[name], name)
	}
}

// Every metric of Prometheus' own is there, with its labels.
func TestOwnMetricsAreThoseOfPrometheus(t *testing.T) {
	t.Parallel()
	series := func(path string) map[string]bool {
		s := harness.StartServer(t, harness.ServerOptions{Path: path, Config: "global: {scrape_interval: 1000h}\nscrape_configs: [{job_name: self, static_configs: [{targets: ['127.0.0.1:1']}]}]\n"})
		waitTarget(t, s, "self")
		s.Get("/api/v1/query?query=up")
		body := s.Get("/metrics").Body
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
	want, got := series(harness.Upstream(t)), series("")
	for name := range want {
		require.Contains(t, got, name)
	}
}

// Behind a reverse proxy all paths move, and what is allowed with them.
func TestDropInBelowAPrefix(t *testing.T) {
	t.Parallel()
	start := func(path string) *harness.Server {
		s := harness.LaunchServer(t, harness.ServerOptions{Path: path, Config: "global: {}\n", Args: []string{
			"--web.external-url=http://monitoring.example/prom/", "--web.enable-admin-api", "--web.enable-lifecycle",
		}})
		s.WaitLog("Server is ready to receive web requests.")
		return s
	}
	theirs, ours := start(harness.Upstream(t)), start("")
	for _, r := range []request{
		{http.MethodGet, "/"}, {http.MethodGet, "/api/v1/query?query=1"}, {http.MethodGet, "/prom/graph?g0.expr=up"},
		{http.MethodGet, "/prom/api/v1/openapi.yaml"}, {http.MethodGet, "/prom/api/v1/openapi.yaml?openapi_version=3.2"},
		{http.MethodPost, "/prom/api/v1/openapi.yaml"}, {http.MethodOptions, "/prom/api/v1/openapi.yaml"},
		{http.MethodGet, "/prom/-/ready"}, {http.MethodPost, "/prom/-/reload"}, {http.MethodGet, "/prom/api/v1/status/config"},
		{http.MethodPost, "/prom/api/v1/admin/tsdb/snapshot?skip_head=x"}, {http.MethodPost, "/prom/api/v1/admin/tsdb/delete_series"},
		{http.MethodPut, "/prom/api/v1/admin/tsdb/delete_series?match[]=up"}, {http.MethodPost, "/prom/api/v1/admin/tsdb/clean_tombstones"},
		{http.MethodGet, "/prom/federate?match[]=up"}, {http.MethodGet, "/prom/consoles/none.html"}, {http.MethodGet, "/metrics"},
		{http.MethodPost, "/prom/-/quit"},
	} {
		want, got := ask(t, theirs.URL, r), ask(t, ours.URL, r)
		require.Equal(t, want.status, got.status, "%s %s", r.method, r.path)
		require.Equal(t, want.contentType, got.contentType, "%s %s", r.method, r.path)
		requireSameText(t, want.body, got.body, fmt.Sprintf("%s %s", r.method, r.path))
	}
	require.Zero(t, theirs.Wait())
	require.Zero(t, ours.Wait())
}
