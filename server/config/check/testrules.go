package check

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/rules"
	"github.com/prometheus/prometheus/util/junitxml"
	"go.yaml.in/yaml/v2"
)

// A ruleTests is a file of unit tests for rules, in the format that Prometheus
// documents.
type ruleTests struct {
	RuleFiles []string       `yaml:"rule_files"`
	Interval  model.Duration `yaml:"evaluation_interval,omitempty"`
	Order     []string       `yaml:"group_eval_order"`
	Tests     []ruleTest     `yaml:"tests"`
	Fuzzy     bool           `yaml:"fuzzy_compare,omitempty"`
}

// A ruleTest is input series, and what rules and expressions make of them.
type ruleTest struct {
	Name     string         `yaml:"name,omitempty"`
	Interval model.Duration `yaml:"interval"`
	Input    []struct {
		Series string `yaml:"series"`
		Values string `yaml:"values"`
	} `yaml:"input_series"`
	Alerts         []alertTest   `yaml:"alert_rule_test,omitempty"`
	Exprs          []exprTest    `yaml:"promql_expr_test,omitempty"`
	ExternalLabels labels.Labels `yaml:"external_labels,omitempty"`
	ExternalURL    string        `yaml:"external_url,omitempty"`
	Start          testTime      `yaml:"start_timestamp,omitempty"`
}

type alertTest struct {
	At    model.Duration `yaml:"eval_time"`
	Alert string         `yaml:"alertname"`
	Want  []struct {
		Labels      map[string]string `yaml:"exp_labels"`
		Annotations map[string]string `yaml:"exp_annotations"`
	} `yaml:"exp_alerts"`
}

type exprTest struct {
	Expr string         `yaml:"expr"`
	At   model.Duration `yaml:"eval_time"`
	Want []struct {
		Labels    string  `yaml:"labels"`
		Value     float64 `yaml:"value"`
		Histogram string  `yaml:"histogram"` // if any, value does not count
	} `yaml:"exp_samples"`
}

// testTime is seconds since 1970, or RFC 3339.
type testTime struct{ time.Time }

// UnmarshalYAML implements yaml.Unmarshaler.
func (t *testTime) UnmarshalYAML(unmarshal func(any) error) error {
	var text string
	if err := unmarshal(&text); err != nil {
		return err
	}
	if seconds, err := strconv.ParseFloat(text, 64); err == nil {
		whole, part := math.Modf(seconds)
		t.Time = time.Unix(int64(whole), int64(part*float64(time.Second))).UTC()
		return nil
	}
	var err error
	if t.Time, err = time.Parse(time.RFC3339Nano, text); err != nil {
		return fmt.Errorf("cannot parse %q to a valid timestamp", text)
	}
	return nil
}

// RuleTests runs files of unit tests for rules, as promtool test rules does: only
// the tests whose name one of the expressions run matches, if there are any. It
// writes JUnit's XML to junit, which may be nil, and returns the exit code.
func (c *Checker) RuleTests(run []string, junit io.Writer, files ...string) int {
	only, err := regexp.Compile(strings.Join(run, "|"))
	if err != nil {
		fmt.Fprintln(c.Err, "  FAILED: --run:", err)
		return exitFailed
	}
	code := exitOK
	var results junitxml.JUnitXML
	for _, f := range files {
		fmt.Fprintln(c.Out, "Processing test file:", f)
		errs := c.ruleTests(f, only, results.Suite(f))
		if len(errs) == 0 {
			fmt.Fprintln(c.Out, "  SUCCESS")
		} else {
			code = exitFailed
			fmt.Fprintln(c.Err, "  FAILED:")
			for _, err := range errs {
				fmt.Fprintln(c.Err, err)
				fmt.Fprintln(c.Out)
			}
		}
		fmt.Fprintln(c.Out)
	}
	if junit != nil {
		if err := results.WriteXML(junit); err != nil {
			fmt.Fprintln(c.Err, "failed to write JUnit XML:", err)
		}
	}
	return code
}

