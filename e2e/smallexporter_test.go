package e2e

import (
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/e2e/harness"
)

var (
	logLine    = regexp.MustCompile(`(?m)^time=.*\n`)
	familyLine = regexp.MustCompile(`(?m)^# TYPE .*$`)
)

// The small program says and does what "clanmon exporter" does, by another name.
func TestTheSmallExporterIsTheSameExporter(t *testing.T) {
	t.Parallel()
	big, small := harness.Clanmon(t), harness.SmallExporter(t)
	run := func(program string, args ...string) (int, string) {
		t.Helper()
		code, output := harness.Run(t, harness.Command{Path: program, Args: args})
		output = logLine.ReplaceAllString(output, "")
		output = strings.ReplaceAll(output, "clanmon exporter", "clanmon-exporter")
		return code, regexp.MustCompile(`(?m)^clanmon: `).ReplaceAllString(output, "clanmon-exporter: ")
	}
	for _, tc := range []struct {
		args string
		code int
		says string
	}{
		{"--help", 0, "usage: clanmon-exporter [<flags>]"},
		{"--list-collectors", 0, "* filesystem"},
		{"--version", 0, "node_exporter, version "},
		{"--web.listen-adress=:1", 2, "did you mean"},
		{"--exporter=nod", 2, `"nod"`},
		{"--exporter=node --collectors=dissk", 2, "clanmon-exporter --list-collectors lists them"},
		{"--exporter=node,node", 2, "twice"},
		{"--web.max-requests=many", 2, "--web.max-requests"},
		{"--web.config.file=/nowhere.yml --web.listen-address=127.0.0.1:0", 1, "/nowhere.yml"},
		{"stray", 2, "stray"},
	} {
		code, want := run(big, append([]string{"exporter"}, strings.Fields(tc.args)...)...)
		require.Equal(t, tc.code, code, "%s: %s", tc.args, want)
		require.Contains(t, want, tc.says, tc.args)
		got, output := run(small, strings.Fields(tc.args)...)
		require.Equal(t, code, got, "%s: %s", tc.args, output)
		require.Equal(t, want, output, tc.args)
	}
	// One kind is in the large program alone.
	code, output := run(small, "--exporter=blackbox")
	require.Equal(t, 2, code, output)
	require.Contains(t, output, `exporter "blackbox" is not in this program, which is small: use "clanmon-exporter"`) // run writes one name for both
	code, output = run(small, "version")
	require.Zero(t, code)
	require.Regexp(t, `^clanmon-exporter \S+ \(commit `, output)
	require.Contains(t, output, "/node_exporter 1.")
	require.NotContains(t, output, "unknown\n", "the versions of modules")

	before, err := os.Stat(big)
	require.NoError(t, err)
	after, err := os.Stat(small)
	require.NoError(t, err)
	require.Less(t, after.Size(), before.Size()/3, "it is there to be small")
}

func TestTheSmallExporterHasTheSameMetrics(t *testing.T) {
	t.Parallel()
	kinds := []string{"node", "systemd", "nginx", "postgres", "redis"}
	begin := func(command ...string) (*harness.Process, map[string][]string) {
		t.Helper()
		addresses := map[string]string{}
		command = append(command, "--exporter="+strings.Join(kinds, ","))
		for _, k := range kinds {
			addresses[k] = harness.Address(t)
			command = append(command, "--"+k+".listen-address="+addresses[k])
		}
		p := harness.Start(t, harness.Command{Path: command[0], Args: command[1:]})
		p.WaitLog("Exporter is ready")
		families := map[string][]string{}
		for k, address := range addresses {
			for range 2 { // some are there from the second scrape on
				text, err := httpGet("http://" + address + "/metrics")
				require.NoError(t, err)
				families[k] = familyLine.FindAllString(text, -1)
			}
			require.NotEmpty(t, families[k], k)
		}
		return p, families
	}
	_, want := begin(harness.Clanmon(t), "exporter")
	p, got := begin(harness.SmallExporter(t))
	for _, k := range kinds {
		require.Equal(t, want[k], got[k], k)
	}
	p.Signal(syscall.SIGHUP)
	p.WaitLog("Received SIGHUP: nothing to reload")
	require.Zero(t, p.Terminate())
}

// In a unit with Type=notify it says when it serves, and when it stops.
func TestTheSmallExporterNotifiesSystemd(t *testing.T) {
	t.Parallel()
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "notify"), Net: "unixgram"})
	require.NoError(t, err)
	defer socket.Close()
	address := harness.Address(t)
	p := harness.Start(t, harness.Command{
		Path: harness.SmallExporter(t),
		Args: []string{"--exporter=node", "--web.listen-address=" + address},
		Env:  []string{"NOTIFY_SOCKET=" + socket.LocalAddr().String()},
	})
	said := func() string {
		t.Helper()
		message := make([]byte, 100)
		require.NoError(t, socket.SetReadDeadline(time.Now().Add(harness.Patience)))
		n, err := socket.Read(message)
		require.NoError(t, err, p.Log())
		return string(message[:n])
	}
	require.Equal(t, "READY=1", said())
	_, err = httpGet("http://" + address + "/metrics")
	require.NoError(t, err)
	require.Zero(t, p.Terminate())
	require.Equal(t, "STOPPING=1", said())
}
