package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/alecthomas/units"
	"github.com/prometheus/alertmanager/cluster"
	remoteapi "github.com/prometheus/client_golang/exp/api/remote"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/common/promslog"
	promslogflag "github.com/prometheus/common/promslog/flag"
	"github.com/prometheus/common/version"
	"github.com/prometheus/prometheus/model/relabel"
	"github.com/prometheus/prometheus/notifier"
	"github.com/prometheus/prometheus/scrape"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/agent"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/util/compression"
	"github.com/prometheus/prometheus/util/documentcli"
	"github.com/prometheus/prometheus/web"

	"github.com/clanmon/clanmon/cmd/internal/cli"
	"github.com/clanmon/clanmon/discovery"
	"github.com/clanmon/clanmon/discovery/contract"
	"github.com/clanmon/clanmon/discovery/tailscale"
	"github.com/clanmon/clanmon/internal/tailscaled"
	"github.com/clanmon/clanmon/server"
	"github.com/clanmon/clanmon/server/api"
	"github.com/clanmon/clanmon/server/delivery"
	"github.com/clanmon/clanmon/server/engine"
)

// serverCommand is "clanmon server": every flag of Prometheus 3.16 with the
// same default, and a few of our own.
type serverCommand struct {
	env  cli.Env
	app  *kingpin.Application
	opts server.Options

	configFileSet, dataDirSet, corsOriginSet bool
	retentionFlags                           []string // those that were given, in their order

	// Values whose unit or type is not that of the option they end in.
	autoReloadInterval                               model.Duration
	readTimeout, remoteFlush, lookback, queryTimeout model.Duration
	outageTolerance, forGracePeriod, resendDelay     model.Duration
	backfillMaxAge                                   model.Duration
	minBlock, maxBlock, blockReload                  model.Duration
	chunkSegment, walSegment, agentWALSegment        units.Base2Bytes
	walCompression, agentWALCompression              bool
	walCompressionType, agentWALCompressionType      string
	agentTruncate, agentMinTime, agentMaxTime        model.Duration
	tsdbDir, agentDir, externalURL, corsOrigin       string
	process                                          processOptions
	log                                              promslog.Config
	serverOnly, agentOnly                            []string // those that were given
}

func newServerCommand(e cli.Env) cli.Command {
	c := &serverCommand{env: e}
	version.Version = cli.ModuleVersion(cli.PrometheusModule)
	version.Revision, version.Branch, version.BuildDate = cli.BuildCommit, "clanmon-"+cli.BuildVersion, cli.BuildDate
	c.app = cli.NewApp("clanmon server", "Monitor machines: discover, scrape, store, query and alert. Takes the flags of Prometheus "+version.Version+".", e)
	c.app.Version(cli.UpstreamVersion("prometheus", cli.PrometheusModule))
	c.defineFlags()
	cli.Sections(c.app, []cli.Section{
		{Title: "Common flags", Flags: []string{
			"help", "config.file", "discovery", "discovery.static", "discovery.dns", "notify", "storage.tsdb.path", "retention",
			"web.listen-address", "web.external-url", "web.config.file", "log.level",
		}},
		{Title: "Discovery and scraping", Flags: []string{"discovery.", "clan.", "scrape.", "check", "backfill", "backfill.", "push", "push.", "config.", "look"}},
		{Title: "HTTP and pages", Flags: []string{"web.", "boards"}},
		{Title: "Storage", Flags: []string{"storage.", "remote-write", "external-label"}},
		{Title: "Rules and queries", Flags: []string{"rules.", "query.", "jobs.", "ping."}},
		{Title: "Alerts and notifications", Flags: []string{"notify.", "alertmanager."}},
		{Title: "Pair of servers", Flags: []string{"replica", "cluster."}},
		{Title: "Process", Flags: []string{""}},
	})
	return c
}

// forServer and forAgent define a flag that only one of the two modes has.
func (c *serverCommand) forServer(name, help string) *kingpin.FlagClause {
	return c.restricted(name, help+" Use with server mode only.", &c.serverOnly)
}

func (c *serverCommand) forAgent(name, help string) *kingpin.FlagClause {
	return c.restricted(name, help+" Use with agent mode only.", &c.agentOnly)
}

func (c *serverCommand) restricted(name, help string, given *[]string) *kingpin.FlagClause {
	return c.app.Flag(name, help).PreAction(func(*kingpin.ParseContext) error {
		*given = append(*given, "--"+name)
		return nil
	})
}

// retentionTime defines a flag that sets how long samples are kept.
func (c *serverCommand) retentionTime(name, help string) *kingpin.FlagClause {
	return c.forServer(name, help).PreAction(func(*kingpin.ParseContext) error {
		c.retentionFlags = append(c.retentionFlags, "--"+name)
		return nil
	})
}

