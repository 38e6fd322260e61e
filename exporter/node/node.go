// Package node exposes the machine: node_exporter's collectors, each run for
// itself, but for those of systemd's units and of text files, which are ours. It is the
// only importer of node_exporter.
//
// Upstream keeps its collectors' settings and the collectors themselves in
// package variables, so all Sets of a process share them. The package reads flags
// but parses none (see flagbound), and has nothing to stop.
package node

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	upstream "github.com/prometheus/node_exporter/collector"

	"github.com/clanmon/clanmon/exporter/collector"
	"github.com/clanmon/clanmon/exporter/facts"
	"github.com/clanmon/clanmon/exporter/internal/flagbound"
)

// Name of the kind.
const Name = "node"

// Config of the kind; the zero value is node_exporter's default.
type Config struct {
	// DisableDefaults leaves only the collectors that flags enabled by name.
	DisableDefaults bool
	// Collectors, if any, are the only ones that run: upstream names or
	// everyday words (see Words).
	Collectors []string
	// TextfileLimit is how many bytes a text file may have: 0 for 1 MiB, negative for
	// any number.
	TextfileLimit int64
	// NoFacts leaves out what package facts adds to the default collectors.
	NoFacts bool
}

// The metrics with which node_exporter itself reports on its collectors.
var (
	durationDesc = prometheus.NewDesc("node_scrape_collector_duration_seconds",
		"node_exporter: Duration of a collector scrape.", []string{"collector"}, nil)
	successDesc = prometheus.NewDesc("node_scrape_collector_success",
		"node_exporter: Whether a collector succeeded.", []string{"collector"}, nil)
)

// Args are the upstream flags that c amounts to.
func Args(c Config) ([]string, error) {
	names, err := Expand(c.Collectors)
	if err != nil {
		return nil, err
	}
	args := make([]string, len(names))
	for i, n := range names {
		args[i] = "--collector." + n
	}
	return args, nil
}

// disable guards upstream's package state.
var disable sync.Once

// New returns the collectors that are enabled. The upstream flags have to be
// parsed.
func New(c Config, log *slog.Logger) (*collector.Set, error) {
	if c.DisableDefaults || len(c.Collectors) > 0 {
		disable.Do(upstream.DisableDefaultCollectors)
	}
	nc, err := flagbound.Construct(func() (*upstream.NodeCollector, error) { return upstream.NewNodeCollector(log) })
	if err != nil {
		return nil, fmt.Errorf("node: %w", err)
	}
	members := make(map[string]collector.Collector, len(nc.Collectors))
	for name, c := range nc.Collectors {
		members[name] = adapter{c, alone[name]}
	}
	if _, ok := members[unitsName]; ok {
		if members[unitsName], err = newUnits(); err != nil {
			return nil, err
		}
	}
	if _, ok := members[textfileName]; ok {
		limit := cmp.Or(c.TextfileLimit, textfileLimit)
		members[textfileName] = newTextfiles(flagbound.Values("collector.textfile.directory"), max(limit, 0), log)
	}
	if !c.NoFacts && !c.DisableDefaults && len(c.Collectors) == 0 {
		o := facts.Options{Root: flagbound.Value("path.rootfs"), Sysfs: flagbound.Value("path.sysfs")}
		if _, ok := members["diskstats"]; ok {
			if o.Disk, err = devices("collector.diskstats.device-"); err != nil {
				return nil, err
			}
		}
		members[factsName] = facts.New(o)
	}
	return collector.NewSet(members, log, func(o collector.Outcome) []prometheus.Metric {
		if o.Collector == factsName {
			return collector.Report(o)
		}
		return collector.ReportAs(durationDesc, successDesc, o)
	}), nil
}

