package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/prometheus/common/promslog"
	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/cmd/internal/cli"
)

// warned are the warnings of a server with these flags in an empty directory.
func warned(t *testing.T, args ...string) string {
	t.Helper()
	c := newServerCommand(cli.Env{Stdout: &bytes.Buffer{}, Stderr: &bytes.Buffer{}}).(*serverCommand)
	require.NoError(t, c.Parse(args))
	var log bytes.Buffer
	c.warn(promslog.New(&promslog.Config{Writer: &log}))
	return log.String()
}

func TestOfTwoRetentionFlagsTheLastWins(t *testing.T) {
	file := "--config.file=x"
	require.Empty(t, warned(t, file, "--retention=30d"))
	require.Empty(t, warned(t, file, "--storage.tsdb.retention.time=30d", "--storage.tsdb.retention.size=1GB"))
	require.Contains(t, warned(t, file, "--retention=30d", "--storage.tsdb.retention.time=10d"), "wins=--storage.tsdb.retention.time retention=10d")
	require.Contains(t, warned(t, file, "--storage.tsdb.retention.time=10d", "--retention=30d"), "wins=--retention retention=30d")
}

// A unit that relied on a distribution's defaults does not start an empty server
// without a word.
func TestDefaultsOfDistributions(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(t.TempDir())
	here, err := os.Getwd()
	require.NoError(t, err)
	config, data := filepath.Join(dir, "prometheus.yml"), filepath.Join(dir, "metrics2")
	usual := [][]string{usualConfigs, usualData}
	t.Cleanup(func() { usualConfigs, usualData = usual[0], usual[1] })
	usualConfigs, usualData = []string{filepath.Join(dir, "none.yml"), config}, []string{filepath.Join(dir, "none"), data}
	require.Empty(t, warned(t), "nothing of Prometheus is here")

	require.NoError(t, os.WriteFile(config, []byte("{}"), 0o600))
	require.NoError(t, os.MkdirAll(filepath.Join(data, "wal"), 0o700))
	said := warned(t)
	require.Contains(t, said, "not_found="+filepath.Join(here, "prometheus.yml"))
	require.Contains(t, said, "--config.file="+config)
	require.Contains(t, said, "--storage.tsdb.path="+data)
	require.NotContains(t, warned(t, "--storage.tsdb.path=x"), "--storage.tsdb.path="+data)
	require.Empty(t, warned(t, "--config.file="+config))
	require.Empty(t, warned(t, "--discovery.inventory=x"), "chosen, not forgotten")
	require.NoError(t, os.MkdirAll("data/wal", 0o700))
	require.NotContains(t, warned(t), "--storage.tsdb.path=", "the second start has data of its own")
	require.NoError(t, os.WriteFile("prometheus.yml", []byte("{}"), 0o600))
	require.Empty(t, warned(t))
}

func TestRoutePrefixAloneIsThePathOfLinks(t *testing.T) {
	for _, tc := range []struct{ external, prefix, path, route string }{
		{"", "", "", "/"},
		{"", "/prom/", "/prom", "/prom"},
		{"http://h/x", "", "/x", "/x"},
		{"http://h/", "/prom", "", "/prom"}, // a proxy maps one on the other
		{"http://h/x", "/", "/x", "/"},
	} {
		c := newServerCommand(cli.Env{Stdout: &bytes.Buffer{}, Stderr: &bytes.Buffer{}}).(*serverCommand)
		require.NoError(t, c.Parse([]string{"--web.external-url=" + tc.external, "--web.route-prefix=" + tc.prefix}))
		require.Equal(t, tc.path, c.opts.Web.ExternalURL.Path, "%v", tc)
		require.Equal(t, tc.route, c.opts.Web.RoutePrefix, "%v", tc)
	}
}

func TestVersionInUpstreamsForm(t *testing.T) {
	for role, want := range map[string]string{
		"server":   `^prometheus, version \d+\.\d+\.\d+\S* \(branch: clanmon-`,
		"exporter": `^node_exporter, version \d+\.\d+\.\d+\S* \(branch: clanmon-`,
	} {
		r := clanmon(t, "", role, "--version")
		require.Zero(t, r.code)
		require.Regexp(t, want, r.stdout+r.stderr)
		require.Contains(t, r.stdout+r.stderr, "go version:")
	}
	for name, want := range map[string]string{
		"node_exporter": "node_exporter", "systemd_exporter": "systemd_exporter", "postgres_exporter": "postgres_exporter",
		"redis_exporter": "redis_exporter", "nginx-prometheus-exporter": "nginx_exporter",
	} {
		var out, errs bytes.Buffer
		require.Zero(t, run([]string{"/usr/bin/" + name, "--version"}, cli.Env{Stdout: &out, Stderr: &errs}), errs.String())
		require.Regexp(t, "^"+want+`, version \d+\.\d+\.\d+\S* \(branch: clanmon-`, out.String(), name)
	}
}

func TestFlagsHideThePasswordOfTheExternalURL(t *testing.T) {
	for given, shown := range map[string]string{
		"https://reader:geheim@mon.example.org": "https://reader:xxxxx@mon.example.org",
		"https://mon.example.org/":              "https://mon.example.org/",
	} {
		c := newServerCommand(cli.Env{Stdout: &bytes.Buffer{}, Stderr: &bytes.Buffer{}}).(*serverCommand)
		require.NoError(t, c.Parse([]string{"--web.external-url=" + given}))
		require.Equal(t, shown, c.opts.Web.Flags["web.external-url"])
	}
}
