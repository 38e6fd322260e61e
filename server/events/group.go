package events

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

const (
	// together is how many machines make a group.
	together = 5
	// apart is how many seconds may pass from one event of a group to the next.
	apart = 600
	// long is how many seconds a group may last.
	long = 3600
	// named is how many machines of a group are named.
	named = 50
)

// grouped makes one event of those that happened to many machines at about the same time,
// such as a reboot of all.
func grouped(all []Event) []Event {
	type group struct {
		first, last float64
		events      []Event
		machines    map[string]bool
	}
	slices.SortStableFunc(all, inTime)
	open := make(map[string]*group)
	var groups []*group
	var out []Event
	for _, e := range all {
		if len(e.Machines) > 0 { // a note, of several machines by itself
			out = append(out, e)
			continue
		}
		key := e.Kind + "\xff" + e.like
		g := open[key]
		if g == nil || e.Time-g.last > apart || e.Time-g.first > long {
			g = &group{first: e.Time, machines: make(map[string]bool)}
			open[key] = g
			groups = append(groups, g)
		}
		g.last = e.Time
		g.events = append(g.events, e)
		g.machines[subjectOf(e)] = true
	}
	for _, g := range groups {
		if len(g.machines) < together {
			out = append(out, g.events...)
			continue
		}
		out = append(out, one(g.events))
	}
	return out
}

// inTime orders events, the same ones always in the same order.
func inTime(a, b Event) int {
	return cmp.Or(cmp.Compare(a.Time, b.Time), strings.Compare(a.Machine, b.Machine), strings.Compare(a.Kind, b.Kind), strings.Compare(a.Text, b.Text))
}

// one is a group as an event. It ends with the last of what lasted, if all have ended.
func one(events []Event) Event {
	e := Event{Time: events[0].Time, Kind: events[0].Kind, Alert: events[0].Alert, Severity: events[0].Severity}
	ended, end := true, 0.0
	seen := make(map[string]bool)
	for _, x := range events {
		seen[subjectOf(x)] = true
		if x.Machine != "" && !slices.Contains(e.Machines, x.Machine) && len(e.Machines) < named {
			e.Machines = append(e.Machines, x.Machine)
		}
		if x.End == nil {
			ended = false
		} else {
			end = max(end, *x.End)
		}
		if rank(x.Severity) > rank(e.Severity) {
			e.Severity = x.Severity
		}
	}
	if ended {
		e.End = &end
	}
	e.Count = len(seen)
	if e.Kind == KindCheck {
		texts := slices.Sorted(maps.Keys(seen))
		e.Text, e.Detail, e.Machines = fmt.Sprintf("%d %s", e.Count, events[0].like), strings.Join(texts[:min(named, len(texts))], ", "), nil
		return e
	}
	e.Text = fmt.Sprintf("%s: %d machines", events[0].like, e.Count)
	return e
}

// subjectOf is what a group counts: machines, or checks.
func subjectOf(e Event) string {
	if e.Kind == KindCheck {
		return e.Text
	}
	return e.Machine
}

func rank(severity string) int {
	return slices.Index([]string{"info", "warning", "critical"}, severity)
}
