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
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	commonconfig "github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
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
	// Methods are the discovery methods; where two of them name the same machine, the
	// earlier one says where it is.
	Methods []string
	// Written is where a job is written down that discovery did not make, asked while
	// the configuration is applied; nil for "the configuration file".
	Written func(job string) string
	// Status is how each discoverer fares, and Refused what they could not use. Nil is
	// none.
	Status  func() []contract.Status
	Refused func() []contract.Refused
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
	// FullIn is how long it takes until volumes are full, in seconds; may be nil.
	FullIn func(ctx context.Context, t time.Time) (promql.Vector, error)
	// Storage is how storing fares; nil is that it works.
	Storage func() Storage
	// Receivers are those of remote write, asked only where Agent.
	Receivers func() ([]Receiver, error)
	Agent     bool
	// Pushed returns when a machine last pushed what belongs to a target, the zero time if
	// it does not; ForgetPushed makes it so. They may be nil.
	Pushed       func(machine, job, instance string) time.Time
	ForgetPushed func(machine, job, instance string)
	// Peers are the servers of a cluster that differ from this one where they should
	// not. May be nil.
	Peers func() []Peer
	// Quiet reports whether it is quiet now, and until when, such as " until 07:00"; may
	// be nil.
	Quiet func() (until string, quiet bool)
	// Inhibitions tells which of the alerts sources inhibits another one: its name, or
	// "". Nil is none.
	Inhibitions func(sources []model.LabelSet) func(target model.LabelSet) string

	// Dir is the data directory, where is remembered who has answered.
	Dir string
	// SetAside moves a file in Dir away, because of why, and lists it as what with a hint
	// for whoever wants to repair it. It may be nil.
	SetAside func(file, what, hint string, why error) error
	// HTTPClientOptions and Dial are those with which targets are scraped.
	HTTPClientOptions []commonconfig.HTTPClientOption
	Dial              commonconfig.DialContextFunc

	Registerer prometheus.Registerer
	Logger     *slog.Logger
}

// Fleet is the machines of the last discovery. It is safe for concurrent use.
type Fleet struct {
	opts    Options
	gate    *gate
	detours detours
	view    *view
	born    time.Time

	mu       sync.RWMutex
	honoring map[string]bool // jobs whose samples say themselves what they are of
	external labels.Labels
	jobs     map[string]*config.ScrapeConfig
	machines map[string]*Machine
	leftOut  []LeftOut
	refused  []contract.Refused
	warned   map[string]bool // collisions that were logged, while they last
	origins  map[targetKey]origin
	open     map[string][]openTarget // by machine
	methods  []contract.Status       // by what the configuration says
}

// Machine is what is known of a machine.
type Machine struct {
	Name         string   `json:"machine"`
	Availability string   `json:"availability"`
	Tags         []string `json:"tags"`
	OS           string   `json:"os,omitempty"`
	// Sources are the methods that found it, and "local" for this one.
	Sources   []string         `json:"sources"`
	Addresses []string         `json:"addresses"` // without ports, as discovered
	Tailscale *contract.Device `json:"tailscale,omitempty"`
	Targets   []Target         `json:"targets"`
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
	if err := f.gate.damaged; err != nil {
		setAside(o.SetAside, f.gate.file, "list of discovered machines", err, o.Logger)
	}
	f.opts.fill()
	o.Registerer.MustRegister(f)
	return f
}

// Run asks those that have not answered yet, tries other addresses of targets that are down,
// and judges the machines, until ctx ends.
func (f *Fleet) Run(ctx context.Context) error {
	var judging sync.WaitGroup
	judging.Go(func() { f.watch(ctx) })
	judging.Go(func() { f.detour(ctx) })
	defer judging.Wait()
	return f.gate.Run(ctx)
}

// Changed holds a message when Merge would give another answer than before.
func (f *Fleet) Changed() <-chan struct{} { return f.gate.changed }

// ApplyConfig learns what discovery's jobs make of a target, and which methods
// find targets for which jobs.
func (f *Fleet) ApplyConfig(cfg *config.Config) error {
	scrapes, err := cfg.GetScrapeConfigs() // with those of scrape_config_files
	if err != nil {
		return err
	}
	jobs := make(map[string]*config.ScrapeConfig)
	honoring := make(map[string]bool)
	for _, s := range scrapes {
		honoring[s.JobName] = s.HonorLabels
		if f.opts.Discovered(s.JobName) {
			jobs[s.JobName] = s
		}
	}
	methods := f.methodsOf(scrapes)
	if err := f.gate.applyConfig(jobs); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.jobs, f.methods, f.honoring, f.external = jobs, methods, honoring, cfg.GlobalConfig.ExternalLabels
	return nil
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

// Exporter is where a machine's exporter of a job is scraped, and a client with the settings of
// that job. An error says what is missing; it is for people.
func (f *Fleet) Exporter(job, machine string) (url string, client *http.Client, err error) {
	for _, t := range f.opts.Targets()[job] {
		if t.GetValue(contract.MachineLabel) == machine {
			if client := f.gate.client(job); client != nil {
				return t.URL().String(), client, nil
			}
		}
	}
	if f.Knows(strings.ToLower(machine)) {
		return "", nil, fmt.Errorf("no %s exporter of %s is discovered: run %q there, and list that job for it", job, machine, "clanmon exporter --exporter node,"+job)
	}
	return "", nil, fmt.Errorf("no machine %q is discovered", machine)
}
