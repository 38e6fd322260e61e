package tests

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/e2e/harness"
)

// nginx, PostgreSQL and Redis of the machine, set up as NixOS does it, are watched
// by the hardened unit without further settings.
func TestLocalServicesOnARealSystemd(t *testing.T) {
	t.Parallel()
	b := harness.NewBox(t)
	m := one(t, "srv", `program = "/opt/nix"; clan = { machines.srv = [ ]; instances.a = { module = { name = "clanmon"; input = "self"; };
    roles.exporter.machines.srv.settings = { openFirewall = false; exporters = { nginx = { }; postgres = { }; redis = { }; }; }; }; };
  machines.srv = {
    services.nginx.enable = true;
    services.postgresql.enable = true;
    services.redis.servers.app = { enable = true; port = 0; unixSocket = "/run/redis-app/redis.sock"; group = "redis-app"; requirePassFile = "/run/secrets/redis"; };
  };`)
	sh := func(script string) {
		t.Helper()
		b.Exec("sh", "-ec", script)
	}
	write := func(path, text string) {
		t.Helper()
		b.Exec("sh", "-ec", `mkdir -p "$(dirname "$1")"; printf %s "$2" > "$1"`, "sh", path, text)
	}
	sh(`mkdir -p /opt/nix/bin /run/secrets /var/log/nginx; ln -s /opt/clanmon/clanmon-exporter /opt/nix/bin/clanmon-exporter
for u in clanmon-exporter redis-app; do useradd --system --user-group --no-create-home $u; done
printf hunter2 > /run/secrets/redis; chmod 0400 /run/secrets/redis`)

	// The status page belongs to the host "localhost" and is not the default host.
	write("/etc/nginx-test.conf", `events { } http {
  server { listen 80 default_server; return 404; }
  server { listen 80; server_name localhost; location /nginx_status { stub_status on; allow 127.0.0.1; allow ::1; deny all; } }
}`)
	b.Exec("systemd-run", "--unit=nginx-test", "-p", "Type=forking", "nginx", "-c", "/etc/nginx-test.conf", "-g", "pid /run/nginx-test.pid; error_log stderr;")
	b.Exec("systemd-run", "--unit=redis-app", "-p", "User=redis-app", "-p", "RuntimeDirectory=redis-app", "-p", "RuntimeDirectoryMode=0750",
		"redis-server", "--port", "0", "--unixsocket", "/run/redis-app/redis.sock", "--unixsocketperm", "660", "--requirepass", "hunter2")
	sh(`systemctl stop 'postgresql@*' # one that Debian's package set up
install -d -o postgres -g postgres /run/postgresql /var/lib/pgtest
bin=$(ls -d /usr/lib/postgresql/*/bin | tail -1)
su postgres -s /bin/sh -c "$bin/initdb -D /var/lib/pgtest -A peer >/dev/null"
printf '[Service]\nType=notify\nUser=postgres\nExecStart=%s/postgres -D /var/lib/pgtest -k /run/postgresql -c listen_addresses=\n' "$bin" > /etc/systemd/system/pgtest.service`)
	role := m.Services["clanmon-exporter-postgresql"]
	write("/opt/nix/role", "#!/bin/sh -e\n"+role.Script)
	role.ServiceConfig["ExecStart"] = "/bin/sh -e /opt/nix/role"
	write("/etc/systemd/system/clanmon-exporter-postgresql.service", role.unitFile())
	write("/etc/systemd/system/clanmon-exporter.service", m.Services["clanmon-exporter"].unitFile())
	b.Exec("systemctl", "daemon-reload")
	if _, err := b.Try("systemctl", "start", "pgtest.service"); err != nil {
		t.Fatal(b.Exec("journalctl", "--no-pager", "-q", "-u", "pgtest"))
	}
	for range 2 { // a role that is there already is fine
		b.Exec("systemctl", "restart", "clanmon-exporter-postgresql.service")
	}
	b.Exec("systemctl", "start", "clanmon-exporter.service")

	b.WaitMetric("127.0.0.1:9113/metrics", "nginx_up", 1)
	b.WaitMetric("127.0.0.1:9187/metrics", "pg_up", 1)
	b.WaitMetric("127.0.0.1:9121/metrics", "redis_up", 1)
	text, err := b.Get("127.0.0.1:9187/metrics")
	require.NoError(t, err)
	require.Contains(t, text, "pg_stat_database_numbackends")
	require.NotContains(t, b.Exec("systemctl", "show", "clanmon-exporter.service"), "hunter2")
	require.True(t, strings.HasPrefix(role.ServiceConfig["User"].(string), "postgres"))
}
