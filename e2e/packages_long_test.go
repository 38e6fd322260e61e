//go:build long

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/e2e/harness"
)

// packages are two versions of everything for this machine, in old and new. They take
// minutes; CLANMON_PACKAGES is a folder that keeps them for the next run.
var packages = struct {
	sync.Once
	dir string
}{}

func packagesDir(t *testing.T) string {
	t.Helper()
	packages.Do(func() {
		dir := os.Getenv("CLANMON_PACKAGES")
		if _, err := os.Stat(filepath.Join(dir, "new")); dir != "" && err == nil {
			packages.dir = dir
			return
		}
		if dir == "" {
			var err error
			dir, err = os.MkdirTemp("", "packages-")
			require.NoError(t, err)
		}
		require.NoError(t, os.Chmod(dir, 0o755))
		for name, args := range map[string][]string{"old": {"v1.0.0", "2026-11-01T00:00:00Z", "deb,rpm"}, "new": {"v1.1.0", "2026-11-28T00:00:00Z", "archive,deb,rpm,image"}} {
			made := release(t, args[0], args[1], "-arch", "amd64", "-kinds", args[2])
			require.NoError(t, os.CopyFS(filepath.Join(dir, name), os.DirFS(made)))
		}
		packages.dir = dir
	})
	require.NotEmpty(t, packages.dir, "building the packages failed in another test")
	return packages.dir
}

// newMachine is a box in which nothing of clanmon is, and packages may start services.
func newMachine(t *testing.T) *harness.Box {
	t.Helper()
	b := harness.NewBox(t, packagesDir(t)+":/packages")
	b.Exec("rm", "-f", "/usr/sbin/policy-rc.d")
	// The units of other tests, and data that a Prometheus outside left.
	b.Exec("sh", "-c", "rm -rf /etc/systemd/system/clanmon* /etc/sysusers.d/clanmon.conf /var/lib/prometheus/metrics2/*; sed -i '/^clanmon/d' /etc/passwd /etc/group /etc/shadow /etc/gshadow; systemctl daemon-reload")
	require.Empty(t, left(b))
	return b
}

// left is what there is of clanmon on a machine.
func left(b *harness.Box) string {
	return b.Exec("find", "/etc", "/etc/systemd/system", "/usr", "/var/lib", "/run", "-xdev", "-name", "*clanmon*", "-not", "-path", "/var/lib/dpkg/*", "-not", "-path", "/var/lib/clanmon/*", "-not", "-path", "/run/credentials/*")
}

func sh(b *harness.Box, script string) string { return b.Exec("sh", "-ec", script) }

// instant is the value of an instant query in a box.
func instant(b *harness.Box, port int, expr string) (string, error) {
	text, err := b.Get(fmt.Sprintf("http://localhost:%d/api/v1/query", port), "--data-urlencode", "query="+expr)
	if err != nil {
		return "", err
	}
	var answer struct {
		Data struct {
			Result []struct{ Value [2]any }
		}
	}
	if err := json.Unmarshal([]byte(text), &answer); err != nil || len(answer.Data.Result) != 1 {
		return "", fmt.Errorf("%s: %s", expr, text)
	}
	return answer.Data.Result[0].Value[1].(string), nil
}

func waitValue(t *testing.T, b *harness.Box, port int, expr, want string) {
	t.Helper()
	harness.Eventually(t, harness.Patience, func() error {
		got, err := instant(b, port, expr)
		if err == nil && got != want {
			err = fmt.Errorf("%s is %s, want %s", expr, got, want)
		}
		return err
	})
}

