package store

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A power cut leaves segments of the WAL empty, shorter or full of zeros, and upstream
// starts without a word. Empty segments that were always empty are normal: each start
// begins one.
func TestLostPartsOfTheWAL(t *testing.T) {
	for name, c := range map[string]struct {
		harm  func(t *testing.T, wal string, segments []walSegment) (which int)
		why   string
		kept  bool // the segment itself is in damaged/
		whole bool // only what was never there is missing
	}{
		"last one with data emptied": {harm: func(t *testing.T, wal string, s []walSegment) int {
			i := lastWithData(s)
			require.NoError(t, os.Truncate(filepath.Join(wal, s[i].name), 0))
			return i
		}, why: "it is empty and had"},
		"first one emptied": {harm: func(t *testing.T, wal string, s []walSegment) int {
			require.NoError(t, os.Truncate(filepath.Join(wal, s[0].name), 0))
			return 0
		}, why: "it is empty and had"},
		"shorter by whole pages": {harm: func(t *testing.T, wal string, s []walSegment) int {
			i := largest(s)
			require.NoError(t, os.Truncate(filepath.Join(wal, s[i].name), walPage))
			return i
		}, why: "it has 32768 bytes and had"},
		"last one gone": {harm: func(t *testing.T, wal string, s []walSegment) int {
			for i := lastWithData(s); i < len(s); i++ {
				require.NoError(t, os.Remove(filepath.Join(wal, s[i].name)))
			}
			return lastWithData(s)
		}, why: "it is missing"},
		"all gone": {harm: func(t *testing.T, wal string, s []walSegment) int {
			require.NoError(t, os.RemoveAll(wal))
			return 0
		}, why: "it is missing"},
		"zeros at the end": {harm: func(t *testing.T, wal string, s []walSegment) int {
			i := largest(s)
			zero(t, filepath.Join(wal, s[i].name), s[i].size-walPage, walPage)
			return i
		}, why: "32 KiB of it are zeros", kept: true},
		"zeros behind the end": {harm: func(t *testing.T, wal string, s []walSegment) int {
			i := lastWithData(s)
			pages := (s[i].size + walPage - 1) / walPage
			require.NoError(t, os.Truncate(filepath.Join(wal, s[i].name), (pages+2)*walPage))
			return i
		}, why: "64 KiB of it are zeros", kept: true, whole: true},
		"a page of zeros in the middle": {harm: func(t *testing.T, wal string, s []walSegment) int {
			zero(t, filepath.Join(wal, s[0].name), 0, walPage)
			return 0
		}, why: "32 KiB of it are zeros"},
		"never written": {harm: func(t *testing.T, wal string, s []walSegment) int { return 0 }, whole: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			for i := range 3 { // a start that stores nothing leaves an empty segment
				s, stop := running(t, dir)
				if i != 1 {
					fill(t, s, "x", 200, 60*i, 60)
				}
				require.Empty(t, s.Health().Damaged)
				stop()
			}
			wal := filepath.Join(dir, walDir)
			segments, err := walSegments(wal)
			require.NoError(t, err)
			require.Greater(t, len(segments), 3)
			which := c.harm(t, wal, segments)

			s, stop := running(t, dir)
			n := samples(t, s, "x")
			damaged := s.Health().Damaged
			stop()
			if c.why == "" {
				require.Empty(t, damaged)
			} else {
				require.NotEmpty(t, damaged)
				d := damaged[len(damaged)-1]
				require.Equal(t, "WAL segment "+segments[which].name, d.What)
				require.Contains(t, d.Err, c.why)
				require.WithinDuration(t, time.Now(), d.To, 10*time.Minute, "what is missing")
				if c.kept {
					require.FileExists(t, filepath.Join(dir, d.Path, segments[which].name))
				}
			}
			if c.whole {
				require.Equal(t, 200*120, n)
			} else {
				require.Less(t, n, 200*120)
			}
			s, stop = running(t, dir)
			require.Len(t, s.Health().Damaged, len(damaged), "said once")
			require.Equal(t, n, samples(t, s, "x"))
			stop()
		})
	}
}

func lastWithData(all []walSegment) int {
	for i := len(all) - 1; ; i-- {
		if all[i].size > 0 {
			return i
		}
	}
}

func largest(all []walSegment) (largest int) {
	for i := range all {
		if all[i].size > all[largest].size {
			largest = i
		}
	}
	return largest
}

func zero(t *testing.T, file string, from, length int64) {
	t.Helper()
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	require.NoError(t, err)
	defer f.Close()
	_, err = f.WriteAt(make([]byte, length), from)
	require.NoError(t, err)
}

// Chunks of the head that are zeros cost nothing: their samples are in the WAL.
func TestHeadChunksOfZeros(t *testing.T) {
	for name, harm := range map[string]func(t *testing.T, file string, size int64){
		"all":     func(t *testing.T, file string, size int64) { zero(t, file, 0, size) },
		"the end": func(t *testing.T, file string, size int64) { zero(t, file, 200, size-200) },
		"empty":   func(t *testing.T, file string, size int64) { require.NoError(t, os.Truncate(file, 0)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			for range 3 {
				s, stop := running(t, dir)
				if samples(t, s, "x") == 0 {
					fill(t, s, "x", 20, -300, 450)
				}
				stop()
				files, err := filepath.Glob(filepath.Join(dir, "chunks_head", "0*"))
				require.NoError(t, err)
				require.NotEmpty(t, files)
				for _, f := range files {
					info, err := os.Stat(f)
					require.NoError(t, err)
					if info.Size() > 200 {
						harm(t, f, info.Size())
					}
				}
			}
			s, stop := running(t, dir)
			defer stop()
			require.Equal(t, 20*450, samples(t, s, "x"))
		})
	}
}

// What is set aside is bounded by age and size, and forgotten when somebody removes it.
func TestDamagedIsBounded(t *testing.T) {
	dir := t.TempDir()
	aside := func(name string, size int64, at time.Time) string {
		path := filepath.Join(dir, damagedDir, name)
		require.NoError(t, os.MkdirAll(path, 0o777))
		require.NoError(t, os.WriteFile(filepath.Join(path, "data"), nil, 0o666))
		require.NoError(t, os.Truncate(filepath.Join(path, "data"), size)) // sparse
		note := `{"what":"` + name + `","bytes":` + strconv.FormatInt(size, 10) + `,"setAside":"` + at.UTC().Format(time.RFC3339) + `"}`
		require.NoError(t, os.WriteFile(filepath.Join(path, noteFile), []byte(note), 0o666))
		return path
	}
	now := time.Now()
	newest := aside("newest", damagedSize/2, now)
	older := aside("older", 3*damagedSize, now.Add(-damagedKept+time.Hour)) // too young to be removed for its size
	tooMuch := aside("too-much", 1, now.Add(-damagedKept-time.Hour))
	tooOld := aside("too-old", 1, now.Add(-damagedAge-time.Hour))
	s, stop := running(t, dir)
	defer stop()
	require.Len(t, s.Health().Damaged, 2)
	require.Equal(t, int64(damagedSize/2), s.Health().Damaged[0].Size)
	require.DirExists(t, newest)
	require.DirExists(t, older)
	require.NoDirExists(t, tooMuch)
	require.NoDirExists(t, tooOld)
	require.NoError(t, os.RemoveAll(older))
	s.damaged.prune() // the watch calls it
	require.Len(t, s.Health().Damaged, 1)
}
