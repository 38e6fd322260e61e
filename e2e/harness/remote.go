package harness

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/golang/snappy"
	"github.com/prometheus/prometheus/prompb"
	"github.com/stretchr/testify/require"
)

// Target is something to scrape.
type Target struct {
	scrapes atomic.Int64
	host    string
}

// NewTarget serves text at /metrics.
func NewTarget(t testing.TB, text string) *Target {
	t.Helper()
	return NewChangingTarget(t, func(int) string { return text })
}

// NewChangingTarget serves what text returns for the first scrape, the second
// and so on, from 1.
func NewChangingTarget(t testing.TB, text func(scrape int) string) *Target {
	t.Helper()
	x := &Target{}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		io.WriteString(w, text(int(x.scrapes.Add(1))))
	}))
	t.Cleanup(srv.Close)
	x.host = strings.TrimPrefix(srv.URL, "http://")
	return x
}

// Host is the target's host and port.
func (x *Target) Host() string { return x.host }

// RemoteWrite is a request of remote write 1.0 to the server at base.
func RemoteWrite(base string, series ...prompb.TimeSeries) (*http.Request, error) {
	raw, err := (&prompb.WriteRequest{Timeseries: series}).Marshal()
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequest(http.MethodPost, base+"/api/v1/write", bytes.NewReader(snappy.Encode(nil, raw)))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-protobuf")
	req.Header.Set("Content-Encoding", "snappy")
	req.Header.Set("X-Prometheus-Remote-Write-Version", "0.1.0")
	return req, nil
}

// Series makes a series for RemoteWrite out of a name and label pairs.
func Series(samples []prompb.Sample, name string, pairs ...string) prompb.TimeSeries {
	ts := prompb.TimeSeries{Labels: []prompb.Label{{Name: "__name__", Value: name}}, Samples: samples}
	for i := 0; i+1 < len(pairs); i += 2 {
		ts.Labels = append(ts.Labels, prompb.Label{Name: pairs[i], Value: pairs[i+1]})
	}
	return ts
}

// Write sends series to the server, which has to acknowledge them.
func (s *Server) Write(series ...prompb.TimeSeries) {
	s.t.Helper()
	req, err := RemoteWrite(s.URL, series...)
	require.NoError(s.t, err)
	a, err := s.Do(req)
	require.NoError(s.t, err)
	require.Equal(s.t, http.StatusNoContent, a.Status, a.Body)
}

// TryWrite sends series to the server; nil means that it acknowledged them.
func (s *Server) TryWrite(series ...prompb.TimeSeries) error {
	req, err := RemoteWrite(s.URL, series...)
	if err != nil {
		return err
	}
	a, err := s.Do(req)
	if err == nil && a.Status != http.StatusNoContent {
		err = fmt.Errorf("remote write: %d %s", a.Status, a.Body)
	}
	return err
}

// Alertmanager remembers the alerts that it is sent.
type Alertmanager struct {
	mu     sync.Mutex
	alerts []Alert
	host   string
}

// Alert is what an alert says.
type Alert struct {
	Labels, Annotations map[string]string
}

// NewAlertmanager starts one.
func NewAlertmanager(t testing.TB) *Alertmanager {
	t.Helper()
	am := &Alertmanager{}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/v2/alerts", func(w http.ResponseWriter, r *http.Request) {
		var alerts []Alert
		if err := json.NewDecoder(r.Body).Decode(&alerts); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		am.mu.Lock()
		defer am.mu.Unlock()
		am.alerts = append(am.alerts, alerts...)
	})
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	am.host = strings.TrimPrefix(srv.URL, "http://")
	return am
}

// Host is its host and port.
func (am *Alertmanager) Host() string { return am.host }

// Alerts are those that arrived so far.
func (am *Alertmanager) Alerts() []Alert {
	am.mu.Lock()
	defer am.mu.Unlock()
	return slices.Clone(am.alerts)
}