func TestPackageFromInstallToPurge(t *testing.T) {
	t.Parallel()
	b := newMachine(t)
	said := sh(b, "dpkg -i /packages/old/clanmon_amd64.deb /packages/old/clanmon-exporter_amd64.deb 2>&1")
	require.NotContains(t, said, "warning")
	require.Equal(t, "active\nactive\n", b.Exec("systemctl", "is-active", "clanmon", "clanmon-exporter"))
	require.Equal(t, "enabled\nenabled\n", b.Exec("systemctl", "is-enabled", "clanmon", "clanmon-exporter"))
	// It sees its machine, hardened as it is: all but what this machine lacks.
	waitValue(t, b, 9090, `sum(up)`, "3")
	waitValue(t, b, 9090, `count(node_scrape_collector_success{collector=~"cpu|filesystem|meminfo|netdev|timex|pressure|systemd|logind"} == 0) or vector(0)`, "0")
	waitValue(t, b, 9090, `systemd_unit_state{name="clanmon.service",state="active"}`, "1")
	waitValue(t, b, 9090, `count(node_filesystem_readonly{mountpoint="/"} == 1) or vector(0)`, "0")
	b.WaitMetric("http://localhost:9100/metrics", `node_scrape_collector_success{collector="filesystem"}`, 1)
	b.WaitMetric("http://localhost:9558/metrics", `systemd_unit_state{name="clanmon-exporter.service",state="active",type="service"}`, 1)
	require.Contains(t, b.Exec("man", "-P", "cat", "clanmon"), "--storage.tsdb.path=")
	require.Contains(t, b.Exec("bash", "-c", "source /usr/share/bash-completion/completions/clanmon; complete -p clanmon"), "_clanmon")
	before, err := instant(b, 9090, `count_over_time(up{job="node"}[1h])`)
	require.NoError(t, err)
	sh(b, `sed -i 's/^ARGS=.*/ARGS="--history=24h"/' /etc/default/clanmon-exporter; systemctl restart clanmon-exporter; ls -d /var/lib/clanmon-exporter/history`)

	// An upgrade that is interrupted between unpacking and configuring goes on running
	// the old version, and is finished later. What was edited stays.
	sh(b, `sed -i 's/^ARGS=.*/ARGS="--retention 90d"/' /etc/default/clanmon`)
	sh(b, "dpkg --unpack /packages/new/clanmon_amd64.deb")
	b.Exec("curl", "-sSf", "localhost:9090/-/ready")
	require.Contains(t, sh(b, "readlink /proc/$(systemctl show -P MainPID clanmon)/exe"), "(deleted)")
	sh(b, "dpkg --configure -a")
	require.Contains(t, b.Exec("clanmon", "version"), "v1.1.0")
	waitValue(t, b, 9090, `count(prometheus_build_info{branch="clanmon-v1.1.0"})`, "1")
	require.Contains(t, sh(b, "tr '\\0' ' ' < /proc/$(systemctl show -P MainPID clanmon)/cmdline"), "--retention 90d")
	after, err := instant(b, 9090, `count_over_time(up{job="node"}[1h])`)
	require.NoError(t, err)
	require.GreaterOrEqual(t, after, before)
	// What was disabled stays off.
	sh(b, "systemctl disable --now clanmon-exporter; dpkg -i /packages/new/clanmon-exporter_amd64.deb")
	require.Equal(t, "inactive", strings.TrimSpace(sh(b, "systemctl is-active clanmon-exporter || true")))

	// systemd holds the port.
	sh(b, `systemctl stop clanmon; sed -i 's/^ARGS=.*/ARGS="--web.systemd-socket"/' /etc/default/clanmon; systemctl enable --now clanmon.socket`)
	b.Exec("curl", "-sSf", "localhost:9090/-/healthy")
	harness.Eventually(t, harness.Patience, func() error {
		_, err := b.Try("systemctl", "is-active", "clanmon.service")
		return err
	})

	// Removed: settings and data stay, and come back into use.
	sh(b, "dpkg -r clanmon clanmon-exporter")
	require.Equal(t, []string{
		"/etc/default/clanmon", "/etc/default/clanmon-exporter",
		"/etc/systemd/system/multi-user.target.wants/clanmon.service", "/etc/systemd/system/sockets.target.wants/clanmon.socket",
		"/var/lib/clanmon", "/var/lib/clanmon-exporter",
	}, sorted(left(b)))
	sh(b, "rm /etc/systemd/system/sockets.target.wants/clanmon.socket; sed -i '/^ARGS/d' /etc/default/clanmon; dpkg -i /packages/new/clanmon_amd64.deb")
	waitValue(t, b, 9090, `count_over_time(up{job="node"}[1h]) >= bool `+before, "1")

	// Purged: data stay unless somebody says so.
	said = sh(b, "DEBIAN_FRONTEND=noninteractive dpkg -P clanmon clanmon-exporter 2>&1")
	require.Contains(t, said, "/var/lib/clanmon was kept")
	require.Equal(t, []string{"/var/lib/clanmon"}, sorted(left(b)))
	sh(b, "dpkg -i /packages/new/clanmon_amd64.deb")
	sh(b, "echo clanmon clanmon/delete-data boolean true | debconf-set-selections; dpkg -P clanmon")
	require.Empty(t, left(b))
}

func sorted(lines string) []string {
	f := strings.Fields(lines)
	slices.Sort(f)
	return f
}

