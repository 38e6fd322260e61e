package node

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
	upstream "github.com/prometheus/node_exporter/collector"
	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/e2e/oracle"
	"github.com/clanmon/clanmon/exporter/collector"
	"github.com/clanmon/clanmon/exporter/collector/collectortest"
)

// texts are what directories of text files give, in the text format.
func texts(t *testing.T, c prometheus.Collector) (text string, err error) {
	t.Helper()
	r := prometheus.NewRegistry()
	r.MustRegister(c)
	families, err := r.Gather()
	var out strings.Builder
	for _, f := range families {
		_, werr := expfmt.MetricFamilyToText(&out, f)
		require.NoError(t, werr)
	}
	return out.String(), err
}

// uncheckedCollector is a collector as a registry takes it.
type uncheckedCollector func(ch chan<- prometheus.Metric)

func (uncheckedCollector) Describe(chan<- *prometheus.Desc)      {}
func (f uncheckedCollector) Collect(ch chan<- prometheus.Metric) { f(ch) }

func ours(t *testing.T, c *textfiles) prometheus.Collector {
	return uncheckedCollector(func(ch chan<- prometheus.Metric) { require.NoError(t, c.Collect(t.Context(), ch)) })
}

// Upstream's own cases, and a glob over all of them, beside upstream.
func TestTextfilesHaveTheSeriesOfUpstream(t *testing.T) {
	fixtures(t) // parses the flags
	directories := kingpin.CommandLine.GetFlag("collector.textfile.directory").Model().Value.(kingpin.Getter).Get().(*[]string)
	before := *directories
	t.Cleanup(func() { *directories = before })
	cases := filepath.Join(oracle.ModuleDir(t, "github.com/prometheus/node_exporter"), "collector/fixtures/textfile")
	dirs, err := filepath.Glob(cases + "/*")
	require.NoError(t, err)
	require.Greater(t, len(dirs), 10)
	for _, patterns := range append([][]string{{cases + "/*_files"}, {cases + "/nonexistent", cases + "/two_metric_files"}, {""}, {cases + "/[x"}}, singles(dirs)...) {
		*directories = patterns
		theirs, err := upstream.NewTextFileCollector(collectortest.Discard())
		require.NoError(t, err)
		want, wantErr := texts(t, uncheckedCollector(func(ch chan<- prometheus.Metric) { require.NoError(t, theirs.Update(ch)) }))
		got, gotErr := texts(t, ours(t, newTextfiles(patterns, textfileLimit, collectortest.Discard())))
		require.Equal(t, want, got, patterns)
		require.Equal(t, wantErr == nil, gotErr == nil, "%v: upstream %v, ours %v", patterns, wantErr, gotErr)
	}
}

func singles(all []string) [][]string {
	lists := make([][]string, len(all))
	for i, s := range all {
		lists[i] = []string{s}
	}
	return lists
}

// A file that cannot be read costs itself, and one line in the log.
func TestTextfilesThatAreLeftOut(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
	}
	write("good.prom", "good 1\n")
	write("big.prom", "big{x=\""+strings.Repeat("v", 2000)+"\"} 1\n")
	write("broken.prom", "broken{ 1\n")
	write("caf\xe9.prom", "name 1\n")
	require.NoError(t, syscall.Mkfifo(filepath.Join(dir, "pipe.prom"), 0o600))
	require.NoError(t, os.Symlink(filepath.Join(dir, "nothing"), filepath.Join(dir, "link.prom")))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "dir.prom"), 0o700))
	var log bytes.Buffer
	c := newTextfiles([]string{dir, filepath.Join(dir, "none")}, 1000, slog.New(slog.NewTextHandler(&log, nil)))
	for range 3 {
		text, err := texts(t, ours(t, c))
		require.NoError(t, err)
		require.Contains(t, text, "\ngood 1\n")
		require.Contains(t, text, "\nname 1\n")
		require.Contains(t, text, "caf\uFFFD.prom")
		require.Contains(t, text, "\nnode_textfile_scrape_error 1\n")
		require.Equal(t, 2, strings.Count(text, "node_textfile_mtime_seconds{"))
	}
	require.Equal(t, 1, strings.Count(log.String(), "\n"), log.String())
	for _, why := range []string{"big.prom", "larger than 1000 bytes", "--collector.textfile.max-file-size", "broken.prom", "pipe.prom", "is not a regular file", "link.prom", "dir.prom", "none"} {
		require.Contains(t, log.String(), why)
	}
	for _, name := range []string{"big", "broken", "pipe", "link", "dir"} {
		require.NoError(t, os.Remove(filepath.Join(dir, name+".prom")))
	}
	require.NoError(t, os.Mkdir(filepath.Join(dir, "none"), 0o700))
	text, err := texts(t, ours(t, c))
	require.NoError(t, err)
	require.Contains(t, text, "\nnode_textfile_scrape_error 0\n")
	require.Contains(t, log.String(), "All text files can be read again")
	require.Equal(t, 2, strings.Count(log.String(), "\n"))
}

func TestTextfilesOnADeadMount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		good := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(good, "a.prom"), []byte("good 1\n"), 0o644))
		dead := make(chan struct{})
		var readings atomic.Int32
		c := newTextfiles([]string{"/dead", good}, textfileLimit, collectortest.Discard())
		c.list = func(dir string) ([]os.DirEntry, error) {
			if dir == "/dead" {
				readings.Add(1)
				<-dead
			}
			return os.ReadDir(dir)
		}
		set := collector.NewSet(map[string]collector.Collector{textfileName: c}, collectortest.Discard(), collector.Report)
		scrape := func() (text string, took time.Duration) {
			ctx, cancel := context.WithTimeout(t.Context(), 9*time.Second)
			defer cancel()
			begin := time.Now()
			text, err := texts(t, uncheckedCollector(func(ch chan<- prometheus.Metric) { set.Collect(ctx, nil, ch) }))
			require.NoError(t, err)
			return text, time.Since(begin)
		}
		for _, want := range []time.Duration{5 * time.Second, 0, 0} {
			text, took := scrape()
			require.Equal(t, want, took, "only the first scrape waits")
			require.Contains(t, text, "\ngood 1\n")
			require.Contains(t, text, "\nnode_textfile_scrape_error 1\n")
			require.Contains(t, text, `clanmon_exporter_collector_success{collector="textfile"} 0`)
		}
		require.EqualValues(t, 1, readings.Load())
		close(dead)
		synctest.Wait()
		text, _ := scrape()
		require.Contains(t, text, `clanmon_exporter_collector_success{collector="textfile"} 1`)
	})
}
