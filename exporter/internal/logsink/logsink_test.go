package logsink

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestErrorsAreTakenAndTheRestIsForDebugging(t *testing.T) {
	for _, tc := range []struct {
		name     string
		upstream func(*slog.Logger)
		err      string
		logged   int
		level    slog.Level
	}{
		{"error", func(l *slog.Logger) { l.Error("error collecting metrics", "err", "bus gone") }, "bus gone", 0, slog.LevelDebug},
		{"nginx's key", func(l *slog.Logger) { l.Error("error getting stats", "error", "refused") }, "refused", 0, slog.LevelDebug},
		{"in any order", func(l *slog.Logger) {
			l.Error("x", "err", "two")
			l.Error("x", "err", "one")
			l.Error("y", "err", "two")
		}, "one; two", 0, slog.LevelDebug},
		{"of a part", func(l *slog.Logger) { l.Error("collector failed", "name", "locks", "err", "denied") }, "locks: denied", 0, slog.LevelDebug},
		{"error without cause", func(l *slog.Logger) { l.With("unit", "u").Error("failed") }, "failed", 0, slog.LevelDebug},
		{"warning", func(l *slog.Logger) { l.With("unit", "u").Warn("gone") }, "", 0, slog.LevelInfo},
		{"warning, debugging", func(l *slog.Logger) { l.WithGroup("g").Warn("gone", "a", 1) }, "", 1, slog.LevelDebug},
		{"secret", func(l *slog.Logger) { l.Error("x", "err", "no hunter2 there") }, "no XXX there", 0, slog.LevelDebug},
		{"nothing", func(*slog.Logger) {}, "", 0, slog.LevelDebug},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var log bytes.Buffer
			s := Sink{Scrub: func(text string) string { return strings.ReplaceAll(text, "hunter2", "XXX") }}
			l := s.Logger(slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: tc.level})))
			for range 2 { // an error of one run is not one of the next
				log.Reset()
				tc.upstream(l)
				err := s.Take()
				if tc.err == "" {
					require.NoError(t, err)
				} else {
					require.EqualError(t, err, tc.err)
				}
				require.Equal(t, tc.logged, strings.Count(log.String(), "\n"))
			}
		})
	}
}

// What a backend answers may be anything, and end up in an error.
func TestErrorsAreBounded(t *testing.T) {
	var s Sink
	for i := range 1000 {
		s.Put(strings.Repeat("ä", 10_000) + string(rune('a'+i%26)))
		s.Put(strings.Repeat("x", i))
	}
	require.Less(t, len(s.Take().Error()), (longest+10)*most)
}
