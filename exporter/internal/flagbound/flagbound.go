// Package flagbound parses the flags of embedded exporters.
//
// node_exporter and systemd_exporter keep their settings as flags of the global
// kingpin application, read into package variables. Never parsed means zero
// values: no collector enabled, no unit matched. So the global application is
// parsed exactly once in a process, before the first constructor, also when
// there are no arguments; what it was parsed with holds for the whole process.
package flagbound

import (
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/alecthomas/kingpin/v2"
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
			return fmt.Errorf("the collectors of this process were set up with %q already and cannot take %q", with, args)
		}
		return nil
	}
	app := kingpin.CommandLine
	// kingpin would print and exit by itself; nothing here may.
	app.UsageWriter(io.Discard).ErrorWriter(io.Discard).Terminate(func(int) {})
	if _, err := app.Parse(args); err != nil {
		return err
	}
	parsed, with = true, slices.Clone(args)
	return nil
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
