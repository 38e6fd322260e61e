package server

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	upstreamconfig "github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/rules"
	"github.com/prometheus/prometheus/util/features"
	"github.com/prometheus/prometheus/util/logging"

	"github.com/clanmon/clanmon/server/delivery"
	"github.com/clanmon/clanmon/server/elsewhere"
	"github.com/clanmon/clanmon/server/engine"
	"github.com/clanmon/clanmon/server/fleet"
	"github.com/clanmon/clanmon/server/internal/resultcache"
)

// queryDefaults are defaults of queries that follow the configuration.
type queryDefaults struct {
	subqueryStep    atomic.Int64 // milliseconds; evaluation_interval
	ruleQueryOffset atomic.Int64 // nanoseconds; rule_query_offset
}

// newEngine makes the engine for rules, and for queries that are not cached. It also makes
// the one for queries of this server itself, which neither the query log nor metrics show:
// users read there what they and their rules cost.
func (s *Server) newEngine(p parser.Parser, registry features.Collector) (*promql.Engine, error) {
	o := &s.opts
	s.subqueryStep.Store(time.Duration(upstreamconfig.DefaultGlobalConfig.EvaluationInterval).Milliseconds())
	tracker, err := promql.NewActiveQueryTracker(o.Dir, o.Query.Concurrency, o.Logger.With("component", "activeQueryTracker"))
	if err != nil {
		return nil, fmt.Errorf("active query log in %q: %w", o.Dir, err)
	}
	opts := promql.EngineOpts{
		Logger:     o.Logger.With("component", "query engine"),
		MaxSamples: o.Query.MaxSamples, Timeout: o.Query.Timeout, LookbackDelta: o.Query.Lookback,
		NoStepSubqueryIntervalFn: func(int64) int64 { return s.subqueryStep.Load() },
		EnableAtModifier:         true,
		EnableNegativeOffset:     true,
		EnablePerStepStats:       o.Query.perStepStats,
		EnableDelayedNameRemoval: o.Query.delayedNameRemoval,
		EnableTypeAndUnitLabels:  o.Scrape.EnableTypeAndUnitLabels,
		UseStartTimestamps:       o.Query.useStartTimestamps,
		EnableQueryCost:          o.Query.cost,
		Parser:                   p,
	}
	s.own = promql.NewEngine(opts)
	opts.Reg, opts.ActiveQueryTracker, opts.FeatureRegistry = o.Registerer, tracker, registry
	return promql.NewEngine(opts), nil
}

// ruleOptions are the settings of the rule manager. What it works with is missing.
func (s *Server) ruleOptions(cfg *upstreamconfig.Config) rules.ManagerOptions {
	o := &s.opts
	return rules.ManagerOptions{
		NameValidationScheme: cfg.GlobalConfig.MetricNameValidationScheme,
		ExternalURL:          s.ruleURL, Registerer: o.Registerer, Logger: o.Logger.With("component", "rule manager"),
		OutageTolerance: o.Rules.OutageTolerance, ForGracePeriod: o.Rules.ForGracePeriod, ResendDelay: o.Rules.ResendDelay,
		MaxConcurrentEvals: o.Rules.MaxConcurrentEvals, ConcurrentEvalsEnabled: o.Rules.concurrent,
		DefaultRuleQueryOffset: func() time.Duration { return time.Duration(s.ruleQueryOffset.Load()) },
	}
}

// applyQueries follows what the configuration says about queries.
func (s *Server) applyQueries(c *upstreamconfig.Config) error {
	global := &c.GlobalConfig
	s.subqueryStep.Store(time.Duration(global.EvaluationInterval).Milliseconds())
	s.ruleQueryOffset.Store(int64(global.RuleQueryOffset))
	if s.engine == nil { // in agent mode
		return nil
	}
	if s.opts.Query.cost {
		s.engine.SetQueryLimits(global.QueryMaxSeries, global.QueryMaxSamplesRead, time.Duration(global.QueryMaxDuration))
	}
	s.configureCache(c)
	if s.history != nil {
		s.history.SetExternalLabels(global.ExternalLabels)
	}
	return setQueryLog(s.engine, global.QueryLogFile)
}

// cachingEngine is the engine for clients. Three experimental features exclude the
// cache: start timestamps that become samples before those that the store is given,
// names that are removed at the end of an evaluation, and costs that a cache would hide.
func (s *Server) cachingEngine(p parser.Parser) promql.QueryEngine {
	o := s.opts
	if s.engine == nil {
		return s.engine
	}
	if o.Query.ResultCacheSize <= 0 || o.TSDB.EnableSTAsZeroSample || o.Query.delayedNameRemoval || o.Query.cost {
		return s.engine
	}
	s.results = resultcache.New(resultcache.Options{
		Engine: s.engine, Parser: p, Source: s.store.Local(),
		Size: int64(o.Query.ResultCacheSize), MaxSamples: o.Query.MaxSamples, Registerer: o.Registerer,
	})
	s.store.Watch(s.results)
	return s.results
}

// newHistory makes what reads history from another engine; nil without --query.url.
func (s *Server) newHistory(p parser.Parser) (*engine.Engine, error) {
	o := &s.opts
	if o.Query.History.URL == nil {
		if o.Query.History.ConfigFile != "" {
			return nil, &ConfigError{Err: errors.New("--query.config-file needs --query.url")}
		}
		return nil, nil
	}
	h, err := engine.New(engine.Options{
		Settings: o.Query.History, Parser: p, MaxSamples: o.Query.MaxSamples,
		Local: s.store.Local(), Oldest: s.store.Local().Oldest, ReplicaLabels: delivery.ReplicaLabels,
		Registerer: o.Registerer, Logger: o.Logger.With("component", "history"),
	})
	if err != nil {
		return nil, &ConfigError{Err: err}
	}
	return h, nil
}

// newElsewhere makes what finds the machines of other servers in the engine of --query.url.
func (s *Server) newElsewhere() *elsewhere.Elsewhere {
	o := elsewhere.Options{
		Replica: delivery.ReplicaLabels,
		Own:     s.fleet.States, Severity: fleet.Severity,
		NotReached: engine.NotReached, Incomplete: engine.Incomplete,
		Logger: s.opts.Logger.With("component", "elsewhere"),
	}
	for _, f := range fleet.Figures() {
		o.Figures = append(o.Figures, elsewhere.Figure(f))
	}
	if s.history != nil {
		o.Query, o.External = s.history.Instant, s.history.ExternalLabels
		o.ShortSighted = s.opts.Query.History.Dialect == engine.Mimir
	}
	return elsewhere.New(o)
}

// configureCache forgets what depends on the configuration. Nobody knows when samples
// change that are read from elsewhere, and a query log has every query, as it was asked.
func (s *Server) configureCache(c *upstreamconfig.Config) {
	if s.results != nil {
		s.results.Configure(len(c.RemoteReadConfigs) > 0 || c.GlobalConfig.QueryLogFile != "")
	}
}

// setQueryLog opens or closes the query log.
func setQueryLog(engine *promql.Engine, file string) error {
	if file == "" {
		engine.SetQueryLogger(nil)
		return nil
	}
	l, err := logging.NewJSONFileLogger(file)
	if err != nil {
		return fmt.Errorf("global.query_log_file: %w", err)
	}
	engine.SetQueryLogger(l)
	return nil
}
