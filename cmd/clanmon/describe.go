package main

import (
	"io"

	"github.com/alecthomas/kingpin/v2"

	"github.com/clanmon/clanmon/cmd/internal/cli"
)

// A hasFlags command has flags that completion and the manual page list.
type hasFlags interface{ Application() *kingpin.Application }

func (c *serverCommand) Application() *kingpin.Application     { return c.app }
func (c *boardCommand) Application() *kingpin.Application      { return c.app }
func (c *checkCommand) Application() *kingpin.Application      { return c.app }
func (c *forgetCommand) Application() *kingpin.Application     { return c.app }
func (c *notifyTestCommand) Application() *kingpin.Application { return c.app }
func (c *rulesCommand) Application() *kingpin.Application      { return c.app }
func (c *snapshotCommand) Application() *kingpin.Application   { return c.app }

// description is what completion and the manual page know of clanmon.
func description() cli.Description {
	d := cli.Description{Name: "clanmon", Help: "monitoring for a fleet of Linux machines"}
	for _, c := range commands() {
		sub := cli.Description{Name: c.name, Help: c.help}
		if made, ok := c.make(cli.Env{Stdout: io.Discard, Stderr: io.Discard}).(hasFlags); ok {
			sub = cli.Describe(c.name, made.Application())
		}
		d.Commands = append(d.Commands, sub)
	}
	return d
}

func newCompletionCommand(e cli.Env) cli.Command {
	return cli.NewCompletionCommand(e, "clanmon", description)
}

func newManCommand(e cli.Env) cli.Command { return cli.NewManCommand(e, "clanmon", description) }
