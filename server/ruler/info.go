package ruler

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/prometheus/common/model"

	"github.com/clanmon/clanmon/server/internal/envelope"
)

// RuleInfo tells of a shipped rule what it is set to and how to change that.
type RuleInfo struct {
	Name   string `json:"name"`
	Type   string `json:"type"` // "alerting" or "recording", as in /api/v1/rules
	Group  string `json:"group"`
	State  string `json:"state"`             // see the constants below
	Expr   string `json:"expr"`              // as shipped, parameters by their names: param:threshold
	About  string `json:"summary,omitempty"` // a template
	Advice string `json:"description,omitempty"`
	// Settings are what --rules.set changes; none for a recording rule.
	Settings []RuleSetting `json:"settings"`
	// Disable is the flag that leaves the rule out.
	Disable string `json:"disable"`
}

// RuleSetting is something of a rule that can be changed.
type RuleSetting struct {
	Name    string `json:"name"`
	Value   any    `json:"value"` // a number, or a text: a duration, a severity, a regular expression
	Default any    `json:"default"`
	Flag    string `json:"flag"` // sets it to the default; write another value in its place
}

// Info describes all rules, as they are where every one is evaluated.
func (s *Shipped) Info() []RuleInfo { return slices.Clone(s.info) }

// What may be the matter with a shipped rule.
const (
	stateActive   = "active"
	stateDisabled = "disabled" // by --rules.disable
	stateReplaced = "replaced" // by a rule of this name in rule_files
	stateOff      = "off"      // no shipped rule is evaluated, see --rules.builtin
)

// inForce is what the last configuration made of the shipped rules.
type inForce struct {
	on    bool
	taken map[string]bool // names in rule_files
}

// describe compares the rules as they are shipped with what the operator made
// of them.
func describe(defaults, changed map[string]*shippedFile) []RuleInfo {
	now := make(map[string]shippedRule)
	for _, f := range changed {
		for _, g := range f.Groups {
			for _, r := range g.Rules {
				now[r.name()] = r
			}
		}
	}
	var all []RuleInfo
	for _, file := range slices.Sorted(maps.Keys(defaults)) {
		for _, g := range defaults[file].Groups {
			for _, was := range g.Rules {
				is, ok := now[was.name()]
				info := RuleInfo{
					Name: was.name(), Type: "alerting", Group: g.Name, State: stateActive, Expr: strings.TrimSpace(was.Expr),
					About: was.Annotations["summary"], Advice: was.Annotations["description"],
					Settings: []RuleSetting{}, Disable: "--rules.disable=" + was.name(),
				}
				if !ok {
					info.State, is = stateDisabled, was
				}
				if was.Alert == "" {
					info.Type = "recording"
				} else {
					info.Settings = settings(was, is)
				}
				all = append(all, info)
			}
		}
	}
	return all
}

func settings(was, is shippedRule) []RuleSetting {
	var all []RuleSetting
	add := func(name string, value, byDefault any) {
		all = append(all, RuleSetting{name, value, byDefault, fmt.Sprintf("--rules.set=%s.%s=%v", was.Alert, name, byDefault)})
	}
	for _, name := range slices.Sorted(maps.Keys(was.Params)) {
		add(name, is.Params[name], was.Params[name])
	}
	duration := func(d model.Duration) string { return d.String() }
	add("for", duration(is.For), duration(was.For))
	add("keep_firing_for", duration(is.KeepFiringFor), duration(was.KeepFiringFor))
	add("severity", severity(is), severity(was))
	return all
}

// severity is what a rule's alerts have, unless a machine is intermittent or a
// setting such as UnitFailed.critical says otherwise for some of them.
func severity(r shippedRule) string {
	switch s := r.Labels["severity"]; {
	case s == pages:
		return "critical"
	case strings.Contains(s, "[["):
		return "warning"
	default:
		return s
	}
}

// ShippedRules are all built-in rules, with what became of each. Safe for
// concurrent use.
func (r *Ruler) ShippedRules() []RuleInfo {
	now := r.ruled.Load()
	all := slices.Clone(r.shipped.info)
	for i := range all {
		switch {
		case all[i].State == stateDisabled:
		case !now.on:
			all[i].State = stateOff
		case now.taken[all[i].Name]:
			all[i].State = stateReplaced
		}
	}
	return all
}

// ShippedHandler serves ShippedRules.
func (r *Ruler) ShippedHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.Method != http.MethodGet && req.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "only GET", http.StatusMethodNotAllowed)
			return
		}
		envelope.Success(w, r.ShippedRules())
	})
}
