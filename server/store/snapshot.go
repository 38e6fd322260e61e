package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/prometheus/prometheus/tsdb/agent"
)

// Snapshot writes all series to dir, an existing empty directory on the same file system:
// blocks as hard links, what is in memory as blocks. Appends and queries go on.
func (s *Store) Snapshot(dir string) error {
	db, leave, err := s.local.enterChange()
	if errors.Is(err, agent.ErrUnsupported) {
		return errors.New("an agent keeps no series to back up: use --only-state")
	}
	if err != nil {
		return err
	}
	defer leave()
	// Upstream's snapshot of the head leaves samples out that arrived out of order.
	if err := db.CompactOOOHead(context.Background()); err != nil {
		return fmt.Errorf("write out-of-order samples to a block: %w", err)
	}
	return db.Snapshot(dir, db.Head().MinTime() <= db.Head().MaxTime())
}
