package tests

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/e2e/harness"
)

// Clan makes the token of a ping, the server gets it as a credential, and the machine that pings
// finds it where clanmon job looks.
func TestPings(t *testing.T) {
	t.Parallel()
	all, err := evaluate(t, `clan = { machines = { srv = [ ]; nas = [ ]; }; instances.mon = { module = { name = "clanmon"; input = "self"; };
  roles.server.machines.srv.settings = {
    openFirewall = false;
    backupUnits = [ "my-dump-*" ];
    pings.photos = { every = "1d"; machine = "nas"; backup = true; };
    pings.mail = { grace = "2h"; machine = "srv"; };
    pings.phone.tokenFile = "/run/secrets/phone";
  };
  roles.exporter.machines = { srv.settings.openFirewall = false; nas.settings.openFirewall = false; };
}; }; machines = { srv = { }; nas = { }; };`)
	require.NoError(t, err)
	srv, nas := all["srv"], all["nas"]
	require.Empty(t, srv.Problems)
	require.Empty(t, nas.Problems)
	credentials := fmt.Sprint(srv.Services["prometheus"].ServiceConfig["LoadCredential"])
	require.Contains(t, credentials, "ping-phone:/run/secrets/phone")
	require.Contains(t, srv.Generators, "clanmon-mon-ping-photos")
	require.Contains(t, srv.Generators, "clanmon-mon-ping-mail")
	require.NotContains(t, srv.Generators, "clanmon-mon-ping-phone")
	require.Contains(t, nas.Generators, "clanmon-mon-ping-photos")
	require.NotContains(t, nas.Generators, "clanmon-mon-ping-mail", "a machine has the tokens of its own jobs")
	require.Contains(t, nas.Etc, "clanmon/ping/photos")
	require.NotContains(t, nas.Etc, "clanmon/ping/mail")
	require.Contains(t, srv.Etc, "clanmon/ping/mail")

	flags := strings.Join(srv.Prometheus.ExtraFlags, "\n")
	require.Contains(t, flags, "--jobs.backup-units=my-dump-*")
	require.Contains(t, flags, "--ping.file=")
	out, err := exec.Command(harness.Clanmon(t), append([]string{"check", "flags", "server", "--"}, srv.Prometheus.ExtraFlags...)...).CombinedOutput()
	require.NoError(t, err, string(out))
}

func TestPingsWithoutClan(t *testing.T) {
	t.Parallel()
	all, err := evaluate(t, `machines.srv = { imports = [ ../nixos/server.nix ]; services.clanmon.server = { enable = true; pings.photos.every = "1d"; }; };`)
	require.NoError(t, err)
	require.Contains(t, strings.Join(all["srv"].Problems, "\n"), "pings.photos: tokenFile is missing")
}
