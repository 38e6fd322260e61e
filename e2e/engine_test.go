package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/e2e/harness"
	"github.com/clanmon/clanmon/e2e/oracle"
)

// month is one of two counters, a sample every four minutes, of which a server has
// the last two hours.
type month struct {
	from, young, to int64 // seconds
}

func newMonth() month {
	to := time.Now().Unix()
	return month{from: to - 30*24*3600, young: to - 2*3600, to: to}
}

// text has the samples from a time on, in OpenMetrics.
func (h month) text(from int64, more string) string {
	var text strings.Builder
	text.WriteString("# TYPE requests counter\n")
	for n := range 2 {
		for at := h.from; at <= h.to; at += 240 {
			if at >= from {
				fmt.Fprintf(&text, "requests_total{path=\"/%d\"%s} %d %d\n", n, more, 1e6+(at-h.from)*int64(n+1), at)
			}
		}
	}
	text.WriteString("# EOF\n")
	return text.String()
}

// blocks writes the samples from a time on to a data directory.
func (h month) blocks(t *testing.T, from int64, more string) string {
	t.Helper()
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	out, err := exec.Command(oracle.Path(t, "promtool"), "tsdb", "create-blocks-from", "openmetrics", "--max-block-duration=60d",
		harness.WriteFile(t, dir, "om", h.text(from, more)), data).CombinedOutput()
	require.NoError(t, err, "%s", out)
	return data
}

// answer is what a server responds to a query, and what it warns of.
type matrixAnswer struct {
	Status   string
	Warnings []string
	Data     struct {
		Result []struct {
			Metric map[string]string
			Values [][2]any
			Value  [2]any
		}
	}
}

func (h month) ask(t *testing.T, s *harness.Server, query string, step int64) matrixAnswer {
	t.Helper()
	v := url.Values{"query": {query}}
	path := "/api/v1/query_range?"
	if step > 0 {
		v.Set("start", fmt.Sprint(h.from))
		v.Set("end", fmt.Sprint(h.to))
		v.Set("step", fmt.Sprint(step))
	} else {
		path = "/api/v1/query?"
		v.Set("time", fmt.Sprint(h.from+20*24*3600))
	}
	a := s.Get(path + v.Encode())
	require.Equal(t, http.StatusOK, a.Status, a.Body)
	var m matrixAnswer
	require.NoError(t, json.Unmarshal([]byte(a.Body), &m))
	return m
}

// A month is read from another engine, two hours from the local store, and nobody sees
// where one ends. Without the engine there are two hours, and the reason why.
func TestHistoryOfAnotherEngine(t *testing.T) {
	t.Parallel()
	h := newMonth()
	engine := harness.StartServer(t, harness.ServerOptions{
		Path: oracle.Path(t, "prometheus"), Config: "global: {}\n", Data: h.blocks(t, h.from, `,site="home"`),
		Args: []string{"--storage.tsdb.retention.time=10y"},
	})
	s := harness.StartServer(t, harness.ServerOptions{
		Config: "global: {}\n", Data: h.blocks(t, h.young, ""),
		Args: []string{"--query.url=" + engine.URL, "--external-label=site=home"},
	})
	for _, query := range []string{
		"requests_total", "rate(requests_total[15m])", "sum(increase(requests_total[1d]))", "requests_total offset 1d",
		"max_over_time(rate(requests_total[15m])[3h:10m])", `requests_total{path="/1"} - requests_total{path="/1"} offset 1w`,
	} {
		for _, step := range []int64{3600, 600, 0} {
			want, got := h.ask(t, engine, query, step), h.ask(t, s, query, step)
			require.NotEmpty(t, got.Data.Result, query)
			require.Empty(t, got.Warnings)
			for n := range want.Data.Result {
				delete(want.Data.Result[n].Metric, "site")
			}
			require.Equal(t, want.Data, got.Data, "%s every %d s", query, step)
		}
	}
	require.Contains(t, s.Get("/api/v1/series?match[]=requests_total").Body, `"path":"/1"`)
	require.NotContains(t, s.Get("/api/v1/labels").Body, "site")

	engine.Kill()
	got := h.ask(t, s, "requests_total", 3600)
	require.Len(t, got.Warnings, 1)
	require.Contains(t, got.Warnings[0], "History not reached: ")
	require.Len(t, got.Data.Result, 2)
	require.Less(t, len(got.Data.Result[0].Values), 5)
	require.NotEmpty(t, got.Data.Result[0].Values)
	require.Contains(t, s.Get("/api/v1/rules").Body, `"status":"success"`, "rules do not need it")
}
