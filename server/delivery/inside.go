package delivery

import (
	"context"
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
	apiv2 "github.com/prometheus/alertmanager/api/v2"
	"github.com/prometheus/alertmanager/cluster"
	"github.com/prometheus/alertmanager/dispatch"
	"github.com/prometheus/alertmanager/eventrecorder"
	"github.com/prometheus/alertmanager/featurecontrol"
	"github.com/prometheus/alertmanager/matcher/compat"
	"github.com/prometheus/alertmanager/nflog"
	"github.com/prometheus/alertmanager/notify"
	"github.com/prometheus/alertmanager/provider/mem"
	"github.com/prometheus/alertmanager/silence"
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
// HTTP server and its UI. It lasts as long as the process; what a reload rebuilds is
// its pipeline.
type inside struct {
	opts Options
	log  *slog.Logger
	born time.Time

	alerts    *mem.Alerts
	silences  *silence.Silences
	silencer  *silence.Silencer
	nflog     *nflog.Log
	handler   func() http.Handler // of /api/v2, made by the first request
	peer      *cluster.Peer       // nil without a cluster
	pair      *pair               // nil without a cluster
	pipelines *notify.PipelineBuilder
	dispatch  *dispatch.DispatcherMetrics
	metrics   insideMetrics
	closeOnce sync.Once

	saveLog, saveSilences *saver

	queue    chan []*alert.Alert
	tests    testPace
	received received

	mu       sync.Mutex // one reload at a time
	api      *apiv2.API // nil until handler is called
	running  bool
	shipped  []string // alerts whose inhibitions are added
	config   *built   // in force, or to be in force when running
	rebuilt  func()   // is called when config was built anew without a reload; may be nil
	pipeline atomic.Pointer[pipeline]
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
	in.pipeline.Store(&pipeline{})
	defer func() {
		if err != nil {
			in.close()
		}
	}()
	// Whatever can be wrong with the configuration is found before anything is
	// opened.
	if err := in.firstLoad(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	if err := in.openState(); err != nil {
		return nil, err
	}
	if err := in.joinCluster(); err != nil {
		return nil, err
	}
	in.spreadState()
	var recorder eventrecorder.Recorder // records nothing
	in.silencer = silence.NewSilencer(in.silences, log, recorder)
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
	in.handler = sync.OnceValue(in.newHandler)
	return in, nil
}

// openState opens what outlives the process.
func (in *inside) openState() (err error) {
	o := in.opts
	dir := filepath.Join(o.Dir, "alertmanager")
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return fmt.Errorf("directory for silences: %w", err)
	}
	in.nflog, err = openState(filepath.Join(dir, "nflog"), "notification log", o.SetAside, func(file string) (*nflog.Log, error) {
		return nflog.New(nflog.Options{SnapshotFile: file, Retention: o.Retention, Logger: in.log.With("part", "nflog"), Metrics: onceOnly{o.Registerer}})
	})
	if err != nil {
		return fmt.Errorf("notification log: %w", err)
	}
	in.silences, err = openState(filepath.Join(dir, "silences"), "silences", o.SetAside, func(file string) (*silence.Silences, error) {
		return silence.New(silence.Options{
			SnapshotFile: file, Retention: o.Retention, Logger: in.log.With("part", "silences"), Metrics: onceOnly{o.Registerer},
			Limits: silence.Limits{MaxSilences: func() int { return o.MaxSilences }, MaxSilenceSizeBytes: func() int { return o.MaxSilenceBytes }},
		})
	})
	if err != nil {
		return fmt.Errorf("silences: %w", err)
	}
	in.saveLog = newSaver(filepath.Join(dir, "nflog"), in.nflog.Snapshot, in.log)
	in.saveSilences = newSaver(filepath.Join(dir, "silences"), in.silences.Snapshot, in.log)
	return nil
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
		in.log.Error("Could not accept alerts", "err", err)
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
	saving.Go(func() { in.saveLog.run(stopSaving) })
	saving.Go(func() { in.saveSilences.run(stopSaving) })
	saving.Go(func() {
		in.silences.Maintenance(maintenanceInterval, in.saveSilences.file, stopSaving, in.saveSilences.maintain(in.silences.GC))
	})
	saving.Go(func() {
		in.nflog.Maintenance(maintenanceInterval, in.saveLog.file, stopSaving, in.saveLog.maintain(in.nflog.GC))
	})
	in.settleCluster(ctx)
	in.mu.Lock()
	in.startPipeline()
	in.running = true
	in.mu.Unlock()
	saving.Go(func() { in.findMissing(ctx) })
	if in.pair != nil {
		saving.Go(func() { in.pair.run(ctx) })
	}
	saving.Go(func() { (&digester{in: in}).run(ctx) })

	for done := false; !done; {
		select {
		case batch := <-in.queue:
			in.put(ctx, batch)
		case <-ctx.Done():
			done = true
		}
	}
	in.mu.Lock()
	in.pipeline.Load().stop()
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
