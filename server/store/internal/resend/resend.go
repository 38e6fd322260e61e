// Package resend sends what receivers of remote write have missed.
//
// Upstream's queues read the WAL from the time at which they start: what a receiver did
// not take before the server stopped is lost for it, although it is stored. This package
// remembers for each receiver up to which time everything has arrived, sends what is
// stored since then, in order, and lets upstream's queue begin when that is done. Many
// receivers refuse a sample that is older than one they have, so the queue must not begin
// before.
package resend

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"go.yaml.in/yaml/v2"

	"github.com/clanmon/clanmon/internal/atomicfile"
)

// Sample is a float, or a histogram where one of the two is set.
type Sample struct {
	T  int64 // milliseconds
	V  float64
	H  *histogram.Histogram
	FH *histogram.FloatHistogram
}

// Source is what is stored.
type Source interface {
	// Read calls each for every series of a target that has samples from mint to maxt, both
	// included, in milliseconds. The samples are in order and must not be kept.
	Read(ctx context.Context, of Target, mint, maxt int64, each func(labels.Labels, []Sample) error) error
}

// Options of a Manager.
type Options struct {
	// File has the positions, LateFile what was stored late. They contain no secrets.
	File, LateFile string
	// SetAside moves a damaged file away, because of why.
	SetAside func(file, what, hint string, why error) error
	Source   Source
	// Apply hands a configuration to upstream's remote storage.
	Apply func(*config.Config) error
	// Metrics are those of upstream's queues now: without the prefix
	// prometheus_remote_storage_, by name of the queue.
	Metrics func() (Metrics, error)
	// Reads is how many records of the WAL upstream's queue of this name has read.
	Reads func(name string) float64
	// Failed is told why a receiver took nothing.
	Failed func(name string, err error)
	// Address is a URL without secrets.
	Address func(string) string
	Logger  *slog.Logger
}

// Metrics are values by metric and name of the queue.
type Metrics map[string]map[string]float64

// sum adds up the metrics of one queue for floats, histograms and exemplars.
func (m Metrics) sum(queue, suffix string) float64 {
	return m["samples"+suffix][queue] + m["histograms"+suffix][queue] + m["exemplars"+suffix][queue]
}

// Status is how a receiver fares.
type Status struct {
	Name, URL string
	// Position is the time up to which everything has arrived.
	Position time.Time
	// CatchingUp is set until upstream's queue begins.
	CatchingUp bool
	// Rejecting means that all that upstream's queue sends is refused.
	Rejecting bool
	// Resent and Refused are samples that this package sent, and those of them that the
	// receiver did not want.
	Resent, Refused float64
	// Unreadable is how many ranges were given up because they cannot be read.
	Unreadable float64
}

// Manager has the receivers of the configuration. Safe for concurrent use.
type Manager struct {
	opts Options

	applying sync.Mutex // held while upstream's configuration changes
	running  sync.WaitGroup
	ctx      context.Context
	cancel   context.CancelFunc

	horizon atomic.Int64 // the lateness in milliseconds; negative without receivers

	mu        sync.Mutex
	config    *config.Config // the last one
	lateness  time.Duration  // how much later than its time a sample may be stored
	receivers []*receiver
	positions map[string]int64 // by id, in milliseconds
	written   map[string]int64

	lateNotes      uint64   // that the file did not have
	lateTried      uint64   // of these, those that were written, or could not be
	lateWritten    lateFile // the file
	lateNext       lateFile // it is being replaced by that, if not nil
	lateDone       bool     // some of it has been sent
	lateComplained time.Time

	lateWriting sync.Mutex // held by who writes the file; mu may be locked then
	write       func(file string, perm fs.FileMode, write func(io.Writer) error) error
}

// receiver is one remote_write section. Its fields are guarded by the Manager's mu, but
// for those that never change.
type receiver struct {
	key      string // its configuration
	id       string
	name     string // of upstream's queue
	url      string
	config   *config.RemoteWriteConfig
	external labels.Labels

	latest *config.RemoteWriteConfig // differs from config in secrets only

	position int64
	live     bool      // upstream's queue sends
	since    time.Time // samples from then on, at the latest
	cancel   context.CancelFunc
	marks    []mark

	late        lateRanges
	lateCancel  context.CancelFunc // nil while none is sent
	lateRefused int                // ranges in a row of which nothing was taken

	taken, failed float64 // at the last look
	rejecting     bool    // all that was sent since the one before has failed for good

	resent  float64
	refused float64

	unreadable float64 // late ranges that were given up
}

// New reads the positions. A file that cannot be read is as good as none.
func New(o Options) *Manager {
	m := &Manager{opts: o, write: atomicfile.Write}
	m.ctx, m.cancel = context.WithCancel(context.Background())
	var err error
	aside := func(file, what, hint string, err error) {
		if err := o.SetAside(file, what, hint, err); err != nil {
			o.Logger.Warn("A damaged file stays until it is overwritten", "file", file, "err", err)
		}
	}
	if m.positions, err = readPositions(o.File); err != nil {
		o.Logger.Warn("It is not known what receivers of remote write have; they get new samples only", "file", o.File, "err", err)
		aside(o.File, "list of what receivers of remote write have", "They got new samples only. What they missed before is still in the store.", err)
		m.positions = make(map[string]int64)
	}
	m.written = maps.Clone(m.positions)
	m.horizon.Store(-1)
	if m.lateWritten, err = readLate(o.LateFile); err != nil {
		o.Logger.Warn("It is not known what receivers of remote write lack of what was stored late", "file", o.LateFile, "err", err)
		aside(o.LateFile, "list of late samples that receivers of remote write lack", "They did not get these samples, which are still in the store.", err)
	}
	return m
}

