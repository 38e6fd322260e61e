package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/tsdb/record"
	"github.com/prometheus/prometheus/tsdb/wlog"
	"github.com/stretchr/testify/require"
)

// textLog is a log that several goroutines may write.
type textLog struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *textLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *textLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func (l *textLog) has(what string) bool { return strings.Contains(l.String(), what) }

func (l *textLog) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

const snapshotUsed = "chunk snapshot loaded"

// remembering is running with snapshots of memory.
func remembering(t *testing.T, dir string) (s *Store, stop func(), log *textLog) {
	t.Helper()
	log = &textLog{}
	s, stop = runningWith(t, dir, func(o *Options) {
		o.TSDB.EnableMemorySnapshotOnShutdown, o.Version = true, "3.16.0"
		o.Logger = log.logger()
	})
	return s, stop, log
}

func memorySnapshots(t *testing.T, dir string) []string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(dir, snapshotPrefix+"*"))
	require.NoError(t, err)
	return all
}

func TestASnapshotOfMemoryIsUsedOnce(t *testing.T) {
	dir := t.TempDir()
	s, stop, _ := remembering(t, dir)
	fill(t, s, "a", 5, 0, 30)
	require.NoError(t, s.Local().Delete(t.Context(), start.UnixMilli(), start.UnixMilli(), labels.MustNewMatcher(labels.MatchEqual, "__name__", "a")))
	stop()
	require.Len(t, memorySnapshots(t, dir), 1)

	s, stop, log := remembering(t, dir)
	require.Contains(t, log.String(), snapshotUsed)
	require.Empty(t, memorySnapshots(t, dir), "it would be stale after a kill")
	require.Equal(t, 5*29, samples(t, s, "a"), "a deleted sample is not back")
	fill(t, s, "a", 5, 30, 10)
	stop()

	// As after a kill: without the snapshot everything comes from the WAL.
	require.NoError(t, s.dropSnapshots(""))
	s, stop, log = remembering(t, dir)
	defer stop()
	require.NotContains(t, log.String(), snapshotUsed)
	require.Equal(t, 5*39, samples(t, s, "a"))
}

// A Prometheus that was there in between knows nothing of the snapshot.
func TestAStaleSnapshotOfMemoryIsNotUsed(t *testing.T) {
	for name, meanwhile := range map[string]func(t *testing.T, dir string){
		"another program appended": func(t *testing.T, dir string) {
			db, err := tsdb.Open(dir, nil, nil, tsdb.DefaultOptions(), nil)
			require.NoError(t, err)
			app := db.Appender(context.Background())
			for i := range 200 {
				_, err := app.Append(0, labels.FromStrings("__name__", "b"), start.Add(2*time.Hour).UnixMilli()+int64(i)*1000, 1)
				require.NoError(t, err)
			}
			require.NoError(t, app.Commit())
			require.NoError(t, db.Close())
		},
		"another program only opened it": func(t *testing.T, dir string) {
			db, err := tsdb.Open(dir, nil, nil, tsdb.DefaultOptions(), nil)
			require.NoError(t, err)
			require.NoError(t, db.Close())
		},
		"it is ahead of the WAL": func(t *testing.T, dir string) {
			require.NoError(t, os.Rename(memorySnapshots(t, dir)[0], filepath.Join(dir, fmt.Sprintf("%s%06d.%010d", snapshotPrefix, 99, 0))))
		},
		"it was not finished": func(t *testing.T, dir string) {
			require.NoError(t, os.Rename(memorySnapshots(t, dir)[0], memorySnapshots(t, dir)[0]+".tmp"))
		},
		"nobody vouches for it": func(t *testing.T, dir string) {
			require.NoError(t, os.Remove(filepath.Join(memorySnapshots(t, dir)[0], snapshotNote)))
		},
		"its note is torn": func(t *testing.T, dir string) {
			require.NoError(t, os.Truncate(filepath.Join(memorySnapshots(t, dir)[0], snapshotNote), 10))
		},
		"another version wrote it": func(t *testing.T, dir string) {
			file := filepath.Join(memorySnapshots(t, dir)[0], snapshotNote)
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			require.Contains(t, string(text), `"version":"3.16.0"`)
			require.NoError(t, os.WriteFile(file, bytes.Replace(text, []byte("3.16.0"), []byte("3.17.0"), 1), 0o666))
		},
		"another program wrote one too": func(t *testing.T, dir string) {
			o := tsdb.DefaultOptions()
			o.EnableMemorySnapshotOnShutdown = true
			db, err := tsdb.Open(dir, nil, nil, o, nil)
			require.NoError(t, err)
			require.NoError(t, db.Close())
		},
		"chunks of the head are gone": func(t *testing.T, dir string) {
			require.NoError(t, os.RemoveAll(filepath.Join(dir, headChunksDir)))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s, stop, _ := remembering(t, dir)
			fill(t, s, "a", 5, 0, 150) // more than a chunk of each series
			stop()
			meanwhile(t, dir)
			s, stop, log := remembering(t, dir)
			defer stop()
			require.NotContains(t, log.String(), snapshotUsed)
			require.Empty(t, memorySnapshots(t, dir))
			require.Equal(t, 5*150, samples(t, s, "a"))
			if name == "another program appended" {
				require.Equal(t, 200, samples(t, s, "b"))
			}
		})
	}
}

