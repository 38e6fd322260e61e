package store

import (
	"context"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/agent"

	"github.com/clanmon/clanmon/server/internal/resultcache"
	"github.com/clanmon/clanmon/server/store/internal/resend"
)

// Local is the database of this machine: upstream's tsdb.DB, or in agent mode
// its agent.DB, or neither while the directory is still being opened. It is
// what the HTTP API calls local storage and what administers the TSDB.
type Local struct {
	db      atomic.Pointer[database]
	applied atomic.Pointer[config.Config]
	stats   *tsdb.DBStats // exists before the DB does, for WAL replay progress

	eras    storage.SeriesRef // databases that have been open; one is opened at a time
	gate    gate              // those who use db are inside
	watcher Watcher           // nil for none
	resend  *resend.Manager   // knows of late samples; nil for none
	blocks  resultcache.Blocks
	commits commits

	exchanging atomic.Bool // db is being exchanged
	held       atomic.Bool // upstream's lock of its blocks is held until there is room
	full       atomic.Bool // no room for chunks of samples out of order, which are written while they are appended
	alone      sync.Mutex  // held by each commit of an agent
}

// database is an open directory: one of the two is set.
type database struct {
	storage.Storage
	tsdb            *tsdb.DB
	agent           *agent.DB
	startTimeMargin int64             // milliseconds
	era             storage.SeriesRef // how many databases were open before it
}

func newLocal() *Local { return &Local{stats: tsdb.NewDBStats()} }

// setTSDB opens the door to db. A configuration that was applied to the one before
// it counts for this one too.
func (l *Local) setTSDB(db *tsdb.DB, startTimeMargin int64) error {
	if cfg := l.applied.Load(); cfg != nil {
		if err := db.ApplyConfig(cfg); err != nil {
			return err
		}
	}
	l.db.Store(&database{Storage: db, tsdb: db, startTimeMargin: startTimeMargin, era: l.eras})
	l.eras++
	return nil
}

func (l *Local) setAgent(db *agent.DB) {
	l.db.Store(&database{Storage: db, agent: db, era: l.eras})
	l.eras++
}

// open returns the database, or tsdb.ErrNotReady.
func (l *Local) open() (*database, error) {
	if db := l.db.Load(); db != nil {
		return db, nil
	}
	return nil, tsdb.ErrNotReady
}

// Whoever comes while the database is exchanged waits that long: readers until
// it should be there again, scrapes until their next one is due.
const (
	readerPatience   = 20 * time.Second
	appenderPatience = 5 * time.Second
)

// enter returns the database, which is not exchanged until leave is called. leave
// may be called again.
func (l *Local) enter(patience time.Duration) (db *database, leave func(), err error) {
	if !l.gate.enter(patience) {
		return nil, nil, tsdb.ErrNotReady
	}
	if db, err = l.open(); err != nil {
		l.gate.leave()
		return nil, nil, err
	}
	return db, sync.OnceFunc(l.gate.leave), nil
}

// enterTSDB is enter for what an agent does not have.
func (l *Local) enterTSDB() (*tsdb.DB, func(), error) {
	db, leave, err := l.enter(readerPatience)
	if err != nil {
		return nil, nil, err
	}
	if db.tsdb == nil {
		leave()
		return nil, nil, agent.ErrUnsupported
	}
	return db.tsdb, leave, nil
}

func (l *Local) applyConfig(cfg *config.Config) error {
	l.applied.Store(cfg)
	if db := l.db.Load(); db != nil && db.tsdb != nil {
		return db.tsdb.ApplyConfig(cfg)
	}
	return nil
}

// StartTime is the oldest time, in milliseconds, that remote write may hold to
// be in the database.
func (l *Local) StartTime() (int64, error) {
	db, err := l.open()
	switch {
	case err != nil:
		return math.MaxInt64, err
	case db.agent != nil:
		return db.agent.StartTime()
	}
	start := time.Now().Unix() * 1000
	if blocks := db.tsdb.Blocks(); len(blocks) > 0 {
		start = blocks[0].Meta().MinTime
	}
	return start + db.startTimeMargin, nil
}

// Oldest is the time from which the database has samples, in milliseconds. Blocks of samples
// that came out of order do not count: they are of a few machines only.
func (l *Local) Oldest() (int64, error) {
	db, leave, err := l.enterTSDB()
	if err != nil {
		return math.MaxInt64, err
	}
	defer leave()
	oldest := db.Head().MinTime()
	for _, b := range db.Blocks() {
		if m := b.Meta(); !m.Compaction.FromOutOfOrder() {
			oldest = min(oldest, m.MinTime)
		}
	}
	return oldest, nil
}

// Querier implements storage.Queryable.
func (l *Local) Querier(mint, maxt int64) (storage.Querier, error) {
	db, leave, err := l.enter(readerPatience)
	if err != nil {
		return nil, err
	}
	q, err := db.Querier(mint, maxt)
	if err != nil {
		leave()
		return nil, err
	}
	return &querier{q, leave}, nil
}

// ChunkQuerier implements storage.ChunkQueryable.
func (l *Local) ChunkQuerier(mint, maxt int64) (storage.ChunkQuerier, error) {
	db, leave, err := l.enter(readerPatience)
	if err != nil {
		return nil, err
	}
	q, err := db.ChunkQuerier(mint, maxt)
	if err != nil {
		leave()
		return nil, err
	}
	return &chunkQuerier{q, leave}, nil
}

