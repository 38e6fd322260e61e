// Package postgres exposes PostgreSQL: postgres_exporter's collectors and its
// older exporter, which has pg_up and the settings. It is the only importer of
// postgres_exporter.
//
// Upstream knows no deadline before it is connected, so a server that accepts
// and never answers is left behind by the Set until the connection's own timeout
// ends it. The package holds one connection per data source between scrapes,
// which closing the Set gives back. It takes the global flags of upstream as
// they were parsed (see flagbound).
package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"regexp"
	"strings"
	"time"

	stats "github.com/prometheus-community/postgres_exporter/collector"
	"github.com/prometheus-community/postgres_exporter/config"
	upstream "github.com/prometheus-community/postgres_exporter/exporter"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/clanmon/clanmon/exporter/collector"
	"github.com/clanmon/clanmon/exporter/internal/flagbound"
	"github.com/clanmon/clanmon/exporter/internal/kindflags"
	"github.com/clanmon/clanmon/exporter/internal/logsink"
)

// Name of the kind.
const Name = "postgres"

const (
	// socketDir is where Debian's and NixOS' servers have their socket.
	socketDir = "/run/postgresql"
	// connectTimeout bounds connecting and logging in, in seconds, where the
	// data source does not.
	connectTimeout = "5"
	// usualConfigFile is read if it is there.
	usualConfigFile = "postgres_exporter.yml"
)

// Config of the kind.
type Config struct {
	DSNFile    string // first line: the data source; "" for upstream's environment variables, or else the local socket
	ConfigFile string // authentication for probing; "" for usualConfigFile if it is there

	DisableDefaultMetrics  bool
	DisableSettingsMetrics bool
	AutoDiscover           bool
	QueriesPath            string
	ConstantLabels         string
	ExcludeDatabases       string
	IncludeDatabases       string
	MetricPrefix           string
	CollectionTimeout      time.Duration
}

// Flags declares the flags of upstream's program; those of its collectors are
// global (see flagbound).
func (c *Config) Flags(f *kindflags.Set) {
	f.Flag("postgres.dsn-file", "", "postgres: Path to a file with the data source name, such as postgres://USER:PASSWORD@HOST:5432/postgres?sslmode=disable. Defaults to $DATA_SOURCE_NAME or $DATA_SOURCE_*, then to the socket in "+socketDir+" as the current user.").StringVar(&c.DSNFile)
	f.Flag("config.file", "", "postgres: Postgres exporter configuration file.").PlaceHolder(usualConfigFile).StringVar(&c.ConfigFile)
	f.Flag("disable-default-metrics", "PG_EXPORTER_DISABLE_DEFAULT_METRICS", "postgres: Do not include default metrics.").BoolVar(&c.DisableDefaultMetrics)
	f.Flag("disable-settings-metrics", "PG_EXPORTER_DISABLE_SETTINGS_METRICS", "postgres: Do not include pg_settings metrics.").BoolVar(&c.DisableSettingsMetrics)
	f.Flag("auto-discover-databases", "PG_EXPORTER_AUTO_DISCOVER_DATABASES", "postgres: Whether to discover the databases on a server dynamically. (DEPRECATED)").BoolVar(&c.AutoDiscover)
	f.Flag("extend.query-path", "PG_EXPORTER_EXTEND_QUERY_PATH", "postgres: Path to custom queries to run. (DEPRECATED)").StringVar(&c.QueriesPath)
	f.Flag("constantLabels", "PG_EXPORTER_CONSTANT_LABELS", "postgres: A list of label=value separated by comma(,). (DEPRECATED)").StringVar(&c.ConstantLabels)
	f.Flag("exclude-databases", "PG_EXPORTER_EXCLUDE_DATABASES", "postgres: A list of databases to remove when autoDiscoverDatabases is enabled (DEPRECATED)").StringVar(&c.ExcludeDatabases)
	f.Flag("include-databases", "PG_EXPORTER_INCLUDE_DATABASES", "postgres: A list of databases to include when autoDiscoverDatabases is enabled (DEPRECATED)").StringVar(&c.IncludeDatabases)
	f.Flag("metric-prefix", "PG_EXPORTER_METRIC_PREFIX", "postgres: A metric prefix can be used to have non-default (not \"pg\") prefixes for each of the metrics").Default("pg").StringVar(&c.MetricPrefix)
	f.Flag("collection-timeout", "PG_EXPORTER_COLLECTION_TIMEOUT", "postgres: Timeout for collecting the statistics when the database is slow").Default("1m").DurationVar(&c.CollectionTimeout)
}

