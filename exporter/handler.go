package exporter

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	toolkit "github.com/prometheus/exporter-toolkit/web"

	"github.com/clanmon/clanmon/exporter/collector"
	wire "github.com/clanmon/clanmon/internal/look"
)

const (
	// defaultTimeout is the deadline of a scrape that does not bring its own.
	defaultTimeout = 30 * time.Second
	// reserve is kept from the scraper's timeout for encoding and the way back.
	reserve = 500 * time.Millisecond
)

// scrapeTimeout is how long the collectors of a request may take.
func scrapeTimeout(r *http.Request) time.Duration {
	seconds, err := strconv.ParseFloat(r.Header.Get("X-Prometheus-Scrape-Timeout-Seconds"), 64)
	if err != nil || !(seconds > 0) || seconds > defaultTimeout.Seconds()*100 {
		return defaultTimeout
	}
	timeout := time.Duration(seconds * float64(time.Second))
	return timeout - min(reserve, timeout/4)
}

// metricsHandler serves a kind's metrics.
type metricsHandler struct {
	kind Kind
	set  *collector.Set
	own  *prometheus.Registry // independent of the request
	opts promhttp.HandlerOpts
	log  *slog.Logger
}

// newMetricsHandler returns what serves a kind's metrics, and what gathers them without a request.
func newMetricsHandler(o Options, k Kind, set *collector.Set, log *slog.Logger) (http.Handler, *metricsHandler) {
	// One registry per kind: each counts its own scrapes.
	own := prometheus.NewRegistry()
	build := prometheus.Labels{
		"version": o.ModuleVersion(k.Module), "revision": o.Commit, "branch": "clanmon-" + o.Version,
		"goversion": runtime.Version(), "goos": runtime.GOOS, "goarch": runtime.GOARCH, "tags": "unknown",
	}
	if k.BuildLabels != nil {
		build = k.BuildLabels(o.ModuleVersion(k.Module), o.Commit)
	}
	own.MustRegister(
		info(k.Upstream+"_build_info", "A metric with a constant '1' value labeled by version, revision, branch, goversion from which "+k.Upstream+" was built, and the goos and goarch for the build.", build),
		info("clanmon_build_info", "Version and commit of clanmon. The value is always 1.",
			prometheus.Labels{"version": o.Version, "commit": o.Commit, "role": "exporter"}),
	)
	h := &metricsHandler{
		kind: k, set: set, log: log,
		own: own,
		opts: promhttp.HandlerOpts{
			ErrorLog:      &changeLog{log: log},
			ErrorHandling: promhttp.ContinueOnError,
		},
	}
	var handler http.Handler = h
	if o.MaxRequests > 0 {
		handler = limitRequests(o.MaxRequests, handler)
	}
	if !o.DisableExporterMetrics {
		if k.Process {
			own.MustRegister(collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), goCollector(k.Runtime))
			if !k.NoEncodingErrors {
				h.opts.Registry = own
				promhttp.HandlerFor(own, h.opts) // so that errors are counted from 0 on
			}
		}
		handler = promhttp.InstrumentMetricHandler(own, handler)
	}
	return handler, h
}

func (h *metricsHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	names, err := h.choose(r)
	if err != nil {
		// Not http.Error, which appends a newline that upstream does not have.
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, err.Error())
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), scrapeTimeout(r))
	defer cancel()
	expose(w, r, h.gatherer(ctx, names), h.opts)
}

// gatherer gathers what a scrape of the collectors of those names has, all when names is nil.
func (h *metricsHandler) gatherer(ctx context.Context, names []string) prometheus.Gatherer {
	scrape := prometheus.NewRegistry()
	scrape.MustRegister(&request{h.set, ctx, names, h.kind.Name})
	return registries{h.own, scrape}
}

func goCollector(all bool) prometheus.Collector {
	if all {
		return collectors.NewGoCollector(collectors.WithGoCollectorRuntimeMetrics(collectors.MetricsAll))
	}
	return collectors.NewGoCollector()
}

