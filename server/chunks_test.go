package server_test

import (
	"encoding/json"
	"net/http"
	"path/filepath"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/server"
)

// Chunks are in the encoding that every Prometheus reads, unless a flag says otherwise.
func TestChunkEncoding(t *testing.T) {
	for feature, want := range map[string]chunkenc.Encoding{"": chunkenc.EncXOR, "xor2-encoding": chunkenc.EncXOR2} {
		s := newCacheTest(t, func(o *server.Options) {
			if feature != "" {
				o.Features = []string{feature}
			}
		})
		code, body := s.Do(http.MethodPost, "/api/v1/admin/tsdb/snapshot")
		require.Equal(t, http.StatusOK, code, body)
		var answer struct{ Data struct{ Name string } }
		require.NoError(t, json.Unmarshal([]byte(body), &answer))
		blocks, err := filepath.Glob(filepath.Join(s.Options.Dir, "snapshots", answer.Data.Name, "*"))
		require.NoError(t, err)
		require.NotEmpty(t, blocks)
		for _, dir := range blocks {
			require.Equal(t, []chunkenc.Encoding{want}, encodings(t, dir))
		}
	}
}

// encodings are those of the chunks of the series "a" in a block, each once.
func encodings(t *testing.T, dir string) (all []chunkenc.Encoding) {
	b, err := tsdb.OpenBlock(nil, dir, nil, nil)
	require.NoError(t, err)
	defer b.Close()
	index, err := b.Index()
	require.NoError(t, err)
	defer index.Close()
	reader, err := b.Chunks()
	require.NoError(t, err)
	defer reader.Close()
	found, err := index.Postings(t.Context(), model.MetricNameLabel, "a")
	require.NoError(t, err)
	var builder labels.ScratchBuilder
	var metas []chunks.Meta
	for found.Next() {
		require.NoError(t, index.Series(found.At(), &builder, &metas))
		for _, m := range metas {
			c, _, err := reader.ChunkOrIterable(m)
			require.NoError(t, err)
			if len(all) == 0 || all[len(all)-1] != c.Encoding() {
				all = append(all, c.Encoding())
			}
		}
	}
	return all
}
