// Package elsewhere finds the machines that other servers watch, in the engine of
// --query.url to which they write too.
//
// A server's external labels, without those of a replica, name its cluster. Series with the
// same labels and other values are of other clusters. Nothing of these machines is stored
// here: the engine is asked while a client asks, and the last answer is kept while it does
// not respond. A machine is called machine@values, such as beta@office, so that two sites may
// have machines of the same name; this server's own keep their names.
package elsewhere

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"

	"github.com/clanmon/clanmon/discovery/contract"
)

const (
	every     = 20 * time.Second // between two rounds of queries
	limit     = 30 * time.Second // of a round
	quiet     = 5 * time.Minute  // after which samples are missed
	forgotten = 24 * time.Hour   // after which a machine that is not heard is none
	deepEvery = 10 * time.Minute // between two queries that look back so far
	most      = 5000             // machines
	// named is how many machines a query names; of more it reads all, because some engines
	// limit the length of a query.
	named = 100
)

// Options say whom an Elsewhere asks.
type Options struct {
	// Query evaluates an expression in the engine as it is written, and returns the engine's
	// warnings too; nil without an engine. Its errors are for people.
	Query func(ctx context.Context, expr string, t time.Time, lookback time.Duration) (promql.Vector, []string, error)
	// ShortSighted is that the engine looks back as far as it is configured, whatever a query says.
	ShortSighted bool
	// External are the external labels of this server, Replica the names of those by which
	// servers of a pair differ.
	External func() []labels.Label
	Replica  []string
	// Own are the states of this server's machines, by name.
	Own     func() map[string]string
	Figures []Figure
	// Severity of an alert's label: critical, warning, info or none.
	Severity func(text string) string
	// NotReached and Incomplete begin warnings.
	NotReached, Incomplete string

	Logger *slog.Logger
	Now    func() time.Time // nil is time.Now
}

// Figure is a current value of machines. Of several values of a machine the largest counts.
type Figure struct {
	Name   string
	Record string // the built-in recording rule, "" for none
	// Raw is the same from the series themselves, of what selector selects and by the
	// labels by; nil if machines without the record lack the figure.
	Raw func(selector, by string) string
}

// Machine is one that another server watches.
type Machine struct {
	Name         string             `json:"name"`     // machine@site
	Machine      string             `json:"machine"`  // its label
	Site         string             `json:"site"`     // the values of its cluster's labels
	Tags         []string           `json:"tags"`     // the same as label=value
	Selector     string             `json:"selector"` // what goes between braces to select its series
	State        string             `json:"state"`
	Since        string             `json:"since,omitempty"` // RFC 3339; not always known
	Why          string             `json:"why"`
	Intermittent bool               `json:"intermittent,omitempty"`
	Judged       bool               `json:"judged"` // built-in rules are evaluated for it
	Up           int                `json:"up"`
	Targets      int                `json:"targets"`
	Critical     int                `json:"critical"` // alerts that fire, also those that are silenced there
	Warning      int                `json:"warning"`
	Info         int                `json:"info"`
	Heard        string             `json:"heard"` // RFC 3339; the time of its newest sample
	Figures      map[string]float64 `json:"figures"`
	OS           string             `json:"os,omitempty"`
	Kernel       string             `json:"kernel,omitempty"`
	Booted       int64              `json:"booted,omitempty"` // Unix seconds
	Reboot       bool               `json:"reboot,omitempty"` // required
}

// Elsewhere asks the engine. Safe for concurrent use.
type Elsewhere struct {
	Options

	ctx    context.Context // of rounds
	cancel context.CancelFunc

	mu      sync.Mutex
	running chan struct{} // closed at the end of the round that runs; nil if none does
	asked   time.Time     // when the last round ended
	of      string        // the external labels of that
	last    Answer

	// Of the round that runs.
	round  time.Time // when the engine last responded
	deep   time.Time // the same to a query that looks far back
	known  map[string]*found
	warned map[string]bool
}

