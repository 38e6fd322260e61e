package store

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/tsdb/index"
	"github.com/prometheus/prometheus/util/annotations"
)

// Upstream fails a query if one chunk in its range cannot be read, for as long as
// the block exists. The queriers here leave out what cannot be read and add a
// warning. Chunks are checked when a series is selected, because that is when a
// query collects its warnings; upstream reads them later.

// blockQuerier is a tsdb.BlockQuerierFunc.
func (s *Store) blockQuerier(b tsdb.BlockReader, mint, maxt int64) (storage.Querier, error) {
	block, ok := b.(*tsdb.Block)
	if !ok { // the head: its chunks are checked when it is opened
		return tsdb.NewBlockQuerier(b, mint, maxt)
	}
	r := &checkedBlock{Block: block, note: s.noteBlock, mint: mint, maxt: maxt}
	q, err := tsdb.NewBlockQuerier(r, mint, maxt)
	if err != nil {
		return nil, err
	}
	return &checkedQuerier{Querier: q, block: r}, nil
}

// blockChunkQuerier is a tsdb.BlockChunkQuerierFunc.
func (s *Store) blockChunkQuerier(b tsdb.BlockReader, mint, maxt int64) (storage.ChunkQuerier, error) {
	block, ok := b.(*tsdb.Block)
	if !ok {
		return tsdb.NewBlockChunkQuerier(b, mint, maxt)
	}
	r := &checkedBlock{Block: block, note: s.noteBlock, mint: mint, maxt: maxt}
	q, err := tsdb.NewBlockChunkQuerier(r, mint, maxt)
	if err != nil {
		return nil, err
	}
	return &checkedChunkQuerier{ChunkQuerier: q, block: r}, nil
}

// noteBlock lists a block as damaged, once.
func (s *Store) noteBlock(b *tsdb.Block, err error) {
	meta := b.Meta()
	s.damaged.noteOnce(Damage{
		What: "parts of block " + meta.ULID.String(), Block: meta.ULID.String(), Err: err.Error(),
		From: time.UnixMilli(meta.MinTime).UTC(), To: time.UnixMilli(meta.MaxTime).UTC(),
		Hint: restoreHint,
	})
}

// recheckBlocks forgets damage of blocks that somebody has repaired. It ends with ctx.
func (s *Store) recheckBlocks(ctx context.Context, blocks []*tsdb.Block) {
	damaged := s.damaged.blocks()
	for _, b := range blocks {
		id := b.Meta().ULID.String()
		if damaged[id] && checkBlock(ctx, b) == nil {
			s.opts.Logger.Info("A block that was damaged can be read again", "block", id)
			s.damaged.repaired(id)
		}
	}
}

// checkedBlock reads a block for one query.
type checkedBlock struct {
	*tsdb.Block
	note       func(*tsdb.Block, error)
	mint, maxt int64
	lax        atomic.Bool // chunks are not going to be read
	damaged    atomic.Bool // something was left out
}

func (b *checkedBlock) leaveOut(err error) {
	if b.damaged.CompareAndSwap(false, true) {
		b.note(b.Block, err)
	}
}

// warnings are those of the query so far.
func (b *checkedBlock) warnings() annotations.Annotations {
	if !b.damaged.Load() {
		return nil
	}
	meta := b.Meta()
	const minute = "2006-01-02 15:04"
	return annotations.New().Add(fmt.Errorf("block %s is damaged: samples from %s to %s UTC may be missing", meta.ULID,
		time.UnixMilli(meta.MinTime).UTC().Format(minute), time.UnixMilli(meta.MaxTime).UTC().Format(minute)))
}

// Index implements tsdb.BlockReader.
func (b *checkedBlock) Index() (tsdb.IndexReader, error) {
	index, err := b.Block.Index()
	if err != nil {
		return nil, err
	}
	chunks, err := b.Chunks()
	if err != nil {
		return nil, errors.Join(err, index.Close())
	}
	return &checkedIndex{IndexReader: index, block: b, chunks: chunks}, nil
}

// Blocks are those of the database, for who reads less of them than a query would. They can be
// read until leave is called. Series and chunks that are damaged are not found.
func (s *Store) Blocks() (blocks []tsdb.BlockReader, leave func(), err error) {
	db, leave, err := s.local.enterTSDB()
	if err != nil {
		return nil, nil, err
	}
	for _, b := range db.Blocks() {
		r := &checkedBlock{Block: b, note: s.noteBlock}
		r.lax.Store(true)
		blocks = append(blocks, looseBlock{r})
	}
	return blocks, leave, nil
}

