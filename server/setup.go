package server

import (
	"errors"
	"net/http"
	"slices"

	"github.com/prometheus/common/model"
	upstreamconfig "github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/rules"
	"github.com/prometheus/prometheus/tracing"
	"github.com/prometheus/prometheus/util/features"
	"github.com/prometheus/prometheus/util/notifications"

	finding "github.com/clanmon/clanmon/discovery"
	checkdefs "github.com/clanmon/clanmon/discovery/checks"
	"github.com/clanmon/clanmon/discovery/contract"
	"github.com/clanmon/clanmon/server/api"
	"github.com/clanmon/clanmon/server/boards"
	"github.com/clanmon/clanmon/server/capacity"
	"github.com/clanmon/clanmon/server/checks"
	"github.com/clanmon/clanmon/server/config"
	"github.com/clanmon/clanmon/server/delivery"
	"github.com/clanmon/clanmon/server/events"
	"github.com/clanmon/clanmon/server/fleet"
	"github.com/clanmon/clanmon/server/ingest"
	"github.com/clanmon/clanmon/server/internal/querylimit"
	"github.com/clanmon/clanmon/server/look"
	"github.com/clanmon/clanmon/server/ruler"
	"github.com/clanmon/clanmon/server/store"
	"github.com/clanmon/clanmon/server/store/backup"
	"github.com/clanmon/clanmon/server/uptime"
)

// builder is a Server while New builds it, with what is only needed then.
type builder struct {
	*Server

	features  features.Collector
	parser    parser.Parser
	config    *upstreamconfig.Config // the first; a reload reads it again
	scrapes   lateScrapes
	sdMetrics *discovery.SDMetrics
	arrivals  *store.Arrivals
}

// New builds a server from o. When it returns nothing runs yet, but the listeners are
// bound. Configuration errors are of type *ConfigError.
func New(o Options) (_ *Server, err error) {
	o.Gatherer = store.Masked(o.Gatherer)
	ruleURL := o.Web.ExternalURL
	o.Web.ExternalURL = withoutUser(ruleURL)
	s := &Server{opts: o, ruleURL: ruleURL, tracing: tracing.NewManager(o.Logger), stages: newStages(o.Logger)}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	b := &builder{Server: s, features: features.NewRegistry()}
	for _, step := range []func() error{ // each uses only what earlier ones created
		b.openLocalJobs,
		b.readConfiguration,
		b.openStore,
		b.findMachines,
		b.scrape,
		b.deliverAlerts,
		b.evaluateRules,
		b.serveHTTP,
	} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return s, s.api.Listen()
}

// openLocalJobs makes what this process serves to itself. It is first, because the
// configuration names its sockets.
func (b *builder) openLocalJobs() (err error) {
	o := &b.opts
	b.checks = checks.New(checks.Options{
		Query: b.checkQuery, Store: b.machineStore, Logger: o.Logger.With("component", "checks"),
		Exporter: func(machine string) (string, *http.Client, error) { return b.fleet.Exporter(checkdefs.Job, machine) },
	})
	served := slices.Concat([]LocalJob{b.selfJob(o.Web.ListenAddresses[0])}, o.LocalJobs, []LocalJob{{Name: checkdefs.Pool, Handler: b.checks.Handler()}})
	if b.local, err = newLocalJobs(served, o.Logger); err != nil {
		return err
	}
	b.stages.closer("local jobs", b.local.Close)
	return nil
}

