// Package oracle gives tests the upstream programs that clanmon has to agree
// with, built from the module versions that clanmon embeds.
//
// They are taken from the folder that CLANMON_ORACLE_DIR names, else built once
// into the user's cache. It is for tests only and keeps nothing running.
package oracle

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// packages are the programs by name.
var packages = map[string]string{
	"prometheus":                "github.com/prometheus/prometheus/cmd/prometheus",
	"promtool":                  "github.com/prometheus/prometheus/cmd/promtool",
	"amtool":                    "github.com/prometheus/alertmanager/cmd/amtool",
	"node_exporter":             "github.com/prometheus/node_exporter",
	"systemd_exporter":          "github.com/prometheus-community/systemd_exporter",
	"nginx-prometheus-exporter": "github.com/nginx/nginx-prometheus-exporter",
	"postgres_exporter":         "github.com/prometheus-community/postgres_exporter/cmd/postgres_exporter",
	"redis_exporter":            "github.com/oliver006/redis_exporter",
	"blackbox_exporter":         "github.com/prometheus/blackbox_exporter",
}

var building sync.Mutex

// Path returns the path of a program.
func Path(t testing.TB, name string) string {
	t.Helper()
	pkg, ok := packages[name]
	require.True(t, ok, "no oracle is called %q", name)
	dir := os.Getenv("CLANMON_ORACLE_DIR")
	if dir == "" {
		cache, err := os.UserCacheDir()
		require.NoError(t, err)
		// The module's directory has its version in the name.
		dir = filepath.Join(cache, "clanmon-oracle", filepath.Base(ModuleDir(t, strings.Join(strings.Split(pkg, "/")[:3], "/"))))
	}
	path := filepath.Join(dir, name)
	building.Lock()
	defer building.Unlock()
	if _, err := os.Stat(path); err == nil {
		return path
	}
	require.NoError(t, os.MkdirAll(dir, 0o755))
	// Packages are tested in several processes; each builds for itself and the
	// last one wins.
	out := filepath.Join(t.TempDir(), name)
	build := exec.Command("go", "build", "-o", out, pkg)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	text, err := build.CombinedOutput()
	require.NoError(t, err, "go build %s: %s", pkg, text)
	if err := os.Rename(out, path); err != nil {
		return out // another file system
	}
	return path
}

// ModuleDir is the directory of a required module's source, for its test data.
func ModuleDir(t testing.TB, module string) string {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", module).Output()
	require.NoError(t, err)
	return strings.TrimSpace(string(out))
}
