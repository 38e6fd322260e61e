package push

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Why samples are not sent again.
const (
	reasonRefused        = "refused"
	reasonUnacknowledged = "not_acknowledged"
)

type metrics struct {
	samples, failures, lost prometheus.Counter
	dropped                 *prometheus.CounterVec
	skew                    prometheus.Gauge
}

func newMetrics(s *Sender, reg prometheus.Registerer) metrics {
	receiver := prometheus.Labels{"receiver": s.name}
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "clanmon_exporter_push_" + name, Help: help, ConstLabels: receiver})
	}
	m := metrics{
		samples:  counter("samples_total", "Samples that the receiver acknowledged."),
		failures: counter("failures_total", "Requests that failed and are sent again."),
		lost:     counter("lost_gathers_total", "Gathers that the history dropped before the receiver acknowledged them."),
		dropped: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "clanmon_exporter_push_dropped_samples_total", ConstLabels: receiver,
			Help: "Samples that are not sent again: refused with a status of 400 to 499, or not_acknowledged by a receiver of remote write 2.0.",
		}, []string{"reason"}),
		skew: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "clanmon_exporter_push_clock_skew_seconds", ConstLabels: receiver,
			Help: "How far the clock of this machine is ahead of the receiver's.",
		}),
	}
	for _, reason := range []string{reasonRefused, reasonUnacknowledged} {
		m.dropped.WithLabelValues(reason)
	}
	if reg != nil {
		reg.MustRegister(m.samples, m.failures, m.lost, m.dropped, m.skew, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "clanmon_exporter_push_backlog_seconds", ConstLabels: receiver,
			Help: "How much time the gathers cover that are still to be sent, without those after the last one that was sent.",
		}, func() float64 {
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.cursor.seconds(s.opts.Oldest())
		}), prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "clanmon_exporter_push_last_success_timestamp_seconds", ConstLabels: receiver,
			Help: "When the receiver last acknowledged a request, 0 if it did not since the start.",
		}, func() float64 {
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.succeeded.IsZero() {
				return 0
			}
			return float64(s.succeeded.UnixNano()) / float64(time.Second)
		}))
	}
	return m
}
