package server

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	versioncollector "github.com/prometheus/client_golang/prometheus/collectors/version"
	"github.com/prometheus/common/model"
	upstreamconfig "github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/relabel"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/rules"
	"github.com/prometheus/prometheus/scrape"
	"github.com/prometheus/prometheus/template"
	"github.com/prometheus/prometheus/tracing"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/util/features"
	"github.com/prometheus/prometheus/util/logging"
	"github.com/prometheus/prometheus/util/notifications"
	promruntime "github.com/prometheus/prometheus/util/runtime"

	finding "github.com/clanmon/clanmon/discovery"
	"github.com/clanmon/clanmon/discovery/contract"
	"github.com/clanmon/clanmon/server/api"
	"github.com/clanmon/clanmon/server/config"
	"github.com/clanmon/clanmon/server/delivery"
	"github.com/clanmon/clanmon/server/fleet"
	"github.com/clanmon/clanmon/server/ingest"
	"github.com/clanmon/clanmon/server/ruler"
	"github.com/clanmon/clanmon/server/store"
	"github.com/clanmon/clanmon/web"
)

// New builds a server from o. It is one straight story, each step using what
// the steps before it made; nothing runs when it returns, but the listeners are
// bound. Mistakes of the operator come back as a *ConfigError.
func New(o Options) (_ *Server, err error) {
	log := o.Logger
	registry := features.NewRegistry()
	o.Gatherer = store.Masked(o.Gatherer)

	// 1. What the flags say, with the experimental features among them.
	load := config.Options{File: o.ConfigFile, Agent: o.Agent, Retention: o.Retention, Discovery: o.Discovery}
	if o.LogLevel != nil {
		load.LogLevel = o.LogLevel.String()
	}
	if err := (settings{&o, &load, registry}).enableFeatures(); err != nil {
		return nil, err
	}
	o.TSDB.FeatureRegistry = registry
	promqlParser := parser.NewParser(o.Parser)
	load.Parser = promqlParser
	s := &Server{tracing: tracing.NewManager(log), stages: newStages(log)}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if s.local, err = newLocalJobs(append([]LocalJob{s.selfJob(o.Web.ListenAddresses[0])}, o.LocalJobs...), log); err != nil {
		return nil, err
	}
	s.stages.closer("local jobs", func() error { s.local.close(); return nil })
	for _, j := range s.local.jobs {
		load.Local = append(load.Local, config.LocalJob{Name: j.Name, Port: j.Port, Socket: s.local.sockets[j.Name].Addr().String()})
	}

	// 2. What the file says; the store's part of it is needed before it opens.
	loader := config.NewLoader(load)
	cfg, err := loader.Load(log)
	if err == nil {
		err = loader.Validate(cfg, log)
	}
	if flag, ok := errors.AsType[*config.FlagError](err); ok {
		return nil, &ConfigError{Err: flag}
	}
	if err != nil {
		return nil, &ConfigError{File: loader.Path(), Err: err}
	}
	if err := o.fromFile(cfg); err != nil {
		return nil, err
	}
	o.defaultOrigins(loader.Managed())

	mode, appName := "server", "Prometheus Server"
	if o.Agent {
		mode, appName = "agent", "Prometheus Agent"
	}
	log.Info("Starting clanmon "+mode, "mode", mode, "version", o.ClanmonVersion, "commit", o.ClanmonCommit, "prometheus", o.Web.Version.Version)
	log.Info("Operational information", "host_details", promruntime.Uname(), "fd_limits", promruntime.FdLimits(), "vm_limits", promruntime.VMLimits())
	registry.Set(features.Prometheus, "agent_mode", o.Agent)
	registry.Set(features.Prometheus, "server_mode", !o.Agent)
	registry.Set(features.Prometheus, "auto_reload_config", o.AutoReload)
	registry.Enable(features.Prometheus, labels.ImplementationName)
	template.RegisterFeatures(registry)
	o.Registerer.MustRegister(versioncollector.NewCollector("prometheus"), buildInfo(o))

	s.opts, s.loader = o, loader
	// Before the store opens: reading a long WAL is when memory grows most.
	if err := s.applyGOGC(cfg); err != nil {
		return nil, err
	}
	s.notifications = notifications.NewNotifications(o.MaxNotificationsSubscribers, o.Registerer)
	s.notifications.AddNotification(notifications.StartingUp)

	// 3. The store, and who writes to it. Remote write asks for the metadata of
	// active targets, so it is told of the scrapes once they exist.
	scrapes := &lateScrapes{}
	if err := store.CheckDir(o.Dir); err != nil {
		return nil, err
	}
	s.store = store.New(store.Options{
		Dir: o.Dir, Agent: o.Agent, TSDB: o.TSDB, AgentDB: o.AgentDB,
		FlushDeadline:           o.RemoteFlushDeadline,
		Gatherer:                o.Gatherer,
		EnableTypeAndUnitLabels: o.Scrape.EnableTypeAndUnitLabels,
		Scrapes:                 scrapes,
		Registerer:              o.Registerer,
		Logger:                  log,
	})
	s.stages.closer("store", s.store.Close)
	sdMetrics, err := discovery.CreateAndRegisterSDMetrics(o.Registerer)
	if err != nil {
		return nil, err
	}
	o.Scrape.FeatureRegistry = registry
	s.fleet = fleet.New(fleet.Options{
		Discovered: loader.Discovered,
		Methods:    finding.Methods, Written: loader.Written,
		Status:  func() []contract.Status { return reports(sdMetrics, contract.Reporter.Status) },
		Refused: func() []contract.Refused { return reports(sdMetrics, contract.Reporter.Refused) },
		Targets: func() map[string][]*scrape.Target { return s.ingest.Scrapes().TargetsActive() },
		Query:   s.machineQuery(), Store: s.machineStore(),
		Alerts: s.machineAlerts, Silences: s.machineSilences, Rules: s.machineRules,
		Storage: s.machineStorage, Receivers: s.receivers, Agent: o.Agent,
		Inhibitions: func(sources []model.LabelSet) func(model.LabelSet) string { return s.delivery.Inhibitions(sources) },
		Dir:         o.Dir, HTTPClientOptions: o.Scrape.HTTPClientOptions, Dial: s.local.dial,
		Registerer: o.Registerer, Logger: log.With("component", "fleet"),
	})
	arrivals := store.NewArrivals(s.store)
	limits := o.Limits
	limits.Discovered = loader.Discovered
	s.ingest, err = ingest.New(ingest.Options{
		Scrape: o.Scrape, Limits: limits, Appendable: arrivals, Merger: s.fleet,
		SDMetrics: sdMetrics, Features: registry, Registerer: o.Registerer, Logger: log,
	})
	if err != nil {
		return nil, err
	}
	s.stages.closer("ingest", s.ingest.Close)
	scrapes.manager.Store(s.ingest.Scrapes())

	// 4. Who alerts, and who is told.
	d := o.Delivery
	d.Notifier, d.NameScheme = o.Notifier, cfg.GlobalConfig.MetricNameValidationScheme
	d.SDMetrics, d.Features, d.Registerer, d.Logger = sdMetrics, registry, o.Registerer, log
	d.OutsideOnly, d.Dir, d.ExternalURL = o.Agent, o.Dir, o.Web.ExternalURL
	d.Shipped = func(alertname string) bool { return s.ruler.IsShipped(alertname) }
	s.delivery, err = delivery.New(d)
	if errors.Is(err, delivery.ErrConfig) {
		return nil, &ConfigError{Err: err}
	}
	if err != nil {
		return nil, err
	}
	s.stages.closer("delivery", s.delivery.Close)
	s.vitals = newVitals(s.store.Health, func() map[string][]*scrape.Target { return s.ingest.Scrapes().TargetsActive() }, s.fleet.Tagger(s.delivery))
	var subqueryStep atomic.Int64 // milliseconds; follows evaluation_interval
	subqueryStep.Store(time.Duration(upstreamconfig.DefaultGlobalConfig.EvaluationInterval).Milliseconds())
	var ruleQueryOffset atomic.Int64 // nanoseconds; follows rule_query_offset
	if !o.Agent {
		tracker, err := promql.NewActiveQueryTracker(o.Dir, o.Query.Concurrency, log.With("component", "activeQueryTracker"))
		if err != nil {
			return nil, fmt.Errorf("active query log in %q: %w", o.Dir, err)
		}
		s.engine = promql.NewEngine(promql.EngineOpts{
			Logger: log.With("component", "query engine"), Reg: o.Registerer,
			MaxSamples: o.Query.MaxSamples, Timeout: o.Query.Timeout, LookbackDelta: o.Query.Lookback,
			ActiveQueryTracker:       tracker,
			NoStepSubqueryIntervalFn: func(int64) int64 { return subqueryStep.Load() },
			EnableAtModifier:         true,
			EnableNegativeOffset:     true,
			EnablePerStepStats:       o.Query.perStepStats,
			EnableDelayedNameRemoval: o.Query.delayedNameRemoval,
			EnableTypeAndUnitLabels:  o.Scrape.EnableTypeAndUnitLabels,
			UseStartTimestamps:       o.Query.useStartTimestamps,
			EnableQueryCost:          o.Query.cost,
			FeatureRegistry:          registry,
			Parser:                   promqlParser,
		})
		s.stages.closer("query engine", s.engine.Close)
		shipped, err := ruler.NewShipped(o.Rules.Shipped)
		if err != nil {
			return nil, &ConfigError{Err: err}
		}
		s.ruler = ruler.New(rules.ManagerOptions{
			NameValidationScheme: cfg.GlobalConfig.MetricNameValidationScheme,
			AppendableV2:         s.store, Queryable: s.store.Local(),
			QueryFunc:   rules.EngineQueryFunc(s.engine, s.store),
			ExternalURL: o.Web.ExternalURL, Registerer: o.Registerer, Logger: log.With("component", "rule manager"),
			OutageTolerance: o.Rules.OutageTolerance, ForGracePeriod: o.Rules.ForGracePeriod, ResendDelay: o.Rules.ResendDelay,
			MaxConcurrentEvals: o.Rules.MaxConcurrentEvals, ConcurrentEvalsEnabled: o.Rules.concurrent,
			DefaultRuleQueryOffset: func() time.Duration { return time.Duration(ruleQueryOffset.Load()) },
			FeatureRegistry:        registry, Parser: promqlParser,
		}, shipped, s.vitals, ruler.Observed{Stored: arrivals.Last, Machines: s.scrapedMachines})
	}

	// 5. HTTP, which reads from all of them.
	w := o.Web
	w.Registerer, w.Gatherer, w.FeatureRegistry = o.Registerer, o.Gatherer, registry
	w.IsAgent, w.AppName, w.Parser = o.Agent, appName, promqlParser
	w.TSDBDir, w.LookbackDelta, w.QueryTimeout = o.Dir, o.Query.Lookback, o.Query.Timeout
	w.TSDBRetentionDuration, w.TSDBMaxBytes, w.TSDBMaxPercentage = cfg.StorageConfig.TSDBConfig.Retention.Time, cfg.StorageConfig.TSDBConfig.Retention.Size, cfg.StorageConfig.TSDBConfig.Retention.Percentage
	w.LocalStorage, w.Storage, w.ExemplarStorage = s.store.Local(), s.store, s.store.Local()
	w.QueryEngine, w.ScrapeManager, w.Notifier = s.engine, s.ingest.Scrapes(), s.delivery.Notifier()
	if s.ruler != nil {
		w.RuleManager = s.ruler.Manager()
	}
	w.NotificationsGetter, w.NotificationsSub = s.notifications.Get, s.notifications.Sub
	page := web.Options{PathPrefix: w.ExternalURL.Path, PageTitle: w.PageTitle, Version: o.ClanmonVersion, Agent: o.Agent}
	ui, uiPaths := web.Handler(page), web.Paths(o.Agent)
	if o.DevProxy != nil {
		log.Warn("The pages come from a development server; nothing protects browsers from what it sends", "url", o.DevProxy.Redacted())
		ui, uiPaths = web.DevHandler(o.DevProxy, page), web.DevPaths(o.Agent)
	}
	s.api = api.New(api.Deps{
		Options: w, Engine: s.engine, Appendable: arrivals,
		UI: ui, UIPaths: uiPaths,
		AllowedHosts: o.AllowedHosts, KnownHost: s.fleet.Knows, Writes: o.Writes,
		Waiting:       func() string { return s.store.Health().Waiting },
		Mounts:        s.mounts(),
		WebConfigFile: o.WebConfigFile, SystemdSocket: o.SystemdSocket,
		Logger: log.With("component", "web"),
	})

	// 6. Who follows the configuration, in this order: scrapes and notifier
	// before their discovery, for they need to know a job when targets arrive.
	s.reloads = newReloadMetrics(o.Registerer)
	s.appliers = []applier{
		{"db_storage", s.store.ApplyConfig},
		{"remote_storage", func(c *upstreamconfig.Config) error {
			if o.Agent && len(c.RemoteWriteConfigs) == 0 {
				log.Warn("An agent without remote_write sends nowhere what it scrapes; name a receiver in the configuration file", "file", loader.Name())
			}
			return s.store.ApplyRemote(c)
		}},
		{"web_handler", s.api.ApplyConfig},
		{"query_engine", func(c *upstreamconfig.Config) error {
			subqueryStep.Store(time.Duration(c.GlobalConfig.EvaluationInterval).Milliseconds())
			ruleQueryOffset.Store(int64(c.GlobalConfig.RuleQueryOffset))
			if s.engine != nil && o.Query.cost {
				s.engine.SetQueryLimits(c.GlobalConfig.QueryMaxSeries, c.GlobalConfig.QueryMaxSamplesRead, time.Duration(c.GlobalConfig.QueryMaxDuration))
			}
			return setQueryLog(s.engine, c.GlobalConfig.QueryLogFile)
		}},
		{"fleet", s.fleet.ApplyConfig},
		{"scrape", s.ingest.ApplyScrapes},
		{"scrape_sd", s.ingest.ApplyDiscovery},
		{"notify", s.delivery.ApplyConfig},
		{"notify_sd", s.delivery.ApplyDiscovery},
		{"rules", func(c *upstreamconfig.Config) error {
			if s.ruler == nil {
				return nil
			}
			return s.ruler.ApplyConfig(c, s.withShippedRules())
		}},
		{"alertmanager", func(*upstreamconfig.Config) error {
			if s.ruler == nil {
				return nil
			}
			return s.delivery.ApplyAlertmanager(s.ruler.ShippedAlerts())
		}},
		{"tracing", s.tracing.ApplyConfig},
		{"runtime", s.applyRuntime},
	}
	s.stages.closer("api", s.api.Close)
	return s, s.api.Listen()
}

