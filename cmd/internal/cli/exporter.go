package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/url"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/alecthomas/units"
	"github.com/prometheus/common/model"
	"github.com/prometheus/common/promslog"
	promslogflag "github.com/prometheus/common/promslog/flag"

	"github.com/clanmon/clanmon/exporter"
	"github.com/clanmon/clanmon/exporter/blackbox"
	"github.com/clanmon/clanmon/exporter/look"
	"github.com/clanmon/clanmon/internal/suggest"
	"github.com/clanmon/clanmon/internal/tailscaled"
)

// ExporterCommand is the exporter role: our own flags, those of the main packages
// of node_exporter and systemd_exporter, and those that their collectors register.
type ExporterCommand struct {
	env    Env
	app    *kingpin.Application
	opts   exporter.Options
	log    promslog.Config
	kinds  []string
	named  bool // kinds were named on the command line
	words  []string
	listen []string
	byKind map[string]*[]string
	probes map[string]*[]string // allowed targets
	units  []string             // that may be looked at

	environment func(kinds []string, lookup func(string) (string, bool)) error

	textfileLimit units.Base2Bytes
	historyLimit  units.Base2Bytes

	history, historyInterval model.Duration
	historySet               bool

	maxProcs       int
	listCollectors bool
}

// pushReceivers is a repeatable flag of URLs.
type pushReceivers []*url.URL

func (r *pushReceivers) IsCumulative() bool { return true }

func (r *pushReceivers) String() string { return fmt.Sprint([]*url.URL(*r)) }

func (r *pushReceivers) Set(text string) error {
	u, err := exporter.ParseReceiver(text)
	if err != nil {
		return err
	}
	*r = append(*r, u)
	return nil
}

// pushHistory is how much is kept for a receiver that cannot be reached. A server accepts a little
// more (see docs/push.md).
const pushHistory = model.Duration(48 * time.Hour)

