package checks

import (
	"context"
	"net/http"
	"time"

	"github.com/clanmon/clanmon/internal/probe"
	"github.com/clanmon/clanmon/server/internal/envelope"
)

// row is a check for the pages: the worst of its places, and each of them.
type row struct {
	Name     string  `json:"name"`
	URL      string  `json:"url"`
	Machine  string  `json:"machine,omitempty"`
	Severity string  `json:"severity"`
	Every    float64 `json:"every"`           // seconds
	CertDays int     `json:"certificateDays"` // days before it expires from which on it is late
	// What follows is of the place with the worst state, but for the uptime, which is the mean
	// of all places, and the earliest certificate.
	place
	Places []place `json:"places"`
}

// place is a check from one machine.
type place struct {
	From string `json:"from"`
	// State is ok, failed once (the last probe), failing (two of the last three), not run (the
	// machine could not be asked) or unknown.
	State string `json:"state"`
	// Since is when that state began, RFC 3339, also before the server started; "" if that is
	// not known.
	Since    string  `json:"since,omitempty"`
	Checked  string  `json:"checked,omitempty"` // the last probe, RFC 3339
	Duration float64 `json:"duration"`          // of the last probe, in seconds
	Why      string  `json:"why,omitempty"`     // the last probe failed, or there was none
	Expires  string  `json:"certificateExpires,omitempty"`
	Uptime   uptime  `json:"uptime"`
	// LastFailure is the last probe that failed since the server started.
	LastFailure *failure `json:"lastFailure,omitempty"`
}

type failure struct {
	At  string `json:"at"`
	Why string `json:"why"`
	Log string `json:"log,omitempty"` // only where one check is asked for
}

// uptime is the part of probes that succeeded; null where there are none.
type uptime struct {
	Day     *float64 `json:"day"`
	Month   *float64 `json:"month"`   // 30 days
	Quarter *float64 `json:"quarter"` // 90 days
}

// severity orders the states, the worst last.
var severity = map[string]int{stateOK: 1, stateUnknown: 2, stateNotRun: 3, stateOnce: 4, stateFailing: 5}

// APIHandler serves /checks, /checks/{name} and POST /checks/{name}/run, below
// /api/clanmon/v1.
func (c *Checks) APIHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		envelope.Success(w, map[string]any{"checks": c.rows(r.Context(), "")})
	})
	mux.HandleFunc("GET /{name}", func(w http.ResponseWriter, r *http.Request) {
		rows := c.rows(r.Context(), r.PathValue("name"))
		if len(rows) == 0 {
			envelope.Error(w, http.StatusNotFound, "there is no check "+r.PathValue("name"))
			return
		}
		envelope.Success(w, rows[0])
	})
	mux.HandleFunc("POST /{name}/run", c.run)
	return mux
}

// run probes now, for whoever asks, one at a time, and not sooner than minRunPause after the last
// probe. The parameter from says from where; the first place is the default.
func (c *Checks) run(w http.ResponseWriter, r *http.Request) {
	entries := c.of(r.PathValue("name"))
	if len(entries) == 0 {
		envelope.Error(w, http.StatusNotFound, "there is no check "+r.PathValue("name"))
		return
	}
	e := entries[0]
	if from := r.URL.Query().Get("from"); from != "" {
		if e = c.entry(key{e.name, from}); e == nil {
			envelope.Error(w, http.StatusNotFound, "check "+r.PathValue("name")+" does not run from "+from)
			return
		}
	}
	e.mu.Lock()
	busy, wait := e.running, minRunPause-time.Since(e.last.At)
	e.running = true
	e.mu.Unlock()
	if busy {
		w.Header().Set("Retry-After", "1")
		envelope.Error(w, http.StatusTooManyRequests, "somebody else runs this check now; try again in a second")
		return
	}
	defer func() {
		e.mu.Lock()
		e.running = false
		e.mu.Unlock()
	}()
	ctx, cancel := context.WithTimeout(r.Context(), runLimit)
	defer cancel()
	select {
	case <-time.After(min(wait, minRunPause)):
	case <-ctx.Done():
	}
	result, err := e.probe(ctx)
	if err != nil {
		envelope.Error(w, http.StatusBadGateway, err.Error())
		return
	}
	envelope.Success(w, map[string]any{"ok": result.OK, "why": result.Why, "duration": result.Duration.Seconds(), "log": result.Log})
}

// minRunPause keeps a button from being a tool to flood somebody.
const minRunPause = time.Second

// rows are all checks, or the one of that name with the logs of its last failures.
func (c *Checks) rows(ctx context.Context, only string) []row {
	c.mu.RLock()
	order, entries := c.order, c.entries
	c.mu.RUnlock()
	rows := []row{}
	if len(order) == 0 {
		return rows
	}
	c.remember(ctx)
	known := c.uptimes(ctx)
	for _, k := range order {
		if only != "" && k.name != only {
			continue
		}
		e := entries[k]
		p := e.place(only != "")
		p.Uptime = known[k]
		if n := len(rows) - 1; n >= 0 && rows[n].Name == k.name {
			rows[n].Places = append(rows[n].Places, p)
			continue
		}
		rows = append(rows, row{
			Name: k.name, URL: e.check.Instance(), Machine: e.check.Machine, Severity: e.check.Severity,
			Every: e.check.Every.Seconds(), CertDays: e.check.CertificateDays, Places: []place{p},
		})
	}
	for i := range rows {
		rows[i].place = worst(rows[i].Places)
	}
	return rows
}

// place is what e says of itself, without the uptime.
func (e *entry) place(logs bool) place {
	e.mu.Lock()
	defer e.mu.Unlock()
	p := place{
		From: e.from, State: e.state(), Since: stamp(e.since), Checked: stamp(e.last.At),
		Duration: e.last.Duration.Seconds(), Why: e.last.Why, Expires: stamp(e.last.Expires),
	}
	if e.trouble != "" {
		p.Why = e.trouble
	}
	if !e.failed.At.IsZero() {
		p.LastFailure = failureOf(e.failed, logs)
	}
	return p
}

func failureOf(r probe.Result, logs bool) *failure {
	f := &failure{At: stamp(r.At), Why: r.Why}
	if logs {
		f.Log = r.Log
	}
	return f
}

// worst sums the places of a check up.
func worst(places []place) place {
	sum := places[0]
	var days, months, quarters []*float64
	expires := ""
	for _, p := range places {
		if severity[p.State] > severity[sum.State] {
			sum = p
		}
		// Times in this form are in order as texts are.
		if p.Expires != "" && (expires == "" || p.Expires < expires) {
			expires = p.Expires
		}
		days, months, quarters = append(days, p.Uptime.Day), append(months, p.Uptime.Month), append(quarters, p.Uptime.Quarter)
	}
	sum.Expires = expires
	sum.Uptime = uptime{mean(days), mean(months), mean(quarters)}
	return sum
}

// mean is that of the values that there are; nil if there are none.
func mean(values []*float64) *float64 {
	sum, n := 0.0, 0.0
	for _, v := range values {
		if v != nil {
			sum, n = sum+*v, n+1
		}
	}
	if n == 0 {
		return nil
	}
	sum /= n
	return &sum
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}
