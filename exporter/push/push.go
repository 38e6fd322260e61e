// Package push sends what an exporter gathers to a receiver of remote write: what is new
// first, and then, from the history on disk, what the receiver missed.
//
// What it has acknowledged is written down after each response. Whatever that leaves in doubt
// is sent again, which changes nothing for a receiver that has it.
package push

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/clanmon/clanmon/exporter/history"
	wire "github.com/clanmon/clanmon/internal/history"
)

// Options for New. All but Registerer and Secrets are required.
type Options struct {
	URL    *url.URL
	Client *http.Client // which proves who this machine is
	// Dir is where the cursor is.
	Dir string
	// Interval is the time between two gathers.
	Interval time.Duration
	// Instances has the label instance of the kinds that are sent.
	Instances map[string]string
	// Read reads gathers of the history, and Oldest is the time of the first one.
	Read   func(ctx context.Context, after, before int64, send func(history.Gather) error) error
	Oldest func() int64
	// Last is the time of the newest gather of the history, math.MinInt64 if there is none.
	Last int64
	// Secrets are what must not be in the log although a receiver may repeat it; nil for none.
	Secrets    func() []string
	UserAgent  string
	Registerer prometheus.Registerer
	Logger     *slog.Logger
}

const (
	// maxSamples is how many a request has; a gather that has more is one request. It is
	// halved while requests take too long.
	maxSamples, minSamples = 10_000, 500
	minTimeout, maxTimeout = 10 * time.Second, 30 * time.Second
	firstDelay             = time.Second
	// maxRetryAfter bounds what a receiver may ask for.
	maxRetryAfter = 10 * time.Minute
	// tolerated is how far a clock may be off before the log says so.
	tolerated = time.Minute
	// learned is how long the size of requests that a receiver refused bounds others.
	learned = 24 * time.Hour
	// maxRead is how much of a response is read, and maxWords how much of that is logged.
	maxRead, maxWords = 16 << 10, 300
	// shortest is the length of secrets that are looked for. Shorter ones are parts of words.
	shortest = 4
)

// Gather is what was gathered at one time.
type Gather struct {
	Time   int64 // Unix milliseconds
	Before int64 // time of the gather before
	Values []Value
}

// A Value is that of a series.
type Value struct {
	Key  string // see internal/history
	Bits uint64
}

// Sender sends to one receiver. Its Run has to run.
type Sender struct {
	opts    Options
	name    string // of the receiver
	file    string
	timeout time.Duration
	log     *slog.Logger
	wake    chan struct{}
	metrics metrics

	// Of Run.
	version    int  // of remote write
	negotiated bool // the receiver has acknowledged something in version 2
	limit      int  // of samples in a request
	most       int  // samples that the receiver takes in a request, as known until mostTill
	mostTill   time.Time

	mu        sync.Mutex
	cursor    cursor
	live      *Gather // the newest one, until it is sent
	succeeded time.Time
	proof     string            // in the header Authorization of the last request
	said      map[string]string // by what it is about: the last error in the log
}

// New returns a Sender that knows what was acknowledged before.
func New(o Options) *Sender {
	s := &Sender{
		opts: o, name: o.URL.Redacted(), timeout: min(max(o.Interval, minTimeout), maxTimeout),
		file: cursorFile(o.Dir, o.URL.String()), wake: make(chan struct{}, 1), version: 2, limit: maxSamples, most: math.MaxInt,
		said: make(map[string]string),
	}
	s.log = o.Logger.With("receiver", s.name)
	var known bool
	var err error
	if s.cursor, known, err = loadCursor(s.file, s.name); err != nil {
		s.log.Warn("Could not read what was pushed before; only what the receiver reports missing is sent again", "err", err)
	}
	if !known {
		s.cursor.Newest = o.Last
	}
	s.metrics = newMetrics(s, o.Registerer)
	return s
}

// Expect says that a gather of time t is about to be kept. Where the clock was set back, what was
// sent with later times is not what was gathered then.
func (s *Sender) Expect(t int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cursor.void(t - 1) {
		s.save()
	}
}

