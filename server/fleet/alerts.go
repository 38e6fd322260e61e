package fleet

import (
	"sync"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/notifier"
	"github.com/prometheus/prometheus/rules"
)

// tagsLabel of an alert has the tags of its machine.
const tagsLabel = "tags"

// forgetAfter is how long an alert that is not sent any more is remembered: well
// beyond any delay between two sendings.
const forgetAfter = 2 * time.Hour

// Tagger adds the tags of an alert's machine to the alert, so that routes and
// receivers can go by them. The tags are those of the moment at which it began to
// fire: with other labels it would be another alert, and this one would never be
// resolved.
type Tagger struct {
	fleet *Fleet
	next  rules.Sender

	mu    sync.Mutex
	fired map[firing]*frozen
	swept time.Time
}

// firing is one time that an alert fires.
type firing struct {
	hash   uint64
	starts int64
}

type frozen struct {
	tags string
	seen time.Time
}

// Tagger is put before next.
func (f *Fleet) Tagger(next rules.Sender) *Tagger {
	return &Tagger{fleet: f, next: next, fired: make(map[firing]*frozen)}
}

// Send implements rules.Sender. The alerts that it is given stay as they are.
func (t *Tagger) Send(alerts ...*notifier.Alert) {
	tagged := make([]*notifier.Alert, len(alerts))
	for i, a := range alerts {
		tagged[i] = a
		machine := a.Labels.Get("machine")
		if machine == "" || a.Labels.Has(tagsLabel) {
			continue
		}
		if tags := t.tags(a, machine); tags != "" {
			c := *a
			c.Labels = labels.NewBuilder(a.Labels).Set(tagsLabel, tags).Labels()
			tagged[i] = &c
		}
	}
	t.next.Send(tagged...)
}

func (t *Tagger) tags(a *notifier.Alert, machine string) string {
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	if now.Sub(t.swept) > forgetAfter/4 {
		for key, f := range t.fired {
			if now.Sub(f.seen) > forgetAfter {
				delete(t.fired, key)
			}
		}
		t.swept = now
	}
	key := firing{a.Labels.Hash(), a.StartsAt.UnixNano()}
	f := t.fired[key]
	if f == nil {
		f = &frozen{tags: t.fleet.tags(machine)}
		t.fired[key] = f
	}
	f.seen = now
	return f.tags
}
