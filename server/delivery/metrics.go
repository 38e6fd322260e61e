package delivery

import (
	"errors"
	"time"

	alertmetrics "github.com/prometheus/alertmanager/api/metrics"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type insideMetrics struct {
	reloaded, reloadTime, missing                 prometheus.Gauge
	receivers, integrations, inhibitions, cluster prometheus.Gauge
	dropped                                       prometheus.Counter
	requests                                      *prometheus.HistogramVec
	inFlight                                      prometheus.Gauge
	exceeded                                      prometheus.Counter
}

func newInsideMetrics(reg prometheus.Registerer) insideMetrics {
	f := promauto.With(reg)
	get := prometheus.Labels{"method": "get"}
	alertmetrics.NewAlerts(reg) // 0 until Alertmanager's API exists, which replaces them
	gauge := func(name, help string) prometheus.Gauge {
		return f.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
	}
	return insideMetrics{
		reloaded:     gauge("alertmanager_config_last_reload_successful", "Whether the last configuration reload attempt was successful."),
		missing:      gauge("clanmon_notifications_missing_files", "Number of files named by receivers, such as tokens, that cannot be read."),
		reloadTime:   gauge("alertmanager_config_last_reload_success_timestamp_seconds", "Timestamp of the last successful configuration reload."),
		receivers:    gauge("alertmanager_receivers", "Number of configured receivers."),
		integrations: gauge("alertmanager_integrations", "Number of configured integrations."),
		inhibitions:  gauge("alertmanager_inhibition_rules", "Number of configured inhibition rules."),
		cluster:      gauge("alertmanager_cluster_enabled", "Indicates whether the clustering is enabled or not."),
		dropped: f.NewCounter(prometheus.CounterOpts{
			Name: "clanmon_delivery_alerts_dropped_total",
			Help: "Alerts that were dropped because the queue was full or the alert was invalid. Rules send them again.",
		}),
		requests: f.NewHistogramVec(prometheus.HistogramOpts{
			Name:                            "alertmanager_http_request_duration_seconds",
			Help:                            "Histogram of latencies for HTTP requests.",
			Buckets:                         prometheus.DefBuckets,
			NativeHistogramBucketFactor:     1.1,
			NativeHistogramMaxBucketNumber:  100,
			NativeHistogramMinResetDuration: time.Hour,
		}, []string{"handler", "method", "code"}),
		inFlight: f.NewGauge(prometheus.GaugeOpts{
			Name: "alertmanager_http_requests_in_flight", Help: "Current number of HTTP requests being processed.", ConstLabels: get,
		}),
		exceeded: f.NewCounter(prometheus.CounterOpts{
			Name: "alertmanager_http_concurrency_limit_exceeded_total", Help: "Total number of times an HTTP request failed because the concurrency limit was reached.", ConstLabels: get,
		}),
	}
}

func (m insideMetrics) loaded() {
	m.reloaded.Set(1)
	m.reloadTime.SetToCurrentTime()
}

// onceOnly lets a part that registers metrics replace those of the same names: when it is
// made a second time because its snapshot file was damaged, or when they were registered
// before it was made.
type onceOnly struct{ prometheus.Registerer }

func (o onceOnly) Register(c prometheus.Collector) error {
	err := o.Registerer.Register(c)
	if are, ok := errors.AsType[prometheus.AlreadyRegisteredError](err); ok {
		o.Registerer.Unregister(are.ExistingCollector)
		return o.Registerer.Register(c)
	}
	return err
}

func (o onceOnly) MustRegister(cs ...prometheus.Collector) {
	for _, c := range cs {
		if err := o.Register(c); err != nil {
			panic(err)
		}
	}
}
