package inventory

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/discovery"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/clanmon/clanmon/discovery/contract"
)

// A discovery leaves no goroutine behind.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const good = `{"machines": {
  "web1": {"addresses": ["10.0.0.1", "web1.lan"], "tags": ["web"], "exporters": {"node": 9200, "nginx": null}},
  "lap":  {"addresses": ["fd00::2"], "availability": "intermittent", "exporters": {"node": null}}
}}`

func write(t *testing.T, file, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(file+".new", []byte(text), 0o600))
	require.NoError(t, os.Rename(file+".new", file))
}

func run(t *testing.T, c SDConfig) (<-chan []*targetgroup.Group, contract.Reporter) {
	refresh := discovery.NewRefreshMetrics(prometheus.NewRegistry())
	m := c.NewDiscovererMetrics(nil, refresh)
	d, err := c.NewDiscoverer(discovery.DiscovererOptions{Logger: slog.New(slog.DiscardHandler), Metrics: m, SetName: c.Job})
	require.NoError(t, err)
	up := make(chan []*targetgroup.Group)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); d.Run(ctx, up) }()
	t.Cleanup(func() { cancel(); <-done })
	return up, m.(contract.Reporter)
}

func next(t *testing.T, up <-chan []*targetgroup.Group) *targetgroup.Group {
	t.Helper()
	select {
	case g := <-up:
		return g[0]
	case <-time.After(time.Minute):
		t.Fatal("no targets")
		return nil
	}
}

func TestFollowsTheFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "inventory.json")
	write(t, file, good)
	up, reporter := run(t, SDConfig{File: file, Job: "node", RefreshInterval: model.Duration(10 * time.Millisecond)})
	from := model.LabelValue(file)
	require.Equal(t, []model.LabelSet{
		{
			"__address__": "[fd00::2]:9100", "__meta_inventory_machine": "lap", "__meta_inventory_addresses": ",fd00::2,",
			"__meta_inventory_tags": "", "__meta_inventory_availability": "intermittent",
			contract.MetaMethod: "inventory", contract.MetaMachine: "lap", contract.MetaFrom: from, contract.MetaAddresses: ",fd00::2,",
			contract.MetaTags: "", contract.MetaAvailability: "intermittent",
		},
		{
			"__address__": "10.0.0.1:9200", "__meta_inventory_machine": "web1", "__meta_inventory_addresses": ",10.0.0.1,web1.lan,",
			"__meta_inventory_tags": ",web,", "__meta_inventory_availability": "always",
			contract.MetaMethod: "inventory", contract.MetaMachine: "web1", contract.MetaFrom: from, contract.MetaAddresses: ",10.0.0.1,web1.lan,",
			contract.MetaTags: ",web,",
		},
	}, next(t, up).Targets, "web1 says nothing on its availability, so that another method may")

	// A broken file changes nothing but the status.
	write(t, file, "{")
	require.Eventually(t, func() bool {
		s := reporter.Status()
		return len(s) == 1 && strings.Contains(s[0].Error, "line 1")
	}, time.Minute, 5*time.Millisecond)
	write(t, file, strings.ReplaceAll(good, "web1", "web2"))
	require.EqualValues(t, "web2", next(t, up).Targets[1]["__meta_inventory_machine"])
	require.Empty(t, reporter.Status()[0].Error)
}

// One entry that is wrong costs only itself, also at the start, and is reported.
func TestOneBadEntry(t *testing.T) {
	for entry, want := range map[string]contract.Refused{
		`"a": {"adresses": []}`:                              {Entry: "a", Reason: `json: unknown field "adresses"`},
		`"a": {"addresses": []}`:                             {Entry: "a", Reason: "addresses is empty; add at least one address or host name"},
		`"a": {}`:                                            {Entry: "a", Reason: "addresses is empty; add at least one address or host name"},
		`"a": null`:                                          {Entry: "a", Reason: "addresses is empty; add at least one address or host name"},
		`"a": 7`:                                             {Entry: "a", Reason: "it is a number; it must be an object"},
		`"a b": {"addresses": ["x"]}`:                        {Entry: "a b", Reason: `machine name "a b": must have at most 63 letters, digits, '_', '-', '.' and ':', and begin and end with a letter or digit`},
		`"": {"addresses": ["x"]}`:                           {Entry: "(no name)", Reason: `machine name "": must have at most 63 letters, digits, '_', '-', '.' and ':', and begin and end with a letter or digit`},
		`"a": {"addresses": ["http://x"]}`:                   {Entry: "a", Reason: `addresses: "http://x" is neither a host name nor an address; set ports in exporters`},
		`"a": {"addresses": ["10.0.0.1:9100"]}`:              {Entry: "a", Reason: `addresses: "10.0.0.1:9100" is neither a host name nor an address; set ports in exporters`},
		`"a": {"addresses": ["x", "x\"}\n1"]}`:               {Entry: "a", Reason: `addresses: "x\"}\n1" is neither a host name nor an address; set ports in exporters`},
		`"a": {"addresses": "x"}`:                            {Entry: "a", Reason: "field addresses is a string; it must be a list"},
		`"a": {"addresses": ["x"], "availability": "often"}`: {Entry: "a", Reason: `availability is "often"; it must be "always" or "intermittent"`},
		`"a": {"addresses": ["x"], "exporters": {"node": "9100"}}`:                     {Entry: "a", Reason: "field exporters is a string; it must be a number"},
		`"a": {"addresses": ["x"], "exporters": {"node": null, "mine": null}}`:         {Entry: "a exporters.mine", Reason: `job "mine" has no default port; add a port, or use one of node, systemd, nginx, postgres, redis, blackbox`},
		`"a": {"addresses": ["x"], "exporters": {"node": null, "redis": 0}}`:           {Entry: "a exporters.redis", Reason: "port 0: it must be between 1 and 65535"},
		`"a": {"addresses": ["x"], "exporters": {"node": null, "no de": 1}}`:           {Entry: "a exporters.no de", Reason: `job name "no de": only letters, digits, '_', '-' and '.' are allowed`},
		`"z": {"addresses": ["10.0.0.1"], "exporters": {"nginx": 9114, "node": 9200}}`: {Entry: "z exporters.node", Reason: "node 10.0.0.1:9200 is already scraped as web1; remove one of the two, or change its address or port"},
	} {
		file := filepath.Join(t.TempDir(), "inventory.json")
		write(t, file, strings.Replace(good, `"lap"`, entry+`, "lap"`, 1))
		parts, err := Parts(file)
		require.NoError(t, err, "%s: the server starts", entry)
		require.NotEmpty(t, parts)
		machines, refused, err := Load(file)
		require.NoError(t, err)
		require.Equal(t, []contract.Refused{want}, refused, entry)
		require.Contains(t, machines, "web1")
		require.Contains(t, machines, "lap")
		if strings.Contains(want.Entry, "exporters") {
			require.NotEmpty(t, machines[want.Entry[:1]].Exporters, "%s: an exporter costs only itself", entry)
		} else {
			require.Len(t, machines, 2, entry)
		}

		up, reporter := run(t, SDConfig{File: file, Job: "nginx", RefreshInterval: model.Duration(10 * time.Millisecond)})
		require.NotEmpty(t, next(t, up).Targets)
		want.Method = "inventory"
		require.Equal(t, []contract.Refused{want}, reporter.Refused())
		require.Empty(t, reporter.Status()[0].Error)
		write(t, file, good)
		next(t, up)
		require.Empty(t, reporter.Refused(), "mended")
	}
}

// Many bad entries are counted, not listed.
func TestManyBadEntries(t *testing.T) {
	file := filepath.Join(t.TempDir(), "inventory.json")
	var text strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&text, `"m %d": {}, `, i)
	}
	write(t, file, strings.Replace(good, `"lap"`, text.String()+`"lap"`, 1))
	up, reporter := run(t, SDConfig{File: file, Job: "node", RefreshInterval: model.Duration(time.Hour)})
	require.Len(t, next(t, up).Targets, 2)
	refused := reporter.Refused()
	require.Len(t, refused, 101)
	require.Equal(t, "4900 more", refused[100].Entry)
}

// More machines than a server can take: those before stay, and it is said.
func TestTooManyMachines(t *testing.T) {
	file := filepath.Join(t.TempDir(), "inventory.json")
	write(t, file, good)
	up, reporter := run(t, SDConfig{File: file, Job: "node", RefreshInterval: model.Duration(10 * time.Millisecond)})
	next(t, up)
	var text strings.Builder
	text.WriteString(`{"machines": {`)
	for i := range 100_000 {
		fmt.Fprintf(&text, `"m%d": {"addresses": ["10.%d.%d.%d"], "exporters": {"node": null}}, `, i, i>>16, i>>8&255, i&255)
	}
	write(t, file, text.String()+`"last": {"addresses": ["x"]}}}`)
	require.Eventually(t, func() bool {
		return strings.Contains(reporter.Status()[0].Error, "it has 100001 machines; the maximum is 20000")
	}, time.Minute, 10*time.Millisecond)
	write(t, file, `{"machines": {}}`)
	require.Empty(t, next(t, up).Targets)
	require.Empty(t, reporter.Status()[0].Error)
}

func TestMistakes(t *testing.T) {
	for text, want := range map[string]string{
		"{\n\"machine\": {}}":    "line 2: json: unknown field \"machine\"",
		"{\n\"machines\": [1]}":  "line 2: field machines is an array; it must be an object",
		`{"machines": {}} {}`:    "unexpected content",
		`{"machines": {"a": {]}`: "line 1",
		"":                       "line 1",
	} {
		_, _, err := parse([]byte(text))
		require.ErrorContains(t, err, want, text)
	}
	_, _, err := Load("/does/not/exist")
	require.ErrorContains(t, err, "/does/not/exist")
}
