package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/tsdb/wlog"

	"github.com/clanmon/clanmon/internal/atomicfile"
)

// With tsdb.Options.EnableMemorySnapshotOnShutdown upstream writes the newest chunk of
// each series to a directory when it closes the database, and reads that instead of the
// WAL when it opens it. By itself it loses samples with it: it takes any snapshot that is
// not behind the WAL, also one of an earlier run (prometheus#9725, #11606); it gives the
// references of series that are gone to new ones; and it forgets which series have two
// references in the WAL. So a snapshot is used only if this package vouches for it
// (snapshotNote), and it is used once.
const snapshotPrefix = "chunk_snapshot."

// snapshotNote is the name of the note in a snapshot that can be trusted.
const snapshotNote = "clanmon.json"

// trust is what a snapshotNote says.
type trust struct {
	// Version is that of the TSDB.
	Version string `json:"version"`
	// Files are those that the snapshot belongs to, with their sizes in bytes. It lacks
	// what is in them, or replaces what would be read from them.
	Files map[string]int64 `json:"files"`
}

// doubles counts the series that a replay of the WAL finds under a second reference: one
// that is gone from memory and comes back gets a new one, and after a kill the WAL has
// both. Upstream calls it for each record of a series, and once more if it is a new one.
type doubles struct{ n atomic.Int64 }

// PreCreation implements tsdb.SeriesLifecycleCallback.
func (d *doubles) PreCreation(labels.Labels) error { d.n.Add(1); return nil }

// PostCreation implements tsdb.SeriesLifecycleCallback.
func (d *doubles) PostCreation(labels.Labels) { d.n.Add(-1) }

// PostDeletion implements tsdb.SeriesLifecycleCallback.
func (d *doubles) PostDeletion(map[chunks.HeadSeriesRef]labels.Labels) {}

// dropUntrusted removes all snapshots of memory but one that is known to be complete and
// to belong to the files that are there. sound says that these files are as they were.
func (s *Store) dropUntrusted(sound bool) error {
	keep, err := s.snapshotName()
	if err != nil {
		return err
	}
	why := s.distrust(keep)
	if !sound {
		why = "the WAL is damaged"
	}
	if why != "" {
		s.opts.Logger.Debug("No snapshot of memory is used", "reason", why)
		keep = ""
	}
	return s.dropSnapshots(keep)
}

// snapshotName is the name of a snapshot that ends where the WAL ends.
func (s *Store) snapshotName() (string, error) {
	wal, err := walSegments(filepath.Join(s.opts.Dir, walDir))
	if err != nil || len(wal) == 0 {
		return "", err
	}
	last := wal[len(wal)-1]
	return fmt.Sprintf("%s%06d.%010d", snapshotPrefix, last.index, last.size), nil
}

// distrust is the reason not to use the snapshot of this name, "" for none.
func (s *Store) distrust(name string) (why string) {
	text, err := os.ReadFile(filepath.Join(s.opts.Dir, name, snapshotNote))
	if err != nil {
		return err.Error()
	}
	var t trust
	if err := json.Unmarshal(text, &t); err != nil {
		return fmt.Sprintf("%s: %v", snapshotNote, err)
	}
	now, err := s.filesOfSnapshot()
	switch {
	case err != nil:
		return err.Error()
	case t.Version != s.opts.Version:
		return fmt.Sprintf("version %q wrote it, and this is %q", t.Version, s.opts.Version)
	case !maps.Equal(t.Files, now):
		return "the data directory has changed since it was written"
	}
	return ""
}

// filesOfSnapshot are the files that a snapshot of memory belongs to, with their sizes:
// WALs and chunks of the head; and the blocks.
func (s *Store) filesOfSnapshot() (map[string]int64, error) {
	files := make(map[string]int64)
	add := func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		name, err := filepath.Rel(s.opts.Dir, path)
		files[name] = info.Size()
		return err
	}
	for _, dir := range []string{walDir, wlog.WblDirName, headChunksDir} {
		if err := filepath.WalkDir(filepath.Join(s.opts.Dir, dir), add); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	blocks, err := blockDirs(s.opts.Dir)
	for _, id := range blocks {
		files[id] = 0
	}
	return files, err
}

