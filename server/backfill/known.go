package backfill

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"time"

	"github.com/clanmon/clanmon/internal/atomicfile"
)

// known remembers what is filled, also after a restart. Not safe for concurrent use.
type known struct {
	file    string
	targets map[string][]span // by their labels
	dirty   bool
	saved   time.Time
	failed  bool
	unsaved bool // the file could not be read or set aside
}

// span is a time that is filled: Unix milliseconds, the first and last that need not be
// asked for.
type span [2]int64

// saveEvery bounds what is asked for again after a crash. It may be: a sample that is
// there is not stored again.
const saveEvery = 10 * time.Second

func (k *known) load(file string, setAside func(file, what, hint string, why error) error, log *slog.Logger) {
	k.file = file
	atomicfile.Clean(file)
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	} else if err == nil {
		if err = json.Unmarshal(text, &k.targets); err != nil {
			k.targets, err = nil, setAside(file, "list of filled gaps", "Gaps are requested again.", err)
		}
	}
	if err != nil {
		k.unsaved = true
		log.Error("Could not read which gaps are filled, which is not overwritten: they are requested again", "file", file, "err", err)
	}
	if k.targets == nil {
		k.targets = make(map[string][]span)
	}
}

// open is what is not filled yet of a gap.
func (k *known) open(target string, from, to int64) (int64, int64) {
	for _, s := range k.targets[target] {
		if s[0] <= from && from < s[1] {
			from = s[1]
		}
	}
	return from, to
}

// add says that a part of a gap is filled.
func (k *known) add(target string, from, to int64) {
	k.dirty = true
	all := k.targets[target]
	for i, s := range all {
		if s[0] <= from && from <= s[1] {
			all[i][1] = max(s[1], to)
			return
		}
	}
	k.targets[target] = append(all, span{from, to})
}

// forget drops what is older than a time.
func (k *known) forget(oldest int64) {
	for target, all := range k.targets {
		kept := slices.DeleteFunc(all, func(s span) bool { return s[1] < oldest })
		if len(kept) < len(all) {
			k.dirty = true
		}
		if k.targets[target] = kept; len(kept) == 0 {
			delete(k.targets, target)
		}
	}
}

// save writes the file, if there is something new and it is time to, or it has to be now.
func (k *known) save(now bool, log *slog.Logger) {
	if !k.dirty || k.unsaved || !now && time.Since(k.saved) < saveEvery {
		return
	}
	k.saved = time.Now()
	err := atomicfile.Write(k.file, 0o644, func(w io.Writer) error { return json.NewEncoder(w).Encode(k.targets) })
	if err != nil && !k.failed {
		log.Warn("Could not save which gaps are filled; they will be requested again after a restart", "file", k.file, "err", err)
	}
	k.dirty, k.failed = err != nil, err != nil
}
