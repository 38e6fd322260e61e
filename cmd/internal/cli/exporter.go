package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"os/user"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"

	"github.com/alecthomas/kingpin/v2"
	"github.com/alecthomas/units"
	"github.com/prometheus/common/promslog"
	promslogflag "github.com/prometheus/common/promslog/flag"

	"github.com/clanmon/clanmon/exporter"
	"github.com/clanmon/clanmon/internal/suggest"
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

	environment func(kinds []string, lookup func(string) (string, bool)) error

	textfileLimit  units.Base2Bytes
	maxProcs       int
	listCollectors bool
}

// NewExporterCommand returns the exporter role. name is how a user calls it.
func NewExporterCommand(e Env, name string) *ExporterCommand {
	c := &ExporterCommand{env: e, byKind: map[string]*[]string{}, probes: map[string]*[]string{}}
	c.app = NewApp(name, "Expose the metrics of this machine.", e)
	a, o := c.app, &c.opts
	a.VersionFlag = a.Flag("version", "Show application version.").PreAction(func(*kingpin.ParseContext) error {
		fmt.Fprintln(e.Stdout, c.version())
		panic(Terminated(0))
	})
	a.VersionFlag.Bool()
	a.Flag("exporter", "Kinds to run, comma-separated: "+strings.Join(kindNames(), ", ")+". Repeatable.").Default(strings.Join(exporter.DefaultKinds(), ",")).IsSetByUser(&c.named).StringsVar(&c.kinds)
	a.Flag("collectors", "Collectors of the kind node to run, instead of the default ones: upstream names or everyday words, comma-separated. Repeatable.").StringsVar(&c.words)
	a.Flag("list-collectors", "Print the collectors and the words for them.").BoolVar(&c.listCollectors)
	a.Flag("web.listen-address", "Address of the first kind: HOST:PORT, unix:PATH or vsock://:PORT. Repeatable.").PlaceHolder(":9100").StringsVar(&c.listen)
	for _, k := range exporter.Kinds() {
		c.byKind[k.Name] = a.Flag(k.Name+".listen-address", fmt.Sprintf("Address of the kind %s. Repeatable. Default: port %d on the hosts of the first kind.", k.Name, k.Port)).PlaceHolder(fmt.Sprintf(":%d", k.Port)).Strings()
		if k.ProbePath != "" {
			c.probes[k.Name] = a.Flag(k.Name+".probe-target", fmt.Sprintf("Target that requests to %s of the %s exporter may name: HOST:PORT, a pattern such as 10.0.0.*:*, or * for any. Repeatable. None by default.", k.ProbePath, k.Name)).PlaceHolder("HOST:PORT").Strings()
		}
	}
	a.Flag("web.systemd-socket", "Listen on the sockets that systemd passes, each for the kind that its FileDescriptorName= names.").BoolVar(&o.SystemdSocket)
	a.Flag("web.config.file", "File with TLS and authentication settings, in the format of the exporter toolkit; for all kinds.").Default("").StringVar(&o.WebConfigFile)
	a.Flag("web.telemetry-path", "Path of the metrics.").PlaceHolder("/metrics").StringVar(&o.TelemetryPath)
	a.Flag("web.disable-exporter-metrics", "Leave out the metrics of the exporter itself (promhttp_*, process_*, go_*).").BoolVar(&o.DisableExporterMetrics)
	a.Flag("web.max-requests", "Most scrapes of a kind at one time, 0 for any number.").Default("40").IntVar(&o.MaxRequests)
	a.Flag("collector.disable-defaults", "Run only the collectors that are enabled by name.").Default("false").BoolVar(&o.Node.DisableDefaults)
	a.Flag("collector.disable-facts", "Leave out what clanmon adds to node_exporter's default collectors: NixOS generations, reboot required, Tailscale.").BoolVar(&o.Node.NoFacts)
	a.Flag("collector.textfile.max-file-size", "Maximum size of a text file; a larger one is left out, with node_textfile_scrape_error 1. 0 for no limit.").Default("1MiB").BytesVar(&c.textfileLimit)
	a.Flag("systemd.collector.enable-resolved", "Also collect the statistics of systemd-resolved.").BoolVar(&o.Systemd.Resolved)
	a.Flag("systemd.collector.disable-resources", "Leave out what each unit uses of CPU, memory, IO and tasks.").BoolVar(&o.Systemd.NoResources)
	a.Flag("systemd.collector.all-series", "Every series of systemd_exporter, also those that clanmon's pages and rules do not use: all states, all times, mounts, sockets.").BoolVar(&o.Systemd.AllSeries)
	a.Flag("runtime.gomaxprocs", "How many CPUs to use at one time (GOMAXPROCS).").Envar("GOMAXPROCS").Default("1").IntVar(&c.maxProcs)
	promslogflag.AddFlags(a, &c.log)
	c.environment = o.Config.Flags(a)
	c.addUpstreamFlags()
	return c
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
		return UsageError("--exporter names no kind; one or more of: %s", strings.Join(kindNames(), ", "))
	}
	for i, k := range o.Kinds {
		if slices.Contains(o.Kinds[:i], k) {
			return UsageError("--exporter names the kind %q twice", k)
		}
	}
	if err := c.environment(o.Kinds, os.LookupEnv); err != nil {
		return UsageError("%w", err)
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
			return UsageError("--web.listen-address and --%s.listen-address are both the address of the first kind; give one", first)
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
	systemd := NewServiceManager(ctx, log)
	reloads := Hangups(ctx) // of unit files with ExecReload=; it would end the process

	o := c.opts
	o.Version, o.Commit, o.ModuleVersion = BuildVersion, OrUnknown(BuildCommit), ModuleVersion
	o.Logger = log
	var e *exporter.Exporter
	o.Started = func() {
		debug.FreeOSMemory()
		log.Info("Exporter is ready", "kinds", e.Kinds())
		systemd.Ready()
		systemd.Watchdog(func(context.Context) error { return nil })
	}
	o.Stopping = systemd.Stopping
	log.Info("Starting clanmon exporter", "version", o.Version, "commit", o.Commit, "node_exporter", ModuleVersion(nodeExporterModule), "systemd_exporter", ModuleVersion(systemdExporterModule))
	if u, err := user.Current(); err == nil && u.Uid == "0" {
		log.Warn("Running as root, which no default collector needs; use an unprivileged user")
	}
	e, err := exporter.New(o)
	if err != nil {
		return c.explain(err)
	}
	go func() {
		for {
			select {
			case <-reloads:
				log.Info("Received SIGHUP: nothing to reload; the file of --web.config.file is read again at each request")
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
		list := c.app.Name + " --list-collectors prints them all"
		if len(u.Known) < 10 {
			list = "one of: " + strings.Join(u.Known, ", ")
		}
		return UsageError("%w%s; %s", err, suggest.Nearest(u.Got, u.Known), list)
	}
	if _, ok := errors.AsType[*exporter.FlagError](err); ok {
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
