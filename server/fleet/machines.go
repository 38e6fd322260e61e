package fleet

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/scrape"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"github.com/clanmon/clanmon/discovery/contract"
)

// A machine is what its targets belong to: those that discovery made, those of the
// user's own jobs, and those of which only the series are here, because somebody
// else scrapes them and sends what he finds. Series are never changed for that; a
// machine whose series carry no label "machine" is known by the host of their
// instance.

// Sources of machines, beside the methods of discovery.
const (
	sourceLocal  = contract.MethodLocal // a job that this process serves itself
	sourceConfig = "config"             // a job of the user's own configuration
	sourceStored = "stored"             // remote write, OTLP, federation
	sourcePush   = "push"               // the machine itself, at /api/v1/push
)

// member is a target of a machine, scraped by this server or by another one.
type member struct {
	health
	series  string        // its label job, which need not be the name of its scrape pool
	labels  labels.Labels // of its series; empty for targets that discovery made
	refused bool          // the store did not take what it said
	fed     time.Time     // when the newest sample was taken, of those that others scrape
}

// subject is a machine with all that belongs to it.
type subject struct {
	*Machine
	members   []member
	labelled  bool
	instances []string
}

// fedOnly reports whether others scrape all of its targets.
func (s *subject) fedOnly() bool {
	return len(s.members) > 0 && !slices.ContainsFunc(s.members, func(m member) bool { return m.fed.IsZero() })
}

// seriesKey finds a target by the labels of its series.
type seriesKey struct{ job, instance string }

// exporterSeries tell that a target is a node or systemd exporter.
var exporterSeries = []string{
	"node_uname_info", "node_exporter_build_info", "node_boot_time_seconds", "node_time_seconds",
	"systemd_exporter_build_info", "systemd_boot_time_seconds", "clanmon_systemd_exporter_info",
}

// exporters are the targets that are known to be a machine's own exporters, with
// the host name that the system itself has, "" if it does not say.
type exporters map[seriesKey]string

// findExporters looks for them among the series of a window.
func (f *Fleet) findExporters(ctx context.Context, from, to time.Time, found exporters) error {
	return f.read(ctx, from, to, true, func(ls labels.Labels, _ chunkenc.Iterator) {
		key := seriesKey{ls.Get("job"), ls.Get("instance")}
		if name := ls.Get("nodename"); name != "" || found[key] == "" {
			found[key] = name
		}
	}, among(model.MetricNameLabel, exporterSeries...))
}

func newMember(pool string, t *scrape.Target, address string) member {
	m := member{health: health{Target: Target{pool, t.GetValue(model.InstanceLabel), address}, Health: string(t.Health())}, series: t.GetValue(model.JobLabel)}
	if d, err := model.ParseDuration(t.GetValue(model.ScrapeIntervalLabel)); err == nil {
		m.Interval = time.Duration(d).Seconds()
	}
	if err := t.LastError(); err != nil {
		m.LastError = err.Error()
		for _, refusal := range []error{tsdb.ErrNotReady, storage.ErrOutOfBounds, storage.ErrTooOldSample} {
			m.refused = m.refused || errors.Is(err, refusal)
		}
	}
	if last := t.LastScrape(); !last.IsZero() {
		m.LastScrape = last.UTC().Format(time.RFC3339)
	}
	return m
}

// roster puts the machines together. fed are targets that others scrape.
func (f *Fleet) roster(known exporters, fed []member) map[string]*subject {
	all := make(map[string]*subject)
	targets := f.opts.Targets()
	f.fromDiscovery(all, targets)
	own := f.ownName(all)
	var rest []member // without a label; they may belong to a machine of their host
	for _, pool := range slices.Sorted(maps.Keys(targets)) {
		if f.isDiscovered(pool) {
			continue
		}
		for _, t := range targets[pool] {
			m := newMember(pool, t, t.GetValue(model.AddressLabel))
			m.labels = t.Labels(labels.NewBuilder(labels.EmptyLabels()))
			m.Method = sourceConfig
			rest = append(rest, m)
		}
	}
	mine := make(map[seriesKey]bool)
	for _, s := range all {
		for _, m := range s.members {
			mine[seriesKey{m.series, m.Instance}] = true
		}
	}
	for _, m := range rest {
		mine[seriesKey{m.series, m.Instance}] = true
	}
	for _, m := range fed {
		if !mine[seriesKey{m.series, m.Instance}] {
			rest = append(rest, m)
		}
	}
	assign(all, rest, known, own)
	for _, s := range all {
		s.finish()
	}
	tagAll(all)
	return all
}

// fromDiscovery adds the machines of Merge.
func (f *Fleet) fromDiscovery(all map[string]*subject, targets map[string][]*scrape.Target) {
	type key struct{ pool, instance string }
	scraped := make(map[key]*scrape.Target)
	for pool, list := range targets {
		for _, t := range list {
			scraped[key{pool, t.GetValue(model.InstanceLabel)}] = t
		}
	}
	for _, m := range f.Machines() {
		c := *m
		c.Sources, c.Tags, c.Addresses = slices.Clone(m.Sources), slices.Clone(m.Tags), slices.Clone(m.Addresses)
		s := &subject{Machine: &c, labelled: true}
		for _, t := range m.Targets {
			member := member{health: health{Target: t, Health: string(scrape.HealthUnknown)}, series: t.Job}
			if found := scraped[key{t.Job, t.Instance}]; found != nil {
				member = newMember(t.Job, found, t.Address)
			}
			member.Method, member.Forgettable = f.origin(t, scrape.TargetHealth(member.Health))
			s.members = append(s.members, member)
		}
		all[m.Name] = s
	}
}

