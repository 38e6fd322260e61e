// Package events says what happened in a fleet: reboots, new generations of NixOS, kernels and
// exporters, alerts, failed units and failing checks with their ends, filesystems and machines
// that are new or gone, restarts and reloads of servers, silences.
//
// It keeps only notes that people write. Other events are found in series that are stored anyway,
// so that they reach back as far as the data, also to the time before this program could find
// them. What hardly ever changes is read by the first sample of each chunk, and decoded only where
// two differ.
package events

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"golang.org/x/sync/errgroup"
)

// Kinds of an Event.
const (
	KindReboot   = "reboot"
	KindSystem   = "system" // another generation of NixOS, or another kernel
	KindExporter = "exporter"
	KindAlert    = "alert"
	KindUnit     = "unit"  // a unit or job failed, until it recovered
	KindCheck    = "check" // a check failed, until it recovered
	KindMachine  = "machine"
	KindServer   = "server" // restarted, or its configuration was reloaded
	KindSilence  = "silence"
	KindNote     = "note" // written by somebody

	KindFilesystem = "filesystem" // appeared or vanished
)

// Kinds are all kinds.
var Kinds = []string{KindReboot, KindSystem, KindExporter, KindAlert, KindUnit, KindCheck, KindFilesystem, KindMachine, KindServer, KindSilence, KindNote}

// Event is something that happened. Times are Unix seconds.
type Event struct {
	Time float64 `json:"time"`
	// End is when what lasts was over; nil for what does not last, or has not ended.
	End  *float64 `json:"end"`
	Kind string   `json:"kind"`
	// Machine is empty for what concerns none, or several.
	Machine string `json:"machine,omitempty"`
	// Count is of how many machines this is said: 1, or that of a group or a note.
	Count int `json:"count"`
	// Machines are those of a group or a note, the first of them if they are many.
	Machines []string `json:"machines,omitempty"`
	Text     string   `json:"text"`
	// Detail says more, such as the comment of a silence.
	Detail string `json:"detail,omitempty"`
	// By is who wrote a note.
	By       string `json:"by,omitempty"`
	Alert    string `json:"alert,omitempty"`
	Severity string `json:"severity,omitempty"`

	like  string // what events are grouped by, with their kind
	lasts bool   // until End, or still
}

// Silence is one of Alertmanager's, also one that has ended.
type Silence struct {
	By, Comment  string
	Starts, Ends time.Time
	Matchers     string
	Machine      string // of the matcher machine="…", "" if there is none
	OnlyMachine  bool   // that is its only matcher
}

// Options for New.
type Options struct {
	// Store is read; nil for an agent, which keeps nothing.
	Store storage.SampleAndChunkQueryable
	// Blocks are those of Store, which can be read until leave is called; nil for none.
	Blocks func() (blocks []tsdb.BlockReader, leave func(), err error)
	// Whose returns what names the machine of a series, "" if it knows none; nil for labels alone.
	Whose func() func(labels.Labels) string
	// Select returns what selects the series of a machine; nil for the label machine alone.
	Select func(machine string) []*labels.Matcher
	// Silences are all that are known; nil for none.
	Silences func(context.Context) []Silence
	// Dir is the data directory, where notes are kept; "" for none.
	Dir string
	// Knows reports whether there is a machine of that name; nil if that is not known.
	Knows  func(machine string) bool
	Logger *slog.Logger // of what is wrong with the notes; nil for none
}

// Events answers what happened. It is safe for concurrent use.
type Events struct {
	opts   Options
	notes  *notes
	looks  *looks
	turn   chan struct{} // who holds it reads
	moving chan struct{} // the same for Moved
}

// New returns Events.
func New(o Options) *Events {
	e := &Events{opts: o, notes: &notes{log: o.Logger}, looks: newLooks(), turn: make(chan struct{}, 1), moving: make(chan struct{}, 1)}
	if o.Dir != "" {
		e.notes.file = filepath.Join(o.Dir, notesFile)
	}
	if e.notes.log == nil {
		e.notes.log = slog.New(slog.DiscardHandler)
	}
	return e
}

