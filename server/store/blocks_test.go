package store

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/stretchr/testify/require"
)

// makeBlock writes a block of n series with a sample a minute, and returns its folder.
func makeBlock(t *testing.T, dir, name string, n int, at time.Time, minutes int) string {
	t.Helper()
	w, err := tsdb.NewBlockWriter(slog.New(slog.DiscardHandler), dir, tsdb.DefaultBlockDuration)
	require.NoError(t, err)
	app := w.Appender(t.Context())
	for m := range minutes {
		for i := range n {
			_, err := app.Append(0, labels.FromStrings("__name__", name, "i", string(rune('a'+i))), at.Add(time.Duration(m)*time.Minute).UnixMilli(), float64(m))
			require.NoError(t, err)
		}
	}
	require.NoError(t, app.Commit())
	id, err := w.Flush(t.Context())
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return filepath.Join(dir, id.String())
}

// flip changes one byte in the middle of a file, as a bad sector or a bad cable does.
func flip(t *testing.T, file string, at int64) {
	t.Helper()
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	text[at] ^= 0xff
	require.NoError(t, os.WriteFile(file, text, 0o666))
}

// selected are the samples of a metric and the warnings of the query.
func selected(t *testing.T, s *Store, name string) (n int, warnings []string) {
	t.Helper()
	q, err := s.Querier(0, time.Now().Add(time.Hour).UnixMilli())
	require.NoError(t, err)
	defer q.Close()
	set := q.Select(t.Context(), false, nil, labels.MustNewMatcher(labels.MatchEqual, "__name__", name))
	var all []storage.Series
	for set.Next() {
		all = append(all, set.At())
	}
	require.NoError(t, set.Err())
	warnings, _ = set.Warnings().AsStrings("", 0, 0) // the engine looks at them before it reads samples
	for _, series := range all {
		it := series.Iterator(nil)
		for it.Next() != chunkenc.ValNone {
			n++
		}
		require.NoError(t, it.Err())
	}
	return n, warnings
}

// A block of which a part cannot be read answers with the rest and a warning. Upstream
// fails every query over its range.
func TestDamagedBlockAnswersWithTheRest(t *testing.T) {
	at := time.Now().Add(-72 * time.Hour).Truncate(2 * time.Hour)
	for name, c := range map[string]struct {
		harm    func(t *testing.T, block string)
		running bool // while it is in use
		rest    int  // samples
	}{
		"byte flipped in a chunk":    {harm: func(t *testing.T, b string) { flip(t, filepath.Join(b, "chunks", "000001"), 20) }, rest: 270},
		"byte flipped in use":        {harm: func(t *testing.T, b string) { flip(t, filepath.Join(b, "chunks", "000001"), 20) }, rest: 270, running: true},
		"chunk file shorter":         {harm: func(t *testing.T, b string) { cut(t, filepath.Join(b, "chunks", "000001")) }, rest: 150},
		"chunk file emptied in use":  {harm: func(t *testing.T, b string) { require.NoError(t, os.Truncate(filepath.Join(b, "chunks", "000001"), 0)) }, running: true},
		"byte flipped in the series": {harm: func(t *testing.T, b string) { flip(t, filepath.Join(b, "index"), seriesOffset(t, b)) }, rest: 270},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			block := makeBlock(t, dir, "old", 10, at, 30)
			other := makeBlock(t, dir, "old", 10, at.Add(24*time.Hour), 30)
			if !c.running {
				c.harm(t, block)
			}
			s, stop := running(t, dir)
			defer stop()
			if c.running {
				n, warnings := selected(t, s, "old")
				require.Equal(t, 600, n)
				require.Empty(t, warnings)
				require.Empty(t, s.Health().Damaged)
				c.harm(t, block)
			}
			for range 2 {
				n, warnings := selected(t, s, "old")
				require.Equal(t, c.rest+300, n)
				require.Len(t, warnings, 1)
				require.Contains(t, warnings[0], "block "+filepath.Base(block)+" is damaged")
				require.Contains(t, warnings[0], at.UTC().Format("2006-01-02 15:04"))
			}
			cq, err := s.ChunkQuerier(0, time.Now().UnixMilli()) // remote read
			require.NoError(t, err)
			defer cq.Close()
			chunks := cq.Select(t.Context(), true, nil, labels.MustNewMatcher(labels.MatchEqual, "__name__", "old"))
			found := 0
			for chunks.Next() {
				it := chunks.At().Iterator(nil)
				for it.Next() {
					found += it.At().Chunk.NumSamples()
				}
				require.NoError(t, it.Err())
			}
			require.NoError(t, chunks.Err())
			require.Len(t, chunks.Warnings(), 1)
			require.Equal(t, c.rest+300, found)

			d := s.Health().Damaged
			require.Len(t, d, 1)
			require.Equal(t, filepath.Base(block), d[0].Block)
			require.Equal(t, at.UTC(), d[0].From)
			require.DirExists(t, filepath.Join(dir, d[0].Path))
			require.DirExists(t, block, "nothing is moved")

			// What is elsewhere has no warning.
			q, err := s.Querier(at.Add(24*time.Hour).UnixMilli(), time.Now().UnixMilli())
			require.NoError(t, err)
			defer q.Close()
			set := q.Select(t.Context(), false, nil, labels.MustNewMatcher(labels.MatchEqual, "__name__", "old"))
			for set.Next() {
			}
			require.Empty(t, set.Warnings())
			require.DirExists(t, other)
		})
	}
}