// looseBlock checks chunks when they are read.
type looseBlock struct{ *checkedBlock }

// Chunks implements tsdb.BlockReader.
func (b looseBlock) Chunks() (tsdb.ChunkReader, error) {
	r, err := b.Block.Chunks()
	return looseChunks{r, b.checkedBlock}, err
}

type looseChunks struct {
	tsdb.ChunkReader
	block *checkedBlock
}

// ChunkOrIterable implements tsdb.ChunkReader.
func (r looseChunks) ChunkOrIterable(c chunks.Meta) (chunk chunkenc.Chunk, it chunkenc.Iterable, err error) {
	err = caught(func() (err error) {
		chunk, it, err = r.ChunkReader.ChunkOrIterable(c)
		return err
	})
	if err != nil {
		r.block.leaveOut(err)
		return nil, nil, storage.ErrNotFound
	}
	return chunk, it, nil
}

// checkedIndex leaves out series and chunks that cannot be read.
type checkedIndex struct {
	tsdb.IndexReader
	block  *checkedBlock
	chunks tsdb.ChunkReader
}

// Close implements tsdb.IndexReader.
func (r *checkedIndex) Close() error { return errors.Join(r.IndexReader.Close(), r.chunks.Close()) }

// Series implements tsdb.IndexReader. A series that cannot be read is not found,
// which upstream passes over.
func (r *checkedIndex) Series(ref storage.SeriesRef, builder *labels.ScratchBuilder, chks *[]chunks.Meta) error {
	err := caught(func() error { return r.IndexReader.Series(ref, builder, chks) })
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		r.block.leaveOut(err)
		return storage.ErrNotFound
	}
	if err != nil || chks == nil || r.block.lax.Load() {
		return err
	}
	*chks = slices.DeleteFunc(*chks, func(c chunks.Meta) bool {
		if !c.OverlapsClosedInterval(r.block.mint, r.block.maxt) {
			return false
		}
		err := readChunk(r.chunks, c)
		if err != nil {
			r.block.leaveOut(err)
		}
		return err != nil
	})
	return nil
}

func readChunk(r tsdb.ChunkReader, c chunks.Meta) error {
	return caught(func() error {
		_, _, err := r.ChunkOrIterable(c)
		return err
	})
}

// values is the answer of a look-up: without what cannot be read, but with the
// error if the query was cancelled.
func values[T any](ctx context.Context, r *checkedIndex, read func() (T, error)) (all T, _ error) {
	err := caught(func() (err error) {
		all, err = read()
		return err
	})
	if err != nil && ctx.Err() == nil {
		r.block.leaveOut(err)
		var none T
		return none, nil
	}
	return all, err
}

// SortedLabelValues implements tsdb.IndexReader.
func (r *checkedIndex) SortedLabelValues(ctx context.Context, name string, hints *storage.LabelHints, ms ...*labels.Matcher) ([]string, error) {
	return values(ctx, r, func() ([]string, error) { return r.IndexReader.SortedLabelValues(ctx, name, hints, ms...) })
}

// LabelValues implements tsdb.IndexReader.
func (r *checkedIndex) LabelValues(ctx context.Context, name string, hints *storage.LabelHints, ms ...*labels.Matcher) ([]string, error) {
	return values(ctx, r, func() ([]string, error) { return r.IndexReader.LabelValues(ctx, name, hints, ms...) })
}

// LabelNames implements tsdb.IndexReader.
func (r *checkedIndex) LabelNames(ctx context.Context, ms ...*labels.Matcher) ([]string, error) {
	return values(ctx, r, func() ([]string, error) { return r.IndexReader.LabelNames(ctx, ms...) })
}

// LabelNamesFor implements tsdb.IndexReader.
func (r *checkedIndex) LabelNamesFor(ctx context.Context, p index.Postings) ([]string, error) {
	return values(ctx, r, func() ([]string, error) { return r.IndexReader.LabelNamesFor(ctx, p) })
}

// Postings implements tsdb.IndexReader.
func (r *checkedIndex) Postings(ctx context.Context, name string, vs ...string) (index.Postings, error) {
	p, err := values(ctx, r, func() (index.Postings, error) { return r.IndexReader.Postings(ctx, name, vs...) })
	if err == nil && p == nil {
		p = index.EmptyPostings()
	}
	return p, err
}

