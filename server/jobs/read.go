package jobs

import (
	"cmp"
	"context"
	"net"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"github.com/clanmon/clanmon/discovery/contract"
)

// Series of the exporters, see docs/exporters.md.
const (
	runningSeries  = "clanmon_systemd_job_running"
	successSeries  = "systemd_unit_last_success_timestamp_seconds"
	startSeries    = "clanmon_systemd_job_last_start_timestamp_seconds"
	durationSeries = "clanmon_systemd_job_last_duration_seconds"
	exitCodeSeries = "clanmon_systemd_job_last_exit_code"
	nextSeries     = "clanmon_systemd_timer_next_elapse_timestamp_seconds"
	overdueSeries  = "clanmon_systemd_timer_overdue_seconds"
	intervalSeries = "clanmon_systemd_timer_interval_seconds"
	// All that systemd_exporter and older exporters say of a timer.
	triggerSeries = "systemd_timer_last_trigger_seconds"
	resultSeries  = "clanmon_systemd_timer_last_result"
)

// Records of rules/jobs.yml.
const (
	successRecord = "job:last_success:timestamp_seconds"
	gapRecord     = "job:gap:seconds"
	minRecord     = "job:duration_min:seconds"
	maxRecord     = "job:duration_max:seconds"
)

const (
	// lookback is how old a sample may be, as in queries.
	lookback = 5 * time.Minute
	// firstLookback is that of the first settling time: after a restart the targets have not
	// been scraped yet, and what was stored before counts.
	firstLookback = 2 * time.Hour
	settling      = 2 * time.Minute
	// clockSlack is how far in the future a time may be; beyond, the clock of the machine is
	// wrong.
	clockSlack = 5 * time.Minute
	// recordsEvery is how often the records are read, which change every 5 minutes.
	recordsEvery = time.Minute
)

// latest calls visit with the newest sample of each series of these names. What has ended is
// left out.
func (j *Jobs) latest(ctx context.Context, now time.Time, back time.Duration, visit func(name string, ls labels.Labels, t int64, v float64), names ...string) error {
	hints := &storage.SelectHints{Start: now.Add(-back).UnixMilli(), End: now.UnixMilli()}
	q, err := j.opts.Store.Querier(hints.Start, hints.End)
	if err != nil {
		return err
	}
	defer q.Close()
	set := q.Select(ctx, false, hints, labels.MustNewMatcher(labels.MatchRegexp, model.MetricNameLabel, strings.Join(names, "|")))
	var it chunkenc.Iterator
	for set.Next() {
		series := set.At()
		it = series.Iterator(it)
		var t int64
		var v float64
		for kind := it.Next(); kind != chunkenc.ValNone; kind = it.Next() {
			if kind == chunkenc.ValFloat {
				t, v = it.At()
			}
		}
		if err := it.Err(); err != nil {
			return err
		}
		if t != 0 && !value.IsStaleNaN(v) {
			ls := series.Labels()
			visit(ls.Get(model.MetricNameLabel), ls, t, v)
		}
	}
	return set.Err()
}

// machineOf is the machine of a series: its label, or the host of its instance where the
// configuration file gives none.
func machineOf(ls labels.Labels) string {
	if m := ls.Get(contract.MachineLabel); m != "" {
		return m
	}
	instance := ls.Get(model.InstanceLabel)
	host, _, err := net.SplitHostPort(instance)
	if err != nil {
		return instance
	}
	return host
}

