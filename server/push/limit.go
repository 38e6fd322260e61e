package push

import (
	"context"
	"math"
	"regexp"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"github.com/clanmon/clanmon/discovery/contract"
)

// countBack is how far back series count against the limit.
const countBack = time.Hour

// enough series of a job say when the newest sample came.
const enough = 20

// recountAfter is when a machine that had too many series is counted again.
const recountAfter = time.Minute

// budget is how many series a machine may send until they are counted again. Counting is not
// needed for each batch: it can add no more series than it has.
type budget struct {
	counted int
	at      time.Time
	since   int // series of batches since then
}

// room reports whether one more series of b's machine is within the limit, and how many it has.
func (p *Push) room(b *batch) (n int, ok bool) {
	limit := int(p.opts.MaxSeries)
	if limit == 0 {
		return 0, true
	}
	if b.series > limit {
		return b.series, false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.series[b.machine]
	if s == nil {
		s = &budget{}
		p.series[b.machine] = s
	}
	s.since++
	if s.at.IsZero() || s.counted+s.since > 2*limit || s.counted > limit && b.now.Sub(s.at) > recountAfter {
		s.counted, s.at, s.since = p.stored(b.machine, b.now, limit), b.now, 0
	}
	return s.counted, s.counted <= limit
}

// stored counts the series of a machine, up to one more than limit. What rules recorded of it, its
// alerts and checks have no job or the instance of something else.
func (p *Push) stored(machine string, now time.Time, limit int) int {
	from, to := now.Add(-countBack).UnixMilli(), now.Add(countBack).UnixMilli() // a clock may be ahead
	q, err := p.opts.Store.Querier(from, to)
	if err != nil {
		return 0 // a store that fails says so itself
	}
	defer q.Close()
	n := 0
	set := q.Select(context.Background(), false, &storage.SelectHints{Start: from, End: to, Func: "series"}, labels.MustNewMatcher(labels.MatchEqual, contract.MachineLabel, machine),
		labels.MustNewMatcher(labels.MatchNotEqual, model.JobLabel, ""),
		labels.MustNewMatcher(labels.MatchRegexp, model.InstanceLabel, regexp.QuoteMeta(machine)+"(:[0-9]+)?"))
	for n <= limit && set.Next() {
		n++
	}
	return n
}

// storedAfter is the time of the newest sample of a job of a machine after time t, 0 if there is
// none. Samples of scrapes have another label instance. Staleness markers do not count, nor what
// this server writes: both come after the last sample of a scrape that fails. Nor does what rules
// of users recorded of several instances, under any name.
func (p *Push) storedAfter(of Target, t int64) (newest int64) {
	q, err := p.opts.Store.Querier(t+1, math.MaxInt64)
	if err != nil {
		return 0
	}
	defer q.Close()
	set := q.Select(context.Background(), false, nil, labels.MustNewMatcher(labels.MatchEqual, contract.MachineLabel, of.Machine),
		labels.MustNewMatcher(labels.MatchEqual, model.JobLabel, of.Job),
		labels.MustNewMatcher(labels.MatchNotEqual, model.InstanceLabel, ""),
		labels.MustNewMatcher(labels.MatchNotRegexp, model.MetricNameLabel, "up|scrape_.+|ALERTS.*|.*:.*"))
	var it chunkenc.Iterator
	for n := 0; n < enough && set.Next(); {
		last := int64(0)
		it = set.At().Iterator(it)
		for it.Next() == chunkenc.ValFloat {
			if at, v := it.At(); !value.IsStaleNaN(v) {
				last = at
			}
		}
		if newest = max(newest, last); last > 0 {
			n++
		}
	}
	return newest
}
