package resultcache

import (
	"slices"
	"sync"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/prometheus/tsdb"
)

// Blocks tells when the blocks of a database have other samples than before. A block that the
// head was written to, or that replaces those it was compacted from, has not: its samples were
// there already. It is safe for concurrent use.
type Blocks struct {
	mu      sync.Mutex
	version uint64
	era     uint64
	head    int64
	blocks  []tsdb.BlockMeta
	written map[ulid.ULID]struct{} // from the head, and not seen yet
	deleted bool
}

// Written says that a block was written that has nothing but samples of the head. It has to be
// called before the block can be read.
func (b *Blocks) Written(id ulid.ULID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.written == nil {
		b.written = make(map[ulid.ULID]struct{})
	}
	b.written[id] = struct{}{}
}

// Deleted says that samples are deleted. It has to be called before they are.
func (b *Blocks) Deleted() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.deleted = true
}

// Version is another one when samples have come or gone with a block of db. era says which
// database it is.
func (b *Blocks) Version(db *tsdb.DB, era uint64) uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	open := db.Blocks()
	b.deleted = b.deleted || hasTombstones(db) // also those of before a restart
	head := int64(0)
	if b.deleted { // samples come back when the head is truncated and all of a block is deleted
		head = db.Head().MinTime()
	}
	same := slices.EqualFunc(open, b.blocks, func(o *tsdb.Block, m tsdb.BlockMeta) bool { return o.Meta().ULID == m.ULID })
	if same && era == b.era && head == b.head {
		return b.version
	}
	now := make([]tsdb.BlockMeta, len(open))
	for i, o := range open {
		now[i] = o.Meta()
	}
	if era != b.era || head != b.head || !b.moved(now) {
		b.version++
	}
	b.era, b.head, b.blocks = era, head, now
	return b.version
}

func hasTombstones(db *tsdb.DB) bool {
	t, err := db.Head().Tombstones()
	return err != nil || t.Total() > 0
}

// moved reports whether the samples of all blocks, and of the head, are in now as before. Blocks
// of samples that came out of order are left out: which of two samples of one time is read may
// depend on the blocks that they are in.
func (b *Blocks) moved(now []tsdb.BlockMeta) bool {
	before, after := sources(b.blocks), sources(now)
	for _, m := range now {
		if !within(m, b.blocks, func(id ulid.ULID) bool {
			_, written := b.written[id]
			return written || before[id]
		}) {
			return false
		}
	}
	for _, m := range b.blocks {
		if !within(m, now, func(id ulid.ULID) bool { return after[id] }) {
			return false
		}
	}
	for id := range after {
		delete(b.written, id)
	}
	return true
}

// within reports whether a block is among all, or was compacted from blocks that are known.
func within(m tsdb.BlockMeta, all []tsdb.BlockMeta, known func(ulid.ULID) bool) bool {
	if slices.ContainsFunc(all, func(o tsdb.BlockMeta) bool { return o.ULID == m.ULID }) {
		return true
	}
	from := m.Compaction.Sources
	return !m.Compaction.FromOutOfOrder() && len(from) > 0 && !slices.ContainsFunc(from, func(id ulid.ULID) bool { return !known(id) })
}

func sources(all []tsdb.BlockMeta) map[ulid.ULID]bool {
	of := make(map[ulid.ULID]bool)
	for _, m := range all {
		for _, id := range m.Compaction.Sources {
			of[id] = true
		}
	}
	return of
}
