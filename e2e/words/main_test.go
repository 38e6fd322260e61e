package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFind(t *testing.T) {
	for text, found := range map[string]int{
		"Tags are no labels":                          1,
		"there is no such machine":                    0,
		"the target is no longer listed":              0,
		"Most connections at one time":                2,
		"Most machines are up":                        0,
		"the port has to be a number":                 1,
		"only root has to be able to read it":         0,
		"Nobody is told of alerts":                    1,
		"rules in the binary, kept on the disk":       2,
		"it is asked by HTTPS":                        1,
		"the kind node has flags beside those of it":  2,
		"scrapes first, for a pool must know its job": 0,
		"waiting, for it is not there yet":            1,
		"Maximum number of simultaneous connections":  0,
	} {
		require.Len(t, find(text), found, text)
	}
}

// What readers see is read, and a line that means what it says is left alone.
func TestWhatIsRead(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"README.md":                     "It has to be.\nIt has to be. <!-- words: meant -->\n",
		"a.go":                          "package a\n\n// It has to be.\nvar a = \"it has to be\"\nvar b = \"it has to be\" // words: meant\n",
		"a_test.go":                     "package a\n\nvar c = \"it has to be\"\n",
		"server/ruler/rules/a.yml":      "# has to be\nsummary: it has to be\n",
		"server/ruler/rules/a.test.yml": "summary: it has to be\n",
		"nix/options.nix":               "# has to be\ndescription = \"It has to be.\";\n",
		"web/ui/src/a.ts":               "// has to be\nconst a = 'has to be'; // has to be\n",
		"web/ui/node_modules/x/a.md":    "It has to be.\n",
	} {
		file := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o777))
		require.NoError(t, os.WriteFile(file, []byte(text), 0o666))
	}
	found, err := check(dir)
	require.NoError(t, err)
	require.Len(t, found, 5, "%v", found)
	require.Contains(t, found, `README.md:1: "has to be": write "must be"`)
	require.Contains(t, found, `a.go:4: "has to be": write "must be"`)
}
