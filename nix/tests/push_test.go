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
