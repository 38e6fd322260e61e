// Package boards keeps boards: pages of charts and other panels that people put together. Each
// is a JSON file in the directory boards of the data directory, or a file of --boards, which is
// read-only. It also reads and writes dashboards of Grafana, see import.go and export.go.
package boards

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/clanmon/clanmon/internal/atomicfile"
)

// maxBoards is how many boards a data directory takes.
const maxBoards = 200

// Options for New.
type Options struct {
	Dir    string          // data directory
	Files  func() []string // read-only boards, in the order of their names in settings and flags
	Logger *slog.Logger
}

// Boards are all boards. It is safe for concurrent use. Files may change at any time, as by
// git: they are read again when they did.
type Boards struct {
	opts Options
	mu   sync.Mutex // held while a file is compared and replaced
}

// New returns Boards.
func New(o Options) *Boards { return &Boards{opts: o} }

// Summary is a board as a list has it.
type Summary struct {
	Name        string `json:"name"`
	Title       string `json:"title"`
	Description string `json:"description,omitempty"`
	Panels      int    `json:"panels"`
	// ReadOnly is the file of a board that cannot be changed here, "" for the others.
	ReadOnly string `json:"readOnly,omitempty"`
	// ETag is what a change has to name.
	ETag string `json:"etag"`
	// Error says why the file cannot be shown.
	Error string `json:"error,omitempty"`
}

// Entry is a board with its content; Board is nil if there is an Error.
type Entry struct {
	Summary
	Board *Board `json:"board,omitempty"`
	text  []byte
}

// Errors of changes.
var (
	ErrMissing  = errors.New("there is no such board")
	ErrReadOnly = errors.New("is read-only")
	ErrChanged  = errors.New("somebody else changed the board")
	ErrNoMatch  = errors.New("the board exists: send its ETag as If-Match, or * to overwrite it")
	ErrInvalid  = errors.New("invalid board")
)

// boardName is a name in URLs and of files, for all file systems.
var boardName = regexp.MustCompile(`^[a-z0-9](?:[a-z0-9_-]{0,61}[a-z0-9])?$`)

// checkName refuses what cannot be a board's name.
func checkName(name string) error {
	if !boardName.MatchString(name) || name == importPath {
		return fmt.Errorf("%w: the name %q must have at most 63 lower-case letters, digits, '-' and '_', and begin and end with a letter or digit", ErrInvalid, name)
	}
	return nil
}

func (b *Boards) dir() string { return filepath.Join(b.opts.Dir, "boards") }

func (b *Boards) file(name string) string { return filepath.Join(b.dir(), name+".json") }

// storeHash is what files in Nix' store have in front of their names.
var storeHash = regexp.MustCompile(`^[0-9a-z]{32}-`)

// NameOf is the name of the board in a file of --boards.
func NameOf(file string) string {
	base := strings.TrimSuffix(filepath.Base(file), ".json")
	if strings.HasPrefix(file, "/nix/store/") {
		base = storeHash.ReplaceAllString(base, "")
	}
	return strings.ToLower(base)
}

// provided returns the files of --boards by the names of their boards. Of two with one name the
// later one counts.
func (b *Boards) provided() map[string]string {
	files := make(map[string]string)
	if b.opts.Files != nil {
		for _, f := range b.opts.Files() {
			files[NameOf(f)] = f
		}
	}
	return files
}

// CheckFile reads a file of --boards as the server does.
func CheckFile(file string) error {
	if err := checkName(NameOf(file)); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	_, _, err := read(file)
	return err
}

// read returns the content of a file, also with an error if it is not a board.
func read(file string) ([]byte, *Board, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, MaxBytes+1))
	if err != nil {
		return nil, nil, err
	}
	if len(text) > MaxBytes {
		size := int64(len(text))
		if info, err := f.Stat(); err == nil {
			size = info.Size()
		}
		return text, nil, fmt.Errorf("%s: %.1f MiB; a board has at most %d MiB", file, float64(size)/(1<<20), MaxBytes>>20)
	}
	board, err := Parse(text)
	if err != nil {
		return text, nil, fmt.Errorf("%s: %w", file, err)
	}
	return text, board, nil
}

func etag(text []byte) string {
	sum := sha256.Sum256(text)
	return `"` + hex.EncodeToString(sum[:8]) + `"`
}

