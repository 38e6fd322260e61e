// Package browser opens the pages of the built binary in a real Chromium and
// asks what a person would see. It is a test only.
//
// The tests here set the scene: real exporters, real units, alerts and silences.
// What is done in the browser and has to be seen is in scenarios/*.mjs, which
// playwright-core drives; browser.mjs holds what is asked of every page.
package browser

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	browserplay "github.com/clanmon/clanmon/e2e/browser/play"
	"github.com/clanmon/clanmon/e2e/harness"
)

type options map[string]any

// play runs a scenario against the server at base; whatever it calls a problem
// fails the test. With CLANMON_PICTURES naming a directory, scenarios keep
// pictures there.
func play(t *testing.T, base, scenario string, more options) (figures map[string]float64) {
	t.Helper()
	node := harness.Tool(t, "node", "nodejs")
	dir := filepath.Join(harness.Repo(t), "e2e", "browser")
	require.DirExists(t, filepath.Join(dir, "node_modules", "playwright-core"), "run: cd e2e/browser && npm ci (make test does)")
	o := options{"base": base, "chromium": harness.Tool(t, "chromium", "chromium")}
	if pictures := os.Getenv("CLANMON_PICTURES"); pictures != "" {
		o["pictures"] = pictures
	}
	for k, v := range more {
		o[k] = v
	}
	ctx, cancel := context.WithTimeout(context.Background(), 8*time.Minute)
	defer cancel()
	// Chromium keeps its profile and its crashes in the temporary directory.
	report, err := browserplay.Run(ctx, node, dir, scenario, o, append(os.Environ(), "TMPDIR="+t.TempDir(), "HOME="+t.TempDir()))
	require.NoError(t, err)
	for _, p := range report.Problems {
		t.Errorf("%s: %s", scenario, p)
	}
	return report.Figures
}

// odd is a machine whose exporter says hostile things.
const odd = `node_os_info{pretty_name="<img src=x onerror=\"window.pwned=1\">\"'é",name="<script>window.pwned=1</script>"} 1
node_uname_info{release="</td><script>window.pwned=1</script>",nodename="odd"} 1
node_memory_MemTotal_bytes 8e9
node_memory_MemAvailable_bytes 6e9
node_boot_time_seconds 1.7e9
systemd_unit_state{name="backup.timer",state="active",type="timer"} 1
systemd_unit_state{name="backup.service",state="active",type="service"} 0
systemd_unit_state{name="backup.service",state="inactive",type="service"} 1
demo{text="<img src=x onerror=\"window.pwned=1\">\"'é"} 42
`

const rules = `groups:
- name: mine
  interval: 1s
  rules:
  - alert: Hostile
    expr: vector(7)
    labels: {machine: odd, severity: warning}
    annotations: {summary: "<b id=pwned>seven</b> <img src=x onerror='window.pwned=1'>", runbook_url: "javascript:window.pwned=1"}
  - alert: KnownTrouble
    expr: vector(1)
    labels: {machine: box, severity: warning}
    annotations: {summary: "The disk is being replaced", runbook_url: "https://runbooks.example.org/disk"}
  - alert: NotYet
    expr: vector(1)
    for: 1h
    labels: {machine: box, severity: critical}
    annotations: {summary: "This is pending"}
`

// house is a server with three machines: "box", with real exporters and a real
// systemd of whose units one has failed; "odd", which says hostile things; and
// "gone", where nothing listens. One alert is silenced, one is pending.
func house(t *testing.T) *harness.Server {
	t.Helper()
	b := harness.NewBox(t)
	_, err := b.Try("systemctl", "start", "t-fail.service")
	require.Error(t, err)
	kinds := harness.StartKinds(t, []string{"node", "systemd"}, []string{b.Bus()})
	gone := harness.Address(t)
	s := harness.StartServer(t, harness.ServerOptions{
		Config: "global: {scrape_interval: 1s, evaluation_interval: 1s}\nrule_files: [rules.yml]\n",
		Files:  map[string]string{"rules.yml": rules},
		Args: []string{
			"--discovery.static=node=box@" + kinds.Addr["node"] + ",odd@" + harness.NewTarget(t, odd).Host() + ",gone@" + gone,
			"--discovery.static=systemd=box@" + kinds.Addr["systemd"],
			"--rules.set=UnitFailed.for=0s", "--rules.set=MachineDown.for=0s", "--rules.set=MachineNew.seconds=0",
			"--alertmanager.config.file=" + harness.WriteFile(t, t.TempDir(), "am.yml", "route: {receiver: people, group_wait: 1s}\nreceivers: [{name: people, webhook_configs: [{url: 'http://"+harness.Address(t)+"/'}]}]\n"),
		},
	})
	s.WaitValue(`count(up == 1)`, 4) // and the server itself
	now := time.Now().UTC()
	silence := fmt.Sprintf(`{"matchers": [{"name": "alertname", "value": "KnownTrouble", "isRegex": false}, {"name": "machine", "value": "box", "isRegex": false}], "startsAt": %q, "endsAt": %q, "createdBy": "ada", "comment": "new disk <b>on Friday</b>"}`,
		now.Format(time.RFC3339), now.Add(8*time.Hour).Format(time.RFC3339))
	require.Equal(t, http.StatusOK, s.Post("/api/v2/silences", "application/json", silence).Status)
	// A record of each minute, and a rule of each minute that reads it.
	harness.Eventually(t, 4*time.Minute, func() error {
		a := s.Get("/api/v2/alerts?silenced=false&inhibited=false")
		for _, want := range []string{"Hostile", "JobFailed", "MachineDown"} {
			if !strings.Contains(a.Body, want) {
				return fmt.Errorf("no %s in %s", want, a.Body)
			}
		}
		if strings.Contains(a.Body, "KnownTrouble") {
			return fmt.Errorf("not silenced: %s", a.Body)
		}
		return nil
	})
	return s
}

