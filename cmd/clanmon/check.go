package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/common/model"
	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/clanmon/clanmon/cmd/internal/cli"
	"github.com/clanmon/clanmon/discovery"
	"github.com/clanmon/clanmon/internal/suggest"
	"github.com/clanmon/clanmon/server/config/check"
	"github.com/clanmon/clanmon/server/delivery"
	"github.com/clanmon/clanmon/server/ruler"
)

// checkCommand is "clanmon check", which answers as "promtool check" does.
type checkCommand struct {
	env      cli.Env
	app      *kingpin.Application
	checker  check.Checker
	parser   parser.Options
	features []string
	lint     string
	lookback time.Duration
	files    []string
	role     string
	run      func(files ...string) int

	server reach    // of healthy and ready
	tests  []string // names of tests to run
	junit  string
}

func newCheckCommand(e cli.Env) cli.Command {
	c := &checkCommand{env: e}
	c.checker = check.Checker{Out: e.Stdout, Err: e.Stderr, In: e.Stdin, Log: promslog.New(&promslog.Config{Writer: e.Stderr})}
	c.app = cli.NewApp("clanmon check", "Check files without starting anything. Exit code 0: fine, 1: faulty, 3: lint with --lint-fatal.", e)
	c.app.Flag("query.lookback-delta", "The server's lookback, from which on a scrape interval is too long.").Default("5m").DurationVar(&c.lookback)
	c.app.Flag("enable-feature", "Experimental PromQL features to allow, comma-separated. Repeatable.").StringsVar(&c.features)

	k := &c.checker
	config := c.sub("config", "Configuration files, and the files that they name.", k.Config)
	config.Flag("syntax-only", "Leave the files alone that a configuration names.").BoolVar(&k.SyntaxOnly)
	config.Flag("agent", "Check for agent mode.").BoolVar(&k.Agent)
	c.lintFlags(config, "all, duplicate-rules, too-long-scrape-interval, none")
	config.Arg("config-files", "The files.").Required().ExistingFilesVar(&c.files)

	rules := c.sub("rules", "Rule files, or standard input where none is named.", k.Rules)
	c.lintFlags(rules, "all, duplicate-rules, none")
	rules.Arg("rule-files", "The files.").ExistingFilesVar(&c.files)

	web := c.sub("web-config", "Files with TLS and authentication settings.", k.WebConfig)
	web.Arg("web-config-files", "The files.").Required().ExistingFilesVar(&c.files)

	alertmanager := c.sub("alertmanager", "Alertmanager configuration files, their templates, and the files of secrets that they name.", c.alertmanager)
	alertmanager.Flag("syntax-only", "Leave the files of secrets alone.").BoolVar(&k.SyntaxOnly)
	alertmanager.Arg("alertmanager-files", "The files.").Required().ExistingFilesVar(&c.files)

	settings := c.sub("settings", "Files of --clan.settings, and the files that they name.", k.Settings)
	settings.Flag("syntax-only", "Leave certificates, keys and credentials alone.").BoolVar(&k.SyntaxOnly)
	settings.Arg("settings-files", "The files.").Required().ExistingFilesVar(&c.files)

	for _, state := range []string{"healthy", "ready"} {
		cmd := c.sub(state, "Whether a server is "+state+".", func(...string) int { return c.status("/-/" + state) })
		c.server.flags(cmd.Flag, "url", "The URL for the server.")
	}

	test := c.app.Command("test", "Unit testing, as promtool test.")
	test.Flag("junit", "File path to store JUnit XML test results.").PlaceHolder("FILE").StringVar(&c.junit)
	testRules := c.action(test.Command("rules", "Unit tests for rules."), c.testRules)
	testRules.Flag("run", "If set, will only run test groups whose names match the regular expression. Can be specified multiple times.").StringsVar(&c.tests)
	testRules.Flag("ignore-unknown-fields", "Ignore unknown fields in the rule files; a server does not.").Default("false").BoolVar(&k.IgnoreUnknownFields)
	testRules.Arg("test-rule-file", "The unit test file.").Required().ExistingFilesVar(&c.files)

	flags := c.sub("flags", "The flags of a role, without starting it: clanmon check flags server -- --retention=30d", c.flags)
	flags.Arg("role", "server or exporter.").Required().EnumVar(&c.role, "server", "exporter")
	flags.Arg("flags", "Its flags.").StringsVar(&c.files)
	return c
}

// flags checks a command line where it is written: in a build, far from the
// machine that it is for. Files that it names are not looked at.
func (c *checkCommand) flags(args ...string) int {
	err := c.checkFlags(args)
	if err != nil {
		fmt.Fprintf(c.env.Stderr, "%s FAILED: %v\n", c.role, err)
		return 1
	}
	fmt.Fprintln(c.env.Stderr, c.role, "SUCCESS")
	return 0
}

func (c *checkCommand) checkFlags(args []string) error {
	if c.role == "exporter" {
		e := newExporterCommand(c.env).(*cli.ExporterCommand)
		if err := e.Parse(args); err != nil {
			return err
		}
		return e.Check()
	}
	s := newServerCommand(c.env).(*serverCommand)
	if err := s.Parse(args); err != nil {
		return err
	}
	if _, err := ruler.NewShipped(s.opts.Rules.Shipped); err != nil {
		return err
	}
	d := s.opts.Discovery
	if d.SettingsFile != "" {
		return nil
	}
	settings, err := discovery.ReadFlags(d)
	if err == nil && d.Inventory == "" {
		_, err = settings.Parts()
	}
	return err
}

