//go:build long

package upstream

import (
	"bytes"
	_ "embed"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/e2e/harness"
	"github.com/clanmon/clanmon/e2e/oracle"
)

// TestMain takes the built binary away.
func TestMain(m *testing.M) {
	code := m.Run()
	harness.RemoveBuilt()
	os.Exit(code)
}

func TestPrometheus(t *testing.T) {
	const module = "github.com/prometheus/prometheus"
	s := newSuite(t, "prometheus", module+"/cmd/prometheus")
	// They write into the folders that they run in.
	for _, folder := range []string{"cmd/prometheus", "documentation/examples", "docs"} {
		copyFolder(t, filepath.Join(oracle.ModuleDir(t, module), folder), filepath.Join(s.dir, folder))
	}
	s.cwd = filepath.Join(s.dir, "cmd/prometheus")
	// The tests start themselves with -test.main to be Prometheus: os.Args[0].
	require.NoError(t, os.Symlink(harness.Clanmon(t), filepath.Join(s.dir, "prometheus")))
	s.name = s.script("program", `shift
exec "${0%/*}/prometheus" "$@"`)
	s.compare(t, 70)
}

func TestAlertmanager(t *testing.T) {
	s := newSuite(t, "alertmanager", "github.com/prometheus/alertmanager/test/with_api_v2/acceptance")
	s.cwd = filepath.Join(s.dir, "test/with_api_v2/acceptance")
	require.NoError(t, os.MkdirAll(s.cwd, 0o755))
	// The tests start ../../../alertmanager. Two flags have another name, and the
	// empty configuration keeps the rules of the binary out.
	harness.WriteFile(t, s.dir, "prometheus.yml", "")
	s.script("alertmanager", `for word; do
	case $word in
	--config.file) word=--alertmanager.config.file ;;
	--storage.path) word=--storage.tsdb.path ;;
	esac
	set -- "$@" "$word"
	shift
done
exec '`+harness.Clanmon(t)+`' server --config.file='`+s.dir+`/prometheus.yml' "$@"`)
	s.compare(t, 20)
}

func TestNodeExporter(t *testing.T) {
	const module = "github.com/prometheus/node_exporter"
	dir := t.TempDir()
	for _, name := range []string{"collector", "end-to-end-test.sh", "ttar"} {
		copyFolder(t, filepath.Join(oracle.ModuleDir(t, module), name), filepath.Join(dir, name))
	}
	build := exec.Command("go", "build", "-o", filepath.Join(dir, "tools", "tools"), module+"/tools")
	output, err := build.CombinedOutput()
	require.NoError(t, err, "%s", output)
	for _, archive := range []string{"sys", "udev"} {
		unpack := exec.Command("bash", "ttar", "-C", "collector/fixtures", "-x", "-f", "collector/fixtures/"+archive+".ttar")
		unpack.Dir = dir
		output, err := unpack.CombinedOutput()
		require.NoError(t, err, "%s", output)
	}
	// Modules have no symbolic links.
	require.NoError(t, os.Symlink("10", filepath.Join(dir, "collector/fixtures/proc/self")))
	s := &suite{label: "node_exporter", dir: dir}
	s.script("node_exporter", "exec '"+harness.Clanmon(t)+"' exporter --exporter=node \"$@\"")
	// The script gives the program one second to start.
	curl, err := exec.LookPath("curl")
	require.NoError(t, err)
	require.NoError(t, os.Mkdir(filepath.Join(dir, "bin"), 0o755))
	s.script("bin/curl", "exec '"+curl+"' --retry 30 --retry-delay 1 --retry-connrefused \"$@\"")
	run := exec.Command("bash", "end-to-end-test.sh")
	run.Dir, run.Env = dir, append(os.Environ(), "PATH="+filepath.Join(dir, "bin")+":"+os.Getenv("PATH"))
	out, err := run.CombinedOutput()
	_, diff, found := strings.Cut(string(out), "\n--- collector/fixtures/")
	require.True(t, err == nil || found, "%v: %s", err, out)
	different := make(map[string]bool)
	for _, line := range differentLine.FindAllStringSubmatch(diff, -1) {
		different[line[1]+line[2]] = true
	}
	s.require(t, slices.Sorted(maps.Keys(different)), diff)
}

// differentLine is a line of a diff, with the name of the metric.
var differentLine = regexp.MustCompile(`(?m)^([-+])(?:# (?:HELP|TYPE) )?([a-zA-Z0-9_:]+)`)