func init() {
	// Upstream's package of the configuration file registers two metrics at the
	// global registry, which is the server's when that role runs. They belong to
	// this kind, so they are taken from there and exposed by its collector.
	for _, name := range []string{reloadSuccess, reloadTime} {
		prometheus.DefaultRegisterer.Unregister(prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: reloadHelp[name]}))
	}
}

const (
	reloadSuccess = "postgres_exporter_config_last_reload_successful"
	reloadTime    = "postgres_exporter_config_last_reload_success_timestamp_seconds"
)

var reloadHelp = map[string]string{
	reloadSuccess: "Postgres exporter config loaded successfully.",
	reloadTime:    "Timestamp of the last successful configuration reload.",
}

// New returns the collector of the configured server. The upstream flags have to
// be parsed.
func New(c Config, log *slog.Logger) (*collector.Set, error) {
	dsns, err := c.dataSources(os.Getenv)
	if err != nil {
		return nil, err
	}
	_, at, err := c.authModules()
	if err != nil {
		return nil, err
	}
	a, err := newAdapter(c, dsns, log)
	if err != nil {
		return nil, err
	}
	gauge := func(name string, value float64) prometheus.Metric {
		return prometheus.MustNewConstMetric(prometheus.NewDesc(name, reloadHelp[name], nil, nil), prometheus.GaugeValue, value)
	}
	if at.IsZero() {
		a.always = []prometheus.Metric{gauge(reloadSuccess, 0), gauge(reloadTime, 0)}
	} else {
		a.always = []prometheus.Metric{gauge(reloadSuccess, 1), gauge(reloadTime, float64(at.UnixNano())/1e9)}
	}
	return collector.NewSet(map[string]collector.Collector{Name: a}, log, collector.Report), nil
}

// NewProbe returns the collector of the server that the parameters "target" and
// "auth_module" of a request name. Its errors are for the one who asked.
func NewProbe(c Config, query url.Values, log *slog.Logger) (*collector.Set, error) {
	target := query.Get("target")
	if target == "" {
		return nil, errors.New("target is required")
	}
	var auth config.AuthModule
	if name := query.Get("auth_module"); name != "" {
		modules, _, err := c.authModules()
		if err != nil {
			return nil, err
		}
		var ok bool
		if auth, ok = modules[name]; !ok {
			return nil, fmt.Errorf("auth_module %s not found", name)
		}
		if auth.UserPass.Username == "" || auth.UserPass.Password == "" {
			return nil, fmt.Errorf("auth_module %s has no username or password", name)
		}
	}
	dsn, err := auth.ConfigureTarget(target)
	if err != nil {
		// Upstream's error may quote the target, which may have a password in it.
		return nil, errors.New("could not configure dsn for target: must be HOST:PORT, postgres://... or key=value pairs")
	}
	a, err := newAdapter(c, []string{dsn.GetConnectionString()}, log)
	if err != nil {
		return nil, err
	}
	return collector.NewSet(map[string]collector.Collector{Name: a}, log, collector.Report), nil
}

// dataSources are the data sources to scrape: from the file, from upstream's
// environment variables, or the local socket.
func (c Config) dataSources(getenv func(string) string) ([]string, error) {
	if c.DSNFile != "" {
		text, err := os.ReadFile(c.DSNFile)
		if err != nil {
			return nil, fmt.Errorf("--postgres.dsn-file: %w", err)
		}
		dsn := strings.TrimSpace(string(text))
		if dsn == "" || strings.ContainsAny(dsn, "\n\r") {
			return nil, fmt.Errorf("--postgres.dsn-file: %q must contain one line with a data source name such as postgres://USER:PASSWORD@HOST:5432/postgres", c.DSNFile)
		}
		return checked("--postgres.dsn-file", dsn)
	}
	dsns, err := upstream.GetDataSources()
	if err != nil {
		return nil, fmt.Errorf("DATA_SOURCE_*: %w", err)
	}
	if len(dsns) > 0 {
		return checked("DATA_SOURCE_NAME or DATA_SOURCE_*", dsns...)
	}
	// The driver takes PGHOST, PGUSER and the like for what is left out.
	dsn := "dbname=" + cmp.Or(getenv("PGDATABASE"), "postgres")
	if getenv("PGHOST") == "" {
		dsn = "host=" + socketDir + " " + dsn
	}
	return []string{dsn}, nil
}

