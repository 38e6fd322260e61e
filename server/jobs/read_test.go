package jobs

import (
	"context"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/server/internal/backups"
)

// fixture is a store, and Jobs that read it.
type fixture struct {
	*Jobs
	t  testing.TB
	db *tsdb.DB
}

func newFixture(t testing.TB, recorded bool) *fixture {
	t.Helper()
	db, err := tsdb.Open(t.TempDir(), promslog.NewNopLogger(), nil, tsdb.DefaultOptions(), nil)
	require.NoError(t, err)
	t.Cleanup(func() { db.Close() })
	f := &fixture{t: t, db: db}
	f.Jobs = f.restart(recorded)
	return f
}

// restart is a server that knows nothing but what is stored.
func (f *fixture) restart(recorded bool) *Jobs {
	units, err := backups.New(nil)
	require.NoError(f.t, err)
	return New(Options{Store: f.db, Recorded: func() bool { return recorded }, Backups: units, Logger: promslog.NewNopLogger()})
}

// put stores samples of one time: NAME, VALUE, and label pairs each.
func (f *fixture) put(t time.Time, all ...[]any) {
	f.t.Helper()
	app := f.db.Appender(context.Background())
	for _, s := range all {
		ls := []string{"__name__", s[0].(string)}
		for _, l := range s[2:] {
			ls = append(ls, l.(string))
		}
		_, err := app.Append(0, labels.FromStrings(ls...), t.UnixMilli(), s[1].(float64))
		require.NoError(f.t, err)
	}
	require.NoError(f.t, app.Commit())
}

// nightly are the series of a backup that ran well two hours before t.
func nightly(machine string, t time.Time) [][]any {
	at := unix(t) - 7200
	const service, timer = "borgbackup-job-home.service", "borgbackup-job-home.timer"
	where := []any{"machine", machine, "instance", machine + ":9558", "job", "systemd", "name"}
	on := func(name string, v float64, unit string, more ...any) []any {
		return append(append(append([]any{name, v}, where...), unit), more...)
	}
	return [][]any{
		on(runningSeries, 0, service, "timer", timer),
		on(successSeries, at+300, service, "type", "service"),
		on(startSeries, at, service),
		on(durationSeries, 300, service),
		on(exitCodeSeries, 0, service, "result", "success"),
		on(nextSeries, at+86400, timer),
		on(overdueSeries, 0, timer),
		on(intervalSeries, 86400, timer, "unit", service),
	}
}

func (f *fixture) one(j *Jobs) Job {
	f.t.Helper()
	all, err := j.All(context.Background())
	require.NoError(f.t, err)
	require.Len(f.t, all, 1)
	return all[0]
}

func ptr[T any](v T) *T { return &v }

func TestAJobFromItsSeries(t *testing.T) {
	f := newFixture(t, true)
	now := time.Now()
	f.put(now, nightly("web1", now)...)
	f.put(now,
		[]any{minRecord, 250.0, "machine", "web1", "name", "borgbackup-job-home.service"},
		[]any{maxRecord, 350.0, "machine", "web1", "name", "borgbackup-job-home.service"},
		[]any{gapRecord, 90000.0, "machine", "web1", "name", "borgbackup-job-home.service"},
		// No job of ours.
		[]any{successSeries, 1.0, "instance", "other:1", "name", "x.service"},
	)
	at := unix(now) - 7200
	require.Equal(t, Job{
		Machine: "web1", Name: "borgbackup-job-home.service", Kind: KindTimer, Timer: "borgbackup-job-home.timer", Backup: "home",
		LastSuccess: ptr(at + 300), LastRun: ptr(at), LastResult: "success", ExitCode: ptr(0), Duration: ptr(300.0),
		Usual: &Range{250, 350}, Next: ptr(at + 86400), State: StateOK, Gap: ptr(90000.0),
	}, f.one(f.Jobs))
}

