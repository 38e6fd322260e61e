package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/e2e/harness"
	"github.com/clanmon/clanmon/e2e/oracle"
)

// Two servers write to one Prometheus and read from it. Each has a machine beta, and sees the
// other's as another one.
func TestMachinesOfAnotherServer(t *testing.T) {
	t.Parallel()
	engine := harness.StartServer(t, harness.ServerOptions{
		Path: oracle.Path(t, "prometheus"), Config: "global: {}\n", Args: receiving,
	})
	start := func(site, target string) *harness.Server {
		return harness.StartServer(t, harness.ServerOptions{
			Config: fmt.Sprintf(`
global: {scrape_interval: 1s, evaluation_interval: 1s}
scrape_configs: [{job_name: node, static_configs: [{targets: [%q], labels: {machine: beta}}]}]
`, target),
			Args: []string{"--external-label=site=" + site, "--remote-write=" + engine.URL + "/api/v1/write", "--query.url=" + engine.URL},
		})
	}
	machine := func() *httptest.Server {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
			fmt.Fprintln(w, "node_load1 1")
		}))
		t.Cleanup(s.Close)
		return s
	}
	home, office := machine(), machine()
	a, b := start("home", home.Listener.Addr().String()), start("office", office.Listener.Addr().String())
	engine.WaitValue(`up{machine="beta",site="home"}`, 1)
	engine.WaitValue(`up{machine="beta",site="office"}`, 1)
	engine.WaitValue(`node_load1{machine="beta",site="office"}`, 1)

	type elsewhere struct {
		Enabled  bool
		Machines []struct {
			Name, State, Why string
			Up, Targets      int
		}
		Warnings []string
	}
	ask := func(s *harness.Server) (e elsewhere) {
		t.Helper()
		r := s.Get("/api/clanmon/v1/elsewhere")
		require.Equal(t, http.StatusOK, r.Status, r.Body)
		require.NoError(t, json.Unmarshal([]byte(r.Body), &struct{ Data any }{&e}))
		return e
	}
	for s, name := range map[*harness.Server]string{a: "beta@office", b: "beta@home"} {
		harness.Eventually(t, harness.Patience, func() error {
			e := ask(s)
			if len(e.Machines) == 1 && e.Machines[0].Name == name && e.Machines[0].Up == 1 && e.Machines[0].Targets == 1 && e.Machines[0].State != "down" {
				return nil
			}
			return fmt.Errorf("%+v", e)
		})
	}
	r := a.Get("/api/v1/query?query=" + url.QueryEscape(`node_load1{machine="beta",site="office"}`))
	require.Contains(t, r.Body, `"site":"office"`, "the newest samples of another server are the engine's")

	office.Close()
	engine.WaitValue(`up{machine="beta",site="office"}`, 0)
	harness.Eventually(t, harness.Patience, func() error {
		if e := ask(a); len(e.Machines) != 1 || e.Machines[0].State != "down" {
			return fmt.Errorf("%+v", e)
		}
		return nil
	})

	engine.Kill()
	harness.Eventually(t, harness.Patience, func() error {
		e := ask(a)
		if len(e.Warnings) == 0 {
			return errors.New("no warning")
		}
		require.Contains(t, e.Warnings[0], "History not reached: ")
		require.Len(t, e.Machines, 1, "what was known stays")
		return nil
	})
}
