package redis

import (
	"context"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
)

var redirected sync.Once

// redirectLog sends what upstream logs to log. Its logger is global, so the
// first one who asks gets the lines of all.
func redirectLog(log *slog.Logger) {
	redirected.Do(func() {
		logrus.SetOutput(io.Discard)
		// Debug lines show passwords, so that level stays off whatever ours is.
		logrus.SetLevel(logrus.InfoLevel)
		logrus.AddHook(&hook{log: log, seen: map[string]time.Time{}})
	})
}

// hook logs warnings and errors, each text once an hour: upstream repeats them
// at each scrape.
type hook struct {
	log  *slog.Logger
	mu   sync.Mutex
	seen map[string]time.Time
}

const (
	again    = time.Hour
	mostSeen = 100
)

func (*hook) Levels() []logrus.Level {
	return []logrus.Level{logrus.WarnLevel, logrus.ErrorLevel}
}

func (h *hook) Fire(e *logrus.Entry) error {
	if strings.HasPrefix(e.Message, "Couldn't connect to redis instance") {
		return nil // the collector's result says it, and why
	}
	h.mu.Lock()
	last, ok := h.seen[e.Message]
	fresh := !ok || e.Time.Sub(last) >= again
	if fresh {
		if len(h.seen) >= mostSeen {
			clear(h.seen)
		}
		h.seen[e.Message] = e.Time
	}
	h.mu.Unlock()
	if fresh {
		level := slog.LevelWarn
		if e.Level == logrus.ErrorLevel {
			level = slog.LevelError
		}
		h.log.Log(context.Background(), level, "Redis exporter", "err", e.Message)
	}
	return nil
}
