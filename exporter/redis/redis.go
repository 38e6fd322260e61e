// Package redis exposes Redis and what speaks its protocol (Valkey, KeyDB,
// Sentinel): redis_exporter's collector. It is the only importer of
// redis_exporter.
//
// Upstream connects anew at each scrape, with timeouts of its own, so there is
// nothing to stop. It logs by a global logger, which the first New of a process
// redirects.
package redis

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/gomodule/redigo/redis"
	upstream "github.com/oliver006/redis_exporter/exporter"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/clanmon/clanmon/exporter/collector"
	"github.com/clanmon/clanmon/exporter/internal/kindflags"
)

// Name of the kind.
const Name = "redis"

// Config of the kind.
type Config struct {
	Addr         string
	PasswordFile string // one password, or a JSON object of addresses and passwords
	Scripts      string
	// PasswordForAll sends user and password to any address that a request names.
	PasswordForAll bool
	Options        upstream.Options
}

// Flags declares the flags of upstream's program.
func (c *Config) Flags(f *kindflags.Set) {
	o := &c.Options
	f.Flag("redis.addr", "REDIS_ADDR", "redis: Address of the Redis instance to scrape: HOST:PORT, redis://, rediss:// (TLS), valkey:// or unix://PATH").Default("redis://localhost:6379").StringVar(&c.Addr)
	f.Flag("redis.user", "REDIS_USER", "redis: User name to use for authentication (Redis ACL for Redis 6.0 and newer)").StringVar(&o.User)
	f.Flag("redis.password-file", "REDIS_PASSWORD_FILE", "redis: Password file of the Redis instance to scrape: a single password, or a JSON object of addresses and passwords. $REDIS_PASSWORD takes precedence").StringVar(&c.PasswordFile)
	f.Flag("redis.probe-with-password", "", "redis: Send --redis.user and $REDIS_PASSWORD to all targets of /scrape, not only to --redis.addr.").BoolVar(&c.PasswordForAll)
	f.Refuse("redis.password", "every user of the machine could read it; use --redis.password-file or $REDIS_PASSWORD")
	for _, name := range []string{"basic-auth-username", "basic-auth-password", "tls-server-cert-file", "tls-server-key-file", "tls-server-ca-cert-file", "tls-server-min-version"} {
		f.Refuse(name, "use --web.config.file")
	}
	f.Flag("namespace", "REDIS_EXPORTER_NAMESPACE", "redis: Namespace for metrics").Default("redis").StringVar(&o.Namespace)
	f.Flag("config-command", "REDIS_EXPORTER_CONFIG_COMMAND", "redis: What to use for the CONFIG command, set to \"-\" to skip config metrics extraction").Default("CONFIG").StringVar(&o.ConfigCommandName)
	f.Flag("connection-timeout", "REDIS_EXPORTER_CONNECTION_TIMEOUT", "redis: Timeout for connection to Redis instance").Default("15s").DurationVar(&o.ConnectionTimeouts)
	f.Flag("check-keys", "REDIS_EXPORTER_CHECK_KEYS", "redis: Comma separated list of key-patterns to export value and length/size, searched for with SCAN").StringVar(&o.CheckKeys)
	f.Flag("check-single-keys", "REDIS_EXPORTER_CHECK_SINGLE_KEYS", "redis: Comma separated list of single keys to export value and length/size").StringVar(&o.CheckSingleKeys)
	f.Flag("check-key-groups", "REDIS_EXPORTER_CHECK_KEY_GROUPS", "redis: Comma separated list of lua regex for grouping keys").StringVar(&o.CheckKeyGroups)
	f.Flag("check-streams", "REDIS_EXPORTER_CHECK_STREAMS", "redis: Comma separated list of stream-patterns to export info about streams, groups and consumers, searched for with SCAN").StringVar(&o.CheckStreams)
	f.Flag("check-single-streams", "REDIS_EXPORTER_CHECK_SINGLE_STREAMS", "redis: Comma separated list of single streams to export info about streams, groups and consumers").StringVar(&o.CheckSingleStreams)
	f.Flag("streams-exclude-consumer-metrics", "REDIS_EXPORTER_STREAMS_EXCLUDE_CONSUMER_METRICS", "redis: Don't collect per consumer metrics for streams (decreases cardinality)").BoolVar(&o.StreamsExcludeConsumerMetrics)
	f.Flag("count-keys", "REDIS_EXPORTER_COUNT_KEYS", "redis: Comma separated list of patterns to count (eg: 'db0=production_*,db3=sessions:*'), searched for with SCAN").StringVar(&o.CountKeys)
	f.Flag("check-keys-batch-size", "REDIS_EXPORTER_CHECK_KEYS_BATCH_SIZE", "redis: Approximate number of keys to process in each execution, larger value speeds up scanning.\nWARNING: Still Redis is a single-threaded app, huge COUNT can affect production environment.").Default("1000").Int64Var(&o.CheckKeysBatchSize)
	f.Flag("max-distinct-key-groups", "REDIS_EXPORTER_MAX_DISTINCT_KEY_GROUPS", "redis: The maximum number of distinct key groups with the most memory utilization to present as distinct metrics per database, the leftover key groups will be aggregated in the 'overflow' bucket").Default("100").Int64Var(&o.MaxDistinctKeyGroups)
	f.Flag("script", "REDIS_EXPORTER_SCRIPT", "redis: Comma separated list of path(s) to Redis Lua script(s) for gathering extra metrics").StringVar(&c.Scripts)
	f.Flag("tls-client-key-file", "REDIS_EXPORTER_TLS_CLIENT_KEY_FILE", "redis: Name of the client key file (including full path) if the server requires TLS client authentication").StringVar(&o.ClientKeyFile)
	f.Flag("tls-client-cert-file", "REDIS_EXPORTER_TLS_CLIENT_CERT_FILE", "redis: Name of the client certificate file (including full path) if the server requires TLS client authentication").StringVar(&o.ClientCertFile)
	f.Flag("tls-ca-cert-file", "REDIS_EXPORTER_TLS_CA_CERT_FILE", "redis: Name of the CA certificate file (including full path) if the server requires TLS client authentication").StringVar(&o.CaCertFile)
	f.Flag("skip-tls-verification", "REDIS_EXPORTER_SKIP_TLS_VERIFICATION", "redis: Whether to to skip TLS verification").BoolVar(&o.SkipTLSVerification)
	f.Flag("set-client-name", "REDIS_EXPORTER_SET_CLIENT_NAME", "redis: Whether to set client name to redis_exporter").Default("true").BoolVar(&o.SetClientName)
	f.Flag("is-tile38", "REDIS_EXPORTER_IS_TILE38", "redis: Whether to scrape Tile38 specific metrics").BoolVar(&o.IsTile38)
	f.Flag("is-cluster", "REDIS_EXPORTER_IS_CLUSTER", "redis: Whether this is a redis cluster (Enable this if you need to fetch key level data on a Redis Cluster).").BoolVar(&o.IsCluster)
	f.Flag("export-client-list", "REDIS_EXPORTER_EXPORT_CLIENT_LIST", "redis: Whether to scrape Client List specific metrics").BoolVar(&o.ExportClientList)
	f.Flag("export-client-port", "REDIS_EXPORTER_EXPORT_CLIENT_PORT", "redis: Whether to include the client's port when exporting the client list. Warning: including the port increases the number of metrics generated and will make your Prometheus server take up more memory").BoolVar(&o.ExportClientsInclPort)
	f.Flag("redis-only-metrics", "REDIS_EXPORTER_REDIS_ONLY_METRICS", "redis: Whether to also export go runtime metrics").BoolVar(&o.RedisMetricsOnly)
	f.Flag("ping-on-connect", "REDIS_EXPORTER_PING_ON_CONNECT", "redis: Whether to ping the redis instance after connecting").BoolVar(&o.PingOnConnect)
	f.Flag("include-config-metrics", "REDIS_EXPORTER_INCL_CONFIG_METRICS", "redis: Whether to include all config settings as metrics").BoolVar(&o.InclConfigMetrics)
	f.Flag("redact-config-metrics", "REDIS_EXPORTER_REDACT_CONFIG_METRICS", "redis: Whether to redact config settings that include potentially sensitive information like passwords").Default("true").BoolVar(&o.RedactConfigMetrics)
	f.Flag("include-modules-metrics", "REDIS_EXPORTER_INCL_MODULES_METRICS", "redis: Whether to collect Redis Modules metrics").BoolVar(&o.InclModulesMetrics)
	f.Flag("disable-exporting-key-values", "REDIS_EXPORTER_DISABLE_EXPORTING_KEY_VALUES", "redis: Whether to disable values of keys stored in redis as labels or not when using check-keys/check-single-key").BoolVar(&o.DisableExportingKeyValues)
	f.Flag("exclude-latency-histogram-metrics", "REDIS_EXPORTER_EXCLUDE_LATENCY_HISTOGRAM_METRICS", "redis: Do not try to collect latency histogram metrics").BoolVar(&o.ExcludeLatencyHistogramMetrics)
	f.Flag("include-system-metrics", "REDIS_EXPORTER_INCL_SYSTEM_METRICS", "redis: Whether to include system metrics like e.g. redis_total_system_memory_bytes").BoolVar(&o.InclSystemMetrics)
	f.Flag("skip-checkkeys-for-role-master", "REDIS_EXPORTER_SKIP_CHECKKEYS_FOR_ROLE_MASTER", "redis: Whether to skip gathering the check-keys metrics (size, val) when the instance is of type master (reduce load on master nodes)").BoolVar(&o.SkipCheckKeysForRoleMaster)
	f.Flag("include-metrics-for-empty-databases", "REDIS_EXPORTER_INCL_METRICS_FOR_EMPTY_DATABASES", "redis: Whether to emit db metrics (like db_keys) for empty databases").Default("true").BoolVar(&o.InclMetricsForEmptyDatabases)
}

