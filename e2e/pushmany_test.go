package e2e

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/prompb"
	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/e2e/harness"
	"github.com/clanmon/clanmon/exporter/history"
	"github.com/clanmon/clanmon/exporter/push"
	wire "github.com/clanmon/clanmon/internal/history"
)

// bearer sends a token, by connections of its own.
type bearer struct {
	token     string
	transport *http.Transport
}

// RoundTrip implements http.RoundTripper.
func (b *bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+b.token)
	return b.transport.RoundTrip(r)
}

func (b *bearer) CloseIdleConnections() { b.transport.CloseIdleConnections() }

func pushToken(machine int) string { return fmt.Sprintf("s3cret-%d", machine) }

// pushServer is a server to which so many machines may push.
func pushServer(t testing.TB, machines, connections int) *harness.Server {
	t.Helper()
	var tokens strings.Builder
	for i := range machines {
		fmt.Fprintf(&tokens, "m%d machine %x\n", i, sha256.Sum256([]byte(pushToken(i))))
	}
	return harness.StartServer(t, harness.ServerOptions{
		Data: t.TempDir(), Config: "global: {scrape_interval: 15s}\n",
		Args: []string{"--push", fmt.Sprintf("--web.max-connections=%d", connections), "--web.token-file=" + harness.WriteFile(t, t.TempDir(), "tokens", tokens.String())},
	})
}

// The link of a server is back, and all machines that push are back at once, each with a backlog:
// every sample is stored, once, with its value.
// They want more connections than the server accepts. PUSHERS, PUSH_GATHERS and PUSH_CONNECTIONS
// measure with more of them.
func TestManyPushersAtOnce(t *testing.T) {
	number := func(name string, usual int) int {
		n, err := strconv.Atoi(cmp.Or(os.Getenv(name), strconv.Itoa(usual)))
		require.NoError(t, err)
		return n
	}
	machines, gathers := number("PUSHERS", 40), number("PUSH_GATHERS", 60)
	const series, every = 100, 15 * time.Second
	server := pushServer(t, machines, number("PUSH_CONNECTIONS", 40))
	to, err := url.Parse(server.URL + "/api/v1/push")
	require.NoError(t, err)

	now := time.Now().Truncate(time.Second)
	dir := t.TempDir()
	begin := make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	t.Cleanup(func() { cancel(); running.Wait() })
	var all []*prometheus.Registry
	for i := range machines {
		own := filepath.Join(dir, strconv.Itoa(i))
		spool, err := history.Open(own, history.Options{Gathers: 2 * gathers, PerSegment: 240, MaxBytes: 64 << 20, Logger: slog.New(slog.DiscardHandler)})
		require.NoError(t, err)
		t.Cleanup(func() { _ = spool.Close() })
		var newest *push.Gather
		for g := range gathers {
			newest = &push.Gather{Time: now.Add(-time.Duration(gathers-1-g) * every).UnixMilli()}
			newest.Before = newest.Time - every.Milliseconds()
			require.NoError(t, spool.Append(newest.Time, func(add func([]byte, float64)) {
				for s := range series {
					key := wire.AppendString(wire.AppendString(wire.AppendString(nil, "node"), "__name__"), "m")
					add(wire.AppendString(wire.AppendString(key, "s"), strconv.Itoa(s)), float64(g))
				}
			}, func(key string, bits uint64) { newest.Values = append(newest.Values, push.Value{Key: key, Bits: bits}) }))
		}
		oldest, _ := spool.Span()
		reg := prometheus.NewRegistry()
		all = append(all, reg)
		sender := push.New(push.Options{
			URL: to, Client: &http.Client{Transport: &bearer{pushToken(i), &http.Transport{}}}, Dir: own, Interval: every,
			Instances: map[string]string{"node": "m:9100"}, Read: spool.Read, Oldest: func() int64 { return oldest }, Last: oldest - 1,
			UserAgent: "test", Registerer: reg, Logger: slog.New(slog.DiscardHandler),
		})
		running.Go(func() {
			<-begin
			sender.Offer(newest)
			sender.Run(ctx)
		})
	}

	before := memory(t, server.Pid(), "VmRSS")
	began := time.Now()
	close(begin)
	metric := func(reg *prometheus.Registry, name string) (sum float64) {
		families, err := reg.Gather()
		require.NoError(t, err)
		for _, f := range families {
			for _, m := range f.Metric {
				if f.GetName() == "clanmon_exporter_push_"+name {
					sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
				}
			}
		}
		return sum
	}
	total := func(name string) (sum float64) {
		for _, reg := range all {
			sum += metric(reg, name)
		}
		return sum
	}
	var first, done time.Duration
	harness.Eventually(t, 10*time.Minute, func() error {
		heard, complete := 0, 0
		for _, reg := range all {
			switch n := metric(reg, "samples_total"); {
			case n >= float64(gathers*series) && metric(reg, "backlog_seconds") == 0:
				complete++
				fallthrough
			case n > 0:
				heard++
			}
		}
		if heard == machines && first == 0 {
			first = time.Since(began)
		}
		if complete < machines {
			return fmt.Errorf("%d of %d machines have sent, %d of them everything", heard, machines, complete)
		}
		done = time.Since(began)
		return nil
	})
	samples, most := machines*gathers*series, memory(t, server.Pid(), "VmHWM")
	t.Logf("%d machines, %d samples: newest of all after %s, everything after %s, %.0f samples/s; sent again: %g requests; memory of the server: %d MiB before, %d MiB at most",
		machines, samples, first, done, float64(samples)/done.Seconds(), total("failures_total"), before, most)

	require.Zero(t, total("dropped_samples_total")+total("lost_gathers_total"))
	for expr, want := range map[string]int{
		"count_over_time(m[3d])": series * gathers,
		"sum_over_time(m[3d])":   series * gathers * (gathers - 1) / 2,
	} {
		found := server.Query("sum by (machine) (" + expr + ")")
		require.Len(t, found, machines)
		for _, s := range found {
			require.Equal(t, float64(want), s.Value, "%s of %v", expr, s.Labels)
		}
	}
}

