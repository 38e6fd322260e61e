package events

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
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
	phase  = time.Hour      // of them, so that none is where a block begins
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
	for t := first - (first-phase.Milliseconds())%step + step; t < r.end(); t += step {
		out = append(out, t)
	}
	return append(out, r.end())
}

// lookAll says what there is of a name in the minutes before each moment.
func (r *reader) lookAll(moments []int64, name string, more ...*labels.Matcher) ([]map[exported]uint64, error) {
	all := make([]map[exported]uint64, len(moments))
	last := len(moments) - 1
	for k := 1; k < last; k++ {
		if now, ok := r.looks.get(lookedAt{name, moments[k]}); ok {
			all[k] = now
		}
	}
	if err := r.lookIntoBlocks(moments, all, name, more...); err != nil {
		return nil, err
	}
	for k, t := range moments {
		if all[k] != nil {
			continue
		}
		now, err := r.look(t, k == last, name, more...)
		if err != nil {
			return nil, err
		}
		all[k] = now
		if k > 0 && k < last && time.Since(time.UnixMilli(t)) > settled {
			r.looks.put(lookedAt{name, t}, now)
		}
	}
	return all, nil
}

// lookIntoBlocks looks at all moments in a block at once, but for the first and the last one. It
// reads no more of it than the chunks of these moments.
func (r *reader) lookIntoBlocks(moments []int64, all []map[exported]uint64, name string, more ...*labels.Matcher) error {
	if r.blocks == nil {
		return nil
	}
	blocks, leave, err := r.blocks()
	if err != nil {
		return err
	}
	defer leave()
	within := make(map[int][]int) // the moments, by the block that has the most samples of their time
	for k := 1; k < len(moments)-1; k++ {
		best, most := 0, uint64(0)
		for i, b := range blocks {
			m := b.Meta()
			if m.Compaction.FromOutOfOrder() || m.Compaction.FromStaleSeries() {
				continue // the rest of that time is elsewhere
			}
			if all[k] == nil && m.MinTime <= moments[k]-pause.Milliseconds() && moments[k] < m.MaxTime && m.Stats.NumSamples > most {
				best, most = i, m.Stats.NumSamples
			}
		}
		if most > 0 {
			within[best] = append(within[best], k)
		}
	}
	for i, these := range within {
		for _, k := range these {
			all[k] = make(map[exported]uint64)
		}
		err := r.lookInto(blocks[i], moments, these, all, r.matchers(name, more...))
		if err != nil && !errors.Is(err, tsdb.ErrClosing) {
			return fmt.Errorf("look for %s: %w", name, err)
		}
		for _, k := range these {
			switch {
			case err != nil:
				all[k] = nil // another block has taken its place
			case time.Since(time.UnixMilli(moments[k])) > settled:
				r.looks.put(lookedAt{name, moments[k]}, all[k])
			}
		}
	}
	return nil
}

func (r *reader) lookInto(b tsdb.BlockReader, moments []int64, these []int, all []map[exported]uint64, matchers []*labels.Matcher) (err error) {
	index, err := b.Index()
	if err != nil {
		return err
	}
	defer index.Close()
	reader, err := b.Chunks()
	if err != nil {
		return err
	}
	defer reader.Close()
	found, err := tsdb.PostingsForMatchers(r.ctx, index, matchers...)
	if err != nil {
		return err
	}
	var builder labels.ScratchBuilder
	var metas []chunks.Meta
	for found.Next() {
		if err := r.ctx.Err(); err != nil {
			return err
		}
		if err := index.Series(found.At(), &builder, &metas); errors.Is(err, storage.ErrNotFound) {
			continue
		} else if err != nil {
			return err
		}
		ls := builder.Labels()
		of, id := exported{ls.Get(contract.MachineLabel), ls.Get(model.InstanceLabel)}, ls.Hash()
		for _, k := range these {
			t := moments[k]
			i, _ := slices.BinarySearchFunc(metas, t-pause.Milliseconds(), func(c chunks.Meta, t int64) int { return cmp.Compare(c.MaxTime, t+1) })
			value, ok := 0.0, false
			for ; i < len(metas) && metas[i].MinTime <= t; i++ {
				if err := r.count(); err != nil {
					return err
				}
				c := metas[i]
				if c.Chunk, _, err = reader.ChunkOrIterable(c); errors.Is(err, storage.ErrNotFound) {
					continue
				} else if err != nil {
					return err
				}
				if v, there, err := r.valueOf(c, t, false); err != nil {
					return err
				} else if there {
					value, ok = v, true
				}
			}
			if ok {
				all[k][of] += mixed(id, math.Float64bits(value))
			}
		}
	}
	return found.Err()
}

// look reads what lookAll says of one moment; of the last one the values are those of then.
func (r *reader) look(t int64, last bool, name string, more ...*labels.Matcher) (map[exported]uint64, error) {
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
			if v, there, err := near.valueOf(it.At(), t, last); err != nil {
				return err
			} else if there {
				value, ok = v, true
			}
		}
		if ok {
			now[exported{ls.Get(contract.MachineLabel), ls.Get(model.InstanceLabel)}] += mixed(ls.Hash(), math.Float64bits(value))
		}
		return nil
	}, more...)
	return now, err
}

// valueOf is a value of a chunk that has samples in the minutes before t: its first one, or the
// last one of these minutes.
func (r *reader) valueOf(c chunks.Meta, t int64, last bool) (value float64, ok bool, err error) {
	if !last && !r.paused(c) {
		value, ok = firstOf(c, &r.it)
		return value, ok, nil
	}
	err = r.samples(c, func(at int64, v float64, stale bool) {
		if at > t-pause.Milliseconds() && at <= t && !stale {
			value, ok = v, true
		}
	})
	return value, ok, err
}

// paused reports whether a chunk may have a pause in it: it lasts longer than others with as many
// samples.
func (r *reader) paused(c chunks.Meta) bool {
	r.it = c.Chunk.Iterator(r.it)
	for range 2 {
		if r.it.Next() == chunkenc.ValNone {
			return false
		}
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
	all, err := r.lookAll(moments, name, more...)
	if err != nil {
		return err
	}
	for k, t := range moments {
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
		for of, state := range all[k] {
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
