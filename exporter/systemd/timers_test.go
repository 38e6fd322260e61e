package systemd

import (
	"maps"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/exporter/internal/units"
)

// props are properties in seconds, or as they are.
type props map[string]any

const (
	hour = 3600.0
	day  = 24 * hour
)

// at is a moment of the test, in Unix time: 28 November 2026, 12:00 UTC.
const at = 1795867200.0

func unit(name, state, sub string, p props) *units.Unit {
	raw := map[string]any{}
	for k, v := range p {
		if s, ok := v.(float64); ok {
			v = uint64(s * 1e6)
		}
		raw[k] = v
	}
	return units.New(name, state, sub, raw)
}

// timer is a timer that waits, without a schedule; p changes it.
func timer(sub string, p props) *units.Unit {
	all := props{
		"Unit": "backup.service", "AccuracyUSec": 60.0, "RandomizedDelayUSec": 0.0, "ActiveEnterTimestamp": at - 20*day,
		"LastTriggerUSec": 0.0, "LastTriggerUSecMonotonic": 0.0, "NextElapseUSecRealtime": 0.0, "NextElapseUSecMonotonic": 0.0,
	}
	maps.Copy(all, p)
	return unit("backup.timer", "active", sub, all)
}

func calendarOf(texts ...string) [][]any {
	var rows [][]any
	for _, text := range texts {
		rows = append(rows, []any{"OnCalendar", text, uint64(0)})
	}
	return rows
}

func monotonicOf(base string, value, elapse float64) []any {
	return []any{base, uint64(value * 1e6), uint64(elapse * 1e6)}
}

const daily = "*-*-* 00:00:00"

func service(state string, p props) *units.Unit { return unit("backup.service", state, "", p) }

// now has the machine up for 30 days, of which it was awake for 25.
var now = clocks{real: at, monotonic: 25 * day, asleep: 5 * day}

// judge is what a machine with these units exposes of its timers.
func judge(t *timers, c clocks, all ...*units.Unit) map[string]float64 {
	t.clocks, t.zone = func() clocks { return c }, time.UTC
	ch := make(chan prometheus.Metric, 100)
	t.collect(all, ch)
	close(ch)
	found := map[string]float64{}
	for m := range ch {
		var d dto.Metric
		if err := m.Write(&d); err != nil {
			panic(err)
		}
		name := strings.TrimPrefix(strings.Split(m.Desc().String(), `"`)[1], "clanmon_systemd_timer_")
		for _, l := range d.Label {
			if l.GetName() != "name" {
				name += " " + l.GetValue()
			}
		}
		found[name] = d.GetGauge().GetValue()
	}
	return found
}

