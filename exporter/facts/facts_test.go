package facts

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/clanmon/clanmon/exporter/collector"
	"github.com/clanmon/clanmon/exporter/collector/collectortest"
)

type machine struct {
	*testing.T
	*facts
}

func newMachine(t *testing.T) machine {
	root := t.TempDir()
	all := func(string) bool { return true }
	return machine{t, &facts{Options: Options{Root: root, Sysfs: filepath.Join(root, "sys"), Disk: all}, kernel: func() string { return "6.12.1" }}}
}

func (m machine) link(path, to string) {
	m.Helper()
	require.NoError(m, os.MkdirAll(filepath.Dir(m.path(path)), 0o755))
	_ = os.Remove(m.path(path))
	require.NoError(m, os.Symlink(to, m.path(path)))
}

func (m machine) file(path, text string) {
	m.Helper()
	require.NoError(m, os.MkdirAll(filepath.Dir(m.path(path)), 0o755))
	require.NoError(m, os.WriteFile(m.path(path), []byte(text), 0o644))
}

// metrics are the values by name and label, and the error of the collector.
func (m machine) metrics() (map[string]float64, error) {
	m.Helper()
	var failed error
	set := collector.NewSet(map[string]collector.Collector{"facts": m.facts}, collectortest.Discard(), func(o collector.Outcome) []prometheus.Metric {
		failed = o.Err
		return nil
	})
	got := map[string]float64{}
	for name, f := range collectortest.Gather(m.T, set, nil) {
		for _, x := range f.Metric {
			for _, l := range x.Label {
				name += " " + l.GetValue()
			}
			got[name] = x.Gauge.GetValue() + x.Counter.GetValue()
			name = f.GetName()
		}
	}
	return got, failed
}

func (m machine) require(want map[string]float64) {
	m.Helper()
	got, err := m.metrics()
	require.NoError(m, err)
	require.Equal(m, want, got)
}

func TestNothingToSay(t *testing.T) {
	newMachine(t).require(map[string]float64{})
}

func TestNixOS(t *testing.T) {
	m := newMachine(t)
	installed := time.Unix(1700000000, 0)
	for n, kernel := range map[int]string{41: "old", 42: "old", 43: "new"} {
		system := fmt.Sprintf("/nix/store/%d-nixos-system", n)
		m.link(system+"/kernel", "/nix/store/linux-"+kernel+"/bzImage")
		m.link(system+"/kernel-modules", "/nix/store/linux-"+kernel+"-modules")
		m.link(fmt.Sprintf("nix/var/nix/profiles/system-%d-link", n), system)
	}
	m.link("nix/var/nix/profiles/system", "system-42-link")
	m.link("run/booted-system", "/nix/store/41-nixos-system")
	m.link("run/current-system", "/nix/store/42-nixos-system")
	link := m.path("nix/var/nix/profiles/system-42-link")
	require.NoError(t, lchtime(link, installed))
	m.file("/nix/store/42-nixos-system/nixos-version", "26.05.20261120.9c1f2a3 (Yarara)\n")
	m.link("/nix/store/42-nixos-system/sw", "/nix/store/path")
	m.link("/nix/store/path/bin/nixos-version", "/nix/store/tools/bin/nixos-version")
	m.file("/nix/store/tools/bin/nixos-version", "#!/bin/sh\ncat <<EOF\n{\"configurationRevision\":\"0123456789abcdef\",\"nixosVersion\":\"26.05\"}\nEOF\n")
	m.file("/nix/store/linux-old-modules/lib/modules/6.12.30/modules.dep", "")
	m.require(map[string]float64{
		// Labels are sorted: kernel, revision, version.
		"clanmon_nixos_system_info 6.12.30 0123456789abcdef 26.05.20261120.9c1f2a3 (Yarara)": 1,
		"clanmon_nixos_generation newest": 42, "clanmon_nixos_generation current": 42, "clanmon_nixos_generation booted": 41,
		"clanmon_nixos_kernel_current": 1, "clanmon_nixos_system_activated_timestamp_seconds": 1700000000,
	})
	// Installed for the next boot, and another kernel with it.
	m.link("nix/var/nix/profiles/system", "system-43-link")
	got, err := m.metrics()
	require.NoError(t, err)
	require.Zero(t, got["clanmon_nixos_kernel_current"])
	require.Equal(t, 43.0, got["clanmon_nixos_generation newest"])
	require.Equal(t, 42.0, got["clanmon_nixos_generation current"])
}

