// Package systemd exposes the units of systemd with systemd_exporter's series, what
// each unit uses of CPU, memory and so on as the kernel accounts it, and, if asked
// for, systemd_exporter's collector of systemd-resolved. It is the only importer
// of systemd_exporter.
//
// Upstream makes a D-Bus call for each property of each unit at each scrape, over
// a new connection. Here a snapshot serves that only asks for what has changed (see
// package units); upstream remains the owner of the flags and of the descriptions.
package systemd

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus-community/systemd_exporter/systemd"
	"github.com/prometheus-community/systemd_exporter/systemd/resolved"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/clanmon/clanmon/exporter/collector"
	"github.com/clanmon/clanmon/exporter/internal/flagbound"
	"github.com/clanmon/clanmon/exporter/internal/logsink"
	"github.com/clanmon/clanmon/exporter/internal/units"
)

// Name of the kind.
const Name = "systemd"

// Config of the kind.
type Config struct {
	Resolved    bool // also the statistics of systemd-resolved
	NoResources bool // not what each unit uses of CPU, memory, ...
	AllSeries   bool // also what nobody looks at: all of upstream's, and all of ours
}

// Present says whether this machine was booted with systemd, or has a bus to ask one
// on, such as the host's in a container.
func Present() bool { return present("/", os.Getenv) }

func present(root string, getenv func(string) string) bool {
	if getenv("DBUS_SYSTEM_BUS_ADDRESS") != "" {
		return true
	}
	return slices.ContainsFunc([]string{"run/systemd/system", "run/dbus/system_bus_socket", "run/systemd/private"}, func(path string) bool {
		_, err := os.Stat(filepath.Join(root, path))
		return err == nil
	})
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
	// Upstream's collector describes, and says what is wrong with the flags.
	upstream, err := flagbound.Construct(func() (*systemd.Collector, error) { return systemd.NewCollector(log) })
	if err != nil {
		return nil, fmt.Errorf("systemd: %w", err)
	}
	const filter = "systemd.collector.unit-"
	wanted, err := units.Filter(filter, flagbound.Value(filter+"include"), flagbound.Value(filter+"exclude"))
	if err != nil {
		return nil, err
	}
	bus := units.System
	switch {
	case on("systemd.collector.private"):
		bus = units.Private
	case on("systemd.collector.user"):
		bus = units.User
	}
	u := newUnitsCollector(upstream, units.Open(bus), wanted)
	u.all, u.restarts, u.traffic = c.AllSeries, on(restartFlag), on("systemd.collector.enable-ip-accounting")
	members := map[string]collector.Collector{"systemd": u}
	if !c.NoResources {
		r := newResources(wanted, flagbound.Value("path.sysfs"), flagbound.Value("path.procfs"), flagbound.Value("path.rootfs"))
		r.all = c.AllSeries
		if bus == units.User {
			r.user = strconv.Itoa(os.Getuid())
		}
		members["resources"] = r
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

func on(flag string) bool { return flagbound.Value(flag) == "true" }

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
