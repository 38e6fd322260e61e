package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/e2e/harness"
)

// The calls of Grafana's data source for Prometheus, as Grafana's own server
// makes them: under whatever name it knows the server by, with what a browser
// sent it passed on in part. All of them answer, and none is taken for a browser.
func TestGrafanaDataSource(t *testing.T) {
	t.Parallel()
	exporter := harness.StartKinds(t, []string{"node"}, nil)
	s := harness.StartServer(t, harness.ServerOptions{
		Config: "global: {scrape_interval: 1s}\nrule_files: [rules.yml]\n",
		Files:  map[string]string{"rules.yml": "groups: [{name: g, rules: [{record: a:b, expr: vector(1)}]}]"},
		Args:   []string{"--discovery.static=node=box@" + exporter.Addr["node"], "--enable-feature=exemplar-storage"},
	})
	s.WaitValue(`count(rate(node_cpu_seconds_total{mode="idle"}[5s])) > bool 0`, 1)
	now := time.Now()
	at := func(d time.Duration) string { return fmt.Sprint(now.Add(d).Unix()) }
	span := "&start=" + at(-time.Minute) + "&end=" + at(5*time.Second)
	expr := url.QueryEscape(`sum by (mode) (rate(node_cpu_seconds_total{instance=~"box:.*",job="node"}[5s]))`)
	for _, call := range []struct {
		method, path, form string
		want               string // what is in the data
	}{
		{"GET", "/api/v1/status/buildinfo", "", `"version":"3.16.0"`},
		{"GET", "/api/v1/query?query=1%2B1&time=" + at(0), "", `"2"`},
		{"POST", "/api/v1/query", "query=1%2B1&time=" + at(0), `"2"`},
		{"POST", "/api/v1/query", "query=up&time=" + at(0), `"machine":"box"`},
		{"GET", "/api/v1/query_range?query=up&step=15" + span, "", `"matrix"`},
		{"POST", "/api/v1/query_range", "query=" + expr + "&step=1" + span, `"mode":"idle"`},
		{"GET", "/api/v1/labels?" + span[1:], "", `"machine"`},
		{"POST", "/api/v1/labels", "match[]=up" + span, `"instance"`},
		{"GET", "/api/v1/label/__name__/values?" + span[1:], "", `"node_load1"`},
		{"GET", "/api/v1/label/instance/values?match[]=node_uname_info" + span, "", `"box:`},
		{"GET", "/api/v1/series?match[]=node_uname_info" + span, "", `"nodename"`},
		{"POST", "/api/v1/series", "match[]=node_uname_info" + span, `"nodename"`},
		{"GET", "/api/v1/metadata", "", `"node_load1"`},
		{"GET", "/api/v1/rules", "", `"a:b"`},
		{"GET", "/api/v1/query_exemplars?query=up" + span, "", "[]"},
		{"POST", "/api/v1/query_exemplars", "query=up" + span, "[]"},
		{"GET", "/api/v1/alerts", "", `"alerts"`},
		{"GET", "/api/v2/alerts/groups", "", ""}, // the data source for Alertmanager
		{"GET", "/api/v2/silences", "", ""},
	} {
		// The proxy of Grafana calls itself so, takes Origin away, and passes the rest on.
		for _, header := range []http.Header{
			{"User-Agent": {"Grafana/12.2.0"}},
			{"User-Agent": {"Grafana/9.0.0"}, "Accept-Language": {"en-GB,en;q=0.5"}, "Sec-Fetch-Site": {"same-origin"}, "Sec-Fetch-Mode": {"cors"}, "X-Forwarded-For": {"10.0.0.7"}},
		} {
			req, err := http.NewRequest(call.method, s.URL+call.path, strings.NewReader(call.form))
			require.NoError(t, err)
			req.Host, req.Header = "prometheus.monitoring.svc:9090", header.Clone()
			if call.form != "" {
				req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			}
			a, err := s.Do(req)
			require.NoError(t, err)
			require.Equal(t, http.StatusOK, a.Status, "%s %s: %s", call.method, call.path, a.Body)
			require.True(t, json.Valid([]byte(a.Body)), "%s", a.Body)
			require.Contains(t, a.Body, call.want, "%s %s %s", call.method, call.path, call.form)
			if strings.HasPrefix(call.path, "/api/v1/") {
				require.Contains(t, a.Body, `"status":"success"`)
			}
		}
	}
}
