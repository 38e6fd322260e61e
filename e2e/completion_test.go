package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/e2e/harness"
)

// complete prints what each shell offers for a command line; $1 is the script.
var complete = map[string]string{
	"bash": `source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($#-1))
		_${1//-/_}; printf '%s\n' "${COMPREPLY[@]}"`,
	"zsh": `_describe() { print -l -- ${(P)argv[-1]} }; _files() { print files }; compdef() { }
		source "$1"; shift; words=("$@"); CURRENT=$#words; _${1//-/_}`,
	"fish": `source $argv[1]; complete -C (string join -- ' ' $argv[2..])`,
}

func TestCompletionInRealShells(t *testing.T) {
	t.Parallel()
	for shell, pkg := range map[string]string{"bash": "bash", "zsh": "zsh", "fish": "fish"} {
		path := harness.Tool(t, shell, pkg)
		for program, binary := range map[string]string{"clanmon": harness.Clanmon(t), "clanmon-exporter": harness.SmallExporter(t)} {
			code, text := harness.Run(t, harness.Command{Path: binary, Args: []string{"completion", shell}})
			require.Zero(t, code, text)
			script := filepath.Join(t.TempDir(), "_"+program)
			require.NoError(t, os.WriteFile(script, []byte(text), 0o600))
			offered := func(words ...string) string {
				t.Helper()
				args := []string{"-c", complete[shell]}
				if shell != "fish" {
					args = append(args, shell)
				}
				cmd := exec.Command(path, append(append(args, script, program), words...)...)
				cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
				out, err := cmd.CombinedOutput()
				require.NoError(t, err, "%s: %s", shell, out)
				return string(out)
			}
			if program == "clanmon-exporter" {
				require.Contains(t, offered("--web.l"), "web.listen-address", shell)
				continue
			}
			require.Contains(t, offered("ch"), "check", shell)
			require.Contains(t, offered("check", "co"), "config", shell)
			require.Contains(t, offered("server", "--config.f"), "--config.file", shell)
			require.NotContains(t, offered("server", "--config.f"), "--exporter", shell)
			require.Contains(t, offered("check", "config", "--s"), "--syntax-only", shell)
			require.NotContains(t, offered("server", "--config.file", "--sto"), "notify-test", shell)
		}
	}
}

func TestManualPagesAreReadAsTheyStand(t *testing.T) {
	t.Parallel()
	groff := harness.Tool(t, "groff", "groff-base")
	for program, binary := range map[string]string{"clanmon": harness.Clanmon(t), "clanmon-exporter": harness.SmallExporter(t)} {
		code, page := harness.Run(t, harness.Command{Path: binary, Args: []string{"man"}})
		require.Zero(t, code, page)
		cmd := exec.Command(groff, "-man", "-ww", "-Wbreak", "-Tutf8", "-P-cbou")
		cmd.Stdin = strings.NewReader(page)
		var complaints strings.Builder
		cmd.Stderr = &complaints
		out, err := cmd.Output()
		require.NoError(t, err)
		require.Empty(t, complaints.String(), program)
		require.Contains(t, string(out), program+" - ")
		require.Contains(t, string(out), "--web.listen-address=")
	}
}