// cut leaves the first half of a file.
func cut(t *testing.T, file string) {
	t.Helper()
	info, err := os.Stat(file)
	require.NoError(t, err)
	require.NoError(t, os.Truncate(file, info.Size()/2+10))
}

// seriesOffset is where the first series is in a block's index.
func seriesOffset(t *testing.T, block string) int64 {
	t.Helper()
	b, err := tsdb.OpenBlock(nil, block, nil, nil)
	require.NoError(t, err)
	defer b.Close()
	ir, err := b.Index()
	require.NoError(t, err)
	defer ir.Close()
	p, err := ir.Postings(t.Context(), "i", "a")
	require.NoError(t, err)
	require.True(t, p.Next())
	return int64(p.At())*16 + 3
}

// Chunk files are numbered by their order: with one missing, upstream reads the chunks
// of the next, and takes what it finds there for the answer.
func TestMissingChunkFile(t *testing.T) {
	dir := t.TempDir()
	at := time.Now().Add(-72 * time.Hour).Truncate(2 * time.Hour)
	block := makeBlock(t, dir, "old", 10, at, 100)
	splitChunks(t, block, 400)
	files, err := os.ReadDir(filepath.Join(block, "chunks"))
	require.NoError(t, err)
	require.Greater(t, len(files), 2)
	require.NoError(t, os.Remove(filepath.Join(block, "chunks", "000001")))
	require.NoError(t, os.WriteFile(filepath.Join(block, "chunks", "000003"), []byte("garbage garbage"), 0o666))

	s, stop := running(t, dir)
	n, warnings := selected(t, s, "old")
	require.Positive(t, n)
	require.Zero(t, n%100, "whole series")
	require.Less(t, n, 1000)
	require.Len(t, warnings, 1)
	d := s.Health().Damaged
	require.Len(t, d, 2)
	require.Contains(t, d[0].What+d[1].What, "chunk file 000001 of block")
	require.Contains(t, d[0].What+d[1].What, "chunk file 000003 of block")
	stop()
	s, stop = running(t, dir)
	require.Len(t, s.Health().Damaged, 2, "found once")
	stop()

	for _, f := range files {
		require.NoError(t, os.RemoveAll(filepath.Join(block, "chunks", f.Name())))
	}
	s, stop = running(t, dir)
	defer stop()
	require.NoDirExists(t, block, "nothing of it can be read")
	require.Contains(t, s.Health().Damaged[0].What, "block")
	require.Equal(t, at.UTC(), s.Health().Damaged[0].From)
}

// splitChunks writes the chunks of a block to files of at most size bytes.
func splitChunks(t *testing.T, block string, size int64) {
	t.Helper()
	c, err := tsdb.NewLeveledCompactorWithOptions(t.Context(), nil, slog.New(slog.DiscardHandler), []int64{1}, nil, tsdb.LeveledCompactorOptions{MaxBlockChunkSegmentSize: size})
	require.NoError(t, err)
	b, err := tsdb.OpenBlock(nil, block, nil, nil)
	require.NoError(t, err)
	ids, err := c.Write(filepath.Dir(block), b, b.MinTime(), b.MaxTime(), nil)
	require.NoError(t, err)
	require.NoError(t, b.Close())
	require.NoError(t, os.RemoveAll(block))
	require.NoError(t, os.Rename(filepath.Join(filepath.Dir(block), ids[0].String()), block))
	meta, err := os.ReadFile(filepath.Join(block, "meta.json"))
	require.NoError(t, err)
	meta = []byte(strings.ReplaceAll(string(meta), ids[0].String(), filepath.Base(block)))
	require.NoError(t, os.WriteFile(filepath.Join(block, "meta.json"), meta, 0o666))
}

