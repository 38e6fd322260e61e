package fleet

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/clanmon/clanmon/discovery/contract"
	"github.com/clanmon/clanmon/server/internal/envelope"
)

// health is how a target fares.
type health struct {
	Target
	Method     string `json:"method,omitempty"` // who found it, as in a machine's sources
	Health     string `json:"health"`           // up, down or unknown: not scraped yet
	LastError  string `json:"lastError,omitempty"`
	LastScrape string `json:"lastScrape,omitempty"` // RFC 3339
	// Forgettable is that DELETE can forget it.
	Forgettable bool `json:"forgettable,omitempty"`
	// Interval is the seconds between two scrapes, by which the web UI chooses
	// the windows of rates.
	Interval float64 `json:"interval,omitempty"`
}

// machineAnswer is all that is known of a machine.
type machineAnswer struct {
	*Machine
	Selector string `json:"selector"`          // what goes between braces to select its series
	Earlier  string `json:"earlier,omitempty"` // the same for series from before it had the label
	Labelled bool   `json:"labelled"`
	Judged   bool   `json:"judged"`
	State    string `json:"state"`
	Since    string `json:"since,omitempty"` // RFC 3339
	Why      string `json:"why"`
	Checking bool   `json:"checking,omitempty"`
	Pending  int    `json:"pending"`
	Critical int    `json:"critical"`
	Warning  int    `json:"warning"`
	Info     int    `json:"info"`
	// Alerts are those that fire or are being checked, in the order of their begin.
	Alerts     []MachineAlert `json:"alerts"`
	Silenced   []SilencedBy   `json:"silenced"`
	Muted      []Muted        `json:"muted"`
	LastSeen   string         `json:"lastSeen,omitempty"` // RFC 3339
	UnitsKnown bool           `json:"unitsKnown"`
	Facts      *Facts         `json:"facts"`
	Warnings   []Warning      `json:"warnings"`
	Targets    []health       `json:"targets"`
}

// MachineAlert is an alert of a machine. Since is when it began to fire, also if that
// was before the server started.
type MachineAlert struct {
	Name     string         `json:"name"`
	Labels   model.LabelSet `json:"labels"`
	Severity string         `json:"severity"`        // critical, warning, info or none
	Since    string         `json:"since,omitempty"` // RFC 3339
	Checking bool           `json:"checking,omitempty"`
	Muted    bool           `json:"muted"`
}

func machineAlerts(all []finding) []MachineAlert {
	list := []MachineAlert{}
	slices.SortFunc(all, func(a, b finding) int {
		return cmp.Or(a.since.Compare(b.since), strings.Compare(a.labels.String(), b.labels.String()))
	})
	for _, a := range all {
		if !a.pending {
			list = append(list, MachineAlert{string(a.labels[model.AlertNameLabel]), a.labels, a.severity, stamp(a.since), a.checking, len(a.muted) > 0})
		}
	}
	return list
}

// Handler serves /machines, /fleet and /discovery, below /api/clanmon/v1. Answers
// have the shape of Prometheus' API: {"status": "success", "data": …}.
func (f *Fleet) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /machines", func(w http.ResponseWriter, r *http.Request) {
		envelope.Success(w, f.answer(r.Context(), r.URL.Query()["machine"]))
	})
	mux.HandleFunc("GET /fleet", f.serveFleet)
	mux.HandleFunc("GET /discovery", func(w http.ResponseWriter, _ *http.Request) {
		envelope.Success(w, f.discovery())
	})
	f.handleForgetting(mux)
	return mux
}

// answer tells of all machines, or only of those named. Filesystems are only read
// for those that are named.
func (f *Fleet) answer(ctx context.Context, only []string) []machineAnswer {
	s := f.refresh(ctx, figuresEvery)
	all := make([]machineAnswer, 0, len(s.machines))
	for name, j := range s.machines {
		if len(only) > 0 && !slices.Contains(only, name) {
			continue
		}
		facts := &Facts{}
		if j.facts != nil {
			c := *j.facts
			facts = &c
		}
		if len(only) > 0 && f.opts.Store != nil && !facts.at.IsZero() {
			facts.Filesystems = f.filesystemsAt(ctx, facts.at, newFinder(map[string]*subject{name: j.subject}), name, j.matcher())
		}
		a := machineAnswer{
			Machine: j.Machine, Selector: selector(name, j.labelled, j.instances), Earlier: j.earlier, Labelled: j.labelled, Judged: j.judgedBy,
			State: j.state, Since: stamp(j.since), Why: j.why, Checking: j.checking,
			Pending: j.pending, Critical: j.critical, Warning: j.warning, Info: j.info,
			Alerts: machineAlerts(slices.Clone(j.alerts)), Silenced: notNil(j.silenced), Muted: notNil(j.muted), Warnings: notNil(j.warnings),
			LastSeen: stamp(j.lastSeen()), UnitsKnown: facts.units, Facts: facts, Targets: make([]health, len(j.members)),
		}
		for i, m := range j.members {
			a.Targets[i] = m.health
		}
		all = append(all, a)
	}
	slices.SortFunc(all, func(a, b machineAnswer) int { return strings.Compare(a.Name, b.Name) })
	return all
}

