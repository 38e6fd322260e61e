package ruler

import (
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/rules"
)

// Active is an alert of a rule, pending or firing.
type Active struct {
	Labels, Annotations labels.Labels // Labels without external ones
	Firing              bool
	// ActiveAt is when its condition began to hold; Fires, when it began to fire or
	// will. Both survive a restart where upstream restores them.
	ActiveAt, Fires time.Time
}

// Active returns the alerts of all rules. Safe for concurrent use.
func (r *Ruler) Active() []Active {
	var all []Active
	for _, rule := range r.manager.AlertingRules() {
		for _, a := range rule.ActiveAlerts() {
			all = append(all, Active{
				Labels: a.Labels, Annotations: a.Annotations, Firing: a.State == rules.StateFiring,
				ActiveAt: a.ActiveAt, Fires: a.ActiveAt.Add(rule.HoldDuration()),
			})
		}
	}
	return all
}

// quickGroup is the interval up to which a group counts for Evaluated: what
// looks back over hours is evaluated less often.
const quickGroup = time.Minute

// Progress is how far the rules are since the server started.
type Progress struct {
	// Evaluated: every alerting rule has been evaluated, but for those of slow
	// groups.
	Evaluated bool
	// Settled are the alerts, by name, that know again what they were before the
	// restart: one that is not active now has ended. Alerts without a rule are
	// missing.
	Settled map[string]bool
	// Hold is how long the condition of an alert has to hold, by name.
	Hold map[string]time.Duration
}

// Progress reports how far the rules are. Safe for concurrent use.
func (r *Ruler) Progress() Progress {
	p := Progress{Evaluated: true, Settled: make(map[string]bool), Hold: make(map[string]time.Duration)}
	for _, g := range r.manager.RuleGroups() {
		for _, rule := range g.AlertingRules() {
			if rule.GetEvaluationTimestamp().IsZero() && g.Interval() <= quickGroup {
				p.Evaluated = false
			}
			settled, seen := p.Settled[rule.Name()]
			p.Settled[rule.Name()] = rule.Restored() && (settled || !seen)
			p.Hold[rule.Name()] = rule.HoldDuration()
		}
	}
	return p
}
