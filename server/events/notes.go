package events

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/clanmon/clanmon/internal/atomicfile"
)

const (
	notesFile    = "clanmon-events.jsonl" // in the data directory
	maxNotes     = 10 << 20               // bytes of the file
	maxText      = 2000                   // characters of a note
	maxName      = 253                    // bytes of a machine's name, or an author's
	maxMachines  = 1000                   // of a note
	maxNoteAhead = time.Hour
)

// Note is what somebody says happened: a line of the file.
type Note struct {
	Time     float64  `json:"time"`               // Unix seconds
	Machines []string `json:"machines,omitempty"` // none for all
	Text     string   `json:"text"`
	By       string   `json:"by,omitempty"`
}

// mend makes a note that was sent one that can be kept, or says what is wrong with it.
func (n *Note) mend(now time.Time) error {
	n.Text = strings.TrimSpace(strings.Map(func(c rune) rune {
		if unicode.IsControl(c) && c != '\n' {
			return ' '
		}
		return c
	}, n.Text))
	n.By = strings.TrimSpace(n.By)
	if n.Time == 0 {
		n.Time = unix(now)
	}
	slices.Sort(n.Machines)
	n.Machines = slices.Compact(n.Machines)
	latest := now.Add(maxNoteAhead)
	switch {
	case n.Text == "":
		return errors.New("text is empty: say what happened")
	case utf8.RuneCountInString(n.Text) > maxText:
		return fmt.Errorf("text has %d characters, the maximum is %d", utf8.RuneCountInString(n.Text), maxText)
	case len(n.By) > maxName:
		return fmt.Errorf("by has %d bytes, the maximum is %d", len(n.By), maxName)
	case len(n.Machines) > maxMachines:
		return fmt.Errorf("machines has %d names, the maximum is %d; without any, a note is of all machines", len(n.Machines), maxMachines)
	case n.Time < 0 || n.Time > unix(latest):
		return fmt.Errorf("time %v: use Unix seconds, at most %s in the future", n.Time, maxNoteAhead)
	}
	for _, m := range n.Machines {
		if m == "" || len(m) > maxName {
			return fmt.Errorf("machines: %q is not the name of a machine, which has 1 to %d bytes", m, maxName)
		}
	}
	return nil
}

// notes are kept in a file, a line each, in the order in which they were added. It is safe
// for concurrent use.
type notes struct {
	file string // "" keeps none
	log  *slog.Logger

	mu   sync.Mutex
	read bool // all and size are those of the file
	all  []Note
	size int // bytes of the file
}

// between returns the notes of a time, in the order in which they were added.
func (n *notes) between(from, to float64) ([]Note, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.load(); err != nil {
		return nil, err
	}
	var found []Note
	for _, note := range n.all {
		if note.Time >= from && note.Time <= to {
			found = append(found, note)
		}
	}
	return found, nil
}

// add returns when the note is on the disk. What is over the limit is dropped, the oldest first.
func (n *notes) add(note Note) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.load(); err != nil {
		return err
	}
	line, err := json.Marshal(note)
	if err != nil {
		return err
	}
	line = append(line, '\n')
	if n.size+len(line) > maxNotes {
		err = n.drop()
	}
	if err == nil {
		err = n.write(line)
	}
	if err != nil {
		n.read = false
		return fmt.Errorf("the note could not be saved: %w", err)
	}
	n.all, n.size = append(n.all, note), n.size+len(line)
	return nil
}

func (n *notes) write(line []byte) error {
	if n.size == 0 { // with its name in the directory
		return atomicfile.Write(n.file, 0o600, func(w io.Writer) error { _, err := w.Write(line); return err })
	}
	f, err := os.OpenFile(n.file, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err = f.Write(line); err == nil {
		err = f.Sync()
	}
	if err != nil {
		return errors.Join(err, f.Truncate(int64(n.size)))
	}
	return nil
}

// load reads the file, once. It is called with mu held.
func (n *notes) load() error {
	if n.read || n.file == "" {
		return nil
	}
	text, err := os.ReadFile(n.file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read notes: %w", err)
	}
	// A line without an end was being written when the power was cut.
	if end := bytes.LastIndexByte(text, '\n') + 1; end < len(text) {
		n.log.Warn("The last note was not written completely and is removed", "file", n.file)
		if err := os.Truncate(n.file, int64(end)); err != nil {
			return fmt.Errorf("repair notes: %w", err)
		}
		text = text[:end]
	}
	n.take(text)
	return nil
}

// take reads the lines of the file. What is not a note stays where it is: it may be one of a
// newer version.
func (n *notes) take(text []byte) {
	n.all, n.size, n.read = nil, len(text), true
	strange := 0
	for line := range bytes.Lines(text) {
		var note Note
		if err := json.Unmarshal(line, &note); err != nil || note.Text == "" {
			strange++
			continue
		}
		n.all = append(n.all, note)
	}
	if strange > 0 {
		n.log.Warn("Some lines are not notes and are not shown", "file", n.file, "lines", strange)
	}
}

// drop removes the oldest tenth of what may be kept, so that it is not needed for each note.
func (n *notes) drop() error {
	text, err := os.ReadFile(n.file)
	if err != nil {
		return err
	}
	text = text[max(0, len(text)-maxNotes*9/10):]
	text = text[bytes.IndexByte(text, '\n')+1:]
	if err := atomicfile.Write(n.file, 0o600, func(w io.Writer) error { _, err := w.Write(text); return err }); err != nil {
		return err
	}
	n.take(text)
	return nil
}

// notes adds those of the question.
func (r *reader) notes(all []Note) {
	for _, n := range all {
		if r.q.Machine != "" && len(n.Machines) > 0 && !slices.Contains(n.Machines, r.q.Machine) {
			continue
		}
		text, rest, _ := strings.Cut(n.Text, "\n")
		e := Event{Time: n.Time, Kind: KindNote, Text: text, Detail: strings.TrimSpace(rest), By: n.By}
		if len(n.Machines) == 1 {
			e.Machine = n.Machines[0]
		} else if len(n.Machines) > 1 {
			e.Count, e.Machines = len(n.Machines), n.Machines[:min(named, len(n.Machines))]
		}
		r.add(e)
	}
}
