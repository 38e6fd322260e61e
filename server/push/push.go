// Package push takes samples from machines that nobody can scrape: they send what they have by
// remote write, and this server decides which machine they are of. A machine proves its name by
// a client certificate, a token, or as a device of the tailnet (server/identity); what it says
// of itself counts for nothing. The server also writes up for it, so that whatever reads up of
// scraped targets works for it as well.
package push

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/exp/api/remote"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/prometheus/prometheus/storage"
	upstream "github.com/prometheus/prometheus/storage/remote"

	"github.com/clanmon/clanmon/internal/history"
)

// Options for New. All but SetAside are required.
type Options struct {
	// Appendable is where samples go. Its appenders must implement
	// storage.ExemplarAppenderV2.
	Appendable storage.AppendableV2
	// Store is what they can be read from again.
	Store storage.Queryable
	// Scraped returns the targets that this server scrapes, and whether they respond. What a
	// machine sends of those that respond is ignored; up is that of the scrape.
	Scraped func() map[Target]bool
	// Reserved are jobs that no machine may send.
	Reserved []string
	// Availability is the label of that name of machines that send.
	Availability string
	// MaxSeries is how many series a machine may have; 0 is no limit.
	MaxSeries uint
	// MaxConnections is how many connections the server accepts; 0 is no limit.
	MaxConnections int
	// Dir is the data directory.
	Dir string
	// SetAside moves a damaged file away. May be nil.
	SetAside   func(file, what, lost string, why error) error
	Registerer prometheus.Registerer
	Logger     *slog.Logger
}

// Target is a job of a machine.
type Target struct{ Machine, Job string }

// feed is what a machine sends of a job, with one value of the label instance.
type feed struct {
	Target
	instance string
}

const (
	maxBody    = 16 << 20        // of a request, compressed; upstream bounds what it is decompressed to
	atOnce     = 4               // requests that are decoded at one time
	backlogs   = atOnce - 1      // of these with a backlog
	patience   = 5 * time.Second // of a request for its turn
	retryAfter = "5"             // seconds
	scrapedFor = 5 * time.Second // that Options.Scraped is believed
)

// Why samples or requests are not stored, in metrics.
const (
	reasonScraped    = "scraped"
	reasonUp         = "up"
	reasonOutOfOrder = "out_of_order"
	reasonTooOld     = "too_old"
	reasonDuplicate  = "duplicate"

	reasonUnidentified = "not_identified"
	reasonBusy         = "busy"
	reasonRefused      = "refused"
)

// Push takes samples. Safe for concurrent use.
type Push struct {
	opts    Options
	receive http.Handler
	turns   chan struct{}
	backlog chan struct{} // turns for a backlog
	start   time.Time

	mu      sync.Mutex
	heard   map[feed]*hearing
	changed bool // since heard was saved
	unsaved bool // the file could not be read or set aside
	series  map[string]*budget

	scraped     map[Target]bool
	scrapedTill time.Time

	samples *prometheus.CounterVec
	dropped *prometheus.CounterVec
	refused *prometheus.CounterVec
}

// New returns a Push that knows what it heard before. Its Run has to run.
func New(o Options) *Push {
	f := promauto.With(o.Registerer)
	p := &Push{
		opts: o, turns: make(chan struct{}, atOnce), backlog: make(chan struct{}, backlogs), start: time.Now(),
		heard: make(map[feed]*hearing), series: make(map[string]*budget),
		samples: f.NewCounterVec(prometheus.CounterOpts{
			Name: "clanmon_push_samples_total", Help: "Samples that machines pushed and that were stored, by machine.",
		}, []string{"machine"}),
		dropped: f.NewCounterVec(prometheus.CounterOpts{
			Name: "clanmon_push_samples_dropped_total",
			Help: "Samples that machines pushed and that were dropped, by reason: scraped (this server scrapes the job), up (this server writes it), out_of_order, too_old (older than the out-of-order time window), duplicate (a different value for the same timestamp).",
		}, []string{"machine", "reason"}),
		refused: f.NewCounterVec(prometheus.CounterOpts{
			Name: "clanmon_push_requests_refused_total",
			Help: "Requests of machines that were refused as a whole, by reason: not_identified, busy (the machine retries), refused (the response says why).",
		}, []string{"reason"}),
	}
	for _, reason := range []string{reasonUnidentified, reasonBusy, reasonRefused} {
		p.refused.WithLabelValues(reason)
	}
	f.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "clanmon_push_machines", Help: "Machines that pushed samples in the last minutes.",
	}, func() float64 { return float64(p.count(time.Now())) })
	// Its own metrics are those of /api/v1/write, which is registered elsewhere.
	p.receive = upstream.NewWriteHandler(o.Logger, nil, p, remote.MessageTypes{remote.WriteV1MessageType, remote.WriteV2MessageType}, false, false)
	p.recall()
	return p
}

