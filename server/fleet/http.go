package fleet

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/scrape"

	"github.com/clanmon/clanmon/discovery/contract"
	"github.com/clanmon/clanmon/server/internal/envelope"
)

// health is how a target fares.
type health struct {
	Target
	Health     string `json:"health"` // up, down or unknown: not scraped yet
	LastError  string `json:"lastError,omitempty"`
	LastScrape string `json:"lastScrape,omitempty"` // RFC 3339
	// Interval is the seconds between two scrapes, by which the web UI chooses
	// the windows of rates.
	Interval float64 `json:"interval,omitempty"`
}

type machineAnswer struct {
	*Machine
	Targets []health `json:"targets"`
}

// Handler serves /machines and /discovery, below /api/clanmon/v1. Answers have
// the shape of Prometheus' API: {"status": "success", "data": …}.
func (f *Fleet) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /machines", func(w http.ResponseWriter, _ *http.Request) { envelope.Success(w, f.answer()) })
	mux.HandleFunc("GET /discovery", func(w http.ResponseWriter, _ *http.Request) {
		envelope.Success(w, f.discovery())
	})
	return mux
}

// discoveryAnswer is how discovery fares, and what it found that is not scraped.
type discoveryAnswer struct {
	Methods []contract.Status `json:"methods"`
	Waiting []Waiting         `json:"waiting"`
	LeftOut []LeftOut         `json:"leftOut"`
}

func (f *Fleet) discovery() discoveryAnswer {
	d := discoveryAnswer{Methods: f.opts.Status(), Waiting: f.gate.list(), LeftOut: []LeftOut{}}
	if d.Methods == nil {
		d.Methods = []contract.Status{}
	}
	f.mu.RLock()
	defer f.mu.RUnlock()
	d.LeftOut = append(d.LeftOut, f.leftOut...)
	slices.SortFunc(d.LeftOut, func(a, b LeftOut) int { return strings.Compare(a.Device, b.Device) })
	return d
}

func (f *Fleet) answer() []machineAnswer {
	type key struct{ job, instance string }
	scraped := make(map[key]*scrape.Target)
	for job, targets := range f.opts.Targets() {
		for _, t := range targets {
			scraped[key{job, t.GetValue(model.InstanceLabel)}] = t
		}
	}
	machines := f.Machines()
	all := make([]machineAnswer, len(machines))
	for i, m := range machines {
		all[i] = machineAnswer{Machine: m, Targets: make([]health, len(m.Targets))}
		for k, t := range m.Targets {
			h := health{Target: t, Health: string(scrape.HealthUnknown)}
			if s := scraped[key{t.Job, t.Instance}]; s != nil {
				h.Health = string(s.Health())
				if d, err := model.ParseDuration(s.GetValue(model.ScrapeIntervalLabel)); err == nil {
					h.Interval = time.Duration(d).Seconds()
				}
				if err := s.LastError(); err != nil {
					h.LastError = err.Error()
				}
				if last := s.LastScrape(); !last.IsZero() {
					h.LastScrape = last.UTC().Format(time.RFC3339)
				}
			}
			all[i].Targets[k] = h
		}
	}
	return all
}
