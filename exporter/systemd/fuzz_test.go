package systemd

import (
	"testing"
	"time"
)

// FuzzTimer judges timers with whatever times and texts systemd, or who poses as it,
// says of them.
func FuzzTimer(f *testing.F) {
	f.Add("waiting", "active", "*-*-* 00:00:00", "OnUnitActiveUSec", uint64(1e12), uint64(2e12), uint64(6e7))
	f.Add("running", "activating", "Mon..Fri 2030-02-30 */3:59/7:00 Europe/Berlin", "OnBootUSec", uint64(0), ^uint64(0), ^uint64(0)-1)
	f.Add("elapsed", "failed", "~31", "", ^uint64(0), uint64(1), uint64(0))
	f.Fuzz(func(_ *testing.T, sub, state, calendar, base string, a, b, c uint64) {
		p := props{
			"LastTriggerUSec": a, "LastTriggerUSecMonotonic": b, "NextElapseUSecRealtime": b, "NextElapseUSecMonotonic": c, "AccuracyUSec": c,
			"RandomizedDelayUSec": a, "ActiveEnterTimestamp": c, "ActiveEnterTimestampMonotonic": a, "Unit": "backup.service",
			"TimersCalendar":  [][]any{{"OnCalendar", calendar, a}, {}, {1, 2}, {base, calendar}},
			"TimersMonotonic": [][]any{{base, a, b}, {base}, {1, "x", 2}, {base, b, c}},
		}
		judge(&timers{zone: time.UTC, asleep: -1}, clocks{real: 1.8e9, monotonic: 1e6, asleep: float64(a % 1000)},
			timer(sub, p), service(state, props{"InactiveExitTimestamp": b, "InactiveEnterTimestamp": a, "Result": calendar}))
	})
}
