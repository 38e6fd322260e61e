package tests

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/e2e/harness"
)

// With clan, machines keep a history unless they are told not to, and the server fills gaps
// because it discovers.
func TestHistory(t *testing.T) {
	t.Parallel()
	all, err := evaluate(t, `clan = {
  machines = { srv = [ ]; web = [ ]; off = [ ]; };
  instances.monitoring = {
    module = { name = "clanmon"; input = "self"; };
    roles.server.machines.srv.settings.backfill.maxAge = "48h";
    roles.server.machines.srv.settings.query = { url = "http://mimir/prometheus"; dialect = "mimir"; configFile = "/run/secrets/query"; };
    roles.exporter.tags.all = { };
    roles.exporter.machines.web.settings.history = { keep = "48h"; maxBytes = "1GiB"; };
    roles.exporter.machines.off.settings.history.enable = false;
  };
};
machines = { srv = { }; web = { }; off = { }; plain = {
  imports = [ ../nixos/exporter.nix ];
  services.clanmon.exporter = { enable = true; openFirewall = false; };
}; };`)
	require.NoError(t, err)
	for name, want := range map[string]string{
		"srv":   "--history=24h --history.path=/var/lib/clanmon-exporter/history",
		"web":   "--history=48h --history.path=/var/lib/clanmon-exporter/history --history.max-bytes=1GiB",
		"off":   "",
		"plain": "",
	} {
		m := all[name]
		require.Empty(t, m.Problems, name)
		unit := m.Services["clanmon-exporter"].ServiceConfig
		if want == "" {
			require.NotContains(t, strings.Join(m.exporter(t), " "), "--history", name)
			require.NotContains(t, unit, "StateDirectory", name)
			continue
		}
		require.Subset(t, m.exporter(t), strings.Fields(want), name)
		require.Equal(t, "clanmon-exporter", unit["StateDirectory"], name)
		require.Equal(t, "0700", unit["StateDirectoryMode"], name)
	}
	flags := all["srv"].Prometheus.ExtraFlags
	require.Contains(t, flags, "--backfill.max-age=48h")
	require.Subset(t, flags, []string{"--query.url=http://mimir/prometheus", "--query.dialect=mimir", "--query.config-file=/run/credentials/prometheus.service/query"})
	require.Contains(t, all["srv"].Services["prometheus"].ServiceConfig["LoadCredential"], "query:/run/secrets/query")
	out, err := exec.Command(harness.Clanmon(t), append([]string{"check", "flags", "server", "--"}, flags...)...).CombinedOutput()
	require.NoError(t, err, string(out))
}
