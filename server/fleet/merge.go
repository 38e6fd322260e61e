package fleet

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/scrape"

	"github.com/clanmon/clanmon/discovery/contract"
)

// said is what discovery says of a target.
type said struct{ target, group model.LabelSet }

func (s said) get(name model.LabelName) string {
	if v, ok := s.target[name]; ok {
		return string(v)
	}
	return string(s.group[name])
}

// candidate is a target that is not dropped by relabelling.
type candidate struct {
	said
	job      string
	position position
	found    labels.Labels
	method   string
	rank     int
	machine  string
	address  string
	instance string

	// Of those that are asked for: who is asked, and whether it has answered, at this
	// address the last time. One that never has is pending.
	ask     bool
	who     endpoint
	pending bool
	here    bool
	url     string // only where pending
}

// position is a target of a job; jobs share groups.
type position struct {
	job   string
	group *targetgroup.Group
	index int
}

// targetKey is a target as its series name it.
type targetKey struct{ job, instance string }

// origin is where a target comes from.
type origin struct {
	method string
	from   string // for people
	asked  bool   // nobody wrote it down: it is one because it has answered
}

// openTarget is one that has answered, scraped or not.
type openTarget struct {
	targetKey
	who     endpoint
	address string
}

// merge is one run of Merge.
type merge struct {
	*Fleet
	machines   map[string]*Machine
	claimed    map[string]int // machine → rank of the method that spoke for its availability
	pending    []candidate
	kept       []candidate
	dropped    map[position]bool
	unselected map[LeftOut]string // devices that a job has no use for → machine
	warned     map[string]bool
}

// Merge returns the groups without the targets that another method stands for,
// and without those that have not answered. All targets of a machine have its name
// and its availability. What it is given stays as it is.
func (f *Fleet) Merge(byJob map[string][]*targetgroup.Group) map[string][]*targetgroup.Group {
	f.mu.Lock()
	defer f.mu.Unlock()
	m := &merge{
		Fleet: f, machines: make(map[string]*Machine), claimed: make(map[string]int),
		dropped: make(map[position]bool), unselected: make(map[LeftOut]string), warned: make(map[string]bool),
	}
	f.leftOut, f.refused, f.open = nil, nil, make(map[string][]openTarget)
	known := f.namesOf(byJob)
	end := f.detours.begin()
	for job, cfg := range f.jobs {
		f.detours.note(cfg, byJob[job])
	}
	end()
	merged := make(map[string][]*targetgroup.Group, len(byJob))
	// In order, so that the same discovery always gives the same targets.
	for _, job := range slices.SortedFunc(maps.Keys(byJob), contract.CompareJobs) {
		merged[job] = byJob[job]
		if cfg, ok := f.jobs[job]; ok {
			merged[job] = f.detours.redirect(job, known.rename(byJob[job]))
			m.choose(m.candidates(cfg, merged[job]))
		}
	}
	f.gate.await(m.pending)
	m.finish()
	changed := m.availability()
	for job := range f.jobs {
		if groups, ok := merged[job]; ok {
			merged[job] = rewrite(job, groups, m.dropped, changed)
		}
	}
	return merged
}

// identities say under which name a machine is known that a method found by asking
// the network.
type identities struct {
	self  string           // this machine, "" if it does not scrape itself
	hosts map[string]owner // by address without port
}

type owner struct {
	machine string // "" if there are several
	rank    int
}

// namesOf collects what was written down: a machine has one name, also where the
// network calls it otherwise.
func (f *Fleet) namesOf(byJob map[string][]*targetgroup.Group) *identities {
	ids := &identities{hosts: make(map[string]owner)}
	for _, job := range slices.SortedFunc(maps.Keys(f.jobs), contract.CompareJobs) {
		for _, g := range byJob[job] {
			for _, t := range g.Targets {
				s := said{t, g.Labels}
				machine, method := s.get(contract.MetaMachine), s.get(contract.MetaMethod)
				switch {
				case machine == "" || s.get(contract.MetaAsk) == "true":
				case method == contract.MethodLocal:
					ids.self = machine
				default:
					ids.add(host(s.get(model.AddressLabel)), machine, f.rank(method))
					for _, a := range contract.Values(s.get(contract.MetaAddresses)) {
						ids.add(a, machine, f.rank(method))
					}
				}
			}
		}
	}
	return ids
}

func (i *identities) add(host, machine string, rank int) {
	switch o, ok := i.hosts[host]; {
	case !ok || rank < o.rank:
		i.hosts[host] = owner{machine, rank}
	case rank == o.rank && o.machine != machine:
		i.hosts[host] = owner{"", rank}
	}
}

