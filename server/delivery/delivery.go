// Package delivery brings alerts to people. Within this process it groups,
// inhibits, silences, deduplicates and sends them, with Alertmanager's own
// packages; beside that it hands them to the external Alertmanagers of the
// configuration file, with upstream's notifier.
//
// It implements rules.Sender and never blocks the ruler. It does not evaluate
// rules and does not decide who may silence. Run ends after the alerts queued
// for external Alertmanagers have left, if so configured, and after silences and
// the notification log are on the disk, so it has to outlive the ruler.
package delivery

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/prometheus/alertmanager/alert"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/relabel"
	"github.com/prometheus/prometheus/notifier"
	"github.com/prometheus/prometheus/rules"
	"github.com/prometheus/prometheus/util/features"

	"github.com/clanmon/clanmon/internal/calendar"
)

// Options for New. All fields are required but those that say otherwise.
type Options struct {
	Notifier   notifier.Options // its Registerer is set by New
	NameScheme model.ValidationScheme

	SDMetrics  *discovery.SDMetrics // shared by all discovery managers of a server
	Features   features.Collector
	Registerer prometheus.Registerer
	Logger     *slog.Logger

	// OutsideOnly turns the delivery from inside off: nothing below is needed.
	OutsideOnly bool
	Dir         string // data directory; silences are kept below it
	// SetAside moves a file below Dir away, because of why, and lists it as what with a
	// hint for whoever wants to repair it.
	SetAside    func(file, what, hint string, why error) error
	ExternalURL *url.URL // of the server, for links
	// ConfigFile is an alertmanager.yml. "" is for a configuration of our own,
	// which the fields down to GroupWait steer.
	ConfigFile string
	Notify     []NotifyURL
	// MaxPerMinute is how many notifications each of Notify gets in a minute; beyond
	// it one says how many more alerts there are. 0 means no limit.
	MaxPerMinute int
	// HeartbeatURL, or the address in HeartbeatURLFile, is asked every minute
	// for as long as the alert Watchdog arrives. May be empty.
	HeartbeatURL, HeartbeatURLFile string
	GroupWait                      time.Duration // 0 means 30 s

	// Plan says when people are notified: quiet hours, for which there must be no
	// ConfigFile, and the time of a digest. It is asked when the configuration is loaded.
	// May be nil.
	Plan func() calendar.Plan
	// Digest writes the report about the time between from and to; its Title is "" where
	// there is nothing to report. May be nil for no digests.
	Digest func(ctx context.Context, from, to time.Time) (Digest, error)

	Cluster ClusterOptions
	// Replica tells the servers of a pair apart: the value of the external label
	// ReplicaLabel, which no alert gets. May be empty.
	Replica string
	// About is what this server says of itself to the others of its cluster. May be nil.
	About func() About
	// Rules are the groups in force, which the servers of a pair have in common. May be
	// nil.
	Rules func() []*rules.Group

	// Retention of silences and of the notification log; 0 means DefaultRetention.
	Retention time.Duration
	// Limits; less than 0 means none. Without a ConfigFile 0 stands for
	// DefaultMaxSilences and DefaultMaxSilenceBytes, with one for none.
	MaxSilences       int
	MaxSilenceBytes   int
	PerAlertnameLimit int // 0 means none
	// MaxReceived is how many alerts from outside, by /api/v2, are held; 0 means
	// DefaultMaxReceived.
	MaxReceived int
	// DispatchStartDelay is how long nothing is sent after a start, so that inhibiting
	// alerts are there by then.
	DispatchStartDelay time.Duration

	// Shipped tells of an alert's name whether its rule is in the binary. Such
	// alerts reach external Alertmanagers only if ShippedOutside. May be nil.
	Shipped        func(alertname string) bool
	ShippedOutside bool
}

// Delivery sends alerts to people.
type Delivery struct {
	opts          Options
	discovery     *discovery.Manager
	stopDiscovery context.CancelFunc
	notifier      *notifier.Manager
	inside        *inside // nil with OutsideOnly
	labelling     atomic.Pointer[labelling]
}

// labelling is what the configuration does to the labels of every alert.
type labelling struct {
	external labels.Labels
	relabel  []*relabel.Config
}

// ErrConfig marks a mistake in what the operator wrote.
var ErrConfig = errors.New("alert delivery")

