package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/e2e/harness"
)

func unitState(unit, state string) string {
	return fmt.Sprintf("systemd_unit_state{name=%q,state=%q,type=\"service\"}", unit, state)
}

func property(b *harness.Box, unit, name string) string {
	return strings.TrimSpace(b.Exec("systemctl", "show", "--value", "-p", name, unit))
}

// On a machine with a real systemd: the exporter as a hardened unit that says
// when it is ready, the units of the machine as it shows them, and a server
// beside it that finds the failed one.
func TestOnARealSystemd(t *testing.T) {
	t.Parallel()
	b := harness.NewBox(t)
	_, err := b.Try("systemctl", "start", "t-fail.service")
	require.Error(t, err, "a unit that fails")
	b.Exec("systemctl", "start", "t-flap.service", "t-tick.timer", "t-sock.socket")

	// Type=notify: systemctl comes back once the exporter answers.
	b.Exec("systemctl", "start", "clanmon-exporter.service")
	require.Equal(t, "active", property(b, "clanmon-exporter.service", "ActiveState"))
	const systemd, node = "127.0.0.1:9558/metrics", "127.0.0.1:9100/metrics"
	b.WaitMetric(systemd, unitState("t-fail.service", "failed"), 1)
	b.WaitMetric(systemd, unitState("t-fail.service", "active"), 0)
	b.WaitMetric(systemd, unitState("t-ok.service", "active"), 1)
	b.WaitMetric(systemd, unitState("clanmon-exporter.service", "active"), 1)
	text, err := b.Get(systemd)
	require.NoError(t, err)
	require.Contains(t, text, `systemd_timer_last_trigger_seconds{name="t-tick.timer"}`)
	require.Contains(t, text, `systemd_socket_accepted_connections_total{name="t-sock.socket"}`)
	text, err = b.Get(node)
	require.NoError(t, err)
	for _, c := range []string{"cpu", "filesystem", "meminfo", "netdev", "timex", "arp", "uname"} {
		ok, err := harness.MetricIn(text, fmt.Sprintf("node_scrape_collector_success{collector=%q}", c))
		require.NoError(t, err)
		require.Equal(t, 1.0, ok, "collector %s in the hardened unit", c)
	}

	// A unit that fails later is seen at the next scrape.
	b.Exec("systemctl", "kill", "-s", "KILL", "t-ok.service")
	b.WaitMetric(systemd, unitState("t-ok.service", "failed"), 1)

	// The watchdog is patted: systemd would have killed the exporter otherwise.
	first := property(b, "clanmon-exporter.service", "WatchdogTimestampMonotonic")
	harness.Eventually(t, harness.Patience, func() error {
		if now := property(b, "clanmon-exporter.service", "WatchdogTimestampMonotonic"); now == first {
			return fmt.Errorf("not patted since %s", first)
		}
		return nil
	})

	// The server, with no configuration, sees the same units without an exporter.
	b.Exec("systemctl", "start", "clanmon-server.service")
	harness.Eventually(t, harness.Patience, func() error {
		answer, err := b.Get("-G", "127.0.0.1:9090/api/v1/query", "--data-urlencode", `query=systemd_unit_state{state="failed"} == 1`)
		if err == nil && !strings.Contains(answer, `"name":"t-fail.service"`) {
			err = fmt.Errorf("t-fail.service is not in %s", answer)
		}
		return err
	})
	pid := property(b, "clanmon-server.service", "MainPID")
	b.Exec("systemctl", "reload", "clanmon-server.service")
	harness.Eventually(t, harness.Patience, func() error {
		log := b.Exec("journalctl", "--no-pager", "-q", "-o", "cat", "-u", "clanmon-server.service")
		return atLeast(strings.Count(log, completed), 2)
	})
	require.Equal(t, pid, property(b, "clanmon-server.service", "MainPID"))
	for _, unit := range []string{"clanmon-server.service", "clanmon-exporter.service"} {
		b.Exec("systemctl", "stop", unit)
		require.Equal(t, "success", property(b, unit, "Result"))
		require.Equal(t, "0", property(b, unit, "NRestarts"))
	}
}

// A bus that goes away costs the units of one scrape, not the exporter.
func TestBusGoesAndComesBack(t *testing.T) {
	t.Parallel()
	b := harness.NewBox(t)
	b.Exec("systemctl", "start", "clanmon-exporter.service")
	const systemd = "127.0.0.1:9558/metrics"
	const success = `clanmon_exporter_collector_success{collector="systemd"}`
	b.WaitMetric(systemd, success, 1)
	pid := property(b, "clanmon-exporter.service", "MainPID")

	b.Exec("systemctl", "stop", "dbus.socket", "dbus.service")
	for range 3 {
		b.WaitMetric(systemd, success, 0)
	}
	text, err := b.Get("127.0.0.1:9100/metrics")
	require.NoError(t, err)
	require.Contains(t, text, "node_memory_MemTotal_bytes")

	b.Exec("systemctl", "start", "dbus.socket", "dbus.service")
	b.WaitMetric(systemd, success, 1)
	b.WaitMetric(systemd, unitState("t-ok.service", "active"), 1)
	require.Equal(t, pid, property(b, "clanmon-exporter.service", "MainPID"))
	log := b.Exec("journalctl", "--no-pager", "-q", "-o", "cat", "-u", "clanmon-exporter.service")
	require.Equal(t, 1, strings.Count(log, "Collector failed"), "one line per change:\n%s", log)
}

// systemd holds the sockets and starts the program at the first connection.
func TestSocketActivation(t *testing.T) {
	t.Parallel()
	b := harness.NewBox(t)
	contains := func(want string, curl ...string) {
		t.Helper()
		text, err := b.Get(curl...)
		require.NoError(t, err)
		require.Contains(t, text, want)
	}
	b.Exec("systemctl", "start", "clanmon-activated.socket", "clanmon-named-node.socket", "clanmon-named-systemd.socket", "clanmon-server-activated.socket")
	contains("node_memory_MemTotal_bytes", "127.0.0.1:9200/metrics")
	contains("systemd_unit_state", "--unix-socket", "/run/clanmon-activated.sock", "http://localhost/metrics")
	contains("systemd_unit_state", "127.0.0.1:9300/metrics")
	contains("node_memory_MemTotal_bytes", "127.0.0.1:9301/metrics")
	contains("Ready", "--retry", "50", "--retry-all-errors", "--retry-delay", "1", "127.0.0.1:9091/-/ready")
}

// Without systemd there are no units to show: the kind says so in a metric and
// one line, and stays up; the other kind does not care.
func TestExporterWithoutSystemd(t *testing.T) {
	t.Parallel()
	harness.Root(t)
	// Wherever this runs: no sockets of systemd or D-Bus in sight.
	e := harness.StartExporterVia(t, []string{harness.Tool(t, "unshare", "util-linux"), "--mount", "sh", "-ec", `mount -t tmpfs tmpfs /run; exec "$@"`, "sh"})
	for range 3 {
		v, err := harness.MetricIn(e.Scrape(e.Systemd), `clanmon_exporter_collector_success{collector="systemd"}`)
		require.NoError(t, err)
		require.Zero(t, v)
	}
	require.Contains(t, e.Scrape(e.Node), "node_memory_MemTotal_bytes")
	require.Equal(t, 1, strings.Count(e.Log(), "Collector failed"), "one line per change:\n%s", e.Log())
}
