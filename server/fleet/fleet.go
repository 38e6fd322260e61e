// Package fleet knows which machines there are. It looks at the target groups on
// their way from discovery to the scrapes, and does three things with them.
//
// Where two discovery methods name the same machine, it lets the targets of only
// one of them through. What was found by asking the network is let through once
// it has answered. It tells what is known of the machines: as the metric
// clanmon_machine_info, which joins tags with series, and to the web UI. And it
// adds a machine's tags to outgoing alerts. Tags are no labels of series, which
// would all start anew when a tag changes.
//
// Only jobs made by discovery are looked at; what a configuration file says is
// none of its business. Run asks those that have not answered; it ends with its
// context.
package fleet

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	commonconfig "github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/scrape"
	"github.com/prometheus/prometheus/storage"

	"github.com/clanmon/clanmon/discovery/contract"
)

// Options for New.
type Options struct {
	// Discovered reports whether discovery made a job; asked while the
	// configuration is applied.
	Discovered func(job string) bool
	// Local reports whether an address is served by this process itself.
	Local func(address string) bool
	// Status is how the discovery methods fare.
	Status func() []contract.Status
	// Targets are those that are scraped, by job.
	Targets func() map[string][]*scrape.Target
	// Query evaluates PromQL, and Store is what is kept; nil where there is neither,
	// in an agent.
	Query func(ctx context.Context, expr string, t time.Time) (promql.Vector, error)
	Store storage.Queryable
	// Alerts are those that are pending or fire, Silences those that are active, and
	// Rules is how the rules fare. Nil is none of them.
	Alerts   func(context.Context) []Alert
	Silences func(context.Context) []Silence
	Rules    func() Rules

	// Dir is the data directory, where is remembered who has answered.
	Dir string
	// HTTPClientOptions and Dial are those with which targets are scraped.
	HTTPClientOptions []commonconfig.HTTPClientOption
	Dial              commonconfig.DialContextFunc

	Registerer prometheus.Registerer
	Logger     *slog.Logger
}

// Fleet is the machines of the last discovery. It is safe for concurrent use.
type Fleet struct {
	opts Options
	gate *gate
	view *view
	born time.Time

	mu       sync.RWMutex
	honoring map[string]bool // jobs whose samples say themselves what they are of
	external labels.Labels
	jobs     map[string]*config.ScrapeConfig
	machines map[string]*Machine
	leftOut  []LeftOut
	warned   map[string]bool // collisions that were logged
}

// Machine is what is known of a machine.
type Machine struct {
	Name         string   `json:"machine"`
	Availability string   `json:"availability"`
	Tags         []string `json:"tags"`
	OS           string   `json:"os,omitempty"`
	// Sources are the methods that found it, and "local" for this one.
	Sources   []string   `json:"sources"`
	Addresses []string   `json:"addresses"` // without ports, as discovered
	Tailscale *Tailscale `json:"tailscale,omitempty"`
	Targets   []Target   `json:"targets"`
}

// Tailscale is what the tailnet says of a device. Online is what the coordination
// server believes, which can be a quarter of an hour old.
type Tailscale struct {
	Name      string `json:"name"`
	Online    bool   `json:"online"`
	Direct    bool   `json:"direct"` // else by a relay, or not in use
	Relay     string `json:"relay,omitempty"`
	KeyExpiry string `json:"keyExpiry,omitempty"` // RFC 3339
	LastSeen  string `json:"lastSeen,omitempty"`  // RFC 3339
	Expired   bool   `json:"expired,omitempty"`
}

// LeftOut is a device that is no machine to be scraped.
type LeftOut struct {
	Device string `json:"device"`
	Method string `json:"method"`
	Reason string `json:"reason"`
}

// Target is an exporter of a machine.
type Target struct {
	Job      string `json:"job"`
	Instance string `json:"instance"`
	Address  string `json:"address"`
}

// New returns a Fleet without machines.
func New(o Options) *Fleet {
	f := &Fleet{opts: o, gate: newGate(o.Dir, o.HTTPClientOptions, o.Dial, o.Logger), view: newView(), born: time.Now(), warned: make(map[string]bool)}
	f.opts.fill()
	o.Registerer.MustRegister(f)
	return f
}