// Answer is what is known.
type Answer struct {
	// Enabled: there is an engine, and external labels by which machines of other servers
	// differ from this server's.
	Enabled  bool      `json:"enabled"`
	Site     string    `json:"site"` // of this server
	Time     float64   `json:"time"` // of the machines, Unix seconds; 0 if the engine never responded
	Machines []Machine `json:"machines"`
	Warnings []string  `json:"warnings"`
}

// New returns an Elsewhere. It asks nothing yet.
func New(o Options) *Elsewhere {
	if o.Now == nil {
		o.Now = time.Now
	}
	e := &Elsewhere{Options: o, warned: make(map[string]bool)}
	e.ctx, e.cancel = context.WithCancel(context.Background())
	return e
}

// Close ends the round that runs.
func (e *Elsewhere) Close() error {
	e.cancel()
	e.mu.Lock()
	running := e.running
	e.mu.Unlock()
	if running != nil {
		<-running
	}
	return nil
}

// cluster is this server's, as its series have it in the engine.
type cluster struct {
	names  []string
	values []string
}

func (e *Elsewhere) cluster() (c cluster) {
	for _, l := range e.External() {
		if !slices.Contains(e.Replica, l.Name) && l.Name != contract.MachineLabel {
			c.names, c.values = append(c.names, l.Name), append(c.values, l.Value)
		}
	}
	return c
}

// others selects series of other clusters, and of this one if it has several labels.
func (c cluster) others() string {
	all := []string{matcher(labels.MatchNotEqual, contract.MachineLabel, "")}
	for i, name := range c.names {
		all = append(all, matcher(labels.MatchNotEqual, name, ""))
		if len(c.names) == 1 {
			all = append(all, matcher(labels.MatchNotEqual, name, c.values[i]))
		}
	}
	return strings.Join(all, ",")
}

func matcher(t labels.MatchType, name, value string) string {
	return labels.MustNewMatcher(t, name, value).String()
}

// list is a list of labels for by and without.
func list(names ...string) string {
	quoted := slices.Clone(names)
	for i, name := range names {
		if !model.LegacyValidation.IsValidLabelName(name) {
			quoted[i] = strconv.Quote(name)
		}
	}
	return strings.Join(quoted, ", ")
}

// site are the values of the labels in ls, nil if that is this cluster or no other one.
func (c cluster) site(ls labels.Labels) []string {
	values := make([]string, len(c.names))
	for i, name := range c.names {
		if values[i] = ls.Get(name); values[i] == "" {
			return nil
		}
	}
	if slices.Equal(values, c.values) {
		return nil
	}
	return values
}

// Answer returns what is known, after asking the engine if that is too old. All who wait get
// the answer of one round; if ctx ends first, what was known before.
func (e *Elsewhere) Answer(ctx context.Context) Answer {
	if e.Query == nil {
		return Answer{Machines: []Machine{}, Warnings: []string{}}
	}
	c := e.cluster()
	if len(c.names) == 0 {
		return Answer{Machines: []Machine{}, Warnings: []string{}}
	}
	of := fmt.Sprint(c)
	for {
		e.mu.Lock()
		last, running := Answer{Enabled: true, Site: strings.Join(c.values, ","), Machines: []Machine{}, Warnings: []string{}}, e.running
		if of == e.of {
			last = e.last
		}
		if of == e.of && !e.asked.IsZero() && e.Now().Sub(e.asked) < every {
			e.mu.Unlock()
			return last
		}
		if running == nil {
			if of != e.of {
				e.of, e.last, e.known, e.deep = of, last, nil, time.Time{}
			}
			running = make(chan struct{})
			e.running = running
			go e.run(c, running)
		}
		e.mu.Unlock()
		select {
		case <-running:
		case <-ctx.Done():
			return last
		}
	}
}

