// Package history keeps what an exporter gathered on disk, so that a server can ask for
// what it missed.
//
// Segments are files of package internal/history's format, numbered from 1 on. The last one
// is written to; each holds about an hour. Open repairs what a crash left behind. A directory
// belongs to one process at a time.
package history

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	wire "github.com/clanmon/clanmon/internal/history"
)

// Options for Open. All fields but Dropping and Registerer are required.
type Options struct {
	// Gathers is how many are kept. Of a machine that sleeps, these reach further back.
	Gathers int
	// MaxBytes bounds the files together.
	MaxBytes int64
	// PerSegment is how many gathers a file has.
	PerSegment int
	// Dropping is called before the gathers from one time to another are dropped; nil for
	// nobody.
	Dropping   func(from, to int64)
	Registerer prometheus.Registerer // nil for none
	Logger     *slog.Logger
}

const (
	suffix = ".history"
	aside  = ".aside"
	// syncEvery bounds what a power failure takes.
	syncEvery = 5 * time.Second
	keepAside = 7 * 24 * time.Hour
	// segmentsOfAll is into how many files a spool is cut at least, so that dropping the
	// oldest leaves most of it.
	segmentsOfAll = 16
	// maxSeries bounds the memory of one who reads.
	maxSeries = 1 << 20
)

// Spool is the history of one exporter. Append and Close must not be called concurrently;
// Read may be called at any time.
type Spool struct {
	dir    string
	opts   Options
	lock   *os.File
	writer *wire.Writer

	file    file // the last segment; nil if the next record begins one
	open    func(path string, flags int) (file, error)
	syncDir func(dir string) error
	synced  time.Time
	failed  string // why the last gather could not be kept; "" if it was

	mu       sync.Mutex
	segments []segment
	steps    []step
	metrics  metrics
}

// file is what is written to.
type file interface {
	io.WriteCloser
	Sync() error
}

func openFile(path string, flags int) (file, error) {
	f, err := os.OpenFile(path, flags|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err // and no file, not even a nil one
	}
	return f, nil
}

// segment is a file that records can be read from.
type segment struct {
	number   int64
	bytes    int64
	first    int64 // bytes of the first record, which has everything
	records  int
	min, max int64 // times of records
}

func newSegment(number int64) segment {
	return segment{number: number, min: math.MaxInt64, max: math.MinInt64}
}

// step is a time at which the clock went backwards: records before that record, with times
// from its time on, have the times of a clock that was wrong.
type step struct {
	segment int64
	record  int
	time    int64
}

func (s *Spool) path(number int64) string {
	return filepath.Join(s.dir, fmt.Sprintf("%08d%s", number, suffix))
}

// Open opens the spool in dir, which it makes if there is none. What cannot be read is cut
// off, or set aside if it is of another version; the log says so.
func Open(dir string, o Options) (*Spool, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		lock.Close()
		return nil, fmt.Errorf("%s is used by another process: %w", dir, err)
	}
	s := &Spool{dir: dir, opts: o, lock: lock, writer: wire.NewWriter(), open: openFile, syncDir: syncDir}
	s.metrics = newMetrics(s, o.Registerer)
	if err := s.load(); err != nil {
		lock.Close()
		return nil, err
	}
	s.trim(0)
	return s, nil
}

// load reads all segments.
func (s *Spool) load() error {
	files, err := os.ReadDir(s.dir)
	if err != nil {
		return err
	}
	var last *wire.Reader
	for _, f := range files { // in the order of their names
		if strings.HasSuffix(f.Name(), suffix+aside) {
			s.forgetAside(f)
		}
		var number int64
		if _, err := fmt.Sscanf(f.Name(), "%d"+suffix, &number); err != nil || filepath.Base(s.path(number)) != f.Name() {
			continue
		}
		reader, err := s.loadSegment(number)
		if err != nil {
			return err
		}
		last = reader
	}
	if n := len(s.segments); last != nil && n > 0 {
		s.writer = last.Writer()
		if s.file, err = s.open(s.path(s.segments[n-1].number), 0); err != nil {
			return err
		}
	}
	return nil
}

