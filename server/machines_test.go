package server_test

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/exp/api/remote"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/server"
	"github.com/clanmon/clanmon/server/servertest"
)

// nodeText is what a node exporter says of a system.
func nodeText(nodename string) string {
	return fmt.Sprintf(`node_uname_info{domainname="(none)",machine="x86_64",nodename=%q,release="6.12.30",sysname="Linux",version="#1"} 1
node_os_info{id="debian",name="Debian GNU/Linux",pretty_name="Debian GNU/Linux 12 (bookworm)"} 1
node_boot_time_seconds 1.79e+09
node_time_seconds %d
node_memory_MemAvailable_bytes 50
node_memory_MemTotal_bytes 100
node_filesystem_size_bytes{device="/dev/vda",fstype="ext4",mountpoint="/"} 100
node_filesystem_avail_bytes{device="/dev/vda",fstype="ext4",mountpoint="/"} 25
`, nodename, 1_790_000_000+3600)
}

// exporter serves text, which can be changed, at an address of this machine.
type exporter struct {
	*httptest.Server
	text    atomic.Pointer[string]
	address string
}

func newExporter(t *testing.T, text string) *exporter {
	e := &exporter{}
	e.set(text)
	e.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, *e.text.Load()) }))
	t.Cleanup(e.Close)
	e.address = e.Listener.Addr().String()
	return e
}

func (e *exporter) set(text string) { e.text.Store(&text) }

type row struct {
	Name, State, Why, Since, Selector, OS, LastSeen string
	Checking, Judged, Labelled                      bool
	Tags, DownJobs                                  []string
	Up, Targets, Critical, Pending                  int
	Memory, UnitsFailed                             *float64
	Booted                                          int64
	Silenced                                        []struct {
		ID, Until, By, Comment string
		Whole                  bool
	}
	Warnings []struct{ Kind, Machine string }
}

type fleetData struct {
	Cursor  string
	Full    bool
	Rows    []row
	Gone    []string
	Notices []struct{ Kind, Level, Text, Detail string }
}

func fleetOf(t require.TestingT, s *servertest.Server, query string) fleetData {
	var a struct{ Data fleetData }
	_, body := s.Get("/api/clanmon/v1/fleet" + query)
	require.NoError(t, json.Unmarshal([]byte(body), &a), body)
	return a.Data
}

// rowsWhen waits until the rows are as check wants them, and returns them by name.
func rowsWhen(t *testing.T, s *servertest.Server, check func(c *assert.CollectT, rows map[string]row)) map[string]row {
	t.Helper()
	var rows map[string]row
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		rows = make(map[string]row)
		for _, r := range fleetOf(c, s, "").Rows {
			rows[r.Name] = r
		}
		check(c, rows)
	}, time.Minute, 100*time.Millisecond)
	return rows
}

type machine struct {
	Machine, State, Earlier string
	Sources                 []string
	UnitsKnown              bool
	Muted                   []struct{ Alert, By, What string }
	Alerts                  []struct {
		Name, Since, Severity string
		Checking, Muted       bool
	}
	Facts struct {
		OS, Nodename string
		Filesystems  []struct {
			Mountpoint  string
			Size, Avail float64
		}
	}
	Targets []struct{ Job, Health, Method string }
}

func machineOf(t require.TestingT, s *servertest.Server, name string) machine {
	var a struct{ Data []machine }
	_, body := s.Get("/api/clanmon/v1/machines?machine=" + name)
	require.NoError(t, json.Unmarshal([]byte(body), &a), body)
	require.Len(t, a.Data, 1, body)
	return a.Data[0]
}

const quick = "global: {scrape_interval: 1s, evaluation_interval: 1s}\n"

