package server

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/notifier"
	"github.com/prometheus/prometheus/rules"
	"github.com/prometheus/prometheus/scrape"

	"github.com/clanmon/clanmon/discovery/contract"
	"github.com/clanmon/clanmon/server/internal/envelope"
	"github.com/clanmon/clanmon/server/store"
)

const (
	vitalsPeriod = 5 * time.Second
	// blindAfter is how long nothing is stored before it is an alert: one failed
	// write is none.
	blindAfter = 5 * time.Second
	// unsafeAfter is how long securing what is in memory may take.
	unsafeAfter = time.Minute
	// silentAfter is how long a machine does not respond before it is down, as in the
	// built-in rule.
	silentAfter = 3 * time.Minute
	// alertLife is how long an alert lasts that is not sent again.
	alertLife = 4 * time.Minute
	resend    = time.Minute
)

// vitals raises the alerts that no rule can. Rules read what is stored: where
// nothing can be stored they see nothing fire, and the heartbeat would go on. It
// stands between the rules and delivery. While nothing is stored, it ends Watchdog,
// keeps alive what fired, and watches the machines by their scrapes.
type vitals struct {
	url     string // of this server, for links
	health  func() store.Health
	targets func() map[string][]*scrape.Target
	next    rules.Sender

	mu     sync.Mutex
	firing map[uint64]*notifier.Alert // from rules, by labels
	raised map[uint64]*notifier.Alert // our own
	silent map[string]time.Time       // machines, since when
	unsafe time.Time                  // since when writing works again and memory is not safe
	sent   time.Time
}

func newVitals(url string, health func() store.Health, targets func() map[string][]*scrape.Target, next rules.Sender) *vitals {
	return &vitals{
		url: url, health: health, targets: targets, next: next,
		firing: make(map[uint64]*notifier.Alert), raised: make(map[uint64]*notifier.Alert), silent: make(map[string]time.Time),
	}
}

// Send implements rules.Sender for the rules. It never blocks.
func (v *vitals) Send(alerts ...*notifier.Alert) {
	now := time.Now()
	blind := !v.health().Storing
	v.mu.Lock()
	passed := make([]*notifier.Alert, 0, len(alerts))
	for _, a := range alerts {
		key := a.Labels.Hash()
		switch {
		case blind && a.Name() == "Watchdog":
			a = ended(a, now)
		case blind && !a.EndsAt.After(now):
			continue // its samples are missing; it need not be over
		case a.EndsAt.After(now):
			v.firing[key] = a
		default:
			delete(v.firing, key)
		}
		passed = append(passed, a)
	}
	v.mu.Unlock()
	v.next.Send(passed...)
}

func ended(a *notifier.Alert, now time.Time) *notifier.Alert {
	c := *a
	c.EndsAt = now
	return &c
}

// Run watches until ctx ends.
func (v *vitals) Run(ctx context.Context) error {
	tick := time.NewTicker(vitalsPeriod)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			if alerts := v.look(now, v.health()); len(alerts) > 0 {
				v.next.Send(alerts...)
			}
		}
	}
}