func TestADamagedSnapshotOfMemoryCostsNothing(t *testing.T) {
	dir := t.TempDir()
	s, stop, _ := remembering(t, dir)
	fill(t, s, "a", 5, 0, 30)
	stop()
	file := filepath.Join(memorySnapshots(t, dir)[0], "00000000")
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	copy(text[len(text)/2:], bytes.Repeat([]byte{0xff}, 64))
	copy(text[20:], bytes.Repeat([]byte{0xff}, 8))
	require.NoError(t, os.WriteFile(file, text, 0o666))
	s, stop, _ = remembering(t, dir)
	defer stop()
	require.Equal(t, 5*30, samples(t, s, "a"))
}

// A snapshot that cannot be written is not worth an error at the end.
func TestStopWithoutRoomForASnapshotOfMemory(t *testing.T) {
	dir := t.TempDir()
	for name, c := range map[string]struct {
		full   func(s *Store)
		reason string
	}{
		"known before": {func(s *Store) { s.free = func() (int64, bool) { return 1, true } }, "too little room: 1 KiB are free"},
		"found out": {func(s *Store) {
			// Upstream gives up here, as it does on a full disk.
			require.NoError(t, os.WriteFile(filepath.Join(dir, snapshotPrefix+"1"), nil, 0o666))
		}, "chunk snapshot: "},
	} {
		s, stop, log := remembering(t, dir)
		fill(t, s, name, 5, 0, 30)
		c.full(s)
		stop() // fails the test on an error
		require.Contains(t, log.String(), c.reason)
		require.NotContains(t, log.String(), "chunk snapshot complete")
		require.Empty(t, memorySnapshots(t, dir))
		s, stop, _ = remembering(t, dir)
		require.Equal(t, 5*30, samples(t, s, name))
		stop()
	}
}

// What cannot be trusted without the WAL is not written.
func TestNoSnapshotOfMemoryWhileTheWALIsTorn(t *testing.T) {
	dir := t.TempDir()
	s, stop, _ := remembering(t, dir)
	fill(t, s, "a", 5, 0, 30)
	s.local.commits.mu.Lock()
	s.local.commits.unsafe, s.local.commits.failed = true, start
	s.local.commits.mu.Unlock()
	stop()
	require.Empty(t, memorySnapshots(t, dir))
}

func TestOnlyErrorsOfTheSnapshotAreForgiven(t *testing.T) {
	bad, snapshot := errors.New("close the WAL: no"), errors.New("chunk snapshot: no room")
	rest, taken := split(errors.Join(errors.Join(nil, bad, snapshot), nil))
	require.EqualError(t, rest, bad.Error())
	require.EqualError(t, taken, snapshot.Error())
	rest, taken = split(nil)
	require.NoError(t, rest)
	require.NoError(t, taken)
}

// The number of a series that is gone must not be given to another one: after a kill the
// whole WAL is read, and the first would have the samples of the second.
func TestSeriesKeepTheirNumbersBehindASnapshotOfMemory(t *testing.T) {
	dir := t.TempDir()
	s, stop, _ := remembering(t, dir)
	fill(t, s, "a", 1, 0, 5)
	fill(t, s, "gone", 1, 5, 10)
	fill(t, s, "a", 1, 15, 150)
	require.NoError(t, s.local.db.Load().tsdb.Head().Truncate(start.Add(100*time.Minute).UnixMilli()))
	stop()

	s, stop, log := remembering(t, dir)
	require.Contains(t, log.String(), snapshotUsed)
	fill(t, s, "new", 1, 165, 12)
	stop()
	require.NoError(t, s.dropSnapshots("")) // as after a kill

	s, stop, _ = remembering(t, dir)
	defer stop()
	require.Equal(t, 12, samples(t, s, "new"))
	require.LessOrEqual(t, samples(t, s, "gone"), 10, "its own, which the WAL still has")
}

