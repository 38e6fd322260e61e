package delivery

import (
	"errors"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/clanmon/clanmon/internal/atomicfile"
)

// openState opens what is kept in file, which is called what. A file that cannot be read
// is set aside by aside: a server that does not start alerts nobody. So is an empty one:
// a saver leaves none.
func openState[T any](file, what string, aside func(file, what, hint string, why error) error, open func(file string) (T, error)) (T, error) {
	const hint = "alerts may be sent again, and silences must be created again; the file may be in a backup"
	info, err := os.Stat(file)
	if err == nil && info.Size() == 0 {
		if err := aside(file, what, hint, errors.New("the file is empty; the power or the disk may have failed")); err != nil {
			var none T
			return none, err
		}
	}
	state, err := open(file)
	if err == nil {
		return state, nil
	}
	if err := aside(file, what, hint, err); err != nil {
		return state, err
	}
	return open(file)
}

// saver writes a snapshot soon after each change, so that it survives a SIGKILL.
// Alertmanager by itself does so every 15 minutes.
type saver struct {
	file     string
	snapshot func(io.Writer) (int64, error)
	log      *slog.Logger
	changed  chan struct{} // holds one: changes while a snapshot is written are in the next
	mu       sync.Mutex    // one writer at a time
}

func newSaver(file string, snapshot func(io.Writer) (int64, error), log *slog.Logger) *saver {
	atomicfile.Clean(file)
	return &saver{file: file, snapshot: snapshot, log: log, changed: make(chan struct{}, 1)}
}

// mark asks for a snapshot. It never blocks.
func (s *saver) mark() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// pause bounds how often a busy log is written; it grows with what must be
// written.
const pause = 200 * time.Millisecond

func (s *saver) run(stop <-chan struct{}) {
	for {
		select {
		case <-s.changed:
			begin := time.Now()
			if _, err := s.save(); err != nil {
				s.log.Error("Could not save", "file", s.file, "err", err)
			}
			wait := time.NewTimer(max(pause, 20*time.Since(begin)))
			select {
			case <-wait.C:
			case <-stop:
				wait.Stop()
				return // the shutdown's snapshot has everything
			}
		case <-stop:
			return
		}
	}
}

// save writes a snapshot next to the file and renames it over it. Where there is nothing
// to keep there is no file.
func (s *saver) save() (size int64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	err = atomicfile.Write(s.file, 0o600, func(w io.Writer) error {
		size, err = s.snapshot(w)
		return err
	})
	if err == nil && size == 0 {
		// An empty file is what a power cut leaves.
		err = os.Remove(s.file)
	}
	return size, err
}

// maintain is upstream's periodic maintenance, with our way to save.
func (s *saver) maintain(gc func() (int, error)) func() (int64, error) {
	return func() (int64, error) {
		if _, err := gc(); err != nil {
			return 0, err
		}
		return s.save()
	}
}
