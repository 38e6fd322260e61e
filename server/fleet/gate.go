package fleet

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	commonconfig "github.com/prometheus/common/config"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/textparse"
	"github.com/prometheus/prometheus/scrape"

	"github.com/clanmon/clanmon/discovery/contract"
)

// A device is not yet a target. What was found by asking the network becomes a
// target of a job once it has answered with metrics; before that it would be a
// target that is down and never was up. The gate asks, and remembers in the data
// directory who has answered, so that a machine which is down while the server
// starts is still missed.

// How the gate asks: this many at one time, each this long; a first time spread
// over a while, then ever more rarely.
const (
	askers     = 32
	askTimeout = 5 * time.Second
	spread     = 5 * time.Millisecond // for each that is new
	firstPause = 5 * time.Second
	longest    = 5 * time.Minute
	maxAnswer  = 256 << 10
	// forgetDevice is how long one that is not discovered any more is remembered.
	forgetDevice = 90 * 24 * time.Hour
)

// endpoint is where a job would be scraped.
type endpoint struct{ job, address string }

// Waiting is an endpoint that was found and has not answered.
type Waiting struct {
	Job      string `json:"job"`
	Machine  string `json:"machine"`
	Instance string `json:"instance"`
	Address  string `json:"address"`
	Method   string `json:"method"`
	// Reason is one of: not asked yet, refused, timeout, no route, name not found,
	// TLS, HTTP status, no metrics, error.
	Reason   string `json:"reason"`
	Error    string `json:"error,omitempty"`
	Attempts int    `json:"attempts"`

	url     string
	offline bool // as its method believes
	next    time.Time
	busy    bool
}

type gate struct {
	file string // "" remembers nothing
	opts []commonconfig.HTTPClientOption
	log  *slog.Logger
	stop func() // ends what dials

	// changed holds one message when endpoints have answered; kick makes Run look at
	// what is waiting.
	changed, kick chan struct{}

	mu       sync.Mutex
	clients  map[string]*http.Client // by job
	answered map[endpoint]string     // the day on which it was discovered last
	waiting  map[endpoint]*Waiting
	dirty    bool // to be saved
	opened   bool // to be told

	unsaved bool // saving failed the last time
}

func newGate(dir string, opts []commonconfig.HTTPClientOption, dial commonconfig.DialContextFunc, log *slog.Logger) *gate {
	running, stop := context.WithCancel(context.Background())
	// A transport goes on dialling when its request has ended, in case that another
	// needs the connection.
	limited := func(ctx context.Context, network, address string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, askTimeout)
		defer cancel()
		defer context.AfterFunc(running, cancel)()
		return dial(ctx, network, address)
	}
	g := &gate{
		stop: stop,
		opts: append(slices.Clone(opts), commonconfig.WithKeepAlivesDisabled(), commonconfig.WithDialContextFunc(limited)), log: log,
		changed: make(chan struct{}, 1), kick: make(chan struct{}, 1),
		answered: make(map[endpoint]string), waiting: make(map[endpoint]*Waiting),
	}
	if dir != "" {
		g.file = filepath.Join(dir, "clanmon-discovered.json")
		if err := g.load(); err != nil {
			log.Error("What had answered before is not known: machines that are down now become targets when they answer", "file", g.file, "err", err)
		}
	}
	return g
}

// day is the time with which the file is content: it changes once a day.
func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }

func (g *gate) load() error {
	text, err := os.ReadFile(g.file)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var byJob map[string]map[string]string
	if err := json.Unmarshal(text, &byJob); err != nil {
		return err
	}
	for job, addresses := range byJob {
		for address, last := range addresses {
			if t, err := time.Parse(time.DateOnly, last); err == nil && time.Since(t) < forgetDevice {
				g.answered[endpoint{job, address}] = last
			}
		}
	}
	return nil
}

