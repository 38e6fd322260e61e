package server_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/tsdb/tsdbutil"
	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/server"
	"github.com/clanmon/clanmon/server/servertest"
	"github.com/clanmon/clanmon/server/store/backup"
)

// A copy of a running server, and one of the same server once it is stopped, restore all
// series, those that arrived out of order too, and the silences.
func TestBackupAndRestore(t *testing.T) {
	t.Parallel()
	const config = "storage: {tsdb: {out_of_order_time_window: 1h}}\n"
	on := func(dir string) *servertest.Server {
		return servertest.Start(t, config, func(o *server.Options) {
			o.Dir = dir
			o.Web.EnableOTLPWriteReceiver = true
		})
	}
	now := time.Now()
	push := func(s *servertest.Server, value int, age time.Duration) {
		r, err := http.Post(s.URL("/api/v1/otlp/v1/metrics"), "application/json", strings.NewReader(fmt.Sprintf(
			`{"resourceMetrics": [{"scopeMetrics": [{"metrics": [{"name": "demo", "gauge": {"dataPoints": [{"timeUnixNano": "%d", "asDouble": %d}]}}]}]}]}`, now.Add(-age).UnixNano(), value)))
		require.NoError(t, err)
		r.Body.Close()
		require.Equal(t, http.StatusOK, r.StatusCode)
	}
	samples := func(s *servertest.Server) string {
		_, body := s.Get("/api/v1/query?query=demo[2h]")
		require.Contains(t, body, `"demo"`)
		return body
	}

	// A path longer than that of a socket may be.
	dir := filepath.Join(t.TempDir(), strings.Repeat("long-", 30), "data")
	s := on(dir)
	push(s, 1, time.Minute)
	push(s, 2, 30*time.Minute) // out of order
	silence(t, s, "alpha", now.Add(time.Hour))
	want := samples(s)
	copies := t.TempDir()
	running := filepath.Join(copies, "running")
	awaitSocket(t, dir)
	r, err := backup.Take(t.Context(), dir, running, false)
	require.NoError(t, err)
	require.True(t, r.Running)
	require.Eventually(t, func() bool {
		_, err := os.Stat(filepath.Join(dir, "snapshots"))
		return os.IsNotExist(err)
	}, time.Minute, 5*time.Millisecond, "the server removes its snapshot")
	info, err := os.Stat(filepath.Join(dir, backup.SocketName))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	require.Equal(t, want, samples(s))

	_, err = backup.Take(t.Context(), dir, running, false)
	require.ErrorContains(t, err, "is not empty")
	_, err = backup.Take(t.Context(), dir, filepath.Join(dir, "copy"), false)
	require.ErrorContains(t, err, "is inside the data directory")

	state := filepath.Join(copies, "state")
	_, err = backup.Take(t.Context(), dir, state, true)
	require.NoError(t, err)
	entries, err := os.ReadDir(state)
	require.NoError(t, err)
	require.NotEmpty(t, entries)
	for _, e := range entries {
		require.Contains(t, []string{"alertmanager", "traffic.json"}, e.Name(), "no samples")
	}
	require.DirExists(t, filepath.Join(state, "alertmanager"), "silences and the notification log")

	// Through a link too.
	link := filepath.Join(t.TempDir(), "link")
	require.NoError(t, os.Symlink(dir, link))
	linked := filepath.Join(copies, "linked")
	r, err = backup.Take(t.Context(), link, linked, false)
	require.NoError(t, err)
	require.True(t, r.Running)

	require.NoError(t, s.Stop())
	linkedStopped := filepath.Join(copies, "linked-stopped")
	r, err = backup.Take(t.Context(), link, linkedStopped, false)
	require.NoError(t, err)
	require.False(t, r.Running)
	require.NoFileExists(t, filepath.Join(dir, backup.SocketName))
	stopped := filepath.Join(copies, "stopped")
	r, err = backup.Take(t.Context(), dir, stopped, false)
	require.NoError(t, err)
	require.False(t, r.Running)

	for _, copied := range []string{running, stopped, linked, linkedStopped} {
		restored := on(copied)
		require.Equal(t, want, samples(restored), copied)
		_, storage := restored.Get("/api/clanmon/v1/storage")
		require.NotContains(t, storage, "damaged/", copied)
		_, silences := restored.Get("/api/v2/silences")
		require.Contains(t, silences, "upgrade", copied)
		require.NoError(t, restored.Stop())
	}
	entries, err = os.ReadDir(copies)
	require.NoError(t, err)
	require.Len(t, entries, 5, "no partial copy is left")
}

// What cannot be copied consistently is refused, and nothing is left of the attempt.
func TestBackupRefuses(t *testing.T) {
	t.Parallel()
	dir, dest := t.TempDir(), filepath.Join(t.TempDir(), "copy")
	lock, err := tsdbutil.NewDirLocker(dir, "x", slog.New(slog.DiscardHandler), nil)
	require.NoError(t, err)
	require.NoError(t, lock.Lock())
	_, err = backup.Take(t.Context(), dir, dest, false)
	require.ErrorContains(t, err, "is in use by a process that has no clanmon.sock")
	require.NoError(t, lock.Release())
	_, err = backup.Take(t.Context(), dir, "/proc", false)
	require.ErrorContains(t, err, "mount point")
	_, err = backup.Take(t.Context(), filepath.Join(dir, "nothing"), dest, false)
	require.ErrorContains(t, err, `data directory "`+dir+`/nothing"`)

	agent := t.TempDir()
	servertest.Start(t, "remote_write: [{url: http://127.0.0.1:1}]\n", func(o *server.Options) { o.Dir, o.Agent = agent, true })
	awaitSocket(t, agent)
	_, err = backup.Take(t.Context(), agent, dest, false)
	require.ErrorContains(t, err, "use --only-state")
	require.NoDirExists(t, dest)
	require.NoDirExists(t, dest+".partial")
	_, err = backup.Take(t.Context(), agent, dest, true)
	require.NoError(t, err)
}

func awaitSocket(t *testing.T, dir string) {
	t.Helper()
	require.Eventually(t, func() bool {
		_, err := os.Stat(filepath.Join(dir, backup.SocketName))
		return err == nil
	}, time.Minute, 5*time.Millisecond)
}
