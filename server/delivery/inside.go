package delivery

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/alertmanager/alert"
	"github.com/prometheus/alertmanager/api"
	"github.com/prometheus/alertmanager/cluster"
	"github.com/prometheus/alertmanager/dispatch"
	"github.com/prometheus/alertmanager/eventrecorder"
	"github.com/prometheus/alertmanager/featurecontrol"
	"github.com/prometheus/alertmanager/inhibit"
	"github.com/prometheus/alertmanager/labelset"
	"github.com/prometheus/alertmanager/matcher/compat"
	"github.com/prometheus/alertmanager/nflog"
	"github.com/prometheus/alertmanager/notify"
	"github.com/prometheus/alertmanager/provider/mem"
	"github.com/prometheus/alertmanager/silence"
	"github.com/prometheus/alertmanager/timeinterval"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/prometheus/common/model"
)

var noURL = &url.URL{}

// These are Alertmanager's own defaults.
const (
	DefaultRetention    = 120 * time.Hour // of silences and of the notification log
	gcInterval          = 30 * time.Minute
	maintenanceInterval = 15 * time.Minute
	dispatchMaintenance = 30 * time.Second
)

// inside is Alertmanager within this process: what its program is, without its
// HTTP server and its UI.
type inside struct {
	opts Options
	log  *slog.Logger
	born time.Time

	alerts    *mem.Alerts
	silences  *silence.Silences
	silencer  *silence.Silencer
	nflog     *nflog.Log
	api       *api.API
	mux       http.Handler
	peer      *cluster.Peer // nil without a cluster
	pipelines *notify.PipelineBuilder
	dispatch  *dispatch.DispatcherMetrics
	savers    []*saver
	metrics   insideMetrics
	closeOnce sync.Once

	queue chan []*alert.Alert

	// What a configuration makes; replaced as a whole by apply.
	mu         sync.Mutex // one apply at a time
	running    bool
	shipped    []string // alerts whose inhibitions are added
	config     *built
	dispatcher atomic.Pointer[dispatch.Dispatcher]
	inhibitor  atomic.Pointer[inhibit.Inhibitor]
	rules      atomic.Pointer[[]*inhibit.InhibitRule] // those of inhibitor
	receivers  atomic.Pointer[receiverBook]

	tests    testPace
	received received
}

type insideMetrics struct {
	reloaded, reloadTime                          prometheus.Gauge
	receivers, integrations, inhibitions, cluster prometheus.Gauge
	dropped                                       prometheus.Counter
	requests                                      *prometheus.HistogramVec
}

func newInsideMetrics(reg prometheus.Registerer) insideMetrics {
	f := promauto.With(reg)
	gauge := func(name, help string) prometheus.Gauge {
		return f.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
	}
	return insideMetrics{
		reloaded:     gauge("alertmanager_config_last_reload_successful", "Whether the last configuration reload attempt was successful."),
		reloadTime:   gauge("alertmanager_config_last_reload_success_timestamp_seconds", "Timestamp of the last successful configuration reload."),
		receivers:    gauge("alertmanager_receivers", "Number of configured receivers."),
		integrations: gauge("alertmanager_integrations", "Number of configured integrations."),
		inhibitions:  gauge("alertmanager_inhibition_rules", "Number of configured inhibition rules."),
		cluster:      gauge("alertmanager_cluster_enabled", "Indicates whether the clustering is enabled or not."),
		dropped: f.NewCounter(prometheus.CounterOpts{
			Name: "clanmon_delivery_alerts_dropped_total",
			Help: "Alerts that were not taken in, because the queue was full or the alert invalid. Rules send them again.",
		}),
		requests: f.NewHistogramVec(prometheus.HistogramOpts{
			Name:                            "alertmanager_http_request_duration_seconds",
			Help:                            "Histogram of latencies for HTTP requests.",
			Buckets:                         prometheus.DefBuckets,
			NativeHistogramBucketFactor:     1.1,
			NativeHistogramMaxBucketNumber:  100,
			NativeHistogramMinResetDuration: time.Hour,
		}, []string{"handler", "method", "code"}),
	}
}

var matchersOnce sync.Once

// initMatchers chooses Alertmanager's present syntax of matchers, with the
// classic one as a fallback. It is a setting of the package.
func initMatchers(log *slog.Logger) {
	matchersOnce.Do(func() { compat.InitFromFlags(log, featurecontrol.NoopFlags{}) })
}

