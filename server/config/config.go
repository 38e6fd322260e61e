// Package config turns bytes and flags into a validated configuration. It
// starts nothing.
//
// The file is Prometheus' own, read by Prometheus' own loader; clanmon adds no
// key to it. What the flags ask for is added here: today the jobs of a server
// that nobody configured. The package also knows which service discoveries a
// file may name, by importing clanmon's discovery package.
package config

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/rules"

	// The parser owns the vocabulary of service discoveries.
	"github.com/clanmon/clanmon/discovery"
	"github.com/clanmon/clanmon/discovery/checks"
	"github.com/clanmon/clanmon/internal/calendar"
)

// DefaultFile is read from the working directory where no file is named.
const DefaultFile = "prometheus.yml"

// Options are the flags that have a say in the configuration; they are fixed
// for the life of a Loader.
type Options struct {
	// File is the configuration file. Empty means DefaultFile if there is one,
	// else that nothing is configured.
	File  string
	Agent bool // refuse what an agent cannot do

	// Defaults are what a file does not say.
	Retention          config.TSDBRetentionConfig
	LogLevel           string
	ExtraScrapeMetrics bool // experimental feature of that name
	ProtobufFirst      bool // scrape protocols, for start timestamps
	Exemplars          bool // storage.exemplars has a size where none is given

	// Replica is the value of an external label whose name is the first of
	// ReplicaLabels; a file must not set any of these too. "" adds none.
	Replica       string
	ReplicaLabels []string

	// OutOfOrder is the least out-of-order time window of the store, for a configuration
	// that is managed or not, with receivers of remote write or without; nil for none.
	OutOfOrder func(managed, remoteWrite bool) time.Duration

	// RemoteWrite and ExternalLabels are added to what the file says.
	RemoteWrite    []Receiver
	ExternalLabels []Label

	// Local are the jobs that the process itself serves; they are scraped when
	// nothing is configured. The first is that of the server, which is scraped
	// also when machines are looked for: it tells which there are.
	Local []LocalJob
	// Checks is where this process serves the job of the checks.
	Checks LocalJob
	// Discovery is what the flags say about finding machines and checking services.
	Discovery discovery.Flags

	Parser parser.Parser
}

// Loader reads the configuration, at start and at every reload. Load is for one
// goroutine at a time; what it says of the last one is for any.
type Loader struct {
	opts Options
	last atomic.Pointer[outcome]
}

// outcome is what a Load that succeeded made of the flags. It is not changed.
type outcome struct {
	discovered map[string]bool // jobs that discovery made
	additional map[string]bool // those of additionalScrapeConfigs
	managed    bool
	settings   *discovery.Settings
}

// NewLoader returns a Loader.
func NewLoader(o Options) *Loader {
	l := &Loader{opts: o}
	l.last.Store(&outcome{settings: &discovery.Settings{}})
	return l
}

// Discovered reports whether a job was made by discovery, not by the file, when
// the configuration was last loaded.
func (l *Loader) Discovered(job string) bool { return l.last.Load().discovered[job] }

// Checks are those that the flags and the settings ask for, and the machine that checks, when
// the configuration was last loaded.
func (l *Loader) Checks() (all []checks.Check, from string) {
	return l.last.Load().settings.Checks, machineName()
}

// Plan says when people are notified, when the configuration was last loaded.
func (l *Loader) Plan() calendar.Plan { return l.last.Load().settings.Plan }

// Server is what the settings say about the server itself, when the configuration was last
// loaded. It must not be changed.
func (l *Loader) Server() discovery.Server { return l.last.Load().settings.Server }

// Boards are the files of read-only boards that the settings name, when the configuration was
// last loaded.
func (l *Loader) Boards() []string { return l.last.Load().settings.Boards }

// Written is where a job that discovery did not make is written down, for people.
func (l *Loader) Written(job string) string {
	if l.last.Load().additional[job] {
		return fmt.Sprintf("additionalScrapeConfigs of --clan.settings %s", l.opts.Discovery.SettingsFile)
	}
	return l.Name()
}

// Managed reports whether clanmon itself chose what to scrape, because nothing
// is configured or a discovery method is given, when the configuration was last
// loaded. Elsewhere it is a drop-in and adds nothing of its own.
func (l *Loader) Managed() bool { return l.last.Load().managed }

// Name is the file that Load reads, for messages.
func (l *Loader) Name() string {
	if l.opts.File == "" {
		return DefaultFile
	}
	return l.opts.File
}