func TestDebianWaitsForAReboot(t *testing.T) {
	m := newMachine(t)
	m.file("etc/debian_version", "12.8\n")
	m.require(map[string]float64{"clanmon_reboot_required": 0})
	m.link("vmlinuz", "boot/vmlinuz-6.12.1")
	m.require(map[string]float64{"clanmon_reboot_required": 0})
	m.link("vmlinuz", "boot/vmlinuz-6.12.2")
	m.require(map[string]float64{"clanmon_reboot_required": 1})
	m.link("vmlinuz", "boot/vmlinuz-6.12.1")
	m.file("run/reboot-required", "")
	m.require(map[string]float64{"clanmon_reboot_required": 1})
}

func TestDisksThatReportErrors(t *testing.T) {
	m := newMachine(t)
	m.file("sys/block/sda/device/ioerr_cnt", "0x1f\n")
	m.file("sys/block/sdb/device/ioerr_cnt", "nonsense\n")
	m.require(map[string]float64{"clanmon_disk_io_errors_total sda": 31})

	// As node_exporter's flags say.
	m.file("sys/block/sdc/device/ioerr_cnt", "0x2\n")
	m.Disk = func(device string) bool { return device != "sda" }
	m.require(map[string]float64{"clanmon_disk_io_errors_total sdc": 2})
	m.file("host/sys/block/sdc/device/ioerr_cnt", "0x3\n")
	m.Sysfs = m.path("host/sys")
	m.require(map[string]float64{"clanmon_disk_io_errors_total sdc": 3})
	m.Disk = nil // its collector is off
	m.require(map[string]float64{})
}

func TestTailscale(t *testing.T) {
	m := newMachine(t)
	require.NoError(t, os.MkdirAll(filepath.Dir(m.path(tailscaled)), 0o755))
	l, err := net.Listen("unix", m.path(tailscaled))
	require.NoError(t, err)
	answer, asked := http.StatusOK, 0
	go func() {
		_ = http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked++
			w.WriteHeader(answer)
			fmt.Fprint(w, `{"BackendState":"Running","Health":["a","b"],"Self":{"KeyExpiry":"2026-12-24T00:00:00Z"},
				"Peer":{"a":{"Active":true,"CurAddr":"192.0.2.1:41641"},"b":{"Active":true,"Relay":"fra"},"c":{"Relay":"fra"}}}`)
		}))
	}()
	t.Cleanup(func() { l.Close() })
	want := map[string]float64{
		"clanmon_tailscale_up": 1, "clanmon_tailscale_health_messages": 2,
		"clanmon_tailscale_key_expiry_timestamp_seconds": float64(time.Date(2026, 12, 24, 0, 0, 0, 0, time.UTC).Unix()),
		"clanmon_tailscale_active_peers direct":          1, "clanmon_tailscale_active_peers relay": 1,
	}
	m.require(want)
	m.require(want)
	require.Equal(t, 1, asked, "a large tailnet has a large answer")
	answer, m.asked = http.StatusForbidden, time.Time{}
	got, err := m.metrics()
	require.ErrorContains(t, err, "403")
	require.Empty(t, got)
}

// One that accepts and says nothing costs the scrape a second, and nothing else.
func TestTailscaledThatHangs(t *testing.T) {
	m := newMachine(t)
	m.file("etc/debian_version", "12.8\n")
	require.NoError(t, os.MkdirAll(filepath.Dir(m.path(tailscaled)), 0o755))
	l, err := net.Listen("unix", m.path(tailscaled))
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	got, err := m.metrics()
	require.ErrorContains(t, err, "query tailscaled")
	require.Contains(t, got, "clanmon_reboot_required")
}

// lchtime sets the time of a link itself.
func lchtime(path string, at time.Time) error {
	tv := unix.NsecToTimeval(at.UnixNano())
	return unix.Lutimes(path, []unix.Timeval{tv, tv})
}