// suite is a package of tests of upstream.
type suite struct {
	label string // in known.txt
	dir   string // of its own
	cwd   string
	path  string // of the compiled tests
	name  string // what they take for their own
}

func newSuite(t *testing.T, label, pkg string) *suite {
	s := &suite{label: label, dir: t.TempDir()}
	s.path = filepath.Join(s.dir, "tests")
	s.name = s.path
	build := exec.Command("go", "test", "-vet=off", "-ldflags=-s -w", "-c", "-o", s.path, pkg)
	output, err := build.CombinedOutput()
	require.NoError(t, err, "%s", output)
	return s
}

// script writes an executable of the shell and returns its path.
func (s *suite) script(name, text string) string {
	path := filepath.Join(s.dir, name)
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
		panic(err)
	}
	return path
}

// compare runs the tests, of which there are at least some number, and compares
// what fails with known.txt. What is not listed is tried again on its own: many
// give a program five seconds to start, and they run beside each other.
func (s *suite) compare(t *testing.T, atLeast int) {
	passed, failed, output := s.run(t)
	require.GreaterOrEqual(t, passed, atLeast, "too few tests passed: %s", output)
	known := reasons(t, s.label)
	var different []string
	for _, name := range failed {
		if _, listed := known[name]; !listed {
			if output = s.again(t, name); output == "" {
				continue
			}
		}
		different = append(different, name)
	}
	s.require(t, different, output)
}

// again runs one test alone, at most three times. It returns what the last said,
// or "" once it passed.
func (s *suite) again(t *testing.T, name string) (output string) {
	for range 3 {
		_, failed, text := s.run(t, "-test.run", "^"+strings.ReplaceAll(regexp.QuoteMeta(name), "/", "$/^")+"$")
		if len(failed) == 0 {
			return ""
		}
		output = text
	}
	return output
}

// result is how the testing package reports one.
var result = regexp.MustCompile(`--- (PASS|FAIL|SKIP): (\S+) \([0-9.]+s\)`)

// run returns the number of tests that passed and the names of those that failed,
// of which no part failed by itself.
func (s *suite) run(t *testing.T, args ...string) (passed int, failed []string, output string) {
	t.Helper()
	var out bytes.Buffer
	cmd := exec.Command(s.path, append([]string{"-test.v", "-test.timeout=15m"}, args...)...)
	cmd.Args[0], cmd.Dir = s.name, s.cwd
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = time.Minute
	err := cmd.Run() // fails when a test does
	output = out.String()
	for _, line := range result.FindAllStringSubmatch(output, -1) {
		switch line[1] {
		case "PASS":
			passed++
		case "FAIL":
			failed = append(failed, line[2])
		}
	}
	require.True(t, passed+len(failed) > 0, "%v: %s", err, output)
	whole := func(name string) bool {
		return slices.ContainsFunc(failed, func(other string) bool { return strings.HasPrefix(other, name+"/") })
	}
	return passed, slices.DeleteFunc(slices.Clone(failed), whole), output
}

// require fails unless exactly what known.txt lists is different.
func (s *suite) require(t *testing.T, different []string, output string) {
	t.Helper()
	known := reasons(t, s.label)
	for _, name := range different {
		if _, listed := known[name]; !listed {
			t.Errorf("%s differs, and known.txt does not say why", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(known)) {
		if !slices.Contains(different, name) {
			t.Errorf("%s no longer differs: take it out of known.txt", name)
		}
	}
	if t.Failed() {
		t.Log(output)
	}
}

//go:embed known.txt
var knownText string

// reasons are those of one suite, by what differs.
func reasons(t *testing.T, label string) map[string]string {
	t.Helper()
	all := make(map[string]string)
	for line := range strings.Lines(knownText) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		suite, rest, _ := strings.Cut(line, " ")
		name, reason, _ := strings.Cut(rest, " ")
		require.NotEmpty(t, reason, "known.txt: %q has no reason", line)
		if suite == label {
			all[name] = reason
		}
	}
	return all
}

// copyFolder copies a folder or a file of the module cache, which is read-only.
func copyFolder(t *testing.T, from, to string) {
	t.Helper()
	info, err := os.Stat(from)
	require.NoError(t, err)
	if info.IsDir() {
		require.NoError(t, os.CopyFS(to, os.DirFS(from)))
		return
	}
	text, err := os.ReadFile(from)
	require.NoError(t, err)
	require.NoError(t, os.MkdirAll(filepath.Dir(to), 0o755))
	require.NoError(t, os.WriteFile(to, text, 0o644))
}
