package main

import (
	"context"
	"fmt"

	"github.com/alecthomas/kingpin/v2"
	"go.yaml.in/yaml/v2"

	"github.com/clanmon/clanmon/cmd/internal/cli"
	"github.com/clanmon/clanmon/server/ruler"
)

// rulesCommand is "clanmon rules": it prints the rules in the binary as a rule
// file of Prometheus' format.
type rulesCommand struct {
	env  cli.Env
	app  *kingpin.Application
	opts ruler.ShippedOptions
}

func newRulesCommand(e cli.Env) cli.Command {
	c := &rulesCommand{env: e}
	c.app = cli.NewApp("clanmon rules", "Print the rules in the binary as a rule file. A server evaluates them as --rules.builtin says.", e)
	shippedRuleFlags(c.app.Flag, &c.opts)
	return c
}

// shippedRuleFlags defines the flags that change the shipped rules.
func shippedRuleFlags(flag func(name, help string) *kingpin.FlagClause, o *ruler.ShippedOptions) {
	flag("rules.disable", "Leave this rule of the binary out. Repeatable.").PlaceHolder("NAME").StringsVar(&o.Disable)
	flag("rules.set", "Change a rule of the binary: NAME.threshold=0.2, NAME.for=10m, NAME.severity=info. Repeatable.").PlaceHolder("NAME.SETTING=VALUE").StringsVar(&o.Set)
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
	_, err = fmt.Fprintf(c.env.Stdout, "# The rules in the binary of clanmon %s. A rule of the same name in a file of\n# rule_files takes the place of one of these.\n%s", cli.BuildVersion, text)
	return err
}
