package server

import (
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/alecthomas/units"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/notifier"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/scrape"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/agent"
	"github.com/prometheus/prometheus/web"

	"github.com/clanmon/clanmon/discovery"
	serverconfig "github.com/clanmon/clanmon/server/config"
	"github.com/clanmon/clanmon/server/delivery"
	"github.com/clanmon/clanmon/server/engine"
	"github.com/clanmon/clanmon/server/identity"
	"github.com/clanmon/clanmon/server/ingest"
	"github.com/clanmon/clanmon/server/ruler"
)

// Options say how a server is wired; they are fixed for its life. What may
// change while it runs is in the configuration file. Where a setting belongs to
// an upstream package, it is a field of that package's own options, with its
// unit and default.
type Options struct {
	Agent    bool     // scrape and forward only: no TSDB, queries or rules
	Features []string // --enable-feature, may be comma-separated

	ConfigFile         string // "" reads prometheus.yml if there is one
	AutoReload         bool   // reload when the file or one it names changes
	AutoReloadInterval time.Duration
	// Reload asks for the configuration to be read again, e.g. on SIGHUP.
	Reload <-chan struct{}
	// LocalJobs are scraped when nothing is configured.
	LocalJobs []LocalJob
	// RemoteWrite and ExternalLabels are added to those of the configuration file.
	RemoteWrite    []serverconfig.Receiver
	ExternalLabels []serverconfig.Label
	// Discovery is what the flags say about finding machines.
	Discovery discovery.Flags

	Dir       string // data directory
	TSDB      tsdb.Options
	AgentDB   agent.Options
	Retention config.TSDBRetentionConfig // what the flags say; the file wins
	// Given are the flags of server mode that were given, such as --push. They take precedence
	// over settings.
	Given []string
	// RetentionSet tells that a flag says how long samples are kept.
	RetentionSet bool
	// PendingUploadsFile lists uploaded blocks, as Thanos writes it; blocks
	// that it lacks are not compacted. "" for none.
	PendingUploadsFile  string
	RemoteFlushDeadline time.Duration

	Scrape scrape.Options
	// PingFile lists the jobs that report to /ping, with their tokens; "" for none.
	PingFile string
	// Boards are files of read-only boards, in addition to those of the settings file.
	Boards   []string
	Push     PushOptions
	Backfill BackfillOptions
	Limits   ingest.Limits // of what is scraped; New adds which jobs discovery made
	Notifier notifier.Options
	Query    QueryOptions
	Rules    RuleOptions
	Delivery delivery.Options // the settings in it; New adds the rest

	// The settings in Web; New adds the managers. A CORSOrigin that is nil stands for
	// all origins in a drop-in for Prometheus, elsewhere for none.
	Web                         web.Options
	AllowedHosts                []string         // --web.allowed-host
	Writes                      string           // --web.writes, one of api.Writes
	Identity                    identity.Options // the settings in it; New adds the rest
	DevProxy                    *url.URL         // of a Vite development server that makes the pages; nil for none
	WebConfigFile               string
	Look                        bool // --look: operators may look at machines
	SystemdSocket               bool
	MaxNotificationsSubscribers int

	Parser parser.Options

	// ClanmonVersion is the version of this program; Web.Version is that of the
	// Prometheus that it embeds.
	ClanmonVersion, ClanmonCommit string

	// Status is told where in its life the server is. May be nil.
	Status func(Status)

	Logger     *slog.Logger
	LogLevel   *promslog.Level // follows runtime.log_level of the file; may be nil
	Registerer prometheus.Registerer
	Gatherer   prometheus.Gatherer
}

// Status is a time in the life of a server.
type Status int

const (
	Starting  Status = iota // opening the store, which can take minutes
	Ready                   // serving
	Settled                 // everything is made that the start could do without; once, some time after Ready
	Reloading               // reading the configuration again; Ready follows
	Stopping
)

// BackfillOptions say whether gaps are filled from the histories of exporters.
type BackfillOptions struct {
	// Mode is "on", "off", or "auto" for when clanmon itself chooses what to scrape. "" means
	// "auto".
	Mode   string
	MaxAge time.Duration // how far back
}

// LocalJob is something that this process serves and that the server can scrape
// without a port in between.
type LocalJob struct {
	Name    string // the job's name
	Port    int    // for the label "instance": the port its exporter usually has
	Handler http.Handler
}

// QueryOptions bound the PromQL engine.
type QueryOptions struct {
	Lookback    time.Duration
	Timeout     time.Duration
	Concurrency int
	MaxSamples  int
	// ResultCacheSize bounds the results of range queries that are remembered; 0 is none.
	ResultCacheSize units.Base2Bytes
	// Limits of what clients may ask, before it is parsed; 0 sets none.
	MaxLength  units.Base2Bytes
	MaxNesting int
	// History says where older samples are; nil URL for nowhere.
	History engine.Settings

	perStepStats       bool
	delayedNameRemoval bool
	useStartTimestamps bool
	cost               bool
}

// PushOptions are about machines that send their samples.
type PushOptions struct {
	Enabled      bool
	Availability string // always or intermittent
	MaxSeries    uint   // of a machine; 0 is no limit
}

// RuleOptions steer the evaluation of rules.
type RuleOptions struct {
	OutageTolerance    time.Duration
	ForGracePeriod     time.Duration
	ResendDelay        time.Duration
	MaxConcurrentEvals int64

	// Builtin says whether the rules in the binary are evaluated: "on", "off", or
	// "auto" for when clanmon itself chooses what to scrape, or takes pings. "" means "auto".
	Builtin string
	// Shipped are the changes to them.
	Shipped ruler.ShippedOptions

	concurrent bool
}

// A ConfigError is a mistake in what the operator wrote: in the configuration
// file or in the value of a flag.
type ConfigError struct {
	File string // absolute path, or "" for a flag
	Err  error
}

func (e *ConfigError) Error() string { return e.Err.Error() }
func (e *ConfigError) Unwrap() error { return e.Err }