// With a prometheus.yml of the user's own, every target that has a label machine,
// or is a node or systemd exporter, is a machine; and only those.
func TestEveryScrapedTargetIsAMachine(t *testing.T) {
	t.Parallel()
	labelled, bare, found, redis := newExporter(t, nodeText("alpha")), newExporter(t, nodeText("other")), newExporter(t, nodeText("third")), newExporter(t, "redis_up 1\n")
	file := filepath.Join(t.TempDir(), "sd.json")
	require.NoError(t, os.WriteFile(file, fmt.Appendf(nil, `[{"targets": [%q], "labels": {"instance": "[fd00::1]:9100", "site": "here"}}]`, found.address), 0o600))
	_, port, _ := net.SplitHostPort(bare.address)
	s := servertest.Start(t, quick+fmt.Sprintf(`scrape_configs:
- job_name: my-nodes
  static_configs:
  - {targets: [%q], labels: {machine: alpha, role: db, site: here}}
  - {targets: [%q], labels: {role: web, site: here}}
- job_name: found
  file_sd_configs: [{files: [%q]}]
- job_name: cache
  static_configs: [{targets: [%q]}]
- job_name: probes
  static_configs: [{targets: [%q], labels: {instance: "https://example.org/"}}]
`, labelled.address, "localhost:"+port, file, redis.address, redis.address), nil)
	rows := rowsWhen(t, s, func(c *assert.CollectT, rows map[string]row) {
		require.Len(c, rows, 3)
		for _, r := range rows {
			require.Equal(c, "unjudged", r.State, r.Name)
			require.NotNil(c, r.Memory, r.Name)
		}
	})
	require.Equal(t, `machine="alpha"`, rows["alpha"].Selector)
	require.True(t, rows["alpha"].Labelled)
	require.Equal(t, []string{"role=db"}, rows["alpha"].Tags, "not what all have in common")
	require.Equal(t, `instance="localhost:`+port+`"`, rows["other"].Selector, "loopback, and the system says that it is another")
	require.Equal(t, `instance="[fd00::1]:9100"`, rows["fd00::1"].Selector)
	require.InDelta(t, 0.5, *rows["other"].Memory, 0.001, "figures without any rule")
	require.Nil(t, rows["other"].UnitsFailed, "nobody looked at units")
	require.InDelta(t, time.Now().Add(-time.Hour).Unix(), rows["other"].Booted, 60, "by the machine's own clock")

	m := machineOf(t, s, "other")
	require.Equal(t, []string{"config"}, m.Sources)
	require.Equal(t, "Debian GNU/Linux 12 (bookworm)", m.Facts.OS)
	require.Len(t, m.Facts.Filesystems, 1)
	require.InDelta(t, 25, m.Facts.Filesystems[0].Avail, 0)
	require.False(t, m.UnitsKnown)
	kinds := map[string]string{}
	for _, n := range fleetOf(t, s, "").Notices {
		kinds[n.Kind] = n.Detail
	}
	require.Contains(t, kinds["rules-off"], "--rules.builtin=on")
	require.Equal(t, 4, strings.Count(kinds["unlabelled"], "\n")+1)
	s.Eventually("/metrics", `clanmon_machine_state{machine="alpha",state="unjudged"} 1`)
}

func TestFleetSendsWhatChanged(t *testing.T) {
	t.Parallel()
	a, b := newExporter(t, nodeText("a")), newExporter(t, nodeText("b"))
	config := func(targets ...string) string {
		text := quick + "scrape_configs:\n- job_name: x\n  static_configs:\n"
		for i, target := range targets {
			text += fmt.Sprintf("  - {targets: [%q], labels: {machine: m%d}}\n", target, i)
		}
		return text
	}
	s := servertest.Start(t, config(a.address, b.address), nil)
	rowsWhen(t, s, func(c *assert.CollectT, rows map[string]row) {
		require.Len(c, rows, 2)
		require.Equal(c, "unjudged", rows["m1"].State)
		require.NotNil(c, rows["m1"].Memory)
		require.NotNil(c, rows["m0"].Memory)
	})
	first := fleetOf(t, s, "")
	require.True(t, first.Full)
	require.Len(t, first.Rows, 2)
	same := fleetOf(t, s, "?since="+first.Cursor)
	require.False(t, same.Full)
	require.Empty(t, same.Rows)

	b.Close()
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		d := fleetOf(c, s, "?since="+first.Cursor)
		require.False(c, d.Full)
		require.Len(c, d.Rows, 1, "the other one did not change")
		require.Equal(c, "m1", d.Rows[0].Name)
		require.Equal(c, "down", d.Rows[0].State)
		require.Nil(c, d.Rows[0].Memory, "no figure of a machine that does not respond")
	}, time.Minute, 100*time.Millisecond)

	require.NoError(t, os.WriteFile(s.Options.ConfigFile, []byte(config(a.address)), 0o600))
	s.Reload <- struct{}{}
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		require.Equal(c, []string{"m1"}, fleetOf(c, s, "?since="+first.Cursor).Gone)
	}, time.Minute, 100*time.Millisecond)
	require.True(t, fleetOf(t, s, "?since=elsewhere-3").Full, "a cursor of another life of the server")
	code, body := s.Get("/api/clanmon/v1/fleet?time=noon")
	require.Equal(t, http.StatusBadRequest, code)
	require.Contains(t, body, "Unix seconds")
	then := fleetOf(t, s, fmt.Sprintf("?time=%d", time.Now().Unix()))
	require.Len(t, then.Rows, 1)
	require.Empty(t, then.Cursor)
}

