package main

import (
	"log/slog"
	"os"
	"path/filepath"
	"reflect"

	"github.com/clanmon/clanmon/server/config"
)

// Where distributions keep what Prometheus looks for in its working directory:
// Debian's build has other defaults, the units of Arch, Alpine, Fedora, openSUSE and
// NixOS name them, and so does the command of the container image, which arguments
// of one's own replace. A unit that relied on that would start an empty server here.
var (
	usualConfigs = []string{"/etc/prometheus/prometheus.yml", "/etc/prometheus.yml", "/usr/local/etc/prometheus.yml"}
	usualData    = []string{"/var/lib/prometheus/metrics2", "/var/lib/prometheus/data", "/var/lib/prometheus", "/var/lib/prometheus2/data", "/prometheus"}
)

// warn says what the flags leave open in a way that is hardly meant.
func (c *serverCommand) warn(log *slog.Logger) {
	if n := len(c.retentionFlags); n > 1 {
		log.Warn("Two flags set the retention time; the last one is used", "given", c.retentionFlags, "wins", c.retentionFlags[n-1], "retention", c.opts.Retention.Time)
	}
	_, err := os.Stat(config.DefaultFile)
	if c.configFileSet || err == nil || !reflect.ValueOf(c.opts.Discovery).IsZero() {
		return
	}
	dir, _ := os.Getwd() // "" in the message is as good
	for _, file := range usualConfigs {
		if _, err := os.Stat(file); err == nil {
			log.Warn("Starting without the configuration file of this system: --config.file is not set, and the working directory has no prometheus.yml",
				"not_found", filepath.Join(dir, config.DefaultFile), "exists", file, "use_it_with", "--config.file="+file)
			break
		}
	}
	if c.opts.Agent || c.dataDirSet || isData(c.opts.Dir) {
		return
	}
	for _, data := range usualData {
		if isData(data) {
			log.Warn("Starting with an empty data directory, but another directory of this system has Prometheus data",
				"empty", filepath.Join(dir, c.opts.Dir), "has_data", data, "use_it_with", "--storage.tsdb.path="+data)
			return
		}
	}
}

// isData reports whether dir has been a data directory.
func isData(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "wal"))
	return err == nil
}
