package systemd

import (
	"math"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"

	"github.com/clanmon/clanmon/exporter/internal/units"
)

var (
	overdueDesc  = prometheus.NewDesc("clanmon_systemd_timer_overdue_seconds", "How late an active timer is. 0 if it is on time.", []string{"name"}, nil)
	elapseDesc   = prometheus.NewDesc("clanmon_systemd_timer_next_elapse_timestamp_seconds", "When the timer triggers its unit next.", []string{"name"}, nil)
	intervalDesc = prometheus.NewDesc("clanmon_systemd_timer_interval_seconds", "Time from one run that the timer starts to the next, the longest of the next ones.", []string{"name", "unit"}, nil)
	resultDesc   = prometheus.NewDesc("clanmon_systemd_timer_last_result", "Result of the last run of the unit that the timer triggers, as named by systemd. The value is always 1.", []string{"name", "unit", "result"}, nil)
)

const (
	// longRun is how long a service may run that a timer is to start again.
	longRun = 24 * 3600
	// leeway is for systemd to act, beside a timer's own accuracy and random delay.
	leeway = 10
)

// clocks are the clocks by which timers go, in seconds.
type clocks struct {
	real      float64 // Unix time
	monotonic float64 // since boot, without the time asleep
	asleep    float64 // since boot
}

func readClocks() clocks {
	read := func(id int32) float64 {
		var t unix.Timespec
		_ = unix.ClockGettime(id, &t) // no kernel lacks these
		return float64(t.Sec) + float64(t.Nsec)/1e9
	}
	monotonic := read(unix.CLOCK_MONOTONIC)
	return clocks{read(unix.CLOCK_REALTIME), monotonic, read(unix.CLOCK_BOOTTIME) - monotonic}
}

// timers judges timers by what systemd knows of them. It remembers when the machine
// last woke up: what was due while it slept is not late.
type timers struct {
	clocks func() clocks
	zone   *time.Location

	asleep float64 // as last seen; negative before
	woken  float64 // Unix time, 0 if not known to have slept

	intervals map[*units.Unit]float64 // of the timers of the last snapshot, 0 if not known
	day       int                     // on which they were found, since 1970
}

func newTimers() *timers { return &timers{clocks: readClocks, zone: time.Local, asleep: -1} }

// collect sends the metrics of all timers among the units.
func (t *timers) collect(all []*units.Unit, ch chan<- prometheus.Metric) {
	now := t.clocks()
	if t.asleep >= 0 && now.asleep > t.asleep+1 {
		t.woken = now.real
	}
	t.asleep = now.asleep
	before := t.intervals
	if day := int(now.real / 86400); day != t.day {
		t.day, before = day, nil
	}
	t.intervals = map[*units.Unit]float64{}
	byName := map[string]*units.Unit{}
	for _, u := range all {
		byName[u.Name] = u
	}
	send := func(desc *prometheus.Desc, value float64, labels ...string) {
		if m, err := prometheus.NewConstMetric(desc, prometheus.GaugeValue, value, labels...); err == nil {
			ch <- m
		}
	}
	for _, u := range all {
		if u.Type != "timer" || u.State != "active" {
			continue
		}
		if _, known := u.Number("LastTriggerUSec"); !known {
			continue // there was no time to ask
		}
		name, _ := u.Text("Unit")
		triggered := byName[name]
		send(overdueDesc, math.Floor(t.overdue(u, triggered, now)), u.Name)
		if at, ok := nextElapse(u, now); ok {
			send(elapseDesc, math.Round(at), u.Name)
		}
		gap, found := before[u]
		if !found {
			gap = t.interval(u, now)
		}
		if t.intervals[u] = gap; gap > 0 {
			send(intervalDesc, gap, u.Name, name)
		}
		// Before its first run since boot, and while it runs, it says "success".
		if result, ok := result(triggered); ok {
			send(resultDesc, 1, u.Name, name, result)
		}
	}
}

func result(u *units.Unit) (string, bool) {
	if u == nil || running(u) || seconds(u, "InactiveExitTimestamp") == 0 {
		return "", false
	}
	return u.Text("Result")
}

func running(u *units.Unit) bool {
	return u.State == "active" || u.State == "activating" || u.State == "deactivating" || u.State == "reloading"
}

// seconds is a time, or a span of it, that systemd has in microseconds; 0 if there is
// none.
func seconds(u *units.Unit, property string) float64 {
	v, _ := u.Limited(property)
	return v / 1e6
}

// since is when something happened, in Unix time, 0 if it never did. systemd has such
// times by two clocks: that of the day may have been set since, and the other one stands
// still during sleep, in which no timer can run. The later time counts.
func since(u *units.Unit, property, monotonicProperty string, now clocks) float64 {
	at := seconds(u, property)
	if monotonic := seconds(u, monotonicProperty); monotonic > 0 {
		at = max(at, now.real-(now.monotonic-monotonic))
	}
	return at
}