// rules write a rule file of the user's own, and name it in the configuration.
func rules(t *testing.T, text string) (file, section string) {
	file = filepath.Join(t.TempDir(), "rules.yml")
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	return file, fmt.Sprintf("rule_files: [%q]\n", file)
}

const fullRule = `groups:
- name: own
  rules:
  - alert: DiskFull
    expr: demo_full == 1
    for: %s
    labels: {severity: critical}
    annotations: {summary: '{{ $labels.machine }}: the disk is full'}
`

func start(t *testing.T, text, dir string, change func(*server.Options)) *servertest.Server {
	return servertest.Start(t, text, func(o *server.Options) {
		o.Dir = dir
		o.Rules.Builtin = "on"
		if change != nil {
			change(o)
		}
	})
}

// A restart in the middle of an incident does not turn the page green: what fired
// counts until it is known to have ended.
func TestARestartDoesNotForgetWhatFires(t *testing.T) {
	t.Parallel()
	e := newExporter(t, nodeText("alpha")+"demo_full 1\n")
	file, section := rules(t, fmt.Sprintf(fullRule, "1s"))
	dir := t.TempDir()
	config := quick + section + fmt.Sprintf("scrape_configs: [{job_name: x, static_configs: [{targets: [%q], labels: {machine: alpha}}]}]\n", e.address)
	s := start(t, config, dir, nil)
	before := rowsWhen(t, s, func(c *assert.CollectT, rows map[string]row) {
		require.Equal(c, "critical", rows["alpha"].State)
	})["alpha"]
	require.Equal(t, "the disk is full", before.Why)
	require.False(t, before.Checking)
	s.Eventually("/api/v1/query?query=ALERTS%7Balertstate%3D%22firing%22,alertname%3D%22DiskFull%22%7D", "alpha")
	s.Eventually("/api/v1/query?query=count_over_time(ALERTS%7Balertstate%3D%22firing%22,alertname%3D%22DiskFull%22%7D%5B5m%5D)%3E2", "alpha")
	require.NoError(t, s.Stop())

	// From now on it takes long until it fires.
	require.NoError(t, os.WriteFile(file, fmt.Appendf(nil, fullRule, "2m"), 0o600))
	s = start(t, config, dir, nil)
	check := func(c *assert.CollectT, rows map[string]row) {
		require.Equal(c, "critical", rows["alpha"].State)
		require.True(c, rows["alpha"].Checking)
	}
	rowsWhen(t, s, check) // before the first scrape
	s.Eventually("/api/v1/alerts", `"pending"`)
	rows := rowsWhen(t, s, func(c *assert.CollectT, rows map[string]row) {
		check(c, rows)
		require.Equal(c, 1, rows["alpha"].Up)
		require.Equal(c, 1, rows["alpha"].Critical)
	})
	require.WithinDuration(t, at(t, before.Since), at(t, rows["alpha"].Since), 5*time.Second)

	alert := machineOf(t, s, "alpha").Alerts[0]
	require.Equal(t, "DiskFull", alert.Name)
	require.Equal(t, "critical", alert.Severity)
	require.True(t, alert.Checking)
	require.WithinDuration(t, at(t, before.Since), at(t, alert.Since), 5*time.Second, "it began before the restart")

	// A silence mutes what counts only because it fired before, too.
	silence(t, s, "alpha", time.Now().Add(time.Hour))
	rowsWhen(t, s, func(c *assert.CollectT, rows map[string]row) {
		require.Equal(c, "ok", rows["alpha"].State)
		require.Zero(c, rows["alpha"].Critical)
	})
	endSilence(t, s, rowsWhen(t, s, func(c *assert.CollectT, rows map[string]row) {
		require.Len(c, rows["alpha"].Silenced, 1)
	})["alpha"].Silenced[0].ID)
	rowsWhen(t, s, check)

	e.set(nodeText("alpha") + "demo_full 0\n")
	rowsWhen(t, s, func(c *assert.CollectT, rows map[string]row) {
		require.Equal(c, "ok", rows["alpha"].State)
		require.Zero(c, rows["alpha"].Critical)
	})
}