// save writes what changed, whole or not at all.
func (g *gate) save() error {
	g.mu.Lock()
	if !g.dirty || g.file == "" {
		g.mu.Unlock()
		return nil
	}
	byJob := make(map[string]map[string]string)
	for e, last := range g.answered {
		if byJob[e.job] == nil {
			byJob[e.job] = make(map[string]string)
		}
		byJob[e.job][e.address] = last
	}
	g.dirty = false
	g.mu.Unlock()
	text, err := json.Marshal(byJob)
	if err == nil {
		err = os.WriteFile(g.file+".new", text, 0o644)
	}
	if err == nil {
		err = os.Rename(g.file+".new", g.file)
	}
	if err != nil {
		os.Remove(g.file + ".new")
		g.mu.Lock()
		g.dirty = true
		g.mu.Unlock()
	}
	return err
}

// applyConfig makes clients with the settings of the jobs.
func (g *gate) applyConfig(jobs map[string]*config.ScrapeConfig) error {
	clients := make(map[string]*http.Client, len(jobs))
	for name, job := range jobs {
		c, err := commonconfig.NewClientFromConfig(job.HTTPClientConfig, name, g.opts...)
		if err != nil {
			return fmt.Errorf("job %q: %w", name, err)
		}
		clients[name] = c
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.clients = clients
	return nil
}

// isOpen reports whether an endpoint has answered.
func (g *gate) isOpen(e endpoint) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	last, ok := g.answered[e]
	if today := day(time.Now()); ok && last != today {
		g.answered[e] = today
		g.dirty = true
	}
	return ok
}

// await replaces what is waiting. An endpoint that waits already keeps its turn,
// unless its machine has just come online.
func (g *gate) await(candidates []candidate) {
	g.mu.Lock()
	defer g.mu.Unlock()
	waiting := make(map[endpoint]*Waiting, len(candidates))
	fresh := 0
	for _, c := range candidates {
		e := endpoint{c.job, c.address}
		w := g.waiting[e]
		if w == nil {
			w = &Waiting{Reason: "not asked yet"}
			fresh++
		}
		offline := c.meta["__meta_tailscale_online"] == "false"
		if w.offline && !offline {
			w.next, w.Attempts = time.Now(), 0
		}
		w.Job, w.Machine, w.Instance, w.Address, w.Method, w.url, w.offline = c.job, c.machine, c.instance, c.address, c.method, c.url, offline
		waiting[e] = w
	}
	for _, w := range waiting {
		if w.next.IsZero() {
			w.next = time.Now().Add(rand.N(time.Duration(fresh) * spread))
		}
	}
	g.waiting = waiting
	notify(g.kick)
}

func notify(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// Run asks until ctx ends.
func (g *gate) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer func() {
		g.stop()
		wg.Wait()
		g.store()
	}()
	slots := make(chan struct{}, askers)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	second := func() {
		g.store()
		g.tell()
	}
	for {
		select {
		case slots <- struct{}{}:
		case <-tick.C:
			second()
			continue
		case <-ctx.Done():
			return nil
		}
		if w := g.nextDue(); w != nil {
			wg.Go(func() {
				defer func() { <-slots }()
				g.attempt(ctx, w)
			})
			continue
		}
		<-slots
		select {
		case <-tick.C:
			second()
		case <-g.kick:
		case <-ctx.Done():
			return nil
		}
	}
}

// store saves, and says once that it cannot. It is for Run's goroutine.
func (g *gate) store() {
	err := g.save()
	if err != nil && !g.unsaved {
		g.log.Error("Could not remember who answered: machines that are down at the next start become targets when they answer", "file", g.file, "err", err)
	}
	g.unsaved = err != nil
}

// tell says that endpoints have answered, at most once a second: with many
// machines each Merge has its price.
func (g *gate) tell() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.opened {
		g.opened = false
		notify(g.changed)
	}
}

// nextDue takes the endpoint whose turn it is: first those that are not believed
// to be offline, which take long not to answer; then those that were asked less
// often; then by job, so that a machine is seen before all its exporters are.
func (g *gate) nextDue() *Waiting {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	var best *Waiting
	for _, w := range g.waiting {
		if w.busy || w.next.After(now) {
			continue
		}
		if best == nil || before(w, best) {
			best = w
		}
	}
	if best != nil {
		best.busy = true
	}
	return best
}

