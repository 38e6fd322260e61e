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
	"maps"
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
	"github.com/clanmon/clanmon/internal/atomicfile"
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

// endpoint is an exporter that may answer: one who, "<method> <id of the machine>:
// <port>", of a job. It is not the address: an address may be given to another
// machine, which then has to answer itself, and a machine may get another address.
type endpoint struct{ job, who string }

// seen is when and where an endpoint has answered.
type seen struct {
	address string
	day     string // on which it was discovered last
}

// spot is where a job would be scraped.
type spot struct {
	endpoint
	address string
}

// Waiting is an endpoint that was found and has not answered.
type Waiting struct {
	Job      string `json:"job"`
	Machine  string `json:"machine"`
	Instance string `json:"instance"`
	Address  string `json:"address"`
	Method   string `json:"method"`
	// Reason is one of: not tried yet, refused, timeout, no route, name not found,
	// TLS, HTTP status, no metrics, error.
	Reason   string `json:"reason"`
	Error    string `json:"error,omitempty"`
	Attempts int    `json:"attempts"`

	who     endpoint
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
	answered map[endpoint]seen
	legacy   map[[2]string]string // by job and address, of a file by an earlier version
	waiting  map[spot]*Waiting
	dirty    bool   // to be saved
	opened   bool   // to be told
	swept    string // the day on which old entries were removed

	saving  sync.Mutex // one writer at a time
	unsaved bool       // saving failed the last time
	damaged error      // why file could not be read at the start
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
		answered: make(map[endpoint]seen), legacy: make(map[[2]string]string), waiting: make(map[spot]*Waiting), swept: day(time.Now()),
	}
	if dir != "" {
		g.file = filepath.Join(dir, "clanmon-discovered.json")
		atomicfile.Clean(g.file)
		if err := g.load(); err != nil {
			log.Error("Could not read the list of known targets: machines that are down become targets once they respond", "file", g.file, "err", err)
			g.damaged = err
		}
	}
	return g
}

// setAside keeps a file that cannot be read from being overwritten.
func setAside(aside func(file, what, hint string, why error) error, file, what string, why error, log *slog.Logger) {
	if aside == nil {
		return
	}
	if err := aside(file, what, "it is made anew as machines respond", why); err != nil {
		log.Warn("A damaged file stays until it is overwritten", "file", file, "err", err)
	}
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
	for job, entries := range byJob {
		for key, value := range entries {
			last, address, ok := strings.Cut(value, " ")
			switch _, err := time.Parse(time.DateOnly, last); {
			case err != nil || tooOld(last, time.Now()):
			case ok:
				g.answered[endpoint{job, key}] = seen{address, last}
			default:
				g.legacy[[2]string{job, key}] = last
			}
		}
	}
	return nil
}

// tooOld reports whether what was discovered last on a day is to be forgotten.
func tooOld(last string, now time.Time) bool { return last < day(now.Add(-forgetDevice)) }

// sweep forgets what was not discovered for long. It does so once a day.
func (g *gate) sweep(now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.swept == day(now) {
		return
	}
	g.swept = day(now)
	before := len(g.answered) + len(g.legacy)
	maps.DeleteFunc(g.answered, func(_ endpoint, s seen) bool { return tooOld(s.day, now) })
	maps.DeleteFunc(g.legacy, func(_ [2]string, last string) bool { return tooOld(last, now) })
	g.dirty = g.dirty || len(g.answered)+len(g.legacy) != before
}

// save writes what changed, whole or not at all.
func (g *gate) save() error {
	g.saving.Lock()
	defer g.saving.Unlock()
	g.mu.Lock()
	if !g.dirty || g.file == "" {
		g.mu.Unlock()
		return nil
	}
	byJob := make(map[string]map[string]string)
	add := func(job, key, value string) {
		if byJob[job] == nil {
			byJob[job] = make(map[string]string)
		}
		byJob[job][key] = value
	}
	for e, s := range g.answered {
		add(e.job, e.who, s.day+" "+s.address)
	}
	for key, last := range g.legacy {
		add(key[0], key[1], last)
	}
	g.dirty = false
	g.mu.Unlock()
	err := atomicfile.Write(g.file, 0o644, func(w io.Writer) error { return json.NewEncoder(w).Encode(byJob) })
	if err != nil {
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

// client asks with the settings of a job; nil if there is no such job.
func (g *gate) client(job string) *http.Client {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.clients[job]
}

// isOpen reports whether an endpoint has answered, and whether it did so at this
// address the last time.
func (g *gate) isOpen(e endpoint, address string) (open, here bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	s, ok := g.answered[e]
	if key := [2]string{e.job, address}; !ok && g.legacy[key] != "" {
		delete(g.legacy, key)
		s, ok = seen{address: address}, true
	}
	if !ok {
		return false, false
	}
	if today := day(time.Now()); s.day != today {
		s.day = today
		g.answered[e], g.dirty = s, true
	}
	return true, s.address == address
}

// moved says that an endpoint has another address.
func (g *gate) moved(e endpoint, address string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if s, ok := g.answered[e]; ok && s.address != address {
		s.address = address
		g.answered[e], g.dirty = s, true
	}
}

// forget closes the gate for places until they answer again, and makes that
// durable. Changed delivers a message. An error says that it could not be saved.
func (g *gate) forget(places []spot) error {
	g.mu.Lock()
	for _, p := range places {
		delete(g.answered, p.endpoint)
		delete(g.legacy, [2]string{p.job, p.address})
	}
	g.dirty = true
	g.mu.Unlock()
	notify(g.changed)
	return g.save()
}

// await replaces what is waiting. An endpoint that waits already keeps its turn,
// unless its machine has just come online.
func (g *gate) await(candidates []candidate) {
	g.mu.Lock()
	defer g.mu.Unlock()
	waiting := make(map[spot]*Waiting, len(candidates))
	fresh := 0
	for _, c := range candidates {
		p := spot{c.who, c.address}
		w := g.waiting[p]
		if w == nil {
			w = &Waiting{Reason: "not tried yet"}
			fresh++
		}
		offline := c.get(contract.MetaOnline) == "false"
		if w.offline && !offline {
			w.next, w.Attempts = time.Now(), 0
		}
		w.Job, w.Machine, w.Instance, w.Address, w.Method, w.who, w.url, w.offline = c.job, c.machine, c.instance, c.address, c.method, c.who, c.url, offline
		waiting[p] = w
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
		g.sweep(time.Now())
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
		g.log.Error("Could not save the list of known targets: machines that are down at the next start become targets once they respond", "file", g.file, "err", err)
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
	err := errors.New("the job no longer exists")
	g.mu.Lock()
	url := w.url
	g.mu.Unlock()
	if client := g.client(w.Job); client != nil {
		err = ask(ctx, client, url)
	}
	if ctx.Err() != nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	w.busy = false
	if err == nil {
		g.answered[w.who] = seen{w.Address, day(time.Now())}
		delete(g.waiting, spot{w.who, w.Address})
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

var errNoMetrics = errors.New("the response has no metrics")

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

// urlOf is where a target would be scraped.
func urlOf(c candidate, cfg *config.ScrapeConfig) string {
	return scrape.NewTarget(c.found, cfg, c.target, c.group).URL().String()
}
