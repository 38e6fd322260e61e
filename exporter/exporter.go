// Package exporter serves the metrics of this machine: several exporters in one
// process, each on its usual port with its usual metrics.
//
// New creates the collectors and binds the listeners, Run serves until its context
// ends. It stores nothing but its history, if that is on. The server uses its
// handlers (see Handler) to scrape its own machine without a port.
package exporter

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	toolkit "github.com/prometheus/exporter-toolkit/web"

	"github.com/clanmon/clanmon/exporter/collector"
	"github.com/clanmon/clanmon/exporter/history"
	"github.com/clanmon/clanmon/exporter/internal/flagbound"
	"github.com/clanmon/clanmon/exporter/look"
	"github.com/clanmon/clanmon/exporter/node"
	"github.com/clanmon/clanmon/exporter/push"
	"github.com/clanmon/clanmon/exporter/systemd"
)

// Options say what is exported and where.
type Options struct {
	Kinds []string // nil for DefaultKinds
	Config

	// UpstreamArgs are flags of the upstream exporters, as "--name=value". They
	// hold for the whole process: upstream keeps them in package variables.
	UpstreamArgs []string

	// Listen has the addresses of a kind, by its name. An address is HOST:PORT,
	// unix:PATH or vsock://:PORT. Where there are none, the first kind listens on
	// its usual port of all interfaces, and each other kind on its usual port of
	// the hosts that the first one listens on.
	Listen        map[string][]string
	SystemdSocket bool   // listen on the sockets that systemd passes instead
	WebConfigFile string // TLS and authentication, exporter-toolkit's format
	TelemetryPath string // "" for /metrics

	// Optional are kinds that nobody asked for by name. One that has no address, or
	// cannot listen on it, is left out, and the log says so. The first kind never is.
	Optional []string

	// ProbeTargets are patterns of the targets that requests to a kind may name, by the
	// kind's name: HOST:PORT, where * stands for any part, or * for all. Without one,
	// a kind probes nothing.
	ProbeTargets map[string][]string

	// Look says whether and by whom this machine may be looked at, through the port of the
	// first kind. New fills in what the rest says.
	Look look.Options

	// History says what is kept of what was gathered.
	History HistoryOptions

	// Push says where what was gathered is sent.
	Push PushOptions

	// Web has settings of one kind, by its name, that come before those of all.
	Web map[string]WebSettings

	DisableExporterMetrics bool // no go_*, process_* and promhttp_* metrics
	MaxRequests            int  // at one time and kind, 0 for any number

	Version, Commit string                   // of this program
	ModuleVersion   func(path string) string // of the upstream exporters

	// Started is called once everything is being served, Stopping when that is
	// going to end. Both may be nil.
	Started, Stopping func()
	Logger            *slog.Logger
}

// WebSettings are how a kind is served; "" is what holds for all kinds.
type WebSettings struct {
	ConfigFile       string // TLS and authentication, exporter-toolkit's format
	ConfigFileSource string // where ConfigFile was given, for errors
	TelemetryPath    string
}

// web completes the settings of a kind by those of all.
func (o *Options) web(kind string) WebSettings {
	w := o.Web[kind]
	if w.ConfigFile == "" {
		w.ConfigFile, w.ConfigFileSource = o.WebConfigFile, "--web.config.file"
	}
	w.TelemetryPath = cmp.Or(w.TelemetryPath, o.TelemetryPath, "/metrics")
	return w
}

// An UnknownError names a word that is none of those known.
type UnknownError struct {
	What, Got string
	Known     []string
}

func (e *UnknownError) Error() string { return fmt.Sprintf("unknown %s %q", e.What, e.Got) }

// A FlagError says that an upstream flag has a wrong value.
type FlagError = flagbound.Error

// Exporter serves kinds. Several can live in one process, with the same
// UpstreamArgs and Node configuration.
type Exporter struct {
	opts    Options
	servers []*kindServer
	history *history.Spool // nil if none is kept
	kept    int64          // time of its newest gather, math.MinInt64 if there is none
	senders []*push.Sender
}