// ruleTests runs the tests of one file.
func (c *Checker) ruleTests(name string, only *regexp.Regexp, suite *junitxml.TestSuite) (errs []error) {
	f, err := c.readRuleTests(name)
	if err != nil {
		suite.Abort(err)
		return []error{err}
	}
	suite.Settime(time.Now().Format("2006-01-02T15:04:05"))
	for i, t := range f.Tests {
		if !only.MatchString(t.Name) {
			continue
		}
		title := t.Name
		if title == "" {
			title = fmt.Sprintf("unnamed#%d", i)
		}
		if t.Interval == 0 {
			t.Interval = f.Interval
		}
		result := suite.Case(title)
		for _, err := range (&testRun{checker: c, file: f, ruleTest: t}).run() {
			result.Fail(err.Error())
			errs = append(errs, err)
		}
	}
	return errs
}

func (c *Checker) readRuleTests(name string) (*ruleTests, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	f := &ruleTests{}
	if err := yaml.UnmarshalStrict(text, f); err != nil {
		return nil, err
	}
	if f.Interval == 0 {
		f.Interval = model.Duration(time.Minute)
	}
	for i, group := range f.Order {
		if slices.Contains(f.Order[:i], group) {
			return nil, fmt.Errorf("group name repeated in evaluation order: %s", group)
		}
	}
	var found []string
	for _, pattern := range f.RuleFiles {
		if pattern != "" && !filepath.IsAbs(pattern) {
			pattern = filepath.Join(filepath.Dir(name), pattern)
		}
		matches, err := filepath.Glob(pattern)
		if err != nil {
			return nil, err
		}
		if len(matches) == 0 {
			fmt.Fprintln(c.Err, "  WARNING: no file match pattern", pattern)
		}
		found = append(found, matches...)
	}
	f.RuleFiles = found
	return f, nil
}

// testRun is one test while it runs.
type testRun struct {
	checker *Checker
	file    *ruleTests
	ruleTest

	begin  time.Time
	loader *promqltest.LazyLoader
	groups []*rules.Group
}

