package resend

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
)

const (
	// lateSettles is how long a range is left alone after an append to it, which may not be
	// over.
	lateSettles = 2 * time.Second
	// lateGrows is for how long a range gets more samples. Targets whose samples are always
	// late would have one that never ends.
	lateGrows = 10 * time.Minute
	// lateJoins is how far apart samples of one range may be.
	lateJoins = 5 * time.Minute
	// lateAhead is how much further a range on disk ends, so that it is not written with each
	// append. After a crash so much more is sent.
	lateAhead = time.Hour
	// maxLate bounds the ranges of a receiver.
	maxLate = 5000
	// maxLateRefused single samples of a range in a row, and batches are given up after the
	// first halves: a receiver that takes samples in order only refuses all that is late.
	maxLateRefused = 20
	// maxLateRangesRefused ranges in a row of which nothing was taken, and those that follow
	// begin as if maxLateRefused samples had been refused, until something is taken.
	maxLateRangesRefused = 4
	// maxLateTries to read a range, and it is given up: a part of it is damaged.
	maxLateTries = 60
)

// Target is what series are of, by their labels. The zero Target is that of series without
// both.
type Target struct {
	Job      string `json:"job,omitempty"`
	Instance string `json:"instance,omitempty"`
	Any      bool   `json:"any,omitempty"` // all series
}

// Has reports whether a series is one of the target's.
func (t Target) Has(ls labels.Labels) bool {
	return t.Any || ls.Get(model.JobLabel) == t.Job && ls.Get(model.InstanceLabel) == t.Instance
}

// times are from the first to the last, both included, in milliseconds.
type times struct{ from, to int64 }

func (t times) with(o times) times { return times{min(t.from, o.from), max(t.to, o.to)} }

// lateRange is a part of the past of which samples were stored late.
type lateRange struct {
	times
	born, at time.Time // of the first and the last append
	queued   bool      // upstream's queue sends them, unless it ends before
	sending  bool
	failed   int // tries to read it
}

// lateRanges are what a receiver may lack, by target.
type lateRanges map[Target][]*lateRange

// Late are the samples of one append that are stored later than scrapes take. Upstream's
// queue does not send them if they are older than itself, and a position says nothing
// about them. So they are noted before they are stored.
type Late struct {
	manager *Manager
	before  int64 // they are not later than that
	targets map[Target]times
}

// Late is for an append that begins now.
func (m *Manager) Late(now time.Time) Late {
	if m == nil {
		return Late{before: math.MinInt64}
	}
	lateness := m.horizon.Load()
	if lateness < 0 {
		return Late{before: math.MinInt64}
	}
	return Late{manager: m, before: now.UnixMilli() - lateness}
}

// Add adds a sample of a series, which may be unknown.
func (l *Late) Add(ls labels.Labels, at int64) {
	if at > l.before {
		return
	}
	of := Target{Job: ls.Get(model.JobLabel), Instance: ls.Get(model.InstanceLabel), Any: ls.IsEmpty()}
	all, ok := l.targets[of]
	if !ok {
		if l.targets == nil {
			l.targets = make(map[Target]times)
		}
		of.Job, of.Instance = strings.Clone(of.Job), strings.Clone(of.Instance)
		all = times{at, at}
	}
	l.targets[of] = all.with(times{at, at})
}

// Note has to be called before the append is committed, and again after that.
func (l *Late) Note() {
	if len(l.targets) > 0 {
		l.manager.note(l.targets, time.Now())
	}
}

func (m *Manager) note(targets map[Target]times, now time.Time) {
	m.mu.Lock()
	covered := true
	for _, r := range m.receivers {
		for of, all := range targets {
			r.note(of, all, now)
			in := func(file lateFile) bool {
				return slices.ContainsFunc(file[r.id][of], func(w times) bool { return w.from <= all.from && w.to >= all.to })
			}
			covered = covered && in(m.lateWritten) && (m.lateNext == nil || in(m.lateNext))
		}
		r.boundLate()
	}
	if !covered {
		m.lateNotes++
	}
	note := m.lateNotes
	m.mu.Unlock()
	if !covered {
		m.writeLate(now, lateAhead, note)
	}
}

func (r *receiver) note(of Target, all times, now time.Time) {
	queued := r.live && all.from > r.since.UnixMilli()
	near := lateJoins.Milliseconds()
	for _, l := range r.late[of] {
		if !l.sending && l.queued == queued && now.Sub(l.born) < lateGrows && all.from <= l.to+near && all.to >= l.from-near {
			l.times, l.at = l.with(all), now
			return
		}
	}
	r.late[of] = append(r.late[of], &lateRange{times: all, born: now, at: now, queued: queued})
}

