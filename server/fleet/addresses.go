package fleet

import (
	"context"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/scrape"

	"github.com/clanmon/clanmon/discovery/contract"
)

// A machine may be listed with several addresses, not all of which lead to it from here:
// an overlay network is not up, or a name resolves on other machines only. The first one is
// scraped. When that fails, the others are tried in turn, and the machine is scraped at the
// one that responds until that fails too. Its series stay the same, because instance is made
// of its name.

// tryEvery is how often targets that are down are looked at; each is tried with a back-off of
// up to tryLongest.
const (
	tryEvery   = judgeEvery
	tryLongest = time.Minute
)

// listedAt is a target as discovery lists it: host and port in a job.
type listedAt struct{ job, address string }

// several are the addresses of one target.
type several struct {
	cfg     *config.ScrapeConfig
	said    said
	machine string
	all     []string // host and port, the listed order
	at      int      // the one that is scraped

	attempts int
	next     time.Time
}

// detours knows where targets with several addresses are scraped.
type detours struct {
	mu      sync.Mutex
	targets map[listedAt]*several
	listed  map[listedAt]string // every target that was written down → its machine
}

// begin starts a new round of Merge: what it does not mention is forgotten by the returned
// function.
func (d *detours) begin() (end func()) {
	d.mu.Lock()
	before := d.targets
	d.targets, d.listed = make(map[listedAt]*several, len(before)), make(map[listedAt]string)
	return func() {
		for key, s := range d.targets {
			if old := before[key]; old != nil && old.machine == s.machine && slices.Equal(old.all, s.all) {
				s.at, s.attempts, s.next = old.at, old.attempts, old.next
			}
		}
		d.mu.Unlock()
	}
}

// note remembers the targets of a job that have several addresses. It is called between begin
// and its end.
func (d *detours) note(cfg *config.ScrapeConfig, groups []*targetgroup.Group) {
	for _, g := range groups {
		for _, t := range g.Targets {
			s := said{t, g.Labels}
			first := s.get(model.AddressLabel)
			if first == "" || s.get(contract.MetaAsk) == "true" {
				continue
			}
			key, machine := listedAt{cfg.JobName, first}, s.get(contract.MetaMachine)
			d.listed[key] = machine
			hosts := contract.Values(s.get(contract.MetaAddresses))
			if len(hosts) < 2 {
				continue
			}
			all := make([]string, len(hosts))
			for i, h := range hosts {
				all[i] = net.JoinHostPort(h, port(first))
			}
			d.targets[key] = &several{cfg: cfg, said: s, machine: machine, all: all}
		}
	}
}

// redirect returns the groups with the address at which each target is scraped. Groups are
// copied where that is not the first one.
func (d *detours) redirect(job string, groups []*targetgroup.Group) []*targetgroup.Group {
	d.mu.Lock()
	defer d.mu.Unlock()
	redirected := slices.Clone(groups)
	for k, g := range groups {
		for n, t := range g.Targets {
			s := d.targets[listedAt{job, said{t, g.Labels}.get(model.AddressLabel)}]
			if s == nil || s.at == 0 || s.said.get(contract.MetaMachine) != (said{t, g.Labels}).get(contract.MetaMachine) {
				continue
			}
			if redirected[k] == g {
				redirected[k] = &targetgroup.Group{Targets: slices.Clone(g.Targets), Labels: g.Labels, Source: g.Source}
			}
			redirected[k].Targets[n] = with(t, model.AddressLabel, s.all[s.at])
		}
	}
	return redirected
}

// due are the targets that are down and whose turn it is to be tried elsewhere.
func (d *detours) due(active map[string][]*scrape.Target, now time.Time) []*several {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.targets) == 0 {
		return nil
	}
	down := make(map[listedAt]bool)
	for job, targets := range active {
		for _, t := range targets {
			down[listedAt{job, t.URL().Host}] = t.Health() == scrape.HealthBad
		}
	}
	var all []*several
	for key, s := range d.targets {
		bad, scraped := down[listedAt{key.job, s.all[s.at]}]
		switch {
		case scraped && !bad:
			s.attempts, s.next = 0, time.Time{}
		case bad && !s.next.After(now):
			s.next = now.Add(min(tryLongest, tryEvery<<min(s.attempts, 10)))
			s.attempts++
			all = append(all, s)
		}
	}
	return all
}

// others are the addresses of s at which it is not scraped now, in the listed order, without
// those that are another machine's.
func (d *detours) others(s *several) (indexes []int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i, address := range s.all {
		owner, taken := d.listed[listedAt{s.cfg.JobName, address}]
		if i != s.at && (!taken || owner == s.machine) {
			indexes = append(indexes, i)
		}
	}
	return indexes
}

// detour tries the other addresses of targets that are down, until ctx ends.
func (f *Fleet) detour(ctx context.Context) {
	tick := time.NewTicker(tryEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		slots := make(chan struct{}, askers)
		var wg sync.WaitGroup
		for _, s := range f.detours.due(f.opts.Targets(), time.Now()) {
			slots <- struct{}{}
			wg.Go(func() {
				f.tryOthers(ctx, s)
				<-slots
			})
		}
		wg.Wait()
	}
}

// tryOthers asks one address after the other, and has the target scraped at the first one that
// responds with metrics.
func (f *Fleet) tryOthers(ctx context.Context, s *several) {
	client := f.gate.client(s.cfg.JobName)
	if client == nil {
		return
	}
	for _, i := range f.detours.others(s) {
		target := with(s.said.target, model.AddressLabel, s.all[i])
		found, err := scrape.PopulateLabels(labels.NewBuilder(labels.EmptyLabels()), s.cfg, target, s.said.group)
		if err != nil || found.IsEmpty() {
			return // Merge reports it
		}
		if ask(ctx, client, scrape.NewTarget(found, s.cfg, target, s.said.group).URL().String()) != nil {
			continue
		}
		f.detours.mu.Lock()
		from := s.all[s.at]
		s.at, s.attempts = i, 0
		f.detours.mu.Unlock()
		f.opts.Logger.Info("Scraping a machine at another one of its addresses", "machine", s.machine, "job", s.cfg.JobName, "address", s.all[i], "failed", from)
		notify(f.gate.changed)
		return
	}
}
