package exporter

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"runtime"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/clanmon/clanmon/exporter/blackbox"
	"github.com/clanmon/clanmon/exporter/collector"
	"github.com/clanmon/clanmon/exporter/internal/kindflags"
	"github.com/clanmon/clanmon/exporter/nginx"
	"github.com/clanmon/clanmon/exporter/node"
	"github.com/clanmon/clanmon/exporter/postgres"
	"github.com/clanmon/clanmon/exporter/redis"
	"github.com/clanmon/clanmon/exporter/systemd"
)

// A Kind is one kind of exporter. To add one: a folder with its adapter, and an
// entry in kinds.
type Kind struct {
	Name string // of the job, the flags and the listener
	Port int    // the one that the upstream exporter usually has

	// Upstream is the exporter whose metrics these are: its name as in
	// <name>_build_info, a title for the landing page, and its Go module.
	Upstream, Title, Module string

	// Process says that upstream also exposes metrics of its process (go_*,
	// process_*) and of encoding errors.
	Process bool

	// Runtime says that upstream's go_* are all metrics of the Go runtime.
	Runtime bool

	// BuildLabels are those of <name>_build_info, where upstream does not have
	// the usual ones; version is upstream's.
	BuildLabels func(version, commit string) prometheus.Labels

	// Flags declares the flags of upstream's program; nil if there are none.
	Flags func(*Config, *kindflags.Set)

	// Web names the environment variables of upstream's program for its HTTP server.
	Web WebVariables

	// New makes the collectors, once the upstream flags are parsed; nil if the kind has to be
	// linked, see Link.
	New func(Config, *slog.Logger) (*collector.Set, error)

	// NoEncodingErrors says that upstream does not count them.
	NoEncodingErrors bool

	// Present reports whether this machine has what the exporter reads; nil if every
	// machine has it.
	Present func() bool

	// Filter says whether the collectors of those names can be asked for with
	// collect[]; nil if the kind has no such parameter. The error text is for
	// the one who asked.
	Filter func(names []string) error

	// ProbePath is where the kind scrapes what a request's parameters say, ""
	// if it does not. NewProbe makes the collectors for such a request; its error
	// text is for the one who asked.
	ProbePath string
	NewProbe  func(Config, url.Values, *slog.Logger) (*collector.Set, error)
}

// kinds is the registry.
var kinds = []Kind{
	{
		Name: node.Name, Port: 9100,
		Upstream: "node_exporter", Title: "Node Exporter", Module: "github.com/prometheus/node_exporter",
		Process: true,
		New:     func(c Config, log *slog.Logger) (*collector.Set, error) { return node.New(c.Node, log) },
		Filter:  node.Filter,
	},
	{
		Name: systemd.Name, Port: 9558,
		Upstream: "systemd_exporter", Title: "systemd Exporter", Module: "github.com/prometheus-community/systemd_exporter",
		New:     func(c Config, log *slog.Logger) (*collector.Set, error) { return systemd.New(c.Systemd, log) },
		Present: systemd.Present,
	},
	{
		Name: nginx.Name, Port: 9113,
		Upstream: "nginx_exporter", Title: "NGINX Exporter", Module: "github.com/nginx/nginx-prometheus-exporter",
		Process: true,
		Flags:   func(c *Config, f *kindflags.Set) { c.Nginx.Flags(f) },
		Web: WebVariables{
			ListenAddress: "LISTEN_ADDRESS", TelemetryPath: "TELEMETRY_PATH",
			ConfigFile: "CONFIG_FILE", SystemdSocket: "SYSTEMD_SOCKET",
		},
		New: func(c Config, log *slog.Logger) (*collector.Set, error) { return nginx.New(c.Nginx, log) },
	},
	{
		Name: postgres.Name, Port: 9187,
		Upstream: "postgres_exporter", Title: "PostgreSQL Exporter", Module: "github.com/prometheus-community/postgres_exporter",
		Process:   true,
		Flags:     func(c *Config, f *kindflags.Set) { c.Postgres.Flags(f) },
		Web:       WebVariables{TelemetryPath: "PG_EXPORTER_WEB_TELEMETRY_PATH"},
		New:       func(c Config, log *slog.Logger) (*collector.Set, error) { return postgres.New(c.Postgres, log) },
		ProbePath: "/probe",
		NewProbe: func(c Config, q url.Values, log *slog.Logger) (*collector.Set, error) {
			return postgres.NewProbe(c.Postgres, q, log)
		},
	},
	{
		Name: redis.Name, Port: 9121,
		Upstream: "redis_exporter", Title: "Redis Exporter", Module: "github.com/oliver006/redis_exporter",
		Process: true, Runtime: true,
		BuildLabels: func(version, commit string) prometheus.Labels {
			return prometheus.Labels{"version": version, "commit_sha": commit, "build_date": "unknown", "golang_version": runtime.Version()}
		},
		Flags: func(c *Config, f *kindflags.Set) { c.Redis.Flags(f) },
		Web: WebVariables{
			ListenAddress: "REDIS_EXPORTER_WEB_LISTEN_ADDRESS", TelemetryPath: "REDIS_EXPORTER_WEB_TELEMETRY_PATH",
			Refused: map[string]Refusal{
				"REDIS_EXPORTER_BASIC_AUTH_USERNAME":     {Use: "basic_auth_users in the file of --web.config.file"},
				"REDIS_EXPORTER_BASIC_AUTH_PASSWORD":     {Use: "basic_auth_users in the file of --web.config.file"},
				"REDIS_EXPORTER_TLS_SERVER_KEY_FILE":     {Use: "tls_server_config in the file of --web.config.file"},
				"REDIS_EXPORTER_TLS_SERVER_CERT_FILE":    {Use: "tls_server_config in the file of --web.config.file"},
				"REDIS_EXPORTER_TLS_SERVER_CA_CERT_FILE": {Use: "client_ca_file of tls_server_config in the file of --web.config.file"},
				"REDIS_EXPORTER_TLS_SERVER_MIN_VERSION":  {Use: "min_version of tls_server_config in the file of --web.config.file"},
				"REDIS_EXPORTER_LOG_FORMAT":              {Use: "--log.format=json", Harmless: func(v string) bool { return v != "json" }},
				"REDIS_EXPORTER_DEBUG":                   {Use: "--log.level=debug", Harmless: isNot(true)},
			},
		},
		New:       func(c Config, log *slog.Logger) (*collector.Set, error) { return redis.New(c.Redis, log) },
		ProbePath: "/scrape",
		NewProbe: func(c Config, q url.Values, log *slog.Logger) (*collector.Set, error) {
			return redis.NewProbe(c.Redis, q, log)
		},
	},
	{
		Name: blackbox.Name, Port: 9115,
		Upstream: "blackbox_exporter", Title: "Blackbox Exporter", Module: "github.com/prometheus/blackbox_exporter",
		Process: true, NoEncodingErrors: true,
		Flags: func(c *Config, f *kindflags.Set) { c.Blackbox.Flags(f) },
	},
}

