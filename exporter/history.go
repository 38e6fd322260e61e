package exporter

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"sync"
	"time"

	dto "github.com/prometheus/client_model/go"

	"github.com/clanmon/clanmon/exporter/history"
	"github.com/clanmon/clanmon/exporter/push"
	wire "github.com/clanmon/clanmon/internal/history"
)

// HistoryOptions say what is kept of what was gathered, for servers that missed it.
type HistoryOptions struct {
	Keep     time.Duration // how much, as time in which this process runs; 0 for nothing
	Interval time.Duration // between two gathers
	MaxBytes int64         // on disk
	Dir      string        // where
}

const (
	// Limits of HistoryOptions: less is useless, more makes one record too large.
	minHistoryInterval, maxHistoryInterval = time.Second, 5 * time.Minute
	minHistoryBytes                        = 16 << 20
	// historySegment is the time that a file covers.
	historySegment = time.Hour
)

func (o HistoryOptions) check() error {
	switch {
	case o.Keep == 0:
		return nil
	case o.Interval < minHistoryInterval || o.Interval > maxHistoryInterval:
		return fmt.Errorf("--history.interval %s: it must be between %s and %s", o.Interval, minHistoryInterval, maxHistoryInterval)
	case o.Keep < o.Interval:
		return fmt.Errorf("--history %s: it must be at least --history.interval, which is %s", o.Keep, o.Interval)
	case o.MaxBytes < minHistoryBytes:
		return fmt.Errorf("--history.max-bytes %d: it must be at least %dMiB", o.MaxBytes, minHistoryBytes>>20)
	case o.Dir == "":
		return fmt.Errorf("--history needs a directory: set --history.path, or StateDirectory= in the systemd unit")
	}
	return nil
}

// withHistory adds the history to the pages of a kind, if one is kept. The first kind opens it,
// and has its metrics.
func (e *Exporter) withHistory(s *kindServer, pages map[string]http.Handler) (map[string]http.Handler, error) {
	o := e.opts.History
	path := e.opts.web(s.kind.Name).TelemetryPath
	if o.Keep == 0 || path == wire.Path {
		return pages, nil
	}
	if e.history == nil {
		spool, err := history.Open(o.Dir, history.Options{
			Gathers: int(o.Keep / o.Interval), PerSegment: max(1, int(historySegment/o.Interval)), MaxBytes: o.MaxBytes,
			Dropping: e.dropping, Registerer: s.gather.own, Logger: e.opts.Logger.With("component", "history"),
		})
		if err != nil {
			return nil, fmt.Errorf("--history.path %q: %w", o.Dir, err)
		}
		e.history = spool
		_, e.kept = spool.Span()
	}
	all := map[string]http.Handler{wire.Path: history.NewHandler(e.history, s.kind.Name, path)}
	maps.Copy(all, pages)
	return all, nil
}

// keepHistory gathers until ctx ends, if a history is kept.
func (e *Exporter) keepHistory(ctx context.Context) {
	if e.history == nil {
		return
	}
	tick := time.NewTicker(e.opts.History.Interval)
	defer tick.Stop()
	for {
		e.gatherOnce(ctx)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// gatherOnce keeps what all kinds have now. What a kind cannot gather in time is missing,
// as in a scrape.
func (e *Exporter) gatherOnce(ctx context.Context) {
	began := time.Now()
	limited, cancel := context.WithTimeout(ctx, e.opts.History.Interval)
	defer cancel()
	found := make([][]*dto.MetricFamily, len(e.servers))
	var wg sync.WaitGroup
	for i, s := range e.servers {
		wg.Go(func() {
			var err error
			if found[i], err = s.gather.gatherer(limited, nil).Gather(); err != nil {
				s.gather.opts.ErrorLog.Println(err)
			}
		})
	}
	wg.Wait()
	if ctx.Err() != nil {
		return // what was gathered may be incomplete
	}
	g := &push.Gather{Time: began.UnixMilli(), Before: e.kept}
	var each func(key string, bits uint64)
	for _, s := range e.senders {
		s.Expect(g.Time)
		each = func(key string, bits uint64) { g.Values = append(g.Values, push.Value{Key: key, Bits: bits}) }
	}
	err := e.history.Append(g.Time, func(add func(key []byte, v float64)) {
		for i, s := range e.servers {
			history.Families(s.kind.Name, found[i], add)
		}
	}, each)
	if err == nil { // else it was logged, and the next gather may be kept
		e.kept = g.Time
	}
	for _, s := range e.senders {
		s.Offer(g)
	}
}