// A server that sees this machine for the first time knows what is late.
func TestTimersThatAreLate(t *testing.T) {
	hung := service("activating", props{"InactiveExitTimestamp": at - 3*day})
	idle := service("inactive", props{"InactiveExitTimestamp": at - 11*day, "InactiveEnterTimestamp": at - 11*day + hour, "Result": "success"})
	for name, c := range map[string]struct {
		timer, service *units.Unit
		want           float64
	}{
		"did not run for 11 days": {timer("waiting", props{"TimersCalendar": calendarOf(daily), "LastTriggerUSec": at - 11.5*day, "NextElapseUSecRealtime": at + day/2}), idle, 9.5*day - 70},
		"never ran":               {timer("waiting", props{"TimersCalendar": calendarOf(daily), "NextElapseUSecRealtime": at + day/2}), nil, 18.5*day - 70},
		"two schedules, one of which is short": {timer("waiting", props{
			"TimersCalendar": calendarOf(daily, "*-*-* *:00:00"), "LastTriggerUSec": at - 3*hour, "NextElapseUSecRealtime": at + hour,
		}), nil, hour - 70},
		"its next elapse has passed":  {timer("waiting", props{"TimersCalendar": calendarOf(daily), "LastTriggerUSec": at - 1.5*day, "NextElapseUSecRealtime": at - day/2}), nil, day/2 - 70},
		"by the monotonic clock":      {timer("waiting", props{"LastTriggerUSec": at - 2*day, "NextElapseUSecMonotonic": 25*day - hour}), nil, hour - 70},
		"the earlier of both clocks":  {timer("waiting", props{"NextElapseUSecMonotonic": 26 * day, "NextElapseUSecRealtime": at - hour}), nil, hour - 70},
		"beyond its random delay":     {timer("waiting", props{"NextElapseUSecRealtime": at - 3*hour, "RandomizedDelayUSec": 2 * hour}), nil, hour - 70},
		"within its random delay":     {timer("waiting", props{"NextElapseUSecRealtime": at - hour, "RandomizedDelayUSec": 2 * hour}), nil, 0},
		"within its accuracy":         {timer("waiting", props{"NextElapseUSecRealtime": at - 50}), nil, 0},
		"its service does not end":    {timer("running", props{"TimersCalendar": calendarOf(daily), "LastTriggerUSec": at - 3*day, "NextElapseUSecRealtime": at - 3*day}), hung, 2 * day},
		"a weekly one does not end":   {timer("running", props{"TimersCalendar": calendarOf("Mon *-*-* 00:00:00"), "LastTriggerUSec": at - 3*day}), hung, 2 * day},
		"runs, and not for long":      {timer("running", props{"TimersCalendar": calendarOf(daily), "LastTriggerUSec": at - hour, "NextElapseUSecRealtime": at - hour}), service("activating", props{"InactiveExitTimestamp": at - hour}), 0},
		"it was to start a daemon":    {timer("running", props{"TimersMonotonic": [][]any{monotonicOf("OnBootUSec", 300, 300)}, "LastTriggerUSec": at - 20*day}), service("active", props{"InactiveExitTimestamp": at - 20*day}), 0},
		"nothing starts it ever":      {timer("elapsed", props{"TimersMonotonic": [][]any{monotonicOf("OnUnitActiveUSec", hour, 0)}, "ActiveEnterTimestamp": at - 3*hour}), service("inactive", nil), hour - 70},
		"every hour, and it does not": {timer("waiting", props{"TimersMonotonic": [][]any{monotonicOf("OnUnitActiveUSec", hour, 0)}, "LastTriggerUSec": at - 30*hour, "LastTriggerUSecMonotonic": 25*day - 3*hour}), idle, hour - 70},
		"an hour after a long run":    {timer("running", props{"TimersMonotonic": [][]any{monotonicOf("OnUnitInactiveUSec", hour, 0)}, "LastTriggerUSec": at - 5*hour}), service("activating", props{"InactiveExitTimestamp": at - 5*hour}), 0},
		"an hour after its end":       {timer("elapsed", props{"TimersMonotonic": [][]any{monotonicOf("OnUnitInactiveUSec", hour, 0)}, "LastTriggerUSec": at - 5*hour}), service("inactive", props{"InactiveEnterTimestamp": at - 4*hour}), 2*hour - 70},
		"started without the timer":   {timer("waiting", props{"TimersMonotonic": [][]any{monotonicOf("OnUnitActiveUSec", hour, 0)}, "LastTriggerUSec": at - 5*hour}), service("inactive", props{"InactiveExitTimestamp": at - hour/2}), 0},
		"all is well":                 {timer("waiting", props{"TimersCalendar": calendarOf(daily), "LastTriggerUSec": at - day/2, "NextElapseUSecRealtime": at + day/2}), idle, 0},
		"not understood":              {timer("waiting", props{"TimersCalendar": calendarOf("when it rains"), "LastTriggerUSec": at - 11*day, "NextElapseUSecRealtime": at + day}), idle, 0},
		"over the weekend": {timer("waiting", props{ // Saturday
			"TimersCalendar": calendarOf("Mon..Thu *-*-* 09,17:00:00"), "LastTriggerUSec": at - 43*hour, "NextElapseUSecRealtime": at + 45*hour,
		}), idle, 0},
	} {
		t.Run(name, func(t *testing.T) {
			all := []*units.Unit{c.timer}
			if c.service != nil {
				all = append(all, c.service)
			}
			require.Equal(t, math.Floor(c.want), judge(newTimers(), now, all...)["overdue_seconds"])
		})
	}
}

func TestIntervalsOfTimers(t *testing.T) {
	for name, c := range map[string]struct {
		timer *units.Unit
		want  float64
	}{
		"every day":             {timer("waiting", props{"TimersCalendar": calendarOf(daily)}), day},
		"every day but Sundays": {timer("waiting", props{"TimersCalendar": calendarOf("Mon..Sat *-*-* 03:00:00")}), 2 * day},
		"twice a day":           {timer("waiting", props{"TimersCalendar": calendarOf("*-*-* 06,20:00:00")}), 14 * hour},
		"every month":           {timer("waiting", props{"TimersCalendar": calendarOf("*-*-01 00:00:00")}), 31 * day},
		"the shorter of two":    {timer("waiting", props{"TimersCalendar": calendarOf(daily, "*-*-* *:00:00")}), hour},
		"after each run":        {timer("running", props{"TimersMonotonic": [][]any{monotonicOf("OnBootUSec", 300, 300), monotonicOf("OnUnitActiveUSec", 6*hour, 0)}}), 6 * hour},
		"once":                  {timer("waiting", props{"TimersCalendar": calendarOf("2027-01-01 00:00:00")}), 0},
		"after boot":            {timer("waiting", props{"TimersMonotonic": [][]any{monotonicOf("OnBootUSec", 300, 300)}}), 0},
		"not understood":        {timer("waiting", props{"TimersCalendar": calendarOf("when it rains")}), 0},
	} {
		t.Run(name, func(t *testing.T) {
			all := newTimers()
			require.Equal(t, c.want, judge(all, now, c.timer)["interval_seconds backup.service"])
			require.Equal(t, c.want, judge(all, now, c.timer)["interval_seconds backup.service"], "as remembered")
		})
	}
	changed := newTimers()
	judge(changed, now, timer("waiting", props{"TimersCalendar": calendarOf(daily)}))
	require.Equal(t, hour, judge(changed, now, timer("waiting", props{"TimersCalendar": calendarOf("*-*-* *:00:00")}))["interval_seconds backup.service"])
}

