package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"

	"github.com/clanmon/clanmon/server/store/internal/resend"
)

// Health says whether samples are stored. No rule can say it: rules read what is
// stored.
type Health struct {
	// Storing is false while samples are refused or cannot be written.
	Storing bool `json:"storing"`
	// Since is when that began.
	Since time.Time `json:"since,omitzero"`
	// Reason is one sentence without a full stop: what is wrong, and what to do.
	Reason string `json:"reason,omitempty"`
	// Unsafe means that a restart would lose samples: a write to the WAL failed,
	// and what is in memory has not been written to a block since.
	Unsafe bool `json:"unsafe,omitempty"`
	// Waiting is the reason why the directory is not opened yet, "" once it is.
	Waiting string `json:"waiting,omitempty"`
	// Damaged lists what was set aside because it could not be read.
	Damaged []Damage `json:"damaged,omitempty"`
}

// commits remembers how writing to the WAL fares. It is safe for concurrent use.
type commits struct {
	mu     sync.Mutex
	failed time.Time // since when nothing could be written; zero while it can
	err    error
	unsafe bool

	// failures counts the writes to the WAL that failed, of the database that is open.
	// Upstream counts before it lets the next write in, so that a commit sees the
	// failure before it, whoever met it: another commit that has not returned yet, or
	// an append that was rolled back.
	failures func() float64
	counted  float64
}

// watch makes failures those of a new database.
func (c *commits) watch(failures func() float64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failures, c.counted = failures, failures()
}

// done notes how writing ended, and reports whether what was written is behind a
// torn record.
func (c *commits) done(err error, wrote bool) (unsafe bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failures != nil {
		if n := c.failures(); n != c.counted {
			c.counted, c.unsafe = n, true
		}
	}
	switch {
	case err != nil:
		c.fail(err)
		c.unsafe = true
	case wrote:
		c.failed, c.err = time.Time{}, nil
	}
	return c.unsafe
}

func (c *commits) fail(err error) {
	if c.failed.IsZero() {
		c.failed = time.Now()
	}
	c.err = err
}

// refused notes an append that was not tried.
func (c *commits) refused(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fail(err)
}

func (c *commits) secured() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unsafe = false
}

// torn reports whether a record in the WAL is torn.
func (c *commits) torn() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.unsafe
}

// needsSecuring reports whether writing works again after it did not.
func (c *commits) needsSecuring() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.unsafe && c.failed.IsZero()
}

// Health is how storing fares now.
func (s *Store) Health() Health {
	h := Health{Storing: true, Damaged: s.damaged.list()}
	s.local.commits.mu.Lock()
	h.Unsafe = s.local.commits.unsafe && !s.opts.Agent // an agent writes nothing behind a torn record
	failed, err := s.local.commits.failed, s.local.commits.err
	s.local.commits.mu.Unlock()
	waiting, since := s.waiting()
	switch {
	case waiting != "":
		h.Storing, h.Since, h.Reason, h.Waiting = false, since, waiting, waiting
	case err != nil:
		h.Storing, h.Since, h.Reason = false, failed, s.why(err)
	default:
		if b := s.future.first(); b != nil {
			h.Storing, h.Since, h.Reason = false, b.seen, b.String()
		}
	}
	return h
}

// why words an error of writing.
func (s *Store) why(err error) string {
	switch {
	case errors.Is(err, syscall.ENOSPC):
		return fmt.Sprintf("disk full: no space left for %q; free some, samples are lost until then", s.opts.Dir)
	case errors.Is(err, syscall.EDQUOT):
		return fmt.Sprintf("disk quota exceeded for %q; samples are lost until there is room", s.opts.Dir)
	case errors.Is(err, syscall.EROFS):
		return fmt.Sprintf("the file system of %q is read-only; mount it writable again", s.opts.Dir)
	case errors.Is(err, syscall.EIO):
		return fmt.Sprintf("input/output error in %q: the disk is failing", s.opts.Dir)
	}
	return fmt.Sprintf("cannot write to %q: %v", s.opts.Dir, err)
}

// use is one append: it tells commits how it ends, and leaves the gate then.
type use struct {
	local *Local // nil once it has ended; upstream ends some appends twice
	era   storage.SeriesRef
	agent bool
	wrote bool

	touched touched
	late    resend.Late
}

// Whoever appends remembers the references of series. Those of one database mean
// other series in the next one, so that each reference says which one it is from.
const eraShift = 48 // upstream's references have 40 bits

// in is a reference as the database knows it; 0, which makes it look for the labels,
// if it is of an earlier one.
func (u *use) in(ref storage.SeriesRef) storage.SeriesRef {
	if ref>>eraShift != u.era {
		return 0
	}
	return ref & (1<<eraShift - 1)
}

func (u *use) out(ref storage.SeriesRef, err error) (storage.SeriesRef, error) {
	if ref != 0 {
		ref |= u.era << eraShift
	}
	return ref, err
}

// stored reports whether an append with this error stored its sample: an error may be that
// of an exemplar alone.
func stored(err error) bool {
	_, partial := errors.AsType[*storage.AppendPartialError](err)
	return err == nil || partial
}

// appended notes how appending a sample went.
func (u *use) appended(l labels.Labels, t int64, ref storage.SeriesRef, err error) (storage.SeriesRef, error) {
	if stored(err) {
		u.wrote = true
		u.touched.add(l, t)
		u.late.Add(l, t)
	}
	return u.out(ref, err)
}

// errUnsafe is the answer to an append behind a torn record of the WAL. Its samples
// are in memory, where queries and rules find them; but whoever can send them again
// has to, for a crash would lose them.
var errUnsafe = errors.New("in memory only: a write to the WAL failed before, and memory is not safe yet")

