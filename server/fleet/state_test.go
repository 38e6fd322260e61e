package fleet

import (
	"testing"
	"time"

	amlabels "github.com/prometheus/alertmanager/pkg/labels"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"
)

var noon = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

func up(job string) evidenceTarget      { return evidenceTarget{job: job, health: "up"} }
func unknown(job string) evidenceTarget { return evidenceTarget{job: job, health: "unknown"} }
func down(job, err string) evidenceTarget {
	return evidenceTarget{job: job, health: "down", err: err}
}

func fires(severity, summary string, since time.Time) finding {
	return finding{labels: model.LabelSet{"alertname": "A"}, summary: summary, severity: severity, since: since}
}

func TestJudge(t *testing.T) {
	muted := func(a finding, by string) finding {
		a.muted = append(a.muted, Muted{"A", by, "x"})
		return a
	}
	pending := func(a finding) finding { a.pending = true; return a }
	checking := func(a finding) finding { a.checking = true; return a }
	for name, c := range map[string]struct {
		evidence
		state, why string
		checking   bool
		since      time.Time
	}{
		"all is well":      {evidence: evidence{targets: []evidenceTarget{up("node")}, judged: true, evaluated: true}, state: "ok"},
		"no rule looks":    {evidence: evidence{targets: []evidenceTarget{up("node")}, evaluated: true}, state: "unjudged"},
		"not judged yet":   {evidence: evidence{targets: []evidenceTarget{up("node")}, judged: true}, state: "ok", checking: true},
		"never scraped":    {evidence: evidence{targets: []evidenceTarget{unknown("node")}, judged: true}, state: "waiting", why: "not scraped yet"},
		"nothing to do":    {evidence: evidence{judged: true}, state: "waiting", why: "no targets"},
		"one not scraped":  {evidence: evidence{targets: []evidenceTarget{down("node", "refused"), unknown("systemd")}, judged: true}, state: "waiting", why: "not scraped yet"},
		"just restarted":   {evidence: evidence{targets: []evidenceTarget{unknown("node")}, before: &verdict{state: "critical", why: "/ is full", since: noon}}, state: "critical", why: "/ is full", checking: true, since: noon},
		"down":             {evidence: evidence{targets: []evidenceTarget{down("node", `Get "http://x:1/metrics": dial tcp 1.2.3.4:1: connect: connection refused`)}, judged: true}, state: "down", why: "connection refused"},
		"down, not judged": {evidence: evidence{targets: []evidenceTarget{down("node", "")}}, state: "down", why: "does not respond"},
		"a laptop is off":  {evidence: evidence{targets: []evidenceTarget{down("node", "x")}, intermittent: true}, state: "offline", why: "intermittent: may be off"},
		"one exporter is down": {
			evidence: evidence{targets: []evidenceTarget{up("node"), down("redis", "x")}, judged: true, evaluated: true}, state: "warning", why: "redis is down",
		},
		"one that was down before a restart is not scraped yet": {
			evidence: evidence{targets: []evidenceTarget{up("node"), {job: "redis", health: "unknown", was: true}}, judged: true, evaluated: true}, state: "warning", why: "redis is down", checking: true,
		},
		"one that was up before a restart is not scraped yet": {evidence: evidence{targets: []evidenceTarget{up("node"), unknown("redis")}, judged: true, evaluated: true}, state: "ok"},
		"that is silenced": {
			evidence: evidence{targets: []evidenceTarget{up("node"), {job: "redis", health: "down", muted: true}}, judged: true, evaluated: true}, state: "ok",
		},
		"the worst alert counts, of equals the first": {
			evidence: evidence{targets: []evidenceTarget{up("node")}, name: "alpha", alerts: []finding{
				fires("warning", "alpha: slow", noon), fires("critical", "alpha: / is full", noon.Add(time.Hour)), fires("critical", "alpha overheats", noon),
			}}, state: "critical", why: "overheats", since: noon,
		},
		"pending does not count": {evidence: evidence{targets: []evidenceTarget{up("node")}, judged: true, evaluated: true, alerts: []finding{pending(fires("critical", "x", noon))}}, state: "ok"},
		"pending again after a restart does": {
			evidence: evidence{targets: []evidenceTarget{up("node")}, judged: true, alerts: []finding{checking(fires("critical", "x", noon))}}, state: "critical", why: "x", checking: true, since: noon,
		},
		"silenced":              {evidence: evidence{targets: []evidenceTarget{up("node")}, judged: true, evaluated: true, alerts: []finding{muted(fires("critical", "x", noon), bySilence)}}, state: "ok"},
		"inhibited":             {evidence: evidence{targets: []evidenceTarget{up("node")}, judged: true, evaluated: true, alerts: []finding{muted(fires("critical", "x", noon), byInhibition)}}, state: "ok"},
		"night is no cure":      {evidence: evidence{targets: []evidenceTarget{up("node")}, judged: true, evaluated: true, alerts: []finding{muted(fires("critical", "x", noon), byTime)}}, state: "critical", why: "x", since: noon},
		"internal never counts": {evidence: evidence{targets: []evidenceTarget{up("node")}, judged: true, evaluated: true, alerts: []finding{fires("none", "new", noon)}}, state: "ok"},
		"info is said":          {evidence: evidence{targets: []evidenceTarget{up("node")}, judged: true, evaluated: true, alerts: []finding{fires("info", "rebooted", noon)}}, state: "ok", why: "rebooted"},
		"own rules count where no built-in ones look": {
			evidence: evidence{targets: []evidenceTarget{up("node")}, alerts: []finding{fires("warning", "x", noon)}}, state: "warning", why: "x", since: noon,
		},
		"nothing is stored":                  {evidence: evidence{targets: []evidenceTarget{unknown("node")}, judged: true, evaluated: true, blind: noon, before: &verdict{state: "ok"}}, state: "waiting", why: "samples are not stored", checking: true, since: noon},
		"what fires while nothing is stored": {evidence: evidence{targets: []evidenceTarget{unknown("node")}, blind: noon, alerts: []finding{fires("critical", "x", noon)}}, state: "critical", why: "x", checking: true, since: noon},
		"down while nothing is stored":       {evidence: evidence{targets: []evidenceTarget{down("node", "x")}, blind: noon}, state: "down", why: "x"},
		"its samples stopped":                {evidence: evidence{quiet: noon, judged: true}, state: "down", why: "no samples received", since: noon},
	} {
		t.Run(name, func(t *testing.T) {
			v := judge(c.evidence)
			require.Equal(t, c.state, v.state)
			require.Equal(t, c.why, v.why)
			require.Equal(t, c.checking, v.checking)
			require.Equal(t, c.since, v.since)
		})
	}
}

