package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/cmd/internal/cli"
)

func TestBoard(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		f := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(f, []byte(text), 0o600))
		return f
	}
	command := func(args ...string) (code int, out, errs string) {
		var stdout, stderr bytes.Buffer
		code = run(append([]string{"clanmon"}, args...), cli.Env{Stdout: &stdout, Stderr: &stderr})
		return code, stdout.String(), stderr.String()
	}
	grafana := file("g.json", `{"title":"G","panels":[{"type":"stat","title":"Up","gridPos":{"x":0,"y":0,"w":6,"h":4},"targets":[{"expr":"up"}]},{"type":"news","title":"News","gridPos":{"x":6,"y":0,"w":6,"h":4}}]}`)
	code, board, report := command("board", "import", grafana)
	require.Zero(t, code, report)
	require.Equal(t, "1 of 2 panels imported\nleft out: News: panels of the type \"news\" are not supported\n", report)
	good := file("up.json", board)

	code, dashboard, report := command("board", "export", good)
	require.Zero(t, code, report)
	require.Contains(t, dashboard, `"expr": "up"`)

	code, _, report = command("board", "export", grafana)
	require.Equal(t, 1, code)
	require.Contains(t, report, grafana+": version is missing")

	code, out, report := command("check", "boards", good, grafana)
	require.Equal(t, 1, code)
	require.Equal(t, good+" SUCCESS\n", out)
	require.Contains(t, report, "FAILED: "+grafana+": version is missing")

	settings := file("settings.json", `{"boards":["up.json"]}`)
	code, _, report = command("check", "settings", settings)
	require.Zero(t, code, report)
	settings = file("settings.json", `{"boards":["up.json","g.json"]}`)
	code, _, report = command("check", "settings", settings)
	require.Equal(t, 1, code)
	require.Contains(t, report, grafana+": version is missing")
}
