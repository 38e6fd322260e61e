package exporter

import (
	"fmt"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	wire "github.com/clanmon/clanmon/internal/history"
)

func TestHistoryOptions(t *testing.T) {
	good := HistoryOptions{Keep: time.Hour, Interval: 15 * time.Second, MaxBytes: minHistoryBytes, Dir: "x"}
	require.NoError(t, good.check())
	require.NoError(t, HistoryOptions{}.check(), "off")
	for want, change := range map[string]func(*HistoryOptions){
		"--history.interval 500ms: it must be between 1s and 5m0s":                                func(o *HistoryOptions) { o.Interval = time.Second / 2 },
		"--history.interval 1h0m0s: it must be between 1s and 5m0s":                               func(o *HistoryOptions) { o.Interval = time.Hour },
		"--history 1s: it must be at least --history.interval, which is 15s":                      func(o *HistoryOptions) { o.Keep = time.Second },
		"--history.max-bytes 5: it must be at least 16MiB":                                        func(o *HistoryOptions) { o.MaxBytes = 5 },
		"--history needs a directory: set --history.path, or StateDirectory= in the systemd unit": func(o *HistoryOptions) { o.Dir = "" },
	} {
		o := good
		change(&o)
		require.EqualError(t, o.check(), want)
		require.ErrorContains(t, Check(Options{History: o, Logger: quiet()}), want)
	}
}

// Each port has the history of its own kind, with the series of its scrapes.
func TestHistory(t *testing.T) {
	r := start(t, Options{History: HistoryOptions{Keep: time.Hour, Interval: time.Second, MaxBytes: minHistoryBytes, Dir: t.TempDir()}})
	require.Eventually(t, func() bool {
		return r.metrics(t, "node", "")["clanmon_exporter_history_gathers_total"].GetMetric()[0].GetCounter().GetValue() >= 2
	}, time.Minute, 10*time.Millisecond)
	require.NotContains(t, r.metrics(t, "systemd", ""), "clanmon_exporter_history_gathers_total")
	for kind, series := range map[string]string{"node": "node_boot_time_seconds", "systemd": "systemd_exporter_build_info"} {
		code, body := r.get(t, kind, fmt.Sprintf("/history?after=0&before=%d&path=/metrics", math.MaxInt64))
		require.Equal(t, http.StatusOK, code)
		in, err := wire.NewReader(strings.NewReader(body), 1e6, 1e9)
		require.NoError(t, err)
		_, values, err := in.Next()
		require.NoError(t, err)
		found := false
		for _, v := range values {
			key := in.Key(v.Series)
			require.True(t, strings.HasPrefix(key, string(wire.AppendString(nil, kind))), key)
			found = found || strings.Contains(key, series)
		}
		require.True(t, found, "%s has %s", kind, series)
	}
}

func TestNoHistory(t *testing.T) {
	r := start(t, Options{})
	code, _ := r.get(t, "node", "/history?after=0&before=1&path=/metrics")
	require.Equal(t, http.StatusNotFound, code)
	require.Empty(t, names(r.metrics(t, "node", ""), "clanmon_exporter_history"))
}
