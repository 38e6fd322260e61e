package store

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/prometheus/tsdb"
)

// clockSlack is how far a block may end after now. Blocks are cut from the past,
// so that one from the future was written while a clock was wrong.
const clockSlack = time.Minute

// futureBlock is a block that ends after now.
type futureBlock struct {
	id   string
	ends time.Time
	seen time.Time
}

func (b *futureBlock) String() string {
	return fmt.Sprintf("block %s is from the future and refuses every sample until %s; stop the server, move that folder out of the data directory, and start it again",
		b.id, b.ends.UTC().Format("2006-01-02 15:04 UTC"))
}

// future watches for blocks from the future. It is safe for concurrent use.
type future struct {
	mu    sync.Mutex
	block *futureBlock
	seen  []string // the blocks at the last look of retention
}

// first is the block that refuses samples for longest, or nil.
func (f *future) first() *futureBlock {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.block == nil || f.block.ends.Before(time.Now()) {
		return nil
	}
	b := *f.block
	return &b
}

// look finds blocks from the future, and reports whether there are any.
func (f *future) look(blocks []*tsdb.Block) bool {
	var last *tsdb.Block
	for _, b := range blocks {
		if last == nil || b.Meta().MaxTime > last.Meta().MaxTime {
			last = b
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if last == nil || time.UnixMilli(last.Meta().MaxTime).Before(time.Now().Add(clockSlack)) {
		f.block = nil
		return false
	}
	if id := last.Meta().ULID.String(); f.block == nil || f.block.id != id {
		f.block = &futureBlock{id: id, ends: time.UnixMilli(last.Meta().MaxTime), seen: time.Now()}
	}
	return true
}

// blocksToDelete is upstream's retention, which counts from the newest block. With
// one from the future all others would be too old, so nothing is deleted then but
// what a compaction replaced. It is not counted from the clock, which may be wrong
// too: a machine that starts in the wrong year must not delete its history.
func (s *Store) blocksToDelete(blocks []*tsdb.Block) map[ulid.ULID]struct{} {
	db := s.local.db.Load()
	open := db != nil && db.tsdb != nil
	deletable := make(map[ulid.ULID]struct{})
	if !s.future.look(blocks) && open {
		deletable = tsdb.DefaultBlocksToDelete(db.tsdb)(blocks)
	} else {
		for _, b := range blocks {
			if b.Meta().Compaction.Deletable {
				deletable[b.Meta().ULID] = struct{}{}
			}
		}
	}
	// A compaction or a deletion is about to make room: then nothing is held up.
	if changed := s.future.changed(blocks); open && !changed && len(deletable) == 0 {
		s.holdChunks(db.tsdb)
	}
	return deletable
}

// changed reports whether there are other blocks than at the last call.
func (f *future) changed(blocks []*tsdb.Block) bool {
	ids := make([]string, 0, len(blocks))
	for _, b := range blocks {
		ids = append(ids, b.Meta().ULID.String())
	}
	slices.Sort(ids)
	f.mu.Lock()
	defer f.mu.Unlock()
	same := slices.Equal(ids, f.seen)
	f.seen = ids
	return !same
}
