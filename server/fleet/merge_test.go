package fleet

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/scrape"
	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/discovery"
	"github.com/clanmon/clanmon/discovery/contract"
)

// scraped is what the scrape manager makes of merged groups: "job instance" → the
// labels of the series.
func scraped(t *testing.T, f *Fleet, merged groups) map[string]map[string]string {
	t.Helper()
	all := make(map[string]map[string]string)
	builder := labels.NewBuilder(labels.EmptyLabels())
	for job, gs := range merged {
		for _, g := range gs {
			for _, target := range g.Targets {
				found, err := scrape.PopulateLabels(builder, f.jobs[job], target, g.Labels)
				require.NoError(t, err)
				if found.IsEmpty() {
					continue
				}
				key := job + " " + found.Get("instance")
				require.NotContains(t, all, key, "two targets with the same labels")
				all[key] = found.Map()
			}
		}
	}
	return all
}

// shuffled is what discovery may send as well: in no order.
func shuffled(given groups) groups {
	other := make(groups, len(given))
	for job, gs := range given {
		gs = slices.Clone(gs)
		rand.Shuffle(len(gs), func(i, k int) { gs[i], gs[k] = gs[k], gs[i] })
		other[job] = gs
	}
	return other
}

var fiveJobs = []string{"node", "systemd", "nginx", "postgres", "redis"}

// tailnet finds devices in all jobs, as the method does.
func tailnet(devices ...model.LabelSet) groups {
	g := &targetgroup.Group{Source: "ts", Targets: devices}
	all := make(groups)
	for _, job := range fiveJobs {
		all[job] = []*targetgroup.Group{g}
	}
	return all
}

// A laptop is intermittent in the inventory; the tailnet finds it too, without a
// tag, for all jobs, of which some have answered and others have not. All of its
// targets say the same, each time: else it is missed when its lid is closed.
func TestAvailabilityIsThatOfTheMachine(t *testing.T) {
	for _, test := range []struct {
		name      string
		inventory []string // what the inventory says, more than name and address
		static    bool     // and a list, which cannot say anything
		tailnet   []string
		want      string
	}{
		{"the inventory says it", []string{"availability", "intermittent"}, false, nil, "intermittent"},
		{"the inventory says it beside a list", []string{"availability", "intermittent"}, true, nil, "intermittent"},
		{"the inventory outranks the tag", []string{"availability", "always"}, false, []string{"availability", "intermittent"}, "always"},
		{"only the tag says it", nil, false, []string{"availability", "intermittent"}, "intermittent"},
		{"only the tag says it, beside a list", nil, true, []string{"availability", "intermittent"}, "intermittent"},
		{"nobody says it", nil, true, nil, "always"},
	} {
		t.Run(test.name, func(t *testing.T) {
			f, _ := newFleet(t, &strings.Builder{}, discovery.Flags{Methods: []string{"tailscale"}, Static: []string{"node=x"}})
			answeredAs(f, "redis", "9121", "lap") // once; its other exporters are pending
			answeredAs(f, "node", "9100", "srv")
			given := tailnet(tailscale("lap", "100.64.0.1", test.tailnet...), tailscale("srv", "100.64.0.2"))
			for job, address := range map[string]string{"node": "10.0.0.1:9100", "systemd": "10.0.0.1:9558"} {
				given[job] = append(given[job], listed("inventory", "lap", address, test.inventory...))
			}
			if test.static {
				given["nginx"] = append(given["nginx"], static("lap", "10.0.0.1:9113"))
			}
			for range 500 {
				found := scraped(t, f, f.Merge(shuffled(given)))
				machines := f.Machines()
				require.Equal(t, test.want, machines[0].Availability)
				require.Equal(t, "always", machines[1].Availability, "of another machine")
				require.Contains(t, found, "redis lap:9121")
				require.Contains(t, found, "node lap:9100")
				for key, ls := range found {
					if ls["machine"] == "lap" {
						require.Equal(t, test.want, ls["availability"], key)
					}
				}
			}
			require.Empty(t, given["node"][0].Targets[1][contract.MetaAvailability], "what was given stays as it is")
		})
	}
}

