package events

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"

	"github.com/clanmon/clanmon/discovery/contract"
)

const (
	// before is how long before its begin a question is read: what was true then.
	before = 2 * time.Hour
	// pause is how long an alert may have no sample and still be the same: some groups are
	// evaluated every 5 minutes, and a server that restarts misses some.
	pause = 11 * time.Minute
	// slack is how much times of a machine and of this server may differ.
	slack = time.Minute
	// maxChunks is what one question reads, of up to 120 samples each.
	maxChunks = 3_000_000
)

// reader finds the events of one question.
type reader struct {
	ctx       context.Context
	q         Question
	queryable storage.SampleAndChunkQueryable
	store     storage.ChunkQuerier
	index     storage.Querier // of the same, for labels alone
	from, to  int64           // milliseconds, what is read
	chunks    *atomic.Int64
	it        chunkenc.Iterator
	whose     func(labels.Labels) string
	only      *labels.Matcher // of machines, nil for all
	untrimmed bool            // chunks are read as they are, beyond from and to
	found     []Event
	machines  func() ([]string, error)
	looks     *looks
	blocks    func() (blocks []tsdb.BlockReader, leave func(), err error)
	told      map[string][]float64 // when something was said, so that two exporters say it once
}

// newReader returns a reader of q that has not opened the store.
func newReader(ctx context.Context, o Options, l *looks, q Question) *reader {
	r := &reader{ctx: ctx, q: q, queryable: o.Store, blocks: o.Blocks, looks: l, from: q.From.Add(-before).UnixMilli(), to: q.To.UnixMilli(), chunks: new(atomic.Int64)}
	if o.Whose != nil {
		r.whose = o.Whose()
	}
	r.machines = sync.OnceValues(func() ([]string, error) {
		whole := *r
		if err := whole.open(); err != nil {
			return nil, err
		}
		defer whole.close()
		all, _, err := whole.index.LabelValues(ctx, contract.MachineLabel, nil, whole.matchers("up")...)
		if err != nil {
			return nil, fmt.Errorf("list machines: %w", err)
		}
		return all, nil
	})
	return r
}

func (r *reader) open() (err error) {
	if r.store, err = r.queryable.ChunkQuerier(r.from, r.to); err != nil {
		return err
	}
	if r.index, err = r.queryable.Querier(r.from, r.to); err != nil {
		return errors.Join(err, r.store.Close())
	}
	return nil
}

func (r *reader) close() { _, _ = r.store.Close(), r.index.Close() }

// add adds what happened within the question, once.
func (r *reader) add(e Event) {
	before := r.q.Overlapping && e.Time < unix(r.q.From) && e.lasts && (e.End == nil || *e.End > unix(r.q.From))
	if !r.q.within(e.Time) && !before || !r.q.wants(e.Kind) {
		return
	}
	key := e.Kind + "\xff" + e.Machine + "\xff" + e.Text
	if near(r.told[key], e.Time) {
		return
	}
	r.told[key] = append(r.told[key], e.Time)
	e.Count = max(e.Count, 1)
	if e.like == "" {
		e.like = e.Text
	}
	r.found = append(r.found, e)
}

// series calls visit with each series of a name, and its chunks.
func (r *reader) series(name string, visit func(ls labels.Labels, it chunks.Iterator) error, more ...*labels.Matcher) error {
	set := r.store.Select(r.ctx, false, &storage.SelectHints{Start: r.from, End: r.to, DisableTrimming: r.untrimmed}, r.matchers(name, more...)...)
	var it chunks.Iterator
	for set.Next() {
		s := set.At()
		if m := r.machine(s.Labels()); r.q.Machine != "" && m != r.q.Machine {
			continue
		}
		it = s.Iterator(it)
		if err := visit(s.Labels(), it); err != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
		if err := it.Err(); err != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
	}
	if err := set.Err(); err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	return nil
}

