package e2e

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/e2e/harness"
)

// seeded is a source of random numbers whose seed is in the log, and in a variable for another run.
func seeded(t *testing.T, variable string) *rand.Rand {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv(variable); text != "" {
		var err error
		seed, err = strconv.ParseUint(text, 10, 64)
		require.NoError(t, err, variable)
	}
	t.Logf("%s=%d", variable, seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// faults is a target with a series for each fault, which is an alert while it is 1.
type faults struct {
	mu  sync.Mutex
	now map[string]int
}

func (f *faults) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for name, value := range f.now {
		fmt.Fprintf(w, "fault{machine=%q} %d\n", name, value)
	}
}

func (f *faults) set(value int, names ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, name := range names {
		f.now[name] = value
	}
}

// A killedPair is two servers that scrape the same exporters and faults, and notify one receiver.
//
// What they promise is what Alertmanager promises: an alert that begins is sent at least once, and so is
// its end. It is sent once if the one server learns from the other that it was sent, within the peer timeout, or
// when it joins. A server that is killed may have sent what the other does not learn of; then the other sends
// it too. But no server sends anything twice while it runs, and nothing that both have in their
// notification logs is sent again, whoever is killed.
type killedPair struct {
	t       *testing.T
	hook    *hook
	faults  *faults
	spools  []*spooled // an exporter each; the server is set by whole
	options [2]harness.ServerOptions
	servers [2]*harness.Server
	kills   [2]int

	firing []string       // in the order in which they began
	begun  map[string]int // how often each may be sent as firing
	ended  []string       // while only one server was there
}

func newKilledPair(t *testing.T, more string) *killedPair {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &killedPair{t: t, hook: localHook(t), faults: &faults{now: map[string]int{}}, begun: map[string]int{}}
	target := &http.Server{Handler: p.faults}
	go func() { _ = target.Serve(l) }()
	t.Cleanup(func() { target.Close() })
	for n := range 2 {
		p.spools = append(p.spools, newSpool(t, fmt.Sprintf("m%d", n+1)))
	}
	dir := t.TempDir()
	am := harness.WriteFile(t, dir, "am.yml", strings.Replace(p.hook.config(""), "[alertname]", "[alertname, machine]", 1))
	rules := harness.WriteFile(t, dir, "rules.yml", "groups: [{name: g, rules: [{alert: Fault, expr: fault == 1}]}]\n")
	gossip := [2]string{harness.Address(t), harness.Address(t)}
	for i := range p.servers {
		p.options[i] = harness.ServerOptions{
			Listen: harness.Address(t), Data: t.TempDir(),
			// Rules wait for the first scrapes after a restart, at most for the longest interval of a job; the job
			// without targets makes that so long that no machine is too slow.
			Config: fmt.Sprintf("global: {scrape_interval: 1s, evaluation_interval: 1s}\nrule_files: [%q]\nscrape_configs:\n- {job_name: none, scrape_interval: 1m}\n"+
				"- {job_name: faults, static_configs: [{targets: [%q]}]}\n", rules, l.Addr()) + spoolJob(p.spools...) + more,
			Args: []string{
				"--backfill=on", "--alertmanager.config.file=" + am, fmt.Sprintf("--replica=r%d", i),
				"--cluster.listen-address=" + gossip[i], "--cluster.peer=" + gossip[1-i], "--cluster.peer-timeout=3s",
				"--cluster.settle-timeout=10s", "--cluster.pushpull-interval=5s", // what gossip loses comes with that
			},
		}
		p.servers[i] = harness.LaunchServer(t, p.options[i])
	}
	for _, s := range p.servers {
		s.WaitReady()
	}
	p.calm()
	p.begin(2, 2)
	p.told()
	p.calm()
	return p
}

// begin lets n alerts begin, each of which may be sent so many times.
func (p *killedPair) begin(n, times int) (names []string) {
	for range n {
		name := fmt.Sprintf("a%03d", len(p.begun))
		p.begun[name] = times
		names = append(names, name)
	}
	p.firing = append(p.firing, names...)
	p.faults.set(1, names...)
	return names
}

// end ends the n alerts that fire the longest. One server is away.
func (p *killedPair) end(n int) {
	p.ended = append(p.ended, p.firing[:n]...)
	p.faults.set(0, p.firing[:n]...)
	p.firing = p.firing[n:]
}

// told waits until all that has begun or ended is sent.
func (p *killedPair) told() {
	p.t.Helper()
	harness.Eventually(p.t, 2*harness.Patience, func() error {
		firing, resolved := p.hook.told("firing"), p.hook.told("resolved")
		for name := range p.begun {
			if !slices.Contains(firing, "Fault/"+name) {
				return fmt.Errorf("%s is not sent", name)
			}
		}
		for _, name := range p.ended {
			if !slices.Contains(resolved, "Fault/"+name) {
				return fmt.Errorf("the end of %s is not sent", name)
			}
		}
		return nil
	})
}

// knows waits until a server has these alerts, and no other ones unless there may be more.
func (p *killedPair) knows(s *harness.Server, names []string, more bool) error {
	a, err := s.TryGet("/api/v2/alerts")
	if err != nil {
		return err
	}
	var alerts []struct{ Labels map[string]string }
	if err := json.Unmarshal([]byte(a.Body), &alerts); err != nil {
		return fmt.Errorf("%s: %w", a.Body, err)
	}
	var have []string
	for _, a := range alerts {
		have = append(have, a.Labels["machine"])
	}
	for _, name := range names {
		if !slices.Contains(have, name) {
			return fmt.Errorf("%s has no alert of %s, but %v", s.URL, name, have)
		}
	}
	if !more && len(have) != len(names) {
		return fmt.Errorf("%s has alerts of %v instead of %v", s.URL, have, names)
	}
	return nil
}

// calm waits until both servers hear each other, have the same alerts, have nothing more to say of others,
// and know, also after a crash, what is sent.
func (p *killedPair) calm() {
	p.t.Helper()
	for i, s := range p.servers {
		harness.Eventually(p.t, 2*harness.Patience, func() error {
			a, err := s.TryGet("/api/v2/status")
			if err != nil {
				return err
			}
			if n := strings.Count(a.Body, `"address"`); n != 2 || !strings.Contains(a.Body, `"ready"`) {
				return fmt.Errorf("%s: %d servers: %s", s.URL, n, a.Body)
			}
			if err := p.knows(s, p.firing, false); err != nil {
				return err
			}
			groups, err := s.Metric("alertmanager_dispatcher_aggregation_groups")
			if err == nil && groups != float64(len(p.firing)) {
				err = fmt.Errorf("%s: %g groups, not %d", s.URL, groups, len(p.firing))
			}
			return err
		})
		if len(p.firing) > 0 {
			p.logged(i)
		}
	}
}

func (p *killedPair) logged(server int) {
	p.t.Helper()
	var keys []string
	for _, name := range p.firing {
		keys = append(keys, fmt.Sprintf("machine=%q", name))
	}
	logged(p.t, p.options[server].Data, keys...)
}

// round kills a server while alerts begin and end, and starts it again.
func (p *killedPair) round(random *rand.Rand, victim, alerts int) {
	p.t.Helper()
	s, old := p.servers[victim], len(p.firing)
	first := p.begin(alerts, 3) // by both, and by the victim after its start
	switch moment := random.IntN(3); moment {
	case 1:
		harness.Eventually(p.t, harness.Patience, func() error { return p.knows(s, first[:1], true) })
	case 2:
		p.hook.wait(p.t, harness.Patience, "firing", "Fault/"+first[0])
	}
	s.Kill()
	p.kills[victim]++
	late := random.IntN(2) == 0 // the victim is started after everything is sent
	times := 2
	if late {
		times = 1
	}
	p.begin(alerts, times)
	p.end(min(alerts, old))
	for _, x := range p.spools { // or there is no gap
		x.gathers(3)
	}
	if late {
		p.told()
		p.logged(1 - victim)
	}
	p.servers[victim] = harness.StartServer(p.t, p.options[victim])
	p.told()
	p.calm()
}

// finish stops one server and ends all alerts: the other one says so.
func (p *killedPair) finish(random *rand.Rand) {
	p.t.Helper()
	p.whole()
	require.Zero(p.t, p.servers[random.IntN(2)].Terminate())
	p.end(len(p.firing))
	p.told()
	sent := map[string]int{}
	for _, status := range []string{"firing", "resolved"} {
		for _, a := range p.hook.told(status) {
			sent[status+" "+strings.TrimPrefix(a, "Fault/")]++
		}
	}
	repeated := 0
	for name, times := range p.begun {
		n := sent["firing "+name]
		require.LessOrEqual(p.t, n, times, "%s was sent more often", name)
		require.Equal(p.t, 1, sent["resolved "+name], "the end of %s", name)
		repeated += n - 1
	}
	p.t.Logf("%d and %d kills, %d alerts: 0 lost, %d sent twice because of a kill", p.kills[0], p.kills[1], len(p.begun), repeated)
}

// whole waits until both servers have all samples: those of the times when they were away are
// the exporters', once each.
func (p *killedPair) whole() {
	p.t.Helper()
	for i, s := range p.servers {
		for _, x := range p.spools {
			view := *x
			view.server = s
			view.filledWithin(4*harness.Patience, p.kills[i])
		}
	}
}

// The servers of a pair are killed one at a time, while alerts begin and end. No alert is
// lost, none is sent more often than Alertmanager's promise allows, and both servers have all samples.
func TestAPairKilled(t *testing.T) {
	t.Parallel()
	random := seeded(t, "PAIR_SEED")
	p := newKilledPair(t, "")
	for _, victim := range random.Perm(2) {
		p.round(random, victim, 2)
	}
	p.finish(random)
}