func (c *serverCommand) defineFlags() {
	a, o := c.app, &c.opts
	o.Scrape = scrape.Options{}
	o.TSDB.FloatChunkEncoding = chunkenc.EncXOR

	a.Flag("config.file", "Prometheus configuration file path. Without this flag, ./prometheus.yml is read if it exists; otherwise the server scrapes itself and this machine.").PlaceHolder("prometheus.yml").IsSetByUser(&c.configFileSet).StringVar(&o.ConfigFile)
	a.Flag("config.auto-reload", "Enable automatic configuration file reloading. See also --config.auto-reload-interval.").Default("false").BoolVar(&o.AutoReload)
	a.Flag("config.auto-reload-interval", "Specifies the interval for checking and automatically reloading the Prometheus configuration file upon detecting changes. Only used when --config.auto-reload is set.").Default("30s").SetValue(&c.autoReloadInterval)

	// Discovery.
	d := &o.Discovery
	a.Flag("discovery", "Discovery method to enable: "+strings.Join(discovery.Methods, ", ")+". Targets are added to those of the configuration file. Repeatable.").PlaceHolder("METHOD").StringsVar(&d.Methods)
	a.Flag("discovery.tailscale.socket", "Path to the socket of the local tailscaled.").PlaceHolder(tailscaled.DefaultSocket).StringVar(&d.TailscaleSocket)
	a.Flag("discovery.tailscale.job", "Job to scrape on the Linux machines of the tailnet, or only on those with a tag: JOB[:PORT][@TAG,…]. Repeatable. Defaults to "+strings.Join(tailscale.DefaultJobs, ", ")+".").PlaceHolder("JOB").StringsVar(&d.TailscaleJobs)
	a.Flag("discovery.tailscale.tag", "Tag of the machines to discover. Repeatable: machines with any of the tags. Defaults to all machines.").PlaceHolder("TAG").StringsVar(&d.TailscaleTags)
	a.Flag("discovery.tailscale.intermittent-tag", "Tag of machines that are not always on, such as laptops. Repeatable. Defaults to "+strings.Join(tailscale.DefaultIntermittentTags, " and ")+".").PlaceHolder("TAG").StringsVar(&d.TailscaleIntermittent)
	a.Flag("discovery.dns", "Machines in DNS: JOB=NAME[:PORT][/TYPE]. Types: A, AAAA, SRV, MX, NS. *.NAME stands for all names of a zone and needs permission for a zone transfer. Repeatable.").PlaceHolder("JOB=NAME").StringsVar(&d.DNS)
	a.Flag("discovery.static", "List of machines: JOB=[NAME@]HOST[:PORT],… Repeatable.").PlaceHolder("JOB=HOST,…").StringsVar(&d.Static)
	a.Flag("discovery.inventory", "Path to a JSON file that lists machines, as written by the clan service.").PlaceHolder("FILE").StringVar(&d.Inventory)
	a.Flag("check", "Service to check from this server: https://HOST, tcp://HOST:PORT, tls://HOST, smtp+starttls://HOST, ping://HOST, dns://SERVER/NAME. NAME is the name of the check, the host by default. Repeatable.").PlaceHolder("[NAME=]URL").StringsVar(&d.Checks)
	a.Flag("ping.file", "Path to a YAML or JSON file with jobs that report to /ping/TOKEN, as to healthchecks.io. It is read again with the configuration.").PlaceHolder("FILE").StringVar(&o.PingFile)
	a.Flag("boards", "Path to a JSON file with a board to show read-only. Repeatable.").PlaceHolder("FILE").StringsVar(&o.Boards)
	c.forServer("push", "Accept samples by remote write at /api/v1/push, from machines that prove their name by a client certificate, a token with the role machine (see --web.token-file) or the tailnet.").BoolVar(&o.Push.Enabled)
	c.forServer("push.availability", "Label availability of machines that push: always, or intermittent for machines that are not always on.").Default(contract.Intermittent).EnumVar(&o.Push.Availability, contract.Always, contract.Intermittent)
	c.forServer("push.series-limit", "Maximum number of series per machine that pushes. 0 means no limit.").Default("50000").UintVar(&o.Push.MaxSeries)
	a.Flag("clan.settings", "Path to a JSON or YAML file with discovery settings, as the clan.lol service for NixOS writes it.").PlaceHolder("FILE").StringVar(&d.SettingsFile)

	a.Flag("look", "Let operators read the journals and list the processes of machines whose exporters run with --look.").BoolVar(&o.Look)

	// HTTP.
	a.Flag("web.listen-address", "Address to listen on for UI, API, and telemetry. Can be repeated.").Default("0.0.0.0:9090").StringsVar(&o.Web.ListenAddresses)
	a.Flag("web.systemd-socket", "Use systemd socket activation listeners instead of port listeners (Linux only).").BoolVar(&o.SystemdSocket)
	a.Flag("web.config.file", "[EXPERIMENTAL] Path to configuration file that can enable TLS or authentication.").Default("").StringVar(&o.WebConfigFile)
	a.Flag("web.read-timeout", "Maximum duration before timing out read of the request, and closing idle connections. The header of a request may take 10s, and an idle connection is closed after 2m, if these are shorter.").Default("5m").SetValue(&c.readTimeout)
	a.Flag("web.max-connections", "Maximum number of simultaneous connections across all listeners.").Default("512").IntVar(&o.Web.MaxConnections)
	a.Flag("web.max-notifications-subscribers", "Limits the maximum number of subscribers that can concurrently receive live notifications. If the limit is reached, new subscription requests will be denied until existing connections close.").Default("16").IntVar(&o.MaxNotificationsSubscribers)
	a.Flag("web.external-url", "The URL under which Prometheus is externally reachable (for example, if Prometheus is served via a reverse proxy). Used for generating relative and absolute links back to Prometheus itself. If the URL has a path portion, it will be used to prefix all HTTP endpoints served by Prometheus. If omitted, relevant URL components will be derived automatically.").PlaceHolder("<URL>").StringVar(&c.externalURL)
	a.Flag("web.route-prefix", "Prefix for the internal routes of web endpoints. Defaults to path of --web.external-url.").PlaceHolder("<path>").StringVar(&o.Web.RoutePrefix)
	a.Flag("web.user-assets", "Path to static asset directory, available at /user.").PlaceHolder("<path>").StringVar(&o.Web.UserAssetsPath)
	a.Flag("web.enable-lifecycle", "Enable shutdown and reload via HTTP request.").Default("false").BoolVar(&o.Web.EnableLifecycle)
	a.Flag("web.enable-admin-api", "Enable API endpoints for admin control actions.").Default("false").BoolVar(&o.Web.EnableAdminAPI)
	a.Flag("web.enable-remote-write-receiver", "Enable API endpoint accepting remote write requests.").Default("false").BoolVar(&o.Web.EnableRemoteWriteReceiver)
	messages := remoteapi.MessageTypes{remoteapi.WriteV1MessageType, remoteapi.WriteV2MessageType}
	a.Flag("web.remote-write-receiver.accepted-protobuf-messages", "List of the remote write protobuf messages to accept when receiving the remote writes. Supported values: "+messages.String()).
		Default(messages.Strings()...).SetValue((*messageTypes)(&o.Web.AcceptRemoteWriteProtoMsgs))
	a.Flag("web.enable-otlp-receiver", "Enable API endpoint accepting OTLP write requests.").Default("false").BoolVar(&o.Web.EnableOTLPWriteReceiver)
	a.Flag("web.console.templates", "Path to the console template directory, available at /consoles.").Default("consoles").StringVar(&o.Web.ConsoleTemplatesPath)
	a.Flag("web.console.libraries", "Path to the console library directory.").Default("console_libraries").StringVar(&o.Web.ConsoleLibrariesPath)
	a.Flag("web.page-title", "Document title of Prometheus instance.").Default("Prometheus Time Series Collection and Processing Server").StringVar(&o.Web.PageTitle)
	a.Flag("web.allowed-host", "Host name that browsers may use for this server, in addition to its own names, those of discovered machines and the host of --web.external-url. * allows any. Repeatable.").PlaceHolder("NAME").StringsVar(&o.AllowedHosts)
	a.Flag("web.writes", "Who may create silences, add notes, change boards, send alerts, test receivers and forget machines over HTTP: open (everybody), identified (operators, see --web.operator), auto (also this machine and its networks, if no identity is configured), off (nobody).").Envar("CLANMON_WEB_WRITES").Default(api.WritesAuto).EnumVar(&o.Writes, api.Writes...)
	i := &o.Identity
	a.Flag("web.operator", "Who may make changes and look into machines: the name of a user, tag:NAME of the tailnet, group:NAME, or identified (everybody who is identified, but no tagged or shared-in device). Repeatable. Without this flag, clients with a password or certificate of --web.config.file may.").PlaceHolder("NAME").StringsVar(&i.Operators)
	a.Flag("web.viewer", "Who may read: names as for --web.operator, or * (everybody, also who is not identified). Repeatable. Defaults to *.").PlaceHolder("NAME").StringsVar(&i.Viewers)
	a.Flag("web.identity.header", "HTTP header in which a --web.trusted-proxy sends the name of the user, such as Remote-User, X-Forwarded-Email or Tailscale-User-Login.").PlaceHolder("HEADER").StringVar(&i.Header)
	a.Flag("web.identity.groups-header", "HTTP header in which a --web.trusted-proxy sends the groups of the user, separated by commas.").PlaceHolder("HEADER").StringVar(&i.GroupsHeader)
	a.Flag("web.trusted-proxy", "Address or network of a proxy whose --web.identity.header is believed, or unix for clients of a unix socket. Repeatable.").PlaceHolder("CIDR").StringsVar(&i.TrustedProxies)
	a.Flag("web.token-file", "Path to a file with tokens of programs, one per line: NAME ROLE SHA256. The role is viewer or operator, or machine for one that pushes. Programs send the token as Authorization: Bearer. Repeatable.").PlaceHolder("FILE").StringsVar(&i.TokenFiles)
	a.Flag("web.oidc.issuer", "URL of an OpenID Connect provider at which people log in. Needs https, --web.oidc.client-id and --web.viewer.").PlaceHolder("URL").StringVar(&i.OIDC.Issuer)
	a.Flag("web.oidc.client-id", "Client ID of this server at the provider. The redirect URI is --web.external-url with /-/login/callback.").PlaceHolder("ID").StringVar(&i.OIDC.ClientID)
	a.Flag("web.oidc.client-secret-file", "Path to a file with the client secret. Without it, the server is a public client.").PlaceHolder("FILE").StringVar(&i.OIDC.ClientSecretFile)
	a.Flag("web.oidc.scope", "Scope to request in addition to openid, profile and email. Repeatable.").PlaceHolder("SCOPE").StringsVar(&i.OIDC.Scopes)
	a.Flag("web.oidc.name-claim", "Claim of the ID token that names the user. Defaults to email.").PlaceHolder("CLAIM").StringVar(&i.OIDC.NameClaim)
	a.Flag("web.dev-proxy", "URL of a Vite development server that serves the pages. For use in development.").Hidden().PlaceHolder("http://localhost:5173").URLVar(&o.DevProxy)
	a.Flag("web.cors.origin", `Regex for CORS origin. It is fully anchored. Example: 'https?://(domain1|domain2)\.com'. Without this flag, no origin is allowed if more than a Prometheus configuration is given.`).Default(".*").IsSetByUser(&c.corsOriginSet).StringVar(&c.corsOrigin)
	c.forServer("web.search.max-limit", "Hard upper bound on the \"limit\" query parameter accepted by the experimental search API (--enable-feature=search-api). Requests with a higher limit are rejected with HTTP 400. 0 disables the cap.").Default("10000").IntVar(&o.Web.MaxSearchLimit)

	// Storage.
	c.forServer("storage.tsdb.path", "Base path for metrics storage.").Default("data/").IsSetByUser(&c.dataDirSet).StringVar(&c.tsdbDir)
	c.retentionTime("storage.tsdb.retention.time", "[DEPRECATED] How long to retain samples in storage. If neither this flag nor \"storage.tsdb.retention.size\" is set, the retention time defaults to 15d. Units Supported: y, w, d, h, m, s, ms. This flag has been deprecated, use the storage.tsdb.retention.time field in the config file instead.").SetValue(&o.Retention.Time)
	c.retentionTime("retention", "Alias of --storage.tsdb.retention.time.").PlaceHolder("15d").SetValue(&o.Retention.Time)
	c.forServer("storage.tsdb.retention.size", "[DEPRECATED] Maximum number of bytes that can be stored for blocks. A unit is required, supported units: B, KB, MB, GB, TB, PB, EB. Ex: \"512MB\". Based on powers-of-2, so 1KB is 1024B. This flag has been deprecated, use the storage.tsdb.retention.size field in the config file instead.").BytesVar(&o.Retention.Size)
	c.forServer("storage.tsdb.no-lockfile", "Do not create lockfile in data directory.").Default("false").BoolVar(&o.TSDB.NoLockfile)
	c.forServer("storage.tsdb.head-chunks-write-queue-size", "Size of the queue through which head chunks are written to the disk to be m-mapped, 0 disables the queue completely. Experimental.").Default("0").IntVar(&o.TSDB.HeadChunksWriteQueueSize)
	c.forServer("storage.tsdb.delay-compact-file.path", "Path to a JSON file with uploaded TSDB blocks e.g. Thanos shipper meta file. If set TSDB will only compact 1 level blocks that are marked as uploaded in that file, improving external storage integrations e.g. with Thanos sidecar. 1+ level compactions won't be delayed.").Default("").StringVar(&o.PendingUploadsFile)
	c.forServer("storage.tsdb.min-block-duration", "Minimum duration of a data block before being persisted. For use in testing.").Hidden().Default("2h").SetValue(&c.minBlock)
	c.forServer("storage.tsdb.max-block-duration", "Maximum duration compacted blocks may span. For use in testing. (Defaults to 10% of the retention period.)").Hidden().PlaceHolder("<duration>").SetValue(&c.maxBlock)
	c.forServer("storage.tsdb.max-block-chunk-segment-size", "The maximum size for a single chunk segment in a block. Example: 512MB").Hidden().PlaceHolder("<bytes>").BytesVar(&c.chunkSegment)
	c.forServer("storage.tsdb.wal-segment-size", "Size at which to split the tsdb WAL segment files. Example: 100MB").Hidden().PlaceHolder("<bytes>").BytesVar(&c.walSegment)
	c.forServer("storage.tsdb.allow-overlapping-compaction", "Allow compaction of overlapping blocks. If set to false, TSDB stops vertical compaction and leaves overlapping blocks there. The use case is to let another component handle the compaction of overlapping blocks.").Default("true").Hidden().BoolVar(&o.TSDB.EnableOverlappingCompaction)
	c.forServer("storage.tsdb.wal-compression", "Compress the tsdb WAL. If false, the --storage.tsdb.wal-compression-type flag is ignored.").Hidden().Default("true").BoolVar(&c.walCompression)
	c.forServer("storage.tsdb.wal-compression-type", "Compression algorithm for the tsdb WAL, used when --storage.tsdb.wal-compression is true.").Hidden().Default(compression.Snappy).EnumVar(&c.walCompressionType, compression.Snappy, compression.Zstd)
	c.forServer("storage.tsdb.samples-per-chunk", "Target number of samples per chunk.").Default("120").Hidden().IntVar(&o.TSDB.SamplesPerChunk)
	c.forServer("storage.tsdb.delayed-compaction.max-percent", "Sets the upper limit for the random compaction delay, specified as a percentage of the head chunk range. 100 means the compaction can be delayed by up to the entire head chunk range. Only effective when the delayed-compaction feature flag is enabled.").Default("10").Hidden().IntVar(&o.TSDB.CompactionDelayMaxPercent)
	c.forServer("storage.tsdb.block-reload-interval", "Interval at which to check for new or removed blocks in storage. Users who manually backfill or drop blocks must wait up to this duration before changes become available.").Default("1m").Hidden().SetValue(&c.blockReload)

	c.forAgent("storage.agent.path", "Base path for metrics storage.").Default("data-agent/").StringVar(&c.agentDir)
	c.forAgent("storage.agent.wal-segment-size", "Size at which to split WAL segment files. Example: 100MB").Hidden().PlaceHolder("<bytes>").BytesVar(&c.agentWALSegment)
	c.forAgent("storage.agent.wal-compression", "Compress the agent WAL. If false, the --storage.agent.wal-compression-type flag is ignored.").Default("true").BoolVar(&c.agentWALCompression)
	c.forAgent("storage.agent.wal-compression-type", "Compression algorithm for the agent WAL, used when --storage.agent.wal-compression is true.").Hidden().Default(compression.Snappy).EnumVar(&c.agentWALCompressionType, compression.Snappy, compression.Zstd)
	c.forAgent("storage.agent.wal-truncate-frequency", "The frequency at which to truncate the WAL and remove old data.").Hidden().PlaceHolder("<duration>").SetValue(&c.agentTruncate)
	c.forAgent("storage.agent.retention.min-time", "Minimum age samples may be before being considered for deletion when the WAL is truncated").Default(milliseconds(agent.DefaultMinWALTime)).SetValue(&c.agentMinTime)
	c.forAgent("storage.agent.retention.max-time", "Maximum age samples may be before being forcibly deleted when the WAL is truncated").Default(milliseconds(agent.DefaultMaxWALTime)).SetValue(&c.agentMaxTime)
	c.forAgent("storage.agent.checkpoint-from-in-memory-series", "Use only in-memory series data when building a checkpoint.").Default("false").BoolVar(&o.AgentDB.CheckpointFromInMemorySeries)
	c.forAgent("storage.agent.checkpoint-batch-size", "Size of a single WAL log entry chunk to be flushed. Has no effect without --storage.agent.checkpoint-from-in-memory-series flag.").Default("1000").IntVar(&o.AgentDB.CheckpointBatchSize)
	c.forAgent("storage.agent.no-lockfile", "Do not create lockfile in data directory.").Default("false").BoolVar(&o.AgentDB.NoLockfile)

	a.Flag("remote-write", "URL that all samples are sent to by remote write, in addition to remote_write of the configuration file. Repeatable.").PlaceHolder("URL").SetValue((*receivers)(&o.RemoteWrite))
	a.Flag("external-label", "Label of this server for other systems, in addition to external_labels of the configuration file: NAME=VALUE. Repeatable.").PlaceHolder("NAME=VALUE").SetValue((*externalLabels)(&o.ExternalLabels))
	a.Flag("storage.remote.flush-deadline", "How long to wait flushing sample on shutdown or config reload.").Default("1m").PlaceHolder("<duration>").SetValue(&c.remoteFlush)
	c.forServer("storage.remote.read-sample-limit", "Maximum overall number of samples to return via the remote read interface, in a single query. 0 means no limit. This limit is ignored for streamed response types.").Default("5e7").IntVar(&o.Web.RemoteReadSampleLimit)
	c.forServer("storage.remote.read-concurrent-limit", "Maximum number of concurrent remote read calls. 0 means no limit.").Default("10").IntVar(&o.Web.RemoteReadConcurrencyLimit)
	c.forServer("storage.remote.read-max-bytes-in-frame", "Maximum number of bytes in a single frame for streaming remote read response types before marshalling. Note that client might have limit on frame size as well. 1MB as recommended by protobuf by default.").Default("1048576").IntVar(&o.Web.RemoteReadBytesInFrame)

	// Rules, alerts, queries.
	c.forServer("rules.alert.for-outage-tolerance", "Max time to tolerate prometheus outage for restoring \"for\" state of alert.").Default("1h").SetValue(&c.outageTolerance)
	c.forServer("rules.alert.for-grace-period", "Minimum duration between alert and restored \"for\" state. This is maintained only for alerts with configured \"for\" time greater than grace period.").Default("10m").SetValue(&c.forGracePeriod)
	c.forServer("rules.alert.resend-delay", "Minimum amount of time to wait before resending an alert to Alertmanager.").Default("1m").SetValue(&c.resendDelay)
	c.forServer("rules.max-concurrent-evals", "Global concurrency limit for independent rules that can run concurrently. When set, \"query.max-concurrency\" may need to be adjusted accordingly.").Default("4").Int64Var(&o.Rules.MaxConcurrentEvals)
	c.forServer("rules.builtin", "Evaluate the built-in rules (see: clanmon rules): on, off, or auto (on with discovery, checks or --ping.file, or without any configuration).").Default("auto").EnumVar(&o.Rules.Builtin, "auto", "on", "off")
	shippedRuleFlags(c.forServer, &o.Rules.Shipped)
	deliver := &o.Delivery
	c.forServer("rules.builtin-outside", "Also send alerts of built-in rules to the Alertmanagers of the configuration file.").Default("false").BoolVar(&deliver.ShippedOutside)
	c.forServer("alertmanager.config.file", "Alertmanager configuration file name. Alerts are delivered from within this process. Receivers may also have ntfy_configs, gotify_configs and matrix_configs.").PlaceHolder("alertmanager.yml").StringVar(&deliver.ConfigFile)
	notifyFlags(c.forServer, deliver)
	plan := &o.Discovery.Notifications
	c.forServer("notify.quiet", "Hours in which only critical alerts are sent to --notify: [DAYS ]HH:MM-HH:MM, such as 22:00-07:00 or \"fri,sat 23:00-09:00\". Alerts that still fire are sent afterwards. Repeatable.").PlaceHolder("HOURS").StringsVar(&plan.Quiet)
	c.forServer("notify.digest", "Report about machines, alerts, disks, backups and certificates that is sent to --notify: daily or weekly.").PlaceHolder("PERIOD").StringVar(&plan.Digest)
	c.forServer("notify.digest-at", "When the digest is sent: [DAY ]HH:MM. Defaults to \"mon 08:00\".").PlaceHolder("TIME").StringVar(&plan.DigestAt)
	c.forServer("notify.time-zone", "Time zone of --notify.quiet and --notify.digest-at, such as Europe/Berlin. Defaults to that of the machine.").PlaceHolder("ZONE").StringVar(&plan.Zone)
	a.Flag("replica", "Name of this server in a pair. Sets the external label replica, and sends alerts without it so that both servers send the same ones.").PlaceHolder("NAME").StringVar(&deliver.Replica)
	c.forServer("cluster.listen-address", "Listen address for cluster. Set to empty string to disable HA mode. Disabled by default.").PlaceHolder("HOST:9094").StringVar(&deliver.Cluster.ListenAddress)
	c.forServer("cluster.advertise-address", "Explicit address to advertise in cluster.").PlaceHolder("HOST:PORT").StringVar(&deliver.Cluster.AdvertiseAddress)
	c.forServer("cluster.peer", "Initial peers (may be repeated).").PlaceHolder("HOST:PORT").StringsVar(&deliver.Cluster.Peers)
	c.forServer("cluster.peer-timeout", "Time to wait between peers to send notifications.").Default("15s").DurationVar(&deliver.Cluster.PeerTimeout)
	c.forServer("cluster.settle-timeout", "Maximum time to wait for cluster connections to settle before evaluating notifications.").Default("1m").DurationVar(&deliver.Cluster.SettleTimeout)
	c.alertmanagerFlags()
	c.forServer("cluster.tls-config", "[EXPERIMENTAL] Path to config yaml file that can enable mutual TLS within the gossip protocol.").PlaceHolder("FILE").StringVar(&deliver.Cluster.TLSConfigFile)
	c.forServer("cluster.label", "The cluster label is an optional string to include on each packet and stream. It uniquely identifies the cluster and prevents cross-communication issues when sending gossip messages.").PlaceHolder("LABEL").StringVar(&deliver.Cluster.Label)
	c.forServer("alertmanager.notification-queue-capacity", "The capacity of the queue for pending Alertmanager notifications.").Default("10000").IntVar(&o.Notifier.QueueCapacity)
	c.forServer("alertmanager.notification-batch-size", "The maximum number of notifications per batch to send to the Alertmanager.").Default(strconv.Itoa(notifier.DefaultMaxBatchSize)).IntVar(&o.Notifier.MaxBatchSize)
	c.forServer("alertmanager.drain-notification-queue-on-shutdown", "Send any outstanding Alertmanager notifications when shutting down. If false, any outstanding Alertmanager notifications will be dropped when shutting down.").Default("true").BoolVar(&o.Notifier.DrainOnShutdown)
	c.forServer("query.lookback-delta", "The maximum lookback duration for retrieving metrics during expression evaluations and federation.").Default("5m").SetValue(&c.lookback)
	c.forServer("query.timeout", "Maximum time a query may take before being aborted.").Default("2m").SetValue(&c.queryTimeout)
	c.forServer("query.max-concurrency", "Maximum number of queries executed concurrently.").Default("20").IntVar(&o.Query.Concurrency)
	c.forServer("query.max-samples", "Maximum number of samples a single query can load into memory. Note that queries will fail if they try to load more samples than this into memory, so this also limits the number of samples a query can return.").Default("50000000").IntVar(&o.Query.MaxSamples)
	c.forServer("query.result-cache-size", "Maximum memory for cached results of range queries. Only new steps of a refreshed query are evaluated. 0 disables the cache.").Default("32MiB").BytesVar(&o.Query.ResultCacheSize)
	c.forServer("query.url", "URL of a Prometheus, Mimir, Thanos or VictoriaMetrics, without /api/v1. Queries read samples from it that are older than the store of this server.").PlaceHolder("URL").SetValue((*engineURL)(&o.Query.History))
	c.forServer("query.dialect", "Product at --query.url: "+strings.Join(engine.Dialects, ", ")+".").Default(string(engine.Prometheus)).EnumVar((*string)(&o.Query.History.Dialect), engine.Dialects...)
	c.forServer("query.config-file", "Path to a YAML file with settings of requests to --query.url: timeout, and the HTTP settings of remote_read, such as basic_auth, tls_config and http_headers.").PlaceHolder("FILE").StringVar(&o.Query.History.ConfigFile)
	c.forServer("query.max-length", "Maximum size of a query in a request, with repetitions in its regular expressions written out. 0 sets no limit.").Default("1MiB").BytesVar(&o.Query.MaxLength)
	c.forServer("query.max-nesting", "Maximum number of operators, functions and brackets within each other in a query, and of selectors in a request. 0 sets no limit.").Default("500").IntVar(&o.Query.MaxNesting)

	// Scrapes.
	a.Flag("scrape.adjust-timestamps", "Adjust scrape timestamps by up to `scrape.timestamp-tolerance` to align them to the intended schedule. See https://github.com/prometheus/prometheus/issues/7846 for more context. Experimental. This flag will be removed in a future release.").Hidden().Default("true").BoolVar(&scrape.AlignScrapeTimestamps)
	a.Flag("scrape.timestamp-tolerance", "Timestamp tolerance. See https://github.com/prometheus/prometheus/issues/7846 for more context. Experimental. This flag will be removed in a future release.").Hidden().Default("2ms").DurationVar(&scrape.ScrapeTimestampTolerance)
	a.Flag("scrape.max-body-size", "Maximum uncompressed size of a scraped response, if the job sets no body_size_limit. Also enables limits for the number and length of labels. 0 means no limit.").Default("15MiB").BytesVar(&o.Limits.MaxBody)
	a.Flag("discovery.max-series", "Maximum number of series per discovered target, if the job sets no sample_limit. 0 means no limit.").Default("50000").UintVar(&o.Limits.MaxSeries)
	c.forServer("backfill", "Fill gaps of targets with what their exporters kept (clanmon exporter --history): on, off, or auto (on with discovery, or without any configuration, unless there is remote write). Widens the out-of-order window to --backfill.max-age and 1h.").Default("auto").EnumVar(&o.Backfill.Mode, "auto", "on", "off")
	c.forServer("backfill.max-age", "How far back gaps are filled.").Default("24h").SetValue(&c.backfillMaxAge)
	a.Flag("scrape.discovery-reload-interval", "Interval used by scrape manager to throttle target groups updates.").Hidden().Default("5s").SetValue(&o.Scrape.DiscoveryReloadInterval)

	// The process.
	a.Flag("auto-gomaxprocs", "Automatically set GOMAXPROCS to match Linux container CPU quota").Default("true").BoolVar(&c.process.maxProcs)
	a.Flag("auto-gomemlimit", "Automatically set GOMEMLIMIT to match Linux container or system memory limit").Default("true").BoolVar(&c.process.memLimit)
	a.Flag("auto-gomemlimit.ratio", "The ratio of reserved GOMEMLIMIT memory to the detected maximum container or system memory").Default("0.9").FloatVar(&c.process.memLimitRatio)
	a.Flag("auto-gomemlimit.refresh-interval", "Interval at which to re-detect the container or system memory limit and update GOMEMLIMIT accordingly. Useful when the limit can change at runtime, e.g. with a Vertical Pod Autoscaler. Set to 0 to detect the limit only once at startup. Note that a downward change in the limit can cause a temporary increase in garbage collection activity. Only used when --auto-gomemlimit is set.").Default("0s").SetValue(&c.process.memLimitRefresh)
	a.Flag("enable-feature", "Comma separated feature names to enable. Valid options: concurrent-rule-eval, created-timestamp-zero-ingestion, delayed-compaction, exemplar-storage, extra-scrape-metrics, histograms-st-encoding, memory-snapshot-on-shutdown, metadata-wal-records, old-ui, openmetrics2, otlp-deltatocumulative, otlp-native-delta-ingestion, promql-binop-fill-modifiers, promql-delayed-name-removal, promql-experimental-functions, promql-per-step-stats, promql-unquoted-utf8-names, query-cost, search-api, st-storage, st-synthesis, type-and-unit-labels, use-start-timestamps, use-uncached-io, xor2-encoding, zstd-scrape. See https://prometheus.io/docs/prometheus/latest/feature_flags/ for more details.").StringsVar(&o.Features)
	a.Flag("agent", "Run Prometheus in 'Agent mode'.").BoolVar(&o.Agent)
	promslogflag.AddFlags(a, &c.log)
	a.Flag("write-documentation", "Generate command line documentation. Internal use.").Hidden().Action(func(*kingpin.ParseContext) error {
		if err := documentcli.GenerateMarkdown(a.Model(), c.env.Stdout); err != nil {
			return err
		}
		panic(cli.Terminated(0))
	}).Bool()
}

