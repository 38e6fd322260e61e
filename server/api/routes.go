package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/common/route"
	promhttputil "github.com/prometheus/prometheus/util/httputil"
	upstream "github.com/prometheus/prometheus/web"
	apiv1 "github.com/prometheus/prometheus/web/api/v1"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"

	"github.com/clanmon/clanmon/server/internal/resultcache"
)

// routes is the front: what clanmon answers itself, and behind it all else.
func (a *API) routes(v1 *apiv1.API) http.Handler {
	base := strings.TrimSuffix(a.deps.RoutePrefix, "/")
	count := newInstruments(a.deps.Registerer)

	// The API's instrumentation names handlers as upstream does, without the
	// prefix; its query log has the full path.
	router := route.New().
		WithInstrumentation(func(name string, h http.HandlerFunc) http.HandlerFunc {
			return count.handler("/api/v1"+name, h)
		}).
		WithInstrumentation(func(name string, h http.HandlerFunc) http.HandlerFunc {
			if name == "/query_range" {
				h = withoutCache(h)
			}
			return func(w http.ResponseWriter, r *http.Request) {
				h(w, r.WithContext(promhttputil.ContextWithPath(r.Context(), base+"/api/v1"+r.URL.Path)))
			}
		})
	v1.Register(router)

	a.metrics = count.handler("/metrics", promhttp.InstrumentMetricHandler(a.deps.Registerer,
		promhttp.HandlerFor(a.deps.Gatherer, promhttp.HandlerOpts{})).ServeHTTP)

	mux := http.NewServeMux()
	mux.Handle(base+"/api/v1/", traced(http.StripPrefix(base+"/api/v1", router)))
	mux.Handle("GET "+base+"/metrics", traced(a.metrics))
	answers := http.NewServeMux() // the same, for the stream: neither counted nor traced
	for path, h := range a.deps.Mounts() {
		answer := encoded(a.whenReady(below(base+path, h)))
		handler := traced(count.handler(path, answer))
		mux.Handle(base+path+"/", handler)
		mux.Handle(base+path, handler)
		answers.Handle(base+path+"/", answer)
		answers.Handle(base+path, answer)
	}
	a.stream.answers = answers
	mux.Handle("GET "+base+streamPath, count.handler(streamPath, a.whenReady(a.stream.ServeHTTP)))
	if a.deps.Pings != nil {
		mux.Handle(base+"/ping/", count.handler("/ping", a.whenReady(http.StripPrefix(base+"/ping", a.deps.Pings).ServeHTTP)))
	}
	if a.deps.UI != nil {
		for _, path := range a.deps.UIPaths {
			mux.Handle("GET "+base+path, traced(count.handler(path, http.StripPrefix(base, a.deps.UI).ServeHTTP)))
		}
	}
	mux.Handle("GET "+base+whoamiPath, traced(count.handler(whoamiPath, a.whoami)))
	if login := a.deps.Identity.LoginHandler(); login != nil {
		for _, path := range []string{loginPath, loginPath + "/", logoutPath} {
			mux.Handle(base+path, count.handler(path, http.StripPrefix(base, login).ServeHTTP))
		}
	}
	rest := a.proxy() // traces and counts by itself
	mux.Handle("GET "+base+"/api/v1/openapi.yaml", rest)
	mux.HandleFunc("GET "+base+"/-/ready", func(w http.ResponseWriter, r *http.Request) {
		if a.waiting() != "" {
			a.unavailable(w)
			return
		}
		rest.ServeHTTP(w, r)
	})
	// Upstream's shows the command line, with whatever secret somebody put there.
	mux.HandleFunc("GET "+base+"/debug/pprof/cmdline", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		fmt.Fprint(w, os.Args[0])
	})
	mux.Handle("/", rest)
	return mux
}

// below gives h the path below prefix, which is / for prefix itself.
func below(prefix string, h http.Handler) http.HandlerFunc {
	rooted := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "" {
			r.URL.Path = "/"
		}
		h.ServeHTTP(w, r)
	})
	return http.StripPrefix(prefix, rooted).ServeHTTP
}

// withoutCache has all steps evaluated for who asks so with nocache=1, and for who wants
// statistics, which are of what is evaluated.
func withoutCache(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		off, err := strconv.ParseBool(r.FormValue("nocache"))
		if off && err == nil || r.FormValue("stats") != "" {
			r = r.WithContext(resultcache.Bypass(r.Context()))
		}
		h(w, r)
	}
}

func traced(h http.Handler) http.Handler {
	return otelhttp.NewHandler(h, "", otelhttp.WithSpanNameFormatter(func(_ string, r *http.Request) string {
		return r.Method + " " + r.URL.Path
	}))
}

type clientAddr struct{}

