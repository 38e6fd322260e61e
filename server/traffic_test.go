package server_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/e2e/harness"
	"github.com/clanmon/clanmon/server"
	"github.com/clanmon/clanmon/server/ruler"
	"github.com/clanmon/clanmon/server/servertest"
	"github.com/clanmon/clanmon/server/traffic"
)

// What is stored is counted after a start, by the settings of the rule, and a restart without
// the samples does not lose it.
func TestTrafficOfTheMonth(t *testing.T) {
	const gb = 1e9
	e := newExporter(t, fmt.Sprintf(`node_network_receive_bytes_total{device="eth0"} %[1]d
node_network_transmit_bytes_total{device="eth0"} %[1]d
node_network_receive_bytes_total{device="docker0"} %[1]d
node_uname_info{nodename="box",release="6.12.30"} 1
`, int(10*gb)))
	config := fmt.Sprintf("scrape_configs: [{job_name: node, scrape_interval: 1s, static_configs: [{targets: ['%s'], labels: {machine: web}}]}]", e.address)
	series := func(metric, device string) labels.Labels {
		return labels.FromStrings("__name__", metric, "job", "node", "instance", e.address, "machine", "web", "device", device)
	}
	set := func(o *server.Options) {
		o.Rules.Shipped = ruler.ShippedOptions{Set: []string{"TrafficQuota.bytes=1MB", "TrafficQuota.directions=sent"}}
	}
	check := func(s *servertest.Server) {
		t.Helper()
		harness.Eventually(t, 2*harness.Patience, func() error {
			code, body := s.Get("/api/clanmon/v1/traffic?machine=web")
			var a struct{ Data traffic.Answer }
			if err := json.Unmarshal([]byte(body), &a); err != nil || code != 200 {
				return fmt.Errorf("%d %s", code, body)
			}
			if len(a.Data.Rows) != 1 {
				return fmt.Errorf("no row yet: %s", body)
			}
			r := a.Data.Rows[0]
			got, sent := r.Received, r.Sent
			if r.Last != nil { // the test runs at the begin of a month, too
				got, sent = got+r.Last.Received, sent+r.Last.Sent
			}
			if got < 2.9*gb || got > 3.01*gb || sent != got {
				return fmt.Errorf("not 3 GB: %s", body)
			}
			if r.Expected == nil || r.Quota == nil || r.Quota.Bytes != 1<<20 || r.Quota.Used != r.Sent {
				return fmt.Errorf("no quota of what is sent: %s", body)
			}
			return nil
		})
	}
	s := servertest.Start(t, config, func(o *server.Options) {
		set(o)
		line := func(age float64) float64 { return (10 - age) * gb }
		writeDays(t, o.Dir, 3, line, series("node_network_receive_bytes_total", "eth0"), series("node_network_receive_bytes_total", "docker0"), series("node_network_transmit_bytes_total", "eth0"))
	})
	check(s)
	require.NoError(t, s.Stop())
	file := filepath.Join(s.Options.Dir, "traffic.json")
	kept, err := os.ReadFile(file)
	require.NoError(t, err)
	s = servertest.Start(t, config, func(o *server.Options) {
		set(o)
		require.NoError(t, os.WriteFile(filepath.Join(o.Dir, "traffic.json"), kept, 0o600)) // and no samples
	})
	check(s)
	code, body := s.Get("/api/clanmon/v1/traffic?machine=other")
	require.Equal(t, 200, code)
	require.Contains(t, body, `"rows":[]`)
}
