// Package store owns the data directory: the time series database, or in agent
// mode the write-ahead log alone, and the remote storage behind both.
//
// It is upstream's tsdb, tsdb/agent and storage/remote with one life around
// them, and it is not a storage engine. New is cheap; Run opens the directory,
// replays the WAL and closes everything when its context ends. Until the
// directory is open, reads and appends answer tsdb.ErrNotReady.
package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/storage/remote"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/agent"
	promruntime "github.com/prometheus/prometheus/util/runtime"
)

// Options say how the data directory is opened; they are fixed for the life of
// a Store.
type Options struct {
	Dir   string
	Agent bool // keep a WAL for remote write only

	TSDB    tsdb.Options  // used unless Agent
	AgentDB agent.Options // used if Agent

	FlushDeadline           time.Duration // for remote write, at shutdown and reload
	EnableTypeAndUnitLabels bool

	// Scrapes gives remote write the metadata of active targets.
	Scrapes remote.ReadyScrapeManager

	Registerer prometheus.Registerer
	Gatherer   prometheus.Gatherer // of the same metrics; RemoteWrites reads it
	Logger     *slog.Logger
}

// Store is the database and its remote storage as one upstream storage.Storage:
// appends go to all, reads are merged. Safe for concurrent use.
type Store struct {
	storage.Storage // the fan-out

	opts     Options
	local    *Local
	remote   *remote.Storage
	registry *registerer // of what is open
	future   future
	damaged  damaged
	ready    chan struct{}
	close    func() error // once
	remotes  *remotes

	mu   sync.Mutex
	wait struct { // why the directory is not opened yet
		why   string
		since time.Time
	}

	retention config.TSDBRetentionConfig // last applied; only ApplyConfig uses it
}

// New returns a Store that is not open. Upstream's remote storage starts a
// goroutine in its constructor, so a Store that is never Run has to be Closed.
func New(o Options) *Store {
	s := &Store{
		opts: o, local: newLocal(), registry: &registerer{Registerer: o.Registerer}, ready: make(chan struct{}),
		remotes: &remotes{born: time.Now(), errors: make(map[string]remoteError)},
	}
	s.damaged.dir, s.damaged.log = o.Dir, o.Logger
	s.opts.TSDB.BlocksToDelete = s.blocksToDelete
	log := slog.New(remoteLog{Handler: o.Logger.With("component", "remote").Handler(), remotes: s.remotes})
	s.remote = remote.NewStorage(log, o.Registerer,
		s.local.StartTime, o.Dir, o.FlushDeadline, o.Scrapes, o.EnableTypeAndUnitLabels)
	s.Storage = storage.NewFanout(o.Logger, s.local, s.remote)
	s.close = sync.OnceValue(s.Storage.Close)
	return s
}

// Close closes what is open, once: Run does so when it ends, and a Store that is
// never run needs it too.
func (s *Store) Close() error { return s.close() }

// Local is the database alone, without remote storage.
func (s *Store) Local() *Local { return s.local }

// Ready is closed once the directory is open and the WAL replayed.
func (s *Store) Ready() <-chan struct{} { return s.ready }

// Run opens the directory and blocks until ctx ends, then flushes and closes. Where
// there is no room to open it, it waits for room.
func (s *Store) Run(ctx context.Context) error {
	open := s.openTSDB
	if s.opts.Agent {
		open = s.openAgent
	}
	if err := open(ctx); err != nil {
		if errors.Is(err, context.Canceled) {
			return s.Close()
		}
		return errors.Join(fmt.Errorf("opening storage failed: %w", err), s.Close())
	}
	s.registerTimeBounds()
	close(s.ready)
	return errors.Join(s.watch(ctx), s.Close())
}

func (s *Store) openTSDB(ctx context.Context) error {
	log := s.opts.Logger
	log.Info("Starting TSDB ...")
	o := s.opts.TSDB
	if o.MaxBlockChunkSegmentSize == 0 {
		o.MaxBlockChunkSegmentSize = chunkSegmentSize(s.opts.Dir)
	}
	db, err := s.openRepaired(ctx, func() (*tsdb.DB, error) {
		return tsdb.Open(s.opts.Dir, log.With("component", "tsdb"), s.registry, &o, s.local.stats)
	})
	if err != nil {
		return s.locked(err)
	}
	s.logFilesystem()
	log.Info("TSDB started")

	s.local.commits.watch(s.registry.sum("prometheus_tsdb_wal_writes_failed_total", "prometheus_tsdb_out_of_order_wbl_writes_failed_total"))
	db.SetWriteNotified(s.remote)
	// Remote write asks where the data begins. Double the block range gives
	// everything time to spin up before samples are called too old.
	return s.local.setTSDB(db, 2*s.opts.TSDB.MinBlockDuration)
}

