package fleet

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"

	"github.com/clanmon/clanmon/discovery/contract"
)

// The states of a machine. A machine has one, the worst that holds.
const (
	stateDown     = "down"     // none of its targets responds, or its samples stopped coming
	stateCritical = "critical" // an alert of this severity fires
	stateWarning  = "warning"  // the same, or one of its targets is down
	stateWaiting  = "waiting"  // not scraped yet
	stateOffline  = "offline"  // down, and not meant to be on all the time
	stateUnjudged = "unjudged" // nothing is known to be wrong, and no rule looks at it
	stateOK       = "ok"
)

// Severities of alerts, worst first.
const (
	critical = "critical"
	warning  = "warning"
	info     = "info"
	internal = "none" // Watchdog and the like: about nothing that is wrong
)

// severity of an alert.
func severity(ls model.LabelSet) string { return Severity(string(ls["severity"])) }

// Severity reads the label of an alert. Rules of the user's own use other words, or none.
func Severity(text string) string {
	switch s := strings.ToLower(text); s {
	case critical, "page", "emergency", "fatal", "disaster", "high":
		return critical
	case info, "information", "informational", "notice", "debug", "low":
		return info
	case internal:
		return internal
	}
	return warning
}

// finding is an alert of a machine, or what stands for one.
type finding struct {
	labels   model.LabelSet
	summary  string
	severity string
	since    time.Time
	pending  bool // will fire; does not count
	checking bool // fired before the restart, and is not known to have ended
	muted    []Muted
}

// counts reports whether a finding decides about the state. What is muted at some
// hours of the day still does: that is about when people are woken.
func (a finding) counts() bool {
	return !a.pending && !slices.ContainsFunc(a.muted, func(m Muted) bool { return m.By != byTime })
}

// evidence is what the judge looks at: one machine at one moment.
type evidence struct {
	name         string
	intermittent bool
	judged       bool
	targets      []evidenceTarget
	quiet        time.Time // newest sample of a machine whose samples stopped coming; else zero
	alerts       []finding
	blind        time.Time // since when no sample is stored; else zero
	evaluated    bool      // the rules have been evaluated since the server started
	before       *verdict  // what was known before the server started, nil if nothing
}

type evidenceTarget struct {
	job    string
	health string // up, down or unknown: not scraped yet
	err    string
	muted  bool // a silence covers that it is down
	was    bool // it was down before the server started
}

// verdict is what the judge says. since is zero where only the store can know, and
// for a state that nothing marks the start of.
type verdict struct {
	state    string
	since    time.Time
	why      string
	checking bool
	down     []string // jobs whose targets are down
	loud     bool     // a target is down, and nobody silenced that

	pending, critical, warning, info int
	muted                            []Muted
}

// judge decides what state a machine is in.
func judge(e evidence) verdict {
	v := verdict{}
	var up, unknown int
	why := ""
	kept := true // no target is down but those that were before the start
	for _, t := range e.targets {
		switch t.health {
		case "up":
			up++
		case "down":
			if !slices.Contains(v.down, t.job) {
				v.down = append(v.down, t.job)
			}
			why = cmp.Or(why, shortError(t.err))
			v.loud = v.loud || !t.muted
			kept = false
		default:
			unknown++
		}
	}
	for _, t := range e.targets {
		// Up it is not until it has been scraped.
		if up > 0 && t.health == "unknown" && t.was {
			v.loud = v.loud || !t.muted
			if !slices.Contains(v.down, t.job) {
				v.down = append(v.down, t.job)
			}
		}
	}
	worst := v.count(e)

	switch {
	case !e.blind.IsZero() && unknown > 0:
		// What fired still does as far as anybody knows; that all is well, nobody does.
		v.state, v.since, v.why, v.checking = stateWaiting, e.blind, "samples are not stored", true
		if v.critical+v.warning > 0 {
			v.state = stateWarning
			if v.critical > 0 {
				v.state = stateCritical
			}
			v.blame(worst, e.name)
			v.checking = true
		}
	case up == 0 && unknown > 0 && e.before != nil:
		// The first scrapes since the start are under way.
		b := *e.before
		v.state, v.since, v.why, v.checking = b.state, b.since, b.why, true
		return v
	case up == 0 && unknown > 0, len(e.targets) == 0 && e.quiet.IsZero():
		v.state, v.why = stateWaiting, "not scraped yet"
		if len(e.targets) == 0 {
			v.why = "no targets"
		}
	case up == 0:
		v.state, v.why = stateDown, cmp.Or(why, "does not respond")
		if !e.quiet.IsZero() {
			v.since, v.why = e.quiet, "no samples received"
		}
		if e.intermittent {
			v.state, v.why = stateOffline, "intermittent: may be off"
		}
	case v.critical > 0:
		v.state = stateCritical
		v.blame(worst, e.name)
	case v.warning > 0:
		v.state = stateWarning
		v.blame(worst, e.name)
	case v.loud:
		v.checking = kept
		v.state, v.why = stateWarning, strings.Join(v.down, ", ")+" is down"
		if len(v.down) > 1 {
			v.why = strings.Join(v.down, ", ") + " are down"
		}
	default:
		v.state = stateOK
		if !e.judged {
			v.state = stateUnjudged
		}
		// The rules may have something to say that they have not looked at yet.
		v.checking = e.judged && !e.evaluated
		if v.info > 0 {
			v.why = worst.text(e.name)
		}
	}
	return v
}

