package traffic

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/stretchr/testify/require"
)

const (
	mb   = 1e6
	step = 10 * time.Minute
)

// world is a server with a store and a clock that the test passes.
type world struct {
	t     *testing.T
	db    *tsdb.DB
	o     Options
	now   time.Time
	aside []string
	*Traffic
}

func newWorld(t *testing.T, now time.Time, q Quota) *world {
	t.Helper()
	o := tsdb.DefaultOptions()
	o.RetentionDuration = 0
	o.OutOfOrderTimeWindow = (100 * 24 * time.Hour).Milliseconds() // tests write one series after the other
	db, err := tsdb.Open(t.TempDir(), promslog.NewNopLogger(), nil, o, nil)
	require.NoError(t, err)
	t.Cleanup(func() { db.Close() })
	w := &world{t: t, db: db, now: now}
	w.o = Options{Store: db, Quota: q, Dir: t.TempDir(), Zone: time.UTC, Logger: slog.New(slog.DiscardHandler), SetAside: func(file, _, _ string, why error) error {
		w.aside = append(w.aside, why.Error())
		return os.Rename(file, file+".aside")
	}}
	w.start()
	return w
}

// start is a start of the server, with what the last one has left.
func (w *world) start() {
	w.t.Helper()
	var err error
	w.Traffic, err = New(w.o)
	require.NoError(w.t, err)
}

func (w *world) stop() { w.save(w.now, true) }

// write adds samples of a counter between two times; NaN is no sample.
func (w *world) write(from, to time.Time, v func(time.Time) float64, ls ...string) {
	w.t.Helper()
	app := w.db.Appender(context.Background())
	b := labels.NewBuilder(labels.FromStrings("job", "node", "instance", "a:9100", "machine", "a", "device", "eth0", "__name__", receivedTotal))
	for i := 0; i < len(ls); i += 2 {
		b.Set(ls[i], ls[i+1])
	}
	all := b.Labels()
	for at := from; !at.After(to); at = at.Add(step) {
		x := v(at)
		if math.IsNaN(x) && !value.IsStaleNaN(x) {
			continue
		}
		_, err := app.Append(0, all, at.UnixMilli(), x)
		require.NoError(w.t, err)
	}
	require.NoError(w.t, app.Commit())
}

// steady counts from a value at a time on, by bytes a day.
func steady(begin time.Time, first, perDay float64) func(time.Time) float64 {
	return func(at time.Time) float64 { return first + perDay*at.Sub(begin).Hours()/24 }
}

// count counts until now.
func (w *world) count() {
	w.t.Helper()
	for {
		more, err := w.step(context.Background(), w.now)
		require.NoError(w.t, err)
		if !more {
			return
		}
	}
}

func (w *world) rows() []Row {
	w.t.Helper()
	w.count()
	rows, ready, err := w.Rows(context.Background(), w.now)
	require.NoError(w.t, err)
	require.True(w.t, ready)
	return rows
}

func (w *world) row() Row {
	w.t.Helper()
	rows := w.rows()
	require.Len(w.t, rows, 1)
	return rows[0]
}

func on(month, d, hour int) time.Time {
	return time.Date(2026, time.Month(month), d, hour, 0, 0, 0, time.UTC)
}

