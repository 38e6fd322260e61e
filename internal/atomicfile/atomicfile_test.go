package atomicfile

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func names(t *testing.T, dir string) (all []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

// A write that fails half way leaves the old content and nothing else.
func TestAllOrNothing(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "state[1]")
	text := func(s string) func(io.Writer) error {
		return func(w io.Writer) error {
			_, err := io.WriteString(w, s)
			return err
		}
	}
	require.NoError(t, Write(file, 0o644, text("old and long")))
	require.NoError(t, Write(file, 0o640, text("new")))
	got, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, "new", string(got))
	info, err := os.Stat(file)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o640), info.Mode())

	full := errors.New("disk full")
	require.ErrorIs(t, Write(file, 0o644, func(w io.Writer) error {
		_ = text("ne")(w)
		return full
	}), full)
	got, err = os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, "new", string(got))
	require.Equal(t, []string{"state[1]"}, names(t, dir))
	require.Error(t, Write(filepath.Join(dir, "missing", "file"), 0o644, text("x")))
}

// What a killed process left is removed, and nobody else's file.
func TestClean(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"state[1]", "state[1].new-123", "state[1]x.new-1", "other.new-1"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), nil, 0o600))
	}
	Clean(filepath.Join(dir, "state[1]"))
	require.Equal(t, []string{"other.new-1", "state[1]", "state[1]x.new-1"}, names(t, dir))
}
