package postgres

import (
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/exporter/collector/collectortest"
	"github.com/clanmon/clanmon/exporter/internal/flagbound"
)

// Against no server at all; the real one is asked in e2e.
func TestDown(t *testing.T) {
	require.NoError(t, flagbound.Parse(nil))
	t.Setenv("DATA_SOURCE_NAME", "host="+t.TempDir()+" user=x")
	s, err := New(Config{}, collectortest.Discard())
	require.NoError(t, err)
	families := collectortest.Gather(t, s, nil)
	require.Zero(t, families["pg_up"].Metric[0].Gauge.GetValue())
	require.Equal(t, 1.0, families["pg_exporter_last_scrape_error"].Metric[0].Gauge.GetValue())
	require.NotNil(t, families["postgres_exporter_config_last_reload_successful"])
	require.NoError(t, s.Close())
}

// Upstream's package puts two metrics into the registry that the server exposes.
func TestGlobalRegistryIsLeftAlone(t *testing.T) {
	all, err := prometheus.DefaultGatherer.Gather()
	require.NoError(t, err)
	for _, f := range all {
		require.NotContains(t, f.GetName(), "postgres_exporter")
	}
}

func TestDataSources(t *testing.T) {
	environment := func(pairs map[string]string) func(string) string {
		return func(name string) string { return pairs[name] }
	}
	file := filepath.Join(t.TempDir(), "dsn")
	require.NoError(t, os.WriteFile(file, []byte("postgres://a@b/c\n"), 0o600))
	for name, tc := range map[string]struct {
		config Config
		env    map[string]string
		want   string
	}{
		"socket":   {Config{}, nil, "host=/run/postgresql dbname=postgres"},
		"PGHOST":   {Config{}, map[string]string{"PGHOST": "db"}, "dbname=postgres"},
		"database": {Config{}, map[string]string{"PGDATABASE": "x"}, "host=/run/postgresql dbname=x"},
		"file":     {Config{DSNFile: file}, map[string]string{"PGHOST": "db"}, "postgres://a@b/c"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := tc.config.dataSources(environment(tc.env))
			require.NoError(t, err)
			require.Equal(t, []string{tc.want}, got)
		})
	}
}

func TestConnectTimeout(t *testing.T) {
	for dsn, want := range map[string]string{
		"host=a":                               "host=a connect_timeout=5",
		"host=a connect_timeout=1":             "host=a connect_timeout=1",
		"postgres://a/b":                       "postgres://a/b?connect_timeout=5",
		"postgresql://a/b?sslmode=disable":     "postgresql://a/b?sslmode=disable&connect_timeout=5",
		"postgres://a/b?connect_timeout=9&x=y": "postgres://a/b?connect_timeout=9&x=y",
	} {
		require.Equal(t, want, withConnectTimeout(dsn))
	}
}

func TestPasswordsAreScrubbed(t *testing.T) {
	const secret = "p@ss w/rd&1"
	for _, dsn := range []string{
		"postgres://user:p%40ss%20w%2Frd%261@h/d",
		"postgres://h/d?password=" + url.QueryEscape(secret),
		"host=h password='" + secret + "' user=u",
	} {
		scrub := scrubber([]string{dsn})
		require.NotContains(t, scrub("x "+secret+" x"), secret)
		require.NotRegexp(t, "rd(&|%26)1", scrub("malformed "+dsn))
		require.Equal(t, "connection refused", scrub("connection refused"))
	}
	require.Equal(t, "same", scrubber([]string{"postgres://h/d"})("same"))
}
