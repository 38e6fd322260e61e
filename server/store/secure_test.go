package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/record"
	"github.com/prometheus/prometheus/tsdb/wlog"
	"github.com/stretchr/testify/require"
)

// running is an open Store; stop closes it as SIGTERM does.
func running(t *testing.T, dir string) (s *Store, stop func()) {
	t.Helper()
	return runningWith(t, dir, func(*Options) {})
}

func runningWith(t *testing.T, dir string, change func(*Options)) (s *Store, stop func()) {
	t.Helper()
	o := Options{Dir: dir, TSDB: *tsdb.DefaultOptions(), Registerer: prometheus.NewRegistry(), Logger: slog.New(slog.DiscardHandler)}
	o.TSDB.WALSegmentSize = 64 << 10
	change(&o)
	s, err := New(o)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	select {
	case <-s.Ready():
	case err := <-done:
		require.NoError(t, err, "the store did not open")
	}
	stop = func() {
		cancel()
		require.NoError(t, <-done)
	}
	return s, stop
}

var start = time.Now().Add(-3 * time.Hour).Truncate(time.Minute)

// fill appends one sample a minute to each of n series, all in one transaction.
func fill(t *testing.T, s *Store, name string, n int, from, minutes int) {
	t.Helper()
	app := s.AppenderV2(t.Context())
	add(t, app, name, n, from, minutes)
	require.NoError(t, app.Commit())
}

func add(t *testing.T, app storage.AppenderV2, name string, n int, from, minutes int) {
	t.Helper()
	for m := from; m < from+minutes; m++ {
		for i := range n {
			_, err := app.Append(0, labels.FromStrings("__name__", name, "i", fmt.Sprint(i)), 0, start.Add(time.Duration(m)*time.Minute).UnixMilli(), float64(m), nil, nil, storage.AOptions{})
			require.NoError(t, err)
		}
	}
}

func samples(t *testing.T, s *Store, name string) (n int) {
	t.Helper()
	q, err := s.Querier(0, time.Now().Add(time.Hour).UnixMilli())
	require.NoError(t, err)
	defer q.Close()
	set := q.Select(t.Context(), false, nil, labels.MustNewMatcher(labels.MatchEqual, "__name__", name))
	for set.Next() {
		it := set.At().Iterator(nil)
		for it.Next() != chunkenc.ValNone {
			n++
		}
		require.NoError(t, it.Err())
	}
	require.NoError(t, set.Err())
	return n
}

// tear leaves in the WAL what a write to a full disk leaves: the beginning of a
// record, with whole ones behind it.
func tear(t *testing.T, dir string) {
	t.Helper()
	_, last, err := wlog.Segments(filepath.Join(dir, "wal"))
	require.NoError(t, err)
	f, err := os.OpenFile(wlog.SegmentName(filepath.Join(dir, "wal"), last), os.O_WRONLY|os.O_APPEND, 0)
	require.NoError(t, err)
	defer f.Close()
	_, err = f.Write([]byte{2, 0, 5, 1, 2, 3, 4, 'a', 'b', 'c', 'd', 'e'}) // a first part, and no last one
	require.NoError(t, err)
}

// Prometheus loses at the next start what was written after a disk was full.
func TestTornWAL(t *testing.T) {
	dir := t.TempDir()
	s, stop := running(t, dir)
	fill(t, s, "before", 20, 0, 60)
	s.local.commits.done(fmt.Errorf("write to WAL: %w", syscall.ENOSPC), true)
	h := s.Health()
	require.False(t, h.Storing)
	require.True(t, h.Unsafe)
	require.Contains(t, h.Reason, "disk full")
	require.Contains(t, h.Reason, dir)

	tear(t, dir)
	app := s.AppenderV2(t.Context())
	add(t, app, "before", 20, 60, 60)
	add(t, app, "after", 20, 60, 60) // series that the WAL has never heard of
	require.ErrorIs(t, app.Commit(), errUnsafe, "nothing is acknowledged that a crash would lose")
	require.Eventually(t, func() bool { return !s.Health().Unsafe }, time.Minute, 50*time.Millisecond)
	require.True(t, s.Health().Storing)
	fill(t, s, "before", 20, 120, 50) // the new database takes more
	require.Equal(t, 20*170, samples(t, s, "before"))
	require.Equal(t, 20*60, samples(t, s, "after"))
	stop()

	s, stop = running(t, dir)
	require.Equal(t, 20*170, samples(t, s, "before"))
	require.Equal(t, 20*60, samples(t, s, "after"))
	require.Empty(t, s.Health().Damaged)
	stop()

	// Prometheus opens the same directory.
	db, err := tsdb.Open(dir, nil, nil, tsdb.DefaultOptions(), nil)
	require.NoError(t, err)
	require.NoError(t, db.Close())
}