// ownName is what this machine is called.
func (f *Fleet) ownName(all map[string]*subject) string {
	for name, s := range all {
		if slices.Contains(s.Sources, sourceLocal) {
			return name
		}
	}
	return hostName()
}

// hostName is what this machine calls itself.
func hostName() string {
	name, err := os.Hostname()
	if err == nil {
		name = contract.Short(name)
	}
	return cmp.Or(name, "localhost")
}

// assign gives targets to machines: by their label; by their host, if they are a
// node or systemd exporter; and by their host and address, where such a machine
// is there.
func assign(all map[string]*subject, rest []member, known exporters, own string) {
	add := func(name string, labelled bool, m member) {
		s := all[name]
		if s == nil {
			s = &subject{Machine: &Machine{Name: name, Availability: m.labels.Get(contract.AvailabilityLabel)}}
			all[name] = s
		}
		s.labelled = s.labelled || labelled
		s.Sources = append(s.Sources, m.Method)
		if a := hostOf(m.Address); a != "" && !isLoopback(a) {
			s.Addresses = append(s.Addresses, a)
		}
		s.members = append(s.members, m)
	}
	// Where a machine's own exporters are: other targets at the address are its too.
	at := make(map[string]string) // "" where it is not clear whose
	var siblings []member
	alike := exporterJobs(rest, known)
	for _, m := range rest {
		nodename, exports := known[seriesKey{m.series, m.Instance}]
		exports = exports || m.Health != "up" && alike[m.series]
		name := m.labels.Get(contract.MachineLabel)
		labelled := name != ""
		if !labelled && exports && hostOf(m.Instance) != "" {
			name = nameOf(hostOf(m.Instance), nodename, own)
		}
		if name == "" {
			siblings = append(siblings, m)
			continue
		}
		add(name, labelled, m)
		if exports && m.Address != "" {
			if other, taken := at[place(m.Address)]; taken && other != name {
				name = ""
			}
			at[place(m.Address)] = name
		}
	}
	for _, m := range siblings {
		name := at[place(m.Address)]
		// A probe of a machine through another says nothing on its exporters.
		if instance := hostOf(m.Instance); name != "" && (instance == name || place(m.Instance) == place(m.Address)) {
			add(name, false, m)
		}
	}
}

// exporterJobs are the jobs whose targets are machines' own exporters, as far as
// they respond: so will be those that have not yet.
func exporterJobs(all []member, known exporters) map[string]bool {
	count := make(map[string]int)
	for _, m := range all {
		if _, ok := known[seriesKey{m.series, m.Instance}]; ok {
			count[m.series]++
		} else if m.Health == "up" {
			count[m.series]--
		}
	}
	jobs := make(map[string]bool)
	for job, n := range count {
		jobs[job] = n > 0
	}
	return jobs
}

// place is the host of an address; all of loopback is one.
func place(address string) string {
	h := hostOf(address)
	if isLoopback(h) {
		return "localhost"
	}
	return h
}

// nameOf is the name of a machine by its host. Loopback is this machine, unless
// the system that responds there says that it is another: behind a tunnel.
func nameOf(host, nodename, own string) string {
	if !isLoopback(host) {
		return host
	}
	if nodename = contract.Short(nodename); nodename == "" || strings.EqualFold(nodename, own) || strings.EqualFold(nodename, hostName()) {
		return own
	}
	return nodename
}

func (s *subject) finish() {
	for _, list := range []*[]string{&s.Sources, &s.Tags, &s.Addresses} {
		slices.Sort(*list)
		*list = slices.Compact(*list)
		if *list == nil {
			*list = []string{}
		}
	}
	slices.SortStableFunc(s.members, func(a, b member) int {
		return cmp.Or(contract.CompareJobs(a.Job, b.Job), strings.Compare(a.Instance, b.Instance))
	})
	for _, m := range s.members {
		if m.Instance != "" && !slices.Contains(s.instances, m.Instance) {
			s.instances = append(s.instances, m.Instance)
		}
	}
}

// Of the labels of a machine at most this many become tags, none longer than this.
const (
	maxTags   = 5
	maxTag    = 40
	manyHosts = 4
)

// tagAll makes tags of the labels that are the same on all targets of a machine,
// where they tell machines apart in groups: not what all machines have in common,
// and not what each has for itself alone.
func tagAll(all map[string]*subject) {
	having := make(map[string]map[string]int) // label → value → machines
	shared := make(map[string]map[string]string)
	others := 0
	for name, s := range all {
		common := s.commonLabels()
		if common == nil {
			continue
		}
		others++
		shared[name] = common
		for label, value := range common {
			if having[label] == nil {
				having[label] = make(map[string]int)
			}
			having[label][value]++
		}
	}
	for name, common := range shared {
		s := all[name]
		for _, label := range slices.Sorted(maps.Keys(common)) {
			values, count := having[label], 0
			for _, n := range values {
				count += n
			}
			tag := label + "=" + common[label]
			same := len(values) == 1 && count == others && others > 1
			alone := len(values) == count && count > manyHosts
			if same || alone || len(tag) > maxTag || len(s.Tags) >= maxTags {
				continue
			}
			s.Tags = append(s.Tags, strings.ReplaceAll(tag, ",", "_"))
		}
	}
}

// commonLabels are those that are the same on all targets of a machine, nil if
// discovery made one of them: it has tags of its own.
func (s *subject) commonLabels() map[string]string {
	var common map[string]string
	for _, m := range s.members {
		if m.labels.IsEmpty() {
			return nil
		}
		if common == nil {
			common = m.labels.Map()
			for _, is := range []string{model.MetricNameLabel, "job", "instance", contract.MachineLabel, contract.AvailabilityLabel} {
				delete(common, is)
			}
			continue
		}
		maps.DeleteFunc(common, func(name, value string) bool { return m.labels.Get(name) != value })
	}
	return common
}
