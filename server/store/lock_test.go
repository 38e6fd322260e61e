package store

import (
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/stretchr/testify/require"
)

// A second process on the same directory changes nothing in it, whatever there is to
// repair.
func TestLockBeforeAnythingIsTouched(t *testing.T) {
	dir := t.TempDir()
	s, stop := running(t, dir)
	fill(t, s, "x", 1, 0, 10)
	require.NoError(t, os.Mkdir(filepath.Join(dir, "01M8GV41H6M2BX91ZK5W8FFH50"), 0o777)) // a block to set aside
	require.NoError(t, os.MkdirAll(filepath.Join(dir, damagedDir, openingDir), 0o777))
	list := func() map[string]int64 {
		all := make(map[string]int64)
		require.NoError(t, filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
			require.NoError(t, err)
			info, err := e.Info()
			require.NoError(t, err)
			if path != dir && e.Name() != walFile {
				all[path] = info.ModTime().UnixNano()
			}
			return nil
		}))
		return all
	}
	before := list()
	for _, agent := range []bool{false, true} {
		_, err := New(Options{Dir: dir, Agent: agent, TSDB: *tsdb.DefaultOptions(), Registerer: prometheus.NewRegistry(), Logger: slog.New(slog.DiscardHandler)})
		require.ErrorContains(t, err, "another process uses the data directory")
	}
	require.Equal(t, before, list())
	stop()
	require.NoFileExists(t, filepath.Join(dir, "lock"))
	require.NoError(t, os.Remove(filepath.Join(dir, "01M8GV41H6M2BX91ZK5W8FFH50")))
	_, stop = running(t, dir) // it is free again
	stop()
}

// Other parts' files are set aside with the store's, except empty ones of a clanmon that
// wrote them where there was nothing to keep.
func TestStateFileIsSetAside(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "alertmanager", "silences")
	require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o777))
	require.NoError(t, os.WriteFile(file, nil, 0o666))
	aside := func() {
		s, err := New(Options{Dir: dir, TSDB: *tsdb.DefaultOptions(), Registerer: prometheus.NewRegistry(), Logger: slog.New(slog.DiscardHandler)})
		require.NoError(t, err)
		require.NoError(t, s.SetAside(file, "silences", "hint", os.ErrInvalid))
		require.NoError(t, s.Close())
	}
	aside()
	require.FileExists(t, file)
	_, stop := running(t, dir)
	stop()
	aside()
	require.NoFileExists(t, file)

	s, stop := running(t, dir)
	defer stop()
	require.Len(t, s.Health().Damaged, 1)
	require.Equal(t, "silences", s.Health().Damaged[0].What)
	require.FileExists(t, filepath.Join(dir, s.Health().Damaged[0].Path, "silences"))
	require.NoError(t, os.WriteFile(file, []byte("x"), 0o666))
	require.ErrorContains(t, s.SetAside(file, "silences", "hint", &fs.PathError{Op: "open", Path: file, Err: os.NewSyscallError("open", syscall.EACCES)}), "run as the owner")
	require.FileExists(t, file)
}