func TestMain(m *testing.M) {
	code := m.Run()
	harness.RemoveBuilt()
	os.Exit(code)
}

// pages are all that the UI has, and those of Prometheus' paths.
var pages = []string{
	"/", "/m/box", "/m/gone", "/m/nobody", "/services", "/checks", "/compare?m=box&m=odd", "/compare?tag=none", "/jobs", "/alerts", "/changes", "/uptime", "/silences", "/boards", "/explore", "/query?g0.expr=demo&g0.tab=1",
	"/targets", "/rules", "/status", "/config", "/flags", "/tsdb-status", "/service-discovery", "/alertmanager-discovery", "/runbooks", "/runbooks/UnitFailed",
}

func TestPages(t *testing.T) {
	t.Parallel()
	s := house(t)
	// The last one changes what the others see.
	for _, scenario := range []string{"every", "keyboard", "links", "hostile", "rebinding", "trace", "silences", "before", "pages"} {
		t.Run(scenario, func(t *testing.T) {
			o := options{"pages": pages, "links": []string{"/?show=warning&q=o", "/targets?health=down", "/query?g0.expr=demo&g0.tab=1", "/m/box", "/services", "/alerts", "/rules"}}
			if scenario == "rebinding" {
				o["args"] = []string{"--host-resolver-rules=MAP evil.example 127.0.0.1"}
				o["evil"] = strings.Replace(s.URL, "127.0.0.1", "evil.example", 1)
				o["silences"] = "/api/v2/silences"
			}
			if scenario == "before" {
				// The page Changes reads ALERTS. After a start, a rule group stores them from its
				// third evaluation on: before, it restores what was pending.
				harness.Eventually(t, 4*time.Minute, func() error {
					v, err := s.TryQuery(`ALERTS{alertname="JobFailed",alertstate="firing"}`, time.Time{})
					if err == nil && len(v) == 0 {
						err = errors.New("JobFailed is not stored yet")
					}
					return err
				})
			}
			play(t, s.URL, scenario, o)
		})
	}
}

// openMetrics has an exemplar, which only this format can.
const openMetrics = `# TYPE request_seconds histogram
request_seconds_bucket{le="1.0"} 1 # {trace_id="c0ffee"} 0.25
request_seconds_bucket{le="+Inf"} 1
request_seconds_sum 0.25
request_seconds_count 1
# TYPE demo_a gauge
demo_a 7011
# TYPE demo_b gauge
demo_b 7022
# EOF
`

func TestExplore(t *testing.T) {
	t.Parallel()
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/openmetrics-text; version=1.0.0; charset=utf-8")
		_, _ = io.WriteString(w, openMetrics)
	}))
	t.Cleanup(target.Close)
	s := harness.StartServer(t, harness.ServerOptions{
		Config: fmt.Sprintf("global: {scrape_interval: 1s}\nscrape_configs: [{job_name: j, static_configs: [{targets: [%q]}]}]\n", strings.TrimPrefix(target.URL, "http://")),
		Args:   []string{"--enable-feature=exemplar-storage"},
	})
	s.WaitValue(`count_over_time(demo_a[1m]) >= bool 4`, 1) // enough for a graph
	play(t, s.URL, "explore", nil)
}

