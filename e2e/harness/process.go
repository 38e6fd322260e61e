package harness

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Process is a program that runs.
type Process struct {
	t    testing.TB
	cmd  *exec.Cmd
	log  string
	done chan struct{}
}

// Command says what to start.
type Command struct {
	Path string // the binary under test by default
	Args []string
	Dir  string   // a new temporary directory by default
	Env  []string // beside the test's own
}

// starts are run by one thread that never ends: Pdeathsig kills a process when the thread that
// started it ends, and threads that enter network namespaces do.
var starts = sync.OnceValue(func() chan<- func() {
	all := make(chan func())
	go func() {
		runtime.LockOSThread()
		for start := range all {
			start()
		}
	}()
	return all
})

// onStarter runs start on that thread, or on the caller's if that has a mount namespace of
// its own, for which the processes are meant.
func onStarter(start func() error) error {
	caller, done := mountNamespace(), make(chan error)
	starts() <- func() {
		if mountNamespace() == caller {
			done <- start()
		}
		close(done)
	}
	if err, ran := <-done; ran {
		return err
	}
	return start()
}

// mountNamespace names the one of this thread.
func mountNamespace() string {
	name, _ := os.Readlink("/proc/thread-self/ns/mnt")
	return name
}

// Start starts c. The process is killed when the test ends, if it still runs.
func Start(t testing.TB, c Command) *Process {
	t.Helper()
	if c.Path == "" {
		c.Path = Clanmon(t)
	}
	if c.Dir == "" {
		c.Dir = t.TempDir()
	}
	p := &Process{t: t, cmd: exec.Command(c.Path, c.Args...), done: make(chan struct{})}
	logs := t.TempDir()
	p.log = filepath.Join(logs, "log")
	log, err := os.Create(p.log)
	require.NoError(t, err)
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = c.Dir, log, log
	p.cmd.Env = append(os.Environ(), c.Env...)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	require.NoError(t, onStarter(p.cmd.Start))
	go func() {
		defer close(p.done)
		_ = p.cmd.Wait() // the exit code is read from the state
		log.Close()
	}()
	t.Cleanup(func() {
		if !p.Exited() {
			_ = p.cmd.Process.Kill()
			<-p.done
		}
		if t.Failed() {
			t.Logf("log of %s %s:\n%s", filepath.Base(c.Path), strings.Join(c.Args, " "), tail(p.Log(), 12000))
		}
	})
	return p
}

func tail(s string, n int) string {
	if len(s) > n {
		return "…" + s[len(s)-n:]
	}
	return s
}

// Pid is the process' id.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Log is what the process wrote to standard output and error so far.
func (p *Process) Log() string {
	b, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// WaitLog waits until the log has text.
func (p *Process) WaitLog(text string) {
	p.t.Helper()
	Eventually(p.t, Patience, func() error {
		switch {
		case strings.Contains(p.Log(), text):
			return nil
		case p.Exited():
			return fmt.Errorf("exited with code %d and never logged %q", p.cmd.ProcessState.ExitCode(), text)
		}
		return fmt.Errorf("the log does not have %q", text)
	})
}

// Exited tells whether the process has ended.
func (p *Process) Exited() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// Signal sends a signal.
func (p *Process) Signal(s syscall.Signal) {
	p.t.Helper()
	err := p.cmd.Process.Signal(s)
	if !errors.Is(err, os.ErrProcessDone) {
		require.NoError(p.t, err)
	}
}

// Wait waits for the end of the process and returns its exit code, -1 when a
// signal ended it.
func (p *Process) Wait() int {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(Patience):
		require.Fail(p.t, "the process does not end", "log:\n%s", tail(p.Log(), 4000))
	}
	return p.cmd.ProcessState.ExitCode()
}

// Terminate asks the process to stop and returns its exit code.
func (p *Process) Terminate() int {
	p.t.Helper()
	p.Signal(syscall.SIGTERM)
	return p.Wait()
}

// Kill ends the process without its consent.
func (p *Process) Kill() {
	p.t.Helper()
	p.Signal(syscall.SIGKILL)
	p.Wait()
}

// Run runs c to its end and returns its exit code and what it wrote.
func Run(t testing.TB, c Command) (code int, output string) {
	t.Helper()
	p := Start(t, c)
	code = p.Wait()
	return code, p.Log()
}