func at(t *testing.T, stamp string) time.Time {
	t.Helper()
	when, err := time.Parse(time.RFC3339, stamp)
	require.NoError(t, err)
	return when
}

// A machine that is down keeps since when, and what was last known of it, also
// after a restart.
func TestWhatWasKnownOfAMachineThatIsDown(t *testing.T) {
	t.Parallel()
	e := newExporter(t, nodeText("alpha"))
	dir := t.TempDir()
	config := quick + fmt.Sprintf("scrape_configs: [{job_name: x, static_configs: [{targets: [%q], labels: {machine: alpha}}]}]\n", e.address)
	s := start(t, config, dir, nil)
	rowsWhen(t, s, func(c *assert.CollectT, rows map[string]row) { require.Equal(c, "ok", rows["alpha"].State) })
	seen := time.Now()
	e.Close()
	closed := time.Now()
	before := rowsWhen(t, s, func(c *assert.CollectT, rows map[string]row) { require.Equal(c, "down", rows["alpha"].State) })["alpha"]
	require.WithinRange(t, at(t, before.Since), closed.Add(-3*time.Second), time.Now())
	s.Eventually("/api/v1/query?query=count_over_time(up%5B5m%5D)-sum_over_time(up%5B5m%5D)%3E1", "alpha")
	require.NoError(t, s.Stop())

	s = start(t, config, dir, nil)
	after := rowsWhen(t, s, func(c *assert.CollectT, rows map[string]row) {
		require.Equal(c, "down", rows["alpha"].State)
		require.False(c, rows["alpha"].Checking)
		require.Equal(c, "connection refused", rows["alpha"].Why)
		require.NotEmpty(c, rows["alpha"].OS)
	})["alpha"]
	require.Equal(t, before.Since, after.Since)
	require.WithinRange(t, at(t, after.LastSeen), seen.Add(-3*time.Second), closed)
	m := machineOf(t, s, "alpha")
	require.Equal(t, "Debian GNU/Linux 12 (bookworm)", m.Facts.OS)
	require.Len(t, m.Facts.Filesystems, 1)
}

// So does one of which one target is down; it is not well in between either.
func TestAMachineOfWhichOneTargetIsDown(t *testing.T) {
	t.Parallel()
	e, redis := newExporter(t, nodeText("alpha")), newExporter(t, "redis_up 1\n")
	dir := t.TempDir()
	config := func(interval string) string {
		return quick + fmt.Sprintf(`scrape_configs:
- {job_name: x, static_configs: [{targets: [%q], labels: {machine: alpha}}]}
- {job_name: redis, scrape_interval: %s, static_configs: [{targets: [%q], labels: {machine: alpha}}]}
`, e.address, interval, redis.address)
	}
	s := start(t, config("1s"), dir, nil)
	rowsWhen(t, s, func(c *assert.CollectT, rows map[string]row) { require.Equal(c, 2, rows["alpha"].Up) })
	redis.Close()
	closed := time.Now()
	before := rowsWhen(t, s, func(c *assert.CollectT, rows map[string]row) { require.Equal(c, "warning", rows["alpha"].State) })["alpha"]
	require.WithinRange(t, at(t, before.Since), closed.Add(-3*time.Second), time.Now())
	s.Eventually("/api/v1/query?query=count_over_time(up%7Bjob%3D%22redis%22%7D%5B5m%5D)-sum_over_time(up%7Bjob%3D%22redis%22%7D%5B5m%5D)%3E3", "alpha")
	require.NoError(t, s.Stop())

	s = start(t, config("6s"), dir, nil)
	require.Eventually(t, func() bool {
		for _, r := range fleetOf(t, s, "").Rows {
			require.NotEqual(t, "ok", r.State)
			if r.State == "warning" && r.Up == 1 {
				require.Equal(t, before.Since, r.Since)
				return !r.Checking
			}
		}
		return false
	}, time.Minute, 20*time.Millisecond)
}