func TestTimersAfterBootAndSleep(t *testing.T) {
	// Booted an hour ago, after days off.
	booted := clocks{real: at, monotonic: hour}
	for name, u := range map[string]*units.Unit{
		"persistent, about to catch up": timer("waiting", props{"TimersCalendar": calendarOf(daily), "ActiveEnterTimestamp": at - hour, "LastTriggerUSec": at - 11*day, "NextElapseUSecRealtime": at - hour + 1800, "RandomizedDelayUSec": hour}),
		"days after boot":               timer("waiting", props{"TimersMonotonic": [][]any{monotonicOf("OnBootUSec", 2*day, 2*day), monotonicOf("OnUnitActiveUSec", 60, 0)}, "ActiveEnterTimestamp": at - hour, "NextElapseUSecMonotonic": 2 * day}),
		"soon after boot":               timer("waiting", props{"TimersMonotonic": [][]any{monotonicOf("OnBootUSec", 4000, 4000), monotonicOf("OnUnitActiveUSec", day, 0)}, "ActiveEnterTimestamp": at - hour, "LastTriggerUSec": at - 5*day, "NextElapseUSecMonotonic": 4000.0}),
	} {
		require.Zero(t, judge(newTimers(), booted, u)["overdue_seconds"], name)
	}

	// Woken up within the same boot: what was due in between is on its way.
	missed := timer("waiting", props{"TimersCalendar": calendarOf(daily), "LastTriggerUSec": at - 4*day, "NextElapseUSecRealtime": at - 3*day})
	long := timer("running", props{"TimersCalendar": calendarOf("*-*-* *:00:00"), "LastTriggerUSec": at - 3*day})
	slow := service("activating", props{"InactiveExitTimestamp": at - 3*day})
	judged := newTimers()
	judge(judged, clocks{real: at - 3*day - hour, monotonic: 24 * day, asleep: 2 * day})
	require.Zero(t, judge(judged, now, missed)["overdue_seconds"])
	require.Zero(t, judge(judged, now, long, slow)["overdue_seconds"])
	later := clocks{real: now.real + 4*hour, monotonic: now.monotonic + 4*hour, asleep: now.asleep}
	require.Equal(t, 4*hour-70, judge(judged, later, missed)["overdue_seconds"], "it did not come")
	require.Equal(t, 2*hour-70, judge(judged, later, long, slow)["overdue_seconds"], "it does not end")
}

// A machine without a clock of its own boots with the time of its last shutdown, and is
// told the right one later.
func TestTimersWhenTheClockIsSet(t *testing.T) {
	after := clocks{real: at, monotonic: hour}
	u := timer("waiting", props{
		"TimersCalendar": calendarOf("*-*-* *:00:00"), "ActiveEnterTimestamp": at - 11*day, "ActiveEnterTimestampMonotonic": 20.0,
		"LastTriggerUSec": at - 11*day - hour, "NextElapseUSecRealtime": at + hour,
	})
	require.Zero(t, judge(newTimers(), after, u)["overdue_seconds"])
	running := timer("running", props{
		"TimersCalendar": calendarOf(daily), "ActiveEnterTimestamp": at - 11*day, "ActiveEnterTimestampMonotonic": 20.0,
		"LastTriggerUSec": at - 11*day, "LastTriggerUSecMonotonic": 30.0,
	})
	require.Zero(t, judge(newTimers(), after, running, service("activating", props{"InactiveExitTimestamp": at - 11*day}))["overdue_seconds"])
}

func TestWhatIsKnownOfATimer(t *testing.T) {
	waiting := timer("waiting", props{"TimersCalendar": calendarOf(daily), "LastTriggerUSec": at - day/2, "NextElapseUSecRealtime": at + day/2})
	failed := service("failed", props{"InactiveExitTimestamp": at - day/2, "InactiveEnterTimestamp": at - day/2 + 5, "Result": "exit-code"})
	require.Equal(t, map[string]float64{
		"overdue_seconds": 0, "next_elapse_timestamp_seconds": at + day/2, "last_result exit-code backup.service": 1,
		"interval_seconds backup.service": day,
	}, judge(newTimers(), now, waiting, failed))

	for name, s := range map[string]*units.Unit{
		"it did not run since boot": service("inactive", props{"Result": "success"}),
		"it runs":                   service("activating", props{"InactiveExitTimestamp": at - 5, "Result": "success"}),
	} {
		require.NotContains(t, judge(newTimers(), now, waiting, s), "last_result success backup.service", name)
	}
	require.Equal(t, map[string]float64{"overdue_seconds": 0}, judge(newTimers(), now, timer("elapsed", nil)))
	require.Empty(t, judge(newTimers(), now, unit("x.timer", "inactive", "dead", props{"LastTriggerUSec": at - 11*day})), "a stopped timer owes nothing")
	require.Empty(t, judge(newTimers(), now, units.New("x.timer", "active", "waiting", nil)), "nothing is known of it yet")
}
