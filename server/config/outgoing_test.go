package config

import (
	"path/filepath"
	"testing"

	"github.com/prometheus/prometheus/config"
	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/discovery"
)

// Samples are sent elsewhere without a file, and beside what a file says.
func TestRemoteWriteAndExternalLabelsByFlag(t *testing.T) {
	t.Chdir(t.TempDir()) // without a prometheus.yml
	receiver, err := ParseReceiver("https://mimir.example.org/api/v1/push")
	require.NoError(t, err)
	site, err := ParseLabel("site=a=b")
	require.NoError(t, err)
	o := Options{RemoteWrite: []Receiver{receiver}, ExternalLabels: []Label{site}}
	o.Local = []LocalJob{{Name: "clanmon", Port: 9090, Socket: "@x"}}
	l := NewLoader(o)
	for range 2 { // a reload does not add them twice
		cfg, err := l.Load(nil)
		require.NoError(t, err)
		require.True(t, l.Managed())
		require.Len(t, cfg.ScrapeConfigs, 1, "zero-configuration stays")
		require.Len(t, cfg.RemoteWriteConfigs, 1)
		require.Equal(t, "https://mimir.example.org/api/v1/push", cfg.RemoteWriteConfigs[0].URL.String())
		require.NoError(t, cfg.RemoteWriteConfigs[0].Validate(cfg.GlobalConfig.MetricNameValidationScheme))
		require.Equal(t, "a=b", cfg.GlobalConfig.ExternalLabels.Get("site"))
	}

	o.Local = nil
	o.File = write(t, "p.yml", "global: {external_labels: {rack: r1}}\nremote_write: [{url: 'http://other/'}]\n")
	cfg, err := NewLoader(o).Load(nil)
	require.NoError(t, err)
	require.Len(t, cfg.RemoteWriteConfigs, 2)
	require.Equal(t, `{rack="r1", site="a=b"}`, cfg.GlobalConfig.ExternalLabels.String())

	for want, text := range map[string]string{
		`--external-label site=a=b: external_labels already has site="home"`:                      "global: {external_labels: {site: home}}",
		"--remote-write https://mimir.example.org/api/v1/push: remote_write already has this URL": "remote_write: [{url: 'https://mimir.example.org/api/v1/push'}]",
	} {
		o.File = write(t, "p.yml", text)
		_, err := NewLoader(o).Load(nil)
		require.ErrorContains(t, err, want)
	}
}

// The settings say the same, with all that remote_write may contain.
func TestRemoteWriteAndExternalLabelsInTheSettings(t *testing.T) {
	t.Chdir(t.TempDir()) // without a prometheus.yml
	load := func(file, settings string) (*config.Config, error) {
		o := Options{Discovery: discovery.Flags{SettingsFile: write(t, "settings.yml", settings)}, ExternalLabels: []Label{{"site", "home"}}}
		if file != "" {
			o.File = write(t, "p.yml", file)
		}
		return NewLoader(o).Load(nil)
	}
	const settings = "externalLabels: {rack: r1, site: home}\nremoteWrite: [{url: 'https://mimir/push', basic_auth: {username: u, password: 0123}, tls_config: {ca_file: ca.pem}}]\n"
	for _, file := range []string{"", "remote_write: [{url: 'http://other/'}]"} {
		cfg, err := load(file, settings)
		require.NoError(t, err)
		require.Equal(t, `{rack="r1", site="home"}`, cfg.GlobalConfig.ExternalLabels.String())
		w := cfg.RemoteWriteConfigs[len(cfg.RemoteWriteConfigs)-1]
		require.Equal(t, "https://mimir/push", w.URL.String())
		require.EqualValues(t, "0123", w.HTTPClientConfig.BasicAuth.Password)
		require.True(t, filepath.IsAbs(w.HTTPClientConfig.TLSConfig.CAFile), "beside the settings")
		require.NoError(t, w.Validate(cfg.GlobalConfig.MetricNameValidationScheme))
	}
	for want, c := range map[string][2]string{
		`externalLabels: site=away: external_labels already has site="home"`: {"", "externalLabels: {site: away}"},
		`externalLabels: "a b=c" must be NAME=VALUE`:                         {"", "externalLabels: {a b: c}"},
		"remoteWrite https://mimir/push: remote_write already has this URL":  {"remote_write: [{url: 'https://mimir/push'}]", settings},
		"remoteWrite: ": {"", "remoteWrite: [{uri: x}]"},
	} {
		_, err := load(c[0], c[1])
		require.ErrorContains(t, err, want)
		require.ErrorContains(t, err, "--clan.settings \"")
	}
}

func TestWrongReceiversAndLabels(t *testing.T) {
	for text, want := range map[string]string{
		"mimir:9009":           "must be http://HOST/PATH",
		"http:///push":         "must be http://HOST/PATH",
		"https://u:s3cret@h/":  "must not contain a user or password",
		"https://h/%zz s3cret": "not a URL",
		"u:s3cret@h:9009":      "must not contain a user or password",
		"https://h/w?t=s3cret": "must not have a query or fragment",
		"h/w?t=s3cret":         "write remote_write in the configuration file",
		"https://h/w#s3cret":   "must not have a query or fragment",
	} {
		_, err := ParseReceiver(text)
		require.ErrorContains(t, err, want, text)
		require.NotContains(t, err.Error(), "s3cret")
	}
	for _, text := range []string{"site", "=x", "site=", "a b=c", "__name__=x"} {
		_, err := ParseLabel(text)
		require.ErrorContains(t, err, "must be NAME=VALUE, such as site=home", text)
	}
}
