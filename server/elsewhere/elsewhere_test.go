package elsewhere

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/storage"
	"github.com/stretchr/testify/require"
)

// standIn is an engine that evaluates PromQL on what was loaded.
type standIn struct {
	t        testing.TB
	promql   *promql.Engine
	store    storage.Queryable
	warnings []string

	mu    sync.Mutex
	asked []string
	err   error
	fails string // queries with this text
}

func (s *standIn) query(ctx context.Context, expr string, t time.Time, lookback time.Duration) (promql.Vector, []string, error) {
	s.mu.Lock()
	s.asked = append(s.asked, expr)
	err := s.err
	if s.fails != "" && strings.Contains(expr, s.fails) {
		err = errors.New("too many samples")
	}
	s.mu.Unlock()
	if err != nil {
		return nil, nil, err
	}
	q, err := s.promql.NewInstantQuery(ctx, s.store, promql.NewPrometheusQueryOpts(false, lookback, nil), expr, t)
	if err != nil {
		s.t.Error(expr, err)
		return nil, nil, err
	}
	defer q.Close()
	v, err := q.Exec(ctx).Vector()
	if err != nil {
		s.t.Error(expr, err)
	}
	return append(promql.Vector{}, v...), s.warnings, err
}

type setup struct {
	*Elsewhere
	engine *standIn
	log    *bytes.Buffer
	clock  time.Time
	own    map[string]string
}

// newSetup is of the site home, at the minute 60 of what is loaded, with samples every minute.
func newSetup(t testing.TB, load string) *setup {
	e := promql.NewEngine(promql.EngineOpts{MaxSamples: 1e6, Timeout: time.Minute, Parser: parser.NewParser(parser.Options{})})
	t.Cleanup(func() { e.Close() })
	store := promqltest.LoadedStorage(t, "load 1m\n"+strings.TrimPrefix(load, "\n"))
	t.Cleanup(func() { store.Close() })
	s := &setup{engine: &standIn{t: t, promql: e, store: store}, log: &bytes.Buffer{}, clock: time.Unix(3600, 0), own: make(map[string]string)}
	s.Elsewhere = New(Options{
		Query: s.engine.query,
		External: func() []labels.Label {
			return []labels.Label{{Name: "replica", Value: "a"}, {Name: "site", Value: "home"}}
		},
		Replica:  []string{"replica", "__replica__"},
		Own:      func() map[string]string { return s.own },
		Severity: func(text string) string { return text },
		Figures: []Figure{
			{"cpu", "machine:cpu_used:ratio", func(selector, by string) string {
				return fmt.Sprintf(`sum by (machine, instance, %s) (rate(busy{%s}[5m]))`, by, selector)
			}},
			{"temperature", "machine:temperature_max:celsius", nil},
		},
		NotReached: "History not reached: ", Incomplete: "History incomplete: ",
		Logger: slog.New(slog.NewTextHandler(s.log, nil)), Now: func() time.Time { return s.clock },
	})
	return s
}

