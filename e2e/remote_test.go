package e2e

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang/snappy"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/e2e/harness"
)

var receiving = []string{"--web.enable-remote-write-receiver"}

// What one instance scrapes arrives at another by remote write, in both of its
// versions, from a server and from an agent.
func TestRemoteWrite(t *testing.T) {
	t.Parallel()
	for _, agent := range []bool{false, true} {
		for _, message := range []string{"prometheus.WriteRequest", "io.prometheus.write.v2.Request"} {
			t.Run(fmt.Sprintf("agent=%v %s", agent, message), func(t *testing.T) {
				t.Parallel()
				target := harness.NewTarget(t, "# HELP answer The answer.\n# TYPE answer gauge\nanswer{to=\"all\"} 42\n")
				receiver := harness.StartServer(t, harness.ServerOptions{Config: "global: {}\n", Args: receiving})
				sender := harness.StartServer(t, harness.ServerOptions{Agent: agent, Config: fmt.Sprintf(`
global: {scrape_interval: 1s, external_labels: {from: sender}}
remote_write: [{url: "%s/api/v1/write", protobuf_message: %s}]
scrape_configs: [{job_name: j, static_configs: [{targets: [%q]}]}]
`, receiver.URL, message, target.Host())})
				receiver.WaitValue(`answer{job="j",from="sender",to="all"}`, 42)
				receiver.WaitValue(`up{job="j"}`, 1)
				require.Zero(t, sender.Terminate())
			})
		}
	}
}

// An agent answers what it can and refuses queries, and after a kill it goes on
// in its old directory.
func TestAgentGoesOnAfterAKill(t *testing.T) {
	t.Parallel()
	target := harness.NewTarget(t, "answer 42\n")
	listen := harness.Address(t)
	config := fmt.Sprintf(`
global: {scrape_interval: 1s}
remote_write: [{url: "http://%s/api/v1/write", queue_config: {max_backoff: 1s}}]
scrape_configs: [{job_name: j, static_configs: [{targets: [%q]}]}]
`, listen, target.Host())
	agent := harness.StartServer(t, harness.ServerOptions{Agent: true, Config: config})
	require.Equal(t, "Prometheus Agent is Ready.\n", agent.Get("/-/ready").Body)
	a := agent.Get("/api/v1/query?query=up")
	require.NotEqual(t, http.StatusOK, a.Status)
	require.Contains(t, a.Body, "unavailable with Prometheus Agent")
	appended := "prometheus_agent_samples_appended_total{type=\"float\"}"
	harness.Eventually(t, harness.Patience, func() error {
		n, err := agent.Metric(appended)
		if err != nil {
			return err
		}
		return atLeast(int(n), 10)
	})
	agent.Kill()
	killed := time.Now()

	receiver := harness.StartServer(t, harness.ServerOptions{Config: "global: {}\n", Args: receiving, Listen: listen})
	harness.StartServer(t, harness.ServerOptions{Agent: true, Config: config, Data: agent.Data})
	receiver.WaitValue(`up{job="j"}`, 1)
	receiver.WaitValue(fmt.Sprintf(`count(min_over_time(timestamp(answer)[1h:1s]) < %d)`, killed.Unix()), 1)
}

// Receivers that accept a request and never respond do not hold up a stop: nothing is
// monitored meanwhile. Each would take two minutes.
func TestStopsWhateverReceiversDo(t *testing.T) {
	t.Parallel()
	var waiting atomic.Int32
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		waiting.Add(1)
		<-r.Context().Done()
	}))
	t.Cleanup(receiver.Close)
	target := harness.NewTarget(t, "# TYPE answer gauge\nanswer 42\n")
	s := harness.StartServer(t, harness.ServerOptions{Config: fmt.Sprintf(`
global: {scrape_interval: 1s}
remote_write:
- {url: "%[1]s/1", metadata_config: {send_interval: 1s}, queue_config: {batch_send_deadline: 1s}}
- {url: "%[1]s/2", metadata_config: {send_interval: 1s}, queue_config: {batch_send_deadline: 1s}}
scrape_configs: [{job_name: j, static_configs: [{targets: [%[2]q]}]}]
`, receiver.URL, target.Host())})
	harness.Eventually(t, harness.Patience, func() error { return atLeast(int(waiting.Load()), 4) })
	begin := time.Now()
	require.Zero(t, s.Terminate())
	t.Log("stopped after", time.Since(begin))
}

