// Package check examines configuration, rule and web configuration files
// without starting anything.
//
// It answers as promtool does: scripts and build systems read the lines and the
// exit codes, so both are promtool's. The judgement itself is upstream's, whose
// loaders are called; what is here is the walk over the files that a
// configuration names.
package check

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	commonconfig "github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
	toolkit "github.com/prometheus/exporter-toolkit/web"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery"
	"github.com/prometheus/prometheus/discovery/file"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/notifier"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/rules"
	"github.com/prometheus/prometheus/scrape"
	"go.yaml.in/yaml/v2"

	// Which service discoveries a file may name.
	finding "github.com/clanmon/clanmon/discovery"
	server "github.com/clanmon/clanmon/server/config"
)

// Exit codes, as promtool has them.
const (
	exitOK     = 0
	exitFailed = 1
	exitLint   = 3 // only lint found fault, and lint is fatal
)

// Checker examines files. Its zero value is not usable: Parser, Log and the
// writers are required.
type Checker struct {
	Out, Err io.Writer // what passed and what did not
	In       io.Reader // rules, where no file is named
	Parser   parser.Parser
	Board    func(file string) error // reads a file of --boards as the server does
	Log      *slog.Logger            // the loaders' warnings

	Agent               bool
	SyntaxOnly          bool // leave the files alone that a configuration names
	IgnoreUnknownFields bool // in rule files
	DelayedNameRemoval  bool // in tests of rules: the experimental feature of that name
	LintDuplicates      bool
	LintFatal           bool
	// LintInterval is the lookback from which on a scrape interval is too long;
	// 0 allows any.
	LintInterval model.Duration
	// Server looks at the sections of a settings file that other packages know; nil for
	// none.
	Server func(file string, syntaxOnly bool) error
}

// verdict collects what was found over several files.
type verdict struct{ failed, errors bool }

func (v verdict) exit(lintFatal bool) int {
	switch {
	case v.failed && v.errors:
		return exitFailed
	case v.failed && lintFatal:
		return exitLint
	}
	return exitOK
}

// Config examines configuration files, and unless SyntaxOnly the rule, target
// and credential files that they name. It returns the exit code.
func (c *Checker) Config(files ...string) int {
	var v verdict
	for _, f := range files {
		ruleFiles, scrapes, err := c.config(f)
		if err != nil {
			fmt.Fprintln(c.Err, "  FAILED:", err)
			v = verdict{true, true}
		} else {
			if len(ruleFiles) > 0 {
				fmt.Fprintf(c.Out, "  SUCCESS: %d rule files found\n", len(ruleFiles))
			}
			fmt.Fprintf(c.Out, " SUCCESS: %s is valid prometheus config file syntax\n", f)
		}
		fmt.Fprintln(c.Out)
		if c.SyntaxOnly {
			continue
		}
		c.lintScrapes(scrapes, &v)
		c.ruleFiles(ruleFiles, &v)
	}
	return v.exit(c.LintFatal)
}

// Rules examines rule files, or In where there are none.
func (c *Checker) Rules(files ...string) int {
	var v verdict
	if len(files) > 0 {
		c.ruleFiles(files, &v)
		return v.exit(c.LintFatal)
	}
	fmt.Fprintln(c.Out, "Checking standard input")
	data, err := io.ReadAll(c.In)
	if err != nil {
		fmt.Fprintln(c.Err, "  FAILED:", err)
		return exitFailed
	}
	c.groups(func() (*rulefmt.RuleGroups, []error) {
		return rulefmt.Parse(data, c.IgnoreUnknownFields, model.UTF8Validation, c.Parser, c.Log)
	}, &v)
	if !v.errors {
		fmt.Fprintln(c.Out)
	}
	return v.exit(c.LintFatal)
}

// WebConfig examines files with TLS and authentication settings.
func (c *Checker) WebConfig(files ...string) int {
	code := exitOK
	for _, f := range files {
		if err := toolkit.Validate(f); err != nil {
			fmt.Fprintln(c.Err, f, "FAILED:", err)
			code = exitFailed
			continue
		}
		fmt.Fprintln(c.Err, f, "SUCCESS")
	}
	return code
}