// NewExporterCommand returns the exporter role. name is how a user calls it.
func NewExporterCommand(e Env, name string) *ExporterCommand {
	c := &ExporterCommand{env: e, byKind: map[string]*[]string{}, probes: map[string]*[]string{}}
	c.app = NewApp(name, "Expose the metrics of this machine. Takes the flags of node_exporter, systemd_exporter and four more.", e)
	a, o := c.app, &c.opts
	a.VersionFlag = a.Flag("version", "Show application version.").PreAction(func(*kingpin.ParseContext) error {
		fmt.Fprintln(e.Stdout, c.version())
		panic(Terminated(0))
	})
	a.VersionFlag.Bool()
	a.Flag("exporter", "Exporters to run, comma-separated: "+strings.Join(kindNames(), ", ")+". Repeatable.").Default(strings.Join(exporter.DefaultKinds(), ",")).IsSetByUser(&c.named).StringsVar(&c.kinds)
	a.Flag("collectors", "Collectors of the node exporter to run, comma-separated: upstream names or everyday words (see --list-collectors). Defaults to upstream's. Repeatable.").StringsVar(&c.words)
	a.Flag("list-collectors", "Print the collectors, and the everyday words that stand for them.").BoolVar(&c.listCollectors)
	a.Flag("web.listen-address", "Addresses on which to expose metrics and web interface. Repeatable for multiple addresses. Examples: `:9100` or `[::1]:9100` for http, `vsock://:9100` for vsock. Applies to the first exporter.").PlaceHolder(":9100").StringsVar(&c.listen)
	for _, k := range exporter.Kinds() {
		c.byKind[k.Name] = a.Flag(k.Name+".listen-address", fmt.Sprintf("Address of the %s exporter. Defaults to port %d on the hosts of the first exporter. Repeatable.", k.Name, k.Port)).PlaceHolder(fmt.Sprintf(":%d", k.Port)).Strings()
		if k.ProbePath != "" {
			c.probes[k.Name] = a.Flag(k.Name+".probe-target", fmt.Sprintf("Target that %s of the %s exporter may scrape: HOST:PORT, a pattern such as 10.0.0.*:*, or * for any. Defaults to none. Repeatable.", k.ProbePath, k.Name)).PlaceHolder("HOST:PORT").Strings()
		}
	}
	a.Flag("web.systemd-socket", "Use systemd socket activation listeners instead of port listeners (Linux only). FileDescriptorName= of a socket names its exporter.").BoolVar(&o.SystemdSocket)
	a.Flag("web.config.file", "Path to configuration file that can enable TLS or authentication. See: https://github.com/prometheus/exporter-toolkit/blob/master/docs/web-configuration.md").Default("").StringVar(&o.WebConfigFile)
	a.Flag("web.telemetry-path", "Path under which to expose metrics.").PlaceHolder("/metrics").StringVar(&o.TelemetryPath)
	a.Flag("web.disable-exporter-metrics", "Exclude metrics about the exporter itself (promhttp_*, process_*, go_*).").BoolVar(&o.DisableExporterMetrics)
	a.Flag("web.max-requests", "Maximum number of parallel scrape requests. Use 0 to disable.").Default("40").IntVar(&o.MaxRequests)
	a.Flag("collector.disable-defaults", "Set all collectors to disabled by default.").Default("false").BoolVar(&o.Node.DisableDefaults)
	a.Flag("collector.disable-facts", "Disable clanmon's own collector of the node exporter: NixOS generations, reboot required, Tailscale, disk errors.").BoolVar(&o.Node.NoFacts)
	a.Flag("collector.textfile.max-file-size", "Maximum size of a file in --collector.textfile.directory. Larger files are skipped and set node_textfile_scrape_error to 1. 0 means no limit.").Default("1MiB").BytesVar(&c.textfileLimit)
	a.Flag("systemd.collector.enable-resolved", "Enable systemd-resolved statistics").BoolVar(&o.Systemd.Resolved)
	a.Flag("systemd.collector.disable-resources", "Disable CPU, memory, IO and task metrics of units.").BoolVar(&o.Systemd.NoResources)
	a.Flag("systemd.collector.all-series", "Expose all series of systemd_exporter, including those that clanmon's pages and rules do not use.").BoolVar(&o.Systemd.AllSeries)
	a.Flag("look", "Let servers read the journal and list the processes of this machine, through the port of the first exporter and clanmon-look.socket. Needs client_allowed_sans under mutual TLS in --web.config.file, or --look.from.").BoolVar(&o.Look.Enabled)
	a.Flag("look.from", "Node of the tailnet whose server may do so: its name, or a tag such as tag:monitor. Repeatable.").PlaceHolder("NODE").StringsVar(&o.Look.From)
	a.Flag("look.tailscale-socket", "Path to the socket of the local tailscaled, for --look.from.").Default(tailscaled.DefaultSocket).StringVar(&o.Look.TailscaleSocket)
	a.Flag("look.socket", "Path to the socket of clanmon-look.socket.").Default(look.DefaultSocket).StringVar(&o.Look.Socket)
	unitsFlag(a, &c.units)
	a.Flag("history", "How long to keep gathered samples on disk, for servers with --backfill and for --push. 0 disables the history. The default is 48h with --push, else 0.").Default("0s").IsSetByUser(&c.historySet).SetValue(&c.history)
	a.Flag("history.interval", "Interval between gathers of the history.").Default("15s").SetValue(&c.historyInterval)
	a.Flag("history.max-bytes", "Maximum size of the history on disk. The oldest gathers are dropped.").Default("256MiB").BytesVar(&c.historyLimit)
	a.Flag("history.path", "Directory of the history. Defaults to history in the StateDirectory= of the systemd unit.").PlaceHolder("DIR").StringVar(&o.History.Dir)
	a.Flag("push", "URL of a clanmon server, such as https://hub:9090, or of another remote write receiver, to send gathered samples to. No port is opened unless a listen address is set. Repeatable.").PlaceHolder("URL").SetValue((*pushReceivers)(&o.Push.URLs))
	a.Flag("push.token-file", "Path to a file with the token by which this machine proves its name, read at each request. The environment variable CLANMON_PUSH_TOKEN can contain the token instead.").PlaceHolder("FILE").StringVar(&o.Push.TokenFile)
	a.Flag("push.config.file", "HTTP client configuration file for --push, for example with a client certificate, see details at https://prometheus.io/docs/prometheus/latest/configuration/configuration/#http_config").PlaceHolder("FILE").StringVar(&o.Push.ConfigFile)
	a.Flag("runtime.gomaxprocs", "The target number of CPUs Go will run on (GOMAXPROCS)").Envar("GOMAXPROCS").Default("1").IntVar(&c.maxProcs)
	promslogflag.AddFlags(a, &c.log)
	c.environment = o.Config.Flags(a)
	c.addUpstreamFlags()
	Sections(a, exporterSections())
	return c
}