// A series that was gone and came back has two references in the WAL. A replay finds it
// under the first one, and with a snapshot nobody would look for what is under the other.
func TestSeriesWithTwoReferencesAndASnapshotOfMemory(t *testing.T) {
	dir := t.TempDir()
	s, stop, _ := remembering(t, dir)
	fill(t, s, "a", 1, 0, 5)
	fill(t, s, "b", 1, 0, 60)
	require.NoError(t, s.local.db.Load().tsdb.Head().Truncate(start.Add(50*time.Minute).UnixMilli()))
	fill(t, s, "a", 1, 61, 125) // more than a chunk
	s.local.db.Load().tsdb.ForceHeadMMap()
	killed := copied(t, dir)
	stop()

	s, stop, _ = remembering(t, killed)
	require.GreaterOrEqual(t, samples(t, s, "a"), 125, "those from before the truncation may be back")
	stop()

	s, stop, log := remembering(t, killed)
	require.NotContains(t, log.String(), snapshotUsed)
	require.GreaterOrEqual(t, samples(t, s, "a"), 125)
	stop()
}

// Zeros in the middle leave the file as long as it was. A replay after the next kill would
// end there, so it must not be left there with new samples behind it.
func TestNoSnapshotOfMemoryWithADamagedWAL(t *testing.T) {
	dir := t.TempDir()
	s, stop, _ := remembering(t, dir)
	fill(t, s, "a", 50, 0, 30)
	fill(t, s, "a", 50, 30, 30)
	stop()
	f, err := os.OpenFile(filepath.Join(dir, walDir, segmentName(0)), os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = f.WriteAt(make([]byte, walPage), 0)
	require.NoError(t, errors.Join(err, f.Close()))
	_, stop, log := remembering(t, dir)
	defer stop()
	require.NotContains(t, log.String(), snapshotUsed)
}

// A snapshot has no metadata. Upstream has it in memory only to write it once, and remote
// write reads it from the WAL.
func TestMetadataStaysInTheWALBehindASnapshotOfMemory(t *testing.T) {
	dir := t.TempDir()
	s, stop, _ := remembering(t, dir)
	fill(t, s, "a", 50, 0, 60)
	app := s.Appender(t.Context())
	_, err := app.UpdateMetadata(0, labels.FromStrings("__name__", "a", "i", "7"), metadata.Metadata{Type: "gauge", Help: "seventh"})
	require.NoError(t, errors.Join(err, app.Commit()))
	fill(t, s, "a", 50, 60, 60)
	stop()

	s, stop, log := remembering(t, dir)
	defer stop()
	require.Contains(t, log.String(), snapshotUsed)
	for i := range 4 {
		fill(t, s, "a", 200, 120+10*i, 10)
	}
	require.NoError(t, s.local.db.Load().tsdb.Head().Truncate(start.Add(100*time.Minute).UnixMilli()))
	checkpoint, _, err := wlog.LastCheckpoint(filepath.Join(dir, walDir))
	require.NoError(t, err)
	segments, err := wlog.NewSegmentsReader(checkpoint)
	require.NoError(t, err)
	defer segments.Close()
	names, help := make(map[chunks.HeadSeriesRef]string), make(map[string]string)
	decode := record.NewDecoder(labels.NewSymbolTable(), s.opts.Logger)
	r := wlog.NewReader(segments)
	for r.Next() {
		switch decode.Type(r.Record()) {
		case record.Series:
			all, err := decode.Series(r.Record(), nil)
			require.NoError(t, err)
			for _, one := range all {
				names[one.Ref] = one.Labels.Get("i")
			}
		case record.Metadata:
			all, err := decode.Metadata(r.Record(), nil)
			require.NoError(t, err)
			for _, one := range all {
				help[names[one.Ref]] = one.Help
			}
		}
	}
	require.NoError(t, r.Err())
	require.Equal(t, map[string]string{"7": "seventh"}, help)
}

// What a new WAL begins for is in blocks: nobody needs a snapshot of it.
func TestNoSnapshotOfMemoryForANewWAL(t *testing.T) {
	dir := t.TempDir()
	s, stop, log := remembering(t, dir)
	fill(t, s, "a", 5, 0, 30)
	s.local.commits.mu.Lock()
	s.local.commits.unsafe = true
	s.local.commits.mu.Unlock()
	require.Eventually(t, func() bool { return log.has("a new WAL has begun") }, time.Minute, 20*time.Millisecond)
	require.False(t, log.has("chunk snapshot complete"))
	require.Empty(t, memorySnapshots(t, dir))
	fill(t, s, "a", 5, 30, 30)
	stop()
	s, stop, log = remembering(t, dir)
	defer stop()
	require.Contains(t, log.String(), snapshotUsed, "the new WAL has one again")
	require.Equal(t, 5*60, samples(t, s, "a"))
}