// New returns the collector of the configured Redis.
func New(c Config, log *slog.Logger) (*collector.Set, error) {
	redirectLog(log)
	o, err := c.complete()
	if err != nil {
		return nil, err
	}
	return newSet(c.Addr, o, "--redis.addr", log)
}

// NewProbe returns the collector of the Redis that the parameter "target" of a
// request names. Its errors are for the one who asked.
func NewProbe(c Config, query url.Values, log *slog.Logger) (*collector.Set, error) {
	redirectLog(log)
	target := query.Get("target")
	if target == "" {
		return nil, errors.New("'target' parameter must be specified")
	}
	o, err := c.complete()
	if err != nil {
		return nil, err
	}
	if !sameServer(target, cmp.Or(c.Addr, "redis://localhost:6379")) && !c.PasswordForAll {
		o.Password, o.User = "", "" // they are for --redis.addr; whoever asks could name a server of their own
	}
	for name, option := range map[string]*string{
		"check-keys": &o.CheckKeys, "check-single-keys": &o.CheckSingleKeys,
		"check-streams": &o.CheckStreams, "check-single-streams": &o.CheckSingleStreams,
		"count-keys": &o.CountKeys,
	} {
		if v := query.Get(name); v != "" {
			*option = v
		}
	}
	if !strings.Contains(target, "://") {
		target = "redis://" + target
	}
	if u, err := url.Parse(target); err == nil && u.User != nil {
		// As upstream: passwords come from the file and not from URLs.
		o.User = u.User.Username()
		u.User = nil
		target = u.String()
	}
	return newSet(target, o, "target", log)
}