func TestWhatSeveritiesMean(t *testing.T) {
	for word, want := range map[model.LabelValue]string{
		"critical": "critical", "Page": "critical", "warning": "warning", "": "warning", "ticket": "warning", "info": "info", "none": "none",
	} {
		require.Equal(t, want, severity(model.LabelSet{"severity": word}), word)
	}
}

func silence(t *testing.T, matchers ...string) Silence {
	var list amlabels.Matchers
	for _, text := range matchers {
		m, err := amlabels.ParseMatcher(text)
		require.NoError(t, err)
		list = append(list, m)
	}
	return Silence{Matchers: amlabels.MatcherSet{&list}}
}

func TestWhatASilenceCovers(t *testing.T) {
	alpha := []model.LabelSet{
		{"machine": "alpha", "availability": "always", "tags": ",web,", "instance": "alpha:9100"},
		{"machine": "alpha", "availability": "always", "tags": ",web,", "instance": "alpha:9558"},
	}
	bare := []model.LabelSet{{"instance": "web1:9100"}, {"instance": "web1:9558"}}
	for _, c := range []struct {
		sets        []model.LabelSet
		matchers    []string
		some, whole bool
	}{
		{alpha, []string{`machine="alpha"`}, true, true},
		{alpha, []string{`machine=~"alpha|beta"`}, true, true},
		{alpha, []string{`machine="beta"`}, false, false},
		{alpha, []string{`tags=~".*,web,.*"`}, true, true},
		{alpha, []string{`machine="alpha"`, `alertname="UnitFailed"`}, true, false},
		{alpha, []string{`alertname="UnitFailed"`}, false, false}, // of all machines
		{alpha, []string{`machine!="beta"`}, false, false},        // also what is of no machine
		{alpha, []string{`machine=""`}, false, false},
		{alpha, []string{`instance="alpha:9100"`}, true, false}, // MachineDown has no instance
		{alpha, []string{`machine="alpha"`, `severity!="critical"`}, true, false},
		{bare, []string{`instance=~"web1:.*"`}, true, true},
		{bare, []string{`instance="web1:9100"`}, true, false},
		{bare, []string{`machine="web1"`}, false, false},
	} {
		some, whole := silence(t, c.matchers...).covers(c.sets, len(c.sets[0]) > 1)
		require.Equal(t, c.some, some, c.matchers)
		require.Equal(t, c.whole, whole, c.matchers)
	}
}

func TestScrapeErrorsAreShort(t *testing.T) {
	for text, want := range map[string]string{
		`Get "http://web1:9100/metrics": dial tcp 10.0.0.1:9100: connect: connection refused`:       "connection refused",
		`Get "http://alpha:9100/metrics": dial tcp: lookup alpha on 10.255.255.53:53: no such host`: "name not found: alpha",
		`Get "http://web1:9100/metrics": EOF`:                                                       "connection closed (empty reply)",
		`Get "http://web1:9100/metrics": context deadline exceeded`:                                 "timeout",
		"server returned HTTP status 401 Unauthorized":                                              "server returned HTTP status 401 Unauthorized",
		"": "",
	} {
		require.Equal(t, want, shortError(text))
	}
}