// mounts are the parts of the API that the rooms themselves serve.
func (s *Server) mounts() map[string]http.Handler {
	m := map[string]http.Handler{
		"/api/clanmon/v1":              s.fleet.Handler(),
		"/api/clanmon/v1/remote-write": s.store.RemoteWriteHandler(),
		"/api/clanmon/v1/storage":      s.storageHandler(),
	}
	if h := s.delivery.Handler(); h != nil {
		m["/api/v2"] = h
		m["/api/clanmon/v1/receivers"] = s.delivery.ReceiversHandler()
		m["/api/clanmon/v1/notifications"] = s.delivery.NotificationsHandler()
		m["/api/clanmon/v1/shipped-rules"] = s.ruler.ShippedHandler()
	}
	return m
}

// scrapedMachines are those that targets of this server belong to.
func (s *Server) scrapedMachines() map[string]bool {
	own := make(map[string]bool)
	for _, targets := range s.ingest.Scrapes().TargetsActive() {
		for _, t := range targets {
			own[t.GetValue(contract.MachineLabel)] = true
		}
	}
	return own
}

// withShippedRules tells whether the rules in the binary are evaluated.
func (s *Server) withShippedRules() bool {
	switch s.opts.Rules.Builtin {
	case "on":
		return true
	case "off":
		return false
	}
	return s.loader.Managed()
}

