// Command clanmon-exporter is "clanmon exporter" as a program of its own, without
// the server: a fifth of the size, for machines that only expose their metrics.
// Flags, environment, messages and exit codes are the same, and so are the names
// that it may be called by, such as "node_exporter".
package main

import (
	"io"
	"os"
	"slices"

	"github.com/clanmon/clanmon/cmd/internal/cli"
)

const program = "clanmon-exporter"

func main() { os.Exit(run(os.Args, cli.Stdio())) }

// run is main with its surroundings passed in; it returns the exit code.
func run(argv []string, e cli.Env) int { return cli.ExitCode(program, dispatch(argv, e), e) }

func dispatch(argv []string, e cli.Env) error {
	args := argv[1:]
	if like := cli.ExporterNamed(cli.ProgramName(argv)); like != nil {
		args = slices.Concat(like, args)
	}
	if len(args) > 0 {
		switch args[0] {
		case "version":
			return cli.Run(cli.NewVersionCommand(e, program), args[1:])
		case "healthy":
			return cli.Run(newHealthyCommand(e), args[1:])
		case "look":
			return cli.Run(cli.NewLookCommand(e, program+" look"), args[1:])
		case "job":
			return cli.Run(cli.NewJobCommand(e, program+" job"), args[1:])
		case "event":
			return cli.Run(cli.NewEventCommand(e, program+" event"), args[1:])
		case "completion":
			return cli.Run(cli.NewCompletionCommand(e, program, description), args[1:])
		case "man":
			return cli.Run(cli.NewManCommand(e, program, description), args[1:])
		case "help":
			args[0] = "--help"
		}
	}
	return cli.Run(cli.NewExporterCommand(e, program), args)
}

// description is what completion and the manual page know of the program.
func description() cli.Description {
	e := cli.Env{Stdout: io.Discard, Stderr: io.Discard}
	d := cli.Describe(program, cli.NewExporterCommand(e, program).Application())
	d.Commands = []cli.Description{
		cli.Describe("healthy", newHealthyCommand(e).app),
		cli.Describe("look", cli.NewLookCommand(e, program+" look").Application()),
		cli.Describe("job", cli.NewJobCommand(e, program+" job").Application()),
		cli.Describe("event", cli.NewEventCommand(e, program+" event").Application()),
		{Name: "completion", Help: "Print a completion script for bash, zsh or fish."},
		{Name: "man", Help: "Print the manual page."},
		{Name: "version", Help: "Print version and build."},
	}
	return d
}
