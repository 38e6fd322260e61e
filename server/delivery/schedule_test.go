package delivery

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/prometheus/notifier"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/internal/calendar"
	"github.com/clanmon/clanmon/internal/testport"
)

// told is a log that keeps what people are told, with the time by the clock of a zone.
type told struct {
	slog.Handler
	zone *time.Location
	mu   sync.Mutex
	said []string
}

func (l *told) Enabled(context.Context, slog.Level) bool { return true }
func (l *told) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l *told) WithGroup(string) slog.Handler            { return l }
func (l *told) Handle(_ context.Context, r slog.Record) error {
	if r.Message != "Alert" {
		return nil
	}
	var name, status string
	r.Attrs(func(a slog.Attr) bool {
		switch a.Key {
		case "alertname":
			name = a.Value.String()
		case "status":
			status = a.Value.String()
		}
		return true
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	l.said = append(l.said, fmt.Sprintf("%s %s %s", r.Time.In(l.zone).Format("15:04"), name, status))
	return nil
}

// take returns what was said since the last call.
func (l *told) take() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	said := l.said
	l.said = nil
	return said
}

func planOf(t *testing.T, w calendar.Words) calendar.Plan {
	t.Helper()
	p, err := w.Parse([4]string{"quiet", "digest", "digestAt", "timeZone"})
	require.NoError(t, err)
	return p
}

// Who plans when people are notified, and names nobody, has forgotten something.
func TestAPlanForNobody(t *testing.T) {
	ntfy, err := ParseNotifyURL("ntfy://ntfy.sh/x")
	require.NoError(t, err)
	for _, c := range []struct {
		notify []NotifyURL
		words  calendar.Words
		warns  bool
	}{
		{nil, calendar.Words{Quiet: []string{"22:00-07:00"}}, true},
		{nil, calendar.Words{Digest: calendar.Weekly}, true},
		{nil, calendar.Words{}, false},
		{[]NotifyURL{ntfy}, calendar.Words{Quiet: []string{"22:00-07:00"}, Digest: calendar.Weekly}, false},
	} {
		log := new(strings.Builder)
		o := testOptions(t, "")
		plan := planOf(t, c.words)
		o.ConfigFile, o.Notify, o.Logger, o.Plan = "", c.notify, slog.New(slog.NewTextHandler(log, nil)), func() calendar.Plan { return plan }
		d, err := New(o)
		require.NoError(t, err)
		require.NoError(t, d.Close())
		require.Equal(t, c.warns, strings.Contains(log.String(), "there is no --notify"), "%+v", c)
	}
}

// In quiet hours only critical alerts are sent; what still fires when they end is sent then,
// and what has ended is not, also on the days on which clocks change.
func TestQuietHours(t *testing.T) {
	for _, day := range []string{"2000-01-20", "2000-03-25", "2000-10-28"} { // the night after it has 9, 8 and 10 hours
		synctest.Test(t, func(t *testing.T) {
			plan := planOf(t, calendar.Words{Quiet: []string{"22:00-07:00"}, Zone: "Europe/Berlin"})
			zone := plan.Zone
			until := func(at string) {
				to, err := time.ParseInLocation("2006-01-02 15:04", at, zone)
				require.NoError(t, err)
				time.Sleep(time.Until(to))
				synctest.Wait()
			}
			until(day + " 21:50")
			log := &told{zone: zone}
			o := testOptions(t, "")
			o.ConfigFile, o.Logger, o.GroupWait, o.Plan = "", slog.New(log), time.Second, func() calendar.Plan { return plan }
			d, stop := start(t, o)
			defer stop()
			alert := func(name, severity string) *notifier.Alert {
				a := firing("alertname", name, "severity", severity, "machine", name)
				a.EndsAt = time.Now().Add(24 * time.Hour)
				return a
			}
			d.Send(alert("Evening", "warning"))
			require.Nil(t, d.Schedule(time.Now()).Quiet.Until)
			until(day + " 21:55")
			require.Equal(t, []string{"21:50 Evening firing"}, log.take())

			until(day + " 22:30")
			s := d.Schedule(time.Now())
			require.Equal(t, []string{"22:00-07:00"}, s.Quiet.Hours)
			require.True(t, s.Quiet.Active)
			require.Equal(t, "07:00", s.Quiet.Until.In(zone).Format("15:04"))
			require.Less(t, time.Until(*s.Quiet.Until), 11*time.Hour)
			short := alert("Short", "warning")
			short.EndsAt = time.Now().Add(time.Hour)
			d.Send(alert("Disk", "warning"), alert("Plain", ""), short, alert("Down", "critical"))
			elsewhere := firing("alertname", "Elsewhere", "severity", "warning")
			elsewhere.EndsAt = time.Now().Add(24 * time.Hour)
			d.Send(elsewhere)
			next, err := time.Parse("2006-01-02", day)
			require.NoError(t, err)
			morning := next.AddDate(0, 0, 1).Format("2006-01-02")
			until(morning + " 06:59")
			for _, said := range log.take() { // repeated every two hours
				require.Contains(t, said, "Down firing")
			}
			var muted []string
			for _, f := range d.Firing(t.Context()) {
				if len(f.MutedBy) > 0 {
					require.Equal(t, []string{quietHours}, f.MutedBy)
					muted = append(muted, string(f.Labels["alertname"]))
				}
			}
			require.ElementsMatch(t, []string{"Evening", "Disk", "Plain", "Elsewhere"}, muted)

			until(morning + " 07:06")
			require.False(t, d.Schedule(time.Now()).Quiet.Active)
			var late []string
			for _, said := range log.take() {
				require.Regexp(t, "^0(7:0|6:59)", said)
				late = append(late, said[6:])
			}
			require.Subset(t, late, []string{"Disk firing", "Plain firing", "Elsewhere firing"})
			require.NotContains(t, late, "Short firing")
			require.NotContains(t, late, "Short resolved")
		})
	}
}

func TestQuietHoursNeedOurRoutes(t *testing.T) {
	o := testOptions(t, minimal)
	plan := planOf(t, calendar.Words{Digest: "weekly"})
	o.Plan = func() calendar.Plan { return plan }
	d, err := New(o)
	require.NoError(t, err, "a digest goes where the file routes it")
	defer d.Close()
	plan = planOf(t, calendar.Words{Quiet: []string{"22:00-07:00"}})
	require.ErrorContains(t, d.ApplyAlertmanager(nil), "write time_intervals, and mute_time_intervals in its routes")
	require.NotNil(t, d.Schedule(time.Now()).Digest, "the old configuration stays")
}

// A digest is sent once: not again after a restart, later if the server was off, and not at
// all after a day.
func TestDigestIsSentOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		plan := planOf(t, calendar.Words{Digest: "weekly", DigestAt: "mon 08:00", Zone: "UTC"})
		time.Sleep(2*24*time.Hour + 7*time.Hour) // Monday, 2000-01-03 07:00
		dir := t.TempDir()
		log := &told{zone: time.UTC}
		var fails atomic.Bool
		var asked [][2]time.Time
		run := func() (stop func()) {
			o := testOptions(t, "")
			o.Dir, o.ConfigFile, o.Logger, o.Plan = dir, "", slog.New(log), func() calendar.Plan { return plan }
			o.Digest = func(_ context.Context, from, to time.Time) (Digest, error) {
				asked = append(asked, [2]time.Time{from, to})
				if fails.Load() {
					return Digest{}, errors.New("the store is busy")
				}
				return Digest{"3 machines", "Machines: 3"}, nil
			}
			d, stop := start(t, o)
			require.Equal(t, "weekly", d.Schedule(time.Now()).Digest.Every)
			return stop
		}
		stop := run()
		time.Sleep(2 * time.Hour)
		require.Equal(t, []string{"08:00 Digest firing"}, log.take())
		require.Len(t, asked, 1)
		require.Equal(t, 7*24*time.Hour, asked[0][1].Sub(asked[0][0]).Truncate(time.Hour))
		stop()
		stop = run() // 09:00
		time.Sleep(23 * time.Hour)
		require.Empty(t, log.take(), "not again after a restart")
		stop()

		time.Sleep(5*24*time.Hour + 8*time.Hour) // Sunday 16:00
		fails.Store(true)
		stop = run()
		time.Sleep(18*time.Hour + 5*time.Minute) // Monday 10:05
		require.Empty(t, log.take())
		fails.Store(false)
		time.Sleep(11 * time.Minute)
		require.Equal(t, []string{"10:10 Digest firing"}, log.take(), "when what failed works again")
		stop()

		time.Sleep(7*24*time.Hour - 10*time.Hour) // Monday, a few minutes past midnight
		time.Sleep(20 * time.Hour)
		stop = run()
		time.Sleep(30 * time.Minute)
		require.Equal(t, []string{"20:22 Digest firing"}, log.take(), "the server was off at eight")
		stop()
		time.Sleep(8 * 24 * time.Hour) // Tuesday evening
		stop = run()
		time.Sleep(time.Hour)
		require.Empty(t, log.take(), "too late")
		stop()
	})
}