// Who appends remembers references of series, which mean other series in the next
// database.
func TestReferencesOfAnEarlierDatabase(t *testing.T) {
	s, stop := running(t, t.TempDir())
	defer stop()
	names := []string{"a", "b", "c"}
	refs := make(map[string]storage.SeriesRef)
	put := func(minute int, order ...string) {
		app := s.AppenderV2(t.Context())
		for _, name := range order {
			ref, err := app.Append(refs[name], labels.FromStrings("__name__", name), 0, start.Add(time.Duration(minute)*time.Minute).UnixMilli(), 1, nil, nil, storage.AOptions{})
			require.NoError(t, err)
			refs[name] = ref
		}
		if err := app.Commit(); err != nil {
			require.ErrorIs(t, err, errUnsafe)
		}
	}
	put(0, names...)
	before := refs["a"]
	s.local.commits.done(errors.New("write to WAL"), true)
	put(1, names...)
	require.Equal(t, before, refs["a"])
	require.Eventually(t, func() bool { return !s.Health().Unsafe }, time.Minute, 50*time.Millisecond)
	put(2, "c", "b") // c is now what a was
	put(3, names...)
	put(4, names...)
	require.NotEqual(t, before, refs["a"])
	for name, want := range map[string]int{"a": 4, "b": 5, "c": 5} {
		require.Equal(t, want, samples(t, s, name), name)
	}
}

// An agent writes nothing behind a torn record, because the repair deletes that, and
// repairs its WAL while it runs.
func TestAgentRepairsItsWAL(t *testing.T) {
	dir := t.TempDir()
	s, stop := runningWith(t, dir, func(o *Options) { o.Agent = true })
	put := func(minute int) error {
		app := s.AppenderV2(t.Context())
		add(t, app, "x", 20, minute, 1)
		return app.Commit()
	}
	require.NoError(t, put(0))
	tear(t, dir)
	s.local.commits.done(fmt.Errorf("write to WAL: %w", syscall.ENOSPC), true)
	require.False(t, s.Health().Storing)
	require.False(t, s.Health().Unsafe, "a restart would lose nothing")
	require.ErrorIs(t, put(1), errTorn)
	require.Eventually(t, func() bool { return put(2) == nil }, time.Minute, 50*time.Millisecond)
	require.NoError(t, put(3))
	require.True(t, s.Health().Storing)
	stop()

	segments, err := wlog.NewSegmentsReader(filepath.Join(dir, walDir))
	require.NoError(t, err)
	defer segments.Close()
	stored := make(map[int64]int)
	r := wlog.NewReader(segments)
	d := record.NewDecoder(labels.NewSymbolTable(), slog.New(slog.DiscardHandler))
	for r.Next() {
		if d.Type(r.Record()) != record.Samples {
			continue
		}
		all, err := d.Samples(r.Record(), nil)
		require.NoError(t, err)
		for _, one := range all {
			stored[(one.T-start.UnixMilli())/time.Minute.Milliseconds()]++
		}
	}
	require.NoError(t, r.Err(), "no restart is needed to repair it")
	require.Equal(t, map[int64]int{0: 20, 2: 20, 3: 20}, stored)

	s, stop = runningWith(t, dir, func(o *Options) { o.Agent = true })
	require.Empty(t, s.Health().Damaged)
	stop()
}

// Upstream panics, in a goroutine of its own, when it cannot write the head's chunks.
// While there is no room it does not try; samples are stored and found as before.
func TestChunksStayInMemoryWithoutRoom(t *testing.T) {
	for _, stopped := range []bool{false, true} {
		t.Run(fmt.Sprintf("stopped=%v", stopped), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			s, stop := runningWith(t, dir, func(o *Options) { o.TSDB.BlockReloadInterval = time.Second })
			written := s.registry.sum("prometheus_tsdb_mmap_chunks_total")
			reloads := s.registry.sum("prometheus_tsdb_reloads_total")
			var room atomic.Int64
			s.free = func() (int64, bool) { return room.Load(), true }
			fill(t, s, "x", 10, 0, 170) // more than a chunk of 120 for each
			require.Eventually(t, s.local.held.Load, time.Minute, 10*time.Millisecond)
			fill(t, s, "x", 10, 170, 1)
			require.Equal(t, 1710, samples(t, s, "x"))
			require.ErrorIs(t, s.Local().CleanTombstones(), syscall.ENOSPC, "it would wait for as long")
			require.Zero(t, written())
			if !stopped {
				before := reloads()
				room.Store(1 << 30)
				require.Eventually(t, func() bool { return written() > 0 && reloads() > before }, time.Minute, 10*time.Millisecond)
				require.NoError(t, s.Local().CleanTombstones())
			}
			stop()
			s, stop = running(t, dir)
			require.Equal(t, 1710, samples(t, s, "x"))
			stop()
		})
	}
}

