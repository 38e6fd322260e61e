package resultcache

import (
	"math"
	"slices"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/promql"
)

// absent stands where a series has no point. No result has a point with these bits: they
// are those of a stale marker, which ends a series and is never read.
var absent = math.Float64frombits(value.StaleNaN)

func isAbsent(v float64) bool { return math.Float64bits(v) == value.StaleNaN }

// entry is the result of one expression on a grid of steps, as far as it is kept. The
// cache's lock guards it.
type entry struct {
	shape    *shape
	step     int64
	start    int64 // milliseconds
	steps    int   // how many are right; rows may have more, which are forgotten
	rows     []row // in the order of their labels
	inBlocks bool  // it was read in the order of labels, see Source
	notes    map[string]struct{}
	noisy    bool // its annotations differ each time, so that parts are of no use

	wanted int // steps of the longest range that somebody asked for
	size   int64
	used   uint64
}

// row is one series.
type row struct {
	metric labels.Labels
	from   int // the step of the first value
	values []float64
}

// end is the time of the last step.
func (e *entry) end() int64 { return e.at(e.steps - 1) }

func (e *entry) at(i int) int64    { return e.start + int64(i)*e.step }
func (e *entry) index(t int64) int { return int((t - e.start) / e.step) }

// forget keeps the steps before t, and reports whether there were others.
func (e *entry) forget(t int64) bool {
	if t > e.end() {
		return false
	}
	e.steps = 0
	if t > e.start {
		e.steps = int((t-e.start-1)/e.step) + 1
	}
	return true
}

// bytes estimates the memory that e takes.
func (e *entry) bytes() int64 {
	n := int64(512)
	for _, r := range e.rows {
		n += 64 + int64(r.metric.ByteSize()) + 8*int64(cap(r.values))
	}
	for text := range e.notes {
		n += 64 + int64(len(text))
	}
	return n
}

// extend replaces the steps from the time from on by those of result, up to the time
// until. It is false if result cannot be kept. The steps before from have to be right.
func (e *entry) extend(result promql.Matrix, from, until int64) bool {
	keep := e.index(from)
	old := e.rows
	e.rows = make([]row, 0, max(len(old), len(result)))
	for len(old) > 0 || len(result) > 0 {
		order := 0
		switch {
		case len(old) == 0:
			order = 1
		case len(result) == 0:
			order = -1
		default:
			order = labels.Compare(old[0].metric, result[0].Metric)
		}
		var r row
		if order <= 0 {
			r, old = old[0], old[1:]
			r.cut(keep)
		} else {
			r.metric = result[0].Metric.Copy()
		}
		if order >= 0 {
			if !r.add(e, result[0], from, until) {
				return false
			}
			result = result[1:]
		}
		if len(r.values) > 0 {
			e.rows = append(e.rows, r)
		}
	}
	e.steps = e.index(until) + 1
	return true
}

// cut keeps the first steps of the grid.
func (r *row) cut(steps int) {
	r.values = r.values[:max(0, min(len(r.values), steps-r.from))]
}

// add appends the points of s; it is false if there are histograms.
func (r *row) add(e *entry, s promql.Series, from, until int64) bool {
	if len(s.Histograms) > 0 && s.Histograms[0].T <= until {
		return false
	}
	points := s.Floats
	for len(points) > 0 && points[len(points)-1].T > until {
		points = points[:len(points)-1]
	}
	for len(points) > 0 && points[0].T < from {
		points = points[1:]
	}
	if len(points) == 0 {
		return true
	}
	if len(r.values) == 0 {
		r.from = e.index(points[0].T)
	}
	r.values = slices.Grow(r.values, e.index(points[len(points)-1].T)+1-r.from-len(r.values))
	for _, p := range points {
		for i := e.index(p.T); len(r.values) < i-r.from; {
			r.values = append(r.values, absent)
		}
		r.values = append(r.values, p.F)
	}
	return true
}

// trim forgets the oldest steps beyond those that anybody asks for, now and then.
func (e *entry) trim() {
	drop := e.steps - e.wanted
	if drop < e.wanted/8+16 {
		return
	}
	e.start = e.at(drop)
	e.steps -= drop
	rows := e.rows[:0]
	for _, r := range e.rows {
		if r.from -= drop; r.from < 0 {
			gone := min(-r.from, len(r.values))
			r.values = r.values[:copy(r.values, r.values[gone:])]
			r.from = 0
			for len(r.values) > 0 && isAbsent(r.values[0]) {
				r.values, r.from = r.values[1:], r.from+1
			}
		}
		if len(r.values) > 0 {
			rows = append(rows, r)
		}
	}
	clear(e.rows[len(rows):])
	e.rows = rows
}

// points are the values of the steps from the time first to last, appended to buf.
func (e *entry) points(r row, first, last int64, buf []promql.FPoint) []promql.FPoint {
	i, to := max(0, e.index(first)-r.from), min(len(r.values), e.index(last)+1-r.from)
	for ; i < to; i++ {
		if v := r.values[i]; !isAbsent(v) {
			buf = append(buf, promql.FPoint{T: e.at(r.from + i), F: v})
		}
	}
	return buf
}

// result copies the steps from the time first to last to series, in order of their
// labels, each with room for as many points as spare. All points are in one slice.
func (e *entry) result(first, last int64, spare int) (promql.Matrix, []promql.FPoint) {
	total := 0
	for _, r := range e.rows {
		total += max(0, min(len(r.values), e.index(last)+1-r.from)-max(0, e.index(first)-r.from)) + spare
	}
	room := getPoints(total)
	m := make(promql.Matrix, 0, len(e.rows))
	for _, r := range e.rows {
		points := e.points(r, first, last, room[len(room):])
		if len(points) == 0 {
			continue
		}
		end := len(room) + len(points) + spare
		m = append(m, promql.Series{Metric: r.metric, Floats: points[: len(points) : len(points)+spare]})
		room = room[:end]
	}
	return m, room
}
