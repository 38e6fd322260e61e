// Package kindflags declares the flags of one exporter kind on an application
// that has those of other kinds too.
//
// Upstream's exporters take their flags from the environment as well, under
// names as general as TIMEOUT. In one process such a variable may be meant for
// somebody else, so it counts only once it is known that the kind runs. The
// package reads the environment when told to and starts nothing.
package kindflags

import (
	"fmt"
	"strings"

	"github.com/alecthomas/kingpin/v2"
)

// An App is what flags are declared on, such as a kingpin application.
type App interface {
	Flag(name, help string) *kingpin.FlagClause
}

// Set is the flags of one kind.
type Set struct {
	app       App
	variables []*variable
}

type variable struct {
	name   string
	clause *kingpin.FlagClause
	given  bool // on the command line
}

// New returns an empty Set that declares its flags on app.
func New(app App) *Set { return &Set{app: app} }

// Flag declares a flag whose value may also come from the environment, if env
// is not empty.
func (s *Set) Flag(name, env, help string) *kingpin.FlagClause {
	if env != "" {
		help += " ($" + env + ")"
	}
	clause := s.app.Flag(name, help)
	if env != "" {
		v := &variable{name: env, clause: clause}
		clause.IsSetByUser(&v.given)
		s.variables = append(s.variables, v)
	}
	return clause
}

// Variables are the names of the environment variables that flags were declared
// with.
func (s *Set) Variables() []string {
	names := make([]string, len(s.variables))
	for i, v := range s.variables {
		names[i] = v.name
	}
	return names
}

// Refuse declares a flag of upstream that is not offered here, and why.
func (s *Set) Refuse(name, why string) {
	s.app.Flag(name, "Not supported: "+why+".").Hidden().SetValue(refused(why))
}

type refused string

func (r refused) String() string   { return "" }
func (r refused) Set(string) error { return fmt.Errorf("is not supported: %s", string(r)) }

// Environment sets the flags that the command line did not, from the variables
// that lookup knows. The flags have to be parsed. An error names the variable
// and never its value, which may be a secret.
func (s *Set) Environment(lookup func(string) (string, bool)) error {
	for _, v := range s.variables {
		text, ok := lookup(v.name)
		if !ok || text == "" || v.given {
			continue
		}
		f := v.clause.Model()
		values := []string{text}
		if many, ok := f.Value.(interface{ IsCumulative() bool }); ok && many.IsCumulative() {
			values = strings.Split(text, "\n")
		}
		for _, value := range values {
			if err := f.Value.Set(value); err != nil {
				return fmt.Errorf("environment variable %s (for --%s): %w", v.name, f.Name, withoutValue(err, value))
			}
		}
	}
	return nil
}

// withoutValue keeps what the parser said, but for the text that it parsed.
func withoutValue(err error, value string) error {
	return fmt.Errorf("%s", strings.ReplaceAll(err.Error(), value, "..."))
}
