package browser

import (
	"fmt"
	"strings"
	"testing"

	"github.com/clanmon/clanmon/e2e/harness"
)

func TestFirefox(t *testing.T) {
	t.Parallel()
	s := harness.StartServer(t, harness.ServerOptions{
		Config: "global: {scrape_interval: 1s, evaluation_interval: 1s}\nrule_files: [rules.yml]\n",
		Files:  map[string]string{"rules.yml": `groups: [{name: mine, interval: 1s, rules: [{alert: DiskFull, expr: 'node_load1{machine="box"} > 0', labels: {severity: critical}, annotations: {summary: "/ is 99 % full"}}]}]`},
		Args:   []string{"--discovery.static=node=box@" + harness.NewTarget(t, plain).Host()},
	})
	s.WaitValue(`count_over_time(node_load1[2m]) >= bool 5`, 1)
	harness.Eventually(t, harness.Patience, func() error {
		if a := s.Get("/api/clanmon/v1/machines"); !strings.Contains(a.Body, `"state":"critical"`) {
			return fmt.Errorf("not critical: %s", a.Body)
		}
		return nil
	})
	play(t, s.URL, "firefox", options{
		"firefox": harness.Tool(t, "firefox-esr", "firefox-esr"), "machine": "box", "alert": "DiskFull", "summary": "/ is 99 % full",
	})
}
