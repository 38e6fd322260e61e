package fleet

import (
	"cmp"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery"

	"github.com/clanmon/clanmon/discovery/contract"
)

// discoveryAnswer is how discovery fares, and what it found that is not scraped.
type discoveryAnswer struct {
	Methods []contract.Status `json:"methods"`
	Waiting []Waiting         `json:"waiting"`
	LeftOut []LeftOut         `json:"leftOut"`
	// Refused are entries that cost only themselves.
	Refused []contract.Refused `json:"refused"`
}

func (f *Fleet) discovery() discoveryAnswer {
	d := discoveryAnswer{Methods: f.Methods(), Waiting: f.gate.list(), LeftOut: []LeftOut{}, Refused: []contract.Refused{}}
	if f.opts.Refused != nil {
		d.Refused = append(d.Refused, f.opts.Refused()...)
	}
	f.mu.RLock()
	defer f.mu.RUnlock()
	d.LeftOut = append(d.LeftOut, f.leftOut...)
	slices.SortFunc(d.LeftOut, func(a, b LeftOut) int {
		return cmp.Or(strings.Compare(a.Device, b.Device), strings.Compare(a.Reason, b.Reason))
	})
	d.Refused = append(d.Refused, f.refused...)
	return d
}

// Methods are all ways in which targets are found, each with all its jobs: this
// server's own, those of discovery, and "config" for jobs that users wrote.
func (f *Fleet) Methods() []contract.Status {
	f.mu.RLock()
	all := make([]contract.Status, len(f.methods))
	for i, m := range f.methods {
		m.Jobs = slices.Clone(m.Jobs)
		all[i] = m
	}
	f.mu.RUnlock()
	if f.opts.Status == nil {
		return all
	}
	told := make(map[int]bool)
	for _, s := range f.opts.Status() {
		i := slices.IndexFunc(all, func(m contract.Status) bool { return m.Method == s.Method && m.From == s.From })
		if i < 0 {
			continue // of the configuration before
		}
		m := &all[i]
		if !told[i] {
			told[i] = true
			m.Error, m.LastSuccess, m.FailingSince, m.Never = s.Error, s.LastSuccess, s.FailingSince, s.Never
			continue
		}
		// Several read the same: it fails if one fails.
		m.Error, m.Never = cmp.Or(m.Error, s.Error), m.Never || s.Never
		if s.LastSuccess.Before(m.LastSuccess) {
			m.LastSuccess = s.LastSuccess
		}
		if !s.FailingSince.IsZero() && (m.FailingSince.IsZero() || s.FailingSince.Before(m.FailingSince)) {
			m.FailingSince = s.FailingSince
		}
	}
	return all
}

// methodsOf are the methods that a configuration names, with their jobs.
func (f *Fleet) methodsOf(scrapes []*config.ScrapeConfig) []contract.Status {
	all := []contract.Status{}
	add := func(method, from, job string, asks bool) {
		i := slices.IndexFunc(all, func(m contract.Status) bool { return m.Method == method && m.From == from })
		if i < 0 {
			i = len(all)
			all = append(all, contract.Status{Method: method, From: from, Never: asks})
		}
		if !slices.Contains(all[i].Jobs, job) {
			all[i].Jobs = append(all[i].Jobs, job)
		}
	}
	for _, s := range scrapes {
		discovered := f.opts.Discovered(s.JobName)
		if !discovered {
			add(sourceConfig, f.written(s.JobName), s.JobName, false)
		}
		for _, sd := range s.ServiceDiscoveryConfigs {
			switch sd := sd.(type) {
			case contract.Section:
				method, from := sd.Describe()
				add(method, from, s.JobName, true)
			case discovery.StaticConfig:
				for _, g := range sd {
					if discovered {
						add(string(g.Labels[contract.MetaMethod]), string(g.Labels[contract.MetaFrom]), s.JobName, false)
					}
				}
			}
		}
	}
	for i := range all {
		slices.SortFunc(all[i].Jobs, contract.CompareJobs)
		all[i].Config = all[i].Jobs[0]
	}
	slices.SortStableFunc(all, func(a, b contract.Status) int {
		return cmp.Or(cmp.Compare(f.rank(a.Method), f.rank(b.Method)), strings.Compare(a.From, b.From))
	})
	return all
}

// written is where a job that discovery did not make is written down.
func (f *Fleet) written(job string) string {
	if f.opts.Written == nil {
		return "the configuration file"
	}
	return f.opts.Written(job)
}