// Handler takes remote write 1.0 and 2.0. Of a machine it knows, it stores all samples of a
// request or, with a status of 400 and above, none; but what is too old, out of order, of a job
// that this server scrapes, or has another value already, is left out and counted.
func (p *Push) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			w.Header().Set("Allow", http.MethodPost)
			http.Error(w, "use POST", http.StatusMethodNotAllowed)
			return
		}
		machine, why := proven(r)
		if machine == "" {
			p.refused.WithLabelValues(reasonUnidentified).Inc()
			w.Header().Set("WWW-Authenticate", "Bearer")
			http.Error(w, "cannot identify the machine: "+why, http.StatusUnauthorized)
			return
		}
		if limit := p.opts.MaxConnections; limit > 0 && p.count(time.Now()) > limit/4 {
			w.Header().Set("Connection", "close") // which others need more than this machine until its next gather
		}
		turn, cancel := context.WithTimeout(r.Context(), patience)
		defer cancel()
		lanes := []chan struct{}{p.turns}
		if r.Header.Get(history.BacklogHeader) != "" {
			lanes = []chan struct{}{p.backlog, p.turns}
		}
		for _, lane := range lanes {
			select {
			case lane <- struct{}{}:
				defer func() { <-lane }()
			case <-turn.Done():
				p.refused.WithLabelValues(reasonBusy).Inc()
				w.Header().Set("Retry-After", retryAfter)
				http.Error(w, "too many machines send at once: try again", http.StatusTooManyRequests)
				return
			}
		}
		b := &batch{push: p, machine: machine, now: time.Now(), feeds: make(map[feed]*sent)}
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		p.receive.ServeHTTP(&answer{ResponseWriter: w, batch: b}, r.WithContext(context.WithValue(r.Context(), batchKey{}, b)))
	})
}

type batchKey struct{}

// AppenderV2 implements storage.AppendableV2 for upstream's handler.
func (p *Push) AppenderV2(ctx context.Context) storage.AppenderV2 {
	b := ctx.Value(batchKey{}).(*batch)
	return &appender{AppenderV2: p.opts.Appendable.AppenderV2(ctx), batch: b}
}

// answer turns the status of a batch that was refused into one that its sender does not try
// again, and adds to upstream's words what may be wrong.
type answer struct {
	http.ResponseWriter
	batch *batch
	code  int
}

func (a *answer) WriteHeader(code int) {
	if code == http.StatusInternalServerError && a.batch.why != nil {
		code = http.StatusBadRequest
	}
	if code >= 400 && code < 500 {
		a.batch.push.refused.WithLabelValues(reasonRefused).Inc()
	}
	if newest, ok := a.batch.had(); ok && code/100 == 2 {
		a.Header().Set(history.NewestHeader, strconv.FormatInt(newest, 10))
	}
	a.code = code
	a.ResponseWriter.WriteHeader(code)
}

func (a *answer) Write(text []byte) (int, error) {
	n, err := a.ResponseWriter.Write(text)
	if err == nil && a.code == http.StatusBadRequest && bytes.Contains(text, []byte(storage.ErrOutOfBounds.Error())) {
		_, err = fmt.Fprintf(a.ResponseWriter, "The clock of %s seems to be ahead. The time of this server is %s.\n", a.batch.machine, a.batch.now.UTC().Format(time.RFC3339))
	}
	return n, err
}

// scrapes reports whether this server scrapes a job of a machine, which responds.
func (p *Push) scrapes(t Target, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.scraped == nil || now.After(p.scrapedTill) {
		p.scraped, p.scrapedTill = p.opts.Scraped(), now.Add(scrapedFor)
	}
	return p.scraped[t]
}

// Heard returns when a machine last sent what belongs to a target; the zero time if it does not.
func (p *Push) Heard(machine, job, instance string) time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	if h := p.heard[feed{Target{machine, job}, instance}]; h != nil {
		return h.Last
	}
	return time.Time{}
}

// Forget ends up of a target, until the machine sends it again.
func (p *Push) Forget(machine, job, instance string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if h := p.heard[feed{Target{machine, job}, instance}]; h != nil {
		h.Last, p.changed = time.Time{}, true // long ago
	}
}

func (p *Push) setAside(file string, err error) error {
	if p.opts.SetAside == nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return p.opts.SetAside(file, "list of machines that push", "Machines are known again when they push.", err)
}