// run makes one round, and closes done.
func (e *Elsewhere) run(c cluster, done chan struct{}) {
	// Whoever asked first may go away; others wait for the same answer.
	ctx, cancel := context.WithTimeout(e.ctx, limit)
	defer cancel()
	now := e.Now()
	machines, warnings, err := e.ask(ctx, c, now)
	a := Answer{Enabled: true, Site: strings.Join(c.values, ","), Time: float64(now.UnixMilli()) / 1000, Machines: machines, Warnings: warnings}
	e.mu.Lock()
	defer e.mu.Unlock()
	if err != nil {
		a.Time, a.Machines, a.Warnings = e.last.Time, e.last.Machines, []string{e.NotReached + err.Error()}
	}
	e.last, e.asked, e.running = a, e.Now(), nil
	close(done)
}

// found is a machine while its series are read.
type found struct {
	*Machine
	values []string
	heard  time.Time
	jobs   map[string]bool // of its targets
	down   map[string]bool
	alerts map[string]map[string]*alert // by severity and name
}

// alert are those of one name.
type alert struct {
	n     int
	since float64 // Unix seconds; 0 if it is not known
}

// round is one round of queries.
type round struct {
	*Elsewhere
	cluster
	now      time.Time
	own      map[string]string // states of own machines
	machines map[string]*found
	unknown  bool // which alerts fire
	partial  bool // the last answer lacks something, the engine says
	warnings []string
}

// ask fails if it cannot find out which machines there are.
func (e *Elsewhere) ask(ctx context.Context, c cluster, now time.Time) ([]Machine, []string, error) {
	r := &round{Elsewhere: e, cluster: c, now: now, own: e.Own(), machines: make(map[string]*found), warnings: []string{}}
	by := list(append([]string{contract.MachineLabel}, c.names...)...)
	// A query that looks far back reads a day of samples. Between two of them it is remembered
	// who was heard.
	lookback := quiet
	if now.Sub(e.deep) >= deepEvery || now.Sub(e.round) >= quiet {
		lookback = forgotten
	}
	heard, err := r.query(ctx, fmt.Sprintf(`max by (%s, %s) (timestamp(up{%s}))`, by, contract.AvailabilityLabel, c.others()), lookback)
	if err != nil {
		return nil, nil, err
	}
	r.take(heard)
	if e.round = now; lookback == forgotten {
		e.deep = now
	}
	if lookback != forgotten || e.ShortSighted {
		r.remember()
	}
	e.known = maps.Clone(r.machines)
	r.renamed(ctx)
	if len(r.machines) == 0 {
		return []Machine{}, r.warnings, nil
	}
	ups, err := r.query(ctx, fmt.Sprintf(`max by (%s, job, instance) (up{%s})`, by, c.others()), quiet)
	if err != nil {
		return nil, nil, err
	}
	r.targets(ups)
	alerts, err := r.query(ctx, fmt.Sprintf(`count by (%s, alertname, severity) (max without (%s) (ALERTS{alertstate="firing",%s}))`,
		by, list(e.Replica...), c.others()), quiet)
	if r.unknown = !r.lacks("alerts", err) || r.partial; len(alerts) > 0 {
		r.firing(alerts)
		since, err := r.query(ctx, fmt.Sprintf(`min by (%s, alertname, severity) (ALERTS_FOR_STATE{%s})`, by, c.others()), quiet)
		if r.lacks("alerts", err) {
			r.begun(since)
		}
	}
	r.figures(ctx)
	facts, err := r.query(ctx, fmt.Sprintf(`{%s,%s}`, matcher(labels.MatchRegexp, model.MetricNameLabel, "node_os_info|node_uname_info|node_boot_time_seconds|clanmon_reboot_required|clanmon_nixos_kernel_current"), c.others()), quiet)
	if r.lacks("facts", err) {
		r.facts(facts)
	}
	return r.judge(), r.warnings, nil
}

func (r *round) query(ctx context.Context, expr string, lookback time.Duration) (promql.Vector, error) {
	v, warnings, err := r.Query(ctx, expr, r.now, lookback)
	r.partial = len(warnings) > 0
	for _, w := range warnings {
		r.warn(r.Incomplete + w)
	}
	return v, err
}

func (r *round) warn(text string) {
	if !slices.Contains(r.warnings, text) {
		r.warnings = append(r.warnings, text)
	}
}

