package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/e2e/harness"
)

// Without a file the server scrapes itself and its machine beside what discovery
// finds; with one, what the file says.
func TestDiscoveryWithoutAFile(t *testing.T) {
	t.Parallel()
	e := harness.StartExporter(t, "--collectors=load")
	address := e.Node
	s := harness.StartServer(t, harness.ServerOptions{Args: []string{"--discovery.static=node=other@" + address}})
	s.WaitValue(`up{job="node",machine="other"}`, 1)
	s.WaitValue(`count(up{job="node"})`, 2)
	s.WaitValue(`up{job="clanmon"}`, 1)
	s.WaitValue(`count(clanmon_machine_info{machine="other",source="static"})`, 1)

	s = harness.StartServer(t, harness.ServerOptions{
		Config: "global: {scrape_interval: 1s}\nscrape_configs: [{job_name: clanmon, metrics_path: /mine}]",
		Args:   []string{"--discovery.static=node=other@" + address},
	})
	s.WaitValue(`up{job="node",machine="other"}`, 1)
	s.WaitValue(`count(up)`, 1)
	require.NotContains(t, s.Get("/api/v1/status/config").Body, "in-process")
}

// A machine that changes is of no concern to the others: their scrapes go on.
func TestOneChangeDisturbsNobodyElse(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "0.0.0.0:0")
	require.NoError(t, err)
	stub := &httptest.Server{Listener: l, Config: &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "stub 1\n")
	})}}
	stub.Start()
	defer stub.Close()
	port := l.Addr().(*net.TCPAddr).Port
	dir := t.TempDir()
	inventory := func(first string) string {
		machines := map[string]any{}
		for i := range 30 {
			name := fmt.Sprintf("m%d", i)
			if i == 0 {
				name = first
			}
			machines[name] = map[string]any{"addresses": []string{fmt.Sprintf("127.0.7.%d", i+1)}, "tags": []string{first}, "exporters": map[string]any{"node": port}}
		}
		text, err := json.Marshal(map[string]any{"machines": machines})
		require.NoError(t, err)
		return harness.WriteFile(t, dir, "inventory.json", string(text))
	}
	s := harness.StartServer(t, harness.ServerOptions{
		Config: "global: {scrape_interval: 2s}", Args: []string{"--discovery.inventory=" + inventory("first")},
	})
	s.WaitValue(`sum(up{job="node"})`, 30)
	// Under load one may fail, which is not to begin anew.
	unknown := func() (seen bool, others int) {
		var answer struct {
			Data struct {
				ActiveTargets []struct {
					Health string
					Labels struct{ Job, Machine string }
				}
			}
		}
		require.NoError(t, json.Unmarshal([]byte(s.Get("/api/v1/targets?state=active").Body), &answer))
		for _, target := range answer.Data.ActiveTargets {
			switch {
			case target.Labels.Job != "node": // the server itself, which may not have been scraped yet
			case target.Labels.Machine == "second":
				seen = true
			case target.Health == "unknown":
				others++
			}
		}
		return seen, others
	}
	inventory("second")
	harness.Eventually(t, harness.Patience, func() error {
		seen, others := unknown()
		require.Zero(t, others, "targets whose scrapes began anew")
		if !seen {
			return fmt.Errorf("the change is not there")
		}
		return nil
	})
	s.WaitValue(`up{machine="second"}`, 1)
	_, others := unknown()
	require.Zero(t, others)
	s.WaitValue(`count(clanmon_machine_info{tags=",second,"})`, 30)
}
