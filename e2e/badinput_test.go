package e2e

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/prometheus/prompb"
	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/e2e/harness"
)

// Mistakes on the command line and in the configuration end the program at
// once, with the exit code that Prometheus has for them and a word that helps.
func TestMistakes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name, text string) string { return harness.WriteFile(t, dir, name, text) }
	broken := file("broken.yml", "global:\n  scrape_interval: 1s\nscrape_configs:\n- job_name: a\n  - oops\n")
	unknown := file("unknown.yml", badField)
	badRules := file("rules.yml", "groups:\n- name: g\n  rules:\n  - record: a:b\n    expr: sum(\n")
	withRules := file("with-rules.yml", fmt.Sprintf("rule_files: [%q]\n", badRules))
	for _, x := range []struct {
		name string
		args []string
		code int
		says []string
	}{
		{"no role", nil, 2, []string{"server", "exporter"}},
		{"unknown command", []string{"sever"}, 2, []string{`"sever"`, `"server"`}},
		{"unknown flag", []string{"server", "--storage.tsdb.retention.tim=1d"}, 2, []string{`did you mean "storage.tsdb.retention.time"`}},
		{"unknown flag of the exporter", []string{"exporter", "--colectors=cpu"}, 2, []string{`did you mean "collectors"`}},
		{"unknown collector", []string{"exporter", "--collectors=memry"}, 2, []string{"memry", "memory"}},
		{"unknown kind", []string{"exporter", "--exporter=nod"}, 2, []string{"nod", "node"}},
		{"bad duration", []string{"server", "--query.timeout=soon"}, 2, []string{"--query.timeout", "soon"}},
		{"bad duration for a collector", []string{"exporter", "--collector.filesystem.mount-timeout=soon"}, 2, []string{"--collector.filesystem.mount-timeout", "soon"}},
		{"flag but no role", []string{"--config.file=x"}, 2, []string{"missing command", "clanmon server --config.file=x"}},
		{"server flag for the agent", []string{"server", "--agent", "--storage.tsdb.path=" + dir + "/x"}, 3, []string{"agent mode", "storage.tsdb.path"}},
		{"history of an agent", []string{"server", "--agent", "--query.url=http://127.0.0.1:1"}, 3, []string{"agent mode", "query.url"}},
		{"agent flag for the server", []string{"server", "--storage.agent.path=" + dir + "/x"}, 3, []string{"agent mode", "storage.agent.path"}},
		{"file that is not there", []string{"server", "--config.file=" + dir + "/none.yml"}, 2, []string{"none.yml", "no such file"}},
		{"broken YAML", []string{"server", "--config.file=" + broken}, 2, []string{"broken.yml", "line 4"}},
		{"unknown field", []string{"server", "--config.file=" + unknown}, 2, []string{"unknown.yml", "line 4", "scrape_intervall"}},
		{"broken rules", []string{"server", "--config.file=" + withRules}, 2, []string{"rules.yml"}},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			args := x.args
			if len(args) > 0 && args[0] == "server" {
				args = append(args, "--web.listen-address="+harness.Address(t))
			}
			code, output := harness.Run(t, harness.Command{Args: args})
			require.Equal(t, x.code, code, output)
			for _, word := range x.says {
				require.Contains(t, output, word)
			}
		})
	}
}

// An address that is taken is named, and the exit code is 1.
func TestPortInUse(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	taken := l.Addr().String()
	for _, args := range [][]string{
		{"server", "--web.listen-address=" + taken},
		{"exporter", "--node.listen-address=" + taken, "--systemd.listen-address=" + harness.Address(t)},
		{"exporter", "--web.listen-address=" + harness.Address(t), "--systemd.listen-address=" + taken},
	} {
		code, output := harness.Run(t, harness.Command{Args: args})
		require.Equal(t, 1, code, output)
		require.Contains(t, output, taken)
		require.Contains(t, output, "address already in use")
	}
}

