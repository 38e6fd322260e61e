package delivery

import (
	"context"
	"slices"
	"time"

	"github.com/prometheus/alertmanager/alert"
	"github.com/prometheus/alertmanager/dispatch"
	"github.com/prometheus/alertmanager/marker"
	amlabels "github.com/prometheus/alertmanager/pkg/labels"
	"github.com/prometheus/alertmanager/silence"
	"github.com/prometheus/alertmanager/silence/silencepb"
	"github.com/prometheus/common/model"
)

// Firing is an alert that fires, and what keeps it from being notified.
type Firing struct {
	Labels, Annotations model.LabelSet
	StartsAt            time.Time
	SilencedBy          []string // IDs of silences
	InhibitedBy         []string // names of the alerts that inhibit it
	MutedBy             []string // time intervals that mute every group it is in
}

// Firing returns the alerts that fire. Safe for concurrent use.
func (d *Delivery) Firing(ctx context.Context) []Firing {
	if d.inside == nil {
		return nil
	}
	return d.inside.firing(ctx)
}

func (in *inside) firing(ctx context.Context) []Firing {
	now := time.Now()
	found := marker.NewAlertMarker()
	ctx = marker.WithContext(ctx, found)
	inhibitor := in.pipeline.Load().inhibitor
	names := make(map[string]string) // by fingerprint
	var alerts []*alert.Alert
	iterator := in.alerts.GetPending()
	defer iterator.Close()
	for a := range iterator.Next() {
		if a.Data.ResolvedAt(now) {
			continue
		}
		alerts = append(alerts, a.Data)
		names[a.Data.Fingerprint().String()] = a.Data.Name()
	}
	intervals := in.mutedByTime(ctx)
	all := make([]Firing, 0, len(alerts))
	for _, a := range alerts {
		in.silencer.Mutes(ctx, a.LabelSet())
		if inhibitor != nil {
			inhibitor.Mutes(ctx, a.LabelSet())
		}
		fp := a.Fingerprint()
		status := found.Status(fp)
		f := Firing{Labels: a.Labels, Annotations: a.Annotations, StartsAt: a.StartsAt, SilencedBy: status.SilencedBy, MutedBy: intervals[fp]}
		for _, by := range status.InhibitedBy {
			if name := names[by]; name != "" {
				f.InhibitedBy = append(f.InhibitedBy, name)
			} else {
				f.InhibitedBy = append(f.InhibitedBy, by)
			}
		}
		all = append(all, f)
	}
	return all
}

// Inhibitions tells of alerts that need not be here, such as those that fired before
// a restart, which of sources inhibits them by the configuration: the answer is the
// source's name, "" if none does. Safe for concurrent use.
func (d *Delivery) Inhibitions(sources []model.LabelSet) func(target model.LabelSet) string {
	if d.inside == nil {
		return func(model.LabelSet) string { return "" }
	}
	rules := d.inside.pipeline.Load().rules
	type place struct {
		rule  int
		equal model.Fingerprint
	}
	at := func(rule int, ls model.LabelSet) place {
		equal := make(model.LabelSet)
		for name := range rules[rule].Equal {
			if ls[name] != "" {
				equal[name] = ls[name]
			}
		}
		return place{rule, equal.Fingerprint()}
	}
	index := make(map[place][]model.LabelSet)
	for i, r := range rules {
		for _, ls := range sources {
			if r.SourceMatchers.Matches(ls) {
				index[at(i, ls)] = append(index[at(i, ls)], ls)
			}
		}
	}
	return func(target model.LabelSet) string {
		for i, r := range rules {
			if !r.TargetMatchers.Matches(target) {
				continue
			}
			both := r.SourceMatchers.Matches(target) // then it is not inhibited by one like it
			for _, source := range index[at(i, target)] {
				if !both || !r.TargetMatchers.Matches(source) {
					return string(source[model.AlertNameLabel])
				}
			}
		}
		return ""
	}
}

// mutedByTime are the time intervals by alert, of those that are muted in every
// group they are in.
func (in *inside) mutedByTime(ctx context.Context) map[model.Fingerprint][]string {
	d := in.pipeline.Load().dispatcher
	if d == nil {
		return nil
	}
	groups, _, err := d.Groups(ctx, func(*dispatch.Route) bool { return true }, func(*alert.Alert, time.Time) (alert.AlertStatus, bool) { return alert.AlertStatus{}, true })
	if err != nil {
		return nil
	}
	muted := make(map[model.Fingerprint][]string)
	heard := make(map[model.Fingerprint]bool)
	for _, g := range groups {
		by := g.MutedBy()
		for _, a := range g.Alerts {
			if fp := a.Fingerprint(); len(by) > 0 {
				muted[fp] = append(muted[fp], by...)
			} else {
				heard[fp] = true
			}
		}
	}
	for fp := range muted {
		if heard[fp] {
			delete(muted, fp)
			continue
		}
		slices.Sort(muted[fp])
		muted[fp] = slices.Compact(muted[fp])
	}
	return muted
}

// Silence is an active silence. An alert is silenced if it matches one of
// Matchers, each of which is a list that has to match as a whole.
type Silence struct {
	ID, By, Comment string
	Starts, Ends    time.Time
	Matchers        amlabels.MatcherSet
}

// ActiveSilences are those in force now. Safe for concurrent use.
func (d *Delivery) ActiveSilences(ctx context.Context) []Silence {
	return d.listSilences(ctx, silence.QState(silence.SilenceStateActive))
}

// Silences are all that are kept, also those that have ended. Safe for concurrent use.
func (d *Delivery) Silences(ctx context.Context) []Silence { return d.listSilences(ctx) }

func (d *Delivery) listSilences(ctx context.Context, which ...silence.QueryParam) []Silence {
	if d.inside == nil {
		return nil
	}
	found, _, err := d.inside.silences.Query(ctx, which...)
	if err != nil {
		d.inside.log.Error("Could not list silences", "err", err)
		return nil
	}
	all := make([]Silence, 0, len(found))
	for _, s := range found {
		matchers, err := matcherSet(s)
		if err != nil {
			d.inside.log.Error("Silence with an invalid matcher", "id", s.Id, "err", err)
			continue
		}
		all = append(all, Silence{s.Id, s.CreatedBy, s.Comment, s.StartsAt.AsTime(), s.EndsAt.AsTime(), matchers})
	}
	return all
}

var matchTypes = map[silencepb.Matcher_Type]amlabels.MatchType{
	silencepb.Matcher_EQUAL: amlabels.MatchEqual, silencepb.Matcher_NOT_EQUAL: amlabels.MatchNotEqual,
	silencepb.Matcher_REGEXP: amlabels.MatchRegexp, silencepb.Matcher_NOT_REGEXP: amlabels.MatchNotRegexp,
}

func matcherSet(s *silencepb.Silence) (amlabels.MatcherSet, error) {
	sets := s.MatcherSets
	if len(sets) == 0 {
		sets = []*silencepb.MatcherSet{{Matchers: s.Matchers}}
	}
	var all amlabels.MatcherSet
	for _, set := range sets {
		var matchers amlabels.Matchers
		for _, m := range set.Matchers {
			matcher, err := amlabels.NewMatcher(matchTypes[m.Type], m.Name, m.Pattern)
			if err != nil {
				return nil, err
			}
			matchers = append(matchers, matcher)
		}
		all = append(all, &matchers)
	}
	return all, nil
}
