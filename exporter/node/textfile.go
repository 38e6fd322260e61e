package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// textfileName is upstream's collector of text files. In ours, which has its series, a
// directory on a dead mount costs only itself, as does a file that is too large or
// never ends.
const textfileName = "textfile"

const (
	textfileLimit = 1 << 20 // bytes of a file, where nobody says
	// textfilePatience is how long a directory may take, as upstream has it for mounts.
	textfilePatience = 5 * time.Second
)

// Upstream's names and help.
var (
	textfileErrorDesc = prometheus.NewDesc("node_textfile_scrape_error", "1 if there was an error opening or reading a file, 0 otherwise", nil, nil)
	textfileMtimeDesc = prometheus.NewDesc("node_textfile_mtime_seconds", "Unixtime mtime of textfiles successfully read.", []string{"file"}, nil)
)

type textfiles struct {
	patterns []string // of directories
	limit    int64    // of bytes of a file, 0 for none
	log      *slog.Logger
	list     func(dir string) ([]os.DirEntry, error)
	last     string // what was wrong at the last scrape

	mu   sync.Mutex
	busy map[string]bool // what is being read
}

func newTextfiles(patterns []string, limit int64, log *slog.Logger) *textfiles {
	return &textfiles{patterns: patterns, limit: limit, log: log, list: os.ReadDir, busy: map[string]bool{}}
}

func (t *textfiles) Close() error { return nil }

// textfile is a file that was read, or why it was not.
type textfile struct {
	path     string
	families []*dto.MetricFamily // sorted by name
	mtime    time.Time
	err      error
}

func (t *textfiles) Collect(ctx context.Context, ch chan<- prometheus.Metric) error {
	patience := textfilePatience
	if deadline, ok := ctx.Deadline(); ok {
		patience = min(patience, time.Until(deadline)*2/3)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()

	files, hung := t.read(ctx)
	var wrong []string
	for _, f := range files {
		if f.err != nil {
			wrong = append(wrong, f.err.Error())
		}
	}
	wrong = append(wrong, expose(files, ch)...)
	failed := 0.0
	if len(wrong)+len(hung) > 0 {
		failed = 1
	}
	ch <- prometheus.MustNewConstMetric(textfileErrorDesc, prometheus.GaugeValue, failed)
	t.logChange(strings.Join(wrong, "; "))
	if len(hung) > 0 {
		return fmt.Errorf("text file directories do not respond: %s", strings.Join(hung, ", "))
	}
	return nil
}

// logChange logs what is wrong with files when it is not what was wrong the last time.
func (t *textfiles) logChange(wrong string) {
	switch {
	case wrong == t.last:
	case wrong != "":
		t.log.Error("Text files are left out", "collector", textfileName, "err", wrong)
	default:
		t.log.Info("All text files can be read again", "collector", textfileName)
	}
	t.last = wrong
}

// read reads all files, in the order of their directories and names, and says which
// directories have not responded in time.
func (t *textfiles) read(ctx context.Context) (files []textfile, hung []string) {
	var dirs []string
	for _, p := range t.patterns {
		if !strings.ContainsAny(p, `*?[\\`) {
			dirs = append(dirs, p)
			continue
		}
		matched, ok := attempt(ctx, t, p, func() []string {
			found, err := filepath.Glob(p)
			if err != nil || len(found) == 0 {
				return []string{p} // may be a name after all
			}
			return found
		})
		if !ok {
			hung = append(hung, p)
		}
		dirs = append(dirs, matched...)
	}
	found := make([][]textfile, len(dirs))
	ended := make([]bool, len(dirs))
	var wg sync.WaitGroup
	for i, dir := range dirs {
		wg.Go(func() {
			found[i], ended[i] = attempt(ctx, t, "dir "+dir, func() []textfile { return t.directory(dir) })
		})
	}
	wg.Wait()
	for i, dir := range dirs {
		if !ended[i] {
			hung = append(hung, dir)
		}
		files = append(files, found[i]...)
	}
	return files, hung
}

// attempt does what may never end, and gives up when ctx ends. While it has not ended,
// the same is not begun again.
func attempt[T any](ctx context.Context, t *textfiles, what string, do func() T) (result T, ok bool) {
	t.mu.Lock()
	busy := t.busy[what]
	t.busy[what] = true
	t.mu.Unlock()
	if busy {
		return result, false
	}
	done := make(chan T, 1)
	go func() {
		r := do()
		t.mu.Lock()
		delete(t.busy, what)
		t.mu.Unlock()
		done <- r
	}()
	select {
	case result = <-done:
		return result, true
	case <-ctx.Done():
		return result, false
	}
}

func (t *textfiles) directory(dir string) []textfile {
	entries, err := t.list(dir)
	if err != nil && dir != "" {
		return []textfile{{err: fmt.Errorf("directory of text files: %w", err)}}
	}
	var files []textfile
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".prom") {
			f := textfile{path: filepath.Join(dir, e.Name())}
			if f.families, f.mtime, f.err = t.file(f.path); f.err != nil {
				f.err = fmt.Errorf("text file %q: %w", f.path, f.err)
			}
			files = append(files, f)
		}
	}
	return files
}

