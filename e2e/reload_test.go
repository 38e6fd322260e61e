package e2e

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/e2e/harness"
)

const (
	reloadOK  = "prometheus_config_last_reload_successful"
	completed = "Completed loading of configuration file"
	badField  = "global: {scrape_interval: 1s}\nscrape_configs:\n- job_name: broken\n  scrape_intervall: 5s\n"
)

// A file that cannot be used changes nothing, says why, and shows in a metric
// until a good one comes.
func TestReloadBadFileKeepsTheOldOne(t *testing.T) {
	t.Parallel()
	target := harness.NewTarget(t, "answer 42\n")
	s := harness.StartServer(t, harness.ServerOptions{Config: scrapeConfig("first", target.Host()), Args: []string{"--web.enable-lifecycle"}})
	s.WaitValue(`up{job="first"}`, 1)
	s.WaitMetric(reloadOK, 1)
	before := s.Get("/api/v1/status/config").Body

	harness.WriteFile(t, s.Dir, "prometheus.yml", badField)
	s.Signal(syscall.SIGHUP)
	s.WaitMetric(reloadOK, 0)
	s.WaitLog("scrape_intervall")
	require.Equal(t, before, s.Get("/api/v1/status/config").Body)

	a := s.Post("/-/reload", "", "")
	require.Equal(t, http.StatusInternalServerError, a.Status)
	require.Contains(t, a.Body, "scrape_intervall", "the answer names the field")
	require.Contains(t, a.Body, "line 4", "and its line")
	require.Contains(t, a.Body, "prometheus.yml", "and its file")
	s.WaitMetric(reloadOK, 0)
	s.WaitValue(`up{job="first"}`, 1)

	harness.WriteFile(t, s.Dir, "prometheus.yml", scrapeConfig("second", target.Host()))
	a = s.Post("/-/reload", "", "")
	require.Equal(t, http.StatusOK, a.Status, a.Body)
	s.WaitMetric(reloadOK, 1)
	s.WaitValue(`up{job="second"}`, 1)
	require.Zero(t, s.Terminate())
}

// A rule file that is broken, too: it is part of the configuration.
func TestReloadBadRuleFile(t *testing.T) {
	t.Parallel()
	s := harness.StartServer(t, harness.ServerOptions{Config: "rule_files: [rules.yml]\n", Args: []string{"--web.enable-lifecycle"}})
	harness.WriteFile(t, s.Dir, "rules.yml", "groups:\n- name: g\n  rules:\n  - record: a:b\n    expr: sum(\n")
	a := s.Post("/-/reload", "", "")
	require.Equal(t, http.StatusInternalServerError, a.Status)
	s.WaitMetric(reloadOK, 0)
	s.WaitLog("rules.yml")

	harness.WriteFile(t, s.Dir, "rules.yml", "groups:\n- name: g\n  interval: 1s\n  rules:\n  - record: a:b\n    expr: vector(7)\n")
	require.Equal(t, http.StatusOK, s.Post("/-/reload", "", "").Status)
	s.WaitMetric(reloadOK, 1)
	s.WaitValue("a:b", 7)
}

// Without a configuration a reload is no error, and keeps the built-in jobs.
func TestReloadOfNothing(t *testing.T) {
	t.Parallel()
	s := harness.StartServer(t, harness.ServerOptions{Bare: true})
	require.Equal(t, 1, strings.Count(s.Log(), completed))
	jobs := func() int { return strings.Count(s.Get("/api/v1/status/config").Body, "job_name") }
	before := jobs()
	require.GreaterOrEqual(t, before, 2, "itself, and the exporters of what this machine has")
	s.Signal(syscall.SIGHUP)
	harness.Eventually(t, harness.Patience, func() error { return atLeast(strings.Count(s.Log(), completed), 2) })
	s.WaitMetric(reloadOK, 1)
	require.Equal(t, before, jobs())
}

func TestAutoReload(t *testing.T) {
	t.Parallel()
	target := harness.NewTarget(t, "answer 42\n")
	s := harness.StartServer(t, harness.ServerOptions{
		Config: scrapeConfig("first", target.Host()),
		Args:   []string{"--config.auto-reload", "--config.auto-reload-interval=1s"},
	})
	s.WaitValue(`up{job="first"}`, 1)
	harness.WriteFile(t, s.Dir, "prometheus.yml", badField)
	s.WaitMetric(reloadOK, 0)
	harness.WriteFile(t, s.Dir, "prometheus.yml", scrapeConfig("second", target.Host()))
	s.WaitMetric(reloadOK, 1)
	s.WaitValue(`up{job="second"}`, 1)

	// What is missing may be elsewhere than in the files that are watched.
	harness.WriteFile(t, s.Dir, "prometheus.yml", strings.Replace(scrapeConfig("second", target.Host()), "1s}", "1s, query_log_file: logs/queries}", 1))
	s.WaitMetric(reloadOK, 0)
	require.NoError(t, os.Mkdir(filepath.Join(s.Dir, "logs"), 0o700))
	s.WaitMetric(reloadOK, 1)
}