// New returns a Delivery that queues alerts and sends none until Run. An error
// that wraps ErrConfig is a mistake in the Alertmanager configuration.
func New(o Options) (*Delivery, error) {
	// Upstream's discovery manager takes its lifetime at construction.
	ctx, cancel := context.WithCancel(context.Background())
	sd := discovery.NewManager(ctx, o.Logger.With("component", "discovery manager notify"),
		o.Registerer, o.SDMetrics, discovery.Name("notify"), discovery.FeatureRegistry(o.Features))
	if sd == nil {
		cancel()
		return nil, errors.New("create notify discovery manager: its metrics could not be registered")
	}
	if o.GroupWait == 0 {
		o.GroupWait = 30 * time.Second
	}
	if o.Retention == 0 {
		o.Retention = DefaultRetention
	}
	o.MaxReceived = cmp.Or(o.MaxReceived, DefaultMaxReceived)
	if o.ConfigFile == "" {
		o.MaxSilences = cmp.Or(o.MaxSilences, DefaultMaxSilences)
		o.MaxSilenceBytes = cmp.Or(o.MaxSilenceBytes, DefaultMaxSilenceBytes)
	}
	o.Cluster = o.Cluster.withDefaults()
	o.Notifier.Registerer = o.Registerer
	d := &Delivery{
		opts:          o,
		discovery:     sd,
		stopDiscovery: cancel,
		notifier:      notifier.NewManager(&o.Notifier, o.NameScheme, o.Logger.With("component", "notifier")),
	}
	d.labelling.Store(&labelling{})
	if o.OutsideOnly {
		return d, nil
	}
	var err error
	if d.inside, err = newInside(o); err != nil {
		cancel()
		return nil, fmt.Errorf("deliver alerts: %w", err)
	}
	d.inside.rebuilt = d.compare
	return d, nil
}

// Close releases what New opened, for a Delivery that is not going to Run.
func (d *Delivery) Close() error {
	d.stopDiscovery()
	if d.inside != nil {
		d.inside.close()
	}
	return nil
}

// Notifier gives read access to the external Alertmanagers.
func (d *Delivery) Notifier() *notifier.Manager { return d.notifier }

// Receivers tells how the receivers fare. Safe for concurrent use.
func (d *Delivery) Receivers() []ReceiverStatus {
	if d.inside == nil {
		return []ReceiverStatus{}
	}
	return d.inside.pipeline.Load().book.status()
}

// Test sends a test notification to a receiver, or to all where the name is "",
// and returns what they answered. An error that is a *TooSoonError says that one of
// them was tested a moment ago.
func (d *Delivery) Test(ctx context.Context, receiver string) ([]TestResult, error) {
	if d.inside == nil {
		return nil, errors.New("this server does not deliver alerts itself")
	}
	book := d.inside.pipeline.Load().book
	names, err := book.named(receiver)
	if err != nil {
		return nil, err
	}
	if err := d.inside.tests.take(names, time.Now()); err != nil {
		return nil, err
	}
	return book.test(ctx, names), nil
}

// TestConfig sends a test notification as a server with these options would.
// It needs neither a data directory nor a running server.
func TestConfig(ctx context.Context, o Options, receiver string) ([]TestResult, error) {
	initMatchers(o.Logger)
	if o.ExternalURL == nil {
		o.ExternalURL = noURL
	}
	c, err := o.config()
	if err != nil {
		return nil, err
	}
	b, err := c.build(o, o.Logger)
	if err != nil {
		return nil, err
	}
	book := newReceiverBook(b, nil)
	names, err := book.named(receiver)
	if err != nil {
		return nil, err
	}
	return book.test(ctx, names), nil
}

// Send implements rules.Sender. It never blocks.
func (d *Delivery) Send(alerts ...*notifier.Alert) {
	outside := alerts
	if d.opts.Shipped != nil && !d.opts.ShippedOutside {
		outside = make([]*notifier.Alert, 0, len(alerts))
		for _, a := range alerts {
			if !d.opts.Shipped(a.Name()) {
				outside = append(outside, a)
			}
		}
	}
	if len(outside) > 0 {
		d.notifier.Send(outside...)
	}
	if d.inside == nil {
		return
	}
	if in := d.labelling.Load().convert(alerts, time.Now()); len(in) > 0 {
		d.inside.send(in)
	}
}

