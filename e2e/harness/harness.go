// Package harness runs the built binary the way its users do: as processes with
// their own directories and ports, talked to over HTTP and by signals. It is
// for the end-to-end tests and stops whatever it started when a test ends.
//
// Nothing in it waits for a fixed time. Eventually polls until a deadline, and
// what never comes true fails the test with the last reason and the logs of the
// processes.
package harness

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/e2e/oracle"
	"github.com/clanmon/clanmon/internal/testport"
)

// Patience is how long the machine may take for anything that has no limit of
// its own. It is generous, for tests share few cores; only failures wait for it.
const Patience = time.Minute

// Eventually calls check until it returns nil, at most for limit.
func Eventually(t testing.TB, limit time.Duration, check func() error) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			require.NoError(t, err, "not within %v", limit)
		}
		time.Sleep(20 * time.Millisecond) // between two looks, not in place of one
	}
}

// Port returns a free port of the loopback, which nothing else takes.
func Port(t testing.TB) int {
	t.Helper()
	return testport.Port(t)
}

// Listens waits until somebody listens at an address for TCP.
func Listens(t testing.TB, address string) {
	t.Helper()
	Eventually(t, Patience, func() error {
		c, err := net.Dial("tcp", address)
		if err == nil {
			c.Close()
		}
		return err
	})
}

// Address is a free address of the loopback.
func Address(t testing.TB) string {
	t.Helper()
	return testport.Address(t)
}

// Repo is the root of the repository.
func Repo(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	require.NoError(t, err)
	for ; dir != "/"; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
	}
	t.Fatal("no go.mod above the test's directory")
	return ""
}

var binaries struct {
	sync.Mutex
	path map[string]string // by program
	dir  string            // of those that were built here
}

// Clanmon is the binary under test: CLANMON_BIN, else bin/clanmon of this
// repository, else one that is built once into a temporary directory.
func Clanmon(t testing.TB) string {
	t.Helper()
	return built(t, "clanmon", "CLANMON_BIN")
}

// SmallExporter is bin/clanmon-exporter, found as [Clanmon] is;
// CLANMON_EXPORTER_BIN names it.
func SmallExporter(t testing.TB) string {
	t.Helper()
	return built(t, "clanmon-exporter", "CLANMON_EXPORTER_BIN")
}

func built(t testing.TB, program, env string) string {
	t.Helper()
	binaries.Lock()
	defer binaries.Unlock()
	if p := binaries.path[program]; p != "" {
		return p
	}
	p := os.Getenv(env)
	switch inRepo := filepath.Join(Repo(t), "bin", program); {
	case p != "":
		var err error
		p, err = filepath.Abs(p)
		require.NoError(t, err)
		require.FileExists(t, p, env)
	case exists(inRepo):
		p = inRepo
	default:
		if binaries.dir == "" {
			dir, err := os.MkdirTemp("", "clanmon-e2e-bin-")
			require.NoError(t, err)
			binaries.dir = dir
		}
		p = filepath.Join(binaries.dir, program)
		build := exec.Command("go", "build", "-trimpath", "-o", p, "./cmd/"+program)
		build.Dir, build.Env = Repo(t), append(os.Environ(), "CGO_ENABLED=0")
		out, err := build.CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
	if binaries.path == nil {
		binaries.path = map[string]string{}
	}
	binaries.path[program] = p
	return p
}

// RemoveBuilt removes the binaries that were built for the tests; for TestMain.
func RemoveBuilt() {
	if binaries.dir != "" {
		os.RemoveAll(binaries.dir)
	}
}

// Upstream is Prometheus itself, of the version that clanmon embeds.
func Upstream(t testing.TB) string {
	t.Helper()
	return oracle.Path(t, "prometheus")
}

// Tool finds a program that a Debian package brings.
func Tool(t testing.TB, name, debianPackage string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	require.NoError(t, err, "%s is needed: apt-get install %s (make test does it when run as root)", name, debianPackage)
	return path
}

// Root fails the test when it does not run as root.
func Root(t testing.TB) {
	t.Helper()
	require.Zero(t, os.Geteuid(), "this test needs root; make test-unit runs those that do not")
}

// WriteFile writes text to a file of dir and returns its path.
func WriteFile(t testing.TB, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	// A rename, so that nobody who watches the file sees half of it.
	require.NoError(t, os.WriteFile(path+".new", []byte(text), 0o644))
	require.NoError(t, os.Rename(path+".new", path))
	return path
}

// CopyDir copies a directory to a new temporary one and returns it. A socket that a
// killed server left in it is removed.
func CopyDir(t testing.TB, from string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), filepath.Base(from))
	sockets, err := filepath.Glob(filepath.Join(from, "*.sock"))
	require.NoError(t, err)
	for _, s := range sockets {
		require.NoError(t, os.Remove(s))
	}
	require.NoError(t, os.CopyFS(to, os.DirFS(from)))
	return to
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
