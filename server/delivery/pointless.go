package delivery

import (
	"encoding/json"
	"fmt"

	"github.com/prometheus/alertmanager/pkg/labels"
)

// pointless says why the silence in body can mute no alert, or is "". What is not
// even a silence is left to upstream.
//
// An alert has no label without a value, so machine="" is for alerts without a
// machine. That is what an empty row of a form becomes; it is let through only
// where there is such an alert.
func (in *inside) pointless(body []byte) string {
	var ask struct {
		Matchers []struct {
			Name, Value string
			IsRegex     bool
			IsEqual     *bool // true by default
		}
	}
	if json.Unmarshal(body, &ask) != nil {
		return ""
	}
	var all labels.Matchers
	for _, m := range ask.Matchers {
		negative := m.IsEqual != nil && !*m.IsEqual
		kind := map[[2]bool]labels.MatchType{
			{false, false}: labels.MatchEqual, {false, true}: labels.MatchNotEqual,
			{true, false}: labels.MatchRegexp, {true, true}: labels.MatchNotRegexp,
		}[[2]bool{m.IsRegex, negative}]
		matcher, err := labels.NewMatcher(kind, m.Name, m.Value)
		if err != nil {
			return "" // upstream says what is wrong with it
		}
		all = append(all, matcher)
	}
	for _, m := range all {
		for _, other := range all {
			if m.Type == labels.MatchEqual && other.Name == m.Name && !other.Matches(m.Value) {
				return fmt.Sprintf("this silence matches no alert: no alert can match both %s and %s", m, other)
			}
		}
		empty := m.Value == "" && (m.Type == labels.MatchEqual || m.Type == labels.MatchRegexp)
		if empty && !in.mutesNow(all) {
			return fmt.Sprintf("this silence matches no alert: %s matches alerts without the label %s, and there are none. Remove the matcher or set a value. To silence future alerts without the label, write %s=~\"^$\"", m, m.Name, m.Name)
		}
	}
	return ""
}

// mutesNow reports whether an alert that fires now has the labels.
func (in *inside) mutesNow(all labels.Matchers) bool {
	pending := in.alerts.GetPending()
	defer pending.Close()
	for a := range pending.Next() {
		if all.Matches(a.Data.Labels) {
			return true
		}
	}
	return false
}