// forgetAside removes a file that was set aside long ago.
func (s *Spool) forgetAside(f os.DirEntry) {
	if info, err := f.Info(); err == nil && time.Since(info.ModTime()) > keepAside {
		_ = os.Remove(filepath.Join(s.dir, f.Name())) // or at the next start
	}
}

// loadSegment learns what is in a file, and cuts off what cannot be read. The Reader is nil
// if nothing can be written after it.
func (s *Spool) loadSegment(number int64) (*wire.Reader, error) {
	path := s.path(number)
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	g := newSegment(number)
	segments, steps := slices.Clone(s.segments), slices.Clone(s.steps)
	in := bufio.NewReaderSize(f, 64<<10)
	reader, err := wire.NewReader(in, maxSeries, math.MaxInt)
	if errors.Is(err, wire.ErrVersion) {
		s.opts.Logger.Warn("Set aside a history file that is damaged or of another version", "file", path+aside)
		return nil, os.Rename(path, path+aside)
	}
	for err == nil {
		var t int64
		if t, _, err = reader.Next(); err == nil {
			s.note(&g, t, reader.Size())
		}
	}
	if _, unreadable := errors.AsType[*fs.PathError](err); unreadable {
		return nil, err
	}
	if g.records == 0 {
		return nil, os.Remove(path)
	}
	if !errors.Is(err, io.EOF) {
		info, err := f.Stat()
		if err != nil {
			return nil, err
		}
		s.metrics.repaired.Add(float64(info.Size() - g.bytes))
		s.opts.Logger.Warn("Cut off the damaged end of a history file, as after a crash", "file", path, "bytes", info.Size()-g.bytes)
		if err := os.Truncate(path, g.bytes); err != nil {
			return nil, err
		}
		// A Reader that met an error cannot be continued.
		s.segments, s.steps = segments, steps
		return s.loadSegment(number)
	}
	s.segments = append(s.segments, g)
	return reader, nil
}

// note adds a record of so many bytes to what is known of its segment, which comes after
// all others.
func (s *Spool) note(g *segment, t int64, bytes int) {
	newest := g.max
	for _, other := range s.segments {
		newest = max(newest, other.max)
	}
	if t <= newest {
		// Steps to later times than this one say nothing any more.
		s.steps = slices.DeleteFunc(s.steps, func(x step) bool { return x.time >= t })
		s.steps = append(s.steps, step{g.number, g.records, t})
		for i := range s.segments {
			s.segments[i].max = min(s.segments[i].max, t-1)
		}
		g.max = t
	}
	g.min, g.max = min(g.min, t), max(g.max, t)
	g.records++
	g.bytes += int64(bytes)
	if g.records == 1 {
		g.bytes += int64(len(wire.Header))
		g.first = g.bytes
	}
}

// Append keeps a gather of time t, in Unix milliseconds: fill is to call add for each
// series (see AppendString of internal/history for its key). Series of the gather before
// that are missing in this one are ended. If the disk is full, the oldest gathers give way.
// each is called with what the gather has, also with the ends of series and if it cannot be
// kept; nil for nobody.
func (s *Spool) Append(t int64, fill func(add func(key []byte, v float64)), each func(key string, bits uint64)) error {
	s.writer.Begin(t)
	fill(s.writer.Add)
	if each != nil {
		s.writer.Each(each)
	}
	err := s.write(t)
	for errors.Is(err, syscall.ENOSPC) && s.dropOldest("disk") {
		err = s.write(t)
	}
	if err == nil {
		s.writer.Commit()
		err = s.sync(syncEvery)
	}
	if err != nil {
		s.metrics.failed.Inc()
		if s.failed != err.Error() {
			s.opts.Logger.Error("Could not write a gather to the history", "err", err)
		}
		s.failed = err.Error()
		return err
	}
	if s.failed != "" {
		s.failed = ""
		s.opts.Logger.Info("Writing the history works again")
	}
	s.metrics.gathers.Inc()
	return nil
}