// sameServer reports whether two addresses are one, whatever user they name.
func sameServer(a, b string) bool {
	normal := func(addr string) string {
		if !strings.Contains(addr, "://") {
			addr = "redis://" + addr
		}
		u, err := url.Parse(addr)
		if err != nil {
			return addr
		}
		u.User = nil
		return strings.TrimSuffix(u.String(), "/")
	}
	return normal(a) == normal(b)
}

// complete reads the files and fills in what the zero value leaves out.
func (c Config) complete() (upstream.Options, error) {
	o := c.Options
	if o.Namespace == "" {
		o.Namespace = "redis"
	}
	if o.ConfigCommandName == "" {
		o.ConfigCommandName = "CONFIG"
	}
	if o.ConnectionTimeouts == 0 {
		o.ConnectionTimeouts = 15 * time.Second
	}
	if o.ConnectionTimeouts < 0 {
		return o, fmt.Errorf("--connection-timeout: %v is negative", o.ConnectionTimeouts)
	}
	if o.Password == "" {
		o.Password = os.Getenv("REDIS_PASSWORD")
	}
	if o.Password == "" && c.PasswordFile != "" {
		text, err := os.ReadFile(c.PasswordFile)
		if err != nil {
			return o, fmt.Errorf("--redis.password-file: %w", err)
		}
		o.PasswordMap = map[string]string{}
		if strings.HasPrefix(strings.TrimSpace(string(text)), "{") {
			if err := json.Unmarshal(text, &o.PasswordMap); err != nil {
				return o, fmt.Errorf("--redis.password-file: %q is not a JSON object of addresses and passwords: %w", c.PasswordFile, err)
			}
		} else if o.Password = strings.TrimRight(string(text), "\r\n"); o.Password == "" {
			return o, fmt.Errorf("--redis.password-file: %q is empty", c.PasswordFile)
		}
	}
	if c.Scripts != "" {
		o.LuaScript = map[string][]byte{}
		for path := range strings.SplitSeq(c.Scripts, ",") {
			text, err := os.ReadFile(path)
			if err != nil {
				return o, fmt.Errorf("--script: %w", err)
			}
			o.LuaScript[path] = text
		}
	}
	if (o.ClientCertFile == "") != (o.ClientKeyFile == "") {
		return o, errors.New("--tls-client-cert-file and --tls-client-key-file go together; only one is given")
	}
	o.Registry = nil // ours is made for each scrape
	return o, nil
}

