// Package api is the server's HTTP for machines and browsers: upstream's
// /api/v1, /metrics, the web UI, and through upstream's own handler everything
// else that Prometheus answers (/federate, /consoles, /user, /-/*, /debug).
//
// Upstream's web.Handler is whole or nothing: its parts are not exported. It
// runs on a listener in memory, and what is not replaced here is passed on to
// it. /api/v1 is not passed on: it is the hot path, and the query log wants the
// address of the client.
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
	toolkit "github.com/prometheus/exporter-toolkit/web"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/netconnlimit"
	upstream "github.com/prometheus/prometheus/web"
	apiv1 "github.com/prometheus/prometheus/web/api/v1"

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

	// Writes says who may change something: one of Writes, "" for everybody.
	Writes string
	// network is what tests say of this machine's; nil is to look.
	network func() network

	// Waiting says why the store is not open yet, "" where that is not known; it may
	// be nil.
	Waiting func() string

	// Mounts are more parts of the API, by the path below which they are; each is
	// given the rest of the path.
	Mounts map[string]http.Handler

	WebConfigFile string // TLS and authentication, exporter-toolkit's format
	SystemdSocket bool   // listen on the sockets that systemd passes

	Logger *slog.Logger
}

// API serves HTTP. Safe for concurrent use, except that Listen precedes Run.
type API struct {
	deps      Deps
	rest      *upstream.Handler // whatever is not replaced
	restConns *memnet.Listener
	metrics   http.Handler
	server    *http.Server
	listeners []net.Listener

	born   time.Time
	cwd    string
	ready  atomic.Uint32 // an upstream.ReadyStatus
	config atomic.Pointer[config.Config]
}

// New returns an API that answers 503 to what needs the store, until SetReady.
func New(d Deps) *API {
	a := &API{deps: d, born: time.Now().UTC(), restConns: memnet.Listen("in-process")}
	a.cwd, _ = os.Getwd() // "" is as good an answer as any
	a.config.Store(&config.Config{})

	// Each builds OpenAPI documents, which takes longer than all else at the start,
	// so they do it at one time.
	var v1 *apiv1.API
	var building sync.WaitGroup
	building.Go(func() { v1 = a.newV1() })
	rest := d.Options
	rest.Registerer = handlerMetrics{d.Registerer}
	a.rest = upstream.New(quiet(d.Logger), &rest)
	building.Wait()
	a.SetReady(upstream.NotReady)

	a.server = a.newServer(logPanics(a.guard(a.writable(a.routes(v1))), d.Logger))
	return a
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
func (a *API) Metrics() http.Handler { return a.metrics }

// ApplyConfig makes cfg what /api/v1/status/config shows and federation uses.
func (a *API) ApplyConfig(cfg *config.Config) error {
	a.config.Store(cfg)
	return a.rest.ApplyConfig(cfg)
}

// SetReady changes what /-/ready and everything that needs the store answer.
func (a *API) SetReady(s upstream.ReadyStatus) {
	a.ready.Store(uint32(s))
	a.rest.SetReady(s)
}

// Quit is closed by POST /-/quit.
func (a *API) Quit() <-chan struct{} { return a.rest.Quit() }

// Reload delivers a channel for each POST /-/reload, to be sent the result.
func (a *API) Reload() <-chan chan error { return a.rest.Reload() }

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
			return nil, errors.New("--web.systemd-socket: systemd passed no socket; is there a .socket unit of this name?")
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
		a.server.Handler.ServeHTTP(code, r)
	}()
	select {
	case code := <-answered:
		if code != http.StatusOK {
			return fmt.Errorf("%s: %d %s", path, code, http.StatusText(code))
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%s: no answer: %w", path, ctx.Err())
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
	wg.Go(func() { _ = a.rest.Run(restCtx, []net.Listener{a.restConns}, "") })
	defer a.restConns.Close()

	served := make(chan error, 1)
	go func() {
		served <- toolkit.ServeMultiple(a.listeners, a.server, &toolkit.FlagConfig{WebConfigFile: &a.deps.WebConfigFile}, a.deps.Logger)
	}()
	select {
	case err := <-served:
		if errors.Is(err, http.ErrServerClosed) { // Drain was here
			<-ctx.Done()
			return nil
		}
		return err
	case <-ctx.Done():
		err := a.server.Close()
		<-served
		return err
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
	err := a.server.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		a.deps.Logger.Info("Cutting the requests that are still under way", "after", limit)
		return a.server.Close()
	}
	return err
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
