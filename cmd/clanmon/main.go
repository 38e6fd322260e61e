// Command clanmon is monitoring for a fleet of Linux machines: one binary whose
// first argument is its role.
//
// "clanmon exporter" runs on every machine and exposes its metrics. "clanmon
// server" scrapes, stores, queries and alerts; it is a drop-in for Prometheus,
// and a binary (or link) named "prometheus" is that role without the word. One
// named as an upstream exporter, such as "node_exporter", is that exporter alone.
//
// This package knows flags, signals and exit codes and nothing else: each
// sub-command is one file holding a struct that parses its arguments and runs
// under a context. It is the only user of os/signal.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/clanmon/clanmon/internal/suggest"
)

// A command is one sub-command. Parse reads the arguments after its name;
// Run does the work and returns when ctx is cancelled or the work is done.
type command interface {
	Parse(args []string) error
	Run(ctx context.Context) error
}

// env is what a command sees of the process, so that tests can replace it.
type env struct {
	stdin          io.Reader
	stdout, stderr io.Writer
}

type commandInfo struct {
	name, help string
	make       func(env) command
}

// commands is the registry of sub-commands, in the order that help shows.
var commands = []commandInfo{
	{"server", "find, scrape, store, query and alert (a drop-in for Prometheus)", newServerCommand},
	{"exporter", "expose the metrics of this machine", newExporterCommand},
	{"check", "check configuration, rule and web files, as promtool does", newCheckCommand},
	{"forget", "forget a machine or exporter that is gone for good", newForgetCommand},
	{"notify-test", "send a test notification and report what the receivers answer", newNotifyTestCommand},
	{"rules", "print the rules in the binary, as a rule file", newRulesCommand},
	{"version", "print version and build", newVersionCommand},
}

// An exitError carries the exit code that a caller of the peers expects.
// A nil err means that everything worth saying has been printed.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// usageError is an error in how clanmon was called: exit code 2.
func usageError(format string, args ...any) error {
	return &exitError{code: 2, err: fmt.Errorf(format, args...)}
}

func main() {
	os.Exit(run(os.Args, env{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr}))
}

// run is main with its surroundings passed in; it returns the exit code.
func run(argv []string, e env) int {
	err := dispatch(argv, e)
	if err == nil {
		return 0
	}
	code := 1
	if ee, ok := errors.AsType[*exitError](err); ok {
		code = ee.code
		if ee.err == nil {
			return code
		}
	}
	fmt.Fprintf(e.stderr, "clanmon: %v\n", err)
	return code
}

func dispatch(argv []string, e env) error {
	args := argv[1:]
	// An existing unit file or container command keeps working when only the
	// program's file is exchanged.
	switch name := strings.TrimSuffix(filepath.Base(argv[0]), ".exe"); name {
	case "prometheus":
		args = append([]string{"server"}, args...)
	case "promtool":
		return promtool(args, e)
	default:
		if like := exporterNamed(name); like != nil {
			args = slices.Concat([]string{"exporter"}, like, args)
		}
	}
	if len(args) == 0 {
		usage(e.stderr)
		return &exitError{code: 2}
	}
	switch args[0] {
	case "help", "--help", "-h":
		usage(e.stdout)
		return nil
	case "--version":
		args[0] = "version"
	}
	i := slices.IndexFunc(commands, func(c commandInfo) bool { return c.name == args[0] })
	if i < 0 && strings.HasPrefix(args[0], "-") {
		return usageError("the role comes first: clanmon server %s …, or clanmon exporter %s …", args[0], args[0])
	}
	if i < 0 {
		names := make([]string, len(commands))
		for i, c := range commands {
			names[i] = c.name
		}
		return usageError("unknown role %q%s; one of: %s", args[0], suggest.Nearest(args[0], names), strings.Join(names, ", "))
	}
	c := commands[i].make(e)
	if err := c.Parse(args[1:]); err != nil {
		return err
	}
	ctx, stop := signalContext()
	defer stop()
	return c.Run(ctx)
}

// promtool serves the sub-commands of Prometheus' own tool that build and probe
// scripts call; the rest of promtool is not here. A flag may precede them, as
// --enable-feature does there.
func promtool(args []string, e env) error {
	if slices.Equal(args, []string{"--version"}) {
		fmt.Fprintln(e.stdout, upstreamVersion("promtool", prometheusModule))
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
	c := newCheckCommand(e)
	if err := c.Parse(args); err != nil {
		return err
	}
	return c.Run(context.Background())
}

func notHere(command string) error {
	return usageError("promtool %s is not in clanmon, which has %q and %q; for everything else use Prometheus' own promtool", command, "check config|rules|web-config|healthy|ready", "test rules")
}

func usage(w io.Writer) {
	fmt.Fprint(w, "usage: clanmon ROLE [flags]\n\nRoles:\n")
	for _, c := range commands {
		fmt.Fprintf(w, "  %-12s %s\n", c.name, c.help)
	}
	fmt.Fprint(w, "\nclanmon ROLE --help lists the flags of a role.\n")
}
