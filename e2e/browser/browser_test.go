// Package browser opens the pages of the built binary in a real Chromium and
// asks what a person would see. It is a test only.
package browser

import (
	"context"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/e2e/harness"
)

// open loads a page, lets its script run and returns its text. A message on the
// console, a refused resource among them, fails the test.
func open(t *testing.T, address string) (text, markup string) {
	t.Helper()
	chromium := harness.Tool(t, "chromium", "chromium")
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, chromium,
		"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
		"--disable-component-update", "--disable-sync", "--user-data-dir="+t.TempDir(),
		"--enable-logging=stderr", "--virtual-time-budget=6000", "--window-size=1440,900", "--dump-dom", address)
	var console strings.Builder
	cmd.Stderr = &console
	out, err := cmd.Output()
	require.NoError(t, err, console.String())
	for _, line := range strings.Split(console.String(), "\n") {
		require.NotContains(t, line, "CONSOLE", "the console of %s", address)
	}
	markup = string(out)
	text = regexp.MustCompile(`<[^>]*>`).ReplaceAllString(markup, " ")
	return strings.Join(strings.Fields(html.UnescapeString(text)), " "), markup
}

// see opens a page until it shows all of want; one that begins with "<" is an
// element.
func see(t *testing.T, address string, want ...string) (text string) {
	t.Helper()
	harness.Eventually(t, harness.Patience, func() error {
		var markup string
		text, markup = open(t, address)
		for _, w := range want {
			if !strings.Contains(text, w) && !(w == "<path" && strings.Contains(markup, w)) {
				return fmt.Errorf("%s does not show %q but: %.600s", address, w, text)
			}
		}
		return nil
	})
	return text
}

func TestFirstMinute(t *testing.T) {
	t.Parallel()
	s := harness.StartServer(t, harness.ServerOptions{Bare: true})
	text, _ := open(t, s.URL+"/")
	require.Regexp(t, "first scrape is on its way|This machine", text, "no empty tables")
	s.WaitValue(`count(up == 1)`, 3)

	text = see(t, s.URL+"/", "This machine", "Memory", "Up for", "CPU", "File systems", "<path")
	require.Regexp(t, `healthy|failed units`, text)
	text = see(t, s.URL+"/targets", "3 targets in 3 jobs", "clanmon (1 of 1 up)", "in-process.invalid")
	require.NotContains(t, text, "down")
	see(t, s.URL+"/status", "Embedded Prometheus", "3.15.0")
	see(t, s.URL+"/config", "job_name: systemd")
	see(t, s.URL+"/flags", "storage.tsdb.path")
	see(t, s.URL+"/tsdb-status", "Series per metric")
}

func TestQueryPage(t *testing.T) {
	t.Parallel()
	hostile := `<img src=x onerror=alert(1)>"é`
	target := harness.NewTarget(t, fmt.Sprintf("demo{text=%q} 42\n", hostile))
	s := harness.StartServer(t, harness.ServerOptions{Config: fmt.Sprintf("global: {scrape_interval: 1s}\nscrape_configs: [{job_name: j, static_configs: [{targets: [%q]}]}]\n", target.Host())})
	s.WaitValue(`demo`, 42)
	page := func(expr, tab string) string {
		return s.URL + "/graph?" + url.Values{"g0.expr": {expr}, "g0.tab": {tab}, "g0.range_input": {"5m"}}.Encode()
	}
	see(t, page("demo", "1"), "onerror=alert(1)", "42")
	_, markup := open(t, page("demo", "1"))
	require.NotContains(t, markup, "<img", "a label value is text")
	see(t, page("demo", "0"), "1 series", "onerror", "<path")
	see(t, page("sum(", "1"), "unclosed left parenthesis")
	see(t, page("nothing_of_this_name", "1"), "Empty result")
	see(t, s.URL+"/alerts", "No alert is pending or firing")
	see(t, s.URL+"/rules", "No rule files are configured")
}

func TestAlertsAndRules(t *testing.T) {
	t.Parallel()
	rules := `groups: [{name: g, interval: 1s, rules: [{alert: Always, expr: vector(7), annotations: {summary: "<b>seven</b>"}}, {record: broken:rule, expr: 'label_replace(up, "", "", "", "")'}]}]`
	s := harness.StartServer(t, harness.ServerOptions{
		Bare:  true,
		Files: map[string]string{"prometheus.yml": "rule_files: [rules.yml]\n", "rules.yml": rules},
	})
	see(t, s.URL+"/alerts", "firing", "Always", "<b>seven</b>")
	see(t, s.URL+"/rules", "Always", "vector(7)", "broken:rule")
}

func TestUnderAPathPrefix(t *testing.T) {
	t.Parallel()
	s := harness.LaunchServer(t, harness.ServerOptions{Config: "{}", Args: []string{"--web.external-url=http://example.org/mon/"}})
	harness.Eventually(t, harness.Patience, func() error {
		a, err := s.TryGet("/mon/-/ready")
		if err == nil && a.Status != http.StatusOK {
			err = fmt.Errorf("not ready: %d", a.Status)
		}
		return err
	})
	see(t, s.URL+"/mon/", "Nothing is scraped")
	see(t, s.URL+"/mon/status", "Runtime")
}

func TestAgentPage(t *testing.T) {
	t.Parallel()
	target := harness.NewTarget(t, "x 1\n")
	s := harness.StartServer(t, harness.ServerOptions{Agent: true, Config: fmt.Sprintf("global: {scrape_interval: 1s}\nscrape_configs: [{job_name: j, static_configs: [{targets: [%q]}]}]\n", target.Host())})
	see(t, s.URL+"/agent", "j (1 of 1 up)")
}
