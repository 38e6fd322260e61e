package ruler

import (
	"cmp"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"path"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"text/template"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
	"go.yaml.in/yaml/v2"

	"github.com/clanmon/clanmon/internal/suggest"
	"github.com/clanmon/clanmon/server/internal/backups"
)

// A shipped file is a rule file whose rules may have parameters: named values
// with a default, kept beside the rule. In an expression a parameter is written
// as if it were a metric, param:threshold, or as the value of a label matcher;
// it is put in its place in the parsed expression. In labels it is a template
// between [[ and ]].
//
//go:embed rules/availability.yml rules/checks.yml rules/fleet.yml rules/hardware.yml rules/jobs.yml rules/pressure.yml rules/remote.yml rules/self.yml rules/services.yml rules/storage.yml rules/traffic.yml
var shippedFiles embed.FS

type shippedFile struct {
	Groups []shippedGroup `yaml:"groups"`
}

type shippedGroup struct {
	Name     string         `yaml:"name"`
	Interval model.Duration `yaml:"interval"`
	Params   map[string]any `yaml:"params"` // of all rules of the group, and not to be set
	Rules    []shippedRule  `yaml:"rules"`
}

type shippedRule struct {
	Record string         `yaml:"record"`
	Alert  string         `yaml:"alert"`
	Params map[string]any `yaml:"params"` // a number or a string each
	// Inherits is a rule whose settings count, also as they are set, where this one has none.
	Inherits      string            `yaml:"inherits"`
	Expr          string            `yaml:"expr"`
	For           model.Duration    `yaml:"for"`
	KeepFiringFor model.Duration    `yaml:"keep_firing_for"`
	Labels        map[string]string `yaml:"labels"`
	Annotations   map[string]string `yaml:"annotations"`
}

// ShippedOptions change the shipped rules. The zero value leaves them as they
// are.
type ShippedOptions struct {
	// Disable are names of alerts or recorded series.
	Disable []string
	// Set are changes, each NAME.SETTING=VALUE, where the setting is "for" or
	// "keep_firing_for" with a duration, "severity", or a parameter of the rule.
	Set []string
	// BackupUnits are services that make backups, in addition to those that are known by
	// name: names in which * is any text.
	BackupUnits []string
}

// Shipped are the built-in rules, with the operator's changes in place.
type Shipped struct {
	files []string // in the order of their names
	byID  map[string]*rulefmt.RuleGroups
	info  []RuleInfo
	quota Quota
}

// shippedPrefix marks the rule files in the binary where a path is expected.
const shippedPrefix = "clanmon:"

// NewShipped reads the built-in rules and applies o. An error names the
// option that is wrong and what would be right.
func NewShipped(o ShippedOptions) (*Shipped, error) {
	source, err := readShipped()
	if err != nil {
		return nil, err
	}
	defaults, err := readShipped()
	if err != nil {
		return nil, err
	}
	if err := (ShippedOptions{}).apply(defaults); err != nil {
		return nil, err
	}
	if err := o.apply(source); err != nil {
		return nil, err
	}
	units, err := backups.New(o.BackupUnits)
	if err != nil {
		return nil, fmt.Errorf("--jobs.backup-units: %w", err)
	}
	s := &Shipped{byID: make(map[string]*rulefmt.RuleGroups), info: describe(defaults, source)}
	s.quota = quotaOf(s.info)
	p := parser.NewParser(parser.Options{})
	for _, name := range slices.Sorted(maps.Keys(source)) {
		groups, err := source[name].render(p, units.Regex())
		if err != nil {
			return nil, fmt.Errorf("built-in rules %s: %w", name, err)
		}
		id := shippedPrefix + name
		s.files = append(s.files, id)
		s.byID[id] = groups
	}
	return s, nil
}

