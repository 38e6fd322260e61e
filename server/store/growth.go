package store

import (
	"math"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/tsdb"
)

// growthSpan is what blocks have to cover before their growth is known. The first ones
// are larger for their time than those that compaction makes of them.
const growthSpan = 24 * time.Hour

// Room is the space for blocks, in bytes.
type Room struct {
	Free   int64 `json:"freeBytes"`   // of the file system of the data directory
	Blocks int64 `json:"blocksBytes"` // now
	// Expected is the size of the blocks when the oldest reach the retention, at the growth
	// so far; 0 while that is not known.
	Expected int64 `json:"expectedBytes,omitempty"`
	// Growth is that of a day until then; 0 like Expected.
	Growth int64 `json:"growthBytes,omitempty"`
	// Size is a --storage.tsdb.retention.size that fits; 0 if everything fits.
	Size int64 `json:"retentionSizeBytes,omitempty"`
}

// Room is the space for blocks; nil if nothing is known of it, and in agent mode.
func (s *Store) Room() *Room {
	db := s.local.db.Load()
	free, known := s.free()
	if !known || db == nil || db.tsdb == nil {
		return nil
	}
	r := &Room{Free: free}
	blocks := db.tsdb.Blocks()
	for _, b := range blocks {
		r.Blocks += b.Size()
	}
	s.mu.Lock()
	retention := s.retention
	s.mu.Unlock()
	limit := time.Duration(retention.Time)
	if limit == 0 && retention.Size == 0 {
		limit = time.Duration(s.opts.TSDB.RetentionDuration) * time.Millisecond
	}
	if retention.Percentage == 0 {
		r.Expected = expected(r.Blocks, covered(blocks), limit, int64(retention.Size))
	}
	if span := covered(blocks); r.Expected > 0 {
		r.Growth = int64(float64(r.Blocks) / (span.Hours() / 24))
	}
	if r.Expected-r.Blocks > free {
		r.Size = (r.Blocks + free) / 5 * 4
	}
	return r
}

// covered is the time from the begin of the first block to the end of the last.
func covered(blocks []*tsdb.Block) time.Duration {
	if len(blocks) == 0 {
		return 0
	}
	first, last := int64(math.MaxInt64), int64(math.MinInt64)
	for _, b := range blocks {
		first, last = min(first, b.MinTime()), max(last, b.MaxTime())
	}
	return time.Duration(last-first) * time.Millisecond
}

// expected is the size of blocks of that size now, which cover span, at the retention
// of time or size; 0 for no limit. It is 0 where it is not known.
func expected(now int64, span, retention time.Duration, size int64) int64 {
	if span < growthSpan || retention == 0 && size == 0 {
		return 0
	}
	all := math.MaxFloat64
	if retention > 0 {
		all = float64(now) * max(1, float64(retention)/float64(span))
	}
	if size > 0 {
		all = min(all, float64(size))
	}
	return int64(all)
}

// registerRoom exports what the alert StorageRoomShort needs.
func (s *Store) registerRoom() {
	for name, g := range map[string]struct {
		help  string
		value func(*Room) int64
	}{
		"clanmon_storage_free_bytes":     {"Free space of the file system of the data directory.", func(r *Room) int64 { return r.Free }},
		"clanmon_storage_expected_bytes": {"Size of the blocks once the oldest reach the retention, at the growth so far; 0 while that is not known.", func(r *Room) int64 { return r.Expected }},
	} {
		s.opts.Registerer.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: g.help}, func() float64 {
			if r := s.Room(); r != nil {
				return float64(g.value(r))
			}
			return math.NaN()
		}))
	}
}
