package server_test

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/server"
	"github.com/clanmon/clanmon/server/servertest"
)

// Boards of flags and settings are served beside those of the data directory, one that is broken
// is said, and who may change is who may change anything else.
func TestBoards(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		f := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(f, []byte(text), 0o600))
		return f
	}
	const board = `{"version":1,"title":"T","panels":[]}`
	file("set.json", board)
	settings := file("settings.json", `{"enableAutoDiscovery":false,"boards":["set.json"]}`)
	s := servertest.Start(t, "global: {}\n", func(o *server.Options) {
		o.Boards = []string{file("flag.json", board), file("bad.json", "{}")}
		o.Discovery.SettingsFile = settings
	})
	require.Contains(t, s.Log.String(), "bad.json: version is missing")
	ask := func(method, path, body string) (int, string) {
		r, err := http.NewRequest(method, s.URL("/api/clanmon/v1/boards"+path), strings.NewReader(body))
		require.NoError(t, err)
		r.Header.Set("Content-Type", "application/json")
		resp, err := http.DefaultClient.Do(r)
		require.NoError(t, err)
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return resp.StatusCode, string(text)
	}
	code, answer := ask("PUT", "/mine", board)
	require.Equal(t, http.StatusOK, code, answer)
	_, list := ask("GET", "", "")
	for _, name := range []string{`"name":"set"`, `"name":"flag"`, `"name":"mine"`, `bad.json: version is missing`} {
		require.Contains(t, list, name)
	}
	code, answer = ask("PUT", "/large", board+strings.Repeat(" ", 5<<20))
	require.Equal(t, http.StatusRequestEntityTooLarge, code)
	require.Contains(t, answer, "larger than 1 MiB")
}
