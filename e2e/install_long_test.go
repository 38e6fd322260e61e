//go:build long

package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/e2e/harness"
)

// blocks are the commands of docs/install.md under a heading, in their order.
func blocks(t *testing.T, heading string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(harness.Repo(t), "docs", "install.md"))
	require.NoError(t, err)
	_, section, ok := strings.Cut(string(text), "\n## "+heading+"\n")
	require.True(t, ok, heading)
	section, _, _ = strings.Cut(section, "\n## ")
	var found []string
	for _, m := range regexp.MustCompile("(?ms)^```sh[^\n]*\n(.*?)^```").FindAllStringSubmatch(section, -1) {
		require.LessOrEqual(t, strings.Count(m[1], "\n"), 6, "a block of more than six lines: %s", m[1])
		found = append(found, m[1])
	}
	require.NotEmpty(t, found, heading)
	return found
}

// onlineMachine is a new machine on which github.com has what was just released.
func onlineMachine(t *testing.T) *harness.Box {
	t.Helper()
	harness.Tool(t, "/usr/sbin/nginx", "nginx-light")
	harness.Tool(t, "openssl", "openssl")
	b := newMachine(t)
	sh(b, `mkdir /hub; cd /hub
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=github.com -addext subjectAltName=DNS:github.com -keyout key.pem -out cert.pem 2>/dev/null
cat cert.pem >> /etc/ssl/certs/ca-certificates.crt
echo 127.0.0.1 github.com >> /etc/hosts
cat > nginx.conf <<'EOF'
events {}
http { access_log off; server { listen 443 ssl; ssl_certificate /hub/cert.pem; ssl_certificate_key /hub/key.pem;
  location /clanmon/clanmon/releases/latest/download/ { alias /packages/new/; } } }
EOF
systemd-run --unit hub /usr/sbin/nginx -c /hub/nginx.conf -g 'daemon off; error_log /dev/null; pid /hub/pid;'
curl -sSf --retry 20 --retry-delay 1 --retry-all-errors -o /dev/null https://github.com/clanmon/clanmon/releases/latest/download/SHA256SUMS
mkdir -p /tmp/downloads`)
	return b
}

// follow runs a block as somebody pastes it.
func follow(b *harness.Box, block string) string { return sh(b, "cd /tmp/downloads\n"+block) }

func TestInstallDocumentOnDebian(t *testing.T) {
	t.Parallel()
	b := onlineMachine(t)
	for _, block := range blocks(t, "Debian and Ubuntu") {
		follow(b, block)
	}
	b.WaitMetric("http://localhost:9100/metrics", `node_scrape_collector_success{collector="cpu"}`, 1)
	waitValue(t, b, 9090, "sum(up)", "3")
	follow(b, blocks(t, "Check a download")[0])
	follow(b, blocks(t, "Tell the server where the machines are")[0])
	require.Contains(t, sh(b, "tr '\\0' ' ' < /proc/$(systemctl show -P MainPID clanmon)/cmdline"), "--discovery.static node=alpha,beta --discovery.static systemd=alpha,beta")
	follow(b, blocks(t, "Back up")[0])
	require.Contains(t, sh(b, "ls /var/lib/clanmon-backup"), "wal")
	sh(b, "rm -r /var/lib/clanmon-backup; echo clanmon clanmon/delete-data boolean true | debconf-set-selections; apt-get purge -y clanmon clanmon-exporter")
	require.Empty(t, left(b))
}

func TestInstallDocumentWithRPM(t *testing.T) {
	t.Parallel()
	harness.Tool(t, "rpm", "rpm")
	b := onlineMachine(t)
	for _, block := range blocks(t, "Fedora, RHEL and openSUSE") {
		follow(b, block)
	}
	b.WaitMetric("http://localhost:9100/metrics", `node_scrape_collector_success{collector="cpu"}`, 1)
	waitValue(t, b, 9090, "sum(up)", "3")
}

func TestInstallDocumentWithTheArchive(t *testing.T) {
	t.Parallel()
	b := onlineMachine(t)
	block := blocks(t, "Archive")[0]
	follow(b, strings.TrimSuffix(block, "\n")+" >/dev/null 2>&1 &")
	b.WaitMetric("http://localhost:9100/metrics", `node_scrape_collector_success{collector="cpu"}`, 1)
}

// Prometheus in Docker, as its volume and its file on the host; docker itself is a name
// here that does nothing.
func TestInstallDocumentFromDocker(t *testing.T) {
	t.Parallel()
	harness.Tool(t, "/usr/bin/prometheus", "prometheus")
	b := onlineMachine(t)
	follow(b, blocks(t, "Debian and Ubuntu")[1])
	sh(b, `systemctl stop clanmon; rm -rf /var/lib/clanmon/*
mkdir -p /var/lib/docker/volumes/prometheus_data/_data /srv/prometheus; ln -sf /bin/true /usr/local/bin/docker
now=$(date +%s)
printf '# TYPE old_history gauge\nold_history 42 %s\n# EOF\n' $((now - 86400)) > /tmp/om
promtool tsdb create-blocks-from openmetrics /tmp/om /var/lib/docker/volumes/prometheus_data/_data
chown -R 65534:65534 /var/lib/docker/volumes/prometheus_data/_data
printf 'global: {scrape_interval: 1s}\nscrape_configs:\n- job_name: self\n  static_configs: [{targets: ["localhost:9090"]}]\n' > /srv/prometheus/prometheus.yml`)
	follow(b, blocks(t, "Move from Prometheus in Docker")[0])
	waitValue(t, b, 9090, "last_over_time(old_history[2d])", "42")
	waitValue(t, b, 9090, `up{job="self"}`, "1")
}

func TestInstallDocumentFromDebiansPrometheus(t *testing.T) {
	t.Parallel()
	harness.Tool(t, "/usr/bin/prometheus", "prometheus")
	harness.Tool(t, "/usr/bin/prometheus-node-exporter", "prometheus-node-exporter")
	b := onlineMachine(t)
	sh(b, "systemctl enable --now prometheus prometheus-node-exporter 2>&1")
	waitValue(t, b, 9090, `up{job="node"}`, "1")
	for _, block := range blocks(t, "Debian and Ubuntu") {
		follow(b, block)
	}
	follow(b, blocks(t, "Move from Debian's Prometheus")[0])
	waitValue(t, b, 9090, `count(prometheus_build_info{branch="clanmon-v1.1.0"})`, "1")
	waitValue(t, b, 9090, `up{job="node"}`, "1")
	waitValue(t, b, 9090, `count(count_over_time(prometheus_build_info{version=~"2.+"}[1h])) >= bool 1`, "1")
}
