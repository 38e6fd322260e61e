package tests

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/e2e/harness"
)

func TestPushing(t *testing.T) {
	t.Parallel()
	all, err := evaluate(t, `machines.srv = { imports = [ ../nixos/server.nix ]; services.clanmon.server = { enable = true; push = { enable = true; availability = "always"; seriesLimit = 7; }; }; };
	  machines.other = { imports = [ ../nixos/server.nix ]; services.clanmon.server.enable = true; };`)
	require.NoError(t, err)
	flags := all["srv"].Prometheus.ExtraFlags
	require.Contains(t, flags, "--push")
	require.Contains(t, flags, "--push.availability=always")
	require.Contains(t, flags, "--push.series-limit=7")
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

// In a clan, a machine that no server can reach pushes with a token that clan makes. The servers of
// its instance know its hash, do not scrape it, and scrape the others as before.
func TestPusherInAClan(t *testing.T) {
	t.Parallel()
	sum := strings.Repeat("0a", 32)
	all, err := evaluate(t, fmt.Sprintf(`clan = {
  machines = { srv = [ ]; web = [ ]; laptop = [ ]; new = [ ]; both = [ ]; };
  vars.laptop.clanmon-push.sha256 = %q;
  vars.both.clanmon-push.sha256 = %q;
  instances.monitoring = {
    module = { name = "clanmon"; input = "self"; };
    roles.server.machines.srv.settings = {
      openFirewall = true;
      identity.tokenFile = "/run/secrets/tokens";
      push.availability = "always";
    };
    roles.exporter.tags.all.settings.openFirewall = true;
    roles.exporter.machines.laptop.settings.push.enable = true;
    roles.exporter.machines.new.settings.push.enable = true;
    roles.exporter.machines.both.settings.push = { enable = true; keepPorts = true; servers = [ "https://hub.example.org" ]; };
  };
};
machines = { srv = { }; web = { }; laptop = { }; new = { }; both = { }; };`, sum, strings.Repeat("0b", 32)))
	require.NoError(t, err)
	for name, m := range all {
		require.Empty(t, m.Problems, name)
	}
	srv := all["srv"]
	require.Subset(t, srv.Prometheus.ExtraFlags, []string{"--push", "--push.availability=always", "--web.token-file=/run/secrets/tokens", "--web.token-file=/etc/clanmon/push-tokens"})
	require.Equal(t, "both machine "+strings.Repeat("0b", 32)+"\nlaptop machine "+sum+"\n", srv.Etc["clanmon/push-tokens"])
	require.Contains(t, strings.Join(srv.Warnings, "\n"), "machine 'new' pushes, and its token does not exist yet: run `clan vars generate new`")
	require.ElementsMatch(t, []string{"srv", "web", "both"}, slices.Collect(maps.Keys(srv.addresses(t))))
	require.NotContains(t, srv.Generators, "clanmon-push", "the server has the hash only")
	out, err := exec.Command(harness.Clanmon(t), append([]string{"check", "flags", "server", "--"}, srv.Prometheus.ExtraFlags...)...).CombinedOutput()
	require.NoError(t, err, string(out))

	laptop := all["laptop"]
	require.Subset(t, laptop.exporter(t), []string{"--push=http://srv.clan:9090", "--push.token-file=%d/push-token"})
	require.NotContains(t, strings.Join(laptop.exporter(t), " "), "listen-address")
	require.Empty(t, laptop.Firewall.All)
	require.Contains(t, laptop.Services["clanmon-exporter"].ServiceConfig["LoadCredential"], "push-token:/run/secrets/vars/clanmon-push/token")
	files := laptop.Generators["clanmon-push"].Files
	require.True(t, files["token"].Secret)
	require.False(t, files["sha256"].Secret)
	require.Equal(t, []string{"clanmon-exporter.service"}, files["token"].RestartUnits)
	require.False(t, laptop.Generators["clanmon-push"].Share)

	require.Contains(t, all["both"].exporter(t), "--push=https://hub.example.org")
	require.Contains(t, all["both"].exporter(t), "--node.listen-address=:9100")
	require.Contains(t, all["both"].Firewall.All, 9100)
	require.NotContains(t, strings.Join(all["web"].exporter(t), " "), "--push")
	require.Empty(t, all["web"].Generators)
}

// With tls.pages the certificate of the server is the clan's.
func TestPusherOfHTTPS(t *testing.T) {
	t.Parallel()
	all, err := evaluate(t, `clan = {
  machines = { srv = [ ]; laptop = [ ]; };
  instances.monitoring = {
    module = { name = "clanmon"; input = "self"; };
    roles.server.machines.srv.settings = { openFirewall = true; tls = { enable = true; pages = true; }; };
    roles.exporter.machines = { srv.settings.openFirewall = false; laptop.settings.push.enable = true; };
  };
};
machines = { srv = { }; laptop = { }; };`)
	require.NoError(t, err)
	laptop := all["laptop"]
	require.Empty(t, laptop.Problems)
	require.Subset(t, laptop.exporter(t), []string{"--push=https://srv.clan:9090", "--push.config.file=/etc/clanmon/exporter-push.json"})
	require.NotContains(t, strings.Join(laptop.exporter(t), " "), "--push.token-file")
	require.JSONEq(t, `{
		"tls_config": {"ca_file": "/run/credentials/clanmon-exporter.service/push-ca"},
		"authorization": {"credentials_file": "/run/credentials/clanmon-exporter.service/push-token"}
	}`, laptop.Etc["clanmon/exporter-push.json"])
	require.Subset(t, laptop.Services["clanmon-exporter"].ServiceConfig["LoadCredential"], []any{"push-ca:" + "/run/secrets/vars/clanmon-ca/ca.pem", "push-token:/run/secrets/vars/clanmon-push/token"})
	out, err := exec.Command(harness.Clanmon(t), append([]string{"check", "flags", "exporter", "--"}, laptop.exporter(t)...)...).CombinedOutput()
	require.NoError(t, err, string(out))
}

// The script of the generator makes a pair that the server accepts.
func TestPushTokenScript(t *testing.T) {
	t.Parallel()
	cmd := exec.Command("sh", "-e", "../service/push-token.sh")
	dir := t.TempDir()
	cmd.Env = append(os.Environ(), "out="+dir)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	token, err := os.ReadFile(filepath.Join(dir, "token"))
	require.NoError(t, err)
	sum, err := os.ReadFile(filepath.Join(dir, "sha256"))
	require.NoError(t, err)
	require.Len(t, token, 64)
	require.Equal(t, fmt.Sprintf("%x", sha256.Sum256(token)), string(sum))
}

func TestPushTokensOfTheServer(t *testing.T) {
	t.Parallel()
	all, err := evaluate(t, `machines.srv = { imports = [ ../nixos/server.nix ]; services.clanmon.server = { enable = true; push.tokens.laptop = "s3cret"; }; };`)
	require.NoError(t, err)
	problems := strings.Join(all["srv"].Problems, "\n")
	require.Contains(t, problems, "push.tokens.laptop: it must be the SHA-256 of the token, as 64 hexadecimal digits")
	require.Contains(t, problems, "push.tokens needs push.enable")
}