// What is silenced says until when, by whom and why, and what is inhibited by what.
func TestMutedAlertsDoNotCountAndAreNamed(t *testing.T) {
	t.Parallel()
	e := newExporter(t, nodeText("alpha")+"demo_full 1\n")
	_, section := rules(t, fmt.Sprintf(fullRule, "0s")+`  - alert: Maintenance
    expr: demo_maintenance == 1
    labels: {severity: none}
`)
	s := start(t, quick+section+fmt.Sprintf("scrape_configs: [{job_name: x, static_configs: [{targets: [%q], labels: {machine: alpha}}]}]\n", e.address), t.TempDir(), func(o *server.Options) {
		o.Delivery.ConfigFile = filepath.Join(t.TempDir(), "alertmanager.yml")
		require.NoError(t, os.WriteFile(o.Delivery.ConfigFile, []byte(`route: {receiver: none}
receivers: [{name: none}]
inhibit_rules: [{source_matchers: [alertname = Maintenance], target_matchers: [alertname = DiskFull], equal: [machine]}]
`), 0o600))
	})
	is := func(state string) func(*assert.CollectT, map[string]row) {
		return func(c *assert.CollectT, rows map[string]row) { require.Equal(c, state, rows["alpha"].State) }
	}
	rowsWhen(t, s, is("critical"))
	until := time.Now().Add(time.Hour)
	silence(t, s, "alpha", until)
	muted := rowsWhen(t, s, is("ok"))["alpha"]
	require.Len(t, muted.Silenced, 1)
	require.True(t, muted.Silenced[0].Whole)
	require.Equal(t, "me", muted.Silenced[0].By)
	require.Equal(t, "upgrade", muted.Silenced[0].Comment)
	require.WithinDuration(t, until, at(t, muted.Silenced[0].Until), time.Second)
	m := machineOf(t, s, "alpha")
	require.Len(t, m.Muted, 1)
	require.Equal(t, "silence", m.Muted[0].By)
	require.Equal(t, muted.Silenced[0].ID, m.Muted[0].What)

	endSilence(t, s, muted.Silenced[0].ID)
	again := rowsWhen(t, s, is("critical"))["alpha"]
	require.Empty(t, again.Silenced)

	e.set(nodeText("alpha") + "demo_full 1\ndemo_maintenance 1\n")
	rowsWhen(t, s, is("ok"))
	m = machineOf(t, s, "alpha")
	require.Len(t, m.Muted, 1)
	require.Equal(t, "inhibition", m.Muted[0].By)
	require.Equal(t, "Maintenance", m.Muted[0].What)
}

// After a restart an alert that fired before counts until it is known to have ended,
// and what inhibited it still does.
func TestInhibitionsOfWhatFiredBeforeARestart(t *testing.T) {
	t.Parallel()
	e := newExporter(t, nodeText("alpha")+"demo_full 1\ndemo_maintenance 1\n")
	more := `  - alert: Maintenance
    expr: demo_maintenance == 1
    for: %s
    labels: {severity: none}
`
	file, section := rules(t, fmt.Sprintf(fullRule+more, "0s", "0s"))
	dir := t.TempDir()
	alertmanager := filepath.Join(t.TempDir(), "alertmanager.yml")
	require.NoError(t, os.WriteFile(alertmanager, []byte(`route: {receiver: none}
receivers: [{name: none}]
inhibit_rules: [{source_matchers: [alertname = Maintenance], target_matchers: [alertname = DiskFull], equal: [machine, site]}]
`), 0o600))
	run := func() *servertest.Server {
		return start(t, strings.Replace(quick, "}", ", external_labels: {site: here}}", 1)+section+fmt.Sprintf("scrape_configs: [{job_name: x, static_configs: [{targets: [%q], labels: {machine: alpha}}]}]\n", e.address), dir,
			func(o *server.Options) { o.Delivery.ConfigFile = alertmanager })
	}
	s := run()
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		require.Len(c, fleetOf(c, s, "").Rows, 1)
		require.Len(c, machineOf(c, s, "alpha").Muted, 1)
	}, time.Minute, 100*time.Millisecond)
	s.Eventually("/api/v1/query?query=count(ALERTS%7Balertstate%3D%22firing%22,machine%3D%22alpha%22%7D)", `"2"`)
	s.Eventually("/api/v1/query?query=count(count_over_time(ALERTS%7Balertstate%3D%22firing%22,machine%3D%22alpha%22%7D%5B5m%5D)%3E2)", `"2"`)
	require.NoError(t, s.Stop())

	// From now on both take long until they fire.
	require.NoError(t, os.WriteFile(file, fmt.Appendf(nil, fullRule+more, "2m", "2m"), 0o600))
	s = run()
	// What inhibits is known once the server has read its configuration.
	rowsWhen(t, s, func(c *assert.CollectT, rows map[string]row) { require.Equal(c, "ok", rows["alpha"].State) })
	pending := false
	require.Eventually(t, func() bool {
		for _, r := range fleetOf(t, s, "").Rows {
			require.Equal(t, "ok", r.State, r.Why)
			require.Zero(t, r.Critical)
		}
		_, alerts := s.Get("/api/v1/alerts")
		pending = pending || strings.Contains(alerts, "pending")
		return pending && len(machineOf(t, s, "alpha").Muted) == 1
	}, time.Minute, 50*time.Millisecond)
	require.Equal(t, "Maintenance", machineOf(t, s, "alpha").Muted[0].What)
}

