package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/KimMachineGun/automemlimit/memlimit"
	"github.com/mwitkow/go-conntrack"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/discovery"
	"go.uber.org/automaxprocs/maxprocs"
	"k8s.io/client-go/rest"
	klogv2 "k8s.io/klog/v2"
)

// processOptions are settings of the whole process, which a server inside it
// could not have for itself.
type processOptions struct {
	maxProcs, memLimit bool
	memLimitRatio      float64
	memLimitRefresh    model.Duration
}

// apply sets the Go runtime and the libraries that only have global settings
// up as Prometheus has them.
func (p processOptions) apply(log *slog.Logger) error {
	if os.Getenv("DEBUG") != "" {
		runtime.SetBlockProfileRate(20)
		runtime.SetMutexProfileFraction(20)
	}
	if p.maxProcs {
		print := func(format string, args ...any) {
			log.Info(fmt.Sprintf(strings.TrimPrefix(format, "maxprocs: "), args...), "component", "automaxprocs")
		}
		if _, err := maxprocs.Set(maxprocs.Logger(print)); err != nil {
			log.Warn("Failed to set GOMAXPROCS automatically", "component", "automaxprocs", "err", err)
		}
	}
	if p.memLimit {
		_, err := memlimit.Set(
			memlimit.WithRatio(p.memLimitRatio),
			memlimit.WithRefreshInterval(context.Background(), time.Duration(p.memLimitRefresh)),
			memlimit.WithProvider(memlimit.ApplyFallback(memlimit.FromCgroup, memlimit.FromSystem)),
			memlimit.WithLogger(log.With("component", "automemlimit")),
		)
		if err != nil {
			log.Warn("Failed to set GOMEMLIMIT automatically", "component", "automemlimit", "err", err)
		}
	}

	// The default Go collector lacks the metrics that Prometheus' dashboards use.
	prometheus.Unregister(collectors.NewGoCollector())
	prometheus.MustRegister(collectors.NewGoCollector(collectors.WithGoCollectorRuntimeMetrics(
		collectors.MetricsGC,
		collectors.MetricsScheduler,
		collectors.GoRuntimeMetricsRule{Matcher: regexp.MustCompile(`^/sync/mutex/wait/total:seconds$`)},
	)))
	// Kubernetes' client has metrics and logs of the process, not of a discovery.
	if err := discovery.RegisterK8sClientMetricsWithPrometheus(prometheus.DefaultRegisterer); err != nil {
		return err
	}
	klogv2.SetSlogLogger(log.With("component", "k8s_client_runtime"))
	rest.SetDefaultWarningHandlerWithContext(&kubeWarnings{})

	// Count the connections of whoever uses the default transport.
	http.DefaultTransport.(*http.Transport).DialContext = conntrack.NewDialContextFunc(conntrack.DialWithTracing())
	return nil
}

// kubeWarnings logs what Kubernetes says of deprecated APIs, each warning once:
// it comes with every answer.
type kubeWarnings struct {
	mu   sync.Mutex
	seen map[string]bool
}

// kubeWarningsKept bounds memory; there are few deprecated APIs.
const kubeWarningsKept = 32

// HandleWarningHeaderWithContext implements rest.WarningHandlerWithContext.
func (w *kubeWarnings) HandleWarningHeaderWithContext(ctx context.Context, code int, agent, message string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.seen[message] {
		return
	}
	if w.seen == nil {
		w.seen = make(map[string]bool)
	}
	if len(w.seen) < kubeWarningsKept {
		w.seen[message] = true
	}
	rest.WarningLogger{}.HandleWarningHeaderWithContext(ctx, code, agent, message)
}
