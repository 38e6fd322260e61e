// Package logsink turns what an embedded exporter logs into errors.
//
// Upstream's collectors report a failure by a line in the log, at each scrape.
// A Sink takes those lines instead, so that the failure is counted in a metric
// and logged once per change by whoever runs the collector. It starts nothing.
package logsink

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
)

const (
	// most bounds the distinct errors kept of one scrape.
	most = 10
	// longest bounds an error: upstream quotes what a backend answered.
	longest = 500
)

// Sink keeps the errors logged since it was last asked. The zero value is ready;
// it is safe for concurrent use.
type Sink struct {
	// Scrub removes secrets from an error's text; nil if there are none.
	Scrub func(string) string

	mu     sync.Mutex
	errors []string
}

// Logger is what upstream is given to log with. Warnings and lesser lines go to
// log for debugging only: they come per scrape.
func (s *Sink) Logger(log *slog.Logger) *slog.Logger {
	return slog.New(handler{Handler: log.Handler(), sink: s})
}

// Put adds an error.
func (s *Sink) Put(text string) {
	if s.Scrub != nil {
		text = s.Scrub(text)
	}
	if len(text) > longest {
		text = strings.ToValidUTF8(text[:longest], "") + "..."
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.errors) < most && !slices.Contains(s.errors, text) {
		s.errors = append(s.errors, text)
	}
}

// Take returns the errors since the last call as one, nil if there were none.
// They are sorted: parts of upstream that fail together do so in any order, and
// the same errors should have the same text.
func (s *Sink) Take() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.errors) == 0 {
		return nil
	}
	slices.Sort(s.errors)
	err := errors.New(strings.Join(s.errors, "; "))
	s.errors = nil
	return err
}

type handler struct {
	slog.Handler
	sink *Sink
	name string // of the part of upstream that logs, "" if it did not say
}

func (h handler) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelError || h.Handler.Enabled(ctx, slog.LevelDebug)
}

func (h handler) Handle(ctx context.Context, r slog.Record) error {
	if r.Level < slog.LevelError {
		r.Level = slog.LevelDebug
		return h.Handler.Handle(ctx, r)
	}
	text, name := r.Message, h.name
	r.Attrs(func(a slog.Attr) bool {
		switch a.Key {
		case "err", "error":
			text = a.Value.String()
		case "name":
			name = a.Value.String()
		}
		return true
	})
	if name != "" {
		text = name + ": " + text
	}
	h.sink.Put(text)
	return nil
}

func (h handler) WithAttrs(as []slog.Attr) slog.Handler {
	h.Handler = h.Handler.WithAttrs(as)
	return h
}

func (h handler) WithGroup(g string) slog.Handler {
	h.Handler = h.Handler.WithGroup(g)
	return h
}
