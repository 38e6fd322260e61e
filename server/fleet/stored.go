package fleet

import (
	"context"
	"regexp"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

// What the store is asked directly, because PromQL does not say when a sample was
// taken without reading it twice, nor which series there were without reading all
// their samples.

// sample is the newest sample of a series in a window.
type sample struct {
	labels labels.Labels
	first  time.Time // when the oldest in the window was taken
	t      time.Time
	v      float64
	stale  bool // the series ended there
	// lastT and lastV are those of the newest that does not mark an end.
	lastT time.Time
	lastV float64
}

func eq(name, value string) *labels.Matcher {
	return labels.MustNewMatcher(labels.MatchEqual, name, value)
}

func among(name string, values ...string) *labels.Matcher {
	return labels.MustNewMatcher(labels.MatchRegexp, name, strings.Join(values, "|"))
}

// amongExactly matches one of these values, whatever signs are in them.
func amongExactly(name string, values []string) *labels.Matcher {
	escaped := make([]string, len(values))
	for i, v := range values {
		escaped[i] = regexp.QuoteMeta(v)
	}
	return among(name, escaped...)
}

// read calls visit with every series that matches; with index, only with labels,
// of series that may have samples in the window.
func (f *Fleet) read(ctx context.Context, from, to time.Time, index bool, visit func(labels.Labels, chunkenc.Iterator), matchers ...*labels.Matcher) error {
	hints := &storage.SelectHints{Start: from.UnixMilli(), End: to.UnixMilli()}
	if index {
		hints.Func = "series"
	}
	return f.selectSeries(ctx, hints, func(ls labels.Labels, it chunkenc.Iterator) error {
		visit(ls, it)
		return nil
	}, matchers)
}

// readUntil is read until visit returns an error.
func (f *Fleet) readUntil(ctx context.Context, from, to time.Time, visit func(labels.Labels, chunkenc.Iterator) error, matchers ...*labels.Matcher) error {
	return f.selectSeries(ctx, &storage.SelectHints{Start: from.UnixMilli(), End: to.UnixMilli()}, visit, matchers)
}

func (f *Fleet) selectSeries(ctx context.Context, hints *storage.SelectHints, visit func(labels.Labels, chunkenc.Iterator) error, matchers []*labels.Matcher) error {
	q, err := f.opts.Store.Querier(hints.Start, hints.End)
	if err != nil {
		return err
	}
	defer q.Close()
	set := q.Select(ctx, false, hints, matchers...)
	var it chunkenc.Iterator
	for set.Next() {
		series := set.At()
		if hints.Func != "series" {
			it = series.Iterator(it)
		}
		if err := visit(series.Labels(), it); err != nil {
			return err
		}
	}
	return set.Err()
}

// last reads the last sample of a series, if there is one.
func last(ls labels.Labels, it chunkenc.Iterator) (sample, bool) {
	s := sample{labels: ls}
	var first, last, alive int64
	for kind := it.Next(); kind != chunkenc.ValNone; kind = it.Next() {
		if kind == chunkenc.ValFloat {
			last, s.v = it.At()
		} else {
			last, s.v = it.AtT(), 1 // a histogram: it is there
		}
		if first == 0 {
			first = last
		}
		if !value.IsStaleNaN(s.v) {
			alive, s.lastV = last, s.v
		}
	}
	s.first, s.t, s.stale, s.lastT = time.UnixMilli(first), time.UnixMilli(last), value.IsStaleNaN(s.v), time.UnixMilli(alive)
	return s, last != 0
}

// newest is the last sample of each series that matches and has one.
func (f *Fleet) newest(ctx context.Context, from, to time.Time, matchers ...*labels.Matcher) ([]sample, error) {
	var all []sample
	err := f.read(ctx, from, to, false, func(ls labels.Labels, it chunkenc.Iterator) {
		if s, ok := last(ls, it); ok {
			all = append(all, s)
		}
	}, matchers...)
	return all, err
}

// downSince looks through up for when machines went down. Of each target it wants
// the first sample that is 0 after the last that is 1; a machine went down with
// the last of its targets. It also says when something was last heard of it.
func (f *Fleet) downSince(ctx context.Context, from, to time.Time, machineOf func(labels.Labels) string, matchers ...*labels.Matcher) (since, seen map[string]time.Time, err error) {
	since, seen = make(map[string]time.Time), make(map[string]time.Time)
	later := func(m map[string]time.Time, key string, ms int64) {
		if t := time.UnixMilli(ms); ms > 0 && t.After(m[key]) {
			m[key] = t
		}
	}
	err = f.read(ctx, from, to, false, func(ls labels.Labels, it chunkenc.Iterator) {
		name := machineOf(ls)
		if name == "" {
			return
		}
		var up, down int64
		for kind := it.Next(); kind != chunkenc.ValNone; kind = it.Next() {
			if kind != chunkenc.ValFloat {
				continue
			}
			switch t, v := it.At(); {
			case value.IsStaleNaN(v):
			case v != 0:
				up, down = t, 0
			case down == 0:
				down = t
			}
		}
		later(seen, name, up)
		if up > 0 {
			later(since, name, down)
		} else if down > 0 && since[name].IsZero() {
			since[name] = time.UnixMilli(down)
		}
	}, append(matchers, eq(model.MetricNameLabel, "up"))...)
	return since, seen, err
}
