// Package store owns the data directory: the time series database, or in agent
// mode the write-ahead log alone, and the remote storage behind both.
//
// It is upstream's tsdb, tsdb/agent and storage/remote with one life around
// them, and it is not a storage engine. New takes the directory's lock; Run opens it,
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
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/storage/remote"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/agent"
	"github.com/prometheus/prometheus/tsdb/chunks"
	promruntime "github.com/prometheus/prometheus/util/runtime"

	"github.com/clanmon/clanmon/server/store/internal/resend"
)

// Options say how the data directory is opened; they are fixed for the life of
// a Store.
type Options struct {
	Dir   string
	Agent bool // keep a WAL for remote write only

	TSDB    tsdb.Options  // used unless Agent
	AgentDB agent.Options // used if Agent

	FlushDeadline           time.Duration // for each queue of remote write, at shutdown and reload
	EnableTypeAndUnitLabels bool

	// Version is that of the TSDB. A snapshot of memory that another version wrote is not used.
	Version string

	// Scrapes gives remote write the metadata of active targets.
	Scrapes remote.ReadyScrapeManager

	Registerer prometheus.Registerer
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
	stopping chan struct{} // closed when the context of Run ends
	free     func() (bytes int64, known bool)
	close    func() error // once
	remotes  *remotes
	resend   *resend.Manager
	// remoteRegistry has the metrics of remote write alone.
	remoteRegistry *remoteRegistry
	remoteApplied  bool         // ApplyRemote has been called
	ranBefore      bool         // a clanmon that writes walFile has used the directory
	opened         bool         // Run has opened the directory
	doubled        bool         // the WAL has series under two references; only Run and what it calls use it
	walKnown       []walSegment // what walFile says; only Run and what it calls use it

	mu   sync.Mutex
	wait struct { // why the directory is not opened yet
		why   string
		since time.Time
	}

	retention config.TSDBRetentionConfig // last applied; guarded by mu
}

// New makes the data directory and locks it for this process, and returns a Store that
// is not open. One that is never Run has to be Closed. The error says what is wrong with
// the directory, or that another process uses it.
func New(o Options) (*Store, error) {
	release, err := lock(&o)
	if err != nil {
		return nil, err
	}
	s := &Store{
		opts: o, local: newLocal(), registry: &registerer{Registerer: o.Registerer}, ready: make(chan struct{}), stopping: make(chan struct{}),
		remotes: &remotes{born: time.Now(), errors: make(map[string]remoteError)},
	}
	s.damaged.dir, s.damaged.log = o.Dir, o.Logger
	_, err = os.Stat(filepath.Join(o.Dir, walFile))
	s.ranBefore = err == nil
	s.free = func() (int64, bool) { return freeRoom(o.Dir) }
	if s.opts.TSDB.MaxBlockChunkSegmentSize == 0 {
		s.opts.TSDB.MaxBlockChunkSegmentSize = chunkSegmentSize(o.Dir)
	}
	if size := s.opts.TSDB.HeadChunksWriteBufferSize; size == 0 || size == chunks.DefaultWriteBufferSize {
		s.opts.TSDB.HeadChunksWriteBufferSize = headBufferSize(o.Dir)
	}
	s.opts.TSDB.BlocksToDelete = s.blocksToDelete
	s.opts.TSDB.BlockQuerierFunc, s.opts.TSDB.BlockChunkQuerierFunc = s.blockQuerier, s.blockChunkQuerier
	s.opts.TSDB.NewCompactorFunc = s.newCompactor
	log := slog.New(remoteLog{Handler: o.Logger.With("component", "remote").Handler(), remotes: s.remotes})
	s.remoteRegistry = &remoteRegistry{Registerer: o.Registerer, own: prometheus.NewRegistry()}
	s.remote = remote.NewStorage(log, s.remoteRegistry,
		s.local.StartTime, o.Dir, o.FlushDeadline, o.Scrapes, o.EnableTypeAndUnitLabels)
	s.resend = resend.New(resend.Options{
		File: filepath.Join(o.Dir, remoteFile), LateFile: filepath.Join(o.Dir, remoteLateFile), SetAside: s.SetAside,
		Source: remoteSource{s}, Apply: s.remote.ApplyConfig,
		Metrics: s.remoteMetrics, Reads: s.walReads, Failed: s.remotes.record, Address: withoutSecrets,
		Logger: slog.New(remoteLog{Handler: o.Logger.With("component", "remote").Handler(), remotes: s.remotes}),
	})
	s.local.resend = s.resend
	o.Registerer.MustRegister(remoteCollector{s})
	s.Storage = storage.NewFanout(o.Logger, s.local, remoteStorage{s.remote, s})
	s.close = sync.OnceValue(func() error {
		err := s.closeStorage()
		o.Registerer.Unregister(remoteCollector{s})
		if s.opened {
			s.rememberWAL()
		}
		return errors.Join(err, release())
	})
	return s, nil
}

