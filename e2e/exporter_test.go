package e2e

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/e2e/harness"
)

// listening are the ports on which a process listens for TCP.
func listening(t *testing.T, p *harness.Process) []string {
	t.Helper()
	sockets := map[string]bool{}
	fds, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", p.Pid()))
	require.NoError(t, err)
	for _, fd := range fds {
		if to, err := os.Readlink(fd); err == nil {
			sockets[to] = true
		}
	}
	var found []string
	for _, table := range []string{"tcp", "tcp6"} {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", p.Pid(), table))
		require.NoError(t, err)
		for line := range strings.Lines(string(text)) {
			if f := strings.Fields(line); len(f) > 9 && f[3] == "0A" && sockets["socket:["+f[9]+"]"] {
				found = append(found, f[1])
			}
		}
	}
	return found
}

// Under the name of an upstream exporter it is that one: its port only, its flags, and
// the SIGHUP of its unit file.
func TestNamedAfterUpstreamExporters(t *testing.T) {
	t.Parallel()
	for program, want := range map[string]string{
		"node_exporter":             "node_exporter_build_info",
		"systemd_exporter":          "systemd_exporter_build_info",
		"prometheus-node-exporter":  "node_exporter_build_info",
		"redis_exporter":            "redis_up",
		"nginx-prometheus-exporter": "nginx_up",
	} {
		named := func(t *testing.T, binary string) {
			t.Parallel()
			link := filepath.Join(t.TempDir(), program)
			require.NoError(t, os.Symlink(binary, link))
			address := harness.Address(t)
			p := harness.Start(t, harness.Command{Path: link, Args: []string{"--web.listen-address=" + address, "--web.disable-exporter-metrics"}})
			metrics := func() (text string) {
				harness.Eventually(t, harness.Patience, func() (err error) {
					text, err = httpGet("http://" + address + "/metrics")
					return err
				})
				return text
			}
			require.Contains(t, metrics(), "\n"+want)
			require.Len(t, listening(t, p), 1)
			p.Signal(syscall.SIGHUP)
			p.WaitLog("Received SIGHUP")
			require.Contains(t, metrics(), "\n"+want)
			require.Zero(t, p.Terminate())
		}
		t.Run(program, func(t *testing.T) { named(t, harness.Clanmon(t)) })
		t.Run(program+" small", func(t *testing.T) { named(t, harness.SmallExporter(t)) })
	}
}

// Who binds the exporter to this machine opens nothing to others; and a protection
// that the environment asks for is never left out.
func TestExporterOpensNoMoreThanWasAskedFor(t *testing.T) {
	t.Parallel()
	h := harness.NewHost(t, "")
	p := harness.Start(t, h.Command(t, harness.Command{Args: []string{"exporter", "--web.listen-address=127.0.0.1:9100"}}))
	p.WaitLog("Exporter is ready")
	require.ElementsMatch(t, []string{"0100007F:238C", "0100007F:2556"}, listening(t, p), "127.0.0.1:9100 and :9558")
	require.Zero(t, p.Terminate())

	p = harness.Start(t, h.Command(t, harness.Command{Args: []string{"exporter", "--web.listen-address=unix:" + filepath.Join(t.TempDir(), "s")}}))
	p.WaitLog("Exporter is ready")
	require.Empty(t, listening(t, p))
	require.Contains(t, p.Log(), `msg="Exporter is left out" kind=systemd`)
	require.Zero(t, p.Terminate())

	// One socket of systemd, which is node's.
	tool := harness.Tool(t, "systemd-socket-activate", "systemd")
	address := harness.Address(t)
	p = harness.Start(t, harness.Command{Path: tool, Args: []string{"-l", address, harness.Clanmon(t), "exporter", "--web.systemd-socket"}})
	harness.Eventually(t, harness.Patience, func() error {
		_, err := httpGet("http://" + address + "/metrics")
		return err
	})
	require.Len(t, listening(t, p), 1)
	require.Contains(t, p.Log(), `msg="Exporter is left out" kind=systemd`)

	code, output := harness.Run(t, harness.Command{Args: []string{"exporter", "--exporter=redis"}, Env: []string{"REDIS_EXPORTER_BASIC_AUTH_USERNAME=x", "REDIS_EXPORTER_BASIC_AUTH_PASSWORD=s3cret"}})
	require.Equal(t, 2, code)
	require.Contains(t, output, "REDIS_EXPORTER_BASIC_AUTH_PASSWORD is not supported: use basic_auth_users in the file of --web.config.file")
	require.NotContains(t, output, "s3cret")
}

// A network device whose name is not valid UTF-8 costs only itself.
func TestADeviceWithAnUncleanName(t *testing.T) {
	t.Parallel()
	h := harness.NewHost(t, "")
	ip := func(args ...string) {
		t.Helper()
		code, output := harness.Run(t, harness.Command{Path: harness.Tool(t, "ip", "iproute2"), Args: append([]string{"-n", h.Namespace}, args...)})
		require.Zero(t, code, output)
	}
	ip("link", "add", "caf\xe9", "type", "veth", "peer", "name", "clean0")
	ip("addr", "add", "10.9.9.1/24", "dev", "caf\xe9")
	ip("link", "set", "caf\xe9", "up")
	ip("link", "set", "clean0", "up")
	ip("neigh", "add", "10.9.9.2", "lladdr", "00:11:22:33:44:55", "dev", "caf\xe9")
	p := harness.Start(t, h.Command(t, harness.Command{Args: []string{"exporter", "--exporter=node", "--web.listen-address=127.0.0.1:9100", "--collector.ethtool", "--collector.qdisc"}}))
	p.WaitLog("Exporter is ready")
	r, err := h.Client().Get("http://127.0.0.1:9100/metrics")
	require.NoError(t, err)
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	require.NoError(t, err)
	for _, c := range []string{"netdev", "netclass", "arp", "qdisc"} {
		require.Contains(t, string(body), fmt.Sprintf("node_scrape_collector_success{collector=%q} 1", c))
	}
	require.Contains(t, string(body), `node_network_receive_bytes_total{device="clean0"}`)
	require.Contains(t, string(body), `node_network_up{device="clean0"}`)
	require.NotContains(t, p.Log(), "panic")
}
