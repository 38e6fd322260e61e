package tests

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Boards go to the server and, if that is wanted, into Grafana, which has the server as its data
// source.
func TestBoards(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	board := filepath.Join(dir, "disks.json")
	require.NoError(t, os.WriteFile(board, []byte(`{"version":1,"title":"Disks","panels":[]}`), 0o600))
	srv := one(t, "srv", `clan = { machines.srv = [ ]; instances.mon = { module = { name = "clanmon"; input = "self"; };
  roles.server.machines.srv.settings = { openFirewall = false; boards = [ `+board+` ]; grafana.enable = true; };
}; }; machines.srv.services.prometheus.port = 9095;`)
	require.Contains(t, srv.Etc["clanmon/settings.json"], `-disks.json"]`)
	require.Regexp(t, `check boards '\S+/[0-9a-z]{32}-disks[.]json'`, strings.Join(srv.Checks, "\n"))
	require.True(t, srv.Grafana.Enable)
	require.Len(t, srv.Grafana.Datasources, 1)
	require.Equal(t, "http://localhost:9095", srv.Grafana.Datasources[0].URL)
	require.Len(t, srv.Grafana.Providers, 1)
	require.Equal(t, "/nix/store/clanmon-dashboards", srv.Grafana.Providers[0].Options.Path)

	plain := one(t, "srv", `machines.srv = { imports = [ ../nixos/server.nix ]; services.clanmon.server = { enable = true; openFirewall = false; }; };`)
	require.False(t, plain.Grafana.Enable)
	require.NotContains(t, plain.Etc["clanmon/settings.json"], "boards")
}
