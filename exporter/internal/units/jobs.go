package units

import (
	"regexp"

	"github.com/prometheus/client_golang/prometheus"
)

var (
	successDesc  = prometheus.NewDesc("systemd_unit_last_success_timestamp_seconds", "When a run of the job last ended with success.", []string{"name", "type"}, nil)
	runningDesc  = prometheus.NewDesc("clanmon_systemd_job_running", "Whether the job runs. timer is the timer that starts it, empty if none does.", []string{"name", "timer"}, nil)
	startDesc    = prometheus.NewDesc("clanmon_systemd_job_last_start_timestamp_seconds", "When the last run of the job began, also if it has not ended.", []string{"name"}, nil)
	durationDesc = prometheus.NewDesc("clanmon_systemd_job_last_duration_seconds", "How long the last run of the job that ended took.", []string{"name"}, nil)
	exitCodeDesc = prometheus.NewDesc("clanmon_systemd_job_last_exit_code", "Exit code of the last run of the job that ended, with its result as named by systemd, or stopped. 128 and the number of the signal that ended it; -1 if not known.", []string{"name", "result"}, nil)
)

const (
	success = "success"
	// stopped is a run that somebody ended. systemd calls it a success where a service
	// may run for ever, which a job does not.
	stopped = "stopped"
	// conditional is a run that its own ExecCondition= left out.
	conditional = "exec-condition"

	exited = 1 // CLD_EXITED, how systemd says that a process ended by itself
)

// transient are names that systemd-run gives.
var transient = regexp.MustCompile(`^run-[pru]?[0-9a-f-]+\.service$`)

// Jobs says how services that run to their end did: oneshot services, and whatever a timer
// starts. systemd forgets how the last run ended as soon as the next one begins, so Jobs
// remembers it. It is not safe for concurrent use.
type Jobs struct {
	last map[string]run
}

// run is a run that ended. Times are Unix seconds.
type run struct {
	end      float64
	duration float64 // negative if the clock was set in between
	result   string  // "" if it is not known
	exitCode float64
	success  float64 // of this run or, if it failed, the last that did not; 0 if none is known
}

// Collect sends the metrics of all jobs among the units of a Snapshot.
func (j *Jobs) Collect(all []*Unit, ch chan<- prometheus.Metric) {
	timers := map[string]string{}
	for _, u := range all {
		if starts, ok := u.Text("Unit"); ok && u.Type == "timer" && u.State == "active" {
			timers[starts] = u.Name
		}
	}
	last := make(map[string]run, len(j.last))
	for _, u := range all {
		if u.Type != "service" {
			continue
		}
		timer := timers[u.Name]
		r, remembered := j.last[u.Name]
		if u.properties != nil && !isJob(u, timer) || u.properties == nil && !remembered {
			continue
		}
		if now, ok := ended(u, r); ok {
			r, remembered = now, true
		}
		if remembered {
			last[u.Name] = r
		}
		send := func(desc *prometheus.Desc, value float64, labels ...string) {
			if m, err := prometheus.NewConstMetric(desc, prometheus.GaugeValue, value, append([]string{u.Name}, labels...)...); err == nil {
				ch <- m
			}
		}
		var runs float64
		if u.running() {
			runs = 1
		}
		send(runningDesc, runs, timer)
		if started := u.seconds("InactiveExitTimestamp"); started > 0 {
			send(startDesc, started)
		}
		if !remembered {
			continue
		}
		if r.success > 0 {
			send(successDesc, r.success, u.Type)
		}
		if r.duration >= 0 {
			send(durationDesc, r.duration)
		}
		if r.result != "" {
			send(exitCodeDesc, r.exitCode, r.result)
		}
	}
	j.last = last
}

// isJob reports whether a service is one that runs to its end. One that stays active after it
// has ended (RemainAfterExit=) sets the machine up, and is a job only if a timer starts it.
func isJob(u *Unit, timer string) bool {
	if timer != "" {
		return true
	}
	kind, _ := u.Text("Type")
	return kind == "oneshot" && u.Sub != "exited" && u.seconds("InactiveExitTimestamp") > 0 && !transient.MatchString(u.Name)
}

func (u *Unit) running() bool {
	return u.Sub != "exited" && u.State != "inactive" && u.State != "failed"
}

// seconds is a time in Unix seconds, 0 if systemd has none.
func (u *Unit) seconds(property string) float64 {
	v, _ := u.Limited(property)
	return v / 1e6
}

// ended is the last run of a unit that does not run; before is the run known of it so far.
func ended(u *Unit, before run) (r run, ok bool) {
	result, known := u.Text("Result")
	begin, end := u.seconds("InactiveExitTimestamp"), u.seconds("InactiveEnterTimestamp")
	if u.Sub == "exited" {
		end = u.seconds("ActiveEnterTimestamp")
	}
	if !known || u.running() || begin == 0 || end == 0 || result == conditional {
		return r, false
	}
	r = run{end: end, duration: end - begin, result: result, success: before.success}
	status, _ := u.Number("ExecMainStatus")
	how, _ := u.Number("ExecMainCode")
	switch {
	case how > exited:
		r.exitCode = 128 + status
	case result != success && status == 0:
		r.exitCode = -1 // another process of it failed, or none was started
	default:
		r.exitCode = status
	}
	if result != success {
		return r, true
	}
	switch {
	case end == before.end && before.result != success && before.result != stopped:
		// systemctl reset-failed: the failure is forgotten, and is no success.
		r.result = ""
	case u.State == "inactive" && status != 0 && u.seconds("StateChangeTimestamp") > end:
		r.result = "" // the same, before this program was started
	case how > exited:
		r.result = stopped
	default:
		r.success = end
	}
	return r, true
}
