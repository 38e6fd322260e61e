package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
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
	"github.com/clanmon/clanmon/discovery/tailscale"
	"github.com/clanmon/clanmon/server"
	"github.com/clanmon/clanmon/server/api"
	"github.com/clanmon/clanmon/server/delivery"
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
	c.app = cli.NewApp("clanmon server", "Find, scrape, store, query and alert. Takes the flags of Prometheus "+version.Version+".", e)
	c.app.Version(cli.UpstreamVersion("prometheus", cli.PrometheusModule))
	c.defineFlags()
	return c
}

// forServer and forAgent define a flag that only one of the two modes has.
func (c *serverCommand) forServer(name, help string) *kingpin.FlagClause {
	return c.restricted(name, help+" Server mode only.", &c.serverOnly)
}

func (c *serverCommand) forAgent(name, help string) *kingpin.FlagClause {
	return c.restricted(name, help+" Agent mode only.", &c.agentOnly)
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

	a.Flag("config.file", "Configuration file of Prometheus' format. Without this flag ./prometheus.yml is read if it exists; else the server scrapes itself and this machine.").PlaceHolder("prometheus.yml").IsSetByUser(&c.configFileSet).StringVar(&o.ConfigFile)
	a.Flag("config.auto-reload", "Reload the configuration when its file, or a rule or scrape file that it names, changes.").Default("false").BoolVar(&o.AutoReload)
	a.Flag("config.auto-reload-interval", "How often to look for such changes.").Default("30s").SetValue(&c.autoReloadInterval)

	// Discovery.
	d := &o.Discovery
	a.Flag("discovery", "Find machines by: "+strings.Join(discovery.Methods, ", ")+". Repeatable. What is found is added to what the configuration file says.").PlaceHolder("METHOD").StringsVar(&d.Methods)
	a.Flag("discovery.tailscale.socket", "Socket of the local tailscaled.").PlaceHolder(tailscale.DefaultSocket).StringVar(&d.TailscaleSocket)
	a.Flag("discovery.tailscale.job", "What to scrape on every Linux machine of the tailnet, or on those with a tag: JOB[:PORT][@TAG,…]. Repeatable; "+strings.Join(tailscale.DefaultJobs, ", ")+" by default.").PlaceHolder("JOB").StringsVar(&d.TailscaleJobs)
	a.Flag("discovery.tailscale.tag", "Only machines that have this tag, or another one that is given. Repeatable.").PlaceHolder("TAG").StringsVar(&d.TailscaleTags)
	a.Flag("discovery.tailscale.intermittent-tag", "Tag of machines that are not meant to be on all the time. Repeatable; "+strings.Join(tailscale.DefaultIntermittentTags, " and ")+" by default.").PlaceHolder("TAG").StringsVar(&d.TailscaleIntermittent)
	a.Flag("discovery.dns", "Machines by DNS: JOB=NAME[:PORT][/TYPE], with type A, AAAA, SRV, MX or NS; *.NAME is all names of a zone, if it may be transferred. Repeatable.").PlaceHolder("JOB=NAME").StringsVar(&d.DNS)
	a.Flag("discovery.static", "Machines by hand: JOB=[NAME@]HOST[:PORT],… Repeatable.").PlaceHolder("JOB=HOST,…").StringsVar(&d.Static)
	a.Flag("discovery.inventory", "JSON file of machines, as the clan module writes it.").PlaceHolder("FILE").StringVar(&d.Inventory)
	a.Flag("clan.settings", "JSON or YAML file with the same settings under the names of the clan service.").PlaceHolder("FILE").StringVar(&d.SettingsFile)

	// HTTP.
	a.Flag("web.listen-address", "Address for UI, API and metrics. Repeatable.").Default("0.0.0.0:9090").StringsVar(&o.Web.ListenAddresses)
	a.Flag("web.systemd-socket", "Listen on the sockets that systemd passes instead.").BoolVar(&o.SystemdSocket)
	a.Flag("web.config.file", "File with TLS and authentication settings, in the format of the exporter toolkit.").Default("").StringVar(&o.WebConfigFile)
	a.Flag("web.read-timeout", "Longest time to read a request, and to keep an idle connection; its header may take 10s, and an idle connection is kept for 2m at most.").Default("5m").SetValue(&c.readTimeout)
	a.Flag("web.max-connections", "Most connections at one time, over all listeners.").Default("512").IntVar(&o.Web.MaxConnections)
	a.Flag("web.max-notifications-subscribers", "Most clients that follow live notifications.").Default("16").IntVar(&o.MaxNotificationsSubscribers)
	a.Flag("web.external-url", "URL under which users reach this server, for links; its path becomes the prefix of all endpoints.").PlaceHolder("<URL>").StringVar(&c.externalURL)
	a.Flag("web.route-prefix", "Prefix of all endpoints, if it is not the path of --web.external-url.").PlaceHolder("<path>").StringVar(&o.Web.RoutePrefix)
	a.Flag("web.user-assets", "Directory served at /user.").PlaceHolder("<path>").StringVar(&o.Web.UserAssetsPath)
	a.Flag("web.enable-lifecycle", "Allow shutdown and reload by HTTP.").Default("false").BoolVar(&o.Web.EnableLifecycle)
	a.Flag("web.enable-admin-api", "Allow deletion, snapshots and other administration by HTTP.").Default("false").BoolVar(&o.Web.EnableAdminAPI)
	a.Flag("web.enable-remote-write-receiver", "Accept samples by remote write.").Default("false").BoolVar(&o.Web.EnableRemoteWriteReceiver)
	messages := remoteapi.MessageTypes{remoteapi.WriteV1MessageType, remoteapi.WriteV2MessageType}
	a.Flag("web.remote-write-receiver.accepted-protobuf-messages", "Remote write messages to accept: "+strings.Join(messages.Strings(), ", ")+". Repeatable.").
		Default(messages.Strings()...).SetValue((*messageTypes)(&o.Web.AcceptRemoteWriteProtoMsgs))
	a.Flag("web.enable-otlp-receiver", "Accept metrics by OTLP.").Default("false").BoolVar(&o.Web.EnableOTLPWriteReceiver)
	a.Flag("web.console.templates", "Directory of console templates, served at /consoles.").Default("consoles").StringVar(&o.Web.ConsoleTemplatesPath)
	a.Flag("web.console.libraries", "Directory of console libraries.").Default("console_libraries").StringVar(&o.Web.ConsoleLibrariesPath)
	a.Flag("web.page-title", "Title of the UI's pages.").Default("Prometheus Time Series Collection and Processing Server").StringVar(&o.Web.PageTitle)
	a.Flag("web.allowed-host", "Name under which browsers may use this server, beside its own, those of discovered machines and that of --web.external-url; * for any. Repeatable.").PlaceHolder("NAME").StringsVar(&o.AllowedHosts)
	a.Flag("web.writes", "Who may silence, send alerts, test receivers and forget machines over HTTP: auto (clients that --web.config.file identifies, this machine, and its networks while nothing identifies clients), open, identified, or off.").Default(api.WritesAuto).EnumVar(&o.Writes, api.Writes...)
	a.Flag("web.dev-proxy", "URL of a Vite development server that makes the UI's pages, for working on them.").Hidden().PlaceHolder("http://localhost:5173").URLVar(&o.DevProxy)
	a.Flag("web.cors.origin", "Regular expression, anchored, of the origins that may read the API from a browser. Without this flag, none where more than a Prometheus configuration is given.").Default(".*").IsSetByUser(&c.corsOriginSet).StringVar(&c.corsOrigin)
	c.forServer("web.search.max-limit", "Highest limit that a request to the experimental search API may ask for; 0 for any.").Default("10000").IntVar(&o.Web.MaxSearchLimit)

	// Storage.
	c.forServer("storage.tsdb.path", "Data directory.").Default("data/").IsSetByUser(&c.dataDirSet).StringVar(&c.tsdbDir)
	c.retentionTime("storage.tsdb.retention.time", "How long samples are kept, e.g. 30d; 15d unless a size is given. The configuration file's storage.tsdb.retention wins.").SetValue(&o.Retention.Time)
	c.retentionTime("retention", "Short for --storage.tsdb.retention.time.").PlaceHolder("15d").SetValue(&o.Retention.Time)
	c.forServer("storage.tsdb.retention.size", "Most bytes that blocks may take, e.g. 512MB (powers of two). The configuration file's storage.tsdb.retention wins.").BytesVar(&o.Retention.Size)
	c.forServer("storage.tsdb.no-lockfile", "Do not lock the data directory.").Default("false").BoolVar(&o.TSDB.NoLockfile)
	c.forServer("storage.tsdb.head-chunks-write-queue-size", "Length of the queue through which head chunks reach the disk; 0 for none. Experimental.").Default("0").IntVar(&o.TSDB.HeadChunksWriteQueueSize)
	c.forServer("storage.tsdb.delay-compact-file.path", "JSON file that lists uploaded blocks, as Thanos writes it; fresh blocks that it lacks are not compacted.").Default("").StringVar(&o.PendingUploadsFile)
	c.forServer("storage.tsdb.min-block-duration", "Time range of a new block; for tests.").Hidden().Default("2h").SetValue(&c.minBlock)
	c.forServer("storage.tsdb.max-block-duration", "Longest time range of a compacted block, a tenth of the retention by default; for tests.").Hidden().PlaceHolder("<duration>").SetValue(&c.maxBlock)
	c.forServer("storage.tsdb.max-block-chunk-segment-size", "Largest chunk segment of a block, e.g. 512MB.").Hidden().PlaceHolder("<bytes>").BytesVar(&c.chunkSegment)
	c.forServer("storage.tsdb.wal-segment-size", "Size of a segment of the WAL, e.g. 100MB.").Hidden().PlaceHolder("<bytes>").BytesVar(&c.walSegment)
	c.forServer("storage.tsdb.allow-overlapping-compaction", "Compact blocks that overlap in time; off when something else does.").Default("true").Hidden().BoolVar(&o.TSDB.EnableOverlappingCompaction)
	c.forServer("storage.tsdb.wal-compression", "Compress the WAL.").Hidden().Default("true").BoolVar(&c.walCompression)
	c.forServer("storage.tsdb.wal-compression-type", "How the WAL is compressed.").Hidden().Default(compression.Snappy).EnumVar(&c.walCompressionType, compression.Snappy, compression.Zstd)
	c.forServer("storage.tsdb.samples-per-chunk", "Samples that a chunk aims at.").Default("120").Hidden().IntVar(&o.TSDB.SamplesPerChunk)
	c.forServer("storage.tsdb.delayed-compaction.max-percent", "Longest random delay of a compaction, in percent of the head's range, with the feature delayed-compaction.").Default("10").Hidden().IntVar(&o.TSDB.CompactionDelayMaxPercent)
	c.forServer("storage.tsdb.block-reload-interval", "How often to look for blocks that came or went by other hands.").Default("1m").Hidden().SetValue(&c.blockReload)

	c.forAgent("storage.agent.path", "Data directory.").Default("data-agent/").StringVar(&c.agentDir)
	c.forAgent("storage.agent.wal-segment-size", "Size of a segment of the WAL, e.g. 100MB.").Hidden().PlaceHolder("<bytes>").BytesVar(&c.agentWALSegment)
	c.forAgent("storage.agent.wal-compression", "Compress the WAL.").Default("true").BoolVar(&c.agentWALCompression)
	c.forAgent("storage.agent.wal-compression-type", "How the WAL is compressed.").Hidden().Default(compression.Snappy).EnumVar(&c.agentWALCompressionType, compression.Snappy, compression.Zstd)
	c.forAgent("storage.agent.wal-truncate-frequency", "How often old data leaves the WAL.").Hidden().PlaceHolder("<duration>").SetValue(&c.agentTruncate)
	c.forAgent("storage.agent.retention.min-time", "Age from which samples may leave the WAL.").Default(milliseconds(agent.DefaultMinWALTime)).SetValue(&c.agentMinTime)
	c.forAgent("storage.agent.retention.max-time", "Age at which samples leave the WAL, sent or not.").Default(milliseconds(agent.DefaultMaxWALTime)).SetValue(&c.agentMaxTime)
	c.forAgent("storage.agent.checkpoint-from-in-memory-series", "Build checkpoints from the series in memory alone.").Default("false").BoolVar(&o.AgentDB.CheckpointFromInMemorySeries)
	c.forAgent("storage.agent.checkpoint-batch-size", "Entries written at once by such a checkpoint.").Default("1000").IntVar(&o.AgentDB.CheckpointBatchSize)
	c.forAgent("storage.agent.no-lockfile", "Do not lock the data directory.").Default("false").BoolVar(&o.AgentDB.NoLockfile)

	a.Flag("storage.remote.flush-deadline", "Longest wait for remote write at shutdown and reload.").Default("1m").PlaceHolder("<duration>").SetValue(&c.remoteFlush)
	c.forServer("storage.remote.read-sample-limit", "Most samples in one answer to a remote read, 0 for any; streamed answers have no limit.").Default("5e7").IntVar(&o.Web.RemoteReadSampleLimit)
	c.forServer("storage.remote.read-concurrent-limit", "Most remote reads at one time, 0 for any.").Default("10").IntVar(&o.Web.RemoteReadConcurrencyLimit)
	c.forServer("storage.remote.read-max-bytes-in-frame", "Most bytes in a frame of a streamed remote read.").Default("1048576").IntVar(&o.Web.RemoteReadBytesInFrame)

	// Rules, alerts, queries.
	c.forServer("rules.alert.for-outage-tolerance", "Longest outage of this server after which the \"for\" state of alerts is restored.").Default("1h").SetValue(&c.outageTolerance)
	c.forServer("rules.alert.for-grace-period", "Shortest time between a restored \"for\" state and the alert; only for alerts whose \"for\" is longer.").Default("10m").SetValue(&c.forGracePeriod)
	c.forServer("rules.alert.resend-delay", "Shortest time between two sendings of the same alert.").Default("1m").SetValue(&c.resendDelay)
	c.forServer("rules.max-concurrent-evals", "Most independent rules evaluated at one time, with the feature concurrent-rule-eval.").Default("4").Int64Var(&o.Rules.MaxConcurrentEvals)
	c.forServer("rules.builtin", "Evaluate the rules in the binary (see: clanmon rules): on, off, or auto, which is on with nothing configured or with --discovery.").Default("auto").EnumVar(&o.Rules.Builtin, "auto", "on", "off")
	shippedRuleFlags(c.forServer, &o.Rules.Shipped)
	deliver := &o.Delivery
	c.forServer("rules.builtin-outside", "Send the alerts of the rules in the binary to the Alertmanagers of the configuration file too.").Default("false").BoolVar(&deliver.ShippedOutside)
	c.forServer("alertmanager.config.file", "Deliver alerts by this file of Alertmanager's format, from within this process. Receivers may also have ntfy_configs, gotify_configs and matrix_configs.").PlaceHolder("alertmanager.yml").StringVar(&deliver.ConfigFile)
	notifyFlags(c.forServer, deliver)
	c.forServer("cluster.listen-address", "Address for the gossip with another server that has the same alerts, so that only one of the two sends. Empty: none.").PlaceHolder("HOST:9094").StringVar(&deliver.Cluster.ListenAddress)
	c.forServer("cluster.advertise-address", "Address under which the other reaches this one.").PlaceHolder("HOST:PORT").StringVar(&deliver.Cluster.AdvertiseAddress)
	c.forServer("cluster.peer", "Gossip address of another server. Repeatable.").PlaceHolder("HOST:PORT").StringsVar(&deliver.Cluster.Peers)
	c.forServer("cluster.peer-timeout", "How long to wait for the other to send a notification.").Default("15s").DurationVar(&deliver.Cluster.PeerTimeout)
	c.forServer("cluster.settle-timeout", "Longest wait at the start for what the other knows.").Default("1m").DurationVar(&deliver.Cluster.SettleTimeout)
	c.alertmanagerFlags()
	c.forServer("cluster.tls-config", "File with TLS settings of the gossip, in Alertmanager's format.").PlaceHolder("FILE").StringVar(&deliver.Cluster.TLSConfigFile)
	c.forServer("cluster.label", "Only servers with the same label gossip with each other.").PlaceHolder("LABEL").StringVar(&deliver.Cluster.Label)
	c.forServer("alertmanager.notification-queue-capacity", "Most alerts waiting to be sent.").Default("10000").IntVar(&o.Notifier.QueueCapacity)
	c.forServer("alertmanager.notification-batch-size", "Most alerts sent at once.").Default(strconv.Itoa(notifier.DefaultMaxBatchSize)).IntVar(&o.Notifier.MaxBatchSize)
	c.forServer("alertmanager.drain-notification-queue-on-shutdown", "Send waiting alerts before stopping, instead of dropping them.").Default("true").BoolVar(&o.Notifier.DrainOnShutdown)
	c.forServer("query.lookback-delta", "How far back a query looks for the latest sample of a series.").Default("5m").SetValue(&c.lookback)
	c.forServer("query.timeout", "Longest time that a query may take.").Default("2m").SetValue(&c.queryTimeout)
	c.forServer("query.max-concurrency", "Most queries at one time.").Default("20").IntVar(&o.Query.Concurrency)
	c.forServer("query.max-samples", "Most samples that a query may hold in memory; one that would need more fails.").Default("50000000").IntVar(&o.Query.MaxSamples)

	// Scrapes.
	a.Flag("scrape.adjust-timestamps", "Move scrape timestamps by up to --scrape.timestamp-tolerance onto their schedule, which compresses better.").Hidden().Default("true").BoolVar(&scrape.AlignScrapeTimestamps)
	a.Flag("scrape.timestamp-tolerance", "See --scrape.adjust-timestamps.").Hidden().Default("2ms").DurationVar(&scrape.ScrapeTimestampTolerance)
	a.Flag("scrape.max-body-size", "Maximum size of a scraped response, uncompressed, where a job sets no body_size_limit; limits the number and length of labels, too. 0 sets no limit.").Default("15MiB").BytesVar(&o.Limits.MaxBody)
	a.Flag("discovery.max-series", "Maximum number of series of a target that --discovery found, where nothing sets a sample_limit. 0 sets no limit.").Default("50000").UintVar(&o.Limits.MaxSeries)
	a.Flag("scrape.discovery-reload-interval", "Shortest time between two updates of the targets.").Hidden().Default("5s").SetValue(&o.Scrape.DiscoveryReloadInterval)

	// The process.
	a.Flag("auto-gomaxprocs", "Set GOMAXPROCS to the CPU quota of the container.").Default("true").BoolVar(&c.process.maxProcs)
	a.Flag("auto-gomemlimit", "Set GOMEMLIMIT from the memory limit of the container or the machine.").Default("true").BoolVar(&c.process.memLimit)
	a.Flag("auto-gomemlimit.ratio", "Part of that limit to use.").Default("0.9").FloatVar(&c.process.memLimitRatio)
	a.Flag("auto-gomemlimit.refresh-interval", "How often to look at that limit again; 0 for once.").Default("0s").SetValue(&c.process.memLimitRefresh)
	a.Flag("enable-feature", "Experimental features of Prometheus, comma-separated. Repeatable.").StringsVar(&o.Features)
	a.Flag("agent", "Agent mode: scrape and forward by remote write, without local queries and rules.").BoolVar(&o.Agent)
	promslogflag.AddFlags(a, &c.log)
	a.Flag("write-documentation", "Print the flags as Markdown.").Hidden().Action(func(*kingpin.ParseContext) error {
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
	c.forServer("alertmanager.data.retention", "How long to keep silences and the notification log.").Default(delivery.DefaultRetention.String()).DurationVar(&d.Retention)
	c.forServer("alertmanager.silences.max-silences", "Maximum number of silences, including expired silences. If negative or zero, no limit is set; without --alertmanager.config.file zero stands for "+strconv.Itoa(delivery.DefaultMaxSilences)+".").Default("0").IntVar(&d.MaxSilences)
	c.forServer("alertmanager.silences.max-silence-size-bytes", "Maximum silence size in bytes. If negative or zero, no limit is set; without --alertmanager.config.file zero stands for "+strconv.Itoa(delivery.DefaultMaxSilenceBytes)+".").Default("0").IntVar(&d.MaxSilenceBytes)
	c.forServer("alertmanager.alerts.per-alertname-limit", "Maximum number of alerts per alertname. If negative or zero, no limit is set.").Default("0").IntVar(&d.PerAlertnameLimit)
	c.forServer("alertmanager.alerts.max-received", "Maximum number of alerts sent to /api/v2 by others that are held at one time, of 4 KiB each on average. If negative, no limit is set.").Default(strconv.Itoa(delivery.DefaultMaxReceived)).IntVar(&d.MaxReceived)
	c.forServer("alertmanager.dispatch.start-delay", "Minimum amount of time to wait before dispatching alerts after a start.").Default("0s").DurationVar(&d.DispatchStartDelay)
	t := &d.Cluster
	c.forServer("cluster.peers-resolve-timeout", "Time to resolve peers.").Default(cluster.DefaultResolvePeersTimeout.String()).DurationVar(&t.ResolveTimeout)
	c.forServer("cluster.gossip-interval", "Interval between sending gossip messages. By lowering this value (more frequent) gossip messages are propagated across the cluster more quickly at the expense of increased bandwidth.").Default(cluster.DefaultGossipInterval.String()).DurationVar(&t.GossipInterval)
	c.forServer("cluster.pushpull-interval", "Interval for gossip state syncs. Setting this interval lower (more frequent) will increase convergence speeds across larger clusters at the expense of increased bandwidth usage.").Default(cluster.DefaultPushPullInterval.String()).DurationVar(&t.PushPullInterval)
	c.forServer("cluster.tcp-timeout", "Timeout for establishing a stream connection with a remote node for a full state sync, and for stream read and write operations.").Default(cluster.DefaultTCPTimeout.String()).DurationVar(&t.TCPTimeout)
	c.forServer("cluster.probe-timeout", "Timeout to wait for an ack from a probed node before assuming it is unhealthy. This should be set to 99-percentile of RTT (round-trip time) on your network.").Default(cluster.DefaultProbeTimeout.String()).DurationVar(&t.ProbeTimeout)
	c.forServer("cluster.probe-interval", "Interval between random node probes. Setting this lower (more frequent) will cause the cluster to detect failed nodes more quickly at the expense of increased bandwidth usage.").Default(cluster.DefaultProbeInterval.String()).DurationVar(&t.ProbeInterval)
	c.forServer("cluster.reconnect-interval", "Interval between attempting to reconnect to lost peers.").Default(cluster.DefaultReconnectInterval.String()).DurationVar(&t.ReconnectInterval)
	c.forServer("cluster.reconnect-timeout", "Length of time to attempt to reconnect to a lost peer.").Default(cluster.DefaultReconnectTimeout.String()).DurationVar(&t.ReconnectTimeout)
	c.forServer("cluster.peer-name", "Explicit name of the peer, rather than generating a random one.").Default("").StringVar(&t.PeerName)
	c.forServer("cluster.allow-insecure-public-advertise-address-discovery", "[EXPERIMENTAL] Allow to discover and listen on a public IP address.").BoolVar(&t.AllowPublicAddress)
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
		return fail(2, "--config.file is empty; it has to be a file, or the flag left out")
	case o.Web.MaxSearchLimit < 0:
		return fail(1, "--web.search.max-limit is %d; it has to be 0 (no limit) or more", o.Web.MaxSearchLimit)
	case o.Agent && len(c.serverOnly) > 0:
		return fail(3, "The following flag(s) can not be used in agent mode: %q", c.serverOnly)
	case !o.Agent && len(c.agentOnly) > 0:
		return fail(3, "The following flag(s) can only be used in agent mode: %q", c.agentOnly)
	case o.Agent && o.AgentDB.CheckpointBatchSize <= 0:
		return fail(1, "--storage.agent.checkpoint-batch-size is %d; it has to be more than 0", o.AgentDB.CheckpointBatchSize)
	case c.process.memLimitRatio <= 0 || c.process.memLimitRatio > 1:
		return fail(1, "--auto-gomemlimit.ratio is %g; it has to be more than 0 and at most 1", c.process.memLimitRatio)
	}
	for name, size := range map[string]units.Base2Bytes{"tsdb": c.walSegment, "agent": c.agentWALSegment} {
		if size != 0 && (size < 10<<20 || size > 256<<20) {
			return fail(1, "--storage.%s.wal-segment-size is %s; it has to be between 10MB and 256MB", name, size)
		}
	}
	if c.chunkSegment != 0 && c.chunkSegment < 1<<20 {
		return fail(1, "--storage.tsdb.max-block-chunk-segment-size is %s; it has to be at least 1MB", c.chunkSegment)
	}
	return nil
}

// convert moves the parsed values into the options.
func (c *serverCommand) convert() error {
	o := &c.opts
	o.AutoReloadInterval = max(time.Second, time.Duration(c.autoReloadInterval))
	o.RemoteFlushDeadline = time.Duration(c.remoteFlush)
	o.Query.Lookback, o.Query.Timeout = time.Duration(c.lookback), time.Duration(c.queryTimeout)
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
			return cli.UsageError("--web.allowed-host %q: write a name without scheme and port, such as mon.example.org", name)
		}
	}
	if o.DevProxy != nil {
		switch {
		case o.DevProxy.Host == "" || o.DevProxy.Scheme != "http" && o.DevProxy.Scheme != "https":
			return cli.UsageError("--web.dev-proxy %q: write http://HOST:PORT", o.DevProxy.Redacted())
		case o.Web.RoutePrefix != "/":
			return cli.UsageError("--web.dev-proxy works at the path / only, and --web.external-url or --web.route-prefix say %q", o.Web.RoutePrefix)
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
	// What starting needed, above all to read the WAL, goes back to the kernel.
	started := sync.OnceFunc(func() { go debug.FreeOSMemory() })
	o.Status = func(now server.Status) {
		switch now {
		case server.Starting:
			systemd.Starting()
		case server.Ready:
			systemd.Ready()
			started()
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
