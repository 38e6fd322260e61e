package tests

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/e2e/harness"
)

func TestPushing(t *testing.T) {
	t.Parallel()
	all, err := evaluate(t, `machines.srv = { imports = [ ../nixos/server.nix ]; services.clanmon.server = { enable = true; push.enable = true; push.availability = "always"; }; };
	  machines.other = { imports = [ ../nixos/server.nix ]; services.clanmon.server.enable = true; };`)
	require.NoError(t, err)
	flags := all["srv"].Prometheus.ExtraFlags
	require.Contains(t, flags, "--push")
	require.Contains(t, flags, "--push.availability=always")
	require.NotContains(t, strings.Join(all["other"].Prometheus.ExtraFlags, " "), "--push")
	out, err := exec.Command(harness.Clanmon(t), append([]string{"check", "flags", "server", "--"}, flags...)...).CombinedOutput()
	require.NoError(t, err, string(out))
}

// A machine that pushes has no port, and keeps what it could not send yet.
func TestPusher(t *testing.T) {
	t.Parallel()
	all, err := evaluate(t, `machines = builtins.mapAttrs (_: push: {
  imports = [ ../nixos/exporter.nix ];
  services.clanmon.exporter = { enable = true; openFirewall = true; inherit push; };
}) {
  laptop = { servers = [ "https://hub:9090" ]; tokenFile = "/run/secrets/token"; };
  both = { servers = [ "https://hub:9090" ]; keepPorts = true; };
};`)
	require.NoError(t, err)
	laptop, both := all["laptop"], all["both"]
	for _, m := range []machine{laptop, both} {
		require.Empty(t, m.Problems)
		require.Contains(t, m.exporter(t), "--push=https://hub:9090")
		require.Contains(t, m.exporter(t), "--history.path=/var/lib/clanmon-exporter/history")
		require.NotContains(t, strings.Join(m.exporter(t), " "), "--history=", "the program knows how long")
		require.Equal(t, "clanmon-exporter", m.Services["clanmon-exporter"].ServiceConfig["StateDirectory"])
	}
	require.NotContains(t, strings.Join(laptop.exporter(t), " "), "listen-address")
	require.Contains(t, laptop.exporter(t), "--push.token-file=%d/push-token")
	require.Contains(t, both.exporter(t), "--node.listen-address=:9100")
	out, err := exec.Command(harness.Clanmon(t), append([]string{"check", "flags", "exporter", "--"}, both.exporter(t)...)...).CombinedOutput()
	require.NoError(t, err, string(out))
}
