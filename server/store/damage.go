package store

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"

	"github.com/clanmon/clanmon/internal/atomicfile"
)

const (
	damagedDir = "damaged"
	openingDir = ".wal-before-open" // in damagedDir: the WAL by hard links, while it is opened
	planDir    = ".plan-"           // in damagedDir: what a compaction is planned on
	noteFile   = "clanmon-damage.json"

	damagedAge  = 30 * 24 * time.Hour
	damagedSize = 1 << 30 // bytes
	// damagedKept is how long it is kept whatever its size: somebody may repair it.
	damagedKept = 7 * 24 * time.Hour
)

// Damage is something that could not be read. It was set aside, so that the rest
// could be opened, or it is left out by whoever reads what is around it.
type Damage struct {
	What  string    `json:"what"`            // such as "block 01M8…"
	Path  string    `json:"path"`            // where it is now, or a note of it, in the data directory
	Block string    `json:"block,omitempty"` // the ULID of a block that is still in use
	Err   string    `json:"error"`           // what is wrong with it
	From  time.Time `json:"from,omitzero"`   // what is missing, as far as is known
	To    time.Time `json:"to,omitzero"`     //
	At    time.Time `json:"setAside"`        // when it was found
	Size  int64     `json:"bytes"`           // what it takes in damaged/
	Hint  string    `json:"hint,omitempty"`  // how to try a repair
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
	d.all = nil
	plans, _ := filepath.Glob(filepath.Join(d.dir, damagedDir, planDir+"*")) // of a process that was killed
	for _, dir := range plans {
		_ = os.RemoveAll(dir)
	}
	notes, _ := filepath.Glob(filepath.Join(d.dir, damagedDir, "*", noteFile))
	for _, file := range notes {
		var one Damage
		if text, err := os.ReadFile(file); err == nil && json.Unmarshal(text, &one) == nil {
			one.Path = filepath.Join(damagedDir, filepath.Base(filepath.Dir(file)))
			d.all = append(d.all, one)
		}
	}
	slices.SortFunc(d.all, func(a, b Damage) int { return b.At.Compare(a.At) }) // newest first
	d.mu.Unlock()
	d.prune()
}

// prune forgets what somebody removed, blocks that are gone, and removes what is too
// old or too much.
func (d *damaged) prune() {
	d.mu.Lock()
	defer d.mu.Unlock()
	var size int64
	d.all = slices.DeleteFunc(d.all, func(one Damage) bool {
		path := filepath.Join(d.dir, one.Path)
		if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
			return true // somebody removed it
		}
		size += one.Size
		why := ""
		switch {
		case one.Block != "" && !isDir(filepath.Join(d.dir, one.Block)):
			why = "the block is gone"
		case time.Since(one.At) > damagedAge:
			why = "older than 30 days"
		case size > damagedSize && time.Since(one.At) > damagedKept:
			why = "more than 1 GiB is set aside, and this for more than 7 days"
		default:
			return false
		}
		d.log.Info("Removing what was set aside as damaged", "path", path, "reason", why)
		return d.remove(one) == nil
	})
}

// remove removes what was set aside. Of a note that could not be written there is nothing.
func (d *damaged) remove(one Damage) error {
	if filepath.Dir(one.Path) != damagedDir {
		return nil
	}
	return os.RemoveAll(filepath.Join(d.dir, one.Path))
}

// setAside moves name, a path in the data directory, and keeps a note with it.
func (d *damaged) setAside(name string, one Damage) error {
	if err := d.folder(&one, strings.TrimLeft(filepath.Base(name), ".")); err != nil {
		return err
	}
	if err := os.Rename(filepath.Join(d.dir, name), filepath.Join(d.dir, one.Path, filepath.Base(name))); err != nil {
		return err
	}
	return d.write(one)
}

// SetAside moves a state file in the data directory, of a part other than the store, to
// damaged/ and lists it as what. hint says what to do. An error says that the file cannot
// be read for a reason that is not damage, or cannot be moved. Empty files are left where
// they are if an older clanmon wrote them, which kept nothing that way.
func (s *Store) SetAside(file, what, hint string, why error) error {
	if unreadable(why) != "" {
		return s.refuse(why)
	}
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	if info.Size() == 0 && !s.ranBefore {
		return nil
	}
	name, err := filepath.Rel(s.opts.Dir, file)
	if err != nil {
		return err
	}
	return s.damaged.setAside(name, Damage{What: what, Err: why.Error(), To: info.ModTime().UTC(), Hint: hint})
}

// note keeps a note of something that is gone.
func (d *damaged) note(one Damage) error {
	if err := d.folder(&one, strings.ReplaceAll(one.What, " ", "-")); err != nil {
		return err
	}
	return d.write(one)
}

