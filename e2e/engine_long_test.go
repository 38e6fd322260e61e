//go:build long

package e2e

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/e2e/harness"
	"github.com/clanmon/clanmon/e2e/oracle"
)

const victoriaMetrics = "github.com/VictoriaMetrics/VictoriaMetrics@v1.150.0"

// buildVictoriaMetrics builds it outside of our module, with its own dependencies.
func buildVictoriaMetrics(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	download := exec.Command("go", "mod", "download", "-json", victoriaMetrics)
	download.Dir = dir
	text, err := download.Output()
	require.NoError(t, err, "%s", text)
	var module struct{ Dir string }
	require.NoError(t, json.Unmarshal(text, &module))
	source, program := filepath.Join(dir, "src"), filepath.Join(dir, "victoria-metrics")
	require.NoError(t, os.CopyFS(source, os.DirFS(module.Dir)))
	build := exec.Command("go", "build", "-mod=mod", "-o", program, "./app/victoria-metrics")
	build.Dir, build.Env = source, append(os.Environ(), "CGO_ENABLED=0")
	text, err = build.CombinedOutput()
	require.NoError(t, err, "%s", text)
	return program
}

// VictoriaMetrics as the engine: no step is missing, no series has another name, and
// values differ by no more than docs/scale.md says.
func TestHistoryOfVictoriaMetrics(t *testing.T) {
	t.Parallel()
	h := newMonth()
	listen := harness.Address(t)
	harness.Start(t, harness.Command{Path: buildVictoriaMetrics(t), Dir: t.TempDir(), Args: []string{
		"-storageDataPath=data", "-retentionPeriod=10y", "-httpListenAddr=" + listen,
	}})
	var lines strings.Builder
	for _, line := range strings.Split(h.text(h.from, `,site="home"`), "\n") {
		if f := strings.Fields(line); len(f) == 3 && f[0] != "#" {
			fmt.Fprintf(&lines, "%s %s %s000\n", f[0], f[1], f[2])
		}
	}
	harness.Eventually(t, harness.Patience, func() error {
		r, err := http.Post("http://"+listen+"/api/v1/import/prometheus", "text/plain", strings.NewReader(lines.String()))
		if err != nil {
			return err
		}
		defer r.Body.Close()
		if r.StatusCode != http.StatusNoContent {
			return fmt.Errorf("%s", r.Status)
		}
		return nil
	})
	whole := harness.StartServer(t, harness.ServerOptions{
		Path: oracle.Path(t, "prometheus"), Config: "global: {}\n", Data: h.blocks(t, h.from, ""),
		Args: []string{"--storage.tsdb.retention.time=10y"},
	})
	s := harness.StartServer(t, harness.ServerOptions{
		Config: "global: {}\n", Data: h.blocks(t, h.young, ""),
		Args: []string{"--query.url=http://" + listen, "--query.dialect=victoriametrics", "--external-label=site=home"},
	})
	for query, tolerance := range map[string]float64{
		"requests_total": 0, "requests_total offset 1d": 0, "avg_over_time(requests_total[1h])": 0, "max_over_time(requests_total[1h])": 0,
		"quantile_over_time(0.9, requests_total[1h])": 1e-9, "deriv(requests_total[1h])": 1e-6, "topk(1, requests_total)": 0,
		"rate(requests_total[1h])": 0.02, "sum(increase(requests_total[1d]))": 0.02, "count by (path) (requests_total)": 0, "absent(requests_total)": 0,
	} {
		harness.Eventually(t, harness.Patience, func() error { // what was imported is found a little later
			want, got := h.ask(t, whole, query, 3600), h.ask(t, s, query, 3600)
			require.Empty(t, got.Warnings, query)
			a, b := want.points(t, h.from+2*24*3600), got.points(t, h.from+2*24*3600) // windows are full then
			for at, v := range a {
				w, ok := b[at]
				if !ok {
					return fmt.Errorf("%s: nothing at %s", query, at)
				}
				if math.Abs(v-w) > tolerance*math.Abs(v) {
					return fmt.Errorf("%s: %v instead of %v at %s", query, w, v, at)
				}
			}
			if len(b) != len(a) {
				return fmt.Errorf("%s: %d points instead of %d", query, len(b), len(a))
			}
			return nil
		})
	}
}

// points are the values from a time on, by series and time.
func (m matrixAnswer) points(t *testing.T, from int64) map[string]float64 {
	all := make(map[string]float64)
	for _, s := range m.Data.Result {
		for _, v := range s.Values {
			f, err := strconv.ParseFloat(v[1].(string), 64)
			require.NoError(t, err)
			if v[0].(float64) >= float64(from) {
				all[fmt.Sprint(s.Metric, v[0])] = f
			}
		}
	}
	return all
}
