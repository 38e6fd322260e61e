// Package backfill fills gaps. When a target responds again after the server, the network
// or the port was away, it asks the target's exporter for what it gathered in between
// ("clanmon exporter --history") and appends that out of order.
//
// A gap is the time between two successful scrapes in a row, as the stored series "up" says.
// What is appended has the labels that a scrape would have given it, and the times at which
// the exporter gathered it, which are within the gap. Nothing is invented: "up" and the
// other series of the scrape itself keep their gap. A file in the data directory remembers
// which gaps are filled.
package backfill

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/scrape"
	"github.com/prometheus/prometheus/storage"
)

// Options for New. All fields are required.
type Options struct {
	// MaxAge is how far back gaps are filled.
	MaxAge time.Duration
	// Targets are those that are scraped now, by job; Job is the configuration of a job, and
	// Client sends requests with the credentials of one.
	Targets func() map[string][]*scrape.Target
	Job     func(job string) (*config.ScrapeConfig, error)
	Client  func(job string) (*http.Client, error)
	// Store is where samples are, Appendable takes more. Delete removes some, by times in
	// milliseconds with both ends.
	Store      storage.Queryable
	Appendable storage.AppendableV2
	Delete     func(ctx context.Context, from, to int64, ms ...*labels.Matcher) error
	Dir        string // data directory
	// SetAside moves a damaged file of Dir away, because of why.
	SetAside   func(file, what, hint string, why error) error
	Registerer prometheus.Registerer
	Logger     *slog.Logger
}

const (
	// every is how often gaps are looked for.
	every = 5 * time.Second
	// workers is how many targets are asked at one time.
	workers = 4
	// samplesPerSecond are appended for all targets together.
	samplesPerSecond = 50_000
	// Failed requests are repeated after firstRetry, and then ever less often.
	firstRetry, lastRetry = 5 * time.Second, 10 * time.Minute
)

// Backfill is safe for concurrent use. The zero of *Backfill, nil, fills nothing.
type Backfill struct {
	opts    Options
	metrics metrics
	pace    pace
	wake    chan struct{} // a worker may have something to do

	watch watch // only used by find

	mu    sync.Mutex
	gaps  []*gap
	known known
}

// gap is what one target missed.
type gap struct {
	target   labels.Labels
	job      string
	from, to int64   // Unix milliseconds; both samples are there
	marks    []int64 // when all series ended
	times    []int64 // of what was appended; only used by who fills it

	// Guarded by Backfill.mu.
	busy     bool
	began    time.Time // of the request under way
	start    int64     // where it began
	at       int64     // up to where it is filled
	samples  int
	attempts int
	next     time.Time // not before that
	err      error     // of the last attempt
}

// New returns a Backfill that does nothing until Run. It reads which gaps are filled.
func New(o Options) *Backfill {
	b := &Backfill{opts: o, wake: make(chan struct{}, 1)}
	b.known.load(filepath.Join(o.Dir, "clanmon-backfill.json"), o.SetAside, o.Logger)
	b.metrics = newMetrics(b, o.Registerer)
	return b
}

// Run looks for gaps and fills them until ctx ends.
func (b *Backfill) Run(ctx context.Context) error {
	if b == nil {
		<-ctx.Done()
		return nil
	}
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() { b.work(ctx) })
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		b.find(ctx)
		select {
		case <-tick.C:
		case <-ctx.Done():
			wg.Wait()
			b.save(true)
			return nil
		}
	}
}

// find looks for new gaps, forgets those that are too old, and has the others filled.
func (b *Backfill) find(ctx context.Context) {
	now := time.Now()
	found, err := b.watch.look(ctx, b.opts, now)
	if err != nil {
		if ctx.Err() == nil {
			b.opts.Logger.Warn("Could not look for gaps", "err", err)
		}
		return
	}
	oldest := now.Add(-b.opts.MaxAge).UnixMilli()
	b.mu.Lock()
	b.known.forget(oldest)
	for _, g := range found {
		if g.from, g.to = b.known.open(g.target.String(), max(g.from, oldest), g.to); g.from < g.to {
			g.at = g.from
			b.gaps = append(b.gaps, g)
		}
	}
	b.gaps = slices.DeleteFunc(b.gaps, func(g *gap) bool { return !g.busy && g.to <= oldest })
	b.mu.Unlock()
	b.save(false)
	b.signal()
}

func (b *Backfill) save(now bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.known.save(now, b.opts.Logger)
}

func (b *Backfill) signal() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// work fills gaps one after the other until ctx ends.
func (b *Backfill) work(ctx context.Context) {
	for {
		select {
		case <-b.wake:
		case <-ctx.Done():
			return
		}
		for ctx.Err() == nil {
			g := b.take()
			if g == nil {
				break
			}
			b.signal() // there may be more for others
			b.done(ctx, g, b.fill(ctx, g))
		}
	}
}

// take returns the newest gap that may be filled now, of a target that is not asked already.
func (b *Backfill) take() *gap {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	var best *gap
	for _, g := range b.gaps {
		if g.busy || now.Before(g.next) || slices.ContainsFunc(b.gaps, func(o *gap) bool { return o.busy && labels.Equal(o.target, g.target) }) {
			continue
		}
		if best == nil || g.to > best.to {
			best = g
		}
	}
	if best != nil {
		best.busy, best.began, best.start = true, now, best.at
	}
	return best
}

// done notes what came of an attempt.
func (b *Backfill) done(ctx context.Context, g *gap, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	g.busy = false
	log := b.opts.Logger.With("target", g.target.String(), "from", time.UnixMilli(g.from).UTC(), "to", time.UnixMilli(g.to).UTC())
	final, isFinal := err.(*finalError)
	switch {
	case err == nil:
		b.metrics.gaps.WithLabelValues("filled").Inc()
		log.Info("Filled a gap", "samples", g.samples)
	case ctx.Err() != nil:
		return
	case errors.Is(err, errDown): // which is neither new nor a reason to wait longer
		g.next = time.Now().Add(firstRetry)
		return
	case isFinal:
		b.metrics.gaps.WithLabelValues(final.result).Inc()
		log.Log(ctx, final.level, "A gap stays", "err", err)
	default:
		b.metrics.failures.Inc()
		if g.attempts == 0 || g.err == nil || g.err.Error() != err.Error() {
			log.Warn("Could not fill a gap; trying again", "err", err)
		}
		g.err = err
		delay := min(lastRetry, firstRetry<<min(g.attempts, 10))
		g.next = time.Now().Add(delay/2 + rand.N(delay))
		g.attempts++
		return
	}
	b.known.add(g.target.String(), g.from, g.to)
	b.gaps = slices.DeleteFunc(b.gaps, func(o *gap) bool { return o == g })
}

// A finalError says that a gap cannot be filled.
type finalError struct {
	result string // of the metric
	level  slog.Level
	text   string
}

func (e *finalError) Error() string { return e.text }

func final(result string, level slog.Level, format string, args ...any) error {
	return &finalError{result, level, fmt.Sprintf(format, args...)}
}

// pace bounds how fast samples are appended.
type pace struct {
	mu   sync.Mutex
	free time.Time // when the next may come
}

// wait returns when n more samples may be appended, or when ctx ends.
func (p *pace) wait(ctx context.Context, n int) {
	p.mu.Lock()
	now := time.Now()
	if p.free.Before(now) {
		p.free = now
	}
	wait := p.free.Sub(now)
	p.free = p.free.Add(time.Duration(n) * time.Second / samplesPerSecond)
	p.mu.Unlock()
	if wait > 0 {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
	}
}
