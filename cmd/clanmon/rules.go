package main

import (
	"context"
	"fmt"

	"github.com/alecthomas/kingpin/v2"
	"go.yaml.in/yaml/v2"

	"github.com/clanmon/clanmon/cmd/internal/cli"
	"github.com/clanmon/clanmon/server/ruler"
)

// rulesCommand is "clanmon rules": it prints the built-in rules as a Prometheus rule file.
type rulesCommand struct {
	env  cli.Env
	app  *kingpin.Application
	opts ruler.ShippedOptions
}

func newRulesCommand(e cli.Env) cli.Command {
	c := &rulesCommand{env: e}
	c.app = cli.NewApp("clanmon rules", "Print the built-in rules as a rule file. --rules.builtin of the server says whether it evaluates them.", e)
	shippedRuleFlags(c.app.Flag, &c.opts)
	return c
}

// shippedRuleFlags defines the flags that change the shipped rules.
func shippedRuleFlags(flag func(name, help string) *kingpin.FlagClause, o *ruler.ShippedOptions) {
	flag("rules.disable", "Name of a built-in rule to disable. Repeatable.").PlaceHolder("NAME").StringsVar(&o.Disable)
	flag("rules.set", "Setting of a built-in rule: NAME.threshold=0.2, NAME.for=10m, NAME.severity=info. Repeatable.").PlaceHolder("NAME.SETTING=VALUE").StringsVar(&o.Set)
	flag("jobs.backup-units", "Name of a service that makes backups, in addition to those that are known by name. * is any text. Repeatable.").PlaceHolder("NAME").StringsVar(&o.BackupUnits)
}

func (c *rulesCommand) Parse(args []string) error { return cli.ParseFlags(c.app, args) }

func (c *rulesCommand) Run(context.Context) error {
	shipped, err := ruler.NewShipped(c.opts)
	if err != nil {
		return cli.UsageError("%w", err)
	}
	text, err := yaml.Marshal(shipped.Groups())
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.env.Stdout, "# Built-in rules of clanmon %s. A rule of the same name in rule_files replaces one of these.\n# runbook_url links to a page of clanmon.\n%s", cli.BuildVersion, text)
	return err
}
