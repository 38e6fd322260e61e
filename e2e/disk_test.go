package e2e

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/e2e/harness"
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

func (d disk) free() { require.NoError(d.t, os.Remove(filepath.Join(d.dir, "fill"))) }

// selfScrape makes a server store a sample of itself each second.
func selfScrape(listen string) string {
	return fmt.Sprintf("global: {scrape_interval: 1s, scrape_timeout: 1s}\nscrape_configs: [{job_name: self, static_configs: [{targets: ['%s']}]}]\n", listen)
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
	now := time.Now()
	before := stored(t, s, now)
	s.Terminate()
	require.Zero(t, s.Wait())
	s = harness.StartServer(t, o)
	require.Equal(t, before, stored(t, s, now))
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
	now := time.Now()
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
