package engine

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/util/annotations"
)

// Storage returns own with the names, values and series that only the engine has.
// Samples are own's alone: the query engine asks for the others.
func (e *Engine) Storage(own storage.Storage) storage.Storage { return &united{own, e} }

type united struct {
	storage.Storage
	engine *Engine
}

// CostSamplingQueryable implements storage.CostSamplingQueryable.
func (u *united) CostSamplingQueryable() (storage.SampleAndChunkQueryable, bool) {
	if own, ok := u.Storage.(storage.CostSamplingQueryable); ok {
		return own.CostSamplingQueryable()
	}
	return nil, false
}

// Querier implements storage.Queryable.
func (u *united) Querier(mint, maxt int64) (storage.Querier, error) {
	own, err := u.Storage.Querier(mint, maxt)
	if err != nil {
		return nil, err
	}
	return &querier{own, u.engine, mint, maxt, mint >= u.engine.oldest()}, nil
}

type querier struct {
	storage.Querier
	engine     *Engine
	mint, maxt int64
	recent     bool // the local store has everything
}

// has reports whether the local store has everything that matchers select.
func (q *querier) has(ctx context.Context, matchers []*labels.Matcher) bool {
	return q.recent && !q.engine.demanded(ctx, q.mint, q.maxt, matchers)
}

// Select implements storage.Querier.
func (q *querier) Select(ctx context.Context, sorted bool, hints *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
	if hints == nil || hints.Func != "series" || q.has(ctx, matchers) { // upstream's word for a request of labels alone
		return q.Querier.Select(ctx, sorted, hints, matchers...)
	}
	var found []map[string]string
	scope := q.engine.scopeOf(matchers)
	notes := q.ask(ctx, http.MethodPost, "series", scope, hints.Limit, matchers, &found)
	all := make([]labels.Labels, 0, len(found))
	for _, f := range found {
		all = append(all, scope.own(f))
	}
	slices.SortFunc(all, labels.Compare)
	all = slices.CompactFunc(all, labels.Equal)
	return storage.NewMergeSeriesSet([]storage.SeriesSet{
		q.Querier.Select(ctx, true, hints, matchers...), &set{all: all, notes: notes},
	}, 0, storage.ChainedSeriesMerge)
}

// LabelValues implements storage.LabelQuerier.
func (q *querier) LabelValues(ctx context.Context, name string, hints *storage.LabelHints, matchers ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	own, notes, err := q.Querier.LabelValues(ctx, name, hints, matchers...)
	if err != nil || q.has(ctx, matchers) {
		return own, notes, err
	}
	scope := q.engine.scopeOf(matchers)
	if _, external := scope.strip[name]; external {
		return own, notes, nil
	}
	var found []string
	notes.Merge(q.ask(ctx, http.MethodGet, "label/"+url.PathEscape(name)+"/values", scope, limit(hints), matchers, &found))
	return union(own, found), notes, nil
}

// LabelNames implements storage.LabelQuerier.
func (q *querier) LabelNames(ctx context.Context, hints *storage.LabelHints, matchers ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	own, notes, err := q.Querier.LabelNames(ctx, hints, matchers...)
	if err != nil || q.has(ctx, matchers) {
		return own, notes, err
	}
	scope := q.engine.scopeOf(matchers)
	var found []string
	notes.Merge(q.ask(ctx, http.MethodPost, "labels", scope, limit(hints), matchers, &found))
	found = slices.DeleteFunc(found, func(name string) bool {
		_, external := scope.strip[name]
		return external
	})
	return union(own, found), notes, nil
}

func limit(h *storage.LabelHints) int {
	if h == nil {
		return 0
	}
	return h.Limit
}

func union(a, b []string) []string {
	all := slices.Concat(a, b)
	slices.Sort(all)
	return slices.Compact(all)
}

// ask asks the engine for metadata. It returns what is missing as warnings.
func (q *querier) ask(ctx context.Context, method, path string, s scope, limit int, matchers []*labels.Matcher, into any) annotations.Annotations {
	form := url.Values{
		"start": {seconds(max(q.mint, 0))},
		"end":   {seconds(min(q.maxt, q.engine.Now().UnixMilli()))},
	}
	if limit > 0 && limit < math.MaxInt32 {
		form.Set("limit", strconv.Itoa(limit))
	}
	if all := slices.Concat(matchers, s.add); len(all) > 0 {
		texts := make([]string, len(all))
		for n, m := range all {
			texts[n] = m.String()
		}
		form.Set("match[]", "{"+strings.Join(texts, ",")+"}")
	}
	var notes annotations.Annotations
	a, err := q.engine.client.do(ctx, method, path, form)
	if err == nil && json.Unmarshal(a.Data, into) != nil {
		err = errMalformed
	}
	if err != nil {
		notes.Add(errors.New(NotReached + err.Error()))
		return notes
	}
	for _, w := range a.Warnings {
		notes.Add(errors.New(Incomplete + w))
	}
	return notes
}

// set is a set of series without samples.
type set struct {
	all   []labels.Labels
	at    labels.Labels
	notes annotations.Annotations
}

func (s *set) Next() bool {
	if len(s.all) == 0 {
		return false
	}
	s.at, s.all = s.all[0], s.all[1:]
	return true
}
func (s *set) At() storage.Series                { return empty{s.at} }
func (s *set) Err() error                        { return nil }
func (s *set) Warnings() annotations.Annotations { return s.notes }

type empty struct{ labels labels.Labels }

func (e empty) Labels() labels.Labels { return e.labels }
func (e empty) Iterator(chunkenc.Iterator) chunkenc.Iterator {
	return chunkenc.NewNopIterator()
}