func TestFirstMinute(t *testing.T) {
	t.Parallel()
	s := harness.LaunchServer(t, harness.ServerOptions{Bare: true})
	harness.Eventually(t, harness.Patience, func() error { _, err := s.TryGet("/-/healthy"); return err })
	play(t, s.URL, "first", nil)
}

func TestUnderAPathPrefix(t *testing.T) {
	t.Parallel()
	s := harness.LaunchServer(t, harness.ServerOptions{Config: "{}", Args: []string{"--web.external-url=http://example.org/mon/", "--web.page-title=Ours <b>"}})
	harness.Eventually(t, harness.Patience, func() error {
		a, err := s.TryGet("/mon/-/ready")
		if err == nil && a.Status != http.StatusOK {
			err = fmt.Errorf("not ready: %d", a.Status)
		}
		return err
	})
	play(t, s.URL, "prefix", nil)
}

// Two machines of which nothing is known, once with the built-in rules and once with
// a configuration file, which switches them off.
func TestNothingIsGreenWhereNobodyLooked(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]harness.ServerOptions{
		"rules":    {Args: []string{"--discovery.static=node=alpha@" + harness.Address(t) + ",beta@" + harness.Address(t)}},
		"no rules": {Config: fmt.Sprintf("global: {scrape_interval: 1s}\nscrape_configs: [{job_name: node, static_configs: [{targets: [%q]}]}]\n", harness.Address(t))},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := harness.StartServer(t, o)
			s.WaitValue(`count(up == 0)`, map[string]float64{"rules": 2, "no rules": 1}[name])
			play(t, s.URL, "unknown", options{"rules": name == "rules"})
		})
	}
}

func TestAgentPages(t *testing.T) {
	t.Parallel()
	target := harness.NewTarget(t, "x 1\n")
	s := harness.StartServer(t, harness.ServerOptions{Agent: true, Config: fmt.Sprintf("global: {scrape_interval: 1s}\nscrape_configs: [{job_name: j, static_configs: [{targets: [%q]}]}]\n", target.Host())})
	play(t, s.URL, "agent", nil)
}

func TestServerGoesAway(t *testing.T) {
	t.Parallel()
	o := harness.ServerOptions{
		Config: "global: {scrape_interval: 1s}\n", Listen: harness.Address(t), Data: t.TempDir(),
		Args: []string{"--discovery.static=node=box@" + harness.NewTarget(t, odd).Host()},
	}
	s := harness.StartServer(t, o)
	s.WaitValue(`up{machine="box"}`, 1)
	signal, done := restarts(t, s, o)
	play(t, s.URL, "away", options{"signal": signal})
	<-done
}

// restarts stops and starts a server when the scenario says so by files, to which
// it answers by others. What it returns first is the beginning of their names.
func restarts(t *testing.T, s *harness.Server, o harness.ServerOptions) (signal string, done <-chan struct{}) {
	t.Helper()
	signal = filepath.Join(t.TempDir(), "server")
	wanted := func(what string) {
		for _, err := os.Stat(signal + what); err != nil && t.Context().Err() == nil; _, err = os.Stat(signal + what) {
			time.Sleep(20 * time.Millisecond) // between two looks
		}
	}
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		wanted(".stop")
		s.Kill()
		harness.WriteFile(t, filepath.Dir(signal), "server.stopped", "")
		wanted(".start")
		harness.StartServer(t, o)
		harness.WriteFile(t, filepath.Dir(signal), "server.started", "")
	}()
	return signal, finished
}

// plain is a healthy machine as a node exporter tells of it.
const plain = `node_os_info{pretty_name="NixOS 26.05",name="NixOS"} 1
node_uname_info{release="6.12.30",nodename="plain"} 1
node_memory_MemTotal_bytes 8589934592
node_memory_MemAvailable_bytes 6442450944
node_memory_MemFree_bytes 4294967296
node_load1 0.5
`

func TestHistoryNotReached(t *testing.T) {
	t.Parallel()
	s := harness.StartServer(t, harness.ServerOptions{
		Config: "global: {scrape_interval: 1s}\n",
		Args:   []string{"--discovery.static=node=box@" + harness.NewTarget(t, plain).Host(), "--query.url=http://" + harness.Address(t)},
	})
	s.WaitValue(`count_over_time(node_load1{machine="box"}[1m]) > bool 1`, 1)
	play(t, s.URL, "history", nil)
}

