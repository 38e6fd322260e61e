package history

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"

	wire "github.com/clanmon/clanmon/internal/history"
)

type fixture struct {
	*Spool
	t   testing.TB
	dir string
	o   Options
	reg *prometheus.Registry
}

// open opens a spool that has 10 gathers a file and keeps 100.
func open(t testing.TB, dir string, change ...func(*Options)) *fixture {
	t.Helper()
	f := &fixture{t: t, dir: dir, reg: prometheus.NewRegistry()}
	f.o = Options{Gathers: 100, PerSegment: 10, MaxBytes: 16 << 20, Registerer: f.reg, Logger: slog.New(slog.NewTextHandler(t.Output(), nil))}
	for _, c := range change {
		c(&f.o)
	}
	s, err := Open(dir, f.o)
	require.NoError(t, err)
	f.Spool = s
	t.Cleanup(func() { _ = s.Close() })
	return f
}

// again is the spool after the process ended, without a word if it was killed.
func (f *fixture) again() *fixture {
	f.t.Helper()
	require.NoError(f.t, f.lock.Close())
	return open(f.t, f.dir, func(o *Options) { *o = f.o; o.Registerer = nil })
}

func (f *fixture) keep(at int64, values map[string]float64) error {
	return f.Append(at, func(add func([]byte, float64)) {
		for name, v := range values {
			add(wire.AppendString(wire.AppendString(wire.AppendString(nil, "node"), "__name__"), name), v)
		}
	}, nil)
}

// mustKeep keeps a gather at each of the times, of one counter whose value is the time.
func (f *fixture) mustKeep(times ...int64) {
	f.t.Helper()
	for _, at := range times {
		require.NoError(f.t, f.keep(at, map[string]float64{"counter": float64(at)}))
	}
}

// kept is what Read returns, a line per gather.
func (f *fixture) kept(after, before int64) (lines []string) {
	f.t.Helper()
	require.NoError(f.t, f.Read(context.Background(), after, before, func(g Gather) error {
		var values []string
		g.Each("node", func(key string, v float64) {
			text := fmt.Sprint(v)
			if math.Float64bits(v) == wire.StaleNaN {
				text = "ended"
			}
			for range 2 { // the kind, and __name__
				_, key, _ = wire.CutString(key)
			}
			name, _, err := wire.CutString(key)
			require.NoError(f.t, err)
			values = append(values, name+"="+text)
		})
		slices.Sort(values)
		lines = append(lines, fmt.Sprint(g.Time, " ", strings.Join(values, " ")))
		return nil
	}))
	return lines
}

func (f *fixture) times() (all []int64) {
	f.t.Helper()
	require.NoError(f.t, f.Read(context.Background(), math.MinInt64, math.MaxInt64, func(g Gather) error {
		n := 0
		g.Each("node", func(_ string, v float64) {
			n++
			require.InDelta(f.t, float64(g.Time), v, 0, "the value at a time")
		})
		require.Equal(f.t, 1, n)
		all = append(all, g.Time)
		return nil
	}))
	return all
}

func between(from, to int64) (all []int64) {
	for at := from; at <= to; at++ {
		all = append(all, at)
	}
	return all
}

func TestKeepsWhatIsGathered(t *testing.T) {
	f := open(t, t.TempDir())
	f.mustKeep(between(1, 35)...)
	require.Equal(t, between(1, 35), f.times())
	require.Equal(t, []string{"8 counter=8", "9 counter=9", "10 counter=10", "11 counter=11"}, f.kept(7, 12), "both ends are excluded")
	require.Empty(t, f.kept(35, 100))

	f = f.again()
	f.mustKeep(between(36, 50)...)
	require.Equal(t, between(1, 50), f.times(), "over a restart")
	files, err := filepath.Glob(filepath.Join(f.dir, "*.history"))
	require.NoError(t, err)
	require.Len(t, files, 5, "a restart goes on with the last file")

	require.NoError(t, f.again().Close())
}

