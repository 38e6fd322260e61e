package resend

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"time"

	"github.com/clanmon/clanmon/internal/atomicfile"
)

// markPeriod is how often queues are looked at and positions written.
const markPeriod = 5 * time.Second

// maxMarks bounds how long a queue may be behind until older marks are given up.
const maxMarks = 120

// severalShards is how long nothing may have failed until a queue with more than one
// shard is believed: one of them may be far behind the others.
const severalShards = 2 * time.Minute

// mark is a queue as it was at one time. Upstream does not say what has arrived, only
// how much: once as many samples have arrived as had been queued at a mark, everything
// that had been queued at it has.
type mark struct {
	at      time.Time
	queued  float64 // samples that had been queued, at most
	retried float64
	blocked float64 // how often the queue was full
	through int64   // the time of the newest sample in it, less the lateness; 0 if it may not have read all
}

// identify names a receiver over restarts. The name has no secrets, which may change,
// nor anything else that does not make it another receiver.
func identify(name, url string) string {
	sum := sha256.Sum256([]byte(name + "\n" + url))
	return hex.EncodeToString(sum[:8])
}

// look takes what has arrived since the last time, and writes it down.
func (m *Manager) look(now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.receivers) == 0 {
		return
	}
	metrics, err := m.opts.Metrics()
	if err != nil {
		m.opts.Logger.Warn("The metrics of remote write cannot be read", "err", err)
		return
	}
	for _, r := range m.receivers {
		if r.live && r.cancel == nil {
			r.look(now, metrics, m.lateness)
		}
	}
	m.remember()
}

func (r *receiver) look(now time.Time, m Metrics, lateness time.Duration) {
	shards := m["shards"][r.name]
	if shards == 0 {
		return // it has just begun
	}
	pending := m.sum(r.name, "_pending")
	// Upstream counts attempts, and those that failed and are repeated. What is under way
	// is in both.
	begun := m.sum(r.name, "_total") - m.sum(r.name, "_retried_total")
	arrived := begun - min(pending, shards*1.1*m["max_samples_per_send"][r.name])
	next := mark{
		at: now, queued: begun + pending, retried: m.sum(r.name, "_retried_total"), blocked: m["enqueue_retries_total"][r.name],
	}
	newest := int64(m["queue_highest_timestamp_seconds"][r.name] * 1000)
	// What was full may not have read all of the WAL.
	if last := len(r.marks) - 1; last < 0 || r.marks[last].blocked == next.blocked {
		next.through = min(newest, now.UnixMilli()) - lateness.Milliseconds()
	}
	failed := m.sum(r.name, "_failed_total")
	taken := begun - pending - failed
	r.rejecting = failed > r.failed && taken <= r.taken
	r.failed, r.taken = failed, taken
	if r.rejecting { // it takes nothing at all, so that all may be sent again once it does
		return
	}
	known := 0
	for i, b := range r.marks {
		if arrived >= b.queued && (shards == 1 || now.Sub(b.at) >= severalShards && next.retried == b.retried) {
			r.position = max(r.position, b.through)
			known = i + 1
		}
	}
	r.marks = append(r.marks[known:], next)
	if len(r.marks) > maxMarks { // the queue is full: newer ones say as much
		r.marks = append(r.marks[:1], r.marks[2:]...)
	}
}

// Flushed says that upstream's queues have ended, with their metrics before and after. A
// queue that has sent all it had is not behind any more.
func (m *Manager) Flushed(before, after Metrics) {
	m.mu.Lock()
	for _, r := range m.receivers {
		// A queue that has just begun may not have read all of the WAL.
		read := after["queue_highest_timestamp_seconds"][r.name] >= after["highest_timestamp_in_seconds"][""]
		all := read && r.live && r.cancel == nil && !r.rejecting && after.sum(r.name, "_pending") == 0 &&
			after.sum(r.name, "_failed_total") == before.sum(r.name, "_failed_total") &&
			(len(r.marks) == 0 || r.marks[len(r.marks)-1].blocked == after["enqueue_retries_total"][r.name])
		if all {
			r.position = max(r.position, time.Now().UnixMilli())
			m.dropQueued(r, time.Now(), 0)
		}
	}
	m.remember()
	m.mu.Unlock()
	m.saveLate(0)
}

// remember writes the positions if they have changed. Those of receivers that are not
// configured any more are forgotten.
func (m *Manager) remember() {
	if m.config == nil {
		return
	}
	now := make(map[string]int64, len(m.receivers))
	for _, r := range m.receivers {
		if p, ok := now[r.id]; !ok || r.position < p { // two may differ in a secret only
			now[r.id] = r.position
		}
	}
	m.positions = now
	if maps.Equal(now, m.written) {
		return
	}
	if err := writePositions(m.opts.File, now); err != nil {
		m.opts.Logger.Warn("What receivers of remote write have cannot be written down", "file", m.opts.File, "err", err)
		return
	}
	m.written = maps.Clone(now)
}

// position is an entry of the file.
type position struct {
	Sent time.Time `json:"sent"` // everything up to it has arrived
}

func readPositions(file string) (map[string]int64, error) {
	all := make(map[string]int64)
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return all, nil
	}
	if err != nil {
		return nil, err
	}
	var entries map[string]position
	if err := json.Unmarshal(text, &entries); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	for id, p := range entries {
		all[id] = p.Sent.UnixMilli()
	}
	return all, nil
}

func writePositions(file string, all map[string]int64) error {
	entries := make(map[string]position, len(all))
	for id, p := range all {
		entries[id] = position{time.UnixMilli(p).UTC()}
	}
	return atomicfile.Write(file, 0o600, func(w io.Writer) error { return json.NewEncoder(w).Encode(entries) })
}