// proxy passes requests on to upstream's handler over the listener in memory.
// Each has a connection of its own, so that the other side sees the address of
// the client; a pipe costs next to nothing.
func (a *API) proxy() http.Handler {
	p := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host = "http", "in-process"
			r.Out.Host = r.In.Host
			r.Out.URL.RawQuery = r.In.URL.RawQuery // also what cannot be parsed: the other side says so
		},
		Transport: &http.Transport{
			DisableKeepAlives:  true,
			DisableCompression: true,
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				remote, _ := ctx.Value(clientAddr{}).(string)
				return a.restConns.Dial(ctx, remote)
			},
		},
		// The guard has said it; the header would be there twice.
		ModifyResponse: func(r *http.Response) error {
			r.Header.Del("X-Content-Type-Options")
			return nil
		},
		ErrorLog: slog.NewLogLogger(a.deps.Logger.Handler(), slog.LevelDebug),
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), clientAddr{}, r.RemoteAddr)))
	})
}

// whenReady answers 503 in place of h until the store is open, and again while
// the server stops. Body and header are upstream's: load balancers and
// Prometheus' own UI know them.
func (a *API) whenReady(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		status := upstream.ReadyStatus(a.ready.Load())
		if status == upstream.Ready {
			h(w, r)
			return
		}
		a.unavailable(w)
	}
}

// unavailable answers 503 with upstream's text. What the server waits for is behind
// it, and what it does is in a line of its own, where either is known.
func (a *API) unavailable(w http.ResponseWriter) {
	stopping := upstream.ReadyStatus(a.ready.Load()) == upstream.Stopping
	w.Header().Set("X-Prometheus-Stopping", fmt.Sprint(stopping))
	w.WriteHeader(http.StatusServiceUnavailable)
	fmt.Fprint(w, "Service Unavailable")
	if why := a.waiting(); why != "" {
		fmt.Fprint(w, ": ", why)
	} else if a.deps.Progress != nil && !stopping {
		if progress := a.deps.Progress(); progress != "" {
			fmt.Fprintf(w, "\n%s\n", progress)
		}
	}
}

func (a *API) waiting() string {
	if a.deps.Waiting == nil {
		return ""
	}
	return a.deps.Waiting()
}

// logPanics logs a panic of a handler with its stack and lets net/http end the
// connection, as it would.
func logPanics(h http.Handler, log *slog.Logger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			err := recover()
			if err == nil {
				return
			}
			if e, ok := err.(error); !ok || !errors.Is(e, http.ErrAbortHandler) {
				stack := make([]byte, 64<<10)
				stack = stack[:runtime.Stack(stack, false)]
				log.Error("Panic while serving a request", "client", r.RemoteAddr, "url", r.URL, "err", err, "stack", string(stack))
			}
			panic(err)
		}()
		h.ServeHTTP(w, r)
	})
}

// instruments are the HTTP metrics of Prometheus. Upstream's handler registers
// the same ones; whoever comes second uses those of the first.
type instruments struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	size     *prometheus.HistogramVec
}

func newInstruments(reg prometheus.Registerer) instruments {
	return instruments{
		requests: shared(reg, prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "prometheus_http_requests_total",
			Help: "Counter of HTTP requests.",
		}, []string{"handler", "code"})),
		duration: shared(reg, prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:                            "prometheus_http_request_duration_seconds",
			Help:                            "Histogram of latencies for HTTP requests.",
			Buckets:                         []float64{.1, .2, .4, 1, 3, 8, 20, 60, 120},
			NativeHistogramBucketFactor:     1.1,
			NativeHistogramMaxBucketNumber:  100,
			NativeHistogramMinResetDuration: time.Hour,
		}, []string{"handler"})),
		size: shared(reg, prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "prometheus_http_response_size_bytes",
			Help:    "Histogram of response size for HTTP requests.",
			Buckets: prometheus.ExponentialBuckets(100, 10, 8),
		}, []string{"handler"})),
	}
}

// shared registers c, or returns the collector that is registered in its place.
func shared[C prometheus.Collector](reg prometheus.Registerer, c C) C {
	err := reg.Register(c)
	if are, ok := errors.AsType[prometheus.AlreadyRegisteredError](err); ok {
		return are.ExistingCollector.(C)
	}
	if err != nil {
		panic(err) // two different metrics of one name: a mistake in the code
	}
	return c
}

func (i instruments) handler(name string, h http.HandlerFunc) http.HandlerFunc {
	labels := prometheus.Labels{"handler": name}
	i.requests.WithLabelValues(name, "200") // exists from the start, at 0
	return promhttp.InstrumentHandlerCounter(i.requests.MustCurryWith(labels),
		promhttp.InstrumentHandlerDuration(i.duration.MustCurryWith(labels),
			promhttp.InstrumentHandlerResponseSize(i.size.MustCurryWith(labels), h)))
}