func TestSeriesEnd(t *testing.T) {
	f := open(t, t.TempDir(), func(o *Options) { o.PerSegment = 3 })
	for at, values := range []map[string]float64{
		{"a": 1, "b": 2}, {"b": 2}, {"b": 2}, // the next file begins
		{"c": 0.5}, {"c": 0.5}, {"c": 0.5, "a": 7}, // and the next
		{"d": 1},
	} {
		if at == 6 {
			f = f.again() // what was there before a restart ends too
		}
		require.NoError(t, f.keep(int64(at), values))
	}
	got := f.kept(-1, 100)
	require.Equal(t, []string{"1 a=ended b=2", "2 b=2"}, got[1:3])
	require.Equal(t, "3 b=ended c=0.5", got[3])
	require.Equal(t, "6 a=ended c=ended d=1", got[6])
}

func TestOldGathersAreDropped(t *testing.T) {
	f := open(t, t.TempDir())
	f.mustKeep(between(1, 1000)...)
	times := f.times()
	require.GreaterOrEqual(t, len(times), 100)
	require.LessOrEqual(t, len(times), 120, "whole files are dropped")
	require.EqualValues(t, 1000, times[len(times)-1])
	require.Zero(t, testutil.ToFloat64(f.metrics.dropped.WithLabelValues("size")), "those are not lost too early")
}

func TestTheSizeIsLimited(t *testing.T) {
	const limit = 200 << 10
	f := open(t, t.TempDir(), func(o *Options) { o.MaxBytes, o.Gathers, o.PerSegment = limit, 1e6, 1e6 })
	for at := range int64(500) {
		values := map[string]float64{}
		for i := range 100 {
			values[fmt.Sprintf("random_%d", i)] = math.Sin(float64(at*100 + int64(i)))
		}
		require.NoError(t, f.keep(at, values))
		var bytes int64
		files, err := os.ReadDir(f.dir)
		require.NoError(t, err)
		for _, file := range files {
			info, err := file.Info()
			require.NoError(t, err)
			bytes += info.Size()
		}
		require.LessOrEqual(t, bytes, int64(limit))
	}
	kept := len(f.kept(-1, 1000))
	require.Greater(t, kept, 100, "most of the limit is used")
	require.EqualValues(t, 500, float64(kept)+testutil.ToFloat64(f.metrics.dropped.WithLabelValues("size")), "what is dropped is counted")
}

// A crash can leave the last record incomplete. Whatever is left of it goes, nothing else.
func TestATornRecordIsCutOff(t *testing.T) {
	f := open(t, t.TempDir())
	f.mustKeep(1, 2)
	path := f.path(1)
	two, err := os.ReadFile(path)
	require.NoError(t, err)
	f.mustKeep(3)
	three, err := os.ReadFile(path)
	require.NoError(t, err)
	for n := len(two) + 1; n < len(three); n++ {
		require.NoError(t, os.WriteFile(path, three[:n], 0o600))
		f = f.again()
		require.EqualValues(t, n-len(two), testutil.ToFloat64(f.metrics.repaired))
		f.mustKeep(4)
		require.Equal(t, []int64{1, 2, 4}, f.times(), "%d bytes of the last record", n-len(two))
	}
	// A hole in the middle of a file, as after a power failure: what was before it stays.
	require.NoError(t, os.WriteFile(path, append(bytes.Clone(two), make([]byte, 4096)...), 0o600))
	f = f.again()
	require.Equal(t, []int64{1, 2}, f.times())
	// Nothing but the beginning of a header.
	require.NoError(t, os.WriteFile(path, two[:5], 0o600))
	f = f.again()
	f.mustKeep(5)
	require.Equal(t, []int64{5}, f.times())
}

func TestOtherVersionsAreSetAside(t *testing.T) {
	f := open(t, t.TempDir())
	f.mustKeep(1, 2)
	theirs := "clanmon history 2\nsomething new"
	require.NoError(t, os.WriteFile(f.path(2), []byte(theirs), 0o600))
	f = f.again()
	f.mustKeep(3)
	require.Equal(t, []int64{1, 2, 3}, f.times())
	kept, err := os.ReadFile(f.path(2) + aside)
	require.NoError(t, err)
	require.Equal(t, theirs, string(kept))
}