func (s *Store) openAgent(ctx context.Context) error {
	log := s.opts.Logger
	log.Info("Starting WAL storage ...")
	if err := s.awaitRoom(ctx); err != nil {
		return err
	}
	db, err := agent.Open(log, s.registry, s.remote, s.opts.Dir, &s.opts.AgentDB)
	if err != nil {
		return s.locked(err)
	}
	s.logFilesystem()
	log.Info("Agent WAL storage started")
	s.local.setAgent(db)
	db.SetWriteNotified(s.remote)
	return nil
}

// locked says what it means that the lock file is held.
func (s *Store) locked(err error) error {
	if errors.Is(err, syscall.EAGAIN) {
		return fmt.Errorf("%w: another process uses the data directory %q; stop it, or give this one a directory of its own (--storage.tsdb.path or --storage.agent.path)", err, s.opts.Dir)
	}
	return err
}

// logFilesystem warns of the one kind of file system that loses data.
func (s *Store) logFilesystem() {
	fsType := promruntime.FsType(s.opts.Dir)
	if fsType == "NFS_SUPER_MAGIC" {
		s.opts.Logger.Warn("This filesystem is not supported and may lead to data corruption and data loss; use a local one", "fs_type", fsType)
		return
	}
	s.opts.Logger.Info("Filesystem of the data directory", "fs_type", fsType)
}

// ApplyConfig hands the storage section of cfg to the database.
func (s *Store) ApplyConfig(cfg *config.Config) error {
	if err := s.local.applyConfig(cfg); err != nil {
		return err
	}
	if s.opts.Agent || cfg.StorageConfig.TSDBConfig == nil || cfg.StorageConfig.TSDBConfig.Retention == nil {
		return nil
	}
	if r := *cfg.StorageConfig.TSDBConfig.Retention; r != s.retention {
		s.opts.Logger.Info("TSDB retention updated", "duration", r.Time, "size", r.Size, "percentage", r.Percentage)
		s.retention = r
	}
	return nil
}

// CostSamplingQueryable implements storage.CostSamplingQueryable.
func (s *Store) CostSamplingQueryable() (storage.SampleAndChunkQueryable, bool) {
	if all, ok := s.Storage.(storage.CostSamplingQueryable); ok {
		return all.CostSamplingQueryable()
	}
	return nil, false
}

// ApplyRemote hands the remote_write and remote_read sections of cfg to the
// remote storage. The error has no secrets of URLs.
func (s *Store) ApplyRemote(cfg *config.Config) error {
	if err := s.remote.ApplyConfig(cfg); err != nil {
		return errors.New(masked(err.Error()))
	}
	return nil
}

// CheckDir makes dir and says plainly if it cannot be written to, where upstream
// would report a failed lock or mkdir. It leaves nothing behind.
func CheckDir(dir string) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return fmt.Errorf("data directory %q: %w", dir, err)
	}
	probe, err := os.CreateTemp(dir, ".clanmon-probe-*")
	if err != nil {
		return fmt.Errorf("data directory %q is not writable: %w", dir, err)
	}
	probe.Close()
	return os.Remove(filepath.Clean(probe.Name()))
}

// registerTimeBounds exports the three gauges that upstream's main adds to
// those of the tsdb package, under upstream's names.
func (s *Store) registerTimeBounds() {
	if s.opts.Agent {
		return
	}
	seconds := func(name, help string, ms func(*tsdb.DB) int64) {
		var last atomic.Int64 // for as long as the database is exchanged
		s.opts.Registerer.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 {
			if db := s.local.db.Load(); db != nil && db.tsdb != nil {
				last.Store(ms(db.tsdb) / 1000)
			}
			return float64(last.Load())
		}))
	}
	seconds("prometheus_tsdb_lowest_timestamp_seconds", "Lowest timestamp value stored in the database.", func(db *tsdb.DB) int64 {
		if blocks := db.Blocks(); len(blocks) > 0 {
			return blocks[0].Meta().MinTime
		}
		return db.Head().MinTime()
	})
	seconds("prometheus_tsdb_head_min_time_seconds", "Minimum time bound of the head block.", func(db *tsdb.DB) int64 { return db.Head().MinTime() })
	seconds("prometheus_tsdb_head_max_time_seconds", "Maximum timestamp of the head block.", func(db *tsdb.DB) int64 { return db.Head().MaxTime() })
}