type kindServer struct {
	kind      Kind
	set       *collector.Set
	metrics   http.Handler
	gather    *metricsHandler // the same without a request
	probes    *probeHandler   // nil if the kind has none
	reload    func() error    // nil if there is nothing to reload
	page      http.Handler    // metrics, probes and landing page
	listeners []net.Listener
}

// New makes the collectors of all kinds and binds their listeners.
func New(o Options) (*Exporter, error) {
	e, err := build(o)
	if err != nil {
		return nil, err
	}
	for _, s := range e.servers {
		w := e.opts.web(s.kind.Name)
		if err := toolkit.Validate(w.ConfigFile); err != nil {
			return nil, errors.Join(fmt.Errorf("%s %q: %w", w.ConfigFileSource, w.ConfigFile, err), e.Close())
		}
	}
	if err := e.listen(); err != nil {
		return nil, errors.Join(err, e.Close())
	}
	if err := e.addSenders(); err != nil {
		return nil, errors.Join(err, e.Close())
	}
	return e, nil
}

// Handlers returns the handlers of the kinds' metrics, by kind, without
// listening anywhere.
func Handlers(o Options) (map[string]http.Handler, error) {
	e, err := build(o)
	if err != nil {
		return nil, err
	}
	handlers := make(map[string]http.Handler, len(e.servers))
	for _, s := range e.servers {
		handlers[s.kind.Name] = s.metrics
	}
	return handlers, nil
}

// Check says what is wrong with the kinds, collectors and flags of o, without
// looking at this machine.
func Check(o Options) error {
	_, err := prepare(o)
	return err
}

// prepare chooses the kinds and parses the flags of their collectors.
func prepare(o Options) (*Exporter, error) {
	if o.Kinds == nil {
		o.Kinds = DefaultKinds()
	}
	if o.ModuleVersion == nil {
		o.ModuleVersion = func(string) string { return "unknown" }
	}
	e := &Exporter{opts: o}
	for _, name := range o.Kinds {
		k, err := kindOf(name)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(e.servers, func(s *kindServer) bool { return s.kind.Name == name }) {
			return nil, fmt.Errorf("exporter %q is listed twice", name)
		}
		if !k.Linked() {
			return nil, &NotLinkedError{name}
		}
		e.servers = append(e.servers, &kindServer{kind: k})
	}
	if err := errors.Join(o.Blackbox.Check(), cmp.Or(o.Push.check(&o), o.History.check())); err != nil {
		return nil, err
	}

	nodeArgs, err := node.Args(o.Node)
	if unknown, ok := errors.AsType[*node.UnknownCollectorError](err); ok {
		return nil, &UnknownError{What: "collector", Got: unknown.Got, Known: unknown.Known}
	}
	if err != nil {
		return nil, err
	}
	args := append(slices.Clone(o.UpstreamArgs), systemd.Args(o.UpstreamArgs)...)
	for _, a := range nodeArgs {
		if !slices.Contains(args, a) {
			args = append(args, a)
		}
	}
	return e, flagbound.Parse(node.LeaveOutUnclean(args))
}

func build(o Options) (*Exporter, error) {
	e, err := prepare(o)
	if err != nil {
		return nil, err
	}
	o = e.opts
	for i, s := range e.servers {
		log := o.Logger.With("kind", s.kind.Name)
		served, err := s.kind.serve(o.Config, log)
		if err != nil {
			return nil, err
		}
		s.set, s.reload = served.Set, served.Reload
		log.Info("Collectors enabled", "collectors", s.set.Names())
		s.metrics, s.gather = newMetricsHandler(o, s.kind, s.set, log)
		var probes http.Handler
		if s.kind.NewProbe != nil {
			s.probes = &probeHandler{kind: s.kind, config: o.Config, log: log, allow: o.ProbeTargets[s.kind.Name]}
			probes = s.probes
			if o.MaxRequests > 0 {
				probes = limitRequests(o.MaxRequests, probes)
			}
		}
		var looks http.Handler
		if i == 0 {
			l := o.Look
			l.WebConfigFile, l.Logger = o.web(s.kind.Name).ConfigFile, log
			if looks, err = look.NewHandler(l); err != nil {
				return nil, err
			}
		}
		pages, err := e.withHistory(s, served.Pages)
		if err != nil {
			return nil, errors.Join(err, e.Close())
		}
		page, err := withLanding(o, s.kind, s.metrics, probes, looks, pages)
		if err != nil {
			return nil, err
		}
		s.page = refuseOtherSites(page)
	}
	return e, nil
}