const twoSites = `
  up{machine="beta",job="node",instance="beta:9100",site="home",replica="a"} 1x60
  up{machine="beta",job="node",instance="beta:9100",site="office",replica="x"} 1x60
  up{machine="beta",job="node",instance="beta:9100",site="office",replica="y"} 1x60
  up{machine="beta",job="nginx",instance="beta:9113",site="office",replica="x"} 1x60
  up{machine="beta",job="clanmon",instance="beta:9090",site="office",replica="x"} 1x60
  machine:cpu_used:ratio{machine="beta",site="office",replica="x"} 0.25x60
  machine:cpu_used:ratio{machine="beta",site="office",replica="y"} 0.26x60
  machine:cpu_used:ratio{machine="beta",site="home"} 0.9x60
  machine:temperature_max:celsius{machine="beta",site="office",replica="x"} 51x60
  node_os_info{machine="beta",site="office",name="NixOS",pretty_name="NixOS 26.11"} 1x60
  node_uname_info{machine="beta",site="office",release="6.18.1"} 1x60
  node_boot_time_seconds{machine="beta",site="office"} 1200x60
  clanmon_nixos_kernel_current{machine="beta",site="office"} 0x60
  machine:cpu_used:ratio{machine="dead",site="office"} 0.7x60
  up{machine="gone",job="node",site="office"} 1x48
  up{machine="dead",job="node",site="office"} 0x60
  up{machine="half",job="node",site="office"} 1x60
  up{machine="half",job="nginx",site="office"} 0x60
  up{machine="half",job="redis",site="office"} 0x60
  busy{machine="half",site="office"} 0+30x60
  up{machine="laptop",job="node",site="office",availability="intermittent"} 0x60
  up{machine="away",job="node",site="office",availability="intermittent"} 1x30
  up{machine="removed",job="node",site="office"} 1x50 stale
  up{machine="selfish",job="clanmon",site="office"} 1x60
  up{machine="hot",job="node",site="cellar"} 1x60
  ALERTS{alertname="TooHot",alertstate="firing",severity="critical",machine="hot",site="cellar",replica="x",zone="1"} 1x60
  ALERTS{alertname="TooHot",alertstate="firing",severity="critical",machine="hot",site="cellar",replica="y",zone="1"} 1x60
  ALERTS{alertname="TooHot",alertstate="firing",severity="critical",machine="hot",site="cellar",replica="x",zone="2"} 1x60
  ALERTS_FOR_STATE{alertname="TooHot",severity="critical",machine="hot",site="cellar",replica="x",zone="1"} 600x60
  ALERTS_FOR_STATE{alertname="TooHot",severity="critical",machine="hot",site="cellar",replica="x",zone="2"} 1200x60
  ALERTS_FOR_STATE{alertname="Soon",severity="critical",machine="hot",site="cellar"} 60x60
  ALERTS{alertname="MachineDown",alertstate="firing",severity="critical",machine="dead",site="office"} 1x60
  ALERTS_FOR_STATE{alertname="MachineDown",severity="critical",machine="dead",site="office"} 1800x60
  ALERTS{alertname="Soon",alertstate="pending",severity="critical",machine="hot",site="cellar"} 1x60
  ALERTS{alertname="New",alertstate="firing",severity="none",machine="hot",site="cellar"} 1x60
  up{machine="plain",job="node",site="cellar"} 1x60
  ALERTS{alertname="Slow",alertstate="firing",severity="warning",machine="plain",site="cellar"} 1x60
  up{machine="nosite",job="node"} 1x60
  up{job="node",site="office"} 1x60
`

func TestMachinesOfOtherServers(t *testing.T) {
	t.Parallel()
	s := newSetup(t, twoSites)
	a := s.Answer(t.Context())
	require.True(t, a.Enabled)
	require.Equal(t, "home", a.Site)
	require.Equal(t, 3600.0, a.Time)
	require.Empty(t, a.Warnings)
	var lines []string
	for _, m := range a.Machines {
		lines = append(lines, fmt.Sprintf("%s %d/%d %s %d %d %d %v %v", m.Name, m.Up, m.Targets, m.State, m.Critical, m.Warning, m.Info, m.Judged, m.Figures)+" "+m.Why)
	}
	require.Equal(t, []string{
		"away@office 0/0 offline 0 0 0 true map[] intermittent: may be off",
		"beta@office 3/3 ok 0 0 0 true map[cpu:0.26 temperature:51] ",
		"dead@office 0/1 down 1 0 0 true map[] does not respond",
		"gone@office 0/0 down 0 0 0 true map[] not heard for 12 min",
		"half@office 1/3 warning 0 0 0 true map[cpu:0.5] nginx, redis are down",
		"hot@cellar 1/1 critical 2 0 0 false map[] TooHot ×2",
		"laptop@office 0/1 offline 0 0 0 true map[] intermittent: may be off",
		"plain@cellar 1/1 warning 0 1 0 false map[] Slow",
	}, lines)
	require.Equal(t, `machine="beta",site="office"`, a.Machines[1].Selector)
	require.Equal(t, []string{"site=office"}, a.Machines[1].Tags)
	require.Equal(t, []any{"NixOS 26.11", "6.18.1", int64(1200), true}, []any{a.Machines[1].OS, a.Machines[1].Kernel, a.Machines[1].Booted, a.Machines[1].Reboot})
	require.Equal(t, "1970-01-01T00:48:00Z", a.Machines[3].Since)
	require.Equal(t, "1970-01-01T00:30:00Z", a.Machines[2].Since)
	require.Equal(t, "1970-01-01T00:10:00Z", a.Machines[5].Since, "the first that fires")
	require.Equal(t, "1970-01-01T01:00:00Z", a.Machines[1].Heard)
}