// noteOnce keeps a note of a block that is still in use, unless there is one. Where
// it cannot be written it is kept in memory.
func (d *damaged) noteOnce(one Damage) {
	d.mu.Lock()
	known := slices.ContainsFunc(d.all, func(old Damage) bool {
		return old.What == one.What || one.Block != "" && old.Block == one.Block
	})
	if !known {
		one.At = time.Now().UTC().Truncate(time.Second)
		d.all = append([]Damage{one}, d.all...)
	}
	d.mu.Unlock()
	if known {
		return
	}
	d.log.Error("Damaged data are left out; the rest is used", "what", one.What, "err", one.Err, "missing_from", one.From, "missing_to", one.To, "hint", one.Hint)
	written := one
	err := d.folder(&written, strings.ReplaceAll(one.What, " ", "-"))
	if err == nil {
		err = d.save(&written)
	}
	if err != nil {
		d.log.Warn("A note of damaged data cannot be written; it is kept until the next restart", "err", err)
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range d.all {
		if d.all[i] == one {
			d.all[i] = written
		}
	}
}

// repaired forgets what was wrong with a block.
func (d *damaged) repaired(block string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.all = slices.DeleteFunc(d.all, func(one Damage) bool {
		return one.Block == block && d.remove(one) == nil
	})
}

// blocks are the names of damaged blocks that are still in use.
func (d *damaged) blocks() map[string]bool {
	all := make(map[string]bool)
	for _, one := range d.list() {
		if one.Block != "" {
			all[one.Block] = true
		}
	}
	return all
}

// folder makes a folder in damaged/ for one.
func (d *damaged) folder(one *Damage, name string) error {
	one.Path = filepath.Join(damagedDir, time.Now().UTC().Format("20060102T150405.000")+"-"+name)
	return os.MkdirAll(filepath.Join(d.dir, one.Path), 0o777)
}

func (d *damaged) save(one *Damage) error {
	one.At = time.Now().UTC().Truncate(time.Second)
	dir := filepath.Join(d.dir, one.Path)
	one.Size = sizeOf(dir)
	return atomicfile.Write(filepath.Join(dir, noteFile), 0o644, func(w io.Writer) error {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(one)
	})
}

func (d *damaged) write(one Damage) error {
	if err := d.save(&one); err != nil {
		return err
	}
	d.log.Error("Damaged data were set aside; the rest is used", "what", one.What, "path", filepath.Join(d.dir, one.Path), "err", one.Err, "missing_from", one.From, "missing_to", one.To, "hint", one.Hint)
	d.mu.Lock()
	d.all = append([]Damage{one}, d.all...)
	d.mu.Unlock()
	d.prune()
	return nil
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
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
		if err := s.checkBlocks(); err != nil {
			return nil, err
		}
		sound, err := s.repairWAL()
		if err != nil {
			return nil, err
		}
		if err := s.dropUntrusted(sound); err != nil {
			return nil, s.refuse(fmt.Errorf("snapshots of memory: %w", err))
		}
		if err := s.keepWAL(); err != nil {
			s.opts.Logger.Debug("The WAL is opened without a copy", "err", err)
		}
		db, err := open()
		if err == nil {
			s.dropKeptWAL()
			if err := s.dropSnapshots(""); err != nil { // whatever follows is not in it
				s.opts.Logger.Warn("Could not remove a snapshot of memory", "err", err)
			}
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
	if unreadable(err) != "" {
		return false, s.refuse(err)
	}
	if errors.Is(err, syscall.ENOSPC) {
		s.restoreWAL()
		time.Sleep(roomPoll) // somebody else was faster than the look for room
		return true, nil
	}
	// It is of no use without what is set aside now.
	if err := s.dropSnapshots(""); err != nil {
		return false, err
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

const (
	metaFile      = "meta.json"
	chunksDir     = "chunks"
	headChunksDir = "chunks_head"

	restoreHint = "queries use the rest of the block; to repair it, stop the server and restore the block's folder from a backup"
)

// blockDirs are the names of the blocks in dir.
func blockDirs(dir string) (names []string, _ error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if _, err := ulid.ParseStrict(e.Name()); err == nil && e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// checkBlocks looks for damage that upstream does not notice when it opens a block: it
// passes over a block without a description, and numbers chunk files by their order,
// so that with one missing it reads the chunks of another file.
func (s *Store) checkBlocks() error {
	ids, err := blockDirs(s.opts.Dir)
	if err != nil {
		return err
	}
	for _, id := range ids {
		meta, err := readMeta(filepath.Join(s.opts.Dir, id))
		if err == nil {
			err = s.checkChunkFiles(id, meta)
		}
		if err == nil {
			continue
		}
		if unreadable(err) != "" {
			return s.refuse(fmt.Errorf("block %s: %w", id, err))
		}
		if err := s.setBlockAside(id, err); err != nil {
			return err
		}
	}
	return nil
}

func readMeta(dir string) (*tsdb.BlockMeta, error) {
	text, err := os.ReadFile(filepath.Join(dir, metaFile))
	if err != nil {
		return nil, err
	}
	var meta tsdb.BlockMeta
	if err := json.Unmarshal(text, &meta); err != nil {
		return nil, fmt.Errorf("%s: %w", metaFile, err)
	}
	if meta.Version != 1 {
		return nil, fmt.Errorf("unexpected meta file version %d", meta.Version)
	}
	return &meta, nil
}

// checkChunkFiles gives missing and unreadable chunk files of a block an empty one in
// their place. The error says that nothing is left.
func (s *Store) checkChunkFiles(id string, meta *tsdb.BlockMeta) error {
	dir := filepath.Join(id, chunksDir)
	entries, err := os.ReadDir(filepath.Join(s.opts.Dir, dir))
	if err != nil {
		return err
	}
	there := make(map[int]error) // what is wrong with it, nil if nothing is
	last, sound := 0, 0
	for _, e := range entries {
		n, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		last = max(last, n)
		there[n] = checkChunkHeader(filepath.Join(s.opts.Dir, dir, e.Name()))
		if there[n] == nil {
			sound++
		} else if unreadable(there[n]) != "" {
			return there[n]
		}
	}
	if sound == 0 && meta.Stats.NumChunks > 0 {
		return errors.Join(errors.New("no chunk file can be read"), there[1])
	}
	for n := 1; n <= last; n++ {
		broken, exists := there[n]
		if exists && broken == nil {
			continue
		}
		name := fmt.Sprintf("%06d", n)
		one := Damage{
			What: "chunk file " + name + " of block " + id, Block: id, Err: "it is missing", Hint: restoreHint,
			From: time.UnixMilli(meta.MinTime).UTC(), To: time.UnixMilli(meta.MaxTime).UTC(),
		}
		keep := func() error { return s.damaged.note(one) }
		if exists {
			one.Err = broken.Error()
			keep = func() error { return s.damaged.setAside(filepath.Join(dir, name), one) }
		}
		if err := keep(); err != nil {
			return err
		}
		err := atomicfile.Write(filepath.Join(s.opts.Dir, dir, name), 0o644, func(w io.Writer) error {
			_, err := w.Write(chunkHeader)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// chunkHeader is how a chunk file begins.
var chunkHeader = append(binary.BigEndian.AppendUint32(nil, chunks.MagicChunks), 1, 0, 0, 0)

func checkChunkHeader(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	head := make([]byte, len(chunkHeader))
	switch _, err := io.ReadFull(f, head); {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("too short for a chunk file")
	case err != nil:
		return err
	case !bytes.Equal(head[:4], chunkHeader[:4]):
		return fmt.Errorf("invalid magic number %x", head[:4])
	case head[4] != chunkHeader[4]:
		return fmt.Errorf("invalid chunk format version %d", head[4])
	}
	return nil
}

// damagedBlocks sets aside the blocks that cannot be opened.
func (s *Store) damagedBlocks() (moved bool, _ error) {
	ids, err := blockDirs(s.opts.Dir)
	if err != nil {
		return false, err
	}
	for _, id := range ids {
		b, err := tsdb.OpenBlock(nil, filepath.Join(s.opts.Dir, id), nil, nil)
		if err == nil {
			_ = b.Close()
			continue
		}
		if unreadable(err) != "" {
			return moved, s.refuse(fmt.Errorf("block %s: %w", id, err))
		}
		if err := s.setBlockAside(id, err); err != nil {
			return moved, err
		}
		moved = true
	}
	return moved, nil
}

func (s *Store) setBlockAside(id string, why error) error {
	one := Damage{
		What: "block " + id, Err: why.Error(),
		Hint: "promtool tsdb analyze reads it; what cannot be repaired can be taken from a backup: move the folder back and restart",
	}
	one.From, one.To = blockTimes(filepath.Join(s.opts.Dir, id))
	if err := s.damaged.setAside(id, one); err != nil {
		return fmt.Errorf("set block %s aside: %w", id, err)
	}
	return nil
}

// blockTimes are what a block covers, as far as its description tells.
func blockTimes(dir string) (from, to time.Time) {
	meta, err := readMeta(dir)
	if err != nil {
		return time.Time{}, time.Time{}
	}
	return time.UnixMilli(meta.MinTime).UTC(), time.UnixMilli(meta.MaxTime).UTC()
}

// damagedHeadChunks sets the head's chunks aside if they cannot be opened: their
// samples are in the WAL too.
func (s *Store) damagedHeadChunks() (moved bool, _ error) {
	dir := filepath.Join(s.opts.Dir, headChunksDir)
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
	return true, s.damaged.setAside(headChunksDir, Damage{What: "chunks of the head", Err: err.Error(), Hint: "they are read from the WAL again"})
}
