package tests

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/e2e/harness"
)

// unitFile is a unit as systemd reads it, of what Nix evaluated.
func (s service) unitFile() string {
	var b strings.Builder
	if len(s.After) > 0 {
		fmt.Fprintf(&b, "[Unit]\nAfter=%s\n", strings.Join(s.After, " "))
	}
	b.WriteString("[Service]\n")
	for name, value := range s.Environment {
		fmt.Fprintf(&b, "Environment=%q\n", name+"="+value)
	}
	for _, name := range slices.Sorted(maps.Keys(s.ServiceConfig)) {
		values, ok := s.ServiceConfig[name].([]any)
		if !ok {
			values = []any{s.ServiceConfig[name]}
		}
		for _, v := range values {
			fmt.Fprintf(&b, "%s=%v\n", name, v)
		}
	}
	return b.String()
}

// exposure is systemd's score of a unit, from 0 to 10.
func exposure(t *testing.T, name string, s service) float64 {
	t.Helper()
	file := harness.WriteFile(t, t.TempDir(), name, s.unitFile())
	out, err := exec.Command(harness.Tool(t, "systemd-analyze", "systemd"), "security", "--offline=yes", "--no-pager", file).CombinedOutput()
	require.NoError(t, err, "%s", out)
	m := regexp.MustCompile(`Overall exposure level for \S+: ([0-9.]+)`).FindSubmatch(out)
	require.NotNil(t, m, "%s", out)
	score, err := strconv.ParseFloat(string(m[1]), 64)
	require.NoError(t, err)
	return score
}

func TestUnitsAreHardened(t *testing.T) {
	t.Parallel()
	m := one(t, "srv", `machines.srv = { imports = [ ../nixos/exporter.nix ../nixos/server.nix ]; services.clanmon = { exporter = { enable = true; openFirewall = false; }; server = { enable = true; openFirewall = false; }; }; };`)
	require.LessOrEqual(t, exposure(t, "clanmon-exporter.service", m.Services["clanmon-exporter"]), 1.6)
	require.LessOrEqual(t, exposure(t, "prometheus.service", m.Services["prometheus"]), 1.2)

	// A socket that a unit does not need is out of its reach.
	hidden := func(name string) any { return m.Services[name].ServiceConfig["InaccessiblePaths"] }
	require.Nil(t, hidden("clanmon-exporter"))
	require.Equal(t, []any{"-/run/dbus", "-/run/tailscale"}, hidden("prometheus"))
	m = one(t, "srv", `machines.srv = { imports = [ ../nixos/exporter.nix ../nixos/server.nix ]; config = {
		services.tailscale.enable = true;
		services.clanmon.exporter = { enable = true; exporterType = "redis"; };
		services.clanmon.server = { enable = true; discoveryMethod = "tailscale"; };
	}; };`)
	require.Equal(t, []any{"-/run/dbus", "-/run/tailscale"}, hidden("clanmon-exporter"))
	require.Equal(t, []any{"-/run/dbus"}, hidden("prometheus"))
}

// certificates runs the scripts of vars generators, as clan does.
func certificates(t *testing.T, ca string, m machine) (dir string) {
	t.Helper()
	harness.Tool(t, "openssl", "openssl")
	run := func(script, in string) string {
		out := t.TempDir()
		cmd := exec.Command("bash", "-euo", "pipefail", "-c", script)
		cmd.Dir, cmd.Env = t.TempDir(), append(os.Environ(), "out="+out, "in="+in)
		text, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", text)
		return out
	}
	if ca == "" {
		ca = run(m.Generators["clanmon-ca"].Script, "")
	}
	in := t.TempDir()
	require.NoError(t, os.Symlink(ca, filepath.Join(in, "clanmon-ca")))
	dir = t.TempDir()
	require.NoError(t, os.Symlink(ca, filepath.Join(dir, "clanmon-ca")))
	require.NoError(t, os.Symlink(run(m.Generators["clanmon-tls"].Script, in), filepath.Join(dir, "clanmon-tls")))
	return dir
}

// box is a machine with what Nix evaluated.
type box struct {
	*harness.Box
	t *testing.T
}

func newBox(t *testing.T, m machine, users ...string) box {
	b := box{harness.NewBox(t), t}
	b.Exec("sh", "-ec", "mkdir -p /opt/nix/bin; for n in clanmon clanmon-exporter; do ln -s /opt/clanmon/$n /opt/nix/bin/$n; done; ln -s clanmon /opt/nix/bin/prometheus")
	for _, user := range users {
		b.Exec("sh", "-ec", `getent passwd "$1" >/dev/null || useradd --system --user-group --no-create-home "$1"`, "sh", user)
	}
	history, err := os.ReadFile("../nixos/check-history.sh")
	require.NoError(t, err)
	b.write("/opt/nix/check-history.sh", string(history), "0644")
	b.install(m)
	return b
}

