package fleet

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/scrape"
	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/discovery"
)

// A machine whose first address leads nowhere is scraped at the next one that responds; its
// series keep their labels, and it goes back when that one fails.
func TestAddressesAreTriedInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &strings.Builder{}
		h := newHosts()
		h.failures["web1.clan:9100"] = errors.New("no such host")
		h.set("10.0.0.1:9100", exposition)
		inventory := filepath.Join(t.TempDir(), "inventory.json")
		require.NoError(t, os.WriteFile(inventory, []byte(`{"machines": {}}`), 0o600))
		f, _ := newFleet(t, log, discovery.Flags{Inventory: inventory})
		f.gate = newGate("", nil, h.dial, slog.New(slog.DiscardHandler))
		require.NoError(t, f.gate.applyConfig(f.jobs))
		var active atomic.Pointer[map[string][]*scrape.Target]
		active.Store(new(map[string][]*scrape.Target))
		f.opts.Targets = func() map[string][]*scrape.Target { return *active.Load() }
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- f.Run(ctx) }()
		defer func() { cancel(); require.NoError(t, <-done) }()
		given := groups{"node": {
			listed("inventory", "web1", "web1.clan:9100", "addresses", ",web1.clan,10.0.0.1,fd00::1,"),
			listed("inventory", "web2", "web2.clan:9100", "addresses", ",web2.clan,10.0.0.3,"),
			listed("inventory", "web3", "10.0.0.3:9100"), // an address that web2 lists too
		}}
		h.set("10.0.0.3:9100", exposition)

		// scraped is one round of the scrape manager; those who are in up respond.
		scraped := func(up ...string) []string {
			merged := f.Merge(given)
			targets := map[string][]*scrape.Target{}
			for _, g := range merged["node"] {
				for _, l := range g.Targets {
					found, err := scrape.PopulateLabels(labels.NewBuilder(labels.EmptyLabels()), f.jobs["node"], l, g.Labels)
					require.NoError(t, err)
					machine := found.Get("machine")
					require.Equal(t, machine+":9100", found.Get(model.InstanceLabel))
					target := scrape.NewTarget(found, f.jobs["node"], l, g.Labels)
					err = errors.New("down")
					for _, u := range up {
						if found.Get(model.AddressLabel) == u {
							err = nil
						}
					}
					target.Report(time.Now(), 0, err)
					targets["node"] = append(targets["node"], target)
				}
			}
			active.Store(&targets)
			return addresses(merged["node"])
		}
		require.Equal(t, []string{"web1.clan:9100", "web2.clan:9100", "10.0.0.3:9100"}, scraped("10.0.0.3:9100"))
		select {
		case <-f.Changed():
		case <-time.After(2 * tryEvery):
			t.Fatal("no other address was tried")
		}
		require.Equal(t, []string{"10.0.0.1:9100", "web2.clan:9100", "10.0.0.3:9100"}, scraped("10.0.0.1:9100", "10.0.0.3:9100"),
			"web2 is not looked for where web3 is")
		require.Contains(t, log.String(), "machine=web1 job=node address=10.0.0.1:9100 failed=web1.clan:9100")

		// It stays there, and is asked nowhere else, until that fails.
		before := len(h.times("web1.clan:9100"))
		time.Sleep(10 * time.Minute)
		require.Len(t, h.times("web1.clan:9100"), before)
		h.mu.Lock()
		h.failures["10.0.0.1:9100"], h.failures["web1.clan:9100"] = errors.New("gone"), nil
		h.mu.Unlock()
		h.set("web1.clan:9100", exposition)
		scraped("10.0.0.3:9100")
		<-f.Changed()
		require.Equal(t, "web1.clan:9100", scraped("web1.clan:9100")[0])

		// Where nothing responds, it is tried about once a minute.
		h.mu.Lock()
		h.failures["web1.clan:9100"] = errors.New("gone")
		h.mu.Unlock()
		scraped()
		before = len(h.times("10.0.0.1:9100"))
		time.Sleep(time.Hour)
		require.InDelta(t, 60, len(h.times("10.0.0.1:9100"))-before, 8)
	})
}