// write adds the record to the last segment, or to a new one.
func (s *Spool) write(t int64) error {
	if s.full() {
		if err := s.endSegment(); err != nil {
			return err
		}
	}
	var begin []byte
	if s.file == nil {
		s.writer.Restart()
		begin = []byte(wire.Header)
	}
	record, err := s.writer.Encode()
	if err != nil {
		return err
	}
	s.trim(int64(len(begin) + len(record)))
	if s.file == nil {
		if err := s.beginSegment(); err != nil {
			return err
		}
	}
	if len(begin) > 0 {
		_, err = s.file.Write(begin)
	}
	if err == nil {
		_, err = s.file.Write(record)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	last := len(s.segments) - 1
	g := s.segments[last]
	if err != nil {
		// Whatever was written of it must not stay in front of what comes next.
		_ = s.file.Close()
		s.file = nil
		if g.records == 0 {
			_ = os.Remove(s.path(g.number))
			s.segments = s.segments[:last]
		} else {
			_ = os.Truncate(s.path(g.number), g.bytes)
		}
		return err
	}
	s.segments = s.segments[:last]
	s.note(&g, t, len(record))
	s.segments = append(s.segments, g)
	return nil
}

// full reports whether the next record begins a new segment.
func (s *Spool) full() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == nil || len(s.segments) == 0 {
		return false
	}
	g := s.segments[len(s.segments)-1]
	return g.records >= s.opts.PerSegment || g.bytes >= max(s.opts.MaxBytes/segmentsOfAll, 4*g.first)
}

func (s *Spool) beginSegment() (err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	number := int64(1)
	if n := len(s.segments); n > 0 {
		number = s.segments[n-1].number + 1
	}
	for { // a file that was set aside, or could not be removed, keeps its number
		s.file, err = s.open(s.path(number), os.O_CREATE|os.O_EXCL)
		if !errors.Is(err, os.ErrExist) {
			break
		}
		number++
	}
	if err != nil {
		return err
	}
	if err := s.syncDir(s.dir); err != nil {
		// It has no header yet, and the next record must not go into it.
		_ = s.file.Close()
		s.file = nil
		_ = os.Remove(s.path(number))
		return err
	}
	s.segments = append(s.segments, newSegment(number))
	return nil
}

// syncDir makes the names of files durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

func (s *Spool) endSegment() error {
	err := errors.Join(s.sync(0), s.file.Close())
	s.file = nil
	return err
}

// sync makes durable what was written, unless that was done within the last every.
func (s *Spool) sync(every time.Duration) error {
	if time.Since(s.synced) < every {
		return nil
	}
	s.synced = time.Now()
	return s.file.Sync()
}

// trim drops the oldest segments: those that the others make superfluous, and as many as
// it takes for room bytes more.
func (s *Spool) trim(room int64) {
	for {
		s.mu.Lock()
		records, bytes := 0, room
		for _, g := range s.segments {
			records, bytes = records+g.records, bytes+g.bytes
		}
		old := len(s.segments) > 1 && records-s.segments[0].records >= s.opts.Gathers
		s.mu.Unlock()
		switch {
		case old:
			s.drop()
		case bytes > s.opts.MaxBytes:
			if !s.dropOldest("size") {
				return
			}
		default:
			return
		}
	}
}

// dropOldest drops the oldest segment, counting its gathers as lost for a reason. It never
// drops the one that is written to.
func (s *Spool) dropOldest(reason string) bool {
	s.mu.Lock()
	keep := 0
	if s.file != nil {
		keep = 1
	}
	if len(s.segments) <= keep {
		s.mu.Unlock()
		return false
	}
	lost := s.segments[0].records
	s.mu.Unlock()
	s.metrics.dropped.WithLabelValues(reason).Add(float64(lost))
	s.drop()
	return true
}

