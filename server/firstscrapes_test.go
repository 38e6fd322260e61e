package server_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/server"
	"github.com/clanmon/clanmon/server/servertest"
)

// An alert that ended while the server was down does not fire again: what is stored of its
// target is from before, until the target is scraped.
func TestWhatEndedWhileTheServerWasDownDoesNotFire(t *testing.T) {
	t.Parallel()
	e := newExporter(t, "trouble 0\n")
	dir := wasScraped(t, e.address)
	rules := filepath.Join(t.TempDir(), "rules.yml")
	require.NoError(t, os.WriteFile(rules, []byte("groups: [{name: g, rules: [{alert: Trouble, expr: trouble == 1}, {record: evaluated, expr: trouble}]}]\n"), 0o600))
	s := servertest.Start(t, fmt.Sprintf(`
global: {scrape_interval: 10s, evaluation_interval: 100ms}
rule_files: [%q]
scrape_configs: [{job_name: node, static_configs: [{targets: [%q]}]}]
`, rules, e.address),
		func(o *server.Options) { o.Dir = dir })
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		_, text := s.Get("/api/v1/query?query=evaluated")
		assert.Contains(c, text, `,"0"]`)
	}, time.Minute, tick)
	_, text := s.Get("/api/v1/query?query=max_over_time(ALERTS[5m])")
	require.NotContains(t, text, "Trouble")
}

// wasScraped is the data directory of a server that scraped addresses until half a minute ago.
func wasScraped(t *testing.T, addresses ...string) string {
	options, _ := servertest.Options(t)
	db, err := tsdb.Open(options.Dir, promslog.NewNopLogger(), nil, tsdb.DefaultOptions(), nil)
	require.NoError(t, err)
	app := db.Appender(t.Context())
	before := time.Now().Add(-30 * time.Second).UnixMilli()
	for _, address := range addresses {
		for _, name := range []string{"up", "trouble"} {
			_, err := app.Append(0, labels.FromStrings("__name__", name, "job", "node", "instance", address), before, 1)
			require.NoError(t, err)
		}
	}
	require.NoError(t, app.Commit())
	require.NoError(t, db.Close())
	return options.Dir
}

// A reload with other rules does not wait for the first scrapes. Here one never comes, so rules
// would wait for a minute.
func TestRulesChangeBeforeTheFirstScrapes(t *testing.T) {
	t.Parallel()
	dir := wasScraped(t, "gone:9100")
	rules := filepath.Join(t.TempDir(), "rules.yml")
	write := func(expr string) {
		t.Helper()
		require.NoError(t, os.WriteFile(rules, fmt.Appendf(nil, "groups: [{name: g, rules: [{record: r, expr: %s}]}]\n", expr), 0o600))
	}
	write("vector(1)")
	s := servertest.Start(t, fmt.Sprintf(`
global: {scrape_interval: 1h, evaluation_interval: 100ms}
rule_files: [%q]
scrape_configs: [{job_name: node, static_configs: [{targets: ["127.0.0.1:1"]}]}]
`, rules), func(o *server.Options) { o.Dir = dir })
	write("vector(2)")
	s.Reload <- struct{}{}
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		_, text := s.Get("/api/v1/query?query=r")
		assert.Contains(c, text, `,"2"]`)
	}, 30*time.Second, tick)
}
