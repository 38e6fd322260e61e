package uptime

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/util/teststorage"
	"github.com/stretchr/testify/require"
)

// begin is two days before a month ends.
var begin = time.Date(2026, 10, 30, 0, 0, 0, 0, time.UTC)

type fixture struct {
	*Uptime
	t     *testing.T
	store *teststorage.TestStorage
	clock time.Time
}

func start(t *testing.T, silences ...Silence) *fixture {
	f := &fixture{t: t, store: teststorage.New(t, func(o *tsdb.Options) { o.OutOfOrderTimeWindow = 100 * time.Hour.Milliseconds() }), clock: begin.Add(72 * time.Hour)}
	f.open(t.TempDir(), silences...)
	return f
}

// open is a server that has just started on a directory.
func (f *fixture) open(dir string, silences ...Silence) {
	f.Uptime = New(Options{
		Store: f.store, Oldest: func() (int64, error) { return begin.UnixMilli(), nil },
		Whose:       func() func(labels.Labels) string { return func(ls labels.Labels) string { return ls.Get("machine") } },
		Maintenance: func(context.Context) []Silence { return silences },
		Dir:         dir, Logger: slog.New(slog.DiscardHandler),
		SetAside: func(file, _, _ string, _ error) error { return os.Rename(file, file+".aside") },
	})
	f.now = func() time.Time { return f.clock }
}

// write stores up of a target from one time to another after begin, each 15 s.
func (f *fixture) write(ls labels.Labels, from, to time.Duration, v float64) {
	f.t.Helper()
	app := f.store.Appender(f.t.Context())
	ref, err := storage.SeriesRef(0), error(nil)
	for d := from; d < to; d += 15 * time.Second {
		ref, err = app.Append(ref, ls, begin.Add(d).UnixMilli(), v)
		require.NoError(f.t, err)
	}
	require.NoError(f.t, app.Commit())
}

func target(machine, job string, more ...string) labels.Labels {
	return labels.FromStrings(append([]string{"__name__", "up", "machine", machine, "job", job, "instance", machine + ":" + job}, more...)...)
}

func (f *fixture) all() (months []string, of map[string]map[string]*Share) {
	f.t.Helper()
	a, err := f.Find(f.t.Context(), "")
	require.NoError(f.t, err)
	for _, m := range a.Months {
		months = append(months, m.Name)
	}
	of = make(map[string]map[string]*Share)
	for _, m := range a.Machines {
		of[m.Machine] = m.Months
	}
	return months, of
}

const (
	hour = 3600
	day  = 24 * hour
)

// What is counted, in months that are over and in this one, is the same before and after hours
// were counted for good, and after a restart.
func TestMonths(t *testing.T) {
	h := func(n float64) time.Duration { return time.Duration(n * float64(time.Hour)) }
	f := start(t, Silence{begin.Add(h(30)), begin.Add(h(31)), func(machine string) bool { return machine == "maintained" }})
	// Reboots of 45 s and of an hour; from hour 60 on the server was away, until it came back at 70.
	for _, x := range []struct {
		from, to float64
		v        float64
	}{{0, 10, 1}, {10, 10.0125, 0}, {10.0125, 50, 1}, {50, 51, 0}, {51, 60, 1}, {70, 72, 1}} {
		f.write(target("web", "node"), h(x.from), h(x.to), x.v)
	}
	// One of two exporters is down all the time: the machine is not.
	f.write(target("half", "node"), 0, h(72), 1)
	f.write(target("half", "systemd"), 0, h(72), 0)
	f.write(target("maintained", "node"), 0, h(29), 1)
	f.write(target("maintained", "node"), h(29), h(32), 0)
	f.write(target("maintained", "node"), h(32), h(72), 1)
	f.write(target("laptop", "node", "availability", "intermittent"), 0, h(10), 1)
	f.write(target("laptop", "node", "availability", "intermittent"), h(10), h(72), 0)
	// It is not scraped any more from hour 3 on.
	f.write(target("gone", "node"), 0, h(3), 1)
	f.write(target("gone", "node"), h(3), h(3)+time.Second, math.Float64frombits(value.StaleNaN))
	f.write(target("hub", "clanmon"), 0, h(72), 1) // the server itself, of which no exporter is known

	check := func() {
		t.Helper()
		names, of := f.all()
		require.Equal(t, []string{"2026-10", "2026-11"}, names)
		time := func(machine, month string) Time {
			require.Contains(t, of, machine)
			require.Contains(t, of[machine], month)
			return of[machine][month].Time
		}
		require.Equal(t, Time{Up: 48*hour - 45, Down: 45}, time("web", "2026-10"))
		require.Equal(t, Time{Up: 13 * hour, Down: hour}, time("web", "2026-11"), "10 hours in which the server was away are not known")
		require.Equal(t, Time{Up: 48 * hour}, time("half", "2026-10"))
		require.Equal(t, Time{Up: 45 * hour, Down: 2 * hour, Maintenance: hour}, time("maintained", "2026-10"))
		require.Equal(t, Time{On: 10 * hour, Off: 38 * hour}, time("laptop", "2026-10"))
		require.Equal(t, Time{Up: 3 * hour}, time("gone", "2026-10"))
		require.NotContains(t, of["gone"], "2026-11")
		require.NotContains(t, of, "hub")
		require.InDelta(t, (48*hour-45.)/(48*hour), *of["web"]["2026-10"].Ratio, 1e-9)
		require.Nil(t, of["laptop"]["2026-10"].Ratio, "nobody expects it to be on")
		require.InDelta(t, 45./47, *of["maintained"]["2026-10"].Ratio, 1e-9)
	}

	a, err := f.Find(t.Context(), "")
	require.NoError(t, err)
	require.Equal(t, begin.Unix(), a.Counted, "nothing has been read yet, and the answer says so")
	for more := true; more; {
		more, err = f.step(t.Context(), f.opts.Whose())
		require.NoError(t, err)
	}
	check()
	a, err = f.Find(t.Context(), "web")
	require.NoError(t, err)
	require.Zero(t, a.Counted)
	require.Len(t, a.Machines, 1)
	require.Equal(t, begin.Unix(), a.Months[0].From, "the month has data since then")
	require.Equal(t, f.clock.Unix(), a.Months[1].To, "the month is not over")

	require.NoError(t, f.save())
	f.open(f.opts.Dir, Silence{begin.Add(h(30)), begin.Add(h(31)), func(machine string) bool { return machine == "maintained" }})
	check()

	// The retention deletes what was counted; the months stay.
	empty := teststorage.New(t)
	f.opts.Store, f.opts.Oldest = empty, func() (int64, error) { return f.clock.UnixMilli(), nil }
	_, of := f.all()
	require.Equal(t, Time{Up: 48*hour - 45, Down: 45}, of["web"]["2026-10"].Time)
}