// What is counted is the sum of what the counters counted, whatever happens to them.
func TestShapes(t *testing.T) {
	begin, now := on(11, 1, 0), on(11, 11, 0) // ten days
	const day = 100 * mb
	none := math.NaN()
	line := steady(begin, 5e12, day)
	for name, x := range map[string]struct {
		write func(w *world)
		want  float64
	}{
		"steady": {func(w *world) { w.write(begin, now, line) }, 10 * day},
		"the counter was large when the data begin": {func(w *world) { w.write(begin, now, steady(begin, 9e15, day)) }, 10 * day},
		"a reboot": {func(w *world) {
			w.write(begin, now, func(at time.Time) float64 {
				if at.Before(on(11, 5, 0)) {
					return line(at)
				}
				return steady(on(11, 5, 0), 0, day)(at)
			})
		}, 10*day - day*step.Hours()/24},
		"two reboots within an hour": {func(w *world) {
			w.write(begin, now, func(at time.Time) float64 {
				for _, boot := range []time.Time{on(11, 5, 0).Add(40 * time.Minute), on(11, 5, 0)} {
					if !at.Before(boot) {
						return steady(boot, 0, day)(at)
					}
				}
				return line(at)
			})
		}, 10*day - 2*day*step.Hours()/24},
		"it could not be reached for 3 days": {func(w *world) {
			w.write(begin, now, func(at time.Time) float64 {
				if at.After(on(11, 4, 0)) && at.Before(on(11, 7, 0)) {
					return none
				}
				return line(at)
			})
		}, 10 * day},
		"it was off for 3 days": {func(w *world) {
			w.write(begin, now, func(at time.Time) float64 {
				switch {
				case !at.After(on(11, 4, 0)):
					return line(at)
				case at.Before(on(11, 7, 0)):
					return none
				}
				return steady(on(11, 7, 0), 0, day)(at)
			})
		}, 7 * day},
		"stale markers": {func(w *world) {
			w.write(begin, now, func(at time.Time) float64 {
				if at.Hour() == 3 {
					return math.Float64frombits(value.StaleNaN)
				}
				return line(at)
			})
		}, 10 * day},
		"a counter that falls a little": {func(w *world) {
			w.write(begin, now, func(at time.Time) float64 {
				if at.Equal(on(11, 5, 0)) {
					return line(at) - 10*day // of 5 TB
				}
				return line(at)
			})
		}, 10 * day},
		"a new interface counts from when it is seen": {func(w *world) {
			w.write(begin, now, line)
			w.write(on(11, 6, 0), now, steady(on(11, 6, 0), 1e12, day), "device", "eth1")
		}, 15 * day},
		"a replaced interface": {func(w *world) {
			w.write(begin, on(11, 6, 0), line)
			w.write(on(11, 6, 0), now, steady(on(11, 6, 0), 0, day), "device", "enp3s0")
		}, 10 * day},
		"two jobs": {func(w *world) {
			w.write(begin, now, line)
			w.write(begin.Add(time.Minute), now, line, "job", "node2")
		}, 10 * day},
		"a second job from the middle on, which ends again": {func(w *world) {
			w.write(begin, now, line)
			w.write(on(11, 3, 0), on(11, 6, 0), line, "job", "node2")
		}, 10 * day},
		"a job takes over from another": {func(w *world) {
			w.write(begin, on(11, 6, 5), line)
			w.write(on(11, 6, 1).Add(7*time.Minute), now, line, "job", "node2")
		}, 10 * day},
		"two jobs, of which one does not see half of it": {func(w *world) {
			w.write(begin, now, line)
			w.write(begin, now, func(at time.Time) float64 {
				if at.Day() > 3 && at.Day() < 8 {
					return none
				}
				return line(at)
			}, "job", "node2")
		}, 10 * day},
		"another address": {func(w *world) {
			w.write(begin, on(11, 6, 0), line)
			w.write(on(11, 6, 0), now, line, "instance", "b:9100")
		}, 10 * day},
		"virtual interfaces do not count": {func(w *world) {
			w.write(begin, now, line)
			for _, d := range []string{"lo", "veth12", "br-1a2b", "br0", "docker0", "tailscale0", "wg0", "bond0", "eth0.12", "tun0", "ve-web", "vnet3", "ppp0"} {
				w.write(begin, now, line, "device", d)
			}
		}, 10 * day},
		"without a machine": {func(w *world) {
			w.o.Whose = func() func(labels.Labels) string {
				return func(ls labels.Labels) string {
					return map[string]string{"a:9100": "a", "b:9100": "a"}[ls.Get("instance")]
				}
			}
			w.start()
			w.write(begin, on(11, 6, 0), line, "machine", "")
			w.write(on(11, 5, 0), now, line, "machine", "", "instance", "b:9100")
		}, 10 * day},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, now, Quota{})
			x.write(w)
			r := w.row()
			require.InDelta(t, x.want, r.Received, 300e3, "%v of it", r.Received/x.want)
			require.Zero(t, r.Sent)
			require.Empty(t, r.Since)
		})
	}
}

