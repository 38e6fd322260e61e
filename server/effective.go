package server

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	upstreamconfig "github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/relabel"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	promruntime "github.com/prometheus/prometheus/util/runtime"

	"github.com/clanmon/clanmon/discovery"
	"github.com/clanmon/clanmon/discovery/contract"
	"github.com/clanmon/clanmon/server/config"
	"github.com/clanmon/clanmon/server/engine"
	"github.com/clanmon/clanmon/server/store"
)

// firstConfig reads the configuration for the first time.
func firstConfig(l *config.Loader, log *slog.Logger) (*upstreamconfig.Config, error) {
	cfg, err := l.Load(log)
	if err == nil {
		err = l.Validate(cfg, log)
	}
	if flag, ok := errors.AsType[*config.FlagError](err); ok {
		return nil, &ConfigError{Err: flag}
	}
	if err != nil {
		return nil, &ConfigError{File: l.Path(), Err: err}
	}
	return cfg, nil
}

// defaultOrigins is the default of --web.cors.origin: all origins if the server only
// replaces a Prometheus, otherwise none.
func (o *Options) defaultOrigins(managed bool) {
	if o.Web.CORSOrigin != nil {
		return
	}
	d := &o.Delivery
	dropIn := !managed && len(d.Notify) == 0 && d.HeartbeatURL == "" && d.HeartbeatURLFile == "" && d.ConfigFile == ""
	shown := "none" // no origin looks like that
	if dropIn {
		shown = ".*"
	}
	o.Web.CORSOrigin = relabel.MustNewRegexp(shown).Regexp
	o.showFlag("web.cors.origin", shown)
}

// showFlag makes the pages show the effective value of a flag.
func (o *Options) showFlag(name, value string) {
	if _, ok := o.Web.Flags[name]; ok {
		o.Web.Flags[name] = value
	}
}

// readSettings is fromSettings with those that the flags name.
func (o *Options) readSettings() error {
	s, err := discovery.ReadFlags(o.Discovery)
	if err != nil {
		return nil // the loader says what is wrong
	}
	return o.fromSettings(s.Server)
}

// fromSettings takes what --clan.settings says of options that cannot change after the start.
// Flags that were given take precedence.
func (o *Options) fromSettings(s discovery.Server) error {
	fail := func(key, format string, args ...any) error {
		return fmt.Errorf("--clan.settings %q: %s: %w", o.Discovery.SettingsFile, key, fmt.Errorf(format, args...))
	}
	use := func(flag string, said bool) bool { return said && !slices.Contains(o.Given, "--"+flag) }
	switch {
	case o.Agent && s.Push.Enable:
		return fail("push", "cannot be used in agent mode; leave the section out")
	case o.Agent && s.Query != discovery.Query{}:
		return fail("query", "cannot be used in agent mode; leave the section out")
	}
	if s.Push.Enable {
		o.Push.Enabled = true
		o.showFlag("push", "true")
	}
	if a := s.Push.Availability; a != "" && a != contract.Always && a != contract.Intermittent {
		return fail("push.availability", "%q must be %s or %s", a, contract.Always, contract.Intermittent)
	} else if use("push.availability", a != "") {
		o.Push.Availability = a
		o.showFlag("push.availability", a)
	}
	if n := s.Push.SeriesLimit; use("push.series-limit", n != nil) {
		o.Push.MaxSeries = *n
		o.showFlag("push.series-limit", fmt.Sprint(*n))
	}
	if on := s.Backfill.Enable; use("backfill", on != nil) {
		o.Backfill.Mode = map[bool]string{true: "on", false: "off"}[*on]
		o.showFlag("backfill", o.Backfill.Mode)
	}
	if age := s.Backfill.MaxAge; use("backfill.max-age", age != nil) {
		o.Backfill.MaxAge = time.Duration(*age)
		o.showFlag("backfill.max-age", age.String())
	}
	if q := s.Query; q != (discovery.Query{}) {
		h := &o.Query.History
		if q.URL == "" && h.URL == nil {
			return fail("query", "url is missing")
		}
		if q.URL != "" {
			u, err := engine.ParseURL(q.URL)
			if err != nil {
				return fail("query.url", "%w", err)
			}
			if use("query.url", true) {
				h.URL = u
				o.showFlag("query.url", u.String())
			}
		}
		if q.Dialect != "" && !slices.Contains(engine.Dialects, q.Dialect) {
			return fail("query.dialect", "%q must be one of %s", q.Dialect, strings.Join(engine.Dialects, ", "))
		}
		if use("query.dialect", q.Dialect != "") {
			h.Dialect = engine.Dialect(q.Dialect)
			o.showFlag("query.dialect", q.Dialect)
		}
		if use("query.config-file", q.ConfigFile != "") {
			h.ConfigFile = q.ConfigFile
			o.showFlag("query.config-file", q.ConfigFile)
		}
	}
	return nil
}