func (c *checkCommand) alertmanager(files ...string) int {
	code := 0
	for _, f := range files {
		_, warnings, err := delivery.Check(f, c.checker.SyntaxOnly, c.checker.Log)
		if err != nil {
			fmt.Fprintln(c.env.Stderr, f, "FAILED:", err)
			code = 1
			continue
		}
		for _, w := range warnings {
			fmt.Fprintln(c.env.Stderr, f, "WARNING:", w)
		}
		fmt.Fprintln(c.env.Stderr, f, "SUCCESS")
	}
	return code
}

// status asks a server that runs, as promtool check healthy and ready do.
func (c *checkCommand) status(path string) int {
	text, err := c.askStatus(path)
	if err != nil {
		fmt.Fprintln(c.env.Stderr, "  FAILED:", err)
		return 1
	}
	fmt.Fprintln(c.env.Stderr, "  SUCCESS: ", text)
	return 0
}

func (c *checkCommand) askStatus(path string) (string, error) {
	client, to, err := c.server.client(path)
	if err != nil {
		return "", err
	}
	client.Timeout = 10 * time.Second
	req, err := http.NewRequest(http.MethodGet, to.String(), nil)
	if err != nil {
		return "", err
	}
	resp, err := c.server.do(client, req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("check failed: URL=%s, status=%d", to, resp.StatusCode)
	}
	return string(text), err
}

func (c *checkCommand) testRules(files ...string) int {
	var junit io.Writer
	if c.junit != "" {
		f, err := os.Create(c.junit)
		if err != nil {
			fmt.Fprintln(c.env.Stderr, "  FAILED: --junit:", err)
			return 1
		}
		defer f.Close()
		junit = f
	}
	return c.checker.RuleTests(c.tests, junit, files...)
}

func (c *checkCommand) sub(name, help string, run func(...string) int) *kingpin.CmdClause {
	return c.action(c.app.Command(name, help), run)
}

func (c *checkCommand) action(cmd *kingpin.CmdClause, run func(...string) int) *kingpin.CmdClause {
	return cmd.Action(func(*kingpin.ParseContext) error {
		c.run = run
		return nil
	})
}

func (c *checkCommand) lintFlags(cmd *kingpin.CmdClause, options string) {
	cmd.Flag("lint", "What to look for beside errors: "+options+".").Default("duplicate-rules").StringVar(&c.lint)
	cmd.Flag("lint-fatal", "Exit with code 3 if lint finds something.").Default("false").BoolVar(&c.checker.LintFatal)
	cmd.Flag("ignore-unknown-fields", "Allow unknown fields in rule files; a server does not.").Default("false").BoolVar(&c.checker.IgnoreUnknownFields)
}

func (c *checkCommand) Parse(args []string) error {
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		var names []string
		for _, sub := range c.app.Model().Commands {
			names = append(names, sub.Name)
		}
		if c.app.GetCommand(args[0]) == nil {
			return cli.UsageError("unknown check %q%s; one of: %s", args[0], suggest.Nearest(args[0], names), strings.Join(names, ", "))
		}
	}
	if err := cli.ParseFlags(c.app, args); err != nil {
		if ee, ok := errors.AsType[*cli.ExitError](err); ok && ee.Code == 2 && !strings.Contains(err.Error(), "unknown") {
			ee.Code = 1 // a file that is missing is a finding, as in promtool
		}
		return err
	}
	if c.server.server != "" {
		if err := c.server.check(); err != nil {
			return err
		}
	}
	c.enableFeatures()
	c.chooseLint()
	c.checker.Parser = parser.NewParser(c.parser)
	return nil
}

func (c *checkCommand) enableFeatures() {
	for _, list := range c.features {
		for f := range strings.SplitSeq(list, ",") {
			switch f {
			case "promql-experimental-functions":
				c.parser.EnableExperimentalFunctions = true
			case "promql-unquoted-utf8-names":
				c.parser.EnableUnquotedUTF8Names = true
			case "promql-binop-fill-modifiers":
				c.parser.EnableBinopFillModifiers = true
			case "promql-delayed-name-removal":
				c.checker.DelayedNameRemoval = true
			case "promql-duration-expr", "promql-extended-range-selectors", "":
				// Always on, or of no concern to a check.
			default:
				fmt.Fprintf(c.env.Stdout, "  WARNING: Unknown feature passed to --enable-feature: %s", f)
			}
		}
	}
}

// chooseLint reads --lint; "none" wins over all others.
func (c *checkCommand) chooseLint() {
	k := &c.checker
	interval := false
	for option := range strings.SplitSeq(c.lint, ",") {
		switch option {
		case "all":
			k.LintDuplicates, interval = true, true
		case "duplicate-rules":
			k.LintDuplicates = true
		case "too-long-scrape-interval":
			interval = true
		case "none", "":
		default:
			fmt.Fprintf(c.env.Stdout, "WARNING: unknown lint option: %q\n", option)
		}
	}
	if interval {
		k.LintInterval = model.Duration(c.lookback)
	}
	if strings.Contains(","+c.lint+",", ",none,") {
		k.LintDuplicates, k.LintInterval = false, 0
	}
}

func (c *checkCommand) Run(context.Context) error {
	if code := c.run(c.files...); code != 0 {
		return &cli.ExitError{Code: code}
	}
	return nil
}
