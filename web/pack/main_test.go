package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPackAndCheck(t *testing.T) {
	from, to := t.TempDir(), filepath.Join(t.TempDir(), "dist")
	put := func(name, text string) {
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(from, name)), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(from, name), []byte(text), 0o644))
	}
	require.ErrorContains(t, run(from, to, false), "npm run build", "nothing is built")
	put("index.html", "<html>")
	put("assets/a-1.js", strings.Repeat("let a;", 100))
	require.NoError(t, run(from, to, false))
	require.NoError(t, run(from, to, true))
	first, err := os.ReadFile(filepath.Join(to, "assets/a-1.js.gz"))
	require.NoError(t, err)
	require.Less(t, len(first), 100)

	put("assets/a-1.js", "changed")
	require.NoError(t, os.Rename(filepath.Join(from, "assets/a-1.js"), filepath.Join(from, "assets/b-2.js")))
	put("index.html", "<html changed>")
	err = run(from, to, true)
	for _, want := range []string{"make ui", "assets/a-1.js: not built any more", "assets/b-2.js: missing", "index.html: differs"} {
		require.ErrorContains(t, err, want)
	}
	require.NoError(t, run(from, to, false))
	require.NoError(t, run(from, to, true))
	require.NoFileExists(t, filepath.Join(to, "assets/a-1.js.gz"), "of the build before")
}
