package fleet

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/scrape"
	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/discovery/contract"
)

func scrapedBy(job, instance, address, health string, more ...string) member {
	return member{
		health: healthOf(job, instance, address, health), series: job,
		labels: labels.FromStrings(append([]string{"job", job, "instance", instance}, more...)...),
	}
}

func healthOf(job, instance, address, is string) health {
	return health{Target: Target{Job: job, Instance: instance, Address: address}, Method: sourceConfig, Health: is}
}

// assigned are the instances by machine.
func assigned(known exporters, all ...member) map[string][]string {
	machines := make(map[string]*subject)
	assign(machines, all, known, "vm")
	found := make(map[string][]string)
	for name, s := range machines {
		s.finish()
		found[name] = s.instances
		slices.Sort(found[name])
	}
	return found
}

func TestWhichMachineATargetBelongsTo(t *testing.T) {
	known := exporters{
		{"node", "web1:9100"}: "web1", {"units", "web1:9558"}: "", {"node", "localhost:9100"}: "vm.lan", {"node", "127.0.0.1:9101"}: "far",
		{"node", "[fd00::1]:9100"}: "", {"federate", "http://x/federate"}: "y",
	}
	got := assigned(known,
		scrapedBy("node", "web1:9100", "web1:9100", "up"),
		scrapedBy("units", "web1:9558", "web1:9558", "up"),
		scrapedBy("redis", "web1:9121", "web1:9121", "up"),             // another exporter there
		scrapedBy("blackbox", "web1", "prober:9115", "up"),             // a probe of it
		scrapedBy("blackbox", "https://web1/", "prober:9115", "up"),    // a page of it
		scrapedBy("redis", "cache:9121", "cache:9121", "up"),           // of a host without such an exporter
		scrapedBy("node", "localhost:9100", "localhost:9100", "up"),    // this machine
		scrapedBy("node", "127.0.0.1:9101", "127.0.0.1:9101", "up"),    // behind a tunnel
		scrapedBy("grafana", "localhost:3000", "localhost:3000", "up"), // of which of the two?
		scrapedBy("node", "[fd00::1]:9100", "[fd00::1]:9100", "up"),
		scrapedBy("node", "new:9100", "new:9100", "down"),     // never responded, but its job is of node exporters
		scrapedBy("redis", "old:9121", "old:9121", "down"),    // the same of another job
		scrapedBy("node", "x:9100/metrics", "x:9100", "down"), // a path
		scrapedBy("anything", "10.0.0.9:1", "10.0.0.9:1", "down", "machine", "named"),
		scrapedBy("federate", "http://x/federate", "x:80", "up"),
	)
	require.Equal(t, map[string][]string{
		"web1": {"web1:9100", "web1:9121", "web1:9558"}, "vm": {"localhost:9100"}, "far": {"127.0.0.1:9101"},
		"fd00::1": {"[fd00::1]:9100"}, "new": {"new:9100"}, "named": {"10.0.0.9:1"},
	}, got)
}

// The only machine of loopback has what else is there.
func TestWhatElseIsOnThisMachine(t *testing.T) {
	got := assigned(exporters{{"node", "localhost:9100"}: "vm"},
		scrapedBy("node", "localhost:9100", "localhost:9100", "up"), scrapedBy("prometheus", "127.0.0.1:9090", "127.0.0.1:9090", "up"))
	require.Equal(t, map[string][]string{"vm": {"127.0.0.1:9090", "localhost:9100"}}, got)
}

func TestTagsOfLabels(t *testing.T) {
	all := make(map[string]*subject)
	for i, role := range []string{"web", "web", "db", "db", "db"} {
		name := fmt.Sprintf("m%d", i)
		all[name] = &subject{Machine: &Machine{Name: name}, members: []member{
			scrapedBy("node", name+":1", name+":1", "up", "role", role, "site", "here", "rack", name, "kind", "node", "machine", name),
			scrapedBy("units", name+":2", name+":2", "up", "role", role, "site", "here", "rack", name, "kind", "units", "machine", name),
		}}
	}
	tagAll(all)
	require.Equal(t, []string{"role=web"}, all["m0"].Tags, "not what all have, not what each has alone, not what differs between its targets")
	require.Equal(t, []string{"role=db"}, all["m4"].Tags)
}

func emptyFleet(o Options) *Fleet {
	o.Discovered = func(string) bool { return false }
	o.Status = func() []contract.Status { return nil }
	if o.Targets == nil {
		o.Targets = func() map[string][]*scrape.Target { return nil }
	}
	o.Registerer, o.Logger = prometheus.NewRegistry(), promslog.NewNopLogger()
	return New(o)
}

// A machine whose samples others send is down when they stop coming, and so is
// said of all of them at once.
func TestSamplesOfOthersThatStop(t *testing.T) {
	f := emptyFleet(Options{Rules: func() Rules { return Rules{Builtin: true, Evaluated: true} }})
	now := time.Now()
	feed := func(machine string, age time.Duration) {
		s := sample{labels: labels.FromStrings("job", "node", "instance", machine+":9100", "machine", machine), t: now.Add(-age), v: 1}
		f.view.fed[fedKey{machine, "node", machine + ":9100"}] = fedMember(s)
	}
	judged := func() *snapshot {
		return f.judgeAll(t.Context(), now, f.roster(nil, slices.Collect(maps.Values(f.view.fed))))
	}
	feed("alpha", 10*time.Second)
	feed("beta", 20*time.Minute)
	s := judged()
	require.Equal(t, stateOK, s.machines["alpha"].state)
	require.Equal(t, stateDown, s.machines["beta"].state)
	require.WithinDuration(t, now.Add(-20*time.Minute), s.machines["beta"].since, time.Second)
	n := f.notices(s)
	require.Len(t, n, 1)
	require.Equal(t, warning, n[0].Level)
	require.Contains(t, n[0].Text, "beta")
	feed("alpha", 6*time.Minute)
	n = f.notices(judged())
	require.Equal(t, critical, n[0].Level)
	require.Contains(t, n[0].Text, "alpha, beta")
}

func TestOneSystemUnderTwoNames(t *testing.T) {
	found := twins(map[string]*Facts{
		"a": {Nodename: "vm", bootTime: 1000}, "b": {Nodename: "vm", bootTime: 1001}, "clone": {Nodename: "vm", bootTime: 5000},
		"c": {Nodename: "other", bootTime: 1000}, "d": {bootTime: 1000}, "e": {Nodename: "vm"},
	})
	require.Len(t, found, 2)
	require.Equal(t, "b", found["a"][0].Machine)
	require.Equal(t, "a", found["b"][0].Machine)
}

// A figure is only sent anew when what is shown would differ.
func TestFiguresAreSteady(t *testing.T) {
	ptr := func(v float64) *float64 { return &v }
	require.Nil(t, ratio(figures{}, "cpu", ptr(0.5)), "not known is not what it was")
	require.InDelta(t, 0.12, *ratio(figures{"cpu": 0.1234}, "cpu", nil), 1e-9)
	require.InDelta(t, 0.12, *ratio(figures{"cpu": 0.126}, "cpu", ptr(0.12)), 1e-9)
	require.InDelta(t, 0.13, *ratio(figures{"cpu": 0.131}, "cpu", ptr(0.12)), 1e-9)
	require.InDelta(t, 1.2e6, *speed(figures{"receive": 1_234_567}, "receive", nil), 1e-9)
	require.InDelta(t, 0, *steady(figures{"unitsFailed": 0}, "unitsFailed", nil, 1, 0), 1e-9)
}
