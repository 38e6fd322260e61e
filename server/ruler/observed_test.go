package ruler

import (
	"context"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/rules"
	"github.com/stretchr/testify/require"
)

// firing are the alerts that fire now, each "NAME MACHINE".
func (s *sim) firing() []string {
	var all []string
	for _, g := range s.groups {
		for _, r := range g.AlertingRules() {
			for _, a := range r.ActiveAlerts() {
				if a.State == rules.StateFiring {
					all = append(all, r.Name()+" "+a.Labels.Get("machine"))
				}
			}
		}
	}
	slices.Sort(all)
	return all
}

// idle lets time pass in which nothing is scraped and nothing arrives.
func (s *sim) idle(d time.Duration) {
	for end := s.now + d; s.now < end; s.now += simStep {
		s.evaluate()
	}
}

// A heartbeat that goes on although nothing is seen any more says that all is
// well. What the rules record themselves is no sign of life.
func TestNothingArrives(t *testing.T) {
	s := newSim(t, ShippedOptions{})
	s.machine("m0", "always", 0)
	s.run(20 * time.Minute)
	require.Equal(t, []string{"Watchdog "}, s.firing())
	s.idle(4 * time.Minute)
	require.Contains(t, s.firing(), "Watchdog ", "a pause in which one would not say that samples have stopped")
	s.idle(90 * time.Second)
	require.NotContains(t, s.firing(), "Watchdog ")
	s.idle(6 * time.Minute)
	require.Equal(t, []string{"NoFreshSamples "}, s.firing())
	s.run(time.Minute)
	require.NotContains(t, s.firing(), "NoFreshSamples ")
	require.Contains(t, s.firing(), "Watchdog ")
}

// A rule of the user's that is called as one in the binary is not touched.
func TestOnlyRulesInTheBinaryAreNarrowed(t *testing.T) {
	s := newSim(t, ShippedOptions{})
	s.ruler.ruled.Store(&inForce{on: true, taken: map[string]bool{"Watchdog": true}})
	s.idle(10 * time.Minute)
	require.Contains(t, s.firing(), "Watchdog ")
}

// What this server scraped and does not any more was removed on purpose; what
// others sent and do not any more has failed.
func TestQuietIsWhatOthersSent(t *testing.T) {
	for _, scraped := range []bool{true, false} {
		s := newSim(t, ShippedOptions{})
		s.machine("m0", "always", 0)
		s.machine("other", "always", 0)
		s.own["other"] = scraped
		s.run(20 * time.Minute)
		require.Equal(t, []string{"Watchdog "}, s.firing())

		delete(s.own, "other")
		ends := s.now
		for _, x := range s.series {
			if x.labels.Get("machine") == "other" {
				base, rate := x.base, x.rate
				x.value = func(at time.Duration) float64 {
					switch {
					case at < ends+time.Minute:
						return base + rate*at.Seconds() // until the scrapes of it have ended
					case at == ends+time.Minute:
						return math.Float64frombits(value.StaleNaN)
					}
					return math.NaN()
				}
			}
		}
		s.run(15 * time.Minute)
		if scraped {
			require.Equal(t, []string{"Watchdog "}, s.firing())
		} else {
			require.Equal(t, []string{"MachineQuiet other", "Watchdog "}, s.firing())
		}
	}
}

// When volumes are full is what the server found out, not what the expression says; unless
// somebody has a rule of the same name.
func TestFullInIsObserved(t *testing.T) {
	vector := func(v float64) promql.Vector { return promql.Vector{{F: v}} }
	r := &Ruler{}
	q := r.query(func(context.Context, string, time.Time) (promql.Vector, error) { return vector(1), nil },
		Observed{FullIn: func(context.Context, time.Time) (promql.Vector, error) { return vector(2), nil }})
	for _, x := range []struct {
		rule string
		now  inForce
		want float64
	}{
		{"volume:full_in:seconds", inForce{on: true}, 2},
		{"volume:avail:bytes", inForce{on: true}, 1},
		{"volume:full_in:seconds", inForce{}, 1},
		{"volume:full_in:seconds", inForce{on: true, taken: map[string]bool{"volume:full_in:seconds": true}}, 1},
	} {
		r.ruled.Store(&x.now)
		v, err := q(rules.NewOriginContext(t.Context(), rules.RuleDetail{Name: x.rule}), "", time.Now())
		require.NoError(t, err)
		require.Equal(t, x.want, v[0].F, "%+v", x)
	}
}

// So is the traffic of a month.
func TestTrafficIsObserved(t *testing.T) {
	r := &Ruler{}
	q := r.query(func(context.Context, string, time.Time) (promql.Vector, error) { return nil, nil },
		Observed{Traffic: func(_ context.Context, record string, _ time.Time) (promql.Vector, error) {
			return promql.Vector{{F: float64(len(record))}}, nil
		}})
	r.ruled.Store(&inForce{on: true})
	n := 0
	for _, g := range shipped(t, ShippedOptions{}).Groups().Groups {
		for _, x := range g.Rules {
			v, err := q(rules.NewOriginContext(t.Context(), rules.RuleDetail{Name: x.Record + x.Alert}), "", time.Now())
			require.NoError(t, err)
			if g.Name == "clanmon-traffic" && x.Record != "" {
				require.EqualValues(t, len(x.Record), v[0].F, x.Record)
				n++
			} else {
				require.Empty(t, v, x.Alert)
			}
		}
	}
	require.Equal(t, 3, n)
}

// Without the label machine, a rule's expression selects the same series.
func TestUnlabelled(t *testing.T) {
	s := shipped(t, ShippedOptions{})
	require.NotContains(t, s.Unlabelled("volume:avail:bytes"), `machine!=""`)
	require.Contains(t, s.Unlabelled("volume:avail:bytes"), "node_filesystem_avail_bytes")
	require.Empty(t, shipped(t, ShippedOptions{Disable: []string{"volume:avail:bytes"}}).Unlabelled("volume:avail:bytes"))
}
