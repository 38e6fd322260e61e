package fleet

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/model"
	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/notifier"
	"github.com/prometheus/prometheus/scrape"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v2"

	"github.com/clanmon/clanmon/discovery"
	"github.com/clanmon/clanmon/discovery/contract"
)

type groups = map[string][]*targetgroup.Group

// newFleet is a Fleet under the configuration that these flags make.
func newFleet(t *testing.T, log *strings.Builder, flags discovery.Flags) (*Fleet, *prometheus.Registry) {
	t.Helper()
	reg := prometheus.NewRegistry()
	f := New(Options{
		Discovered: func(job string) bool { return job != "mine" }, Methods: discovery.Methods,
		Status: func() []contract.Status {
			return []contract.Status{{Method: "tailscale", From: "/var/run/tailscale/tailscaled.sock", Config: "node", Error: "gone", Never: true}}
		},
		Targets:    func() map[string][]*scrape.Target { return nil },
		Registerer: reg, Logger: slog.New(slog.NewTextHandler(log, nil)),
	})
	settings, err := discovery.ReadFlags(flags)
	require.NoError(t, err)
	parts, err := settings.Parts()
	require.NoError(t, err)
	text, err := yaml.Marshal(map[string]any{"scrape_configs": append(discovery.Assemble(parts), map[string]any{"job_name": "mine"})})
	require.NoError(t, err)
	cfg, err := config.Load(string(text), promslog.NewNopLogger())
	require.NoError(t, err)
	require.NoError(t, f.ApplyConfig(cfg))
	return f, reg
}

// tailscale is a device as the method tailscale describes it; more are meta labels
// of the contract without their prefix.
func tailscale(name, address string, more ...string) model.LabelSet {
	l := model.LabelSet{
		"__address__": model.LabelValue(address + ":9100"), contract.MetaMethod: "tailscale", contract.MetaMachine: model.LabelValue(name),
		contract.MetaID: model.LabelValue("n" + name), contract.MetaDevice: model.LabelValue(name + ".tn.test"), contract.MetaOS: "linux",
		contract.MetaSelf: "false", contract.MetaOnline: "true", contract.MetaAsk: "true", contract.MetaFrom: "/run/tailscaled.sock",
	}
	for i := 0; i < len(more); i += 2 {
		l[model.LabelName("__meta_clanmon_"+more[i])] = model.LabelValue(more[i+1])
	}
	return l
}

// answered makes it so that devices have answered before, as job node.
func answered(f *Fleet, names ...string) { answeredAs(f, "node", "9100", names...) }

func answeredAs(f *Fleet, job, port string, names ...string) {
	f.gate.mu.Lock()
	defer f.gate.mu.Unlock()
	for _, n := range names {
		f.gate.answered[endpoint{job, "tailscale n" + n + ":" + port}] = seen{"", day(time.Now())}
	}
}

// static is a machine that somebody wrote down.
func static(machine, address string) *targetgroup.Group { return listed("static", machine, address) }

func listed(method, machine, address string, more ...string) *targetgroup.Group {
	g := &targetgroup.Group{Source: address, Targets: []model.LabelSet{{"__address__": model.LabelValue(address)}}, Labels: model.LabelSet{
		contract.MetaMethod: model.LabelValue(method), contract.MetaMachine: model.LabelValue(machine), contract.MetaFrom: "the list",
	}}
	for i := 0; i < len(more); i += 2 {
		g.Labels[model.LabelName("__meta_clanmon_"+more[i])] = model.LabelValue(more[i+1])
	}
	return g
}

// local is this machine, scraped in the process.
func local(machine, job string) *targetgroup.Group {
	return listed(contract.MethodLocal, machine, job+".in-process.invalid:80")
}

func addresses(gs []*targetgroup.Group) []string {
	var all []string
	for _, g := range gs {
		for _, t := range g.Targets {
			all = append(all, string(t["__address__"]))
		}
	}
	return all
}