func TestPackageOnMachinesThatDoNotSuit(t *testing.T) {
	t.Parallel()
	b := newMachine(t)
	const deb = "/packages/new/clanmon_amd64.deb"

	out, err := b.Try("sh", "-c", "dpkg-deb -R /packages/new/clanmon-exporter_amd64.deb /tmp/x && sed -i 's/^Architecture:.*/Architecture: arm64/' /tmp/x/DEBIAN/control && dpkg-deb -Znone -b /tmp/x /tmp/arm64.deb >/dev/null && dpkg -i /tmp/arm64.deb")
	require.Error(t, err)
	require.Contains(t, out, "package architecture (arm64) does not match system (amd64)")
	require.Empty(t, left(b), "wrong architecture")

	out, err = b.Try("unshare", "-m", "sh", "-c", "mount -o remount,ro,bind / && dpkg -i "+deb)
	require.Error(t, err)
	require.Contains(t, out, "Read-only file system")
	require.Empty(t, left(b), "read-only root")

	out, err = b.Try("sh", "-c", "mkdir /small && mount -t tmpfs -o size=40m tmpfs /small && mkdir -p /small/var/lib/dpkg/updates /small/var/lib/dpkg/info && touch /small/var/lib/dpkg/status && dpkg --root=/small --unpack "+deb)
	require.Error(t, err)
	require.Contains(t, out, "No space left on device")
	require.Empty(t, sh(b, "find /small/usr/bin /small/etc -name 'clanmon*' 2>/dev/null || true"), "disk too small")

	said := sh(b, "unshare -m sh -ec 'mount -t tmpfs tmpfs /run/systemd; dpkg -i "+deb+" 2>&1'")
	require.Contains(t, said, "systemd does not run here, so nothing is started. By hand, as the user clanmon:")
	by := regexp.MustCompile(`clanmon:   (clanmon server .*)\n`).FindStringSubmatch(said)
	require.NotNil(t, by, said)
	sh(b, "install -d -o clanmon /var/lib/clanmon; setpriv --reuid clanmon --clear-groups "+by[1]+" >/dev/null 2>&1 & curl -sSf --retry 30 --retry-delay 1 --retry-all-errors localhost:9090/-/ready; kill $!")
	sh(b, "dpkg -P clanmon; rm -r /var/lib/clanmon")

	// The port belongs to somebody else, also after the next boot.
	sh(b, "systemd-run --unit other -p StateDirectory=other /opt/clanmon/clanmon server --storage.tsdb.path=/var/lib/other; curl -sSf --retry 30 --retry-delay 1 --retry-all-errors localhost:9090/-/ready")
	said = sh(b, "dpkg -i "+deb+" 2>&1")
	require.Contains(t, said, "port 9090 is in use, so the service is neither enabled nor started.")
	require.Contains(t, said, "--web.listen-address=:PORT in /etc/default/clanmon")
	require.Equal(t, "inactive disabled other:active", strings.TrimSpace(sh(b, "echo $(systemctl is-active clanmon) $(systemctl is-enabled clanmon) other:$(systemctl is-active other)")))
	sh(b, `sed -i 's/^ARGS=.*/ARGS="--web.listen-address=:9097"/' /etc/default/clanmon; systemctl enable --now clanmon; curl -sSf localhost:9097/-/ready`)
}

