// Package api is the server's HTTP for machines and browsers: upstream's
// /api/v1, /metrics, the web UI, and through upstream's own handler everything
// else that Prometheus answers (/federate, /consoles, /user, /-/*, /debug).
//
// Upstream's web.Handler is whole or nothing: its parts are not exported. It
// runs on a listener in memory, and what is not replaced here is passed on to
// it. /api/v1 is not passed on: it is the hot path, and the query log wants the
// address of the client.
//
// Making that handler, and an API of upstream's, takes longer than everything else at
// the start: it writes OpenAPI documents. So it is made by the first request that needs
// it. Until then front answers what probes ask.
//
// Listen binds, Run serves until its context ends, Drain lets requests finish.
package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	"github.com/mwitkow/go-conntrack"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	toolkit "github.com/prometheus/exporter-toolkit/web"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/netconnlimit"
	upstream "github.com/prometheus/prometheus/web"
	apiv1 "github.com/prometheus/prometheus/web/api/v1"
	"golang.org/x/sync/errgroup"

	"github.com/clanmon/clanmon/server/internal/memnet"
)

// Deps is what the API serves and what it reads from. Upstream's handler takes
// the managers themselves, not interfaces, so its Options are embedded: they
// are the named struct behind the one call of NewAPI.
type Deps struct {
	upstream.Options

	Engine promql.QueryEngine // nil in agent mode
	// Appendable takes what remote write and OTLP bring, where enabled.
	Appendable storage.AppendableV2

	UI      http.Handler // the web UI, given paths without the route prefix
	UIPaths []string     // patterns of http.ServeMux, below the route prefix

	// AllowedHosts are names under which browsers may use the server, beside its own;
	// AnyHost stands for all. KnownHost reports those of discovered machines; it gets
	// names in lower case and may be nil.
	AllowedHosts []string
	KnownHost    func(host string) bool

	// Identity says who sends a request.
	Identity Identity
	// Writes says who may change something while no roles are configured: one of Writes,
	// "" for everybody.
	Writes string
	// network is what tests say of this machine's; nil is to look.
	network func() network

	// Waiting says why the store is not open yet, "" where that is not known; it may
	// be nil.
	Waiting func() string
	// Progress says how far opening the store is, "" where that is not known; it may
	// be nil.
	Progress func() string

	// Mounts are more parts of the API, by the path below which they are; each is
	// given the rest of the path, / if there is none. It is called once, when they are first needed.
	Mounts func() map[string]http.Handler
	// FleetVersion is another one whenever /api/clanmon/v1/fleet has something new; it may be nil.
	FleetVersion func(context.Context) string
	// Pings serves /ping/TOKEN. The path is a secret, so it is in no trace.
	Pings http.Handler

	WebConfigFile string // TLS and authentication, exporter-toolkit's format
	SystemdSocket bool   // listen on the sockets that systemd passes

	Logger *slog.Logger
}

// API serves HTTP. Safe for concurrent use, except that Listen precedes Run.
type API struct {
	deps      Deps
	handler   http.Handler
	listeners []net.Listener
	servers   []*http.Server // one for each listener
	changes   *prometheus.CounterVec
	stream    *stream

	// complete makes everything that requests are served by, once.
	complete  func() http.Handler
	made      chan struct{}     // closed when that is done; rest and metrics may be read then
	rest      *upstream.Handler // whatever is not replaced
	restConns *memnet.Listener
	metrics   http.Handler
	quit      chan struct{}
	reload    chan chan error

	born   time.Time
	cwd    string
	mu     sync.Mutex    // held to write what follows, of which rest has a copy
	ready  atomic.Uint32 // an upstream.ReadyStatus
	config atomic.Pointer[config.Config]
}

// New returns an API that answers 503 to what needs the store, until SetReady.
func New(d Deps) *API {
	a := &API{
		deps: d, born: time.Now().UTC(), restConns: memnet.Listen("in-process"),
		made: make(chan struct{}), quit: make(chan struct{}), reload: make(chan chan error),
	}
	a.cwd, _ = os.Getwd() // "" is as good an answer as any
	a.config.Store(&config.Config{})
	a.stream = newStream(strings.TrimSuffix(d.RoutePrefix, "/"), d.MaxConnections, d.FleetVersion)
	a.complete = sync.OnceValue(a.newHandler)
	a.changes = promauto.With(d.Registerer).NewCounterVec(prometheus.CounterOpts{
		Name: "clanmon_changes_total",
		Help: "Changes made over HTTP, such as silences, by how the caller was identified and by role.",
	}, []string{"via", "role"})
	a.handler = logPanics(a.front(), d.Logger)
	return a
}

