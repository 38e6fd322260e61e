package fleet

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"github.com/clanmon/clanmon/discovery/contract"
)

// A row is meant to be one machine. What the systems themselves say, their node
// name and when they booted, shows where it is not: one machine under two names,
// another system under an old name, an old system under a new name.

const (
	identityEvery = 10 * time.Minute
	// identityDays is how far back a change of identity is told.
	identityDays = 7 * 24 * time.Hour
	// sameBoot is how far two readings of one boot time may differ, in seconds.
	sameBoot = 2
	// handover is how long the old and the new may be seen side by side.
	handover = 10 * time.Minute
)

// twins finds machines that are one: the same node name, booted at the same time.
func twins(facts map[string]*Facts) map[string][]Warning {
	byNode := make(map[string][]string)
	for name, x := range facts {
		if x.Nodename != "" && x.bootTime > 0 {
			byNode[x.Nodename] = append(byNode[x.Nodename], name)
		}
	}
	found := make(map[string][]Warning)
	for node, names := range byNode {
		slices.Sort(names)
		for _, a := range names {
			for _, b := range names {
				if a != b && math.Abs(facts[a].bootTime-facts[b].bootTime) <= sameBoot {
					found[a] = append(found[a], Warning{Kind: "same-machine", Machine: b,
						Text: fmt.Sprintf("%s is the same system: node name %q, same boot time", b, node)})
				}
			}
		}
	}
	return found
}

// changes finds machines that another system answers for than before, and those
// that have a new name.
func (f *Fleet) changes(ctx context.Context, now time.Time, s *snapshot) (map[string][]Warning, error) {
	found := make(map[string][]Warning)
	series, err := f.newest(ctx, now.Add(-identityDays), now, among(model.MetricNameLabel, "node_uname_info", "node_os_info"),
		labels.MustNewMatcher(labels.MatchNotEqual, contract.MachineLabel, ""))
	if err != nil {
		return nil, err
	}
	type span struct{ first, last time.Time }
	names := make(map[string]map[string]span)   // machine → node name
	systems := make(map[string]map[string]span) // machine → ID of the operating system
	old := make(map[string][]string)            // node name → machines that are not there any more
	for _, x := range series {
		machine := x.labels.Get(contract.MachineLabel)
		in, key := names, x.labels.Get("nodename")
		if x.labels.Get(model.MetricNameLabel) == "node_os_info" {
			in, key = systems, x.labels.Get("id")
		}
		if s.machines[machine] == nil {
			if in := x.labels.Get("nodename"); in != "" && !slices.Contains(old[in], machine) {
				old[in] = append(old[in], machine)
			}
			continue
		}
		if in[machine] == nil {
			in[machine] = make(map[string]span)
		}
		p, ok := in[machine][key]
		if !ok || x.first.Before(p.first) {
			p.first = x.first
		}
		if x.t.After(p.last) {
			p.last = x.t
		}
		in[machine][key] = p
	}
	for _, in := range []map[string]map[string]span{names, systems} {
		for machine, spans := range in {
			is := ""
			for key, p := range spans {
				if is == "" || p.last.After(spans[is].last) {
					is = key
				}
			}
			for key, p := range spans {
				if key == is || p.last.After(spans[is].first.Add(handover)) || len(found[machine]) > 0 {
					continue
				}
				found[machine] = append(found[machine], Warning{Kind: "replaced", At: stamp(spans[is].first),
					Text: fmt.Sprintf("Another system responds since then: %s instead of %s", is, key)})
			}
		}
	}
	for node, before := range old {
		for name, spans := range names {
			if _, ok := spans[node]; !ok {
				continue
			}
			for _, was := range before {
				w, err := f.renamed(ctx, now, was, name)
				if err != nil {
					return nil, err
				}
				if w != nil {
					found[name] = append(found[name], *w)
				}
			}
		}
	}
	return found, nil
}

// renamed compares the boot time that the old name had last with the one that the
// new had when the old ended.
func (f *Fleet) renamed(ctx context.Context, now time.Time, was, is string) (*Warning, error) {
	boot := func(from, to time.Time, machine string) (first, last time.Time, v float64, err error) {
		found, err := f.newest(ctx, from, to, eq(model.MetricNameLabel, "node_boot_time_seconds"), eq(contract.MachineLabel, machine))
		for _, s := range found {
			if !s.stale || v == 0 {
				first, last = s.first, s.t
			}
			if !s.stale {
				v = s.v
			}
		}
		return first, last, v, err
	}
	_, end, _, err := boot(now.Add(-identityDays), now, was)
	if err != nil || end.IsZero() {
		return nil, err
	}
	_, _, before, err := boot(end.Add(-time.Hour), end.Add(-time.Millisecond), was)
	if err != nil || before == 0 {
		return nil, err
	}
	first, _, after, err := boot(end.Add(-handover), end.Add(time.Hour), is)
	if err != nil || after == 0 || math.Abs(after-before) > sameBoot {
		return nil, err
	}
	return &Warning{Kind: "renamed", Machine: was, At: stamp(first), Text: fmt.Sprintf("Formerly %s: its history is under that name", was)}, nil
}

// olderSeries finds the instances by which machines are known in series that lack
// the label: those at the same address.
func (f *Fleet) olderSeries(ctx context.Context, now time.Time, s *snapshot) (map[string]string, error) {
	bare := make(map[string][]string) // host or address → instances
	err := f.read(ctx, now.Add(-400*24*time.Hour), now, true, func(ls labels.Labels, _ chunkenc.Iterator) {
		instance := ls.Get("instance")
		for _, key := range []string{instance, hostOf(instance)} {
			if key != "" && !isLoopback(key) && !slices.Contains(bare[key], instance) {
				bare[key] = append(bare[key], instance)
			}
		}
	}, eq(model.MetricNameLabel, "up"), eq(contract.MachineLabel, ""))
	if err != nil || len(bare) == 0 {
		return nil, err
	}
	found := make(map[string]string)
	current := make(map[string]bool)
	for _, j := range s.machines {
		if !j.labelled {
			for _, i := range j.instances {
				current[i] = true
			}
		}
	}
	for name, j := range s.machines {
		if !j.labelled {
			continue
		}
		keys := append([]string{name}, j.Addresses...)
		for _, m := range j.members {
			keys = append(keys, m.Address, hostOf(m.Address))
		}
		if j.Tailscale != nil {
			keys = append(keys, j.Tailscale.Name)
		}
		var instances []string
		for _, key := range keys {
			for _, i := range bare[key] {
				if !current[i] && !slices.Contains(instances, i) {
					instances = append(instances, i)
				}
			}
		}
		if e := earlier(instances); e != "" {
			found[name] = e
		}
	}
	return found, nil
}