// Question asks for events.
type Question struct {
	From, To time.Time
	Machine  string   // "" for all
	Kinds    []string // none for all
	Limit    int      // the newest are given
	// Overlapping asks for what lasts and began before From too, as it is drawn in charts. Its
	// Time is at most two hours before From. Without, its end is an event.
	Overlapping bool
}

func (q Question) wants(kind string) bool {
	return len(q.Kinds) == 0 || slices.Contains(q.Kinds, kind)
}

func (q Question) within(seconds float64) bool {
	return seconds >= unix(q.From) && seconds <= unix(q.To)
}

// Limits of a Question.
const (
	maxRange = 100 * 24 * time.Hour
	maxLimit = 5000
	patience = 20 * time.Second
)

// ErrTooMuch is the error of a question that would read too much.
var ErrTooMuch = errors.New("too much to read: ask for a shorter time, one machine, or fewer kinds")

// Answer is what Find returns: events, the newest first, and how many older ones are left out.
type Answer struct {
	From    float64 `json:"from"`
	To      float64 `json:"to"`
	Events  []Event `json:"events"`
	LeftOut int     `json:"leftOut"`
}

// Find answers q. It reads the store for one question at a time, and for 20 seconds at most.
func (e *Events) Find(ctx context.Context, q Question) (Answer, error) {
	a := Answer{From: unix(q.From), To: unix(q.To), Events: []Event{}}
	if e.opts.Store == nil {
		return a, nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, patience, ErrTooMuch)
	defer cancel()
	select {
	case e.turn <- struct{}{}:
		defer func() { <-e.turn }()
	case <-ctx.Done():
		return a, context.Cause(ctx)
	}
	all, err := e.read(ctx, q)
	if err != nil {
		if ctx.Err() != nil {
			return a, context.Cause(ctx)
		}
		return a, err
	}
	if q.Machine == "" {
		all = grouped(all)
	}
	slices.SortStableFunc(all, func(a, b Event) int {
		return cmp.Or(cmp.Compare(b.Time, a.Time), inTime(a, b))
	})
	if len(all) > q.Limit {
		a.LeftOut, all = len(all)-q.Limit, all[:q.Limit]
	}
	a.Events = append(a.Events, all...)
	return a, nil
}

// read reads two parts at the same time.
func (e *Events) read(ctx context.Context, q Question) ([]Event, error) {
	var reading errgroup.Group
	reading.SetLimit(2)
	whole := newReader(ctx, e.opts, e.looks, q)
	var mu sync.Mutex
	var found []Event
	for _, part := range []struct {
		kinds []string
		read  func(*reader) error
	}{ // those that take long first
		{[]string{KindFilesystem}, (*reader).filesystems},
		{[]string{KindSystem}, (*reader).generations},
		{[]string{KindReboot}, (*reader).reboots},
		{[]string{KindSystem}, (*reader).kernels},
		{[]string{KindExporter}, (*reader).exporters},
		{[]string{KindAlert, KindUnit, KindCheck}, (*reader).alerts},
		{[]string{KindMachine}, (*reader).newMachines},
		{[]string{KindMachine}, (*reader).goneMachines},
		{[]string{KindServer}, (*reader).servers},
	} {
		if !slices.ContainsFunc(part.kinds, q.wants) {
			continue
		}
		reading.Go(func() error {
			r := *whole
			r.told = make(map[string][]float64)
			if err := r.open(); err != nil {
				return err
			}
			defer r.close()
			err := part.read(&r)
			mu.Lock()
			defer mu.Unlock()
			found = append(found, r.found...)
			return err
		})
	}
	if err := reading.Wait(); err != nil {
		return nil, err
	}
	whole.told = make(map[string][]float64)
	if q.wants(KindSilence) && e.opts.Silences != nil {
		whole.silences(e.opts.Silences(ctx))
	}
	if q.wants(KindNote) {
		all, err := e.notes.between(unix(q.From), unix(q.To))
		if err != nil {
			return nil, err
		}
		whole.notes(all)
	}
	return append(found, whole.found...), nil
}

func unix(t time.Time) float64 { return float64(t.UnixMilli()) / 1e3 }