// choose reads collect[] and exclude[] as node_exporter does; nil means all,
// which to upstream is also what remains when all are excluded.
func (h *metricsHandler) choose(r *http.Request) ([]string, error) {
	if h.kind.Filter == nil {
		return nil, nil
	}
	collect, exclude := r.URL.Query()["collect[]"], r.URL.Query()["exclude[]"]
	switch {
	case len(collect) > 0 && len(exclude) > 0:
		//lint:ignore ST1005 upstream's words
		return nil, errors.New("Combined collect and exclude queries are not allowed.")
	case len(collect) > 0:
		if err := h.kind.Filter(collect); err != nil {
			//lint:ignore ST1005 upstream's words
			return nil, fmt.Errorf("Couldn't create filtered metrics handler: couldn't create collector: %w", err)
		}
		return slices.Compact(slices.Sorted(slices.Values(collect))), nil
	case len(exclude) > 0:
		rest := slices.DeleteFunc(h.set.Names(), func(n string) bool { return slices.Contains(exclude, n) })
		if len(rest) > 0 {
			return rest, nil
		}
	}
	return nil, nil
}

// request is one scrape as a prometheus.Collector: that interface has no place
// for a context, so each request brings its own.
type request struct {
	set   *collector.Set
	ctx   context.Context
	names []string
	kind  string
}

// Describe describes nothing: what a collector finds is known when it is found.
func (*request) Describe(chan<- *prometheus.Desc) {}

func (q *request) Collect(ch chan<- prometheus.Metric) {
	q.set.Collect(q.ctx, q.names, ch)
}

// limitRequests answers 503 to more than n requests at one time.
func limitRequests(n int, next http.Handler) http.Handler {
	slots := make(chan struct{}, n)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case slots <- struct{}{}:
			defer func() { <-slots }()
			next.ServeHTTP(w, r)
		default:
			http.Error(w, fmt.Sprintf("Limit of concurrent requests reached (%d), try again later.", n), http.StatusServiceUnavailable)
		}
	})
}

// telemetryPath is what means the same to people and to http.ServeMux.
var telemetryPath = regexp.MustCompile(`^/([^\s{}/?#][^\s{}?#]*)?$`)

// withLanding serves metrics at their path, probes and looks at theirs, if there are
// any, more pages, and one that links to the metrics at /.
func withLanding(o Options, k Kind, metrics, probes, looks http.Handler, more map[string]http.Handler) (http.Handler, error) {
	path := o.web(k.Name).TelemetryPath
	if !telemetryPath.MatchString(path) {
		return nil, fmt.Errorf("--web.telemetry-path %q: it must be a path such as /metrics, without spaces and braces", path)
	}
	mux := http.NewServeMux()
	mux.Handle(path, metrics)
	if probes != nil && k.ProbePath != path {
		mux.Handle(k.ProbePath, probes)
	}
	if looks != nil && wire.Path != path {
		mux.Handle(wire.Path, looks)
	}
	for pattern, page := range more {
		if pattern != path {
			mux.Handle(pattern, page)
		}
	}
	if path == "/" {
		return mux, nil
	}
	page, err := toolkit.NewLandingPage(toolkit.LandingConfig{
		Name:        k.Title,
		Description: "The metrics of " + k.Upstream + " " + o.ModuleVersion(k.Module) + ", served by clanmon",
		Version:     o.Version,
		Profiling:   "false",
		Links:       []toolkit.LandingLinks{{Address: path, Text: "Metrics"}},
	})
	if err != nil {
		return nil, err
	}
	mux.Handle("/{$}", page)
	return mux, nil
}

func info(name, help string, labels prometheus.Labels) prometheus.Collector {
	g := prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: labels})
	g.Set(1)
	return g
}

// changeLog logs what is wrong with the metrics themselves, such as two of the
// same name and labels, when it is not what was wrong the last time.
type changeLog struct {
	log  *slog.Logger
	mu   sync.Mutex
	last string
}

func (c *changeLog) Println(v ...any) {
	text := fmt.Sprint(v...)
	c.mu.Lock()
	changed := text != c.last
	c.last = text
	c.mu.Unlock()
	if changed {
		c.log.Error("Could not expose metrics", "err", text)
	}
}
