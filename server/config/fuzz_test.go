package config

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/prometheus/prometheus/promql/parser"
	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/discovery"
)

// FuzzSettings reads settings of a clan. What is taken becomes a configuration that
// upstream's parser takes; the rest is an error of the operator's, not of a server
// that runs.
func FuzzSettings(f *testing.F) {
	for _, text := range []string{
		`{"discoveryMethod": ["static"], "staticTargets": {"node": ["a@10.0.0.1:9100", "b.example.org"]}}`,
		`{"discoveryMethod": "dns", "dnsDiscovery": {"node": {"names": ["*.example.org"], "type": "A", "port": 9100}}}`,
		`{"discoveryMethod": ["tailscale"], "tailscale": {"socket": "/run/x", "jobs": ["node:9100@tag:a,b"], "tags": ["a"], "intermittentTags": ["b"]}}`,
		`{"discoveryMethod": ["none"], "additionalScrapeConfigs": [{"job_name": "x", "static_configs": [{"targets": ["a:1"]}]}]}`,
		"discoveryMethod: static\nstaticTargets: {systemd: ['[::1]:9558']}\ntls: {ca: /x, cert: /y, key: /z}\n",
		`enableAutoDiscovery: false`, `{"discoveryMethod": ["static"], "staticTargets": {"a b": ["http://x"]}}`, `[`, `&a [*a]`, "\x00", ``,
	} {
		f.Add([]byte(text))
	}
	dir := f.TempDir()
	file, empty := filepath.Join(dir, "settings.yml"), filepath.Join(dir, "prometheus.yml")
	require.NoError(f, os.WriteFile(empty, []byte("{}"), 0o600))
	f.Fuzz(func(t *testing.T, text []byte) {
		require.NoError(t, os.WriteFile(file, text, 0o600))
		l := NewLoader(Options{File: empty, Discovery: discovery.Flags{SettingsFile: file}, Parser: parser.NewParser(parser.Options{})})
		cfg, err := l.Load(nil)
		if err != nil {
			require.NotEmpty(t, err.Error())
			return
		}
		_, err = cfg.GetScrapeConfigs()
		require.NoError(t, err)
	})
}
