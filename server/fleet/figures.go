package fleet

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/clanmon/clanmon/discovery/contract"
)

// figures of a machine; one that is missing is not known.
type figures map[string]float64

// records are the built-in recording rules that figures come from.
var records = map[string]string{
	"machine:cpu_used:ratio":                "cpu",
	"machine:memory_used:ratio":             "memory",
	"machine:filesystem_used_worst:ratio":   "filesystem",
	"machine:memory_stalled:ratio":          "memoryStalled",
	"machine:io_stalled:ratio":              "ioStalled",
	"machine:network_receive_bytes:rate5m":  "receive",
	"machine:network_transmit_bytes:rate5m": "transmit",
	"machine:temperature_max:celsius":       "temperature",
	"machine:units_failed:count":            "unitsFailed",
}

const (
	virtualFS  = "tmpfs|ramfs|devtmpfs|squashfs|overlay|iso9660|efivarfs|fuse.*|nfs.*|cifs|smb3|9p|virtiofs"
	virtualNet = "lo|veth.*|ve-.*|vb-.*|vnet.*|tap.*|tun.*|ppp.*|br-.*|br[0-9].*|docker.*|podman.*|virbr.*|vmbr.*|fwbr.*|fwpr.*|fwln.*|lxcbr.*|lxdbr.*|incusbr.*|cni.*|flannel.*|cali.*|tailscale.*|wg.*|zt.*|ygg.*|nebula.*|bond.*|team.*|vlan.*|.+[.][0-9]+|dummy.*|ifb.*|sit.*"
	canFail    = "service|mount|automount|swap|timer|socket|path|scope"
)

// covered is the part of the five minutes of a rate that samples cover, measured by
// the CPU's time, which always passes: a rate over a window that is partly filled
// is too small by it.
const covered = "covered"

// partly are the figures that have to be divided by what is covered.
var partly = []string{"memoryStalled", "ioStalled", "receive", "transmit"}

// raw are the same figures from the series themselves, for machines that no
// recording rule sees; %[1]s is what selects them.
var raw = []struct{ figure, expr string }{
	{"cpu", `sum by (machine, instance) (rate(node_cpu_seconds_total{%[1]s,mode!~"idle|iowait|steal"}[5m])) / sum by (machine, instance) (rate(node_cpu_seconds_total{%[1]s}[5m]))`},
	{covered, `sum by (machine, instance) (rate(node_cpu_seconds_total{%[1]s}[5m])) / count by (machine, instance) (node_cpu_seconds_total{%[1]s,mode="idle"})`},
	{"memory", `1 - max by (machine, instance) ((node_memory_MemAvailable_bytes{%[1]s} + (node_zfs_arc_size{%[1]s} - node_zfs_arc_c_min{%[1]s} > 0) or node_memory_MemAvailable_bytes{%[1]s}) / node_memory_MemTotal_bytes{%[1]s})`},
	{"filesystem", `1 - min by (machine, instance) (node_filesystem_avail_bytes{%[1]s,fstype!~"` + virtualFS + `"} / (node_filesystem_size_bytes{%[1]s,fstype!~"` + virtualFS + `"} > 0) unless node_filesystem_readonly{%[1]s} == 1)`},
	{"memoryStalled", `max by (machine, instance) (rate(node_pressure_memory_stalled_seconds_total{%[1]s}[5m]))`},
	{"ioStalled", `max by (machine, instance) (rate(node_pressure_io_stalled_seconds_total{%[1]s}[5m]))`},
	{"receive", `sum by (machine, instance) (rate(node_network_receive_bytes_total{%[1]s,device!~"` + virtualNet + `"}[5m]))`},
	{"transmit", `sum by (machine, instance) (rate(node_network_transmit_bytes_total{%[1]s,device!~"` + virtualNet + `"}[5m]))`},
	{"temperature", `max by (machine, instance) (node_hwmon_temp_celsius{%[1]s} < 150)`},
	{"unitsFailed", `count by (machine, instance) (systemd_unit_state{%[1]s,state="failed",type=~"` + canFail + `"} == 1) or count by (machine, instance) (node_systemd_unit_state{%[1]s,state="failed"} == 1)`},
}

