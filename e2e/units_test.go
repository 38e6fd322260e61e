package e2e

import (
	"fmt"
	"math"
	"regexp"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/e2e/harness"
	"github.com/clanmon/clanmon/e2e/oracle"
)

// Beside systemd_exporter on the same systemd, with every flag that adds series:
// the same series, and of units that lie still the same figures.
func TestUnitsHaveTheSeriesOfUpstream(t *testing.T) {
	t.Parallel()
	b := harness.NewBox(t)
	_, err := b.Try("systemctl", "start", "t-fail.service")
	require.Error(t, err)
	b.Exec("systemctl", "start", "t-sock.socket", "t-burn.service")
	flags := []string{"--systemd.collector.enable-restart-count", "--systemd.collector.enable-ip-accounting"}
	ours := harness.StartKinds(t, []string{"systemd"}, []string{b.Bus()}, append(flags, "--systemd.collector.all-series", "--systemd.collector.disable-resources")...)
	address := harness.Address(t)
	harness.Start(t, harness.Command{Path: oracle.Path(t, "systemd_exporter"), Args: append(flags, "--web.listen-address="+address), Env: []string{b.Bus()}})
	harness.Eventually(t, harness.Patience, func() error {
		text, err := httpGet("http://" + address + "/metrics")
		if err != nil {
			return err
		}
		ours.Metrics("systemd")
		return sameFigures(families(t, text), families(t, ours.Metrics("systemd")), "systemd_", 21)
	})

	// What is left out by default, no rule and no page uses: they need the active
	// state, the present one, since when, and restarts.
	b.Exec("systemctl", "start", "clanmon-exporter.service")
	text, err := b.Get("127.0.0.1:9558/metrics")
	require.NoError(t, err)
	units := strings.Count(text, `state="active",`)
	require.Greater(t, units, 50)
	series := strings.Count(text, "\nsystemd_")
	require.LessOrEqual(t, float64(series)/float64(units), 1900.0/250, "%d series of %d units", series, units)
	for _, want := range []string{
		`systemd_unit_state{name="t-fail.service",state="failed",type="service"} 1`,
		`systemd_unit_state{name="t-fail.service",state="active",type="service"} 0`,
		`systemd_unit_state{name="t-ok.service",state="active",type="service"} 1`,
		`systemd_unit_active_enter_time_seconds{name="t-ok.service"`,
		`systemd_unit_inactive_enter_time_seconds{name="t-fail.service"`,
		`systemd_unit_info{mount_type="",name="t-fail.service",service_type="oneshot",type="service"} 1`,
		`systemd_service_restart_total{name="t-ok.service"} 0`,
		`systemd_unit_tasks_max{name="t-ok.service"`,
		`systemd_unit_tasks_current{name="t-ok.service"} 1`,
	} {
		require.Contains(t, text, want)
	}
}