// look returns the alerts to send now.
func (v *vitals) look(now time.Time, h store.Health) []*notifier.Alert {
	v.mu.Lock()
	defer v.mu.Unlock()
	wanted := make(map[uint64]*notifier.Alert)
	want := func(severity string, starts time.Time, summary, description string, pairs ...string) {
		ls := labels.FromStrings(append(pairs, "severity", severity)...)
		texts := labels.FromStrings("summary", summary, "description", description, "runbook_url", v.url+"/runbooks/"+ls.Get("alertname"))
		key := ls.Hash()
		if old := v.raised[key]; old != nil {
			starts = old.StartsAt
		}
		wanted[key] = &notifier.Alert{Labels: ls, Annotations: texts, StartsAt: starts, GeneratorURL: v.url + "/status"}
	}
	blind := !h.Storing && now.Sub(h.Since) >= blindAfter
	if !h.Unsafe || !h.Storing {
		v.unsafe = now
	}
	switch {
	case blind:
		want("critical", h.Since, "This server cannot store samples: "+h.Reason,
			"No rule can fire until samples are stored again. Only machines that stop responding are still noticed. Do not restart the server while this alert fires.", "alertname", "StorageBlind")
	case h.Unsafe && now.Sub(v.unsafe) >= unsafeAfter:
		want("critical", v.unsafe, "Do not restart this server: samples in memory are not safe yet",
			"A write to the WAL failed. Samples in memory are written to a block as soon as there is room. A restart before that loses them.", "alertname", "StorageUnsafe")
	}
	if len(h.Damaged) > 0 {
		summary, description := describeDamage(h.Damaged)
		want("warning", h.Damaged[0].At, summary, description, "alertname", "StorageDamaged")
	}
	if blind {
		for machine, since := range v.silentMachines(now) {
			if now.Sub(since) >= silentAfter {
				want("critical", since, machine+" is down", "None of its exporters has responded for 3 minutes.", "alertname", "MachineDown", "machine", machine)
			}
		}
	} else {
		clear(v.silent)
	}

	var send []*notifier.Alert
	fresh := false
	for key, a := range wanted {
		if v.raised[key] == nil {
			fresh = true
		}
		v.raised[key] = a
	}
	for key, a := range v.raised {
		if wanted[key] == nil {
			delete(v.raised, key)
			send = append(send, ended(a, now))
		}
	}
	if fresh || now.Sub(v.sent) >= resend {
		v.sent = now
		for _, a := range v.raised {
			send = append(send, alive(a, now))
		}
		for key, a := range v.firing {
			switch {
			case !blind:
				if now.After(a.EndsAt) {
					delete(v.firing, key)
				}
			case a.Name() == "Watchdog":
				delete(v.firing, key)
				send = append(send, ended(a, now))
			default:
				send = append(send, alive(a, now))
			}
		}
	}
	return send
}

// describeDamage says what is missing and what to do about it, the newest damage first.
func describeDamage(all []store.Damage) (summary, description string) {
	d := all[0]
	description = d.Err + "."
	const minute = "2006-01-02 15:04 UTC"
	switch {
	case !d.From.IsZero() && !d.To.IsZero():
		description += " Samples from " + d.From.UTC().Format(minute) + " to " + d.To.UTC().Format(minute) + " may be missing."
	case !d.To.IsZero():
		description += " Samples before " + d.To.UTC().Format(minute) + " may be missing."
	}
	if d.Hint != "" {
		description += " Note: " + d.Hint + "."
	}
	if n := len(all) - 1; n > 0 {
		description += fmt.Sprintf(" %d more on the Status page.", n)
	}
	if d.Block != "" {
		return "Stored data is damaged: " + d.What, description + " The alert ends when the block is repaired or removed."
	}
	return "Damaged data was set aside: " + d.What, description + " It is in " + d.Path + " of the data directory. The alert ends when that folder is removed."
}

func alive(a *notifier.Alert, now time.Time) *notifier.Alert {
	c := *a
	c.EndsAt = now.Add(alertLife)
	return &c
}

// silentMachines are those of which no target responds, and since when.
func (v *vitals) silentMachines(now time.Time) map[string]time.Time {
	up := make(map[string]bool)
	for _, targets := range v.targets() {
		for _, t := range targets {
			machine := t.GetValue(contract.MachineLabel)
			if machine == "" || t.GetValue(contract.AvailabilityLabel) == contract.Intermittent {
				continue
			}
			up[machine] = up[machine] || t.Health() != scrape.HealthBad
		}
	}
	for machine, ok := range up {
		if _, known := v.silent[machine]; ok {
			delete(v.silent, machine)
		} else if !known {
			v.silent[machine] = now
		}
	}
	for machine := range v.silent {
		if _, there := up[machine]; !there {
			delete(v.silent, machine)
		}
	}
	return v.silent
}

// storageHandler serves how storing fares, as /api/clanmon/v1/storage.
func (s *Server) storageHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		envelope.Success(w, struct {
			store.Health
			Room *store.Room `json:"room,omitempty"` // none in agent mode
		}{s.store.Health(), s.store.Room()})
	})
}
