package server

import (
	"errors"
	"strings"

	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/fileutil"
	"github.com/prometheus/prometheus/util/features"

	"github.com/clanmon/clanmon/server/config"
)

// settings collects what one experimental feature can change.
type settings struct {
	*Options
	loader   *config.Options
	registry features.Collector
}

// startTimestamps makes the scrape formats that carry start timestamps the
// preferred ones and has them parsed.
func (s settings) startTimestamps() {
	s.Scrape.ParseST = true
	s.loader.ProtobufFirst = true
}

// featureFlags are the values of --enable-feature of Prometheus 3.16 and what
// each one changes.
var featureFlags = map[string]func(settings){
	"exemplar-storage":            func(s settings) { s.TSDB.EnableExemplarStorage = true; s.loader.Exemplars = true },
	"memory-snapshot-on-shutdown": func(s settings) { s.TSDB.EnableMemorySnapshotOnShutdown = true },
	"extra-scrape-metrics":        func(s settings) { s.loader.ExtraScrapeMetrics = true },
	"metadata-wal-records": func(s settings) {
		s.Scrape.AppendMetadata, s.Web.AppendMetadata = true, true
		s.TSDB.EnableMetadataWALRecords, s.AgentDB.EnableMetadataWALRecords = true, true
		s.registry.Enable(features.TSDB, "metadata_wal_records")
	},
	"promql-per-step-stats":         func(s settings) { s.Query.perStepStats = true },
	"auto-reload-config":            func(s settings) { s.AutoReload = true },
	"concurrent-rule-eval":          func(s settings) { s.Rules.concurrent = true },
	"promql-experimental-functions": func(s settings) { s.Parser.EnableExperimentalFunctions = true },
	"created-timestamp-zero-ingestion": func(s settings) {
		s.startTimestamps()
		s.Scrape.EnableStartTimestampZeroIngestion = true
		s.TSDB.EnableSTAsZeroSample, s.AgentDB.EnableSTAsZeroSample = true, true
	},
	"xor2-encoding":          func(s settings) { s.TSDB.FloatChunkEncoding = chunkenc.EncXOR2 },
	"histograms-st-encoding": func(s settings) { s.TSDB.EnableHistogramSTEncoding = true },
	"st-synthesis": func(s settings) {
		s.Scrape.SynthesizeST = true
		s.registry.Enable(features.Scrape, "st-synthesis")
	},
	"st-storage": func(s settings) {
		s.startTimestamps()
		s.TSDB.EnableSTStorage, s.AgentDB.EnableSTStorage = true, true
		s.TSDB.FloatChunkEncoding = chunkenc.EncXOR2
		s.TSDB.EnableHistogramSTEncoding = true
	},
	"use-start-timestamps":        func(s settings) { s.Query.useStartTimestamps = true },
	"delayed-compaction":          func(s settings) { s.TSDB.EnableDelayedCompaction = true },
	"promql-delayed-name-removal": func(s settings) { s.Query.delayedNameRemoval = true },
	"promql-unquoted-utf8-names":  func(s settings) { s.Parser.EnableUnquotedUTF8Names = true },
	"promql-binop-fill-modifiers": func(s settings) { s.Parser.EnableBinopFillModifiers = true },
	"otlp-deltatocumulative":      func(s settings) { s.Web.ConvertOTLPDelta = true },
	"otlp-native-delta-ingestion": func(s settings) { s.Web.NativeOTLPDeltaIngestion = true },
	"openmetrics2":                func(s settings) { s.Scrape.EnableOpenMetrics2 = true },
	"type-and-unit-labels": func(s settings) {
		s.Scrape.EnableTypeAndUnitLabels, s.Web.EnableTypeAndUnitLabels = true, true
	},
	"zstd-scrape":     func(s settings) { s.Scrape.EnableZstdScrape = true },
	"use-uncached-io": func(s settings) { s.TSDB.UseUncachedIO = true },
	"fast-startup":    func(s settings) { s.TSDB.EnableFastStartup = true },
	"search-api":      func(s settings) { s.Web.EnableSearch = true },
	"query-cost":      func(s settings) { s.Query.cost, s.Web.EnableQueryCost = true, true },

	// Accepted, and without effect: what they did is always on, or belongs to a
	// web UI that clanmon does not have.
	"promql-duration-expr":            nil,
	"promql-extended-range-selectors": nil,
	"native-histograms":               nil,
	"ooo-native-histograms":           nil,
	"old-ui":                          nil,
}

// enableFeatures applies --enable-feature. An unknown name is a warning, as in
// Prometheus, so that a flag outlives the feature's end.
func (s settings) enableFeatures() error {
	for _, list := range s.Features {
		for name := range strings.SplitSeq(list, ",") {
			enable, known := featureFlags[name]
			switch {
			case !known:
				s.Logger.Warn("Unknown option for --enable-feature", "option", name)
			case enable == nil:
				s.Logger.Warn("This option for --enable-feature has no effect", "option", name)
			default:
				enable(s)
				s.Logger.Info("Experimental feature enabled", "option", name)
			}
		}
	}
	if s.Web.ConvertOTLPDelta && s.Web.NativeOTLPDeltaIngestion {
		return errors.New("--enable-feature: otlp-deltatocumulative and otlp-native-delta-ingestion cannot be combined; remove one")
	}
	if s.TSDB.UseUncachedIO && !fileutil.UncachedIOSupported() {
		return errors.New("--enable-feature: use-uncached-io is not supported on this system")
	}
	return nil
}
