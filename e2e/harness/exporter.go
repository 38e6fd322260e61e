package harness

import (
	"fmt"
	"net/http"
	"testing"

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