// convert gives alerts the labels of the configuration, as upstream's notifier
// does with what it sends, and the shape that Alertmanager works with.
func (l *labelling) convert(alerts []*notifier.Alert, now time.Time) []*alert.Alert {
	converted := make([]*alert.Alert, 0, len(alerts))
	lb := labels.NewBuilder(labels.EmptyLabels())
	for _, a := range alerts {
		lb.Reset(a.Labels)
		l.external.Range(func(e labels.Label) {
			if a.Labels.Get(e.Name) == "" {
				lb.Set(e.Name, e.Value)
			}
		})
		if !relabel.ProcessBuilder(lb, l.relabel...) {
			continue
		}
		converted = append(converted, alert.New(model.Alert{
			Labels: labelSet(lb.Labels()), Annotations: labelSet(a.Annotations),
			StartsAt: a.StartsAt, EndsAt: a.EndsAt, GeneratorURL: a.GeneratorURL,
		}, now, false))
	}
	return converted
}

func labelSet(ls labels.Labels) model.LabelSet {
	set := make(model.LabelSet, ls.Len())
	ls.Range(func(l labels.Label) {
		if l.Value != "" {
			set[model.LabelName(l.Name)] = model.LabelValue(l.Value)
		}
	})
	return set
}

// ApplyConfig changes labels, and how Alertmanagers are spoken to. It has to
// precede ApplyDiscovery, as with scrapes.
func (d *Delivery) ApplyConfig(cfg *config.Config) error {
	alerting := *cfg
	alerting.GlobalConfig.ExternalLabels = d.withoutReplica(cfg.GlobalConfig.ExternalLabels)
	if err := d.notifier.ApplyConfig(&alerting); err != nil {
		return err
	}
	d.labelling.Store(&labelling{alerting.GlobalConfig.ExternalLabels, cfg.AlertingConfig.AlertRelabelConfigs})
	return nil
}

// ReplicaLabel is the external label that --replica sets.
const ReplicaLabel = "replica"

// ReplicaLabels are those by which Thanos, Mimir and Prometheus' operator tell the
// servers of a pair apart.
var ReplicaLabels = []string{ReplicaLabel, "__replica__", "prometheus_replica"}

// withoutReplica keeps out of alerts what differs between the servers of a pair. With
// it each would have an alert of its own, and both would notify in turn for ever. A
// server that nobody called one of a pair adds what Prometheus adds.
func (d *Delivery) withoutReplica(external labels.Labels) labels.Labels {
	if d.opts.Cluster.ListenAddress == "" && d.opts.Replica == "" {
		return external
	}
	return labels.NewBuilder(external).Del(ReplicaLabels...).Labels()
}

// ApplyAlertmanager reads the Alertmanager configuration again. shipped are the
// names of the alerts in the binary that are evaluated: the inhibitions among
// them are added. On an error the old configuration stays.
func (d *Delivery) ApplyAlertmanager(shipped []string) error {
	if d.inside == nil {
		return nil
	}
	if err := d.inside.reload(shipped); err != nil {
		return err
	}
	d.compare()
	return nil
}

// ApplyDiscovery changes where Alertmanagers are found.
func (d *Delivery) ApplyDiscovery(cfg *config.Config) error {
	byName := make(map[string]discovery.Configs)
	for name, am := range cfg.AlertingConfig.AlertmanagerConfigs.ToMap() {
		byName[name] = am.ServiceDiscoveryConfigs
	}
	return d.discovery.ApplyConfig(byName)
}

// Run sends until ctx ends, and then what is still queued for external
// Alertmanagers, if the notifier is set to drain.
func (d *Delivery) Run(ctx context.Context) error {
	delivered := make(chan struct{})
	go func() {
		defer close(delivered)
		if d.inside != nil {
			d.inside.run(ctx)
		}
	}()
	discovered := make(chan struct{})
	go func() {
		defer close(discovered)
		_ = d.discovery.Run() // its error is that of its context
	}()
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		d.notifier.Run(d.discovery.SyncCh())
	}()
	<-ctx.Done()
	d.stopDiscovery()
	<-discovered
	d.notifier.Stop()
	<-sent
	<-delivered
	return nil
}