// end is the end of what there can be.
func (r *reader) end() int64 { return min(r.to, time.Now().UnixMilli()) }

func (r *reader) matchers(name string, more ...*labels.Matcher) []*labels.Matcher {
	ms := append([]*labels.Matcher{labels.MustNewMatcher(labels.MatchEqual, model.MetricNameLabel, name)}, more...)
	if r.only != nil {
		ms = append(ms, r.only)
	}
	if r.q.Machine != "" && name != uname { // see machine
		// Without the label it is the host of the instance.
		ms = append(ms, labels.MustNewMatcher(labels.MatchRegexp, contract.MachineLabel, "|"+regexp.QuoteMeta(r.q.Machine)))
	}
	return ms
}

// count refuses to read on where a question would take all day.
func (r *reader) count() error {
	if r.chunks.Add(1) > maxChunks {
		return ErrTooMuch
	}
	return nil
}

// samples calls visit with the floats of a chunk; stale says that the series ended.
func (r *reader) samples(c chunks.Meta, visit func(t int64, v float64, stale bool)) error {
	r.it = c.Chunk.Iterator(r.it)
	for kind := r.it.Next(); kind != chunkenc.ValNone; kind = r.it.Next() {
		if kind == chunkenc.ValFloat {
			t, v := r.it.At()
			visit(t, v, value.IsStaleNaN(v))
		}
	}
	return r.it.Err()
}

// change is from one value of a series to another: the last time of the one and the first of
// the other, in milliseconds.
type change struct {
	old, new    float64
	last, first int64
	within      period
}

// period is a part of the time that is read, in milliseconds.
type period struct{ from, to int64 }

// allChanges reads the whole time. Between chunks that begin with the same value it is taken to
// be constant.
func (r *reader) allChanges(name string, visit func(ls labels.Labels, c change), more ...*labels.Matcher) error {
	return r.series(name, func(ls labels.Labels, it chunks.Iterator) error {
		var at change // new and first are of the last sample
		known := false
		step := func(t int64, v float64, stale bool) {
			if stale {
				return
			}
			if known && v != at.new {
				visit(ls, change{old: at.new, new: v, last: at.first, first: t, within: period{r.from, r.to}})
			}
			at.new, at.first, known = v, t, true
		}
		var open chunks.Meta // whose first sample alone was looked at
		for it.Next() {
			if err := r.count(); err != nil {
				return err
			}
			c := it.At()
			first, ok := firstOf(c, &r.it)
			if open.Chunk != nil && (!ok || !known || first != at.new) {
				if err := r.samples(open, step); err != nil {
					return err
				}
			} else if open.Chunk != nil {
				at.first = open.MaxTime
			}
			if ok {
				step(c.MinTime, first, false)
			}
			open = c
		}
		if open.Chunk == nil {
			return nil
		}
		return r.samples(open, step)
	}, more...)
}

// firstOf is the first sample of a chunk; false if it is none to compare with.
func firstOf(c chunks.Meta, it *chunkenc.Iterator) (float64, bool) {
	*it = c.Chunk.Iterator(*it)
	if (*it).Next() != chunkenc.ValFloat {
		return 0, false
	}
	_, v := (*it).At()
	return v, !value.IsStaleNaN(v)
}

// reboots are where the time of the boot moved past what was seen of the machine before: when
// its clock is set, the time of the boot moves too. One without a battery begins in 1970, and
// sets its clock a moment later.
func (r *reader) reboots() error {
	return r.changes("node_boot_time_seconds", func(ls labels.Labels, c change) {
		const unset = 1e9 // 2001
		last, first := float64(c.last)/1e3, float64(c.first)/1e3
		switch {
		case c.old < unset:
			return
		case c.new < unset:
			c.new = first
		case c.new < last-slack.Seconds():
			return
		}
		r.add(Event{Time: min(c.new, first), Kind: KindReboot, Machine: r.machine(ls), Text: "rebooted"})
	})
}