// fromFile copies settings of cfg that cannot change once the store is open, and checks
// combinations of flags and file.
func (o *Options) fromFile(cfg *upstreamconfig.Config) error {
	file := cfg.StorageConfig.TSDBConfig // never nil: upstream's loader fills it
	switch file.ChunkEncoding.Floats {
	case upstreamconfig.FloatChunkEncodingXOR:
		o.TSDB.FloatChunkEncoding = chunkenc.EncXOR
	case upstreamconfig.FloatChunkEncodingXOR2:
		o.TSDB.FloatChunkEncoding = chunkenc.EncXOR2
	}
	if o.TSDB.EnableExemplarStorage {
		o.TSDB.MaxExemplars = cfg.StorageConfig.ExemplarsConfig.MaxExemplars
	}
	o.TSDB.OutOfOrderTimeWindow = file.OutOfOrderTimeWindow
	o.AgentDB.OutOfOrderTimeWindow = max(0, file.OutOfOrderTimeWindow)
	o.TSDB.StaleSeriesCompactionThreshold = file.StaleSeriesCompactionThreshold
	if o.Agent {
		return nil
	}
	if err := o.retain(file.Retention); err != nil {
		return err
	}
	o.boundBlocks()
	return nil
}

// fills reports whether gaps are filled. Receivers of remote write would get the samples too,
// in one batch with new ones, and most of them refuse such batches.
func (o *Options) fills(managed, remoteWrite bool) bool {
	on := o.Backfill.Mode == "on" || o.Backfill.Mode != "off" && managed && !remoteWrite
	return on && o.Backfill.MaxAge > 0 && !o.Agent && !o.Scrape.EnableTypeAndUnitLabels // labels that histories lack
}

// pushedLate is how late samples may come that a machine could not send at once.
const pushedLate = 49 * time.Hour

// outOfOrder is the least out-of-order time window of the store.
func (o *Options) outOfOrder(managed, remoteWrite bool) (window time.Duration) {
	if o.fills(managed, remoteWrite) {
		// A gap that is just young enough takes a while to fill.
		window = o.Backfill.MaxAge + time.Hour
	}
	if o.Push.Enabled {
		window = max(window, pushedLate)
	}
	return window
}

// retain applies how long samples are kept, which the flags are part of.
func (o *Options) retain(keep *upstreamconfig.TSDBRetentionConfig) error {
	if o.RetentionSet && keep.Time != o.Retention.Time {
		o.Logger.Warn("storage.tsdb.retention of the configuration file overrides the flag", "flag", o.Retention.Time, "file", keep.Time)
	}
	retention := keep.Time
	if retention < 0 { // an overflow: use the maximum
		retention, _ = model.ParseDuration("100y")
		o.Logger.Warn("Time retention value is too high; limiting it", "limit", retention)
	}
	o.TSDB.RetentionDuration = time.Duration(retention).Milliseconds()
	o.TSDB.MaxBytes, o.TSDB.MaxPercentage = int64(keep.Size), keep.Percentage
	if o.TSDB.MaxPercentage > 0 {
		if o.TSDB.MaxBytes > 0 {
			o.Logger.Warn("storage.tsdb.retention.size is ignored, because storage.tsdb.retention.percentage is specified")
		}
		if filesystemSize(o.Dir) == 0 {
			return &ConfigError{Err: fmt.Errorf("storage.tsdb.retention.percentage is %g, but the size of the file system of %q cannot be detected; use retention.size", o.TSDB.MaxPercentage, o.Dir)}
		}
	}
	return nil
}

// boundBlocks sets what limits the compaction of blocks.
func (o *Options) boundBlocks() {
	if o.TSDB.MaxBlockDuration == 0 {
		// A tenth of the retention, so that blocks leave in reasonable pieces.
		o.TSDB.MaxBlockDuration = (31 * 24 * time.Hour).Milliseconds()
		if r := o.TSDB.RetentionDuration; r != 0 {
			o.TSDB.MaxBlockDuration = min(o.TSDB.MaxBlockDuration, r/10)
		}
		o.showFlag("storage.tsdb.max-block-duration", model.Duration(o.TSDB.MaxBlockDuration*int64(time.Millisecond)).String())
	}
	if o.TSDB.EnableDelayedCompaction && (o.TSDB.CompactionDelayMaxPercent <= 0 || o.TSDB.CompactionDelayMaxPercent > 100) {
		o.Logger.Warn("--storage.tsdb.delayed-compaction.max-percent must be between 1 and 100; using the default", "default", tsdb.DefaultCompactionDelayMaxPercent)
		o.TSDB.CompactionDelayMaxPercent = tsdb.DefaultCompactionDelayMaxPercent
	}
	if o.TSDB.BlockReloadInterval < tsdb.MinBlockReloadInterval {
		o.Logger.Warn("--storage.tsdb.block-reload-interval is too short; using the minimum", "minimum", tsdb.MinBlockReloadInterval)
		o.TSDB.BlockReloadInterval = tsdb.MinBlockReloadInterval
	}
	if o.PendingUploadsFile != "" {
		o.Logger.Info("Blocks that are not yet uploaded are not compacted", "path", o.PendingUploadsFile)
		o.TSDB.BlockCompactionExcludeFunc = store.PendingUpload(o.PendingUploadsFile, o.Logger)
	}
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