// alertmanagerFlags defines those flags of Alertmanager's program that its file
// does not replace, with its defaults and help. Those of the cluster have its names;
// the others would be mistaken for Prometheus' own and have "alertmanager." before them.
func (c *serverCommand) alertmanagerFlags() {
	d := &c.opts.Delivery
	c.forServer("alertmanager.data.retention", "How long to keep data for.").Default(delivery.DefaultRetention.String()).DurationVar(&d.Retention)
	c.forServer("alertmanager.silences.max-silences", "Maximum number of silences, including expired silences. If negative or zero, no limit is set. Without --alertmanager.config.file, zero stands for "+strconv.Itoa(delivery.DefaultMaxSilences)+".").Default("0").IntVar(&d.MaxSilences)
	c.forServer("alertmanager.silences.max-silence-size-bytes", "Maximum silence size in bytes. If negative or zero, no limit is set. Without --alertmanager.config.file, zero stands for "+strconv.Itoa(delivery.DefaultMaxSilenceBytes)+".").Default("0").IntVar(&d.MaxSilenceBytes)
	c.forServer("alertmanager.alerts.per-alertname-limit", "Maximum number of alerts per alertname. If negative or zero, no limit is set.").Default("0").IntVar(&d.PerAlertnameLimit)
	c.forServer("alertmanager.alerts.max-received", "Maximum number of active alerts that were sent to /api/v2, of 4 KiB each on average. If negative, no limit is set.").Default(strconv.Itoa(delivery.DefaultMaxReceived)).IntVar(&d.MaxReceived)
	c.forServer("alertmanager.dispatch.start-delay", "Minimum amount of time to wait before dispatching alerts. This option should be synced with value of --rules.alert.resend-delay on Prometheus.").Default("0s").DurationVar(&d.DispatchStartDelay)
	t := &d.Cluster
	c.forServer("cluster.peers-resolve-timeout", "Time to resolve peers.").Default(cluster.DefaultResolvePeersTimeout.String()).DurationVar(&t.ResolveTimeout)
	c.forServer("cluster.gossip-interval", "Interval between sending gossip messages. By lowering this value (more frequent) gossip messages are propagated across the cluster more quickly at the expense of increased bandwidth.").Default(cluster.DefaultGossipInterval.String()).DurationVar(&t.GossipInterval)
	c.forServer("cluster.pushpull-interval", "Interval for gossip state syncs. Setting this interval lower (more frequent) will increase convergence speeds across larger clusters at the expense of increased bandwidth usage.").Default(cluster.DefaultPushPullInterval.String()).DurationVar(&t.PushPullInterval)
	c.forServer("cluster.tcp-timeout", "Timeout for establishing a stream connection with a remote node for a full state sync, and for stream read and write operations.").Default(cluster.DefaultTCPTimeout.String()).DurationVar(&t.TCPTimeout)
	c.forServer("cluster.probe-timeout", "Timeout to wait for an ack from a probed node before assuming it is unhealthy. This should be set to 99-percentile of RTT (round-trip time) on your network.").Default(cluster.DefaultProbeTimeout.String()).DurationVar(&t.ProbeTimeout)
	c.forServer("cluster.probe-interval", "Interval between random node probes. Setting this lower (more frequent) will cause the cluster to detect failed nodes more quickly at the expense of increased bandwidth usage.").Default(cluster.DefaultProbeInterval.String()).DurationVar(&t.ProbeInterval)
	c.forServer("cluster.reconnect-interval", "Interval between attempting to reconnect to lost peers.").Default(cluster.DefaultReconnectInterval.String()).DurationVar(&t.ReconnectInterval)
	c.forServer("cluster.reconnect-timeout", "Length of time to attempt to reconnect to a lost peer.").Default(cluster.DefaultReconnectTimeout.String()).DurationVar(&t.ReconnectTimeout)
	c.forServer("cluster.peer-name", "Explicit name of the peer, rather than generating a random one").Default("").StringVar(&t.PeerName)
	c.forServer("cluster.allow-insecure-public-advertise-address-discovery", "[EXPERIMENTAL] Allow alertmanager to discover and listen on a public IP address.").BoolVar(&t.AllowPublicAddress)
}