// A file that cannot be read is set aside, and what is stored is counted again.
func TestDamagedFile(t *testing.T) {
	for name, text := range map[string]string{"damaged": `{"version":1,"mon`, "newer": `{"version":2}`} {
		t.Run(name, func(t *testing.T) {
			f := start(t)
			f.write(target("web", "node"), 0, time.Hour, 1)
			path := filepath.Join(f.opts.Dir, file)
			require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
			require.NoError(t, f.catchUp(t.Context()))
			_, of := f.all()
			require.Equal(t, int64(hour), of["web"]["2026-10"].Up, "the last sample counts for as long as the one before")
			require.FileExists(t, path+".aside")
			require.FileExists(t, path)
		})
	}
}

// Where samples cannot be read, nothing is counted and nothing is lost.
func TestStoreFails(t *testing.T) {
	f := start(t)
	f.write(target("web", "node"), 0, time.Hour, 1)
	broken := errors.New("broken")
	f.opts.Store = storage.QueryableFunc(func(int64, int64) (storage.Querier, error) { return nil, broken })
	require.ErrorIs(t, f.catchUp(t.Context()), broken)
	f.opts.Store = f.store
	require.NoError(t, f.catchUp(t.Context()))
	_, of := f.all()
	require.Equal(t, int64(hour), of["web"]["2026-10"].Up)
}

// BenchmarkFind answers for 1,000 machines with two exporters each and 13 months, from the
// hours that may still change.
func BenchmarkFind(b *testing.B) {
	store := teststorage.New(b)
	now := begin.Add(7 * time.Hour)
	for m := range 1000 {
		app := store.Appender(b.Context())
		for _, job := range []string{"node", "systemd"} {
			ref, err := storage.SeriesRef(0), error(nil)
			for d := time.Duration(0); d < 7*time.Hour; d += 15 * time.Second {
				ref, err = app.Append(ref, target(fmt.Sprintf("machine-%d", m), job), begin.Add(d).UnixMilli(), 1)
				require.NoError(b, err)
			}
		}
		require.NoError(b, app.Commit())
	}
	u := New(Options{
		Store: store, Oldest: func() (int64, error) { return begin.UnixMilli(), nil },
		Whose:       func() func(labels.Labels) string { return func(ls labels.Labels) string { return ls.Get("machine") } },
		Maintenance: func(context.Context) []Silence { return nil }, Dir: b.TempDir(), Logger: slog.New(slog.DiscardHandler),
	})
	u.now = func() time.Time { return now }
	for i := range 13 {
		for m := range 1000 {
			if u.counts.Months == nil {
				u.counts.Months = make(months)
			}
			u.counts.Months.add(begin.AddDate(0, -i, 0), fmt.Sprintf("machine-%d", m), Time{Up: day * 30, Down: 60})
		}
	}
	u.open, u.counts.From, u.counts.Through = true, begin.Unix(), begin.Unix()
	for b.Loop() {
		u.recent = nil
		a, err := u.Find(b.Context(), "")
		require.NoError(b, err)
		require.Len(b, a.Machines, 1000)
	}
}
