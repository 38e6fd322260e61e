// Package systemd exposes the units of systemd: systemd_exporter's collector
// and, if asked for, its collector of systemd-resolved. It is the only importer
// of systemd_exporter.
//
// Upstream connects to D-Bus anew at each scrape, knows no deadline and reports
// a failure by a line in the log. Here the failure becomes an error, so that it
// is counted, and logged once. There is nothing to stop: a run that hangs on a
// dead bus is left behind by the Set that started it.
package systemd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"

	"github.com/prometheus-community/systemd_exporter/systemd"
	"github.com/prometheus-community/systemd_exporter/systemd/resolved"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/clanmon/clanmon/exporter/collector"
	"github.com/clanmon/clanmon/exporter/internal/flagbound"
)

// Name of the kind.
const Name = "systemd"

// Config of the kind.
type Config struct {
	Resolved bool // also the statistics of systemd-resolved
}

const restartFlag = "systemd.collector.enable-restart-count"

// Args completes the upstream flags that were given with the defaults that are
// ours: restarts are counted, for a crash loop shows in nothing else.
func Args(given []string) []string {
	if slices.ContainsFunc(given, func(a string) bool {
		a, _, _ = strings.Cut(a, "=")
		return a == "--"+restartFlag || a == "--no-"+restartFlag
	}) {
		return nil
	}
	return []string{"--" + restartFlag}
}

// New returns the collectors. The upstream flags have to be parsed.
func New(c Config, log *slog.Logger) (*collector.Set, error) {
	units := &adapter{}
	u, err := flagbound.Construct(func() (*systemd.Collector, error) { return systemd.NewCollector(units.logger(log)) })
	if err != nil {
		return nil, fmt.Errorf("systemd: %w", err)
	}
	units.upstream = u
	members := map[string]collector.Collector{"systemd": units}
	if c.Resolved {
		r := &adapter{}
		if r.upstream, err = resolved.NewCollector(r.logger(log)); err != nil {
			return nil, fmt.Errorf("systemd-resolved: %w", err)
		}
		members["resolved"] = r
	}
	return collector.NewSet(members, log, collector.Report), nil
}

// adapter makes an upstream collector ours.
type adapter struct {
	upstream prometheus.Collector
	errors   errorSink
}

func (a *adapter) Collect(_ context.Context, ch chan<- prometheus.Metric) error {
	a.errors.take()
	a.upstream.Collect(ch)
	return a.errors.take()
}

func (a *adapter) Close() error { return nil }

// logger is what upstream is given to log with: its errors become the result of
// Collect, and its warnings, one per unit that came or went during the scrape,
// are of interest to a developer only.
func (a *adapter) logger(log *slog.Logger) *slog.Logger {
	return slog.New(sinkHandler{log.Handler(), &a.errors})
}

// errorSink keeps the first error that was logged.
type errorSink struct {
	mu  sync.Mutex
	err error
}

func (s *errorSink) put(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
	}
}

func (s *errorSink) take() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.err
	s.err = nil
	return err
}

type sinkHandler struct {
	slog.Handler
	sink *errorSink
}

func (h sinkHandler) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelError || h.Handler.Enabled(ctx, slog.LevelDebug)
}

func (h sinkHandler) Handle(ctx context.Context, r slog.Record) error {
	if r.Level < slog.LevelError {
		r.Level = slog.LevelDebug
		return h.Handler.Handle(ctx, r)
	}
	text := r.Message
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "err" {
			text = a.Value.String()
		}
		return true
	})
	h.sink.put(errors.New(text))
	return nil
}

func (h sinkHandler) WithAttrs(as []slog.Attr) slog.Handler {
	return sinkHandler{h.Handler.WithAttrs(as), h.sink}
}

func (h sinkHandler) WithGroup(g string) slog.Handler {
	return sinkHandler{h.Handler.WithGroup(g), h.sink}
}