var twoMethods = discovery.Flags{Methods: []string{"tailscale"}, Static: []string{"node=x"}}

func TestOneSetOfTargetsPerMachine(t *testing.T) {
	log := &strings.Builder{}
	f, reg := newFleet(t, log, twoMethods)
	given := groups{
		"node": {
			{Source: "ts", Targets: []model.LabelSet{
				tailscale("web1", "100.64.0.1", "tags", ",web,eu,"),
				tailscale("db", "100.64.0.2"),
				tailscale("cache", "100.64.0.3"),
				tailscale("phone", "100.64.0.4", "os", "android", "left_out", `its operating system is "android"`),
				tailscale("friend", "100.64.0.5", "left_out", "shared in from another tailnet"),
			}},
			static("web1", "10.0.0.1:9100"),         // the same machine by another way
			static("redis-host", "100.64.0.3:9100"), // the same address by another name
			static("web1", "10.0.0.1:9200"),         // a second exporter of a machine
		},
		"mine": {static("web1", "10.0.0.1:9100"), static("web1", "10.0.0.1:9100")},
	}
	answered(f, "web1", "db", "cache")
	before := fmt.Sprint(given["node"][0])
	merged := f.Merge(given)
	require.ElementsMatch(t, []string{"100.64.0.2:9100", "100.64.0.4:9100", "100.64.0.5:9100", "10.0.0.1:9100", "100.64.0.3:9100", "10.0.0.1:9200"}, addresses(merged["node"]),
		"what relabelling drops is passed on, to be shown as dropped")
	require.Len(t, addresses(merged["mine"]), 2, "a job of the file is as the file says")
	require.Equal(t, before, fmt.Sprint(given["node"][0]), "what discovery sent is not changed")
	require.Empty(t, log.String())

	require.NoError(t, testutil.GatherAndCompare(reg, strings.NewReader(`
# HELP clanmon_machine_info A machine that discovery knows: its tags (each between commas), operating system, the methods that found it, and its name in the tailnet.
# TYPE clanmon_machine_info gauge
clanmon_machine_info{machine="db",os="linux",source="tailscale",tags="",tailscale_name="db.tn.test"} 1
clanmon_machine_info{machine="redis-host",os="linux",source="static,tailscale",tags="",tailscale_name="cache.tn.test"} 1
clanmon_machine_info{machine="web1",os="linux",source="static,tailscale",tags=",eu,web,",tailscale_name="web1.tn.test"} 1
`), "clanmon_machine_info"))
}

func TestThisMachineIsScrapedInProcess(t *testing.T) {
	log := &strings.Builder{}
	f, _ := newFleet(t, log, twoMethods)
	answered(f, "web1")
	merged := f.Merge(groups{"node": {
		{Source: "ts", Targets: []model.LabelSet{
			tailscale("hall", "100.64.0.1", "self", "true", "tags", ",server,"),
			tailscale("web1", "100.64.0.2"),
		}},
		local("hall", "node"),
	}})
	require.ElementsMatch(t, []string{"100.64.0.2:9100", "node.in-process.invalid:80"}, addresses(merged["node"]))
	require.Equal(t, []string{"server"}, f.Machines()[0].Tags)
	require.Equal(t, []string{"100.64.0.1"}, f.Machines()[0].Addresses)
	require.Empty(t, log.String())
}

// Two machines that would write the same series: one is scraped, and it is said.
func TestCollisionsAreSaidOnce(t *testing.T) {
	log := &strings.Builder{}
	f, _ := newFleet(t, log, twoMethods)
	for range 3 {
		merged := f.Merge(groups{"node": {static("web1", "10.0.0.1:9100"), static("web1", "10.0.0.2:9100")}})
		require.Equal(t, []string{"10.0.0.1:9100"}, addresses(merged["node"]))
	}
	require.Equal(t, 1, strings.Count(log.String(), "level=WARN"))
	require.Contains(t, log.String(), "10.0.0.2:9100")
}