// A server that is new has no digest of a time before it existed.
func TestNoDigestOfATimeBeforeTheServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		plan := planOf(t, calendar.Words{Digest: "daily", DigestAt: "12:00", Zone: "UTC"})
		time.Sleep(16 * time.Hour)
		born := time.Now()
		log := &told{zone: time.UTC}
		o := testOptions(t, "")
		o.Dir, o.ConfigFile, o.Logger, o.Plan = t.TempDir(), "", slog.New(log), func() calendar.Plan { return plan }
		o.Digest = func(_ context.Context, _, to time.Time) (Digest, error) {
			if to.Before(born) {
				return Digest{}, nil // nothing is stored
			}
			return Digest{"3 machines", "Machines: 3"}, nil
		}
		_, stop := start(t, o)
		time.Sleep(12 * time.Hour)
		require.Empty(t, log.take())
		time.Sleep(12 * time.Hour)
		require.Equal(t, []string{"12:00 Digest firing"}, log.take())
		stop()
	})
}

// A digest goes where the file routes it, and each receiver that failed gets it later, without
// another for those that did not.
func TestDigestToTheReceiversOfAFile(t *testing.T) {
	well, ill := newWebhook(t), newWebhook(t)
	var refusing sync.Map
	broken := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, yes := refusing.Load("yes"); yes {
			http.Error(w, "no", http.StatusBadRequest)
			return
		}
		http.Redirect(w, r, ill.URL, http.StatusTemporaryRedirect)
	}))
	defer broken.Close()
	refusing.Store("yes", true)
	o := testOptions(t, fmt.Sprintf(`route: {receiver: other, routes: [{receiver: people, matchers: [alertname="Digest"]}]}
receivers:
- {name: other}
- {name: people, webhook_configs: [{url: %q}, {url: %q}]}
`, well.URL, broken.URL))
	plan := planOf(t, calendar.Words{Digest: "daily", DigestAt: time.Now().Add(-12 * time.Hour).Format("15:04")})
	o.Plan = func() calendar.Plan { return plan }
	o.Digest = func(context.Context, time.Time, time.Time) (Digest, error) {
		return Digest{"3 machines", "Machines: 3\nAlerts: none fired"}, nil
	}
	d, _ := start(t, o)
	require.Eventually(t, func() bool {
		d.inside.mu.Lock()
		defer d.inside.mu.Unlock()
		return d.inside.running
	}, time.Minute, time.Millisecond)
	g := &digester{in: d.inside}
	now := time.Now()
	g.look(t.Context(), now)
	require.Len(t, well.all(), 1)
	got := well.all()[0].Alerts[0]
	require.Equal(t, "Daily digest: 3 machines", got.Annotations["summary"])
	require.Equal(t, "Machines: 3\nAlerts: none fired", got.Annotations["description"])
	refusing.Delete("yes")
	g.look(t.Context(), now.Add(time.Minute))
	require.Empty(t, ill.all(), "not at once")
	g.look(t.Context(), now.Add(11*time.Minute))
	require.Len(t, ill.all(), 1)
	require.Len(t, well.all(), 1)

	preview, err := d.PreviewDigest(t.Context(), now)
	require.NoError(t, err)
	require.Equal(t, "3 machines", preview.Title)
	require.Equal(t, 24*time.Hour, preview.To.Sub(preview.From))
	w := httptest.NewRecorder()
	d.DigestHandler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	require.Contains(t, w.Body.String(), `"title":"3 machines"`)
	w = httptest.NewRecorder()
	d.ReceiversHandler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/schedule", nil))
	require.Contains(t, w.Body.String(), `"digest":{"every":"daily","next":`)
	require.NotContains(t, strings.ToLower(w.Body.String()), filepath.Base(o.Dir))
}