// errFull is the answer to an append that is not tried.
var errFull = fmt.Errorf("too little room: %w", syscall.ENOSPC)

func (u *use) commit(commit, rollback func() error) error {
	local := u.local
	defer u.leave()
	if local == nil {
		return commit()
	}
	if u.agent {
		// An agent has no blocks that its WAL could be written to, so nothing is written
		// behind a torn record, where the repair would delete it.
		local.alone.Lock()
		defer local.alone.Unlock()
		if local.commits.torn() {
			return errors.Join(errTorn, rollback())
		}
	}
	if local.full.Load() {
		local.commits.refused(errFull)
		return errors.Join(errFull, rollback())
	}
	u.late.Note()
	err := commit()
	u.late.Note()    // it can be read only now
	u.touched.tell() // also of what failed: it may be in memory
	if unsafe := local.commits.done(err, u.wrote); err == nil && unsafe {
		return errUnsafe
	}
	return err
}

// errTorn is the answer of an agent until its WAL is repaired.
var errTorn = errors.New("a write to the WAL failed before, and the WAL is not repaired yet")

func (u *use) rollback(rollback func() error) error {
	defer u.leave()
	return rollback()
}

func (u *use) leave() {
	if u.local != nil {
		u.local.gate.leave()
		u.local = nil
	}
}

// appender is an append of upstream's first interface.
type appender struct {
	storage.Appender
	use
}

func (a *appender) Append(ref storage.SeriesRef, l labels.Labels, t int64, v float64) (storage.SeriesRef, error) {
	ref, err := a.Appender.Append(a.in(ref), l, t, v)
	return a.appended(l, t, ref, err)
}

func (a *appender) AppendHistogram(ref storage.SeriesRef, l labels.Labels, t int64, h *histogram.Histogram, fh *histogram.FloatHistogram) (storage.SeriesRef, error) {
	ref, err := a.Appender.AppendHistogram(a.in(ref), l, t, h, fh)
	return a.appended(l, t, ref, err)
}

func (a *appender) AppendHistogramSTZeroSample(ref storage.SeriesRef, l labels.Labels, t, st int64, h *histogram.Histogram, fh *histogram.FloatHistogram) (storage.SeriesRef, error) {
	ref, err := a.Appender.AppendHistogramSTZeroSample(a.in(ref), l, t, st, h, fh)
	return a.appended(l, st, ref, err)
}

func (a *appender) AppendSTZeroSample(ref storage.SeriesRef, l labels.Labels, t, st int64) (storage.SeriesRef, error) {
	ref, err := a.Appender.AppendSTZeroSample(a.in(ref), l, t, st)
	return a.appended(l, st, ref, err)
}

func (a *appender) AppendExemplar(ref storage.SeriesRef, l labels.Labels, e exemplar.Exemplar) (storage.SeriesRef, error) {
	return a.out(a.Appender.AppendExemplar(a.in(ref), l, e))
}

func (a *appender) UpdateMetadata(ref storage.SeriesRef, l labels.Labels, m metadata.Metadata) (storage.SeriesRef, error) {
	return a.out(a.Appender.UpdateMetadata(a.in(ref), l, m))
}

func (a *appender) Commit() error   { return a.commit(a.Appender.Commit, a.Appender.Rollback) }
func (a *appender) Rollback() error { return a.rollback(a.Appender.Rollback) }

// appenderV2 is an append of upstream's second interface.
type appenderV2 struct {
	storage.AppenderV2
	use
}

func (a *appenderV2) Append(ref storage.SeriesRef, l labels.Labels, st, t int64, v float64, h *histogram.Histogram, fh *histogram.FloatHistogram, o storage.AOptions) (storage.SeriesRef, error) {
	ref, err := a.AppenderV2.Append(a.in(ref), l, st, t, v, h, fh, o)
	return a.appended(l, t, ref, err)
}

// AppendExemplars implements storage.ExemplarAppenderV2, as upstream's databases do.
func (a *appenderV2) AppendExemplars(ref storage.SeriesRef, l labels.Labels, es []exemplar.Exemplar) (storage.SeriesRef, error) {
	if e, ok := a.AppenderV2.(storage.ExemplarAppenderV2); ok {
		return a.out(e.AppendExemplars(a.in(ref), l, es))
	}
	return 0, errors.ErrUnsupported
}

func (a *appenderV2) Commit() error   { return a.commit(a.AppenderV2.Commit, a.AppenderV2.Rollback) }
func (a *appenderV2) Rollback() error { return a.rollback(a.AppenderV2.Rollback) }

// querier leaves the gate when it is closed.
type querier struct {
	storage.Querier
	leave func()
}

func (q *querier) Close() error {
	defer q.leave()
	return q.Querier.Close()
}

// SearchLabelNames implements storage.Searcher.
func (q *querier) SearchLabelNames(ctx context.Context, hints *storage.SearchHints, ms ...*labels.Matcher) storage.SearchResultSet {
	return searchNames(ctx, q.Querier, hints, ms)
}

// SearchLabelValues implements storage.Searcher.
func (q *querier) SearchLabelValues(ctx context.Context, name string, hints *storage.SearchHints, ms ...*labels.Matcher) storage.SearchResultSet {
	return searchValues(ctx, q.Querier, name, hints, ms)
}

type chunkQuerier struct {
	storage.ChunkQuerier
	leave func()
}

func (q *chunkQuerier) Close() error {
	defer q.leave()
	return q.ChunkQuerier.Close()
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