// devices is upstream's filter of devices. flag is the name of its two flags, without
// "include" and "exclude" at the end.
func devices(flag string) (wanted func(device string) bool, err error) {
	var in, out *regexp.Regexp
	for name, pattern := range map[string]**regexp.Regexp{"include": &in, "exclude": &out} {
		if text := flagbound.Value(flag + name); text != "" {
			if *pattern, err = regexp.Compile(text); err != nil {
				return nil, fmt.Errorf("--%s%s: %w", flag, name, err)
			}
		}
	}
	return func(device string) bool {
		return (in == nil || in.MatchString(device)) && (out == nil || !out.MatchString(device))
	}, nil
}

// factsName is the collector that is ours; it reports under our names.
const factsName = "facts"

// Filter says, in upstream's words, what is wrong with names in collect[].
func Filter(names []string) error {
	names = slices.DeleteFunc(slices.Clone(names), func(n string) bool { return n == factsName })
	if len(names) == 0 {
		return nil // none of upstream's is asked for, which to upstream means all
	}
	_, err := upstream.NewNodeCollector(slog.New(slog.DiscardHandler), names...)
	return err
}

// unclean is what the bytes of a name that is not valid UTF-8 are to package regexp.
const unclean = `\x{FFFD}`

// LeaveOutUnclean makes the collectors of network devices leave out those whose names
// are not valid UTF-8, over which upstream panics: it adds them to the flags that
// exclude devices. Where a flag says which to include, that one counts alone.
func LeaveOutUnclean(args []string) []string {
	args = slices.Clone(args)
	for _, prefix := range []string{"netdev.device-", "arp.device-", "ethtool.device-", "qdisc.device-", "netclass.ignored-"} {
		prefix = "--collector." + prefix
		exclude := prefix + "exclude="
		if strings.HasSuffix(prefix, ".ignored-") {
			exclude = prefix + "devices="
		}
		i := slices.IndexFunc(args, func(a string) bool { return strings.HasPrefix(a, exclude) && a != exclude })
		switch {
		case i >= 0:
			args[i] = exclude + "(?:" + strings.TrimPrefix(args[i], exclude) + ")|" + unclean
		case slices.ContainsFunc(args, func(a string) bool {
			return strings.HasPrefix(strings.Replace(a, ".qdisk.", ".qdisc.", 1), prefix) // with another filter
		}):
		default:
			args = append(args, exclude+unclean)
		}
	}
	return args
}

// alone are the collectors that cannot run twice at the same time, each with what
// sees to it: upstream makes each collector once and hands it to all who ask. The
// others are safe for concurrent use, as upstream needs for concurrent scrapes.
var alone = map[string]*sync.Mutex{
	"meminfo_numa": new(sync.Mutex), // writes to a map
	"os":           new(sync.Mutex), // keeps what it reads in itself
	"perf":         new(sync.Mutex), // shares file descriptors
	"zoneinfo":     new(sync.Mutex), // writes to a map
}

// adapter makes one of upstream's collectors ours. Upstream's knows no context:
// a hanging one is left behind by the Set, and overtaken at the next scrape as in
// node_exporter itself.
type adapter struct {
	upstream.Collector
	turn *sync.Mutex // nil if it may run concurrently
}

func (a adapter) Overtakes() bool { return a.turn == nil }

func (a adapter) Collect(_ context.Context, ch chan<- prometheus.Metric) error {
	if a.turn != nil {
		a.turn.Lock()
		defer a.turn.Unlock()
	}
	err := a.Update(ch)
	if upstream.IsNoDataError(err) {
		return collector.ErrNoData
	}
	return err
}

func (adapter) Close() error { return nil }

// Names are the names of all of upstream's collectors, sorted.
func Names() []string {
	var names []string
	for _, f := range flagbound.Flags() {
		if name, ok := collectorFlag(f.Name); ok && isNode(name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// isNode says whether node_exporter has a collector of that name: other embedded
// exporters have flags of the same form. Asked for it and for one that nobody
// has, upstream complains of the first that it does not know, and makes none.
func isNode(name string) bool {
	const nobody = "\x00"
	_, err := upstream.NewNodeCollector(slog.New(slog.DiscardHandler), name, nobody)
	return err != nil && err.Error() != "missing collector: "+name
}