func newInside(o Options) (_ *inside, err error) {
	log := slog.New(cutting{o.Logger.Handler()}).With("component", "delivery")
	initMatchers(log)
	in := &inside{
		opts: o, log: log, born: time.Now(),
		metrics: newInsideMetrics(o.Registerer),
		queue:   make(chan []*alert.Alert, 1000),
	}
	defer func() {
		if err != nil {
			in.close()
		}
	}()
	in.receivers.Store(&receiverBook{})
	// Whatever can be wrong with the configuration is found before anything is
	// opened.
	if o.ConfigFile != "" && (len(o.Notify) > 0 || o.HeartbeatURL != "" || o.HeartbeatURLFile != "") {
		return nil, fmt.Errorf("%w: --notify flags are for a server without --alertmanager.config.file; write receivers into %s", ErrConfig, o.ConfigFile)
	}
	for _, n := range o.Notify {
		if n.Pasted() {
			log.Warn("This address of --notify is a secret, and every user of the machine reads it on the command line; write it into a file: webhook://?url_file=FILE", "notify", n)
		}
	}
	if in.config, err = in.load(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	in.metrics.reloaded.Set(1)
	in.metrics.reloadTime.SetToCurrentTime()
	dir := filepath.Join(o.Dir, "alertmanager")
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, fmt.Errorf("directory for silences: %w", err)
	}
	var recorder eventrecorder.Recorder // records nothing
	in.nflog, err = openState(filepath.Join(dir, "nflog"), log, func(file string) (*nflog.Log, error) {
		return nflog.New(nflog.Options{SnapshotFile: file, Retention: o.Retention, Logger: log.With("part", "nflog"), Metrics: onceOnly{o.Registerer}})
	})
	if err != nil {
		return nil, fmt.Errorf("notification log: %w", err)
	}
	in.silences, err = openState(filepath.Join(dir, "silences"), log, func(file string) (*silence.Silences, error) {
		return silence.New(silence.Options{
			SnapshotFile: file, Retention: o.Retention, Logger: log.With("part", "silences"), Metrics: onceOnly{o.Registerer}, EventRecorder: recorder,
			Limits: silence.Limits{MaxSilences: func() int { return o.MaxSilences }, MaxSilenceSizeBytes: func() int { return o.MaxSilenceBytes }},
		})
	})
	if err != nil {
		return nil, fmt.Errorf("silences: %w", err)
	}
	in.silencer = silence.NewSilencer(in.silences, log, recorder)
	if err := in.joinCluster(); err != nil {
		return nil, err
	}
	var clusterPeer cluster.ClusterPeer // an interface that holds a nil pointer is not nil
	spreadSilence, spreadLog := func([]byte) {}, func([]byte) {}
	if in.peer != nil {
		clusterPeer = in.peer
		spreadLog = in.peer.AddState("nfl", in.nflog, o.Registerer).Broadcast
		spreadSilence = in.peer.AddState("sil", in.silences, o.Registerer).Broadcast
	}
	saveLog := newSaver(filepath.Join(dir, "nflog"), in.nflog.Snapshot, log)
	saveSilences := newSaver(filepath.Join(dir, "silences"), in.silences.Snapshot, log)
	in.savers = []*saver{saveLog, saveSilences}
	in.nflog.SetBroadcast(func(b []byte) { spreadLog(b); saveLog.mark() })
	in.silences.SetBroadcast(func(b []byte) { spreadSilence(b); saveSilences.mark() })

	in.alerts, err = mem.NewAlerts(context.Background(), gcInterval, o.PerAlertnameLimit, in.silencer, log, recorder, o.Registerer, featurecontrol.NoopFlags{})
	if err != nil {
		return nil, fmt.Errorf("alerts: %w", err)
	}
	in.received.holds = func(fp model.Fingerprint) bool {
		_, err := in.alerts.Get(fp)
		return err == nil
	}
	in.pipelines = notify.NewPipelineBuilder(o.Registerer, featurecontrol.NoopFlags{}, recorder)
	in.dispatch = dispatch.NewDispatcherMetrics(false, o.Registerer, featurecontrol.NoopFlags{})
	in.api, err = api.New(api.Options{
		Alerts: in.alerts, Silences: in.silences, Peer: clusterPeer,
		Logger: log.With("part", "api"), Registry: o.Registerer, RequestDuration: in.metrics.requests,
		GroupFunc: func(ctx context.Context, routes func(*dispatch.Route) bool, alerts dispatch.AlertFilter) (dispatch.AlertGroups, map[model.Fingerprint][]string, error) {
			d := in.dispatcher.Load()
			if d == nil {
				return nil, nil, errors.New("delivery is starting")
			}
			return d.Groups(ctx, routes, alerts)
		},
	})
	if err != nil {
		return nil, fmt.Errorf("API: %w", err)
	}
	in.mux = in.handler(saveSilences)
	in.update()
	return in, nil
}

