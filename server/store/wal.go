package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/tsdb/wlog"

	"github.com/clanmon/clanmon/internal/atomicfile"
)

const walDir = "wal"

// damagedCheckpoint sets the WAL's checkpoint aside if it cannot be read. Upstream
// takes the place of the damage for one in the WAL, and deletes that.
func (s *Store) damagedCheckpoint() (moved bool, _ error) {
	wal := filepath.Join(s.opts.Dir, walDir)
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
	name := filepath.Join(walDir, filepath.Base(dir))
	one := Damage{What: "checkpoint of the WAL", Err: err.Error(), Hint: "series that have not changed since it was written have a gap until they are scraped again"}
	if info, err := os.Stat(filepath.Join(wal, filepath.Base(dir))); err == nil {
		one.To = info.ModTime().UTC()
	}
	return true, s.damaged.setAside(name, one)
}

// repairWAL looks for damage that upstream passes over without a word: segments that
// are missing, shorter than they were, or filled with zeros, which a power cut leaves.
// What was there is kept, and what is missing is noted. sound means that there is none.
func (s *Store) repairWAL() (sound bool, _ error) {
	wal := filepath.Join(s.opts.Dir, walDir)
	segments, err := walSegments(wal)
	if err != nil {
		return false, s.refuse(fmt.Errorf("read the WAL: %w", err))
	}
	checkpoint := -1
	if _, n, err := wlog.LastCheckpoint(wal); err == nil {
		checkpoint = n
	}
	lost := s.shrunk(segments, checkpoint)
	sound = len(lost) == 0
	for _, one := range segments {
		zeros, at, err := findZeros(filepath.Join(wal, one.name))
		if err != nil {
			return false, s.refuse(fmt.Errorf("read the WAL: %w", err))
		}
		if zeros == 0 {
			continue
		}
		sound = false
		delete(lost, one.index)
		damage := one.damage(fmt.Sprintf("%d KiB of it are zeros", zeros>>10))
		damage.Hint = "what was written there is lost; the power or the disk may have failed"
		if at+zeros < one.size { // in the middle: what is behind keeps its place
			s.damaged.noteOnce(damage)
			continue
		}
		if err := s.cutWAL(one, at, damage); err != nil {
			return false, err
		}
	}
	if len(segments) > 0 {
		next := checkpoint + 1
		if first := segments[0].index; checkpoint < 0 && first > 0 {
			if err := emptyCheckpoint(wal, first-1); err != nil {
				return false, err
			}
			if err := s.damaged.note(Damage{What: "beginning of the WAL", Err: fmt.Sprintf("there is no segment before %s, and no checkpoint", segments[0].name), To: segments[0].ended}); err != nil {
				return false, err
			}
			next = first
		}
		for _, one := range segments {
			for ; next < one.index; next++ {
				// Upstream does not start with a gap.
				name := segmentName(next)
				if err := os.WriteFile(filepath.Join(wal, name), nil, 0o666); err != nil {
					return false, err
				}
				if lost[next] == nil {
					lost[next] = &Damage{What: "WAL segment " + name, Err: "it is missing", From: one.began, To: one.ended}
				}
			}
			next = max(next, one.index+1)
		}
	}
	for _, index := range slices.Sorted(maps.Keys(lost)) {
		if err := s.damaged.note(*lost[index]); err != nil {
			return false, err
		}
	}
	// What was noted is not noted again.
	s.rememberWAL()
	return sound, nil
}

// cutWAL sets a segment aside and puts the part of it that is sound in its place.
func (s *Store) cutWAL(one walSegment, length int64, why Damage) error {
	name := filepath.Join(walDir, one.name)
	if err := s.damaged.setAside(name, why); err != nil {
		return err
	}
	kept, err := os.Open(filepath.Join(s.opts.Dir, s.damaged.list()[0].Path, one.name))
	if err != nil {
		return err
	}
	defer kept.Close()
	return atomicfile.Write(filepath.Join(s.opts.Dir, name), 0o666, func(w io.Writer) error {
		_, err := io.CopyN(w, kept, length)
		return err
	})
}

// walFile says how long the segments of the WAL were when it was last written. An
// empty segment is normal, because each start begins one; one that was not empty is
// not.
const walFile = "clanmon-wal.json"

type walNote struct {
	Segments []walSegment `json:"segments"`
}

// rememberWAL writes walFile. Without it damage is found as far as the files show it.
func (s *Store) rememberWAL() {
	segments, err := walSegments(filepath.Join(s.opts.Dir, walDir))
	if err == nil && !slices.Equal(segments, s.walKnown) {
		err = atomicfile.Write(filepath.Join(s.opts.Dir, walFile), 0o644, func(w io.Writer) error {
			return json.NewEncoder(w).Encode(walNote{segments})
		})
	}
	if err != nil {
		s.opts.Logger.Debug("The lengths of the WAL's segments are not remembered", "err", err)
		return
	}
	s.walKnown = segments
}

