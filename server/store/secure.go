package store

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/wlog"
)

const (
	watchPeriod = time.Second
	// secureRetry is the time between two attempts to secure what is in memory.
	secureRetry = 10 * time.Second
	// leaveLimit is how long queries and appends under way are waited for. A query
	// may take two minutes by default: then the next attempt is luckier.
	leaveLimit = time.Minute
	// liveMargin is left out of what is compacted while appends go on, since they
	// may be late by a scrape's timeout.
	liveMargin = 2 * time.Minute
)

// errReopen ends the Store: there is no database any more.
type errReopen struct{ error }

func (e errReopen) Unwrap() error { return e.error }

// watch looks after what upstream leaves to the next restart, until ctx ends.
func (s *Store) watch(ctx context.Context) error {
	tick := time.NewTicker(watchPeriod)
	defer tick.Stop()
	var tried time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if db := s.local.db.Load(); db != nil && db.tsdb != nil {
			s.future.look(db.tsdb.Blocks())
		}
		if s.opts.Agent || !s.local.commits.needsSecuring() || time.Since(tried) < secureRetry {
			continue
		}
		tried = time.Now()
		err := s.secure(ctx)
		if errors.As(err, &errReopen{}) {
			return fmt.Errorf("opening storage again failed: %w", err)
		}
		if err != nil {
			s.opts.Logger.Error("What is in memory could not be made safe; do not restart", "err", err, "retry_in", secureRetry)
		}
	}
}

// secure writes what is in memory to blocks and begins a new WAL. A write to the
// WAL that failed leaves a torn record; what is written behind it would be deleted
// by the repair at the next start. A new segment alone would not help, for the
// repair deletes those too, so the database is closed and opened without its WAL.
func (s *Store) secure(ctx context.Context) error {
	begin := time.Now()
	db := s.local.db.Load().tsdb
	if head := db.Head(); head.MaxTime()-head.MinTime() > 2*liveMargin.Milliseconds() {
		// Most of it while appends go on. Its WAL cannot be truncated, so an error says
		// nothing; what is left is written below.
		_ = db.CompactHead(tsdb.NewRangeHead(head, head.MinTime(), min(head.MaxTime(), time.Now().Add(-liveMargin).UnixMilli())))
	}
	if !s.local.gate.close(leaveLimit) {
		return fmt.Errorf("queries or appends have been under way for %s", leaveLimit)
	}
	defer s.local.gate.open()
	if err := s.writeHead(ctx, db); err != nil {
		return fmt.Errorf("write what is in memory to a block: %w", err)
	}
	if err := db.CompactOOOHead(ctx); err != nil {
		return fmt.Errorf("write out-of-order samples to a block: %w", err)
	}
	s.local.db.Store(nil)
	if err := db.Close(); err != nil {
		// Its WAL is what cannot be written; all else is in blocks.
		s.opts.Logger.Warn("Closing the database for a new WAL", "err", err)
	}
	s.registry.clear()
	if err := tsdb.DeleteChunkSnapshots(s.opts.Dir, math.MaxInt, math.MaxInt); err != nil {
		s.opts.Logger.Warn("An old snapshot of memory stays", "err", err)
	}
	if err := s.beginWAL(); err != nil {
		s.opts.Logger.Error("The old WAL stays", "err", err)
	}
	if err := s.openTSDB(ctx); err != nil {
		return errReopen{err}
	}
	s.local.commits.secured()
	s.opts.Logger.Info("Writing works again: what was in memory is in blocks, and a new WAL has begun", "duration", time.Since(begin))
	return nil
}

// writeHead writes the head to blocks of the usual length. The head stays as it is;
// nobody appends to it any more.
func (s *Store) writeHead(ctx context.Context, db *tsdb.DB) error {
	length := s.opts.TSDB.MinBlockDuration
	compactor, err := tsdb.NewLeveledCompactorWithOptions(ctx, nil, s.opts.Logger.With("component", "tsdb"), []int64{length}, chunkenc.NewPool(),
		tsdb.LeveledCompactorOptions{MaxBlockChunkSegmentSize: chunkSegmentSize(s.opts.Dir), EnableOverlappingCompaction: true})
	if err != nil {
		return err
	}
	head := db.Head()
	for mint := head.MinTime(); mint <= head.MaxTime(); {
		maxt := min(head.MaxTime(), mint-mint%length+length-1)
		if _, err := compactor.Write(s.opts.Dir, tsdb.NewRangeHead(head, mint, maxt), mint, maxt+1, nil); err != nil {
			return err
		}
		mint = maxt + 1
	}
	return nil
}

// beginWAL removes the WAL and the head's chunks, all of which is in blocks. The new
// WAL goes on with the next number, by which remote write finds it.
func (s *Store) beginWAL() error {
	wal := filepath.Join(s.opts.Dir, "wal")
	_, last, err := wlog.Segments(wal)
	if err != nil {
		return err
	}
	var old []string
	for _, dir := range []string{"wal", wlog.WblDirName, "chunks_head"} {
		from, to := filepath.Join(s.opts.Dir, dir), filepath.Join(s.opts.Dir, dir+".tmp-for-deletion")
		if err := os.RemoveAll(to); err != nil {
			return err
		}
		if err := os.Rename(from, to); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		old = append(old, to)
	}
	if err := os.MkdirAll(wal, 0o777); err != nil {
		return err
	}
	if err := emptyCheckpoint(wal, last); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(wal, fmt.Sprintf("%08d", last+1)), nil, 0o666); err != nil {
		return err
	}
	for _, dir := range old {
		if err := os.RemoveAll(dir); err != nil {
			s.opts.Logger.Warn("The old WAL could not be removed", "dir", dir, "err", err)
		}
	}
	return nil
}
