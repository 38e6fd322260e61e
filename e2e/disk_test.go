package e2e

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/prometheus/prompb"
	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/e2e/harness"
	"github.com/clanmon/clanmon/e2e/oracle"
)

// disk is a small file system of its own; it needs root.
type disk struct {
	t   *testing.T
	dir string
}

func newDisk(t *testing.T, size string) disk {
	t.Helper()
	d := disk{t, t.TempDir()}
	require.NoError(t, syscall.Mount("tmpfs", d.dir, "tmpfs", 0, "size="+size), "mounting a small disk needs root")
	t.Cleanup(func() { _ = syscall.Unmount(d.dir, syscall.MNT_DETACH) })
	return d
}

// fill leaves no byte free.
func (d disk) fill() {
	d.t.Helper()
	f, err := os.OpenFile(filepath.Join(d.dir, "fill"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	require.NoError(d.t, err)
	defer f.Close()
	page := make([]byte, 4096)
	for err == nil {
		_, err = f.Write(page)
	}
	require.ErrorIs(d.t, err, syscall.ENOSPC)
}

// fillBut leaves that many bytes free.
func (d disk) fillBut(left int64) {
	d.t.Helper()
	d.fill()
	file := filepath.Join(d.dir, "fill")
	info, err := os.Stat(file)
	require.NoError(d.t, err)
	require.NoError(d.t, os.Truncate(file, info.Size()-left))
}

func (d disk) free() { require.NoError(d.t, os.Remove(filepath.Join(d.dir, "fill"))) }

// selfScrape makes a server store a sample of itself each second.
func selfScrape(listen string) string {
	return fmt.Sprintf("global: {scrape_interval: 1s, scrape_timeout: 1s}\nscrape_configs: [{job_name: self, static_configs: [{targets: ['%s']}]}]\n", listen)
}

// last is the time of the newest sample: no scrape that is under way adds one before it.
func last(t *testing.T, s *harness.Server) time.Time {
	t.Helper()
	return time.UnixMilli(int64(s.Value("timestamp(up)") * 1000))
}

func stored(t *testing.T, s *harness.Server, at time.Time) int {
	t.Helper()
	v, err := s.TryQuery("count_over_time(up[1h])", at)
	require.NoError(t, err)
	if len(v) == 0 {
		return 0
	}
	return int(v[0].Value)
}

// A disk that was full leaves a torn record in the WAL. Prometheus loses at the next
// start all that it stored since.
func TestDiskFullAndFreeAgain(t *testing.T) {
	t.Parallel()
	d := newDisk(t, "60m")
	listen := harness.Address(t)
	o := harness.ServerOptions{Config: selfScrape(listen), Listen: listen, Data: filepath.Join(d.dir, "data")}
	s := harness.StartServer(t, o)
	harness.Eventually(t, harness.Patience, func() error {
		if n := stored(t, s, time.Now()); n < 5 {
			return fmt.Errorf("%d samples", n)
		}
		return nil
	})
	d.fill()
	harness.Eventually(t, harness.Patience, func() error {
		if body := s.Get("/api/clanmon/v1/storage").Body; !strings.Contains(body, "disk full") {
			return fmt.Errorf("%s", body)
		}
		return nil
	})
	// As an alert too, which no rule could raise.
	harness.Eventually(t, harness.Patience, func() error {
		if body := s.Get("/api/v2/alerts").Body; !strings.Contains(body, "StorageBlind") {
			return fmt.Errorf("%s", body)
		}
		return nil
	})
	d.free()
	harness.Eventually(t, harness.Patience, func() error {
		if body := s.Get("/api/clanmon/v1/storage").Body; !strings.Contains(body, `"storing":true`) || strings.Contains(body, "unsafe") {
			return fmt.Errorf("%s", body)
		}
		return nil
	})
	freed := time.Now()
	harness.Eventually(t, harness.Patience, func() error {
		v, err := s.TryQuery("count_over_time(up[1h]) - count_over_time(up[1h] @ "+fmt.Sprint(freed.Unix())+")", time.Now())
		if err == nil && (len(v) == 0 || v[0].Value < 5) {
			err = fmt.Errorf("%v", v)
		}
		return err
	})
	now := last(t, s)
	before := stored(t, s, now)
	s.Terminate()
	require.Zero(t, s.Wait())
	s = harness.StartServer(t, o)
	require.Equal(t, before, stored(t, s, now))
}

// A disk with room for the WAL and none for the head's chunks: Prometheus ends with a
// panic when the first of them are full.
func TestDiskFullForLong(t *testing.T) {
	t.Parallel()
	for _, end := range []string{"room", "SIGTERM", "SIGKILL"} {
		t.Run(end, func(t *testing.T) {
			t.Parallel()
			d := newDisk(t, "60m")
			o := harness.ServerOptions{Config: "global: {}\n", Data: filepath.Join(d.dir, "data"), Args: append(receiving, "--storage.tsdb.block-reload-interval=1s")}
			s := harness.StartServer(t, o)
			d.fillBut(200 << 10)
			begin := time.Now().Add(-time.Hour)
			var batch []prompb.TimeSeries
			for i := range 5 {
				var samples []prompb.Sample
				for n := range 300 { // a chunk takes 120, and up to 240 shortly before an even hour
					samples = append(samples, prompb.Sample{Value: float64(n), Timestamp: begin.Add(time.Duration(n) * 10 * time.Second).UnixMilli()})
				}
				batch = append(batch, harness.Series(samples, "x", "i", fmt.Sprint(i)))
			}
			s.Write(batch...)
			s.WaitLog("compaction and retention pause")
			all := func() error {
				v, err := s.TryQuery("sum(count_over_time(x[2h]))", time.Now())
				if err == nil && (len(v) == 0 || v[0].Value != 1500) {
					err = fmt.Errorf("%v", v)
				}
				return err
			}
			require.NoError(t, all())
			d.fill()
			time.Sleep(2500 * time.Millisecond) // upstream tries each second
			require.False(t, s.Exited(), "%s", s.Log())
			switch end {
			case "room":
				d.free()
				harness.Eventually(t, harness.Patience, func() error {
					if n, err := s.Metric("prometheus_tsdb_mmap_chunks_total"); err != nil || n == 0 {
						return fmt.Errorf("%v chunks are in files (%v)", n, err)
					}
					return nil
				})
				require.NoError(t, all())
				require.Zero(t, s.Terminate())
			case "SIGTERM":
				s.Terminate()
				d.free()
			case "SIGKILL":
				s.Kill()
				d.free()
			}
			require.NotContains(t, s.Log(), "goroutine ")
			s = harness.StartServer(t, o)
			require.NoError(t, all())
		})
	}
}

// Killed while the disk is full, and started while it is: Prometheus deletes its WAL
// then. Here it waits for room, says so, and goes on by itself.
func TestStartOnFullDisk(t *testing.T) {
	t.Parallel()
	d := newDisk(t, "60m")
	listen := harness.Address(t)
	o := harness.ServerOptions{Config: selfScrape(listen), Listen: listen, Data: filepath.Join(d.dir, "data")}
	s := harness.StartServer(t, o)
	harness.Eventually(t, harness.Patience, func() error {
		if n := stored(t, s, time.Now()); n < 8 {
			return fmt.Errorf("%d samples", n)
		}
		return nil
	})
	now := last(t, s)
	before := stored(t, s, now)
	d.fill()
	harness.Eventually(t, harness.Patience, func() error {
		if !strings.Contains(s.Log(), "no space left on device") {
			return io.ErrNoProgress
		}
		return nil
	})
	s.Kill()
	s = harness.LaunchServer(t, o)
	harness.Eventually(t, harness.Patience, func() error {
		a, err := s.TryGet("/-/ready")
		if err == nil && (a.Status != 503 || !strings.Contains(a.Body, "disk full")) {
			err = fmt.Errorf("%d %s", a.Status, a.Body)
		}
		return err
	})
	s.Kill()
	s = harness.LaunchServer(t, o)
	d.free()
	s.WaitReady()
	require.Equal(t, before, stored(t, s, now))
}

// A block that ends in 30 days, because a clock was wrong once: every sample is refused.
// It is said, and retention deletes nothing for its sake, at two starts.
func TestBlockFromTheFuture(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	old, future := time.Now().Add(-72*time.Hour), time.Now().Add(30*24*time.Hour)
	for name, at := range map[string]time.Time{"old": old, "future": future} {
		var text strings.Builder
		fmt.Fprintf(&text, "# TYPE %s gauge\n", name)
		for i := range 60 {
			fmt.Fprintf(&text, "%s 1 %d\n", name, at.Add(time.Duration(i)*time.Minute).Unix())
		}
		text.WriteString("# EOF\n")
		out, err := exec.Command(oracle.Path(t, "promtool"), "tsdb", "create-blocks-from", "openmetrics", harness.WriteFile(t, dir, name, text.String()), data).CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
	for range 2 {
		s := harness.StartServer(t, harness.ServerOptions{Config: "global: {}\n", Data: data, Args: []string{"--storage.tsdb.retention.time=15d", "--storage.tsdb.block-reload-interval=1s"}})
		harness.Eventually(t, harness.Patience, func() error {
			if body := s.Get("/api/v2/alerts").Body; !strings.Contains(body, "StorageBlind") || !strings.Contains(body, "is from the future") {
				return fmt.Errorf("%s", body)
			}
			return nil
		})
		v, err := s.TryQuery("count_over_time(old[2h])", old.Add(time.Hour))
		require.NoError(t, err)
		require.Len(t, v, 1)
		require.Equal(t, 60.0, v[0].Value)
		require.Zero(t, s.Terminate())
	}
}

// An agent whose disk fills goes on when there is room, and says meanwhile that it stores
// nothing. It writes nothing behind the torn record, which a repair would delete.
func TestAgentOnFullDisk(t *testing.T) {
	t.Parallel()
	receiver := harness.StartServer(t, harness.ServerOptions{Config: "global: {}\n", Args: receiving})
	d := newDisk(t, "20m")
	listen := harness.Address(t)
	config := selfScrape(listen) + "remote_write: [{url: '" + receiver.URL + "/api/v1/write'}]\n"
	s := harness.StartServer(t, harness.ServerOptions{Config: config, Agent: true, Listen: listen, Data: filepath.Join(d.dir, "data")})
	receiver.WaitValue("count_over_time(up[1m]) >= bool 3", 1)
	d.fill()
	storing := func(want string) {
		t.Helper()
		harness.Eventually(t, harness.Patience, func() error {
			a, err := s.TryGet("/api/clanmon/v1/storage")
			if err == nil && !strings.Contains(a.Body, want) {
				err = fmt.Errorf("%s", a.Body)
			}
			return err
		})
	}
	storing(`"storing":false`)
	time.Sleep(12 * time.Second) // StorageBlind is raised meanwhile, with no rules to ask about it
	d.free()
	storing(`"storing":true`)
	freed := time.Now()
	harness.Eventually(t, harness.Patience, func() error {
		v, err := receiver.TryQuery("max(timestamp(up))", time.Now())
		if err == nil && (len(v) == 0 || v[0].Value < float64(freed.Unix()+2)) {
			err = fmt.Errorf("nothing since then: %v", v)
		}
		return err
	})
	require.Contains(t, s.Log(), "The WAL is repaired")
	require.NotContains(t, s.Log(), "goroutine ")
	require.Zero(t, s.Terminate())
}