// Figure is a current value of machines, for whoever reads the series of others.
type Figure struct {
	Name, Record string
	// Raw is its expression for what selector selects, by more labels; nil if not every
	// machine has it.
	Raw func(selector, by string) string
}

// Figures are those of a row.
func Figures() []Figure {
	var all []Figure
	for record, name := range records {
		f := Figure{Name: name, Record: record}
		for _, r := range raw {
			if r.figure == name && slices.Contains([]string{"cpu", "memory", "filesystem"}, name) {
				f.Raw = func(selector, by string) string {
					return strings.ReplaceAll(fmt.Sprintf(r.expr, selector), "by (machine, instance)", "by (machine, instance, "+by+")")
				}
			}
		}
		all = append(all, f)
	}
	return all
}

// finder finds the machine of a series.
type finder struct {
	labelled  map[string]bool
	instances map[string]string
}

func newFinder(all map[string]*subject) finder {
	f := finder{make(map[string]bool), make(map[string]string)}
	for name, s := range all {
		f.labelled[name] = s.labelled
		for _, i := range s.instances {
			f.instances[i] = name
		}
	}
	return f
}

// machine is the name of the machine of a series, "" if it is of none. A label
// machine need not be one: node_uname_info has the architecture in it.
func (f finder) machine(ls labels.Labels) string {
	if name := ls.Get(contract.MachineLabel); f.labelled[name] {
		return name
	}
	return f.instances[ls.Get("instance")]
}

// alert is the name of the machine of an alert.
func (f finder) alert(ls model.LabelSet) string {
	if name := string(ls[contract.MachineLabel]); f.labelled[name] {
		return name
	}
	return f.instances[string(ls[model.InstanceLabel])]
}

// figuresAt evaluates the figures of all machines at a time.
func (f *Fleet) figuresAt(ctx context.Context, t time.Time, all map[string]*subject) (map[string]figures, error) {
	find := newFinder(all)
	found := make(map[string]figures, len(all))
	add := func(name, figure string, v float64) {
		if name == "" || math.IsNaN(v) || math.IsInf(v, 0) {
			return
		}
		if found[name] == nil {
			found[name] = make(figures)
		}
		if old, ok := found[name][figure]; !ok || v > old {
			found[name][figure] = v
		}
	}
	names := make([]string, 0, len(records))
	for name := range records {
		names = append(names, name)
	}
	slices.Sort(names)
	vector, err := f.opts.Query(ctx, `{`+among(model.MetricNameLabel, names...).String()+`}`, t)
	if err != nil {
		return nil, err
	}
	for _, s := range vector {
		add(find.machine(s.Metric), records[s.Metric.Get(model.MetricNameLabel)], s.F)
	}
	missing := f.missing(t, found, all)
	for _, r := range raw {
		for _, selector := range selectors(all, missing(r.figure)) {
			if vector, err = f.opts.Query(ctx, fmt.Sprintf(r.expr, selector), t); err != nil {
				return found, err
			}
			for _, s := range vector {
				add(find.machine(s.Metric), r.figure, s.F)
			}
		}
	}
	for name, g := range found {
		part, ok := g[covered]
		delete(g, covered)
		for _, figure := range partly {
			if v, is := g[figure]; ok && is && part > 0 && part < 1 && slices.Contains(missing(figure), name) {
				g[figure] = v / part
			}
		}
	}
	return found, nil
}

