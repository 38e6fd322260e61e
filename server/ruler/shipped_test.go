package ruler

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v2"

	"github.com/clanmon/clanmon/e2e/oracle"
)

func shipped(t testing.TB, o ShippedOptions) *Shipped {
	t.Helper()
	s, err := NewShipped(o)
	require.NoError(t, err)
	return s
}

// rule is the shipped rule of a name.
func rule(t *testing.T, s *Shipped, name string) rulefmt.Rule {
	t.Helper()
	for _, g := range s.Groups().Groups {
		for _, r := range g.Rules {
			if r.Alert == name || r.Record == name {
				return r
			}
		}
	}
	require.Fail(t, "no such rule", name)
	return rulefmt.Rule{}
}

// The scripts beside the rules, run by promtool itself. It compares texts too,
// which would drown the scripts, so it gets the rules without them.
func TestScripts(t *testing.T) {
	dir := t.TempDir()
	s := shipped(t, ShippedOptions{})
	for _, id := range s.files {
		groups := *s.byID[id]
		for _, g := range groups.Groups {
			for i := range g.Rules {
				g.Rules[i].Annotations = nil
			}
		}
		text, err := yaml.Marshal(groups)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, strings.TrimPrefix(id, shippedPrefix)), text, 0o600))
	}
	scripts, err := filepath.Glob("rules/*.test.yml")
	require.NoError(t, err)
	require.NotEmpty(t, scripts)
	for _, script := range scripts {
		t.Run(filepath.Base(script), func(t *testing.T) {
			text, err := os.ReadFile(script)
			require.NoError(t, err)
			file := filepath.Join(dir, filepath.Base(script))
			require.NoError(t, os.WriteFile(file, text, 0o600))
			cmd := exec.Command(oracle.Path(t, "promtool"), "test", "rules", file)
			out, err := cmd.CombinedOutput()
			require.NoError(t, err, "%s", out)
		})
	}
}

// Every alert has a script in which it is silent, fires and is silent again.
func TestScriptsCoverEveryAlert(t *testing.T) {
	type test struct {
		At     model.Duration `yaml:"eval_time"`
		Name   string         `yaml:"alertname"`
		Expect []any          `yaml:"exp_alerts"`
	}
	shown := regexp.MustCompile(`\.!+\.`)
	covered := make(map[string]bool)
	scripts, err := filepath.Glob("rules/*.test.yml")
	require.NoError(t, err)
	for _, script := range scripts {
		text, err := os.ReadFile(script)
		require.NoError(t, err)
		var file struct {
			Tests []struct {
				Alerts []test `yaml:"alert_rule_test"`
			} `yaml:"tests"`
		}
		require.NoError(t, yaml.Unmarshal(text, &file))
		for _, group := range file.Tests {
			slices.SortStableFunc(group.Alerts, func(a, b test) int { return int(a.At - b.At) })
			states := make(map[string]string)
			for _, a := range group.Alerts {
				if len(a.Expect) > 0 {
					states[a.Name] += "!"
				} else {
					states[a.Name] += "."
				}
			}
			for name, s := range states {
				// Machines are new from the first moment on.
				if shown.MatchString(s) || name == "MachineNew" && strings.Contains(s, "!.!") {
					covered[name] = true
				}
			}
		}
	}
	for _, name := range shipped(t, ShippedOptions{}).Alerts() {
		if name == "Watchdog" || name == "NoFreshSamples" { // see TestNothingArrives
			continue
		}
		require.True(t, covered[name], "no script shows %s silent, then firing, then silent", name)
	}
}

// What has neither a label "machine" nor "check" and is no ping is not clanmon's: rules
// never touch it.
func TestEverySelectorAsksForAMachineOrACheck(t *testing.T) {
	p := parser.NewParser(parser.Options{})
	for _, g := range shipped(t, ShippedOptions{}).Groups().Groups {
		for _, r := range g.Rules {
			expr, err := p.ParseExpr(r.Expr)
			require.NoError(t, err, r.Expr)
			parser.Inspect(expr, func(n parser.Node, _ []parser.Node) error {
				if vs, ok := n.(*parser.VectorSelector); ok {
					require.True(t, slices.ContainsFunc(vs.LabelMatchers, func(m *labels.Matcher) bool {
						ping := m.Name == "name" && strings.HasPrefix(vs.Name, "clanmon_ping_")
						return (m.Name == "machine" || m.Name == "check" || ping) && m.Type == labels.MatchNotEqual && m.Value == ""
					}), "%s: %s", r.Alert+r.Record, vs)
				}
				return nil
			})
		}
	}
}

func TestEveryAlertSaysWhatAndWhy(t *testing.T) {
	for _, g := range shipped(t, ShippedOptions{}).Groups().Groups {
		for _, r := range g.Rules {
			if r.Alert == "" {
				continue
			}
			require.NotEmpty(t, r.Annotations["summary"], r.Alert)
			require.NotEmpty(t, r.Annotations["description"], r.Alert)
			require.NotEmpty(t, r.Labels["severity"], r.Alert)
		}
	}
}

// What "clanmon rules" prints is a rule file.
func TestShippedRulesAreARuleFile(t *testing.T) {
	text, err := yaml.Marshal(shipped(t, ShippedOptions{}).Groups())
	require.NoError(t, err)
	_, errs := rulefmt.Parse(text, false, model.UTF8Validation, parser.NewParser(parser.Options{}), nil)
	require.Empty(t, errs)
}

