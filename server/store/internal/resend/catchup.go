package resend

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"time"

	remoteapi "github.com/prometheus/client_golang/exp/api/remote"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/relabel"
	"github.com/prometheus/prometheus/prompb"
)

// Limits of what is read at a time. It is in memory until it is sent, compressed.
const (
	firstSpan  = time.Minute
	longSpan   = 6 * time.Hour
	fewSamples = 100_000
	maxSamples = 1_000_000
	// shortSpan is read as a whole.
	shortSpan = 20 * time.Second
	readRetry = 10 * time.Second
	// beginLimit is how long upstream's queue may take to begin.
	beginLimit = 10 * time.Second
)

// TooMany reports whether n samples from mint to maxt, in milliseconds, are too many to
// be read at a time.
func TooMany(n int, mint, maxt int64) bool {
	return n > maxSamples && maxt-mint > shortSpan.Milliseconds()
}

// ErrMany stops reading when there are too many.
var ErrMany = errors.New("too many samples at a time")

// catchUp sends a receiver what is stored behind its position. m.mu is held.
func (m *Manager) catchUp(r *receiver) {
	s, err := newSender(r, m.opts.Logger)
	if err != nil {
		m.opts.Logger.Error("A receiver of remote write cannot be used", "remote_name", r.name, "err", err)
		return
	}
	ctx, cancel := context.WithCancel(m.ctx)
	r.cancel = cancel
	s.log.Info("Sending what the receiver of remote write has missed", "since", time.UnixMilli(r.position).UTC())
	m.running.Go(func() {
		defer cancel()
		c := &catchUp{manager: m, sender: s, receiver: r, log: s.log, of: Target{Any: true}}
		for {
			err := c.run(ctx)
			if err == nil {
				break
			}
			if ctx.Err() != nil {
				return
			}
			s.log.Warn("What is stored cannot be read, to send it again", "err", err)
			if !pause(ctx, readRetry) {
				return
			}
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		r.cancel = nil
		s.log.Info("The receiver of remote write has all that is stored", "samples", r.resent, "refused", r.refused)
	})
}

// catchUp is a receiver that is sent what it has missed.
type catchUp struct {
	manager    *Manager
	sender     *sender
	receiver   *receiver
	log        *slog.Logger
	of         Target
	samples    int // read so far
	complained time.Time
}

// run returns nil once the receiver has everything, and upstream's queue sends.
func (c *catchUp) run(ctx context.Context) error {
	position, err := c.settled(ctx)
	if err != nil {
		return err
	}
	// The rest may still grow, by samples that are stored late. Nothing of it may arrive
	// behind what the queue sends, so it is read again and again, and what was sent is left
	// out.
	sent := make(map[uint64]int64)
	if err := c.sendParts(ctx, position+1, time.Now().UnixMilli(), sent); err != nil {
		return err
	}
	begin, err := c.begin(ctx)
	if err != nil {
		return err
	}
	for wait, last := 200*time.Millisecond, false; !last; wait = min(2*wait, 2*time.Second) {
		last = time.Since(begin) > c.manager.late()
		if err := c.sendParts(ctx, position+1, begin.UnixMilli(), sent); err != nil {
			return err
		}
		if !last && !pause(ctx, wait) {
			return ctx.Err()
		}
	}
	c.reached(ctx, begin.UnixMilli())
	return nil
}

// settled sends all but what is so new that more may be stored. It returns the time up
// to which everything has arrived.
func (c *catchUp) settled(ctx context.Context) (position int64, err error) {
	c.manager.mu.Lock()
	position = c.receiver.position
	c.manager.mu.Unlock()
	for span := firstSpan; ; {
		if limit := time.Duration(c.receiver.config.QueueConfig.SampleAgeLimit); limit > 0 {
			position = max(position, time.Now().Add(-limit).UnixMilli())
		}
		end := min(position+span.Milliseconds(), time.Now().Add(-c.manager.late()).UnixMilli())
		if end <= position {
			return position, nil
		}
		before := c.samples
		err := c.send(ctx, position+1, end, nil)
		if errors.Is(err, ErrMany) {
			span /= 2
			continue
		}
		if err != nil {
			return 0, err
		}
		if c.samples-before < fewSamples {
			span = min(2*span, longSpan)
		}
		position = end
		c.reached(ctx, position)
	}
}

// reached notes that everything up to position has arrived.
func (c *catchUp) reached(ctx context.Context, position int64) {
	c.manager.mu.Lock()
	defer c.manager.mu.Unlock()
	if ctx.Err() == nil {
		c.receiver.position = max(c.receiver.position, position)
	}
}

// begin lets upstream's queue begin. The result is a time behind that from which on it
// sends.
func (c *catchUp) begin(ctx context.Context) (time.Time, error) {
	m, r := c.manager, c.receiver
	read := m.opts.Reads(r.name)
	if err := m.promote(ctx, r); err != nil {
		return time.Time{}, err
	}
	// It says nowhere when it has begun, and reads the WAL after that; nothing to read
	// means that nothing is stored.
	for limit := time.Now().Add(beginLimit); m.opts.Reads(r.name) == read && time.Now().Before(limit); {
		if !pause(ctx, 20*time.Millisecond) {
			return time.Time{}, ctx.Err()
		}
	}
	return time.Now(), nil
}

// promote gives a receiver to upstream.
func (m *Manager) promote(ctx context.Context, r *receiver) error {
	m.applying.Lock()
	defer m.applying.Unlock()
	m.mu.Lock()
	if ctx.Err() != nil { // the configuration has changed meanwhile
		m.mu.Unlock()
		return ctx.Err()
	}
	r.live, r.since = true, time.Now().Add(time.Hour) // until it is known
	cfg := withLive(m.config, m.receivers)
	m.mu.Unlock()
	err := m.opts.Apply(cfg)
	m.mu.Lock()
	r.since = time.Now().Add(beginLimit)
	m.mu.Unlock()
	return err
}

func (m *Manager) late() time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.lateness
}