func (b *builder) readConfiguration() (err error) {
	o := &b.opts
	if err := o.readSettings(); err != nil {
		return &ConfigError{Err: err}
	}
	load := config.Options{
		File: o.ConfigFile, Agent: o.Agent, Retention: o.Retention, Discovery: o.Discovery,
		Replica: o.Delivery.Replica, ReplicaLabels: delivery.ReplicaLabels,
		RemoteWrite: o.RemoteWrite, ExternalLabels: o.ExternalLabels, OutOfOrder: o.outOfOrder,
	}
	load.Local, load.Checks = b.local.configured()
	if o.LogLevel != nil {
		load.LogLevel = o.LogLevel.String()
	}
	if err := (settings{o, &load, b.features}).enableFeatures(); err != nil {
		return err
	}
	b.parser = parser.NewParser(o.Parser)
	load.Parser = b.parser
	b.loader = config.NewLoader(load)
	if b.config, err = firstConfig(b.loader, o.Logger); err != nil {
		return err
	}
	if err := o.fromFile(b.config); err != nil {
		return err
	}
	if b.started = b.loader.Server(); b.started.Look {
		o.Look = true
		o.showFlag("look", "true")
	}
	o.defaultOrigins(b.loader.Managed())
	if b.loader.Managed() { // elsewhere Prometheus' feature flag decides
		o.TSDB.EnableMemorySnapshotOnShutdown = true
	}
	o.introduce(b.features)
	b.gogc = b.config.Runtime.GoGC
	b.reloads = newReloadMetrics(o.Registerer)
	b.notifications = notifications.NewNotifications(o.MaxNotificationsSubscribers, o.Registerer)
	b.notifications.AddNotification(notifications.StartingUp)
	return nil
}

func (b *builder) openStore() (err error) {
	o := &b.opts
	o.TSDB.FeatureRegistry = b.features
	b.store, err = store.New(store.Options{
		Dir: o.Dir, Agent: o.Agent, TSDB: o.TSDB, AgentDB: o.AgentDB,
		FlushDeadline:           o.RemoteFlushDeadline,
		EnableTypeAndUnitLabels: o.Scrape.EnableTypeAndUnitLabels,
		Version:                 o.Web.Version.Version,
		Scrapes:                 &b.scrapes,
		Registerer:              o.Registerer,
		Logger:                  o.Logger,
	})
	if err != nil {
		return err
	}
	b.stages.closer("store", b.store.Close)
	b.backup = &backup.Server{Dir: o.Dir, Snapshot: b.store.Snapshot, Logger: o.Logger.With("component", "backup")}
	b.arrivals = store.NewArrivals(b.store)
	b.jobs, err = b.newJobs()
	return err
}

func (b *builder) findMachines() (err error) {
	o := &b.opts
	if b.sdMetrics, err = discovery.CreateAndRegisterSDMetrics(o.Registerer); err != nil {
		return err
	}
	b.fleet = fleet.New(fleet.Options{
		Discovered: b.loader.Discovered,
		Methods:    finding.Methods, Written: b.loader.Written,
		Status:  func() []contract.Status { return reports(b.sdMetrics, contract.Reporter.Status) },
		Refused: func() []contract.Refused { return reports(b.sdMetrics, contract.Reporter.Refused) },
		Targets: b.targets,
		Query:   b.machineQuery(), Store: b.machineStore(),
		Alerts: b.machineAlerts, Silences: b.machineSilences, Rules: b.machineRules,
		Storage: b.machineStorage, Receivers: b.receivers, Agent: o.Agent, Peers: b.peers, Quiet: b.quiet,
		FullIn: b.machineFullIn,
		Pushed: b.pushed, ForgetPushed: func(machine, job, instance string) { b.push.Forget(machine, job, instance) },
		Inhibitions: func(sources []model.LabelSet) func(model.LabelSet) string { return b.delivery.Inhibitions(sources) },
		Dir:         o.Dir, SetAside: b.store.SetAside, HTTPClientOptions: o.Scrape.HTTPClientOptions, Dial: b.local.dial,
		Registerer: o.Registerer, Logger: o.Logger.With("component", "fleet"),
	})
	b.look = look.New(look.Options{
		Enabled: o.Look, Exporters: b.scrapedExporters,
		HTTPClientOptions: o.Scrape.HTTPClientOptions, Dial: b.local.dial, Logger: o.Logger.With("component", "look"),
	})
	b.boards = boards.New(boards.Options{Dir: o.Dir, Files: b.boardFiles, Logger: o.Logger.With("component", "boards")})
	b.boards.LogBroken()
	b.events = events.New(events.Options{
		Store: b.eventStore(), Blocks: b.store.Blocks, Whose: b.fleet.Whose, Silences: b.eventSilences, Select: b.machineSeries,
		Dir: o.Dir, Knows: b.isMachine, Logger: o.Logger.With("component", "events"),
	})
	if !o.Agent {
		b.uptime = uptime.New(uptime.Options{
			Store: b.store.Local(), Oldest: b.store.Local().StartTime, Whose: b.fleet.Whose, Maintenance: b.maintenance,
			Dir: o.Dir, SetAside: b.store.SetAside, Logger: o.Logger.With("component", "uptime"),
		})
	}
	return nil
}

