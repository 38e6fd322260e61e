package boards

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/common/promslog"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const small = `{
  "version": 1,
  "title": "Disks <&>",
  "panels": [
    {
      "type": "chart",
      "title": "Busy",
      "x": 0,
      "y": 0,
      "w": 12,
      "h": 8,
      "unit": "ratio",
      "queries": [
        {
          "expr": "rate(node_disk_io_time_seconds_total[5m]) > 0",
          "legend": "{{device}}"
        }
      ]
    }
  ]
}
`

// server serves boards of a new directory and of read-only files.
func server(t *testing.T, files ...string) (*Boards, func(method, path, match, body string) (int, string)) {
	t.Helper()
	b := New(Options{Dir: t.TempDir(), Files: func() []string { return files }, Logger: promslog.NewNopLogger()})
	h := b.Handler()
	return b, func(method, path, match, body string) (int, string) {
		r := httptest.NewRequest(method, path, strings.NewReader(body))
		if match != "" {
			r.Header.Set("If-Match", match)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Code, w.Body.String()
	}
}

func tagOf(t *testing.T, answer string) string {
	t.Helper()
	var a struct{ Data struct{ ETag string } }
	require.NoError(t, json.Unmarshal([]byte(answer), &a))
	require.NotEmpty(t, a.Data.ETag)
	return a.Data.ETag
}

// What is written is what a person would put into git, and stays so.
func TestAFileStaysAsItIs(t *testing.T) {
	b, do := server(t)
	code, answer := do("PUT", "/disks", "", small)
	require.Equal(t, http.StatusOK, code, answer)
	text, err := os.ReadFile(filepath.Join(b.opts.Dir, "boards", "disks.json"))
	require.NoError(t, err)
	require.Equal(t, small, string(text))
	_, file := do("GET", "/disks?format=file", "", "")
	require.Equal(t, small, file)
	code, list := do("GET", "/", "", "")
	require.Equal(t, http.StatusOK, code)
	require.JSONEq(t, fmt.Sprintf(`{"status":"success","data":{"boards":[{"name":"disks","title":"Disks <&>","panels":1,"etag":%q}]}}`, tagOf(t, answer)), list)
}

// Of two people who change a board, the second one does not undo the change of the first.
func TestChangesOfTwo(t *testing.T) {
	_, do := server(t)
	_, first := do("PUT", "/disks", "", small)
	mine := tagOf(t, first)
	code, answer := do("PUT", "/disks", "", small)
	require.Equal(t, http.StatusPreconditionRequired, code, answer)
	code, theirs := do("PUT", "/disks", mine, strings.Replace(small, "Busy", "Disk busy", 1))
	require.Equal(t, http.StatusOK, code, theirs)
	for _, method := range []string{"PUT", "DELETE"} {
		code, answer = do(method, "/disks", mine, small)
		require.Equal(t, http.StatusPreconditionFailed, code, answer)
		require.Contains(t, answer, "somebody else changed the board")
	}
	_, now := do("GET", "/disks", "", "")
	require.Contains(t, now, "Disk busy")
	code, answer = do("DELETE", "/disks", tagOf(t, theirs), "")
	require.Equal(t, http.StatusOK, code, answer)
	code, answer = do("PUT", "/disks", tagOf(t, theirs), small)
	require.Equal(t, http.StatusPreconditionFailed, code, answer)
	require.Contains(t, answer, "deleted")
	code, answer = do("GET", "/disks", "", "")
	require.Equal(t, http.StatusNotFound, code, answer)
}

// One file that cannot be shown says why, and the others are shown.
func TestBrokenFiles(t *testing.T) {
	b, do := server(t)
	dir := filepath.Join(b.opts.Dir, "boards")
	require.NoError(t, os.MkdirAll(dir, 0o755))
	many := `{"version":1,"title":"x","panels":[` + strings.Repeat(`{"type":"text","x":0,"y":0,"w":1,"h":1},`, 299) + `{"type":"text","x":0,"y":0,"w":1,"h":1}]}`
	panel := func(fields string) string {
		return `{"version":1,"title":"x","panels":[{"type":"text","x":0,"y":0,"w":1,"h":1},{"type":"chart","title":"CPU","x":0,"y":0,"w":12,"h":8` + fields + `}]}`
	}
	for name, c := range map[string]struct{ text, says string }{
		"cut":       {small[:len(small)/2], "is not JSON"},
		"newer":     {`{"version":2,"title":"x","panels":[]}`, "version 2 was written by a newer clanmon"},
		"no":        {`{"title":"x","panels":[]}`, "version is missing"},
		"large":     {small + strings.Repeat(" ", 5<<20), "5.0 MiB; a board has at most 1 MiB"},
		"many":      {many, "panels: 300; a board has at most 250"},
		"field":     {strings.Replace(small, `"version"`, `"colour": 1, "version"`, 1), `unknown field "colour"`},
		"kind":      {panel(`,"queries":[{"expr":"up"}],"kind":"pie"`), `panels[1] (CPU): kind "pie": use line, area, stacked`},
		"type":      {panel(`,"queries":[{"expr":1}]`), "panels[1]: queries.expr must be a string"},
		"width":     {strings.Replace(panel(`,"queries":[{"expr":"up"}]`), `"w":12`, `"w":25`, 1), "panels[1] (CPU): w 25 must be from 1 to 24"},
		"query":     {panel(``), "panels[1] (CPU): queries: 0"},
		"expr":      {panel(`,"queries":[{"expr":" "}]`), "queries[0].expr is missing"},
		"order":     {panel(`,"queries":[{"expr":"up"}],"thresholds":[{"value":2,"kind":"warn"},{"value":1,"kind":"crit"}]`), "thresholds[1].value 1 is less"},
		"circle":    {`{"version":1,"title":"x","panels":[],"variables":[{"name":"a","kind":"query","query":"label_values(up{x=\"$b\"}, a)"},{"name":"b","kind":"query","query":"label_values(up{x=\"${a}\"}, b)"}]}`, "variables: a, b use each other in a circle"},
		"twice":     {`{"version":1,"title":"x","panels":[],"variables":[{"name":"a","kind":"tag"},{"name":"a","kind":"tag"}]}`, "variables[1] (a): there are two"},
		"two-texts": {small + small, "line 22 is not JSON"},
		"list":      {`[]`, "must be an object"},
	} {
		file := filepath.Join(dir, name+".json")
		require.NoError(t, os.WriteFile(file, []byte(c.text), 0o600))
		code, answer := do("GET", "/"+name, "", "")
		require.Equal(t, http.StatusOK, code, answer)
		var e struct{ Data Entry }
		require.NoError(t, json.Unmarshal([]byte(answer), &e))
		assert.Contains(t, e.Data.Error, file, name)
		assert.Contains(t, e.Data.Error, c.says, name)
		assert.NotContains(t, e.Data.Error, "Go ", name)
		code, answer = do("PUT", "/other", "", c.text)
		if name == "large" {
			require.Equal(t, http.StatusRequestEntityTooLarge, code, answer)
			continue
		}
		assert.Equal(t, http.StatusBadRequest, code, name)
	}
	code, answer := do("PUT", "/disks", "", small)
	require.Equal(t, http.StatusOK, code, answer)
	all, err := b.List()
	require.NoError(t, err)
	require.Len(t, all, 17)
	// It can be replaced and deleted all the same.
	_, cut := do("GET", "/cut", "", "")
	code, answer = do("PUT", "/cut", tagOf(t, cut), small)
	require.Equal(t, http.StatusOK, code, answer)
}

// Names are those of files, and cannot lead elsewhere.
func TestNames(t *testing.T) {
	_, do := server(t)
	for _, name := range []string{"%2e%2e", "..%2fx", "A", "a.json", "-a", "import", strings.Repeat("a", 64)} {
		code, answer := do("PUT", "/"+name, "", small)
		require.Contains(t, []int{http.StatusBadRequest, http.StatusMethodNotAllowed}, code, name+answer)
	}
	code, answer := do("PUT", "/"+strings.Repeat("a", 63), "", small)
	require.Equal(t, http.StatusOK, code, answer)
}

// Boards of --boards are shown, named after their files, and not changed.
func TestReadOnlyBoards(t *testing.T) {
	dir := t.TempDir()
	file, broken, missing := filepath.Join(dir, "Disks.json"), filepath.Join(dir, "broken.json"), filepath.Join(dir, "missing.json")
	require.NoError(t, os.WriteFile(file, []byte(small), 0o600))
	require.NoError(t, os.WriteFile(broken, []byte("{"), 0o600))
	b, do := server(t, file, broken, missing)
	_, answer := do("GET", "/disks", "", "")
	require.Contains(t, answer, `"readOnly":"`+file)
	for _, method := range []string{"PUT", "DELETE"} {
		code, answer := do(method, "/disks", "*", small)
		require.Equal(t, http.StatusForbidden, code, answer)
		require.Contains(t, answer, file+" is read-only: duplicate it")
	}
	// One of the same name in the data directory is not lost, and said.
	require.NoError(t, os.MkdirAll(b.dir(), 0o755))
	require.NoError(t, os.WriteFile(b.file("disks"), []byte(small), 0o600))
	all, err := b.List()
	require.NoError(t, err)
	var said []string
	for _, s := range all {
		said = append(said, s.Name+": "+s.Error)
	}
	text := strings.Join(said, "\n")
	require.Contains(t, text, "disks: \n")
	require.Contains(t, text, "disks.json: "+b.file("disks")+": the board of this name in "+file)
	require.Contains(t, text, "broken: "+broken+": ")
	require.Contains(t, text, "missing: open "+missing)
	require.Equal(t, "disks", NameOf("/nix/store/0123456789abcdfghijklmnpqrsvwxyz-disks.json"))
}

// A directory that cannot be written says so, and boards are still read.
func TestReadOnlyDirectory(t *testing.T) {
	b, do := server(t)
	// A file in place of the directory fails also for root.
	require.NoError(t, os.WriteFile(b.dir(), nil, 0o600))
	code, answer := do("PUT", "/disks", "", small)
	require.Equal(t, http.StatusInternalServerError, code)
	require.Contains(t, answer, `board \"disks\"`)
	require.Contains(t, answer, b.dir())
}