// sendParts does what send does, in as many parts as it takes.
func (c *catchUp) sendParts(ctx context.Context, mint, maxt int64, sent map[uint64]int64) error {
	err := c.send(ctx, mint, maxt, sent)
	if !errors.Is(err, ErrMany) {
		return err
	}
	middle := mint + (maxt-mint)/2
	if err := c.sendParts(ctx, mint, middle, sent); err != nil {
		return err
	}
	return c.sendParts(ctx, middle+1, maxt, sent)
}

// send sends what is stored from mint to maxt. sent, if not nil, has the time of the
// newest sample of each series that has been sent already.
func (c *catchUp) send(ctx context.Context, mint, maxt int64, sent map[uint64]int64) error {
	if mint > maxt {
		return nil
	}
	batches, err := c.read(ctx, mint, maxt, sent)
	if err != nil {
		return err
	}
	for _, b := range batches {
		taken, refused, err := c.sender.deliver(ctx, b, func(err error) {
			c.manager.opts.Failed(c.receiver.name, err)
			c.complain(err)
		})
		c.manager.mu.Lock()
		c.receiver.resent += float64(taken)
		c.receiver.refused += float64(refused)
		c.manager.mu.Unlock()
		if err != nil {
			return err
		}
	}
	return nil
}

// complain logs an error once a minute.
func (c *catchUp) complain(err error) {
	if time.Since(c.complained) >= time.Minute {
		c.complained = time.Now()
		c.log.Warn("Sending again what a receiver of remote write has missed fails", "err", err)
	}
}

// read makes batches of what is stored.
func (c *catchUp) read(ctx context.Context, mint, maxt int64, sent map[uint64]int64) (batches []batch, err error) {
	cfg := c.receiver.config
	most := max(1, cfg.QueueConfig.MaxSamplesPerSend)
	var series []prompb.TimeSeries
	samples, read := 0, 0
	flush := func() error {
		if len(series) == 0 {
			return nil
		}
		b, err := newBatch(series)
		batches, series, samples = append(batches, b), nil, 0
		return err
	}
	builder := labels.NewBuilder(labels.EmptyLabels())
	newest := make(map[uint64]int64) // not sent yet, and never if there are too many
	err = c.manager.opts.Source.Read(ctx, c.of, mint, maxt, func(ls labels.Labels, all []Sample) error {
		builder.Reset(ls)
		c.receiver.external.Range(func(l labels.Label) {
			if builder.Get(l.Name) == "" {
				builder.Set(l.Name, l.Value)
			}
		})
		if !relabel.ProcessBuilder(builder, cfg.WriteRelabelConfigs...) {
			return nil
		}
		if sent != nil {
			hash := ls.Hash()
			for len(all) > 0 && all[0].T <= sent[hash] {
				all = all[1:]
			}
			if len(all) > 0 {
				newest[hash] = max(newest[hash], all[len(all)-1].T)
			}
		}
		for name := prompb.FromLabels(builder.Labels(), nil); len(all) > 0; {
			n := min(len(all), most-samples)
			one := prompb.TimeSeries{Labels: name}
			for _, s := range all[:n] {
				c.add(&one, s)
			}
			all = all[n:]
			if len(one.Samples)+len(one.Histograms) == 0 {
				continue
			}
			series, samples, read = append(series, one), samples+n, read+n
			if samples >= most {
				if err := flush(); err != nil {
					return err
				}
			}
		}
		if TooMany(read, mint, maxt) {
			return ErrMany
		}
		return ctx.Err()
	})
	c.samples += read
	if err == nil {
		err = flush()
		maps.Copy(sent, newest)
	}
	return batches, err
}

// add appends a sample in a form that the receiver is sent, as upstream's queue does.
func (c *catchUp) add(to *prompb.TimeSeries, s Sample) {
	cfg := c.receiver.config
	custom := s.H != nil && histogram.IsCustomBucketsSchema(s.H.Schema) || s.FH != nil && histogram.IsCustomBucketsSchema(s.FH.Schema)
	switch {
	case s.H == nil && s.FH == nil:
		to.Samples = append(to.Samples, prompb.Sample{Timestamp: s.T, Value: s.V})
	case !cfg.SendNativeHistograms, custom && c.sender.first == remoteapi.WriteV1MessageType:
	case s.FH != nil:
		to.Histograms = append(to.Histograms, prompb.FromFloatHistogram(s.T, s.FH))
	default:
		to.Histograms = append(to.Histograms, prompb.FromIntHistogram(s.T, s.H))
	}
}