// lacks notes that something is missing; it reports whether it is there.
func (r *round) lacks(what string, err error) bool {
	if err != nil {
		r.warn(r.Incomplete + what + ": " + err.Error())
	}
	return err == nil
}

// find is the machine of a series, nil if there is none.
func (r *round) find(ls labels.Labels) *found {
	values := r.site(ls)
	if values == nil {
		return nil
	}
	return r.machines[key(ls.Get(contract.MachineLabel), values)]
}

func key(machine string, values []string) string { return machine + "@" + strings.Join(values, ",") }

// take makes the machines of their newest samples.
func (r *round) take(heard promql.Vector) {
	slices.SortFunc(heard, func(a, b promql.Sample) int { return labels.Compare(a.Metric, b.Metric) })
	left := 0
	for _, s := range heard {
		name, values := s.Metric.Get(contract.MachineLabel), r.site(s.Metric)
		if name == "" || values == nil || math.IsNaN(s.F) || s.F <= 0 || s.F > 1e11 {
			continue
		}
		t := time.UnixMilli(int64(s.F * 1000))
		if t.After(r.now) {
			t = r.now // by another clock
		}
		k := key(name, values)
		m := r.machines[k]
		switch {
		case m != nil && m.Machine.Machine == name && slices.Equal(m.values, values): // with another availability before
			if t.Before(m.heard) {
				continue
			}
		case m != nil, r.own[k] != "":
			if !r.warned[k] {
				r.warned[k] = true
				r.Logger.Warn("A machine of another server is left out, because another machine has this name already", "machine", k)
			}
			continue
		case len(r.machines) == most:
			left++
			continue
		default:
			m = newFound(k, name, r.names, values)
			r.machines[k] = m
		}
		m.heard, m.Heard = t, t.UTC().Format(time.RFC3339)
		m.Intermittent = s.Metric.Get(contract.AvailabilityLabel) == contract.Intermittent
	}
	if left > 0 {
		r.warn(fmt.Sprintf("%d of %d machines of other servers are shown", most, most+left))
	}
}

// remember adds the machines whose samples stopped coming. What was heard a short while ago and
// is not in the answer has ended there: its series are marked as stale.
func (r *round) remember() {
	for k, m := range r.known {
		if age := r.now.Sub(m.heard); r.machines[k] != nil || age < quiet || age >= forgotten || len(r.machines) >= most {
			continue
		}
		silent := newFound(k, m.Machine.Machine, r.names, m.values)
		silent.heard, silent.Heard, silent.Intermittent = m.heard, m.Heard, m.Intermittent
		r.machines[k] = silent
	}
}

// renamed leaves out what this server's own machines were called before its external labels
// changed: of sites that are silent, and whose last samples are older than the first with the
// present labels. A site that was there on the same day as those is another one.
func (r *round) renamed(ctx context.Context) {
	last := make(map[string]time.Time)  // of a site
	silent := make(map[string][]string) // by site, those with the name of an own machine
	for k, m := range r.machines {
		if m.heard.After(last[m.Site]) {
			last[m.Site] = m.heard
		}
		if r.own[m.Machine.Machine] != "" {
			silent[m.Site] = append(silent[m.Site], k)
		}
	}
	own := []string{matcher(labels.MatchNotEqual, contract.MachineLabel, "")}
	for i, name := range r.names {
		own = append(own, matcher(labels.MatchEqual, name, r.values[i]))
	}
	for site, machines := range silent {
		if r.now.Sub(last[site]) < quiet {
			continue
		}
		then, warnings, err := r.Query(ctx, fmt.Sprintf(`count(last_over_time(up{%s}[1d]))`, strings.Join(own, ",")), last[site], quiet)
		if err != nil || len(then)+len(warnings) > 0 {
			continue
		}
		for _, k := range machines {
			delete(r.machines, k)
		}
	}
}