func readShipped() (map[string]*shippedFile, error) {
	paths, err := fs.Glob(shippedFiles, "rules/*.yml")
	if err != nil {
		return nil, err
	}
	source := make(map[string]*shippedFile)
	for _, p := range paths {
		if strings.HasSuffix(p, ".test.yml") {
			continue
		}
		text, err := shippedFiles.ReadFile(p)
		if err != nil {
			return nil, err
		}
		var f shippedFile
		if err := yaml.UnmarshalStrict(text, &f); err != nil {
			return nil, fmt.Errorf("built-in rules %s: %w", p, err)
		}
		source[path.Base(p)] = &f
	}
	return source, nil
}

func (r *shippedRule) name() string { return cmp.Or(r.Alert, r.Record) }

// apply makes the operator's changes to the rules as they are shipped.
func (o ShippedOptions) apply(source map[string]*shippedFile) error {
	rules := make(map[string]*shippedRule)
	for _, f := range source {
		for _, g := range f.Groups {
			for i := range g.Rules {
				rules[g.Rules[i].name()] = &g.Rules[i]
			}
		}
	}
	var errs []error
	change := func(inherits bool) {
		for _, s := range o.Set {
			name, _, _ := strings.Cut(s, ".")
			if (rules[name] != nil && rules[name].Inherits != "") != inherits {
				continue
			}
			if err := set(rules, s); err != nil {
				errs = append(errs, fmt.Errorf("--rules.set %q: %w", s, err))
			}
		}
	}
	change(false)
	for _, r := range rules {
		if r.Inherits != "" {
			own, from := r.Params, rules[r.Inherits]
			r.Params = maps.Clone(from.Params)
			maps.Copy(r.Params, own)
			r.For, r.KeepFiringFor = cmp.Or(r.For, from.For), cmp.Or(r.KeepFiringFor, from.KeepFiringFor)
			if r.Labels == nil {
				r.Labels = from.Labels
			}
		}
	}
	change(true)
	for _, name := range o.Disable {
		if rules[name] == nil {
			errs = append(errs, fmt.Errorf("--rules.disable %q: %w", name, unknownRule(name, rules)))
		}
	}
	disabled := func(r shippedRule) bool { return slices.Contains(o.Disable, r.name()) }
	for _, f := range source {
		for i := range f.Groups {
			f.Groups[i].Rules = slices.DeleteFunc(f.Groups[i].Rules, disabled)
		}
	}
	return errors.Join(errs...)
}

func set(rules map[string]*shippedRule, change string) error {
	target, value, ok := strings.Cut(change, "=")
	name, setting, dotted := strings.Cut(target, ".")
	if !ok || !dotted {
		return errors.New("it must be NAME.SETTING=VALUE, e.g. FilesystemFull.threshold=0.05")
	}
	r := rules[name]
	if r == nil {
		return unknownRule(name, rules)
	}
	if r.Alert == "" {
		return fmt.Errorf("%s is a recording rule, which has no settings", name)
	}
	switch setting {
	case "for", "keep_firing_for":
		d, err := model.ParseDuration(value)
		if err != nil {
			return fmt.Errorf("%s is not a duration such as 10m: %w", setting, err)
		}
		if setting == "for" {
			r.For = d
		} else {
			r.KeepFiringFor = d
		}
		return nil
	case "severity":
		if !slices.Contains(severities, value) {
			return fmt.Errorf("unknown severity %q%s; one of: %s", value, suggest.Nearest(value, severities), strings.Join(severities, ", "))
		}
		if value == "critical" {
			value = pages
		}
		r.Labels = map[string]string{"severity": value}
		return nil
	}
	old, ok := r.Params[setting]
	if !ok {
		known := append(slices.Sorted(maps.Keys(r.Params)), "for", "keep_firing_for", "severity")
		return fmt.Errorf("%s has no setting %q%s; it has %s", name, setting, suggest.Nearest(setting, known), strings.Join(known, ", "))
	}
	if check := quotaSettings[target]; check != nil {
		if err := check(value); err != nil {
			return err
		}
	}
	if _, text := old.(string); text {
		if _, err := labels.NewFastRegexMatcher(value); err != nil {
			return fmt.Errorf("not a regular expression: %w", err)
		}
		r.Params[setting] = value
		return nil
	}
	number, err := strconv.ParseFloat(value, 64)
	if err != nil || math.IsNaN(number) || math.IsInf(number, 0) {
		return fmt.Errorf("%q is not a number, such as %v", value, old)
	}
	r.Params[setting] = number
	return nil
}