// rename gives machines in groups the names under which they are known.
func (i *identities) rename(groups []*targetgroup.Group) []*targetgroup.Group {
	renamed := slices.Clone(groups)
	for k, g := range groups {
		cloned := false
		for n, t := range g.Targets {
			s := said{t, g.Labels}
			if s.get(contract.MetaAsk) != "true" {
				continue
			}
			name := i.hosts[host(s.get(model.AddressLabel))].machine
			if s.get(contract.MetaSelf) == "true" && i.self != "" {
				name = i.self
			}
			if name == "" || name == s.get(contract.MetaMachine) {
				continue
			}
			if !cloned {
				cloned = true
				renamed[k] = &targetgroup.Group{Targets: slices.Clone(g.Targets), Labels: g.Labels, Source: g.Source}
			}
			renamed[k].Targets[n] = with(t, contract.MetaMachine, name)
		}
	}
	return renamed
}

// with is t with another label.
func with(t model.LabelSet, name model.LabelName, value string) model.LabelSet {
	t = t.Clone()
	t[name] = model.LabelValue(value)
	return t
}

// rank is smaller for methods that say better where a machine is.
func (f *Fleet) rank(method string) int {
	if method == contract.MethodLocal {
		return -1
	}
	if i := slices.Index(f.opts.Methods, method); i >= 0 {
		return i
	}
	return len(f.opts.Methods)
}

// candidates relabels as the scrape manager will, once more behind this. Targets
// that cannot be scraped are dropped and reported.
func (m *merge) candidates(cfg *config.ScrapeConfig, groups []*targetgroup.Group) (all []candidate) {
	builder := labels.NewBuilder(labels.EmptyLabels())
	for _, g := range groups {
		for i, t := range g.Targets {
			s := said{t, g.Labels}
			found, err := scrape.PopulateLabels(builder, cfg, t, g.Labels)
			if err == nil && found.IsEmpty() {
				m.leave(s) // the scrape manager drops it
				continue
			}
			machine := found.Get(contract.MachineLabel)
			if err == nil && machine == "" {
				err = fmt.Errorf("discovery gives no machine name")
			}
			if err != nil {
				m.dropped[position{cfg.JobName, g, i}] = true
				m.refused = append(m.refused, contract.Refused{
					Entry: fmt.Sprintf("%s in job %s", cmp.Or(s.get(contract.MetaMachine), s.get(model.AddressLabel)), cfg.JobName), Method: s.get(contract.MetaMethod), Reason: err.Error(),
				})
				continue
			}
			c := candidate{
				said: s, job: cfg.JobName, position: position{cfg.JobName, g, i}, found: found,
				machine: machine, address: found.Get(model.AddressLabel), instance: found.Get(model.InstanceLabel),
				method: s.get(contract.MetaMethod), ask: s.get(contract.MetaAsk) == "true",
			}
			c.rank = m.rank(c.method)
			if c.ask {
				c.who = endpoint{c.job, fmt.Sprintf("%s %s:%s", c.method, cmp.Or(s.get(contract.MetaID), machine), port(c.address))}
				open, here := m.gate.isOpen(c.who, c.address)
				c.pending, c.here = !open, here
			}
			if c.pending {
				c.url = urlOf(c, cfg)
			}
			all = append(all, c)
		}
	}
	return all
}

// leave notes a device that relabelling drops.
func (m *merge) leave(s said) {
	machine := s.get(contract.MetaMachine)
	l := LeftOut{cmp.Or(s.get(contract.MetaDevice), machine), s.get(contract.MetaMethod), s.get(contract.MetaLeftOut)}
	if l.Reason == "" {
		l.Reason = "has none of the requested tags"
		m.unselected[l] = machine
		return
	}
	m.unselected[l] = ""
}

// choose decides which targets of a job stay, and adds what all of them say to
// machines, those that do not stay to dropped, and those to ask to pending.
func (m *merge) choose(all []candidate) {
	slices.SortStableFunc(all, func(a, b candidate) int {
		return cmp.Or(first(!a.pending, !b.pending), cmp.Compare(a.rank, b.rank), first(a.here, b.here), strings.Compare(a.address, b.address))
	})
	methods := make(map[string]string)   // machine → method that speaks for it
	addresses := make(map[string]string) // address → machine
	instances := make(map[string]string) // instance → address
	for _, c := range all {
		// A machine that is known by another name is known.
		other, sameAddress := addresses[c.address]
		if sameAddress {
			c.machine = other
		}
		if c.ask && !c.pending {
			m.open[c.machine] = append(m.open[c.machine], openTarget{targetKey{c.job, c.instance}, c.who, c.address})
		}
		method, known := methods[c.machine]
		scraped, sameInstance := instances[c.instance]
		stays := false
		switch {
		case known && method != c.method, sameAddress:
			if method == contract.MethodLocal && c.get(contract.MetaSelf) == "false" {
				m.warn(c, "this machine itself")
			}
		case sameInstance:
			m.warn(c, scraped)
		case c.pending:
			m.pending = append(m.pending, c)
		default:
			stays = true
			methods[c.machine] = c.method
			addresses[c.address] = c.machine
			instances[c.instance] = c.address
			m.kept = append(m.kept, c)
		}
		if !stays {
			m.dropped[c.position] = true
		}
		m.note(c, stays)
	}
}