func milliseconds(ms int64) string { return model.Duration(ms * int64(time.Millisecond)).String() }

func (c *serverCommand) Parse(args []string) error {
	if err := cli.ParseFlags(c.app, args); err != nil {
		return err
	}
	if err := c.checkFlags(); err != nil {
		return err
	}
	return c.convert()
}

// checkFlags refuses what Prometheus refuses, with its exit codes.
func (c *serverCommand) checkFlags() error {
	fail := func(code int, format string, args ...any) error {
		return &cli.ExitError{Code: code, Err: fmt.Errorf(format, args...)}
	}
	o := &c.opts
	switch {
	case c.configFileSet && o.ConfigFile == "":
		return fail(2, "--config.file is empty; set it to a file, or remove the flag")
	case o.Web.MaxSearchLimit < 0:
		return fail(1, "--web.search.max-limit is %d; it must be 0 (no limit) or more", o.Web.MaxSearchLimit)
	case o.Agent && len(c.serverOnly) > 0:
		return fail(3, "The following flag(s) can not be used in agent mode: %q", c.serverOnly)
	case !o.Agent && len(c.agentOnly) > 0:
		return fail(3, "The following flag(s) can only be used in agent mode: %q", c.agentOnly)
	case o.Agent && o.AgentDB.CheckpointBatchSize <= 0:
		return fail(1, "--storage.agent.checkpoint-batch-size is %d; it must be more than 0", o.AgentDB.CheckpointBatchSize)
	case c.process.memLimitRatio <= 0 || c.process.memLimitRatio > 1:
		return fail(1, "--auto-gomemlimit.ratio is %g; it must be more than 0 and at most 1", c.process.memLimitRatio)
	}
	for name, size := range map[string]units.Base2Bytes{"tsdb": c.walSegment, "agent": c.agentWALSegment} {
		if size != 0 && (size < 10<<20 || size > 256<<20) {
			return fail(1, "--storage.%s.wal-segment-size is %s; it must be between 10MB and 256MB", name, size)
		}
	}
	if c.chunkSegment != 0 && c.chunkSegment < 1<<20 {
		return fail(1, "--storage.tsdb.max-block-chunk-segment-size is %s; it must be at least 1MB", c.chunkSegment)
	}
	return nil
}