// adapter makes upstream's collector ours.
type adapter struct {
	upstream  *upstream.Exporter
	addr      string // with a scheme, without user and password
	options   upstream.Options
	lastError *prometheus.Desc
	down      []prometheus.Metric
}

func newSet(addr string, o upstream.Options, field string, log *slog.Logger) (*collector.Set, error) {
	if addr == "" {
		addr = "redis://localhost:6379"
	}
	if !strings.Contains(addr, "://") {
		addr = "redis://" + addr
	}
	u, err := url.Parse(addr)
	if err != nil {
		return nil, fmt.Errorf("%s is not an address (not shown because it may contain a password); it must be redis://HOST:PORT", field)
	}
	switch u.Scheme {
	case "redis", "rediss", "valkey", "valkeys", "unix":
	default:
		return nil, fmt.Errorf("%s %q: must be redis://, rediss://, valkey://, valkeys:// or unix://", field, u.Redacted())
	}
	// Upstream quotes the address in its metrics when it cannot connect.
	if u.User != nil {
		if name := u.User.Username(); name != "" {
			o.User = name
		}
		if p, ok := u.User.Password(); ok {
			o.Password = p
		}
		u.User = nil
	}
	a := &adapter{addr: u.String(), options: o}
	if a.upstream, err = upstream.NewRedisExporter(a.addr, o); err != nil {
		return nil, fmt.Errorf("redis: %w", err)
	}
	if _, err := a.upstream.CreateClientTLSConfig(); err != nil {
		return nil, fmt.Errorf("--tls-client-cert-file, --tls-client-key-file, --tls-ca-cert-file: %w", err)
	}
	a.down = []prometheus.Metric{}
	descs := make(chan *prometheus.Desc)
	go func() {
		defer close(descs)
		a.upstream.Describe(descs)
	}()
	for d := range descs {
		switch {
		case strings.Contains(d.String(), `"`+o.Namespace+`_up"`):
			a.down = append(a.down, prometheus.MustNewConstMetric(d, prometheus.GaugeValue, 0))
		case strings.Contains(d.String(), `"`+o.Namespace+`_exporter_last_scrape_error"`):
			a.lastError = d
			a.down = append(a.down, prometheus.MustNewConstMetric(d, prometheus.GaugeValue, 1, collector.ErrHung.Error()))
		}
	}
	return collector.NewSet(map[string]collector.Collector{Name: a}, log, collector.Report), nil
}

