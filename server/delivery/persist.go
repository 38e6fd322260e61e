package delivery

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/clanmon/clanmon/internal/atomicfile"
)

// openState opens what is kept in file. A file that cannot be read is set aside:
// a server that does not start alerts nobody.
func openState[T any](file string, log *slog.Logger, open func(file string) (T, error)) (T, error) {
	state, err := open(file)
	if err == nil {
		return state, nil
	}
	aside := fmt.Sprintf("%s.damaged-%d", file, time.Now().Unix())
	if renameErr := os.Rename(file, aside); renameErr != nil {
		return state, err
	}
	log.Error("Set a damaged file aside and began with an empty one", "file", file, "moved_to", aside, "err", err)
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

// save writes a snapshot next to the file and renames it over it.
func (s *saver) save() (size int64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	err = atomicfile.Write(s.file, 0o600, func(w io.Writer) error {
		size, err = s.snapshot(w)
		return err
	})
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