// front answers probes, which come early and often, until somebody needs the rest.
func (a *API) front() http.Handler {
	base := strings.TrimSuffix(a.deps.RoutePrefix, "/")
	healthy := func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintf(w, "%s is Healthy.\n", a.deps.AppName) }
	ready := a.whenReady(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintf(w, "%s is Ready.\n", a.deps.AppName) })
	probes := http.NewServeMux()
	probes.HandleFunc("GET "+base+"/-/healthy", healthy)
	probes.HandleFunc("GET "+base+"/-/ready", ready)
	early := a.guard(probes)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, probe := probes.Handler(r); probe != "" && !a.isMade() {
			early.ServeHTTP(w, r)
			return
		}
		a.complete().ServeHTTP(w, r)
	})
}

// Complete makes everything that requests are served by, unless that is done.
func (a *API) Complete() { a.complete() }

// newHandler makes upstream's handler and API, at the same time, and what is in front of them.
func (a *API) newHandler() http.Handler {
	var v1 *apiv1.API
	var building sync.WaitGroup
	building.Go(func() { v1 = a.newV1() })
	rest := a.deps.Options
	rest.Registerer = handlerMetrics{a.deps.Registerer}
	a.rest = upstream.New(quiet(a.deps.Logger), &rest)
	building.Wait()
	h := a.guard(a.roles(a.debuggable(a.routes(v1))))

	a.mu.Lock()
	defer a.mu.Unlock()
	a.rest.SetReady(upstream.ReadyStatus(a.ready.Load()))
	_ = a.rest.ApplyConfig(a.config.Load()) // its error is always nil
	close(a.made)
	return h
}

// isMade reports whether rest is there.
func (a *API) isMade() bool {
	select {
	case <-a.made:
		return true
	default:
		return false
	}
}

func (a *API) newServer(h http.Handler) *http.Server {
	return &http.Server{
		Handler:     h,
		ErrorLog:    slog.NewLogLogger(a.deps.Logger.Handler(), slog.LevelError),
		ReadTimeout: a.deps.ReadTimeout,
		// A connection that never ends its header, or that asks nothing any more, must
		// not take the place of others for as long as a large body may take.
		ReadHeaderTimeout: shorter(a.deps.ReadTimeout, headerTimeout),
		IdleTimeout:       shorter(a.deps.ReadTimeout, idleTimeout),
	}
}

const (
	headerTimeout = 10 * time.Second
	idleTimeout   = 2 * time.Minute
)

// shorter is limit, or what --web.read-timeout says if that is shorter; 0 is for ever.
func shorter(readTimeout, limit time.Duration) time.Duration {
	if readTimeout > 0 {
		return min(readTimeout, limit)
	}
	return limit
}

// Metrics serves the server's own metrics, as /metrics does.
func (a *API) Metrics() http.Handler {
	a.complete() // registers metrics
	return a.metrics
}

// ApplyConfig makes cfg what /api/v1/status/config shows and federation uses.
func (a *API) ApplyConfig(cfg *config.Config) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.config.Store(cfg)
	if !a.isMade() {
		return nil
	}
	return a.rest.ApplyConfig(cfg)
}

// SetReady changes what /-/ready and everything that needs the store answer.
func (a *API) SetReady(s upstream.ReadyStatus) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ready.Store(uint32(s))
	if a.isMade() {
		a.rest.SetReady(s)
	}
}

// Quit is closed by POST /-/quit.
func (a *API) Quit() <-chan struct{} { return a.quit }

// Reload delivers a channel for each POST /-/reload, to be sent the result.
func (a *API) Reload() <-chan chan error { return a.reload }