func TestStatesOfJobs(t *testing.T) {
	now := time.Now()
	const service = "borgbackup-job-home.service"
	for name, c := range map[string]struct {
		series   [][]any
		recorded bool
		state    string
		overdue  bool
	}{
		"it runs, and the run before failed": {[][]any{{runningSeries, 1.0, "instance", "a:1", "name", service, "timer", ""}, {exitCodeSeries, 3.0, "instance", "a:1", "name", service, "result", "exit-code"}}, true, StateRunning, false},
		"it failed":                          {[][]any{{runningSeries, 0.0, "instance", "a:1", "name", service, "timer", ""}, {exitCodeSeries, 3.0, "instance", "a:1", "name", service, "result", "exit-code"}}, true, StateFailed, false},
		"somebody stopped it":                {[][]any{{runningSeries, 0.0, "instance", "a:1", "name", service, "timer", ""}, {exitCodeSeries, 143.0, "instance", "a:1", "name", service, "result", "stopped"}, {successSeries, unix(now) - 60, "instance", "a:1", "name", service}}, true, StateOK, false},
		"a backup is too old":                {[][]any{{runningSeries, 0.0, "instance", "a:1", "name", service, "timer", ""}, {successSeries, unix(now) - 27*3600, "instance", "a:1", "name", service}}, true, StateLate, true},
		"another job is not":                 {[][]any{{runningSeries, 0.0, "instance", "a:1", "name", "x.service", "timer", ""}, {successSeries, unix(now) - 27*3600, "instance", "a:1", "name", "x.service"}}, true, StateOK, false},
		"its timer is late":                  {[][]any{{runningSeries, 0.0, "instance", "a:1", "name", "x.service", "timer", "x.timer"}, {overdueSeries, 60.0, "instance", "a:1", "name", "x.timer"}, {successSeries, unix(now) - 60, "instance", "a:1", "name", "x.service"}}, true, StateLate, true},
		"its timer is late while it runs":    {[][]any{{runningSeries, 1.0, "instance", "a:1", "name", "x.service", "timer", "x.timer"}, {overdueSeries, 60.0, "instance", "a:1", "name", "x.timer"}}, true, StateRunning, false},
		"it never succeeded":                 {[][]any{{runningSeries, 0.0, "instance", "a:1", "name", service, "timer", ""}}, true, StateNever, false},
		"nobody remembers":                   {[][]any{{runningSeries, 0.0, "instance", "a:1", "name", service, "timer", ""}}, false, StateUnknown, false},
		"its clock is a year ahead":          {[][]any{{runningSeries, 0.0, "instance", "a:1", "name", service, "timer", ""}, {successSeries, unix(now) + 3e7, "instance", "a:1", "name", service}}, true, StateNever, false},
		"a timer of something else, on time": {[][]any{{overdueSeries, 0.0, "instance", "a:1", "name", "x.timer"}, {triggerSeries, 0.0, "instance", "a:1", "name", "x.timer"}}, true, StateUnknown, false},
		"of an older exporter":               {[][]any{{overdueSeries, 0.0, "instance", "a:1", "name", "x.timer"}, {triggerSeries, unix(now) - 60, "instance", "a:1", "name", "x.timer"}, {resultSeries, 1.0, "instance", "a:1", "name", "x.timer", "unit", "x.service", "result", "success"}}, true, StateOK, false},
		"that failed":                        {[][]any{{triggerSeries, unix(now) - 60, "instance", "a:1", "name", "x.timer"}, {resultSeries, 1.0, "instance", "a:1", "name", "x.timer", "unit", "x.service", "result", "exit-code"}}, true, StateFailed, false},
		"of systemd_exporter":                {[][]any{{triggerSeries, unix(now) - 60, "instance", "a:1", "name", "x.timer"}}, true, StateUnknown, false},
		"a timer of something else":          {[][]any{{overdueSeries, 60.0, "instance", "a:1", "name", "x.timer"}}, true, StateLate, true},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, c.recorded)
			f.put(now, c.series...)
			got := f.one(f.Jobs)
			require.Equal(t, "a", got.Machine, "the host of the instance, where there is no label")
			require.Equal(t, c.state, got.State)
			require.Equal(t, c.overdue, got.Overdue)
		})
	}
}

// Right after a restart nothing has been scraped; what was stored before counts.
func TestJobsAfterARestart(t *testing.T) {
	f := newFixture(t, true)
	stopped := time.Now().Add(-40 * time.Minute)
	f.put(stopped, nightly("web1", stopped)...)
	require.Equal(t, StateOK, f.one(f.restart(true)).State)

	settled := f.restart(true)
	settled.born = time.Now().Add(-time.Hour)
	all, err := settled.All(context.Background())
	require.NoError(t, err)
	require.Empty(t, all)
}