// dropSnapshots removes all snapshots of memory but the one called keep, and what is
// left of one that was not finished.
func (s *Store) dropSnapshots(keep string) error {
	files, err := os.ReadDir(s.opts.Dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, f := range files {
		if strings.HasPrefix(f.Name(), snapshotPrefix) && f.Name() != keep {
			s.opts.Logger.Debug("Removing a snapshot of memory", "name", f.Name())
			errs = append(errs, os.RemoveAll(filepath.Join(s.opts.Dir, f.Name())))
		}
	}
	return errors.Join(errs...)
}

// closeStorage closes the database and the remote storage. If that leaves a snapshot of
// memory that can be trusted, it says so in it; otherwise it removes it, which costs time
// at the next start and no samples.
func (s *Store) closeStorage() error {
	s.resend.Stop()
	db := s.local.db.Load()
	if !s.opts.TSDB.EnableMemorySnapshotOnShutdown || db == nil || db.tsdb == nil {
		return s.Storage.Close()
	}
	last, why := s.prepareSnapshot(db.tsdb)
	if why != nil {
		s.preventSnapshot()
	}
	rest, failed := split(s.Storage.Close())
	if why == nil {
		why = s.vouch(db.tsdb.Head(), last, errors.Join(rest, failed))
	}
	if why == nil {
		return rest
	}
	s.opts.Logger.Info("No snapshot of memory is kept; the next start replays the WAL", "reason", why)
	if err := s.dropSnapshots(""); err != nil {
		s.opts.Logger.Warn("Could not remove a snapshot of memory", "err", err)
	}
	return rest
}

// preventSnapshot keeps upstream from writing one that would be removed: it gives up where
// a file has such a name.
func (s *Store) preventSnapshot() {
	if err := os.WriteFile(filepath.Join(s.opts.Dir, snapshotPrefix+"off"), nil, 0o666); err != nil {
		s.opts.Logger.Debug("A snapshot of memory is written in vain", "err", err)
	}
}

// prepareSnapshot is called before the database is closed. The error is a reason against
// a snapshot. last is a reference that has to be in it.
func (s *Store) prepareSnapshot(db *tsdb.DB) (last storage.SeriesRef, why error) {
	if s.doubled {
		// What is stored under the second one would not be found.
		return 0, errors.New("series have two references in the WAL")
	}
	if s.local.commits.done(nil, false) {
		// A start with it would go on behind a torn record of the WAL, which a later
		// repair removes with all that follows.
		return 0, errors.New("a write to the WAL failed")
	}
	if free, need, enough := s.roomForChunks(db); !enough {
		return 0, fmt.Errorf("too little room: %s are free and %s may be needed", kibibytes(free), kibibytes(need))
	}
	// A new series has the highest reference of all. It tells the next run where to go
	// on, because those of series that are gone are still in the WAL. It has no samples,
	// so that the next start removes it.
	app := db.Appender(context.Background())
	now := time.Now()
	name := labels.FromStrings(model.MetricNameLabel, "clanmon_memory_snapshot", "at", now.UTC().Format(time.RFC3339Nano))
	last, err := app.Append(0, name, max(now.UnixMilli(), db.Head().MaxTime()), 0)
	return last, errors.Join(err, app.Rollback())
}

// vouch says in the snapshot that the closed database has left that it can be trusted.
// The error is the reason why not; closed is that of closing.
func (s *Store) vouch(head *tsdb.Head, last storage.SeriesRef, closed error) error {
	if closed != nil {
		return closed
	}
	index, err := head.Index()
	if err != nil {
		return err
	}
	defer index.Close()
	if err := index.Series(last, &labels.ScratchBuilder{}, nil); err != nil {
		return fmt.Errorf("series were removed while it was written: %w", err)
	}
	files, err := s.filesOfSnapshot()
	if err != nil {
		return err
	}
	name, err := s.snapshotName()
	if err != nil {
		return err
	}
	return atomicfile.Write(filepath.Join(s.opts.Dir, name, snapshotNote), 0o644, func(w io.Writer) error {
		return json.NewEncoder(w).Encode(trust{s.opts.Version, files})
	})
}

// split takes upstream's errors about the snapshot out of err, which may join several.
func split(err error) (rest, snapshot error) {
	if all, ok := err.(interface{ Unwrap() []error }); ok {
		for _, one := range all.Unwrap() {
			r, s := split(one)
			rest, snapshot = errors.Join(rest, r), errors.Join(snapshot, s)
		}
		return rest, snapshot
	}
	if err != nil && strings.HasPrefix(err.Error(), "chunk snapshot: ") {
		return nil, err
	}
	return err, nil
}