// A message of remote write 2.0 is answered with the number of samples written,
// which is how a sender knows what it speaks to.
func TestRemoteWrite2Receiver(t *testing.T) {
	t.Parallel()
	s := harness.StartServer(t, harness.ServerOptions{Config: "global: {}\n", Args: receiving})
	raw, err := (&writev2.Request{
		Symbols: []string{"", "__name__", "answer", "to", "all"},
		Timeseries: []writev2.TimeSeries{{
			LabelsRefs: []uint32{1, 2, 3, 4},
			Samples:    []writev2.Sample{{Value: 42, Timestamp: time.Now().UnixMilli()}},
		}},
	}).Marshal()
	require.NoError(t, err)
	req, err := http.NewRequest(http.MethodPost, s.URL+"/api/v1/write", strings.NewReader(string(snappy.Encode(nil, raw))))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/x-protobuf;proto=io.prometheus.write.v2.Request")
	req.Header.Set("Content-Encoding", "snappy")
	req.Header.Set("X-Prometheus-Remote-Write-Version", "2.0.0")
	a, err := s.Do(req)
	require.NoError(t, err)
	require.Equal(t, http.StatusNoContent, a.Status, a.Body)
	require.Equal(t, "1", a.Header.Get("X-Prometheus-Remote-Write-Samples-Written"))
	s.WaitValue(`answer{to="all"}`, 42)
}

// The receivers are closed unless asked for.
func TestReceiversAreOffByDefault(t *testing.T) {
	t.Parallel()
	s := harness.StartServer(t, harness.ServerOptions{Config: "global: {}\n"})
	require.Error(t, s.TryWrite(harness.Series([]prompb.Sample{{Value: 1, Timestamp: time.Now().UnixMilli()}}, "x")))
	require.Equal(t, http.StatusNotFound, s.Post("/api/v1/write", "application/x-protobuf", "").Status)
	require.Equal(t, http.StatusNotFound, s.Post("/api/v1/otlp/v1/metrics", "application/json", "{}").Status)
}

func TestRemoteReadAndFederation(t *testing.T) {
	t.Parallel()
	target := harness.NewTarget(t, "answer 42\n")
	first := harness.StartServer(t, harness.ServerOptions{Config: scrapeConfig("j", target.Host())})
	first.WaitValue("count_over_time(answer[1m]) >= bool 2", 1)

	reader := harness.StartServer(t, harness.ServerOptions{Config: fmt.Sprintf("remote_read: [{url: '%s/api/v1/read', read_recent: true}]\n", first.URL)})
	reader.WaitValue(`answer{job="j"}`, 42)

	federated := harness.StartServer(t, harness.ServerOptions{Config: fmt.Sprintf(`
scrape_configs:
- job_name: federate
  scrape_interval: 1s
  honor_labels: true
  metrics_path: /federate
  params: {"match[]": ['{job="j"}']}
  static_configs: [{targets: [%q]}]
`, strings.TrimPrefix(first.URL, "http://"))})
	federated.WaitValue(`answer{job="j"}`, 42)
}

func TestOTLPReceiver(t *testing.T) {
	t.Parallel()
	s := harness.StartServer(t, harness.ServerOptions{Config: "global: {}\n", Args: []string{"--web.enable-otlp-receiver"}})
	a := s.Post("/api/v1/otlp/v1/metrics", "application/json", fmt.Sprintf(`{"resourceMetrics":[{
  "resource":{"attributes":[{"key":"service.name","value":{"stringValue":"shop"}}]},
  "scopeMetrics":[{"metrics":[{"name":"queue.length","unit":"1","gauge":{"dataPoints":[{"asDouble":42,"timeUnixNano":"%d"}]}}]}]
}]}`, time.Now().UnixNano()))
	require.Equal(t, http.StatusOK, a.Status, a.Body)
	s.WaitValue(`{__name__=~"queue.length.*",job="shop"}`, 42)
}

// Alerts reach an Alertmanager, the last ones too when the server stops.
func TestAlertsReachAnAlertmanager(t *testing.T) {
	t.Parallel()
	am := harness.NewAlertmanager(t)
	s := harness.StartServer(t, harness.ServerOptions{Config: fmt.Sprintf(`
global: {evaluation_interval: 1s}
rule_files: [rules.yml]
alerting: {alertmanagers: [{static_configs: [{targets: [%q]}]}]}
`, am.Host()), Args: []string{
		"--web.enable-lifecycle",
		"--rules.alert.resend-delay=1s", // an alert from before the Alertmanager was discovered is not queued for it
	}})
	harness.WriteFile(t, s.Dir, "rules.yml", `
groups:
- name: g
  rules: [{alert: Always, expr: vector(1), labels: {severity: page}, annotations: {summary: "value {{ $value }}"}}]
`)
	require.Equal(t, http.StatusOK, s.Post("/-/reload", "", "").Status)
	harness.Eventually(t, harness.Patience, func() error { return atLeast(len(am.Alerts()), 1) })
	alert := am.Alerts()[0]
	require.Equal(t, map[string]string{"alertname": "Always", "severity": "page"}, alert.Labels)
	require.Equal(t, "value 1", alert.Annotations["summary"])
}