// generations are changes of the system, with the revision of its configuration and its kernel,
// where the exporter says them. A system that is activated without a generation of its own is
// tried out.
func (r *reader) generations() error {
	type found struct {
		events   []Event
		machines map[string]bool // by their label
	}
	all, times := make(map[period]*found), make(map[string][]float64)
	add := func(ls labels.Labels, c change, e Event) {
		if all[c.within] == nil {
			all[c.within] = &found{machines: make(map[string]bool)}
		}
		f := all[c.within]
		f.machines[ls.Get(contract.MachineLabel)] = true
		e.Time, e.Kind, e.Machine = float64(c.first)/1e3, KindSystem, r.machine(ls)
		f.events = append(f.events, e)
	}
	err := r.changes("clanmon_nixos_generation", func(ls labels.Labels, c change) {
		m := r.machine(ls)
		times[m] = append(times[m], float64(c.first)/1e3)
		add(ls, c, Event{Text: fmt.Sprintf("NixOS generation %.0f → %.0f", c.old, c.new), like: "new NixOS generation"})
	}, labels.MustNewMatcher(labels.MatchEqual, "which", "current"))
	if err != nil {
		return err
	}
	err = r.changes("clanmon_nixos_system_activated_timestamp_seconds", func(ls labels.Labels, c change) {
		if !near(times[r.machine(ls)], float64(c.first)/1e3) {
			add(ls, c, Event{Text: "NixOS system activated", like: "NixOS system activated"})
		}
	})
	if err != nil {
		return err
	}
	for when, f := range all {
		systems, err := r.spans("clanmon_nixos_system_info", when, f.machines, func(ls labels.Labels) (subject, string) {
			return subject{machine: r.machine(ls)}, ls.Get("revision") + "\xff" + ls.Get("kernel")
		})
		if err != nil {
			return err
		}
		for _, e := range f.events {
			text, revision := systemAt(systems[subject{machine: e.Machine}], e.Time)
			e.Text += text
			if revision != "" { // what is deployed together is one event
				e.like = "NixOS rev " + revision
			}
			r.add(e)
		}
	}
	return nil
}

// systemAt says in words which revision is active at a time, and whether the kernel is another
// than before.
func systemAt(all []span, t float64) (text, revision string) {
	var now, before span
	for _, s := range all {
		if float64(s.first)/1e3 > t+slack.Seconds() {
			break
		}
		if s.first-now.first > slack.Milliseconds() { // and is not of another exporter
			before = now
		}
		now = s
	}
	revision, kernel, _ := strings.Cut(now.value, "\xff")
	if clean, dirty := strings.CutSuffix(revision, "-dirty"); clean != "" {
		revision = clean[:min(7, len(clean))]
		if dirty {
			revision += "-dirty"
		}
		text = ", rev " + revision
	}
	if _, old, _ := strings.Cut(before.value, "\xff"); old != "" && kernel != "" && old != kernel {
		text += fmt.Sprintf(", kernel %s → %s", old, kernel)
	}
	return text, revision
}

// near reports whether one of the times is t, more or less.
func near(times []float64, t float64) bool {
	return slices.ContainsFunc(times, func(x float64) bool { return math.Abs(x-t) < slack.Seconds() })
}

func (r *reader) kernels() error {
	return r.labelled(uname, "release", func(machine, _, from, to string, t float64) {
		r.add(Event{Time: t, Kind: KindSystem, Machine: machine, Text: fmt.Sprintf("kernel %s → %s", from, to)})
	})
}

func (r *reader) exporters() error {
	err := r.labelled("clanmon_build_info", "version", func(machine, job, from, to string, t float64) {
		what := "exporter"
		if job == "clanmon" {
			what = "clanmon"
		}
		r.add(Event{Time: t, Kind: KindExporter, Machine: machine, Text: fmt.Sprintf("%s %s → %s", what, from, to)})
	})
	if err != nil {
		return err
	}
	return r.labelled("node_exporter_build_info", "version", func(machine, _, from, to string, t float64) {
		r.add(Event{Time: t, Kind: KindExporter, Machine: machine, Text: fmt.Sprintf("node_exporter %s → %s", from, to)})
	})
}