// Boards checks files of --boards.
func (c *Checker) Boards(files ...string) int {
	code := exitOK
	for _, f := range files {
		if err := c.Board(f); err != nil {
			fmt.Fprintln(c.Err, "FAILED:", err)
			code = exitFailed
			continue
		}
		fmt.Fprintln(c.Out, f, "SUCCESS")
	}
	return code
}

func (c *Checker) boards(files []string) error {
	var errs []error
	for _, f := range files {
		errs = append(errs, c.Board(f))
	}
	return errors.Join(errs...)
}

// Settings examines files of the clan's settings as a server reads them, with
// the inventory that they name, and unless SyntaxOnly the certificates, keys and
// credentials.
func (c *Checker) Settings(files ...string) int {
	code := exitOK
	for _, f := range files {
		// Beside an empty configuration file.
		loader := server.NewLoader(server.Options{File: os.DevNull, Discovery: finding.Flags{SettingsFile: f}})
		cfg, err := loader.Load(c.Log)
		if err == nil {
			err = c.settingsTLS(f)
		}
		if err == nil && !c.SyntaxOnly {
			err = errors.Join(c.namedFiles(cfg.ScrapeConfigs), c.boards(loader.Boards()))
		}
		if err == nil && c.Server != nil {
			err = c.Server(f, c.SyntaxOnly)
		}
		if err != nil {
			fmt.Fprintln(c.Err, f, "FAILED:", err)
			code = exitFailed
			continue
		}
		// A server leaves these out and starts.
		refused, err := finding.Refused(finding.Flags{SettingsFile: f})
		if err != nil || len(refused) > 0 {
			code = exitFailed
		}
		switch {
		case err != nil:
			fmt.Fprintln(c.Err, f, "FAILED:", err)
		case len(refused) == 0:
			fmt.Fprintln(c.Err, f, "SUCCESS")
		}
		for _, r := range refused {
			fmt.Fprintf(c.Err, "%s FAILED: %s: %s: %s\n", f, r.Method, r.Entry, r.Reason)
		}
	}
	return code
}

// settingsTLS looks for the files of the section tls, also where no method is chosen
// and nothing is scraped with them, and names all that are missing.
func (c *Checker) settingsTLS(file string) error {
	settings, err := finding.ReadFlags(finding.Flags{SettingsFile: file})
	if err != nil || settings.TLS == nil {
		return err
	}
	if len(settings.Methods) == 0 {
		fmt.Fprintln(c.Err, file, "WARNING: tls has no effect: no discovery method is enabled")
	}
	if c.SyntaxOnly {
		return nil
	}
	var errs []error
	for _, f := range [][2]string{{"caFile", settings.TLS.CAFile}, {"certFile", settings.TLS.CertFile}, {"keyFile", settings.TLS.KeyFile}} {
		name := commonconfig.JoinDir(filepath.Dir(file), f[1])
		if err := exists(name); err != nil {
			errs = append(errs, fmt.Errorf("tls.%s %q: %w", f[0], name, errors.Unwrap(err)))
		}
	}
	return errors.Join(errs...)
}