// A damaged block is not compacted, is not deleted, and keeps no other block from being
// compacted, also where it overlaps with them.
func TestCompactionGoesAroundDamagedBlocks(t *testing.T) {
	dir := t.TempDir()
	begin := time.Now().Add(-20 * time.Hour).Truncate(6 * time.Hour)
	var blocks []string
	for i := range 8 {
		blocks = append(blocks, makeBlock(t, dir, "old", 10, begin.Add(time.Duration(i)*2*time.Hour), 110))
	}
	overlaps := makeBlock(t, dir, "late", 10, begin.Add(30*time.Minute), 60)
	flip(t, filepath.Join(blocks[1], "chunks", "000001"), 20)
	flip(t, filepath.Join(overlaps, "chunks", "000001"), 20)

	s, stop := runningWith(t, dir, func(o *Options) { o.TSDB.MaxBlockDuration = 6 * tsdb.DefaultBlockDuration })
	db := s.local.db.Load().tsdb
	for range 3 {
		require.NoError(t, db.Compact(t.Context()))
	}
	require.DirExists(t, blocks[1])
	require.DirExists(t, overlaps)
	require.NoDirExists(t, blocks[3], "what is sound is compacted")
	var damaged []string
	for _, d := range s.Health().Damaged {
		damaged = append(damaged, d.Block)
	}
	slices.Sort(damaged)
	want := []string{filepath.Base(blocks[1]), filepath.Base(overlaps)}
	slices.Sort(want)
	require.Equal(t, want, damaged)
	for _, b := range db.Blocks() {
		require.False(t, b.Meta().Compaction.Failed, "%s", b)
	}
	n, warnings := selected(t, s, "old")
	require.Equal(t, 8*1100-110, n)
	require.Len(t, warnings, 1)
	stop()

	// It is known after a restart, and forgotten with the block or its repair.
	s, stop = running(t, dir)
	require.NoError(t, s.local.db.Load().tsdb.Compact(t.Context()))
	require.Len(t, s.Health().Damaged, 2)
	require.NoError(t, os.RemoveAll(overlaps))
	s.damaged.prune()
	require.Len(t, s.Health().Damaged, 1)
	stop()
	flip(t, filepath.Join(blocks[1], "chunks", "000001"), 20)
	s, stop = running(t, dir)
	defer stop()
	require.Eventually(t, func() bool { return len(s.Health().Damaged) == 0 }, time.Minute, 10*time.Millisecond)
	plans, err := filepath.Glob(filepath.Join(dir, damagedDir, planDir+"*"))
	require.NoError(t, err)
	require.Empty(t, plans)
}