// Application is where the flags of the role are.
func (c *ExporterCommand) Application() *kingpin.Application { return c.app }

// exporterSections are the headings of --help: what a newcomer needs first.
func exporterSections() []Section {
	all := []Section{
		{"Common flags", []string{
			"help", "exporter", "collectors", "list-collectors", "web.listen-address", "web.config.file",
			"collector.textfile.directory", "nginx.scrape-uri", "postgres.dsn-file", "redis.addr", "redis.password-file", "blackbox.config.file", "blackbox.allow", "log.level",
		}},
		{"Addresses and HTTP", []string{"web."}},
		{"Systemd exporter", []string{"systemd."}},
		{"Journal and processes", []string{"look", "look."}},
		{"History and push", []string{"history", "history.", "push", "push."}},
	}
	for _, k := range exporter.Kinds() {
		all[1].Flags = append(all[1].Flags, k.Name+".listen-address", k.Name+".probe-target")
		if k.Flags != nil {
			all = append(all, Section{strings.Replace(k.Title, "Exporter", "exporter", 1), []string{k.Name + ": ", k.Name + "."}})
		}
	}
	return append(all,
		Section{"Collectors of the node and postgres exporters", []string{"collector.", "path."}},
		Section{"Other flags", []string{""}})
}

// version is that of the one kind that was asked for, or of node_exporter.
func (c *ExporterCommand) version() string {
	asked := splitCommas(c.kinds)
	for _, k := range exporter.Kinds() {
		if len(asked) == 1 && asked[0] == k.Name {
			return UpstreamVersion(k.Upstream, k.Module)
		}
	}
	return UpstreamVersion("node_exporter", nodeExporterModule)
}

// ExporterNamed are the flags that make the exporter role the upstream exporter
// that a program is named after: its kind alone, with all of its series. nil if the
// program has no such name.
func ExporterNamed(program string) []string {
	kind, ok := exporter.KindOfProgram(program)
	if !ok {
		return nil
	}
	flags := []string{"--exporter=" + kind}
	if kind == "systemd" {
		flags = append(flags, "--systemd.collector.all-series")
	}
	return flags
}

// addUpstreamFlags offers the flags of the embedded collectors as ours. What is
// given is passed on as it is; what is not keeps upstream's default.
func (c *ExporterCommand) addUpstreamFlags() {
	for _, f := range exporter.UpstreamFlags() {
		placeHolder := strings.Join(f.Default, ",")
		if placeHolder == "" {
			placeHolder = "..."
		}
		flag := c.app.Flag(f.Name, f.Help).PlaceHolder(placeHolder)
		if f.Hidden {
			flag.Hidden()
		}
		flag.SetValue(&passedOn{name: f.Name, isBool: f.IsBoolFlag(), args: &c.opts.UpstreamArgs})
	}
}

// passedOn is a flag's value that becomes an argument of another parser.
type passedOn struct {
	name   string
	isBool bool
	args   *[]string
}