// Load reads and validates the file and everything it refers to at load time.
// Its error names the file and, where upstream's does, line and field.
// Warnings go to logger, which may be nil.
func (l *Loader) Load(logger *slog.Logger) (*config.Config, error) {
	if logger == nil {
		logger = promslog.NewNopLogger()
	}
	defer l.installDefaults()()

	cfg, err := config.LoadFile(l.Name(), l.opts.Agent, logger)
	unconfigured := l.opts.File == "" && errors.Is(err, fs.ErrNotExist)
	if unconfigured {
		cfg, err = config.Load("global: {scrape_interval: 15s, evaluation_interval: 15s}", logger)
	}
	if err != nil {
		return nil, discovery.Explain(err)
	}
	if err := l.addJobs(cfg, unconfigured, logger); err != nil {
		return nil, err
	}
	if err := l.addReplica(cfg); err != nil {
		return nil, err
	}
	if err := l.addOutgoing(cfg, logger); err != nil {
		return nil, &FlagError{err}
	}
	if least := l.opts.OutOfOrder; least != nil {
		window := &cfg.StorageConfig.TSDBConfig.OutOfOrderTimeWindow
		*window = max(*window, least(l.Managed(), len(cfg.RemoteWriteConfigs) > 0).Milliseconds())
	}
	if l.opts.Exemplars && cfg.StorageConfig.ExemplarsConfig == nil {
		cfg.StorageConfig.ExemplarsConfig = &config.DefaultExemplarsConfig
	}
	return cfg, nil
}

func (l *Loader) addReplica(cfg *config.Config) error {
	if l.opts.Replica == "" {
		return nil
	}
	external := &cfg.GlobalConfig.ExternalLabels
	for _, name := range l.opts.ReplicaLabels {
		if value := external.Get(name); value != "" {
			return fmt.Errorf("external_labels: %s is %q, and --replica is %q: set one of the two", name, value, l.opts.Replica)
		}
	}
	*external = labels.NewBuilder(*external).Set(l.opts.ReplicaLabels[0], l.opts.Replica).Labels()
	return nil
}

// Validate looks at what Load leaves for later: files of scrape configurations
// and rules. It is for the start, so that a broken one is found before anything
// runs; at a reload each component does its own part.
func (l *Loader) Validate(cfg *config.Config, logger *slog.Logger) error {
	if _, err := cfg.GetScrapeConfigs(); err != nil {
		return fmt.Errorf("scrape_config_files: %w", discovery.Explain(err))
	}
	if err := rules.ParseFiles(cfg.RuleFiles, cfg.GlobalConfig.MetricNameValidationScheme, l.opts.Parser, logger); err != nil {
		return fmt.Errorf("rule_files: %w", err)
	}
	return nil
}

// Checksum changes when the file, a rule or scrape file that it names, the clan's
// settings or the inventory do.
// It is empty while there is no file and need not be one.
func (l *Loader) Checksum() (string, error) {
	sum, err := config.GenerateChecksum(l.Name())
	if l.opts.File == "" && errors.Is(err, fs.ErrNotExist) {
		sum, err = "", nil
	}
	errs := []error{err}
	for _, file := range discovery.Files(l.opts.Discovery) {
		text, err := os.ReadFile(file)
		errs = append(errs, err)
		sum += fmt.Sprintf("%x", sha256.Sum256(text))
	}
	return sum, errors.Join(errs...)
}

// Path is the absolute path of the file, for the log.
func (l *Loader) Path() string {
	if abs, err := filepath.Abs(l.Name()); err == nil {
		return abs
	}
	return l.Name()
}

// gogc is the default of runtime.gogc where clanmon chooses what to scrape. Prometheus' 75
// takes 9 % more memory under load; the collector runs more rarely then, which saves 2 % of
// the CPU time of queries and less of that of scrapes.
const gogc = 60

// gogcGiven is read before the server sets the variable to what is in force.
var gogcGiven = os.Getenv("GOGC") != ""

// chooses reports whether clanmon will choose what to scrape, before the file is read.
func (l *Loader) chooses() bool {
	if _, err := os.Stat(l.Name()); l.opts.File == "" && errors.Is(err, fs.ErrNotExist) {
		return true
	}
	settings, err := discovery.ReadFlags(l.opts.Discovery)
	return err == nil && settings.Enabled() // an error is that of Load
}

// defaultsMu guards upstream's package-level defaults. Several flags of
// Prometheus change them before the file is read; setting them only while one
// Loader reads lets two servers with different flags live in one process.
var defaultsMu sync.Mutex

func (l *Loader) installDefaults() (restore func()) {
	defaultsMu.Lock()
	cfg, global, runtime, retention := config.DefaultConfig, config.DefaultGlobalConfig, config.DefaultRuntimeConfig, config.DefaultTSDBRetentionConfig

	config.DefaultTSDBRetentionConfig = l.opts.Retention
	if !gogcGiven && l.chooses() {
		config.DefaultRuntimeConfig.GoGC = gogc
	}
	if l.opts.LogLevel != "" {
		config.DefaultRuntimeConfig.LogLevel = config.LogLevel(l.opts.LogLevel)
	}
	config.DefaultConfig.Runtime = config.DefaultRuntimeConfig
	if l.opts.ExtraScrapeMetrics {
		yes := true
		config.DefaultGlobalConfig.ExtraScrapeMetrics = &yes
	}
	if l.opts.ProtobufFirst {
		config.DefaultGlobalConfig.ScrapeProtocols = config.DefaultProtoFirstScrapeProtocols
	}
	config.DefaultConfig.GlobalConfig = config.DefaultGlobalConfig

	return func() {
		config.DefaultConfig, config.DefaultGlobalConfig, config.DefaultRuntimeConfig, config.DefaultTSDBRetentionConfig = cfg, global, runtime, retention
		defaultsMu.Unlock()
	}
}