// Upstream passes over a block whose description cannot be read, and plans no
// compaction any more.
func TestBlockWithoutDescription(t *testing.T) {
	for name, text := range map[string]string{"empty": "", "zeros": string(make([]byte, 300))} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			block := makeBlock(t, dir, "old", 1, time.Now().Add(-48*time.Hour), 30)
			require.NoError(t, os.WriteFile(filepath.Join(block, metaFile), []byte(text), 0o666))
			s, stop := running(t, dir)
			defer stop()
			require.Len(t, s.Health().Damaged, 1)
			require.Contains(t, s.Health().Damaged[0].What, filepath.Base(block))
			require.NoDirExists(t, block)
		})
	}
	dir := t.TempDir()
	block := makeBlock(t, dir, "old", 1, time.Now().Add(-48*time.Hour), 30)
	text, err := os.ReadFile(filepath.Join(block, metaFile))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(block, metaFile), []byte(strings.ReplaceAll(string(text), `"version": 1`, `"version": 7`)), 0o666))
	s, err := New(Options{Dir: dir, TSDB: *tsdb.DefaultOptions(), Registerer: prometheus.NewRegistry(), Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	require.ErrorContains(t, s.Run(context.Background()), "a newer Prometheus")
	require.DirExists(t, block)
}

// What a chunk file begins with is upstream's business.
func TestChunkHeader(t *testing.T) {
	block := makeBlock(t, t.TempDir(), "x", 1, time.Now().Add(-time.Hour), 2)
	text, err := os.ReadFile(filepath.Join(block, "chunks", "000001"))
	require.NoError(t, err)
	require.Equal(t, chunkHeader, text[:len(chunkHeader)])
}

// A note that cannot be written, as on a full disk, is kept in memory, and forgetting it
// removes nothing.
func TestNoteThatCannotBeWritten(t *testing.T) {
	dir := t.TempDir()
	at := time.Now().Add(-72 * time.Hour).Truncate(2 * time.Hour)
	block := makeBlock(t, dir, "old", 10, at, 30)
	flip(t, filepath.Join(block, "chunks", "000001"), 20)
	s, stop := running(t, dir)
	defer stop()
	require.NoError(t, os.WriteFile(filepath.Join(dir, damagedDir), nil, 0o666)) // no folder can be made
	for range 2 {
		_, warnings := selected(t, s, "old")
		require.Len(t, warnings, 1)
		require.Len(t, s.Health().Damaged, 1)
		s.damaged.prune()
	}
	require.NoError(t, os.Rename(block, block+".moved"))
	s.damaged.prune()
	require.Empty(t, s.Health().Damaged)
	s.damaged.noteOnce(Damage{What: "x", Block: "y"})
	s.damaged.repaired("y")
	require.DirExists(t, filepath.Join(dir, walDir))
}

// A block of late samples alone must not become a part of a block that is read instead of
// the WAL: samples of that time that were in order are nowhere else.
func TestLateSamplesAreCompactedBehindTheOthers(t *testing.T) {
	dir := t.TempDir()
	short := func(o *Options) {
		o.TSDB.MinBlockDuration, o.TSDB.MaxBlockDuration = (20 * time.Minute).Milliseconds(), time.Hour.Milliseconds()
		o.TSDB.OutOfOrderTimeWindow = time.Hour.Milliseconds()
	}
	s, stop := runningWith(t, dir, short)
	first := start.Truncate(time.Hour)
	write := func(after time.Duration) {
		app := s.Appender(t.Context())
		_, err := app.Append(0, labels.FromStrings("__name__", "a"), first.Add(after).UnixMilli(), 1)
		require.NoError(t, errors.Join(err, app.Commit()))
	}
	for m := range time.Duration(70) {
		write(m * time.Minute)
	}
	write(45*time.Minute + time.Second)
	write(65*time.Minute + time.Second)
	db := s.local.db.Load().tsdb
	require.NoError(t, db.Compact(t.Context()))
	require.Len(t, db.Blocks(), 4)
	stop()

	s, stop = runningWith(t, dir, short)
	defer func() { stop() }()
	require.Equal(t, 72, samples(t, s, "a"))

	// They are, once the others are in blocks.
	for m := range time.Duration(60) {
		write((70 + m) * time.Minute)
	}
	db = s.local.db.Load().tsdb
	require.NoError(t, db.Compact(t.Context()))
	require.Equal(t, time.Hour, time.UnixMilli(db.Blocks()[0].MaxTime()).Sub(first))
	require.Equal(t, 132, samples(t, s, "a"))
}

// Only blocks that bring or take samples make another version: not those that the head is written
// to, nor those that others are compacted to.
func TestVersionIsOfSamples(t *testing.T) {
	dir := t.TempDir()
	s, stop := runningWith(t, dir, func(o *Options) {
		o.TSDB.MinBlockDuration, o.TSDB.MaxBlockDuration = (20 * time.Minute).Milliseconds(), time.Hour.Milliseconds()
	})
	defer stop()
	first := start.Truncate(time.Hour)
	write := func(from, to time.Duration) {
		for m := from; m < to; m++ {
			app := s.Appender(t.Context())
			_, err := app.Append(0, labels.FromStrings("__name__", "a"), first.Add(m*time.Minute).UnixMilli(), 1)
			require.NoError(t, errors.Join(err, app.Commit()))
		}
	}
	version := func() uint64 {
		v, ok := s.local.Version()
		require.True(t, ok)
		return v
	}
	db := s.local.db.Load().tsdb
	write(0, 70)
	empty := version()
	require.NoError(t, db.Compact(t.Context()))
	require.NotEmpty(t, db.Blocks())
	require.Equal(t, empty, version())
	write(70, 200)
	require.NoError(t, db.Compact(t.Context()))
	require.Equal(t, time.Hour.Milliseconds(), db.Blocks()[0].MaxTime()-db.Blocks()[0].MinTime(), "blocks were compacted")
	require.Equal(t, empty, version())

	makeBlock(t, dir, "b", 10, first, 20)
	write(200, 260)
	require.NoError(t, db.Compact(t.Context())) // which finds it
	found := version()
	require.NotEqual(t, empty, found)
	require.Equal(t, found, version())

	require.NoError(t, s.local.Delete(t.Context(), 0, math.MaxInt64, labels.MustNewMatcher(labels.MatchEqual, "__name__", "b")))
	require.NoError(t, db.CleanTombstones())
	require.NotEqual(t, found, version())
}