// The clock is set back: what had the times that come again now was wrong.
func TestTheClockIsSetBack(t *testing.T) {
	f := open(t, t.TempDir())
	f.mustKeep(between(100, 125)...)
	f.mustKeep(between(115, 118)...) // within a file
	check := func(want ...int64) {
		t.Helper()
		require.Equal(t, want, f.times())
		f = f.again()
		require.Equal(t, want, f.times(), "after a restart")
	}
	check(append(between(100, 114), between(115, 118)...)...)
	f.mustKeep(between(50, 60)...) // before all
	check(between(50, 60)...)
	f.mustKeep(61, 1000, 1001) // set ahead by mistake
	f.mustKeep(between(64, 90)...)
	check(append(between(50, 61), between(64, 90)...)...)
}

// fullDisk is a file on a disk that has room for so many bytes.
type fullDisk struct {
	file
	room *int64
}

func (f fullDisk) Write(p []byte) (int, error) {
	n := min(int64(len(p)), max(0, *f.room))
	*f.room -= n
	n2, err := f.file.Write(p[:n])
	if err == nil && n2 < len(p) {
		err = &os.PathError{Op: "write", Err: syscall.ENOSPC}
	}
	return n2, err
}

// On a full disk the newest is kept for the oldest; where there is nothing to give way, the
// exporter goes on, and what is written later can be read.
func TestAFullDisk(t *testing.T) {
	f := open(t, t.TempDir(), func(o *Options) { o.PerSegment = 5 })
	room := int64(math.MaxInt64)
	f.Spool.open = func(path string, flags int) (file, error) {
		x, err := openFile(path, flags)
		return fullDisk{x, &room}, err
	}
	f.mustKeep(between(1, 20)...)
	room = 30                                            // less than a full record
	err := f.keep(21, map[string]float64{"counter": 21}) // begins a file
	require.ErrorIs(t, err, syscall.ENOSPC, "dropping frees nothing on this disk")
	require.Positive(t, testutil.ToFloat64(f.metrics.dropped.WithLabelValues("disk")))
	require.EqualValues(t, 1, testutil.ToFloat64(f.metrics.failed))
	room = math.MaxInt64
	f.mustKeep(22, 23)
	room = 3
	require.Error(t, f.keep(24, map[string]float64{"counter": 24}))
	room = math.MaxInt64
	f.mustKeep(25)
	times := f.times()
	require.Equal(t, f.again().times(), times)
	require.Equal(t, []int64{25}, times[len(times)-1:])
	require.NotContains(t, times, int64(24))
}

// When a full disk has taken everything, what is kept from then on can be read, whatever the
// clock had done before.
func TestAFullDiskAfterTheClockWasSetBack(t *testing.T) {
	f := open(t, t.TempDir(), func(o *Options) { o.PerSegment = 5 })
	room := int64(math.MaxInt64)
	f.Spool.open = func(path string, flags int) (file, error) {
		x, err := openFile(path, flags)
		return fullDisk{x, &room}, err
	}
	f.mustKeep(between(100, 114)...)
	f.mustKeep(between(50, 54)...) // in the last file
	room = 30
	require.ErrorIs(t, f.keep(60, map[string]float64{"counter": 60}), syscall.ENOSPC)
	require.Empty(t, f.times())
	room = math.MaxInt64
	f.mustKeep(61, 62)
	require.Equal(t, []int64{61, 62}, f.times())
}

// A directory that cannot be synced leaves no file without a header.
func TestADirectoryThatCannotBeSynced(t *testing.T) {
	f := open(t, t.TempDir(), func(o *Options) { o.PerSegment = 5 })
	f.mustKeep(between(1, 5)...)
	f.Spool.syncDir = func(string) error { return syscall.EIO }
	require.ErrorIs(t, f.keep(6, map[string]float64{"counter": 6}), syscall.EIO)
	require.NoFileExists(t, f.path(2))
	f.Spool.syncDir = syncDir
	f.mustKeep(7, 8)
	require.Equal(t, append(between(1, 5), 7, 8), f.times())
	require.Equal(t, append(between(1, 5), 7, 8), f.again().times(), "after a restart")
}

// Freed room is used for the gather that did not fit.
func TestTheOldestGivesWay(t *testing.T) {
	f := open(t, t.TempDir(), func(o *Options) { o.PerSegment = 5 })
	f.mustKeep(between(1, 20)...)
	failures := 1
	f.Spool.open = func(path string, flags int) (file, error) {
		x, err := openFile(path, flags)
		room := int64(math.MaxInt64)
		if failures > 0 {
			failures, room = failures-1, 40
		}
		return fullDisk{x, &room}, err
	}
	f.mustKeep(21)
	require.Equal(t, between(6, 21), f.times())
	require.EqualValues(t, 5, testutil.ToFloat64(f.metrics.dropped.WithLabelValues("disk")))
}

