package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/tsdb/wlog"
)

const (
	damagedDir = "damaged"
	openingDir = ".wal-before-open" // in damagedDir: the WAL by hard links, while it is opened
	noteFile   = "clanmon-damage.json"

	damagedAge  = 30 * 24 * time.Hour
	damagedSize = 1 << 30 // bytes
)

// Damage is something that could not be read and was set aside, so that the rest
// could be opened.
type Damage struct {
	What string    `json:"what"`           // such as "block 01M8…"
	Path string    `json:"path"`           // where it is now, in the data directory
	Err  string    `json:"error"`          // what is wrong with it
	From time.Time `json:"from,omitzero"`  // what is missing, as far as is known
	To   time.Time `json:"to,omitzero"`    //
	At   time.Time `json:"setAside"`       //
	Hint string    `json:"hint,omitempty"` // how to try a repair
}

// damaged is the folder of what was set aside. It is safe for concurrent use.
type damaged struct {
	dir string // the data directory
	log *slog.Logger

	mu  sync.Mutex
	all []Damage
}

func (d *damaged) list() []Damage {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.all)
}

// load reads what earlier runs set aside, and removes what is too old or too much.
func (d *damaged) load() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.all = nil
	notes, _ := filepath.Glob(filepath.Join(d.dir, damagedDir, "*", noteFile))
	for _, file := range notes {
		var one Damage
		if text, err := os.ReadFile(file); err == nil && json.Unmarshal(text, &one) == nil {
			d.all = append(d.all, one)
		}
	}
	slices.SortFunc(d.all, func(a, b Damage) int { return b.At.Compare(a.At) }) // newest first
	var size int64
	d.all = slices.DeleteFunc(d.all, func(one Damage) bool {
		path := filepath.Join(d.dir, one.Path)
		size += sizeOf(path)
		if size <= damagedSize && time.Since(one.At) <= damagedAge {
			return false
		}
		d.log.Info("What was set aside long ago, or is too large, is removed", "path", path)
		return os.RemoveAll(path) == nil
	})
}

// setAside moves name, a path in the data directory, and keeps a note beside it.
func (d *damaged) setAside(name string, one Damage) error {
	one.Path = filepath.Join(damagedDir, time.Now().UTC().Format("20060102T150405.000")+"-"+strings.TrimLeft(filepath.Base(name), "."))
	to := filepath.Join(d.dir, one.Path)
	if err := os.MkdirAll(to, 0o777); err != nil {
		return err
	}
	if err := os.Rename(filepath.Join(d.dir, name), filepath.Join(to, filepath.Base(name))); err != nil {
		return err
	}
	return d.write(one)
}

// note keeps a note of something that is gone.
func (d *damaged) note(one Damage) error {
	one.Path = filepath.Join(damagedDir, time.Now().UTC().Format("20060102T150405.000")+"-"+strings.ReplaceAll(one.What, " ", "-"))
	if err := os.MkdirAll(filepath.Join(d.dir, one.Path), 0o777); err != nil {
		return err
	}
	return d.write(one)
}

func (d *damaged) write(one Damage) error {
	one.At = time.Now().UTC().Truncate(time.Second)
	to := filepath.Join(d.dir, one.Path)
	note, _ := json.MarshalIndent(one, "", "  ")
	if err := os.WriteFile(filepath.Join(to, noteFile), append(note, '\n'), 0o666); err != nil {
		return err
	}
	d.log.Error("Damaged data were set aside; the rest is used", "what", one.What, "path", to, "err", one.Err, "missing_from", one.From, "missing_to", one.To, "hint", one.Hint)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.all = append([]Damage{one}, d.all...)
	return nil
}

func sizeOf(dir string) (size int64) {
	_ = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err == nil {
			if info, err := e.Info(); err == nil && info.Mode().IsRegular() {
				size += info.Size()
			}
		}
		return nil
	})
	return size
}