// Who is silent is looked for seldom, and known in between.
func TestSilentMachines(t *testing.T) {
	t.Parallel()
	for _, short := range []bool{false, true} {
		s := newSetup(t, `
  up{machine="up",job="node",site="b"} 1x1600
  up{machine="stops",job="node",site="b"} 1x65
  up{machine="removed",job="node",site="b"} 1x70 stale
  up{machine="gone",job="node",site="b"} 1x30
`)
		var back []time.Duration
		s.ShortSighted = short
		query := s.Query
		s.Query = func(ctx context.Context, expr string, at time.Time, lookback time.Duration) (promql.Vector, []string, error) {
			if strings.Contains(expr, "timestamp") {
				back = append(back, lookback)
			}
			if short {
				lookback = quiet
			}
			return query(ctx, expr, at, lookback)
		}
		var got []string
		for _, minute := range []int{60, 62, 69, 71, 75, 80, 81, 300, 1500} {
			s.clock = time.Unix(int64(minute)*60, 0)
			line := fmt.Sprint(minute)
			for _, m := range s.Answer(t.Context()).Machines {
				line += " " + m.Machine + ":" + m.Why
			}
			got = append(got, line)
		}
		gone := func(text string) string {
			if short { // it was silent before anybody looked
				return ""
			}
			return " gone:not heard for " + text
		}
		require.Equal(t, []string{
			"60" + gone("30 min") + " removed: stops: up:",
			"62" + gone("32 min") + " removed: stops: up:",
			"69" + gone("39 min") + " removed: stops: up:",
			"71" + gone("41 min") + " stops:not heard for 6 min up:",
			"75" + gone("45 min") + " stops:not heard for 10 min up:",
			"80" + gone("50 min") + " stops:not heard for 15 min up:",
			"81" + gone("51 min") + " stops:not heard for 16 min up:",
			"300" + gone("4 h 30 min") + " stops:not heard for 3 h 55 min up:",
			"1500 stops:not heard for 23 h 55 min up:",
		}, got)
		require.Equal(t, []time.Duration{forgotten, quiet, forgotten, quiet, quiet, forgotten, quiet, forgotten, forgotten}, back)
	}
}

// This server's own machines keep their names.
func TestAnOwnMachineWins(t *testing.T) {
	t.Parallel()
	s := newSetup(t, `
  up{machine="beta",job="node",site="office"} 1x60
  up{machine="a@b",job="node",site="c"} 1x60
  up{machine="a",job="node",site="b@c"} 1x60
`)
	s.own["beta@office"] = "ok"
	for range 2 {
		a := s.Answer(t.Context())
		require.Len(t, a.Machines, 1, "and of two others with one name the first")
		require.Equal(t, "a", a.Machines[0].Machine)
		s.clock = s.clock.Add(time.Minute)
	}
	require.Equal(t, 1, strings.Count(s.log.String(), `machine=beta@office`), "logged once: %s", s.log)
	require.Equal(t, 1, strings.Count(s.log.String(), `machine=a@b@c`))
}

func TestSeveralLabels(t *testing.T) {
	t.Parallel()
	s := newSetup(t, `
  up{machine="beta",job="node",env="prod",site="home"} 1x60
  up{machine="beta",job="node",env="test",site="home"} 1x60
  up{machine="beta",job="node",env="prod",site="office"} 1x60
  up{machine="beta",job="node",site="office"} 1x60
`)
	s.External = func() []labels.Label {
		return []labels.Label{{Name: "env", Value: "prod"}, {Name: "site", Value: "home"}}
	}
	var names []string
	for _, m := range s.Answer(t.Context()).Machines {
		names = append(names, m.Name+" "+m.Selector)
	}
	require.Equal(t, []string{`beta@prod,office machine="beta",env="prod",site="office"`, `beta@test,home machine="beta",env="test",site="home"`}, names)
}