// BenchmarkBacklogs measures how long a new sample of 10 machines takes until it is acknowledged,
// with the wait after a 429, while 400 others send a backlog of 24 hours: in the lane of backlogs,
// and without one, by the same requests that do not say what they are.
func BenchmarkBacklogs(b *testing.B) {
	const machines, others, requests, gathers, series = 10, 400, 5, 500, 20
	const day = 24 * time.Hour
	now := time.Now()
	request := func(s *harness.Server, times ...int64) *http.Request {
		var samples []prompb.Sample
		for _, at := range times {
			samples = append(samples, prompb.Sample{Timestamp: at, Value: float64(at)})
		}
		var all []prompb.TimeSeries
		for i := range series {
			all = append(all, harness.Series(samples, "m", "instance", "m:9100", "job", "node", "s", strconv.Itoa(i)))
		}
		r, err := harness.RemoteWrite(s.URL, all...)
		require.NoError(b, err)
		r.URL.Path = "/api/v1/push"
		return r
	}
	for name, lane := range map[string]string{"lane": "1", "none": ""} {
		b.Run(name, func(b *testing.B) {
			var took []float64
			for b.Loop() {
				s := pushServer(b, machines+others, 1024)
				// send returns when the request is acknowledged. Others may use its body.
				send := func(machine int, r *http.Request, backlog string) {
					c := &http.Client{Transport: &bearer{pushToken(machine), &http.Transport{}}}
					defer c.CloseIdleConnections()
					for {
						again := r.Clone(context.Background())
						again.Body, _ = r.GetBody()
						again.Header.Set(wire.BacklogHeader, backlog)
						res, err := c.Do(again)
						if err == nil {
							res.Body.Close()
							if res.StatusCode == http.StatusNoContent {
								return
							}
						}
						if err != nil || res.StatusCode != http.StatusTooManyRequests {
							b.Errorf("push: %v %v", res, err)
							return
						}
						time.Sleep(5 * time.Second) // what the server asks for
					}
				}
				var backlog []*http.Request
				for k := range requests {
					var times []int64
					for g := range gathers {
						times = append(times, now.Add(-day).UnixMilli()+int64(k*gathers+g)*(day-time.Minute).Milliseconds()/(requests*gathers))
					}
					backlog = append(backlog, request(s, times...))
				}
				first := request(s, now.UnixMilli())
				var sending, fresh sync.WaitGroup
				for i := range others {
					sending.Go(func() {
						send(machines+i, first, "")
						for _, r := range backlog {
							send(machines+i, r, lane)
						}
					})
				}
				done := make(chan struct{})
				var mu sync.Mutex
				for i := range machines {
					fresh.Go(func() {
						for tick := time.Tick(time.Second); ; {
							at := time.Now()
							send(i, request(s, at.UnixMilli()), "")
							mu.Lock()
							took = append(took, float64(time.Since(at).Milliseconds()))
							mu.Unlock()
							select {
							case <-tick:
							case <-done:
								return
							}
						}
					})
				}
				sending.Wait()
				close(done)
				fresh.Wait()
			}
			slices.Sort(took)
			b.ReportMetric(took[len(took)/2], "p50-ms")
			b.ReportMetric(took[len(took)-1], "max-ms")
		})
	}
}