// A machine that is down keeps what is known of its jobs; a job that is gone from a machine that
// is up is dropped, unless it is a backup that the rules remember.
func TestJobsOfMachinesThatAreDown(t *testing.T) {
	f := newFixture(t, true)
	begin := time.Now().Add(-20 * time.Minute)
	f.born = begin.Add(-time.Hour)
	f.put(begin, nightly("web1", begin)...)
	f.put(begin, []any{runningSeries, 0.0, "machine", "web1", "instance", "web1:9558", "job", "systemd", "name", "import.service", "timer", ""})
	read := func(now time.Time) map[string]Job {
		require.NoError(t, f.read(context.Background(), now))
		found := map[string]Job{}
		for k, r := range f.rows {
			found[k.name] = *r
		}
		return found
	}
	require.Equal(t, StateOK, read(begin)["borgbackup-job-home.service"].State)
	down := begin.Add(8 * time.Minute)
	row := read(down)["borgbackup-job-home.service"]
	require.Equal(t, StateUnknown, row.State)
	require.NotNil(t, row.LastSuccess)
	require.Equal(t, KindTimer, row.Kind)
	require.Nil(t, row.Next)

	up := begin.Add(15 * time.Minute)
	f.put(up,
		[]any{runningSeries, 0.0, "machine", "web1", "instance", "web1:9558", "job", "systemd", "name", "other.service", "timer", ""},
		[]any{successRecord, 1e9, "machine", "web1", "name", "borgbackup-job-home.service"},
		[]any{successRecord, 1e9, "machine", "web1", "name", "import.service"},
	)
	f.ruled = time.Time{}
	found := read(up)
	require.Len(t, found, 2)
	require.Contains(t, found, "other.service")
	require.Equal(t, StateUnknown, found["borgbackup-job-home.service"].State)
}

func TestSeriesThatEndedAreNotRead(t *testing.T) {
	f := newFixture(t, true)
	now := time.Now()
	f.put(now.Add(-time.Minute), nightly("web1", now)...)
	var ended [][]any
	for _, s := range nightly("web1", now) {
		s[1] = math.Float64frombits(value.StaleNaN)
		ended = append(ended, s)
	}
	f.put(now, ended...)
	all, err := f.All(context.Background())
	require.NoError(t, err)
	require.Empty(t, all)
}

// The rules look back for 2 hours; a longer stop is bridged by what was recorded before it.
func TestRecordsAfterALongStop(t *testing.T) {
	for name, c := range map[string]struct {
		stopped time.Duration
		want    bool // that a sample of now is added
	}{
		"a restart": {10 * time.Minute, false},
		"a night":   {9 * time.Hour, true},
		"a holiday": {20 * 24 * time.Hour, true},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, true)
			j := f.restart(true)
			j.opts.Appendable = f.db
			now := time.Now()
			f.put(now.Add(-c.stopped-time.Hour), []any{successRecord, 6.0, "machine", "a", "name", "ended.service"})
			f.put(now.Add(-c.stopped), []any{successRecord, 5.0, "machine", "a", "name", "x.service"}, []any{"up", 1.0})
			require.NoError(t, j.Restore(t.Context(), now))
			found := map[string]float64{}
			require.NoError(t, j.latest(t.Context(), now, time.Minute, func(_ string, ls labels.Labels, _ int64, v float64) { found[ls.Get("name")] = v }, successRecord, "up"))
			want := map[string]float64{}
			if c.want {
				want["x.service"] = 5
			}
			require.Equal(t, want, found)
		})
	}
	f := newFixture(t, false)
	f.opts.Appendable = f.db
	f.put(time.Now().Add(-9*time.Hour), []any{successRecord, 5.0, "machine", "a", "name", "x.service"})
	require.NoError(t, f.Restore(t.Context(), time.Now()))
	require.NoError(t, f.latest(t.Context(), time.Now(), time.Minute, func(string, labels.Labels, int64, float64) { t.Fatal("nobody evaluates the rules") }, successRecord))
}

// go test ./server/jobs -run xxx -bench . -benchtime 5x
func BenchmarkAThousandMachines(b *testing.B) {
	f := newFixture(b, true)
	now := time.Now()
	for i := range 60 { // 15 minutes
		at := now.Add(time.Duration(i-60) * 15 * time.Second)
		for m := range 1000 {
			machine := fmt.Sprint("machine-", m)
			var all [][]any
			for _, s := range nightly(machine, now) {
				for n := range 30 {
					c := append([]any(nil), s...)
					for k := 3; k < len(c); k++ {
						if text, ok := c[k].(string); ok && text[:3] == "bor" {
							c[k] = fmt.Sprint(n) + text
						}
					}
					all = append(all, c)
				}
			}
			f.put(at, all...)
		}
	}
	b.ResetTimer()
	for b.Loop() {
		f.at = time.Time{}
		all, err := f.All(context.Background())
		if err != nil || len(all) != 30000 {
			b.Fatal(len(all), err)
		}
	}
}