// first sorts what is true before what is not.
func first(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}

// warn says once that a machine is found at two addresses, of which only one can
// be scraped under its name.
func (m *merge) warn(c candidate, other string) {
	key := c.job + "\xff" + c.instance + "\xff" + c.address
	m.warned[key] = true
	if m.Fleet.warned[key] {
		return
	}
	m.opts.Logger.Warn("Two targets would have the same labels; only the first is scraped. Give one of the machines another name, or list one address only",
		"job", c.job, "instance", c.instance, "scraped", other, "left_out", c.address, "method", c.method)
}

// note adds what a target says of its machine.
func (m *merge) note(c candidate, stays bool) {
	a := m.machines[c.machine]
	if a == nil {
		a = &Machine{Name: c.machine, Availability: contract.Always, Tags: []string{}, Addresses: []string{}}
		m.machines[c.machine] = a
	}
	// Of several methods that say something, the highest decides, for all targets.
	if says := c.get(contract.MetaAvailability); says != "" {
		if rank, ok := m.claimed[c.machine]; !ok || c.rank < rank {
			m.claimed[c.machine], a.Availability = c.rank, says
		}
	}
	a.Sources = append(a.Sources, c.method)
	if stays {
		a.Targets = append(a.Targets, Target{c.job, c.instance, c.address})
	}
	if c.method == contract.MethodLocal {
		return // its address is none
	}
	if addr := host(c.address); addr != "" {
		a.Addresses = append(a.Addresses, addr)
	}
	a.Tags = append(a.Tags, contract.Values(c.get(contract.MetaTags))...)
	a.OS = cmp.Or(c.get(contract.MetaOS), a.OS)
	if d := contract.DeviceOf(c.target); d != nil {
		a.Tailscale = d
	}
}

// finish makes what Merge found visible to others.
func (m *merge) finish() {
	f := m.Fleet
	for l, machine := range m.unselected {
		if machine == "" || m.machines[machine] == nil { // else it is a machine of another job
			f.leftOut = append(f.leftOut, l)
		}
	}
	for name, a := range m.machines {
		if len(a.Targets) == 0 {
			delete(m.machines, name) // a device, of which the gate tells
			continue
		}
		a.finish()
	}
	f.machines, f.warned = m.machines, m.warned
	f.origins = make(map[targetKey]origin, len(m.kept))
	for _, c := range m.kept {
		f.origins[targetKey{c.job, c.instance}] = origin{c.method, c.get(contract.MetaFrom), c.ask}
		if c.ask && !c.here {
			f.gate.moved(c.who, c.address)
		}
	}
}

// availability is what the targets that stay have to say, where they say another.
func (m *merge) availability() map[position]string {
	changed := make(map[position]string)
	for _, c := range m.kept {
		decided := m.machines[c.machine].Availability
		if cmp.Or(c.get(contract.MetaAvailability), contract.Always) != decided {
			changed[c.position] = decided
		}
	}
	return changed
}

// rewrite copies the groups of a job without what is dropped, with the availability
// that was decided.
func rewrite(job string, groups []*targetgroup.Group, dropped map[position]bool, availability map[position]string) []*targetgroup.Group {
	kept := make([]*targetgroup.Group, len(groups))
	for i, g := range groups {
		c := &targetgroup.Group{Labels: g.Labels, Source: g.Source, Targets: make([]model.LabelSet, 0, len(g.Targets))}
		for k, t := range g.Targets {
			p := position{job, g, k}
			if dropped[p] {
				continue
			}
			if a := availability[p]; a != "" {
				t = with(t, contract.MetaAvailability, a)
			}
			c.Targets = append(c.Targets, t)
		}
		kept[i] = c
	}
	return kept
}

func host(address string) string {
	if ap, err := netip.ParseAddrPort(address); err == nil {
		return ap.Addr().String()
	}
	h, _, _ := strings.Cut(address, ":")
	return h
}

func port(address string) string { return address[strings.LastIndexByte(address, ':')+1:] }

// finish sorts what several targets added.
func (m *Machine) finish() {
	for _, list := range []*[]string{&m.Sources, &m.Tags, &m.Addresses} {
		slices.Sort(*list)
		*list = slices.Compact(*list)
	}
	slices.SortFunc(m.Targets, func(a, b Target) int {
		return cmp.Or(contract.CompareJobs(a.Job, b.Job), strings.Compare(a.Instance, b.Instance))
	})
}
