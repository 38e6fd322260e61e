package events

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"

	"github.com/clanmon/clanmon/discovery/contract"
)

// A long time of all machines is not read as a whole: at some moments it is looked which series
// there are, with which values, and only what differs between two of them is read. Moments are the
// same in all questions, so that what was seen can be remembered.
const (
	sparse = 26 * time.Hour // from which length on
	every  = 12 * time.Hour // from one moment to the next
	chunk  = 2 * time.Hour  // is the longest that a chunk lasts
	// manyMachines are not named in a matcher: all are read then.
	manyMachines = 300
	// settled is how old a moment is before it is remembered.
	settled = time.Hour
	// maxRemembered bounds what is, of 16 bytes each.
	maxRemembered = 1 << 20
)

// looks remember what was seen at moments. Of samples that arrive later it does not know, and need
// not: between moments at which a machine was not seen, all is read.
type looks struct {
	mu    sync.Mutex
	ids   map[exported]uint32
	names []exported
	seen  map[lookedAt][]state
	size  int
}

type lookedAt struct {
	name string
	t    int64
}

// state is that of all series of what exports them, and of their values.
type state struct {
	of  uint32
	sum uint64
}

func newLooks() *looks {
	return &looks{ids: make(map[exported]uint32), seen: make(map[lookedAt][]state)}
}

func (l *looks) get(at lookedAt) (map[exported]uint64, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	all, ok := l.seen[at]
	now := make(map[exported]uint64, len(all))
	for _, s := range all {
		now[l.names[s.of]] = s.sum
	}
	return now, ok
}

func (l *looks) put(at lookedAt, now map[exported]uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.size+len(now) > maxRemembered {
		clear(l.ids)
		clear(l.seen)
		l.names, l.size = nil, 0
	}
	all := make([]state, 0, len(now))
	for of, sum := range now {
		id, ok := l.ids[of]
		if !ok {
			id = uint32(len(l.names))
			of = exported{strings.Clone(of.machine), strings.Clone(of.instance)}
			l.ids[of], l.names = id, append(l.names, of)
		}
		all = append(all, state{id, sum})
	}
	l.size += len(all) + 1
	l.seen[at] = all
}

// moments are the times at which it is looked, none for what is read as a whole.
func (r *reader) moments() (out []int64) {
	if r.q.Machine != "" || r.to-r.from < sparse.Milliseconds() {
		return nil
	}
	first, step := r.from+pause.Milliseconds(), every.Milliseconds()
	out = append(out, first)
	for t := (first/step + 1) * step; t < r.end(); t += step {
		out = append(out, t)
	}
	return append(out, r.end())
}

// look says what there is of a name in the minutes before t, with the first value of its chunk, or
// with last its last one.
func (r *reader) look(t int64, last bool, name string, more ...*labels.Matcher) (map[exported]uint64, error) {
	at := lookedAt{name, t}
	old := !last && t%every.Milliseconds() == 0 && time.Since(time.UnixMilli(t)) > settled
	if old {
		if now, ok := r.looks.get(at); ok {
			return now, nil
		}
	}
	now := make(map[exported]uint64)
	near, err := r.during(t-pause.Milliseconds(), t, nil)
	if err != nil {
		return nil, err
	}
	defer near.close()
	near.untrimmed = true
	err = near.series(name, func(ls labels.Labels, it chunks.Iterator) error {
		value, ok := 0.0, false
		for it.Next() {
			if err := near.count(); err != nil {
				return err
			}
			c := it.At()
			if !last && !near.paused(c) {
				value, ok = firstOf(c, &near.it)
				continue
			}
			err := near.samples(c, func(at int64, v float64, stale bool) {
				if at > near.from && at <= t && !stale {
					value, ok = v, true
				}
			})
			if err != nil {
				return err
			}
		}
		if ok {
			now[exported{ls.Get(contract.MachineLabel), ls.Get(model.InstanceLabel)}] += mixed(ls.Hash(), math.Float64bits(value))
		}
		return nil
	}, more...)
	if err == nil && old {
		r.looks.put(at, now)
	}
	return now, err
}

