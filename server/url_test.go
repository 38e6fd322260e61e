package server_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/internal/testport"
	"github.com/clanmon/clanmon/server"
	"github.com/clanmon/clanmon/server/servertest"
)

// The password of the external URL is in generatorURL, as Prometheus sends it, and nowhere else.
func TestThePasswordOfTheExternalURL(t *testing.T) {
	t.Parallel()
	bodies := make(chan string, 1)
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		select {
		case bodies <- string(body):
		default:
		}
	}))
	t.Cleanup(hook.Close)
	dir := t.TempDir()
	rules, receivers := filepath.Join(dir, "rules.yml"), filepath.Join(dir, "alertmanager.yml")
	require.NoError(t, os.WriteFile(rules, []byte(`groups: [{name: g, rules: [{alert: A, expr: vector(1), annotations: {link: "{{ externalURL }}/here"}}]}]`), 0o600))
	require.NoError(t, os.WriteFile(receivers, fmt.Appendf(nil, "route: {receiver: r, group_wait: 0s}\nreceivers: [{name: r, webhook_configs: [{url: %q}]}]\n", hook.URL), 0o600))
	s := servertest.Start(t, fmt.Sprintf("global: {evaluation_interval: 100ms}\nrule_files: [%q]\n", rules), func(o *server.Options) {
		o.Web.ExternalURL, _ = url.Parse("https://reader:geheim@mon.example.org")
		o.Delivery.ConfigFile = receivers
		o.Delivery.Cluster.ListenAddress = testport.Address(t)
	})
	var body string
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		select {
		case body = <-bodies:
		default:
		}
		assert.NotEmpty(c, body)
	}, waitFor, tick)
	var sent struct {
		ExternalURL string
		Alerts      []struct {
			GeneratorURL string
			Annotations  map[string]string
		}
	}
	require.NoError(t, json.Unmarshal([]byte(body), &sent))
	require.Equal(t, "https://mon.example.org", sent.ExternalURL)
	require.Equal(t, "https://mon.example.org/here", sent.Alerts[0].Annotations["link"])
	require.True(t, strings.HasPrefix(sent.Alerts[0].GeneratorURL, "https://reader:geheim@mon.example.org/graph?"), sent.Alerts[0].GeneratorURL)
	require.Equal(t, 1, strings.Count(body, "geheim"), body)

	_, pair := s.Get("/api/clanmon/v1/pair")
	require.Contains(t, pair, `"url":"https://mon.example.org"`)
	for _, path := range []string{"/api/clanmon/v1/pair", "/api/v1/alerts", "/api/v1/rules", "/api/v1/status/config", "/alerts"} {
		_, text := s.Get(path)
		require.NotContains(t, text, "geheim", path)
	}
	require.NotContains(t, s.Log.String(), "geheim")
}