// What is counted in steps, with restarts, is what is counted at once.
func TestStepsAndRestarts(t *testing.T) {
	begin, now := on(10, 20, 0), on(11, 11, 0)
	const day = 100 * mb
	for _, restarts := range []bool{false, true} {
		w := newWorld(t, begin, Quota{})
		for w.now = begin; w.now.Before(now); w.now = w.now.Add(7 * time.Hour) {
			w.write(w.now.Add(step), w.now.Add(7*time.Hour), steady(begin, 5e12, day))
			w.write(w.now.Add(step), w.now.Add(7*time.Hour), steady(begin, 1e12, day/2), "__name__", sentTotal)
			w.count()
			if restarts {
				w.stop()
				w.start()
			}
		}
		w.now = now
		r := w.row()
		require.InDelta(t, 10*day, r.Received, 10e3)
		require.InDelta(t, 5*day, r.Sent, 10e3)
		require.InDelta(t, 12*day, r.Last.Received, 2*mb)
		require.Equal(t, "2026-10-20", r.Last.Since)
		require.Empty(t, r.Since)
	}
}

// A gap over the change of the month belongs to both.
func TestMonthChanges(t *testing.T) {
	const day = 100 * mb
	w := newWorld(t, on(11, 30, 23), Quota{})
	line := steady(on(10, 1, 0), 0, day)
	w.write(on(10, 1, 0), on(11, 29, 0), line)
	r := w.row()
	require.InDelta(t, 28*day, r.Received, 10e3)
	require.InDelta(t, 31*day, r.Last.Received, 10e3)
	w.now = on(12, 1, 1)
	r = w.row()
	require.Zero(t, r.Received)
	require.InDelta(t, 28*day, r.Last.Received, 10e3)
	w.now = on(12, 3, 0)
	w.write(w.now, w.now, line)
	r = w.row()
	require.InDelta(t, 2*day, r.Received, 10e3)
	require.InDelta(t, 30*day, r.Last.Received, 10e3)
}

func TestBillingDayAndZone(t *testing.T) {
	const day = 100 * mb
	w := newWorld(t, on(11, 11, 0), Quota{Day: 15})
	require.Equal(t, []time.Time{on(10, 15, 0), on(11, 15, 0)}, []time.Time{w.month(w.now).from, w.month(w.now).to})
	require.Equal(t, on(12, 15, 0), w.month(on(12, 31, 0)).from)
	require.Equal(t, time.Date(2027, 1, 15, 0, 0, 0, 0, time.UTC), w.month(on(12, 31, 0)).to)
	w.write(on(9, 1, 0), w.now, steady(on(9, 1, 0), 0, day))
	r := w.row()
	require.InDelta(t, 27*day, r.Received, 10e3)
	require.InDelta(t, 30*day, r.Last.Received, 10e3)
	require.InDelta(t, 31*day, *r.Expected, 10e3)

	zone, err := time.LoadLocation("America/New_York")
	if err != nil {
		zone = time.FixedZone("west", -5*3600)
	}
	w = newWorld(t, on(11, 11, 0), Quota{})
	w.o.Zone = zone
	w.start()
	w.write(on(10, 1, 0), w.now, steady(on(10, 1, 0), 0, day))
	hours := w.now.Sub(time.Date(2026, 11, 1, 0, 0, 0, 0, zone)).Hours()
	require.InDelta(t, day*hours/24, w.row().Received, 10e3)
}

// Days are those of the server, wherever a browser is.
func TestDates(t *testing.T) {
	zone := time.FixedZone("CET", 3600)
	now := time.Now().In(zone)
	first := time.Date(now.Year(), now.Month(), 1, 0, 0, 0, 0, zone)
	w := newWorld(t, now, Quota{})
	w.o.Zone = zone
	w.start()
	r := httptest.NewRecorder()
	w.Handler().ServeHTTP(r, httptest.NewRequest(http.MethodGet, "/", nil))
	var a struct{ Data Answer }
	require.NoError(t, json.Unmarshal(r.Body.Bytes(), &a))
	if time.Now().In(zone).Month() == now.Month() {
		require.Equal(t, first.Format("2006-01-02"), a.Data.From)
		require.Equal(t, first.AddDate(0, 1, -1).Format("2006-01-02"), a.Data.To)
	}
	w.write(first.AddDate(0, 0, 1), first.AddDate(0, 0, 2), steady(first, 0, mb)) // begins at 23:00 UTC of the 1st
	w.now = first.AddDate(0, 0, 3)
	require.Equal(t, first.AddDate(0, 0, 1).Format("2006-01-02"), w.row().Since)
}

// Where data begin in the month, that is said.
func TestSince(t *testing.T) {
	w := newWorld(t, on(11, 20, 0), Quota{})
	w.write(on(11, 12, 0), w.now, steady(on(11, 12, 0), 0, 100*mb))
	r := w.row()
	require.Equal(t, "2026-11-12", r.Since)
	require.Nil(t, r.Last)
	require.InDelta(t, 800*mb, r.Received, 10e3)
	require.InDelta(t, 1900*mb, *r.Expected, 10e3)
}

