package fleet

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	amlabels "github.com/prometheus/alertmanager/pkg/labels"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/scrape"

	"github.com/clanmon/clanmon/discovery/contract"
)

// How often the view looks at what costs something. The states are judged every
// judgeEvery in any case; figures are only read while somebody looks.
const (
	judgeEvery   = 5 * time.Second
	freshFor     = 2 * time.Second // what is younger is not judged again
	surveyEvery  = 15 * time.Second
	figuresEvery = 15 * time.Second
	// streamedEvery is how often they are read for pages that follow the stream. Pages
	// that poll ask as often.
	streamedEvery = 30 * time.Second
	// figuresShare bounds the time spent on figures: with 1,000 machines that no
	// recording rule sees they are read less often.
	figuresShare = 20
	// quietAfter is when samples that others send are missed.
	quietAfter = 5 * time.Minute
	// forgetQuiet is when a machine whose samples stopped coming is not one any more.
	forgetQuiet = 24 * time.Hour
	// keepGone is how many machines that are gone a cursor may not know of yet.
	keepGone = 2000
)

// Alert is an alert of a rule.
type Alert struct {
	Labels, Annotations model.LabelSet
	// Since is when it began to fire, or will.
	Since       time.Time
	Pending     bool
	SilencedBy  []string // IDs
	InhibitedBy []string // names of alerts
	MutedBy     []string // names of time intervals
}

// Silence is one that is active.
type Silence struct {
	ID, By, Comment string
	Ends            time.Time
	Matchers        amlabels.MatcherSet
}

// Storage is how storing fares. No text has a full stop at its end.
type Storage struct {
	Refuses  bool      // samples are lost
	Since    time.Time // that
	Reason   string    // for that: what is wrong, and what to do
	Unsafe   bool      // a restart would lose samples
	Damaged  string    // what was set aside because it could not be read; "" for nothing
	DamageIs string    // where it is, and what to do
}

// Receiver is one of remote write.
type Receiver struct {
	Name, URL, Error string
	Failing          bool
	LastSent         time.Time // zero if never
}

// Rules is how the rules fare.
type Rules struct {
	// Builtin: the built-in rules are evaluated.
	Builtin bool
	// Evaluated: since the server started, all rules have been but for slow groups.
	Evaluated bool
	// Settled are the alerts, by name, that know what they were before the restart.
	Settled map[string]bool
	// Hold is how long the condition of an alert has to hold, by name.
	Hold map[string]time.Duration
}

// SilencedBy tells of a silence that has to do with a machine.
type SilencedBy struct {
	ID      string `json:"id"`
	Until   string `json:"until"` // RFC 3339
	By      string `json:"by"`
	Comment string `json:"comment"`
	Whole   bool   `json:"whole"` // it covers every alert of the machine
}

// Warning is a doubt whether a row is one machine.
type Warning struct {
	Kind    string `json:"kind"` // same-machine, renamed or replaced
	Text    string `json:"text"`
	Machine string `json:"machine,omitempty"` // the other
	At      string `json:"at,omitempty"`      // RFC 3339
}

// judged is a machine as it was seen last.
type judged struct {
	*subject
	verdict
	judgedBy bool // rules see it
	alerts   []finding
	silenced []SilencedBy
	seen     time.Time // something of it was up; zero if not known
	facts    *Facts
	figures  figures
	warnings []Warning
	earlier  string
}

// view is the fleet as pages see it.
type view struct {
	epoch string // of cursors

	mu       sync.Mutex
	survey   time.Time
	known    exporters
	fed      map[fedKey]member
	fedCount int
	fedSaved time.Time
	wasOwn   map[seriesKey]time.Time // when a target was this server's own last
	others   map[string]time.Time    // values of a label machine that name no machine, and when that was found
	own      map[seriesKey]ownTarget // targets that this server scrapes
	past     *past
	lookedAt bool // past was read
	figured  time.Time
	cost     time.Duration
	figures  map[string]figures
	facts    map[string]*Facts
	history  map[string]time.Time // last seen, of machines that do not answer
	downs    map[string]time.Time
	starts   map[string]verdict // the state of each machine and since when
	twins    map[string][]Warning
	changes  map[string][]Warning
	earlier  map[string]string
	identity time.Time // when changes and earlier were looked for

	version uint64
	shown   *snapshot // that the rows are of
	rows    map[string]*row
	gone    []gone

	now atomic.Pointer[snapshot]
}

