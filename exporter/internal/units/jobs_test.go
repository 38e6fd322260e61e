package units

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/require"
)

type props map[string]any

// at is 28 November 2026, 12:00 UTC.
const at = 1795867200

// service is one that ran from at to at+30, oneshot unless p says otherwise; times are seconds
// after at.
func service(state, sub string, p props) *Unit {
	all := map[string]any{
		"Type": "oneshot", "Result": "success", "ExecMainCode": int32(1), "ExecMainStatus": int32(0),
		"InactiveExitTimestamp": 0, "InactiveEnterTimestamp": 30, "StateChangeTimestamp": 30, "ActiveEnterTimestamp": -1,
	}
	maps.Copy(all, p)
	for k, v := range all {
		if s, ok := v.(int); ok && s < 0 {
			all[k] = uint64(0)
		} else if ok {
			all[k] = uint64((at + s) * 1e6)
		}
	}
	return New("backup.service", state, sub, all)
}

var nightly = New("night.timer", "active", "waiting", map[string]any{"Unit": "backup.service"})

// collected is what is said of backup.service, by the last words of the metric.
func collected(j *Jobs, all ...*Unit) map[string]float64 {
	ch := make(chan prometheus.Metric, 100)
	j.Collect(all, ch)
	close(ch)
	found := map[string]float64{}
	for m := range ch {
		var d dto.Metric
		if err := m.Write(&d); err != nil {
			panic(err)
		}
		name := strings.Split(m.Desc().String(), `"`)[1]
		for _, prefix := range []string{"clanmon_systemd_job_", "systemd_unit_"} {
			name = strings.TrimPrefix(name, prefix)
		}
		for _, l := range d.Label {
			if l.GetName() == "timer" || l.GetName() == "result" {
				name += fmt.Sprintf(" %q", l.GetValue())
			}
		}
		found[name] = d.GetGauge().GetValue()
		if strings.Contains(name, "timestamp") {
			found[name] -= at
		}
	}
	return found
}

const (
	start    = "last_start_timestamp_seconds"
	succeed  = "last_success_timestamp_seconds"
	duration = "last_duration_seconds"
	noTimer  = `running ""`
	timer    = `running "night.timer"`
)

func code(result string) string { return fmt.Sprintf("last_exit_code %q", result) }

func TestHowARunEnded(t *testing.T) {
	for name, c := range map[string]struct {
		unit *Unit
		want map[string]float64
	}{
		"well":            {service("inactive", "dead", nil), map[string]float64{noTimer: 0, start: 0, succeed: 30, duration: 30, code("success"): 0}},
		"with a code":     {service("failed", "failed", props{"Result": "exit-code", "ExecMainStatus": int32(3)}), map[string]float64{noTimer: 0, start: 0, duration: 30, code("exit-code"): 3}},
		"by a signal":     {service("failed", "failed", props{"Result": "signal", "ExecMainCode": int32(2), "ExecMainStatus": int32(9)}), map[string]float64{noTimer: 0, start: 0, duration: 30, code("signal"): 137}},
		"before it began": {service("failed", "failed", props{"Result": "exit-code", "ExecMainCode": int32(0)}), map[string]float64{noTimer: 0, start: 0, duration: 30, code("exit-code"): -1}},
		"with a code that is fine (SuccessExitStatus=)": {service("inactive", "dead", props{"ExecMainStatus": int32(1)}), map[string]float64{noTimer: 0, start: 0, succeed: 30, duration: 30, code("success"): 1}},
		"by systemctl stop, which systemd calls a success of a simple service": {
			service("inactive", "dead", props{"ExecMainCode": int32(2), "ExecMainStatus": int32(15), "Type": "oneshot"}),
			map[string]float64{noTimer: 0, start: 0, duration: 30, code("stopped"): 143},
		},
		"with a failure that was reset before anybody looked": {
			service("inactive", "dead", props{"ExecMainStatus": int32(1), "StateChangeTimestamp": 500}),
			map[string]float64{noTimer: 0, start: 0, duration: 30},
		},
		"and the clock was set back":    {service("inactive", "dead", props{"InactiveExitTimestamp": 1000}), map[string]float64{noTimer: 0, start: 1000, succeed: 30, code("success"): 0}},
		"but its condition was not met": {service("inactive", "dead", props{"Result": "exec-condition"}), map[string]float64{noTimer: 0, start: 0}},
		"not yet":                       {service("activating", "start", props{"InactiveEnterTimestamp": -1}), map[string]float64{noTimer: 1, start: 0}},
		"never":                         {service("inactive", "dead", props{"InactiveExitTimestamp": -1, "InactiveEnterTimestamp": -1}), map[string]float64{}},
		"and it sets the machine up":    {service("active", "exited", props{"ActiveEnterTimestamp": 5}), map[string]float64{}},
		"of a service that runs on":     {service("inactive", "dead", props{"Type": "simple"}), map[string]float64{}},
	} {
		t.Run(name, func(t *testing.T) {
			j := &Jobs{}
			require.Equal(t, c.want, collected(j, c.unit))
			require.Equal(t, c.want, collected(j, c.unit), "at the next scrape")
		})
	}
}

