// Package systemd exposes the units of systemd: systemd_exporter's collector, what
// each unit uses of CPU, memory and so on as the kernel accounts it, and, if asked
// for, systemd_exporter's collector of systemd-resolved. It is the only importer
// of systemd_exporter.
//
// Upstream connects to D-Bus anew at each scrape, knows no deadline and reports
// a failure by a line in the log. Here the failure becomes an error, so that it
// is counted, and logged once. There is nothing to stop: a run that hangs on a
// dead bus is left behind by the Set that started it.
package systemd

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/prometheus-community/systemd_exporter/systemd"
	"github.com/prometheus-community/systemd_exporter/systemd/resolved"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/clanmon/clanmon/exporter/collector"
	"github.com/clanmon/clanmon/exporter/internal/flagbound"
	"github.com/clanmon/clanmon/exporter/internal/logsink"
)

// Name of the kind.
const Name = "systemd"

// Config of the kind.
type Config struct {
	Resolved    bool // also the statistics of systemd-resolved
	NoResources bool // not what each unit uses of CPU, memory, ...
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
	u, err := flagbound.Construct(func() (*systemd.Collector, error) { return systemd.NewCollector(units.errors.Logger(log)) })
	if err != nil {
		return nil, fmt.Errorf("systemd: %w", err)
	}
	units.upstream = u
	members := map[string]collector.Collector{"systemd": units}
	if !c.NoResources {
		wanted, err := unitFilter(flagbound.Value("systemd.collector.unit-include"), flagbound.Value("systemd.collector.unit-exclude"))
		if err != nil {
			return nil, err
		}
		members["resources"] = newResources(wanted)
	}
	if c.Resolved {
		r := &adapter{}
		if r.upstream, err = resolved.NewCollector(r.errors.Logger(log)); err != nil {
			return nil, fmt.Errorf("systemd-resolved: %w", err)
		}
		members["resolved"] = r
	}
	return collector.NewSet(members, log, collector.Report), nil
}

// adapter makes an upstream collector ours: its errors, which it logs, become
// the result of Collect.
type adapter struct {
	upstream prometheus.Collector
	errors   logsink.Sink
}

func (a *adapter) Collect(_ context.Context, ch chan<- prometheus.Metric) error {
	_ = a.errors.Take() // left over from a run that was given up
	a.upstream.Collect(ch)
	return a.errors.Take()
}

func (a *adapter) Close() error { return nil }