// load reads the configuration and builds what can fail.
func (in *inside) load() (*built, error) {
	var c *Config
	var err error
	if in.opts.ConfigFile != "" {
		c, err = LoadConfig(in.opts.ConfigFile)
	} else {
		c, err = defaultConfig(in.opts)
	}
	if err != nil {
		return nil, err
	}
	text, err := shippedInhibitions(in.shipped)
	if err != nil {
		return nil, err
	}
	if text != nil {
		more, err := parseConfig(append([]byte("route: {receiver: x}\nreceivers: [{name: x}]\n"), text...))
		if err != nil {
			return nil, fmt.Errorf("inhibitions of the shipped rules: %w", err)
		}
		c.InhibitRules = append(c.InhibitRules, more.InhibitRules...)
	}
	b, err := c.build(in.opts, in.log)
	if err != nil && in.opts.ConfigFile != "" {
		err = fmt.Errorf("%s: %w", in.opts.ConfigFile, err)
	}
	return b, err
}

// reload reads the configuration again; shipped are the names of the alerts in
// the binary that are evaluated. On an error everything stays as it is.
func (in *inside) reload(shipped []string) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	before := in.shipped
	in.shipped = shipped
	b, err := in.load()
	if err != nil {
		in.shipped = before
		in.metrics.reloaded.Set(0)
		return err
	}
	for _, w := range b.warnings() {
		in.log.Warn("Questionable configuration", "file", in.opts.ConfigFile, "warning", w)
	}
	in.metrics.reloaded.Set(1)
	in.metrics.reloadTime.SetToCurrentTime()
	if in.running && in.opts.ConfigFile == "" && slices.Equal(before, shipped) {
		return nil // nothing can have changed, and groups need not wait anew
	}
	in.config = b
	if in.running {
		in.stopPipeline()
		in.startPipeline()
	} else {
		in.update()
	}
	return nil
}

// update tells the API of the configuration.
func (in *inside) update() {
	in.api.Update(in.config.Config.Config, func(ctx context.Context, labels labelset.LabelSet) {
		if i := in.inhibitor.Load(); i != nil {
			i.Mutes(ctx, labels)
		}
		in.silencer.Mutes(ctx, labels)
	})
}

func (in *inside) startPipeline() {
	var recorder eventrecorder.Recorder
	b := in.config
	intervals := make(map[string][]timeinterval.TimeInterval)
	for _, ti := range b.MuteTimeIntervals {
		intervals[ti.Name] = ti.TimeIntervals
	}
	for _, ti := range b.TimeIntervals {
		intervals[ti.Name] = ti.TimeIntervals
	}
	book := newReceiverBook(b, in.receivers.Load())
	routes := dispatch.NewRoute(b.Route, nil)
	used := make(map[string][]notify.Integration)
	routes.Walk(func(r *dispatch.Route) {
		used[r.RouteOpts.Receiver] = book.integrations(r.RouteOpts.Receiver)
		if r.RouteOpts.RepeatInterval > in.opts.Retention {
			in.log.Warn("repeat_interval is longer than the notification log is kept; notifications may be repeated sooner",
				"route", r.Key(), "repeat_interval", r.RouteOpts.RepeatInterval, "kept", in.opts.Retention)
		}
	})
	count := 0
	for _, list := range used {
		count += len(list)
	}
	in.metrics.receivers.Set(float64(len(used)))
	in.metrics.integrations.Set(float64(count))
	in.metrics.inhibitions.Set(float64(len(b.InhibitRules)))

	wait := func() time.Duration { return 0 }
	var peer notify.Peer
	if in.peer != nil {
		peer = in.peer
		wait = func() time.Duration { return time.Duration(in.peer.Position()) * in.opts.Cluster.PeerTimeout }
	}
	timeout := func(d time.Duration) time.Duration { return max(d, notify.MinTimeout) + wait() }

	inhibitor := inhibit.NewInhibitor(in.alerts, b.InhibitRules, in.log, recorder)
	intervener := timeinterval.NewIntervener(intervals)
	pipeline := in.pipelines.New(used, wait, inhibitor, in.silencer, intervener, in.nflog, peer)
	dispatcher := dispatch.NewDispatcher(in.alerts, routes, pipeline, intervener, timeout, dispatchMaintenance, nil, in.log, recorder, in.dispatch, b.tmpl)
	// The inhibitor first, or an alert that it mutes might slip through.
	go inhibitor.Run()
	inhibitor.WaitForLoading()
	in.inhibitor.Store(inhibitor)
	rules := make([]*inhibit.InhibitRule, len(b.InhibitRules))
	for i, r := range b.InhibitRules {
		rules[i] = inhibit.NewInhibitRule(r)
	}
	in.rules.Store(&rules)
	in.update()
	go dispatcher.Run(in.born.Add(in.opts.DispatchStartDelay))
	dispatcher.WaitForLoading()
	in.dispatcher.Store(dispatcher)
	in.receivers.Store(book)
}

