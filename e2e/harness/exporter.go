package harness

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Exporter is a running clanmon exporter with its two default kinds.
type Exporter struct {
	*Process
	Node, Systemd string // host and port of a kind

	t testing.TB
}

// StartExporter starts the exporter and waits until both kinds answer.
func StartExporter(t testing.TB, args ...string) *Exporter {
	t.Helper()
	return StartExporterVia(t, nil, args...)
}

// StartExporterVia starts it through another command, which gets the exporter's
// command line as its last arguments and has to execute it in its own place.
func StartExporterVia(t testing.TB, via []string, args ...string) *Exporter {
	t.Helper()
	e := &Exporter{Node: Address(t), Systemd: Address(t), t: t}
	line := append(via, Clanmon(t), "exporter", "--node.listen-address="+e.Node, "--systemd.listen-address="+e.Systemd)
	line = append(line, args...)
	e.Process = Start(t, Command{Path: line[0], Args: line[1:]})
	for _, host := range []string{e.Node, e.Systemd} {
		Eventually(t, Patience, func() error {
			if e.Exited() {
				require.Fail(t, "the exporter exited", "log:\n%s", e.Log())
			}
			r, err := http.Get("http://" + host + "/")
			if err == nil {
				r.Body.Close()
			}
			return err
		})
	}
	return e
}

// Kinds is a running clanmon exporter with kinds of choice.
type Kinds struct {
	*Process
	Addr map[string]string // host and port by kind

	t testing.TB
}

// StartKinds starts the exporter with these kinds and waits until they answer.
// env are environment variables, as NAME=VALUE.
func StartKinds(t testing.TB, kinds, env []string, args ...string) *Kinds {
	t.Helper()
	k := &Kinds{Addr: map[string]string{}, t: t}
	line := []string{"exporter", "--exporter=" + strings.Join(kinds, ",")}
	for _, kind := range kinds {
		k.Addr[kind] = Address(t)
		line = append(line, "--"+kind+".listen-address="+k.Addr[kind])
	}
	k.Process = Start(t, Command{Args: append(line, args...), Env: env})
	for _, kind := range kinds {
		Eventually(t, Patience, func() error {
			if k.Exited() {
				require.Fail(t, "the exporter exited", "log:\n%s", k.Log())
			}
			r, err := http.Get("http://" + k.Addr[kind] + "/")
			if err == nil {
				r.Body.Close()
			}
			return err
		})
	}
	return k
}

// Get gets a path of a kind with this scrape timeout, and says how long it took.
// The status has to be 200.
func (k *Kinds) Get(kind, path string, timeout time.Duration) (string, time.Duration) {
	k.t.Helper()
	req, err := http.NewRequest(http.MethodGet, "http://"+k.Addr[kind]+path, nil)
	require.NoError(k.t, err)
	req.Header.Set("X-Prometheus-Scrape-Timeout-Seconds", fmt.Sprint(timeout.Seconds()))
	begin := time.Now()
	r, err := (&http.Client{Timeout: Patience}).Do(req)
	require.NoError(k.t, err)
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	require.NoError(k.t, err)
	require.Equal(k.t, http.StatusOK, r.StatusCode, "%s", body)
	return string(body), time.Since(begin)
}

// Metrics gets the metrics of a kind.
func (k *Kinds) Metrics(kind string) string {
	k.t.Helper()
	text, _ := k.Get(kind, "/metrics", Patience)
	return text
}

// WaitMetric waits until a kind has a series with this value.
func (k *Kinds) WaitMetric(kind, series string, want float64) {
	k.t.Helper()
	Eventually(k.t, Patience, func() error {
		got, err := MetricIn(k.Metrics(kind), series)
		if err == nil && got != want {
			err = fmt.Errorf("%s is %v, want %v", series, got, want)
		}
		return err
	})
}

// Scrape gets the metrics of the kind at host, in text format.
func (e *Exporter) Scrape(host string) string {
	e.t.Helper()
	s := &Server{t: e.t, URL: "http://" + host, client: &http.Client{Timeout: Patience}}
	a := s.Get("/metrics")
	require.Equal(e.t, http.StatusOK, a.Status, a.Body)
	return a.Body
}

// ScrapeConfig is a configuration file that scrapes both kinds once a second.
func (e *Exporter) ScrapeConfig() string {
	return fmt.Sprintf(`global: {scrape_interval: 1s}
scrape_configs:
- job_name: node
  static_configs: [{targets: [%q]}]
- job_name: systemd
  static_configs: [{targets: [%q]}]
`, e.Node, e.Systemd)
}