// namedFiles looks at the files that scrape configurations name. All jobs of
// discovery have the same ones, so each mistake is said once.
func (c *Checker) namedFiles(scrapes []*config.ScrapeConfig) error {
	var errs []error
	said := make(map[string]bool)
	for _, s := range scrapes {
		err := c.scrape(s)
		if ca := s.HTTPClientConfig.TLSConfig.CAFile; err == nil {
			if err = exists(ca); err != nil {
				err = fmt.Errorf("error checking CA file %q: %w", ca, err)
			}
		}
		if err != nil && !said[err.Error()] {
			said[err.Error()] = true
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// config loads one file and looks at what it names.
func (c *Checker) config(name string) (ruleFiles []string, scrapes []*config.ScrapeConfig, err error) {
	fmt.Fprintln(c.Out, "Checking", name)
	cfg, err := config.LoadFile(name, c.Agent, c.Log)
	if err != nil {
		return nil, nil, finding.Explain(err)
	}
	scrapes = cfg.ScrapeConfigs
	if !c.SyntaxOnly {
		if ruleFiles, err = findRuleFiles(cfg.RuleFiles); err != nil {
			return nil, nil, err
		}
		if scrapes, err = cfg.GetScrapeConfigs(); err != nil {
			return nil, nil, fmt.Errorf("error loading scrape configs: %w", finding.Explain(err))
		}
	}
	for _, s := range scrapes {
		if err := c.scrape(s); err != nil {
			return nil, nil, err
		}
	}
	for _, am := range cfg.AlertingConfig.AlertmanagerConfigs {
		err := c.targets(am.ServiceDiscoveryConfigs, "alertmanager config", func(groups []*targetgroup.Group) error {
			for _, g := range groups {
				if _, _, err := notifier.AlertmanagerFromGroup(g, am); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return nil, nil, err
		}
	}
	return ruleFiles, scrapes, nil
}

// findRuleFiles expands patterns; a name without one has to exist.
func findRuleFiles(patterns []string) ([]string, error) {
	var found []string
	for _, p := range patterns {
		matches, err := filepath.Glob(p)
		if err != nil {
			return nil, err
		}
		if !strings.Contains(p, "*") {
			if len(matches) == 0 {
				return nil, fmt.Errorf("%q does not point to an existing file", p)
			}
			if err := exists(matches[0]); err != nil {
				return nil, fmt.Errorf("error checking rule file %q: %w", matches[0], err)
			}
		}
		found = append(found, matches...)
	}
	return found, nil
}

func (c *Checker) scrape(s *config.ScrapeConfig) error {
	if auth := s.HTTPClientConfig.Authorization; !c.SyntaxOnly && auth != nil {
		if err := exists(auth.CredentialsFile); err != nil {
			return fmt.Errorf("error checking authorization credentials or bearer token file %q: %w", auth.CredentialsFile, err)
		}
	}
	if err := c.tls(s.HTTPClientConfig.TLSConfig); err != nil {
		return err
	}
	builder := labels.NewBuilder(labels.EmptyLabels())
	accept := func(groups []*targetgroup.Group) error {
		var targets []*scrape.Target
		for _, g := range groups {
			var failures []error
			if targets, failures = scrape.TargetsFromGroup(g, s, targets, builder); len(failures) > 0 {
				return failures[0]
			}
		}
		return nil
	}
	for _, sd := range s.ServiceDiscoveryConfigs {
		if tls, ok := kubernetesTLS(sd); ok {
			if err := c.tls(tls); err != nil {
				return err
			}
		}
		if err := c.targets(discovery.Configs{sd}, fmt.Sprintf("scrape job %q", s.JobName), accept); err != nil {
			return err
		}
	}
	return nil
}

// targets hands the target groups that are known without asking anybody, those
// of static and file discovery, to accept.
func (c *Checker) targets(sds discovery.Configs, where string, accept func([]*targetgroup.Group) error) error {
	for _, sd := range sds {
		switch sd := sd.(type) {
		case discovery.StaticConfig:
			if err := accept(sd); err != nil {
				return err
			}
		case *file.SDConfig:
			if c.SyntaxOnly {
				continue
			}
			for _, pattern := range sd.Files {
				if err := c.targetFiles(pattern, where, accept); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (c *Checker) targetFiles(pattern, where string, accept func([]*targetgroup.Group) error) error {
	matches, err := filepath.Glob(pattern)
	if err != nil {
		return err
	}
	if len(matches) == 0 {
		fmt.Fprintf(c.Out, "  WARNING: file %q for file_sd in %s does not exist\n", pattern, where)
	}
	for _, m := range matches {
		groups, err := readTargets(m)
		if err != nil {
			return fmt.Errorf("checking SD file %q: %w", pattern, err)
		}
		if err := accept(groups); err != nil {
			return err
		}
	}
	return nil
}

// readTargets reads a file of file discovery, JSON or YAML by its ending.
func readTargets(name string) ([]*targetgroup.Group, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	var groups []*targetgroup.Group
	switch ext := filepath.Ext(name); strings.ToLower(ext) {
	case ".json":
		err = json.Unmarshal(data, &groups)
	case ".yml", ".yaml":
		err = yaml.UnmarshalStrict(data, &groups)
	default:
		err = fmt.Errorf("invalid file extension: %q", ext)
	}
	if err != nil {
		return nil, err
	}
	if i := slices.Index(groups, nil); i >= 0 {
		return nil, fmt.Errorf("nil target group item found (index %d)", i)
	}
	return groups, nil
}

func (c *Checker) tls(t commonconfig.TLSConfig) error {
	switch {
	case t.CertFile != "" && t.KeyFile == "":
		return fmt.Errorf("client cert file %q specified without client key file", t.CertFile)
	case t.KeyFile != "" && t.CertFile == "":
		return fmt.Errorf("client key file %q specified without client cert file", t.KeyFile)
	case c.SyntaxOnly:
		return nil
	}
	if err := exists(t.CertFile); err != nil {
		return fmt.Errorf("error checking client cert file %q: %w", t.CertFile, err)
	}
	if err := exists(t.KeyFile); err != nil {
		return fmt.Errorf("error checking client key file %q: %w", t.KeyFile, err)
	}
	return nil
}

// exists is content with no name at all.
func exists(name string) error {
	if name == "" {
		return nil
	}
	_, err := os.Stat(name)
	return err
}

func (c *Checker) lintScrapes(scrapes []*config.ScrapeConfig, v *verdict) {
	for _, s := range scrapes {
		if c.LintInterval > 0 && s.ScrapeInterval >= c.LintInterval {
			fmt.Fprintf(c.Err, "  FAILED: too long scrape interval found, data point will be marked as stale - job: %s, interval: %s\n", s.JobName, s.ScrapeInterval)
			v.failed = true
			return
		}
	}
}

func (c *Checker) ruleFiles(files []string, v *verdict) {
	for _, f := range files {
		fmt.Fprintln(c.Out, "Checking", f)
		broken := c.groups(func() (*rulefmt.RuleGroups, []error) {
			return rulefmt.ParseFile(f, c.IgnoreUnknownFields, model.UTF8Validation, c.Parser, c.Log)
		}, v)
		if !broken {
			fmt.Fprintln(c.Out)
		}
	}
}

// groups parses and lints the rule groups of one file. It returns whether the
// file could not be parsed.
func (c *Checker) groups(parse func() (*rulefmt.RuleGroups, []error), v *verdict) (broken bool) {
	groups, errs := parse()
	if len(errs) > 0 {
		fmt.Fprintln(c.Err, "  FAILED:")
		for _, err := range errs {
			fmt.Fprintln(c.Err, err)
		}
		*v = verdict{true, true}
		return true
	}
	if text := c.duplicates(groups.Groups); text != "" {
		fmt.Fprintln(c.Err, "  FAILED:")
		fmt.Fprintln(c.Err, text)
		v.failed = true
		return false
	}
	n := 0
	for _, g := range groups.Groups {
		n += len(g.Rules)
	}
	fmt.Fprintf(c.Out, "  SUCCESS: %d rules found\n", n)
	return false
}

// duplicates describes the rules that occur more than once, with the same name
// and labels, or is "".
func (c *Checker) duplicates(groups []rulefmt.RuleGroup) string {
	if !c.LintDuplicates {
		return ""
	}
	type rule struct {
		name   string
		labels labels.Labels
	}
	var all []rule
	for _, g := range groups {
		for _, r := range g.Rules {
			all = append(all, rule{r.Record + r.Alert, rules.FromMaps(g.Labels, r.Labels)})
		}
	}
	compare := func(a, b rule) int {
		if by := strings.Compare(a.name, b.name); by != 0 {
			return by
		}
		return labels.Compare(a.labels, b.labels)
	}
	slices.SortFunc(all, compare)
	var twice []rule
	for i := 1; i < len(all); i++ {
		if compare(all[i-1], all[i]) == 0 && (len(twice) == 0 || compare(twice[len(twice)-1], all[i]) != 0) {
			twice = append(twice, all[i])
		}
	}
	if len(twice) == 0 {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%v %d duplicate rule(s) found.\n", errLint, len(twice))
	for _, r := range twice {
		fmt.Fprintf(&b, "Metric: %s\nLabel(s):\n", r.name)
		r.labels.Range(func(l labels.Label) { fmt.Fprintf(&b, "\t%s: %s\n", l.Name, l.Value) })
	}
	b.WriteString("Might cause inconsistency while recording expressions")
	return b.String()
}

var errLint = errors.New("lint error")
