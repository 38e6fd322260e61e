package events

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/util/teststorage"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The last half hour of five is looked at.
const movedAt = 150

func TestMoved(t *testing.T) {
	d := newData(t)
	node := func(name string, more ...string) labels.Labels {
		return labels.FromStrings(append([]string{"__name__", name, "job", "node", "machine", "a", "instance", "a:9100"}, more...)...)
	}
	noise := func(i int) float64 { return math.Sin(float64(i * i)) } // between -1 and 1, without a pattern
	counter := func(rate func(i int) float64) func(int) float64 {
		sum := 1000.0
		return func(i int) float64 { sum += 60 * rate(i); return sum }
	}
	late := func(usual, then float64) func(int) float64 { // in the last five minutes
		return func(i int) float64 {
			if i >= movedAt-5 {
				return then
			}
			return usual + 0.05*usual*noise(i)
		}
	}
	// What moved.
	d.series(node("node_disk_written_bytes_total", "device", "sda"), movedAt, counter(late(1e6, 9e7)))
	d.series(node("node_disk_written_bytes_total", "device", "sdb"), movedAt, counter(late(1e6, 1e7)))
	d.series(node("node_disk_written_bytes_total", "device", "sdc"), movedAt, counter(late(1e6, 1e6)))
	d.series(node("node_netstat_Tcp_RetransSegs"), movedAt, counter(late(2, 50))) // a counter by another name
	d.series(node("node_filesystem_readonly", "mountpoint", "/srv"), movedAt, func(i int) float64 { return float64(i / (movedAt - 20)) })
	d.series(node("node_memory_MemAvailable_bytes"), movedAt, func(i int) float64 { return 8e9 + 1e8*noise(i) - 6e9*float64(i/(movedAt-10)) })
	// What did not: noise, a steady trend, a peak as there was one before, one event, a restart.
	d.series(node("node_load1"), movedAt, func(i int) float64 { return 2 + noise(i) })
	d.series(node("node_filesystem_avail_bytes"), movedAt, func(i int) float64 { return 1e12 - 1e9*float64(i) })
	d.series(node("node_hwmon_temp_celsius"), movedAt, func(i int) float64 {
		if i == 40 || i == movedAt-3 {
			return 90
		}
		return 50 + noise(i)
	})
	d.series(node("node_network_receive_errs_total"), movedAt, func(i int) float64 { return float64(i / (movedAt - 3)) })
	reset := counter(late(100, 100))
	d.series(node("node_context_switches_total"), movedAt, func(i int) float64 {
		if v := reset(i); i < movedAt-8 {
			return v
		} else {
			return v - 880_000
		}
	})
	// What says nothing, or is of another machine.
	for _, name := range []string{"node_time_seconds", "x_timestamp_seconds", "go_goroutines", "machine:cpu:ratio", "x_bucket", "ALERTS"} {
		d.series(node(name), movedAt, late(1, 1000))
	}
	d.series(labels.FromStrings("__name__", "node_disk_io_now", "machine", "b"), movedAt, late(1, 1000))
	// Too new to be compared.
	d.series(node("node_new"), movedAt, func(i int) float64 {
		if i < movedAt-40 {
			return gap
		}
		return float64(i / (movedAt - 5))
	})

	e := New(Options{Store: d.store})
	q := MovedQuestion{Machine: "a", At: at(movedAt), Window: 30 * time.Minute, Limit: 10}
	a, err := e.Moved(t.Context(), q)
	require.NoError(t, err)
	assert.Empty(t, a.Partial)
	assert.Equal(t, 11, a.Series) // without what says nothing and what is new
	names := make(map[string]Moved)
	for _, m := range a.Moved {
		names[m.Metric] = m
	}
	assert.Len(t, a.Moved, 4, "%+v", a.Moved)
	w := names["node_disk_written_bytes_total"]
	assert.Equal(t, map[string]string{"device": "sda"}, w.Labels)
	assert.Equal(t, `rate(node_disk_written_bytes_total{device="sda", instance="a:9100", job="node", machine="a"}[5m])`, w.Expr)
	assert.InDelta(t, 1e6, w.Was, 5e4)
	assert.Greater(t, w.Is, 4e7)
	assert.Equal(t, 1, w.More)
	assert.GreaterOrEqual(t, w.Since, sec(movedAt-8))
	assert.True(t, names["node_netstat_Tcp_RetransSegs"].Rate)
	assert.Equal(t, 1.0, names["node_filesystem_readonly"].Is)
	assert.False(t, names["node_memory_MemAvailable_bytes"].Rate)
	for i := 1; i < len(a.Moved); i++ {
		assert.GreaterOrEqual(t, a.Moved[i-1].Score, a.Moved[i].Score)
	}

	q.Limit = 2
	a, err = e.Moved(t.Context(), q)
	require.NoError(t, err)
	assert.Len(t, a.Moved, 2)
	// At another time it was calm.
	q.At = at(movedAt - 12)
	a, err = e.Moved(t.Context(), q)
	require.NoError(t, err)
	for _, m := range a.Moved {
		assert.Equal(t, "node_filesystem_readonly", m.Metric)
	}
}

