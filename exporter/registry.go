package exporter

import (
	"log/slog"

	"github.com/clanmon/clanmon/exporter/collector"
	"github.com/clanmon/clanmon/exporter/node"
	"github.com/clanmon/clanmon/exporter/systemd"
)

// A Kind is one kind of exporter. To add one: a folder with its adapter, and an
// entry in kinds.
type Kind struct {
	Name string // of the job, the flags and the listener
	Port int    // the one that the upstream exporter usually has

	// Upstream is the exporter whose metrics these are: its name as in
	// <name>_build_info, a title for the landing page, and its Go module.
	Upstream, Title, Module string

	// Process says that upstream exposes metrics of its process, go_* and
	// process_*, and of errors while encoding, beside its own.
	Process bool

	// New makes the collectors, once the upstream flags are parsed.
	New func(Config, *slog.Logger) (*collector.Set, error)

	// Filter says whether the collectors of those names can be asked for with
	// collect[]; nil if the kind has no such parameter. The error text is for
	// the one who asked.
	Filter func(names []string) error
}

// kinds is the registry.
var kinds = []Kind{
	{
		Name: node.Name, Port: 9100,
		Upstream: "node_exporter", Title: "Node Exporter", Module: "github.com/prometheus/node_exporter",
		Process: true,
		New:     func(c Config, log *slog.Logger) (*collector.Set, error) { return node.New(c.Node, log) },
		Filter:  node.Filter,
	},
	{
		Name: systemd.Name, Port: 9558,
		Upstream: "systemd_exporter", Title: "systemd Exporter", Module: "github.com/prometheus-community/systemd_exporter",
		New: func(c Config, log *slog.Logger) (*collector.Set, error) { return systemd.New(c.Systemd, log) },
	},
}

// Kinds are all kinds, in the order of the registry.
func Kinds() []Kind { return kinds }

// DefaultKinds are the names of those that run when none is chosen.
func DefaultKinds() []string { return []string{node.Name, systemd.Name} }

// Config is what the kinds can be told, each in its own words.
type Config struct {
	Node    node.Config
	Systemd systemd.Config
}

func kindNames() []string {
	names := make([]string, len(kinds))
	for i, k := range kinds {
		names[i] = k.Name
	}
	return names
}

func kindOf(name string) (Kind, error) {
	for _, k := range kinds {
		if k.Name == name {
			return k, nil
		}
	}
	return Kind{}, &UnknownError{What: "exporter kind", Got: name, Known: kindNames()}
}