// labelled calls visit where a label of an information metric has another value than before.
// Only series of machines that have more than one value are read, and of those the times of
// the chunks.
func (r *reader) labelled(name, label string, visit func(machine, job, from, to string, t float64)) error {
	// In many fleets all say the same.
	if values, _, err := r.index.LabelValues(r.ctx, label, nil, r.matchers(name)...); err != nil || len(values) < 2 {
		return err
	}
	all := make(map[subject][]span)
	read := func(from, to int64, machines map[string]bool) error {
		spans, err := r.spans(name, period{from, to}, machines, func(ls labels.Labels) (subject, string) {
			return subject{r.machine(ls), ls.Get(model.JobLabel)}, ls.Get(label)
		})
		for k, part := range spans {
			all[k] = append(all[k], part...)
		}
		return err
	}
	var err error
	if moments := r.moments(); moments != nil {
		err = r.differing(moments, name, func(from, to int64, machines map[string]bool) error {
			return read(max(r.from, from-pause.Milliseconds()), to, machines)
		})
	} else if moved, wrong := r.moved(name, label); wrong != nil {
		err = wrong
	} else if len(moved) > 0 {
		err = read(r.from, r.to, moved)
	}
	for k, spans := range all {
		slices.SortFunc(spans, func(a, b span) int { return cmp.Compare(a.first, b.first) })
		for i := 1; i < len(spans); i++ {
			// Two at the same time are two exporters, or a label that says something else.
			if from, to := spans[i-1], spans[i]; from.value != to.value && from.last <= to.first+slack.Milliseconds() {
				visit(k.machine, k.job, from.value, to.value, float64(to.first)/1e3)
			}
		}
	}
	return err
}

// spans are the times in which series of these machines, by their label, were there, in order,
// by the subject and with the value that of gives them.
func (r *reader) spans(name string, when period, machines map[string]bool, of func(labels.Labels) (subject, string)) (map[subject][]span, error) {
	part, err := r.during(when.from, when.to, machines)
	if err != nil {
		return nil, err
	}
	defer part.close()
	part.untrimmed = true
	spans := make(map[subject][]span)
	err = part.series(name, func(ls labels.Labels, it chunks.Iterator) error {
		if !machines[ls.Get(contract.MachineLabel)] {
			return nil
		}
		k, value := of(ls)
		var s span
		for it.Next() {
			if err := part.count(); err != nil {
				return err
			}
			c := it.At()
			if s.first != 0 && c.MinTime-s.last > pause.Milliseconds() {
				spans[k] = append(spans[k], s)
				s = span{}
			}
			if s.first == 0 {
				s = span{value: value, first: c.MinTime}
			}
			s.last = c.MaxTime
		}
		if s.first != 0 {
			spans[k] = append(spans[k], s)
		}
		return nil
	})
	for _, all := range spans {
		slices.SortFunc(all, func(a, b span) int { return cmp.Compare(a.first, b.first) })
	}
	return spans, err
}

// span is a time in which a label had a value, in milliseconds.
type span struct {
	value       string
	first, last int64
}

type subject struct{ machine, job string }

// moved are the machines, by their label, of whom a label has more than one value, by the index
// alone.
func (r *reader) moved(name, label string) (map[string]bool, error) {
	set := r.index.Select(r.ctx, false, &storage.SelectHints{Start: r.from, End: r.to, Func: "series"}, r.matchers(name)...)
	values := make(map[subject]string)
	moved := make(map[string]bool)
	for set.Next() {
		ls := set.At().Labels()
		k, v := subject{r.machine(ls), ls.Get(model.JobLabel)}, ls.Get(label)
		if before, ok := values[k]; ok && before != v {
			moved[ls.Get(contract.MachineLabel)] = true
		}
		values[k] = v
	}
	if err := set.Err(); err != nil {
		return nil, fmt.Errorf("list %s: %w", name, err)
	}
	return moved, nil
}