// A configuration as Prometheus' users have it: one target with a label machine,
// one without, and one where nothing listens.
func TestOwnConfiguration(t *testing.T) {
	t.Parallel()
	// On loopback and without the label it is this machine, under its own name.
	bare := harness.NewTarget(t, plain).Host()
	s := harness.StartServer(t, harness.ServerOptions{
		Config: fmt.Sprintf("global: {scrape_interval: 1s}\nscrape_configs: [{job_name: hosts, static_configs: [{targets: [%q], labels: {machine: labelled}}, {targets: [%q]}, {targets: [%q], labels: {machine: gone}}]}]\n",
			harness.NewTarget(t, plain).Host(), bare, harness.Address(t)),
	})
	s.WaitValue(`count(node_load1)`, 2)
	host := struct {
		Data []struct {
			Machine  string
			Labelled bool
		}
	}{}
	harness.Eventually(t, harness.Patience, func() error {
		if err := json.Unmarshal([]byte(s.Get("/api/clanmon/v1/machines").Body), &host); err != nil {
			return err
		}
		if len(host.Data) != 3 {
			return fmt.Errorf("machines are %v", host.Data)
		}
		return nil
	})
	name := ""
	for _, m := range host.Data {
		if !m.Labelled {
			name = m.Machine
		}
	}
	require.NotEmpty(t, name, "no machine without the label: %v", host.Data)
	play(t, s.URL, "own", options{"bare": name})
}

func TestRestartInAnIncident(t *testing.T) {
	t.Parallel()
	full := func(d string) map[string]string {
		return map[string]string{"rules.yml": `groups: [{name: mine, interval: 1s, rules: [{alert: DiskFull, expr: 'node_load1{machine="box"} > 0', for: ` + d + `, labels: {severity: critical}, annotations: {summary: "/ is 99 % full"}}]}]`}
	}
	o := harness.ServerOptions{
		Config: "global: {scrape_interval: 1s, evaluation_interval: 1s}\nrule_files: [rules.yml]\n", Listen: harness.Address(t), Data: t.TempDir(),
		Files: full("1s"),
		Args:  []string{"--discovery.static=node=box@" + harness.NewTarget(t, plain).Host()},
	}
	s := harness.StartServer(t, o)
	harness.Eventually(t, 2*time.Minute, func() error {
		if a := s.Get("/api/clanmon/v1/machines"); !strings.Contains(a.Body, `"state":"critical"`) {
			return fmt.Errorf("not critical: %s", a.Body)
		}
		return nil
	})
	s.WaitValue(`count_over_time(ALERTS{alertname="DiskFull",alertstate="firing"}[1m]) > bool 1`, 1) // it is in the store
	o.Files = full("30m")                                                                            // for so long it is pending again after the restart
	signal, done := restarts(t, s, o)
	play(t, s.URL, "incident", options{"signal": signal})
	<-done
}

func TestAddMachine(t *testing.T) {
	t.Parallel()
	old, added := harness.NewTarget(t, plain).Host(), harness.NewTarget(t, plain).Host()
	machine := func(name, host string) string {
		_, port, _ := strings.Cut(host, ":")
		return fmt.Sprintf(`%q: {"addresses": ["127.0.0.1"], "exporters": {"node": %s}}`, name, port)
	}
	inventory := harness.WriteFile(t, t.TempDir(), "inventory.json", `{"machines": {`+machine("old", old)+`}}`)
	document, err := os.ReadFile(filepath.Join(harness.Repo(t), "docs", "install.md"))
	require.NoError(t, err)
	s := harness.StartServer(t, harness.ServerOptions{Config: "global: {scrape_interval: 1s}\n", Args: []string{"--discovery.inventory=" + inventory}})
	s.WaitValue(`count(up{machine="old"} == 1)`, 1)
	play(t, s.URL, "add", options{
		"inventory": inventory, "after": `{"machines": {` + machine("old", old) + "," + machine("new", added) + `}}`, "document": string(document),
	})
}

func TestChecksPage(t *testing.T) {
	t.Parallel()
	box := harness.NewTarget(t, plain).Host()
	here, err := os.Hostname()
	require.NoError(t, err)
	here, _, _ = strings.Cut(strings.ToLower(here), ".")
	s := harness.StartServer(t, harness.ServerOptions{
		Config: "global: {scrape_interval: 1s}\n",
		Files: map[string]string{"settings.yml": fmt.Sprintf(
			"checks: {open: {url: 'http://%[1]s/metrics', every: 5s}, closed: {url: 'tcp://%[2]s', every: 5s, machine: box}, both: {url: 'tcp://%[1]s', every: 5s, from: [%[3]s, gone]}}\n", box, harness.Address(t), here)},
		Args: []string{"--clan.settings=settings.yml", "--discovery.static=node=box@" + box},
	})
	harness.Eventually(t, harness.Patience, func() error {
		if a := s.Get("/api/clanmon/v1/checks"); !strings.Contains(a.Body, `"state":"failing"`) || !strings.Contains(a.Body, `"state":"not run"`) {
			return fmt.Errorf("%s", a.Body)
		}
		return nil
	})
	play(t, s.URL, "checks", nil)
}