func (in *inside) stopPipeline() {
	if i := in.inhibitor.Load(); i != nil {
		i.Stop()
	}
	if d := in.dispatcher.Load(); d != nil {
		d.Stop()
	}
}

// send takes alerts in and never blocks. When nobody comes to take them out of
// the queue they are dropped, for rules send them again.
func (in *inside) send(alerts []*alert.Alert) {
	select {
	case in.queue <- alerts:
	default:
		in.metrics.dropped.Add(float64(len(alerts)))
	}
}

func (in *inside) put(ctx context.Context, batch []*alert.Alert) {
	valid := make([]*alert.Alert, 0, len(batch))
	for _, a := range batch {
		if err := a.Validate(); err != nil {
			in.metrics.dropped.Inc()
			in.log.Warn("Invalid alert", "alertname", a.Name(), "err", err)
			continue
		}
		valid = append(valid, a)
	}
	if err := in.alerts.Put(ctx, valid...); err != nil {
		in.log.Error("Could not take in alerts", "err", err)
	}
}

// run delivers until ctx ends. What is queued then, or waits for its group, is not
// sent: rules send it again after the next start.
func (in *inside) run(ctx context.Context) {
	in.mu.Lock() // a reload may come before delivery has begun
	receivers := slices.Sorted(maps.Keys(in.config.receivers))
	in.mu.Unlock()
	in.log.Info("Delivering alerts", "receivers", strings.Join(receivers, ", "), "config", in.opts.ConfigFile)
	stopSaving := make(chan struct{})
	var saving sync.WaitGroup
	for _, s := range in.savers {
		saving.Go(func() { s.run(stopSaving) })
	}
	saving.Go(func() {
		in.silences.Maintenance(maintenanceInterval, in.savers[1].file, stopSaving, in.savers[1].maintain(in.silences.GC))
	})
	saving.Go(func() {
		in.nflog.Maintenance(maintenanceInterval, in.savers[0].file, stopSaving, in.savers[0].maintain(in.nflog.GC))
	})
	in.settleCluster(ctx)
	in.mu.Lock()
	in.startPipeline()
	in.running = true
	in.mu.Unlock()

	for done := false; !done; {
		select {
		case batch := <-in.queue:
			in.put(ctx, batch)
		case <-ctx.Done():
			done = true
		}
	}
	in.mu.Lock()
	in.stopPipeline()
	in.running = false
	in.mu.Unlock()
	close(stopSaving)
	saving.Wait()
	in.close()
}

// close releases what newInside opened, once.
func (in *inside) close() {
	in.closeOnce.Do(func() {
		if in.alerts != nil {
			in.alerts.Close()
		}
		in.leaveCluster()
	})
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// onceOnly lets a part be made a second time when its first snapshot file was
// damaged.
type onceOnly struct{ prometheus.Registerer }

func (o onceOnly) Register(c prometheus.Collector) error {
	err := o.Registerer.Register(c)
	if are, ok := errors.AsType[prometheus.AlreadyRegisteredError](err); ok {
		o.Registerer.Unregister(are.ExistingCollector)
		return o.Registerer.Register(c)
	}
	return err
}

func (o onceOnly) MustRegister(cs ...prometheus.Collector) {
	for _, c := range cs {
		if err := o.Register(c); err != nil {
			panic(err)
		}
	}
}