// A data directory that another server has open is left alone.
func TestLockedDataDirectory(t *testing.T) {
	t.Parallel()
	first := harness.StartServer(t, harness.ServerOptions{Config: "global: {}\n", Args: receiving})
	for _, path := range []string{"", harness.Upstream(t)} {
		second := harness.LaunchServer(t, harness.ServerOptions{Path: path, Config: "global: {}\n", Data: first.Data})
		require.Equal(t, 1, second.Wait(), second.Log())
		require.Contains(t, second.Log(), "lock")
		require.Contains(t, second.Log(), first.Data)
	}
	first.Write(harness.Series([]prompb.Sample{{Value: 42, Timestamp: time.Now().UnixMilli()}}, "answer"))
	first.WaitValue("answer", 42)
	require.Zero(t, first.Terminate())
}

// A data directory that cannot be written is said plainly.
func TestReadOnlyDataDirectory(t *testing.T) {
	t.Parallel()
	harness.Root(t) // a read-only mount: permissions do not bind root
	dir := mountTmpfs(t, "size=1m")
	require.NoError(t, syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""))
	s := harness.LaunchServer(t, harness.ServerOptions{Config: "global: {}\n", Data: filepath.Join(dir, "data")})
	require.Equal(t, 1, s.Wait(), s.Log())
	require.Contains(t, s.Log(), "read-only file system")
	require.Contains(t, s.Log(), dir)
	require.NotContains(t, s.Log(), "panic")
	require.NotContains(t, s.Log(), "goroutine ")
}

// mountTmpfs mounts a small file system until the test ends.
func mountTmpfs(t testing.TB, options string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "mnt")
	require.NoError(t, os.Mkdir(dir, 0o755))
	require.NoError(t, syscall.Mount("tmpfs", dir, "tmpfs", 0, options))
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir
}

// A full disk costs new samples, nothing else: senders are told, what was
// acknowledged stays, queries go on, and with room again all is well.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	harness.Root(t)
	dir := mountTmpfs(t, "size=4m")
	data := filepath.Join(dir, "data")
	s := harness.StartServer(t, harness.ServerOptions{Config: "global: {}\n", Data: data, Args: receiving})

	start := time.Now().Add(-time.Hour).UnixMilli()
	series := func(n int) (all []prompb.TimeSeries) { // labels that do not compress
		for i := range 200 {
			id := fmt.Sprintf("%d-%d-%x", n, i, (n*200+i)*2654435761)
			all = append(all, harness.Series([]prompb.Sample{{Value: float64(n), Timestamp: start + int64(n)}}, "filling", "id", id, "pad", strings.Repeat(id, 8)))
		}
		return all
	}
	acknowledged := 0
	var refused error
	for n := range 2000 {
		if refused = s.TryWrite(series(n)...); refused != nil {
			break
		}
		acknowledged += 200
	}
	require.Error(t, refused, "the disk never got full")
	t.Logf("%d samples acknowledged before: %v", acknowledged, refused)
	require.Contains(t, refused.Error(), "no space left on device")
	require.Contains(t, s.Log(), "no space left on device")

	at := time.UnixMilli(start).Add(time.Minute)
	count := func(s *harness.Server) int {
		v, err := s.TryQuery("count(last_over_time(filling[5m]))", at)
		require.NoError(t, err)
		require.Len(t, v, 1)
		return int(v[0].Value)
	}
	require.GreaterOrEqual(t, count(s), acknowledged)
	require.Equal(t, http.StatusOK, s.Get("/-/healthy").Status)
	s.Kill()

	require.NoError(t, syscall.Mount("", dir, "", syscall.MS_REMOUNT, "size=64m"))
	again := harness.StartServer(t, harness.ServerOptions{Config: "global: {}\n", Data: data, Args: receiving})
	require.GreaterOrEqual(t, count(again), acknowledged)
	again.Write(harness.Series([]prompb.Sample{{Value: 42, Timestamp: time.Now().UnixMilli()}}, "answer"))
	again.WaitValue("answer", 42)
}