func TestJobsPage(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(harness.Repo(t), "server", "jobs", "testdata", "jobs.json"))
	require.NoError(t, err)
	s := harness.StartServer(t, harness.ServerOptions{
		Config: "global: {scrape_interval: 1s}\n", Args: []string{"--discovery.static=node=box@" + harness.NewTarget(t, plain).Host()},
	})
	s.WaitValue(`count(up{machine="box"} == 1)`, 1)
	play(t, s.URL, "jobs", options{"example": json.RawMessage(text), "machine": "box"})
}

func TestTwoMethods(t *testing.T) {
	t.Parallel()
	box, off := harness.NewTarget(t, plain).Host(), harness.Address(t)
	port := func(a string) string { return a[strings.LastIndex(a, ":")+1:] }
	inventory := harness.WriteFile(t, t.TempDir(), "inventory.json", fmt.Sprintf(
		`{"machines": {"box": {"addresses": ["127.0.0.1"], "exporters": {"node": %s}}, "lap": {"addresses": ["127.0.0.1"], "availability": "intermittent", "exporters": {"node": %s, "systemd": %s}}}}`,
		port(box), port(off), port(off)))
	s := harness.StartServer(t, harness.ServerOptions{
		Config: "global: {scrape_interval: 1s}\n",
		Args:   []string{"--discovery.inventory=" + inventory, "--discovery.static=node=box@" + box + ",lap@" + off},
	})
	s.WaitValue(`count(up{machine="box",job="node"} == 1)`, 1)
	s.WaitValue(`count(up{machine="lap",job="node"} == 0)`, 1)
	play(t, s.URL, "twice", nil)
}

func TestBoardsPage(t *testing.T) {
	t.Parallel()
	var dashboard any
	require.NoError(t, json.Unmarshal([]byte(`{"title":"From Grafana","schemaVersion":39,
		"templating":{"list":[{"type":"query","name":"machine","query":"label_values(up, machine)","multi":false,"includeAll":true}]},
		"panels":[
			{"type":"timeseries","title":"Up of $machine","gridPos":{"x":0,"y":0,"w":12,"h":8},"targets":[{"refId":"A","expr":"up{machine=~\"$machine\"}","legendFormat":"{{job}}"}]},
			{"type":"stat","title":"Targets up","gridPos":{"x":12,"y":0,"w":6,"h":4},"targets":[{"refId":"A","expr":"sum(up)"}],"fieldConfig":{"defaults":{"thresholds":{"steps":[{"color":"red","value":null},{"color":"green","value":100}]}}}},
			{"type":"table","title":"Targets","gridPos":{"x":12,"y":4,"w":12,"h":8},"targets":[{"refId":"A","expr":"up"}]},
			{"type":"text","title":"Note","gridPos":{"x":0,"y":8,"w":6,"h":4},"options":{"mode":"html","content":"<b>Read</b> this"}},
			{"type":"news","title":"News","gridPos":{"x":6,"y":8,"w":6,"h":4}}]}`), &dashboard))
	var twenty []string
	for i := range 20 {
		twenty = append(twenty, fmt.Sprintf(`{"type":"chart","title":"Chart %d","x":%d,"y":%d,"w":12,"h":8,"queries":[{"expr":"up + %d"}]}`, i, i%2*12, i/2*8, i))
	}
	s := harness.StartServer(t, harness.ServerOptions{
		Config: "global: {scrape_interval: 1s}\n",
		Files: map[string]string{
			"given.json":  `{"version":1,"title":"Given","panels":[{"type":"gauge","title":"Up","x":0,"y":0,"w":6,"h":4,"queries":[{"expr":"sum(up)"}]}]}`,
			"newer.json":  `{"version":9}`,
			"twenty.json": `{"version":1,"title":"Twenty","panels":[` + strings.Join(twenty, ",") + `]}`,
		},
		Args: []string{"--discovery.static=node=box@" + harness.NewTarget(t, plain).Host(), "--boards=given.json", "--boards=newer.json", "--boards=twenty.json"},
	})
	// The points of a chart are 15 s apart: the last one may be as old as that.
	s.WaitValue(`count_over_time(up{machine="box"}[1m]) >= bool 20`, 1)
	play(t, s.URL, "boards", options{"machine": "box", "dashboard": dashboard})
}
