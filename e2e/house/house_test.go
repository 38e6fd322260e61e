// Package house holds the rules of the house that a compiler cannot: who may
// know whom, and that every package says what it is for. It is a test only.
package house

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
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

	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/discovery"
	"github.com/clanmon/clanmon/discovery/contract"
	"github.com/clanmon/clanmon/exporter"
)

const module = "github.com/clanmon/clanmon/"

type pkg struct {
	ImportPath string
	Doc        string
	Imports    []string
	GoFiles    []string
}

func packages(t *testing.T) []pkg {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Doc,Imports,GoFiles", module+"...").Output()
	require.NoError(t, err)
	var all []pkg
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		err := d.Decode(&p)
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		all = append(all, p)
	}
	require.Greater(t, len(all), 10)
	return all
}

// A rule forbids packages below from to import packages below to.
type rule struct{ from, to, why string }

var rules = []rule{
	{"server", "exporter", "the roles meet in cmd/clanmon alone: a server takes local jobs as handlers"},
	{"exporter", "server", "an exporter runs on every machine and must stay small"},
	{"discovery", "server", "discovery is upstream's vocabulary and ours; it knows no server"},
	{"discovery", "exporter", "discovery finds exporters, it is none"},
	{"web", "server", "paths in, files out"},
	{"web", "exporter", "paths in, files out"},
	{"server", "cmd", "flags, signals and exit codes stay in the command"},
	{"exporter", "cmd", "flags, signals and exit codes stay in the command"},
}

// rooms are the folders of server. They know only the hall's introductions.
func rooms(t *testing.T) []string {
	t.Helper()
	folders, err := os.ReadDir("../../server")
	require.NoError(t, err)
	var names []string
	for _, f := range folders {
		if f.IsDir() && f.Name() != "internal" && f.Name() != "servertest" {
			names = append(names, f.Name())
		}
	}
	require.Contains(t, names, "store")
	return names
}

func TestWhoMayKnowWhom(t *testing.T) {
	all := rules
	rooms := rooms(t)
	for _, a := range rooms {
		for _, b := range rooms {
			if a != b {
				all = append(all, rule{"server/" + a, "server/" + b, "rooms have no doors into each other; server/setup.go introduces them"})
			}
		}
	}
	for _, p := range packages(t) {
		for _, imported := range p.Imports {
			for _, r := range all {
				require.False(t, below(p.ImportPath, r.from) && below(imported, r.to), "%s imports %s: %s", p.ImportPath, imported, r.why)
			}
			if strings.HasPrefix(p.ImportPath, module+"exporter") {
				require.NotContains(t, imported, "prometheus/prometheus/", "%s: the exporter role does not pay for the server", p.ImportPath)
			}
			if imported == "os/signal" {
				require.True(t, below(p.ImportPath, "cmd/internal/cli") || below(p.ImportPath, "e2e"), "%s: signals become contexts in cmd/internal/cli, and in programs of the tests", p.ImportPath)
			}
		}
	}
}

// What is linked is what a machine pays for: an import of an import counts too.
func TestTheSmallExporterLinksNoServer(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", module+"cmd/clanmon-exporter").Output()
	require.NoError(t, err)
	linked := strings.Fields(string(out))
	require.Contains(t, linked, module+"exporter/redis", "the light kinds are in it")
	for _, p := range linked {
		for _, not := range []string{
			module + "server", module + "discovery", module + "web", module + "exporter/blackbox/probing",
			"github.com/prometheus/prometheus", "github.com/prometheus/alertmanager", "google.golang.org/grpc",
			"k8s.io", "sigs.k8s.io", "cloud.google.com", "google.golang.org/api", "github.com/Azure", "github.com/AzureAD",
			"github.com/aws", "github.com/hashicorp/consul", "github.com/docker", "github.com/moby", "github.com/gophercloud",
		} {
			require.False(t, p == not || strings.HasPrefix(p, not+"/"), "cmd/clanmon-exporter links %s (go list -deps; go mod why %s)", p, p)
		}
	}
}

// The gRPC interface of Alertmanager is not served, and initialising it takes a
// twentieth of the time before main.
func TestTheServerLinksNoUnusedInterface(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", module+"cmd/clanmon").Output()
	require.NoError(t, err)
	require.NotContains(t, string(out), "connectrpc.com/", "import github.com/prometheus/alertmanager/api/v2, not …/api")
}

