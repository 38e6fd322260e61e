package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/cmd/internal/cli"
)

func printed(t *testing.T, args ...string) string {
	t.Helper()
	var out bytes.Buffer
	require.Zero(t, run(append([]string{"clanmon"}, args...), cli.Env{Stdout: &out, Stderr: &out}), out.String())
	return out.String()
}

// A command without flags in completion and manual was forgotten in describe.go.
func TestEveryCommandIsDescribed(t *testing.T) {
	for _, c := range description().Commands {
		if c.Name != "version" {
			require.NotEmpty(t, c.Flags, "%s has no method Application", c.Name)
		}
	}
}

func TestManualHasEveryFlagThatHelpHas(t *testing.T) {
	page := strings.ReplaceAll(printed(t, "man"), `\-`, "-")
	for _, role := range []string{"server", "exporter"} {
		for line := range strings.SplitSeq(printed(t, role, "--help"), "\n") {
			if flag, ok := strings.CutPrefix(strings.TrimSpace(line), "--"); ok {
				flag, _, _ = strings.Cut(strings.TrimPrefix(flag, "[no-]"), " ")
				flag, _, _ = strings.Cut(flag, "=")
				require.Contains(t, page, flag, role)
			}
		}
	}
	require.NotContains(t, page, "web.dev-proxy", "hidden")
	for line := range strings.SplitSeq(page, "\n") {
		require.NotRegexp(t, `^'|[^\x00-\x7f]`, line, "roff reads it otherwise")
	}
}

func TestCompletionIsForTheShellsThatThereAre(t *testing.T) {
	var out bytes.Buffer
	require.Equal(t, 2, run([]string{"clanmon", "completion", "tcsh"}, cli.Env{Stdout: &out, Stderr: &out}))
	require.Contains(t, out.String(), "bash,zsh,fish")
	for _, shell := range []string{"bash", "zsh", "fish"} {
		script := printed(t, "completion", shell)
		require.Contains(t, script, "storage.tsdb.path")
		require.Contains(t, script, "/check/config")
	}
}