func (a *adapter) Collect(_ context.Context, ch chan<- prometheus.Metric) error {
	found := make(chan prometheus.Metric, 64)
	failed := make(chan string, 1)
	go func() {
		var text string
		for m := range found {
			if m.Desc() == a.lastError {
				if text = errorText(m); text != "" {
					continue // is sent with the reason
				}
			}
			ch <- m
		}
		failed <- text
	}()
	func() {
		defer close(found) // also if it panics
		a.upstream.Collect(found)
	}()
	text := <-failed
	if text == "" {
		return nil
	}
	err := a.why(text)
	reason := strings.ToValidUTF8(ownPort.ReplaceAllString(err.Error(), "$1"), "\uFFFD")
	if m, err := prometheus.NewConstMetric(a.lastError, prometheus.GaugeValue, 1, reason); err == nil {
		ch <- m
	}
	return err
}

// ownPort is our end of a connection in an error, as in "read tcp 127.0.0.1:40001->127.0.0.1:6379:
// i/o timeout" and "set tcp 127.0.0.1:40001: use of closed network connection". It differs at
// each scrape, and with it in a label each scrape would make a new series.
var ownPort = regexp.MustCompile(`(\bset tcp[46]?) \S+\d|\S+->`)

// errorText is the label of the metric that says whether the scrape failed, ""
// if it did not.
func errorText(m prometheus.Metric) string {
	var d dto.Metric
	if m.Write(&d) != nil || d.Gauge.GetValue() == 0 {
		return ""
	}
	return d.Label[0].GetValue()
}

// why says what is wrong. Upstream dials a second time with the scheme as the
// network, and reports how that failed; so the first is made once more.
func (a *adapter) why(failed string) error {
	addr := strings.Replace(a.addr, "valkey", "redis", 1) // as upstream does
	scheme, _, _ := strings.Cut(addr, "://")
	if failed != "dial "+scheme+": unknown network "+scheme {
		return errors.New(failed)
	}
	tlsConfig, err := a.upstream.CreateClientTLSConfig()
	if err != nil {
		return err
	}
	password := a.options.Password
	for uri, p := range a.options.PasswordMap {
		if u, err := url.Parse(uri); err == nil && u.User.Username() == a.options.User {
			u.User = nil
			if u.String() == a.addr {
				password = p
			}
		}
	}
	c, err := redis.DialURL(
		addr,
		redis.DialConnectTimeout(a.options.ConnectionTimeouts), redis.DialReadTimeout(a.options.ConnectionTimeouts), redis.DialWriteTimeout(a.options.ConnectionTimeouts),
		redis.DialTLSConfig(tlsConfig), redis.DialUseTLS(strings.HasPrefix(addr, "rediss://")),
		redis.DialUsername(a.options.User), redis.DialPassword(password),
	)
	if err != nil {
		return err
	}
	c.Close()
	return errors.New("could not connect, and then could")
}

func (a *adapter) Down() []prometheus.Metric { return a.down }

func (a *adapter) Close() error { return nil }
