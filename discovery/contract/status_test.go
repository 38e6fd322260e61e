package contract

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/discovery"
	"github.com/stretchr/testify/require"
)

// A method says that it fails at its first failure, since when, and whether it ever
// worked.
func TestStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := slog.New(slog.DiscardHandler)
		m := &Metrics{Method: "x", Refresh: discovery.NewRefreshMetrics(prometheus.NewRegistry())}
		// Two names in one job are two discoverers.
		a, b := m.Reporter("node", "a.lan"), m.Reporter("node", "b.lan")
		require.Equal(t, Status{Method: "x", From: "a.lan", Config: "node", Jobs: []string{"node"}, Never: true}, m.Status()[0])
		begin := time.Now().UTC()
		a.Refreshed(log, 0, errors.New("gone"))
		time.Sleep(time.Hour)
		a.Refreshed(log, 0, errors.New("still gone"))
		b.Outcome(log, nil)
		require.Equal(t, []Status{
			{Method: "x", From: "a.lan", Config: "node", Jobs: []string{"node"}, Error: "still gone", FailingSince: begin, Never: true},
			{Method: "x", From: "b.lan", Config: "node", Jobs: []string{"node"}, LastSuccess: begin.Add(time.Hour)},
		}, m.Status())
		a.Refreshed(log, 0, nil)
		require.Equal(t, Status{Method: "x", From: "a.lan", Config: "node", Jobs: []string{"node"}, LastSuccess: begin.Add(time.Hour)}, m.Status()[0])
		a.Close()
		require.Len(t, m.Status(), 1)
	})
}

// Entries are reported while they are wrong, and logged when they appear; readers of
// the same file say it once.
func TestRefused(t *testing.T) {
	var text strings.Builder
	log := SharedLog(slog.New(slog.NewTextHandler(&text, nil))).With("discovery", "inventory", "config", "node")
	m := &Metrics{Method: "x", Refresh: discovery.NewRefreshMetrics(prometheus.NewRegistry())}
	a, b := m.Reporter("node", "file"), m.Reporter("systemd", "file")
	bad := func(n int) (all []Refused) {
		for i := range n {
			all = append(all, Refused{Entry: fmt.Sprintf("m%d", i), Reason: "why"})
		}
		return all
	}
	for range 3 {
		a.Refuse(log, bad(1))
		b.Refuse(log, bad(1))
	}
	require.Equal(t, []Refused{{"m0", "x", "why"}}, m.Refused())
	require.Equal(t, 1, strings.Count(text.String(), "level=WARN"))
	require.Contains(t, text.String(), "discovery=inventory")
	require.NotContains(t, text.String(), "config=node", "it is as true of the job systemd")
	log.Info("other")
	require.Contains(t, text.String(), "config=node")
	a.Refuse(log, bad(1000))
	require.Len(t, m.Refused(), 101)
	require.Equal(t, "900 more", m.Refused()[100].Entry)
	a.Refuse(log, nil)
	b.Refuse(log, nil)
	require.Empty(t, m.Refused())
}
