package cli

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"text/template"

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

// A Section is a heading of --help and what is below it: names of flags, beginnings of
// names that end in a dot, and beginnings of help texts that end in ": ". "" is the rest.
type Section struct {
	Title string
	Flags []string
}

// has reports whether f belongs to the section.
func (s Section) has(f *kingpin.FlagModel) bool {
	return slices.ContainsFunc(s.Flags, func(which string) bool {
		switch {
		case which == "" || which == f.Name:
			return true
		case strings.HasSuffix(which, ": "):
			return strings.HasPrefix(f.Help, which)
		}
		return strings.HasSuffix(which, ".") && strings.HasPrefix(f.Name, which)
	})
}

// Sections lets --help of app list the flags in sections. A flag is in the first one
// that names it; within a section the order is that of its names, then that of app.
func Sections(app *kingpin.Application, sections []Section) {
	app.UsageFuncs(template.FuncMap{"Sections": func(flags []*kingpin.FlagModel) (out []flagsBelow) {
		for _, s := range sections {
			below := flagsBelow{Title: s.Title}
			rest := flags[:0:0]
			for _, f := range flags {
				if s.has(f) {
					below.Flags = append(below.Flags, f)
				} else {
					rest = append(rest, f)
				}
			}
			place := func(f *kingpin.FlagModel) int {
				if i := slices.Index(s.Flags, f.Name); i >= 0 {
					return i
				}
				return len(s.Flags)
			}
			slices.SortStableFunc(below.Flags, func(a, b *kingpin.FlagModel) int { return place(a) - place(b) })
			if flags = rest; len(below.Flags) > 0 {
				out = append(out, below)
			}
		}
		return out
	}})
	app.UsageTemplate(strings.Replace(kingpin.DefaultUsageTemplate, flagsOfTemplate, "{{range .Context.Flags|Sections}}{{.Title}}:\n{{.Flags|FlagsToTwoColumns|FormatTwoColumns}}\n{{end -}}\n", 1))
}

// flagsOfTemplate is the part of kingpin's template that lists all flags below one heading.
const flagsOfTemplate = "Flags:\n{{.Context.Flags|FlagsToTwoColumns|FormatTwoColumns}}\n"

type flagsBelow struct {
	Title string
	Flags []*kingpin.FlagModel
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
