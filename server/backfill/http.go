package backfill

import (
	"net/http"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/clanmon/clanmon/server/internal/envelope"
)

// Gap is one that is not filled yet.
type Gap struct {
	Job      string    `json:"job"`
	Instance string    `json:"instance"`
	Machine  string    `json:"machine,omitempty"`
	From     time.Time `json:"from"`
	To       time.Time `json:"to"`
	// Until is up to where it is filled.
	Until   time.Time `json:"until"`
	Filling bool      `json:"filling"`
	// SecondsLeft is how long filling will take, as far as can be said.
	SecondsLeft *float64 `json:"seconds_left,omitempty"`
	// Error is why the last attempt failed.
	Error string `json:"error,omitempty"`
}

// Gaps are those that are not filled yet, the newest first.
func (b *Backfill) Gaps() []Gap {
	if b == nil {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	all := make([]Gap, len(b.gaps))
	for i, g := range b.gaps {
		all[i] = Gap{
			Job: g.job, Instance: g.target.Get("instance"), Machine: g.target.Get("machine"),
			From: time.UnixMilli(g.from).UTC(), To: time.UnixMilli(g.to).UTC(), Until: time.UnixMilli(g.at).UTC(), Filling: g.busy,
		}
		if g.err != nil {
			all[i].Error = g.err.Error()
		}
		if g.busy && g.at > g.start {
			left := now.Sub(g.began).Seconds() * float64(g.to-g.at) / float64(g.at-g.start)
			all[i].SecondsLeft = &left
		}
	}
	slices.SortStableFunc(all, func(x, y Gap) int { return y.To.Compare(x.To) })
	return all
}

// Handler serves GET /api/clanmon/v1/backfill.
func (b *Backfill) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !envelope.Reads(w, r) {
			return
		}
		answer := struct {
			Enabled bool  `json:"enabled"`
			Gaps    []Gap `json:"gaps"`
		}{b != nil, b.Gaps()}
		if answer.Gaps == nil {
			answer.Gaps = []Gap{}
		}
		envelope.Success(w, answer)
	})
}

type metrics struct {
	gaps                      *prometheus.CounterVec
	samples, failures, tooOld prometheus.Counter
}

func newMetrics(b *Backfill, reg prometheus.Registerer) metrics {
	counter := func(name, help string) prometheus.Counter {
		return promauto.With(reg).NewCounter(prometheus.CounterOpts{Name: "clanmon_backfill_" + name, Help: help})
	}
	m := metrics{
		gaps: promauto.With(reg).NewCounterVec(prometheus.CounterOpts{
			Name: "clanmon_backfill_gaps_total",
			Help: "Gaps by what came of them: filled, no_history (the target keeps none), refused (its response was invalid).",
		}, []string{"result"}),
		samples:  counter("samples_total", "Samples that were appended to gaps."),
		failures: counter("failures_total", "Attempts to fill a gap that failed and are repeated."),
		tooOld:   counter("too_old_samples_total", "Samples of gaps that were refused because they are older than the out-of-order window."),
	}
	for _, result := range []string{"filled", "no_history", "refused"} {
		m.gaps.WithLabelValues(result)
	}
	promauto.With(reg).NewGaugeFunc(prometheus.GaugeOpts{
		Name: "clanmon_backfill_pending_gaps",
		Help: "Gaps that are not filled yet.",
	}, func() float64 {
		b.mu.Lock()
		defer b.mu.Unlock()
		return float64(len(b.gaps))
	})
	return m
}
