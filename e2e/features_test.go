package e2e

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/prompb"
	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/e2e/harness"
)

// With client certificates asked for, nobody enters without; the server's own
// jobs do not need one.
func TestMutualTLS(t *testing.T) {
	t.Parallel()
	webConfig, _, stranger := secured(t)
	dir := filepath.Dir(webConfig)
	webConfig = harness.WriteFile(t, dir, "mtls.yml", "tls_server_config: {cert_file: cert.pem, key_file: key.pem, client_auth_type: RequireAndVerifyClientCert, client_ca_file: cert.pem}\n")
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"))
	require.NoError(t, err)
	known := stranger.Transport.(*http.Transport).Clone()
	known.TLSClientConfig.Certificates = []tls.Certificate{pair}
	t.Cleanup(known.CloseIdleConnections)
	client := &http.Client{Timeout: harness.Patience, Transport: known}

	s := harness.StartServer(t, harness.ServerOptions{Client: client, Args: []string{"--web.config.file=" + webConfig}})
	e := harness.StartExporter(t, "--web.config.file="+webConfig)
	for _, base := range []string{s.URL, "https://" + e.Node, "https://" + e.Systemd} {
		r, err := client.Get(base + "/metrics")
		require.NoError(t, err)
		r.Body.Close()
		require.Equal(t, http.StatusOK, r.StatusCode)
		_, err = stranger.Get(base + "/metrics")
		require.ErrorContains(t, err, "certificate required")
	}
	s.WaitValue(`up{job="node"}`, 1)
}

// More than one address, of both families, and unix sockets for the exporter.
func TestListenAddresses(t *testing.T) {
	t.Parallel()
	second := fmt.Sprintf("[::1]:%d", harness.Port(t))
	s := harness.StartServer(t, harness.ServerOptions{Config: "global: {}\n", Args: []string{"--web.listen-address=" + second}})
	r, err := http.Get("http://" + second + "/-/ready")
	require.NoError(t, err)
	r.Body.Close()
	require.Equal(t, http.StatusOK, r.StatusCode)
	require.Equal(t, http.StatusOK, s.Get("/-/ready").Status)

	socket := filepath.Join(t.TempDir(), "s")
	e := harness.StartExporter(t, "--systemd.listen-address=unix:"+socket)
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
	r, err = client.Get("http://unix/metrics")
	require.NoError(t, err)
	r.Body.Close()
	require.Equal(t, http.StatusOK, r.StatusCode)
	e.Kill()
	// What a kill leaves behind is not in the way of the next start.
	again := harness.Start(t, harness.Command{Args: []string{"exporter", "--exporter=node", "--web.listen-address=unix:" + socket}})
	harness.Eventually(t, harness.Patience, func() error {
		if again.Exited() {
			require.Fail(t, "the exporter exited", again.Log())
		}
		r, err := client.Get("http://unix/metrics")
		if err == nil {
			r.Body.Close()
		}
		return err
	})
}

func TestLogsAreTextOrJSON(t *testing.T) {
	t.Parallel()
	s := harness.StartServer(t, harness.ServerOptions{Config: "global: {}\n", Args: []string{"--log.format=json", "--log.level=debug"}})
	s.WaitLog("Server is ready to receive web requests.")
	require.Zero(t, s.Terminate())
	for line := range strings.Lines(s.Log()) {
		var entry map[string]any
		require.NoError(t, json.Unmarshal([]byte(line), &entry), line)
		for _, key := range []string{"time", "level", "source", "msg"} {
			require.Contains(t, entry, key)
		}
	}
}