// paused reports whether a chunk may have a pause in it: it lasts longer than others with as many
// samples.
func (r *reader) paused(c chunks.Meta) bool {
	r.it = c.Chunk.Iterator(r.it)
	if r.it.Next() == chunkenc.ValNone || r.it.Next() == chunkenc.ValNone {
		return false
	}
	interval := r.it.AtT() - c.MinTime
	return interval > pause.Milliseconds() || c.MaxTime-c.MinTime > interval*int64(c.Chunk.NumSamples()-1)+pause.Milliseconds()
}

// during is a reader of a part of the time, and of these machines only if they are given.
func (r *reader) during(from, to int64, machines map[string]bool) (*reader, error) {
	part := *r
	part.from, part.to, part.found, part.it = from, to, nil, nil
	if n := len(machines); n > 0 && n <= manyMachines {
		var names []string
		for m := range machines {
			names = append(names, regexp.QuoteMeta(m))
		}
		slices.Sort(names)
		part.only = labels.MustNewMatcher(labels.MatchRegexp, contract.MachineLabel, strings.Join(names, "|"))
	}
	return &part, part.open()
}

// exported is what of a machine exports series.
type exported struct{ machine, instance string }

// seen is of the last moment at which there were any.
type seen struct {
	at    int
	state uint64 // of all series and their values
}

// differing calls visit with the machines, by their label, whose series, or their values, are not
// the same at two moments. Moments at which there is none of a machine do not count: from the one
// before to the one after, or to the begin or the end, all is read.
func (r *reader) differing(moments []int64, name string, visit func(from, to int64, machines map[string]bool) error, more ...*labels.Matcher) error {
	before := make(map[exported]seen)
	last := len(moments) - 1
	for k, t := range moments {
		now, err := r.look(t, k == last, name, more...)
		if err != nil {
			return err
		}
		moved := make(map[int]map[string]bool) // by the moment at which they were seen before
		move := func(since int, machine string) {
			if since == k {
				return
			}
			if moved[since] == nil {
				moved[since] = make(map[string]bool)
			}
			moved[since][machine] = true
		}
		for of, state := range now {
			if s, ok := before[of]; !ok || s.at != k-1 || s.state != state {
				move(s.at, of.machine)
			}
			before[of] = seen{k, state}
		}
		if k == last {
			for of, s := range before {
				move(s.at, of.machine)
			}
			unseen, err := r.unseen(name, before)
			if err != nil {
				return err
			}
			for _, machine := range unseen {
				move(0, machine)
			}
		}
		for since, machines := range moved {
			if err := visit(moments[since], t, machines); err != nil {
				return err
			}
		}
	}
	return nil
}

// unseen are the machines that have series, but none at any of the moments.
func (r *reader) unseen(name string, at map[exported]seen) ([]string, error) {
	var missing []string
	machines := make(map[string]bool)
	for of := range at {
		machines[of.machine] = true
	}
	all, err := r.machines()
	if err != nil {
		return nil, err
	}
	for _, m := range all {
		if !machines[m] {
			missing = append(missing, regexp.QuoteMeta(m))
		}
	}
	if len(missing) == 0 {
		return nil, nil
	}
	all, _, err = r.index.LabelValues(r.ctx, contract.MachineLabel, nil, r.matchers(name, labels.MustNewMatcher(labels.MatchRegexp, contract.MachineLabel, strings.Join(missing, "|")))...)
	if err != nil {
		return nil, fmt.Errorf("list machines with %s: %w", name, err)
	}
	return all, nil
}

// mixed makes one number of two, so that sums of it differ.
func mixed(a, b uint64) uint64 {
	a ^= b * 0x9e3779b97f4a7c15
	a = (a ^ a>>30) * 0xbf58476d1ce4e5b9
	return a ^ a>>31
}

// changes calls visit with the changes of a value that hardly ever changes, and does not become
// again what it was.
func (r *reader) changes(name string, visit func(ls labels.Labels, c change), more ...*labels.Matcher) error {
	moments := r.moments()
	if moments == nil {
		return r.allChanges(name, visit, more...)
	}
	return r.differing(moments, name, func(from, to int64, machines map[string]bool) error {
		part, err := r.during(max(r.from, from-chunk.Milliseconds()-pause.Milliseconds()), to, machines)
		if err != nil {
			return err
		}
		defer part.close()
		err = part.allChanges(name, visit, more...)
		return err
	}, more...)
}