func before(a, b *Waiting) bool {
	if a.offline != b.offline {
		return b.offline
	}
	return cmp.Or(a.Attempts-b.Attempts, contract.CompareJobs(a.Job, b.Job)) < 0
}

// attempt asks once.
func (g *gate) attempt(ctx context.Context, w *Waiting) {
	g.mu.Lock()
	client, url := g.clients[w.Job], w.url
	g.mu.Unlock()
	err := errors.New("the job is gone")
	if client != nil {
		err = ask(ctx, client, url)
	}
	if ctx.Err() != nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	w.busy = false
	if err == nil {
		e := endpoint{w.Job, w.Address}
		g.answered[e] = day(time.Now())
		delete(g.waiting, e)
		g.dirty, g.opened = true, true
		return
	}
	w.Attempts++
	w.Reason, w.Error = reason(err), err.Error()
	pause := min(longest, firstPause<<min(w.Attempts-1, 10))
	w.next = time.Now().Add(pause + rand.N(pause/5))
}

// statusError is an answer other than 200.
type statusError struct{ status string }

func (e *statusError) Error() string { return "server returned HTTP status " + e.status }

var errNoMetrics = errors.New("the answer has no metrics")

// ask scrapes once and wants at least one series. It asks for the plain text
// format only, and reads no more than the beginning.
func ask(ctx context.Context, client *http.Client, url string) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", "text/plain;version=0.0.4")
	req.Header.Set("X-Prometheus-Scrape-Timeout-Seconds", fmt.Sprint(askTimeout.Seconds()))
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return &statusError{res.Status}
	}
	text, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return err
	}
	if len(text) == maxAnswer { // whole lines only
		text = text[:strings.LastIndexByte(string(text), '\n')+1]
	}
	p, err := textparse.New(text, res.Header.Get("Content-Type"), nil, textparse.ParserOptions{FallbackContentType: "text/plain"})
	if p == nil {
		return fmt.Errorf("%w: %w", errNoMetrics, err)
	}
	for {
		switch entry, err := p.Next(); {
		case errors.Is(err, io.EOF):
			return errNoMetrics
		case err != nil:
			return fmt.Errorf("%w: %w", errNoMetrics, err)
		case entry == textparse.EntrySeries, entry == textparse.EntryHistogram:
			return nil
		}
	}
}

// reason is an error in a word that a person can search for.
func reason(err error) string {
	var netErr net.Error
	var dnsErr *net.DNSError
	var status *statusError
	var certificate *tls.CertificateVerificationError
	var unknown x509.UnknownAuthorityError
	var record tls.RecordHeaderError
	var alert tls.AlertError
	switch {
	case errors.As(err, &status):
		return "HTTP status"
	case errors.Is(err, errNoMetrics):
		return "no metrics"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "refused"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "no route"
	case errors.As(err, &dnsErr):
		return "name not found"
	case errors.As(err, &certificate), errors.As(err, &unknown), errors.As(err, &record), errors.As(err, &alert):
		return "TLS"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &netErr) && netErr.Timeout():
		return "timeout"
	}
	return "error"
}

// list is what is waiting, in the order of machines and jobs.
func (g *gate) list() []Waiting {
	g.mu.Lock()
	defer g.mu.Unlock()
	all := make([]Waiting, 0, len(g.waiting))
	for _, w := range g.waiting {
		all = append(all, *w)
	}
	slices.SortFunc(all, func(a, b Waiting) int {
		return cmp.Or(strings.Compare(a.Machine, b.Machine), contract.CompareJobs(a.Job, b.Job), strings.Compare(a.Address, b.Address))
	})
	return all
}

// url is where a target would be scraped.
func url(c candidate, cfg *config.ScrapeConfig) string {
	return scrape.NewTarget(c.found, cfg, c.meta, c.group.Labels).URL().String()
}