var severities = []string{"critical", "warning", "info", "none"}

// pages is the severity of what pages, unless the machine is intermittent.
const pages = "[[pages]]"

func unknownRule(name string, rules map[string]*shippedRule) error {
	return fmt.Errorf("no built-in rule is named %q%s; \"clanmon rules\" lists them", name, suggest.Nearest(name, slices.Sorted(maps.Keys(rules))))
}

// backupUnits is a parameter that every rule may use.
const backupUnits = "backup_units"

func (f *shippedFile) render(p parser.Parser, units string) (*rulefmt.RuleGroups, error) {
	out := &rulefmt.RuleGroups{}
	for _, g := range f.Groups {
		group := rulefmt.RuleGroup{Name: g.Name, Interval: g.Interval}
		params := map[string]any{backupUnits: units}
		maps.Copy(params, g.Params)
		for _, r := range g.Rules {
			rule, err := r.render(params, p)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", r.name(), err)
			}
			group.Rules = append(group.Rules, rule)
		}
		if len(group.Rules) > 0 {
			out.Groups = append(out.Groups, group)
		}
	}
	return out, nil
}

func (r shippedRule) render(shared map[string]any, p parser.Parser) (rulefmt.Rule, error) {
	params := maps.Clone(shared)
	maps.Copy(params, r.Params)
	rule := rulefmt.Rule{
		Record: r.Record, Alert: r.Alert, For: r.For, KeepFiringFor: r.KeepFiringFor,
		Annotations: r.Annotations,
	}
	if r.Alert != "" {
		rule.Annotations = maps.Clone(r.Annotations)
		rule.Annotations["runbook_url"] = "{{ externalURL }}/runbooks/" + r.Alert
	}
	expr, err := p.ParseExpr(r.Expr)
	if err != nil {
		return rule, err
	}
	if expr, err = fill(expr, params); err != nil {
		return rule, err
	}
	rule.Expr = expr.String()
	for name, value := range r.Labels {
		if rule.Labels == nil {
			rule.Labels = make(map[string]string)
		}
		if rule.Labels[name], err = fillText(value, params); err != nil {
			return rule, fmt.Errorf("label %s: %w", name, err)
		}
	}
	return rule, nil
}

const paramPrefix = "param:"

// fill puts the values of params in their places.
func fill(expr parser.Expr, params map[string]any) (parser.Expr, error) {
	switch e := expr.(type) {
	case *parser.VectorSelector:
		if name, ok := strings.CutPrefix(e.Name, paramPrefix); ok {
			switch v := params[name].(type) {
			case float64:
				return &parser.NumberLiteral{Val: v}, nil
			case int:
				return &parser.NumberLiteral{Val: float64(v)}, nil
			}
			return nil, fmt.Errorf("no numeric parameter is named %s", e.Name)
		}
		for i, m := range e.LabelMatchers {
			// What stands before it is kept: btrfs|param:virtual_fs.
			before, name, ok := strings.Cut(m.Value, paramPrefix)
			if !ok {
				continue
			}
			value, ok := params[name].(string)
			if !ok {
				return nil, fmt.Errorf("no text parameter is named %s", m.Value)
			}
			m, err := labels.NewMatcher(m.Type, m.Name, before+value)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			e.LabelMatchers[i] = m
		}
	case *parser.BinaryExpr:
		var err error
		if e.LHS, err = fill(e.LHS, params); err != nil {
			return nil, err
		}
		if e.RHS, err = fill(e.RHS, params); err != nil {
			return nil, err
		}
		if e.LHS.Type() == parser.ValueTypeScalar || e.RHS.Type() == parser.ValueTypeScalar {
			e.VectorMatching = nil
		}
		return e, nil
	case *parser.AggregateExpr:
		return filled(e, &e.Expr, params)
	case *parser.ParenExpr:
		return filled(e, &e.Expr, params)
	case *parser.UnaryExpr:
		return filled(e, &e.Expr, params)
	case *parser.SubqueryExpr:
		return filled(e, &e.Expr, params)
	case *parser.MatrixSelector:
		return filled(e, &e.VectorSelector, params)
	case *parser.Call:
		for i := range e.Args {
			if _, err := filled(e, &e.Args[i], params); err != nil {
				return nil, err
			}
		}
		// Where the parser wants a scalar, the rule says scalar(param:x).
		if e.Func.Name == "scalar" {
			if number, ok := e.Args[0].(*parser.NumberLiteral); ok {
				return number, nil
			}
		}
	}
	return expr, nil
}

