package history

import (
	"fmt"
	"net/http"
	"strconv"
	"time"

	wire "github.com/clanmon/clanmon/internal/history"
)

const (
	// maxReaders is how many requests are served at one time.
	maxReaders = 4
	// patience is how long a client may take to accept a record.
	patience = time.Minute
)

// NewHandler returns what serves wire.Path on the port of a kind whose metrics are at
// metricsPath: the parameters after and before are Unix milliseconds, path is where the
// client scrapes.
func NewHandler(s *Spool, kind, metricsPath string) http.Handler {
	slots := make(chan struct{}, maxReaders)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			w.Header().Set("Allow", http.MethodGet)
			http.Error(w, "the method must be GET", http.StatusMethodNotAllowed)
			return
		}
		after, err := milliseconds(r, "after")
		before, err2 := milliseconds(r, "before")
		if err == nil {
			err = err2
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		if path := r.URL.Query().Get("path"); path != metricsPath {
			http.Error(w, fmt.Sprintf("parameter path %q: the history is that of %s", path, metricsPath), http.StatusNotFound)
			return
		}
		select {
		case slots <- struct{}{}:
			defer func() { <-slots }()
		default:
			w.Header().Set("Retry-After", "10")
			http.Error(w, fmt.Sprintf("too many clients read the history: the maximum is %d", maxReaders), http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", wire.ContentType)
		w.Header().Set(wire.TimeHeader, strconv.FormatInt(time.Now().UnixMilli(), 10))
		if s.send(w, r, kind, after, before) != nil {
			panic(http.ErrAbortHandler) // the client sees that something is missing
		}
	})
}

// send writes the gathers of a kind as a stream of its own.
func (s *Spool) send(w http.ResponseWriter, r *http.Request, kind string, after, before int64) error {
	deadline := http.NewResponseController(w)
	if _, err := w.Write([]byte(wire.Header)); err != nil {
		return err
	}
	out := wire.NewWriter()
	err := s.Read(r.Context(), after, before, func(g Gather) error {
		out.Begin(g.Time)
		g.Each(kind, func(key string, v float64) { out.Add([]byte(key), v) })
		record, err := out.Encode()
		if err != nil {
			return err
		}
		out.Commit()
		_ = deadline.SetWriteDeadline(time.Now().Add(patience)) // fails only where there is none
		_, err = w.Write(record)
		return err
	})
	if err != nil {
		return err
	}
	_, err = w.Write(wire.EndRecord())
	return err
}

func milliseconds(r *http.Request, name string) (int64, error) {
	text := r.URL.Query().Get(name)
	ms, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("parameter %s %q: it must be a time in Unix milliseconds", name, text)
	}
	return ms, nil
}