func (s *Spool) drop() {
	s.mu.Lock()
	if oldest := s.segments[0]; s.opts.Dropping != nil && oldest.max >= oldest.min {
		s.mu.Unlock()
		s.opts.Dropping(oldest.min, oldest.max)
		s.mu.Lock()
	}
	defer s.mu.Unlock()
	if err := os.Remove(s.path(s.segments[0].number)); err != nil && !errors.Is(err, os.ErrNotExist) {
		s.opts.Logger.Warn("Could not remove a history file", "err", err)
	}
	s.segments = slices.Delete(s.segments, 0, 1)
	// Without a segment, numbers begin at 1 again, before every step.
	s.steps = slices.DeleteFunc(s.steps, func(x step) bool {
		return len(s.segments) == 0 || x.segment < s.segments[0].number
	})
}

// A Gather is the values of the series of one kind at one time.
type Gather struct {
	Time   int64 // Unix milliseconds
	reader *wire.Reader
	values []wire.Value
}

// Each calls use with the key and value of each series whose key begins with the kind.
func (g Gather) Each(kind string, use func(key string, v float64)) {
	prefix := string(wire.AppendString(nil, kind))
	for _, v := range g.values {
		if key := g.reader.Key(v.Series); strings.HasPrefix(key, prefix) {
			use(key, math.Float64frombits(v.Bits))
		}
	}
}

// Len is how many series it has.
func (g Gather) Len() int { return len(g.values) }

// All calls use with the key and value of each series.
func (g Gather) All(use func(key string, bits uint64) error) error {
	for _, v := range g.values {
		if err := use(g.reader.Key(v.Series), v.Bits); err != nil {
			return err
		}
	}
	return nil
}

// Span is the times of the oldest and the newest gather, math.MaxInt64 and math.MinInt64 if there
// is none.
func (s *Spool) Span() (oldest, newest int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	oldest, newest = math.MaxInt64, math.MinInt64
	for _, g := range s.segments {
		oldest, newest = min(oldest, g.min), max(newest, g.max)
	}
	return oldest, newest
}

// Read sends the gathers whose time is after after and before before, in Unix milliseconds,
// in the order in which they were made. A Gather is valid until send returns. What is
// dropped while it is read is missing.
func (s *Spool) Read(ctx context.Context, after, before int64, send func(Gather) error) error {
	s.mu.Lock()
	segments, steps := slices.Clone(s.segments), slices.Clone(s.steps)
	s.mu.Unlock()
	for _, g := range segments {
		if g.max <= after || g.min >= before {
			continue
		}
		err := s.readSegment(ctx, g, steps, after, before, send)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

func (s *Spool) readSegment(ctx context.Context, g segment, steps []step, after, before int64, send func(Gather) error) error {
	f, err := os.Open(s.path(g.number))
	if err != nil {
		return err
	}
	defer f.Close()
	reader, err := wire.NewReader(bufio.NewReaderSize(io.LimitReader(f, g.bytes), 64<<10), maxSeries, math.MaxInt)
	if err != nil {
		return err
	}
	for i := range g.records {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		t, values, err := reader.Next()
		if err != nil {
			return fmt.Errorf("%s: record %d: %w", f.Name(), i, err)
		}
		wrong := slices.ContainsFunc(steps, func(x step) bool {
			return t >= x.time && (g.number < x.segment || g.number == x.segment && i < x.record)
		})
		if t <= after || t >= before || wrong {
			continue
		}
		if err := send(Gather{t, reader, values}); err != nil {
			return err
		}
	}
	return nil
}

// Close makes everything durable and lets another process open the spool.
func (s *Spool) Close() error {
	var err error
	if s.file != nil {
		err = s.endSegment()
	}
	return errors.Join(err, s.lock.Close())
}
