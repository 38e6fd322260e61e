package browser

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/clanmon/clanmon/e2e/harness"
)

// Four machines with tags, of which one is down: as tiles, their totals, and one silence for all
// that a filter shows.
func TestFleetViews(t *testing.T) {
	t.Parallel()
	up, off := harness.NewTarget(t, plain).Host(), harness.Address(t)
	machine := func(name, host string, tags ...string) string {
		_, port, _ := strings.Cut(host, ":")
		list := ""
		if len(tags) > 0 {
			list = `"` + strings.Join(tags, `","`) + `"`
		}
		return fmt.Sprintf(`%q: {"addresses": ["127.0.0.1"], "tags": [%s], "exporters": {"node": %s}}`, name, list, port)
	}
	inventory := harness.WriteFile(t, t.TempDir(), "inventory.json", `{"machines": {`+strings.Join([]string{
		machine("alpha", up, "web"), machine("beta", harness.NewTarget(t, plain).Host(), "web", "db"),
		machine("gamma", harness.NewTarget(t, plain).Host()), machine("gone", off, "web"),
	}, ",")+`}}`)
	s := harness.StartServer(t, harness.ServerOptions{Config: "global: {scrape_interval: 1s}\n", Args: []string{"--discovery.inventory=" + inventory}})
	harness.Eventually(t, harness.Patience, func() error {
		if a := s.Get("/api/clanmon/v1/fleet"); strings.Count(a.Body, `"up":1`) < 3 || !strings.Contains(a.Body, `"state":"down"`) {
			return fmt.Errorf("not all known: %s", a.Body)
		}
		return nil
	})
	play(t, s.URL, "fleet", nil)
}

// A machine that goes down and comes back, on a page that follows the stream and on one
// that cannot.
func TestStreamAndPolls(t *testing.T) {
	t.Parallel()
	var down atomic.Bool
	exporter := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/up", "/down": // says the scenario
			down.Store(r.URL.Path == "/down")
		default:
			if down.Load() {
				w.WriteHeader(http.StatusInternalServerError)
			}
			_, _ = io.WriteString(w, plain)
		}
	}))
	t.Cleanup(exporter.Close)
	s := harness.StartServer(t, harness.ServerOptions{
		Config: "global: {scrape_interval: 1s}\n",
		Args:   []string{"--discovery.static=node=alpha@" + strings.TrimPrefix(exporter.URL, "http://") + ",beta@" + harness.NewTarget(t, plain).Host()},
	})
	harness.Eventually(t, harness.Patience, func() error {
		if a := s.Get("/api/clanmon/v1/fleet"); strings.Count(a.Body, `"up":1`) < 2 {
			return fmt.Errorf("not all known: %s", a.Body)
		}
		return nil
	})
	play(t, s.URL, "stream", options{"control": exporter.URL})
}