func below(path, dir string) bool {
	path = strings.TrimPrefix(path, module)
	return path == dir || strings.HasPrefix(path, dir+"/")
}

func TestEveryPackageSaysWhatItIsFor(t *testing.T) {
	for _, p := range packages(t) {
		if len(p.GoFiles) > 0 {
			require.NotEmpty(t, p.Doc, "%s has no package comment", p.ImportPath)
		}
	}
}

// One adapter each: an upgrade of an upstream exporter touches one folder.
func TestUpstreamExportersHaveOneImporter(t *testing.T) {
	for upstream, only := range map[string]string{
		"github.com/prometheus/node_exporter/":               "exporter/node",
		"github.com/prometheus-community/systemd_exporter/":  "exporter/systemd",
		"github.com/nginx/nginx-prometheus-exporter/":        "exporter/nginx",
		"github.com/prometheus-community/postgres_exporter/": "exporter/postgres",
		"github.com/oliver006/redis_exporter/":               "exporter/redis",
		"github.com/prometheus/blackbox_exporter/":           "internal/probe exporter/blackbox/probing",
	} {
		for _, p := range packages(t) {
			for _, imported := range p.Imports {
				if strings.HasPrefix(imported, upstream) {
					require.Contains(t, strings.Fields(only), strings.TrimPrefix(p.ImportPath, module), "imports %s", imported)
				}
			}
		}
	}
}

// The tables of the documents name what there is.
func TestDocumentsNameWhatThereIs(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	for _, k := range exporter.Kinds() {
		require.Contains(t, string(readme), "| `"+k.Name+"` | "+strconv.Itoa(k.Port)+" |", "README's table of kinds")
	}
	architecture, err := os.ReadFile("../../ARCHITECTURE.md")
	require.NoError(t, err)
	for _, p := range packages(t) {
		if len(p.GoFiles) == 0 || below(p.ImportPath, "e2e") {
			continue
		}
		name := strings.TrimPrefix(p.ImportPath, module)
		if last := name[strings.LastIndex(name, "/")+1:]; strings.HasSuffix(last, "test") || last == "check" {
			name = last
		}
		require.True(t, strings.Contains(string(architecture), name), "ARCHITECTURE.md's table of rooms lacks %s", name)
	}
}

// A link from one document to another leads to a file and a heading that exist.
func TestLinksOfDocuments(t *testing.T) {
	fenced := regexp.MustCompile("(?ms)^```.*?^```")
	heading := regexp.MustCompile(`(?m)^#+ (.*)$`)
	left := regexp.MustCompile(`[^\w\- ]`) // out of an anchor, by GitHub
	link := regexp.MustCompile(`\]\(([^)#\s]*)(#[^)\s]*)?\)`)

	files, err := filepath.Glob("../../docs/*.md")
	require.NoError(t, err)
	files = append(files, "../../README.md", "../../ARCHITECTURE.md", "../../CONTRIBUTING.md", "../../CHANGELOG.md", "../../nix/README.md")
	texts, anchors := make(map[string]string), make(map[string][]string)
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		texts[file] = fenced.ReplaceAllString(string(text), "")
		for _, h := range heading.FindAllStringSubmatch(texts[file], -1) {
			anchors[file] = append(anchors[file], "#"+strings.ReplaceAll(left.ReplaceAllString(strings.ToLower(h[1]), ""), " ", "-"))
		}
	}
	for file, text := range texts {
		for _, l := range link.FindAllStringSubmatch(text, -1) {
			if strings.Contains(l[1], ":") {
				continue
			}
			to := file
			if l[1] != "" {
				to = filepath.Join(filepath.Dir(file), l[1])
				require.FileExists(t, to, "%s links to %s", file, l[1])
			}
			if _, known := texts[to]; known && l[2] != "" {
				require.Contains(t, anchors[to], l[2], "%s links to %s%s", file, l[1], l[2])
			}
		}
	}
}