// boundLate joins ranges if there are too many: those of each target, or those of all.
func (r *receiver) boundLate() {
	if r.late.len() <= maxLate {
		return
	}
	all := len(r.late) > maxLate/2
	joined, open := make(lateRanges), make(map[Target]*lateRange)
	for of, ranges := range r.late {
		for _, l := range ranges {
			to := of
			if all && !l.sending {
				to = Target{Any: true}
			}
			o := open[to]
			if o == nil || l.sending {
				joined[to] = append(joined[to], l)
				if !l.sending {
					open[to] = l
				}
				continue
			}
			o.times, o.queued = o.with(l.times), o.queued && l.queued
			if o.at.Before(l.at) {
				o.at = l.at
			}
		}
	}
	r.late = joined
}

func (all lateRanges) len() (n int) {
	for _, ranges := range all {
		n += len(ranges)
	}
	return n
}

// dropQueued forgets what upstream's queue has sent.
func (m *Manager) dropQueued(r *receiver, now time.Time, grows time.Duration) {
	for of, ranges := range r.late {
		left := slices.DeleteFunc(ranges, func(l *lateRange) bool {
			return l.queued && r.position > l.at.UnixMilli() && now.Sub(l.at) >= grows
		})
		if len(left) < len(ranges) {
			m.lateDone = true
		}
		if r.late[of] = left; len(left) == 0 {
			delete(r.late, of)
		}
	}
}

// lookLate has ranges sent, and forgets those that were.
func (m *Manager) lookLate(now time.Time) {
	m.mu.Lock()
	for _, r := range m.receivers {
		if !r.live || r.cancel != nil { // it is sent the rest first
			continue
		}
		m.dropQueued(r, now, time.Minute)
		if _, l := r.nextLate(now); l != nil && r.lateCancel == nil && m.ctx.Err() == nil {
			m.sendLate(r)
		}
	}
	done := m.lateDone
	m.mu.Unlock()
	if done {
		m.writeLate(now, lateAhead, math.MaxUint64)
	}
}

// saveLate writes the ranges if there are any in memory or in the file.
func (m *Manager) saveLate(ahead time.Duration) {
	m.mu.Lock()
	needed := m.lateDone
	for _, r := range m.receivers {
		needed = needed || len(r.late) > 0
	}
	m.mu.Unlock()
	if needed {
		m.writeLate(time.Now(), ahead, math.MaxUint64)
	}
}

// nextLate is the range that has waited longest, nil if there is none.
func (r *receiver) nextLate(now time.Time) (of Target, next *lateRange) {
	for target, ranges := range r.late {
		for _, l := range ranges {
			if !l.queued && !l.sending && now.Sub(l.at) >= lateSettles && (next == nil || l.at.Before(next.at)) {
				of, next = target, l
			}
		}
	}
	return of, next
}

// sendLate sends what was stored late, beside upstream's queue. m.mu is held.
func (m *Manager) sendLate(r *receiver) {
	now := *r
	now.config = r.latest // its secrets may have changed
	s, err := newSender(&now, m.opts.Logger)
	if err != nil {
		m.opts.Logger.Error("A receiver of remote write cannot be used", "remote_name", r.name, "err", err)
		return
	}
	s.maxRefused = maxLateRefused
	ctx, cancel := context.WithCancel(m.ctx)
	r.lateCancel = cancel
	m.running.Go(func() {
		defer cancel()
		c := &catchUp{manager: m, sender: s, receiver: r, log: s.log}
		for {
			m.mu.Lock()
			of, l := r.nextLate(time.Now())
			if l == nil || ctx.Err() != nil {
				r.lateCancel = nil
				m.mu.Unlock()
				return
			}
			l.sending = true
			mint, maxt := l.from, l.to
			c.of, s.refused = of, 0
			if r.lateRefused >= maxLateRangesRefused {
				s.refused = maxLateRefused
			}
			resent, refused := r.resent, r.refused
			m.mu.Unlock()
			if limit := time.Duration(r.config.QueueConfig.SampleAgeLimit); limit > 0 {
				mint = max(mint, time.Now().Add(-limit).UnixMilli())
			}
			err := c.sendParts(ctx, mint, maxt, nil)
			m.mu.Lock()
			l.sending = false
			if r.resent > resent {
				r.lateRefused = 0
			} else if err == nil && r.refused > refused {
				r.lateRefused++
			}
			failing := err != nil && ctx.Err() == nil
			if failing {
				l.failed++
			}
			givenUp := l.failed >= maxLateTries
			if givenUp {
				r.unreadable++
			}
			if err == nil || givenUp {
				m.lateDone = true
				if r.late[of] = slices.DeleteFunc(r.late[of], func(o *lateRange) bool { return o == l }); len(r.late[of]) == 0 {
					delete(r.late, of)
				}
			} else {
				l.at = time.Now() // later, after the others
			}
			first := l.failed == 1
			m.mu.Unlock()
			if !failing {
				continue
			}
			log := s.log.With("job", of.Job, "instance", of.Instance, "from", time.UnixMilli(mint).UTC(), "to", time.UnixMilli(maxt).UTC(), "err", err)
			if givenUp {
				log.Error("What was stored late cannot be read, and the receiver does not get it")
				continue
			}
			if first {
				log.Warn("What was stored late cannot be read, to send it; it is tried again")
			}
			pause(ctx, readRetry)
		}
	})
}