// readUnits reads the jobs that systemd has, and which machines say anything of theirs.
func (j *Jobs) readUnits(ctx context.Context, now time.Time) (rows map[key]*Job, seen map[string]bool, err error) {
	back := lookback
	if now.Sub(j.born) < settling {
		back = firstLookback
	}
	rows, seen = make(map[key]*Job, len(j.rows)), make(map[string]bool)
	type timer struct {
		next, overdue, interval, ran *float64
		result                       string
		job                          bool // a row has it
	}
	timers := make(map[key]*timer)
	err = j.latest(ctx, now, back, func(name string, ls labels.Labels, _ int64, v float64) {
		k := key{machineOf(ls), ls.Get("name")}
		switch name {
		case nextSeries, overdueSeries, intervalSeries, triggerSeries, resultSeries:
			t := timers[k]
			if t == nil {
				t = &timer{}
				timers[k] = t
			}
			switch name {
			case nextSeries:
				t.next = &v
			case overdueSeries:
				t.overdue = &v
			case triggerSeries:
				if v > 0 {
					t.ran = &v
				}
			case resultSeries:
				t.result = ls.Get("result")
			default:
				t.interval = &v
			}
			return
		}
		r := rows[k]
		if r == nil {
			r = &Job{Machine: k.machine, Name: k.name}
			rows[k] = r
		}
		switch name {
		case runningSeries:
			seen[k.machine] = true
			r.Kind, r.Timer = KindService, ls.Get("timer")
			if r.Timer != "" {
				r.Kind = KindTimer
			}
			if v == 1 {
				r.State = StateRunning
			}
		case successSeries:
			if v <= unix(now.Add(clockSlack)) {
				r.LastSuccess = &v
			}
		case startSeries:
			r.LastRun = &v
		case durationSeries:
			r.Duration = &v
		case exitCodeSeries:
			r.LastResult, r.ExitCode = ls.Get("result"), nil
			if v >= 0 {
				code := int(v)
				r.ExitCode = &code
			}
		}
	}, runningSeries, successSeries, startSeries, durationSeries, exitCodeSeries, nextSeries, overdueSeries, intervalSeries, triggerSeries, resultSeries)
	if err != nil {
		return nil, nil, err
	}
	for k, r := range rows {
		if r.Kind == "" { // of somebody else's systemd_unit_last_success_timestamp_seconds
			delete(rows, k)
			continue
		}
		if t := timers[key{k.machine, r.Timer}]; t != nil {
			t.job = true
			r.Next, r.Gap = t.next, t.interval
			r.Overdue = t.overdue != nil && *t.overdue > 0 && r.State != StateRunning
		}
	}
	for k, t := range timers { // of what is no service, or of an older exporter
		if t.job {
			continue
		}
		r := &Job{Machine: k.machine, Name: k.name, Kind: KindTimer, Timer: k.name, LastRun: t.ran, LastResult: t.result, Next: t.next, Gap: t.interval}
		r.Overdue = t.overdue != nil && *t.overdue > 0
		if r.LastResult == "" && !r.Overdue { // nobody knows whether it ever ran
			r.State = StateUnknown
		}
		rows[k] = r
		seen[k.machine] = true
	}
	return rows, seen, nil
}

// recorded is what the built-in rules remember of a job.
type recorded struct{ success, gap, shortest, longest *float64 }

func (j *Jobs) readRecords(ctx context.Context, now time.Time) (map[key]*recorded, error) {
	known := make(map[key]*recorded)
	back := 2 * lookback // the group is evaluated as seldom as that
	if now.Sub(j.born) < settling {
		back = firstLookback
	}
	return known, j.latest(ctx, now, back, func(name string, ls labels.Labels, _ int64, v float64) {
		k := key{ls.Get(contract.MachineLabel), ls.Get("name")}
		r := known[k]
		if r == nil {
			r = &recorded{}
			known[k] = r
		}
		switch name {
		case successRecord:
			r.success = &v
		case gapRecord:
			r.gap = &v
		case minRecord:
			r.shortest = &v
		case maxRecord:
			r.longest = &v
		}
	}, successRecord, gapRecord, minRecord, maxRecord)
}

// complete adds what is recorded to what the exporter says now.
func (r *recorded) complete(row *Job) {
	if r.success != nil && (row.LastSuccess == nil || *r.success > *row.LastSuccess) {
		row.LastSuccess = r.success
	}
	row.Gap = cmp.Or(r.gap, row.Gap)
	if r.shortest != nil && r.longest != nil {
		row.Usual = &Range{*r.shortest, *r.longest}
	}
}
