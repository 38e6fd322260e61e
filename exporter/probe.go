package exporter

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/clanmon/clanmon/exporter/collector"
)

// mostProbes bounds the targets that a kind remembers.
const mostProbes = 1000

// probeHandler scrapes what each request names. It remembers the collectors of a
// target, so that a target that hangs has one run hanging in it and not one per
// scrape, and an error is logged when it changes.
type probeHandler struct {
	kind   Kind
	config Config
	log    *slog.Logger
	allow  []string // patterns of targets that may be named

	mu   sync.Mutex
	sets map[string]*collector.Set // by the request's parameters
}

func (h *probeHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if target := r.URL.Query().Get("target"); target != "" && !probeAllowed(h.allow, target) {
		http.Error(w, probeRefusal(h.kind.Name, target), http.StatusForbidden)
		return
	}
	set, err := h.set(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), scrapeTimeout(r))
	defer cancel()
	scrape := prometheus.NewRegistry()
	scrape.MustRegister(&request{set, ctx, nil, h.kind.Name})
	expose(w, r, scrape, promhttp.HandlerOpts{ErrorLog: &changeLog{log: h.log}, ErrorHandling: promhttp.ContinueOnError})
}

func (h *probeHandler) set(r *http.Request) (*collector.Set, error) {
	query := r.URL.Query()
	key := query.Encode() // sorted
	h.mu.Lock()
	defer h.mu.Unlock()
	if s := h.sets[key]; s != nil {
		return s, nil
	}
	s, err := h.kind.NewProbe(h.config, query, h.log.With("target", redactedTarget(query.Get("target"))))
	if err != nil {
		return nil, err
	}
	if len(h.sets) >= mostProbes {
		// Rare enough for forgetting all to do. A run under way keeps what it has:
		// only what lies idle is closed.
		_ = h.closeAll()
	}
	if h.sets == nil {
		h.sets = map[string]*collector.Set{}
	}
	h.sets[key] = s
	return s, nil
}

// Close closes the collectors of all targets.
func (h *probeHandler) Close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.closeAll()
}

func (h *probeHandler) closeAll() error {
	var errs []error
	for _, s := range h.sets {
		errs = append(errs, s.Close())
	}
	h.sets = nil
	return errors.Join(errs...)
}

// redactedTarget is a target as the log shows it: without user, password and
// parameters.
func redactedTarget(target string) string {
	target, _, _ = strings.Cut(target, "?")
	target = target[strings.LastIndex(target, "@")+1:]
	if strings.Contains(target, "=") {
		return "key=value pairs"
	}
	return target
}