// defaultOrigins chooses whose pages may read the API in a browser, where no flag says
// so: everybody's in a drop-in for Prometheus, as there; elsewhere nobody's.
func (o *Options) defaultOrigins(managed bool) {
	const flag = "web.cors.origin"
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
	if _, ok := o.Web.Flags[flag]; ok { // shows what is in force
		o.Web.Flags[flag] = shown
	}
}

const maxBlockFlag = "storage.tsdb.max-block-duration"

// fromFile takes from cfg what is fixed once the store is open, and checks what
// only the two together can show.
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

	if o.RetentionSet && file.Retention.Time != o.Retention.Time {
		o.Logger.Warn("The configuration file's storage.tsdb.retention wins over the flag", "flag", o.Retention.Time, "file", file.Retention.Time)
	}
	retention := file.Retention.Time
	if retention < 0 { // an overflow: as long as anybody can mean
		retention, _ = model.ParseDuration("100y")
		o.Logger.Warn("Time retention value is too high; limiting it", "limit", retention)
	}
	o.TSDB.RetentionDuration = time.Duration(retention).Milliseconds()
	o.TSDB.MaxBytes, o.TSDB.MaxPercentage = int64(file.Retention.Size), file.Retention.Percentage
	if o.TSDB.MaxPercentage > 0 {
		if o.TSDB.MaxBytes > 0 {
			o.Logger.Warn("storage.tsdb.retention.size is ignored, because storage.tsdb.retention.percentage is specified")
		}
		if filesystemSize(o.Dir) == 0 {
			return &ConfigError{Err: fmt.Errorf("storage.tsdb.retention.percentage is %g, but the size of the file system of %q cannot be detected; use retention.size", o.TSDB.MaxPercentage, o.Dir)}
		}
	}
	if o.TSDB.MaxBlockDuration == 0 {
		// A tenth of the retention, so that blocks leave in reasonable pieces.
		o.TSDB.MaxBlockDuration = (31 * 24 * time.Hour).Milliseconds()
		if r := o.TSDB.RetentionDuration; r != 0 {
			o.TSDB.MaxBlockDuration = min(o.TSDB.MaxBlockDuration, r/10)
		}
		if _, ok := o.Web.Flags[maxBlockFlag]; ok { // shows what is in force
			o.Web.Flags[maxBlockFlag] = model.Duration(o.TSDB.MaxBlockDuration * int64(time.Millisecond)).String()
		}
	}
	if o.TSDB.EnableDelayedCompaction && (o.TSDB.CompactionDelayMaxPercent <= 0 || o.TSDB.CompactionDelayMaxPercent > 100) {
		o.Logger.Warn("--storage.tsdb.delayed-compaction.max-percent has to be between 1 and 100; using the default", "default", tsdb.DefaultCompactionDelayMaxPercent)
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
	return nil
}

// setQueryLog opens or closes the query log; an agent has no engine.
func setQueryLog(engine *promql.Engine, file string) error {
	switch {
	case engine == nil:
		return nil
	case file == "":
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

// reports are what clanmon's own discovery mechanisms say of themselves.
func reports[T any](m *discovery.SDMetrics, ask func(contract.Reporter) []T) []T {
	var all []T
	for _, name := range slices.Sorted(maps.Keys(m.MechanismMetrics)) {
		if r, ok := m.MechanismMetrics[name].(contract.Reporter); ok {
			all = append(all, ask(r)...)
		}
	}
	return all
}

// lateScrapes gives remote write the scrape manager, which is made after it.
type lateScrapes struct {
	manager atomic.Pointer[scrape.Manager]
}

func (l *lateScrapes) Get() (*scrape.Manager, error) {
	if m := l.manager.Load(); m != nil {
		return m, nil
	}
	return nil, errors.New("scrape manager not ready")
}