// A new discovery method is a folder and a line: the server knows none by name, and
// the ports that it expects are those that the exporters have.
func TestDiscoveryMethodsAreNoneOfTheServersBusiness(t *testing.T) {
	folders, err := os.ReadDir("../../discovery")
	require.NoError(t, err)
	var methods []string
	for _, f := range folders {
		if f.IsDir() && f.Name() != "contract" && f.Name() != "checks" {
			methods = append(methods, f.Name())
		}
	}
	require.ElementsMatch(t, methods, discovery.Methods, "folders of discovery and the table of methods in discovery/settings.go")

	private := regexp.MustCompile(`__meta_(` + strings.Join(methods, "|") + `)_`)
	for _, p := range packages(t) {
		if !below(p.ImportPath, "server") && !below(p.ImportPath, "cmd") {
			continue
		}
		for _, name := range p.GoFiles {
			file := filepath.Join("../..", strings.TrimPrefix(p.ImportPath, module), name)
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			require.NotRegexp(t, private, string(text), "%s: the server reads the labels of discovery/contract only", file)
		}
	}

	var kinds []string
	for _, k := range exporter.Kinds() {
		port, err := contract.Port(k.Name)
		require.NoError(t, err)
		require.Equal(t, k.Port, port, "port of %s in discovery/contract and in exporter/registry.go", k.Name)
		kinds = append(kinds, k.Name)
	}
	require.Equal(t, contract.Jobs(), kinds, "discovery/contract and exporter/registry.go")
}

// State files are written in one way, which survives a power cut. What the store
// writes is segments of upstream's WAL.
func TestStateFilesAreAtomic(t *testing.T) {
	for _, p := range packages(t) {
		if !below(p.ImportPath, "server") && !below(p.ImportPath, "exporter") && !below(p.ImportPath, "cmd") || below(p.ImportPath, "server/store") || below(p.ImportPath, "cmd/internal/release") || strings.HasSuffix(p.ImportPath, "test") {
			continue
		}
		for _, name := range p.GoFiles {
			file := filepath.Join("../..", strings.TrimPrefix(p.ImportPath, module), name)
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			require.NotContains(t, string(text), "os.WriteFile(", "%s: write it with internal/atomicfile", file)
		}
	}
}

func TestNoticeIsCurrent(t *testing.T) {
	want, err := exec.Command("go", "run", "../notice").Output()
	require.NoError(t, err)
	got, err := os.ReadFile("../../NOTICE")
	require.NoError(t, err)
	require.Equal(t, string(want), string(got), "run: go run ./e2e/notice > NOTICE")
}

var updateDependencies = flag.Bool("update", false, "write dependencies.txt")

// Whatever is linked runs with the program's rights and has to be watched for
// vulnerabilities. A module more, or many packages more of one, is a decision.
func TestDependenciesAreKnown(t *testing.T) {
	const file = "dependencies.txt"
	var now strings.Builder
	for _, program := range []string{"clanmon", "clanmon-exporter"} {
		out, err := exec.Command("go", "list", "-deps", "-f", "{{with .Module}}{{.Path}}{{end}}", module+"cmd/"+program).Output()
		require.NoError(t, err)
		packages := make(map[string]int)
		total := 0
		for _, of := range strings.Fields(string(out)) {
			if of+"/" != module {
				packages[of]++
				total++
			}
		}
		fmt.Fprintf(&now, "%s links %d modules of others, %d packages:\n", program, len(packages), total)
		for _, of := range slices.Sorted(maps.Keys(packages)) {
			fmt.Fprintf(&now, "  %s %d\n", of, packages[of])
		}
	}
	if *updateDependencies {
		require.NoError(t, os.WriteFile(file, []byte(now.String()), 0o644))
	}
	before, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, string(before), now.String(), "if this is meant: go test ./e2e/house -run Dependencies -update")
}

// A program or test binary that is committed by mistake is in every clone for good.
func TestNoLargeFilesAreTracked(t *testing.T) {
	out, err := exec.Command("git", "-C", "../..", "ls-files", "-z").Output()
	require.NoError(t, err)
	files := strings.Split(strings.TrimRight(string(out), "\x00"), "\x00")
	require.Greater(t, len(files), 100)
	for _, name := range files {
		info, err := os.Stat(filepath.Join("../..", name))
		if err == nil {
			require.Less(t, info.Size(), int64(512<<10), "%s", name)
		}
	}
}
