package tests

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/e2e/harness"
)

const looking = `clan = {
  machines = { srv = [ ]; web = [ ]; };
  instances.monitoring = {
    module = { name = "clanmon"; input = "self"; };
    roles.server.machines.srv.settings = { look.enable = true; tls.enable = %s; };
    roles.exporter.tags.all.settings.look.enable = true;
    roles.exporter.machines.web.settings.look = { units = [ "nginx" "postgresql*" ]; %s };
  };
};
machines = { srv = { }; web = { }; };`

// One option per role: the server may ask, and machines answer to it alone.
func TestLook(t *testing.T) {
	t.Parallel()
	all, err := evaluate(t, fmt.Sprintf(looking, "true", ""))
	require.NoError(t, err)
	srv, web := all["srv"], all["web"]
	require.Empty(t, srv.Problems)
	require.Empty(t, web.Problems)
	require.Contains(t, srv.Prometheus.ExtraFlags, "--look")
	require.Subset(t, web.exporter(t), []string{"--look", "--look.units=nginx", "--look.units=postgresql*"})
	require.Contains(t, web.Etc["clanmon/exporter-web.json"], `"client_allowed_sans":["server.clanmon.internal"]`)
	require.Subset(t, srv.exporter(t), []string{"--look"})
	require.NotContains(t, strings.Join(srv.exporter(t), " "), "--look.units")

	socket := web.Sockets["clanmon-look"]
	require.Equal(t, []string{"sockets.target"}, socket.WantedBy)
	require.Equal(t, "/run/clanmon-look.sock", socket.SocketConfig["ListenStream"])
	require.Equal(t, "clanmon-exporter", socket.SocketConfig["SocketGroup"])
	require.Equal(t, "0660", socket.SocketConfig["SocketMode"])
	service := web.Services["clanmon-look"]
	require.Contains(t, service.ServiceConfig["ExecStart"], "/bin/clanmon-exporter look --look.units=nginx --look.units=postgresql*")
	require.Equal(t, []string{"clanmon-exporter.service"}, service.PartOf)
	require.Contains(t, web.Users, "clanmon-look")

	off := one(t, "srv", `machines.srv = { imports = [ ../nixos/exporter.nix ../nixos/server.nix ]; services.clanmon = { exporter.enable = true; server.enable = true; }; };`)
	require.NotContains(t, strings.Join(append(off.exporter(t), off.Prometheus.ExtraFlags...), " "), "--look")
	require.Empty(t, off.Sockets)
	require.NotContains(t, off.Users, "clanmon-look")
}

func TestLookNeedsCallersWhoProveThemselves(t *testing.T) {
	t.Parallel()
	all, err := evaluate(t, fmt.Sprintf(looking, "false", ""))
	require.NoError(t, err)
	require.Len(t, all["web"].Problems, 1)
	require.Contains(t, all["web"].Problems[0], "clan instance 'monitoring', role 'exporter', machine 'web': look.enable: servers have to prove who they are")
	all, err = evaluate(t, fmt.Sprintf(looking, "false", `from = [ "tag:monitor" ];`))
	require.NoError(t, err)
	require.Empty(t, all["web"].Problems)
	require.Contains(t, all["web"].exporter(t), "--look.from=tag:monitor")

	// A name in certificates that anybody may have is no proof.
	anybody, err := evaluate(t, `machines.srv = { imports = [ ../nixos/exporter.nix ]; services.clanmon.exporter = { enable = true; openFirewall = false; look.enable = true; tls = { enable = true; caFile = "/ca"; certFile = "/c"; keyFile = "/k"; }; }; };`)
	require.NoError(t, err)
	require.Len(t, anybody["srv"].Problems, 1)
	require.Contains(t, anybody["srv"].Problems[0], "tls.allowedNames")
}

// The process that reads the journal, of Nix and of the packages: what systemd says of
// it, and that both have the same.
func TestLookIsHardened(t *testing.T) {
	t.Parallel()
	all, err := evaluate(t, fmt.Sprintf(looking, "true", ""))
	require.NoError(t, err)
	unit := all["web"].Services["clanmon-look"]
	require.LessOrEqual(t, exposure(t, "clanmon-look.service", unit), 0.5)

	text, err := os.ReadFile(filepath.Join(harness.Repo(t), "cmd", "internal", "release", "files", "clanmon-look.service"))
	require.NoError(t, err)
	_, packaged, _ := strings.Cut(string(text), "[Service]\n")
	var theirs []string
	for line := range strings.SplitSeq(packaged, "\n") {
		if line != "" && !strings.HasPrefix(line, "ExecStart=") {
			theirs = append(theirs, line)
		}
	}
	_, own, _ := strings.Cut(unit.unitFile(), "[Service]\n")
	var ours []string
	for line := range strings.SplitSeq(own, "\n") {
		line = strings.ReplaceAll(line, "=true", "=yes")
		if line != "" && !strings.HasPrefix(line, "ExecStart=") {
			ours = append(ours, line)
		}
	}
	require.ElementsMatch(t, theirs, ours)
}
