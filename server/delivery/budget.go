package delivery

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/alertmanager/alert"
	"github.com/prometheus/alertmanager/notify"
	"github.com/prometheus/common/model"
)

// DefaultMaxPerMinute is how many notifications a receiver for people gets in a
// minute.
const DefaultMaxPerMinute = 20

const budgetPeriod = time.Minute

// budgetPause is how long what is over the budget is counted before it is summed up:
// the groups of a storm end their wait within a few seconds of each other.
const budgetPause = 5 * time.Second

// errHeldBack says that a notification was only counted in a summary. It is worth
// another attempt, and the notification log does not know of it.
var errHeldBack = errors.New("delayed: the limit of --notify.max-per-minute is reached; retrying")

// budget bounds the notifications of one integration. Safe for concurrent use.
type budget struct {
	perMinute int
	pause     time.Duration

	mu     sync.Mutex
	begun  time.Time // of the minute that counts
	sent   int
	held   int // alerts that were held back in it
	summed bool
}

func newBudget(perMinute int) *budget { return &budget{perMinute: perMinute, pause: budgetPause} }

// take allows a notification when wait is 0. Otherwise it has to wait so long, and
// where sum is set whoever asked sends the summary of this minute.
func (b *budget) take(alerts int, now time.Time) (wait time.Duration, sum bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if now.Sub(b.begun) >= budgetPeriod {
		b.begun, b.sent, b.held, b.summed = now, 0, 0, false
	}
	if b.sent < b.perMinute {
		b.sent++
		return 0, false
	}
	b.held += alerts
	sum = !b.summed
	b.summed = true
	return b.begun.Add(budgetPeriod).Sub(now), sum
}

func (b *budget) heldBack() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.held
}

// within sends alerts if the budget allows it. Resolved alerts always leave: there
// are no more of them than were sent before.
func (r *recorded) within(ctx context.Context, alerts []*alert.Alert) notify.NotifyVerdict {
	firing := 0
	for _, a := range alerts {
		if !a.Resolved() {
			firing++
		}
	}
	if firing == 0 {
		return r.send(ctx, alerts)
	}
	wait, sum := r.budget.take(firing, time.Now())
	if wait == 0 {
		return r.send(ctx, alerts)
	}
	if sum {
		pause := time.NewTimer(min(r.budget.pause, wait/2))
		defer pause.Stop()
		select {
		case <-pause.C:
			now := time.Now()
			r.send(notificationContext(ctx, r.receiver, "MoreAlerts", now), []*alert.Alert{moreAlerts(r.budget.heldBack(), r.budget.perMinute, now)})
		case <-ctx.Done():
		}
	}
	return notify.Retry(wait, errHeldBack, notify.DefaultReason)
}

func moreAlerts(n, perMinute int, now time.Time) *alert.Alert {
	s := "s"
	if n == 1 {
		s = ""
	}
	return alert.New(model.Alert{
		StartsAt: now, EndsAt: now.Add(5 * time.Minute),
		Labels: model.LabelSet{"alertname": "MoreAlerts", "severity": "warning"},
		Annotations: model.LabelSet{
			"summary":      model.LabelValue(fmt.Sprintf("and %d more alert%s", n, s)),
			"description":  model.LabelValue(fmt.Sprintf("More than %d notifications per minute (--notify.max-per-minute). The other alerts are sent later if they still fire. The Alerts page lists all of them.", perMinute)),
			pageAnnotation: "/alerts",
		},
	}, now, false)
}