// Apply makes cfg the configuration. running says that samples may be under way into the
// store. The error is upstream's.
func (m *Manager) Apply(cfg *config.Config, running bool) error {
	m.applying.Lock()
	defer m.applying.Unlock()
	now := time.Now()
	next := make([]*receiver, 0, len(cfg.RemoteWriteConfigs))
	m.mu.Lock()
	before := m.receivers
	for _, c := range cfg.RemoteWriteConfigs {
		r, err := m.receiver(c, cfg.GlobalConfig.ExternalLabels)
		if err == nil && slices.ContainsFunc(next, func(o *receiver) bool { return o.key == r.key }) {
			err = fmt.Errorf("duplicate remote write configs are not allowed, found duplicate for URL: %s", c.URL)
		}
		if err == nil {
			_, err = newSender(r, m.opts.Logger)
		}
		if err != nil {
			m.mu.Unlock()
			return err
		}
		position, known := m.positions[r.id]
		if !known {
			position = now.UnixMilli() - 1 // more may be stored in this millisecond
		}
		r.position, r.live = position, !known
		next = append(next, r)
	}
	for i, r := range next {
		same := slices.IndexFunc(before, func(o *receiver) bool { return o.key == r.key && labels.Equal(o.external, r.external) })
		switch {
		case same < 0:
		case before[same].live:
			next[i] = before[same]
			next[i].latest = r.config
		default: // begins anew, because a secret may have changed
			r.position, r.resent, r.refused = before[same].position, before[same].resent, before[same].refused
			r.unreadable = before[same].unreadable
		}
	}
	m.mu.Unlock()
	if !running {
		for _, r := range next {
			r.live = r.live || !m.missed(r.position)
		}
	}
	if err := m.opts.Apply(withLive(cfg, next)); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range next {
		if !slices.Contains(before, r) {
			r.late = m.lateOf(r)
		}
	}
	m.config, m.receivers, m.lateness = cfg, next, lateness(cfg)
	m.horizon.Store(-1)
	if len(next) > 0 {
		m.horizon.Store(m.lateness.Milliseconds())
	}
	for _, r := range before {
		if r.cancel != nil && !slices.Contains(next, r) {
			r.cancel()
		}
		if r.lateCancel != nil {
			r.lateCancel() // begins again soon, with new secrets
		}
	}
	for _, r := range next {
		switch {
		case !r.live:
			m.catchUp(r)
		case r.since.IsZero():
			r.since = time.Now().Add(beginLimit)
		}
	}
	for _, file := range []lateFile{m.lateWritten, m.lateNext} {
		for id := range file { // forgotten where it is not configured any more
			m.lateDone = m.lateDone || !slices.ContainsFunc(next, func(r *receiver) bool { return r.id == id })
		}
	}
	m.remember()
	return nil
}

// receiver makes one of its section.
func (m *Manager) receiver(c *config.RemoteWriteConfig, external labels.Labels) (*receiver, error) {
	text, err := yaml.Marshal(c)
	if err != nil {
		return nil, err
	}
	hash := md5.Sum(text)
	r := &receiver{
		key: string(text), name: hex.EncodeToString(hash[:])[:6], // as upstream calls it
		url: m.opts.Address(c.URL.String()), config: c, latest: c, external: external,
	}
	if c.Name != "" {
		r.name = c.Name
	}
	r.id = identify(c.Name, r.url)
	return r, nil
}

// withLive is cfg with the sections of those whose queue sends. It has the sections of
// all, in the same order; secrets in them may have changed.
func withLive(cfg *config.Config, all []*receiver) *config.Config {
	now := *cfg
	now.RemoteWriteConfigs = nil
	for i, r := range all {
		if r.live {
			now.RemoteWriteConfigs = append(now.RemoteWriteConfigs, cfg.RemoteWriteConfigs[i])
		}
	}
	return &now
}

// lateness is how long after its time a sample of a scrape may be stored.
func lateness(cfg *config.Config) time.Duration {
	longest := time.Duration(cfg.GlobalConfig.ScrapeTimeout)
	scrapes, err := cfg.GetScrapeConfigs() // with those of scrape_config_files
	if err != nil {                        // the scrape manager says so
		scrapes = cfg.ScrapeConfigs
	}
	for _, s := range scrapes {
		longest = max(longest, time.Duration(s.ScrapeTimeout))
	}
	return min(longest, 5*time.Minute) + time.Second
}

// missed reports whether something is stored behind a position.
func (m *Manager) missed(position int64) bool {
	found := errors.New("found")
	err := m.opts.Source.Read(m.ctx, Target{Any: true}, position+1, time.Now().UnixMilli(), func(labels.Labels, []Sample) error { return found })
	return err != nil
}

// Status is that of all receivers, in the order of the configuration.
func (m *Manager) Status() []Status {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := make([]Status, 0, len(m.receivers))
	for _, r := range m.receivers {
		all = append(all, Status{r.name, r.url, time.UnixMilli(r.position), !r.live, r.rejecting, r.resent, r.refused, r.unreadable})
	}
	return all
}

// Run keeps the positions until ctx ends.
func (m *Manager) Run(ctx context.Context) {
	tick := time.NewTicker(markPeriod)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			m.look(time.Now())
			m.lookLate(time.Now())
		}
	}
}

// Stop ends what is being sent again. The source must not be closed before.
func (m *Manager) Stop() {
	m.mu.Lock() // nothing begins after that
	m.cancel()
	m.mu.Unlock()
	m.running.Wait()
	m.look(time.Now())
	m.saveLate(0)
}