// savedLate is a range in the file.
type savedLate struct {
	Target
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
}

// lateFile is what the file has, by id of the receiver.
type lateFile map[string]map[Target][]times

// writeLate writes the ranges of all receivers, with ends that are later than theirs, unless
// that was tried since note was. Many notes wait for one write.
func (m *Manager) writeLate(now time.Time, ahead time.Duration, note uint64) {
	m.lateWriting.Lock()
	defer m.lateWriting.Unlock()
	m.mu.Lock()
	if m.lateTried >= note {
		m.mu.Unlock()
		return
	}
	m.lateTried = m.lateNotes
	written := make(lateFile)
	saved := make(map[string][]savedLate)
	for _, r := range m.receivers {
		if written[r.id] == nil {
			written[r.id] = make(map[Target][]times)
		}
		for of, ranges := range r.late {
			for _, l := range ranges {
				w := times{l.from, l.to + ahead.Milliseconds()}
				written[r.id][of] = append(written[r.id][of], w)
				saved[r.id] = append(saved[r.id], savedLate{of, time.UnixMilli(w.from).UTC(), time.UnixMilli(w.to).UTC()})
			}
		}
	}
	m.lateNext, m.lateDone = written, false
	m.mu.Unlock()
	err := m.write(m.opts.LateFile, 0o600, func(w io.Writer) error { return json.NewEncoder(w).Encode(saved) })
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lateNext = nil
	if err != nil {
		m.lateDone = true
		if now.Sub(m.lateComplained) >= time.Minute {
			m.lateComplained = now
			m.opts.Logger.Warn("What receivers of remote write lack of what was stored late cannot be written down", "file", m.opts.LateFile, "err", err)
		}
		return
	}
	m.lateWritten = written
}

func readLate(file string) (lateFile, error) {
	all := make(lateFile)
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return all, nil
	}
	if err != nil {
		return all, err
	}
	var saved map[string][]savedLate
	if err := json.Unmarshal(text, &saved); err != nil {
		return all, fmt.Errorf("%s: %w", file, err)
	}
	for id, ranges := range saved {
		all[id] = make(map[Target][]times)
		for _, l := range ranges {
			all[id][l.Target] = append(all[id][l.Target], times{l.From.UnixMilli(), l.To.UnixMilli()})
		}
	}
	return all, nil
}

// lateOf are the ranges of a receiver from before it was made. Nothing that a queue had is
// sent by the next one. What is newer than the position is sent with all else that is: the
// end of a range may be too late, and what is new must not overtake what is before it. m.mu
// is held.
func (m *Manager) lateOf(r *receiver) lateRanges {
	all := make(lateRanges)
	now := time.Now()
	add := func(of Target, t times) {
		if t.to = min(t.to, r.position); t.from > t.to {
			return
		}
		all[of] = append(all[of], &lateRange{times: t, born: now, at: now.Add(-lateSettles)})
	}
	if m.config == nil {
		for of, ranges := range m.lateWritten[r.id] {
			for _, t := range ranges {
				add(of, t)
			}
		}
		return all
	}
	for _, before := range m.receivers {
		if before.id != r.id {
			continue
		}
		for of, ranges := range before.late {
			for _, l := range ranges {
				add(of, l.times)
			}
		}
	}
	return all
}
