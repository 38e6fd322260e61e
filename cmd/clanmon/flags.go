package main

import (
	"errors"
	"fmt"
	"regexp"

	"github.com/alecthomas/kingpin/v2"

	"github.com/clanmon/clanmon/internal/badflag"
	"github.com/clanmon/clanmon/internal/suggest"
)

// newApp returns a kingpin application of our own: the global one belongs to
// the exporters that are embedded.
func newApp(name, help string, e env) *kingpin.Application {
	app := kingpin.New(name, help).UsageWriter(e.stdout).ErrorWriter(e.stderr)
	app.HelpFlag.Short('h')
	app.Terminate(func(code int) { panic(terminated(code)) })
	return app
}

// terminated is how kingpin is kept from exiting the process by itself.
type terminated int

// parseFlags parses args. --help and --version print and come back as an
// exitError of code 0; a mistake has code 2 and names the nearest right word.
func parseFlags(app *kingpin.Application, args []string) (err error) {
	defer func() {
		if r := recover(); r != nil {
			code, ok := r.(terminated)
			if !ok {
				panic(r)
			}
			err = &exitError{code: int(code)}
		}
	}()
	if _, err := app.Parse(args); err != nil {
		return &exitError{code: 2, err: errors.New(explainFlagError(app, args, err))}
	}
	return nil
}

var unknownFlag = regexp.MustCompile(`^unknown long flag '--(?:no-)?([^']*)'`)

func explainFlagError(app *kingpin.Application, args []string, err error) string {
	m := unknownFlag.FindStringSubmatch(err.Error())
	if m == nil {
		return fmt.Sprintf("error parsing command line arguments: %s; %s --help lists the flags", badflag.Explain(app, args, err), app.Name)
	}
	var known []string
	for _, f := range app.Model().Flags {
		known = append(known, f.Name)
	}
	return fmt.Sprintf("error parsing command line arguments: %v%s; %s --help lists the flags", err, suggest.Nearest(m[1], known), app.Name)
}
