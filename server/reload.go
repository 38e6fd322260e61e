package server

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/util/notifications"

	"github.com/clanmon/clanmon/discovery"
)

// applier is a part of the server that follows the configuration.
type applier struct {
	name  string
	apply func(*config.Config) error
}

// appliers are the parts that follow the configuration, in this order: scrapes and
// notifier before their discovery, because they must know a job when its targets arrive.
func (s *Server) appliers() []applier {
	return []applier{
		{"db_storage", s.store.ApplyConfig},
		{"remote_storage", s.applyRemote},
		{"web_handler", s.api.ApplyConfig},
		{"query_engine", s.applyQueries},
		{"fleet", s.fleet.ApplyConfig},
		{"checks", func(*config.Config) error { s.checks.Apply(s.loader.Checks()); return nil }},
		{"pings", func(*config.Config) error { return s.jobs.Apply() }},
		{"look", s.look.ApplyConfig},
		{"scrape", s.ingest.ApplyScrapes},
		{"scrape_sd", s.ingest.ApplyDiscovery},
		{"notify", s.delivery.ApplyConfig},
		{"notify_sd", s.delivery.ApplyDiscovery},
		{"rules", func(c *config.Config) error {
			if s.ruler == nil {
				return nil
			}
			return s.ruler.ApplyConfig(c, s.withShippedRules())
		}},
		{"alertmanager", func(*config.Config) error {
			if s.ruler == nil {
				return nil
			}
			return s.delivery.ApplyAlertmanager(s.ruler.ShippedAlerts())
		}},
		{"tracing", s.tracing.ApplyConfig},
		{"runtime", s.applyRuntime},
	}
}

type reloadMetrics struct {
	success     prometheus.Gauge
	successTime prometheus.Gauge
}

func newReloadMetrics(reg prometheus.Registerer) reloadMetrics {
	m := reloadMetrics{
		success: promauto.With(reg).NewGauge(prometheus.GaugeOpts{
			Name: "prometheus_config_last_reload_successful",
			Help: "Whether the last configuration reload attempt was successful.",
		}),
		successTime: promauto.With(reg).NewGauge(prometheus.GaugeOpts{
			Name: "prometheus_config_last_reload_success_timestamp_seconds",
			Help: "Timestamp of the last successful configuration reload.",
		}),
	}
	m.succeeded() // the file was read and found valid before anything was built
	return m
}

func (m reloadMetrics) succeeded() {
	m.success.Set(1)
	m.successTime.SetToCurrentTime()
}

// reload reads the file again and applies it. A file that cannot be read or
// parsed changes nothing; a part that refuses its section keeps its old one.
func (s *Server) reload() (err error) {
	start := time.Now()
	if s.opts.AutoReload { // nobody else looks at it, and it complains of missing files too
		s.applied = s.checksum() // before the files are read: what changes meanwhile is read again
	}
	log := s.opts.Logger
	log.Info("Loading configuration file", "filename", s.loader.Name())
	defer func() {
		if err != nil {
			s.reloads.success.Set(0)
			s.notifications.AddNotification(notifications.ConfigurationUnsuccessful)
			return
		}
		s.reloads.succeeded()
		s.notifications.DeleteNotification(notifications.ConfigurationUnsuccessful)
	}()

	cfg, err := s.loader.Load(log)
	if err != nil {
		return fmt.Errorf("couldn't load configuration (--config.file=%q): %w", s.loader.Name(), err)
	}
	if !s.loader.Server().EqualAtStart(s.started) {
		log.Warn("The sections " + discovery.AtStart + " of --clan.settings changed: restart the server to apply them")
	}
	timings := log
	var failed []error
	for _, a := range s.appliers() {
		begin := time.Now()
		if err := a.apply(cfg); err != nil {
			log.Error("Failed to apply configuration", "part", a.name, "err", err)
			failed = append(failed, err)
		}
		timings = timings.With(a.name, time.Since(begin))
	}
	if len(failed) > 0 {
		return fmt.Errorf("one or more errors occurred while applying the new configuration (--config.file=%q): %w", s.loader.Name(), errors.Join(failed...))
	}
	timings.Info("Completed loading of configuration file", "filename", s.loader.Name(), "totalDuration", time.Since(start))
	return nil
}

// reloadLoop reloads when asked to: by signal, by HTTP, or because the file
// changed.
func (s *Server) reloadLoop(ctx context.Context) error {
	log := s.opts.Logger
	var tick <-chan time.Time
	if s.opts.AutoReload {
		t := time.NewTicker(s.opts.AutoReloadInterval)
		defer t.Stop()
		tick = t.C
	}
	reload := func() error {
		s.status(Reloading)
		defer s.status(Ready)
		s.reloaded.Store(true)
		err := s.reload()
		if err != nil {
			log.Error("Error reloading config", "err", err)
			// Try again at the next tick: what was missing, such as a certificate, may
			// not be in the checksum.
			s.applied = "failed"
		}
		return err
	}
	for {
		select {
		case <-s.opts.Reload:
			_ = reload()
		case result := <-s.api.Reload():
			result <- reload()
		case <-tick:
			if s.checksum() != s.applied {
				log.Info("Configuration file change detected, reloading the configuration.")
				_ = reload()
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// checksum of the files of the configuration; one that cannot be read differs
// from any that can, so that its return is noticed.
func (s *Server) checksum() string {
	sum, err := s.loader.Checksum()
	for _, file := range []string{s.opts.Delivery.ConfigFile, s.opts.PingFile} {
		if file == "" {
			continue
		}
		text, fileErr := os.ReadFile(file)
		err = errors.Join(err, fileErr)
		sum += fmt.Sprintf("%x", sha256.Sum256(text))
	}
	if err != nil {
		s.opts.Logger.Error("Failed to generate checksum during configuration reload", "err", err)
	}
	return sum
}

func (s *Server) applyRemote(cfg *config.Config) error {
	if s.opts.Agent && len(cfg.RemoteWriteConfigs) == 0 {
		s.opts.Logger.Warn("Samples of this agent are not sent anywhere: add remote_write to the configuration file", "file", s.loader.Name())
	}
	return s.store.ApplyRemote(cfg)
}

// applyRuntime follows the runtime section.
func (s *Server) applyRuntime(cfg *config.Config) error {
	if s.opts.LogLevel != nil {
		if err := s.opts.LogLevel.Set(string(cfg.Runtime.LogLevel)); err != nil {
			return fmt.Errorf("runtime.log_level: %w", err)
		}
	}
	if old := s.gogc; old != cfg.Runtime.GoGC {
		s.opts.Logger.Info("Updated GOGC", "old", old, "new", cfg.Runtime.GoGC)
	}
	s.gogc = cfg.Runtime.GoGC
	return s.applyGOGC()
}

// applyGOGC sets how eagerly garbage is collected, in the whole process.
func (s *Server) applyGOGC() error {
	debug.SetGCPercent(s.gogc)
	value := "off"
	if s.gogc >= 0 {
		value = strconv.Itoa(s.gogc)
	}
	return os.Setenv("GOGC", value) // where /api/v1/status/runtimeinfo reads it
}