// Without labels that tell machines apart, or without an engine, nothing is asked.
func TestNothingToTellThemApart(t *testing.T) {
	t.Parallel()
	for _, external := range [][]labels.Label{nil, {{Name: "replica", Value: "a"}}} {
		s := newSetup(t, twoSites)
		s.External = func() []labels.Label { return external }
		require.Equal(t, Answer{Machines: []Machine{}, Warnings: []string{}}, s.Answer(t.Context()))
		require.Empty(t, s.engine.asked)
	}
	require.Equal(t, Answer{Machines: []Machine{}, Warnings: []string{}}, New(Options{}).Answer(t.Context()))
}

// While the engine is away, what was known stays.
func TestAnEngineThatIsAway(t *testing.T) {
	t.Parallel()
	s := newSetup(t, twoSites)
	s.engine.err = errors.New("connection refused")
	a := s.Answer(t.Context())
	require.Empty(t, a.Machines)
	require.Zero(t, a.Time)
	require.Equal(t, []string{"History not reached: connection refused"}, a.Warnings)
	text, err := json.Marshal(a)
	require.NoError(t, err)
	require.Contains(t, string(text), `"machines":[]`)

	s.engine.err = nil
	require.Empty(t, s.Answer(t.Context()).Machines, "it is not asked again at once")
	s.clock = s.clock.Add(every)
	known := s.Answer(t.Context())
	require.Len(t, known.Machines, 8)

	s.engine.err = errors.New("connection refused")
	s.clock = s.clock.Add(every)
	a = s.Answer(t.Context())
	require.Equal(t, known.Machines, a.Machines)
	require.Equal(t, known.Time, a.Time)
	require.Equal(t, []string{"History not reached: connection refused"}, a.Warnings)

	s.External = func() []labels.Label { return []labels.Label{{Name: "site", Value: "cellar"}} }
	require.Empty(t, s.Answer(t.Context()).Machines, "they may be this server's own now")
}

// What is missing is said; the machines are there.
func TestPartialAnswers(t *testing.T) {
	t.Parallel()
	for what, warning := range map[string]string{"ALERTS": "alerts", "machine:cpu": "current values", "rate(busy": "current values", "node_os_info": "facts"} {
		s := newSetup(t, twoSites)
		s.engine.fails = what
		a := s.Answer(t.Context())
		require.Len(t, a.Machines, 8, what)
		require.Equal(t, []string{"History incomplete: " + warning + ": too many samples"}, a.Warnings)
	}
	s := newSetup(t, twoSites)
	s.engine.warnings = []string{"store 1 is away"}
	require.Equal(t, []string{"History incomplete: store 1 is away"}, s.Answer(t.Context()).Warnings, "once")
	s = newSetup(t, twoSites)
	s.engine.fails = "up{"
	require.Equal(t, []string{"History not reached: too many samples"}, s.Answer(t.Context()).Warnings)
}

// Nothing is said to be well, or only half bad, of which nobody knows.
func TestUnknown(t *testing.T) {
	t.Parallel()
	states := func(s *setup) (all []string) {
		for _, m := range s.Answer(t.Context()).Machines {
			all = append(all, m.Name+" "+m.State+" "+m.Why)
		}
		return all
	}
	s := newSetup(t, twoSites)
	s.engine.fails = "ALERTS{"
	require.Equal(t, []string{
		"away@office offline intermittent: may be off",
		"beta@office unjudged alerts are not known",
		"dead@office down does not respond",
		"gone@office down not heard for 12 min",
		"half@office unjudged alerts are not known",
		"hot@cellar unjudged alerts are not known",
		"laptop@office offline intermittent: may be off",
		"plain@cellar unjudged alerts are not known",
	}, states(s))

	s = newSetup(t, twoSites)
	s.engine.fails = "machine:cpu"
	require.Contains(t, states(s), "beta@office unjudged ", "nobody knows whether there are rules")

	s = newSetup(t, twoSites)
	query := s.Query
	s.Query = func(ctx context.Context, expr string, at time.Time, lookback time.Duration) (promql.Vector, []string, error) {
		if strings.Contains(expr, "job, instance) (up{") {
			return nil, nil, nil
		}
		return query(ctx, expr, at, lookback)
	}
	require.Contains(t, states(s), "beta@office unjudged targets are not known")

	s = newSetup(t, twoSites)
	all := s.Query
	s.Query = func(ctx context.Context, expr string, at time.Time, lookback time.Duration) (promql.Vector, []string, error) {
		if strings.Contains(expr, "ALERTS{") {
			return nil, []string{"a store is away"}, nil
		}
		return all(ctx, expr, at, lookback)
	}
	require.Subset(t, states(s), []string{"beta@office unjudged alerts are not known", "hot@cellar unjudged alerts are not known"})
}

