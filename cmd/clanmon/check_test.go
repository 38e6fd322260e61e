package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

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
	code := run(append([]string{"clanmon"}, args...), env{stdin: strings.NewReader(stdin), stdout: &out, stderr: &err})
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
)

// comparable removes what two programs cannot share: times and their names.
func (r result) comparable() result {
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
		"discoveryMethod: static\nstaticTargets: {web: [web1]}":                                               `staticTargets.web: target "web1": job "web" has no port`,
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
		{[]string{"server", "--", "--discovery.inventory=/not/there", "--discovery.dns=node=a..b"}, "nothing between two dots"},
		{[]string{"server", "--", "--discovery.static=node=a.x,a.y"}, `both named "a"`},
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

// NixOS' module checks by the name promtool, with this program behind it.
func TestUnderTheNamePromtool(t *testing.T) {
	file := filepath.Join(t.TempDir(), "rules.yml")
	require.NoError(t, os.WriteFile(file, []byte("groups: []\n"), 0o600))
	promtool := func(args ...string) result {
		var out, err bytes.Buffer
		code := run(append([]string{"/nix/store/x/bin/promtool"}, args...), env{stdin: strings.NewReader(""), stdout: &out, stderr: &err})
		return result{code, out.String(), err.String()}
	}
	require.Zero(t, promtool("check", "rules", file).code)
	for _, args := range [][]string{{"tsdb", "list"}, {"query", "instant", "http://x", "up"}, {}} {
		r := promtool(args...)
		require.Equal(t, 2, r.code, "%q", args)
		require.Contains(t, r.stderr, `under the name promtool only "check" is available`)
	}
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