// sameFigures says where the metrics with a prefix differ. least is how many there
// have to be.
func sameFigures(theirs, ours map[string]*dto.MetricFamily, prefix string, least int) error {
	compared := 0
	for name, f := range theirs {
		if strings.HasSuffix(name, "_build_info") || !strings.HasPrefix(name, prefix) {
			continue
		}
		compared++
		g := ours[name]
		if g == nil || g.GetType() != f.GetType() || g.GetHelp() != f.GetHelp() {
			return fmt.Errorf("%s: %v, upstream's is %v", name, g, f)
		}
		values := map[string]float64{}
		for _, m := range g.Metric {
			values[fmt.Sprint(m.Label)] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
		for _, m := range f.Metric {
			want, key := m.GetGauge().GetValue()+m.GetCounter().GetValue(), fmt.Sprint(m.Label)
			if got, ok := values[key]; !ok || got != want {
				return fmt.Errorf("%s%s is %v (%v), upstream says %v", name, key, got, ok, want)
			}
		}
	}
	if compared < least {
		return fmt.Errorf("only %d metrics of upstream", compared)
	}
	return nil
}

// node_exporter's own collector of units has its figures too, from the snapshot of
// the kind systemd: two kinds that ask for different units, one connection.
func TestNodesUnitsHaveTheSeriesOfUpstream(t *testing.T) {
	t.Parallel()
	b := harness.NewBox(t)
	_, err := b.Try("systemctl", "start", "t-fail.service")
	require.Error(t, err)
	b.Exec("systemctl", "start", "t-sock.socket", "t-tick.timer")
	flags := []string{
		"--collector.disable-defaults", "--collector.systemd", "--collector.systemd.enable-task-metrics",
		"--collector.systemd.enable-restarts-metrics", "--collector.systemd.enable-start-time-metrics",
	}
	ours := harness.StartKinds(t, []string{"node", "systemd"}, []string{b.Bus()}, flags...)
	address := harness.Address(t)
	harness.Start(t, harness.Command{Path: oracle.Path(t, "node_exporter"), Args: append(flags, "--web.listen-address="+address), Env: []string{b.Bus()}})
	compare := func() {
		t.Helper()
		harness.Eventually(t, harness.Patience, func() error {
			ours.Metrics("systemd")
			text, err := httpGet("http://" + address + "/metrics")
			if err != nil {
				return err
			}
			return sameFigures(families(t, text), families(t, ours.Metrics("node")), "node_systemd_", 13)
		})
	}
	compare()
	b.Exec("systemctl", "reset-failed", "t-fail.service")
	b.Exec("systemctl", "restart", "t-ok.service")
	compare()
}

// What systemd signals is seen at the next scrape, also after it was reloaded and
// started anew, and is what systemctl says.
func TestUnitsFollowSystemd(t *testing.T) {
	t.Parallel()
	b := harness.NewBox(t)
	b.Exec("systemctl", "start", "clanmon-exporter.service", "t-sock.socket")
	const url = "127.0.0.1:9558/metrics"
	metric := func(series string) float64 {
		t.Helper()
		text, err := b.Get(url)
		require.NoError(t, err)
		v, err := harness.MetricIn(text, series)
		require.NoError(t, err)
		return v
	}
	metric(unitState("t-ok.service", "active")) // all is known from here on

	b.Exec("systemctl", "start", "t-flap.service")
	harness.Eventually(t, harness.Patience, func() error {
		return atLeast(int(metric(`systemd_service_restart_total{name="t-flap.service"}`)), 3)
	})
	b.Exec("systemctl", "stop", "t-flap.service")
	var restarts float64
	_, err := fmt.Sscan(property(b, "t-flap.service", "NRestarts"), &restarts)
	require.NoError(t, err)
	text, err := b.Get(url)
	require.NoError(t, err)
	if got, err := harness.MetricIn(text, `systemd_service_restart_total{name="t-flap.service"}`); err == nil { // else systemd has forgotten the unit
		require.Equal(t, restarts, got)
	}

	tasks := func() {
		t.Helper()
		var want float64
		_, err := fmt.Sscan(property(b, "t-ok.service", "TasksCurrent"), &want)
		require.NoError(t, err)
		require.Equal(t, want, metric(`systemd_unit_tasks_current{name="t-ok.service"}`))
	}
	tasks()
	b.Exec("sh", "-c", "mkdir -p /run/systemd/system/t-ok.service.d; printf '[Service]\\nTasksMax=77\\n' > /run/systemd/system/t-ok.service.d/x.conf; systemctl daemon-reload")
	require.Equal(t, 77.0, metric(`systemd_unit_tasks_max{name="t-ok.service",type="service"}`))

	b.Exec("bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/7777; echo hi >&3; read -t 5 -u 3 l")
	require.Equal(t, 1.0, metric(`systemd_socket_accepted_connections_total{name="t-sock.socket"}`))

	b.Exec("systemctl", "daemon-reexec")
	b.WaitMetric(url, `clanmon_exporter_collector_success{collector="systemd"}`, 1)
	b.Exec("systemctl", "restart", "t-ok.service")
	since := regexp.MustCompile(`@(\d+)`).FindStringSubmatch(b.Exec("systemctl", "show", "--timestamp=unix", "-p", "ActiveEnterTimestamp", "t-ok.service"))
	var want float64
	_, err = fmt.Sscan(since[1], &want)
	require.NoError(t, err)
	require.Equal(t, want, math.Floor(metric(`systemd_unit_active_enter_time_seconds{name="t-ok.service",type="service"}`)))
	tasks()
}

// Of a machine with thousands of units each scrape ends in time: every unit's
// state is there at once, the rest as it comes to be known.
func TestThousandsOfUnits(t *testing.T) {
	t.Parallel()
	b := harness.NewBox(t)
	const n = 5000
	const odd = `t-\x22quoted\x22\x5c\x0a.target` // as systemd writes quotes, a backslash and a newline
	b.Exec("bash", "-c", fmt.Sprintf(`cd /run/systemd/system && for i in $(seq %d); do echo "[Unit]" > many-$i.target; echo "Wants=many-$i.target" >> w; done
		printf '[Unit]\n' > '%[2]s'; { echo "[Unit]"; cat w; } > all.target; rm w; systemctl daemon-reload && systemctl start all.target && systemctl start '%[2]s'`, n, odd))
	e := harness.StartKinds(t, []string{"systemd"}, []string{b.Bus()}, "--systemd.collector.disable-resources")
	timeout := 600 * time.Millisecond // a busy machine needs longer for the states alone
	const ok = `clanmon_exporter_collector_success{collector="systemd"}`
	var text string
	harness.Eventually(t, harness.Patience, func() error {
		text, _ = e.Get("systemd", "/metrics", timeout)
		timeout += timeout / 4
		return atLeast(strings.Count(text, `state="active",type="target"} 1`), n)
	})
	done, err := harness.MetricIn(text, ok)
	require.NoError(t, err)
	require.Zero(t, done)
	require.Contains(t, e.Log(), "too short for all units")
	harness.Eventually(t, 2*harness.Patience, func() error {
		text, _ = e.Get("systemd", "/metrics", timeout)
		timeout += timeout / 4
		if done, err = harness.MetricIn(text, ok); err == nil && done != 1 {
			err = fmt.Errorf("not all are known yet")
		}
		return err
	})
	require.Equal(t, n, strings.Count(text, `systemd_unit_active_enter_time_seconds{name="many-`))
	require.Contains(t, text, fmt.Sprintf(`systemd_unit_state{name=%q,state="active",type="target"} 1`, odd))
	require.Len(t, families(t, text)["systemd_unit_state"].Metric, strings.Count(text, "\nsystemd_unit_state{"))
}

// Timers of a real systemd, on a machine that nobody has watched before: one whose
// service hangs and one that nothing starts are late, the others are not.
func TestTimersThatAreLate(t *testing.T) {
	t.Parallel()
	b := harness.NewBox(t)
	b.Exec("sh", "-c", `cd /run/systemd/system
		timer() { printf '[Timer]\nAccuracySec=1us\n%s\n' "$2" > $1.timer; printf '[Service]\nType=oneshot\n%s\n' "$3" > $1.service; }
		timer hangs 'OnCalendar=*:*:0/1' 'ExecStart=/bin/sleep infinity'
		timer never 'OnUnitActiveSec=1s' 'ExecStart=/bin/true'
		timer fails 'OnActiveSec=0' 'ExecStart=/bin/false'
		timer works 'OnCalendar=*:*:0/1' 'ExecStart=/bin/true'
		timer waits 'OnCalendar=2099-01-01' 'ExecStart=/bin/true'
		systemctl daemon-reload; systemctl start hangs.timer never.timer fails.timer works.timer waits.timer`)
	e := harness.StartKinds(t, []string{"systemd"}, []string{b.Bus()}, "--systemd.collector.disable-resources")
	metric := func(series string) (float64, error) {
		return harness.MetricIn(e.Metrics("systemd"), "clanmon_systemd_timer_"+series)
	}
	harness.Eventually(t, harness.Patience, func() error {
		for _, name := range []string{"hangs", "never"} {
			if late, err := metric(fmt.Sprintf(`overdue_seconds{name="%s.timer"}`, name)); err != nil || late < 2 {
				return fmt.Errorf("%s is late by %v (%v)", name, late, err)
			}
		}
		return nil
	})
	for _, name := range []string{"fails", "works", "waits"} {
		harness.Eventually(t, harness.Patience, func() error { // on a busy machine systemd itself is late
			if late, err := metric(fmt.Sprintf(`overdue_seconds{name="%s.timer"}`, name)); err != nil || late != 0 {
				return fmt.Errorf("%s is late by %v (%v)", name, late, err)
			}
			return nil
		})
	}
	at, err := metric(`next_elapse_timestamp_seconds{name="waits.timer"}`)
	require.NoError(t, err)
	require.Equal(t, time.Date(2099, 1, 1, 0, 0, 0, 0, time.Local).Unix(), int64(at))
	for series, want := range map[string]bool{
		`last_result{name="fails.timer",result="exit-code",unit="fails.service"}`: true,
		`last_result{name="waits.timer",result="success",unit="waits.service"}`:   false, // it never ran
		`last_result{name="hangs.timer",result="success",unit="hangs.service"}`:   false, // nor did its first run end
	} {
		_, err := metric(series)
		require.Equal(t, want, err == nil, series)
	}
	b.Exec("systemctl", "stop", "hangs.timer", "hangs.service")
	_, err = metric(`overdue_seconds{name="hangs.timer"}`)
	require.Error(t, err, "a stopped timer owes nothing")
}
