package fleet

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/clanmon/clanmon/discovery/contract"
)

// After a restart nothing is known until targets have been scraped and rules were
// evaluated, several times where alerts have to hold for a while. Until then what
// counts is what was known when the server stopped, which the store says: up, and
// the alerts that fired.

// past is what was known at a moment of the past.
type past struct {
	at       time.Time
	machines map[string]verdict
	subjects map[string]*subject
	up       map[string][2]int // targets, and how many were up
	fired    []finding
	alerts   map[model.Fingerprint]finding // of fired, those that may still
}

// beforeStart are how far back samples of the time before the start are looked
// for, the usual case first.
var beforeStart = []time.Duration{15 * time.Minute, 2 * time.Hour, forgetQuiet}

// alertsKept is how long the server may have been away for the alerts that fired
// then to count: what Prometheus' rules bridge by default.
const alertsKept = time.Hour

// lookBack finds out what was known when the server stopped; nil if it never ran.
func (f *Fleet) lookBack(ctx context.Context) (*past, error) {
	for _, back := range beforeStart {
		ups, err := f.newest(ctx, f.born.Add(-back), f.born, eq(model.MetricNameLabel, "up"))
		if err != nil || len(ups) > 0 {
			stop := time.Time{}
			for _, s := range ups {
				if s.t.After(stop) {
					stop = s.t
				}
			}
			if err != nil {
				return nil, err
			}
			return f.pastAt(ctx, stop.Add(time.Second), ups, f.view.known, f.opts.Silences(ctx))
		}
	}
	return nil, nil
}

// pastAt judges by what the store says of a moment. ups are samples from before it,
// known the exporters of now; silences mute what fired then.
func (f *Fleet) pastAt(ctx context.Context, t time.Time, ups []sample, known exporters, silences []Silence) (*past, error) {
	all := make(map[string]*subject)
	p := &past{at: t, machines: make(map[string]verdict), subjects: all, up: make(map[string][2]int)}
	var members []member
	for _, s := range ups {
		if !s.stale && t.Sub(s.t) < quietAfter {
			m := fedMember(s)
			m.fed = time.Time{}
			members = append(members, m)
		}
	}
	assign(all, members, known, f.ownName(all))
	for _, s := range all {
		s.finish()
	}
	var err error
	if p.alerts, err = f.firedAt(ctx, t, f.opts.Rules().Hold); err != nil {
		return nil, err
	}
	p.fired = slices.Collect(maps.Values(p.alerts))
	f.judgePast(p, silences)
	if time.Since(t) > alertsKept {
		p.alerts = nil
	}
	return p, nil
}

// judgePast judges the machines of a moment of the past.
func (f *Fleet) judgePast(p *past, silences []Silence) {
	rules := f.opts.Rules()
	byMachine := f.byMachine(p.fired, silences, newFinder(p.subjects))
	for name, s := range p.subjects {
		e := evidence{name: name, intermittent: s.Availability == contract.Intermittent, judged: s.labelled && rules.Builtin, alerts: byMachine[name], evaluated: true}
		n := [2]int{}
		for _, m := range s.members {
			e.targets = append(e.targets, evidenceTarget{job: m.Job, health: m.Health})
			n[0]++
			if m.Health == "up" {
				n[1]++
			}
		}
		p.machines[name], p.up[name] = judge(e), n
	}
}

// firedAt are the alerts that fired at a moment.
func (f *Fleet) firedAt(ctx context.Context, t time.Time, hold map[string]time.Duration) (map[model.Fingerprint]finding, error) {
	from := t.Add(-quietAfter - 30*time.Second) // some groups are evaluated every 5 minutes
	fired, err := f.newest(ctx, from, t, eq(model.MetricNameLabel, "ALERTS"), eq("alertstate", "firing"))
	if err != nil {
		return nil, err
	}
	active, err := f.newest(ctx, from, t, eq(model.MetricNameLabel, "ALERTS_FOR_STATE"))
	if err != nil {
		return nil, err
	}
	since := make(map[model.Fingerprint]time.Time)
	for _, s := range active {
		if !s.stale {
			since[f.alertKey(labelSet(s.labels))] = time.Unix(int64(s.v), 0)
		}
	}
	found := make(map[model.Fingerprint]finding)
	for _, s := range fired {
		if s.stale {
			continue
		}
		ls := labelSet(s.labels)
		delete(ls, "alertstate")
		key := f.alertKey(ls)
		a := finding{labels: ls, severity: severity(ls), since: since[key], checking: true}
		// It may have begun to fire before the window; and rules change.
		if a.since = a.since.Add(hold[string(ls[model.AlertNameLabel])]); a.since.Unix() <= 0 || a.since.After(s.first) {
			a.since = s.first
		}
		a.summary = a.name()
		found[key] = a
	}
	return found, nil
}

func labelSet(ls labels.Labels) model.LabelSet {
	set := make(model.LabelSet, ls.Len())
	ls.Range(func(l labels.Label) {
		if l.Name != model.MetricNameLabel {
			set[model.LabelName(l.Name)] = model.LabelValue(l.Value)
		}
	})
	return set
}

// alertKey is the identity of an alert before tags and external labels are added.
func (f *Fleet) alertKey(ls model.LabelSet) model.Fingerprint {
	ls = ls.Clone()
	delete(ls, tagsLabel)
	f.mu.RLock()
	defer f.mu.RUnlock()
	f.external.Range(func(l labels.Label) {
		if string(ls[model.LabelName(l.Name)]) == l.Value {
			delete(ls, model.LabelName(l.Name))
		}
	})
	return ls.Fingerprint()
}

// verdict is what was known of a machine, nil if nothing.
func (p *past) verdict(name string) *verdict {
	if p == nil {
		return nil
	}
	if v, ok := p.machines[name]; ok {
		return &v
	}
	return nil
}

// wasDown reports whether a target of a machine was down.
func (p *past) wasDown(name string, m member) bool {
	if p == nil || p.subjects[name] == nil {
		return false
	}
	return slices.ContainsFunc(p.subjects[name].members, func(was member) bool {
		return was.series == m.series && was.Instance == m.Instance && was.Health == "down"
	})
}

// counts are the targets of a machine, and how many of them were up.
func (p *past) counts(name string) (targets, up int) { return p.up[name][0], p.up[name][1] }

// remember returns the alerts that fired before the start and are not known to
// have ended: their rule has not been evaluated often enough, or they are pending
// or fire again. active are the keys of those that are.
func (p *past) remember(active []model.Fingerprint, settled map[string]bool) map[model.Fingerprint]finding {
	if p == nil {
		return nil
	}
	still := make(map[model.Fingerprint]finding)
	for key, a := range p.alerts {
		if done, known := settled[string(a.labels[model.AlertNameLabel])]; (done || !known) && !slices.Contains(active, key) {
			delete(p.alerts, key)
			continue
		}
		still[key] = a
	}
	return still
}
