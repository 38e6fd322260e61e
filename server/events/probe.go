package events

import (
	"errors"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/chunks"

	"github.com/clanmon/clanmon/discovery/contract"
)

// A long time of all machines is not read as a whole: at some moments it is looked which series
// there are, with which values, and only what differs between two of them is read.
const (
	sparse = 26 * time.Hour // from which length on
	every  = 12 * time.Hour // from one moment to the next
	chunk  = 2 * time.Hour  // is the longest that a chunk lasts
	// manyMachines are not named in a matcher: all are read then.
	manyMachines = 300
)

// moments are the times at which it is looked, none for what is read as a whole.
func (r *reader) moments() (out []int64) {
	if r.q.Machine != "" || r.to-r.from < sparse.Milliseconds() {
		return nil
	}
	for t := r.from + pause.Milliseconds(); t < r.end(); t += every.Milliseconds() {
		out = append(out, t)
	}
	return append(out, r.end())
}

// look calls visit with each series of a name that has samples in the minutes before t, and the
// first value of its chunk, or with last its last one.
func (r *reader) look(t int64, last bool, name string, visit func(ls labels.Labels, v float64), more ...*labels.Matcher) error {
	near, err := r.during(t-pause.Milliseconds(), t, nil)
	if err != nil {
		return err
	}
	defer near.close()
	near.untrimmed = true
	err = near.series(name, func(ls labels.Labels, it chunks.Iterator) error {
		value, ok := 0.0, false
		for it.Next() {
			if err := near.count(); err != nil {
				return err
			}
			if !last {
				value, ok = firstOf(it.At(), &near.it)
				continue
			}
			err := near.samples(it.At(), func(at int64, v float64, stale bool) {
				if at <= t && !stale {
					value, ok = v, true
				}
			})
			if err != nil {
				return err
			}
		}
		if ok {
			visit(ls, value)
		}
		return nil
	}, more...)
	r.chunks = near.chunks
	return err
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
	var err error
	if part.store, err = r.queryable.ChunkQuerier(from, to); err != nil {
		return nil, err
	}
	if part.index, err = r.queryable.Querier(from, to); err != nil {
		return nil, errors.Join(err, part.store.Close())
	}
	return &part, nil
}

// seen is what a series was at the moment before.
type seen struct {
	at      int
	value   float64
	machine string
}

// differing calls visit with the machines, by their label, that have a series which is there at
// one of two moments only, or has another value.
func (r *reader) differing(moments []int64, name string, visit func(from, to int64, machines map[string]bool) error, more ...*labels.Matcher) error {
	before := make(map[uint64]seen)
	for k, t := range moments {
		moved := make(map[int]map[string]bool) // by the moment at which they were seen before
		move := func(since int, machine string) {
			if moved[since] == nil {
				moved[since] = make(map[string]bool)
			}
			moved[since][machine] = true
		}
		err := r.look(t, k == len(moments)-1, name, func(ls labels.Labels, v float64) {
			id, machine := ls.Hash(), ls.Get(contract.MachineLabel)
			switch s, ok := before[id]; {
			case k == 0:
			case !ok:
				move(k-1, machine)
			case s.at != k-1 || s.value != v:
				move(s.at, machine)
			}
			before[id] = seen{k, v, machine}
		}, more...)
		if err != nil {
			return err
		}
		for _, s := range before {
			if s.at == k-1 {
				move(k-1, s.machine)
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
		r.chunks = part.chunks
		return err
	}, more...)
}
