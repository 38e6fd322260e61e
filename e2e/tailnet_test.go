package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/e2e/harness"
)

// The main promise: on a machine of a tailnet one flag finds the others, with
// their names; new ones within seconds; and a dead one stays.
func TestTailnetFindsMachines(t *testing.T) {
	t.Parallel()
	net := harness.NewTailnet(t, "4")
	net.Join("h1", "tag:server")
	net.Join("h2", "tag:node")
	net.Join("h3", "tag:laptop")
	net.Reachable()
	exporter := func(host string) {
		harness.Start(t, net.Host(host).Command(t, harness.Command{Args: []string{"exporter"}}))
	}
	exporter("h2")
	exporter("h3")
	// Quick scrapes, so that the test is: everything else is as shipped.
	s := harness.StartServer(t, harness.ServerOptions{
		Host: net.Host("h1"), Listen: "127.0.0.1:9090",
		Config: "global: {scrape_interval: 1s}",
		Args:   []string{"--discovery=tailscale", "--discovery.tailscale.socket=" + net.Socket("h1")},
	})
	for _, series := range []string{
		`up{job="node",machine="h2",instance="h2:9100",availability="always"}`,
		`up{job="systemd",machine="h2",instance="h2:9558",availability="always"}`,
		`up{job="node",machine="h3",instance="h3:9100",availability="intermittent"}`,
	} {
		s.WaitValue(series, 1)
	}
	s.WaitValue(`count(node_uname_info{machine="h2"})`, 1)
	s.WaitValue(`count(clanmon_machine_info{machine="h3",tags=",laptop,",os="linux",source="tailscale",tailscale_name="h3.tn.test"})`, 1)
	// This machine is part of the tailnet, and runs no exporter: that is listed, and
	// is no target that is down.
	waits := func(s *harness.Server, machine, job, reason string) {
		t.Helper()
		harness.Eventually(t, harness.Patience, func() error {
			for _, w := range discovered(s).Waiting {
				if w.Machine == machine && w.Job == job && w.Reason == reason {
					return nil
				}
			}
			return fmt.Errorf("discovery: %+v", discovered(s))
		})
	}
	// It has the name that its own jobs have too, whatever the tailnet calls it.
	self, err := os.Hostname()
	require.NoError(t, err)
	self, _, _ = strings.Cut(self, ".")
	waits(s, self, "node", "refused")
	waits(s, "h2", "postgres", "refused")
	require.NotContains(t, s.Get("/api/v1/targets").Body, self+":9100")
	require.Contains(t, s.Get("/api/v1/status/config").Body, "tailscale_sd_configs")

	// A machine that joins is a target within seconds, without a poll.
	begin := time.Now()
	net.Join("h4", "tag:node")
	exporter("h4")
	harness.Eventually(t, harness.Patience, func() error {
		if a := s.Get("/api/v1/targets"); !strings.Contains(a.Body, "h4:9100") {
			return fmt.Errorf("no target h4")
		}
		return nil
	})
	t.Logf("a new machine is a target after %v", time.Since(begin).Round(100*time.Millisecond))
	s.WaitValue(`up{job="node",machine="h4"}`, 1)

	// A dead machine stays a target.
	net.Cut("h2")
	s.WaitValue(`up{job="node",machine="h2"}`, 0)

	// Without tailscaled nothing is forgotten, and it is said what is wrong.
	net.StopDaemon("h1")
	harness.Eventually(t, harness.Patience, func() error {
		a := s.Get("/api/clanmon/v1/discovery")
		if !strings.Contains(a.Body, "tailscaled does not respond at "+net.Socket("h1")) {
			return fmt.Errorf("discovery: %s", a.Body)
		}
		return nil
	})
	require.Contains(t, s.Get("/api/v1/targets").Body, "h4:9100")
	require.Equal(t, 1, strings.Count(s.Log(), "Unable to refresh targets"))
	// One discovery serves all jobs, under the name of one of them.
	require.Regexp(t, `prometheus_sd_refresh_failures_total\{config="[a-z]+",mechanism="tailscale"\} [1-9]`, s.Get("/metrics").Body)
	net.StartDaemon("h1")
	harness.Eventually(t, harness.Patience, func() error {
		for _, m := range discovered(s).Methods {
			if m.Error != "" {
				return fmt.Errorf("discovery: %+v", m)
			}
		}
		return nil
	})
	s.WaitValue(`up{job="node",machine="h4"}`, 1)
}

// discovery is what /api/clanmon/v1/discovery answers.
type discovery struct {
	Methods []struct {
		Method, Error string
		LastSuccess   time.Time
	}
	Waiting []struct{ Machine, Job, Reason string }
	LeftOut []struct{ Device, Reason string }
}

func discovered(s *harness.Server) discovery {
	var answer struct{ Data discovery }
	_ = json.Unmarshal([]byte(s.Get("/api/clanmon/v1/discovery").Body), &answer)
	return answer.Data
}

