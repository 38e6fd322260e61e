package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Each package is one of a module of its own, with a test that passes if it runs alone.
func TestRetest(t *testing.T) {
	for name, c := range map[string]struct {
		body   string
		passed bool
		says   string
	}{
		"passes": {"func TestA(t *testing.T) {}", true, "ok"},
		"unsteady": {`func TestA(t *testing.T) {}
func TestB(t *testing.T) { if !again() { t.Error("too early") } }`, true, "UNSTEADY: TestB of example.org/m failed among the others"},
		"broken":    {`func TestA(t *testing.T) { t.Error("always") }`, false, "TestA of example.org/m once more, alone"},
		"a subtest": {`func TestA(t *testing.T) { t.Run("x y", func(t *testing.T) { if !again() { t.Error("early") } }) }`, true, "UNSTEADY: TestA of"},
		"too many": {`func TestA(t *testing.T) { t.Error() }
func TestB(t *testing.T) { t.Error() }
func TestC(t *testing.T) { t.Error() }
func TestD(t *testing.T) { t.Error() }`, false, "nothing is run again: 4 tests failed"},
		"panic":            {`func TestA(t *testing.T) { if !again() { panic("no") } }`, false, "nothing is run again: panic: no"},
		"does not build":   {`func TestA(t *testing.T) { x }`, false, "nothing is run again: FAIL\texample.org/m [build failed]"},
		"outside of tests": {`func TestMain(m *testing.M) { m.Run(); os.Exit(1) }`, false, "example.org/m failed outside its tests"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			require.NoError(t, os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module example.org/m\n\ngo 1.26\n"), 0o600))
			require.NoError(t, os.WriteFile(filepath.Join(dir, "m_test.go"), []byte(`package m

import (
	"os"
	"testing"
)

func again() bool {
	_, err := os.Stat("ran")
	_ = os.WriteFile("ran", nil, 0o600)
	return err == nil
}

`+c.body+"\n"), 0o600))
			var out strings.Builder
			require.Equal(t, c.passed, passed(&out, []string{"-C=" + dir, "-vet=off"}, []string{"."}), out.String())
			require.Contains(t, out.String(), c.says)
		})
	}
}

// Of a race nothing is forgiven: the next run may not see it.
func TestARaceIsFinal(t *testing.T) {
	r := parse(strings.NewReader("==================\nWARNING: DATA RACE\n--- FAIL: TestA (0.00s)\n    testing.go:1712: race detected during execution of test\nFAIL\nFAIL\tm\t0.1s\n"))
	require.Equal(t, "WARNING: DATA RACE", r.final)
}
