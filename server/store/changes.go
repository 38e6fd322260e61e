package store

import (
	"math"
	"slices"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb"
)

// Watcher is who has to know when samples change that may have been read, as a cache of
// results has.
type Watcher interface {
	// Horizon is the time in milliseconds up to which it wants to know.
	Horizon() int64
	// Changed says that samples of a series, of any series if it has no labels, have
	// changed from the time from on, in milliseconds. What has changed can be read then,
	// and who changed it has not been told so yet.
	Changed(from int64, series labels.Labels)
}

// maxTouched bounds the series that one append remembers; of more it tells nothing but
// the oldest time.
const maxTouched = 1000

// touched are the series that one append adds samples to, behind what has been read.
type touched struct {
	watcher Watcher // nil for none
	series  []touchedSeries
	oldest  int64 // of all other samples
}

type touchedSeries struct {
	labels labels.Labels
	from   int64
}

func touches(w Watcher) touched { return touched{watcher: w, oldest: math.MaxInt64} }

// add notes that a sample was appended.
func (t *touched) add(ls labels.Labels, at int64) {
	switch last := len(t.series) - 1; {
	case t.watcher == nil:
	case at > t.watcher.Horizon() || len(t.series) == maxTouched || ls.IsEmpty():
		t.oldest = min(t.oldest, at)
	case last >= 0 && labels.Equal(t.series[last].labels, ls):
		t.series[last].from = min(t.series[last].from, at)
	default:
		t.series = append(t.series, touchedSeries{ls.Copy(), at})
	}
}

// tell has to be called once the append is over.
func (t *touched) tell() {
	if t.watcher == nil {
		return
	}
	for _, s := range t.series {
		t.watcher.Changed(s.from, s.labels)
	}
	if t.oldest <= t.watcher.Horizon() { // which may have moved since
		t.watcher.Changed(t.oldest, labels.EmptyLabels())
	}
}

// Watch makes w learn of changes. It has to be called before Run.
func (s *Store) Watch(w Watcher) { s.local.watcher = w }

// Version changes when samples come or go other than by Append and Delete: when blocks are
// deleted or found, and when the database is exchanged. It is false while no database is open,
// and in agent mode.
func (l *Local) Version() (version uint64, ok bool) {
	db := l.db.Load()
	if db == nil || db.tsdb == nil {
		return 0, false
	}
	return l.blocks.Version(db.tsdb, uint64(db.era)), true
}

// InBlocks reports whether a block has a part of mint to maxt, in milliseconds. Series
// are read in the order of their labels then, else in that in which they appeared.
func (l *Local) InBlocks(mint, maxt int64) bool {
	db := l.db.Load()
	return db != nil && db.tsdb != nil && slices.ContainsFunc(db.tsdb.Blocks(), func(b *tsdb.Block) bool {
		return b.OverlapsClosedInterval(mint, maxt)
	})
}