func TestOneProcessAtATime(t *testing.T) {
	f := open(t, t.TempDir())
	_, err := Open(f.dir, f.o)
	require.ErrorContains(t, err, "is used by another process")
}

func TestMetrics(t *testing.T) {
	f := open(t, t.TempDir())
	f.mustKeep(5000, 6000)
	info, err := os.Stat(f.path(1))
	require.NoError(t, err)
	require.NoError(t, testutil.GatherAndCompare(f.reg, strings.NewReader(fmt.Sprintf(`
		# HELP clanmon_exporter_history_bytes Size of the history on disk.
		# TYPE clanmon_exporter_history_bytes gauge
		clanmon_exporter_history_bytes %d
		# HELP clanmon_exporter_history_oldest_timestamp_seconds Time of the oldest gather on disk, NaN if there is none.
		# TYPE clanmon_exporter_history_oldest_timestamp_seconds gauge
		clanmon_exporter_history_oldest_timestamp_seconds 5
		# HELP clanmon_exporter_history_gathers_total Gathers written to disk.
		# TYPE clanmon_exporter_history_gathers_total counter
		clanmon_exporter_history_gathers_total 2
	`, info.Size())), "clanmon_exporter_history_bytes", "clanmon_exporter_history_oldest_timestamp_seconds", "clanmon_exporter_history_gathers_total"))
}

// Series are those that a scrape of the text has.
func TestSeriesAreThoseOfAScrape(t *testing.T) {
	reg := prometheus.NewRegistry()
	counter := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "c_total"}, []string{"l", "empty"})
	counter.WithLabelValues("a\n\"ü\\", "").Add(3)
	h := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "h", Buckets: []float64{0.5, 1, 1e9}, ConstLabels: prometheus.Labels{"z": "1"}})
	h.Observe(0.7)
	s := prometheus.NewSummary(prometheus.SummaryOpts{Name: "s", Objectives: map[float64]float64{0.5: 0.1, 1: 0.01}})
	g := prometheus.NewGauge(prometheus.GaugeOpts{Name: "g"})
	g.Set(math.NaN())
	reg.MustRegister(counter, h, s, g)
	families, err := reg.Gather()
	require.NoError(t, err)

	got := map[string]float64{}
	Families("node", families, func(key []byte, v float64) {
		kind, rest, err := wire.CutString(string(key))
		require.NoError(t, err)
		require.Equal(t, "node", kind)
		metric := model.Metric{}
		for rest != "" {
			var name, value string
			name, rest, err = wire.CutString(rest)
			require.NoError(t, err)
			value, rest, err = wire.CutString(rest)
			require.NoError(t, err)
			metric[model.LabelName(name)] = model.LabelValue(value)
		}
		require.NotContains(t, got, metric.String())
		got[metric.String()] = v
	})
	want := map[string]float64{}
	samples, err := expfmt.ExtractSamples(&expfmt.DecodeOptions{}, families...)
	require.NoError(t, err)
	for _, x := range samples {
		for _, l := range []model.LabelName{"le", "quantile"} { // as Prometheus 3 stores them
			if v, ok := x.Metric[l]; ok && !strings.ContainsAny(string(v), ".eI") {
				x.Metric[l] = v + ".0"
			}
		}
		delete(x.Metric, "empty")
		want[x.Metric.String()] = float64(x.Value)
	}
	require.Len(t, got, len(want))
	for k, v := range want {
		require.Contains(t, got, k)
		require.True(t, got[k] == v || math.IsNaN(v) && math.IsNaN(got[k]), k)
	}
	require.Contains(t, got, `h_bucket{le="+Inf", z="1"}`)
	require.Contains(t, got, `h_bucket{le="1.0", z="1"}`)
	require.Contains(t, got, `h_bucket{le="1e+09", z="1"}`)
}

