package node

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Words are what people call things, and the upstream collectors that they
// mean. A word that is also the name of an upstream collector would be ignored:
// such a name always means that collector.
var Words = map[string][]string{
	"memory":      {"meminfo"},
	"disk":        {"diskstats", "filesystem"},
	"disks":       {"diskstats", "filesystem"},
	"network":     {"netdev", "netclass", "netstat", "sockstat", "conntrack", "softnet", "arp"},
	"net":         {"netdev", "netclass", "netstat", "sockstat", "conntrack", "softnet", "arp"},
	"load":        {"loadavg"},
	"temperature": {"hwmon", "thermal_zone"},
	"sensors":     {"hwmon", "thermal_zone", "powersupplyclass", "rapl"},
	"power":       {"powersupplyclass", "rapl"},
	"clock":       {"time", "timex"},
	"kernel":      {"stat", "vmstat", "filefd", "entropy", "schedstat", "kernel_hung"},
	"system":      {"os", "uname", "dmi", "time", "stat", "loadavg", "filefd"},
	"raid":        {"mdadm"},
	"storage":     {"diskstats", "filesystem", "mdadm", "zfs", "btrfs", "xfs", "bcache", "nvme"},
	"nic":         {"netclass", "ethtool"},
	"nfs-client":  {"nfs"},
	"nfs-server":  {"nfsd"},
	"files":       {"textfile"},
}

// UnknownCollectorError names a word that is no collector.
type UnknownCollectorError struct {
	Got   string
	Known []string // all words and names
}

func (e *UnknownCollectorError) Error() string {
	return fmt.Sprintf("unknown collector %q", e.Got)
}

// Expand turns words and names into upstream names, each once, in order.
func Expand(words []string) ([]string, error) {
	known := Names()
	var out []string
	add := func(names ...string) {
		for _, n := range names {
			if !slices.Contains(out, n) {
				out = append(out, n)
			}
		}
	}
	for _, w := range words {
		switch {
		case slices.Contains(known, w):
			add(w)
		case Words[w] != nil:
			// Not every upstream version has every collector.
			for _, n := range Words[w] {
				if slices.Contains(known, n) {
					add(n)
				}
			}
		default:
			return nil, &UnknownCollectorError{w, slices.Sorted(slices.Values(append(slices.Collect(maps.Keys(Words)), known...)))}
		}
	}
	return out, nil
}

// collectorFlag returns NAME for the flag "collector.NAME" that switches a
// collector; the collectors' own settings have a longer name.
func collectorFlag(flag string) (name string, ok bool) {
	name, ok = strings.CutPrefix(flag, "collector.")
	return name, ok && !strings.Contains(name, ".") && !strings.Contains(name, "-")
}
