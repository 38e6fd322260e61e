package server

import (
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/prometheus/web"
	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/discovery"
	"github.com/clanmon/clanmon/server/engine"
)

func settingsFile(t *testing.T, text string) discovery.Flags {
	file := filepath.Join(t.TempDir(), "settings.yml")
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	return discovery.Flags{SettingsFile: file}
}

// Push, backfill and the engine for history may be in the settings. A flag takes precedence,
// also with its default.
func TestOptionsInTheSettings(t *testing.T) {
	const text = `
push: {enable: true, availability: always, seriesLimit: 7}
backfill: {enable: true, maxAge: 48h}
query: {url: "http://mimir/prometheus", dialect: mimir, configFile: query.yml}
`
	flags := func() map[string]string {
		return map[string]string{"push": "false", "backfill": "auto", "backfill.max-age": "1d", "query.dialect": "prometheus"}
	}
	o := Options{Discovery: settingsFile(t, text), Web: web.Options{Flags: flags()}}
	require.NoError(t, o.readSettings())
	require.Equal(t, PushOptions{Enabled: true, Availability: "always", MaxSeries: 7}, o.Push)
	require.Equal(t, BackfillOptions{Mode: "on", MaxAge: 48 * time.Hour}, o.Backfill)
	require.Equal(t, engine.Settings{
		URL: &url.URL{Scheme: "http", Host: "mimir", Path: "/prometheus"}, Dialect: engine.Mimir,
		ConfigFile: filepath.Join(filepath.Dir(o.Discovery.SettingsFile), "query.yml"),
	}, o.Query.History)
	require.Equal(t, map[string]string{"push": "true", "backfill": "on", "backfill.max-age": "2d", "query.dialect": "mimir"}, o.Web.Flags)

	o = Options{
		Discovery: settingsFile(t, text), Web: web.Options{Flags: flags()},
		Given:    []string{"--push.availability", "--push.series-limit", "--backfill", "--backfill.max-age", "--query.url", "--query.dialect", "--query.config-file"},
		Push:     PushOptions{Availability: "intermittent", MaxSeries: 50000},
		Backfill: BackfillOptions{Mode: "auto", MaxAge: time.Hour},
		Query:    QueryOptions{History: engine.Settings{URL: &url.URL{Scheme: "http", Host: "other"}, Dialect: engine.Prometheus}},
	}
	want := o
	want.Push.Enabled = true
	require.NoError(t, o.readSettings())
	require.Equal(t, want.Push, o.Push)
	require.Equal(t, want.Backfill, o.Backfill)
	require.Equal(t, want.Query, o.Query)

	o = Options{Discovery: settingsFile(t, "backfill: {enable: false}"), Backfill: BackfillOptions{Mode: "auto", MaxAge: time.Hour}}
	require.NoError(t, o.readSettings())
	require.False(t, o.fills(true, false))
}

func TestInvalidOptionsInTheSettings(t *testing.T) {
	for text, want := range map[string]string{
		"push: {enable: true, availability: sometimes}":           `push.availability: "sometimes" must be always or intermittent`,
		"push: {seriesLimit: -1}":                                 "a number of 0 or more",
		"backfill: {enable: auto}":                                "true or false",
		"backfill: {maxAge: two days}":                            "two days",
		"query: {dialect: mimir}":                                 "query: url is missing",
		"query: {url: 'http://me:s3cret@mimir'}":                  "query.url: the URL must not contain a user or password",
		"query: {url: mimir}":                                     `query.url: "mimir" must be http://HOST/PATH`,
		"query: {url: 'http://mimir', dialect: influx}":           `query.dialect: "influx" must be one of prometheus, `,
		"query: {url: 'http://mimir', configFile: /not/there}":    `query.configFile: "/not/there"`,
		"query: {url: 'http://mimir', user: me}":                  "query.{url,dialect,configFile}",
		"push: {enable: true}\nquery: {url: 'http://mimir/tsdb'}": "",
	} {
		err := CheckSettings(settingsFile(t, text).SettingsFile, false)
		if want == "" {
			require.NoError(t, err, text)
			continue
		}
		require.ErrorContains(t, err, want, text)
		require.NotContains(t, err.Error(), "s3cret")
	}
	require.NoError(t, CheckSettings(settingsFile(t, "query: {url: 'http://mimir', configFile: /not/there}").SettingsFile, true), "syntax only")
	for _, text := range []string{"push: {enable: true}", "query: {url: 'http://mimir'}"} {
		o := Options{Agent: true, Discovery: settingsFile(t, text)}
		require.ErrorContains(t, o.readSettings(), "cannot be used in agent mode", text)
	}
}
