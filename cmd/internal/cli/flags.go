package cli

import (
	"errors"
	"fmt"
	"regexp"

	"github.com/alecthomas/kingpin/v2"

	"github.com/clanmon/clanmon/internal/badflag"
	"github.com/clanmon/clanmon/internal/suggest"
)

// NewApp returns a kingpin application of our own: the global one belongs to
// the exporters that are embedded.
func NewApp(name, help string, e Env) *kingpin.Application {
	app := kingpin.New(name, help).UsageWriter(e.Stdout).ErrorWriter(e.Stderr)
	app.HelpFlag.Short('h')
	app.Terminate(func(code int) { panic(Terminated(code)) })
	return app
}

// Terminated is how kingpin is kept from exiting the process by itself.
type Terminated int

// ParseFlags parses args. --help and --version print and come back as an
// ExitError of code 0; a mistake has code 2 and names the nearest right word.
func ParseFlags(app *kingpin.Application, args []string) (err error) {
	defer func() {
		if r := recover(); r != nil {
			code, ok := r.(Terminated)
			if !ok {
				panic(r)
			}
			err = &ExitError{Code: int(code)}
		}
	}()
	if _, err := app.Parse(args); err != nil {
		return &ExitError{Code: 2, Err: errors.New(explainFlagError(app, args, err))}
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