// What happens to machines in the life of a tailnet, and what the server makes of it.
func TestTailnetChanges(t *testing.T) {
	t.Parallel()
	net := harness.NewTailnet(t, "3")
	net.Join("h1", "tag:server")
	net.Join("h2", "tag:node")
	net.Join("h3", "tag:node")
	net.Reachable()
	for _, host := range []string{"h2", "h3"} {
		harness.Start(t, net.Host(host).Command(t, harness.Command{Args: []string{"exporter", "--exporter=node", "--collectors=load"}}))
	}
	opts := harness.ServerOptions{
		Host: net.Host("h1"), Listen: "127.0.0.1:9090", Data: t.TempDir(),
		Config: "global: {scrape_interval: 1s, scrape_timeout: 1s}",
		Args:   []string{"--discovery=tailscale", "--discovery.tailscale.job=node", "--discovery.tailscale.socket=" + net.Socket("h1")},
	}
	s := harness.StartServer(t, opts)
	s.WaitValue(`up{machine="h2"}`, 1)
	s.WaitValue(`up{machine="h3"}`, 1)
	machine := func(name, want string) {
		t.Helper()
		harness.Eventually(t, harness.Patience, func() error {
			var answer struct {
				Data []struct {
					Machine   string
					Tailscale json.RawMessage
				}
			}
			_ = json.Unmarshal([]byte(s.Get("/api/clanmon/v1/machines").Body), &answer)
			for _, m := range answer.Data {
				if m.Machine == name && strings.Contains(string(m.Tailscale), want) {
					return nil
				}
			}
			return fmt.Errorf("no machine %s with %s: %+v", name, want, answer.Data)
		})
	}

	// Tagged anew: the tags follow, the series go on.
	net.Headscale("nodes", "tag", "-i", "2", "-t", "tag:node,tag:laptop")
	s.WaitValue(`count(clanmon_machine_info{machine="h2",tags=",laptop,node,"})`, 1)

	// Renamed: another machine to those who look, the same to the gate.
	net.Headscale("nodes", "rename", "-i", "3", "attic")
	s.WaitValue(`up{machine="attic",instance="attic:9100"}`, 1)
	harness.Eventually(t, harness.Patience, func() error {
		if a := s.Get("/api/v1/targets?state=active").Body; strings.Contains(a, "h3:9100") {
			return fmt.Errorf("targets: %s", a)
		}
		return nil
	})

	// The cable is cut and comes back.
	net.Cut("h3")
	s.WaitValue(`up{machine="attic"}`, 0)
	net.Plug("h3")
	s.WaitValue(`up{machine="attic"}`, 1)

	// Offline, and the server starts anew meanwhile: it is missed all the same.
	net.StopDaemon("h3")
	machine("attic", `"online":false`)
	require.Equal(t, 0, s.Terminate())
	s = harness.StartServer(t, opts)
	s.WaitValue(`up{machine="attic"}`, 0)
	net.StartDaemon("h3")
	s.WaitValue(`up{machine="attic"}`, 1)

	// An expired key takes a machine from the network, not from the targets.
	net.Headscale("nodes", "expire", "-i", "2")
	machine("h2", `"expired":true`)
	s.WaitValue(`up{machine="h2"}`, 0)

	// Deleted, it is none any more.
	net.Headscale("nodes", "delete", "-i", "2", "--force")
	harness.Eventually(t, harness.Patience, func() error {
		if a := s.Get("/api/v1/targets?state=active").Body; strings.Contains(a, "h2:9100") {
			return fmt.Errorf("targets: %s", a)
		}
		return nil
	})
	require.Contains(t, s.Get("/api/v1/targets?state=active").Body, "attic:9100")
}

// tailscale_sd_configs is a service discovery like any other: in a file of one's
// own, with relabelling of one's own.
func TestTailnetInOwnFile(t *testing.T) {
	t.Parallel()
	net := harness.NewTailnet(t, "2")
	net.Join("h1", "tag:server")
	net.Join("h2", "tag:node")
	net.Reachable()
	harness.Start(t, net.Host("h2").Command(t, harness.Command{Args: []string{"exporter", "--exporter=node", "--web.listen-address=:9200"}}))
	s := harness.StartServer(t, harness.ServerOptions{
		Host: net.Host("h1"), Listen: "127.0.0.1:9090",
		Config: `
global: {scrape_interval: 1s}
scrape_configs:
- job_name: mine
  tailscale_sd_configs: [{socket: ` + net.Socket("h1") + `, port: 9200}]
  relabel_configs:
  - {source_labels: [__meta_tailscale_tags], regex: '.*,tag:node,.*', action: keep}
  - {source_labels: [__meta_tailscale_device_name], target_label: device}
`,
	})
	s.WaitValue(`up{job="mine",device="h2.tn.test",instance="100.64.0.2:9200"}`, 1)
	var targets struct {
		Data struct{ ActiveTargets []any }
	}
	require.NoError(t, json.Unmarshal([]byte(s.Get("/api/v1/targets?state=active").Body), &targets))
	require.Len(t, targets.Data.ActiveTargets, 1)
}