func TestServing(t *testing.T) {
	f := open(t, t.TempDir())
	f.mustKeep(between(1, 25)...)
	require.NoError(t, f.Append(26, func(add func([]byte, float64)) {
		for _, kind := range []string{"node", "systemd"} {
			add(wire.AppendString(wire.AppendString(wire.AppendString(nil, kind), "__name__"), "counter"), 26)
		}
	}, nil))
	srv := httptest.NewServer(NewHandler(f.Spool, "node", "/metrics"))
	defer srv.Close()
	get := func(query string) (*http.Response, string) {
		t.Helper()
		res, err := http.Get(srv.URL + "/history?" + query)
		require.NoError(t, err)
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		return res, string(body)
	}
	res, body := get("after=8&before=27&path=/metrics")
	require.Equal(t, 200, res.StatusCode)
	require.Equal(t, wire.ContentType, res.Header.Get("Content-Type"))
	require.NotEmpty(t, res.Header.Get(wire.TimeHeader))
	r, err := wire.NewReader(strings.NewReader(body), 10, math.MaxInt)
	require.NoError(t, err)
	for at := int64(9); at <= 26; at++ {
		got, values, err := r.Next()
		require.NoError(t, err)
		require.Equal(t, at, got)
		require.Len(t, values, 1, "only this kind")
		require.Equal(t, math.Float64bits(float64(at)), values[0].Bits)
	}
	_, _, err = r.Next()
	require.True(t, wire.Ended(err))

	for query, want := range map[string]int{
		"": 400, "after=1&before=": 400, "after=x&before=2&path=/metrics": 400, "after=1&before=2": 404, "after=1&before=2&path=/probe": 404,
	} {
		res, body := get(query)
		require.Equal(t, want, res.StatusCode, "%s: %s", query, body)
	}
	res, err = http.Post(srv.URL, "", nil)
	require.NoError(t, err)
	res.Body.Close()
	require.Equal(t, 405, res.StatusCode)
}

// A response that breaks off does not look complete.
func TestAnErrorIsSeenByTheClient(t *testing.T) {
	f := open(t, t.TempDir())
	f.mustKeep(between(1, 25)...)
	damaged, err := os.ReadFile(f.path(2))
	require.NoError(t, err)
	damaged[len(damaged)-3] ^= 1
	require.NoError(t, os.WriteFile(f.path(2), damaged, 0o600))
	srv := httptest.NewUnstartedServer(NewHandler(f.Spool, "node", "/metrics"))
	srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	srv.Start()
	defer srv.Close()
	res, err := http.Get(srv.URL + "/history?after=0&before=100&path=/metrics")
	if err == nil {
		defer res.Body.Close()
		_, err = io.ReadAll(res.Body)
	}
	require.Error(t, err)
}

// A day of a machine with 1,500 series, of which a third changes between two gathers, as on a
// busy machine, takes less than 40 MB; the goal of issue 20.
func TestADayTakesLittle(t *testing.T) {
	f := open(t, t.TempDir(), func(o *Options) { o.Gathers, o.PerSegment, o.MaxBytes = 5760, 240, 256<<20 })
	f.synced = time.Now().Add(time.Hour) // the disk is not what is measured
	keys := make([][]byte, 1500)
	for i := range keys {
		keys[i] = wire.AppendString(wire.AppendString(wire.AppendString(nil, "node"), "__name__"), fmt.Sprintf("node_some_metric_with_a_usual_name_%d_total", i))
		keys[i] = wire.AppendString(wire.AppendString(keys[i], "device"), "a-device-with-a-name-of-some-length")
	}
	values := make([]float64, len(keys))
	random := rand.New(rand.NewPCG(1, 1))
	for at := range int64(5760) {
		for i := range values {
			switch {
			case i%10 == 0: // seconds of CPU and the like
				values[i] += math.Round(random.Float64()*1500) / 100
			case i%10 < 3: // bytes, packets
				values[i] += float64(random.IntN(1_000_000))
			case i%10 == 3 && random.IntN(4) == 0: // something that is measured
				values[i] = random.Float64()
			}
		}
		require.NoError(t, f.Append(at*15_000, func(add func([]byte, float64)) {
			for i, v := range values {
				add(keys[i], v)
			}
		}, nil))
	}
	var bytes int64
	for _, g := range f.segments {
		bytes += g.bytes
	}
	t.Logf("%.1f MB, %.2f bytes a sample", float64(bytes)/1e6, float64(bytes)/5760/1500)
	require.Less(t, bytes, int64(40_000_000))
}
