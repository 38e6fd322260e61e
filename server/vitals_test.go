package server

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/notifier"
	"github.com/prometheus/prometheus/scrape"
	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/server/store"
)

type senderFunc func(...*notifier.Alert)

func (f senderFunc) Send(alerts ...*notifier.Alert) { f(alerts...) }

// While nothing is stored no rule can fire, and one that fired must not end.
func TestBlindServerSaysSo(t *testing.T) {
	health := store.Health{Storing: true}
	inForce := make(map[string]time.Time) // alert → until when, as an Alertmanager keeps it
	v := newVitals("http://hub:9090", func() store.Health { return health }, func() map[string][]*scrape.Target { return nil },
		senderFunc(func(alerts ...*notifier.Alert) {
			for _, a := range alerts {
				inForce[a.Name()] = a.EndsAt
				if strings.HasPrefix(a.Name(), "Storage") {
					require.Equal(t, "http://hub:9090/runbooks/"+a.Name(), a.Annotations.Get("runbook_url"))
				}
			}
		}))
	now := time.Now()
	firing := func() string {
		var all []string
		for name, until := range inForce {
			if until.After(now) {
				all = append(all, name)
			}
		}
		slices.Sort(all)
		return strings.Join(all, " ")
	}
	pass := func(d time.Duration) {
		for end := now.Add(d); now.Before(end); now = now.Add(vitalsPeriod) {
			v.next.Send(v.look(now, health)...)
		}
	}
	rule := func(name string, ends time.Time) *notifier.Alert {
		return &notifier.Alert{Labels: labels.FromStrings("alertname", name), StartsAt: now, EndsAt: ends}
	}
	v.Send(rule("Watchdog", now.Add(alertLife)), rule("FilesystemFull", now.Add(alertLife)))
	pass(time.Minute)
	require.Equal(t, "FilesystemFull Watchdog", firing())

	health = store.Health{Since: now, Reason: "disk full", Unsafe: true}
	pass(5 * time.Second)
	require.Equal(t, "FilesystemFull Watchdog", firing(), "one failed write is no alert")
	v.Send(rule("Watchdog", now.Add(alertLife)))
	pass(time.Minute)
	require.Equal(t, "FilesystemFull StorageBlind", firing())
	// Its samples are missing: to the rule that looks like the end.
	v.Send(rule("FilesystemFull", now))
	pass(10 * time.Minute)
	require.Equal(t, "FilesystemFull StorageBlind", firing())

	health = store.Health{Storing: true, Unsafe: true}
	v.Send(rule("Watchdog", now.Add(alertLife)), rule("FilesystemFull", now.Add(alertLife)))
	pass(30 * time.Second)
	require.Equal(t, "FilesystemFull Watchdog", firing())
	pass(time.Minute)
	require.Equal(t, "FilesystemFull StorageUnsafe Watchdog", firing(), "a restart would lose samples")
	health = store.Health{Storing: true, Damaged: []store.Damage{{What: "block 01M8", Path: "damaged/x"}}}
	v.Send(rule("FilesystemFull", now))
	pass(10 * time.Second)
	require.Equal(t, "StorageDamaged Watchdog", firing())
	health.Damaged = nil
	pass(10 * time.Second)
	require.Equal(t, "Watchdog", firing())
}