// openRepaired opens the database, and tries again without what is damaged. What
// cannot be read for another reason is no damage: that is returned as it is.
func (s *Store) openRepaired(ctx context.Context, open func() (*tsdb.DB, error)) (*tsdb.DB, error) {
	s.damaged.load()
	for {
		if err := s.awaitRoom(ctx); err != nil {
			return nil, err
		}
		if err := s.repairWAL(); err != nil {
			return nil, err
		}
		if err := s.keepWAL(); err != nil {
			s.opts.Logger.Debug("The WAL is opened without a copy", "err", err)
		}
		db, err := open()
		if err == nil {
			s.dropKeptWAL()
			return db, nil
		}
		s.registry.clear()
		if again, err := s.recover(err); !again {
			return nil, err
		}
	}
}

// recover sets aside what made opening fail, and reports whether to try again.
func (s *Store) recover(err error) (again bool, _ error) {
	if errors.Is(err, syscall.EAGAIN) || unreadable(err) != "" {
		return false, s.refuse(err)
	}
	if errors.Is(err, syscall.ENOSPC) {
		s.restoreWAL()
		time.Sleep(roomPoll) // somebody else was faster than the look for room
		return true, nil
	}
	found := false
	for _, look := range []func() (bool, error){s.damagedBlocks, s.damagedHeadChunks, s.damagedCheckpoint} {
		moved, lookErr := look()
		if lookErr != nil {
			return false, errors.Join(err, lookErr)
		}
		found = found || moved
	}
	if !found {
		s.restoreWAL()
		return false, err
	}
	return true, nil
}

// unreadable says what keeps a file from being read that need not be damaged; ""
// if nothing does.
func unreadable(err error) string {
	for errno, what := range map[syscall.Errno]string{
		syscall.EACCES: "it belongs to another user; run as the owner of the data directory, or change the owner",
		syscall.EPERM:  "it belongs to another user; run as the owner of the data directory, or change the owner",
		syscall.EIO:    "the disk cannot be read; look at the kernel's log",
		syscall.EMFILE: "too many open files; raise the limit (LimitNOFILE=)",
		syscall.ENFILE: "too many open files on this machine; raise fs.file-max",
		syscall.ENOMEM: "not enough memory, or too many mappings (vm.max_map_count)",
		syscall.EROFS:  "the file system is read-only; mount it writable",
	} {
		if errors.Is(err, errno) {
			return what
		}
	}
	// A format that a newer program writes.
	for _, text := range []string{"unexpected meta file version", "unknown index file version", "invalid chunk format version", "invalid index format version", "invalid tombstone format"} {
		if strings.Contains(err.Error(), text) {
			return "a newer Prometheus may have written it; use that one, or move the block out of the data directory"
		}
	}
	return ""
}

func (s *Store) refuse(err error) error {
	if what := unreadable(err); what != "" {
		return fmt.Errorf("%w: %s", err, what)
	}
	return err
}

// damagedBlocks sets aside the blocks that cannot be opened.
func (s *Store) damagedBlocks() (moved bool, _ error) {
	dirs, err := os.ReadDir(s.opts.Dir)
	if err != nil {
		return false, err
	}
	for _, d := range dirs {
		id, err := ulid.ParseStrict(d.Name())
		if err != nil || !d.IsDir() {
			continue
		}
		b, err := tsdb.OpenBlock(nil, filepath.Join(s.opts.Dir, d.Name()), nil, nil)
		if err == nil {
			_ = b.Close()
			continue
		}
		if unreadable(err) != "" {
			return moved, s.refuse(fmt.Errorf("block %s: %w", id, err))
		}
		one := Damage{
			What: "block " + id.String(), Err: err.Error(),
			Hint: "promtool tsdb analyze reads it; what cannot be repaired can be taken from a backup: move the folder back and restart",
		}
		one.From, one.To = blockTimes(filepath.Join(s.opts.Dir, d.Name()))
		if err := s.damaged.setAside(d.Name(), one); err != nil {
			return moved, fmt.Errorf("set block %s aside: %w", id, err)
		}
		moved = true
	}
	return moved, nil
}

// blockTimes are what a block covers, as far as its meta.json tells.
func blockTimes(dir string) (from, to time.Time) {
	var meta struct {
		MinTime int64 `json:"minTime"`
		MaxTime int64 `json:"maxTime"`
	}
	text, err := os.ReadFile(filepath.Join(dir, "meta.json"))
	if err != nil || json.Unmarshal(text, &meta) != nil {
		return time.Time{}, time.Time{}
	}
	return time.UnixMilli(meta.MinTime).UTC(), time.UnixMilli(meta.MaxTime).UTC()
}

