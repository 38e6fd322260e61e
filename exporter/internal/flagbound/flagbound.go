// Package flagbound parses the flags of embedded exporters.
//
// node_exporter and systemd_exporter keep their settings as flags of the global
// kingpin application, read into package variables. Never parsed means zero
// values: no collector enabled, no unit matched. So the global application is
// parsed exactly once in a process, before the first constructor, also when
// there are no arguments; what it was parsed with holds for the whole process.
//
// The package starts nothing and knows no flag by name; the flags of a server in
// the same process are another application's and never come here.
package flagbound

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/alecthomas/kingpin/v2"

	"github.com/clanmon/clanmon/internal/badflag"
)

var (
	mu     sync.Mutex
	parsed bool
	with   []string
)

// Parse parses args, of the form --name or --name=value. A second call with the
// same arguments does nothing; with others it is an error.
func Parse(args []string) error {
	mu.Lock()
	defer mu.Unlock()
	if parsed {
		if !slices.Equal(args, with) {
			return fmt.Errorf("the collectors of this process are already configured with %q and cannot apply %q", with, args)
		}
		return nil
	}
	app := kingpin.CommandLine
	// kingpin would print and exit by itself; nothing here may.
	app.UsageWriter(io.Discard).ErrorWriter(io.Discard).Terminate(func(int) {})
	if _, err := app.Parse(args); err != nil {
		return &Error{errors.New(badflag.Explain(app, args, err))}
	}
	parsed, with = true, slices.Clone(args)
	return nil
}

// An Error says that a flag has a wrong value.
type Error struct{ Err error }

func (e *Error) Error() string { return e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

// Value is what a flag was set to, or its default, once they are parsed; "" for
// a flag that nobody registered.
func Value(name string) string {
	f := kingpin.CommandLine.GetFlag(name)
	if f == nil {
		return ""
	}
	return f.Model().Value.String()
}

// Values is what a repeatable flag was set to, or its default, once they are parsed.
func Values(name string) []string {
	f := kingpin.CommandLine.GetFlag(name)
	if f == nil {
		return nil
	}
	if v, ok := f.Model().Value.(kingpin.Getter); ok {
		if values, ok := v.Get().(*[]string); ok {
			return slices.Clone(*values)
		}
	}
	return nil
}

// Construct calls a constructor of an embedded exporter. Those compile the
// regular expressions of their flags by regexp.MustCompile, so a typing mistake
// of the user comes as a panic.
func Construct[T any](constructor func() (T, error)) (made T, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = &Error{fmt.Errorf("%v", r)}
		}
	}()
	return constructor()
}

// Flags describes the flags that the embedded exporters registered, without
// those that every kingpin application has.
func Flags() []*kingpin.FlagModel {
	boilerplate := kingpin.New("", "").Version("")
	var flags []*kingpin.FlagModel
	for _, f := range kingpin.CommandLine.Model().Flags {
		if boilerplate.GetFlag(f.Name) == nil {
			flags = append(flags, f)
		}
	}
	return flags
}