func TestExpected(t *testing.T) {
	const day = 100 * mb
	begin, now := on(10, 20, 0), on(11, 16, 0) // half of November
	copied := func(extra float64, days ...time.Time) func(time.Time) float64 {
		return func(at time.Time) float64 {
			v := steady(begin, 0, day)(at)
			for _, d := range days {
				v += extra * min(1, max(0, at.Sub(d).Hours()/6)) // in 6 hours
			}
			return v
		}
	}
	for name, x := range map[string]struct {
		from  time.Time
		shape func(time.Time) float64
		want  float64 // -1 for none
	}{
		"steady":                      {begin, steady(begin, 0, day), 30 * day},
		"a big copy is not the rule":  {begin, copied(20*day, on(11, 12, 0)), 50 * day},
		"nor is one today":            {begin, copied(20*day, on(11, 15, 3)), 50 * day},
		"a backup each week is":       {begin, copied(20*day, on(10, 21, 0), on(10, 28, 0), on(11, 4, 0), on(11, 11, 0)), (40 + 15 + 15*27./7) * day},
		"two days ago it became more": {begin, copied(20*day, on(11, 14, 0), on(11, 15, 0)), (40 + 15 + 15*47./7) * day},
		"a day of data":               {on(11, 15, 0), steady(begin, 0, day), 16 * day},
		"less than a day of data":     {on(11, 15, 1), steady(begin, 0, day), -1},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, now, Quota{})
			w.write(x.from, now, x.shape)
			r := w.row()
			if x.want < 0 {
				require.Nil(t, r.Expected)
				return
			}
			require.InDelta(t, x.want, *r.Expected, day/10, "%v days", *r.Expected/day)
		})
	}
}

func TestQuota(t *testing.T) {
	const day = 100 * mb
	begin, now := on(10, 1, 0), on(11, 11, 0)
	fill := func(w *world) {
		for i, device := range []string{"eth0", "eth1"} {
			for k, metric := range []string{receivedTotal, sentTotal} {
				w.write(begin, now, steady(begin, 0, day*float64(1+i)*float64(1+9*k)), "__name__", metric, "device", device, "availability", "always")
			}
		}
	}
	for name, x := range map[string]struct {
		q              Quota
		used, expected float64 // in days of eth0, received
		due            string
	}{
		"none":                {Quota{}, 0, 0, ""},
		"of others":           {Quota{Bytes: 1, Machines: "b.*"}, 0, 0, ""},
		"plenty":              {Quota{Bytes: 1e15}, 330, 990, ""},
		"will be used up":     {Quota{Bytes: 650 * day}, 330, 990, "2026-11-20"},
		"is used up":          {Quota{Bytes: 98 * day}, 330, 990, "2026-11-03"},
		"of what it sends":    {Quota{Bytes: 1e15, Directions: "sent"}, 300, 900, ""},
		"of an interface":     {Quota{Bytes: 1e15, Devices: "eth0", Machines: "a"}, 110, 330, ""},
		"a name is no prefix": {Quota{Bytes: 1e15, Devices: "eth", Machines: "a"}, 0, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, now, x.q)
			fill(w)
			u := w.row().Quota
			if x.used == 0 && (u == nil || u.Used == 0) {
				return
			}
			require.InDelta(t, x.used*day, u.Used, mb)
			require.InDelta(t, x.expected*day, *u.Expected, mb)
			require.Equal(t, x.due, u.Due)
			v, err := w.Records(t.Context(), recordUsed, w.now)
			require.NoError(t, err)
			require.Len(t, v, 1)
			require.InDelta(t, x.used*day/float64(x.q.Bytes), v[0].F, 1e-4)
			require.Equal(t, `{availability="always", machine="a"}`, v[0].Metric.String())
			v, err = w.Records(t.Context(), recordExpected, w.now)
			require.NoError(t, err)
			require.InDelta(t, x.expected*day/float64(x.q.Bytes), v[0].F, 1e-4)
			v, err = w.Records(t.Context(), recordMonth, w.now)
			require.NoError(t, err)
			require.Len(t, v, 2)
		})
	}
	_, err := New(Options{Quota: Quota{Devices: "("}})
	require.Error(t, err)
}

