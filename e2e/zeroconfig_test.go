package e2e

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/e2e/harness"
)

// A fresh machine, an empty directory, one command.
func TestZeroConfigShowsThisMachine(t *testing.T) {
	t.Parallel()
	s := harness.LaunchServer(t, harness.ServerOptions{Bare: true})
	begin := time.Now()
	harness.Eventually(t, harness.Patience, func() error {
		up, err := s.TryQuery("up == 1", time.Time{})
		if err == nil && len(up) != len(harness.LocalJobs()) {
			err = fmt.Errorf("want the jobs %v up, got %v", harness.LocalJobs(), up)
		}
		return err
	})
	t.Logf("all jobs up after %v", time.Since(begin).Round(100*time.Millisecond))

	host, err := os.Hostname()
	require.NoError(t, err)
	var jobs []string
	for _, sample := range s.Query("up") {
		jobs = append(jobs, sample.Labels["job"])
		require.Equal(t, host, sample.Labels["machine"])
		require.NotEmpty(t, sample.Labels["instance"])
		require.NotEmpty(t, sample.Labels["availability"])
	}
	require.ElementsMatch(t, harness.LocalJobs(), jobs, "no job systemd without a systemd, which would be up and know of no failed unit")

	require.Equal(t, memTotal(t), s.Value(`node_memory_MemTotal_bytes{job="node"}`))
	require.DirExists(t, filepath.Join(s.Dir, "data", "wal"), "the data directory is ./data")
	require.Zero(t, s.Terminate())
}

// The sockets on which a server scrapes itself answer nobody else.
func TestLocalJobsAreForTheServerAlone(t *testing.T) {
	t.Parallel()
	s := harness.StartServer(t, harness.ServerOptions{Bare: true})
	name := regexp.MustCompile(`@clanmon/\w+/node`).FindString(s.Get("/api/v1/status/config").Body)
	require.NotEmpty(t, name)
	c, err := net.Dial("unix", name)
	require.NoError(t, err)
	defer c.Close()
	require.NoError(t, c.SetDeadline(time.Now().Add(harness.Patience)))
	_, _ = io.WriteString(c, "GET /metrics HTTP/1.0\r\n\r\n") // the other end may be gone by now
	answer, err := io.ReadAll(c)
	require.Empty(t, answer)
	require.NotErrorIs(t, err, os.ErrDeadlineExceeded)
	s.WaitValue(`up{job="node"}`, 1)
}

// A prometheus.yml in the working directory is the configuration.
func TestZeroConfigReadsTheFileThatIsThere(t *testing.T) {
	t.Parallel()
	target := harness.NewTarget(t, "answer 42\n")
	s := harness.StartServer(t, harness.ServerOptions{Bare: true, Files: map[string]string{"prometheus.yml": scrapeConfig("job_of_the_file", target.Host())}})
	s.WaitValue(`answer{job="job_of_the_file"}`, 42)
	require.Len(t, s.Query("up"), 1, "the built-in jobs are only for when nothing is configured")
}

// Under the name prometheus it is the server, so a unit file or a container
// command only needs another program.
func TestNamedPrometheus(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	link := filepath.Join(dir, "prometheus")
	require.NoError(t, os.Symlink(harness.Clanmon(t), link))
	s := harness.StartServer(t, harness.ServerOptions{Path: link, Config: "global: {}\n"})
	require.Equal(t, "Prometheus Server is Ready.\n", s.Get("/-/ready").Body)
	require.Empty(t, s.Query("up"))
}

func scrapeConfig(job, host string) string {
	return fmt.Sprintf("global: {scrape_interval: 1s}\nscrape_configs:\n- job_name: %s\n  static_configs: [{targets: [%q]}]\n", job, host)
}

// memTotal is MemTotal of /proc/meminfo in bytes.
func memTotal(t testing.TB) float64 {
	t.Helper()
	b, err := os.ReadFile("/proc/meminfo")
	require.NoError(t, err)
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); f[0] == "MemTotal:" {
			kib, err := strconv.ParseFloat(f[1], 64)
			require.NoError(t, err)
			return kib * 1024
		}
	}
	t.Fatal("/proc/meminfo has no MemTotal")
	return 0
}
