package server

import (
	"context"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

// firstScrapes bounds how long rules wait for the first scrapes.
const firstScrapes = time.Minute

// runRules evaluates rules once the targets that were scraped before a restart have been
// scraped again, or should have been. Until then the newest samples are from before: an alert
// that has ended since would fire once more, and people would be told of it again. A reload
// ends the wait: upstream's manager replaces a rule group only after that group has run.
func (s *Server) runRules(ctx context.Context) error {
	began := time.Now()
	for !s.reloaded.Load() && time.Since(began) < s.longestInterval() && s.awaited(ctx, began) && ctx.Err() == nil {
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
		}
	}
	return s.ruler.Run(ctx)
}

// longestInterval is that of all jobs, and some seconds for discovery and the scrape itself.
func (s *Server) longestInterval() time.Duration {
	var longest time.Duration
	for job := range s.targets() {
		if cfg, err := s.ingest.Scrapes().ScrapePoolConfig(job); err == nil {
			longest = max(longest, time.Duration(cfg.ScrapeInterval))
		}
	}
	return min(longest+5*time.Second, firstScrapes)
}

// awaited reports whether a target was up or down shortly before a time, and not since.
func (s *Server) awaited(ctx context.Context, since time.Time) bool {
	from, now := since.Add(-s.lookback()).UnixMilli(), time.Now().UnixMilli()
	q, err := s.store.Local().Querier(from, now)
	if err != nil {
		return false
	}
	defer q.Close()
	set := q.Select(ctx, false, nil, labels.MustNewMatcher(labels.MatchEqual, model.MetricNameLabel, "up"))
	var it chunkenc.Iterator
	for set.Next() {
		last, ended := int64(0), false
		it = set.At().Iterator(it)
		for it.Next() == chunkenc.ValFloat {
			t, v := it.At()
			last, ended = t, value.IsStaleNaN(v)
		}
		if last >= from && last < since.UnixMilli() && !ended {
			return true
		}
	}
	return false
}

// lookback is how old a sample may be for a rule.
func (s *Server) lookback() time.Duration {
	if d := s.opts.Query.Lookback; d > 0 {
		return d
	}
	return 5 * time.Minute
}