// What was counted outlives the samples. A damaged file is set aside, and what is stored is
// counted again.
func TestTheFileIsKept(t *testing.T) {
	const day = 100 * mb
	w := newWorld(t, on(11, 11, 0), Quota{})
	w.write(on(11, 1, 0), w.now, steady(on(11, 1, 0), 0, day))
	w.count()
	w.stop()

	empty := newWorld(t, on(11, 12, 0), Quota{})
	empty.o.Dir = w.o.Dir
	empty.start()
	require.InDelta(t, 10*day, empty.row().Received, 10e3, "without the samples")
	empty.now = on(11, 12, 12)
	empty.write(empty.now, empty.now, steady(on(11, 1, 0), 0, day))
	require.InDelta(t, 11.5*day, empty.row().Received, 10e3, "and the counter goes on")

	file := filepath.Join(w.o.Dir, stateFile)
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	for i, broken := range []string{"", "{", string(text[:len(text)/2]), `{"version":2,"machines":{}}`, `{"version":1,"machines":{"a":null}}`, `{"version":1,"machines":{"a":{"devices":{"eth0":null}}}}`, `[]`} {
		require.NoError(t, os.WriteFile(file, []byte(broken), 0o600))
		w.aside = nil
		w.start()
		require.InDelta(t, 10*day, w.row().Received, 10e3, broken)
		require.Len(t, w.aside, 1, broken)
		require.FileExists(t, file, fmt.Sprint(i))
	}
}

// A damaged file that cannot be moved away is left as it is. Traffic is counted all the same.
func TestTheFileIsNotOverwritten(t *testing.T) {
	const day = 100 * mb
	w := newWorld(t, on(11, 11, 0), Quota{})
	w.write(on(11, 1, 0), w.now, steady(on(11, 1, 0), 0, day))
	file := filepath.Join(w.o.Dir, stateFile)
	require.NoError(t, os.WriteFile(file, []byte("damaged"), 0o600))
	var log bytes.Buffer
	w.o.Logger = slog.New(slog.NewTextHandler(&log, nil))
	w.o.SetAside = func(string, string, string, error) error { return errors.New("no room") }
	w.start()
	require.InDelta(t, 10*day, w.row().Received, 10e3)
	w.stop()
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, "damaged", string(text))
	require.Contains(t, log.String(), "not saved")
	require.Contains(t, log.String(), "no room")
}

// A clock that was ahead and is right again does not count twice.
func TestTheClockWasAhead(t *testing.T) {
	const day = 100 * mb
	w := newWorld(t, on(11, 20, 0), Quota{})
	line := steady(on(11, 1, 0), 0, day)
	w.write(on(11, 1, 0), on(11, 11, 0), line)
	w.count()
	w.now = on(11, 12, 0)
	w.count()
	w.now = on(11, 13, 0)
	w.write(on(11, 11, 0), w.now, line)
	require.InDelta(t, 12*day, w.row().Received, 10e3)
}

// Before all that is stored was counted, nothing is said.
func TestNothingIsSaidTooEarly(t *testing.T) {
	w := newWorld(t, on(11, 11, 0), Quota{Bytes: 1})
	w.write(on(11, 1, 0), w.now, steady(on(11, 1, 0), 0, mb))
	more, err := w.step(t.Context(), w.now)
	require.NoError(t, err)
	require.True(t, more)
	rows, ready, err := w.Rows(t.Context(), w.now)
	require.NoError(t, err)
	require.False(t, ready)
	require.Empty(t, rows)
	require.Len(t, w.rows(), 1)
}

// What is gone is forgotten in time.
func TestPrune(t *testing.T) {
	w := newWorld(t, on(5, 1, 0), Quota{})
	w.write(on(4, 1, 0), on(4, 20, 0), steady(on(4, 1, 0), 0, mb))
	w.write(on(4, 1, 0), on(4, 20, 0), steady(on(4, 1, 0), 0, mb), "machine", "b")
	require.Len(t, w.rows(), 2)
	w.write(on(7, 20, 0), on(7, 20, 0), func(time.Time) float64 { return 1e9 }, "machine", "b")
	w.now = on(7, 21, 0)
	w.count()
	require.Len(t, w.state.Machines, 1)
	require.LessOrEqual(t, len(w.state.Machines["b"].Devices["eth0"].Days), keptDays+1)
}
