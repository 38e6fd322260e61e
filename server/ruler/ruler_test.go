package ruler

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
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
	return newRulerWith(t, ShippedOptions{})
}

func newRulerWith(t *testing.T, o ShippedOptions) *Ruler {
	r := New(rules.ManagerOptions{
		ExternalURL: &url.URL{}, Logger: promslog.NewNopLogger(), Parser: parser.NewParser(parser.Options{}),
		NameValidationScheme: model.UTF8Validation,
	}, shipped(t, o), nobody{}, Observed{})
	t.Cleanup(func() { require.NoError(t, r.Close()) })
	return r
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

func TestWhatBecameOfEachShippedRule(t *testing.T) {
	r := newRulerWith(t, ShippedOptions{Disable: []string{"TooHot"}, Set: []string{"FilesystemFull.threshold=0.2", "OomKill.severity=critical"}})
	infos := func() map[string]RuleInfo {
		w := httptest.NewRecorder()
		r.ShippedHandler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
		var answer struct{ Data []RuleInfo }
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &answer))
		all := make(map[string]RuleInfo)
		for _, i := range answer.Data {
			all[i.Name] = i
		}
		return all
	}
	mine := load(t, `groups: [{name: g, rules: [{alert: MachineDown, expr: vector(7)}]}]`)
	require.NoError(t, r.ApplyConfig(mine, false))
	require.Equal(t, "off", infos()["MachineDown"].State)
	require.NoError(t, r.ApplyConfig(mine, true))
	all := infos()
	require.Equal(t, []string{"replaced", "disabled", "active"}, []string{all["MachineDown"].State, all["TooHot"].State, all["OomKill"].State})
	require.Equal(t, []RuleSetting{
		{"threshold", 0.2, 0.03, "--rules.set=FilesystemFull.threshold=0.03"},
		{"for", "5m", "5m", "--rules.set=FilesystemFull.for=5m"},
		{"keep_firing_for", "0s", "0s", "--rules.set=FilesystemFull.keep_firing_for=0s"},
		{"severity", "critical", "critical", "--rules.set=FilesystemFull.severity=critical"},
	}, all["FilesystemFull"].Settings)
	require.Equal(t, RuleSetting{"severity", "critical", "warning", "--rules.set=OomKill.severity=warning"}, all["OomKill"].Settings[2])
	require.Empty(t, all["machine:up"].Settings)

	// What it says can be set, can be set: to what it is.
	var same []string
	for _, i := range all {
		for _, s := range i.Settings {
			if s.Value != "" { // TrafficQuota.bytes has no default
				same = append(same, strings.TrimPrefix(s.Flag, "--rules.set="))
			}
		}
	}
	shipped(t, ShippedOptions{Set: same})
}