func newFound(k, machine string, names, values []string) *found {
	matchers := []string{matcher(labels.MatchEqual, contract.MachineLabel, machine)}
	tags := make([]string, len(names))
	for i, name := range names {
		matchers = append(matchers, matcher(labels.MatchEqual, name, values[i]))
		tags[i] = name + "=" + values[i]
	}
	return &found{
		Machine: &Machine{Name: k, Machine: machine, Site: strings.Join(values, ","), Tags: tags, Selector: strings.Join(matchers, ","), Figures: make(map[string]float64)},
		values:  values, jobs: make(map[string]bool), down: make(map[string]bool), alerts: make(map[string]map[string]*alert),
	}
}

// targets counts the targets of each machine.
func (r *round) targets(ups promql.Vector) {
	for _, s := range ups {
		m := r.find(s.Metric)
		if m == nil {
			continue
		}
		job := s.Metric.Get(model.JobLabel)
		m.jobs[job] = true
		m.Targets++
		if s.F == 1 {
			m.Up++
		} else {
			m.down[job] = true
		}
	}
}

// firing counts the alerts of each machine.
func (r *round) firing(alerts promql.Vector) {
	for _, s := range alerts {
		m := r.find(s.Metric)
		if m == nil || !(s.F >= 1 && s.F < 1e6) {
			continue
		}
		severity, n := r.Severity(s.Metric.Get("severity")), int(s.F)
		switch severity {
		case "critical":
			m.Critical += n
		case "warning":
			m.Warning += n
		case "info":
			m.Info += n
		}
		if m.alerts[severity] == nil {
			m.alerts[severity] = make(map[string]*alert)
		}
		name := s.Metric.Get(model.AlertNameLabel)
		if m.alerts[severity][name] == nil {
			m.alerts[severity][name] = &alert{}
		}
		m.alerts[severity][name].n += n
	}
}

// begun says since when the conditions of the alerts hold.
func (r *round) begun(since promql.Vector) {
	for _, s := range since {
		if m := r.find(s.Metric); m != nil && s.F > 0 && s.F <= float64(r.now.Unix()) {
			a := m.alerts[r.Severity(s.Metric.Get("severity"))][s.Metric.Get(model.AlertNameLabel)]
			if a != nil && (a.since == 0 || s.F < a.since) {
				a.since = s.F
			}
		}
	}
}

// since is when the first of some alerts began, "" if that is not known.
func (m *found) since(severity string, names ...string) string {
	first := 0.0
	for name, a := range m.alerts[severity] {
		if a.since > 0 && (first == 0 || a.since < first) && (len(names) == 0 || slices.Contains(names, name)) {
			first = a.since
		}
	}
	if first == 0 {
		return ""
	}
	return time.Unix(int64(first), 0).UTC().Format(time.RFC3339)
}

// figures reads the current values: by the recording rules, and what these do not say of
// machines that are up from the series.
func (r *round) figures(ctx context.Context) {
	var records []string
	name := make(map[string]string)
	for _, f := range r.Figures {
		if f.Record != "" {
			records = append(records, f.Record)
			name[f.Record] = f.Name
		}
	}
	slices.Sort(records)
	recorded, err := r.query(ctx, fmt.Sprintf(`{%s,%s}`, matcher(labels.MatchRegexp, model.MetricNameLabel, strings.Join(records, "|")), r.others()), quiet)
	if !r.lacks("current values", err) {
		return
	}
	for _, s := range recorded {
		if m := r.find(s.Metric); m != nil {
			m.Judged = true
			m.set(name[s.Metric.Get(model.MetricNameLabel)], s.F)
		}
	}
	by := list(slices.Concat(r.names, r.Replica)...)
	for _, f := range r.Figures {
		if f.Raw == nil {
			continue
		}
		lacking := make(map[string]bool)
		for _, m := range r.machines {
			if _, has := m.Figures[f.Name]; !has && m.Up > 0 {
				lacking[m.Machine.Machine] = true
			}
		}
		if len(lacking) == 0 {
			continue
		}
		selector := r.others()
		if len(lacking) <= named {
			selector += "," + matcher(labels.MatchRegexp, contract.MachineLabel, oneOf(lacking))
		}
		values, err := r.query(ctx, f.Raw(selector, by), quiet)
		if !r.lacks("current values", err) {
			return
		}
		for _, s := range values {
			if m := r.find(s.Metric); m != nil && m.Up > 0 {
				m.set(f.Name, s.F)
			}
		}
	}
}

