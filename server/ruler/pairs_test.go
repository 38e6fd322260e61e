package ruler

import (
	"context"
	"encoding/json"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// ask is the value of a query now, if there is exactly one.
func (s *sim) ask(expr string) (float64, bool) {
	s.t.Helper()
	q, err := s.engine.NewInstantQuery(context.Background(), s.db, nil, expr, s.begin.Add(s.now))
	require.NoError(s.t, err, expr)
	defer q.Close()
	r := q.Exec(context.Background())
	require.NoError(s.t, r.Err, expr)
	v, err := r.Vector()
	require.NoError(s.t, err, expr)
	if len(v) == 0 {
		return 0, false
	}
	require.Len(s.t, v, 1, expr)
	return v[0].F, true
}

// A pair is one quantity at the places that show it: Fleet and alerts by the
// rules, the Machine page by the queries that its own test writes to queries.snap.
type pair struct {
	name  string
	truth float64
	fleet string // recorded series
	page  string // of the page's queries, by title and number: CPU/0
	shows string // what the page makes of it, with PAGE in place of the query
	whole bool   // the page divides what it shows by itself
	alert string
	value func(float64) float64 // of the alert, if it says the rest
}

func rest(v float64) float64 { return 1 - v }

var pairs = []pair{
	{name: "CPU", truth: .15, fleet: "machine:cpu_used:ratio", page: "CPU/0", shows: "sum(PAGE)", whole: true},
	{name: "stolen", truth: .2, page: "CPU/1", shows: `sum(PAGE unless on (mode) label_replace(vector(1), "mode", "iowait", "", ""))`, whole: true, alert: "CpuStolen"},
	{name: "memory", truth: .96, fleet: "machine:memory_used:ratio", page: "Memory/0", shows: "PAGE / on (machine) node_memory_MemTotal_bytes", whole: true, alert: "MemoryAlmostGone", value: rest},
	{name: "CPU waiting", truth: .7, page: "Pressure/0", shows: "PAGE", whole: true, alert: "CpuStarved"},
	{name: "memory stalled", truth: .3, fleet: "machine:memory_stalled:ratio", page: "Pressure/1", shows: "PAGE", whole: true, alert: "MemoryStalled"},
	{name: "I/O stalled", truth: .5, fleet: "machine:io_stalled:ratio", page: "Pressure/2", shows: "PAGE", whole: true, alert: "IoStalled"},
	{name: "received", truth: 3e4, fleet: "machine:network_receive_bytes:rate5m", page: "Network/0", shows: "PAGE / 8", whole: true},
	{name: "sent", truth: 3e4, fleet: "machine:network_transmit_bytes:rate5m", page: "Network/1", shows: "PAGE / 8", whole: true},
	{name: "fullest disk", truth: .98, fleet: "machine:filesystem_used_worst:ratio", page: "Space used/0", shows: "max(PAGE)", whole: true, alert: "FilesystemFull"},
	{name: "temperature", truth: 120, fleet: "machine:temperature_max:celsius", page: "Temperature/0", shows: "max(PAGE)", whole: true, alert: "TooHot"},
}

// pageQueries are those of the Machine page for the machine m0.
func pageQueries(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile("../../web/ui/src/pages/machine/queries.snap")
	require.NoError(t, err)
	var byTitle map[string][]string
	require.NoError(t, json.Unmarshal(text, &byTitle))
	all := make(map[string]string)
	for title, queries := range byTitle {
		for i, q := range queries {
			all[title+"/"+string(rune('0'+i))] = strings.ReplaceAll(q, "$rate", "60s")
		}
	}
	return all
}

// compare holds what Fleet, the Machine page and alerts say against each other and
// against the truth. The page's windows are a minute long: before that is filled,
// only what it divides by itself can be right.
func (s *sim) compare(page map[string]string, since time.Duration, when string, seen map[string]bool) {
	s.t.Helper()
	near := func(p pair, place string, got float64) {
		s.t.Helper()
		seen[p.name+" "+place] = true
		if math.Abs(got-p.truth) > .02*p.truth {
			require.Failf(s.t, "not the truth", "%s, %s after the start: %s on %s is %v, not %v", when, s.now-since, p.name, place, got, p.truth)
		}
	}
	for _, p := range pairs {
		if p.fleet != "" {
			if v, ok := s.ask(p.fleet + `{machine="m0"}`); ok {
				near(p, "fleet", v)
			}
		}
		require.Contains(s.t, page, p.page)
		if p.whole || s.now-since >= 75*time.Second {
			if v, ok := s.ask(strings.ReplaceAll(p.shows, "PAGE", "("+page[p.page]+")")); ok {
				near(p, "page", v)
			}
		}
		for _, g := range s.groups {
			for _, r := range g.AlertingRules() {
				if r.Name() != p.alert {
					continue
				}
				for _, a := range r.ActiveAlerts() {
					v := a.Value
					if p.value != nil {
						v = p.value(v)
					}
					near(p, "alert", v)
				}
			}
		}
	}
}

// Every place that shows a quantity shows the same, and what is true: in the first
// two minutes, after a gap, after a reboot, and when a CPU is plugged in.
func TestEveryPlaceShowsTheSame(t *testing.T) {
	page := pageQueries(t)
	for late := time.Duration(0); late < time.Minute; late += simStep { // of the first sample after an evaluation
		s := newSim(t, ShippedOptions{})
		s.machine("m0", "always", 0)
		for _, x := range s.series {
			x := x
			name := x.labels.Get("__name__")
			switch name + " " + x.labels.Get("mode") + x.labels.Get("device") {
			case "node_cpu_seconds_total idle":
				x.rate = .61
			case "node_cpu_seconds_total steal":
				x.rate = .2
			case "node_pressure_memory_stalled_seconds_total ":
				x.rate = .3
			case "node_pressure_io_stalled_seconds_total ":
				x.rate = .5
			case "node_pressure_cpu_waiting_seconds_total ":
				x.rate = .7
			case "node_memory_MemAvailable_bytes ":
				x.base = .04 * 16e9
			case "node_procs_blocked ":
				x.base = 10
			case "node_filesystem_avail_bytes /dev/sda1":
				x.base, x.rate = 2e9, 0
			case "node_hwmon_temp_celsius ":
				x.base = 120
			}
		}
		seen := make(map[string]bool)
		watch := func(d time.Duration, when string) {
			since := s.now
			for end := s.now + d; s.now < end; s.now += simStep {
				s.scrape(nil)
				s.evaluate()
				s.compare(page, since, when, seen)
			}
		}
		s.idle(late)
		watch(2*time.Minute, "first minutes")
		watch(10*time.Minute, "later")
		s.idle(8*time.Minute + late)
		watch(2*time.Minute, "after a gap")
		s.run(4 * time.Minute)
		s.idle(30 * time.Second) // it reboots
		booted := s.now - 10*time.Second
		for _, x := range s.series {
			if x.rate > 0 && strings.HasSuffix(x.labels.Get("__name__"), "_total") {
				rate := x.rate
				x.value = func(at time.Duration) float64 { return rate * (at - booted).Seconds() }
			}
		}
		watch(2*time.Minute, "after a reboot")
		s.run(4 * time.Minute)
		plugged := s.now
		for mode, rate := range map[string]float64{"idle": .61, "user": .1, "system": .05, "iowait": .04, "steal": .2, "nice": 0, "irq": 0, "softirq": 0} {
			s.add(0, 0, "__name__", "node_cpu_seconds_total", "machine", "m0", "availability", "always", "job", "node", "instance", "m0:9100", "cpu", "8", "mode", mode)
			s.series[len(s.series)-1].value = func(at time.Duration) float64 { return rate * (at - plugged + time.Minute).Seconds() }
		}
		// The 5 minutes of pressure and traffic reckon with as many CPUs as there are now.
		for end := s.now + 2*time.Minute; s.now < end; s.now += simStep {
			s.scrape(nil)
			s.evaluate()
			v, ok := s.ask(`machine:cpu_used:ratio`)
			require.True(t, ok)
			require.InDelta(t, .15, v, .003, "with a CPU that was plugged in")
		}
		s.run(8 * time.Minute)
		watch(time.Minute, "long after")
		require.Equal(t, "m0: / is 98 % full (1.8 GiB left)", s.said["FilesystemFull"])
		require.Equal(t, "m0: memory is stalled 30 % of the time", s.said["MemoryStalled"])
		for _, p := range pairs {
			require.True(t, seen[p.name+" page"], "the page never showed %s", p.name)
			require.True(t, p.fleet == "" || seen[p.name+" fleet"], "Fleet never showed %s", p.name)
			require.True(t, p.alert == "" || seen[p.name+" alert"], "%s never told of %s", p.alert, p.name)
		}
	}
}