// checked rejects what upstream would not understand, without showing it.
func checked(from string, dsns ...string) ([]string, error) {
	for _, dsn := range dsns {
		if isURL(dsn) {
			if _, err := url.Parse(dsn); err != nil {
				return nil, fmt.Errorf("%s: not a valid URL (percent-encode special characters of a password)", from)
			}
			continue
		}
		for pair := range strings.FieldsSeq(dsn) {
			if !strings.Contains(pair, "=") {
				return nil, fmt.Errorf("%s: must be postgres://USER:PASSWORD@HOST:PORT/DATABASE, or key=value pairs without spaces in a value", from)
			}
		}
	}
	return dsns, nil
}

func isURL(dsn string) bool {
	return strings.HasPrefix(dsn, "postgresql://") || strings.HasPrefix(dsn, "postgres://")
}

// authModules reads the configuration file, and says when it did; the time is
// zero if there is no file and none was asked for.
func (c Config) authModules() (map[string]config.AuthModule, time.Time, error) {
	path := cmp.Or(c.ConfigFile, usualConfigFile)
	if _, err := os.Stat(path); c.ConfigFile == "" && errors.Is(err, fs.ErrNotExist) {
		return nil, time.Time{}, nil
	}
	h := config.Handler{Config: &config.Config{}}
	if err := h.ReloadConfig(path, nil); err != nil {
		return nil, time.Time{}, fmt.Errorf("--config.file: %w", err)
	}
	return h.GetConfig().AuthModules, time.Now(), nil
}

// adapter makes both of upstream's collectors one of ours.
type adapter struct {
	server *upstream.Exporter
	stats  *stats.PostgresCollector
	limit  time.Duration
	errors logsink.Sink
	down   []prometheus.Metric
	always []prometheus.Metric
}

func newAdapter(c Config, dsns []string, log *slog.Logger) (*adapter, error) {
	a := &adapter{limit: c.CollectionTimeout}
	a.errors.Scrub = scrubber(dsns)
	if a.limit == 0 {
		a.limit = time.Minute
	}
	if a.limit < time.Millisecond {
		return nil, fmt.Errorf("--collection-timeout: %v is too short; it must be at least 1ms", a.limit)
	}
	log = a.errors.Logger(log)
	bounded := make([]string, len(dsns))
	for i, dsn := range dsns {
		bounded[i] = withConnectTimeout(dsn)
	}
	excluded := strings.Split(c.ExcludeDatabases, ",")
	a.server = upstream.NewExporter(
		bounded, log,
		upstream.DisableDefaultMetrics(c.DisableDefaultMetrics),
		upstream.DisableSettingsMetrics(c.DisableSettingsMetrics),
		upstream.AutoDiscoverDatabases(c.AutoDiscover),
		upstream.WithUserQueriesPath(c.QueriesPath),
		upstream.WithConstantLabels(c.ConstantLabels),
		upstream.ExcludeDatabases(excluded),
		upstream.IncludeDatabases(c.IncludeDatabases),
		upstream.WithMetricPrefix(cmp.Or(c.MetricPrefix, "pg")),
	)
	if err := a.errors.Take(); err != nil {
		return nil, fmt.Errorf("postgres: %w", err)
	}
	var err error
	a.stats, err = flagbound.Construct(func() (*stats.PostgresCollector, error) {
		return stats.NewPostgresCollector(log, excluded, bounded[0], nil, stats.WithCollectionTimeout(a.limit.String()))
	})
	if err != nil {
		return nil, fmt.Errorf("postgres: %s", a.errors.Scrub(err.Error()))
	}
	for name, c := range a.stats.Collectors {
		a.stats.Collectors[name] = recovered(c.Update)
	}
	up := prometheus.NewDesc("pg_up", "Whether the last scrape of metrics from PostgreSQL was able to connect to the server (1 for yes, 0 for no).", nil, nil)
	a.down = []prometheus.Metric{prometheus.MustNewConstMetric(up, prometheus.GaugeValue, 0)}
	return a, nil
}