// silence mutes all alerts of a machine.
func silence(t *testing.T, s *servertest.Server, machine string, until time.Time) {
	t.Helper()
	body := fmt.Sprintf(`{"matchers": [{"name": "machine", "value": %q, "isRegex": false, "isEqual": true}], "startsAt": %q, "endsAt": %q, "createdBy": "me", "comment": "upgrade"}`,
		machine, time.Now().Format(time.RFC3339Nano), until.Format(time.RFC3339Nano))
	r, err := http.Post(s.URL("/api/v2/silences"), "application/json", strings.NewReader(body))
	require.NoError(t, err)
	r.Body.Close()
	require.Equal(t, http.StatusOK, r.StatusCode)
}

func endSilence(t *testing.T, s *servertest.Server, id string) {
	t.Helper()
	req, err := http.NewRequest(http.MethodDelete, s.URL("/api/v2/silence/"+id), nil)
	require.NoError(t, err)
	r, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	r.Body.Close()
}

// Machines whose samples another server sends are machines too.
func TestAServerThatIsFedHasMachines(t *testing.T) {
	t.Parallel()
	alpha, bare := newExporter(t, nodeText("alpha")), newExporter(t, nodeText("web1"))
	dir := t.TempDir()
	receiver := func() *servertest.Server {
		return start(t, "{}\n", dir, func(o *server.Options) {
			o.Web.EnableRemoteWriteReceiver = true
			o.Web.AcceptRemoteWriteProtoMsgs = remote.MessageTypes{remote.WriteV1MessageType}
		})
	}
	s := receiver()
	sender := servertest.Start(t, quick+fmt.Sprintf(`scrape_configs:
- job_name: x
  static_configs: [{targets: [%q], labels: {machine: alpha}}, {targets: [%q], labels: {instance: "web1:9100"}}]
remote_write: [{url: %q, queue_config: {batch_send_deadline: 1s}}]
`, alpha.address, bare.address, s.URL("/api/v1/write")), nil)
	s.Eventually("/api/v1/query?query=up", "web1:9100")
	rows := rowsWhen(t, s, func(c *assert.CollectT, rows map[string]row) {
		require.Len(c, rows, 2)
		require.Equal(c, "ok", rows["alpha"].State)
		require.Equal(c, "unjudged", rows["web1"].State)
		require.NotNil(c, rows["web1"].Memory)
	})
	require.Equal(t, `instance="web1:9100"`, rows["web1"].Selector)
	m := machineOf(t, s, "alpha")
	require.Equal(t, []string{"stored"}, m.Sources)
	require.Equal(t, "stored", m.Targets[0].Method)
	require.Equal(t, "up", m.Targets[0].Health)
	s.Eventually("/api/clanmon/v1/fleet", `"level":"info","kind":"fed","text":"Fed by remote write, last sample `)
	alpha.Close()
	rowsWhen(t, s, func(c *assert.CollectT, rows map[string]row) { require.Equal(c, "down", rows["alpha"].State) })

	// One whose samples stop while the server is away is still missed.
	require.NoError(t, sender.Stop())
	require.NoError(t, s.Stop())
	s = receiver()
	rowsWhen(t, s, func(c *assert.CollectT, rows map[string]row) { require.Len(c, rows, 2) })
	require.Equal(t, []string{"stored"}, machineOf(t, s, "alpha").Sources)
}

