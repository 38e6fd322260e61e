package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/prompb"
	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/e2e/harness"
	"github.com/clanmon/clanmon/e2e/oracle"
)

// walOf makes a data directory whose WAL has some segments: each restart begins
// a new one. It returns the directory and the time of the samples.
func walOf(t *testing.T, restarts int) (string, time.Time) {
	t.Helper()
	start := time.Now().Add(-30 * time.Minute)
	data := filepath.Join(t.TempDir(), "data")
	for n := range restarts {
		s := harness.StartServer(t, harness.ServerOptions{Config: "global: {}\n", Data: data, Args: receiving})
		var samples []prompb.Sample
		for i := range 1000 {
			samples = append(samples, prompb.Sample{Value: float64(i), Timestamp: start.UnixMilli() + int64(n*1000+i)})
		}
		s.Write(harness.Series(samples, "sample", "run", fmt.Sprint(n)))
		s.Kill()
	}
	return data, start.Add(time.Minute)
}

// A WAL segment with garbage in it is cut at the garbage, as Prometheus does;
// the rest is served, and a metric and the log say so.
func TestCorruptedWAL(t *testing.T) {
	t.Parallel()
	data, at := walOf(t, 3)
	segments, err := filepath.Glob(filepath.Join(data, "wal", "0*"))
	require.NoError(t, err)
	slices.Sort(segments)
	require.GreaterOrEqual(t, len(segments), 3)
	var damaged string
	for _, s := range segments[1:] { // the first one with something in it
		if fi, err := os.Stat(s); err == nil && fi.Size() > 0 {
			damaged = s
			break
		}
	}
	require.NotEmpty(t, damaged)
	b, err := os.ReadFile(damaged)
	require.NoError(t, err)
	for i := range 64 {
		b[len(b)/3+i] ^= 0xa5
	}
	require.NoError(t, os.WriteFile(damaged, b, 0o644))

	count := func(path string) (map[string]float64, *harness.Server) {
		s := harness.StartServer(t, harness.ServerOptions{Path: path, Config: "global: {}\n", Data: harness.CopyDir(t, data)})
		s.WaitMetric("prometheus_tsdb_wal_corruptions_total", 1)
		v, err := s.TryQuery("count_over_time(sample[5m])", at)
		require.NoError(t, err)
		counts := map[string]float64{}
		for _, x := range v {
			counts[x.Labels["run"]] = x.Value
		}
		return counts, s
	}
	theirs, _ := count(harness.Upstream(t))
	ours, s := count("")
	require.Equal(t, theirs, ours)
	require.Equal(t, 1000.0, ours["0"], "what came before the damage is served")
	require.Contains(t, s.Log(), "corruption in segment")
	require.Contains(t, s.Log(), "Successfully repaired WAL")
}