// This machine has one name, also where the tailnet calls it otherwise and one of
// its jobs is scraped over the network; a target without a name is none.
func TestThisMachineHasOneName(t *testing.T) {
	f, _ := newFleet(t, &strings.Builder{}, twoMethods)
	answeredAs(f, "node", "9100", "vm-1")
	answeredAs(f, "nginx", "9113", "vm-1")
	self := tailscale("vm-1", "100.64.0.9", "self", "true")
	given := groups{
		"node":  {local("vm", "node"), {Source: "ts", Targets: []model.LabelSet{self}}},
		"nginx": {{Source: "ts", Targets: []model.LabelSet{self}}, {Source: "none", Targets: []model.LabelSet{{"__address__": ":80"}}}},
	}
	merged := f.Merge(given)
	require.Equal(t, []string{"node.in-process.invalid:80"}, addresses(merged["node"]))
	require.Equal(t, []string{"100.64.0.9:9100"}, addresses(merged["nginx"]))
	require.EqualValues(t, "vm", merged["nginx"][0].Targets[0][contract.MetaMachine], "what the label machine is made of")
	require.EqualValues(t, "vm-1", self[contract.MetaMachine], "what was given stays")
	machines := f.Machines()
	require.Len(t, machines, 1)
	require.Equal(t, "vm", machines[0].Name)
	require.Len(t, machines[0].Targets, 2)
}

type sink struct{ sent []*notifier.Alert }

func (s *sink) Send(alerts ...*notifier.Alert) { s.sent = append(s.sent, alerts...) }

// Tags come along with an alert, and stay what they were while it fires.
func TestTagsOfAlertsAreFrozen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, _ := newFleet(t, &strings.Builder{}, twoMethods)
		answered(f, "web1")
		tag := func(tags string) {
			f.Merge(groups{"node": {{Source: "ts", Targets: []model.LabelSet{tailscale("web1", "100.64.0.1", "tags", tags)}}}})
		}
		s := &sink{}
		tagger := f.Tagger(s)
		send := func(starts time.Time, pairs ...string) labels.Labels {
			a := &notifier.Alert{Labels: labels.FromStrings(pairs...), StartsAt: starts}
			tagger.Send(a)
			require.False(t, a.Labels.Has("tags") && pairs[0] != "tags", "the ruler's alert is not changed")
			return s.sent[len(s.sent)-1].Labels
		}
		first := time.Now()
		tag(",web,")
		require.Equal(t, ",web,", send(first, "alertname", "Down", "machine", "web1").Get("tags"))
		tag(",db,")
		require.Equal(t, ",web,", send(first, "alertname", "Down", "machine", "web1").Get("tags"))
		require.Equal(t, ",db,", send(first, "alertname", "Other", "machine", "web1").Get("tags"))
		time.Sleep(time.Hour)
		require.Equal(t, ",web,", send(first, "alertname", "Down", "machine", "web1").Get("tags"), "it still fires")
		require.Equal(t, ",db,", send(time.Now(), "alertname", "Down", "machine", "web1").Get("tags"), "it fires anew")
		require.False(t, send(first, "alertname", "Down", "machine", "unknown").Has("tags"))
		require.False(t, send(first, "alertname", "Down").Has("tags"))
		require.Equal(t, "mine", send(first, "tags", "mine", "machine", "web1").Get("tags"))

		time.Sleep(2 * forgetAfter)
		send(time.Now(), "alertname", "New", "machine", "web1")
		require.Len(t, tagger.fired, 1, "what fires no more is forgotten")
	})
}

