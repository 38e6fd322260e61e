// Command clanmon-exporter is "clanmon exporter" as a program of its own, without
// the server: a fifth of the size, for machines that only expose their metrics.
// Flags, environment, messages and exit codes are the same, and so are the names
// that it may be called by, such as "node_exporter".
package main

import (
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
		case "help":
			args[0] = "--help"
		}
	}
	return cli.Run(cli.NewExporterCommand(e, program), args)
}
