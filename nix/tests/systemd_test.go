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

const plainServer = `services.clanmon.server = {
  enable = true;
  port = 9091;
  openFirewall = false;
  discoveryMethod = "static";
  staticTargets.node = [ "127.0.0.1" ];
  globalConfig.scrape_interval = "1s";
  tls = { enable = true; caFile = "/run/secrets/vars/clanmon-ca/ca.pem"; certFile = "/run/secrets/vars/clanmon-tls/cert.pem"; keyFile = "/run/secrets/vars/clanmon-tls/key.pem"; serverName = "exporter.clanmon.internal"; };
  retentionTime = "30d";
};`

func TestUnitsAreHardened(t *testing.T) {
	t.Parallel()
	m := one(t, "srv", `machines.srv = { imports = [ ../nixos/exporter.nix ../nixos/server.nix ]; config = { services.clanmon.exporter = { enable = true; openFirewall = false; }; `+plainServer+` }; };`)
	require.LessOrEqual(t, exposure(t, "clanmon-exporter.service", m.Services["clanmon-exporter"]), 1.6)
	require.LessOrEqual(t, exposure(t, "clanmon-server.service", m.Services["clanmon-server"]), 1.2)

	// A socket that a unit does not need is out of its reach.
	hidden := func(name string) any { return m.Services[name].ServiceConfig["InaccessiblePaths"] }
	require.Nil(t, hidden("clanmon-exporter"))
	require.Equal(t, []any{"-/run/dbus", "-/run/tailscale"}, hidden("clanmon-server"))
	m = one(t, "srv", `machines.srv = { imports = [ ../nixos/exporter.nix ../nixos/server.nix ]; config = {
		services.tailscale.enable = true;
		services.clanmon.exporter = { enable = true; exporterType = "redis"; };
		services.clanmon.server = { enable = true; discoveryMethod = "tailscale"; };
	}; };`)
	require.Equal(t, []any{"-/run/dbus", "-/run/tailscale"}, hidden("clanmon-exporter"))
	require.Equal(t, []any{"-/run/dbus"}, hidden("clanmon-server"))
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

// Both roles of one machine, as Nix makes them, on a real systemd: everything
// works that works without hardening, the server scrapes by mutual TLS, and nobody
// gets in who has no certificate of a server of this clan.
func TestUnitsOnARealSystemd(t *testing.T) {
	t.Parallel()
	b := harness.NewBox(t)
	const arguments = `program = "/opt/nix"; clan = { machines = { srv = [ ]; web = [ ]; }; instances.monitoring = {
    module = { name = "clanmon"; input = "self"; };
    roles.server.machines.srv.settings = { tls = { enable = true; pages = true; }; globalConfig.scrape_interval = "1s"; };
    roles.exporter.tags.all = { };
  }; };
  machines = { web.services.tailscale.enable = true; srv = { imports = [ ../nixos/server.nix ]; config = { services.tailscale.enable = true; ` + plainServer + ` }; }; };`
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

	write := func(path, text, mode string) {
		t.Helper()
		b.Exec("sh", "-ec", `mkdir -p "$(dirname "$1")"; printf %s "$2" > "$1"; chmod "$3" "$1"`, "sh", path, text, mode)
	}
	copyTo := func(dir, to string) {
		t.Helper()
		for _, f := range []string{"clanmon-ca/ca.pem", "clanmon-tls/cert.pem", "clanmon-tls/key.pem"} {
			text, err := os.ReadFile(filepath.Join(dir, f))
			require.NoError(t, err)
			write(filepath.Join(to, f), string(text), "0400")
		}
	}
	copyTo(ours, "/run/secrets/vars")
	copyTo(neighbour, "/root/neighbour")
	copyTo(stranger, "/root/stranger")
	for path, text := range srv.Etc {
		write("/etc/"+path, text, "0644")
	}
	b.Exec("sh", "-ec", "mkdir -p /opt/nix/bin; ln -s /opt/clanmon/clanmon /opt/nix/bin/clanmon; ln -s clanmon /opt/nix/bin/prometheus; ln -s /opt/clanmon/clanmon-exporter /opt/nix/bin/clanmon-exporter")
	for _, user := range []string{"clanmon-exporter", "prometheus", "clanmon"} {
		b.Exec("sh", "-ec", `getent passwd "$1" >/dev/null || useradd --system --user-group --no-create-home "$1"`, "sh", user)
	}
	for name, s := range srv.Services {
		write("/etc/systemd/system/"+name+".service", s.unitFile(), "0644")
	}
	b.Exec("systemctl", "daemon-reload")
	units := []string{"clanmon-exporter.service", "prometheus.service", "clanmon-server.service"}
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

	// Both servers scrape.
	up := func(url, series string) {
		t.Helper()
		harness.Eventually(t, harness.Patience, func() error {
			answer, err := b.Get("-G", url+"/api/v1/query", "--data-urlencode", "query="+series+" == 1",
				"--cacert", "/run/secrets/vars/clanmon-ca/ca.pem", "--connect-to", "srv.clan::127.0.0.1:")
			if err == nil && !strings.Contains(answer, `"__name__":"up"`) {
				err = fmt.Errorf("%s is not 1: %s", series, answer)
			}
			return err
		})
	}
	up("https://srv.clan:9090", `up{job="node",machine="srv",instance="srv:9100"}`)
	up("https://srv.clan:9090", `up{job="systemd",machine="srv"}`)
	up("https://srv.clan:9090", `up{job="clanmon",machine="srv",instance="srv:9090"}`)
	up("http://127.0.0.1:9091", `up{job="node",instance="127.0.0.1:9100"}`)

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

	// A reload keeps the process; nothing was restarted, and all end well.
	b.Exec("systemctl", "reload", "clanmon-server.service")
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
	all, err = evaluate(t, fmt.Sprintf(instances, "two.settings.openFirewall = false;"))
	require.NoError(t, err)
	require.Len(t, all["srv"].Problems, 1)
	require.Contains(t, all["srv"].Problems[0], "clan instance 'a', role 'server': tls.enable")
}