func TestHTTP(t *testing.T) {
	f, _ := newFleet(t, &strings.Builder{}, twoMethods)
	answered(f, "web1")
	f.Merge(groups{"node": {{Source: "ts", Targets: []model.LabelSet{
		tailscale("web1", "100.64.0.1", "relay", "fra", "online", "false", "last_seen", "2026-11-20T10:00:00Z"),
		tailscale("web2", "100.64.0.2"),
		tailscale("phone", "100.64.0.3", "os", "android", "left_out", `its operating system is "android"`),
		tailscale("friend", "100.64.0.4", "left_out", "shared in from another tailnet"),
		tailscale("exit", "100.64.0.5", "left_out", "a Mullvad exit node"),
	}}}})
	get := func(path string) string {
		w := httptest.NewRecorder()
		f.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		require.Equal(t, 200, w.Code)
		return w.Body.String()
	}
	var machines struct {
		Status string
		Data   []map[string]any
	}
	require.NoError(t, json.Unmarshal([]byte(get("/machines")), &machines))
	require.Equal(t, "success", machines.Status)
	require.Len(t, machines.Data, 1)
	delete(machines.Data[0], "since")
	text, err := json.Marshal(machines.Data[0])
	require.NoError(t, err)
	require.JSONEq(t, `{"machine": "web1", "availability": "always", "tags": [], "os": "linux", "sources": ["tailscale"], "addresses": ["100.64.0.1"],
		"tailscale": {"name": "web1.tn.test", "online": false, "direct": false, "relay": "fra", "lastSeen": "2026-11-20T10:00:00Z"},
		"selector": "machine=\"web1\"", "labelled": true, "judged": false, "state": "waiting", "why": "not scraped yet",
		"pending": 0, "critical": 0, "warning": 0, "info": 0, "alerts": [], "silenced": [], "muted": [], "unitsKnown": false, "facts": {}, "warnings": [],
		"targets": [{"job": "node", "instance": "web1:9100", "address": "100.64.0.1:9100", "method": "tailscale", "health": "unknown"}]}`, string(text))
	require.JSONEq(t, `{"status": "success", "data": {
		"methods": [
			{"method": "static", "from": "--discovery.static", "config": "node", "jobs": ["node"]},
			{"method": "tailscale", "from": "/var/run/tailscale/tailscaled.sock", "config": "node", "jobs": ["node", "systemd", "nginx", "postgres", "redis", "blackbox"], "error": "gone", "never": true},
			{"method": "config", "from": "the configuration file", "config": "mine", "jobs": ["mine"]}
		],
		"refused": [],
		"waiting": [{"job": "node", "machine": "web2", "instance": "web2:9100", "address": "100.64.0.2:9100", "method": "tailscale", "reason": "not tried yet", "attempts": 0}],
		"leftOut": [
			{"device": "exit.tn.test", "method": "tailscale", "reason": "a Mullvad exit node"},
			{"device": "friend.tn.test", "method": "tailscale", "reason": "shared in from another tailnet"},
			{"device": "phone.tn.test", "method": "tailscale", "reason": "its operating system is \"android\""}
		]}}`, get("/discovery"))
}

func BenchmarkMerge(b *testing.B) {
	f := New(Options{
		Discovered: func(string) bool { return true }, Methods: discovery.Methods,
		Registerer: prometheus.NewRegistry(), Logger: slog.New(slog.DiscardHandler),
	})
	settings, _ := discovery.ReadFlags(discovery.Flags{Methods: []string{"tailscale"}})
	parts, _ := settings.Parts()
	text, _ := yaml.Marshal(map[string]any{"scrape_configs": discovery.Assemble(parts)})
	cfg, err := config.Load(string(text), promslog.NewNopLogger())
	if err != nil {
		b.Fatal(err)
	}
	_ = f.ApplyConfig(cfg)
	g := &targetgroup.Group{Source: "ts"}
	for i := range 1000 {
		g.Targets = append(g.Targets, tailscale(fmt.Sprintf("m%d", i), fmt.Sprintf("100.64.%d.%d", i/250, i%250)))
	}
	for _, t := range g.Targets {
		answeredAs(f, "node", "9100", string(t[contract.MetaMachine]))
		answeredAs(f, "systemd", "9558", string(t[contract.MetaMachine]))
	}
	given := groups{"node": {g}, "systemd": {g}}
	b.ReportAllocs()
	for b.Loop() {
		f.Merge(given)
	}
}