// damagedHeadChunks sets the head's chunks aside if they cannot be opened: their
// samples are in the WAL too.
func (s *Store) damagedHeadChunks() (moved bool, _ error) {
	const name = "chunks_head"
	dir := filepath.Join(s.opts.Dir, name)
	if _, err := os.Stat(dir); err != nil {
		return false, nil
	}
	m, err := chunks.NewChunkDiskMapper(nil, dir, chunkenc.NewPool(), chunks.DefaultWriteBufferSize, 0)
	if err == nil {
		return false, m.Close()
	}
	if unreadable(err) != "" {
		return false, s.refuse(err)
	}
	return true, s.damaged.setAside(name, Damage{What: "chunks of the head", Err: err.Error(), Hint: "they are read from the WAL again"})
}

// damagedCheckpoint sets the WAL's checkpoint aside if it cannot be read. Upstream
// takes the place of the damage for one in the WAL, and deletes that.
func (s *Store) damagedCheckpoint() (moved bool, _ error) {
	wal := filepath.Join(s.opts.Dir, "wal")
	dir, _, err := wlog.LastCheckpoint(s.keptWAL())
	if err != nil {
		return false, nil
	}
	segments, err := wlog.NewSegmentsReader(dir)
	if err == nil {
		r := wlog.NewReader(segments)
		for r.Next() {
		}
		err = r.Err()
		_ = segments.Close()
	}
	if err == nil {
		return false, nil
	}
	if unreadable(err) != "" {
		return false, s.refuse(err)
	}
	s.restoreWAL()
	name := filepath.Join("wal", filepath.Base(dir))
	one := Damage{What: "checkpoint of the WAL", Err: err.Error(), Hint: "series that have not changed since it was written have a gap until they are scraped again"}
	if info, err := os.Stat(filepath.Join(wal, filepath.Base(dir))); err == nil {
		one.To = info.ModTime().UTC()
	}
	return true, s.damaged.setAside(name, one)
}

// repairWAL sets aside segments of zeros, which upstream passes over without a word,
// and gives missing ones, for which it does not start, an empty one in their place.
func (s *Store) repairWAL() error {
	wal := filepath.Join(s.opts.Dir, "wal")
	segments, err := walSegments(wal)
	if err != nil {
		return s.refuse(fmt.Errorf("read the WAL: %w", err))
	}
	for _, one := range segments {
		zeros, err := isZero(filepath.Join(wal, one.name))
		if err != nil {
			return s.refuse(fmt.Errorf("read the WAL: %w", err))
		}
		if !zeros {
			continue
		}
		if err := s.damaged.setAside(filepath.Join("wal", one.name), Damage{
			What: "WAL segment " + one.name, Err: "it holds nothing but zeros", From: one.began, To: one.ended,
			Hint: "what it held is lost; the power or the disk may have failed",
		}); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(wal, one.name), nil, 0o666); err != nil {
			return err
		}
	}
	if len(segments) == 0 {
		return nil
	}
	next := 0
	if _, n, err := wlog.LastCheckpoint(wal); err == nil {
		next = n + 1
	} else if first := segments[0].index; first > 0 {
		if err := emptyCheckpoint(wal, first-1); err != nil {
			return err
		}
		if err := s.damaged.note(Damage{What: "beginning of the WAL", Err: fmt.Sprintf("there is no segment before %s, and no checkpoint", segments[0].name), To: segments[0].ended}); err != nil {
			return err
		}
		next = first
	}
	for _, one := range segments {
		for ; next < one.index; next++ {
			name := fmt.Sprintf("%08d", next)
			if err := os.WriteFile(filepath.Join(wal, name), nil, 0o666); err != nil {
				return err
			}
			if err := s.damaged.note(Damage{What: "WAL segment " + name, Err: "it is missing", From: one.began, To: one.ended}); err != nil {
				return err
			}
		}
		next = max(next, one.index+1)
	}
	return nil
}

