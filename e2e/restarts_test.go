package e2e

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/prometheus/prompb"
	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/e2e/harness"
)

const snapshotUsed = "chunk snapshot loaded"

// ledger is a sender that remembers what was acknowledged. All series have the same
// samples. What was refused it does not send again.
type ledger struct {
	t            *testing.T
	series       int
	server       atomic.Pointer[harness.Server]
	began        time.Time
	acknowledged map[int64]float64 // milliseconds → value; to be read after end
	sent         atomic.Int64      // how many
	stop, done   chan struct{}
}

// newLedger begins to send, once there is a server.
func newLedger(t *testing.T, series int) *ledger {
	l := &ledger{t: t, series: series, began: time.Now(), acknowledged: make(map[int64]float64), stop: make(chan struct{}), done: make(chan struct{})}
	go l.run()
	return l
}

func (l *ledger) run() {
	defer close(l.done)
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for value := 1.0; ; value++ {
		select {
		case <-l.stop:
			return
		case <-tick.C:
		}
		to := l.server.Load()
		if to == nil {
			continue
		}
		at := time.Now().UnixMilli()
		var batch []prompb.TimeSeries
		for i := range l.series {
			batch = append(batch, harness.Series([]prompb.Sample{{Timestamp: at, Value: value}}, "soak", "i", fmt.Sprint(i)))
		}
		if to.TryWrite(batch...) == nil {
			l.acknowledged[at] = value
			l.sent.Add(1)
		}
	}
}

// end stops to send and looks for everything that was acknowledged, in 50 of the series.
func (l *ledger) end(s *harness.Server) {
	l.t.Helper()
	close(l.stop)
	<-l.done
	l.t.Logf("%d batches of %d samples acknowledged", len(l.acknowledged), l.series)
	require.NotEmpty(l.t, l.acknowledged)
	var a struct {
		Data struct {
			Result []struct {
				Metric map[string]string
				Values [][2]any
			}
		}
	}
	lost, wrong := 0, 0
	path := fmt.Sprintf("/api/v1/query?time=%d&query=soak%%7Bi%%3D~%%22%%5B0-9%%5D%%7C%%5B1-4%%5D%%5B0-9%%5D%%22%%7D%%5B%ds%%5D", time.Now().Unix()+1, int(time.Since(l.began).Seconds())+60)
	require.NoError(l.t, json.Unmarshal([]byte(s.Get(path).Body), &a))
	require.Len(l.t, a.Data.Result, 50)
	for _, r := range a.Data.Result {
		values := make(map[int64]float64, len(r.Values))
		for _, v := range r.Values {
			value, err := strconv.ParseFloat(v[1].(string), 64)
			require.NoError(l.t, err)
			values[int64(v[0].(float64)*1000+0.5)] = value
		}
		for at, want := range l.acknowledged {
			switch got, ok := values[at]; {
			case !ok:
				lost++
				if lost <= 5 {
					l.t.Logf("lost: a sample of %s", time.UnixMilli(at).UTC().Format("15:04:05.000"))
				}
			case got != want:
				wrong++
			}
		}
	}
	require.Zero(l.t, lost, "samples lost")
	require.Zero(l.t, wrong, "samples with another value")
}

// A server that nothing configures is killed and stopped in turn, as chance has it, while
// it stores.
func TestKillsAndStops(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(3, 0)) // four kills, four stops, each after each
	o := harness.ServerOptions{Listen: harness.Address(t), Data: filepath.Join(t.TempDir(), "data"), Args: receiving}
	s := harness.StartServer(t, o)
	l := newLedger(t, 2000)
	used := 0
	for range 8 {
		l.server.Store(s)
		time.Sleep(time.Duration(500+random.IntN(1000)) * time.Millisecond) // the pace
		if random.IntN(2) == 0 {
			s.Kill()
		} else {
			require.Zero(t, s.Terminate())
			used++
		}
		s = harness.StartServer(t, o)
		if strings.Contains(s.Log(), snapshotUsed) {
			used--
		}
	}
	l.end(s)
	require.Zero(t, used, "each stop leaves a snapshot of memory for the next start, and no kill does")
}

