package push

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage"

	"github.com/clanmon/clanmon/discovery/contract"
	"github.com/clanmon/clanmon/internal/atomicfile"
)

const (
	// heardFile is the file in the data directory that has which machines send.
	heardFile = "push.json"
	// upEvery is how often up is written.
	upEvery = 15 * time.Second
	// saveEvery is how often times are written that have only grown.
	saveEvery = 5 * time.Minute
	// missed is how many batches may be missing until a machine is down.
	missed = 3
	// A machine sends at least and at most this often, as far as up is concerned.
	minGap, maxGap = 15 * time.Second, 5 * time.Minute
	// firstGap is assumed until there are two batches.
	firstGap = time.Minute
	// forgetAfter is when a machine that is silent is not missed any more.
	forgetAfter = 30 * 24 * time.Hour
)

// hearing is what is known of a feed.
type hearing struct {
	Last   time.Time     `json:"last"`   // when a batch came
	Newest int64         `json:"newest"` // sample, in milliseconds
	Gap    time.Duration `json:"gap"`    // between batches

	recalled bool // newer samples may be stored than Newest: the file is some minutes old, or the job was scraped
	written  bool // up was, and is to end when the machine is scraped
}

// up reports whether the machine sends. Nobody knows that in the first moments of a server.
func (h *hearing) up(start, now time.Time) (up, known bool) {
	quiet := missed * min(max(cmp.Or(h.Gap, firstGap), minGap), maxGap)
	if now.Sub(h.Last) < quiet {
		return true, true
	}
	return false, now.Sub(start) >= quiet
}

// hear notes a batch that is stored.
func (p *Push) hear(b *batch) {
	p.samples.WithLabelValues(b.machine).Add(float64(b.stored))
	p.mu.Lock()
	defer p.mu.Unlock()
	for f, s := range b.feeds {
		h := p.heard[f]
		if s.scraped {
			if h != nil {
				h.recalled = true
			}
			continue
		}
		if h == nil {
			h = &hearing{}
			p.heard[f] = h
		}
		if h.Newest > 0 && s.newest > h.Newest { // not of the backlog
			h.Gap = time.Duration(s.newest-h.Newest) * time.Millisecond
		}
		h.Last, h.Newest, h.recalled = b.now, max(h.Newest, s.newest), false
	}
	p.changed = true
}

// newest is the time of the newest sample of a feed that is stored, 0 if there is none. A sample
// of a scrape counts: the machine must not send again what was scraped.
func (p *Push) newest(f feed, now time.Time) int64 {
	p.mu.Lock()
	h := p.heard[f]
	var known int64
	if h != nil {
		known = h.Newest
	}
	ask := h == nil || h.recalled
	p.mu.Unlock()
	if !ask {
		return known
	}
	// Others need not wait for the disk.
	if h == nil {
		if t := p.storedAfter(f.Target, now.Add(-countBack).UnixMilli()); t > 0 {
			return t
		}
		return p.storedAfter(f.Target, now.Add(-forgetAfter).UnixMilli())
	}
	stored := p.storedAfter(f.Target, known)
	p.mu.Lock()
	defer p.mu.Unlock()
	if h.recalled {
		h.recalled, h.Newest = false, max(h.Newest, stored)
	}
	return h.Newest
}

// had is the time of the newest sample that was stored of a machine before a batch. ok is false if
// that says nothing about what it sends next time: some of it is left out.
func (b *batch) had() (newest int64, ok bool) {
	for _, s := range b.feeds {
		if s.scraped {
			return 0, false
		}
		newest = max(newest, s.before)
	}
	return newest, len(b.feeds) > 0
}

// count is how many machines send.
func (p *Push) count(now time.Time) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	machines := make(map[string]bool)
	for f, h := range p.heard {
		if up, _ := h.up(p.start, now); up {
			machines[f.Machine] = true
		}
	}
	return len(machines)
}

// Run writes up of the machines that send until ctx ends.
func (p *Push) Run(ctx context.Context) error {
	tick, save := time.NewTicker(upEvery), time.NewTicker(saveEvery)
	defer tick.Stop()
	defer save.Stop()
	for {
		select {
		case now := <-tick.C:
			p.store(ctx, now)
		case <-save.C:
			p.save()
		case <-ctx.Done():
			p.save()
			return nil
		}
	}
}

// store appends up of each job that a machine sends.
func (p *Push) store(ctx context.Context, now time.Time) {
	type sample struct {
		labels labels.Labels
		v      float64
	}
	var all []sample
	add := func(f feed, v float64) {
		all = append(all, sample{labels.FromStrings(
			model.MetricNameLabel, "up", contract.MachineLabel, f.Machine, model.JobLabel, f.Job,
			model.InstanceLabel, f.instance, contract.AvailabilityLabel, p.opts.Availability), v})
	}
	scraped := p.opts.Scraped()
	p.mu.Lock()
	for f, h := range p.heard {
		up, known := h.up(p.start, now)
		_, active := scraped[f.Target]
		switch {
		case now.Sub(h.Last) > forgetAfter:
			delete(p.heard, f)
			p.changed = true
			if active {
				continue
			}
			add(f, math.Float64frombits(value.StaleNaN))
		case active: // up is that of the scrape
			if h.written {
				add(f, math.Float64frombits(value.StaleNaN))
			}
			h.written = false
		case up:
			add(f, 1)
			h.written = true
		case known:
			add(f, 0)
			h.written = true
		}
	}
	p.mu.Unlock()
	if len(all) == 0 {
		return
	}
	app := p.opts.Appendable.AppenderV2(ctx)
	for _, s := range all {
		if _, err := app.Append(0, s.labels, 0, now.UnixMilli(), s.v, nil, nil, storage.AOptions{}); err != nil {
			_ = app.Rollback()
			p.opts.Logger.Warn("Could not store the series up of machines that push", "err", err)
			return
		}
	}
	if err := app.Commit(); err != nil {
		p.opts.Logger.Warn("Could not store the series up of machines that push", "err", err) // a store that fails has alerts of its own
	}
}

// savedTarget is a target in the file.
type savedTarget struct {
	Machine  string `json:"machine"`
	Job      string `json:"job"`
	Instance string `json:"instance"`
	hearing
}

// recall reads which machines sent before the start.
func (p *Push) recall() {
	file := filepath.Join(p.opts.Dir, heardFile)
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	var all []savedTarget
	if err == nil {
		if err = json.Unmarshal(text, &all); err != nil {
			all, err = nil, p.setAside(file, err)
		}
	}
	if err != nil {
		p.unsaved = true
		p.opts.Logger.Error("Could not read the list of machines that push, which is not overwritten: machines are known again when they push", "file", file, "err", err)
	}
	for _, s := range all {
		s.recalled = true
		p.heard[feed{Target{s.Machine, s.Job}, s.Instance}] = &s.hearing
	}
}

func (p *Push) save() {
	p.mu.Lock()
	if !p.changed || p.unsaved {
		p.mu.Unlock()
		return
	}
	p.changed = false
	all := make([]savedTarget, 0, len(p.heard))
	for f, h := range p.heard {
		all = append(all, savedTarget{f.Machine, f.Job, f.instance, *h})
	}
	p.mu.Unlock()
	err := atomicfile.Write(filepath.Join(p.opts.Dir, heardFile), 0o600, func(w io.Writer) error { return json.NewEncoder(w).Encode(all) })
	if err != nil {
		p.mu.Lock()
		p.changed = true
		p.mu.Unlock()
		p.opts.Logger.Warn("Could not save the list of machines that push", "file", heardFile, "err", err)
	}
}
