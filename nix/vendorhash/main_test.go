package main

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// With another hash than this, nobody can build the package.
func TestVendorHashIsCurrent(t *testing.T) {
	t.Chdir("../..")
	text, err := os.ReadFile(packageFile)
	require.NoError(t, err)
	m := line.FindSubmatch(text)
	require.NotNil(t, m, "%s has no line with vendorHash", packageFile)
	// go test runs again when a file changed that was looked at.
	for _, folder := range []string{"cmd", "discovery", "exporter", "internal", "server", "web", "go.mod"} {
		require.NoError(t, filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.Name() == "node_modules" {
				return fs.SkipDir
			}
			_, _ = os.Stat(path)
			return err
		}))
	}
	want, err := compute(".")
	require.NoError(t, err)
	require.Equal(t, want, string(m[1]), "run make nix")
}

// Nothing that the program is built of is missing from the sources of the package.
func TestSourcesAreWhole(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	work, err := sources("../..", dir)
	// A store is read-only, and the folder has to go.
	t.Cleanup(func() { _ = exec.Command("chmod", "-R", "u+w", dir).Run() })
	require.NoError(t, err)
	program := filepath.Join(dir, "clanmon")
	cmd := exec.Command("go", "build", "-o", program, "./cmd/clanmon")
	cmd.Dir = work
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	out, err = exec.Command(program, "rules").CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "MachineDown")
	require.NoDirExists(t, filepath.Join(work, "e2e"))
}
