package harness

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Box is a machine with a real systemd as its first process: namespaces of its
// own on an overlay of this machine's root. The binaries under test
// are /opt/clanmon/clanmon and /opt/clanmon/clanmon-exporter in it.
type Box struct {
	t      testing.TB
	script string
	dir    string
}

// NewBox boots a box with the files of e2e/sdbox/tree. It takes half a second. binds
// are folders of this machine in it, as FROM:TO.
func NewBox(t testing.TB, binds ...string) *Box {
	t.Helper()
	Root(t)
	for tool, pkg := range map[string]string{
		"/lib/systemd/systemd": "systemd", "dbus-daemon": "dbus-daemon",
		"unshare": "util-linux", "nsenter": "util-linux", "ip": "iproute2", "curl": "curl",
	} {
		Tool(t, tool, pkg)
	}
	base := filepath.Join(Repo(t), "e2e", "sdbox")
	// Not t.TempDir: what is mounted there is the script's to remove.
	dir, err := os.MkdirTemp("", "sdbox-")
	require.NoError(t, err)
	b := &Box{t: t, script: filepath.Join(base, "sdbox.sh"), dir: dir}
	bin := t.TempDir()
	require.NoError(t, os.Chmod(filepath.Dir(bin), 0o755))
	for program, path := range map[string]string{"clanmon": Clanmon(t), "clanmon-exporter": SmallExporter(t)} {
		require.NoError(t, os.Link(path, filepath.Join(bin, program)), "the temporary directory is on another file system")
	}
	up := exec.Command(b.script, "up", dir, filepath.Join(base, "tree"))
	up.Env = append(os.Environ(), "SDBOX_BIND="+strings.Join(append(binds, bin+":/opt/clanmon"), " "))
	t.Cleanup(func() {
		if t.Failed() {
			if out, err := b.Try("journalctl", "--no-pager", "-q", "-n", "200", "-u", "clanmon*"); err == nil {
				t.Logf("journal of the box:\n%s", tail(out, 12000))
			}
		}
		out, err := exec.Command(b.script, "down", dir).CombinedOutput()
		if err != nil {
			t.Errorf("sdbox down: %v: %s", err, out)
		}
	})
	out, err := up.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return b
}

// Host is the network of the box, for processes outside of it.
func (b *Box) Host() *Host {
	b.t.Helper()
	name := filepath.Base(b.dir)
	out, err := exec.Command("ip", "netns", "attach", name, b.init()).CombinedOutput()
	require.NoError(b.t, err, "%s", out)
	b.t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", name).Run() })
	return &Host{name}
}

// Root is the root directory of the box, for processes outside of it.
func (b *Box) Root() string {
	b.t.Helper()
	return filepath.Join("/proc", b.init(), "root")
}

// init is the number of its first process.
func (b *Box) init() string {
	b.t.Helper()
	pid, err := os.ReadFile(filepath.Join(b.dir, "init.pid"))
	require.NoError(b.t, err)
	return strings.TrimSpace(string(pid))
}

// Try runs a command in the box.
func (b *Box) Try(args ...string) (string, error) {
	cmd := exec.Command(b.script, append([]string{"exec", b.dir}, args...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%q in the box: %w: %s", args, err, out)
	}
	return string(out), err
}

// Exec runs a command in the box, which has to succeed.
func (b *Box) Exec(args ...string) string {
	b.t.Helper()
	out, err := b.Try(args...)
	require.NoError(b.t, err)
	return out
}

// Get gets a URL from inside the box.
func (b *Box) Get(args ...string) (string, error) {
	return b.Try(append([]string{"curl", "-sSf", "-m", fmt.Sprint(Patience.Seconds())}, args...)...)
}

// WaitMetric waits until an exposition has a series with this value.
func (b *Box) WaitMetric(url, series string, want float64) {
	b.t.Helper()
	Eventually(b.t, Patience, func() error {
		text, err := b.Get(url)
		if err != nil {
			return err
		}
		got, err := MetricIn(text, series)
		if err == nil && got != want {
			err = fmt.Errorf("%s is %v, want %v", series, got, want)
		}
		return err
	})
}

// Bus is the environment variable with which a process outside of the box uses
// its system bus.
func (b *Box) Bus() string {
	b.t.Helper()
	pid, err := os.ReadFile(filepath.Join(b.dir, "init.pid"))
	require.NoError(b.t, err)
	return "DBUS_SYSTEM_BUS_ADDRESS=unix:path=/proc/" + strings.TrimSpace(string(pid)) + "/root/run/dbus/system_bus_socket"
}
