package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"
)

// streamPath is where pages learn which answers changed, below the route prefix.
const streamPath = "/api/clanmon/v1/stream"

// fleetPath is the one answer of the stream whose version is not its ETag: it has the time in it.
const fleetPath = "/api/clanmon/v1/fleet"

// watched are the answers of which the stream has versions, as pages ask for them. Each is
// cheap to make. Answers that are other ones at each look are left out: /storage has the free
// bytes of a disk, /api/v1/targets the times of scrapes.
var watched = []string{
	"/api/v2/alerts?filter=severity%21%3D%22none%22",
	"/api/v2/silences",
	"/api/clanmon/v1/backfill",
	"/api/clanmon/v1/checks",
	"/api/clanmon/v1/notifications",
	"/api/clanmon/v1/pair",
	"/api/clanmon/v1/receivers",
}

const (
	versionsEvery = 10 * time.Second // how often the answers are looked at, for all streams
	streamLife    = 15 * time.Minute // then a page connects again, and is identified again
	// A browser has six connections to a server. Each window that is visible has a stream.
	maxOfBrowser = 3
)

// stream sends events that say which answers changed.
//
// The version of an answer is its ETag, of the same bytes that a page would get; so an
// answer cannot change without its version. A page that has another ETag asks.
type stream struct {
	answers http.Handler // of watched; set before the first request
	base    string
	fleet   func(context.Context) string // the version of fleetPath; nil if there is none
	max     int
	every   time.Duration
	beat    time.Duration // the longest silence of a stream
	write   time.Duration // how long a client may take to accept an event

	ending context.Context // ends with the first server that shuts down
	end    context.CancelFunc

	mu   sync.Mutex // held while versions are found out: others wait for the same
	at   time.Time
	last []byte

	countMu sync.Mutex
	open    int
	of      map[string]int // by browser
}

func newStream(base string, maxConnections int, fleet func(context.Context) string) *stream {
	s := &stream{base: base, fleet: fleet, max: max(1, maxConnections/4), every: versionsEvery, beat: 15 * time.Second, write: 10 * time.Second, of: make(map[string]int)}
	s.ending, s.end = context.WithCancel(context.Background())
	return s
}

// versions are those of all answers, as JSON, at most so old as every says.
func (s *stream) versions() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.at.IsZero() && time.Since(s.at) < s.every {
		return s.last
	}
	ctx, cancel := context.WithTimeout(s.ending, 30*time.Second)
	defer cancel()
	found := make(map[string]string, len(watched)+1)
	for _, url := range watched {
		if tag := s.tag(ctx, url); tag != "" {
			found[url] = tag
		}
	}
	if s.fleet != nil {
		found[fleetPath] = s.fleet(ctx)
	}
	s.last, _ = json.Marshal(found) // they are texts
	s.at = time.Now()
	return s.last
}

// tag is the ETag of what url answers, without its quotes; "" if there is none.
func (s *stream) tag(ctx context.Context, url string) string {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.base+url, nil)
	if err != nil {
		return ""
	}
	w := &statusCode{header: make(http.Header)}
	s.answers.ServeHTTP(w, r)
	if w.code != http.StatusOK {
		return ""
	}
	return strings.Trim(strings.TrimPrefix(w.header.Get("ETag"), "W/"), `"`)
}

// enter counts a stream of a browser, unless there are too many.
func (s *stream) enter(browser string) bool {
	s.countMu.Lock()
	defer s.countMu.Unlock()
	if s.open >= s.max || browser != "" && s.of[browser] >= maxOfBrowser {
		return false
	}
	s.open++
	s.of[browser]++
	return true
}

func (s *stream) leave(browser string) {
	s.countMu.Lock()
	defer s.countMu.Unlock()
	s.open--
	if s.of[browser]--; s.of[browser] == 0 {
		delete(s.of, browser)
	}
}

// ServeHTTP sends all versions at once and whenever one changed. The event "alive" says
// in between that nothing did: a browser hides comments from its page, and the page must
// know that the connection has not died.
func (s *stream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	browser := r.URL.Query().Get("browser")
	if r.Method != http.MethodGet || !s.enter(browser) {
		w.WriteHeader(http.StatusNoContent) // the page polls, as with upstream's notifications
		return
	}
	defer s.leave(browser)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Accel-Buffering", "no") // a proxy must not collect events
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Time{}) // --web.read-timeout is for what a client sends

	look := time.NewTicker(min(s.every, time.Second))
	defer look.Stop()
	over := time.NewTimer(streamLife)
	defer over.Stop()
	var sent []byte
	said := time.Now()
	for {
		event, data := "", []byte("{}")
		if now := s.versions(); !bytes.Equal(now, sent) {
			event, data, sent = "changed", now, now
		} else if time.Since(said) >= s.beat {
			event = "alive"
		}
		if event != "" {
			said = time.Now()
			_ = control.SetWriteDeadline(said.Add(s.write))
			_, err := fmt.Fprintf(w, "event: %s\ndata: %s\n\n", event, data)
			err = errors.Join(err, control.Flush())
			_ = control.SetWriteDeadline(time.Time{}) // with HTTP/2 it ends a stream that is silent
			if err != nil {
				return
			}
		}
		select {
		case <-look.C:
		case <-over.C:
			return
		case <-r.Context().Done():
			return
		case <-s.ending.Done():
			return
		}
	}
}
