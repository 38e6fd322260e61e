package history

import (
	"math"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	gathers, failed, repaired prometheus.Counter
	dropped                   *prometheus.CounterVec
}

func newMetrics(s *Spool, reg prometheus.Registerer) metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "clanmon_exporter_history_" + name, Help: help})
	}
	gauge := func(name, help string, value func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "clanmon_exporter_history_" + name, Help: help}, func() float64 {
			s.mu.Lock()
			defer s.mu.Unlock()
			return value()
		})
	}
	m := metrics{
		gathers:  counter("gathers_total", "Gathers written to disk."),
		failed:   counter("failed_gathers_total", "Gathers that could not be written to disk."),
		repaired: counter("repaired_bytes_total", "Bytes cut off at the end of incomplete or damaged files."),
		dropped: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "clanmon_exporter_history_dropped_gathers_total",
			Help: "Gathers dropped before the end of --history: over --history.max-bytes (size), or the disk was full (disk).",
		}, []string{"reason"}),
	}
	m.dropped.WithLabelValues("size")
	m.dropped.WithLabelValues("disk")
	if reg != nil {
		reg.MustRegister(m.gathers, m.failed, m.repaired, m.dropped,
			gauge("bytes", "Size of the history on disk.", func() (sum float64) {
				for _, g := range s.segments {
					sum += float64(g.bytes)
				}
				return sum
			}),
			gauge("oldest_timestamp_seconds", "Time of the oldest gather on disk, NaN if there is none.", func() float64 {
				if len(s.segments) == 0 || s.segments[0].records == 0 {
					return math.NaN()
				}
				return float64(s.segments[0].min) / 1000
			}))
	}
	return m
}
