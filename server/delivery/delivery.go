// Package delivery brings alerts to people. Today that is upstream's notifier,
// which hands them to the Alertmanagers of the configuration file.
//
// It implements rules.Sender and never blocks the ruler. It does not evaluate
// rules. Run ends after the queued alerts have left, if so configured, so it
// has to outlive the ruler.
package delivery

import (
	"context"
	"errors"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery"
	"github.com/prometheus/prometheus/notifier"
	"github.com/prometheus/prometheus/util/features"
)

// Options for New. All fields are required.
type Options struct {
	Notifier   notifier.Options // its Registerer is set by New
	NameScheme model.ValidationScheme

	SDMetrics  *discovery.SDMetrics // shared by all discovery managers of a server
	Features   features.Collector
	Registerer prometheus.Registerer
	Logger     *slog.Logger
}

// Delivery sends alerts to external Alertmanagers.
type Delivery struct {
	discovery     *discovery.Manager
	stopDiscovery context.CancelFunc
	notifier      *notifier.Manager
}

// New returns a Delivery that queues alerts and sends none until Run.
func New(o Options) (*Delivery, error) {
	// Upstream's discovery manager takes its lifetime at construction.
	ctx, cancel := context.WithCancel(context.Background())
	d := discovery.NewManager(ctx, o.Logger.With("component", "discovery manager notify"),
		o.Registerer, o.SDMetrics, discovery.Name("notify"), discovery.FeatureRegistry(o.Features))
	if d == nil {
		cancel()
		return nil, errors.New("create notify discovery manager: its metrics could not be registered")
	}
	o.Notifier.Registerer = o.Registerer
	return &Delivery{
		discovery:     d,
		stopDiscovery: cancel,
		notifier:      notifier.NewManager(&o.Notifier, o.NameScheme, o.Logger.With("component", "notifier")),
	}, nil
}

// Notifier gives read access to the Alertmanagers.
func (d *Delivery) Notifier() *notifier.Manager { return d.notifier }

// Send implements rules.Sender. It never blocks.
func (d *Delivery) Send(alerts ...*notifier.Alert) { d.notifier.Send(alerts...) }

// ApplyConfig changes how Alertmanagers are spoken to. It has to precede
// ApplyDiscovery, as with scrapes.
func (d *Delivery) ApplyConfig(cfg *config.Config) error { return d.notifier.ApplyConfig(cfg) }

// ApplyDiscovery changes where Alertmanagers are found.
func (d *Delivery) ApplyDiscovery(cfg *config.Config) error {
	byName := make(map[string]discovery.Configs)
	for name, am := range cfg.AlertingConfig.AlertmanagerConfigs.ToMap() {
		byName[name] = am.ServiceDiscoveryConfigs
	}
	return d.discovery.ApplyConfig(byName)
}

// Run sends until ctx ends, and then what is still queued, if the notifier is
// set to drain.
func (d *Delivery) Run(ctx context.Context) error {
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
	return nil
}