func (b *builder) scrape() (err error) {
	o := &b.opts
	o.Scrape.FeatureRegistry = b.features
	o.Scrape.DiscoveryReloadOnStartup = true // or the first scrape waits until targets may change again
	o.Limits.Discovered = b.loader.Discovered
	b.ingest, err = ingest.New(ingest.Options{
		Scrape: o.Scrape, Limits: o.Limits, Appendable: b.arrivals, Merger: b.fleet,
		SDMetrics: b.sdMetrics, Features: b.features, Registerer: o.Registerer, Logger: o.Logger,
	})
	if err != nil {
		return err
	}
	b.stages.closer("ingest", b.ingest.Close)
	b.scrapes.manager.Store(b.ingest.Scrapes())
	if o.Push.Enabled {
		b.push = b.newPush(b.arrivals)
	}
	b.backfill = b.newBackfill(len(b.config.RemoteWriteConfigs) > 0)
	return nil
}

func (b *builder) deliverAlerts() (err error) {
	o := &b.opts
	d := o.Delivery
	d.Notifier, d.NameScheme = o.Notifier, b.config.GlobalConfig.MetricNameValidationScheme
	d.SDMetrics, d.Features, d.Registerer, d.Logger = b.sdMetrics, b.features, o.Registerer, o.Logger
	d.About = b.about
	d.Plan, d.Digest = b.loader.Plan, b.writeDigest
	d.OutsideOnly, d.Dir, d.SetAside, d.ExternalURL = o.Agent, o.Dir, b.store.SetAside, o.Web.ExternalURL
	if !o.Agent { // which has no rules
		d.Shipped = func(alertname string) bool { return b.ruler.IsShipped(alertname) }
		d.Rules = func() []*rules.Group { return b.ruler.Manager().RuleGroups() }
	}
	b.delivery, err = delivery.New(d)
	if errors.Is(err, delivery.ErrConfig) {
		return &ConfigError{Err: err}
	}
	if err != nil {
		return err
	}
	b.stages.closer("delivery", b.delivery.Close)
	b.vitals = newVitals(o.Web.ExternalURL.String(), b.store.Health, b.targets, b.fleet.Tagger(b.delivery))
	return nil
}

// evaluateRules makes what evaluates PromQL, for rules and for queries.
func (b *builder) evaluateRules() (err error) {
	o := &b.opts
	if o.Agent {
		return nil
	}
	if b.engine, err = b.newEngine(b.parser, b.features); err != nil {
		return err
	}
	b.stages.closer("query engine", b.engine.Close)
	shipped, err := ruler.NewShipped(o.Rules.Shipped)
	if err != nil {
		return &ConfigError{Err: err}
	}
	m := b.ruleOptions(b.config)
	m.AppendableV2, m.Queryable, m.QueryFunc = b.store, b.store.Local(), rules.EngineQueryFunc(b.engine, b.store)
	m.FeatureRegistry, m.Parser = b.features, b.parser
	b.capacity = capacity.New(capacity.Options{
		Query: b.machineQuery(), Volumes: shipped.Unlabelled("volume:avail:bytes"), Whose: b.fleet.Whose, Storage: b.storageRoom,
	})
	if b.traffic, err = b.newTraffic(shipped.Quota()); err != nil {
		return err
	}
	b.ruler = ruler.New(m, shipped, b.vitals, ruler.Observed{Stored: b.arrivals.Last, Machines: b.scrapedMachines, FullIn: b.capacity.FullIn, Traffic: b.traffic.Records})
	b.stages.closer("ruler", b.ruler.Close)
	return nil
}

