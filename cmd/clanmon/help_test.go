package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/alecthomas/kingpin/v2"
	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/cmd/internal/cli"
)

// helps are the help texts of an upstream program by flag: patterns, since a part of a
// text may be known only when the program runs. A flag of several commands has several.
type helps map[string][]string

// helpsOf reads the sources of a module: FILE of MODULE, as the module cache has it.
func helpsOf(t *testing.T, sources ...string) helps {
	t.Helper()
	all := helps{}
	for _, source := range sources {
		module, file, _ := strings.Cut(source, " ")
		dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", module).Output()
		require.NoError(t, err, module)
		tree, err := parser.ParseFile(token.NewFileSet(), filepath.Join(strings.TrimSpace(string(dir)), file), nil, 0)
		require.NoError(t, err)
		constants := constantsOf(tree)
		ast.Inspect(tree, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			if name, help := flagOf(call); name != nil {
				if lit, ok := name.(*ast.BasicLit); ok {
					flag, err := strconv.Unquote(lit.Value)
					require.NoError(t, err)
					pattern, _ := constants.text(help)
					all[flag] = append(all[flag], pattern)
				}
			}
			return true
		})
	}
	require.NotEmpty(t, all, "the flags of %s", sources)
	return all
}

// flagOf returns the arguments of a call that are the name and the help of a flag: of
// kingpin, Go's own package flag, or Prometheus' serverOnlyFlag and agentOnlyFlag.
func flagOf(call *ast.CallExpr) (name, help ast.Expr) {
	switch f := call.Fun.(type) {
	case *ast.SelectorExpr:
		if x, ok := f.X.(*ast.Ident); ok && x.Name == "flag" && len(call.Args) == 3 {
			return call.Args[0], call.Args[2]
		}
		if f.Sel.Name == "Flag" && len(call.Args) == 2 {
			return call.Args[0], call.Args[1]
		}
	case *ast.Ident:
		if strings.HasSuffix(f.Name, "OnlyFlag") && len(call.Args) == 3 {
			return call.Args[1], call.Args[2]
		}
	}
	return nil, nil
}

type constants map[string]string

func constantsOf(tree *ast.File) constants {
	all := constants{}
	ast.Inspect(tree, func(n ast.Node) bool {
		if spec, ok := n.(*ast.ValueSpec); ok && len(spec.Values) == 1 {
			if text, known := all.text(spec.Values[0]); known {
				all[spec.Names[0].Name] = text
			}
		}
		return true
	})
	return all
}

// text returns the pattern of a text, and whether all of it is known.
func (c constants) text(e ast.Expr) (pattern string, known bool) {
	switch e := e.(type) {
	case *ast.BasicLit:
		s, err := strconv.Unquote(e.Value)
		return regexp.QuoteMeta(s), err == nil
	case *ast.BinaryExpr:
		x, xKnown := c.text(e.X)
		y, yKnown := c.text(e.Y)
		return x + y, xKnown && yKnown
	case *ast.CallExpr: // fmt.Sprintf
		if len(e.Args) > 0 {
			if format, known := c.text(e.Args[0]); known {
				return regexp.MustCompile(`%[a-z]`).ReplaceAllString(format, `.*`), false
			}
		}
	case *ast.Ident:
		if s, ok := c[e.Name]; ok {
			return s, true
		}
	}
	return `.*`, false
}

