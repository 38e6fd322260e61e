package backfill

import (
	"context"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/scrape"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

// watch finds gaps in the series "up" of targets. Not safe for concurrent use.
type watch struct {
	targets map[uint64]*watched // by the hash of their labels
	until   int64               // what was looked at, in milliseconds
}

// watched is what is known of one target.
type watched struct {
	labels   labels.Labels
	job      string
	interval int64 // milliseconds between two scrapes
	last     int64 // time of the last sample of up
	good     int64 // time of the last successful scrape; 0 if there was none
	marks    []int64
	gaps     []*gap // found and not yet returned
}

// overlap is how long a scrape may take until its samples can be read.
const overlap = 2 * time.Minute

// look returns the gaps that ended since it was last called. For a target that it has not
// seen before, those are all gaps within MaxAge.
func (w *watch) look(ctx context.Context, o Options, now time.Time) ([]*gap, error) {
	oldest, latest := now.Add(-o.MaxAge).UnixMilli(), now.UnixMilli()
	since := max(oldest, w.until-overlap.Milliseconds())
	targets := make(map[uint64]*watched)
	for job, all := range o.Targets() {
		cfg, err := o.Job(job)
		if err != nil || !fillable(cfg) {
			continue
		}
		for _, t := range all {
			ls := t.Labels(labels.NewBuilder(labels.EmptyLabels()))
			x := w.targets[ls.Hash()]
			if x == nil && t.Health() == scrape.HealthGood && asksMetrics(t) {
				x = &watched{labels: ls, job: job, interval: interval(t, time.Duration(cfg.ScrapeInterval))}
				if err := x.readAll(ctx, o.Store, oldest, latest); err != nil {
					return nil, err
				}
			}
			if x != nil {
				targets[ls.Hash()] = x
			}
		}
	}
	w.targets = targets

	q, err := o.Store.Querier(since, latest)
	if err != nil {
		return nil, err
	}
	defer q.Close()
	err = each(ctx, q, since, latest, []*labels.Matcher{up}, func(ls labels.Labels, t int64, v float64) bool {
		if x := targets[ls.Hash()]; x != nil {
			x.see(t, v)
		}
		return true
	})
	if err != nil {
		return nil, err
	}
	w.until = latest
	var found []*gap
	for _, x := range targets {
		found = append(found, x.gaps...)
		x.gaps = nil
	}
	return found, nil
}

// interval is that of a target's scrapes, in milliseconds.
func interval(t *scrape.Target, ofJob time.Duration) int64 {
	if d, err := model.ParseDuration(t.GetValue(model.ScrapeIntervalLabel)); err == nil && d > 0 {
		return time.Duration(d).Milliseconds()
	}
	return ofJob.Milliseconds()
}

var up = labels.MustNewMatcher(labels.MatchEqual, model.MetricNameLabel, "up")

// readAll reads what is stored of a target's scrapes. A target that was scraped before
// oldest has a gap that begins there at the latest.
func (x *watched) readAll(ctx context.Context, store storage.Queryable, oldest, latest int64) error {
	matchers := []*labels.Matcher{up}
	x.labels.Range(func(l labels.Label) {
		matchers = append(matchers, labels.MustNewMatcher(labels.MatchEqual, l.Name, l.Value))
	})
	read := func(from, to int64, use func(t int64, v float64) bool) error {
		q, err := store.Querier(from, to)
		if err != nil {
			return err
		}
		defer q.Close()
		return each(ctx, q, from, to, matchers, func(ls labels.Labels, t int64, v float64) bool {
			return !labels.Equal(ls, x.labels) || use(t, v)
		})
	}
	if err := read(0, oldest-1, func(int64, float64) bool {
		x.good = oldest
		return false
	}); err != nil {
		return err
	}
	return read(oldest, latest, func(t int64, v float64) bool {
		x.see(t, v)
		return true
	})
}

// see takes the next sample of up.
func (x *watched) see(t int64, v float64) {
	if t <= x.last {
		return // seen before
	}
	x.last = t
	switch stale := value.IsStaleNaN(v); {
	case v == 1:
		if x.good != 0 && 2*(t-x.good) > 3*x.interval {
			x.gaps = append(x.gaps, &gap{target: x.labels, job: x.job, from: x.good, to: t, marks: x.marks})
		}
		x.good, x.marks = t, nil
	case stale || len(x.marks) == 0:
		// All series ended here, because the target did not respond or was gone.
		x.marks = append(x.marks, t)
	}
}

// each calls use with the samples of all series that match, without their name, until it
// returns false.
func each(ctx context.Context, q storage.Querier, from, to int64, ms []*labels.Matcher, use func(ls labels.Labels, t int64, v float64) bool) error {
	set := q.Select(ctx, false, &storage.SelectHints{Start: from, End: to}, ms...)
	var it chunkenc.Iterator
	for set.Next() {
		s := set.At()
		ls := s.Labels().MatchLabels(false, model.MetricNameLabel)
		it = s.Iterator(it)
		for kind := it.Next(); kind != chunkenc.ValNone; kind = it.Next() {
			if kind != chunkenc.ValFloat {
				continue
			}
			if t, v := it.At(); t >= from && t <= to && !use(ls, t, v) {
				return nil
			}
		}
		if err := it.Err(); err != nil {
			return err
		}
	}
	return set.Err()
}