// Offer hands over a gather, which must not be changed after that.
func (s *Sender) Offer(g *Gather) {
	s.mu.Lock()
	s.live = g
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Dropping says that the history is about to drop the gathers from one time to another.
func (s *Sender) Dropping(from, to int64) {
	s.mu.Lock()
	pending := to > s.cursor.Newest
	for _, g := range s.cursor.Missing {
		pending = pending || from < g[1] && to > g[0]
	}
	s.mu.Unlock()
	if !pending {
		return
	}
	lost := 0
	_ = s.opts.Read(context.Background(), from-1, to+1, func(g history.Gather) error { // what is damaged is lost already
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.cursor.pending(g.Time) {
			lost++
		}
		return nil
	})
	if lost > 0 {
		s.metrics.lost.Add(float64(lost))
		s.say("lost", slog.LevelError, "Dropped gathers that were not pushed yet", errors.New("the history is full: raise --history or --history.max-bytes"))
	}
}

// save writes the cursor down. Without that, a restart sends some gathers again.
func (s *Sender) save() {
	s.sayLocked("cursor", slog.LevelWarn, "Could not save what was pushed; it is sent again after a restart", s.cursor.save(s.file))
}

// say logs an error about something unless it is that of the last time. No error ends it.
func (s *Sender) say(about string, level slog.Level, what string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sayLocked(about, level, what, err)
}

func (s *Sender) sayLocked(about string, level slog.Level, what string, err error) {
	if err == nil {
		delete(s.said, about)
		return
	}
	if s.said[about] != err.Error() {
		s.log.Log(context.Background(), level, what, "err", err)
	}
	s.said[about] = err.Error()
}

// Run sends until ctx ends.
func (s *Sender) Run(ctx context.Context) {
	failures := 0
	for {
		err := s.send(ctx)
		if ctx.Err() != nil {
			return
		}
		wake, delay := s.wake, time.Duration(0)
		if err != nil {
			failures++
			s.metrics.failures.Inc()
			s.opts.Client.CloseIdleConnections() // the network may have changed
			s.say("send", slog.LevelWarn, "Could not push; samples stay in the history and are retried", err)
			wake, delay = nil, s.delay(failures, err)
		} else if failures > 0 {
			failures = 0
			s.say("send", slog.LevelInfo, "", nil)
			s.log.Info("Pushing works again")
		}
		var again <-chan time.Time
		if delay > 0 {
			again = time.After(delay)
		}
		select {
		case <-ctx.Done():
			return
		case <-wake:
		case <-again:
		}
	}
}

// delay is how long to wait after so many failures in a row. It is at most an interval, so that
// what is new arrives one interval after the receiver is back.
func (s *Sender) delay(failures int, err error) time.Duration {
	if later, ok := errors.AsType[*laterError](err); ok && later.after > 0 {
		return later.after + rand.N(s.opts.Interval/2+1)
	}
	d := min(firstDelay<<min(failures-1, 10), max(s.opts.Interval, firstDelay))
	return d/2 + rand.N(d/2+1)
}

// errChanged says that a gap is not missing any more, or more than it.
var errChanged = errors.New("the cursor has moved")

// send sends all that there is to send.
func (s *Sender) send(ctx context.Context) error {
	if err := s.sendLive(ctx); err != nil {
		return err
	}
	for {
		s.mu.Lock()
		missing := s.cursor.Missing
		var g gap
		if len(missing) > 0 {
			g = missing[0]
		}
		s.mu.Unlock()
		if len(missing) == 0 {
			return nil
		}
		if err := s.sendGap(ctx, g); err != nil && !errors.Is(err, errChanged) {
			return err
		}
	}
}

// sendLive sends the newest gather, if that was not done yet.
func (s *Sender) sendLive(ctx context.Context) error {
	s.mu.Lock()
	g := s.live
	s.mu.Unlock()
	if g == nil {
		return nil
	}
	b := newBatch(s.opts.Instances)
	for _, v := range g.Values {
		if err := b.add(g.Time, v.Key, v.Bits); err != nil {
			return err
		}
	}
	return s.post(ctx, b, func() {
		s.cursor.sent(g.Time, g.Before)
		if s.live == g {
			s.live = nil
		}
	})
}

// sendGap sends what a gap has, and what is new in between.
func (s *Sender) sendGap(ctx context.Context, g gap) error {
	begin := func() *batch {
		b := newBatch(s.opts.Instances)
		b.backlog = true
		return b
	}
	b, last := begin(), g[0]
	flush := func(till int64) error {
		var changed bool
		note := func() {
			changed = !s.cursor.filled(g, till)
			g[0] = till
		}
		if err := s.post(ctx, b, note); err != nil {
			return err
		}
		if changed {
			return errChanged
		}
		b = begin()
		return s.sendLive(ctx)
	}
	err := s.opts.Read(ctx, g[0], g[1], func(x history.Gather) error {
		if b.samples > 0 && b.samples+x.Len() > s.limit {
			if err := flush(last); err != nil {
				return err
			}
		}
		last = x.Time
		return x.All(func(key string, bits uint64) error { return b.add(x.Time, key, bits) })
	})
	if err != nil {
		return err
	}
	return flush(g[1])
}

// laterError is a failure after which the receiver wants to be left alone.
type laterError struct {
	error
	after time.Duration
}

// result is what a receiver says of a batch, or of several.
type result struct {
	newest  int64 // time of the newest sample that it had before, -1 if it does not say
	stored  int   // samples
	refused int   // for good
}

// post sends a batch, if it has something, and calls note, under the lock, when that is done with.
// An error says that it has to be sent again.
func (s *Sender) post(ctx context.Context, b *batch, note func()) error {
	r := result{newest: -1}
	if b.samples > 0 {
		var err error
		if r, err = s.deliver(ctx, b); err != nil {
			return err
		}
		missing := b.samples - r.stored - r.refused
		if missing == b.samples {
			return errors.New("the response acknowledges none of the samples")
		}
		var lost error
		if missing > 0 {
			lost = errors.New("the response acknowledges fewer samples than were sent")
		}
		s.metrics.samples.Add(float64(r.stored))
		s.metrics.dropped.WithLabelValues(reasonRefused).Add(float64(r.refused))
		s.metrics.dropped.WithLabelValues(reasonUnacknowledged).Add(float64(missing))
		s.say("unacknowledged", slog.LevelError, "The receiver did not store all samples; the others are not sent again", lost)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.newest >= 0 && s.cursor.void(r.newest) {
		s.log.Warn("The receiver lacks samples that it acknowledged; they are sent again", "from", time.UnixMilli(r.newest).UTC().Format(time.RFC3339))
	}
	note()
	s.save()
	return nil
}

// deliver sends a batch, in parts if it is too large for the receiver. An error says that all of it
// has to be sent again.
func (s *Sender) deliver(ctx context.Context, b *batch) (r result, err error) {
	if time.Now().After(s.mostTill) {
		s.most = math.MaxInt
	}
	if b.samples <= s.most || !b.divisible() {
		for {
			r, err = s.request(ctx, b)
			if !errors.Is(err, errOlder) {
				break
			}
		}
		if !errors.Is(err, errTooLarge) {
			return r, err
		}
		s.most, s.mostTill = max(b.samples/2, minSamples), time.Now().Add(learned)
		s.limit = min(s.limit, s.most)
		s.log.Warn("The receiver refused a request as too large; requests are smaller for a day", "samples", b.samples, "maximum", s.most)
	}
	first, second := b.halves()
	if r, err = s.deliver(ctx, first); err != nil {
		return result{}, err
	}
	later, err := s.deliver(ctx, second)
	if r.newest < 0 || later.newest >= 0 && later.newest < r.newest {
		r.newest = later.newest
	}
	r.stored += later.stored
	r.refused += later.refused
	return r, err
}

var (
	// errOlder says that the receiver wants version 1.
	errOlder = errors.New("remote write 1.0")
	// errTooLarge says that the receiver wants smaller requests.
	errTooLarge = errors.New("too large")
)

// request sends a batch once. An error says that it has to be sent again.
func (s *Sender) request(ctx context.Context, b *batch) (r result, err error) {
	r.newest = -1
	limited, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	limited = httptrace.WithClientTrace(limited, &httptrace.ClientTrace{WroteHeaderField: s.wrote})
	req, err := http.NewRequestWithContext(limited, http.MethodPost, s.opts.URL.String(), bytes.NewReader(b.encode(s.version)))
	if err != nil {
		return r, err
	}
	req.Header.Set("Content-Encoding", "snappy")
	req.Header.Set("User-Agent", s.opts.UserAgent)
	req.Header.Set("Content-Type", "application/x-protobuf")
	req.Header.Set("X-Prometheus-Remote-Write-Version", "0.1.0")
	if b.backlog {
		req.Header.Set(wire.BacklogHeader, "1")
	}
	if s.version == 2 {
		req.Header.Set("Content-Type", "application/x-protobuf;proto=io.prometheus.write.v2.Request")
		req.Header.Set("X-Prometheus-Remote-Write-Version", "2.0.0")
	}
	began := time.Now()
	res, err := s.opts.Client.Do(req)
	if failed, ok := errors.AsType[*url.Error](err); ok {
		err = failed.Err // without the URL
	}
	if err != nil {
		if limited.Err() != nil && ctx.Err() == nil {
			s.limit = max(s.limit/2, minSamples)
			return r, fmt.Errorf("no response in %s", s.timeout)
		}
		return r, errors.New(s.clean(err.Error()))
	}
	defer res.Body.Close()
	words, _ := io.ReadAll(io.LimitReader(res.Body, maxRead)) // a part is enough
	skew := s.skew(res.Header, began)
	written, acknowledges := count(res.Header)
	s.negotiated = s.negotiated || s.version == 2 && acknowledges
	ok := res.StatusCode/100 == 2
	unknown := ok && !acknowledges || res.StatusCode == http.StatusBadRequest || res.StatusCode == http.StatusUnsupportedMediaType
	if s.version == 2 && !s.negotiated && unknown {
		s.version = 1
		return r, errOlder
	}
	if ok && s.version == 2 && !acknowledges {
		return r, errors.New("the response does not say how many samples were stored, as remote write 2.0 demands")
	}
	if ok {
		if r.stored = b.samples; s.version == 2 {
			r.stored = min(written, b.samples)
		}
		if r.stored == 0 {
			return r, nil
		}
		r.newest = had(res.Header)
		s.limit = min(2*s.limit, maxSamples, s.most)
		s.mu.Lock()
		s.succeeded = time.Now()
		s.mu.Unlock()
		return r, nil
	}
	if res.StatusCode == http.StatusRequestEntityTooLarge && b.divisible() {
		return r, errTooLarge
	}
	err = errors.New(s.clean(res.Status + ": " + string(words)))
	if skew.Abs() > tolerated {
		err = fmt.Errorf("%w; %s", err, off(skew))
	}
	if final(res.StatusCode) {
		if s.version == 2 && acknowledges { // in part, as remote write 2.0 allows
			r.stored = min(written, b.samples)
		}
		r.refused = b.samples - r.stored
		s.say("refused", slog.LevelError, "The receiver refused samples; they are not sent again", err)
		return r, nil
	}
	return r, &laterError{err, retryAfter(res.Header.Get("Retry-After"), time.Now())}
}

// wrote notes by what a request proves who it is from: a token of OAuth 2.0 is in no file.
func (s *Sender) wrote(name string, values []string) {
	if strings.EqualFold(name, "Authorization") && len(values) > 0 {
		_, proof, _ := strings.Cut(values[0], " ")
		s.mu.Lock()
		s.proof = proof
		s.mu.Unlock()
	}
}

// final reports whether a status says that these samples are never going to be accepted. Others
// are about the receiver, or about who may send to it where.
func final(status int) bool {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusMethodNotAllowed,
		http.StatusProxyAuthRequired, http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return false
	}
	return status/100 == 4
}

// count is how many samples a response says were stored.
func count(h http.Header) (n int, ok bool) {
	n, err := strconv.Atoi(h.Get("X-Prometheus-Remote-Write-Samples-Written"))
	return n, err == nil && n >= 0
}

// had is the time of the newest sample that the receiver had before, -1 if it does not say.
func had(h http.Header) int64 {
	t, err := strconv.ParseInt(h.Get(wire.NewestHeader), 10, 64)
	if err != nil || t < 0 {
		return -1
	}
	return t
}

// retryAfter reads the header of that name: seconds, or a time.
func retryAfter(text string, now time.Time) time.Duration {
	var d time.Duration
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		d = time.Duration(seconds) * time.Second
	} else if at, err := http.ParseTime(text); err == nil {
		d = at.Sub(now)
	}
	return min(max(d, 0), maxRetryAfter)
}