// ExemplarQuerier implements storage.ExemplarQueryable.
func (l *Local) ExemplarQuerier(ctx context.Context) (storage.ExemplarQuerier, error) {
	db, leave, err := l.enterTSDB()
	if err != nil {
		return nil, err
	}
	defer leave()
	return db.ExemplarQuerier(ctx)
}

// Appender implements storage.Appendable.
func (l *Local) Appender(ctx context.Context) storage.Appender {
	db, _, err := l.enter(appenderPatience)
	if err != nil {
		return notReadyAppender{}
	}
	return &appender{db.Appender(ctx), use{local: l, era: db.era, agent: db.agent != nil, touched: touches(l.watcher), late: l.resend.Late(time.Now())}}
}

// AppenderV2 implements storage.AppendableV2.
func (l *Local) AppenderV2(ctx context.Context) storage.AppenderV2 {
	db, _, err := l.enter(appenderPatience)
	if err != nil {
		return notReadyAppenderV2{}
	}
	return &appenderV2{db.AppenderV2(ctx), use{local: l, era: db.era, agent: db.agent != nil, touched: touches(l.watcher), late: l.resend.Late(time.Now())}}
}

// CostSamplingQueryable implements storage.CostSamplingQueryable: what the cost of
// a query is estimated from. There is none in agent mode and before the database
// is open.
func (l *Local) CostSamplingQueryable() (storage.SampleAndChunkQueryable, bool) {
	db, leave, err := l.enterTSDB()
	if err != nil {
		return nil, false
	}
	defer leave()
	source, ok := db.CostSamplingQueryable()
	if !ok {
		return nil, false
	}
	return &sampled{l, db, source}, true
}

// sampled reads from one database, as long as that is open.
type sampled struct {
	local  *Local
	db     *tsdb.DB
	source storage.SampleAndChunkQueryable
}

func (s *sampled) enter() (leave func(), err error) {
	db, leave, err := s.local.enterTSDB()
	if err == nil && db != s.db {
		leave()
		return nil, tsdb.ErrNotReady
	}
	return leave, err
}

func (s *sampled) Querier(mint, maxt int64) (storage.Querier, error) {
	leave, err := s.enter()
	if err != nil {
		return nil, err
	}
	q, err := s.source.Querier(mint, maxt)
	if err != nil {
		leave()
		return nil, err
	}
	return &querier{q, leave}, nil
}

func (s *sampled) ChunkQuerier(mint, maxt int64) (storage.ChunkQuerier, error) {
	leave, err := s.enter()
	if err != nil {
		return nil, err
	}
	q, err := s.source.ChunkQuerier(mint, maxt)
	if err != nil {
		leave()
		return nil, err
	}
	return &chunkQuerier{q, leave}, nil
}

// Close closes the database if it is open.
func (l *Local) Close() error {
	if db := l.db.Load(); db != nil {
		return closeDB(db)
	}
	return nil
}

func closeDB(db storage.Storage) (err error) {
	defer func() {
		// Upstream writes the head's chunks, and panics where it cannot. They are in the
		// WAL too.
		if p := recover(); p != nil {
			err = fmt.Errorf("closing the database: %v", p)
		}
	}()
	return db.Close()
}

// enterChange is enterTSDB for what waits for upstream's lock of its blocks.
func (l *Local) enterChange() (*tsdb.DB, func(), error) {
	if l.held.Load() {
		return nil, nil, errFull
	}
	return l.enterTSDB()
}

// CleanTombstones removes deleted data from disk.
func (l *Local) CleanTombstones() error {
	db, leave, err := l.enterChange()
	if err != nil {
		return err
	}
	defer leave()
	return db.CleanTombstones()
}

// Delete marks the samples of the series that ms select as deleted.
func (l *Local) Delete(ctx context.Context, mint, maxt int64, ms ...*labels.Matcher) error {
	db, leave, err := l.enterChange()
	if err != nil {
		return err
	}
	defer leave()
	l.blocks.Deleted()
	if l.watcher != nil {
		defer l.watcher.Changed(mint, labels.EmptyLabels()) // also where it failed half way
	}
	return db.Delete(ctx, mint, maxt, ms...)
}

// Snapshot writes all blocks, and the head if asked, to dir.
func (l *Local) Snapshot(dir string, withHead bool) error {
	db, leave, err := l.enterChange()
	if err != nil {
		return err
	}
	defer leave()
	return db.Snapshot(dir, withHead)
}

// Stats returns the cardinality statistics of the head.
func (l *Local) Stats(byLabel string, limit int) (*tsdb.Stats, error) {
	db, leave, err := l.enterTSDB()
	if err != nil {
		return nil, err
	}
	defer leave()
	return db.Head().Stats(byLabel, limit), nil
}

// WALReplayStatus is known before the database is open.
func (l *Local) WALReplayStatus() (tsdb.WALReplayStatus, error) {
	return l.stats.Head.WALReplayStatus.GetWALReplayStatus(), nil
}

// BlockMetas describes the blocks on disk.
func (l *Local) BlockMetas() ([]tsdb.BlockMeta, error) {
	db, leave, err := l.enterTSDB()
	if err != nil {
		return nil, err
	}
	defer leave()
	return db.BlockMetas(), nil
}