// Close closes what is open, once: Run does so when it ends, and a Store that is
// never run needs it too.
func (s *Store) Close() error { return s.close() }

// Local is the database alone, without remote storage.
func (s *Store) Local() *Local { return s.local }

// Ready is closed once the directory is open and the WAL replayed.
func (s *Store) Ready() <-chan struct{} { return s.ready }

// Progress says how much of the WAL has been replayed; "" before and after that.
func (s *Store) Progress() string {
	select {
	case <-s.ready:
		return ""
	default:
	}
	replay, _ := s.local.WALReplayStatus() // its error is always nil
	if replay.Max <= replay.Min {
		return ""
	}
	return fmt.Sprintf("Replaying the WAL: segment %d of %d", replay.Current-replay.Min+1, replay.Max-replay.Min+1)
}

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
	s.opened = true
	defer context.AfterFunc(ctx, func() { close(s.stopping) })()
	close(s.ready)
	positions := make(chan struct{})
	go func() {
		defer close(positions)
		s.resend.Run(ctx)
	}()
	defer func() { <-positions }()
	return errors.Join(s.watch(ctx), s.Close())
}

func (s *Store) openTSDB(ctx context.Context) error {
	log := s.opts.Logger
	log.Info("Starting TSDB ...")
	o := s.opts.TSDB
	var found *doubles
	db, err := s.openRepaired(ctx, func() (*tsdb.DB, error) {
		found = &doubles{}
		o.SeriesLifecycleCallback = found
		return tsdb.Open(s.opts.Dir, log.With("component", "tsdb"), s.registry, &o, s.local.stats)
	})
	if err != nil {
		return err
	}
	s.doubled = found.n.Load() > 0
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
	s.damaged.load()
	if _, err := s.repairWAL(); err != nil {
		return err
	}
	db, err := agent.Open(log, s.registry, s.remote, s.opts.Dir, &s.opts.AgentDB)
	if err != nil {
		return err
	}
	s.logFilesystem()
	log.Info("Agent WAL storage started")
	s.cutPadding()
	s.rememberWAL() // a repair may have cut it
	s.local.setAgent(db)
	db.SetWriteNotified(s.remote)
	return nil
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
	s.mu.Lock()
	defer s.mu.Unlock()
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
// remote storage. It must not be called before the directory is open, and the first time
// before anything is appended. The error has no secrets of URLs.
func (s *Store) ApplyRemote(cfg *config.Config) error {
	running := s.remoteApplied
	s.remoteApplied = true
	if err := s.resend.Apply(cfg, running); err != nil {
		return errors.New(masked(err.Error()))
	}
	return nil
}

// registerTimeBounds exports the three gauges that upstream's main adds to
// those of the tsdb package, under upstream's names.
func (s *Store) registerTimeBounds() {
	if s.opts.Agent {
		return
	}
	s.registerRoom()
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