// Served is what a linked kind serves.
type Served struct {
	Set   *collector.Set          // the metrics
	Pages map[string]http.Handler // more, by pattern of http.ServeMux
	// Reload reads files again, when the process receives SIGHUP. An error changes nothing.
	Reload func() error
}

// linked are the kinds that not every program has.
var linked = map[string]func(Config, *slog.Logger) (Served, error){}

// Link gives this program a kind whose packages are too heavy for all programs that know its
// name. It is called before New, by init functions.
func Link(kind string, serve func(Config, *slog.Logger) (Served, error)) { linked[kind] = serve }

// Linked reports whether this program has the kind.
func (k Kind) Linked() bool { return k.New != nil || linked[k.Name] != nil }

// NotLinkedError says that this program lacks a kind.
type NotLinkedError struct{ Kind string }

func (e *NotLinkedError) Error() string {
	return fmt.Sprintf("exporter %q is not in this program, which is small: use \"clanmon exporter\"", e.Kind)
}

// serve makes what a kind serves.
func (k Kind) serve(c Config, log *slog.Logger) (Served, error) {
	if k.New == nil {
		return linked[k.Name](c, log)
	}
	set, err := k.New(c, log)
	return Served{Set: set}, err
}

// Kinds are all kinds, in the order of the registry.
func Kinds() []Kind { return kinds }

// DefaultKinds are the names of those that run when none is chosen.
func DefaultKinds() []string { return []string{node.Name, systemd.Name} }

// LocalKinds are the default kinds of which this machine has something. A server
// that scrapes itself has no job "systemd" where there is no systemd: it would be up
// and know of no failed unit.
func LocalKinds() []Kind {
	var local []Kind
	for _, k := range kinds {
		if slices.Contains(DefaultKinds(), k.Name) && (k.Present == nil || k.Present()) {
			local = append(local, k)
		}
	}
	return local
}

// Config is what the kinds can be told, each in its own words.
type Config struct {
	Node     node.Config
	Systemd  systemd.Config
	Nginx    nginx.Config
	Postgres postgres.Config
	Redis    redis.Config
	Blackbox blackbox.Config
}

// Flags declares the flags of the kinds on app, bound to c. Once they are
// parsed, environment fills in those that were not given, for the kinds that
// run; lookup is os.LookupEnv.
func (c *Config) Flags(app kindflags.App) (environment func(kinds []string, lookup func(string) (string, bool)) error) {
	sets := map[string]*kindflags.Set{}
	for _, k := range kinds {
		if k.Flags != nil {
			sets[k.Name] = kindflags.New(app)
			k.Flags(c, sets[k.Name])
		}
	}
	return func(kinds []string, lookup func(string) (string, bool)) error {
		var errs []error
		for name, s := range sets {
			if slices.Contains(kinds, name) {
				errs = append(errs, s.Environment(lookup))
			}
		}
		return errors.Join(errs...)
	}
}

// KindOfProgram is the kind whose upstream program has this name, also as
// Debian calls it; false if there is none.
func KindOfProgram(program string) (string, bool) {
	name := strings.ReplaceAll(program, "-", "_")
	name = strings.Replace(name, "prometheus_", "", 1)
	for _, k := range kinds {
		if k.Upstream == name {
			return k.Name, true
		}
	}
	return "", false
}

func kindNames() []string {
	names := make([]string, len(kinds))
	for i, k := range kinds {
		names[i] = k.Name
	}
	return names
}

func kindOf(name string) (Kind, error) {
	for _, k := range kinds {
		if k.Name == name {
			return k, nil
		}
	}
	return Kind{}, &UnknownError{What: "exporter", Got: name, Known: kindNames()}
}
