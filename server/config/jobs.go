package config

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/config"
	"go.yaml.in/yaml/v2"

	"github.com/clanmon/clanmon/discovery"
	"github.com/clanmon/clanmon/discovery/checks"
	"github.com/clanmon/clanmon/discovery/contract"
	"github.com/clanmon/clanmon/internal/yamlerror"
)

// addJobs adds the jobs that no file says: those of the process itself, and those
// that the discovery flags ask for. They go through upstream's parser as if they
// had been written in the file, so that they have the same defaults and checks
// and show in /api/v1/status/config as what they are.
func (l *Loader) addJobs(cfg *config.Config, unconfigured bool, logger *slog.Logger) error {
	names, err := jobNames(cfg)
	if err != nil {
		return err
	}
	if err := l.addJobsBeside(names, cfg, unconfigured, logger); err != nil {
		return &FlagError{err}
	}
	return nil
}

// FlagError is a mistake in what flags say, or in a file that they name and that
// is not the configuration file.
type FlagError struct{ error }

func (e *FlagError) Unwrap() error { return e.error }

func (l *Loader) addJobsBeside(names map[string]string, cfg *config.Config, unconfigured bool, logger *slog.Logger) error {
	settings, err := discovery.ReadFlags(l.opts.Discovery)
	if err != nil {
		return err
	}
	for _, key := range settings.Ignored {
		logger.Warn("Section of --clan.settings has no effect: its discovery method is not enabled", "section", key)
	}
	managed := unconfigured || settings.Enabled()
	if !unconfigured && !settings.Enabled() && len(settings.Additional) == 0 {
		l.last.Store(&outcome{settings: settings})
		return nil // a file alone means what it means to Prometheus
	}
	extra, err := l.parseScrapes(cfg, settings.Additional, logger)
	if err != nil {
		return fmt.Errorf("--clan.settings %q: additionalScrapeConfigs: %w", l.opts.Discovery.SettingsFile, err)
	}
	hasJob := func(name string) bool {
		return names[name] != "" || slices.ContainsFunc(extra, func(s *config.ScrapeConfig) bool { return s.JobName == name })
	}
	var parts []contract.Part
	switch {
	case unconfigured:
		what := "No configuration: scraping this server and this machine"
		if len(settings.Methods) > 0 {
			what = "No configuration file: scraping this server, this machine, and discovered machines"
		}
		logger.Info(what, "looked_for", DefaultFile)
		for _, job := range l.opts.Local {
			parts = append(parts, localPart(job))
		}
	case settings.Enabled() && len(l.opts.Local) > 0 && !hasJob(l.opts.Local[0].Name):
		parts = append(parts, localPart(l.opts.Local[0]))
	}
	found, err := settings.Parts()
	if err != nil {
		return err
	}
	for _, p := range found {
		if p.Job == SelfJob {
			return fmt.Errorf("job %q: reserved for this server's own metrics; choose another name", SelfJob)
		}
		if p.Job == checks.Pool && len(settings.Checks) > 0 {
			return fmt.Errorf("job %q: reserved for the checks; choose another name", checks.Pool)
		}
	}
	if len(settings.Checks) > 0 {
		found = append(found, checks.Part(settings.Checks, LocalAddress(checks.Pool), l.opts.Checks.Socket, machineName()))
	}
	text, err := yaml.Marshal(map[string]any{"scrape_configs": discovery.Assemble(append(parts, found...))})
	if err != nil {
		return err
	}
	made, err := l.parseScrapes(cfg, text, logger)
	if err != nil {
		return fmt.Errorf("scrape configurations of --discovery: %w", err)
	}
	discovered, additional := make(map[string]bool, len(made)), make(map[string]bool, len(extra))
	for i, s := range append(made, extra...) {
		source := "additionalScrapeConfigs"
		if i < len(made) {
			discovered[s.JobName] = s.JobName != checks.Pool // they are no machines
			source = "--discovery"
			if s.JobName == checks.Pool {
				source = "--check"
			}
		} else {
			additional[s.JobName] = true
		}
		if where, taken := names[s.JobName]; taken {
			return fmt.Errorf("%s defines the job %q, and so does %s: change job_name there (relabelling can still set the label \"job\")", source, s.JobName, where)
		}
		names[s.JobName] = source
		cfg.ScrapeConfigs = append(cfg.ScrapeConfigs, s)
	}
	l.last.Store(&outcome{discovered, additional, managed, settings})
	return nil
}

// jobNames are the jobs of the file and of its scrape_config_files.
func jobNames(cfg *config.Config) (map[string]string, error) {
	scrapes, err := cfg.GetScrapeConfigs()
	if err != nil {
		return nil, fmt.Errorf("scrape_config_files: %w", err)
	}
	names := make(map[string]string, len(scrapes))
	for _, s := range scrapes {
		names[s.JobName] = "the configuration file"
	}
	return names, nil
}

// parseScrapes reads scrape configurations under the global settings of cfg.
// Paths in them are relative to the file of --clan.settings.
func (l *Loader) parseScrapes(cfg *config.Config, scrapes []byte, logger *slog.Logger) ([]*config.ScrapeConfig, error) {
	made, err := l.parse(cfg, scrapes, logger)
	if err != nil {
		return nil, err
	}
	return made.ScrapeConfigs, nil
}

// parse reads sections of a configuration as parseScrapes does.
func (l *Loader) parse(cfg *config.Config, sections []byte, logger *slog.Logger) (*config.Config, error) {
	if len(sections) == 0 {
		return &config.Config{}, nil
	}
	global, err := yaml.Marshal(map[string]any{"global": cfg.GlobalConfig})
	if err != nil {
		return nil, err
	}
	made, err := config.Load(string(global)+string(sections), logger)
	if err != nil {
		return nil, fmt.Errorf("%s", strings.ReplaceAll(yamlerror.Hide(err).Error(), "\n", " "))
	}
	if file := l.opts.Discovery.SettingsFile; file != "" {
		for _, s := range made.ScrapeConfigs {
			s.SetDirectory(filepath.Dir(file))
		}
		for _, w := range made.RemoteWriteConfigs {
			w.SetDirectory(filepath.Dir(file))
		}
	}
	return made, nil
}
