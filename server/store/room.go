package store

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/tsdb/wlog"
	"golang.org/x/sys/unix"
)

// spareRoom is what opening needs beyond the repair of a WAL: a new segment, a lock
// file, and some for everybody else on the disk.
const spareRoom = 256 << 10

// roomPoll is the time between two looks for room.
const roomPoll = 2 * time.Second

// awaitRoom waits until there is room to open the directory. Upstream repairs a torn
// WAL by deleting what is behind the damage and writing a segment anew: on a full
// disk that deletes all of it. It returns ctx's error if ctx ends before.
func (s *Store) awaitRoom(ctx context.Context) error {
	for {
		need := spareRoom + largestSegment(filepath.Join(s.opts.Dir, "wal")) + largestSegment(filepath.Join(s.opts.Dir, wlog.WblDirName))
		free, known := freeRoom(s.opts.Dir)
		if !known || free >= need {
			s.setWaiting("")
			return nil
		}
		s.setWaiting(fmt.Sprintf("disk full: opening %q needs %s of free space, but only %s are free; waiting, no data is lost", s.opts.Dir, kibibytes(need), kibibytes(free)))
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(roomPoll):
		}
	}
}

// setWaiting notes why the directory is not opened yet; "" is that it is.
func (s *Store) setWaiting(why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if why != "" && s.wait.why == "" {
		s.wait.since = time.Now()
		s.opts.Logger.Error("Waiting to open the storage", "reason", why)
	}
	if why == "" && s.wait.why != "" {
		s.opts.Logger.Info("Enough free space; opening the storage", "waited", time.Since(s.wait.since).Round(time.Second))
	}
	s.wait.why = why
}

func (s *Store) waiting() (why string, since time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.wait.why, s.wait.since
}

// largestSegment is the size in bytes of the largest file in a WAL; a repair
// rewrites at most one.
func largestSegment(dir string) (largest int64) {
	files, err := os.ReadDir(dir)
	if err != nil {
		return 0
	}
	for _, f := range files {
		if info, err := f.Info(); err == nil && info.Mode().IsRegular() {
			largest = max(largest, info.Size())
		}
	}
	return largest
}

// freeRoom is how many bytes this process may still write to dir's file system.
func freeRoom(dir string) (free int64, known bool) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil || st.Blocks == 0 {
		return 0, false
	}
	blocks := st.Bavail
	if os.Geteuid() == 0 {
		blocks = st.Bfree // root may use what is reserved
	}
	return int64(blocks) * st.Bsize, true
}

func kibibytes(n int64) string { return fmt.Sprintf("%d KiB", (n+1023)>>10) }

// chunkSegmentSize is how large a file of a block's chunks may become, in bytes.
// Upstream reserves that much before it writes the first byte, 512 MiB by default,
// so that a small disk could compact nothing with room for all of it.
func chunkSegmentSize(dir string) int64 {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil || st.Blocks == 0 {
		return chunks.DefaultChunkSegmentSize
	}
	return min(max(int64(st.Blocks)*st.Bsize/64, 1<<20), chunks.DefaultChunkSegmentSize)
}

// chunkGuess is more than a chunk of the head usually takes in its file, in bytes.
const chunkGuess = 512

// roomForChunks reports whether there is room for a chunk of each series in the head's
// files: what upstream may have to write at once.
func (s *Store) roomForChunks(db *tsdb.DB) (free, need int64, enough bool) {
	need = int64(s.opts.TSDB.HeadChunksWriteBufferSize) + chunks.HeadChunkFilePreallocationSize + int64(db.Head().NumSeries())*chunkGuess
	free, known := s.free()
	return free, need, !known || free >= need
}

// holdChunks keeps upstream from writing full chunks of the head to their files while
// there is no room for them: it panics, in a goroutine of its own, if it cannot. They
// stay in memory, and their samples are in the WAL. It is called where upstream looks
// after its blocks once a minute, which it does before it writes chunks.
func (s *Store) holdChunks(db *tsdb.DB) {
	begin := time.Now()
	held := false
	for {
		free, need, enough := s.roomForChunks(db)
		if enough || s.local.exchanging.Load() {
			break
		}
		if !held {
			held = true
			s.local.held.Store(true)
			defer s.local.held.Store(false)
			s.opts.Logger.Error("Disk full: compaction and retention pause", "path", s.opts.Dir, "free", kibibytes(free), "needed", kibibytes(need))
		}
		select {
		case <-s.stopping:
			// Upstream would go on to write. The end of this goroutine is what its Close waits for.
			runtime.Goexit()
		case <-time.After(roomPoll):
		}
	}
	if held {
		s.opts.Logger.Info("There is room again: compaction and retention go on", "paused", time.Since(begin).Round(time.Second))
	}
}

// headBufferSize is how much of the head's chunks upstream writes at once, in bytes; less
// than its 4 MiB on a small disk.
func headBufferSize(dir string) int {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil || st.Blocks == 0 {
		return chunks.DefaultWriteBufferSize
	}
	size := int64(st.Blocks) * st.Bsize / 256
	return int(min(max(size-size%1024, chunks.MinWriteBufferSize), chunks.DefaultWriteBufferSize))
}