// convert moves the parsed values into the options.
func (c *serverCommand) convert() error {
	o := &c.opts
	o.AutoReloadInterval = max(time.Second, time.Duration(c.autoReloadInterval))
	o.RemoteFlushDeadline = time.Duration(c.remoteFlush)
	o.Query.Lookback, o.Query.Timeout = time.Duration(c.lookback), time.Duration(c.queryTimeout)
	o.Backfill.MaxAge = time.Duration(c.backfillMaxAge)
	o.Given = c.serverOnly
	o.Rules.OutageTolerance, o.Rules.ForGracePeriod, o.Rules.ResendDelay = time.Duration(c.outageTolerance), time.Duration(c.forGracePeriod), time.Duration(c.resendDelay)
	if o.Retention.Time == 0 && o.Retention.Size == 0 {
		o.Retention.Time = model.Duration(15 * 24 * time.Hour)
	}

	ms := func(d model.Duration) int64 { return time.Duration(d).Milliseconds() }
	o.TSDB.MinBlockDuration, o.TSDB.MaxBlockDuration = ms(c.minBlock), ms(c.maxBlock)
	o.TSDB.MaxBlockChunkSegmentSize, o.TSDB.WALSegmentSize = int64(c.chunkSegment), int(c.walSegment)
	o.TSDB.BlockReloadInterval = time.Duration(c.blockReload)
	o.TSDB.WALCompression = compressionType(c.walCompression, c.walCompressionType)
	o.TSDB.StripeSize = tsdb.DefaultStripeSize
	o.AgentDB.WALSegmentSize, o.AgentDB.TruncateFrequency = int(c.agentWALSegment), time.Duration(c.agentTruncate)
	o.AgentDB.MinWALTime, o.AgentDB.MaxWALTime = ms(c.agentMinTime), ms(c.agentMaxTime)
	o.AgentDB.WALCompression = compressionType(c.agentWALCompression, c.agentWALCompressionType)
	o.Dir = c.tsdbDir
	if o.Agent {
		o.Dir = c.agentDir
	}

	var err error
	if o.Web.ExternalURL, err = server.ExternalURL(c.externalURL, o.Web.ListenAddresses[0], o.WebConfigFile); err != nil {
		return cli.UsageError("--web.external-url %q: %w", c.externalURL, err)
	}
	o.Web.RoutePrefix = server.RoutePrefix(o.Web.RoutePrefix, o.Web.ExternalURL.Path)
	if c.externalURL == "" { // no proxy in between: links and pages need the prefix
		o.Web.ExternalURL.Path = strings.TrimSuffix(o.Web.RoutePrefix, "/")
	}
	for _, name := range o.AllowedHosts {
		if name == "" || strings.ContainsAny(name, "/: ") {
			return cli.UsageError("--web.allowed-host %q: must be a name without scheme and port, such as mon.example.org", name)
		}
	}
	if o.DevProxy != nil {
		switch {
		case o.DevProxy.Host == "" || o.DevProxy.Scheme != "http" && o.DevProxy.Scheme != "https":
			return cli.UsageError("--web.dev-proxy %q: must be http://HOST:PORT", o.DevProxy.Redacted())
		case o.Web.RoutePrefix != "/":
			return cli.UsageError("--web.dev-proxy works only with the path /, but --web.external-url or --web.route-prefix sets %q", o.Web.RoutePrefix)
		}
	}
	o.Web.ReadTimeout = time.Duration(c.readTimeout)
	if c.corsOriginSet {
		origin, err := relabel.NewRegexp(c.corsOrigin)
		if err != nil {
			return cli.UsageError("--web.cors.origin %q: %w", c.corsOrigin, err)
		}
		o.Web.CORSOrigin = origin.Regexp
	}
	o.Web.Version = &web.PrometheusVersion{
		Version: version.Version, Revision: version.Revision, Branch: version.Branch,
		BuildUser: version.BuildUser, BuildDate: version.BuildDate, GoVersion: version.GoVersion,
	}
	o.Web.Flags = c.flagValues()
	return nil
}