// shrunk are the segments behind checkpoint that are shorter than they were, or gone.
func (s *Store) shrunk(segments []walSegment, checkpoint int) map[int]*Damage {
	lost := make(map[int]*Damage)
	var before walNote
	text, err := os.ReadFile(filepath.Join(s.opts.Dir, walFile))
	if err != nil || json.Unmarshal(text, &before) != nil {
		return lost
	}
	now := make(map[string]int64)
	for _, one := range segments {
		now[one.name] = one.size
	}
	for _, one := range before.Segments {
		if one.index <= checkpoint || one.size == 0 {
			continue
		}
		size, there := now[one.name]
		why := fmt.Sprintf("it has %d bytes and had %d or more", size, one.size)
		switch {
		case !there:
			why = "it is missing"
		case size == 0:
			why = fmt.Sprintf("it is empty and had %d bytes or more", one.size)
		case size >= one.size:
			continue
		}
		d := one.damage(why)
		d.Hint = "what it held is lost; the power or the disk may have failed, or a file was deleted"
		lost[one.index] = &d
	}
	return lost
}

// emptyCheckpoint says that a WAL begins behind segment n.
func emptyCheckpoint(wal string, n int) error {
	dir := filepath.Join(wal, fmt.Sprintf("checkpoint.%08d", n))
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, segmentName(0)), nil, 0o666)
}

// walSegment is a file of a WAL.
type walSegment struct {
	name         string
	index        int
	size         int64     // bytes
	began, ended time.Time // of writing it, as the files' times tell
}

type walSegmentJSON struct {
	Name  string    `json:"name"`
	Bytes int64     `json:"bytes"`
	Began time.Time `json:"began,omitzero"`
	Ended time.Time `json:"ended"`
}

// MarshalJSON implements json.Marshaler.
func (w walSegment) MarshalJSON() ([]byte, error) {
	return json.Marshal(walSegmentJSON{w.name, w.size, w.began, w.ended})
}

// UnmarshalJSON implements json.Unmarshaler.
func (w *walSegment) UnmarshalJSON(text []byte) error {
	var j walSegmentJSON
	if err := json.Unmarshal(text, &j); err != nil {
		return err
	}
	index, err := strconv.Atoi(j.Name)
	*w = walSegment{j.Name, index, j.Bytes, j.Began, j.Ended}
	return err
}

func (w walSegment) damage(why string) Damage {
	return Damage{What: "WAL segment " + w.name, Err: why, From: w.began, To: w.ended}
}

func segmentName(index int) string { return fmt.Sprintf("%08d", index) }

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
		if _, err := fmt.Sscanf(f.Name(), "%d", &index); err != nil || f.IsDir() || segmentName(index) != f.Name() {
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

// walPage is in what units a WAL is written. Each begins with a record or a part of one,
// never with a zero.
const walPage = 32 << 10

// sector is the least that a power cut leaves as zeros, in bytes.
const sector = 512

// findZeros looks for pages of zeros: how many bytes they are, and where they begin.
func findZeros(file string) (zeros, at int64, _ error) {
	f, err := os.Open(file)
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	page := make([]byte, walPage)
	for offset := int64(0); ; offset += walPage {
		n, err := f.ReadAt(page[:1], offset)
		if errors.Is(err, io.EOF) && n == 0 {
			return zeros, at, nil
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return 0, 0, err
		}
		if page[0] != 0 {
			continue
		}
		if n, err = f.ReadAt(page, offset); err != nil && !errors.Is(err, io.EOF) {
			return 0, 0, err
		}
		if n < sector || slices.ContainsFunc(page[:n], func(b byte) bool { return b != 0 }) {
			continue // the reader finds out
		}
		if zeros == 0 {
			at = offset
		}
		zeros += int64(n)
	}
}

func (s *Store) keptWAL() string { return filepath.Join(s.opts.Dir, damagedDir, openingDir) }

// keepWAL makes a second name for every file of the WAL, so that a repair, which
// deletes, deletes nothing for good.
func (s *Store) keepWAL() error {
	wal, kept := filepath.Join(s.opts.Dir, walDir), s.keptWAL()
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
	wal := filepath.Join(s.opts.Dir, walDir)
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
	s.cutPadding()
	s.rememberWAL() // the repair has cut it
	segments, _ := walSegments(kept)
	one := Damage{What: "part of the WAL", Err: "a record in it is torn or damaged; what was written behind it is not used", Hint: "the whole WAL as it was is kept here"}
	if n := len(segments); n > 0 {
		one.From, one.To = segments[max(0, n-2)].ended, segments[n-1].ended
	}
	if err := s.damaged.setAside(filepath.Join(damagedDir, openingDir), one); err != nil {
		s.opts.Logger.Error("The damaged WAL could not be set aside", "err", err)
	}
}

// cutPadding removes pages of zeros at the end of segments. Upstream's repair writes
// one, which would look like damage at the next start.
func (s *Store) cutPadding() {
	wal := filepath.Join(s.opts.Dir, walDir)
	segments, err := walSegments(wal)
	if err != nil {
		return
	}
	for _, one := range segments {
		file := filepath.Join(wal, one.name)
		if zeros, at, err := findZeros(file); err == nil && zeros > 0 && at+zeros == one.size {
			if err := os.Truncate(file, at); err != nil {
				s.opts.Logger.Debug("Zeros stay in the WAL", "file", file, "err", err)
			}
		}
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
