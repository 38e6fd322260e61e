package e2e

import (
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/e2e/harness"
	"github.com/clanmon/clanmon/e2e/oracle"
)

// Everybody pays for what happens before main, also for "clanmon version".
func TestNoGarbageIsCollectedBeforeMain(t *testing.T) {
	t.Parallel()
	cmd := exec.Command(harness.Clanmon(t), "version")
	cmd.Env = append(os.Environ(), "GODEBUG=inittrace=1")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	allocated := 0
	for line := range strings.Lines(string(out)) {
		// init PACKAGE @0.77 ms, 0.031 ms clock, 144 bytes, 2 allocs
		f := strings.Fields(line)
		if len(f) < 8 || f[0] != "init" {
			continue
		}
		if strings.HasSuffix(f[1], "/nogc") {
			require.Less(t, allocated, 100_000, "bytes before the collector is off")
			return
		}
		n, err := strconv.Atoi(f[7])
		require.NoError(t, err, line)
		allocated += n
	}
	t.Fatalf("package nogc is not initialised:\n%s", out)
}

// The collector works once main has begun, as the role wants it.
func TestGarbageIsCollected(t *testing.T) {
	t.Parallel()
	s := harness.StartServer(t, harness.ServerOptions{Config: "runtime: {gogc: 90}\n"})
	percent, err := s.Metric("go_gc_gogc_percent")
	require.NoError(t, err)
	require.Equal(t, 90.0, percent)
	e := harness.StartKinds(t, []string{"node"}, nil)
	percent, err = harness.MetricIn(e.Metrics("node"), "go_gc_gogc_percent")
	require.NoError(t, err)
	require.Equal(t, 75.0, percent)
}

// A server that has nothing to read is ready before Prometheus would be. The
// fastest of several starts is compared: the machine may be busy with other tests.
func TestReadyBeforePrometheus(t *testing.T) {
	start := func(program string, args ...string) time.Duration {
		address := harness.Address(t)
		cmd := exec.Command(program, append(args, "--web.listen-address="+address, "--storage.tsdb.path="+t.TempDir())...)
		cmd.Dir = t.TempDir()
		begin := time.Now()
		require.NoError(t, cmd.Start())
		defer func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}()
		for time.Since(begin) < harness.Patience {
			if r, err := http.Get("http://" + address + "/-/ready"); err == nil {
				r.Body.Close()
				if r.StatusCode == http.StatusOK {
					return time.Since(begin)
				}
			}
			time.Sleep(time.Millisecond)
		}
		t.Fatalf("%s is not ready", program)
		return 0
	}
	empty := t.TempDir() + "/prometheus.yml"
	require.NoError(t, os.WriteFile(empty, nil, 0o600))
	ours, theirs := time.Hour, time.Hour
	for n := 0; n < 6 || n < 40 && ours >= theirs; n++ {
		ours = min(ours, start(harness.Clanmon(t), "server"))
		theirs = min(theirs, start(oracle.Path(t, "prometheus"), "--config.file="+empty))
	}
	t.Logf("ready after %s, Prometheus after %s", ours, theirs)
	require.Less(t, ours, theirs)
}