// run evaluates the rules from the start to the last time that a test asks for.
func (r *testRun) run() (errs []error) {
	for _, t := range r.Alerts {
		if t.Alert == "" {
			return []error{fmt.Errorf("an item under alert_rule_test misses required attribute alertname at eval_time %v%s", t.At, r.inGroup())}
		}
	}
	r.begin = r.Start.Time
	if r.begin.IsZero() {
		r.begin = time.Unix(0, 0).UTC()
	}
	if errs := r.load(); len(errs) > 0 {
		return errs
	}
	defer func() {
		if err := r.loader.Close(); err != nil {
			errs = append(errs, err)
		}
	}()
	interval := time.Duration(r.file.Interval)
	for at := time.Duration(0); at <= r.last(); at += interval {
		broken, err := r.evaluate(r.begin.Add(at))
		if err != nil {
			errs = append(errs, err)
		}
		if len(broken) > 0 {
			return append(errs, broken...)
		}
		// A time between two evaluations is that of the one before it.
		errs = append(errs, r.alertsBetween(at, at+interval)...)
	}
	for _, t := range r.Exprs {
		if err := r.expr(t); err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

func (r *testRun) inGroup() string {
	if r.Name == "" {
		return ""
	}
	return fmt.Sprintf(" (in TestGroup %s)", r.Name)
}

// last is the latest time, after the start, that a test asks for.
func (r *testRun) last() time.Duration {
	var last model.Duration
	for _, t := range r.Alerts {
		last = max(last, t.At)
	}
	for _, t := range r.Exprs {
		last = max(last, t.At)
	}
	return time.Duration(last)
}

// load makes the input series and reads the rules.
func (r *testRun) load() []error {
	c := r.checker
	var input strings.Builder
	fmt.Fprintf(&input, "load %v\n", r.Interval)
	for _, s := range r.Input {
		fmt.Fprintf(&input, "  %v %v\n", s.Series, s.Values)
	}
	var err error
	r.loader, err = promqltest.NewLazyLoader(input.String(), promqltest.LazyLoaderOpts{
		EnableAtModifier: true, EnableNegativeOffset: true, EnableDelayedNameRemoval: c.DelayedNameRemoval,
		StartTime: r.Start.Time, Parser: c.Parser,
	})
	if err != nil {
		return []error{err}
	}
	r.loader.SubqueryInterval = time.Duration(r.file.Interval)
	manager := rules.NewManager(&rules.ManagerOptions{
		QueryFunc:    rules.EngineQueryFunc(r.loader.QueryEngine(), r.loader.Storage()),
		AppendableV2: r.loader.Storage(),
		Context:      context.Background(),
		NotifyFunc:   func(context.Context, string, ...*rules.Alert) {},
		Logger:       promslog.NewNopLogger(),
		Parser:       c.Parser,
	})
	groups, errs := manager.LoadGroups(time.Duration(r.Interval), r.ExternalLabels, r.ExternalURL, nil, c.IgnoreUnknownFields, r.file.RuleFiles...)
	if len(errs) > 0 {
		_ = r.loader.Close() // what is wrong is the rules
		return errs
	}
	for _, g := range groups {
		r.groups = append(r.groups, g)
		for _, rule := range g.Rules() {
			if a, ok := rule.(*rules.AlertingRule); ok {
				a.SetRestored(true) // or it would write no ALERTS
			}
		}
	}
	slices.SortStableFunc(r.groups, func(a, b *rules.Group) int {
		return max(0, slices.Index(r.file.Order, a.Name())) - max(0, slices.Index(r.file.Order, b.Name()))
	})
	return nil
}

// evaluate loads the samples up to at and evaluates all groups. broken are the
// errors of rules.
func (r *testRun) evaluate(at time.Time) (broken []error, err error) {
	r.loader.WithSamplesTill(at, func(loadErr error) {
		if err = loadErr; err != nil {
			return
		}
		for _, g := range r.groups {
			g.Eval(r.loader.Context(), at)
			for _, rule := range g.Rules() {
				if rule.LastError() != nil {
					broken = append(broken, fmt.Errorf("    rule: %s, time: %s, err: %w", rule.Name(), at.Sub(time.Unix(0, 0).UTC()), rule.LastError()))
				}
			}
		}
	})
	return broken, err
}

// firing is an alert as a test compares it.
type firing struct{ labels, annotations labels.Labels }

func (f firing) String() string {
	return "Labels:" + f.labels.String() + "\nAnnotations:" + f.annotations.String()
}

func compareFiring(a, b firing) int {
	if by := labels.Compare(a.labels, b.labels); by != 0 {
		return by
	}
	return labels.Compare(a.annotations, b.annotations)
}

// alertsBetween compares the alerts that fire now with what is expected at the
// times from begin on, and before end.
func (r *testRun) alertsBetween(begin, end time.Duration) (errs []error) {
	due := slices.Clone(r.Alerts)
	slices.SortStableFunc(due, func(a, b alertTest) int { return int(a.At - b.At) })
	for _, t := range due {
		if time.Duration(t.At) < begin || time.Duration(t.At) >= end {
			continue
		}
		var want []firing
		for _, w := range t.Want {
			b := labels.NewBuilder(labels.FromMap(w.Labels)) // those of the rule; the name is implied
			b.Set(labels.AlertName, t.Alert)
			want = append(want, firing{b.Labels(), labels.FromMap(w.Annotations)})
		}
		got := r.firing(t.Alert)
		slices.SortFunc(want, compareFiring)
		slices.SortFunc(got, compareFiring)
		if slices.EqualFunc(want, got, func(a, b firing) bool { return compareFiring(a, b) == 0 }) {
			continue
		}
		name := ""
		if r.Name != "" {
			name = fmt.Sprintf("    name: %s,\n", r.Name)
		}
		errs = append(errs, fmt.Errorf("%s    alertname: %s, time: %s, \n        exp:%v, \n        got:%v",
			name, t.Alert, t.At, indented(printFiring(want), 12), indented(printFiring(got), 12)))
	}
	return errs
}

// firing are the firing alerts of that name, of all groups.
func (r *testRun) firing(name string) (all []firing) {
	for _, g := range r.groups {
		for _, rule := range g.Rules() {
			a, ok := rule.(*rules.AlertingRule)
			if !ok || a.Name() != name {
				continue
			}
			for _, alert := range a.ActiveAlerts() {
				if alert.State == rules.StateFiring {
					all = append(all, firing{alert.Labels, alert.Annotations})
				}
			}
		}
	}
	return all
}

func printFiring(all []firing) string {
	if len(all) == 0 {
		return "[]"
	}
	items := make([]string, len(all))
	for i, f := range all {
		items[i] = fmt.Sprintf("\n%d:%s", i, indented("\n"+f.String(), 2))
	}
	return "[" + strings.Join(items, ",") + "\n]"
}

// indented moves all lines of text but the first to the right.
func indented(text string, by int) string {
	return strings.ReplaceAll(text, "\n", "\n"+strings.Repeat(" ", by))
}

// testSample is a sample as a test compares it.
type testSample struct {
	labels    labels.Labels
	value     float64
	histogram string // "" for a float
}

func (s testSample) String() string {
	if s.histogram != "" {
		return s.labels.String() + " " + s.histogram
	}
	return s.labels.String() + " " + strconv.FormatFloat(s.value, 'E', -1, 64)
}

// same reports whether two samples are equal; fuzzy allows the values to be
// neighbours.
func (s testSample) same(o testSample, fuzzy bool) bool {
	values := s.value == o.value || fuzzy && (math.Nextafter(s.value, math.Inf(-1)) == o.value || math.Nextafter(s.value, math.Inf(1)) == o.value)
	return labels.Equal(s.labels, o.labels) && values && s.histogram == o.histogram
}

// expr compares what an expression gives with what is expected.
func (r *testRun) expr(t exprTest) error {
	fail := func(err error) error { return fmt.Errorf("    expr: %q, time: %s, err: %w", t.Expr, t.At, err) }
	result, err := r.query(t.Expr, r.begin.Add(time.Duration(t.At)))
	if err != nil {
		return fail(err)
	}
	var got, want []testSample
	for _, s := range result {
		got = append(got, testSample{s.Metric, s.F, promqltest.HistogramTestExpression(s.H)})
	}
	for _, w := range t.Want {
		s, err := r.wanted(w.Labels, w.Value, w.Histogram)
		if err != nil {
			return fail(fmt.Errorf("labels %q: %w", w.Labels, err))
		}
		want = append(want, s)
	}
	for _, list := range [][]testSample{got, want} {
		slices.SortStableFunc(list, func(a, b testSample) int { return labels.Compare(a.labels, b.labels) })
	}
	if slices.EqualFunc(want, got, func(a, b testSample) bool { return a.same(b, r.file.Fuzzy) }) {
		return nil
	}
	return fmt.Errorf("    expr: %q, time: %s,\n        exp: %v\n        got: %v", t.Expr, t.At, printSamples(want), printSamples(got))
}

func (r *testRun) wanted(metric string, value float64, histogram string) (testSample, error) {
	p := r.checker.Parser
	ls, err := p.ParseMetric(metric)
	if err != nil || histogram == "" {
		return testSample{labels: ls, value: value}, err
	}
	_, values, err := p.ParseSeriesDesc("{} " + histogram)
	switch {
	case err != nil:
		return testSample{}, err
	case len(values) != 1:
		return testSample{}, fmt.Errorf("expected 1 value, got %d", len(values))
	case values[0].Histogram == nil:
		return testSample{}, fmt.Errorf("expected histogram, got %v", values[0])
	}
	return testSample{labels: ls, value: value, histogram: promqltest.HistogramTestExpression(values[0].Histogram)}, nil
}

// query evaluates an expression that gives a vector or a scalar.
func (r *testRun) query(expr string, at time.Time) (promql.Vector, error) {
	q, err := r.loader.QueryEngine().NewInstantQuery(r.loader.Context(), r.loader.Queryable(), nil, expr, at)
	if err != nil {
		return nil, err
	}
	result := q.Exec(r.loader.Context())
	if result.Err != nil {
		return nil, result.Err
	}
	switch v := result.Value.(type) {
	case promql.Vector:
		return v, nil
	case promql.Scalar:
		return promql.Vector{{T: v.T, F: v.V}}, nil
	}
	return nil, errors.New("rule result is not a vector or scalar")
}

func printSamples(all []testSample) string {
	if len(all) == 0 {
		return "nil"
	}
	texts := make([]string, len(all))
	for i, s := range all {
		texts[i] = s.String()
	}
	return strings.Join(texts, ", ")
}