// emptyCheckpoint says that a WAL begins behind segment n.
func emptyCheckpoint(wal string, n int) error {
	dir := filepath.Join(wal, fmt.Sprintf("checkpoint.%08d", n))
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, fmt.Sprintf("%08d", 0)), nil, 0o666)
}

type walSegment struct {
	name         string
	index        int
	size         int64
	began, ended time.Time // of writing it, as the files' times tell
}

// walSegments lists the segments of a WAL, oldest first; none where there is no WAL.
func walSegments(dir string) ([]walSegment, error) {
	files, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var all []walSegment
	for _, f := range files {
		index := 0
		if _, err := fmt.Sscanf(f.Name(), "%d", &index); err != nil || f.IsDir() || fmt.Sprintf("%08d", index) != f.Name() {
			continue
		}
		info, err := f.Info()
		if err != nil {
			return nil, err
		}
		one := walSegment{name: f.Name(), index: index, size: info.Size(), ended: info.ModTime().UTC()}
		if len(all) > 0 {
			one.began = all[len(all)-1].ended
		}
		all = append(all, one)
	}
	slices.SortFunc(all, func(a, b walSegment) int { return a.index - b.index })
	return all, nil
}

// isZero reports whether the first page of a segment is all zeros. A segment may be
// empty: each start begins one.
func isZero(file string) (bool, error) {
	f, err := os.Open(file)
	if err != nil {
		return false, err
	}
	defer f.Close()
	page := make([]byte, 32<<10)
	n, err := f.Read(page)
	if err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	return n > 0 && !slices.ContainsFunc(page[:n], func(b byte) bool { return b != 0 }), nil
}

func (s *Store) keptWAL() string { return filepath.Join(s.opts.Dir, damagedDir, openingDir) }

// keepWAL makes a second name for every file of the WAL, so that a repair, which
// deletes, deletes nothing for good.
func (s *Store) keepWAL() error {
	wal, kept := filepath.Join(s.opts.Dir, "wal"), s.keptWAL()
	if err := os.RemoveAll(kept); err != nil {
		return err
	}
	if _, err := os.Stat(wal); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return link(wal, kept)
}

// link is cp --link --recursive.
func link(from, to string) error {
	return filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := filepath.Join(to, strings.TrimPrefix(path, from))
		if e.IsDir() {
			return os.MkdirAll(name, 0o777)
		}
		return os.Link(path, name)
	})
}

// restoreWAL puts back what keepWAL kept, after an attempt that failed.
func (s *Store) restoreWAL() {
	kept := s.keptWAL()
	if _, err := os.Stat(kept); err != nil {
		return
	}
	wal := filepath.Join(s.opts.Dir, "wal")
	if err := os.RemoveAll(wal); err == nil {
		err = link(kept, wal)
		if err != nil {
			s.opts.Logger.Error("The WAL could not be put back", "from", kept, "err", err)
		}
	}
}

// dropKeptWAL forgets the second names, or keeps them where the WAL was damaged.
func (s *Store) dropKeptWAL() {
	kept := s.keptWAL()
	if corruptions(s.registry) == 0 {
		_ = os.RemoveAll(kept)
		// Only if nothing else is in it.
		_ = os.Remove(filepath.Dir(kept))
		return
	}
	segments, _ := walSegments(kept)
	one := Damage{What: "part of the WAL", Err: "a record in it is torn or damaged; what was written behind it is not used", Hint: "the whole WAL as it was is kept here"}
	if n := len(segments); n > 0 {
		one.From, one.To = segments[max(0, n-2)].ended, segments[n-1].ended
	}
	if err := s.damaged.setAside(filepath.Join(damagedDir, openingDir), one); err != nil {
		s.opts.Logger.Error("The damaged WAL could not be set aside", "err", err)
	}
}

// corruptions is upstream's count of damages that it found in the WAL.
func corruptions(r *registerer) float64 {
	r.mu.Lock()
	mine := slices.Clone(r.mine)
	r.mu.Unlock()
	one := prometheus.NewRegistry()
	for _, c := range mine {
		_ = one.Register(c)
	}
	families, _ := one.Gather()
	for _, f := range families {
		if f.GetName() == "prometheus_tsdb_wal_corruptions_total" {
			return f.GetMetric()[0].GetCounter().GetValue()
		}
	}
	return 0
}
