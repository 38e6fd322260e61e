package store

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus"
	upstreamconfig "github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/tsdb/index"
)

// compactor is upstream's, without damaged blocks. Upstream marks all blocks of a
// compaction that failed, after which none of them is compacted again; where blocks
// overlap it tries the same compaction once a minute, and compacts nothing else.
type compactor struct {
	tsdb.Compactor
	ctx context.Context
	s   *Store
}

// newCompactor is a tsdb.NewCompactorFunc.
func (s *Store) newCompactor(ctx context.Context, r prometheus.Registerer, log *slog.Logger, ranges []int64, pool chunkenc.Pool, o *tsdb.Options) (tsdb.Compactor, error) {
	c, err := tsdb.NewLeveledCompactorWithOptions(ctx, r, log, ranges, pool, tsdb.LeveledCompactorOptions{
		MaxBlockChunkSegmentSize:    o.MaxBlockChunkSegmentSize,
		EnableOverlappingCompaction: o.EnableOverlappingCompaction,
		PD:                          o.PostingsDecoderFactory,
		UseUncachedIO:               o.UseUncachedIO,
		BlockExcludeFilter: func(b *tsdb.BlockMeta) bool {
			return s.ahead(b) || o.BlockCompactionExcludeFunc != nil && o.BlockCompactionExcludeFunc(b)
		},
		FloatChunkEncoding: func() chunkenc.Encoding { return s.floatEncoding(o.FloatChunkEncoding) },
	})
	return &compactor{c, ctx, s}, err
}

// ahead reports whether a block has samples that arrived out of order, of a time of which
// the others are in memory only. Merged with older blocks it would look as if it had all
// samples, and the next start would not read the others from the WAL.
func (s *Store) ahead(b *tsdb.BlockMeta) bool {
	db := s.local.db.Load()
	return b.Compaction.FromOutOfOrder() && (db == nil || b.MaxTime > db.tsdb.Head().MinTime())
}

// floatEncoding is how chunks of floats are written: as the configuration file says,
// else as the database was opened.
func (s *Store) floatEncoding(opened chunkenc.Encoding) chunkenc.Encoding {
	cfg := s.local.applied.Load()
	if cfg == nil || cfg.StorageConfig.TSDBConfig == nil {
		return opened
	}
	switch cfg.StorageConfig.TSDBConfig.ChunkEncoding.Floats {
	case upstreamconfig.FloatChunkEncodingXOR:
		return chunkenc.EncXOR
	case upstreamconfig.FloatChunkEncodingXOR2:
		return chunkenc.EncXOR2
	}
	return opened
}

// Plan implements tsdb.Compactor. With damaged blocks it plans on a folder of the
// descriptions of the others.
func (c *compactor) Plan(dir string) ([]string, error) {
	damaged := c.s.damaged.blocks()
	if len(damaged) == 0 {
		return c.Compactor.Plan(dir)
	}
	if err := os.MkdirAll(filepath.Join(dir, damagedDir), 0o777); err != nil {
		return nil, err
	}
	shadow, err := os.MkdirTemp(filepath.Join(dir, damagedDir), planDir)
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(shadow)
	blocks, err := blockDirs(dir)
	if err != nil {
		return nil, err
	}
	for _, id := range blocks {
		if damaged[id] {
			continue
		}
		meta, err := os.ReadFile(filepath.Join(dir, id, metaFile))
		if err != nil {
			return nil, err
		}
		if err := os.Mkdir(filepath.Join(shadow, id), 0o700); err != nil {
			return nil, err
		}
		if err := os.WriteFile(filepath.Join(shadow, id, metaFile), meta, 0o600); err != nil {
			return nil, err
		}
	}
	plan, err := c.Compactor.Plan(shadow)
	for i := range plan {
		plan[i] = filepath.Join(dir, filepath.Base(plan[i]))
	}
	return plan, err
}

// Compact implements tsdb.Compactor. It reads all that it is going to compact before:
// if something is damaged nothing is compacted, and the next plan goes without it.
func (c *compactor) Compact(dest string, dirs []string, open []*tsdb.Block) ([]ulid.ULID, error) {
	damaged := false
	for _, b := range open {
		for _, dir := range dirs {
			if filepath.Base(b.Dir()) != filepath.Base(dir) {
				continue
			}
			if err := checkBlock(c.ctx, b); err != nil {
				if c.ctx.Err() != nil {
					return nil, c.ctx.Err()
				}
				c.s.noteBlock(b, err)
				damaged = true
			}
		}
	}
	if damaged {
		return nil, nil
	}
	return c.Compactor.Compact(dest, dirs, open)
}

// Write implements tsdb.Compactor. Without a base it writes samples of the head.
func (c *compactor) Write(dest string, b tsdb.BlockReader, mint, maxt int64, base *tsdb.BlockMeta) ([]ulid.ULID, error) {
	ids, err := c.Compactor.Write(dest, b, mint, maxt, base)
	if base == nil {
		for _, id := range ids {
			c.s.local.blocks.Written(id)
		}
	}
	return ids, err
}

// checkBlock reads all of a block.
func checkBlock(ctx context.Context, b *tsdb.Block) error {
	ir, err := b.Index()
	if err != nil {
		return err
	}
	defer ir.Close()
	cr, err := b.Chunks()
	if err != nil {
		return err
	}
	defer cr.Close()
	var (
		builder labels.ScratchBuilder
		chks    []chunks.Meta
	)
	return caught(func() error {
		name, value := index.AllPostingsKey()
		p, err := ir.Postings(ctx, name, value)
		if err != nil {
			return err
		}
		for p.Next() {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := ir.Series(p.At(), &builder, &chks); err != nil {
				return err
			}
			for _, chk := range chks {
				if _, _, err := cr.ChunkOrIterable(chk); err != nil {
					return err
				}
			}
		}
		return p.Err()
	})
}
