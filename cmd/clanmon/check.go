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
	"github.com/clanmon/clanmon/server"
	"github.com/clanmon/clanmon/server/boards"
	"github.com/clanmon/clanmon/server/config/check"
	"github.com/clanmon/clanmon/server/delivery"
	"github.com/clanmon/clanmon/server/identity"
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

	server cli.Reach // of healthy and ready
	tests  []string  // names of tests to run
	junit  string
}

func newCheckCommand(e cli.Env) cli.Command {
	c := &checkCommand{env: e}
	c.checker = check.Checker{Out: e.Stdout, Err: e.Stderr, In: e.Stdin, Board: boards.CheckFile, Log: promslog.New(&promslog.Config{Writer: e.Stderr})}
	c.app = cli.NewApp("clanmon check", "Check files without starting anything. Exits with 0 if valid, 1 if invalid, 3 for lint errors with --lint-fatal.", e)
	c.app.Flag("query.lookback-delta", "The server's maximum query lookback duration.").Default("5m").DurationVar(&c.lookback)
	c.app.Flag("enable-feature", "Comma separated feature names to enable. Valid options: promql-experimental-functions, promql-delayed-name-removal, promql-unquoted-utf8-names. See https://prometheus.io/docs/prometheus/latest/feature_flags/ for more details").StringsVar(&c.features)

	k := &c.checker
	config := c.sub("config", "Check if the config files are valid or not.", k.Config)
	config.Flag("syntax-only", "Only check the config file syntax, ignoring file and content validation referenced in the config").BoolVar(&k.SyntaxOnly)
	config.Flag("agent", "Check config file for Prometheus in Agent mode.").BoolVar(&k.Agent)
	c.lintFlags(config, " to the rules/scrape configs specified in the config", "rule groups read by the config files", "all, duplicate-rules, none, too-long-scrape-interval")
	config.Arg("config-files", "The config files to check.").Required().ExistingFilesVar(&c.files)

	rules := c.sub("rules", "Check if the rule files are valid or not.", k.Rules)
	c.lintFlags(rules, "", "rule files", "all, duplicate-rules, none")
	rules.Arg("rule-files", "The rule files to check, default is read from standard input.").ExistingFilesVar(&c.files)

	web := c.sub("web-config", "Check if the web config files are valid or not.", k.WebConfig)
	web.Arg("web-config-files", "The config files to check.").Required().ExistingFilesVar(&c.files)

	alertmanager := c.sub("alertmanager", "Check if Alertmanager configuration files, their templates and secret files are valid or not.", c.alertmanager)
	alertmanager.Flag("syntax-only", "Only check the config file syntax, without reading secret files.").BoolVar(&k.SyntaxOnly)
	alertmanager.Arg("alertmanager-files", "The configuration files to check.").Required().ExistingFilesVar(&c.files)

	settings := c.sub("settings", "Check if files of --clan.settings, and the files they refer to, are valid or not.", k.Settings)
	settings.Flag("syntax-only", "Only check the settings file syntax, without reading certificates, keys and credentials.").BoolVar(&k.SyntaxOnly)
	k.Server = server.CheckSettings
	settings.Arg("settings-files", "The settings files to check.").Required().ExistingFilesVar(&c.files)

	boardFiles := c.sub("boards", "Check if files of --boards are valid or not.", k.Boards)
	boardFiles.Arg("board-files", "The board files to check.").Required().ExistingFilesVar(&c.files)

	for _, state := range []string{"healthy", "ready"} {
		cmd := c.sub(state, "Check if the Prometheus server is "+state+".", func(...string) int { return c.status("/-/" + state) })
		c.server.Flags(cmd.Flag, "url", "The URL for the Prometheus server.")
	}

	test := c.app.Command("test", "Unit testing.")
	test.Flag("junit", "File path to store JUnit XML test results.").PlaceHolder("FILE").StringVar(&c.junit)
	testRules := c.action(test.Command("rules", "Unit tests for rules."), c.testRules)
	testRules.Flag("run", "If set, will only run test groups whose names match the regular expression. Can be specified multiple times.").StringsVar(&c.tests)
	testRules.Flag("ignore-unknown-fields", "Ignore unknown fields in the test files. This is useful when you want to extend rule files with custom metadata. Ensure that those fields are removed before loading them into the Prometheus server as it performs strict checks by default.").Default("false").BoolVar(&k.IgnoreUnknownFields)
	testRules.Arg("test-rule-file", "The unit test file.").Required().ExistingFilesVar(&c.files)

	flags := c.sub("flags", "Check the flags of a command without starting it: clanmon check flags server -- --retention=30d", c.flags)
	flags.Arg("role", "server or exporter.").Required().EnumVar(&c.role, "server", "exporter")
	flags.Arg("flags", "Flags to check.").StringsVar(&c.files)
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
	if err := s.identity().Check(); err != nil {
		return err
	}
	settings, err := discovery.ReadFlags(d)
	if err == nil && d.Inventory == "" {
		_, err = settings.Parts()
	}
	return err
}

// identity is what the flags say about it. Without --web.external-url it depends on the
// certificate in a file whether the server's URL is https.
func (c *serverCommand) identity() identity.Options {
	i := c.opts.Identity
	if c.externalURL != "" {
		i.ExternalURL = c.opts.Web.ExternalURL
	}
	return i
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
	client, to, err := c.server.Client(path)
	if err != nil {
		return "", err
	}
	client.Timeout = 10 * time.Second
	req, err := http.NewRequest(http.MethodGet, to.String(), nil)
	if err != nil {
		return "", err
	}
	resp, err := c.server.Do(client, req)
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

func (c *checkCommand) lintFlags(cmd *kingpin.CmdClause, to, unknown, options string) {
	cmd.Flag("lint", "Linting checks to apply"+to+". Available options are: "+options+". Use --lint=none to disable linting").Default("duplicate-rules").StringVar(&c.lint)
	cmd.Flag("lint-fatal", "Make lint errors exit with exit code 3.").Default("false").BoolVar(&c.checker.LintFatal)
	cmd.Flag("ignore-unknown-fields", "Ignore unknown fields in the "+unknown+". This is useful when you want to extend rule files with custom metadata. Ensure that those fields are removed before loading them into the Prometheus server as it performs strict checks by default.").Default("false").BoolVar(&c.checker.IgnoreUnknownFields)
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
	if c.server.Server != "" {
		if err := c.server.Check(); err != nil {
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
