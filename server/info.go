package server

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/prometheus/client_golang/prometheus"
	promruntime "github.com/prometheus/prometheus/util/runtime"
)

// buildInfo says which clanmon this is; prometheus_build_info beside it says
// which Prometheus is inside.
func buildInfo(o Options) prometheus.Collector {
	g := prometheus.NewGauge(prometheus.GaugeOpts{
		Name:        "clanmon_build_info",
		Help:        "Version and commit of this program; the value is always 1.",
		ConstLabels: prometheus.Labels{"version": o.ClanmonVersion, "commit": o.ClanmonCommit, "role": "server"},
	})
	g.Set(1)
	return g
}

// filesystemSize is the size in bytes of the file system that holds path, or
// its nearest parent that exists; 0 if it cannot be told.
func filesystemSize(path string) uint64 {
	for {
		if size := promruntime.FsSize(path); size > 0 {
			return size
		}
		parent := filepath.Dir(path)
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) || parent == path {
			return 0
		}
		path = parent
	}
}