// After a change of its external labels, what a server wrote before is not another server's.
func TestRenamed(t *testing.T) {
	t.Parallel()
	s := newSetup(t, `
  up{machine="beta",job="node",site="house"} 1x30
  up{machine="removed",job="node",site="house"} 1x20
  up{machine="beta",job="node",site="home"} _x31 1x29
  up{machine="beta",job="node",site="office"} 1x40
  up{machine="beta",job="node",site="cellar"} 1x20
  up{machine="hot",job="node",site="cellar"} 1x60
`)
	s.own["beta"] = "ok"
	names := func() (all []string) {
		for _, m := range s.Answer(t.Context()).Machines {
			all = append(all, m.Name)
		}
		return all
	}
	require.Equal(t, []string{"beta@cellar", "beta@office", "hot@cellar", "removed@house"}, names())
	s.clock = s.clock.Add(every)
	s.engine.fails = "count(last_over_time(up"
	require.Equal(t, []string{"beta@cellar", "beta@house", "beta@office", "hot@cellar", "removed@house"}, names())

	// A server that was away when a site fell silent was not called like that site.
	s = newSetup(t, `
  up{machine="nas",job="node",site="home"} 1x20 _x19 1x20
  up{machine="nas",job="node",site="office"} 1x30
`)
	s.own["nas"] = "ok"
	require.Equal(t, []string{"nas@office"}, names())
}

// The states of own machines are a copy for each who asks.
func TestOwnMachinesAreLookedUpOnce(t *testing.T) {
	t.Parallel()
	s := newSetup(t, twoSites)
	asked := 0
	s.Own = func() map[string]string { asked++; return s.own }
	require.Len(t, s.Answer(t.Context()).Machines, 8)
	require.Equal(t, 1, asked)
}

// An engine may return anything.
func TestNonsense(t *testing.T) {
	t.Parallel()
	s := newSetup(t, "")
	nonsense := promql.Vector{
		{Metric: labels.EmptyLabels(), F: 1}, {Metric: labels.FromStrings("machine", "x"), F: 3600},
		{Metric: labels.FromStrings("machine", "x", "site", "home"), F: 3600},
		{Metric: labels.FromStrings("machine", "old", "site", "b"), F: -1}, {Metric: labels.FromStrings("machine", "far", "site", "b"), F: 1e300},
		{Metric: labels.FromStrings("machine", "later", "site", "b", "severity", "critical", "__name__", "machine:cpu_used:ratio"), F: 1e10},
	}
	s.Query = func(context.Context, string, time.Time, time.Duration) (promql.Vector, []string, error) {
		return append(promql.Vector{}, nonsense...), nil, nil
	}
	a := s.Answer(t.Context())
	require.Len(t, a.Machines, 1)
	require.Equal(t, "later@b", a.Machines[0].Name)
	require.Equal(t, "1970-01-01T01:00:00Z", a.Machines[0].Heard, "not in the future")
	require.Zero(t, a.Machines[0].Critical)

	many := make(promql.Vector, most+7)
	for n := range many {
		many[n] = promql.Sample{Metric: labels.FromStrings("machine", fmt.Sprintf("m%05d", n), "site", "b"), F: 3600}
	}
	s = newSetup(t, "")
	s.Query = func(_ context.Context, expr string, _ time.Time, _ time.Duration) (promql.Vector, []string, error) {
		require.Less(t, len(expr), 10_000)
		return append(promql.Vector{}, many...), nil, nil
	}
	a = s.Answer(t.Context())
	require.Len(t, a.Machines, most)
	require.Equal(t, []string{"5000 of 5007 machines of other servers are shown"}, a.Warnings)
}

