package e2e

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/prometheus/prompb"
	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/e2e/harness"
)

func atLeast(got, want int) error {
	if got < want {
		return fmt.Errorf("%d, want at least %d", got, want)
	}
	return nil
}

// inOrder fails unless log has all texts, each after the one before.
func inOrder(t testing.TB, log string, texts ...string) {
	t.Helper()
	at := 0
	for _, text := range texts {
		i := strings.Index(log[at:], text)
		require.GreaterOrEqual(t, i, 0, "%q is not in the log after what has to come before it:\n%s", text, log)
		at += i + len(text)
	}
}

// SIGTERM ends HTTP, rules, scrapes, delivery and the store in this order, with
// exit code 0, and a second start finds what the first one stored.
func TestTerminateAndStartAgain(t *testing.T) {
	t.Parallel()
	target := harness.NewTarget(t, "answer 42\n")
	config := scrapeConfig("j", target.Host())
	s := harness.StartServer(t, harness.ServerOptions{Config: config})
	s.WaitValue("count_over_time(answer[1m]) >= bool 2", 1)
	stored := time.Now()
	require.Zero(t, s.Terminate())
	inOrder(t, s.Log(),
		"Updated GOGC", // before memory grows by what the WAL has
		"Starting TSDB",
		"Completed loading of configuration file",
		"Server is ready to receive web requests.",
		"Received an OS signal, exiting gracefully...",
		`Stopped stage="http requests"`, "Stopped stage=ruler", "Stopped stage=ingest", "Stopped stage=delivery", "Stopped stage=store", "Stopped stage=http",
		"See you next time!")

	again := harness.StartServer(t, harness.ServerOptions{Data: s.Data, Config: "global: {}\n"})
	require.Contains(t, again.Log(), "WAL replay completed")
	v, err := again.TryQuery("last_over_time(answer[1m])", stored)
	require.NoError(t, err)
	require.Len(t, v, 1)
	require.Equal(t, 42.0, v[0].Value)
}

// POST /-/quit is the other way to stop.
func TestQuit(t *testing.T) {
	t.Parallel()
	s := harness.StartServer(t, harness.ServerOptions{Config: "global: {}\n", Args: []string{"--web.enable-lifecycle"}})
	require.Equal(t, http.StatusOK, s.Post("/-/quit", "", "").Status)
	require.Zero(t, s.Wait())
	inOrder(t, s.Log(), "Received termination request via web service, exiting gracefully...", "See you next time!")
}

// An interrupt from the terminal is as good as SIGTERM, also before the server
// is ready.
func TestInterruptDuringStart(t *testing.T) {
	t.Parallel()
	s := harness.LaunchServer(t, harness.ServerOptions{Config: "global: {}\n"})
	s.WaitLog("Starting")
	s.Signal(syscall.SIGINT)
	require.Zero(t, s.Wait())
}

// SIGKILL during ingestion loses no sample that was acknowledged.
func TestKillLosesNoAcknowledgedSample(t *testing.T) {
	t.Parallel()
	s := harness.StartServer(t, harness.ServerOptions{Config: "global: {}\n", Args: []string{"--web.enable-remote-write-receiver"}})
	const senders = 4
	var (
		acknowledged [senders]int // by sender: values 1..n
		total        atomic.Int64
		wg           sync.WaitGroup
	)
	start := time.Now().Add(-time.Hour).UnixMilli()
	for i := range senders {
		wg.Go(func() {
			const batch = 50
			for n := 0; ; n += batch {
				samples := make([]prompb.Sample, batch)
				for j := range samples {
					v := n + j + 1
					samples[j] = prompb.Sample{Value: float64(v), Timestamp: start + int64(v)}
				}
				if s.TryWrite(harness.Series(samples, "sent", "sender", strconv.Itoa(i))) != nil {
					return // the server is gone; this batch may or may not be there
				}
				acknowledged[i] = n + batch
				total.Add(batch)
			}
		})
	}
	harness.Eventually(t, harness.Patience, func() error { return atLeast(int(total.Load()), 20_000) })
	s.Kill()
	wg.Wait()
	t.Logf("%d samples acknowledged before the kill", total.Load())

	again := harness.StartServer(t, harness.ServerOptions{Data: s.Data, Config: "global: {}\n"})
	for i, n := range acknowledged {
		// All of 1..n are there: as many samples, and their sum.
		at := time.UnixMilli(start + int64(n))
		sel := fmt.Sprintf(`sent{sender="%d"}[%dms]`, i, n)
		count, err := again.TryQuery("count_over_time("+sel+")", at)
		require.NoError(t, err)
		require.Len(t, count, 1)
		require.Equal(t, float64(n), count[0].Value, "sender %d", i)
		sum, err := again.TryQuery("sum_over_time("+sel+")", at)
		require.NoError(t, err)
		require.Equal(t, float64(n)*float64(n+1)/2, sum[0].Value, "sender %d", i)
	}
}

// A second SIGTERM and a SIGHUP do not cut a stop short that has something to write.
func TestSecondTerminate(t *testing.T) {
	t.Parallel()
	s := harness.StartServer(t, harness.ServerOptions{Config: "global: {}\n", Args: append(receiving, "--enable-feature=memory-snapshot-on-shutdown")})
	const series = 20000
	for from := 0; from < series; from += 2000 {
		var batch []prompb.TimeSeries
		for i := range 2000 {
			batch = append(batch, harness.Series([]prompb.Sample{{Value: 1, Timestamp: time.Now().UnixMilli()}}, "x", "i", strconv.Itoa(from+i)))
		}
		s.Write(batch...)
	}
	// Somebody who is sending is waited for, so that it has not ended before the second signal.
	sending, err := net.Dial("tcp", strings.TrimPrefix(s.URL, "http://"))
	require.NoError(t, err)
	defer sending.Close()
	_, err = io.WriteString(sending, "POST /api/v1/write HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/x-protobuf\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n")
	require.NoError(t, err)
	_, err = sending.Read(make([]byte, 1)) // it is asked to go on
	require.NoError(t, err)
	s.Signal(syscall.SIGTERM)
	s.WaitLog("Received an OS signal")
	s.Signal(syscall.SIGHUP)
	s.Signal(syscall.SIGTERM)
	s.WaitLog("already stopping")
	sending.Close()
	require.Zero(t, s.Wait())
	inOrder(t, s.Log(), "already stopping", "See you next time!")
	snapshots, err := filepath.Glob(filepath.Join(s.Data, "chunk_snapshot.*"))
	require.NoError(t, err)
	require.Len(t, snapshots, 1)
}