// load reads one board.
func load(name, file string, readOnly bool) Entry {
	text, board, err := read(file)
	e := Entry{Summary: Summary{Name: name, Title: name, ETag: etag(text)}, Board: board, text: text}
	if readOnly {
		e.ReadOnly = file
	}
	if err != nil {
		e.Error, e.Board = err.Error(), nil
		return e
	}
	e.Title, e.Description, e.Panels = board.Title, board.Description, len(board.Panels)
	return e
}

// List returns all boards by title. A file that is not a board is among them with its error.
// The error is of the directory: what was provided is returned all the same.
func (b *Boards) List() ([]Summary, error) {
	var all []Summary
	provided := b.provided()
	for name, file := range provided {
		e := load(name, file, true)
		if err := checkName(name); err != nil {
			e.Error = fmt.Sprintf("%s: %v", file, err)
		}
		all = append(all, e.Summary)
	}
	files, err := os.ReadDir(b.dir())
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	for _, f := range files {
		name, isBoard := strings.CutSuffix(f.Name(), ".json")
		if !isBoard || f.IsDir() || checkName(name) != nil {
			continue
		}
		s := load(name, b.file(name), false).Summary
		if file := provided[name]; file != "" {
			s.Name, s.Error = name+".json", fmt.Sprintf("%s: the board of this name in %s is shown in its place: rename one of the two files", b.file(name), file)
		}
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b Summary) int {
		return cmp.Or(strings.Compare(strings.ToLower(a.Title), strings.ToLower(b.Title)), strings.Compare(a.Name, b.Name))
	})
	return all, err
}

// Get returns a board, or ErrMissing.
func (b *Boards) Get(name string) (Entry, error) {
	if file := b.provided()[name]; file != "" {
		return load(name, file, true), nil
	}
	if checkName(name) != nil {
		return Entry{}, ErrMissing
	}
	if _, err := os.Stat(b.file(name)); errors.Is(err, fs.ErrNotExist) {
		return Entry{}, ErrMissing
	} else if err != nil {
		return Entry{}, fmt.Errorf("read board %q: %w", name, err)
	}
	return load(name, b.file(name), false), nil
}

// Put stores a board. match is the ETag of what it replaces, * for anything, and "" if there
// must not be one yet. It returns what is stored.
func (b *Boards) Put(name, match string, board *Board) (Entry, error) {
	if err := checkName(name); err != nil {
		return Entry{}, err
	}
	board.Version = Version
	text, err := board.Encode()
	if err == nil {
		_, err = Parse(text)
	}
	if err != nil {
		return Entry{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.matches(name, match); err != nil {
		return Entry{}, err
	}
	if err := os.MkdirAll(b.dir(), 0o777); err != nil {
		return Entry{}, fmt.Errorf("store board %q: %w", name, err)
	}
	err = atomicfile.Write(b.file(name), 0o644, func(w io.Writer) error { _, err := w.Write(text); return err })
	if err != nil {
		return Entry{}, fmt.Errorf("store board %q: %w", name, err)
	}
	return load(name, b.file(name), false), nil
}

// matches reports whether the board of a name may be replaced by who names an ETag.
func (b *Boards) matches(name, match string) error {
	now, err := b.Get(name)
	switch {
	case errors.Is(err, ErrMissing):
		if match != "" && match != "*" {
			return fmt.Errorf("%w: it is deleted", ErrChanged)
		}
		if files, _ := os.ReadDir(b.dir()); len(files) >= maxBoards {
			return fmt.Errorf("%w: there are %d boards, which is the maximum", ErrInvalid, len(files))
		}
		return nil
	case err != nil:
		return err
	case now.ReadOnly != "":
		return fmt.Errorf("the board %q of %s %w: duplicate it to change the copy", name, now.ReadOnly, ErrReadOnly)
	case match == "":
		return ErrNoMatch
	case match != "*" && match != now.ETag:
		return fmt.Errorf("%w since it was read: load it again", ErrChanged)
	}
	return nil
}

// Delete removes a board. match is its ETag, or *.
func (b *Boards) Delete(name, match string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, err := b.Get(name); err != nil {
		return err
	}
	if err := b.matches(name, match); err != nil {
		return err
	}
	if err := os.Remove(b.file(name)); err != nil {
		return fmt.Errorf("delete board %q: %w", name, err)
	}
	return nil
}

// LogBroken logs which files of --boards cannot be shown. The others can.
func (b *Boards) LogBroken() {
	for _, file := range b.provided() {
		if err := CheckFile(file); err != nil {
			b.opts.Logger.Warn("Cannot show a board of --boards", "err", err)
		}
	}
}
