// Package uptime counts for how long each machine was reachable in each calendar month (UTC).
//
// The source is the series "up". What it says is counted by the second, two hours at a time,
// and kept in a file, so that an answer reads a few hours at most and months outlive the
// retention. Where "up" says nothing, because the server was not there or did not know the
// machine, nothing is counted.
package uptime

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"

	"github.com/clanmon/clanmon/internal/atomicfile"
)

const (
	file = "clanmon-uptime.json" // in the data directory
	// window is what is read at once. No window is in two months.
	window = 2 * time.Hour
	// late is how long samples may take to arrive: after that, hours are counted for good.
	late = 3 * time.Hour
	// before is what a server without a file and without blocks reads.
	before = 4 * time.Hour
	// maxBack is how far back stored data is read, and how many months are kept.
	maxBack   = 400 * 24 * time.Hour
	maxMonths = 25
	// wait is between two looks for hours that can be counted; the first finds a fleet that
	// has had time to be discovered.
	wait = time.Minute
	// share bounds the time spent on old data: one part in so many.
	share = 4
	// fresh is for how long the hours that are not counted yet are not read again.
	fresh = 30 * time.Second
)

// Options for New.
type Options struct {
	Store storage.Queryable
	// Oldest is the time of the oldest stored sample, in milliseconds.
	Oldest func() (int64, error)
	// Whose returns what names the machine of a series, "" for none.
	Whose func() func(labels.Labels) string
	// Maintenance are the silences of machines, also those that have ended.
	Maintenance func(context.Context) []Silence
	Dir         string
	// SetAside moves a damaged file away.
	SetAside func(file, what, lost string, why error) error
	Logger   *slog.Logger
}

// Silence is a time in which a machine may be down.
type Silence struct {
	From, To time.Time
	Covers   func(machine string) bool
}

// Time is for how many seconds a machine was in which state. Seconds in none of them are not
// known.
type Time struct {
	Up          int64 `json:"up,omitempty"`
	Down        int64 `json:"down,omitempty"`
	Maintenance int64 `json:"maintenance,omitempty"` // down, with its alerts silenced
	On          int64 `json:"on,omitempty"`          // reachable, of an intermittent machine
	Off         int64 `json:"off,omitempty"`         // not reachable, of an intermittent machine
}

func (t *Time) add(o Time) {
	t.Up += o.Up
	t.Down += o.Down
	t.Maintenance += o.Maintenance
	t.On += o.On
	t.Off += o.Off
}

// months are the times of each machine in each month.
type months map[string]map[string]*Time

const monthForm = "2006-01"

func (m months) add(at time.Time, machine string, t Time) {
	key := at.UTC().Format(monthForm)
	if m[key] == nil {
		m[key] = make(map[string]*Time)
	}
	if m[key][machine] == nil {
		m[key][machine] = new(Time)
	}
	m[key][machine].add(t)
}

// content is the file.
type content struct {
	Version int    `json:"version"`
	From    int64  `json:"from"`    // Unix seconds: what is before was not read
	Through int64  `json:"through"` // what is after is not counted yet
	Months  months `json:"months"`
}

// Uptime counts. Safe for concurrent use.
type Uptime struct {
	opts Options
	now  func() time.Time

	mu     sync.Mutex
	counts content
	open   bool // counts are those of the file, or of none
	dirty  bool

	recent   months // after counts.Through
	recentAt time.Time
	recentOf int64 // counts.Through then
}

// New returns an Uptime that has read nothing yet.
func New(o Options) *Uptime { return &Uptime{opts: o, now: time.Now} }

// Run counts until ctx ends.
func (u *Uptime) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
		if err := u.catchUp(ctx); err != nil && ctx.Err() == nil {
			u.opts.Logger.Warn("Could not count the uptime of machines", "err", err)
		}
	}
}

// catchUp counts all hours that are old enough. It works a part of the time only.
func (u *Uptime) catchUp(ctx context.Context) error {
	whose := u.opts.Whose()
	for saved := u.now(); ; {
		began := time.Now()
		more, err := u.step(ctx, whose)
		if err == nil && (!more || u.now().Sub(saved) > wait) {
			err = u.save()
			saved = u.now()
		}
		if err != nil || !more {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), u.save())
		case <-time.After(share * time.Since(began)):
		}
	}
}

// step counts a window, if one is old enough.
func (u *Uptime) step(ctx context.Context, whose func(labels.Labels) string) (more bool, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if err := u.load(); err != nil {
		return false, err
	}
	from := time.Unix(u.counts.Through, 0)
	to := from.Add(window)
	if u.now().Sub(to) < late {
		return false, nil
	}
	if err := u.count(ctx, from, to, whose, u.counts.Months); err != nil {
		return false, err
	}
	u.counts.Through, u.dirty = to.Unix(), true
	return true, nil
}

// load reads the file once, and skips what is not stored any more.
func (u *Uptime) load() error {
	if !u.open {
		text, err := os.ReadFile(filepath.Join(u.opts.Dir, file))
		c := content{}
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return err
		default:
			err = json.Unmarshal(text, &c)
			if err == nil && c.Version != 1 {
				err = fmt.Errorf("version %d, this server reads version 1", c.Version)
			}
			if err != nil {
				if err = u.opts.SetAside(filepath.Join(u.opts.Dir, file), "uptime of machines by month", "It was counted again from stored samples.", err); err != nil {
					return err
				}
				c = content{}
			}
		}
		if c.Months == nil {
			c.Months = make(months)
		}
		u.counts, u.open = c, true
	}
	now := u.now()
	start := now.Add(-before)
	if oldest, err := u.opts.Oldest(); err != nil {
		return err
	} else if t := time.UnixMilli(oldest); t.Before(start) {
		start = t
	}
	if limit := now.Add(-maxBack); start.Before(limit) {
		start = limit
	}
	start = start.UTC().Truncate(window)
	if u.counts.Through < start.Unix() {
		u.counts.Through = start.Unix()
	}
	if u.counts.From == 0 {
		u.counts.From = u.counts.Through
	}
	return nil
}

func (u *Uptime) save() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.dirty {
		return nil
	}
	oldest := u.now().UTC().AddDate(0, -maxMonths+1, -u.now().UTC().Day()+1).Format(monthForm)
	for m := range u.counts.Months {
		if m < oldest {
			delete(u.counts.Months, m)
		}
	}
	u.counts.Version = 1
	err := atomicfile.Write(filepath.Join(u.opts.Dir, file), 0o600, func(w io.Writer) error { return json.NewEncoder(w).Encode(u.counts) })
	if err != nil {
		return fmt.Errorf("save the uptime of machines: %w", err)
	}
	u.dirty = false
	return nil
}