// The servers of a pair, which look at the same time, send one digest.
func TestAPairSendsOneDigest(t *testing.T) {
	h := newWebhook(t)
	now := time.Now()
	plan := planOf(t, calendar.Words{Digest: "daily", DigestAt: now.Add(-12 * time.Hour).Format("15:04")})
	addresses := []string{testport.Address(t), testport.Address(t)}
	var digesters []*digester
	for i := range addresses {
		o := testOptions(t, h.config())
		o.Cluster = ClusterOptions{
			ListenAddress: addresses[i], Peers: []string{addresses[1-i]}, PeerTimeout: 8 * time.Second,
			SettleTimeout: 10 * time.Second, GossipInterval: 20 * time.Millisecond,
		}
		o.Plan = func() calendar.Plan { return plan }
		o.Digest = func(context.Context, time.Time, time.Time) (Digest, error) {
			return Digest{"3 machines", "Machines: 3"}, nil
		}
		d, _ := start(t, o)
		digesters = append(digesters, &digester{in: d.inside})
	}
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		for _, g := range digesters {
			require.NoError(c, g.in.peer.WaitReady(t.Context()))
			require.Len(c, g.in.peer.Peers(), 2)
		}
		require.NotEqual(c, digesters[0].in.peer.Position(), digesters[1].in.peer.Position())
	}, time.Minute, 20*time.Millisecond)
	due, _ := plan.Last(now)
	var both sync.WaitGroup
	for _, g := range digesters {
		both.Go(func() { g.look(t.Context(), now) })
	}
	both.Wait()
	require.Len(t, h.all(), 1)
	for _, g := range digesters {
		require.Equal(t, due, g.done)
	}
}