// Kinds are the names of those that are served: all but the optional ones that
// could not listen.
func (e *Exporter) Kinds() []string {
	kinds := make([]string, len(e.servers))
	for i, s := range e.servers {
		kinds[i] = s.kind.Name
	}
	return kinds
}

// Reload has the kinds read their files again. reloaded is whether any of them has one. A file that
// is wrong changes nothing.
func (e *Exporter) Reload() (reloaded bool, err error) {
	var errs []error
	for _, s := range e.servers {
		if s.reload != nil {
			reloaded = true
			errs = append(errs, s.reload())
		}
	}
	return reloaded, errors.Join(errs...)
}

// Addr is the first address that a kind listens on, nil if it does not run.
func (e *Exporter) Addr(kind string) net.Addr {
	for _, s := range e.servers {
		if s.kind.Name == kind && len(s.listeners) > 0 {
			return s.listeners[0].Addr()
		}
	}
	return nil
}

// drainLimit bounds how long a shutdown waits for scrapes.
const drainLimit = 3 * time.Second

// Run serves until ctx ends or a listener fails, and waits a little for the
// scrapes under way.
func (e *Exporter) Run(ctx context.Context) error {
	failed := make(chan error, len(e.servers))
	var servers []*http.Server
	var serving sync.WaitGroup
	for _, s := range e.servers {
		if len(s.listeners) == 0 {
			continue
		}
		log := e.opts.Logger.With("kind", s.kind.Name)
		srv := &http.Server{
			Handler:           s.page,
			ReadHeaderTimeout: 10 * time.Second,
			ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelError),
		}
		servers = append(servers, srv)
		serving.Go(func() {
			file := e.opts.web(s.kind.Name).ConfigFile
			err := toolkit.ServeMultiple(s.listeners, srv, &toolkit.FlagConfig{WebConfigFile: &file}, log)
			if !errors.Is(err, http.ErrServerClosed) {
				failed <- fmt.Errorf("exporter %s: %w", s.kind.Name, err)
			}
		})
	}
	keeping, stopKeeping := context.WithCancel(ctx)
	defer stopKeeping()
	serving.Go(func() { e.keepHistory(keeping) })
	for _, s := range e.senders {
		serving.Go(func() { s.Run(keeping) })
	}
	call(e.opts.Started)
	var errs []error
	select {
	case <-ctx.Done():
		e.opts.Logger.Info("Stopping", "cause", context.Cause(ctx))
	case err := <-failed:
		errs = append(errs, err)
	}
	call(e.opts.Stopping)
	stopKeeping()
	errs = append(errs, shutDown(servers))
	serving.Wait()
	return errors.Join(append(errs, e.Close())...)
}

// shutDown stops all servers at one time; what they still serve after drainLimit
// is cut off.
func shutDown(servers []*http.Server) error {
	drain, cancel := context.WithTimeout(context.Background(), drainLimit)
	defer cancel()
	errs := make([]error, len(servers))
	var wg sync.WaitGroup
	for i, srv := range servers {
		wg.Go(func() {
			if errs[i] = srv.Shutdown(drain); errors.Is(errs[i], context.DeadlineExceeded) {
				errs[i] = srv.Close()
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

func call(f func()) {
	if f != nil {
		f()
	}
}

// Close releases what New made. Run does so too; only an Exporter that is not
// going to Run needs it.
func (e *Exporter) Close() error {
	var errs []error
	for _, s := range e.servers {
		errs = append(errs, s.close())
	}
	if e.history != nil {
		errs = append(errs, e.history.Close())
		e.history = nil
	}
	return errors.Join(errs...)
}

func (s *kindServer) close() error {
	var errs []error
	if s.set != nil {
		errs = append(errs, s.set.Close())
	}
	if s.probes != nil {
		errs = append(errs, s.probes.Close())
	}
	s.set, s.probes = nil, nil
	for _, l := range s.listeners {
		if err := l.Close(); !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
