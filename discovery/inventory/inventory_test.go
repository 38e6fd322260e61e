package inventory

import (
	"context"
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

func run(t *testing.T, c SDConfig) (<-chan []*targetgroup.Group, func() []contract.Status) {
	refresh := discovery.NewRefreshMetrics(prometheus.NewRegistry())
	m := c.NewDiscovererMetrics(nil, refresh)
	d, err := c.NewDiscoverer(discovery.DiscovererOptions{Logger: slog.New(slog.DiscardHandler), Metrics: m, SetName: c.Job})
	require.NoError(t, err)
	up := make(chan []*targetgroup.Group)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); d.Run(ctx, up) }()
	t.Cleanup(func() { cancel(); <-done })
	return up, m.(contract.Reporter).Status
}

func next(t *testing.T, up <-chan []*targetgroup.Group) *targetgroup.Group {
	t.Helper()
	select {
	case g := <-up:
		return g[0]
	case <-time.After(20 * time.Second):
		t.Fatal("no targets")
		return nil
	}
}

func TestFollowsTheFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "inventory.json")
	write(t, file, good)
	up, status := run(t, SDConfig{File: file, Job: "node", RefreshInterval: model.Duration(10 * time.Millisecond)})
	require.Equal(t, []model.LabelSet{
		{
			"__address__": "[fd00::2]:9100", "__meta_inventory_machine": "lap", "__meta_inventory_addresses": ",fd00::2,",
			"__meta_inventory_tags": "", "__meta_inventory_availability": "intermittent",
		},
		{
			"__address__": "10.0.0.1:9200", "__meta_inventory_machine": "web1", "__meta_inventory_addresses": ",10.0.0.1,web1.lan,",
			"__meta_inventory_tags": ",web,", "__meta_inventory_availability": "always",
		},
	}, next(t, up).Targets)

	// A broken file changes nothing but the status.
	write(t, file, "{")
	require.Eventually(t, func() bool {
		s := status()
		return len(s) == 1 && strings.Contains(s[0].Error, "line 1")
	}, 20*time.Second, 5*time.Millisecond)
	write(t, file, strings.ReplaceAll(good, "web1", "web2"))
	require.EqualValues(t, "web2", next(t, up).Targets[1]["__meta_inventory_machine"])
	require.Empty(t, status()[0].Error)
}

func TestMistakes(t *testing.T) {
	for text, want := range map[string]string{
		"{\n\"machines\": {\"a\": {\"adresses\": []}}}":                                            "line 2: json: unknown field \"adresses\"",
		`{"machines": {"a": {"addresses": []}}}`:                                                   "machines.a: addresses is empty",
		`{"machines": {"a b": {"addresses": ["x"]}}}`:                                              `machine name "a b"`,
		`{"machines": {"a": {"addresses": ["http://x"]}}}`:                                         `"http://x" is neither`,
		`{"machines": {"a": {"addresses": ["10.0.0.1:9100"]}}}`:                                    `machines.a: addresses: "10.0.0.1:9100" is neither a host name nor an address; ports are in exporters`,
		`{"machines": {"a": {"addresses": ["x", "x\"}\n1"]}}}`:                                     `"x\"}\n1" is neither`,
		`{"machines": {"a": {"addresses": ["x"], "availability": "often"}}}`:                       `availability is "often"`,
		`{"machines": {"a": {"addresses": ["x"], "exporters": {"mine": null}}}}`:                   `machines.a: exporters.mine: job "mine" has no port`,
		`{"machines": {"a": {"addresses": ["x"], "exporters": {"node": 0}}}}`:                      "port 0",
		"{\"machines\": {\"a\": {\"addresses\": [\"x\"],\n \"exporters\": {\"node\": \"9100\"}}}}": "line 2: field machines.exporters is a string; it has to be a number",
		`{"machines": {"a": {"addresses": "x"}}}`:                                                  "field machines.addresses is a string; it has to be a list",
		`{"machines": {}} {}`: "something follows",
		"":                    "line 1",
	} {
		_, err := parse([]byte(text))
		require.ErrorContains(t, err, want, text)
	}
	_, err := Load("/does/not/exist")
	require.ErrorContains(t, err, "/does/not/exist")
}