func (b box) write(path, text, mode string) {
	b.t.Helper()
	b.Exec("sh", "-ec", `mkdir -p "$(dirname "$1")"; printf %s "$2" > "$1"; chmod "$3" "$1"`, "sh", path, text, mode)
}

// install writes units and files of a machine.
func (b box) install(m machine) {
	b.t.Helper()
	for path, text := range m.Etc {
		b.write("/etc/"+path, text, "0644")
	}
	// The file in Nix' store is not there.
	stored := regexp.MustCompile(`\S+-check-history\.sh`)
	for name, s := range m.Services {
		b.write("/etc/systemd/system/"+name+".service", stored.ReplaceAllString(s.unitFile(), "/opt/nix/check-history.sh"), "0644")
	}
	b.Exec("systemctl", "daemon-reload")
}

// Both roles of one machine, as Nix makes them, on a real systemd: everything
// works that works without hardening, the server scrapes by mutual TLS, and nobody
// gets in who has no certificate of a server of this clan.
func TestUnitsOnARealSystemd(t *testing.T) {
	t.Parallel()
	const arguments = `program = "/opt/nix"; clan = { machines = { srv = [ ]; web = [ ]; }; instances.monitoring = {
    module = { name = "clanmon"; input = "self"; };
    roles.server.machines.srv.settings = { tls = { enable = true; pages = true; }; globalConfig.scrape_interval = "1s";
      discoveryMethod = [ "inventory" "static" ]; staticTargets.plain = [ "127.0.0.1:9200" ];
      notify.ops = { url = "ntfy://127.0.0.1:1/ops"; secretFile = "/run/secrets/not-there"; }; };
    roles.exporter.tags.all = { };
  }; };
  machines = { web.services.tailscale.enable = true; srv.services.tailscale.enable = true; };`
	all, err := evaluate(t, arguments)
	require.NoError(t, err)
	srv, web := all["srv"], all["web"]
	require.Empty(t, srv.Problems)

	// The certificate authority's key stays where the certificates are made.
	ours := certificates(t, "", srv)
	neighbour := certificates(t, filepath.Join(ours, "clanmon-ca"), web)
	stranger := certificates(t, "", srv)
	require.False(t, srv.Generators["clanmon-ca"].Files["ca.key"].Deploy)
	require.True(t, srv.Generators["clanmon-ca"].Share)

	b := newBox(t, srv, "clanmon-exporter", "prometheus")
	copyTo := func(dir, to string) {
		t.Helper()
		for _, f := range []string{"clanmon-ca/ca.pem", "clanmon-tls/cert.pem", "clanmon-tls/key.pem"} {
			text, err := os.ReadFile(filepath.Join(dir, f))
			require.NoError(t, err)
			b.write(filepath.Join(to, f), string(text), "0400")
		}
	}
	// A missing protection keeps the server from starting; the missing secret of a receiver
	// does not, later.
	_, err = b.Try("systemctl", "start", "prometheus.service")
	require.Error(t, err)
	b.Exec("systemctl", "stop", "prometheus.service")
	copyTo(ours, "/run/secrets/vars")
	copyTo(neighbour, "/root/neighbour")
	copyTo(stranger, "/root/stranger")
	units := []string{"clanmon-exporter.service", "prometheus.service"}
	b.Exec(append([]string{"systemctl", "start"}, units...)...)

	// Who gets in.
	get := func(dir string, args ...string) (string, error) {
		return b.Get(append([]string{
			"--cacert", "/run/secrets/vars/clanmon-ca/ca.pem", "--connect-to", "exporter.clanmon.internal::127.0.0.1:",
			"--cert", dir + "/clanmon-tls/cert.pem", "--key", dir + "/clanmon-tls/key.pem",
		}, args...)...)
	}
	const node = "https://exporter.clanmon.internal:9100/metrics"
	text, err := get("/run/secrets/vars", node)
	require.NoError(t, err)
	for who, try := range map[string]func() (string, error){
		"without TLS":                           func() (string, error) { return b.Get("http://127.0.0.1:9100/metrics") },
		"without a certificate":                 func() (string, error) { return b.Get("-k", "https://127.0.0.1:9100/metrics") },
		"of another clan":                       func() (string, error) { return get("/root/stranger", node) },
		"of a machine of this clan, no server":  func() (string, error) { return get("/root/neighbour", node) },
		"without a certificate, the other port": func() (string, error) { return b.Get("-k", "https://127.0.0.1:9558/metrics") },
		"of another clan, the other port":       func() (string, error) { return get("/root/stranger", "https://exporter.clanmon.internal:9558/metrics") },
		"with a name that this machine does not": func() (string, error) {
			return get("/run/secrets/vars", "--connect-to", "other::127.0.0.1:", "https://other:9100/metrics")
		},
	} {
		_, err := try()
		require.Error(t, err, "somebody %s gets in", who)
	}

	// What is lost by hardening: nothing. The same program as root says what there is.
	b.Exec("systemd-run", "--unit=free", "--property=Type=notify", "/opt/nix/bin/clanmon", "exporter", "--node.listen-address=127.0.0.1:9200", "--systemd.listen-address=127.0.0.1:9201")
	free, err := b.Get("127.0.0.1:9200/metrics")
	require.NoError(t, err)
	series := func(text, name, value string) []string {
		return regexp.MustCompile(`(?m)^`+name+`\{.*\} `+value+`$`).FindAllString(text, -1)
	}
	collectors := series(free, "node_scrape_collector_success", "1")
	require.Greater(t, len(collectors), 30)
	require.Subset(t, series(text, "node_scrape_collector_success", "1"), collectors)
	require.Equal(t, series(free, "node_filesystem_readonly", "1"), series(text, "node_filesystem_readonly", "1"))
	harness.Eventually(t, harness.Patience, func() error {
		text, err := get("/run/secrets/vars", "https://exporter.clanmon.internal:9558/metrics")
		if err == nil && !strings.Contains(text, `systemd_unit_state{name="prometheus.service",state="active",type="service"} 1`) {
			err = fmt.Errorf("prometheus.service is not active in\n%.2000s", text)
		}
		return err
	})

	// The server scrapes its clan by TLS, a machine outside of it without, and itself.
	for _, up := range []string{
		`up{job="node",machine="srv",instance="srv:9100"}`,
		`up{job="systemd",machine="srv"}`,
		`up{job="plain"}`,
		`up{job="clanmon",machine="srv",instance="srv:9090"}`,
		`clanmon_notifications_missing_files`,
	} {
		harness.Eventually(t, harness.Patience, func() error {
			answer, err := b.Get("-G", "https://srv.clan:9090/api/v1/query", "--data-urlencode", "query="+up+" == 1",
				"--cacert", "/run/secrets/vars/clanmon-ca/ca.pem", "--connect-to", "srv.clan::127.0.0.1:")
			if err == nil && !strings.Contains(answer, `"__name__"`) {
				err = fmt.Errorf("%s is not 1: %s", up, answer)
			}
			return err
		})
	}

	// A reload keeps the process; nothing was restarted, and all end well.
	b.Exec("systemctl", "reload", "prometheus.service")
	for _, unit := range units {
		show := func(property string) string {
			return strings.TrimSpace(b.Exec("systemctl", "show", "--value", "-p", property, unit))
		}
		require.Equal(t, "active", show("ActiveState"), unit)
		require.Equal(t, "0", show("NRestarts"), unit)
		b.Exec("systemctl", "stop", unit)
		require.Equal(t, "success", show("Result"), unit)
	}
}