// alerts that began or ended within the question. Those that other kinds tell of are left out.
func (r *reader) alerts() error {
	firing := labels.MustNewMatcher(labels.MatchEqual, "alertstate", "firing")
	loud := labels.MustNewMatcher(labels.MatchNotEqual, "severity", "none")
	others := labels.MustNewMatcher(labels.MatchNotEqual, model.AlertNameLabel, "MachineRebooted")
	return r.series("ALERTS", func(ls labels.Labels, it chunks.Iterator) error {
		var begin, last int64
		tell := func(ended bool) {
			if begin != 0 {
				r.alert(ls, begin, last, ended)
			}
			begin = 0
		}
		for it.Next() {
			if err := r.count(); err != nil {
				return err
			}
			err := r.samples(it.At(), func(t int64, _ float64, stale bool) {
				if begin != 0 && t-last > pause.Milliseconds() {
					tell(true)
				}
				last = t
				if stale {
					tell(true)
				} else if begin == 0 {
					begin = t
				}
			})
			if err != nil {
				return err
			}
		}
		tell(r.to-last > pause.Milliseconds())
		return nil
	}, firing, loud, others)
}

func (r *reader) alert(ls labels.Labels, begin, end int64, ended bool) {
	name := ls.Get(model.AlertNameLabel)
	about := ""
	for _, l := range []string{"name", "check", "mountpoint", "device"} {
		if v := ls.Get(l); v != "" {
			about = " " + v
			break
		}
	}
	e := Event{
		Time: float64(begin) / 1e3, Kind: KindAlert, Machine: r.machine(ls),
		Text: name + about, Alert: name, Severity: ls.Get("severity"), like: name,
	}
	if ls.Get("check") != "" { // whose instance is what it looks at
		e.Machine = ls.Get(contract.MachineLabel)
	}
	unit := ls.Get("name")
	if name == "UnitFailed" || name == "JobFailed" && strings.HasSuffix(unit, ".service") { // and no ping
		e.Kind, e.Text, e.like = KindUnit, unit+" failed", unit+" failed"
	}
	if name == "CheckFailing" {
		e.Kind, e.Text, e.like = KindCheck, "check"+about+" failed", "checks failed"
		if from := ls.Get("from"); from != "" {
			e.Detail = "from " + from
		}
	}
	if ended {
		t := float64(end) / 1e3
		e.End = &t
	}
	e.lasts = true
	// One that fired before has only its end within the question.
	if begin <= r.q.From.UnixMilli() && !r.q.Overlapping {
		if e.End == nil {
			return
		}
		e.Time, e.End, e.lasts = *e.End, nil, false
		switch e.Kind {
		case KindUnit:
			e.Text = ls.Get("name") + " recovered"
		case KindCheck:
			e.Text, e.like = "check"+about+" recovered", "checks recovered"
		default:
			e.Text += " resolved"
		}
		if e.Kind != KindCheck {
			e.like = e.Text
		}
	}
	r.add(e)
}

// newMachines are those that a built-in rule saw for the first time, as it still says.
func (r *reader) newMachines() error {
	late, err := r.during(r.end()-pause.Milliseconds(), r.end(), nil)
	if err != nil {
		return err
	}
	defer late.close()
	return late.series("machine:first_seen:timestamp_seconds", func(ls labels.Labels, it chunks.Iterator) error {
		for it.Next() {
			if err := late.count(); err != nil {
				return err
			}
			if t, ok := firstOf(it.At(), &late.it); ok {
				r.add(Event{Time: t, Kind: KindMachine, Machine: r.machine(ls), Text: "first seen"})
			}
		}
		return nil
	})
}

