package e2e

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/e2e/harness"
)

// release makes what "make release" makes, of one version, and returns the folder.
func release(t *testing.T, version, date string, args ...string) string {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command("go", append([]string{
		"run", "./cmd/internal/release", "-version", version, "-date", date, "-out", dir,
		"-ldflags", "-s -w -X github.com/clanmon/clanmon/cmd/internal/cli.BuildVersion=" + version,
	}, args...)...)
	cmd.Dir, cmd.Env = harness.Repo(t), append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-trimpath")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return dir
}

func output(t *testing.T, command string, args ...string) string {
	t.Helper()
	out, err := exec.Command(command, args...).CombinedOutput()
	require.NoError(t, err, "%s %v: %s", command, args, out)
	return string(out)
}

func TestPackageOfTheExporterIsTheSameTwice(t *testing.T) {
	t.Parallel()
	harness.Tool(t, "dpkg-deb", "dpkg")
	args := []string{"-arch", "amd64", "-programs", "clanmon-exporter", "-kinds", "deb"}
	first, second := release(t, "v1.2.0-rc.1", "2026-11-28T10:00:00+01:00", args...), release(t, "v1.2.0-rc.1", "2026-11-28T09:00:00Z", args...)
	sums, err := os.ReadFile(filepath.Join(first, "SHA256SUMS"))
	require.NoError(t, err)
	again, err := os.ReadFile(filepath.Join(second, "SHA256SUMS"))
	require.NoError(t, err)
	require.Equal(t, string(sums), string(again))
	check := exec.Command("sha256sum", "--check", "--strict", "SHA256SUMS")
	check.Dir = first
	out, err := check.CombinedOutput()
	require.NoError(t, err, "%s", out)

	deb := filepath.Join(first, "clanmon-exporter_amd64.deb")
	require.Equal(t, "clanmon-exporter\n1.2.0~rc1-1\namd64\n", output(t, "dpkg-deb", "--showformat=${Package}\n${Version}\n${Architecture}\n", "--show", deb))
	var got []string
	for line := range strings.Lines(output(t, "dpkg-deb", "--contents", deb)) {
		f := strings.Fields(line)
		require.Equal(t, "root/root", f[1], line)
		require.Equal(t, "2026-11-28", f[3], line)
		if !strings.HasSuffix(f[5], "/") {
			got = append(got, f[0]+" "+strings.TrimPrefix(f[5], "."))
		}
	}
	require.Equal(t, []string{
		"-rw-r--r-- /etc/default/clanmon-exporter",
		"-rwxr-xr-x /usr/bin/clanmon-exporter",
		"-rw-r--r-- /usr/lib/systemd/system/clanmon-exporter-systemd.socket",
		"-rw-r--r-- /usr/lib/systemd/system/clanmon-exporter.service",
		"-rw-r--r-- /usr/lib/systemd/system/clanmon-exporter.socket",
		"-rw-r--r-- /usr/lib/systemd/system/clanmon-look.service",
		"-rw-r--r-- /usr/lib/systemd/system/clanmon-look.socket",
		"-rw-r--r-- /usr/lib/sysusers.d/clanmon-exporter.conf",
		"-rwxr-xr-x /usr/sbin/clanmon-exporter-takeover",
		"-rw-r--r-- /usr/share/bash-completion/completions/clanmon-exporter",
		"-rw-r--r-- /usr/share/doc/clanmon-exporter/NOTICE",
		"-rw-r--r-- /usr/share/doc/clanmon-exporter/copyright",
		"-rw-r--r-- /usr/share/fish/vendor_completions.d/clanmon-exporter.fish",
		"-rw-r--r-- /usr/share/man/man1/clanmon-exporter.1.gz",
		"-rw-r--r-- /usr/share/zsh/vendor-completions/_clanmon-exporter",
	}, got)
	control := t.TempDir()
	output(t, "dpkg-deb", "--control", deb, control)
	conffiles, err := os.ReadFile(filepath.Join(control, "conffiles"))
	require.NoError(t, err)
	require.Equal(t, "/etc/default/clanmon-exporter\n", string(conffiles))
	for _, script := range []string{"postinst", "prerm", "postrm"} {
		output(t, "sh", "-n", filepath.Join(control, script))
	}
	sbom, err := os.ReadFile(filepath.Join(first, "clanmon-exporter_linux_amd64.spdx.json"))
	require.NoError(t, err)
	require.Contains(t, string(sbom), "pkg:golang/github.com/prometheus/node_exporter@v1.")
	require.NotContains(t, string(sbom), "prometheus/alertmanager", "of the server")
}

// The units are as hardened as a machine's exporter can be.
func TestUnitsOfPackagesAreHardened(t *testing.T) {
	t.Parallel()
	harness.Tool(t, "systemd-analyze", "systemd")
	for _, unit := range []string{"clanmon.service", "clanmon-exporter.service"} {
		file := filepath.Join(harness.Repo(t), "cmd/internal/release/files", unit)
		out, err := exec.Command("systemd-analyze", "security", "--offline=yes", "--threshold=20", "--no-pager", file).CombinedOutput()
		lines := bytes.Split(bytes.TrimSpace(out), []byte("\n"))
		require.NoError(t, err, "%s: at most 2.0: %s", unit, lines[len(lines)-1])
	}
}
