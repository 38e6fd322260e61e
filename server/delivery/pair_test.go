package delivery

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/alertmanager/cluster"
	"github.com/stretchr/testify/require"
)

type member struct{ name, address string }

func (m member) Name() string    { return m.name }
func (m member) Address() string { return m.address }

// newPair returns a server whose cluster has the given members.
func newPair(members *[]cluster.ClusterMember, log *bytes.Buffer, machines ...string) *pair {
	p := &pair{
		name: "own", others: make(map[string]*other), configured: []string{"10.0.0.2:9094"},
		members: func() []cluster.ClusterMember { return *members }, broadcast: func([]byte) {},
		log: slog.New(slog.NewTextHandler(log, nil)),
	}
	p.about = func() About {
		a := About{Name: "r0"}
		states := make(map[string]string)
		for _, m := range machines {
			states[m] = "ok"
		}
		a.Named(states)
		return a
	}
	return p
}

// hear passes on what another server says.
func (p *pair) hear(t *testing.T, name string, a About) {
	b, err := json.Marshal(map[string]traits{name: {Labels: "{}", About: &a}})
	require.NoError(t, err)
	require.NoError(t, p.Merge(b))
}

// What a pair says of the other one: its clock, its machines, that it is away, and that it is
// back under another name.
func TestWhatIsSaidOfAPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		members := []cluster.ClusterMember{member{"own", "10.0.0.1:9094"}}
		p := newPair(&members, &log, "a", "b")
		p.set(traits{Labels: "{}"})
		texts := func() string {
			var all []string
			for _, x := range p.peers() {
				for _, d := range x.Differences {
					all = append(all, d.Text+". "+d.Detail)
				}
			}
			return strings.Join(all, "\n")
		}
		require.Contains(t, texts(), "Peer 10.0.0.2:9094 is unreachable. Not heard since")

		members = append(members, member{"one", "10.0.0.2:9094"})
		say := func(name string, ahead time.Duration, machines ...string) {
			a := About{Name: "r1", URL: "javascript:alert(1)", Time: time.Now().Add(ahead).UnixMilli()}
			states := make(map[string]string)
			for _, m := range machines {
				states[m] = "down"
			}
			a.Named(states)
			p.hear(t, name, a)
		}
		say("one", 0, "a", "b")
		require.Empty(t, texts())
		x := p.peers()[0]
		require.True(t, x.Reachable && x.Same)
		require.Equal(t, map[string]string{"a": "down", "b": "down"}, x.States)
		require.Empty(t, x.URL, "no page may link there")

		// A message that was under way for long does not make a clock wrong; a clock does.
		time.Sleep(time.Second)
		say("one", -20*time.Second, "a", "b")
		require.Empty(t, texts())
		for range 4 {
			time.Sleep(time.Second)
			say("one", -20*time.Second, "a", "b")
		}
		require.Contains(t, texts(), "Peer r1 (10.0.0.2:9094) has a clock that is 20s behind")
		time.Sleep(time.Second)
		say("one", 10*time.Minute, "a", "b")
		require.Contains(t, texts(), "has a clock that is 10m0s ahead")
		for range 4 {
			time.Sleep(time.Second)
			say("one", 0, "a", "b")
		}
		require.Empty(t, texts())

		// Other machines are said if they stay.
		say("one", time.Millisecond, "a")
		require.Empty(t, texts())
		require.False(t, p.peers()[0].Same)
		time.Sleep(lasting)
		require.Contains(t, texts(), "monitors different machines. Here: 2. There: 1.")
		say("one", 2*time.Millisecond, "a", "b")
		require.Empty(t, texts())

		// It is away, and comes back with another name.
		members = members[:1]
		require.Contains(t, texts(), "Peer r1 (10.0.0.2:9094) is unreachable. Last heard: 2000-01-01T")
		p.tell()
		p.tell()
		require.Equal(t, 1, strings.Count(log.String(), "r1 (10.0.0.2:9094) is unreachable"))
		members = append(members, member{"two", "10.0.0.2:9094"})
		require.Empty(t, texts())
		require.Len(t, p.peers(), 1)
		say("two", 0, "a", "b")
		require.Empty(t, texts())
		require.Len(t, p.peers(), 1)
		require.Equal(t, "r1", p.peers()[0].Name)
	})
}

// A server with more troubled machines than the others take says so, and is heard.
func TestWhatIsSaidFits(t *testing.T) {
	p := newPair(&[]cluster.ClusterMember{}, &bytes.Buffer{})
	p.own.Labels = "{}"
	p.about = func() About {
		var a About
		states := make(map[string]string)
		for i := range 1000 {
			states[fmt.Sprintf("machine-with-a-long-name-%d", i)] = "down"
		}
		a.Named(states)
		return a
	}
	b, err := p.MarshalBinary()
	require.NoError(t, err)
	require.LessOrEqual(t, len(b), maxTraitSize)
	other := newPair(&[]cluster.ClusterMember{member{"own", "10.0.0.1:9094"}}, &bytes.Buffer{})
	other.name, other.own.Labels = "another", "{}"
	require.NoError(t, other.Merge(b))
	x := other.peers()[0]
	require.True(t, x.Cut)
	require.Equal(t, 1000, x.Machines)
	require.NotEmpty(t, x.States)
}

// Machines that are not OK are named, whatever they are; the others too where all of them fit.
// What fits of many begins with the problems.
func TestStatesThatAreSaid(t *testing.T) {
	said := func(states map[string]string) Peer {
		t.Helper()
		p := newPair(&[]cluster.ClusterMember{}, &bytes.Buffer{})
		p.own.Labels = "{}"
		p.about = func() (a About) { a.Named(states); return a }
		b, err := p.MarshalBinary()
		require.NoError(t, err)
		other := newPair(&[]cluster.ClusterMember{member{"own", "10.0.0.1:9094"}}, &bytes.Buffer{})
		other.name, other.own.Labels = "another", "{}"
		require.NoError(t, other.Merge(b))
		return other.peers()[0]
	}
	x := said(map[string]string{"a": "ok", "b": "unjudged", "c": "offline", "d": "down", "e": "waiting"})
	require.Equal(t, map[string]string{"b": "unjudged", "c": "offline", "d": "down", "e": "waiting"}, x.States)
	require.Equal(t, []string{"a"}, x.OK)
	require.False(t, x.Cut)

	many := func(state string) map[string]string {
		states := map[string]string{"web1": "down"}
		for i := range 1000 {
			states[fmt.Sprintf("another-machine-%d", i)] = state
		}
		return states
	}
	x = said(many("ok"))
	require.Equal(t, map[string]string{"web1": "down"}, x.States)
	require.Empty(t, x.OK)
	require.False(t, x.Cut)
	x = said(many("unjudged"))
	require.Equal(t, map[string]string{"web1": "down"}, x.States)
	require.True(t, x.Cut)
}
