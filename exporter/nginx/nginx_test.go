package nginx

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/exporter/collector/collectortest"
)

const page = "Active connections: 3 \nserver accepts handled requests\n 10 10 20 \nReading: 0 Writing: 1 Waiting: 2 \n"

// status serves what a status page may answer; the real nginx is asked in e2e.
func status(t *testing.T, answer http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(answer)
	t.Cleanup(s.Close)
	return s.URL
}

func up(t *testing.T, c Config) float64 {
	t.Helper()
	s, err := New(c, collectortest.Discard())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return collectortest.Gather(t, s, nil)["nginx_up"].Metric[0].Gauge.GetValue()
}

func TestCollector(t *testing.T) {
	url := status(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, page) })
	s, err := New(Config{URIs: []string{url}}, collectortest.Discard())
	require.NoError(t, err)
	collectortest.Check(t, s, collectortest.Expect{Prefix: "nginx_", Families: []string{"nginx_up", "nginx_connections_active"}, Upstream: true})
}

// Whatever is there instead of the page, nginx is down and the scrape is not.
func TestAnswersThatAreNoStatusPage(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"other page":      func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") },
		"not found":       http.NotFound,
		"nothing":         func(http.ResponseWriter, *http.Request) {},
		"cut off":         func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, page[:20]) },
		"very long":       func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, strings.Repeat("x", longestAnswer+10)) },
		"connection lost": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		t.Run(name, func(t *testing.T) { require.Zero(t, up(t, Config{URIs: []string{status(t, answer)}})) })
	}
	require.Equal(t, 1.0, up(t, Config{URIs: []string{status(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, page) })}}))
}

// A request that hangs ends with the scrape, so that nothing is left behind.
func TestRequestsEndWithTheScrape(t *testing.T) {
	gone := make(chan struct{})
	url := status(t, func(_ http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		close(gone)
	})
	s, err := New(Config{URIs: []string{url}, Timeout: time.Hour}, collectortest.Discard())
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	ch := make(chan prometheus.Metric, 10)
	s.Collect(ctx, nil, ch)
	require.Len(t, ch, 3, "up and the two reports")
	<-gone
}

// The usual places are tried in turn, and the one that answers is kept.
func TestUsualPlaces(t *testing.T) {
	asked := map[string]int{}
	var answers string
	url := status(t, func(w http.ResponseWriter, r *http.Request) {
		asked[r.URL.Path]++
		if r.URL.Path == answers {
			fmt.Fprint(w, page)
			return
		}
		http.NotFound(w, r)
	})
	before := usual
	t.Cleanup(func() { usual = before })
	usual = []string{url + "/a", url + "/b", url + "/c"}
	s, err := New(Config{}, collectortest.Discard())
	require.NoError(t, err)
	isUp := func() float64 {
		return collectortest.Gather(t, s, nil)["nginx_up"].Metric[0].Gauge.GetValue()
	}
	require.Zero(t, isUp())
	answers = "/b"
	require.Equal(t, 1.0, isUp())
	require.Equal(t, 1.0, isUp())
	require.Equal(t, map[string]int{"/a": 2, "/b": 3, "/c": 1}, asked)
	answers = "/c"
	require.Equal(t, 1.0, isUp())
}

// There is no NGINX Plus to be had; this holds against an API that lacks all.
func TestPlusThatIsNone(t *testing.T) {
	s, err := New(Config{Plus: true, URIs: []string{status(t, http.NotFound)}}, collectortest.Discard())
	require.NoError(t, err)
	require.Zero(t, collectortest.Gather(t, s, nil)["nginxplus_up"].Metric[0].Gauge.GetValue())
}