func TestWhatATimerStartsIsAJob(t *testing.T) {
	for name, c := range map[string]struct {
		unit *Unit
		want map[string]float64
	}{
		"a simple service":     {service("inactive", "dead", props{"Type": "simple"}), map[string]float64{timer: 0, start: 0, succeed: 30, duration: 30, code("success"): 0}},
		"one that runs":        {service("active", "running", props{"Type": "simple", "InactiveEnterTimestamp": -1}), map[string]float64{timer: 1, start: 0}},
		"one that stays":       {service("active", "exited", props{"ActiveEnterTimestamp": 5}), map[string]float64{timer: 0, start: 0, succeed: 5, duration: 5, code("success"): 0}},
		"one that never ran":   {service("inactive", "dead", props{"InactiveExitTimestamp": -1, "InactiveEnterTimestamp": -1}), map[string]float64{timer: 0}},
		"one of another start": {service("failed", "failed", props{"Result": "timeout", "ExecMainCode": int32(2), "ExecMainStatus": int32(15)}), map[string]float64{timer: 0, start: 0, duration: 30, code("timeout"): 143}},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, c.want, collected(&Jobs{}, nightly, c.unit))
		})
	}
	stopped := New("night.timer", "inactive", "dead", map[string]any{"Unit": "backup.service"})
	require.Empty(t, collected(&Jobs{}, stopped, service("inactive", "dead", props{"Type": "simple"})))
	byHand := New("run-u12.service", "inactive", "dead", service("inactive", "dead", nil).properties)
	require.Empty(t, collected(&Jobs{}, byHand))
}

// systemd says nothing of the run before once the next one begins.
func TestRunsAreRemembered(t *testing.T) {
	j := &Jobs{}
	first := collected(j, service("inactive", "dead", nil))
	require.EqualValues(t, 30, first[succeed])
	again := props{"InactiveExitTimestamp": 100}
	require.Equal(t, map[string]float64{noTimer: 1, start: 100, succeed: 30, duration: 30, code("success"): 0}, collected(j, service("activating", "start", again)))
	failed := props{"InactiveExitTimestamp": 100, "InactiveEnterTimestamp": 120, "StateChangeTimestamp": 120, "Result": "exit-code", "ExecMainStatus": int32(0), "ExecMainCode": int32(0)}
	require.Equal(t, map[string]float64{noTimer: 0, start: 100, succeed: 30, duration: 20, code("exit-code"): -1}, collected(j, service("failed", "failed", failed)))
	unread := New("backup.service", "failed", "failed", nil)
	require.Equal(t, map[string]float64{noTimer: 0, succeed: 30, duration: 20, code("exit-code"): -1}, collected(j, unread), "there was no time to ask")
	failed["Result"], failed["StateChangeTimestamp"] = "success", 200
	require.Equal(t, map[string]float64{noTimer: 0, start: 100, succeed: 30, duration: 20}, collected(j, service("inactive", "dead", failed)), "reset-failed is no success")
	require.Equal(t, map[string]float64{noTimer: 0, start: 100, succeed: 30, duration: 20}, collected(j, service("inactive", "dead", failed)), "nor at the next scrape")
	require.Empty(t, collected(j))
	require.Empty(t, j.last, "what is not loaded any more is forgotten")
	require.Empty(t, collected(j, New("backup.service", "inactive", "dead", nil)))
}