// nextElapse is when a timer that waits is to trigger.
func nextElapse(u *units.Unit, now clocks) (float64, bool) {
	if u.Sub != "waiting" {
		return 0, false // what systemd says then is of the past
	}
	at := math.Inf(1)
	if real := seconds(u, "NextElapseUSecRealtime"); real > 0 {
		at = real
	}
	if monotonic := seconds(u, "NextElapseUSecMonotonic"); monotonic > 0 {
		at = min(at, now.real+monotonic-now.monotonic)
	}
	return at, !math.IsInf(at, 1)
}

// overdue is how many seconds a timer is late: its next elapse has passed, what it
// triggers does not end, or two runs have been left out.
func (t *timers) overdue(u, triggered *units.Unit, now clocks) float64 {
	patience := seconds(u, "AccuracyUSec") + seconds(u, "RandomizedDelayUSec") + seconds(u, "RandomizedOffsetUSec") + leeway
	var late float64
	if next, ok := nextElapse(u, now); ok {
		late = now.real - max(next, t.woken) - patience
	}
	second, recurs := t.second(u, triggered, now)
	if !recurs {
		return max(late, 0)
	}
	late = max(late, now.real-second-patience)
	if u.Sub == "running" && triggered != nil && running(triggered) {
		if started := seconds(triggered, "InactiveExitTimestamp"); started > 0 {
			started = max(started, t.woken, since(u, "LastTriggerUSec", "LastTriggerUSecMonotonic", now))
			late = max(late, now.real-started-longRun)
		}
	}
	return max(late, 0)
}

// gaps are how many gaps between runs are looked at: with a week's, one that rests at the
// weekend is known by its longest.
const gaps = 7

// interval is the longest of the next gaps between runs; 0 for a timer that does not recur, or
// of which that is not known.
func (t *timers) interval(u *units.Unit, now clocks) float64 {
	gap := math.Inf(1)
	for _, row := range u.Rows("TimersCalendar") {
		if len(row) < 2 {
			continue
		}
		text, _ := row[1].(string)
		c := parseCalendar(text, t.zone)
		if c == nil {
			continue
		}
		longest, last := 0.0, c.next(time.Unix(int64(now.real), 0))
		for range gaps {
			next := c.next(last)
			if last.IsZero() || next.IsZero() {
				break
			}
			longest, last = max(longest, next.Sub(last).Seconds()), next
		}
		if longest > 0 {
			gap = min(gap, longest)
		}
	}
	for _, row := range u.Rows("TimersMonotonic") {
		if len(row) < 2 {
			continue
		}
		base, _ := row[0].(string)
		usec, _ := row[1].(uint64)
		if base == "OnUnitActiveUSec" || base == "OnUnitInactiveUSec" {
			gap = min(gap, float64(usec)/1e6)
		}
	}
	if math.IsInf(gap, 1) {
		return 0
	}
	return gap
}

// second is when the timer should have run for the second time since its last run,
// its activation, or the machine's awakening, whichever was last. A timer that does
// not recur, or of which that is not known, has none.
func (t *timers) second(u, triggered *units.Unit, now clocks) (at float64, ok bool) {
	at = math.Inf(1)
	begin := max(t.woken, since(u, "ActiveEnterTimestamp", "ActiveEnterTimestampMonotonic", now), since(u, "LastTriggerUSec", "LastTriggerUSecMonotonic", now))
	for _, row := range u.Rows("TimersCalendar") {
		if len(row) < 2 {
			continue
		}
		text, _ := row[1].(string)
		c := parseCalendar(text, t.zone)
		if c == nil {
			continue
		}
		first := c.next(time.Unix(int64(begin), 0))
		if first.IsZero() {
			continue
		}
		if second := c.next(first); !second.IsZero() {
			at = min(at, float64(second.Unix()))
		}
	}
	gap := math.Inf(1)
	for _, row := range u.Rows("TimersMonotonic") {
		if len(row) < 3 {
			continue
		}
		base, _ := row[0].(string)
		usec, _ := row[1].(uint64)
		elapse, _ := row[2].(uint64)
		switch base {
		case "OnUnitActiveUSec":
			if triggered != nil { // it may have been started without the timer
				begin = max(begin, seconds(triggered, "InactiveExitTimestamp"))
			}
			gap = min(gap, float64(usec)/1e6)
		case "OnUnitInactiveUSec":
			// It counts from the end of a run.
			if triggered == nil || running(triggered) {
				continue
			}
			begin = max(begin, seconds(triggered, "InactiveEnterTimestamp"))
			gap = min(gap, float64(usec)/1e6)
		default: // once after boot, after systemd's start, or after the timer's
			if elapse != 0 && elapse != math.MaxUint64 {
				begin = max(begin, now.real+float64(elapse)/1e6-now.monotonic)
			}
		}
	}
	at = min(at, begin+2*gap)
	return at, !math.IsInf(at, 1)
}
