package delivery

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/notifier"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestBudgetOfAMinute(t *testing.T) {
	b := newBudget(2)
	now := time.Now()
	for range 2 {
		wait, _ := b.take(1, now)
		require.Zero(t, wait)
	}
	wait, sum := b.take(3, now.Add(20*time.Second))
	require.Equal(t, 40*time.Second, wait)
	require.True(t, sum)
	wait, sum = b.take(4, now.Add(30*time.Second))
	require.Equal(t, 30*time.Second, wait)
	require.False(t, sum, "one summary in a minute")
	require.Equal(t, 7, b.heldBack())
	wait, _ = b.take(1, now.Add(60*time.Second))
	require.Zero(t, wait)
	require.Zero(t, b.heldBack())
}

// budgeted is a server with a --notify and few notifications a minute.
func budgeted(t *testing.T, h *webhook, perMinute int) Options {
	t.Helper()
	o := testOptions(t, "")
	o.ConfigFile, o.GroupWait, o.MaxPerMinute = "", 10*time.Millisecond, perMinute
	n, err := ParseNotifyURL("webhook+" + h.URL)
	require.NoError(t, err)
	o.Notify = []NotifyURL{n}
	o.ExternalURL = &url.URL{}
	return o
}

func storm(n int) []*notifier.Alert {
	var all []*notifier.Alert
	for i := range n {
		all = append(all, firing("alertname", "Down", "severity", "warning", "machine", fmt.Sprint("m", i)))
	}
	return all
}

// sorts tells the messages about alerts from those that sum up.
func sorts(all []message) (alerts, summaries []message) {
	for _, m := range all {
		if m.GroupLabels["alertname"] == "MoreAlerts" {
			summaries = append(summaries, m)
		} else {
			alerts = append(alerts, m)
		}
	}
	return alerts, summaries
}

// A thousand alerts are a few messages and one that says how many more there are;
// those are not taken for sent, and what was sent is resolved.
func TestStormOfAlerts(t *testing.T) {
	h := newWebhook(t)
	d, _ := start(t, budgeted(t, h, 3))
	alerts := storm(50)
	d.Send(alerts...)
	got := h.wait(t, 4)
	sent, summaries := sorts(got)
	require.Len(t, sent, 3)
	require.Len(t, summaries, 1)
	require.Equal(t, "and 47 more alerts", summaries[0].Alerts[0].Annotations["summary"])

	told, err := d.Notifications(t.Context())
	require.NoError(t, err)
	people := 0
	for _, list := range told {
		for _, n := range list {
			if strings.HasPrefix(n.Integration, "webhook") {
				people++
			}
		}
	}
	require.Equal(t, 3, people, "what was only summed up is not marked as sent")
	for _, s := range d.Receivers() {
		require.Nil(t, s.LastFailure, s.Integration)
		require.NotNil(t, s.LastSuccess, s.Integration)
	}
	_, err = d.Test(t.Context(), "people")
	require.NoError(t, err)
	h.wait(t, 5) // a test is no part of the storm
}

func TestBudgetHoldsBackNoResolves(t *testing.T) {
	h := newWebhook(t)
	d, _ := start(t, budgeted(t, h, 1))
	r := func() receiverBook { return d.inside.pipeline.Load().book }
	require.EventuallyWithT(t, func(c *assert.CollectT) { require.NotEmpty(c, r()[peopleReceiver]) }, time.Minute, 10*time.Millisecond)
	var people *recorded
	for _, i := range r()[peopleReceiver] {
		if i.inner.Name() == "webhook" {
			people = i
		} else {
			require.Nil(t, i.budget, "the log has none")
		}
	}
	notifyOne := func(a *notifier.Alert) error {
		in := d.labelling.Load().convert([]*notifier.Alert{a}, time.Now())
		return people.Notify(notificationContext(t.Context(), peopleReceiver, "X", time.Now()), in...).Err()
	}
	a := firing("alertname", "A", "machine", "m")
	people.budget.pause = time.Millisecond
	require.NoError(t, notifyOne(a))
	require.ErrorIs(t, notifyOne(a), errHeldBack)
	a.EndsAt = time.Now()
	require.NoError(t, notifyOne(a))
	got := h.wait(t, 3)
	require.Equal(t, "and 1 more alert", got[1].Alerts[0].Annotations["summary"])
	require.Equal(t, "resolved", got[2].Status)
}

// Who writes an alertmanager.yml has said how to be notified, and 0 is no limit.
func TestNoBudget(t *testing.T) {
	h := newWebhook(t)
	o := testOptions(t, "")
	o.ConfigFile = write(t, "am.yml", strings.ReplaceAll(h.config(), " r,", " people,")+"- name: people\n  webhook_configs: [{url: '"+h.URL+"'}]\n")
	o.MaxPerMinute = 3
	d, _ := start(t, o)
	d.Send(storm(30)...)
	h.wait(t, 30)

	other := newWebhook(t)
	d, _ = start(t, budgeted(t, other, 0))
	d.Send(storm(30)...)
	other.wait(t, 30)
}
