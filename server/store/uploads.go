package store

import (
	"encoding/json"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/prometheus/tsdb"
)

// uploadsTTL is how long the file is trusted before it is read again;
// compaction asks once per block.
const uploadsTTL = time.Minute

// PendingUpload returns a filter that keeps blocks from being compacted until
// file lists them as uploaded. The file is JSON, {"uploaded":["ULID",…]}, as
// Thanos' shipper writes it. Only fresh blocks count: compacted ones are held
// to have been uploaded. A file that cannot be read holds nothing back.
func PendingUpload(file string, log *slog.Logger) tsdb.BlockExcludeFilterFunc {
	var (
		mu       sync.Mutex
		uploaded []string
		known    bool
		readAt   time.Time
	)
	return func(block *tsdb.BlockMeta) bool {
		if block.Compaction.Level > 1 {
			return false
		}
		mu.Lock()
		defer mu.Unlock()
		if !known || time.Since(readAt) >= uploadsTTL {
			var meta struct {
				Uploaded []string `json:"uploaded"`
			}
			data, err := os.ReadFile(file)
			if err == nil {
				err = json.Unmarshal(data, &meta)
			}
			if err != nil {
				log.Warn("Cannot read the list of uploaded blocks", "file", file, "err", err)
				return false
			}
			uploaded, known, readAt = meta.Uploaded, true, time.Now()
		}
		return !slices.Contains(uploaded, block.ULID.String())
	}
}