// With OTLP there is no up; the label machine is enough. A label of that name in
// series that this server scrapes itself means something else, and what it stores of a
// ping is no sign of the machine.
func TestMachinesOfOTLP(t *testing.T) {
	t.Parallel()
	pings := filepath.Join(t.TempDir(), "pings.yml")
	require.NoError(t, os.WriteFile(pings, []byte("pings: {photos: {token: 0123456789abcdef0123456789abcdef, machine: nas}}"), 0o600))
	e := newExporter(t, "capi_machine_phase{machine=\"worker-3\"} 1\n")
	s := servertest.Start(t, quick+fmt.Sprintf("scrape_configs: [{job_name: x, static_configs: [{targets: [%q]}]}]\n", e.address), func(o *server.Options) {
		o.Web.EnableOTLPWriteReceiver, o.PingFile, o.Rules.Builtin = true, pings, "off"
	})
	s.Eventually("/api/v1/query?query=capi_machine_phase", "worker-3")
	s.Eventually("/api/v1/query?query=clanmon_ping_running", "nas")
	send := func() {
		r, err := http.Post(s.URL("/api/v1/otlp/v1/metrics"), "application/json", strings.NewReader(fmt.Sprintf(`{"resourceMetrics": [{
			"resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "otel"}}]},
			"scopeMetrics": [{"metrics": [{"name": "system_load", "gauge": {"dataPoints": [
				{"timeUnixNano": "%d", "asDouble": 1, "attributes": [{"key": "machine", "value": {"stringValue": "gamma"}}]}]}}]}]}]}`, time.Now().UnixNano())))
		require.NoError(t, err)
		r.Body.Close()
		require.Equal(t, http.StatusOK, r.StatusCode)
	}
	send()
	rowsWhen(t, s, func(c *assert.CollectT, rows map[string]row) {
		require.Len(c, rows, 1)
		require.Equal(c, "unjudged", rows["gamma"].State)
	})
	require.Equal(t, []string{"stored"}, machineOf(t, s, "gamma").Sources)
}

// What the user takes out of the configuration is not missed, though its last
// samples are there.
func TestAMachineThatIsTakenOutIsGone(t *testing.T) {
	t.Parallel()
	a, b := newExporter(t, nodeText("a")), newExporter(t, nodeText("b"))
	dir := t.TempDir()
	both := quick + fmt.Sprintf("scrape_configs: [{job_name: x, static_configs: [{targets: [%q], labels: {machine: a}}, {targets: [%q], labels: {machine: b}}]}]\n", a.address, b.address)
	s := start(t, both, dir, nil)
	rowsWhen(t, s, func(c *assert.CollectT, rows map[string]row) {
		require.Equal(c, "ok", rows["a"].State)
		require.Equal(c, "ok", rows["b"].State)
	})
	time.Sleep(time.Second)
	require.NoError(t, s.Stop())
	s = start(t, quick+fmt.Sprintf("scrape_configs: [{job_name: x, static_configs: [{targets: [%q], labels: {machine: a}}]}]\n", a.address), dir, nil)
	rowsWhen(t, s, func(c *assert.CollectT, rows map[string]row) {
		require.Len(c, rows, 1)
		require.Equal(c, "ok", rows["a"].State)
		require.Equal(c, 1, rows["a"].Up)
	})
}

// With a configuration and discovery the server scrapes its own metrics. That does
// not make it a healthy machine.
func TestTheServersOwnJobIsNoMachine(t *testing.T) {
	t.Chdir(t.TempDir())
	s := servertest.Start(t, "", nil) // the job clanmon alone
	s.Eventually("/api/v1/query?query=up", `"job":"clanmon"`)
	require.Empty(t, fleetOf(t, s, "").Rows)
}

// One machine at two addresses is named as such.
func TestOneMachineUnderTwoNames(t *testing.T) {
	t.Parallel()
	one, two := newExporter(t, nodeText("vm")), newExporter(t, nodeText("vm"))
	s := start(t, quick+fmt.Sprintf("scrape_configs: [{job_name: x, static_configs: [{targets: [%q], labels: {machine: a}}, {targets: [%q], labels: {machine: b}}]}]\n", one.address, two.address), t.TempDir(), nil)
	rows := rowsWhen(t, s, func(c *assert.CollectT, rows map[string]row) {
		require.Len(c, rows["a"].Warnings, 1)
		require.Len(c, rows["b"].Warnings, 1)
	})
	require.Equal(t, "same-machine", rows["a"].Warnings[0].Kind)
	require.Equal(t, "b", rows["a"].Warnings[0].Machine)
}