// missing tells of which machines no record says a figure: those without the label,
// all where the built-in rules are off, and any in the first minutes of the server.
// Later on a figure that is missing is one that the machine does not have, but for
// those that every machine has.
func (f *Fleet) missing(t time.Time, records map[string]figures, all map[string]*subject) func(figure string) []string {
	var bare []string // no record at all
	for name := range all {
		if g := records[name]; !g.has("cpu") && !g.has("memory") {
			bare = append(bare, name)
		}
	}
	lacking := make(map[string][]string)
	young := t.Sub(f.born) < firstMinutes
	for _, r := range raw {
		lacking[r.figure] = bare
		if r.figure != "filesystem" && !young || r.figure == covered {
			continue
		}
		var names []string
		for name := range all {
			if !records[name].has(r.figure) {
				names = append(names, name)
			}
		}
		lacking[r.figure] = names
	}
	for _, figure := range partly {
		if young { // their records wait for another
			lacking[covered] = append(slices.Clone(lacking[covered]), lacking[figure]...)
		}
	}
	return func(figure string) []string { return lacking[figure] }
}

// firstMinutes is how long after the start the recording rules may still be without
// a value.
const firstMinutes = 5 * time.Minute

func (g figures) has(name string) bool { _, ok := g[name]; return ok }

// selectors select the series of machines, those with the label and the others.
func selectors(all map[string]*subject, names []string) []string {
	var labelled, instances []string
	for _, name := range names {
		if s := all[name]; s.labelled {
			labelled = append(labelled, name)
		} else {
			instances = append(instances, s.instances...)
		}
	}
	var list []string
	for label, values := range map[string][]string{contract.MachineLabel: labelled, "instance": instances} {
		if len(values) > 0 {
			slices.Sort(values)
			list = append(list, oneOf(label, slices.Compact(values)))
		}
	}
	return list
}

// Facts are what is known of a machine's system, as of At.
type Facts struct {
	OS          string       `json:"os,omitempty"`
	Kernel      string       `json:"kernel,omitempty"`
	Generation  string       `json:"generation,omitempty"` // of NixOS
	Exporter    string       `json:"exporter,omitempty"`
	Nodename    string       `json:"nodename,omitempty"`
	Booted      int64        `json:"booted,omitempty"` // Unix seconds on the server's clock
	Reboot      bool         `json:"reboot,omitempty"` // required
	Filesystems []Filesystem `json:"filesystems,omitempty"`
	At          string       `json:"at,omitempty"` // RFC 3339

	at         time.Time
	bootTime   float64 // by the machine's own clock
	osID       string
	units      bool // somebody looked at its units
	unitsSaid  bool // there is a metric that says so
	hasSystemd bool
}

// Filesystem is one with its sizes in bytes.
type Filesystem struct {
	Mountpoint string  `json:"mountpoint"`
	Device     string  `json:"device"`
	Size       float64 `json:"size"`
	Avail      float64 `json:"avail"`
}

// factSeries are what facts are made of.
var factSeries = []string{
	"node_os_info", "node_uname_info", "node_boot_time_seconds", "node_time_seconds", "node_exporter_build_info",
	"clanmon_build_info", "clanmon_reboot_required", "clanmon_nixos_kernel_current", "clanmon_nixos_generation",
	"systemd_boot_time_seconds",
}

var collectorSeries = []string{"clanmon_exporter_collector_success", "node_scrape_collector_success"}