// Flags of upstream have upstream's help, word for word: people know it by heart and
// search for it. Where a flag does more or less here, a sentence follows.
func TestUpstreamFlagsHaveUpstreamsHelp(t *testing.T) {
	t.Parallel()
	const toolkit = "github.com/prometheus/exporter-toolkit web/kingpinflag/flag.go"
	prometheus := helpsOf(t, "github.com/prometheus/prometheus cmd/prometheus/main.go", toolkit)
	alertmanager := helpsOf(t, "github.com/prometheus/alertmanager cmd/alertmanager/main.go")
	promtool := helpsOf(t, "github.com/prometheus/prometheus cmd/promtool/main.go")
	exporters := map[string]helps{
		"": helpsOf(t, "github.com/prometheus/node_exporter node_exporter.go",
			"github.com/prometheus-community/systemd_exporter main.go", "github.com/prometheus-community/systemd_exporter systemd/systemd.go", toolkit),
		"nginx":    helpsOf(t, "github.com/nginx/nginx-prometheus-exporter exporter.go"),
		"postgres": helpsOf(t, "github.com/prometheus-community/postgres_exporter cmd/postgres_exporter/main.go"),
		"redis":    helpsOf(t, "github.com/oliver006/redis_exporter main.go"),
	}
	// Those whose help says more, and why.
	more := map[string]string{
		"server --config.file":                                  "it may be missing",
		"server --web.read-timeout":                             "shorter limits of ours hold too",
		"server --web.cors.origin":                              "the default differs with discovery",
		"server --alertmanager.config.file":                     "it is an Alertmanager inside, with more integrations",
		"server --alertmanager.silences.max-silences":           "there are limits by default",
		"server --alertmanager.silences.max-silence-size-bytes": "there are limits by default",
		"server --cluster.listen-address":                       "there is no default",
		"exporter --web.listen-address":                         "there are several exporters",
		"exporter --web.systemd-socket":                         "there are several exporters",
		"exporter --redis.addr":                                 "upstream's does not say what it takes",
		"exporter --redis.password-file":                        "takes a single password too",
	}
	compared := map[string]bool{}
	compare := func(where string, f *kingpin.FlagModel, help string, upstream []string) {
		if len(upstream) == 0 {
			return
		}
		flag := where + " --" + f.Name
		compared[flag] = true
		help = strings.Join(strings.Fields(help), " ")
		for _, suffix := range []string{" Use with server mode only.", " Use with agent mode only."} {
			help = strings.TrimSuffix(help, suffix)
		}
		same := fmt.Sprintf("^(?:%s)", strings.Join(strings.Fields(strings.Join(upstream, "|")), " "))
		if _, ok := more[flag]; ok {
			require.Regexp(t, same+`[.:]? .+$`, help, flag)
			return
		}
		require.Regexp(t, same+"$", help, flag)
	}

	server := newServerCommand(cli.Env{}).(hasFlags).Application().Model()
	for _, f := range server.Flags {
		upstream := prometheus[f.Name]
		if len(upstream) == 0 {
			upstream = alertmanager[strings.TrimPrefix(f.Name, "alertmanager.")]
		}
		compare("server", f, f.Help, upstream)
	}
	exporter := newExporterCommand(cli.Env{}).(hasFlags).Application().Model()
	for _, f := range exporter.Flags {
		help, upstream := f.Help, exporters[""]
		if kind, rest, ok := strings.Cut(f.Help, ": "); ok && exporters[kind] != nil {
			help, _, _ = strings.Cut(rest, " ($")
			upstream = exporters[kind]
		}
		compare("exporter", f, help, upstream[f.Name])
	}
	check := newCheckCommand(cli.Env{}).(hasFlags).Application().Model()
	for _, c := range append(check.FlattenedCommands(), &kingpin.CmdModel{FlagGroupModel: check.FlagGroupModel}) {
		if slices.Contains([]string{"alertmanager", "settings", "flags"}, c.Name) { // promtool has none
			continue
		}
		for _, f := range c.Flags {
			compare("check", f, f.Help, promtool[f.Name])
		}
	}
	require.Greater(t, len(compared), 150)
	for flag := range more {
		require.True(t, compared[flag], "%s is in the list of differences and was not compared: %v", flag, slices.Sorted(maps.Keys(compared)))
	}
}

// What a newcomer needs comes first, and no flag is lost between the headings.
func TestHelpHasCommonFlagsFirst(t *testing.T) {
	t.Parallel()
	for role, common := range map[string][]string{
		"server":   {"help", "config.file", "discovery", "discovery.static", "discovery.dns", "notify", "storage.tsdb.path", "retention", "web.listen-address"},
		"exporter": {"help", "exporter", "collectors", "list-collectors", "web.listen-address"},
	} {
		var listed []string
		for _, m := range regexp.MustCompile(`(?m)^ {2}(?:-h, |    )?--(?:\[no-\])?([A-Za-z0-9._-]+)(?:[= ]|$)`).FindAllStringSubmatch(printed(t, role, "--help"), -1) {
			listed = append(listed, m[1])
		}
		require.Equal(t, common, listed[:len(common)], role)
		for _, c := range description().Commands {
			for _, f := range c.Flags {
				if c.Name == role {
					require.Contains(t, listed, f.Name, "%s --help", role)
				}
			}
		}
	}
}

// A flag that a document names can be set.
func TestDocumentsNameFlagsThatExist(t *testing.T) {
	known := map[string]bool{
		// Of Alertmanager and Thanos, where a document compares or names their flags.
		"data.retention": true, "silences.max-silences": true, "silences.max-silence-size-bytes": true,
		"alerts.per-alertname-limit": true, "dispatch.start-delay": true, "storage.path": true,
		"tsdb.out-of-order.time-window": true,
	}
	var learn func(flags []*kingpin.FlagModel, below []*kingpin.CmdModel)
	learn = func(flags []*kingpin.FlagModel, below []*kingpin.CmdModel) {
		for _, f := range flags {
			known[f.Name] = true
		}
		for _, c := range below {
			learn(c.Flags, c.Commands)
		}
	}
	for _, c := range commands() {
		if made, ok := c.make(cli.Env{Stdout: io.Discard, Stderr: io.Discard}).(hasFlags); ok {
			model := made.Application().Model()
			learn(model.Flags, model.Commands)
		}
	}
	files, err := filepath.Glob("../../docs/*.md")
	require.NoError(t, err)
	files = append(files, "../../README.md", "../../CHANGELOG.md", "../../nix/README.md")
	// Flags with a dot: the others may be those of other programs in an example.
	named := regexp.MustCompile(`--(?:no-)?([a-z][a-z0-9-]*\.[a-z0-9.-]*[a-z0-9])([.-]\*)?`)
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, m := range named.FindAllStringSubmatch(string(text), -1) {
			require.True(t, known[m[1]] || m[2] != "", "%s names --%s", file, m[1])
		}
	}
}
