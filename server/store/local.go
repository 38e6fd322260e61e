package store

import (
	"context"
	"math"
	"sync/atomic"
	"time"

	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/agent"
)

// Local is the database of this machine: upstream's tsdb.DB, or in agent mode
// its agent.DB, or neither while the directory is still being opened. It is
// what the HTTP API calls local storage and what administers the TSDB.
type Local struct {
	db    atomic.Pointer[database]
	stats *tsdb.DBStats // exists before the DB does, for WAL replay progress
}

// database is an open directory: one of the two is set.
type database struct {
	storage.Storage
	tsdb            *tsdb.DB
	agent           *agent.DB
	startTimeMargin int64 // milliseconds
}

func newLocal() *Local { return &Local{stats: tsdb.NewDBStats()} }

func (l *Local) setTSDB(db *tsdb.DB, startTimeMargin int64) {
	l.db.Store(&database{Storage: db, tsdb: db, startTimeMargin: startTimeMargin})
}

func (l *Local) setAgent(db *agent.DB) {
	l.db.Store(&database{Storage: db, agent: db})
}

// open returns the database, or tsdb.ErrNotReady.
func (l *Local) open() (*database, error) {
	if db := l.db.Load(); db != nil {
		return db, nil
	}
	return nil, tsdb.ErrNotReady
}

// openTSDB returns the TSDB; an agent has none.
func (l *Local) openTSDB() (*tsdb.DB, error) {
	db, err := l.open()
	if err != nil {
		return nil, err
	}
	if db.tsdb == nil {
		return nil, agent.ErrUnsupported
	}
	return db.tsdb, nil
}

func (l *Local) applyConfig(cfg *config.Config) error {
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

// Querier implements storage.Queryable.
func (l *Local) Querier(mint, maxt int64) (storage.Querier, error) {
	db, err := l.open()
	if err != nil {
		return nil, err
	}
	return db.Querier(mint, maxt)
}

// ChunkQuerier implements storage.ChunkQueryable.
func (l *Local) ChunkQuerier(mint, maxt int64) (storage.ChunkQuerier, error) {
	db, err := l.open()
	if err != nil {
		return nil, err
	}
	return db.ChunkQuerier(mint, maxt)
}

// ExemplarQuerier implements storage.ExemplarQueryable.
func (l *Local) ExemplarQuerier(ctx context.Context) (storage.ExemplarQuerier, error) {
	db, err := l.openTSDB()
	if err != nil {
		return nil, err
	}
	return db.ExemplarQuerier(ctx)
}

// Appender implements storage.Appendable.
func (l *Local) Appender(ctx context.Context) storage.Appender {
	db, err := l.open()
	if err != nil {
		return notReadyAppender{}
	}
	return db.Appender(ctx)
}

// AppenderV2 implements storage.AppendableV2.
func (l *Local) AppenderV2(ctx context.Context) storage.AppenderV2 {
	db, err := l.open()
	if err != nil {
		return notReadyAppenderV2{}
	}
	return db.AppenderV2(ctx)
}

// CostSamplingQueryable implements storage.CostSamplingQueryable: what the cost of
// a query is estimated from. There is none in agent mode and before the database
// is open.
func (l *Local) CostSamplingQueryable() (storage.SampleAndChunkQueryable, bool) {
	db, err := l.openTSDB()
	if err != nil {
		return nil, false
	}
	return db.CostSamplingQueryable()
}

// Close closes the database if it is open.
func (l *Local) Close() error {
	if db := l.db.Load(); db != nil {
		return db.Close()
	}
	return nil
}

// CleanTombstones removes deleted data from disk.
func (l *Local) CleanTombstones() error {
	db, err := l.openTSDB()
	if err != nil {
		return err
	}
	return db.CleanTombstones()
}

// Delete marks the samples of the series that ms select as deleted.
func (l *Local) Delete(ctx context.Context, mint, maxt int64, ms ...*labels.Matcher) error {
	db, err := l.openTSDB()
	if err != nil {
		return err
	}
	return db.Delete(ctx, mint, maxt, ms...)
}

// Snapshot writes all blocks, and the head if asked, to dir.
func (l *Local) Snapshot(dir string, withHead bool) error {
	db, err := l.openTSDB()
	if err != nil {
		return err
	}
	return db.Snapshot(dir, withHead)
}

// Stats returns the cardinality statistics of the head.
func (l *Local) Stats(byLabel string, limit int) (*tsdb.Stats, error) {
	db, err := l.openTSDB()
	if err != nil {
		return nil, err
	}
	return db.Head().Stats(byLabel, limit), nil
}

// WALReplayStatus is known before the database is open.
func (l *Local) WALReplayStatus() (tsdb.WALReplayStatus, error) {
	return l.stats.Head.WALReplayStatus.GetWALReplayStatus(), nil
}

// BlockMetas describes the blocks on disk.
func (l *Local) BlockMetas() ([]tsdb.BlockMeta, error) {
	db, err := l.openTSDB()
	if err != nil {
		return nil, err
	}
	return db.BlockMetas(), nil
}

// notReadyAppender refuses everything while the database is being opened.
type notReadyAppender struct{}

func (notReadyAppender) SetOptions(*storage.AppendOptions) {}

func (notReadyAppender) Append(storage.SeriesRef, labels.Labels, int64, float64) (storage.SeriesRef, error) {
	return 0, tsdb.ErrNotReady
}

func (notReadyAppender) AppendExemplar(storage.SeriesRef, labels.Labels, exemplar.Exemplar) (storage.SeriesRef, error) {
	return 0, tsdb.ErrNotReady
}

func (notReadyAppender) AppendHistogram(storage.SeriesRef, labels.Labels, int64, *histogram.Histogram, *histogram.FloatHistogram) (storage.SeriesRef, error) {
	return 0, tsdb.ErrNotReady
}

func (notReadyAppender) AppendHistogramSTZeroSample(storage.SeriesRef, labels.Labels, int64, int64, *histogram.Histogram, *histogram.FloatHistogram) (storage.SeriesRef, error) {
	return 0, tsdb.ErrNotReady
}

func (notReadyAppender) UpdateMetadata(storage.SeriesRef, labels.Labels, metadata.Metadata) (storage.SeriesRef, error) {
	return 0, tsdb.ErrNotReady
}

func (notReadyAppender) AppendSTZeroSample(storage.SeriesRef, labels.Labels, int64, int64) (storage.SeriesRef, error) {
	return 0, tsdb.ErrNotReady
}

func (notReadyAppender) Commit() error   { return tsdb.ErrNotReady }
func (notReadyAppender) Rollback() error { return tsdb.ErrNotReady }

type notReadyAppenderV2 struct{}

func (notReadyAppenderV2) Append(storage.SeriesRef, labels.Labels, int64, int64, float64, *histogram.Histogram, *histogram.FloatHistogram, storage.AOptions) (storage.SeriesRef, error) {
	return 0, tsdb.ErrNotReady
}

func (notReadyAppenderV2) AppendExemplars(storage.SeriesRef, labels.Labels, []exemplar.Exemplar) (storage.SeriesRef, error) {
	return 0, tsdb.ErrNotReady
}

func (notReadyAppenderV2) Commit() error   { return tsdb.ErrNotReady }
func (notReadyAppenderV2) Rollback() error { return tsdb.ErrNotReady }
