package main

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/cmd/internal/cli"
	"github.com/clanmon/clanmon/e2e/oracle"
)

// result is what a caller of a program sees.
type result struct {
	code           int
	stdout, stderr string
}

// clanmon runs the program's main in this process.
func clanmon(t *testing.T, stdin string, args ...string) result {
	t.Helper()
	var out, err bytes.Buffer
	code := run(append([]string{"clanmon"}, args...), cli.Env{Stdin: strings.NewReader(stdin), Stdout: &out, Stderr: &err})
	return result{code, out.String(), err.String()}
}

func promtoolOracle(t *testing.T, stdin string, args ...string) result {
	t.Helper()
	var out, err bytes.Buffer
	cmd := exec.Command(oracle.Path(t, "promtool"), args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &err
	runErr := cmd.Run()
	if _, ok := runErr.(*exec.ExitError); runErr != nil && !ok {
		require.NoError(t, runErr)
	}
	return result{cmd.ProcessState.ExitCode(), out.String(), err.String()}
}

var (
	logTime   = regexp.MustCompile(`(?m)^time=\S+ level=(\S+) source=\S+ `)
	programID = regexp.MustCompile(`(?m)^(clanmon|promtool): .*$\n?`)
	goType    = regexp.MustCompile(` in type \w+\.\w+`)
)

// comparable removes what two programs cannot share: times and their names.
func (r result) comparable() result {
	r.stderr = goType.ReplaceAllString(r.stderr, " in type T")
	r.stderr = programID.ReplaceAllString(logTime.ReplaceAllString(r.stderr, "level=$1 "), "")
	return r
}

// requireSameLines reports the first line that differs: the texts are long.
func requireSameLines(t *testing.T, want, got string) {
	t.Helper()
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range min(len(w), len(g)) {
		require.Equal(t, w[i], g[i], "line %d", i+1)
	}
	require.Len(t, g, len(w))
}

// requireAgreement runs the same check in both programs.
func requireAgreement(t *testing.T, stdin string, args ...string) result {
	t.Helper()
	args = append([]string{"check"}, args...)
	ours, theirs := clanmon(t, stdin, args...), promtoolOracle(t, stdin, args...)
	a, b := theirs.comparable(), ours.comparable()
	require.Equal(t, a.code, b.code, "exit code of check %.200q", args)
	requireSameLines(t, a.stdout, b.stdout)
	requireSameLines(t, a.stderr, b.stderr)
	return ours
}

func TestCheckAgreesWithPromtool(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	rules := write("rules.yml", "groups: [{name: g, rules: [{record: a:b, expr: sum(up)}, {alert: A, expr: up == 0}]}]\n")
	twice := write("twice.yml", "groups: [{name: g, rules: [{record: a:b, expr: up, labels: {x: y}}, {record: a:b, expr: down, labels: {x: y}}]}]\n")
	broken := write("broken.yml", "groups: [{name: g, rules: [{record: a:b, expr: 'sum('}]}]\n")
	extra := write("extra.yml", "groups: [{name: g, owner: me, rules: []}]\n")
	experimental := write("experimental.yml", "groups: [{name: g, rules: [{record: a, expr: 'sort_by_label(up, \"x\")'}]}]\n")
	good := write("good.yml", "rule_files: [rules.yml]\nscrape_configs: [{job_name: j, static_configs: [{targets: ['h:1']}]}]\n")
	slow := write("slow.yml", "scrape_configs: [{job_name: slow, scrape_interval: 10m}]\n")
	typo := write("typo.yml", "global:\n  scrape_intervall: 5s\n")
	secrets := write("secrets.yml", "scrape_configs: [{job_name: j, authorization: {credentials_file: /does/not/exist}}]\n")
	halfTLS := write("tls.yml", "scrape_configs: [{job_name: j, tls_config: {cert_file: x.pem}}]\n")
	noRules := write("norules.yml", "rule_files: [missing.yml]\n")
	write("targets.json", `[{"targets": ["a:1"]}, null]`)
	targets := write("filesd.yml", "scrape_configs: [{job_name: j, file_sd_configs: [{files: [targets.json, missing.json]}]}]\n")
	path := write("path.yml", "scrape_configs: [{job_name: j, static_configs: [{targets: ['http://h/metrics']}]}]\n")
	alerting := write("am.yml", "alerting: {alertmanagers: [{static_configs: [{targets: ['am:9093']}]}]}\n")
	web := write("web.yml", "basic_auth_users: {x: notahash}\n")
	webTypo := write("webtypo.yml", "tls_server_confg: {}\n")

	for _, tc := range []struct {
		code int
		args []string
	}{
		{0, []string{"config", good}},
		{0, []string{"config", good, slow}},
		{0, []string{"config", "--lint", "all", slow}},
		{3, []string{"config", "--lint", "all", "--lint-fatal", slow}},
		{0, []string{"config", "--lint", "too-long-scrape-interval,none", "--lint-fatal", slow}},
		{0, []string{"--query.lookback-delta", "15m", "config", "--lint", "all", "--lint-fatal", slow}},
		{1, []string{"config", typo}},
		{1, []string{"config", typo, good}},
		{1, []string{"config", secrets}},
		{0, []string{"config", "--syntax-only", secrets}},
		{1, []string{"config", halfTLS}},
		{1, []string{"config", noRules}},
		{0, []string{"config", "--syntax-only", noRules}},
		{1, []string{"config", targets}},
		{0, []string{"config", "--syntax-only", targets}},
		{1, []string{"config", path}},
		{0, []string{"config", alerting}},
		{1, []string{"config", "--agent", alerting}},
		{1, []string{"config", filepath.Join(dir, "missing.yml")}},
		{0, []string{"rules", rules}},
		{0, []string{"rules", twice}},
		{3, []string{"rules", "--lint-fatal", twice}},
		{0, []string{"rules", "--lint", "none", "--lint-fatal", twice}},
		{0, []string{"rules", "--lint", "nonsense", twice}},
		{1, []string{"rules", broken}},
		{1, []string{"rules", rules, broken, twice}},
		{1, []string{"rules", extra}},
		{0, []string{"rules", "--ignore-unknown-fields", extra}},
		{1, []string{"rules", experimental}},
		{1, []string{"web-config", web}},
		{1, []string{"web-config", webTypo}},
		{1, []string{"rules", dir}},
	} {
		require.Equal(t, tc.code, requireAgreement(t, "", tc.args...).code, "%q", tc.args)
	}
	for _, text := range []string{"groups: []\n", "groups: [{name: g, rules: [{record: a, expr: '('}]}]\n", ": :\n", ""} {
		requireAgreement(t, text, "rules")
	}
}

func TestCheckNamesTheNearestWord(t *testing.T) {
	r := clanmon(t, "", "check", "confg", "x.yml")
	require.Equal(t, 2, r.code)
	require.Contains(t, r.stderr, `did you mean "config"?`)
	r = clanmon(t, "", "check", "config", "--sintax-only", "x.yml")
	require.Equal(t, 2, r.code)
	require.Contains(t, r.stderr, `--sintax-only`)
}

// The Nix modules check the clan's settings while they build the configuration.
func TestCheckSettings(t *testing.T) {
	for text, want := range map[string]string{
		"discoveryMethod: static\nstaticTargets: {node: [web1]}\nadditionalScrapeConfigs: [{job_name: mine}]": "",
		"discoveryMethod: static\nstaticTargets: {web: [web1]}":                                               `staticTargets.web: target "web1": job "web" has no default port`,
		"discoveryMethods: static":                                          "field discoveryMethods is unknown",
		"discoveryMethod: inventory\ninventoryFile: /does/not/exist":        "/does/not/exist",
		"additionalScrapeConfigs: [{job_name: mine, scrape_intervall: 1m}]": "scrape_intervall",
		"additionalScrapeConfigs: [{job_name: mine}, {job_name: mine}]":     "mine",
	} {
		file := filepath.Join(t.TempDir(), "settings.yml")
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		r := clanmon(t, "", "check", "settings", file)
		if want == "" {
			require.Zero(t, r.code, r.stderr)
			require.Contains(t, r.stderr, "SUCCESS")
			continue
		}
		require.Equal(t, 1, r.code)
		require.Contains(t, r.stderr, want)
	}
}

// The Nix modules check the flags of a unit while they build it.
func TestCheckFlags(t *testing.T) {
	for _, tc := range []struct {
		args []string
		want string // "" for success
	}{
		{[]string{"server", "--", "--retention=30d", "--notify=ntfy://ntfy.sh/x?token_file=/not/there", "--clan.settings=/not/there"}, ""},
		{[]string{"server", "--", "--retension=30d"}, `did you mean "retention"?`},
		{[]string{"server", "--", "--notify=ntfi://ntfy.sh/x"}, "ntfi"},
		{[]string{"server", "--", "--rules.set=FilesystemFull.treshold=1"}, "threshold"},
		{[]string{"server", "--", "--discovery=tailscail"}, "tailscale"},
		{[]string{"server", "--", "--discovery.inventory=/not/there"}, ""},
		{[]string{"server", "--", "--discovery.inventory=/not/there", "--discovery.dns=node=a..b"}, "an empty label between two dots"},
		{[]string{"server", "--", "--discovery.static=node=a.x,a.y"}, `both named "a"`},
		{[]string{"server", "--", "--web.operator=group:admins", "--web.viewer=*", "--web.oidc.issuer=https://id.example.org", "--web.oidc.client-id=c", "--web.oidc.client-secret-file=/not/there", "--web.token-file=/not/there"}, ""},
		{[]string{"server", "--", "--web.operator=*"}, `--web.operator "*": not allowed`},
		{[]string{"server", "--", "--web.identity.header=Remote-User"}, "needs --web.trusted-proxy"},
		{[]string{"server", "--", "--web.trusted-proxy=10.0.0.1"}, "need --web.identity.header"},
		{[]string{"server", "--", "--web.identity.header=Remote-User", "--web.trusted-proxy=::/0"}, "contains every address"},
		{[]string{"server", "--", "--web.oidc.issuer=https://id.example.org", "--web.oidc.client-id=c"}, "needs --web.viewer"},
		{[]string{"server", "--", "--web.oidc.issuer=https://id.example.org", "--web.oidc.client-id=c", "--web.viewer=*", "--web.external-url=http://mon"}, "needs https"},
		{[]string{"server", "--", "--web.oidc.scope=groups"}, "--web.oidc.scope needs --web.oidc.issuer"},
		{[]string{"exporter", "--", "--exporter=node,redis", "--collector.meminfo", "--redis.password-file=/not/there"}, ""},
		{[]string{"exporter", "--", "--collector.memnifo"}, "meminfo"},
		{[]string{"exporter", "--", "--collectors=memroy"}, `did you mean "memory"?`},
		{[]string{"exporter", "--", "--exporter=reddis"}, `did you mean "redis"?`},
	} {
		r := clanmon(t, "", append([]string{"check", "flags"}, tc.args...)...)
		if tc.want == "" {
			require.Zero(t, r.code, r.stderr)
			continue
		}
		require.Equal(t, 1, r.code, "%q", tc.args)
		require.Contains(t, r.stderr, tc.want)
	}
}

// promtoolNamed runs this program under the name promtool.
func promtoolNamed(t *testing.T, args ...string) result {
	t.Helper()
	var out, err bytes.Buffer
	code := run(append([]string{"/nix/store/x/bin/promtool"}, args...), cli.Env{Stdin: strings.NewReader(""), Stdout: &out, Stderr: &err})
	return result{code, out.String(), err.String()}
}

// NixOS' module checks by the name promtool, with this program behind it; probes
// and rule tests of others do too.
func TestUnderTheNamePromtool(t *testing.T) {
	file := filepath.Join(t.TempDir(), "rules.yml")
	require.NoError(t, os.WriteFile(file, []byte("groups: []\n"), 0o600))
	require.Zero(t, promtoolNamed(t, "check", "rules", file).code)
	require.Zero(t, promtoolNamed(t, "--enable-feature=promql-experimental-functions", "check", "rules", file).code)
	require.Regexp(t, `^promtool, version 3\.\d+\.\d+ \(branch: clanmon-`, promtoolNamed(t, "--version").stdout)
	for _, args := range [][]string{{"tsdb", "list"}, {"query", "instant", "http://x", "up"}, {"check", "metrics"}, {"check", "service-discovery", "f", "j"}, {}} {
		r := promtoolNamed(t, args...)
		require.Equal(t, 2, r.code, "%q", args)
		require.Contains(t, r.stderr, "use Prometheus' promtool")
		require.Contains(t, r.stderr, "test rules")
	}
}

func TestRuleTestsAgreeWithPromtool(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	write("rules.yml", `
groups:
- name: second
  rules: [{record: 'b:sum', expr: 'sum(a:up)'}]
- name: first
  rules:
  - {record: 'a:up', expr: up}
  - {alert: Down, expr: up == 0, for: 2m, labels: {severity: page}, annotations: {summary: '{{ $labels.instance }} of {{ $externalLabels.site }}'}}
`)
	const head = "rule_files: [rules.yml]\nevaluation_interval: 1m\ngroup_eval_order: [first, second]\ntests:\n"
	const series = "- interval: 1m\n  name: down\n  external_labels: {site: home}\n  input_series: [{series: 'up{instance=\"i\"}', values: '1 0x9'}, {series: 'h', values: '{{schema:0 sum:1 count:1 buckets:[1]}}x5'}]\n"
	good := write("good.yml", head+series+`
  alert_rule_test:
  - {eval_time: 2m, alertname: Down}
  - {eval_time: 4m30s, alertname: Down, exp_alerts: [{exp_labels: {severity: page, instance: i}, exp_annotations: {summary: i of home}}]}
  promql_expr_test:
  - {expr: 'b:sum', eval_time: 0, exp_samples: [{labels: 'b:sum', value: 1}]}
  - {expr: 'count(up)', eval_time: 3m, exp_samples: [{labels: '{}', value: 1}]}
  - {expr: h, eval_time: 1m, exp_samples: [{labels: h, histogram: '{{schema:0 sum:1 count:1 counter_reset_hint:not_reset buckets:[1]}}'}]}
  - {expr: '1.5', eval_time: 1m, exp_samples: [{labels: '{}', value: 1.5}]}
`)
	bad := write("bad.yml", head+series+`
  alert_rule_test:
  - {eval_time: 4m, alertname: Down, exp_alerts: [{exp_labels: {severity: info}}, {exp_labels: {severity: x}}]}
  - {eval_time: 1m, alertname: Down, exp_alerts: [{exp_labels: {severity: info}}]}
  promql_expr_test:
  - {expr: up, eval_time: 1m, exp_samples: [{labels: 'up{instance="i"}', value: 7}]}
  - {expr: up, eval_time: 1m}
  - {expr: 'up[1m]', eval_time: 1m}
  - {expr: 'sum(', eval_time: 1m}
  - {expr: h, eval_time: 1m, exp_samples: [{labels: h, histogram: '1'}]}
`)
	start := write("start.yml", head+"- start_timestamp: 2026-01-01T00:00:00Z\n  input_series: [{series: up, values: '1x3'}]\n  promql_expr_test: [{expr: 'time()', eval_time: 1m, exp_samples: [{labels: '{}', value: 1767225660}]}]\n")
	order := write("order.yml", "group_eval_order: [a, a]\ntests: []\n")
	typo := write("typo.yml", "test: []\n")
	noName := write("noname.yml", head+"- alert_rule_test: [{eval_time: 1m}]\n")
	noRules := write("norules.yml", "rule_files: [no.yml]\ntests: []\n")
	broken := write("broken.yml", "groups: [{name: g, rules: [{record: a, expr: '('}]}]\n")
	brokenRules := write("brokenrules.yml", "rule_files: ["+filepath.Base(broken)+"]\ntests: [{input_series: [{series: up, values: '1'}]}]\n")

	for _, tc := range []struct {
		code int
		args []string
	}{
		{0, []string{good}},
		{1, []string{bad}},
		{0, []string{start}},
		{1, []string{good, bad, start}},
		{0, []string{"--run", "nothing", bad}},
		{1, []string{"--run", "nothing", "--run", "^do", bad}},
		{1, []string{order}},
		{1, []string{typo}},
		{1, []string{noName}},
		{0, []string{noRules}},
		{1, []string{brokenRules}},
	} {
		args := append([]string{"test", "rules"}, tc.args...)
		ours, theirs := promtoolNamed(t, args...).comparable(), promtoolOracle(t, "", args...).comparable()
		require.Equal(t, tc.code, ours.code, "%q: %s", tc.args, ours.stderr)
		require.Equal(t, theirs.code, ours.code, "%q", tc.args)
		requireSameLines(t, theirs.stdout, ours.stdout)
		requireSameLines(t, theirs.stderr, ours.stderr)
		require.Equal(t, ours, clanmon(t, "", append([]string{"check"}, args...)...).comparable(), "the same as clanmon check test rules")
	}
	junit := filepath.Join(dir, "junit.xml")
	require.Equal(t, 1, promtoolNamed(t, "test", "--junit", junit, "rules", good, bad).code)
	text, err := os.ReadFile(junit)
	require.NoError(t, err)
	require.Contains(t, string(text), `<testcase name="down">`)
	require.Contains(t, string(text), `tests="1" failures="0"`)
}

func TestCheckHealthyAndReady(t *testing.T) {
	ready := false
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		switch {
		case user+":"+password != "me:secret":
			w.WriteHeader(http.StatusUnauthorized)
		case r.URL.Path == "/mon/-/healthy", r.URL.Path == "/mon/-/ready" && ready:
			_, _ = io.WriteString(w, "yes")
		default:
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	defer srv.Close()
	dir := t.TempDir()
	password, config := filepath.Join(dir, "password"), filepath.Join(dir, "http.yml")
	require.NoError(t, os.WriteFile(password, []byte("secret\n"), 0o600))
	require.NoError(t, os.WriteFile(config, []byte("basic_auth: {username: me, password_file: password}\n"), 0o600))
	url := "--url=" + srv.URL + "/mon/"
	for _, auth := range [][]string{{"--http.config.file=" + config}, {"--username=me", "--password-file=" + password}} {
		for name, wantReady := range map[string]bool{"healthy": true, "ready": ready} {
			for _, r := range []result{
				clanmon(t, "", append([]string{"check", name, url}, auth...)...),
				promtoolNamed(t, append([]string{"check", name, url}, auth...)...),
			} {
				if wantReady {
					require.Zero(t, r.code, r.stderr)
					require.Equal(t, "  SUCCESS:  yes\n", r.stderr)
				} else {
					require.Equal(t, 1, r.code)
					require.Contains(t, r.stderr, "status=503")
				}
			}
		}
		ready = true
	}
	r := clanmon(t, "", "check", "healthy", url)
	require.Equal(t, 1, r.code)
	require.Contains(t, r.stderr, "--password-file")
	r = clanmon(t, "", "check", "ready", "--url=http://127.0.0.1:1")
	require.Equal(t, 1, r.code)
	require.Contains(t, r.stderr, "connection refused")
	for want, args := range map[string][]string{
		"--http.config.file cannot be combined with": {"--http.config.file=" + config, "--username=me"},
		"must be set together":                       {"--cert-file=x"},
		"needs a user":                               {"--password-file=" + password},
		"must be a URL":                              {"--url=ftp://x"},
	} {
		r := clanmon(t, "", append([]string{"check", "healthy"}, args...)...)
		require.Equal(t, 2, r.code, r.stderr)
		require.Contains(t, r.stderr, want)
	}
}

// Files that settings name are looked at, as those of a configuration are.
func TestCheckSettingsNamesMissingFiles(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "settings.yml")
	require.NoError(t, os.WriteFile(file, []byte(`
discoveryMethod: static
staticTargets: {node: [web1], systemd: [web1]}
tls: {methods: [static], caFile: ca.pem, certFile: cert.pem, keyFile: key.pem}
additionalScrapeConfigs: [{job_name: mine, authorization: {credentials_file: token}}]
`), 0o600))
	off := filepath.Join(dir, "off.yml")
	require.NoError(t, os.WriteFile(off, []byte("tls: {caFile: ca.pem, certFile: cert.pem, keyFile: key.pem}\n"), 0o600))
	r := clanmon(t, "", "check", "settings", off)
	require.Equal(t, 1, r.code)
	require.Contains(t, r.stderr, "tls has no effect")
	require.Equal(t, 3, strings.Count(r.stderr, "no such file"), r.stderr)
	for _, name := range []string{"cert.pem", "key.pem", "ca.pem", "token"} {
		r := clanmon(t, "", "check", "settings", file)
		require.Equal(t, 1, r.code)
		require.Equal(t, 1, strings.Count(r.stderr, strconv.Quote(filepath.Join(dir, name))), r.stderr)
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), nil, 0o600))
	}
	require.Zero(t, clanmon(t, "", "check", "settings", file).code)
	require.NoError(t, os.Remove(filepath.Join(dir, "token")))
	require.Zero(t, clanmon(t, "", "check", "settings", "--syntax-only", file).code, "where there are no secrets")
}

// Where the secrets of an alertmanager.yml are not, it can still be checked.
func TestCheckAlertmanagerSyntaxOnly(t *testing.T) {
	file := filepath.Join(t.TempDir(), "am.yml")
	check := func(text string, args ...string) result {
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		return clanmon(t, "", append(append([]string{"check", "alertmanager"}, args...), file)...)
	}
	const text = `{route: {receiver: a}, receivers: [{name: a, ntfy_configs: [{url: "https://n", topic: t, token_file: /not/there}]}]}`
	require.Equal(t, 1, check(text).code)
	r := check(text, "--syntax-only")
	require.Zero(t, r.code, r.stderr)
	require.Equal(t, 1, check(strings.Replace(text, "receiver: a", "receiver: b", 1), "--syntax-only").code)
}
