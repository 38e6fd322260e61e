package exporter

import (
	"slices"

	"github.com/alecthomas/kingpin/v2"

	"github.com/clanmon/clanmon/exporter/internal/flagbound"
	"github.com/clanmon/clanmon/exporter/node"
)

// UpstreamFlags describes the flags that embedded collectors registered; what
// is given of them goes into Options.UpstreamArgs.
func UpstreamFlags() []*kingpin.FlagModel { return flagbound.Flags() }

// CollectorWords are everyday words and the collectors of the kind node that
// they stand for.
func CollectorWords() map[string][]string {
	words := make(map[string][]string, len(node.Words))
	for w := range node.Words {
		if names, err := node.Expand([]string{w}); err == nil {
			words[w] = names
		}
	}
	return words
}

// CollectorInfo is a collector of the kind node.
type CollectorInfo struct {
	Name    string
	Default bool // runs unless told otherwise
}

// Collectors are all collectors of the kind node, sorted by name.
func Collectors() []CollectorInfo {
	defaults := map[string]bool{}
	for _, f := range flagbound.Flags() {
		defaults[f.Name] = slices.Equal(f.Default, []string{"true"})
	}
	var infos []CollectorInfo
	for _, n := range node.Names() {
		infos = append(infos, CollectorInfo{n, defaults["collector."+n]})
	}
	return infos
}