// snapshot is what was seen last; it is not changed any more.
type snapshot struct {
	at       time.Time
	machines map[string]*judged
	alerts   []Alert
	storage  Storage
}

// blindAfter is how long nothing is stored before nothing is known: one failed
// write is not enough.
const blindAfter = 5 * time.Second

// blind reports whether what the scrapes find is lost.
func (s *snapshot) blind() bool {
	return s.storage.Refuses && s.at.Sub(s.storage.Since) >= blindAfter
}

type row struct {
	Row
	text    []byte
	version uint64
}

type gone struct {
	name    string
	version uint64
}

func newView() *view {
	epoch := make([]byte, 6)
	_, _ = rand.Read(epoch)
	v := &view{
		epoch: hex.EncodeToString(epoch),
		known: make(exporters), own: make(map[seriesKey]ownTarget), fed: make(map[fedKey]member), others: make(map[string]time.Time), wasOwn: make(map[seriesKey]time.Time), rows: make(map[string]*row), facts: make(map[string]*Facts),
		history: make(map[string]time.Time), downs: make(map[string]time.Time), starts: make(map[string]verdict),
	}
	v.now.Store(&snapshot{})
	return v
}

// watch judges the machines from time to time, so that it is known when a state
// began, until ctx ends.
func (f *Fleet) watch(ctx context.Context) {
	tick := time.NewTicker(judgeEvery)
	defer tick.Stop()
	for {
		f.refresh(ctx, never)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// never is no age at which figures are read again.
const never = time.Duration(math.MaxInt64)

// refresh looks at everything again that is not fresh any more, and returns what
// it saw. Figures are read again from the age figures on.
func (f *Fleet) refresh(ctx context.Context, figures time.Duration) *snapshot {
	v := f.view
	v.mu.Lock()
	defer v.mu.Unlock()
	// Whoever asked first may go away; others wait for the same answer.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	now := time.Now()
	if old := v.now.Load(); now.Sub(old.at) < freshFor && !f.due(now, figures) {
		return old
	}
	f.surveyStore(ctx, now)
	all := f.roster(v.known, slices.Collect(maps.Values(v.fed)))
	s := f.judgeAll(ctx, now, all)
	if f.due(now, figures) {
		f.readFigures(ctx, now, s)
	}
	for name, j := range s.machines {
		j.figures, j.facts, j.earlier = v.figures[name], v.facts[name], v.earlier[name]
		j.warnings = slices.Concat(v.twins[name], v.changes[name])
	}
	f.forgetGone(s)
	v.now.Store(s)
	return s
}

func (f *Fleet) due(now time.Time, age time.Duration) bool {
	return f.opts.Query != nil && age != never && now.Sub(f.view.figured) >= max(age, figuresShare*f.view.cost)
}

// valuesAreOld reports whether it is time to read them for pages that follow the stream.
func (f *Fleet) valuesAreOld() bool {
	f.view.mu.Lock()
	defer f.view.mu.Unlock()
	return f.due(time.Now(), streamedEvery)
}

// surveyStore looks for exporters, and for what others send.
func (f *Fleet) surveyStore(ctx context.Context, now time.Time) {
	v := f.view
	news := f.newTargets() || len(v.now.Load().machines) == 0
	if f.opts.Store == nil || now.Sub(v.survey) < surveyEvery && !news {
		return
	}
	fail := func(what string, err error) {
		if err != nil {
			f.opts.Logger.Warn("Could not look for machines in the store", "what", what, "err", err)
		}
	}
	if !v.lookedAt {
		v.lookedAt = true
		fail("exporters before the start", f.findExporters(ctx, f.born.Add(-forgetQuiet), f.born, v.known))
		var err error
		v.past, err = f.lookBack(ctx)
		fail("the time before the start", err)
		f.recallFed()
	}
	v.survey = now
	fail("exporters", f.findExporters(ctx, now.Add(-quietAfter), now, v.known))
	fail("samples of others", f.findFed(ctx, now))
	v.forgetExporters(now, f.born)
	f.saveFed(now)
}

// ownTarget is what is remembered of a target that this server scrapes.
type ownTarget struct {
	discovered bool
	responded  bool // ever
	feeds      bool // its samples say themselves what they are of
	down       bool
	machine    string
}

// newTargets takes note of the targets of now, and reports whether there are some
// of the user's own that were not there, or had not responded, the last time.
func (f *Fleet) newTargets() bool {
	v := f.view
	news := false
	own := make(map[seriesKey]ownTarget, len(v.own))
	for pool, targets := range f.opts.Targets() {
		discovered, feeds := f.isDiscovered(pool), f.honors(pool)
		for _, t := range targets {
			key := seriesKey{t.GetValue(model.JobLabel), t.GetValue(model.InstanceLabel)}
			before, known := v.own[key]
			up := t.Health() == scrape.HealthGood
			news = news || !discovered && (!known || up && !before.responded)
			own[key] = ownTarget{discovered, up || before.responded, feeds, t.Health() == scrape.HealthBad, t.GetValue(contract.MachineLabel)}
		}
	}
	now := time.Now()
	for key := range v.own {
		if _, still := own[key]; !still {
			v.wasOwn[key] = now
		}
	}
	maps.DeleteFunc(v.wasOwn, func(_ seriesKey, t time.Time) bool { return now.Sub(t) > 2*quietAfter })
	v.own = own
	return news
}

// exporters are those that are known, for whoever does not hold the lock.
func (v *view) exporters() exporters {
	v.mu.Lock()
	defer v.mu.Unlock()
	return maps.Clone(v.known)
}

// forgetExporters drops what is known of targets that are not there any more.
func (v *view) forgetExporters(now, born time.Time) {
	fed := make(map[seriesKey]bool, len(v.fed))
	for key := range v.fed {
		fed[seriesKey{key.job, key.instance}] = true
	}
	if now.Sub(born) < 2*quietAfter {
		return // targets may still be looked for
	}
	maps.DeleteFunc(v.known, func(key seriesKey, _ string) bool {
		_, own := v.own[key]
		_, was := v.wasOwn[key]
		return !own && !was && !fed[key]
	})
}

// judgeAll judges every machine.
func (f *Fleet) judgeAll(ctx context.Context, now time.Time, all map[string]*subject) *snapshot {
	v := f.view
	rules := f.opts.Rules()
	s := &snapshot{at: now, machines: make(map[string]*judged, len(all)), alerts: f.opts.Alerts(ctx), storage: f.opts.Storage()}
	silences := f.opts.Silences(ctx)
	if v.past != nil && now.Sub(f.born) < findsTargets {
		f.judgePast(v.past, silences) // what mutes is known only when delivery is configured
	}
	find := newFinder(all)
	findings := f.findings(s.alerts, silences, rules, find)
	for name, sub := range all {
		if sub.selfOnly() && len(findings[name]) == 0 {
			continue
		}
		j := &judged{subject: sub, judgedBy: sub.labelled && rules.Builtin}
		covering, whole := sub.silences(silences, j)
		e := evidence{
			name: name, intermittent: sub.Availability == contract.Intermittent, judged: j.judgedBy,
			alerts: findings[name], evaluated: rules.Evaluated || !rules.Builtin, before: v.past.verdict(name),
		}
		if s.blind() {
			e.blind = s.storage.Since
			for i, m := range sub.members {
				if m.Health == "up" || m.refused {
					sub.members[i].Health, sub.members[i].LastError = "unknown", "samples are not stored: "+s.storage.Reason
				}
			}
		}
		for i, m := range sub.members {
			if m.fed.IsZero() || now.Sub(m.fed) < quietAfter || s.blind() {
				e.targets = append(e.targets, evidenceTarget{m.Job, m.Health, m.LastError, whole || covering(m), v.past.wasDown(name, m)})
			} else {
				sub.members[i].Health, sub.members[i].LastError = "down", "no samples received"
				if m.fed.After(e.quiet) {
					e.quiet = m.fed
				}
			}
		}
		if len(e.targets) > 0 {
			e.quiet = time.Time{}
		}
		j.verdict, j.alerts = judge(e), e.alerts
		s.machines[name] = j
	}
	f.notFoundYet(now, s)
	f.sinceWhen(ctx, now, s)
	return s
}

// findsTargets is how long the first targets may take to be found after the start.
const findsTargets = time.Minute

// notFoundYet adds the machines that were there before the start, until the first
// targets have been found.
func (f *Fleet) notFoundYet(now time.Time, s *snapshot) {
	v := f.view
	if v.past == nil || now.Sub(f.born) > findsTargets || len(v.own) > 0 {
		return
	}
	for name, sub := range v.past.subjects {
		if s.machines[name] != nil || sub.selfOnly() {
			continue
		}
		c := *sub
		c.members = slices.Clone(sub.members)
		for i := range c.members {
			c.members[i].Health = "unknown"
		}
		j := &judged{subject: &c, verdict: v.past.machines[name], judgedBy: c.labelled && f.opts.Rules().Builtin}
		j.checking = true
		s.machines[name] = j
	}
}

// selfOnly reports whether a machine is only known because this server scrapes
// its own metrics: that says nothing on how the machine is.
func (s *subject) selfOnly() bool {
	return len(s.members) > 0 && !slices.ContainsFunc(s.members, func(m member) bool {
		return m.Job != selfJob || m.Method != sourceLocal && m.Method != sourceStored
	})
}

// selfJob is the job of the server's own metrics.
const selfJob = "clanmon"

// findings sorts the alerts by machine, and adds those that fired before the
// server started and may still.
func (f *Fleet) findings(alerts []Alert, silences []Silence, rules Rules, find finder) map[string][]finding {
	var all []finding
	keys := make([]model.Fingerprint, len(alerts))
	for i, a := range alerts {
		keys[i] = f.alertKey(a.Labels)
	}
	remembered := f.view.past.remember(keys, rules.Settled)
	for i, a := range alerts {
		x := finding{labels: a.Labels, summary: string(a.Annotations["summary"]), severity: severity(a.Labels), since: a.Since, pending: a.Pending}
		if before, ok := remembered[keys[i]]; ok {
			x.checking, x.pending = a.Pending, false
			if !before.since.IsZero() && before.since.Before(x.since) {
				x.since = before.since
			}
			delete(remembered, keys[i])
		}
		name := string(a.Labels[model.AlertNameLabel])
		for _, id := range a.SilencedBy {
			x.muted = append(x.muted, Muted{name, bySilence, id})
		}
		for _, by := range a.InhibitedBy {
			x.muted = append(x.muted, Muted{name, byInhibition, by})
		}
		for _, by := range a.MutedBy {
			x.muted = append(x.muted, Muted{name, byTime, by})
		}
		all = append(all, x)
	}
	return f.byMachine(slices.AppendSeq(all, maps.Values(remembered)), silences, find)
}

// byMachine sorts alerts by machine. It notes what mutes those that fired before the
// server started: delivery does not know an alert that is pending, or not evaluated
// yet.
func (f *Fleet) byMachine(all []finding, silences []Silence, find finder) map[string][]finding {
	var sources []model.LabelSet
	checking := false
	sent := make([]model.LabelSet, len(all))
	for i, a := range all {
		checking = checking || a.checking
		if sent[i] = a.labels; a.checking {
			sent[i] = f.sent(a.labels, find.alert(a.labels))
		}
		if !a.pending {
			sources = append(sources, sent[i])
		}
	}
	inhibitor := func(model.LabelSet) string { return "" }
	if checking {
		inhibitor = f.opts.Inhibitions(sources)
	}
	found := make(map[string][]finding)
	for i, a := range all {
		name := find.alert(a.labels)
		if name == "" {
			continue
		}
		if a.checking && len(a.muted) == 0 {
			alert := string(a.labels[model.AlertNameLabel])
			for _, s := range silences {
				if s.Matchers.Matches(sent[i]) {
					a.muted = append(a.muted, Muted{alert, bySilence, s.ID})
				}
			}
			if by := inhibitor(sent[i]); by != "" {
				a.muted = append(a.muted, Muted{alert, byInhibition, by})
			}
		}
		found[name] = append(found[name], a)
	}
	return found
}

// sent are the labels with which delivery would know an alert of a machine.
func (f *Fleet) sent(ls model.LabelSet, machine string) model.LabelSet {
	ls = ls.Clone()
	if tags := f.tags(machine); tags != "" && ls[tagsLabel] == "" {
		ls[tagsLabel] = model.LabelValue(tags)
	}
	f.mu.RLock()
	defer f.mu.RUnlock()
	f.external.Range(func(l labels.Label) {
		if name := model.LabelName(l.Name); ls[name] == "" {
			ls[name] = model.LabelValue(l.Value)
		}
	})
	return ls
}

// silences notes those that have to do with a machine. covering reports whether
// one covers that a target is down; whole, whether one covers everything.
func (s *subject) silences(active []Silence, j *judged) (covering func(member) bool, whole bool) {
	var sets []model.LabelSet
	base := model.LabelSet{}
	if s.labelled {
		base[contract.MachineLabel] = model.LabelValue(s.Name)
		base[contract.AvailabilityLabel] = model.LabelValue(s.Availability)
		if tags := contract.List(s.Tags); tags != "" {
			base[tagsLabel] = model.LabelValue(tags)
		}
	}
	for _, i := range s.instances {
		ls := maps.Clone(base)
		ls[model.InstanceLabel] = model.LabelValue(i)
		sets = append(sets, ls)
	}
	if len(sets) == 0 {
		sets = append(sets, base)
	}
	var these []Silence
	for _, silence := range active {
		some, all := silence.covers(sets, s.labelled)
		if !some {
			continue
		}
		whole = whole || all
		these = append(these, silence)
		j.silenced = append(j.silenced, SilencedBy{silence.ID, silence.Ends.UTC().Format(time.RFC3339), silence.By, silence.Comment, all})
	}
	slices.SortFunc(j.silenced, func(a, b SilencedBy) int { return strings.Compare(a.Until, b.Until) })
	return func(m member) bool {
		ls := maps.Clone(base)
		ls[model.AlertNameLabel], ls["severity"] = "ExporterDown", warning
		ls[model.JobLabel], ls[model.InstanceLabel] = model.LabelValue(m.series), model.LabelValue(m.Instance)
		return slices.ContainsFunc(these, func(s Silence) bool { return s.Matchers.Matches(ls) })
	}, whole
}

// sinceWhen fills in since when the states are, and what was seen last.
func (f *Fleet) sinceWhen(ctx context.Context, now time.Time, s *snapshot) {
	v := f.view
	var unknown []string
	for name, j := range s.machines {
		up := slices.ContainsFunc(j.members, func(m member) bool { return m.Health == "up" })
		is := j.state == stateDown || j.state == stateOffline
		if !is || up {
			delete(v.downs, name)
			delete(v.history, name)
		}
		if is && j.since.IsZero() && v.downs[name].IsZero() {
			unknown = append(unknown, name)
		}
	}
	f.machinesDown(ctx, now, s, unknown)
	f.targetsDown(ctx, now, s)
	for name, j := range s.machines {
		before, known := v.starts[name]
		if j.since.IsZero() {
			j.since = v.downs[name]
		}
		earlier := v.past.verdict(name)
		switch same := known && before.state == j.state; {
		case same && (j.since.IsZero() || before.since.Before(j.since)):
			j.since = before.since // for another reason, perhaps
		case !j.since.IsZero():
		case !known && earlier != nil && earlier.state == j.state:
			j.since = earlier.since
		default:
			j.since = now
		}
		v.starts[name] = verdict{state: j.state, since: j.since}
		j.seen = v.history[name]
		if j.fedOnly() {
			for _, m := range j.members {
				if m.fed.After(j.seen) {
					j.seen = m.fed
				}
			}
		}
	}
}

// machinesDown finds out since when machines are down, and when they were up last.
func (f *Fleet) machinesDown(ctx context.Context, now time.Time, s *snapshot, names []string) {
	v := f.view
	subjects := make(map[string]*subject)
	for _, name := range names {
		subjects[name] = s.machines[name].subject
	}
	since, seen, ok := f.lookDown(ctx, now, names, newFinder(subjects).machine)
	for _, name := range names {
		if t := since[name]; !t.IsZero() {
			v.downs[name] = t
		} else if ok {
			v.downs[name] = now
		}
		if t := seen[name]; !t.IsZero() {
			v.history[name] = t
		}
	}
}

// targetsDown finds out since when machines have been in the state warning because
// some of their targets are down.
func (f *Fleet) targetsDown(ctx context.Context, now time.Time, s *snapshot) {
	v := f.view
	subjects := make(map[string]*subject)
	machines := make(map[string]string) // by key of a target
	keyOf := func(machine, job, instance string) string {
		return strings.Join([]string{machine, job, instance}, "\x00")
	}
	for name, j := range s.machines {
		if before, known := v.starts[name]; j.state != stateWarning || !j.loud || known && before.state == j.state {
			continue
		}
		subjects[name] = j.subject
		for _, m := range j.members {
			if m.Health == "down" || m.Health == "unknown" && v.past.wasDown(name, m) {
				machines[keyOf(name, m.series, m.Instance)] = name
			}
		}
	}
	find := newFinder(subjects)
	since, _, _ := f.lookDown(ctx, now, slices.Collect(maps.Keys(machines)), func(ls labels.Labels) string {
		key := keyOf(find.machine(ls), ls.Get(model.JobLabel), ls.Get(model.InstanceLabel))
		if machines[key] == "" {
			return ""
		}
		return key
	})
	for key, t := range since {
		if j := s.machines[machines[key]]; j.since.IsZero() || t.Before(j.since) {
			j.since = t
		}
	}
}

// lookDown asks the store since when what has these names is down and when it was
// up last, further back only for that of which the last day says nothing. ok is
// false if it could not be asked.
func (f *Fleet) lookDown(ctx context.Context, now time.Time, names []string, nameOf func(labels.Labels) string) (since, seen map[string]time.Time, ok bool) {
	since, seen = make(map[string]time.Time), make(map[string]time.Time)
	if f.opts.Store == nil {
		return since, seen, true
	}
	for _, back := range []time.Duration{2 * time.Hour, 24 * time.Hour, 15 * 24 * time.Hour} {
		if len(names) == 0 {
			break
		}
		found, up, err := f.downSince(ctx, now.Add(-back), now, nameOf)
		if err != nil {
			f.opts.Logger.Warn("Could not look up since when machines are down", "err", err)
			return since, seen, false
		}
		var rest []string
		for _, name := range names {
			if t := found[name]; !t.IsZero() {
				since[name] = t
			}
			if t := up[name]; !t.IsZero() {
				seen[name] = t
			} else {
				rest = append(rest, name)
			}
		}
		names = rest
	}
	return since, seen, true
}

// readFigures reads figures and facts, those of machines that do not answer from
// the time when they last did.
func (f *Fleet) readFigures(ctx context.Context, now time.Time, s *snapshot) {
	v := f.view
	begin := time.Now()
	subjects := make(map[string]*subject, len(s.machines))
	for name, j := range s.machines {
		if slices.ContainsFunc(j.members, func(m member) bool { return m.Health == "up" }) && j.state != stateDown {
			subjects[name] = j.subject
		}
	}
	found, err := f.figuresAt(ctx, now, subjects)
	if err != nil {
		f.opts.Logger.Warn("Could not read the current values of machines", "err", err)
	}
	facts, err := f.factsAt(ctx, now, newFinder(subjects), false)
	if err != nil {
		f.opts.Logger.Warn("Could not read the facts of the machines", "err", err)
	}
	f.addFull(ctx, now, newFinder(subjects), found)
	v.figures = found
	for name, x := range facts {
		if old := v.facts[name]; old != nil && abs(old.Booted-x.Booted) <= 30 {
			x.Booted = old.Booted // a clock that is adjusted a little is no reboot
		}
		v.facts[name] = x
		_, counted := found[name]["unitsFailed"]
		switch {
		case !x.units:
			delete(found[name], "unitsFailed")
		case !counted && found[name] != nil:
			found[name]["unitsFailed"] = 0
		}
	}
	v.twins = twins(facts)
	f.oldFacts(ctx, s)
	f.identify(ctx, now, s)
	v.figured, v.cost = now, time.Since(begin)
}

// patience is how long the current values wait for when disks are full, which takes longest
// after a start.
const patience = 2 * time.Second

// addFull adds when the first volume of each machine is full, in Unix seconds.
func (f *Fleet) addFull(ctx context.Context, now time.Time, find finder, found map[string]figures) {
	if f.opts.FullIn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	vector, err := f.opts.FullIn(ctx, now)
	if err != nil {
		if ctx.Err() == nil {
			f.opts.Logger.Warn("Could not read when the disks of machines are full", "err", err)
		}
		return
	}
	for _, s := range vector {
		full := float64(now.Unix()) + s.F
		if g := found[find.machine(s.Metric)]; g != nil && (!g.has("full") || full < g["full"]) {
			g["full"] = full
		}
	}
}

// identify looks for what changed under a name, which is rare.
func (f *Fleet) identify(ctx context.Context, now time.Time, s *snapshot) {
	v := f.view
	if now.Sub(v.identity) < identityEvery {
		return
	}
	v.identity = now
	var err error
	if v.changes, err = f.changes(ctx, now, s); err != nil {
		f.opts.Logger.Warn("Could not compare machines with what they were", "err", err)
	}
	if v.earlier, err = f.olderSeries(ctx, now, s); err != nil {
		f.opts.Logger.Warn("Could not look for series without the label machine", "err", err)
	}
}

func abs(n int64) int64 { return max(n, -n) }

// oldFacts reads what was last known of machines that do not answer.
func (f *Fleet) oldFacts(ctx context.Context, s *snapshot) {
	v := f.view
	byTime := make(map[time.Time]map[string]*subject)
	for name, j := range s.machines {
		if v.facts[name] != nil || j.seen.IsZero() {
			continue
		}
		t := j.seen.Truncate(time.Minute).Add(time.Minute)
		if byTime[t] == nil {
			byTime[t] = make(map[string]*subject)
		}
		byTime[t][name] = j.subject
	}
	for t, subjects := range byTime {
		facts, err := f.factsAt(ctx, t, newFinder(subjects), true)
		if err != nil {
			f.opts.Logger.Warn("Could not read what was last known of machines", "err", err)
			return
		}
		for name := range subjects {
			if v.facts[name] = facts[name]; facts[name] == nil {
				v.facts[name] = &Facts{}
			}
		}
	}
}

// forgetGone drops what is remembered of machines that are not there any more.
func (f *Fleet) forgetGone(s *snapshot) {
	v := f.view
	for name := range v.starts {
		if s.machines[name] == nil {
			delete(v.starts, name)
			delete(v.facts, name)
			delete(v.downs, name)
			delete(v.history, name)
		}
	}
}

// Row is a machine in a table. A figure that is missing is not known.
type Row struct {
	Name         string       `json:"name"`
	State        string       `json:"state"`
	Since        string       `json:"since,omitempty"` // RFC 3339
	Why          string       `json:"why"`
	Checking     bool         `json:"checking,omitempty"`
	Silenced     []SilencedBy `json:"silenced,omitempty"`
	Judged       bool         `json:"judged"`
	Labelled     bool         `json:"labelled"`
	Selector     string       `json:"selector"`
	Tags         []string     `json:"tags"`
	Intermittent bool         `json:"intermittent,omitempty"`
	Up           int          `json:"up"`
	Targets      int          `json:"targets"`
	DownJobs     []string     `json:"downJobs,omitempty"`
	Critical     int          `json:"critical"`
	Warning      int          `json:"warning"`
	Info         int          `json:"info"`
	Pending      int          `json:"pending"`

	CPU           *float64 `json:"cpu,omitempty"`
	Memory        *float64 `json:"memory,omitempty"`
	Filesystem    *float64 `json:"filesystem,omitempty"`
	IOStalled     *float64 `json:"ioStalled,omitempty"`
	MemoryStalled *float64 `json:"memoryStalled,omitempty"`
	Receive       *float64 `json:"receive,omitempty"`  // bytes per second
	Transmit      *float64 `json:"transmit,omitempty"` // the same
	Temperature   *float64 `json:"temperature,omitempty"`
	UnitsFailed   *float64 `json:"unitsFailed,omitempty"`
	Full          *float64 `json:"full,omitempty"` // Unix seconds: when its first disk will be

	Booted    int64     `json:"booted,omitempty"` // Unix seconds on the server's clock
	OS        string    `json:"os,omitempty"`
	Kernel    string    `json:"kernel,omitempty"`
	Exporter  string    `json:"exporter,omitempty"`
	Reboot    bool      `json:"reboot,omitempty"`
	LastSeen  string    `json:"lastSeen,omitempty"` // RFC 3339; only while nothing responds
	Addresses []string  `json:"addresses,omitempty"`
	Warnings  []Warning `json:"warnings,omitempty"`
}

const maxAddresses = 3

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// newRow is the row of a machine. before is the last one that was sent, nil if
// none: a figure keeps its value until it differs by more than what is shown.
func newRow(j *judged, before *Row) Row {
	r := Row{
		Name: j.Name, State: j.state, Since: stamp(j.since), Why: j.why, Checking: j.checking, Silenced: j.silenced,
		Judged: j.judgedBy, Labelled: j.labelled, Selector: selector(j.Name, j.labelled, j.instances), Tags: j.Tags,
		Intermittent: j.Availability == contract.Intermittent, Targets: len(j.members), DownJobs: j.down,
		Critical: j.critical, Warning: j.warning, Info: j.info, Pending: j.pending,
		Addresses: j.Addresses[:min(len(j.Addresses), maxAddresses)], Warnings: j.warnings,
	}
	for _, m := range j.members {
		if m.Health == "up" {
			r.Up++
		}
	}
	if before == nil {
		before = &Row{}
	}
	if r.Up > 0 && j.state != stateDown {
		g := j.figures
		r.CPU = ratio(g, "cpu", before.CPU)
		r.Memory = ratio(g, "memory", before.Memory)
		r.Filesystem = ratio(g, "filesystem", before.Filesystem)
		r.IOStalled = ratio(g, "ioStalled", before.IOStalled)
		r.MemoryStalled = ratio(g, "memoryStalled", before.MemoryStalled)
		r.Receive = speed(g, "receive", before.Receive)
		r.Transmit = speed(g, "transmit", before.Transmit)
		r.Temperature = steady(g, "temperature", before.Temperature, 1, 0.75)
		r.UnitsFailed = steady(g, "unitsFailed", nil, 1, 0)
		r.Full = steady(g, "full", before.Full, 60, max(60, (g["full"]-float64(time.Now().Unix()))/100))
	} else {
		r.LastSeen = stamp(j.seen)
	}
	r.OS = j.OS
	if x := j.facts; x != nil {
		if x.OS != "" {
			r.OS = x.OS
		}
		r.Kernel, r.Exporter, r.Reboot, r.Booted = x.Kernel, x.Exporter, x.Reboot, x.Booted
	}
	return r
}

// steady rounds a figure to multiples of step, and keeps what was sent before
// while the figure is within slack of it.
func steady(g figures, name string, before *float64, step, slack float64) *float64 {
	v, ok := g[name]
	if !ok {
		return nil
	}
	if before != nil && math.Abs(v-*before) <= slack {
		return before
	}
	v = math.Round(v/step) * step
	if step < 1 {
		v = math.Round(v*1e4) / 1e4
	}
	return &v
}

func ratio(g figures, name string, before *float64) *float64 {
	return steady(g, name, before, 0.01, 0.0075)
}

// speed has two significant digits.
func speed(g figures, name string, before *float64) *float64 {
	v := g[name]
	step := 1.0
	if v >= 100 {
		step = math.Pow(10, math.Floor(math.Log10(v))-1)
	}
	return steady(g, name, before, step, max(v*0.08, 100))
}

// delta is what changed since a cursor.
type delta struct {
	cursor uint64
	full   bool
	rows   []json.RawMessage
	gone   []string
}

// since brings the rows up to date and returns those that changed after
// version; known is false for a cursor of another life of the server.
func (v *view) since(version uint64, known bool) delta {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.update()
	forgotten := uint64(0)
	if n := len(v.gone) - keepGone; n > 0 {
		forgotten = v.gone[n-1].version
		v.gone = slices.Clone(v.gone[n:])
	}
	d := delta{cursor: v.version, full: !known || version > v.version || version < forgotten, rows: []json.RawMessage{}, gone: []string{}}
	for _, name := range slices.Sorted(maps.Keys(v.rows)) {
		if r := v.rows[name]; d.full || r.version > version {
			d.rows = append(d.rows, r.text)
		}
	}
	if !d.full {
		for _, g := range v.gone {
			if g.version > version && v.rows[g.name] == nil && !slices.Contains(d.gone, g.name) {
				d.gone = append(d.gone, g.name)
			}
		}
	}
	return d
}

// current is the version of the rows.
func (v *view) current() uint64 {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.update()
	return v.version
}

// update brings the rows up to date with what was seen last.
func (v *view) update() {
	s := v.now.Load()
	if v.shown == s {
		return
	}
	v.shown = s
	v.version++
	changed := false
	for name, j := range s.machines {
		old := v.rows[name]
		var before *Row
		if old != nil {
			before = &old.Row
		}
		r := newRow(j, before)
		text, err := json.Marshal(r)
		if err != nil { // a row has nothing that cannot be written
			continue
		}
		if old != nil && bytes.Equal(old.text, text) {
			continue
		}
		v.rows[name] = &row{r, text, v.version}
		changed = true
	}
	for name := range v.rows {
		if s.machines[name] == nil {
			delete(v.rows, name)
			v.gone = append(v.gone, gone{name, v.version})
			changed = true
		}
	}
	if !changed {
		v.version--
	}
}

// fill makes what is not given do nothing.
func (o *Options) fill() {
	if o.Alerts == nil {
		o.Alerts = func(context.Context) []Alert { return nil }
	}
	if o.Silences == nil {
		o.Silences = func(context.Context) []Silence { return nil }
	}
	if o.Storage == nil {
		o.Storage = func() Storage { return Storage{} }
	}
	if o.Inhibitions == nil {
		o.Inhibitions = func([]model.LabelSet) func(model.LabelSet) string {
			return func(model.LabelSet) string { return "" }
		}
	}
	if o.Rules == nil {
		o.Rules = func() Rules { return Rules{} }
	}
}

// isDiscovered reports whether discovery made a job.
func (f *Fleet) isDiscovered(job string) bool {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.jobs[job] != nil
}

// honors reports whether the samples of a job say themselves which target they
// are of, as those of a federation do.
func (f *Fleet) honors(job string) bool {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.honoring[job]
}
