package systemd

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/exporter/collector"
	"github.com/clanmon/clanmon/exporter/collector/collectortest"
	"github.com/clanmon/clanmon/exporter/internal/flagbound"
)

// set returns the collectors and their log.
func set(t *testing.T, c Config, level slog.Level) (*collector.Set, *bytes.Buffer) {
	t.Helper()
	require.NoError(t, flagbound.Parse(Args(nil)))
	var log bytes.Buffer
	s, err := New(c, slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: level})))
	require.NoError(t, err)
	return s, &log
}

func successes(t *testing.T, s *collector.Set) map[string]float64 {
	t.Helper()
	got := map[string]float64{}
	for _, m := range collectortest.Gather(t, s, nil)["clanmon_exporter_collector_success"].Metric {
		got[m.Label[0].GetValue()] = m.Gauge.GetValue()
	}
	return got
}

func lines(log *bytes.Buffer) []string {
	defer log.Reset()
	return strings.FieldsFunc(log.String(), func(r rune) bool { return r == '\n' })
}

// noBus points the bus addresses at dir: as root the library asks systemd's own
// socket, whose path is fixed, so those tests say nothing where systemd runs.
func noBus(t *testing.T, address string) {
	t.Helper()
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", address)
}

func TestCollector(t *testing.T) {
	s, _ := set(t, Config{Resolved: true}, slog.LevelInfo)
	collectortest.Check(t, s, collectortest.Expect{Prefix: "systemd_", Upstream: true})
}

// A machine without a bus costs one line in the log and a metric that says so.
func TestDeadBusIsLoggedOnce(t *testing.T) {
	noBus(t, "unix:path="+filepath.Join(t.TempDir(), "none"))
	s, log := set(t, Config{Resolved: true}, slog.LevelInfo)
	for range 3 {
		require.Zero(t, successes(t, s)["resolved"])
	}
	var about []string
	for _, l := range lines(log) {
		if strings.Contains(l, "collector=resolved") {
			about = append(about, l)
		}
	}
	require.Len(t, about, 1)
	require.Contains(t, about[0], "no such file or directory")
	require.Contains(t, about[0], "level=ERROR")
}

// A bus that accepts and then says nothing is the worst that can happen: the
// library waits for ever.
func TestHangingBusEndsWithTheScrape(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bus")
	l, err := net.Listen("unix", path)
	require.NoError(t, err)
	noBus(t, "unix:path="+path)
	accepted := make(chan net.Conn, 10)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				close(accepted)
				return
			}
			accepted <- c
		}
	}()
	s, log := set(t, Config{Resolved: true}, slog.LevelInfo)
	scrape := func() []string {
		// Less would say more about the scrape than about the bus.
		ctx, cancel := context.WithTimeout(t.Context(), 600*time.Millisecond)
		defer cancel()
		ch := make(chan prometheus.Metric, 100)
		s.Collect(ctx, []string{"resolved"}, ch)
		require.Len(t, ch, 2, "the two reports")
		return lines(log)
	}
	require.Len(t, scrape(), 1)
	require.Empty(t, scrape())
	require.Empty(t, scrape())
	require.Len(t, accepted, 1, "nobody asks again while one hangs")
	l.Close()
	(<-accepted).Close() // lets go of the run that hangs
}

func TestRestartsAreCountedUnlessToldOtherwise(t *testing.T) {
	require.Equal(t, []string{"--systemd.collector.enable-restart-count"}, Args(nil))
	require.Equal(t, []string{"--systemd.collector.enable-restart-count"}, Args([]string{"--systemd.collector.private"}))
	require.Empty(t, Args([]string{"--no-systemd.collector.enable-restart-count"}))
	require.Empty(t, Args([]string{"--systemd.collector.enable-restart-count"}))
}

func TestPresent(t *testing.T) {
	none := func(string) string { return "" }
	root := t.TempDir()
	require.False(t, present(root, none))
	require.True(t, present(root, func(name string) string { return map[string]string{"DBUS_SYSTEM_BUS_ADDRESS": "unix:path=/x"}[name] }))
	require.NoError(t, os.MkdirAll(filepath.Join(root, "run/systemd/system"), 0o755))
	require.True(t, present(root, none))
}