func (a *adapter) Collect(ctx context.Context, ch chan<- prometheus.Metric) error {
	for _, m := range a.always {
		ch <- m
	}
	_ = a.errors.Take() // left over from a run that was given up
	up := a.collectServer(ch)
	err := a.errors.Take()
	if err != nil && !up {
		return err // the other would fail alike, and say so once more
	}
	once := *a.stats
	if deadline, ok := ctx.Deadline(); ok {
		once.CollectionTimeout = min(a.limit, max(time.Until(deadline), time.Millisecond))
	}
	once.Collect(ch)
	return errors.Join(err, a.errors.Take())
}

// collectServer runs upstream's older exporter, and says whether it could connect: of
// several databases to at least one, by its pg_up.
func (a *adapter) collectServer(ch chan<- prometheus.Metric) bool {
	found := make(chan prometheus.Metric)
	up := make(chan bool, 1)
	go func() {
		said, connected := false, true // it panics over what the server answered
		for m := range found {
			if strings.Contains(m.Desc().String(), `fqName: "pg_up"`) {
				var d dto.Metric
				said, connected = true, m.Write(&d) == nil && d.GetGauge().GetValue() == 1
			}
			ch <- m
		}
		if !said {
			ch <- prometheus.MustNewConstMetric(a.down[0].Desc(), prometheus.GaugeValue, 1)
		}
		up <- connected
	}()
	func() {
		defer close(found)
		defer func() {
			if r := recover(); r != nil {
				a.errors.Put(fmt.Sprintf("panic: %v", r))
			}
		}()
		a.server.Collect(found)
	}()
	return <-up
}

// guarded is a collector of upstream whose panic is an error. Upstream calls each in a
// goroutine of its own, where a panic ends the process: over the name of a database
// that is not valid UTF-8, for instance. C is upstream's type of a connection, which
// has no name here.
type guarded[C any] struct {
	update func(context.Context, C, chan<- prometheus.Metric) error
}

func recovered[C any](update func(context.Context, C, chan<- prometheus.Metric) error) guarded[C] {
	return guarded[C]{update}
}

func (g guarded[C]) Update(ctx context.Context, connection C, ch chan<- prometheus.Metric) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	return g.update(ctx, connection, ch)
}

func (a *adapter) Down() []prometheus.Metric { return append(a.down[:1:1], a.always...) }

func (a *adapter) Close() error {
	a.server.CloseServers()
	return nil
}

// withConnectTimeout adds a bound to connecting, unless dsn has one.
func withConnectTimeout(dsn string) string {
	switch {
	case strings.Contains(dsn, "connect_timeout="):
		return dsn
	case !isURL(dsn):
		return dsn + " connect_timeout=" + connectTimeout
	case strings.Contains(dsn, "?"):
		return dsn + "&connect_timeout=" + connectTimeout
	}
	return dsn + "?connect_timeout=" + connectTimeout
}

var passwordInURL = regexp.MustCompile(`://[^:/@]*:([^@]+)@`)

var passwordPair = regexp.MustCompile(`(?i)password\s*=\s*('(?:[^'\\]|\\.)*'|[^\s&]+)`)

// scrubber removes the passwords of data sources from texts, in whatever form
// upstream or the driver quotes them.
func scrubber(dsns []string) func(string) string {
	var pairs []string
	hide := func(secret string) {
		if secret != "" {
			pairs = append(pairs, secret, "***")
		}
	}
	for _, dsn := range dsns {
		if u, err := url.Parse(dsn); err == nil && isURL(dsn) {
			if p, ok := u.User.Password(); ok {
				hide(p)
			}
			p := u.Query().Get("password")
			hide(url.QueryEscape(p))
			hide(p)
		}
		for _, m := range passwordInURL.FindAllStringSubmatch(dsn, -1) {
			hide(m[1])
		}
		for _, m := range passwordPair.FindAllStringSubmatch(dsn, -1) {
			hide(m[1])
			hide(strings.Trim(m[1], "'"))
		}
	}
	return strings.NewReplacer(pairs...).Replace
}
