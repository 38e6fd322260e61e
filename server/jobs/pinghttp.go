package jobs

import (
	"crypto/sha256"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Results of a run that a ping reports.
const (
	resultSuccess  = "success"
	resultExitCode = "exit-code"
	resultFail     = "fail" // without an exit code
)

// CommandAgent begins the User-Agent of clanmon job.
const CommandAgent = "clanmon-job/"

const (
	perToken   = 10 // pings a second
	perGuesses = 50 // requests a second with tokens that do not exist
)

// rate counts what happens in a second.
type rate struct {
	second int64
	count  int
}

// exceeded counts one more, and reports whether that is more than limit in this second.
func (r *rate) exceeded(now time.Time, limit int) bool {
	if s := now.Unix(); s != r.second {
		r.second, r.count = s, 0
	}
	r.count++
	return r.count > limit
}

// runID is what clients send as ?rid=.
var runID = regexp.MustCompile(`^[0-9a-fA-F-]{36}$`)

// PingHandler serves /TOKEN, /TOKEN/start, /TOKEN/fail, /TOKEN/log and /TOKEN/EXITCODE, as
// healthchecks.io has them. A token is the only credential, and moves only its own job. Bodies
// are not read.
func (j *Jobs) PingHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		code, text := j.ping(r, time.Now())
		h := w.Header()
		h.Set("Content-Type", "text/plain; charset=utf-8")
		h.Set("Cache-Control", "no-store")
		h.Set("Ping-Body-Limit", "0") // clients then send none
		switch code {
		case http.StatusMethodNotAllowed:
			h.Set("Allow", "GET, HEAD, POST")
		case http.StatusTooManyRequests:
			h.Set("Retry-After", "1")
		}
		w.WriteHeader(code)
		if r.Method != http.MethodHead {
			_, _ = io.WriteString(w, text)
		}
	})
}

func (j *Jobs) ping(r *http.Request, now time.Time) (code int, text string) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead && r.Method != http.MethodPost {
		return http.StatusMethodNotAllowed, "use GET, HEAD or POST"
	}
	token, action, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	p := &j.pings
	key := hash(sha256.Sum256([]byte(token)))
	p.mu.Lock()
	one := p.byToken[key]
	limited := false
	if one == nil {
		limited = p.guesses.exceeded(now, perGuesses)
	} else {
		limit := p.limits[key]
		if limit == nil {
			limit = &rate{}
			p.limits[key] = limit
		}
		limited = limit.exceeded(now, perToken)
	}
	p.mu.Unlock()
	switch {
	case limited:
		return http.StatusTooManyRequests, "rate limited"
	case one == nil:
		return http.StatusNotFound, "not found"
	}
	s := signal{result: resultSuccess, run: r.URL.Query().Get("rid"), command: strings.HasPrefix(r.UserAgent(), CommandAgent)}
	if s.run != "" && !runID.MatchString(s.run) {
		return http.StatusBadRequest, "invalid uuid format: rid"
	}
	switch action = strings.TrimSuffix(action, "/"); action {
	case "":
	case "start":
		s.start = true
	case "fail":
		s.result, s.exitCode = resultFail, -1
	case "log":
		return http.StatusOK, "OK"
	default:
		n, err := strconv.ParseUint(action, 10, 8)
		if err != nil {
			return http.StatusBadRequest, "invalid url format: start, fail, log, or an exit code from 0 to 255"
		}
		if s.exitCode = int(n); n > 0 {
			s.result = resultExitCode
		}
	}
	// How clanmon job says when something was, if it could not say so at once.
	past, known := spanOf(r, "ago", maxAgo)
	took, timed := spanOf(r, "duration", maxDuration)
	if !known || !timed {
		return http.StatusBadRequest, "ago and duration must be seconds"
	}
	s.took = took
	p.take(one, s, now.Add(-past))
	select {
	case j.pinged <- struct{}{}:
	default: // it will be seen
	}
	return http.StatusOK, "OK"
}

const (
	maxAgo      = 24 * time.Hour
	maxDuration = 366 * 24 * time.Hour
)

// spanOf is a parameter in seconds, 0 if there is none; false if it is invalid.
func spanOf(r *http.Request, name string, most time.Duration) (time.Duration, bool) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return 0, true
	}
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || !(v >= 0 && v <= most.Seconds()) {
		return 0, false
	}
	return time.Duration(v * float64(time.Second)), true
}
