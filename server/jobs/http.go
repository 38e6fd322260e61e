package jobs

import (
	"net/http"

	"github.com/clanmon/clanmon/server/internal/envelope"
)

// Kinds of a Job.
const (
	KindTimer   = "timer"   // a service that a timer starts
	KindService = "service" // a oneshot service without a timer
	KindPing    = "ping"    // reported by requests to /ping
	KindJob     = "job"     // reported by clanmon job
)

// States of a Job.
const (
	StateOK      = "ok"      // the last run succeeded
	StateFailed  = "failed"  // the last run failed
	StateLate    = "late"    // it should have run
	StateRunning = "running" // it runs
	StateNever   = "never"   // it has not succeeded yet
	StateUnknown = "unknown" // its machine is down, the unit is not loaded any more, or its exporter does not say how runs end
)

// Job is a row of the answer. Times are Unix seconds, durations seconds; null is not known.
type Job struct {
	Machine string `json:"machine"` // "" for a ping that names none
	// Name is the unit that runs, such as borgbackup-job-home.service, or the name of the ping.
	Name string `json:"name"`
	Kind string `json:"kind"`
	// Timer is the timer that starts it, "" if none does.
	Timer string `json:"timer,omitempty"`
	// Backup is the name of the backup that it makes, "" if it makes none.
	Backup      string   `json:"backup"`
	LastSuccess *float64 `json:"lastSuccess"`
	// LastRun is when the last run began, also one that still goes on.
	LastRun *float64 `json:"lastRun"`
	// LastResult is of the last run that ended: success, or what systemd calls the failure
	// (exit-code, signal, timeout, …); "" if not known.
	LastResult string `json:"lastResult"`
	// ExitCode is of the last run that ended, 128 and the signal's number if one ended it.
	ExitCode *int `json:"exitCode"`
	// Duration is of the last run that ended.
	Duration *float64 `json:"duration"`
	// Usual is the range in which durations usually are.
	Usual *Range `json:"usual"`
	// Next is when it runs next, or when a ping is due.
	Next *float64 `json:"next"`
	// Overdue reports whether it should have run by now.
	Overdue bool   `json:"overdue"`
	State   string `json:"state"`
	// Gap is the usual time from one run to the next.
	Gap *float64 `json:"gap"`
}

// Range is a range of durations in seconds.
type Range struct {
	Min float64 `json:"min"`
	Max float64 `json:"max"`
}

// answer is what GET /api/clanmon/v1/jobs responds with.
type answer struct {
	Jobs []Job `json:"jobs"`
}

// APIHandler serves /api/clanmon/v1/jobs.
func (j *Jobs) APIHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !envelope.Reads(w, r) {
			return
		}
		all, err := j.All(r.Context())
		if err != nil {
			envelope.Error(w, http.StatusInternalServerError, "read jobs from the store: "+err.Error())
			return
		}
		envelope.Success(w, answer{Jobs: all})
	})
}