// PostingsForLabelMatching implements tsdb.IndexReader.
func (r *checkedIndex) PostingsForLabelMatching(ctx context.Context, name string, match func(string) bool) index.Postings {
	return r.postings(ctx, func() index.Postings { return r.IndexReader.PostingsForLabelMatching(ctx, name, match) })
}

// PostingsForAllLabelValues implements tsdb.IndexReader.
func (r *checkedIndex) PostingsForAllLabelValues(ctx context.Context, name string) index.Postings {
	return r.postings(ctx, func() index.Postings { return r.IndexReader.PostingsForAllLabelValues(ctx, name) })
}

func (r *checkedIndex) postings(ctx context.Context, read func() index.Postings) index.Postings {
	p, err := values(ctx, r, func() (index.Postings, error) {
		p := read()
		return p, p.Err()
	})
	switch {
	case err != nil:
		return index.ErrPostings(err)
	case p == nil:
		return index.EmptyPostings()
	}
	return p
}

// caught runs read and returns what goes wrong as an error, also a panic over
// damaged bytes and a fault: files are mapped into memory, so a disk that fails,
// or a file that became shorter, is a signal that would end the process.
func caught(read func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("reading failed: %v", p)
		}
	}()
	return read()
}

// checkedQuerier adds the warnings of its block.
type checkedQuerier struct {
	storage.Querier
	block *checkedBlock
}

func (q *checkedQuerier) Select(ctx context.Context, sorted bool, hints *storage.SelectHints, ms ...*labels.Matcher) storage.SeriesSet {
	// Who asks for series only reads no chunks. A querier that is asked for both, which
	// nobody does, would check fewer than it could.
	q.block.lax.Store(hints != nil && hints.Func == "series")
	return &checkedSet{q.Querier.Select(ctx, sorted, hints, ms...), q.block}
}

func (q *checkedQuerier) LabelValues(ctx context.Context, name string, hints *storage.LabelHints, ms ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	vs, warnings, err := q.Querier.LabelValues(ctx, name, hints, ms...)
	return vs, warnings.Merge(q.block.warnings()), err
}

func (q *checkedQuerier) LabelNames(ctx context.Context, hints *storage.LabelHints, ms ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	names, warnings, err := q.Querier.LabelNames(ctx, hints, ms...)
	return names, warnings.Merge(q.block.warnings()), err
}

// SearchLabelNames implements storage.Searcher.
func (q *checkedQuerier) SearchLabelNames(ctx context.Context, hints *storage.SearchHints, ms ...*labels.Matcher) storage.SearchResultSet {
	return searchNames(ctx, q.Querier, hints, ms)
}

// SearchLabelValues implements storage.Searcher.
func (q *checkedQuerier) SearchLabelValues(ctx context.Context, name string, hints *storage.SearchHints, ms ...*labels.Matcher) storage.SearchResultSet {
	return searchValues(ctx, q.Querier, name, hints, ms)
}

type checkedSet struct {
	storage.SeriesSet
	block *checkedBlock
}

func (s *checkedSet) Warnings() annotations.Annotations {
	warnings := s.SeriesSet.Warnings()
	return warnings.Merge(s.block.warnings())
}

type checkedChunkQuerier struct {
	storage.ChunkQuerier
	block *checkedBlock
}

func (q *checkedChunkQuerier) Select(ctx context.Context, sorted bool, hints *storage.SelectHints, ms ...*labels.Matcher) storage.ChunkSeriesSet {
	return &checkedChunkSet{q.ChunkQuerier.Select(ctx, sorted, hints, ms...), q.block}
}

type checkedChunkSet struct {
	storage.ChunkSeriesSet
	block *checkedBlock
}

func (s *checkedChunkSet) Warnings() annotations.Annotations {
	warnings := s.ChunkSeriesSet.Warnings()
	return warnings.Merge(s.block.warnings())
}

// searchNames and searchValues pass a search on to what is behind a wrapper.
func searchNames(ctx context.Context, q storage.Querier, hints *storage.SearchHints, ms []*labels.Matcher) storage.SearchResultSet {
	if s, ok := q.(storage.Searcher); ok {
		return s.SearchLabelNames(ctx, hints, ms...)
	}
	return storage.ErrSearchResultSet(errors.ErrUnsupported)
}

func searchValues(ctx context.Context, q storage.Querier, name string, hints *storage.SearchHints, ms []*labels.Matcher) storage.SearchResultSet {
	if s, ok := q.(storage.Searcher); ok {
		return s.SearchLabelValues(ctx, name, hints, ms...)
	}
	return storage.ErrSearchResultSet(errors.ErrUnsupported)
}