// A failed write of somebody else makes this one unsafe, too, before its own end is
// known.
func TestFailureOfAnotherWrite(t *testing.T) {
	s, stop := running(t, t.TempDir())
	defer stop()
	fill(t, s, "x", 1, 0, 10)
	require.Len(t, s.registry.find("prometheus_tsdb_wal_writes_failed_total"), 1, "upstream counts under another name")
	require.Zero(t, s.registry.sum("prometheus_tsdb_wal_writes_failed_total")())
	n := 0.0
	s.local.commits.watch(func() float64 { return n })
	n++
	app := s.AppenderV2(t.Context())
	add(t, app, "x", 1, 10, 1)
	require.ErrorIs(t, app.Commit(), errUnsafe)
	require.Eventually(t, func() bool { return !s.Health().Unsafe }, time.Minute, 50*time.Millisecond)
	require.Equal(t, 11, samples(t, s, "x"))
}

// The exchange of the database waits for a query under way, and a query that comes
// meanwhile waits for the exchange.
func TestSecureWaitsForQueries(t *testing.T) {
	s, stop := running(t, t.TempDir())
	defer stop()
	fill(t, s, "x", 1, 0, 10)
	q, err := s.Querier(0, time.Now().UnixMilli())
	require.NoError(t, err)
	s.local.commits.done(errors.New("write to WAL"), true)
	app := s.AppenderV2(t.Context())
	add(t, app, "x", 1, 10, 1)
	require.ErrorIs(t, app.Commit(), errUnsafe)
	require.Never(t, func() bool { return !s.Health().Unsafe }, 1500*time.Millisecond, 100*time.Millisecond)
	set := q.Select(t.Context(), false, nil, labels.MustNewMatcher(labels.MatchEqual, "__name__", "x"))
	require.True(t, set.Next())
	require.NoError(t, q.Close())
	require.Eventually(t, func() bool { return !s.Health().Unsafe }, time.Minute, 50*time.Millisecond)
	require.Equal(t, 11, samples(t, s, "x"))
}

