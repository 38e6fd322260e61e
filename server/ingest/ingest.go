// Package ingest turns targets into samples: upstream's discovery.Manager finds
// targets, its scrape.Manager scrapes them into whatever is appendable.
//
// It does not know the store, and it does not decide what is scraped: the
// configuration does. Run ends discovery first and then the scrapes, waiting
// for each scrape loop.
package ingest

import (
	"context"
	"errors"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"github.com/prometheus/prometheus/scrape"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/features"
	"github.com/prometheus/prometheus/util/logging"

	"github.com/clanmon/clanmon/discovery/contract"
)

// Options for New. All fields are required.
type Options struct {
	Scrape     scrape.Options
	Limits     Limits
	Appendable storage.AppendableV2

	// Merger sees every set of targets before it is scraped.
	Merger Merger

	SDMetrics  *discovery.SDMetrics // shared by all discovery managers of a server
	Features   features.Collector
	Registerer prometheus.Registerer
	Logger     *slog.Logger
}

// A Merger decides what of the discovered targets is scraped. It decides again
// when Changed delivers a message.
type Merger interface {
	Merge(map[string][]*targetgroup.Group) map[string][]*targetgroup.Group
	Changed() <-chan struct{}
}

// Ingest is a discovery manager feeding a scrape manager.
type Ingest struct {
	discovery     *discovery.Manager
	stopDiscovery context.CancelFunc
	scrapes       *scrape.Manager
	merger        Merger
	limits        Limits
}

// New returns an Ingest that does nothing until Run.
func New(o Options) (*Ingest, error) {
	// Upstream's discovery manager takes its lifetime at construction.
	ctx, cancel := context.WithCancel(context.Background())
	d := discovery.NewManager(ctx, contract.SharedLog(o.Logger.With("component", "discovery manager scrape")),
		o.Registerer, o.SDMetrics, discovery.Name("scrape"), discovery.FeatureRegistry(o.Features))
	if d == nil {
		cancel()
		return nil, errors.New("create scrape discovery manager: its metrics could not be registered")
	}
	s, err := scrape.NewManager(&o.Scrape, o.Logger.With("component", "scrape manager"),
		logging.NewJSONFileLogger, nil, o.Appendable, o.Registerer)
	if err != nil {
		cancel()
		return nil, err
	}
	return &Ingest{discovery: d, stopDiscovery: cancel, scrapes: s, merger: o.Merger, limits: o.Limits}, nil
}

// Close releases what New opened, for an Ingest that is not going to Run.
func (i *Ingest) Close() error {
	i.stopDiscovery()
	return nil
}

// Scrapes gives read access to targets and scrape pools.
func (i *Ingest) Scrapes() *scrape.Manager { return i.scrapes }

// ApplyScrapes changes the scrape pools. It has to precede ApplyDiscovery, for
// a pool needs its new configuration when the new targets arrive.
func (i *Ingest) ApplyScrapes(cfg *config.Config) error {
	limited, err := i.limits.apply(cfg)
	if err != nil {
		return err
	}
	return i.scrapes.ApplyConfig(limited)
}

// ApplyDiscovery changes where targets come from.
func (i *Ingest) ApplyDiscovery(cfg *config.Config) error {
	scrapes, err := cfg.GetScrapeConfigs()
	if err != nil {
		return err
	}
	byJob := make(map[string]discovery.Configs, len(scrapes))
	for _, s := range scrapes {
		byJob[s.JobName] = s.ServiceDiscoveryConfigs
	}
	return i.discovery.ApplyConfig(byJob)
}

// Run scrapes until ctx ends. It is to be called after the first ApplyScrapes.
func (i *Ingest) Run(ctx context.Context) error {
	discovered := make(chan struct{})
	go func() {
		defer close(discovered)
		_ = i.discovery.Run() // its error is that of its context
	}()
	merged := make(chan map[string][]*targetgroup.Group)
	go func() {
		defer close(merged)
		i.mergeAll(ctx, merged)
	}()
	scraped := make(chan error, 1)
	go func() { scraped <- i.scrapes.Run(merged) }()

	<-ctx.Done()
	i.stopDiscovery()
	<-discovered
	i.scrapes.Stop()
	return <-scraped
}

// mergeAll passes on what is discovered until ctx or discovery ends.
func (i *Ingest) mergeAll(ctx context.Context, merged chan<- map[string][]*targetgroup.Group) {
	var last map[string][]*targetgroup.Group
	for {
		select {
		case groups, ok := <-i.discovery.SyncCh():
			if !ok {
				return
			}
			last = groups
		case <-i.merger.Changed():
			if last == nil {
				continue
			}
		case <-ctx.Done():
			return
		}
		select {
		case merged <- i.merger.Merge(last):
		case <-ctx.Done():
			return
		}
	}
}