// factsAt reads the facts of machines in a window that ends at t: those that hold
// then, or with ended those that held last.
func (f *Fleet) factsAt(ctx context.Context, t time.Time, find finder, ended bool) (map[string]*Facts, error) {
	from := t.Add(-factWindow)
	samples, err := f.newest(ctx, from, t, among(model.MetricNameLabel, factSeries...), labels.MustNewMatcher(labels.MatchNotEqual, "job", selfJob))
	if err != nil {
		return nil, err
	}
	looked, err := f.newest(ctx, from, t, among(model.MetricNameLabel, collectorSeries...), eq("collector", "systemd"))
	if err != nil {
		return nil, err
	}
	found := make(map[string]*Facts)
	clocks := make(map[string]sample)
	for _, s := range append(samples, looked...) {
		name := find.machine(s.labels)
		if ended {
			s.t, s.v, s.stale = s.lastT, s.lastV, s.lastT.UnixMilli() == 0
		}
		if name == "" || s.stale {
			continue
		}
		x := found[name]
		if x == nil {
			x = &Facts{}
			found[name] = x
		}
		if s.t.After(x.at) {
			x.at = s.t
		}
		if x.read(s); s.labels.Get(model.MetricNameLabel) == "node_time_seconds" {
			clocks[name] = s
		}
	}
	for name, x := range found {
		x.At = x.at.UTC().Format(time.RFC3339)
		if !x.unitsSaid {
			x.units = x.hasSystemd
		}
		if x.bootTime == 0 {
			continue
		}
		// Uptime is by the machine's own clock; the server's may be another.
		x.Booted = int64(x.bootTime)
		if c := clocks[name]; c.v > 0 {
			x.Booted = int64(math.Round(float64(c.t.UnixMilli())/1000 - (c.v - x.bootTime)))
		}
	}
	return found, nil
}

// factWindow is how far back a sample is of now, as in PromQL.
const factWindow = 5 * time.Minute

func (x *Facts) read(s sample) {
	get := s.labels.Get
	switch get(model.MetricNameLabel) {
	case "node_os_info":
		x.OS, x.osID = get("pretty_name"), get("id")
		if x.OS == "" {
			x.OS = get("name")
		}
	case "node_uname_info":
		x.Kernel, x.Nodename = get("release"), get("nodename")
	case "node_boot_time_seconds":
		x.bootTime = s.v
	case "clanmon_build_info":
		x.Exporter = "clanmon " + get("version")
	case "node_exporter_build_info":
		if x.Exporter == "" {
			x.Exporter = "node " + get("version")
		}
	case "clanmon_reboot_required":
		x.Reboot = x.Reboot || s.v == 1
	case "clanmon_nixos_kernel_current":
		x.Reboot = x.Reboot || s.v == 0
	case "clanmon_nixos_generation":
		if get("which") == "current" {
			x.Generation = fmt.Sprint(int64(s.v))
		}
	case "clanmon_exporter_collector_success", "node_scrape_collector_success":
		x.unitsSaid = true
		x.units = x.units || s.v == 1
	case "systemd_boot_time_seconds":
		x.hasSystemd = true
	}
}

// filesystemsAt reads the filesystems of one machine in a window that ends at t.
func (f *Fleet) filesystemsAt(ctx context.Context, t time.Time, find finder, name string, matcher *labels.Matcher) []Filesystem {
	samples, err := f.newest(ctx, t.Add(-factWindow), t, matcher, among(model.MetricNameLabel, "node_filesystem_size_bytes", "node_filesystem_avail_bytes"),
		labels.MustNewMatcher(labels.MatchNotRegexp, "fstype", virtualFS))
	if err != nil {
		f.opts.Logger.Warn("Could not read the filesystems of a machine", "machine", name, "err", err)
		return nil
	}
	type key struct{ mountpoint, device string }
	at := make(map[key]*Filesystem)
	for _, s := range samples {
		if s.stale || find.machine(s.labels) != name {
			continue
		}
		k := key{s.labels.Get("mountpoint"), s.labels.Get("device")}
		if at[k] == nil {
			at[k] = &Filesystem{Mountpoint: k.mountpoint, Device: k.device}
		}
		if s.labels.Get(model.MetricNameLabel) == "node_filesystem_size_bytes" {
			at[k].Size = s.v
		} else {
			at[k].Avail = s.v
		}
	}
	all := make([]Filesystem, 0, len(at))
	for _, x := range at {
		if x.Size > 0 {
			all = append(all, *x)
		}
	}
	slices.SortFunc(all, func(a, b Filesystem) int { return len(a.Mountpoint) - len(b.Mountpoint) })
	return all
}