// Queries and failed scrapes go to files of their own when asked for.
func TestQueryLogAndScrapeFailureLog(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	queries, failures := filepath.Join(dir, "queries"), filepath.Join(dir, "failures")
	s := harness.StartServer(t, harness.ServerOptions{Config: fmt.Sprintf(`
global: {scrape_interval: 1s, query_log_file: %q, scrape_failure_log_file: %q}
scrape_configs: [{job_name: j, static_configs: [{targets: ["127.0.0.1:1"]}]}]
`, queries, failures)})
	s.Query("vector(4242)")
	for path, want := range map[string]string{queries: "vector(4242)", failures: "connection refused"} {
		harness.Eventually(t, harness.Patience, func() error {
			b, err := os.ReadFile(path)
			if err == nil && !strings.Contains(string(b), want) {
				err = fmt.Errorf("%s does not have %q: %s", path, want, b)
			}
			return err
		})
	}
}

// --retention is short for the long one.
func TestRetention(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"--retention", "30d"}, {"--storage.tsdb.retention.time=30d"}} {
		s := harness.StartServer(t, harness.ServerOptions{Config: "global: {}\n", Args: args})
		require.Contains(t, s.Get("/api/v1/status/runtimeinfo").Body, `"storageRetention":"30d"`)
	}
}

// Samples that come late are kept when the file allows it, and refused when not.
func TestOutOfOrderSamples(t *testing.T) {
	t.Parallel()
	now := time.Now()
	sample := func(age time.Duration, v float64) prompb.TimeSeries {
		return harness.Series([]prompb.Sample{{Value: v, Timestamp: now.Add(-age).UnixMilli()}}, "late")
	}
	strict := harness.StartServer(t, harness.ServerOptions{Config: "global: {}\n", Args: receiving})
	strict.Write(sample(0, 2))
	require.ErrorContains(t, strict.TryWrite(sample(10*time.Minute, 1)), "400")

	lenient := harness.StartServer(t, harness.ServerOptions{Config: "storage: {tsdb: {out_of_order_time_window: 30m}}\n", Args: receiving})
	lenient.Write(sample(0, 2))
	lenient.Write(sample(10*time.Minute, 1))
	lenient.WaitValue("sum_over_time(late[20m])", 3)
	lenient.Kill()
	again := harness.StartServer(t, harness.ServerOptions{Data: lenient.Data, Config: "storage: {tsdb: {out_of_order_time_window: 30m}}\n"})
	again.WaitValue("sum_over_time(late[20m])", 3)
}

// A native histogram survives the way over the wire and a restart; exemplars are
// found again.
func TestHistogramsAndExemplars(t *testing.T) {
	t.Parallel()
	now := time.Now()
	series := harness.Series(nil, "latency_seconds")
	series.Histograms = []prompb.Histogram{{
		Count: &prompb.Histogram_CountInt{CountInt: 10}, Sum: 20, Schema: 0, ZeroThreshold: 1e-128,
		ZeroCount:     &prompb.Histogram_ZeroCountInt{ZeroCountInt: 0},
		PositiveSpans: []prompb.BucketSpan{{Offset: 0, Length: 2}}, PositiveDeltas: []int64{4, 2}, // 4 and 6
		Timestamp: now.UnixMilli(),
	}}
	counter := harness.Series([]prompb.Sample{{Value: 1, Timestamp: now.UnixMilli()}}, "asked_total")
	counter.Exemplars = []prompb.Exemplar{{Labels: []prompb.Label{{Name: "trace_id", Value: "abc123"}}, Value: 1, Timestamp: now.UnixMilli()}}
	args := append([]string{"--enable-feature=exemplar-storage"}, receiving...)
	s := harness.StartServer(t, harness.ServerOptions{Config: "global: {}\n", Args: args})
	s.Write(series, counter)
	check := func(s *harness.Server) {
		t.Helper()
		s.WaitValue("histogram_count(latency_seconds)", 10)
		s.WaitValue("histogram_avg(latency_seconds)", 2)
		v := url.Values{"query": {"asked_total"}, "start": {fmt.Sprint(now.Unix() - 60)}, "end": {fmt.Sprint(now.Unix() + 60)}}
		require.Contains(t, s.Get("/api/v1/query_exemplars?"+v.Encode()).Body, "abc123")
	}
	check(s)
	s.Kill()
	check(harness.StartServer(t, harness.ServerOptions{Data: s.Data, Config: "global: {}\n", Args: args}))
}