func (b *builder) serveHTTP() error {
	o := &b.opts
	limits := querylimit.Limits{Length: int(o.Query.MaxLength), Nesting: o.Query.MaxNesting}
	w := o.webOptions(b.config)
	w.FeatureRegistry, w.Parser = b.features, limits.Parser(b.parser)
	w.LocalStorage, w.Storage, w.ExemplarStorage = b.store.Local(), b.store, b.store.Local()
	queries := b.cachingEngine(b.parser)
	var err error
	if b.history, err = b.newHistory(b.parser); err != nil {
		return err
	}
	if b.history != nil {
		queries, w.Storage = b.history.QueryEngine(queries), b.history.Storage(b.store)
	}
	b.others = b.newElsewhere()
	w.QueryEngine, w.ScrapeManager, w.Notifier = b.engine, b.ingest.Scrapes(), b.delivery.Notifier()
	if b.ruler != nil {
		w.RuleManager = b.ruler.Manager()
	}
	w.NotificationsGetter, w.NotificationsSub = b.notifications.Get, b.notifications.Sub
	ui, uiPaths := o.pages()
	identified, err := b.identities(w)
	if err != nil {
		return err
	}
	b.api = api.New(api.Deps{
		Options: w, Engine: limits.Engine(queries), Appendable: b.arrivals,
		UI: ui, UIPaths: uiPaths,
		AllowedHosts: o.AllowedHosts, KnownHost: b.fleet.Knows, Identity: identified, Writes: o.Writes,
		Waiting:       func() string { return b.store.Health().Waiting },
		Progress:      b.store.Progress,
		Mounts:        b.mounts,
		FleetVersion:  b.fleet.Version,
		Pings:         b.jobs.PingHandler(),
		WebConfigFile: o.WebConfigFile, SystemdSocket: o.SystemdSocket,
		Logger: o.Logger.With("component", "web"),
	})
	b.stages.closer("api", b.api.Close)
	b.stages.closer("elsewhere", b.others.Close)
	return nil
}

// mounts are the endpoints that the rooms serve themselves.
func (s *Server) mounts() map[string]http.Handler {
	m := map[string]http.Handler{
		"/api/clanmon/v1":              s.fleet.Handler(),
		"/api/clanmon/v1/remote-write": s.store.RemoteWriteHandler(),
		"/api/clanmon/v1/storage":      s.storageHandler(),
		"/api/clanmon/v1/checks":       s.checks.APIHandler(),
		"/api/clanmon/v1/jobs":         s.jobs.APIHandler(),
		"/api/clanmon/v1/journal":      s.look.JournalHandler(),
		"/api/clanmon/v1/processes":    s.look.ProcessesHandler(),
		"/api/clanmon/v1/events":       s.events.Handler(),
		"/api/clanmon/v1/moved":        s.events.MovedHandler(),
		"/api/clanmon/v1/backfill":     s.backfill.Handler(),
		"/api/clanmon/v1/elsewhere":    s.others.Handler(),
	}
	if s.push != nil {
		m["/api/v1/push"] = s.push.Handler()
	}
	if h := s.delivery.Handler(); h != nil {
		m["/api/v2"] = h
		m["/api/clanmon/v1/receivers"] = s.delivery.ReceiversHandler()
		m["/api/clanmon/v1/boards"] = s.boards.Handler()
		m["/api/clanmon/v1/pair"] = s.delivery.PairHandler()
		m["/api/clanmon/v1/digest"] = s.delivery.DigestHandler()
		m["/api/clanmon/v1/notifications"] = s.delivery.NotificationsHandler()
		m["/api/clanmon/v1/shipped-rules"] = s.ruler.ShippedHandler()
		m["/api/clanmon/v1/capacity"] = s.capacity.Handler()
		m["/api/clanmon/v1/uptime"] = s.uptime.Handler()
		m["/api/clanmon/v1/traffic"] = s.traffic.Handler()
	}
	return m
}
