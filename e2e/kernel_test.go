package e2e

import (
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/clanmon/clanmon/e2e/harness"
)

// Exporter and server as two processes; the server's answers are compared with
// what the kernel says.
func TestExporterAndServerAgreeWithTheKernel(t *testing.T) {
	t.Parallel()
	e := harness.StartExporter(t)
	s := harness.StartServer(t, harness.ServerOptions{Config: e.ScrapeConfig()})
	s.WaitValue(`up{job="node"}`, 1)
	s.WaitValue(`up{job="systemd"}`, 1)

	require.Equal(t, memTotal(t), s.Value("node_memory_MemTotal_bytes"))

	stat, err := os.ReadFile("/proc/stat")
	require.NoError(t, err)
	_, after, ok := strings.Cut(string(stat), "\nbtime ")
	require.True(t, ok)
	boot, err := strconv.ParseFloat(strings.Fields(after)[0], 64)
	require.NoError(t, err)
	require.Equal(t, boot, s.Value("node_boot_time_seconds"))

	var root syscall.Statfs_t
	require.NoError(t, syscall.Statfs("/", &root))
	require.Equal(t, float64(root.Blocks)*float64(root.Bsize), s.Value(`node_filesystem_size_bytes{mountpoint="/"}`))
	require.Equal(t, float64(root.Files), s.Value(`node_filesystem_files{mountpoint="/"}`))
	free := s.Value(`node_filesystem_free_bytes{mountpoint="/"}`)
	require.NoError(t, syscall.Statfs("/", &root))
	require.InDelta(t, float64(root.Bfree)*float64(root.Bsize), free, 2<<30, "free space moves while the tests run, but not by much")

	var uts unix.Utsname
	require.NoError(t, unix.Uname(&uts))
	uname := s.Query("node_uname_info")
	require.Len(t, uname, 1)
	for label, field := range map[string][]byte{
		"sysname": uts.Sysname[:], "nodename": uts.Nodename[:], "release": uts.Release[:],
		"version": uts.Version[:], "machine": uts.Machine[:],
	} {
		require.Equal(t, unix.ByteSliceToString(field), uname[0].Labels[label], label)
	}

	require.Equal(t, float64(runtime.NumCPU()), s.Value(`count(node_cpu_seconds_total{mode="idle"})`))
	require.InDelta(t, s.Value("vector(time())"), s.Value("node_time_seconds"), harness.Patience.Seconds())

	require.Greater(t, s.Value("count(node_scrape_collector_success == 1)"), 20.0)
	require.Zero(t, e.Terminate())
	s.WaitValue(`up{job="node"}`, 0)
}