// Damage costs what is damaged, and is said.
func TestDamaged(t *testing.T) {
	block := func(t *testing.T, dir string) string {
		found, err := filepath.Glob(filepath.Join(dir, "01*"))
		require.NoError(t, err)
		require.NotEmpty(t, found)
		return found[0]
	}
	write := func(t *testing.T, file, text string) { require.NoError(t, os.WriteFile(file, []byte(text), 0o666)) }
	for name, c := range map[string]struct {
		harm  func(t *testing.T, dir string)
		what  string
		block bool
	}{
		"index half": {func(t *testing.T, dir string) {
			f := filepath.Join(block(t, dir), "index")
			info, err := os.Stat(f)
			require.NoError(t, err)
			require.NoError(t, os.Truncate(f, info.Size()/2))
		}, "block", true},
		"index empty": {func(t *testing.T, dir string) { write(t, filepath.Join(block(t, dir), "index"), "") }, "block", true},
		"chunks garbage": {func(t *testing.T, dir string) {
			write(t, filepath.Join(block(t, dir), "chunks", "000001"), "garbage garbage garbage")
		}, "block", true},
		"tombstones garbage": {func(t *testing.T, dir string) { write(t, filepath.Join(block(t, dir), "tombstones"), "garbage") }, "block", true},
		"head chunks": {func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, "chunks_head", "000001"), "garbage garbage")
		}, "chunks of the head", false},
		"zeros": {func(t *testing.T, dir string) {
			segments, err := walSegments(filepath.Join(dir, "wal"))
			require.NoError(t, err)
			write(t, filepath.Join(dir, "wal", segments[len(segments)-1].name), string(make([]byte, 32<<10)))
		}, "WAL segment", false},
		"segment missing": {func(t *testing.T, dir string) {
			segments, err := walSegments(filepath.Join(dir, "wal"))
			require.NoError(t, err)
			require.Greater(t, len(segments), 2)
			require.NoError(t, os.Remove(filepath.Join(dir, "wal", segments[1].name)))
		}, "WAL segment", false},
		"first segment missing": {func(t *testing.T, dir string) {
			segments, err := walSegments(filepath.Join(dir, "wal"))
			require.NoError(t, err)
			require.NoError(t, os.Remove(filepath.Join(dir, "wal", segments[0].name)))
		}, "", false},
		"torn record": {func(t *testing.T, dir string) { tear(t, dir); tear(t, dir) }, "part of the WAL", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			s, stop := running(t, dir)
			fill(t, s, "old", 10, 0, 30)
			head := s.local.db.Load().tsdb.Head()
			require.NoError(t, s.local.db.Load().tsdb.CompactHead(tsdb.NewRangeHead(head, head.MinTime(), head.MaxTime())))
			fill(t, s, "new", 10, 40, 30)
			stop()
			// Segments before and behind what is going to be harmed.
			for m := range 2 {
				s, stop = running(t, dir)
				fill(t, s, "new", 10, 70+m, 1)
				stop()
			}
			c.harm(t, dir)

			s, stop = running(t, dir)
			h := s.Health()
			require.NotEmpty(t, h.Damaged)
			require.Contains(t, h.Damaged[0].What, c.what)
			require.DirExists(t, filepath.Join(dir, h.Damaged[0].Path))
			if c.block {
				// The WAL has them still; of an older block they would be gone.
				require.Equal(t, 300, samples(t, s, "old"))
				require.Equal(t, 320, samples(t, s, "new"))
				require.WithinDuration(t, start, h.Damaged[0].From, time.Minute)
			} else {
				require.Equal(t, 300, samples(t, s, "old"))
			}
			if name == "head chunks" {
				require.Equal(t, 320, samples(t, s, "new"))
			}
			fill(t, s, "new", 10, 80, 1)
			stop()

			s, stop = running(t, dir) // still said, not found again
			require.Len(t, s.Health().Damaged, len(h.Damaged))
			stop()
			require.NoError(t, os.RemoveAll(filepath.Join(dir, "damaged")))
			s, stop = running(t, dir)
			require.Empty(t, s.Health().Damaged)
			stop()
		})
	}
}

// What cannot be read is no damage: nothing is moved, and the error says what to do.
func TestUnreadableIsNotDamage(t *testing.T) {
	for errno, want := range map[error]string{
		syscall.EACCES: "run as the owner",
		syscall.EIO:    "disk cannot be read",
		syscall.EMFILE: "LimitNOFILE",
		errors.New(`unexpected meta file version 7`): "a newer Prometheus",
	} {
		require.Contains(t, unreadable(fmt.Errorf("open block: %w", errno)), want)
	}
	require.Empty(t, unreadable(errors.New("invalid magic number")))
}

// A block from the future refuses every sample. It is said, and nothing is deleted
// for its sake.
func TestFutureBlock(t *testing.T) {
	dir := t.TempDir()
	s, stop := running(t, dir)
	fill(t, s, "old", 2, -30*24*60, 30)
	stop()
	write := func(name string, at time.Time) {
		w, err := tsdb.NewBlockWriter(slog.New(slog.DiscardHandler), dir, tsdb.DefaultBlockDuration)
		require.NoError(t, err)
		app := w.Appender(t.Context())
		for m := range 30 {
			_, err := app.Append(0, labels.FromStrings("__name__", name), at.Add(time.Duration(m)*time.Minute).UnixMilli(), 1)
			require.NoError(t, err)
		}
		require.NoError(t, app.Commit())
		_, err = w.Flush(t.Context())
		require.NoError(t, err)
		require.NoError(t, w.Close())
	}
	write("real", time.Now().Add(-72*time.Hour))
	future := time.Now().Add(720 * time.Hour)
	write("future", future)
	for range 2 {
		s, stop = running(t, dir)
		h := s.Health()
		require.False(t, h.Storing)
		require.Contains(t, h.Reason, "is from the future")
		require.Contains(t, h.Reason, future.Add(29*time.Minute).UTC().Format("2006-01"))
		require.Equal(t, 30, samples(t, s, "real"))
		s.opts.TSDB.BlockReloadInterval = time.Second
		stop()
	}
}