func (p *passedOn) String() string     { return "" }
func (p *passedOn) IsBoolFlag() bool   { return p.isBool }
func (p *passedOn) IsCumulative() bool { return true } // upstream judges repetition

func (p *passedOn) Set(v string) error {
	arg := "--" + p.name + "=" + v
	if p.isBool {
		arg = "--" + p.name
		if on, err := strconv.ParseBool(v); err != nil {
			return err
		} else if !on {
			arg = "--no-" + p.name
		}
	}
	*p.args = append(*p.args, arg)
	return nil
}

// Parse reads the flags and the environment variables that stand for flags.
func (c *ExporterCommand) Parse(args []string) error {
	args = c.asUpstreamWrites(args)
	if err := ParseFlags(c.app, args); err != nil {
		return err
	}
	o := &c.opts
	o.Kinds, o.Node.Collectors = splitCommas(c.kinds), splitCommas(c.words)
	if o.Node.TextfileLimit = int64(c.textfileLimit); c.textfileLimit == 0 {
		o.Node.TextfileLimit = -1
	}
	if len(o.Kinds) == 0 {
		return UsageError("--exporter is empty; choose from: %s", strings.Join(kindNames(), ", "))
	}
	for i, k := range o.Kinds {
		if slices.Contains(o.Kinds[:i], k) {
			return UsageError("--exporter contains %q twice", k)
		}
	}
	if err := c.environment(o.Kinds, os.LookupEnv); err != nil {
		return UsageError("%w", err)
	}
	o.Look.Units = c.units
	if len(o.Push.URLs) > 0 {
		o.Push.Token = os.Getenv("CLANMON_PUSH_TOKEN")
		if !c.historySet {
			c.history = pushHistory
		}
	}
	o.History.Keep, o.History.Interval, o.History.MaxBytes = time.Duration(c.history), time.Duration(c.historyInterval), int64(c.historyLimit)
	if dir, _, _ := strings.Cut(os.Getenv("STATE_DIRECTORY"), ":"); dir != "" && o.History.Dir == "" {
		o.History.Dir = filepath.Join(dir, "history")
	}
	o.Listen = map[string][]string{}
	for kind, addresses := range c.byKind {
		o.Listen[kind] = *addresses
	}
	o.ProbeTargets = map[string][]string{}
	for kind, targets := range c.probes {
		o.ProbeTargets[kind] = *targets
	}
	if first := o.Kinds[0]; len(c.listen) > 0 {
		if len(o.Listen[first]) > 0 {
			return UsageError("--web.listen-address and --%s.listen-address both set the address of the first exporter; remove one", first)
		}
		o.Listen[first] = c.listen
	}
	if !c.named {
		for _, k := range o.Kinds[1:] {
			if len(o.Listen[k]) == 0 {
				o.Optional = append(o.Optional, k)
			}
		}
	}
	if err := o.Environment(os.LookupEnv); err != nil {
		return UsageError("%w", err)
	}
	return nil
}

// asUpstreamWrites takes flags as those exporters do that use Go's own flag
// package: with one dash, and with "=true" after one that is on or off.
func (c *ExporterCommand) asUpstreamWrites(args []string) []string {
	out := slices.Clone(args)
	for i, a := range out {
		if len(a) > 2 && a[0] == '-' && a[1] != '-' {
			a = "-" + a
		}
		name, value, _ := strings.Cut(strings.TrimPrefix(a, "--"), "=")
		if f := c.app.GetFlag(name); f != nil && f.Model().IsBoolFlag() {
			switch value {
			case "true":
				a = "--" + name
			case "false":
				a = "--no-" + name
			}
		}
		out[i] = a
	}
	return out
}

func splitCommas(lists []string) []string {
	var out []string
	for _, l := range lists {
		for s := range strings.SplitSeq(l, ",") {
			if s = strings.TrimSpace(s); s != "" {
				out = append(out, s)
			}
		}
	}
	return out
}

