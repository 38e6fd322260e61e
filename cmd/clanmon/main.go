// Command clanmon is monitoring for a fleet of Linux machines: one binary whose
// first argument is its role.
//
// "clanmon exporter" runs on every machine and exposes its metrics. "clanmon
// server" scrapes, stores, queries and alerts; it is a drop-in for Prometheus,
// and a binary (or link) named "prometheus" is that role without the word. One
// named as an upstream exporter, such as "node_exporter", is that exporter alone.
//
// This package knows flags and exit codes and nothing else: each sub-command is
// one file holding a struct that parses its arguments and runs under a context.
// What it shares with cmd/clanmon-exporter is in cmd/internal/cli.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/clanmon/clanmon/cmd/internal/cli"
	"github.com/clanmon/clanmon/cmd/internal/nogc"
	"github.com/clanmon/clanmon/exporter"
	"github.com/clanmon/clanmon/exporter/blackbox"
	"github.com/clanmon/clanmon/exporter/blackbox/probing"
	"github.com/clanmon/clanmon/internal/suggest"
)

type commandInfo struct {
	name, help string
	make       func(cli.Env) cli.Command
}

// commands is the registry of sub-commands, in the order that help shows.
func commands() []commandInfo {
	return []commandInfo{
		{"server", "discover, scrape, store, query and alert; replaces prometheus", newServerCommand},
		{"exporter", "expose the metrics of this machine; replaces node_exporter", newExporterCommand},
		{"check", "check configuration and rule files; replaces promtool check", newCheckCommand},
		{"board", "convert dashboards of Grafana to boards, and back", newBoardCommand},
		{"event", "add a note to the changes that a server shows", newEventCommand},
		{"forget", "forget a machine or exporter that is gone for good", newForgetCommand},
		{"journal", "print the journal of a unit of a machine", newJournalCommand},
		{"job", "run a command and report how it ended", newJobCommand},
		{"look", "respond to requests for the journal and processes of this machine; started by clanmon-look.socket", newLookCommand},
		{"notify-test", "send a test notification and print how receivers respond", newNotifyTestCommand},
		{"snapshot", "copy the data of a running or stopped server, for a backup", newSnapshotCommand},
		{"rules", "print the built-in rules as a rule file", newRulesCommand},
		{"completion", "print a completion script for bash, zsh or fish", newCompletionCommand},
		{"man", "print the manual page", newManCommand},
		{"version", "print version and build information", newVersionCommand},
	}
}

func main() { os.Exit(run(os.Args, cli.Stdio())) }

// run is main with its surroundings passed in; it returns the exit code.
func run(argv []string, e cli.Env) int { return cli.ExitCode("clanmon", dispatch(argv, e), e) }

func dispatch(argv []string, e cli.Env) error {
	args := argv[1:]
	// An existing unit file or container command keeps working when only the
	// program's file is exchanged.
	switch name := cli.ProgramName(argv); name {
	case "prometheus":
		args = append([]string{"server"}, args...)
	case "promtool":
		return promtool(args, e)
	default:
		if like := cli.ExporterNamed(name); like != nil {
			args = slices.Concat([]string{"exporter"}, like, args)
		}
	}
	if len(args) == 0 {
		usage(e.Stderr)
		return &cli.ExitError{Code: 2}
	}
	switch args[0] {
	case "help", "--help", "-h":
		usage(e.Stdout)
		return nil
	case "--version":
		args[0] = "version"
	}
	all := commands()
	i := slices.IndexFunc(all, func(c commandInfo) bool { return c.name == args[0] })
	if i < 0 && strings.HasPrefix(args[0], "-") {
		return cli.UsageError("missing command: use clanmon server %s … or clanmon exporter %s …", args[0], args[0])
	}
	if i < 0 {
		names := make([]string, len(all))
		for i, c := range all {
			names[i] = c.name
		}
		return cli.UsageError("unknown command %q%s; commands: %s", args[0], suggest.Nearest(args[0], names), strings.Join(names, ", "))
	}
	if all[i].name != "server" { // whose configuration says it
		nogc.End()
	}
	return cli.Run(all[i].make(e), args[1:])
}

// promtool serves the sub-commands of Prometheus' own tool that build and probe
// scripts call; the rest of promtool is not here. A flag may precede them, as
// --enable-feature does there.
func promtool(args []string, e cli.Env) error {
	if slices.Equal(args, []string{"--version"}) {
		fmt.Fprintln(e.Stdout, cli.UpstreamVersion("promtool", cli.PrometheusModule))
		return nil
	}
	at := slices.IndexFunc(args, func(a string) bool { return !strings.HasPrefix(a, "-") })
	name := ""
	if at >= 0 {
		name = args[at]
	}
	switch {
	case name == "check":
		args = slices.Delete(slices.Clone(args), at, at+1)
		if at < len(args) && slices.Contains([]string{"metrics", "service-discovery"}, args[at]) {
			return notHere("check " + args[at])
		}
	case name != "test":
		return notHere(name)
	}
	nogc.End()
	c := newCheckCommand(e)
	if err := c.Parse(args); err != nil {
		return err
	}
	return c.Run(context.Background())
}

func notHere(command string) error {
	return cli.UsageError("promtool %s is not included in clanmon, only %q and %q; use Prometheus' promtool for everything else", command, "check config|rules|web-config|healthy|ready", "test rules")
}

// The blackbox exporter is in this program alone: it would make clanmon-exporter a third larger.
func init() { exporter.Link(blackbox.Name, probing.Serve) }

func newExporterCommand(e cli.Env) cli.Command {
	return cli.NewExporterCommand(e, "clanmon exporter")
}

func newLookCommand(e cli.Env) cli.Command { return cli.NewLookCommand(e, "clanmon look") }

func newJobCommand(e cli.Env) cli.Command { return cli.NewJobCommand(e, "clanmon job") }

func newEventCommand(e cli.Env) cli.Command { return cli.NewEventCommand(e, "clanmon event") }

func newVersionCommand(e cli.Env) cli.Command {
	return cli.NewVersionCommand(e, "clanmon", cli.PrometheusModule)
}

func usage(w io.Writer) {
	fmt.Fprint(w, "usage: clanmon COMMAND [flags]\n\nCommands:\n")
	for _, c := range commands() {
		fmt.Fprintf(w, "  %-12s %s\n", c.name, c.help)
	}
	fmt.Fprint(w, "\nclanmon COMMAND --help lists the flags of a command.\n")
}