// facts reads what is known of systems.
func (r *round) facts(facts promql.Vector) {
	for _, s := range facts {
		m := r.find(s.Metric)
		if m == nil {
			continue
		}
		switch s.Metric.Get(model.MetricNameLabel) {
		case "node_os_info":
			m.OS = cmp.Or(s.Metric.Get("pretty_name"), s.Metric.Get("name"))
		case "node_uname_info":
			m.Kernel = s.Metric.Get("release")
		case "node_boot_time_seconds":
			if s.F > 0 && s.F < 1e11 {
				m.Booted = int64(s.F)
			}
		case "clanmon_reboot_required":
			m.Reboot = m.Reboot || s.F == 1
		case "clanmon_nixos_kernel_current":
			m.Reboot = m.Reboot || s.F == 0
		}
	}
}

// oneOf is a regular expression that matches names.
func oneOf(names map[string]bool) string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(names)) {
		all = append(all, regexp.QuoteMeta(name))
	}
	return strings.Join(all, "|")
}

func (m *found) set(figure string, v float64) {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return
	}
	v = math.Round(v*1e4) / 1e4
	if old, has := m.Figures[figure]; !has || v > old {
		m.Figures[figure] = v
	}
}

// downAlert is the built-in alert of a machine that does not respond.
const downAlert = "MachineDown"

// selfJob is the job of a server's own metrics, which say nothing on how its machine is.
const selfJob = "clanmon"

// judge says how each machine is, as fleet does of own ones.
func (r *round) judge() []Machine {
	rules := make(map[string]bool) // by site
	for _, m := range r.machines {
		rules[m.Site] = rules[m.Site] || m.Judged
	}
	all := make([]Machine, 0, len(r.machines))
	for _, k := range slices.Sorted(maps.Keys(r.machines)) {
		m := r.machines[k]
		if len(m.jobs) == 1 && m.jobs[selfJob] {
			continue
		}
		m.Judged = rules[m.Site]
		down := strings.Join(slices.Sorted(maps.Keys(m.down)), ", ")
		switch age := r.now.Sub(m.heard); {
		case age >= quiet:
			m.State, m.Since, m.Why = "down", m.Heard, "not heard for "+ago(age)
		case m.Targets == 0:
			m.State, m.Why = "unjudged", "targets are not known"
		case m.Up == 0:
			m.State, m.Since, m.Why = "down", m.since("critical", downAlert), "does not respond"
		case m.Critical > 0:
			m.State, m.Since, m.Why = "critical", m.since("critical"), m.names("critical")
		case m.Warning > 0:
			m.State, m.Since, m.Why = "warning", m.since("warning"), m.names("warning")
		case r.unknown:
			m.State, m.Why = "unjudged", "alerts are not known"
		case len(m.down) == 1:
			m.State, m.Why = "warning", down+" is down"
		case len(m.down) > 1:
			m.State, m.Why = "warning", down+" are down"
		case m.Judged:
			m.State, m.Why = "ok", m.names("info")
		default:
			m.State = "unjudged"
		}
		if m.Up == 0 {
			m.Figures = map[string]float64{} // of before
		}
		if m.State == "down" && m.Intermittent {
			m.State, m.Why = "offline", "intermittent: may be off"
		}
		all = append(all, *m.Machine)
	}
	return all
}

// names are the names of the alerts of a severity.
func (m *found) names(severity string) string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(m.alerts[severity])) {
		if n := m.alerts[severity][name].n; n > 1 {
			name = fmt.Sprintf("%s ×%d", name, n)
		}
		names = append(names, name)
	}
	if len(names) > 3 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:2], ", "), len(names)-2)
	}
	return strings.Join(names, ", ")
}

func ago(d time.Duration) string {
	switch m := int(d / time.Minute); {
	case m < 60:
		return fmt.Sprintf("%d min", m)
	default:
		return fmt.Sprintf("%d h %d min", m/60, m%60)
	}
}