// Where there is no time to read all, that is said.
func TestMovedIsQuickOrPartial(t *testing.T) {
	d := newData(t)
	d.series(labels.FromStrings("__name__", "x", "machine", "a"), movedAt, always(1))
	e := New(Options{Store: d.store})
	q := MovedQuestion{Machine: "a", At: at(movedAt), Window: time.Hour / 2, Limit: 10}
	late, cancel := context.WithTimeout(t.Context(), 0)
	defer cancel()
	a, err := e.Moved(late, q)
	require.NoError(t, err)
	assert.NotEmpty(t, a.Partial)
	e.moving <- struct{}{}
	a, err = e.Moved(late, q)
	require.NoError(t, err)
	assert.Contains(t, a.Partial, "busy")
}

func TestMovedHandler(t *testing.T) {
	d := newData(t)
	d.series(labels.FromStrings("__name__", "x", "instance", "h:1"), movedAt, func(i int) float64 { return float64(i / (movedAt - 10)) })
	h := New(Options{Store: d.store, Select: func(machine string) []*labels.Matcher {
		return []*labels.Matcher{labels.MustNewMatcher(labels.MatchEqual, "instance", "h:1")}
	}}).MovedHandler()
	get := func(query string) (int, string) {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/?"+query, nil))
		return w.Code, w.Body.String()
	}
	code, body := get(fmt.Sprintf("machine=box&window=20m&at=%.0f", sec(movedAt)))
	require.Equal(t, 200, code, body)
	var answer struct{ Data MovedAnswer }
	require.NoError(t, json.Unmarshal([]byte(body), &answer))
	require.Len(t, answer.Data.Moved, 1)
	assert.Equal(t, "x", answer.Data.Moved[0].Metric)
	assert.Equal(t, sec(movedAt-20), answer.Data.From)
	for query, words := range map[string]string{
		"":                     "machine is missing",
		"machine=a&window=2m":  `window \"2m\": use a duration from 5m to 1d`,
		"machine=a&window=x":   "use a duration",
		"machine=a&at=never":   "use Unix seconds",
		"machine=a&limit=none": "use a number",
	} {
		code, body := get(query)
		assert.Equal(t, 400, code, query)
		assert.Contains(t, body, words)
	}
	w := httptest.NewRecorder()
	New(Options{}).MovedHandler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/?machine=a", nil))
	assert.Contains(t, w.Body.String(), `"moved":[]`)
}

// BenchmarkMoved is one machine with 3,000 series, each with a sample every 15 seconds.
func BenchmarkMoved(b *testing.B) {
	store := teststorage.New(b)
	app := store.Appender(b.Context())
	const samples = 5 * 120
	for i := range 3000 {
		ls := labels.FromStrings("__name__", fmt.Sprintf("m%d", i/8), "device", fmt.Sprint(i%8), "machine", "a")
		sum := 0.0
		for s := range samples {
			sum += math.Abs(math.Sin(float64(i * s)))
			_, err := app.Append(0, ls, begin.Add(time.Duration(s)*15*time.Second).UnixMilli(), sum)
			require.NoError(b, err)
		}
	}
	require.NoError(b, app.Commit())
	e := New(Options{Store: store})
	for b.Loop() {
		a, err := e.Moved(b.Context(), MovedQuestion{Machine: "a", At: begin.Add(samples * 15 * time.Second), Window: 30 * time.Minute, Limit: 12})
		require.NoError(b, err)
		require.Empty(b, a.Partial)
	}
}