// Two lists may disagree as to where a machine is, and a name may have several
// addresses. Which one is scraped does not depend on the order of things.
func TestTheSameTargetsEachTime(t *testing.T) {
	f, _ := newFleet(t, &strings.Builder{}, twoMethods)
	given := tailnet(tailscale("web1", "100.64.0.1"))
	for _, method := range []string{"static", "inventory", "dns"} {
		for i := range 3 {
			given["node"] = append(given["node"], listed(method, "web1", fmt.Sprintf("10.0.%d.%d:9100", len(method), i)))
		}
	}
	want := scraped(t, f, f.Merge(given))
	require.Equal(t, "10.0.6.0:9100", addresses(f.Merge(given)["node"])[0], "static stands highest, its first address counts")
	for range 200 {
		require.Equal(t, want, scraped(t, f, f.Merge(shuffled(given))))
	}
}

// A machine has one name in all jobs: that under which its address was written
// down, also where only the network knows of an exporter.
func TestAMachineHasOneName(t *testing.T) {
	f, _ := newFleet(t, &strings.Builder{}, twoMethods)
	answeredAs(f, "redis", "9121", "laptop-1", "other")
	given := tailnet(tailscale("laptop-1", "100.64.0.1"), tailscale("other", "100.64.0.2"))
	given["node"] = append(given["node"], listed("inventory", "lap", "10.0.0.1:9100", "addresses", ",10.0.0.1,100.64.0.1,"))
	found := scraped(t, f, f.Merge(given))
	require.Equal(t, "lap", found["redis lap:9121"]["machine"])
	require.Contains(t, found, "redis other:9121")
	require.Equal(t, []string{"inventory", "tailscale"}, f.Machines()[0].Sources)
	for _, w := range f.gate.list() {
		require.NotEqual(t, "laptop-1", w.Machine)
	}

	// Two machines at one address, by different ports: the address names neither.
	given = tailnet(tailscale("laptop-1", "100.64.0.1"))
	given["node"] = append(given["node"], static("a", "100.64.0.1:19100"), static("b", "100.64.0.1:29100"))
	require.Contains(t, scraped(t, f, f.Merge(given)), "redis laptop-1:9121")
}

// What cannot be scraped costs only itself, and is said.
func TestRefusedTargets(t *testing.T) {
	f, _ := newFleet(t, &strings.Builder{}, twoMethods)
	nameless := listed("dns", "", "10.0.0.2:9100")
	slash := listed("dns", "rfc2317", "0/25.2.0.192:9100")
	merged := f.Merge(groups{"node": {static("good", "10.0.0.1:9100"), nameless, slash}})
	require.Equal(t, []string{"10.0.0.1:9100"}, addresses(merged["node"]))
	refused := f.discovery().Refused
	require.Len(t, refused, 2)
	require.Equal(t, contract.Refused{Entry: "10.0.0.2:9100 in job node", Method: "dns", Reason: "discovery gives no machine name"}, refused[0])
	require.Equal(t, "rfc2317 in job node", refused[1].Entry)
	require.Contains(t, refused[1].Reason, "0/25.2.0.192")
	f.Merge(groups{"node": {static("good", "10.0.0.1:9100")}})
	require.Empty(t, f.discovery().Refused)
}

// A device that one job selects by tags and another does not is a machine.
func TestLeftOutByTags(t *testing.T) {
	f, _ := newFleet(t, &strings.Builder{}, discovery.Flags{TailscaleJobs: []string{"node@server", "nginx@web"}})
	answered(f, "web1")
	tagged := func(name, address, tags string) model.LabelSet {
		d := tailscale(name, address, "tags", strings.ReplaceAll(tags, "tag:", ""))
		d["__meta_tailscale_tags"] = model.LabelValue(tags)
		return d
	}
	g := &targetgroup.Group{Source: "ts", Targets: []model.LabelSet{tagged("web1", "100.64.0.1", ",tag:server,"), tagged("printer", "100.64.0.2", ",tag:office,")}}
	found := scraped(t, f, f.Merge(groups{"node": {g}, "nginx": {g}}))
	require.Len(t, found, 1)
	require.Contains(t, found, "node web1:9100")
	require.Equal(t, []LeftOut{{"printer.tn.test", "tailscale", "has none of the requested tags"}}, f.discovery().LeftOut)
	require.Empty(t, f.gate.list())
}

// Collisions are remembered while they last, not for ever.
func TestWarningsDoNotPileUp(t *testing.T) {
	f, _ := newFleet(t, &strings.Builder{}, twoMethods)
	for i := range 50 {
		f.Merge(groups{"node": {static("web1", "10.0.0.1:9100"), static("web1", fmt.Sprintf("10.0.1.%d:9100", i))}})
	}
	require.Len(t, f.warned, 1)
	f.Merge(groups{})
	require.Empty(t, f.warned)
}
