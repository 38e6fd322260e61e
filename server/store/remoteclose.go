package store

import (
	"time"

	"github.com/prometheus/prometheus/storage/remote"
)

// closeLimit bounds the wait for receivers when the server stops. Upstream waits for each
// that does not respond for as long as --storage.remote.flush-deadline, one after the
// other, and twice where it sends metadata; nothing is scraped and no rule is evaluated
// meanwhile. The deadline itself stays: a queue that is given more shards drops what it
// could not send by then.
const closeLimit = 4 * time.Second

// remoteStorage is upstream's, but closes in time.
type remoteStorage struct {
	*remote.Storage
	store *Store
}

// Close sends what is queued, for a limited time. What takes longer ends with the process,
// and what was not sent is sent after the next start.
func (r remoteStorage) Close() error {
	s := r.store
	s.remoteRegistry.keep()
	before, errBefore := s.remoteMetrics()
	done := make(chan error, 1)
	go func() { done <- r.Storage.Close() }()
	select {
	case err := <-done:
		after, errAfter := s.remoteMetrics()
		if errBefore == nil && errAfter == nil {
			s.resend.Flushed(before, after)
		}
		return err
	case <-time.After(closeLimit):
		s.opts.Logger.Warn("Remote write did not stop in time. What receivers miss is sent after the next start", "limit", closeLimit)
		return nil
	}
}
