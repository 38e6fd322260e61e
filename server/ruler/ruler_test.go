package ruler

import (
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/notifier"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/rules"
	"github.com/stretchr/testify/require"
)

type nobody struct{}

func (nobody) Send(...*notifier.Alert) {}

func newRuler(t *testing.T) *Ruler {
	t.Helper()
	return New(rules.ManagerOptions{
		ExternalURL: &url.URL{}, Logger: promslog.NewNopLogger(), Parser: parser.NewParser(parser.Options{}),
		NameValidationScheme: model.UTF8Validation,
	}, shipped(t, ShippedOptions{}), nobody{})
}

// load is a configuration with one rule file.
func load(t *testing.T, ruleFile string) *config.Config {
	t.Helper()
	file := filepath.Join(t.TempDir(), "r.yml")
	require.NoError(t, os.WriteFile(file, []byte(ruleFile), 0o600))
	cfg := config.DefaultConfig
	cfg.GlobalConfig.EvaluationInterval = model.Duration(time.Minute)
	cfg.RuleFiles = []string{file}
	return &cfg
}

func alertsOf(r *Ruler) map[string][]string {
	found := make(map[string][]string)
	for _, a := range r.Manager().AlertingRules() {
		found[a.Name()] = append(found[a.Name()], a.Query().String())
	}
	return found
}

func TestShippedRulesOnlyWhereWanted(t *testing.T) {
	r := newRuler(t)
	cfg := load(t, "groups: [{name: g, rules: [{alert: Mine, expr: up == 0}]}]")
	require.NoError(t, r.ApplyConfig(cfg, false))
	require.Len(t, r.Manager().AlertingRules(), 1)
	require.False(t, r.IsShipped("MachineDown"))

	require.NoError(t, r.ApplyConfig(cfg, true))
	require.Contains(t, alertsOf(r), "MachineDown")
	require.Contains(t, alertsOf(r), "Mine")
	require.True(t, r.IsShipped("MachineDown"))
	require.False(t, r.IsShipped("Mine"))
}

func TestRuleOfTheUserWins(t *testing.T) {
	r := newRuler(t)
	require.NoError(t, r.ApplyConfig(load(t, `groups: [{name: g, rules: [{alert: MachineDown, expr: vector(7)}]}]`), true))
	require.Equal(t, []string{"vector(7)"}, alertsOf(r)["MachineDown"])
	require.False(t, r.IsShipped("MachineDown"))
}

func TestBrokenFileKeepsWhatRuns(t *testing.T) {
	r := newRuler(t)
	require.NoError(t, r.ApplyConfig(load(t, "groups: []"), true))
	before := len(alertsOf(r))
	require.Error(t, r.ApplyConfig(load(t, "groups: [{name: g, rules: [{alert: A, expr: 'sum('}]}]"), true))
	require.Len(t, alertsOf(r), before)
	require.True(t, r.IsShipped("MachineDown"))
}