// Listen binds all addresses and validates the web configuration file.
func (a *API) Listen() error {
	if err := toolkit.Validate(a.deps.WebConfigFile); err != nil {
		return fmt.Errorf("--web.config.file %q: %w", a.deps.WebConfigFile, err)
	}
	raw, err := a.bind()
	if err != nil {
		return err
	}
	a.sayWhoReaches()
	limit := netconnlimit.NewSharedSemaphore(a.deps.MaxConnections)
	share := newShares(a.deps.MaxConnections / 2)
	for _, l := range raw {
		a.deps.Logger.Info("Start listening for connections", "address", l.Addr().String())
		a.listeners = append(a.listeners, conntrack.NewListener(netconnlimit.SharedLimitListener(share.listener(l), limit),
			conntrack.TrackWithName("http"), conntrack.TrackWithTracing()))
		server := a.newServer(a.handler)
		server.RegisterOnShutdown(a.stream.end)
		a.servers = append(a.servers, server)
	}
	return nil
}

func (a *API) bind() ([]net.Listener, error) {
	if a.deps.SystemdSocket {
		ls, err := activation.Listeners()
		if err != nil {
			return nil, fmt.Errorf("--web.systemd-socket: %w", err)
		}
		if len(ls) == 0 {
			return nil, errors.New("--web.systemd-socket: systemd passed no socket; start the unit through its .socket unit")
		}
		return ls, nil
	}
	var ls []net.Listener
	for _, address := range a.deps.ListenAddresses {
		l, err := net.Listen("tcp", address)
		if err != nil {
			for _, open := range ls {
				open.Close()
			}
			return nil, fmt.Errorf("--web.listen-address %q: %w", address, err)
		}
		ls = append(ls, l)
	}
	return ls, nil
}

// Addr is the first address that Listen bound.
func (a *API) Addr() net.Addr { return a.listeners[0].Addr() }