// The snapshot of memory finds no room either.
func TestStopOnFullDisk(t *testing.T) {
	t.Parallel()
	d := newDisk(t, "64m")
	o := harness.ServerOptions{Listen: harness.Address(t), Data: filepath.Join(d.dir, "data"), Args: receiving}
	s := harness.StartServer(t, o)
	l := newLedger(t, 200)
	l.server.Store(s)
	harness.Eventually(t, harness.Patience, func() error { return atLeast(int(l.sent.Load()), 5) })
	d.fill()
	s.WaitLog("no space left on device")
	s.Terminate()
	snapshots, err := filepath.Glob(filepath.Join(s.Data, "chunk_snapshot.*"))
	require.NoError(t, err)
	require.Empty(t, snapshots)
	d.free()
	l.end(harness.StartServer(t, o))
}

// Only a server that chose itself what to scrape writes a snapshot of memory unasked.
func TestSnapshotOfMemoryIsTheDefault(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		o    harness.ServerOptions
		want int
	}{
		"nothing configured":    {harness.ServerOptions{}, 1},
		"discovery":             {harness.ServerOptions{Config: "global: {}\n", Args: []string{"--discovery.static=node=127.0.0.1:1"}}, 1},
		"a configuration alone": {harness.ServerOptions{Config: "global: {}\n"}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := harness.StartServer(t, c.o)
			require.Zero(t, s.Terminate())
			snapshots, err := filepath.Glob(filepath.Join(s.Data, "chunk_snapshot.*"))
			require.NoError(t, err)
			require.Len(t, snapshots, c.want)
		})
	}
}

// clanmon, Prometheus, clanmon: with its own snapshots and without, stopped and killed.
func TestPrometheusBetween(t *testing.T) {
	t.Parallel()
	feature := []string{"--enable-feature=memory-snapshot-on-shutdown"}
	for name, c := range map[string]struct {
		args []string
		sig  syscall.Signal
	}{
		"plain":             {nil, syscall.SIGTERM},
		"plain, killed":     {nil, syscall.SIGKILL},
		"snapshots":         {feature, syscall.SIGTERM},
		"snapshots, killed": {feature, syscall.SIGKILL},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			begin := time.Now().Add(-time.Hour).UnixMilli()
			written := 0
			write := func(s *harness.Server) {
				for range 3 { // more than a chunk of a series each time
					var samples []prompb.Sample
					for range 60 {
						written++
						samples = append(samples, prompb.Sample{Timestamp: begin + int64(written)*1000, Value: float64(written)})
					}
					s.Write(harness.Series(samples, "sent", "who", "a"), harness.Series(samples, "sent", "who", fmt.Sprint(written)))
				}
			}
			check := func(s *harness.Server) {
				at := time.UnixMilli(begin + int64(written)*1000)
				for query, want := range map[string]float64{
					`count_over_time(sent{who="a"}[1h])`:            float64(written),
					`sum_over_time(sent{who="a"}[1h])`:              float64(written) * float64(written+1) / 2,
					`sum(count_over_time(sent{who=~"[0-9]+"}[1h]))`: float64(written),
				} {
					v, err := s.TryQuery(query, at)
					require.NoError(t, err)
					require.Len(t, v, 1, query)
					require.Equal(t, want, v[0].Value, query)
				}
			}
			o := harness.ServerOptions{Data: filepath.Join(t.TempDir(), "data"), Args: receiving}
			prometheus := harness.ServerOptions{Path: harness.Upstream(t), Config: "global: {}\n", Data: o.Data, Args: append(c.args, receiving...)}
			for range 2 {
				s := harness.StartServer(t, o)
				require.NotContains(t, s.Log(), snapshotUsed, "Prometheus has been there")
				if written > 0 {
					check(s)
				}
				write(s)
				require.Zero(t, s.Terminate())

				p := harness.StartServer(t, prometheus)
				check(p)
				write(p)
				p.Signal(c.sig)
				p.Wait()
			}
			check(harness.StartServer(t, o))
		})
	}
}