// What an earlier version of the module left behind is not forgotten, and what a backup
// has comes back.
func TestHistoryAndBackup(t *testing.T) {
	t.Parallel()
	all, err := evaluate(t, `program = "/opt/nix"; clan = { machines = { all = [ ]; state = [ ]; }; instances = let instance = name: {
    module = { name = "clanmon"; input = "self"; };
    roles.server.machines.${name}.settings = { openFirewall = false; backup = name; globalConfig.scrape_interval = "1s"; };
  }; in { a = instance "all"; b = instance "state"; }; }; machines = { all = { }; state = { }; };`)
	require.NoError(t, err)
	b := newBox(t, all["all"], "prometheus", "clanmon")
	metrics := func(query string) error {
		answer, err := b.Get("-G", "127.0.0.1:9090/api/v1/query", "--data-urlencode", "query="+query)
		if err == nil && !strings.Contains(answer, `"__name__"`) {
			err = fmt.Errorf("%s finds nothing: %s", query, answer)
		}
		return err
	}

	// Metrics where the module had them.
	b.Exec("systemctl", "start", "prometheus.service")
	harness.Eventually(t, harness.Patience, func() error { return metrics(`up{job="clanmon"} == 1`) })
	b.Exec("systemctl", "stop", "prometheus.service")
	b.Exec("sh", "-ec", "rm -rf /var/lib/clanmon; mv /var/lib/prometheus2/data /var/lib/clanmon; chown -R clanmon:clanmon /var/lib/clanmon; chmod 0700 /var/lib/clanmon")
	_, err = b.Try("systemctl", "start", "prometheus.service")
	require.Error(t, err)
	b.Exec("systemctl", "stop", "prometheus.service")
	log := b.Exec("journalctl", "--no-pager", "-o", "cat", "-u", "prometheus.service")
	require.Contains(t, log, "/var/lib/prometheus2/data is empty")
	_, commands, _ := strings.Cut(log, "Move them as root:\n")
	commands, _, _ = strings.Cut(commands, "To start without them")
	b.Exec("sh", "-ec", commands)
	was := `last_over_time(up{job="clanmon"}[1h] offset 5s)`
	harness.Eventually(t, harness.Patience, func() error { return metrics(was) })

	// The running server is backed up, and restored to what it was then.
	silence := func() string {
		t.Helper()
		out, err := b.Get("-H", "Content-Type: application/json", "127.0.0.1:9090/api/v2/silences", "-d",
			`{"matchers": [{"name": "a", "value": "b", "isRegex": false, "isEqual": true}], "startsAt": "2026-01-01T00:00:00Z", "endsAt": "2099-01-01T00:00:00Z", "createdBy": "me", "comment": "test"}`)
		require.NoError(t, err)
		return regexp.MustCompile(`"silenceID":"([^"]+)"`).FindStringSubmatch(out)[1]
	}
	active := func(id string) error {
		out, err := b.Get("127.0.0.1:9090/api/v2/silence/" + id)
		if err == nil && !strings.Contains(out, `"state":"active"`) {
			err = fmt.Errorf("silence %s is not active: %s", id, out)
		}
		return err
	}
	script := func(text string) { b.Exec("bash", "-euo", "pipefail", "-c", text) }
	restoreAfter := func(m machine, loss func()) {
		t.Helper()
		state := m.State["clanmon"]
		require.Equal(t, []string{"/var/lib/prometheus2/backup"}, state.Folders)
		script(state.PreBackupScript)
		b.Exec("sh", "-ec", "rm -rf /root/borg; cp -a "+state.Folders[0]+" /root/borg")
		script(state.PostBackupScript)
		b.Exec("test", "!", "-e", state.Folders[0])
		loss()
		script(state.PreRestoreScript)
		b.Exec("cp", "-a", "/root/borg", state.Folders[0])
		script(state.PostRestoreScript)
	}
	harness.Eventually(t, harness.Patience, func() error { return metrics(was) })
	id := silence()
	lost := func() { b.Exec("curl", "-sSf", "-X", "DELETE", "127.0.0.1:9090/api/v2/silence/"+id) }
	restoreAfter(all["state"], lost)
	harness.Eventually(t, harness.Patience, func() error { return active(id) })
	harness.Eventually(t, harness.Patience, func() error { return metrics(was) })
	b.Exec("test", "!", "-e", "/var/lib/prometheus2/data-before-restore")
	restoreAfter(all["all"], func() {
		b.Exec("systemctl", "stop", "prometheus.service")
		b.Exec("sh", "-ec", "rm -rf /var/lib/prometheus2/data/*; echo > /var/lib/prometheus2/data/note")
	})
	harness.Eventually(t, harness.Patience, func() error { return active(id) })
	harness.Eventually(t, harness.Patience, func() error { return metrics(was) })
	b.Exec("test", "-e", "/var/lib/prometheus2/data-before-restore/note")
}