// Close releases the listeners, for an API that is not going to Run.
func (a *API) Close() error {
	var errs []error
	for _, l := range a.listeners {
		if err := l.Close(); !errors.Is(err, net.ErrClosed) { // Run has closed it
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// Answers returns an error if the API does not answer its own health check before
// ctx ends. No port is involved: TLS, passwords and clients that use up all
// connections do not matter.
func (a *API) Answers(ctx context.Context) error {
	path := strings.TrimSuffix(a.deps.RoutePrefix, "/") + "/-/healthy"
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	answered := make(chan int, 1)
	go func() {
		code := &statusCode{header: make(http.Header), code: http.StatusOK}
		defer func() {
			if recover() != nil { // logged by the handler
				code.code = http.StatusInternalServerError
			}
			answered <- code.code
		}()
		a.handler.ServeHTTP(code, r)
	}()
	select {
	case code := <-answered:
		if code != http.StatusOK {
			return fmt.Errorf("%s: %d %s", path, code, http.StatusText(code))
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%s: no response: %w", path, ctx.Err())
	}
}

// statusCode is an http.ResponseWriter that keeps only that.
type statusCode struct {
	header http.Header
	code   int
}

func (s *statusCode) Header() http.Header         { return s.header }
func (s *statusCode) WriteHeader(code int)        { s.code = code }
func (s *statusCode) Write(p []byte) (int, error) { return len(p), nil }

// Run serves until ctx ends, then cuts what is still open.
func (a *API) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	restCtx, stopRest := context.WithCancel(context.Background())
	defer stopRest()
	wg.Go(func() { a.runRest(restCtx) })
	defer a.restConns.Close()

	served := make(chan error, 1)
	go func() {
		var serving errgroup.Group
		for n, s := range a.servers {
			serving.Go(func() error {
				return toolkit.Serve(a.tokensFirst(a.listeners[n], s), s, &toolkit.FlagConfig{WebConfigFile: &a.deps.WebConfigFile}, a.deps.Logger)
			})
		}
		served <- serving.Wait()
	}()
	select {
	case err := <-served:
		if errors.Is(err, http.ErrServerClosed) { // Drain was here
			<-ctx.Done()
			return nil
		}
		return err
	case <-ctx.Done():
		err := a.closeServers()
		<-served
		return err
	}
}

// runRest serves by upstream's handler, once that is made, until ctx ends.
func (a *API) runRest(ctx context.Context) {
	select {
	case <-a.made:
	case <-ctx.Done():
		return
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { _ = a.rest.Run(ctx, []net.Listener{a.restConns}, "") })
	quit := a.rest.Quit()
	for {
		select {
		case <-quit:
			close(a.quit)
			quit = nil
		case result := <-a.rest.Reload():
			select {
			case a.reload <- result:
			case <-ctx.Done():
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

// drainLimit bounds how long a shutdown waits for requests. Live streams, such
// as notifications, would otherwise hold it for ever.
const drainLimit = 3 * time.Second

// Drain stops accepting, waits for the requests that are running, and cuts those
// that take longer: a query that goes on would keep the store from closing.
func (a *API) Drain() error { return a.drain(drainLimit) }

func (a *API) drain(limit time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	var draining errgroup.Group
	for _, s := range a.servers {
		draining.Go(func() error { return s.Shutdown(ctx) })
	}
	err := draining.Wait()
	if errors.Is(err, context.DeadlineExceeded) {
		a.deps.Logger.Info("Aborting requests that are still running", "after", limit)
		return a.closeServers()
	}
	return err
}

func (a *API) closeServers() error {
	var errs []error
	for _, s := range a.servers {
		errs = append(errs, s.Close())
	}
	return errors.Join(errs...)
}

// newV1 is the one place where upstream's positional constructor is called.
func (a *API) newV1() *apiv1.API {
	d := a.deps
	return apiv1.NewAPI(
		d.Engine, d.Storage,
		d.Appendable,
		d.ExemplarStorage,
		func(context.Context) apiv1.ScrapePoolsRetriever { return d.ScrapeManager },
		func(context.Context) apiv1.TargetRetriever { return d.ScrapeManager },
		func(context.Context) apiv1.AlertmanagerRetriever { return d.Notifier },
		func() config.Config { return *a.config.Load() },
		d.Flags,
		apiv1.GlobalURLOptions{ListenAddress: d.ListenAddresses[0], Host: d.ExternalURL.Host, Scheme: d.ExternalURL.Scheme},
		a.whenReady,
		d.LocalStorage, d.TSDBDir,
		d.EnableAdminAPI, d.EnableSearch, d.MaxSearchLimit,
		d.Logger,
		func(context.Context) apiv1.RulesRetriever { return d.RuleManager },
		d.RemoteReadSampleLimit, d.RemoteReadConcurrencyLimit, d.RemoteReadBytesInFrame,
		d.IsAgent, d.CORSOrigin,
		a.runtimeInfo, d.Version,
		d.NotificationsGetter, d.NotificationsSub,
		d.Gatherer, d.Registerer,
		nil, // statistics as upstream renders them
		d.EnableRemoteWriteReceiver, d.AcceptRemoteWriteProtoMsgs,
		d.EnableOTLPWriteReceiver, d.ConvertOTLPDelta, d.NativeOTLPDeltaIngestion,
		d.LookbackDelta, d.EnableTypeAndUnitLabels, d.AppendMetadata,
		nil, // error codes as upstream's
		d.FeatureRegistry,
		apiv1.OpenAPIOptions{IncludePaths: []string{"none"}}, // built at every start, and at great cost: upstream's handler has it
		d.Parser,
		d.EnableQueryCost, d.QueryTimeout,
	)
}

// handlerMetrics registers the metrics of upstream's handler. It holds an API of
// its own that nobody reaches and whose metrics are those of newV1 again; they
// are left out.
type handlerMetrics struct{ prometheus.Registerer }

func (h handlerMetrics) Register(c prometheus.Collector) error {
	descs := make(chan *prometheus.Desc)
	go func() {
		c.Describe(descs)
		close(descs)
	}()
	own := false
	for d := range descs {
		own = own || ofHandler.MatchString(d.String())
	}
	if !own {
		return nil
	}
	return h.Registerer.Register(c)
}

var ofHandler = regexp.MustCompile(`fqName: "prometheus_(http_|ready"|web_)`)

func (h handlerMetrics) MustRegister(cs ...prometheus.Collector) {
	for _, c := range cs {
		if err := h.Register(c); err != nil {
			panic(err)
		}
	}
}

// quiet drops the inner handler's news of its listener, which would tell an
// operator that TLS is disabled while it is not.
func quiet(l *slog.Logger) *slog.Logger { return slog.New(aboveInfo{l.Handler()}) }

type aboveInfo struct{ slog.Handler }

func (h aboveInfo) Enabled(ctx context.Context, level slog.Level) bool {
	return level > slog.LevelInfo && h.Handler.Enabled(ctx, level)
}

func (h aboveInfo) WithAttrs(as []slog.Attr) slog.Handler { return aboveInfo{h.Handler.WithAttrs(as)} }
func (h aboveInfo) WithGroup(g string) slog.Handler       { return aboveInfo{h.Handler.WithGroup(g)} }