// Damaged blocks: the rest is served, and the log, an alert and a warning say what is
// missing. Prometheus does not start, passes over the block without a word, or fails
// every query over its range.
func TestCorruptedBlock(t *testing.T) {
	t.Parallel()
	// Two blocks of two hours, made by Prometheus' own tool.
	dir := t.TempDir()
	var text strings.Builder
	text.WriteString("# TYPE old gauge\n")
	base := time.Now().Add(-24 * time.Hour).Truncate(2 * time.Hour)
	for i := range 240 {
		fmt.Fprintf(&text, "old %d %d\n", i, base.Add(time.Duration(i)*time.Minute).Unix())
	}
	text.WriteString("# EOF\n")
	input := harness.WriteFile(t, dir, "old.om", text.String())
	data := filepath.Join(dir, "data")
	out, err := exec.Command(oracle.Path(t, "promtool"), "tsdb", "create-blocks-from", "openmetrics", input, data).CombinedOutput()
	require.NoError(t, err, "%s", out)
	blocks := blocksOf(t, data)
	require.Len(t, blocks, 2)

	for name, damage := range map[string]func(t *testing.T, block string){
		"no meta.json": func(t *testing.T, b string) { require.NoError(t, os.Remove(filepath.Join(b, "meta.json"))) },
		"broken meta.json": func(t *testing.T, b string) {
			require.NoError(t, os.WriteFile(filepath.Join(b, "meta.json"), []byte("{"), 0o644))
		},
		"short index":  func(t *testing.T, b string) { require.NoError(t, os.Truncate(filepath.Join(b, "index"), 20)) },
		"short chunks": func(t *testing.T, b string) { require.NoError(t, os.Truncate(filepath.Join(b, "chunks", "000001"), 4)) },
		"half a block": func(t *testing.T, b string) { require.NoError(t, os.Rename(b, b+".tmp-for-creation")) },
		"damaged samples": func(t *testing.T, b string) {
			path := filepath.Join(b, "chunks", "000001")
			raw, err := os.ReadFile(path)
			require.NoError(t, err)
			for i := 12; i < len(raw); i++ {
				raw[i] ^= 0x5a
			}
			require.NoError(t, os.WriteFile(path, raw, 0o644))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			type outcome struct {
				Exit         int // -2: it runs
				First, Both  int // samples, or -1 when the query fails
				Blocks       []string
				HealthyCount int
			}
			try := func(path string) (o outcome, s *harness.Server) {
				data := harness.CopyDir(t, data)
				damage(t, filepath.Join(data, filepath.Base(blocks[0])))
				s = harness.LaunchServer(t, harness.ServerOptions{Path: path, Config: "global: {}\n", Data: data})
				o.Exit = -2
				harness.Eventually(t, harness.Patience, func() error {
					if s.Exited() {
						o.Exit = s.Wait()
						return nil
					}
					a, err := s.TryGet("/-/ready")
					if err == nil && a.Status != 200 {
						err = fmt.Errorf("%d", a.Status)
					}
					return err
				})
				count := func(d string, at time.Time) int {
					v, err := s.TryQuery("count_over_time(old["+d+"])", at)
					switch {
					case err != nil:
						return -1
					case len(v) == 0:
						return 0
					}
					return int(v[0].Value)
				}
				if o.Exit == -2 {
					o.First, o.Both = count("2h", base.Add(119*time.Minute)), count("4h", base.Add(239*time.Minute))
					o.HealthyCount = count("1h", base.Add(239*time.Minute))
				}
				for _, b := range blocksOf(t, data) {
					o.Blocks = append(o.Blocks, filepath.Base(b))
				}
				return o, s
			}
			if name == "half a block" { // a compaction that was killed: nothing is missing
				theirs, _ := try(harness.Upstream(t))
				ours, _ := try("")
				require.Equal(t, theirs, ours)
				return
			}
			ours, s := try("")
			require.Equal(t, -2, ours.Exit, "it runs")
			require.Equal(t, 60, ours.HealthyCount, "the other block is served")
			require.Zero(t, ours.First)
			require.Equal(t, 120, ours.Both)
			left := slices.Clone(blocks[1:])
			if name == "damaged samples" {
				left = slices.Clone(blocks)
				body := s.Get(fmt.Sprintf("/api/v1/query?query=count_over_time(old[4h])&time=%d", base.Add(239*time.Minute).Unix())).Body
				require.Contains(t, body, `"warnings":["block `+filepath.Base(blocks[0])+" is damaged: samples from "+base.UTC().Format("2006-01-02 15:04"))
			}
			for i := range left {
				left[i] = filepath.Base(left[i])
			}
			require.Equal(t, left, ours.Blocks)
			require.Contains(t, s.Log(), "block "+filepath.Base(blocks[0]), "the log names the block")
			if !strings.Contains(name, "meta.json") {
				require.Contains(t, s.Log(), "missing_from="+base.UTC().Format("2006-01-02T15:04"), "and the time that is missing")
			}
			harness.Eventually(t, harness.Patience, func() error {
				if body := s.Get("/api/v2/alerts").Body; !strings.Contains(body, `"StorageDamaged"`) {
					return fmt.Errorf("no alert: %s", body)
				}
				return nil
			})
		})
	}
}

func blocksOf(t testing.TB, data string) []string {
	t.Helper()
	blocks, err := filepath.Glob(filepath.Join(data, "01*"))
	require.NoError(t, err)
	slices.Sort(blocks)
	return blocks
}
