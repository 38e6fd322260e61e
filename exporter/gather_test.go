package exporter

import (
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/exporter/collector"
)

func registry(metrics ...prometheus.Metric) *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(found(metrics))
	return r
}

// found are metrics as a collector finds them.
type found []prometheus.Metric

func (found) Describe(chan<- *prometheus.Desc) {}
func (f found) Collect(ch chan<- prometheus.Metric) {
	for _, m := range f {
		ch <- m
	}
}

func gauge(name, help, label string) prometheus.Metric {
	return prometheus.MustNewConstMetric(prometheus.NewDesc(name, help, []string{"l"}, nil), prometheus.GaugeValue, 1, label)
}

func TestRegistriesGatherAsUpstreamDoes(t *testing.T) {
	for name, second := range map[string]*prometheus.Registry{
		"nothing in common": registry(gauge("b", "B.", "2"), gauge("b", "B.", "1"), gauge("d", "D.", "")),
		"a name in common":  registry(gauge("a", "A.", "2"), gauge("b", "B.", "")),
		"the same metric":   registry(gauge("a", "A.", "1"), gauge("b", "B.", "")),
		"another help":      registry(gauge("a", "Not A.", "2"), gauge("b", "B.", "")),
		"itself unsound":    registry(gauge("b", "B.", ""), gauge("b", "B.", "")),
	} {
		t.Run(name, func(t *testing.T) {
			all := []prometheus.Gatherer{registry(gauge("c", "C.", ""), gauge("a", "A.", "1")), second}
			want, wantErr := prometheus.Gatherers(all).Gather()
			got, err := registries(all).Gather()
			require.Equal(t, want, got)
			require.Equal(t, wantErr == nil, err == nil, "%v", err)
		})
	}
}

// whole is a collector of a Set.
type whole found

func (w whole) Collect(_ context.Context, ch chan<- prometheus.Metric) error {
	found(w).Collect(ch)
	return nil
}
func (whole) Close() error { return nil }

func TestEncodings(t *testing.T) {
	set := collector.NewSet(map[string]collector.Collector{"x": whole{gauge("a", "A.", "1")}}, quiet(), func(collector.Outcome) []prometheus.Metric { return nil })
	h, _ := newMetricsHandler(Options{ModuleVersion: func(string) string { return "" }, DisableExporterMetrics: true}, Kind{Name: "x", Upstream: "x"}, set, quiet())
	ask := func(accepted string) *http.Response {
		r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
		r.Header.Set("Accept-Encoding", accepted)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Result()
	}
	plain, err := io.ReadAll(ask("").Body)
	require.NoError(t, err)
	require.Contains(t, string(plain), `a{l="1"} 1`)
	for _, accepted := range []string{"gzip", "gzip, deflate, br", "zstd,gzip", "gzip;q=0.5"} {
		for range 2 { // a writer is used again
			r := ask(accepted)
			require.Equal(t, []string{"gzip"}, r.Header["Content-Encoding"], accepted)
			z, err := gzip.NewReader(r.Body)
			require.NoError(t, err)
			text, err := io.ReadAll(z)
			require.NoError(t, err)
			require.Equal(t, string(plain), string(text))
		}
	}
	require.Empty(t, ask("identity").Header.Get("Content-Encoding"))
	require.Empty(t, ask("gzip;q=0").Header.Get("Content-Encoding"))

	// An error is not compressed.
	broken := prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) { return nil, errors.New("out of order") })
	r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
	r.Header.Set("Accept-Encoding", "gzip")
	w := httptest.NewRecorder()
	expose(w, r, broken, promhttp.HandlerOpts{})
	require.Equal(t, http.StatusInternalServerError, w.Code)
	require.Empty(t, w.Header().Get("Content-Encoding"))
	require.Contains(t, w.Body.String(), "out of order")
}
