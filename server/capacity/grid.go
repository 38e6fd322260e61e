package capacity

import (
	"context"
	"math"
	"slices"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
)

// resolution says how close together the times of a grid are, as far back as it goes.
type resolution struct{ back, step time.Duration }

var (
	// fine is for what can be full within hours.
	fine = []resolution{{day, 30 * time.Minute}, {7 * day, time.Hour}, {30 * day, 6 * time.Hour}}
	// coarse is for what changes slowly, or is read for a page alone.
	coarse = []resolution{{7 * day, 3 * time.Hour}, {30 * day, 12 * time.Hour}}
)

const (
	// settled is how old a time is before it is read, so that what arrives late counts.
	settled = time.Minute
	// again is when a time is read once more, for samples that arrived much later; at most
	// rereads at once.
	again   = 6 * time.Hour
	rereads = 4
)

// grid is what was left of many things at the same times, which are multiples of the steps:
// it is the same after a restart. It is filled from the store and lives in memory, with four
// bytes for each value.
type grid struct {
	query    func(ctx context.Context, t time.Time) (promql.Vector, error)
	steps    []resolution
	index    map[uint64]int // where in each column a thing is
	columns  []column       // ascending
	times    []int64        // of the columns
	spans    [len(windows)][]pair
	trends   [][len(windows)]trend // of each thing; nil until it is needed
	computed []bool
	pruned   int // how many things there were after prune
}

type column struct {
	at     int64     // Unix seconds
	read   time.Time // when it was read last
	values []float32 // NaN for none; of things that were new later there is none
}

func newGrid(steps []resolution, query func(context.Context, time.Time) (promql.Vector, error)) *grid {
	return &grid{query: query, steps: steps, index: make(map[uint64]int)}
}

// wanted are the times that a grid has at t, ascending.
func (g *grid) wanted(t time.Time) []int64 {
	last := t.Add(-settled).Unix()
	set := make(map[int64]bool)
	for _, r := range g.steps {
		step := int64(r.step.Seconds())
		for at := last / step * step; at >= last-int64(r.back.Seconds())-step; at -= step {
			set[at] = true
		}
	}
	all := make([]int64, 0, len(set))
	for at := range set {
		all = append(all, at)
	}
	slices.Sort(all)
	return all
}

// fill reads what is missing at t, the latest first. What it has read when ctx ends counts
// for the next time.
func (g *grid) fill(ctx context.Context, t time.Time) error {
	want := g.wanted(t)
	kept := g.columns[:0]
	for _, c := range g.columns {
		if _, ok := slices.BinarySearch(want, c.at); ok {
			kept = append(kept, c)
		}
	}
	changed := len(kept) != len(g.columns)
	clear(g.columns[len(kept):])
	g.columns = kept
	old := 0
	var err error
	for _, at := range slices.Backward(want) {
		i, ok := slices.BinarySearchFunc(g.columns, at, func(c column, at int64) int { return int(c.at - at) })
		if ok {
			if t.Sub(g.columns[i].read) < again || old == rereads {
				continue
			}
			old++
		}
		var c column
		if c, err = g.read(ctx, at, t); err != nil {
			break
		}
		changed = true
		if ok {
			g.columns[i] = c
		} else {
			g.columns = slices.Insert(g.columns, i, c)
		}
	}
	if changed {
		g.times = g.times[:0]
		for _, c := range g.columns {
			g.times = append(g.times, c.at)
		}
		for i, w := range windows {
			g.spans[i] = w.spans(g.times)
		}
		g.trends, g.computed = make([][len(windows)]trend, len(g.index)), make([]bool, len(g.index))
	}
	return err
}

func (g *grid) read(ctx context.Context, at int64, now time.Time) (column, error) {
	c := column{at: at, read: now}
	v, err := g.query(ctx, time.Unix(at, 0))
	if err != nil {
		return c, err
	}
	for _, s := range v {
		k := key(s.Metric)
		i, ok := g.index[k]
		if !ok {
			i = len(g.index)
			g.index[k] = i
		}
		for len(c.values) <= i {
			c.values = append(c.values, float32(math.NaN()))
		}
		if old := c.values[i]; !(float64(old) < s.F) { // the smallest of several, and not NaN
			c.values[i] = float32(s.F)
		}
	}
	return c, nil
}

// prune forgets what has no value at any time of the grid any more, as where containers come
// and go with their own file systems.
func (g *grid) prune(live int) {
	if len(g.index) <= max(2*live, g.pruned)+1000 {
		return
	}
	seen := func(i int) bool {
		return slices.ContainsFunc(g.columns, func(c column) bool { return i < len(c.values) && c.values[i] == c.values[i] })
	}
	index, from := make(map[uint64]int), []int{} // where a thing was before
	for k, i := range g.index {
		if seen(i) {
			index[k] = len(from)
			from = append(from, i)
		}
	}
	for n := range g.columns {
		c := &g.columns[n]
		values := make([]float32, len(from))
		for i, old := range from {
			values[i] = float32(math.NaN())
			if old < len(c.values) {
				values[i] = c.values[old]
			}
		}
		c.values = values
	}
	g.index, g.pruned = index, len(index)
	g.trends, g.computed = make([][len(windows)]trend, len(index)), make([]bool, len(index))
}

// of is what was left of a thing at the times of the grid, and its trends; nil for a thing
// that was never there. space is used for the values.
func (g *grid) of(ls labels.Labels, space []float32, rates []float64) ([]float32, *[len(windows)]trend) {
	i, ok := g.index[key(ls)]
	if !ok || i >= len(g.trends) {
		return nil, &[len(windows)]trend{}
	}
	left := space[:0]
	for _, c := range g.columns {
		v := float32(math.NaN())
		if i < len(c.values) {
			v = c.values[i]
		}
		left = append(left, v)
	}
	if !g.computed[i] {
		for n, w := range windows {
			g.trends[i][n] = w.trend(g.times, g.spans[n], left, rates)
		}
		g.computed[i] = true
	}
	return left, &g.trends[i]
}

// key is what a thing is known by over time: the address of its exporter may change, where
// there is a machine.
func key(ls labels.Labels) uint64 {
	names := []string{"device", "fstype", "machine", "pool"}
	if ls.Get("machine") == "" {
		names = []string{"device", "fstype", "instance", "pool"}
	}
	h, _ := ls.HashForLabels(nil, names...)
	return h
}
