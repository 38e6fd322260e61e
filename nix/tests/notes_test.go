package tests

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A machine notes each system that it activates, once, on the server of its instance.
func TestNoteDeploys(t *testing.T) {
	t.Parallel()
	all, err := evaluate(t, `clan = {
  machines = { srv = [ ]; web = [ ]; };
  instances.monitoring = {
    module = { name = "clanmon"; input = "self"; };
    roles.server.machines.srv.settings = { tls.enable = true; tls.pages = true; };
    roles.exporter.tags.all.settings.noteDeploys.enable = true;
  };
};
machines = { srv = { }; web = { system.configurationRevision = "9c1f2a3b4c5d-dirty"; }; };`)
	require.NoError(t, err)
	web := all["web"]
	require.Empty(t, web.Problems)
	unit := web.Services["clanmon-note-deploy"]
	require.Equal(t, "exec", unit.ServiceConfig["Type"]) // it does not delay the deploy
	require.Contains(t, unit.Script, `event 'NixOS 26.05.20261128.9c1f2a3 deployed, rev 9c1f2a3-dirty' --machine=`)
	require.Contains(t, unit.Script, `https://srv.clan:9090`)
	require.Contains(t, unit.Script, `--ca-file="$CREDENTIALS_DIRECTORY/ca-file"`)
	require.Contains(t, all["srv"].Services["clanmon-note-deploy"].Script, "deployed' --machine=")

	// The script, with a program that notes its arguments.
	dir := t.TempDir()
	program := filepath.Join(dir, "program")
	require.NoError(t, os.WriteFile(program, []byte("#!/bin/sh\necho \"$2\" \"$@\" >> "+dir+"/said\nexit $CODE\n"), 0o700))
	system := filepath.Join(dir, "current-system")
	script := strings.NewReplacer("/nix/store/clanmon/bin/clanmon-exporter", program, "/run/current-system", system).Replace(unit.Script)
	require.Contains(t, script, program)
	said := func(generation, code string) int {
		t.Helper()
		target := filepath.Join(dir, generation)
		require.NoError(t, os.WriteFile(target, nil, 0o600))
		_ = os.Remove(system)
		require.NoError(t, os.Symlink(target, system))
		cmd := exec.Command("sh", "-e", "-c", script)
		cmd.Env = append(os.Environ(), "STATE_DIRECTORY="+dir, "CREDENTIALS_DIRECTORY=/none", "CODE="+code)
		_ = os.Remove(filepath.Join(dir, "said"))
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, string(out))
		text, _ := os.ReadFile(filepath.Join(dir, "said"))
		return strings.Count(string(text), "\n")
	}
	require.Equal(t, 1, said("one", "1")) // the server is away
	require.Equal(t, 1, said("one", "0"))
	require.Equal(t, 0, said("one", "0")) // a reboot
	require.Equal(t, 1, said("two", "0"))

	broken, err := evaluate(t, `machines.web = { imports = [ ../nixos/exporter.nix ]; services.clanmon.exporter = { enable = true; noteDeploys.enable = true; }; };`)
	require.NoError(t, err)
	alone := broken["web"]
	require.Len(t, alone.Problems, 1)
	require.Contains(t, alone.Problems[0], "noteDeploys.server")
	require.Empty(t, alone.Services["clanmon-note-deploy"].Script)
}