func notNil[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// lastSeen is when something of a machine was up last, as far as is known.
func (j *judged) lastSeen() time.Time {
	last := j.seen
	for _, m := range j.members {
		if m.Health != "up" {
			continue
		}
		if t, err := time.Parse(time.RFC3339, m.LastScrape); err == nil && t.After(last) {
			last = t
		}
	}
	return last
}

// matcher selects the series of a machine.
func (j *judged) matcher() *labels.Matcher {
	if j.labelled || len(j.instances) == 0 {
		return eq(contract.MachineLabel, j.Name)
	}
	return amongExactly("instance", j.instances)
}

// fleetAnswer is what tables show: all machines, or those that changed.
type fleetAnswer struct {
	Cursor  string            `json:"cursor,omitempty"`
	Time    float64           `json:"time"`    // Unix seconds
	Started int64             `json:"started"` // the same
	Full    bool              `json:"full"`    // rows are all there are
	Rows    []json.RawMessage `json:"rows"`
	Gone    []string          `json:"gone"`
	Notices []Notice          `json:"notices"`
}

func (f *Fleet) serveFleet(w http.ResponseWriter, r *http.Request) {
	now := time.Now()
	a := fleetAnswer{Time: unix(now), Started: f.born.Unix(), Full: true, Gone: []string{}}
	if text := r.URL.Query().Get("time"); text != "" {
		seconds, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsNaN(seconds) || seconds < 0 || seconds > 1e11 {
			envelope.Error(w, http.StatusBadRequest, fmt.Sprintf("time %q: it must be a time in Unix seconds", text))
			return
		}
		rows, err := f.rowsOf(r.Context(), time.UnixMilli(int64(seconds*1000)))
		if err != nil {
			envelope.Error(w, http.StatusInternalServerError, err.Error())
			return
		}
		a.Time, a.Rows, a.Notices = seconds, rows, []Notice{}
		envelope.Success(w, a)
		return
	}
	s := f.refresh(r.Context(), figuresEvery)
	version, known := uint64(0), false
	if part := strings.Split(r.URL.Query().Get("since"), "-"); len(part) > 1 && part[0] == f.view.epoch {
		n, err := strconv.ParseUint(part[1], 10, 64)
		version, known = n, err == nil
	}
	d := f.view.since(version, known)
	a.Notices = notNil(f.notices(s))
	a.Cursor = f.cursor(d.cursor, a.Notices)
	a.Full, a.Rows, a.Gone = d.full, d.rows, d.gone
	envelope.Success(w, a)
}

// cursor says which rows and notices an answer has. The notices come last: a line that
// counts seconds is another one each time.
func (f *Fleet) cursor(rows uint64, notices []Notice) string {
	text, _ := json.Marshal(notices) // they are texts
	return fmt.Sprintf("%s-%d-%x", f.view.epoch, rows, xxhash.Sum64(text))
}

// Version is the cursor of the rows as they were judged last. It reads values as often as a
// page that asks for the rows.
func (f *Fleet) Version(ctx context.Context) string {
	s := f.view.now.Load()
	if f.valuesAreOld() {
		s = f.refresh(ctx, streamedEvery)
	}
	return f.cursor(f.view.current(), notNil(f.notices(s)))
}

func unix(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

// rowsOf are the rows with the figures and states of another time.
func (f *Fleet) rowsOf(ctx context.Context, t time.Time) ([]json.RawMessage, error) {
	s := f.refresh(ctx, never)
	subjects := make(map[string]*subject, len(s.machines))
	for name, j := range s.machines {
		subjects[name] = j.subject
	}
	rows := []json.RawMessage{}
	if f.opts.Query == nil {
		return rows, nil
	}
	found, err := f.figuresAt(ctx, t, subjects)
	if err != nil {
		return nil, err
	}
	facts, err := f.factsAt(ctx, t, newFinder(subjects), false)
	if err != nil {
		return nil, err
	}
	ups, err := f.newest(ctx, t.Add(-quietAfter), t, eq(model.MetricNameLabel, "up"))
	if err != nil {
		return nil, err
	}
	then, err := f.pastAt(ctx, t, ups, f.view.exporters(), nil)
	if err != nil {
		return nil, err
	}
	for name, j := range s.machines {
		c := *j
		c.figures, c.facts, c.silenced, c.seen = found[name], facts[name], nil, time.Time{}
		c.verdict = verdict{state: stateWaiting, why: "no samples at this time"}
		if v := then.verdict(name); v != nil {
			c.verdict = *v
			c.verdict.checking = false
		}
		r := newRow(&c, nil)
		r.Targets, r.Up = then.counts(name)
		text, err := json.Marshal(r)
		if err != nil {
			return nil, err
		}
		rows = append(rows, text)
	}
	return rows, nil
}

var stateDesc = prometheus.NewDesc("clanmon_machine_state",
	"The state of a machine, as the pages show it: down, critical, warning, waiting, offline, unjudged or ok. Only the present one exists, with the value 1.",
	[]string{"machine", "state"}, nil)

// States are those of all machines, by name.
func (f *Fleet) States() map[string]string {
	machines := f.view.now.Load().machines
	all := make(map[string]string, len(machines))
	for name, j := range machines {
		all[name] = j.state
	}
	return all
}

func (f *Fleet) collectStates(ch chan<- prometheus.Metric) {
	for name, state := range f.States() {
		ch <- prometheus.MustNewConstMetric(stateDesc, prometheus.GaugeValue, 1, name, state)
	}
}