// Run asks those that have not answered yet, and judges the machines, until ctx
// ends.
func (f *Fleet) Run(ctx context.Context) error {
	var judging sync.WaitGroup
	judging.Go(func() { f.watch(ctx) })
	defer judging.Wait()
	return f.gate.Run(ctx)
}

// Changed holds a message when Merge would give another answer than before.
func (f *Fleet) Changed() <-chan struct{} { return f.gate.changed }

// ApplyConfig learns what discovery's jobs make of a target.
func (f *Fleet) ApplyConfig(cfg *config.Config) error {
	jobs := make(map[string]*config.ScrapeConfig)
	for _, s := range cfg.ScrapeConfigs {
		if f.opts.Discovered(s.JobName) {
			jobs[s.JobName] = s
		}
	}
	if err := f.gate.applyConfig(jobs); err != nil {
		return err
	}
	honoring := make(map[string]bool)
	for _, s := range cfg.ScrapeConfigs {
		honoring[s.JobName] = s.HonorLabels
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.jobs, f.honoring, f.external = jobs, honoring, cfg.GlobalConfig.ExternalLabels
	return nil
}

// candidate is a target that is not dropped by relabelling.
type candidate struct {
	job      string
	group    *targetgroup.Group
	index    int // in the group
	found    labels.Labels
	meta     model.LabelSet
	method   string
	machine  string
	address  string
	instance string
	url      string // only where pending
	// pending is a target that has never answered, and of which nobody said that
	// it is there.
	pending bool
}

// Merge returns the groups without the targets that another method stands for,
// and without those that have not answered. What it is given stays as it is.
func (f *Fleet) Merge(byJob map[string][]*targetgroup.Group) map[string][]*targetgroup.Group {
	f.mu.Lock()
	defer f.mu.Unlock()
	merged := make(map[string][]*targetgroup.Group, len(byJob))
	machines := make(map[string]*Machine)
	f.leftOut = nil
	var pending []candidate
	self := f.self(byJob)
	for job, groups := range byJob {
		cfg, ok := f.jobs[job]
		if !ok {
			merged[job] = groups
			continue
		}
		groups = rename(groups, self)
		all, dropped := f.candidates(cfg, groups)
		ask := f.choose(all, machines, dropped)
		pending = append(pending, ask...)
		merged[job] = without(groups, dropped)
	}
	f.gate.await(pending)
	for name, m := range machines {
		if len(m.Targets) == 0 {
			delete(machines, name) // a device, of which the gate tells
			continue
		}
		m.finish()
	}
	f.machines = machines
	return merged
}

// self is what this machine is called where it scrapes itself in this process,
// "" if it does not.
func (f *Fleet) self(byJob map[string][]*targetgroup.Group) string {
	for job := range f.jobs {
		for _, g := range byJob[job] {
			for _, t := range g.Targets {
				if f.opts.Local(string(t[model.AddressLabel])) {
					return string(g.Labels[contract.MachineLabel])
				}
			}
		}
	}
	return ""
}

// rename gives this machine the name self in groups of the tailnet, where it may
// have another one: a machine has one name.
func rename(groups []*targetgroup.Group, self string) []*targetgroup.Group {
	if self == "" {
		return groups
	}
	renamed := slices.Clone(groups)
	for i, g := range groups {
		k := slices.IndexFunc(g.Targets, func(t model.LabelSet) bool { return t["__meta_tailscale_self"] == "true" })
		if k < 0 || string(g.Targets[k]["__meta_tailscale_machine"]) == self {
			continue
		}
		targets := slices.Clone(g.Targets)
		targets[k] = targets[k].Clone()
		targets[k]["__meta_tailscale_machine"] = model.LabelValue(self)
		renamed[i] = &targetgroup.Group{Targets: targets, Labels: g.Labels, Source: g.Source}
	}
	return renamed
}

// candidates relabels as the scrape manager will, once more behind this. It also
// returns targets that nobody gave a name, which are not to be scraped.
func (f *Fleet) candidates(cfg *config.ScrapeConfig, groups []*targetgroup.Group) (all []candidate, nameless map[position]bool) {
	nameless = make(map[position]bool)
	builder := labels.NewBuilder(labels.EmptyLabels())
	for _, g := range groups {
		for i, t := range g.Targets {
			found, err := scrape.PopulateLabels(builder, cfg, t, g.Labels)
			machine := found.Get(contract.MachineLabel)
			switch {
			case err != nil:
				continue // the scrape manager says what is wrong
			case found.IsEmpty():
				f.leave(t)
				continue // the scrape manager drops it
			case machine == "":
				nameless[position{g, i}] = true
				continue
			}
			c := candidate{
				job: cfg.JobName, group: g, index: i, found: found, meta: t,
				machine: machine, address: found.Get(model.AddressLabel), instance: found.Get(model.InstanceLabel),
			}
			c.method = f.method(c)
			c.pending = (c.method == "tailscale" || c.method == "dns") && !f.gate.isOpen(endpoint{c.job, c.address})
			if c.pending {
				c.url = url(c, cfg)
			}
			all = append(all, c)
		}
	}
	return all, nameless
}

// leave notes a device that relabelling drops.
func (f *Fleet) leave(t model.LabelSet) {
	if t["__meta_tailscale_id"] == "" {
		return
	}
	why := "it has none of the tags that are asked for"
	switch {
	case t["__meta_tailscale_mullvad"] == "true":
		why = "an exit node of Mullvad"
	case t["__meta_tailscale_shared"] == "true":
		why = "shared in from another tailnet"
	case t["__meta_tailscale_os"] != "linux":
		why = fmt.Sprintf("its operating system is %q", t["__meta_tailscale_os"])
	}
	l := LeftOut{string(t["__meta_tailscale_device_name"]), "tailscale", why}
	if !slices.Contains(f.leftOut, l) {
		f.leftOut = append(f.leftOut, l)
	}
}

// ranks are the methods, those first that say better where a machine is.
var ranks = []string{"local", "static", "inventory", "dns", "tailscale"}

func (f *Fleet) method(c candidate) string {
	switch {
	case f.opts.Local(c.address):
		return "local"
	case c.meta["__meta_tailscale_id"] != "":
		return "tailscale"
	case c.meta["__meta_inventory_machine"] != "":
		return "inventory"
	case c.meta["__meta_dns_machine"] != "":
		return "dns"
	}
	return "static"
}

type position struct {
	group *targetgroup.Group
	index int
}

// choose decides which targets of a job stay, and adds what all of them say to
// machines, and those that do not stay to dropped. It returns those to ask.
func (f *Fleet) choose(all []candidate, machines map[string]*Machine, dropped map[position]bool) (ask []candidate) {
	slices.SortStableFunc(all, func(a, b candidate) int {
		if a.pending != b.pending {
			if a.pending {
				return 1
			}
			return -1
		}
		return cmp.Compare(slices.Index(ranks, a.method), slices.Index(ranks, b.method))
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
		method, known := methods[c.machine]
		scraped, sameInstance := instances[c.instance]
		stays := false
		switch {
		case known && method != c.method, sameAddress:
			if method == "local" && c.method == "tailscale" && c.meta["__meta_tailscale_self"] != "true" {
				f.warn(c, "this machine itself")
			}
		case sameInstance:
			f.warn(c, scraped)
		case c.pending:
			ask = append(ask, c)
		default:
			stays = true
			methods[c.machine] = c.method
			addresses[c.address] = c.machine
			instances[c.instance] = c.address
		}
		if !stays {
			dropped[position{c.group, c.index}] = true
		}
		note(machines, c, stays)
	}
	return ask
}

// warn says once that a machine is found at two addresses, of which only one can
// be scraped under its name.
func (f *Fleet) warn(c candidate, other string) {
	key := c.job + "\xff" + c.instance + "\xff" + c.address
	if f.warned[key] {
		return
	}
	f.warned[key] = true
	f.opts.Logger.Warn("Two targets would have the same labels; only the first is scraped. Give one of the machines another name, or list one address only",
		"job", c.job, "instance", c.instance, "scraped", other, "left_out", c.address, "method", c.method)
}

// note adds what a target says of its machine.
func note(machines map[string]*Machine, c candidate, stays bool) {
	m := machines[c.machine]
	if m == nil {
		m = &Machine{Name: c.machine, Availability: c.found.Get(contract.AvailabilityLabel), Tags: []string{}, Addresses: []string{}}
		machines[c.machine] = m
	}
	m.Sources = append(m.Sources, c.method)
	if stays {
		m.Targets = append(m.Targets, Target{c.job, c.instance, c.address})
	}
	if c.method == "local" {
		return // its address is none
	}
	if addr := host(c.address); addr != "" {
		m.Addresses = append(m.Addresses, addr)
	}
	tags := func(label model.LabelName) []string {
		return strings.Split(string(c.meta[label]), ",")
	}
	switch c.method {
	case "inventory":
		m.Tags = append(m.Tags, contract.Tags(tags("__meta_inventory_tags"))...)
	case "tailscale":
		m.Tags = append(m.Tags, contract.Tags(tags("__meta_tailscale_tags"))...)
		m.OS = string(c.meta["__meta_tailscale_os"])
		m.Tailscale = &Tailscale{
			Name:      string(c.meta["__meta_tailscale_device_name"]),
			Online:    c.meta["__meta_tailscale_online"] == "true",
			Direct:    c.meta["__meta_tailscale_endpoint"] != "",
			Relay:     string(c.meta["__meta_tailscale_relay"]),
			KeyExpiry: string(c.meta["__meta_tailscale_key_expiry"]),
			LastSeen:  string(c.meta["__meta_tailscale_last_seen"]),
			Expired:   c.meta["__meta_tailscale_expired"] == "true",
		}
	}
}

func host(address string) string {
	if ap, err := netip.ParseAddrPort(address); err == nil {
		return ap.Addr().String()
	}
	h, _, _ := strings.Cut(address, ":")
	return h
}

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

// without copies the groups from which something is dropped.
func without(groups []*targetgroup.Group, dropped map[position]bool) []*targetgroup.Group {
	if len(dropped) == 0 {
		return groups
	}
	kept := make([]*targetgroup.Group, len(groups))
	for i, g := range groups {
		c := &targetgroup.Group{Labels: g.Labels, Source: g.Source}
		for k, t := range g.Targets {
			if !dropped[position{g, k}] {
				c.Targets = append(c.Targets, t)
			}
		}
		kept[i] = c
	}
	return kept
}

// Machines are all machines, by name. They are not to be changed.
func (f *Fleet) Machines() []*Machine {
	f.mu.RLock()
	defer f.mu.RUnlock()
	all := make([]*Machine, 0, len(f.machines))
	for _, m := range f.machines {
		all = append(all, m)
	}
	slices.SortFunc(all, func(a, b *Machine) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// Knows reports whether name, in lower case, is what a machine is called or where
// it is, also of one that has not answered yet.
func (f *Fleet) Knows(name string) bool {
	is := func(other string) bool { return strings.EqualFold(strings.TrimSuffix(other, "."), name) }
	if slices.ContainsFunc(f.gate.list(), func(w Waiting) bool { return is(w.Machine) || is(host(w.Address)) }) {
		return true
	}
	f.mu.RLock()
	defer f.mu.RUnlock()
	for _, m := range f.machines {
		if is(m.Name) || m.Tailscale != nil && is(m.Tailscale.Name) || slices.ContainsFunc(m.Addresses, is) {
			return true
		}
	}
	return false
}

// tags are those of a machine, in the form of a label's value.
func (f *Fleet) tags(machine string) string {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if m := f.machines[machine]; m != nil {
		return contract.List(m.Tags)
	}
	return ""
}

var infoDesc = prometheus.NewDesc("clanmon_machine_info",
	"A machine that discovery knows: its tags (each between commas), operating system, the methods that found it, and its name in the tailnet.",
	[]string{"machine", "tags", "os", "source", "tailscale_name"}, nil)

// Describe implements prometheus.Collector.
func (f *Fleet) Describe(ch chan<- *prometheus.Desc) { ch <- infoDesc; ch <- stateDesc }

// Collect implements prometheus.Collector.
func (f *Fleet) Collect(ch chan<- prometheus.Metric) {
	for _, m := range f.Machines() {
		name := ""
		if m.Tailscale != nil {
			name = m.Tailscale.Name
		}
		ch <- prometheus.MustNewConstMetric(infoDesc, prometheus.GaugeValue, 1,
			m.Name, contract.List(m.Tags), m.OS, strings.Join(m.Sources, ","), name)
	}
	f.collectStates(ch)
}