// count counts the alerts and returns the worst that counts; of equal ones the
// first that fired.
func (v *verdict) count(e evidence) finding {
	var worst finding
	rank := func(a finding) int { return slices.Index([]string{critical, warning, info, ""}, a.severity) }
	for _, a := range e.alerts {
		if a.severity == internal {
			continue
		}
		v.muted = append(v.muted, a.muted...)
		if a.pending {
			v.pending++
		}
		if !a.counts() {
			continue
		}
		switch a.severity {
		case critical:
			v.critical++
		case warning:
			v.warning++
		case info:
			v.info++
		}
		// Always the same of those that are equal, or the text would jump.
		if cmp.Or(rank(a)-rank(worst), a.since.Compare(worst.since), strings.Compare(a.text(e.name), worst.text(e.name))) < 0 {
			worst = a
		}
	}
	return worst
}

func (v *verdict) blame(a finding, machine string) {
	v.why, v.since, v.checking = a.text(machine), a.since, a.checking
}

// text says what is wrong, without the name of the machine: it stands beside it.
func (a finding) text(machine string) string {
	text := cmp.Or(a.summary, string(a.labels[model.AlertNameLabel]))
	for _, begin := range []string{machine + ": ", machine + " "} {
		if rest, ok := strings.CutPrefix(text, begin); ok {
			return rest
		}
	}
	return text
}

// name is what a remembered alert is called until its rule says more.
func (a finding) name() string {
	name := string(a.labels[model.AlertNameLabel])
	for _, label := range []model.LabelName{"name", "mountpoint", "device"} {
		if v := a.labels[label]; v != "" {
			return fmt.Sprintf("%s: %s", name, v)
		}
	}
	return name
}

var errorNoise = []struct {
	re *regexp.Regexp
	by string
}{
	{regexp.MustCompile(`^(Get|Post) "[^"]*": `), ""},
	{regexp.MustCompile(`dial (tcp|udp|unix)( [^ ]+)?: `), ""},
	{regexp.MustCompile(`\b(connect|read|write): (\S)`), "$2"},
	{regexp.MustCompile(`^lookup (\S+) on \S+: no such host$`), "name not found: $1"},
	{regexp.MustCompile(`^lookup (\S+): no such host$`), "name not found: $1"},
	{regexp.MustCompile(`^EOF$`), "connection closed (empty reply)"},
	{regexp.MustCompile(`^context deadline exceeded$`), "timeout"},
}

// shortError leaves out of a scrape error what the reader knows already: the URL,
// and how Go nests errors.
func shortError(text string) string {
	for _, n := range errorNoise {
		text = n.re.ReplaceAllString(text, n.by)
	}
	return text
}

// Ways of muting an alert.
const (
	bySilence    = "silence"
	byInhibition = "inhibition"
	byTime       = "time"
)

// Muted is an alert of a machine that fires, or whose target is down, without a
// notification.
type Muted struct {
	Alert string `json:"alert"`
	By    string `json:"by"`   // silence, inhibition or time
	What  string `json:"what"` // ID of the silence, name of the inhibiting alert or of the time interval
}

// covers says what a silence has to do with a machine: nothing, some alerts of it,
// or all. sets are the machine's labels in alerts, one for each of its instances;
// labelled says that alerts of it need not have an instance.
func (s Silence) covers(sets []model.LabelSet, labelled bool) (some, whole bool) {
	for _, list := range s.Matchers {
		names, all := false, true // it names machines, and nothing else
		fitsOne, fitsEach := false, len(sets) > 0
		for _, ls := range sets {
			fits := true
			for _, m := range *list {
				switch m.Name {
				case contract.MachineLabel, contract.AvailabilityLabel, tagsLabel:
				case string(model.InstanceLabel):
					all = all && !labelled
				default:
					all = false
					continue
				}
				// What also matches alerts of no machine does not mean this one.
				names = names || !m.Matches("")
				fits = fits && m.Matches(string(ls[model.LabelName(m.Name)]))
			}
			fitsOne = fitsOne || fits
			fitsEach = fitsEach && fits
		}
		if names && fitsOne {
			some = true
			whole = whole || all && fitsEach
		}
	}
	return some, whole
}