// Debian's own packages, with flags, rules and blocks, are continued, and may then be
// purged.
func TestPackageTakesOverDebiansPrometheus(t *testing.T) {
	t.Parallel()
	harness.Tool(t, "/usr/bin/prometheus", "prometheus")
	harness.Tool(t, "/usr/bin/prometheus-node-exporter", "prometheus-node-exporter")
	b := newMachine(t)
	sh(b, `
now=$(date +%s)
at=$(((now - 86400) / 7200 * 7200)) # in one block, which has two hours
printf '# TYPE old_history gauge\nold_history 42 %s\nold_history 43 %s\n# EOF\n' $at $((at + 100)) > /tmp/om
promtool tsdb create-blocks-from openmetrics /tmp/om /var/lib/prometheus/metrics2
chown -R prometheus:prometheus /var/lib/prometheus
cat > /etc/default/prometheus <<'EOF'
ARGS="--storage.tsdb.retention.time=90d --web.listen-address=127.0.0.1:9095 --web.page-title='My \"page\"' --config.file /etc/prometheus/prometheus.yml"
EOF
mkdir -p /etc/prometheus/rules
printf 'groups:\n- name: g\n  interval: 1s\n  rules:\n  - record: ruled\n    expr: vector(7)\n' > /etc/prometheus/rules/a.yml
chmod 640 /etc/prometheus/rules/a.yml; chgrp prometheus /etc/prometheus/rules/a.yml
cat > /etc/prometheus/prometheus.yml <<'EOF'
global: {scrape_interval: 1s}
rule_files: [/etc/prometheus/rules/*.yml]
scrape_configs:
- job_name: node
  static_configs: [{targets: ['localhost:9100']}]
EOF
cat > /etc/default/prometheus-node-exporter <<'EOF'
ARGS="--collector.filesystem.mount-points-exclude='^/(dev|proc|sys)($|/)' --no-collector.hwmon"
EOF
echo 'from_a_text 5' > /var/lib/prometheus/node-exporter/a.prom
systemctl enable --now prometheus prometheus-node-exporter 2>&1`)
	waitValue(t, b, 9095, `count_over_time(up{job="node"}[1h]) >= bool 3`, "1")

	said := sh(b, "dpkg -i /packages/new/clanmon_amd64.deb /packages/new/clanmon-exporter_amd64.deb 2>&1")
	for _, rival := range []string{"prometheus", "prometheus-node-exporter"} {
		require.Contains(t, said, rival+" runs here, so the service is neither enabled nor started.")
	}
	undisturbed := func(why string) {
		t.Helper()
		require.Equal(t, "active\nactive\n", b.Exec("systemctl", "is-active", "prometheus", "prometheus-node-exporter"), why)
		require.NotEqual(t, "active", strings.TrimSpace(sh(b, "systemctl is-active clanmon || true")), why)
		require.Empty(t, sh(b, "ls -d /etc/clanmon/prometheus.yml /var/lib/clanmon/wal /etc/default/clanmon.before-takeover 2>/dev/null || true"), why)
		_, err := instant(b, 9095, "last_over_time(old_history[3d])")
		require.NoError(t, err, why)
	}
	refuses := func(why, script, says string) {
		t.Helper()
		out, err := b.Try("sh", "-c", script)
		require.Error(t, err, why)
		require.Contains(t, out, says, why)
	}
	undisturbed("installed beside it")

	refuses("disk too small", "install -d /var/lib/clanmon; mount -t tmpfs -o size=64k tmpfs /var/lib/clanmon; clanmon-takeover; code=$?; umount /var/lib/clanmon; exit $code", "MiB left, and ")
	undisturbed("disk too small")
	refuses("a flag of old", "cp /etc/default/prometheus /tmp/args; sed -i 's/^ARGS=\"/&--storage.tsdb.allow-overlapping-blocks /' /etc/default/prometheus; clanmon-takeover; code=$?; cp /tmp/args /etc/default/prometheus; exit $code", "allow-overlapping-blocks")
	undisturbed("a flag of old")
	refuses("a broken file", "cp /etc/prometheus/prometheus.yml /tmp/yml; echo 'scrape_confgs: []' >> /etc/prometheus/prometheus.yml; clanmon-takeover; code=$?; cp /tmp/yml /etc/prometheus/prometheus.yml; exit $code", "scrape_confgs")
	undisturbed("a broken file")
	refuses("not a data directory", "clanmon-takeover /etc", "neither a WAL nor a block")
	refuses("in use", "clanmon-takeover /var/lib/prometheus/metrics2", "is in use")
	refuses("data of its own", "mkdir -p /var/lib/clanmon/wal; clanmon-takeover; code=$?; rmdir /var/lib/clanmon/wal; exit $code", "has data already")
	undisturbed("data of its own")
	// The server does not start: everything is as it was.
	refuses("no start", "mkdir -p /run/systemd/system/clanmon.service.d; printf '[Service]\nRestart=no\nExecStart=\nExecStart=/bin/false\n' > /run/systemd/system/clanmon.service.d/x.conf; systemctl daemon-reload; clanmon-takeover; code=$?; rm -r /run/systemd/system/clanmon.service.d; systemctl daemon-reload; exit $code", "prometheus runs again as it did")
	require.Equal(t, "active\n", b.Exec("systemctl", "is-active", "prometheus"))
	undisturbed("no start")
	// Killed half way: clanmon does not start on half a history, and the next run is whole.
	sh(b, "rm -rf /var/lib/clanmon/*; mkdir -p /var/lib/clanmon/.takeover; cp -al /var/lib/prometheus/metrics2/01* /var/lib/clanmon/.takeover/; cp -al /var/lib/prometheus/metrics2/01* /var/lib/clanmon/")
	refuses("interrupted", "systemctl start clanmon", "ssert")

	counted, err := instant(b, 9095, `count_over_time(up{job="node"}[1h])`)
	require.NoError(t, err)
	said = sh(b, "clanmon-takeover 2>&1")
	require.Contains(t, said, "1 blocks of /var/lib/prometheus/metrics2 as hard links")
	require.Contains(t, sh(b, "clanmon-exporter-takeover 2>&1"), "done")
	require.Equal(t, "inactive inactive active active", strings.TrimSpace(sh(b, "echo $(systemctl is-active prometheus prometheus-node-exporter clanmon clanmon-exporter)")))
	require.Equal(t, "disabled disabled enabled enabled", strings.TrimSpace(sh(b, "echo $(systemctl is-enabled prometheus prometheus-node-exporter clanmon clanmon-exporter)")))
	require.Equal(t, "/usr/bin/clanmon|server|--storage.tsdb.path=/var/lib/clanmon|--storage.tsdb.retention.time=90d|--web.listen-address=127.0.0.1:9095|--web.page-title=My \"page\"|--config.file|/etc/clanmon/prometheus.yml|",
		sh(b, "tr '\\0' '|' < /proc/$(systemctl show -P MainPID clanmon)/cmdline"))
	require.Equal(t, "/usr/bin/clanmon-exporter|--collector.filesystem.mount-points-exclude=^/(dev|proc|sys)($|/)|--no-collector.hwmon|--collector.textfile.directory=/var/lib/prometheus/node-exporter|",
		sh(b, "tr '\\0' '|' < /proc/$(systemctl show -P MainPID clanmon-exporter)/cmdline"))
	b.WaitMetric("http://localhost:9100/metrics", "from_a_text", 5)
	continued := func() {
		t.Helper()
		waitValue(t, b, 9095, "last_over_time(old_history[3d])", "43")
		waitValue(t, b, 9095, "ruled", "7")
		waitValue(t, b, 9095, `count_over_time(up{job="node"}[1h]) >= bool `+counted, "1")
		waitValue(t, b, 9095, `up{job="node"}`, "1")
	}
	continued()
	sh(b, "DEBIAN_FRONTEND=noninteractive apt-get -qq purge -y prometheus prometheus-node-exporter")
	require.NotContains(t, sh(b, "ls /var/lib/prometheus 2>&1 || true"), "metrics2\n")
	sh(b, "systemctl restart clanmon clanmon-exporter")
	continued()
}