func filled(e parser.Expr, part *parser.Expr, params map[string]any) (parser.Expr, error) {
	inner, err := fill(*part, params)
	*part = inner
	return e, err
}

// fillText executes what stands between [[ and ]].
func fillText(text string, params map[string]any) (string, error) {
	t, err := template.New("").Delims("[[", "]]").Option("missingkey=error").Funcs(template.FuncMap{
		// An intermittent machine never pages, whatever happens to it.
		"pages": func() string {
			return `{{ if eq $labels.availability "intermittent" }}warning{{ else }}critical{{ end }}`
		},
		// A template compares floats with floats only.
		"decimal": func(number any) string {
			return fmt.Sprintf("%f", reflect.ValueOf(number).Convert(reflect.TypeFor[float64]()).Float())
		},
		"anchored": func(regex string) string { return strconv.Quote("^(?:" + regex + ")$") },
	}).Parse(text)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	if err := t.Execute(&b, params); err != nil {
		return "", err
	}
	return b.String(), nil
}

// Without returns the rules whose names are not taken.
func (s *Shipped) Without(taken map[string]bool) *Shipped {
	out := &Shipped{files: s.files, info: s.info, byID: make(map[string]*rulefmt.RuleGroups)}
	for id, groups := range s.byID {
		left := &rulefmt.RuleGroups{}
		for _, g := range groups.Groups {
			g.Rules = slices.DeleteFunc(slices.Clone(g.Rules), func(r rulefmt.Rule) bool {
				return taken[cmp.Or(r.Alert, r.Record)]
			})
			if len(g.Rules) > 0 {
				left.Groups = append(left.Groups, g)
			}
		}
		out.byID[id] = left
	}
	return out
}

// Alerts are the names of the alerts, sorted.
func (s *Shipped) Alerts() []string {
	var names []string
	for _, f := range s.byID {
		for _, g := range f.Groups {
			for _, r := range g.Rules {
				if r.Alert != "" {
					names = append(names, r.Alert)
				}
			}
		}
	}
	slices.Sort(names)
	return names
}

// Unlabelled is the expression of a recording rule, without the condition that series have the
// label machine; "" if the rule is disabled.
func (s *Shipped) Unlabelled(record string) string {
	for _, g := range s.Groups().Groups {
		for _, r := range g.Rules {
			if r.Record != record {
				continue
			}
			expr, err := parser.NewParser(parser.Options{}).ParseExpr(r.Expr)
			if err != nil { // it was printed by the same parser
				return ""
			}
			parser.Inspect(expr, func(n parser.Node, _ []parser.Node) error {
				if v, ok := n.(*parser.VectorSelector); ok {
					v.LabelMatchers = slices.DeleteFunc(v.LabelMatchers, func(m *labels.Matcher) bool {
						return m.Name == "machine" && m.Type == labels.MatchNotEqual && m.Value == ""
					})
				}
				return nil
			})
			return expr.String()
		}
	}
	return ""
}

// Groups are the rules as Prometheus' own rule files have them.
func (s *Shipped) Groups() rulefmt.RuleGroups {
	var all rulefmt.RuleGroups
	for _, f := range s.files {
		all.Groups = append(all.Groups, s.byID[f].Groups...)
	}
	return all
}