// One option of the server role is enough, for the exporters of all instances that
// it asks.
func TestMutualTLS(t *testing.T) {
	t.Parallel()
	const instances = `clan = { machines = { srv = [ ]; web = [ ]; two = [ ]; }; instances = {
    a = { module = { name = "clanmon"; input = "self"; };
      roles.server.machines = { srv.settings = { tls.enable = true; openFirewall = false; }; %s };
      roles.exporter.machines.srv.settings.openFirewall = false; };
    units = { module = { name = "clanmon"; input = "self"; };
      roles.exporter.machines.web.settings = { exporterType = "systemd"; openFirewall = false; }; };
  }; }; machines = { srv = { }; web = { }; };`
	all, err := evaluate(t, fmt.Sprintf(instances, ""))
	require.NoError(t, err)
	for name, m := range all {
		require.Empty(t, m.Problems)
		require.Contains(t, m.exporter(t), "--web.config.file=/etc/clanmon/exporter-web.json", name)
		require.Contains(t, m.Etc["clanmon/exporter-web.json"], `"RequireAndVerifyClientCert"`)
		require.Contains(t, m.Etc["clanmon/exporter-web.json"], `"client_allowed_sans":["server.clanmon.internal"]`)
		require.Equal(t, name == "srv", strings.Contains(m.Generators["clanmon-tls"].Script, "server.clanmon.internal"), name)
	}
	require.Contains(t, all["srv"].Etc["clanmon/inventory.json"], `"web"`)

	// An exporter speaks one of the two.
	_, err = evaluate(t, fmt.Sprintf(instances, "two.settings.openFirewall = false;"))
	for _, want := range []string{"services.clanmon.exporter.tls.enable", "clan instance 'a', role 'server', machine 'srv'': true", "machine 'two'': false"} {
		require.ErrorContains(t, err, want)
	}
}
