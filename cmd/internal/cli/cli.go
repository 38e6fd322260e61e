// Package cli is what the programs of cmd share: how a command is parsed and run,
// its signals, exit codes and messages, how systemd is notified, the version, and
// the whole of the exporter role. It links no server. It is the only user of
// os/signal.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// A Command is one sub-command. Parse reads the arguments after its name;
// Run does the work and returns when ctx is cancelled or the work is done.
type Command interface {
	Parse(args []string) error
	Run(ctx context.Context) error
}

// Env is what a command sees of the process, so that tests can replace it.
type Env struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
}

// An ExitError carries the exit code that a caller of the peers expects.
// A nil Err means that everything worth saying has been printed.
type ExitError struct {
	Code int
	Err  error
}

func (e *ExitError) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("exit code %d", e.Code)
	}
	return e.Err.Error()
}

func (e *ExitError) Unwrap() error { return e.Err }

// UsageError is an error in how a program was called: exit code 2.
func UsageError(format string, args ...any) error {
	return &ExitError{Code: 2, Err: fmt.Errorf(format, args...)}
}

// Stdio is the Env of the process itself.
func Stdio() Env { return Env{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr} }

// ProgramName is the name that the process was called by: that of a link to it, if
// there is one.
func ProgramName(argv []string) string {
	return strings.TrimSuffix(filepath.Base(argv[0]), ".exe")
}

// ExitCode prints err, if it has something to say, and returns the exit code for it.
func ExitCode(program string, err error, e Env) int {
	if err == nil {
		return 0
	}
	code := 1
	if ee, ok := errors.AsType[*ExitError](err); ok {
		code = ee.Code
		if ee.Err == nil {
			return code
		}
	}
	fmt.Fprintf(e.Stderr, "%s: %v\n", program, err)
	return code
}

// Run parses args and runs the command until it is done or the process receives
// SIGINT or SIGTERM.
func Run(c Command, args []string) error {
	if err := c.Parse(args); err != nil {
		return err
	}
	if _, own := c.(interface{ ownSignals() }); own {
		return c.Run(context.Background())
	}
	ctx, stop := signalContext()
	defer stop()
	return c.Run(ctx)
}