// goneMachines are scraped no longer at the end of the question. One that is down is scraped.
func (r *reader) goneMachines() error {
	all, err := r.machines()
	if err != nil {
		return err
	}
	late, err := r.during(r.end()-pause.Milliseconds(), r.end(), nil)
	if err != nil {
		return err
	}
	defer late.close()
	late.untrimmed = true // chunks may have begun long before
	here := make(map[string]bool)
	err = late.series("up", func(ls labels.Labels, it chunks.Iterator) error {
		for it.Next() {
			if it.At().MaxTime >= late.from {
				here[r.machine(ls)] = true
			}
		}
		return nil
	})
	// Where nothing is here, this server was not.
	if err != nil || len(here) == 0 {
		return err
	}
	gone := make(map[string]bool)
	for _, m := range all {
		if !here[m] && (r.q.Machine == "" || r.q.Machine == m) {
			gone[m] = true
		}
	}
	if len(gone) == 0 {
		return nil
	}
	part, err := r.during(r.from, r.to, gone)
	if err != nil {
		return err
	}
	defer part.close()
	last := make(map[string]int64)
	err = part.series("up", func(ls labels.Labels, it chunks.Iterator) error {
		for it.Next() {
			if err := part.count(); err != nil {
				return err
			}
			if m := r.machine(ls); gone[ls.Get(contract.MachineLabel)] {
				last[m] = max(last[m], it.At().MaxTime)
			}
		}
		return nil
	})
	for m, t := range last {
		r.add(Event{Time: float64(t) / 1e3, Kind: KindMachine, Machine: m, Text: "no longer scraped"})
	}
	return err
}

// servers are restarts of servers that scrape themselves, and reloads of their configuration.
func (r *reader) servers() error {
	started := make(map[string][]float64)
	err := r.changes("process_start_time_seconds", func(ls labels.Labels, c change) {
		m := r.machine(ls)
		started[m] = append(started[m], float64(c.first)/1e3)
		r.add(Event{Time: min(c.new, float64(c.first)/1e3), Kind: KindServer, Machine: m, Text: "monitoring server restarted"})
	}, labels.MustNewMatcher(labels.MatchEqual, model.JobLabel, "clanmon"))
	if err != nil {
		return err
	}
	return r.changes("prometheus_config_last_reload_success_timestamp_seconds", func(ls labels.Labels, c change) {
		m, first := r.machine(ls), float64(c.first)/1e3
		if near(started[m], first) {
			return // a start loads it too
		}
		r.add(Event{Time: min(c.new, first), Kind: KindServer, Machine: m, Text: "configuration reloaded"})
	})
}

func (r *reader) silences(all []Silence) {
	now := time.Now()
	for _, s := range all {
		if r.q.Machine != "" && s.Machine != r.q.Machine {
			continue
		}
		e := Event{Time: unix(s.Starts), Kind: KindSilence, Machine: s.Machine, Text: "silenced by " + s.By, Detail: s.Comment}
		if !s.OnlyMachine {
			e.Text += ": " + s.Matchers
		}
		if s.Ends.Before(now) {
			t := unix(s.Ends)
			e.End = &t
		}
		r.add(e)
	}
}

// machine is that of a series. One that is known no longer is named by the label, or by the host
// of its instance.
func (r *reader) machine(ls labels.Labels) string {
	if r.whose != nil {
		if m := r.whose(ls); m != "" {
			return m
		}
	}
	// Of an exporter, node_uname_info has an architecture in the label machine. Where the target
	// has that label too, the architecture has another.
	arch := ls.Get(model.MetricNameLabel) == uname && ls.Get(model.ExportedLabelPrefix+contract.MachineLabel) == ""
	if m := ls.Get(contract.MachineLabel); m != "" && !arch {
		return m
	}
	instance := ls.Get(model.InstanceLabel)
	if host, _, err := net.SplitHostPort(instance); err == nil {
		return host
	}
	return instance
}

const uname = "node_uname_info"