func TestSetChangesOneRule(t *testing.T) {
	s := shipped(t, ShippedOptions{Set: []string{
		"FilesystemFull.threshold=0.2", "FilesystemFull.for=1h", "FilesystemFull.severity=info",
		"UnitFailed.critical=ssh.*", "UnitFailed.ignore=x|y",
	}})
	r := rule(t, s, "FilesystemFull")
	require.Contains(t, r.Expr, "< 0.2")
	require.Equal(t, model.Duration(time.Hour), r.For)
	require.Equal(t, "info", r.Labels["severity"])
	require.Contains(t, rule(t, s, "FilesystemAlmostFull").Expr, "< 0.1", "others keep theirs")
	r = rule(t, s, "UnitFailed")
	require.Contains(t, r.Expr, `name!~"x|y"`)
	require.Contains(t, r.Labels["severity"], `match "^(?:ssh.*)$" $labels.name`)
}

// The quota is none until it is set, and none if the rule is disabled.
func TestQuotaOfSettings(t *testing.T) {
	require.Equal(t, Quota{Day: 1, Devices: ".*", Directions: "received|sent", Machines: ".*"}, shipped(t, ShippedOptions{}).Quota())
	for size, want := range map[string]int64{"1TB": 1 << 40, "1TiB": 1 << 40, "1.5GB": 3 << 29, "20000000000000": 20e12} {
		s := shipped(t, ShippedOptions{Set: []string{"TrafficQuota.bytes=" + size, "TrafficQuota.day=15", "TrafficQuota.directions=sent", "TrafficQuota.devices=eth0", "TrafficQuota.machines=web.*"}})
		require.Equal(t, Quota{Bytes: want, Day: 15, Devices: "eth0", Directions: "sent", Machines: "web.*"}, s.Quota())
	}
	s := shipped(t, ShippedOptions{Set: []string{"TrafficQuota.bytes=1TB"}, Disable: []string{"TrafficQuota"}})
	require.Zero(t, s.Quota().Bytes)
}

// An intermittent machine does not page, whatever an alert is raised to.
func TestCriticalBySettingSparesIntermittentMachines(t *testing.T) {
	s := shipped(t, ShippedOptions{Set: []string{"OomKill.severity=critical"}})
	require.Equal(t, rule(t, s, "TooHot").Labels, rule(t, s, "OomKill").Labels)
	require.Contains(t, rule(t, s, "OomKill").Labels["severity"], "intermittent")
}

func TestDisableLeavesARuleOut(t *testing.T) {
	s := shipped(t, ShippedOptions{Disable: []string{"TooHot"}})
	require.NotContains(t, s.Alerts(), "TooHot")
	require.Contains(t, s.Alerts(), "KernelHungTask")
}

func TestWrongChangesAreRefusedWithWhatWouldBeRight(t *testing.T) {
	for change, want := range map[string]string{
		"FilesystemFull":                  "NAME.SETTING=VALUE",
		"FilesystemFull.threshold":        "NAME.SETTING=VALUE",
		"filesystemfull.threshold=1":      `did you mean "FilesystemFull"?`,
		"FilesytemFul.threshold=1":        `did you mean "FilesystemFull"?`,
		"Nothing.threshold=1":             `"clanmon rules" lists them`,
		"FilesystemFull.treshold=1":       `did you mean "threshold"?; it has threshold, for, keep_firing_for, severity`,
		"FilesystemFull.threshold=NaN":    "is not a number",
		"FilesystemFull.threshold=-Inf":   "is not a number",
		"FilesystemFull.threshold=lots":   "is not a number, such as 0.03",
		"FilesystemFull.for=long":         "not a duration",
		"FilesystemFull.severity=deadly":  "one of: critical, warning, info, none",
		"UnitFailed.ignore=(":             "not a regular expression",
		"machine:up.threshold=1":          "recording rule",
		"FilesystemFull.threshold=0.1) +": "is not a number",
		"TrafficQuota.bytes=0":            "is not a size of more than 0, such as 500GB",
		"TrafficQuota.bytes=-1":           `"-1" is not a size`,
		"TrafficQuota.bytes=-1TB":         `"-1TB" is not a size`,
		"TrafficQuota.bytes=lots":         `"lots" is not a size`,
		"TrafficQuota.bytes=":             "is not a size",
		"TrafficQuota.day=31":             "1 to 28",
		"TrafficQuota.day=0":              "1 to 28",
		"TrafficQuota.day=1.5":            "1 to 28",
		"TrafficQuota.directions=up":      "received|sent",
		"TrafficQuota.devices=(":          "not a regular expression",
		"TrafficQuota.byte=1TB":           `did you mean "bytes"?`,
	} {
		_, err := NewShipped(ShippedOptions{Set: []string{change}})
		require.ErrorContains(t, err, want, change)
		require.ErrorContains(t, err, "--rules.set")
	}
	_, err := NewShipped(ShippedOptions{Disable: []string{"MachineDwon"}})
	require.ErrorContains(t, err, `did you mean "MachineDown"?`)
	_, err = NewShipped(ShippedOptions{Disable: []string{"Nothing"}})
	require.ErrorContains(t, err, `--rules.disable "Nothing"`)
}

func TestScriptsAreNotShipped(t *testing.T) {
	names, err := fs.Glob(shippedFiles, "rules/*")
	require.NoError(t, err)
	for _, n := range names {
		require.NotContains(t, n, ".test.")
	}
}