func kindNames() []string {
	var names []string
	for _, k := range exporter.Kinds() {
		names = append(names, k.Name)
	}
	return names
}

// Run exposes the metrics until ctx is cancelled.
func (c *ExporterCommand) Run(ctx context.Context) error {
	if c.listCollectors {
		return c.printCollectors()
	}
	c.log.Writer = c.env.Stderr
	log := promslog.New(&c.log)
	slog.SetDefault(log) // libraries that have no logger of their own
	runtime.GOMAXPROCS(c.maxProcs)
	runtime.MemProfileRate = 0 // sampling costs, and nobody can ask this role for a profile
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(75) // saves a seventh of the memory for a hundredth of the CPU time
	}
	systemd := NewServiceManager(ctx, log)
	reloads := Hangups(ctx) // of unit files with ExecReload=; it would end the process

	o := c.opts
	o.Version, o.Commit, o.ModuleVersion = BuildVersion, OrUnknown(BuildCommit), ModuleVersion
	o.Logger = log
	var e *exporter.Exporter
	o.Started = func() {
		ReturnMemory(log)
		log.Info("Exporter is ready", "kinds", e.Kinds())
		systemd.Ready()
		systemd.Watchdog(func(context.Context) error { return nil })
	}
	o.Stopping = systemd.Stopping
	log.Info("Starting clanmon exporter", "version", o.Version, "commit", o.Commit, "node_exporter", ModuleVersion(nodeExporterModule), "systemd_exporter", ModuleVersion(systemdExporterModule))
	if u, err := user.Current(); err == nil && u.Uid == "0" {
		log.Warn("Running as root, which no default collector needs: use an unprivileged user")
	}
	if slices.Contains(o.Kinds, blackbox.Name) && o.Blackbox.Closed() {
		log.Warn("The blackbox exporter probes nothing: name targets with --blackbox.allow, or set --blackbox.config.file")
	}
	e, err := exporter.New(o)
	if err != nil {
		return c.explain(err)
	}
	go func() {
		for {
			select {
			case <-reloads:
				switch reloaded, err := e.Reload(); {
				case err != nil:
					log.Error("Could not reload: what was read before stays", "err", err)
				case reloaded:
					log.Info("Reloaded")
				default:
					log.Info("Received SIGHUP: nothing to reload. The file of --web.config.file is read at each request")
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	return e.Run(ctx)
}

// Check says what is wrong with flags that were parsed, without starting anything.
func (c *ExporterCommand) Check() error { return c.explain(exporter.Check(c.opts)) }

// explain gives mistakes in how the exporter was called their exit code and the
// nearest right word.
func (c *ExporterCommand) explain(err error) error {
	if u, ok := errors.AsType[*exporter.UnknownError](err); ok {
		list := c.app.Name + " --list-collectors lists them"
		if len(u.Known) < 10 {
			list = "one of: " + strings.Join(u.Known, ", ")
		}
		return UsageError("%w%s; %s", err, suggest.Nearest(u.Got, u.Known), list)
	}
	if _, ok := errors.AsType[*exporter.FlagError](err); ok {
		return UsageError("%w", err)
	}
	if _, ok := errors.AsType[*exporter.NotLinkedError](err); ok {
		return UsageError("%w", err)
	}
	return err
}

func (c *ExporterCommand) printCollectors() error {
	words := exporter.CollectorWords()
	fmt.Fprintln(c.env.Stdout, "Everyday words for --collectors, and the collectors that they stand for:")
	for _, w := range slices.Sorted(maps.Keys(words)) {
		fmt.Fprintf(c.env.Stdout, "  %-12s %s\n", w, strings.Join(words[w], ", "))
	}
	fmt.Fprintln(c.env.Stdout, "\nCollectors (* runs by default):")
	for _, f := range exporter.Collectors() {
		mark := " "
		if f.Default {
			mark = "*"
		}
		fmt.Fprintf(c.env.Stdout, "%s %s\n", mark, f.Name)
	}
	return nil
}