// Many who ask at once are one round of queries, also if the first goes away.
func TestOneRoundForAll(t *testing.T) {
	t.Parallel()
	s := newSetup(t, twoSites)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	s.Answer(gone)
	require.Len(t, s.Answer(t.Context()).Machines, 8)
	n := len(s.engine.asked)
	require.Equal(t, 7, n)
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() { s.Answer(t.Context()) })
	}
	all.Wait()
	require.Len(t, s.engine.asked, n)
	s.clock = s.clock.Add(every)
	for range 20 {
		all.Go(func() { s.Answer(t.Context()) })
	}
	all.Wait()
	require.Len(t, s.engine.asked, 2*n)
}

// A round that takes longer than the time between two is one round for all who wait. Who
// goes away while it runs does not wait.
func TestASlowRound(t *testing.T) {
	t.Parallel()
	s := newSetup(t, twoSites)
	s.Answer(t.Context())
	var clock sync.Mutex
	s.Now = func() time.Time {
		clock.Lock()
		defer clock.Unlock()
		return s.clock
	}
	pass := func() {
		clock.Lock()
		defer clock.Unlock()
		s.clock = s.clock.Add(every)
	}
	rounds, begun, goOn := 0, make(chan bool, 100), make(chan bool)
	query := s.Query
	s.Query = func(ctx context.Context, expr string, at time.Time, lookback time.Duration) (promql.Vector, []string, error) {
		if strings.Contains(expr, "timestamp") {
			rounds++
			begun <- true
			<-goOn
			pass()
		}
		return query(ctx, expr, at, lookback)
	}
	pass()
	answers := make(chan Answer, 20)
	ask := func() { answers <- s.Answer(t.Context()) }
	go ask()
	<-begun
	for range 19 {
		go ask()
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	a := s.Answer(gone)
	require.Equal(t, 3600.0, a.Time, "what was known")
	require.Len(t, a.Machines, 8)
	close(goOn)
	for range cap(answers) {
		require.Equal(t, 3620.0, (<-answers).Time)
	}
	require.Equal(t, 1, rounds)
}

// A stop of the server ends the round that runs.
func TestClose(t *testing.T) {
	t.Parallel()
	s := newSetup(t, twoSites)
	begun := make(chan bool)
	s.Query = func(ctx context.Context, _ string, _ time.Time, _ time.Duration) (promql.Vector, []string, error) {
		close(begun)
		<-ctx.Done()
		return nil, nil, ctx.Err()
	}
	answer := make(chan Answer)
	go func() { answer <- s.Answer(t.Context()) }()
	<-begun
	require.NoError(t, s.Close())
	require.Equal(t, []string{"History not reached: context canceled"}, (<-answer).Warnings)
}

func TestHandler(t *testing.T) {
	t.Parallel()
	s := newSetup(t, twoSites)
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	require.Equal(t, http.StatusOK, w.Code)
	require.Contains(t, w.Body.String(), `"name":"beta@office","machine":"beta","site":"office"`)
	w = httptest.NewRecorder()
	s.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/", nil))
	require.Equal(t, http.StatusMethodNotAllowed, w.Code)
}

// BenchmarkRound is a round of queries for 1,000 machines with 2 targets each, and one that looks
// a day back; the samples are a minute apart.
func BenchmarkRound(b *testing.B) {
	var load strings.Builder
	for i := range 1000 {
		for _, job := range []string{"node", "systemd"} {
			fmt.Fprintf(&load, "  up{machine=\"m%d\",job=%q,site=\"office\"} 1x1440\n", i, job)
		}
		fmt.Fprintf(&load, "  machine:cpu_used:ratio{machine=\"m%d\",site=\"office\"} 0.25x1440\n", i)
	}
	s := newSetup(b, load.String())
	s.clock = time.Unix(24*3600, 0)
	for _, name := range []string{"a day back", "usual"} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				s.asked = time.Time{}
				if name != "usual" {
					s.deep = time.Time{}
				}
				if n := len(s.Answer(b.Context()).Machines); n != 1000 {
					b.Fatal(n)
				}
			}
		})
	}
}