func (t *textfiles) file(path string) (families []*dto.MetricFamily, mtime time.Time, err error) {
	defer func() {
		if r := recover(); r != nil {
			families, err = nil, fmt.Errorf("panic: %v", r)
		}
	}()
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a named pipe without a writer would block
	if err != nil {
		return nil, mtime, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, mtime, err
	}
	if !info.Mode().IsRegular() {
		return nil, mtime, errors.New("is not a regular file")
	}
	var in io.Reader = f
	if t.limit > 0 {
		in = io.LimitReader(f, t.limit+1) // it may still grow
	}
	text, err := io.ReadAll(in)
	if err != nil {
		return nil, mtime, err
	}
	if t.limit > 0 && int64(len(text)) > t.limit {
		return nil, mtime, fmt.Errorf("is larger than %d bytes, see --collector.textfile.max-file-size", t.limit)
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	parsed, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	if err != nil {
		return nil, mtime, err
	}
	for _, name := range slices.Sorted(maps.Keys(parsed)) {
		for _, m := range parsed[name].Metric {
			if m.TimestampMs != nil {
				return nil, mtime, errors.New("has timestamps, which are not supported")
			}
		}
		families = append(families, parsed[name])
	}
	return families, info.ModTime(), nil
}

// expose sends the metrics of files, and says what is wrong with them together: of
// several helps of a metric the first one counts.
func expose(files []textfile, ch chan<- prometheus.Metric) (wrong []string) {
	help, from := map[string]string{}, map[string][]string{}
	for _, f := range files {
		for _, family := range f.families {
			name := family.GetName()
			if _, ok := help[name]; !ok && family.Help != nil {
				help[name] = family.GetHelp()
			}
			from[name] = append(from[name], strings.ToValidUTF8(f.path, "\uFFFD"))
		}
	}
	for _, f := range files {
		if f.err != nil {
			continue
		}
		for _, family := range f.families {
			name := family.GetName()
			text, ok := help[name]
			if !ok {
				text = "Metric read from " + strings.Join(from[name], ", ")
			}
			if family.Help != nil && family.GetHelp() != text {
				wrong = append(wrong, fmt.Sprintf("text file %q: help text of %s differs from the one in %s", f.path, name, from[name][0]))
				continue
			}
			for _, m := range convert(family, text) {
				ch <- m
			}
		}
		ch <- prometheus.MustNewConstMetric(textfileMtimeDesc, prometheus.GaugeValue, float64(f.mtime.Unix()), strings.ToValidUTF8(f.path, "\uFFFD"))
	}
	return wrong
}

// convert makes metrics of a family that was read. Labels that only some of its metrics
// have are "" in the others, as upstream has it.
func convert(family *dto.MetricFamily, help string) []prometheus.Metric {
	var names []string
	for _, m := range family.Metric {
		for _, l := range m.Label {
			if !slices.Contains(names, l.GetName()) {
				names = append(names, l.GetName())
			}
		}
	}
	desc := prometheus.NewDesc(family.GetName(), help, names, nil)
	var metrics []prometheus.Metric
	for _, m := range family.Metric {
		values := make([]string, len(names))
		for _, l := range m.Label {
			values[slices.Index(names, l.GetName())] = l.GetValue()
		}
		var metric prometheus.Metric
		var err error
		switch family.GetType() {
		case dto.MetricType_COUNTER:
			metric, err = prometheus.NewConstMetric(desc, prometheus.CounterValue, m.GetCounter().GetValue(), values...)
		case dto.MetricType_GAUGE:
			metric, err = prometheus.NewConstMetric(desc, prometheus.GaugeValue, m.GetGauge().GetValue(), values...)
		case dto.MetricType_SUMMARY:
			quantiles := map[float64]float64{}
			for _, q := range m.Summary.Quantile {
				quantiles[q.GetQuantile()] = q.GetValue()
			}
			metric, err = prometheus.NewConstSummary(desc, m.Summary.GetSampleCount(), m.Summary.GetSampleSum(), quantiles, values...)
		case dto.MetricType_HISTOGRAM:
			buckets := map[float64]uint64{}
			for _, b := range m.Histogram.Bucket {
				buckets[b.GetUpperBound()] = b.GetCumulativeCount()
			}
			metric, err = prometheus.NewConstHistogram(desc, m.Histogram.GetSampleCount(), m.Histogram.GetSampleSum(), buckets, values...)
		default:
			metric, err = prometheus.NewConstMetric(desc, prometheus.UntypedValue, m.GetUntyped().GetValue(), values...)
		}
		if err != nil {
			metric = prometheus.NewInvalidMetric(desc, err) // said with what else cannot be exposed
		}
		metrics = append(metrics, metric)
	}
	return metrics
}