// flagValues are the flags as /api/v1/status/flags shows them, without those
// that every kingpin application has.
func (c *serverCommand) flagValues() map[string]string {
	boilerplate := kingpin.New("", "").Version("")
	values := make(map[string]string)
	for _, f := range c.app.Model().Flags {
		if boilerplate.GetFlag(f.Name) == nil {
			values[f.Name] = f.Value.String()
		}
	}
	if values["config.file"] == "" {
		values["config.file"] = "prometheus.yml"
	}
	if u := c.opts.Web.ExternalURL; u.User != nil {
		values["web.external-url"] = u.Redacted()
	}
	if values["notify.heartbeat-url"] != "" {
		values["notify.heartbeat-url"] = "<secret>"
	}
	return values
}

func compressionType(on bool, kind string) compression.Type {
	if !on {
		return compression.None
	}
	return kind
}

func (c *serverCommand) Run(ctx context.Context) error {
	c.log.Writer = c.env.Stderr
	log := promslog.New(&c.log)
	slog.SetDefault(log) // libraries that have no logger of their own

	o := c.opts
	o.RetentionSet = len(c.retentionFlags) > 0
	o.ClanmonVersion, o.ClanmonCommit = cli.BuildVersion, cli.OrUnknown(cli.BuildCommit)
	o.Logger, o.LogLevel = log, c.log.Level
	o.Reload = cli.Hangups(ctx)
	if err := c.process.apply(log); err != nil {
		return err
	}
	// The process has one set of metrics, as Prometheus has: packages inside
	// that know only the default registry are in it too.
	o.Registerer, o.Gatherer = prometheus.DefaultRegisterer, prometheus.DefaultGatherer
	systemd := cli.NewServiceManager(ctx, log)
	o.Status = func(now server.Status) {
		switch now {
		case server.Starting:
			systemd.Starting()
		case server.Ready:
			systemd.Ready()
		case server.Settled:
			go cli.ReturnMemory(log)
		case server.Reloading:
			systemd.Reloading()
		case server.Stopping:
			systemd.Stopping()
		}
	}
	o.LocalJobs = localJobs(log)
	c.warn(log)

	s, err := server.New(o)
	if ce, ok := errors.AsType[*server.ConfigError](err); ok {
		if ce.File == "" {
			log.Error("Invalid setting", "err", ce.Err)
		} else {
			log.Error(fmt.Sprintf("Error loading config (--config.file=%s)", o.ConfigFile), "file", ce.File, "err", ce.Err)
		}
		return &cli.ExitError{Code: 2}
	}
	if err != nil {
		log.Error("Could not start", "err", err)
		return &cli.ExitError{Code: 1}
	}
	systemd.Watchdog(s.Answers)
	if err := s.Run(ctx); err != nil {
		log.Error("Fatal error", "err", err)
		return &cli.ExitError{Code: 1}
	}
	return nil
}

// messageTypes is a repeatable flag of remote write messages.
type messageTypes remoteapi.MessageTypes

func (m *messageTypes) IsCumulative() bool { return true }

func (m *messageTypes) String() string {
	return strings.Join((*remoteapi.MessageTypes)(m).Strings(), ",")
}

func (m *messageTypes) Set(s string) error {
	t := remoteapi.WriteMessageType(s)
	if err := t.Validate(); err != nil {
		return err
	}
	if slices.Contains(*m, t) {
		return fmt.Errorf("%s is given twice", t)
	}
	*m = append(*m, t)
	return nil
}