// skew is how far the clock of this machine is ahead of the receiver's.
func (s *Sender) skew(h http.Header, began time.Time) time.Duration {
	theirs, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		return 0
	}
	ours := began.Add(time.Since(began) / 2)
	skew := ours.Sub(theirs.Add(500 * time.Millisecond)).Round(time.Second) // the header has no fractions
	s.metrics.skew.Set(skew.Seconds())
	var wrong error
	if skew.Abs() > tolerated {
		wrong = errors.New(off(skew.Round(time.Minute)))
	}
	s.say("clock", slog.LevelWarn, "Clocks differ; samples have wrong times or are refused", wrong)
	return skew
}

// off says how far the clock is off.
func off(skew time.Duration) string {
	if skew < 0 {
		return fmt.Sprintf("the clock of this machine is %s behind the receiver's", -skew)
	}
	return fmt.Sprintf("the clock of this machine is %s ahead of the receiver's", skew)
}

// clean makes what a receiver says fit for the log, without secrets.
func (s *Sender) clean(text string) string {
	s.mu.Lock()
	secrets := []string{s.proof}
	s.mu.Unlock()
	if s.opts.Secrets != nil {
		secrets = append(secrets, s.opts.Secrets()...)
	}
	secrets = slices.DeleteFunc(secrets, func(secret string) bool { return len(secret) < shortest })
	slices.SortFunc(secrets, func(a, b string) int { return len(b) - len(a) }) // one may be a part of another
	whole := len(text) < maxRead
	for _, secret := range secrets {
		text = strings.ReplaceAll(text, secret, "<secret>")
	}
	if !whole && len(secrets) > 0 { // it may end in a part of one
		text = text[:max(0, len(text)-len(secrets[0]))]
	}
	text = strings.Join(strings.Fields(strings.ToValidUTF8(text, "?")), " ")
	if len(text) > maxWords {
		text = strings.ToValidUTF8(text[:maxWords], "") + "…"
	}
	return cmp.Or(strings.TrimSuffix(text, ":"), "no reason")
}