func TestPackageForRPM(t *testing.T) {
	t.Parallel()
	harness.Tool(t, "rpm", "rpm")
	b := newMachine(t)
	const rpms = "clanmon.x86_64.rpm clanmon-exporter.x86_64.rpm"
	for _, name := range []string{"clanmon", "clanmon-exporter"} {
		var debs []string
		for line := range strings.Lines(sh(b, "dpkg-deb -c /packages/new/"+name+"_amd64.deb")) {
			if f := strings.Fields(line); !strings.HasSuffix(f[5], "/") {
				debs = append(debs, f[0]+" "+strings.Replace(strings.TrimPrefix(f[5], "."), "vendor-completions", "site-functions", 1))
			}
		}
		var got []string
		for line := range strings.Lines(sh(b, "rpm -qp --qf '[%{FILEMODES:perms} %{FILENAMES}\n]' /packages/new/"+name+".x86_64.rpm")) {
			if line[0] != 'd' {
				got = append(got, strings.TrimSpace(line))
			}
		}
		require.ElementsMatch(t, debs, got)
		require.Equal(t, "/etc/default/"+name+"\n", sh(b, "rpm -qpc /packages/new/"+name+".x86_64.rpm"))
	}
	said := sh(b, "cd /packages/old; rpm -U --nodeps "+rpms+" 2>&1")
	require.Contains(t, said, "systemctl enable --now clanmon\n")
	require.Equal(t, "disabled\n", sh(b, "systemctl is-enabled clanmon || true"), "an rpm starts nothing by itself")
	sh(b, "systemctl enable --now clanmon clanmon-exporter")
	waitValue(t, b, 9090, `sum(up)`, "3")
	sh(b, `echo '# mine' >> /etc/default/clanmon; cd /packages/new; rpm -U --nodeps `+rpms)
	require.Contains(t, b.Exec("clanmon", "version"), "v1.1.0")
	waitValue(t, b, 9090, `count(prometheus_build_info{branch="clanmon-v1.1.0"})`, "1")
	require.Contains(t, b.Exec("cat", "/etc/default/clanmon"), "# mine")
	sh(b, "rpm -e --nodeps clanmon clanmon-exporter")
	require.Equal(t, []string{"/etc/default/clanmon.rpmsave", "/var/lib/clanmon"}, sorted(left(b)))
}
