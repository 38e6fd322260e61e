// Package probing is the blackbox exporter: upstream's /probe with the modules of a configuration
// file, and /check, by which a clanmon server has its checks run from this machine. It is not
// linked by every program, see exporter.Link.
package probing

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/prometheus/blackbox_exporter/config"
	"github.com/prometheus/blackbox_exporter/prober"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/promslog"

	"github.com/clanmon/clanmon/discovery/checks"
	"github.com/clanmon/clanmon/exporter"
	"github.com/clanmon/clanmon/exporter/blackbox"
	"github.com/clanmon/clanmon/exporter/collector"
	"github.com/clanmon/clanmon/internal/probe"
)

// maxProbes is how many probes run at one time. Most of them wait.
const maxProbes = 1000

type exporterKind struct {
	config   blackbox.Config
	log      *slog.Logger
	modules  *config.SafeConfig
	registry *prometheus.Registry
	unknown  prometheus.Counter
	history  *prober.ResultHistory // upstream's handler needs one; it keeps nothing
	scrape   *promslog.Config
	slots    chan struct{}
}

// Serve reads the configuration file, if there is one.
func Serve(all exporter.Config, log *slog.Logger) (exporter.Served, error) {
	e := &exporterKind{
		config: all.Blackbox, log: log, registry: prometheus.NewRegistry(), history: &prober.ResultHistory{},
		scrape: &promslog.Config{Level: promslog.NewLevel()}, slots: make(chan struct{}, maxProbes),
	}
	if err := e.scrape.Level.Set(all.Blackbox.ProberLevel); err != nil {
		return exporter.Served{}, fmt.Errorf("--blackbox.log.prober: %w", err)
	}
	e.modules = config.NewSafeConfig(e.registry)
	e.unknown = prometheus.NewCounter(prometheus.CounterOpts{Name: "blackbox_module_unknown_total", Help: "Count of unknown modules requested by probes"})
	e.registry.MustRegister(e.unknown)
	if err := e.reload(); err != nil {
		return exporter.Served{}, err
	}
	if why := probe.CannotPing(); why != "" {
		log.Warn("Probes by ICMP fail: this process may send none", "reason", why)
	}
	return exporter.Served{
		Set: collector.NewSet(map[string]collector.Collector{blackbox.Name: e}, log, collector.Report),
		Pages: map[string]http.Handler{
			"/probe": e.limited(e.probe), "GET " + probe.Path: e.limited(e.check),
			"/-/healthy": http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("Healthy")) }),
		},
		Reload: e.reload,
	}, nil
}

// reload reads the configuration file again. If it is wrong, what was read before stays.
func (e *exporterKind) reload() error {
	if e.config.File == "" {
		return nil
	}
	if err := e.modules.ReloadConfig(e.config.File, e.log); err != nil {
		return fmt.Errorf("--blackbox.config.file %q: %w", e.config.File, err)
	}
	return nil
}

func (e *exporterKind) limited(next http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case e.slots <- struct{}{}:
			defer func() { <-e.slots }()
			next(w, r)
		default:
			http.Error(w, fmt.Sprintf("%d probes are running; try again later", maxProbes), http.StatusServiceUnavailable)
		}
	})
}

// probe is upstream's, with a guard on the targets.
func (e *exporterKind) probe(w http.ResponseWriter, r *http.Request) {
	e.modules.RLock()
	modules := e.modules.C
	e.modules.RUnlock()
	query := r.URL.Query()
	name := query.Get("module")
	if name == "" {
		name = "http_2xx" // upstream's default
	}
	if target, module := query.Get("target"), modules.Modules[name]; target != "" && module.Prober != "" {
		host, port := hostPort(module, target)
		if !e.config.Allows(host, port) {
			refuse(w, host, port)
			return
		}
		if module.Prober != "unix" {
			ctx, err := probe.Guard(r.Context(), host, e.bounds(host, port))
			if err != nil {
				http.Error(w, err.Error(), http.StatusForbidden)
				return
			}
			r = r.WithContext(ctx)
		}
	}
	prober.Handler(w, r, modules, e.log, e.history, e.config.TimeoutOffset, query, e.unknown, e.scrape)
}

// check runs what the query describes, see checks.Check.Query.
func (e *exporterKind) check(w http.ResponseWriter, r *http.Request) {
	c, err := checks.FromQuery(r.URL.Query())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	host, port, err := net.SplitHostPort(c.HostPort())
	if err != nil { // ping
		host, port = c.URL.Hostname(), ""
	}
	if !e.config.Allows(host, port) {
		refuse(w, host, port)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if err := probe.Run(r.Context(), c, e.bounds(host, port)).Encode(w); err != nil {
		e.log.Debug("Could not send the result of a check", "err", err)
	}
}

// bounds are where a probe of host and port may go.
func (e *exporterKind) bounds(host, port string) probe.Bounds {
	b := probe.Bounds{Allow: e.config.Allows}
	if e.config.Names(host, port) {
		b.Named = host
	}
	return b
}

func refuse(w http.ResponseWriter, host, port string) {
	at := host
	if port != "" {
		at = net.JoinHostPort(host, port)
	}
	http.Error(w, fmt.Sprintf("probes of %s are not allowed: start the exporter with --blackbox.allow %s", at, at), http.StatusForbidden)
}

// hostPort is where upstream's prober of a module goes for a target, which it reads in the same
// way; the port is "" if there is none. What it cannot read it does not probe.
func hostPort(module config.Module, target string) (host, port string) {
	switch module.Prober {
	case "http", "grpc":
		if !strings.HasPrefix(target, "http://") && !strings.HasPrefix(target, "https://") {
			target = "http://" + target
		}
		u, err := url.Parse(target)
		if err != nil {
			return target, ""
		}
		switch port = u.Port(); {
		case port != "":
		case u.Scheme == "https" || module.HTTP.UseHTTP3:
			port = "443"
		default:
			port = "80"
		}
		return u.Hostname(), port
	case "tcp", "dns":
		if host, port, err := net.SplitHostPort(target); err == nil {
			return host, port
		}
		if module.Prober == "dns" {
			port = "53"
			if module.DNS.DNSOverTLS {
				port = "853"
			}
		}
	}
	return target, port
}

// Collect sends upstream's metrics of the program itself.
func (e *exporterKind) Collect(_ context.Context, ch chan<- prometheus.Metric) error {
	e.registry.Collect(ch)
	// Upstream's HTTP client counts its connections in the registry of the process.
	process, ok := prometheus.DefaultGatherer.(*prometheus.Registry)
	if !ok {
		return nil
	}
	all := make(chan prometheus.Metric)
	go func() {
		defer close(all)
		process.Collect(all)
	}()
	for m := range all {
		if strings.Contains(m.Desc().String(), `fqName: "net_conntrack_dialer_`) {
			ch <- m
		}
	}
	return nil
}

// Close implements collector.Collector.
func (*exporterKind) Close() error { return nil }
