package e2e

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/e2e/harness"
)

// Without a file the server scrapes itself and its machine beside what discovery
// finds; with one, what the file says.
func TestDiscoveryWithoutAFile(t *testing.T) {
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
