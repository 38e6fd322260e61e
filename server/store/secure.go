package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/wlog"
)

const (
	watchPeriod = time.Second
	// rememberPeriod is how often the WAL's length is written down: what was written
	// since is lost in silence if a power cut empties the file.
	rememberPeriod = 20 * time.Second
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
	if db := s.local.db.Load(); db.tsdb != nil {
		go s.recheckBlocks(ctx, db.tsdb.Blocks())
	}
	tick := time.NewTicker(watchPeriod)
	defer tick.Stop()
	var tried, remembered time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		db := s.local.db.Load()
		if db != nil && db.tsdb != nil {
			s.future.look(db.tsdb.Blocks())
			s.lookForRoom(db.tsdb)
		}
		if time.Since(remembered) >= rememberPeriod {
			remembered = time.Now()
			s.rememberWAL()
			s.damaged.prune()
		}
		if time.Since(tried) < secureRetry {
			continue
		}
		var err error
		switch {
		case s.opts.Agent && s.local.commits.torn():
			err = s.repairAgent(ctx)
		case !s.opts.Agent && s.local.commits.needsSecuring():
			err = s.secure(ctx)
		default:
			continue
		}
		tried = time.Now()
		if errors.As(err, &errReopen{}) {
			return fmt.Errorf("opening storage again failed: %w", err)
		}
		switch {
		case err == nil || ctx.Err() != nil:
		case s.opts.Agent:
			s.opts.Logger.Error("The WAL could not be repaired; no samples are stored", "err", err, "retry_in", secureRetry)
		default:
			s.opts.Logger.Error("What is in memory could not be made safe; do not restart", "err", err, "retry_in", secureRetry)
		}
	}
}

// lookForRoom refuses samples while those that are out of order could not be written:
// upstream writes them when they are appended, and panics if it cannot.
func (s *Store) lookForRoom(db *tsdb.DB) {
	cfg := s.local.applied.Load()
	outOfOrder := cfg != nil && cfg.StorageConfig.TSDBConfig != nil && cfg.StorageConfig.TSDBConfig.OutOfOrderTimeWindow > 0
	_, _, enough := s.roomForChunks(db)
	s.local.full.Store(outOfOrder && !enough)
}

// repairAgent opens an agent's WAL again, which repairs it: the torn record is cut off.
func (s *Store) repairAgent(ctx context.Context) error {
	if free, known := s.free(); known && free < spareRoom+largestSegment(filepath.Join(s.opts.Dir, walDir)) {
		return nil // for now
	}
	if !s.local.gate.close(leaveLimit) {
		return fmt.Errorf("appends have been under way for %s", leaveLimit)
	}
	defer s.local.gate.open()
	if db := s.local.db.Swap(nil); db != nil {
		if err := db.Close(); err != nil {
			s.opts.Logger.Warn("Closing the WAL to repair it", "err", err)
		}
	}
	s.registry.clear()
	if err := s.openAgent(ctx); err != nil {
		return fmt.Errorf("open the WAL again: %w", err)
	}
	s.local.commits.secured()
	s.opts.Logger.Info("The WAL is repaired: samples are stored again")
	return nil
}

// secure writes what is in memory to blocks and begins a new WAL. A write to the
// WAL that failed leaves a torn record; what is written behind it would be deleted
// by the repair at the next start. A new segment alone would not help, for the
// repair deletes those too, so the database is closed and opened without its WAL.
func (s *Store) secure(ctx context.Context) error {
	begin := time.Now()
	s.local.exchanging.Store(true)
	defer s.local.exchanging.Store(false)
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
	s.preventSnapshot()
	if err, _ := split(closeDB(db)); err != nil {
		// Its WAL is what cannot be written; all else is in blocks.
		s.opts.Logger.Warn("Closing the database for a new WAL", "err", err)
	}
	s.registry.clear()
	if err := s.dropSnapshots(""); err != nil {
		s.opts.Logger.Warn("Could not remove a snapshot of memory", "err", err)
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
	wal := filepath.Join(s.opts.Dir, walDir)
	_, last, err := wlog.Segments(wal)
	if err != nil {
		return err
	}
	var old []string
	for _, dir := range []string{walDir, wlog.WblDirName, headChunksDir} {
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
	if err := os.WriteFile(filepath.Join(wal, segmentName(last+1)), nil, 0o666); err != nil {
		return err
	}
	for _, dir := range old {
		if err := os.RemoveAll(dir); err != nil {
			s.opts.Logger.Warn("The old WAL could not be removed", "dir", dir, "err", err)
		}
	}
	return nil
}
