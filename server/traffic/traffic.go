// Package traffic counts what machines receive and send in each month, and compares it with a
// quota.
//
// It adds up the differences between successive samples of the counters of their interfaces.
// A counter that was lower before a gap than after it has counted in the gap; one that is
// lower afterwards began again at zero. What was counted is kept by day in a file of the data
// directory: a month is longer than some retentions.
package traffic

import (
	"cmp"
	"context"
	"log/slog"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/storage"
)

// Options for New. Store and Dir are required.
type Options struct {
	Store storage.Queryable
	// Whose returns what names the machine of a series, "" if it knows none.
	Whose func() func(labels.Labels) string
	Quota Quota
	// Dir is where it is kept what was counted.
	Dir string
	// SetAside moves a damaged file of Dir away, because of why.
	SetAside func(file, what, hint string, why error) error
	// Zone has the days and months; nil for that of the server.
	Zone   *time.Location
	Logger *slog.Logger
}

// Quota is how much traffic a machine may have in a month.
type Quota struct {
	Bytes int64 // 0 for no quota
	Day   int   // of the month, 1 to 28, at which a month begins; 0 is 1
	// Devices, Directions ("received", "sent") and Machines are regular expressions of what
	// the quota is about; "" is all.
	Devices, Directions, Machines string
}

// Traffic counts. It is safe for concurrent use.
type Traffic struct {
	opts                          Options
	devices, directions, machines *regexp.Regexp
	file                          string

	ready atomic.Bool   // all that is stored has been counted
	turn  chan struct{} // who holds it may use what follows
	state *state        // nil until it was read
	at    time.Time     // of the last count
	saved time.Time
	dirty bool
	lost  bool // the last save failed
	// unsaved is that the file is damaged and could not be set aside.
	unsaved bool
}

const (
	// every is how often counters are read. That of a request is at most fresh old.
	every = 5 * time.Minute
	fresh = 10 * time.Second
	// saveEvery is how often the file is written; after a crash, what is newer is counted
	// again.
	saveEvery = time.Hour
	// stateFile is in the data directory.
	stateFile = "traffic.json"
)

// New returns a Traffic, which reads nothing before Run.
func New(o Options) (*Traffic, error) {
	if o.Zone == nil {
		o.Zone = time.Local
	}
	o.Quota.Day = max(o.Quota.Day, 1)
	t := &Traffic{opts: o, turn: make(chan struct{}, 1), file: filepath.Join(o.Dir, stateFile)}
	for to, text := range map[**regexp.Regexp]string{&t.devices: o.Quota.Devices, &t.directions: o.Quota.Directions, &t.machines: o.Quota.Machines} {
		var err error
		if *to, err = regexp.Compile("^(?s:" + cmp.Or(text, ".*") + ")$"); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// Run counts until ctx ends. It may be called once.
func (t *Traffic) Run(ctx context.Context) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	failed := false
	for {
		err := t.catchUp(ctx, time.Now())
		if err != nil && ctx.Err() == nil && !failed {
			t.opts.Logger.Warn("Could not count the traffic of machines; trying again in 5 minutes", "err", err)
		}
		failed = err != nil
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.turn <- struct{}{}
			t.save(time.Now(), true)
			<-t.turn
			return nil
		}
	}
}

// hold waits for its turn. The caller must call the function that is returned.
func (t *Traffic) hold(ctx context.Context) (func(), error) {
	select {
	case t.turn <- struct{}{}:
		return func() { <-t.turn }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// catchUp counts until now, day by day, with pauses where that is a lot.
func (t *Traffic) catchUp(ctx context.Context, now time.Time) error {
	for {
		begin := time.Now()
		more, err := t.step(ctx, now)
		if err != nil || !more {
			return err
		}
		select {
		case <-time.After(min(time.Since(begin), time.Second)):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// step counts a day, and tells whether there is more until now.
func (t *Traffic) step(ctx context.Context, now time.Time) (more bool, err error) {
	done, err := t.hold(ctx)
	if err != nil {
		return false, err
	}
	defer done()
	if t.state == nil {
		if t.state, err = t.load(); err != nil {
			return false, err
		}
	}
	if more, err = t.count(ctx, now); err != nil || more {
		return more, err
	}
	t.at = now
	t.save(now, !t.ready.Swap(true))
	return false, nil
}

// look brings what is counted up to date, if all that is stored has been counted.
func (t *Traffic) look(ctx context.Context, now time.Time) (bool, error) {
	if !t.ready.Load() {
		return false, nil
	}
	if age := now.Sub(t.at); age >= 0 && age < fresh {
		return true, nil
	}
	for {
		more, err := t.count(ctx, now)
		if err != nil {
			return false, err
		}
		if !more {
			break
		}
	}
	t.at = now
	return true, nil
}

// Row is the traffic of a machine, in bytes.
type Row struct {
	Machine  string  `json:"machine"`
	Received float64 `json:"received"`
	Sent     float64 `json:"sent"`
	// Since is the date on which the data of this month begin; missing if they are those of the
	// whole month so far.
	Since string `json:"since,omitempty"`
	// Expected is the estimate of the sum at the end of the month, at the rate of the last
	// 7 days; missing while there is less than a day of data.
	Expected *float64 `json:"expected,omitempty"`
	// Last is the month before; missing if nothing is known of it.
	Last *Month `json:"last,omitempty"`
	// Quota is missing where there is none.
	Quota *Use `json:"quota,omitempty"`

	availability string
}

// Month is the traffic of one. Since is as in Row.
type Month struct {
	Received float64 `json:"received"`
	Sent     float64 `json:"sent"`
	Since    string  `json:"since,omitempty"`
}

// Use is what is used of a quota, in bytes.
type Use struct {
	Bytes float64 `json:"bytes"`
	// Used is what counts for the quota, Expected that at the end of the month.
	Used     float64  `json:"used"`
	Expected *float64 `json:"expected,omitempty"`
	// Due is the date on which it is or was used up, if that is in this month.
	Due string `json:"due,omitempty"`
}

// Rows are the machines with traffic in this month or the last, by name. It is false while
// what is stored has not been counted.
func (t *Traffic) Rows(ctx context.Context, now time.Time) ([]Row, bool, error) {
	rows := []Row{}
	whose := func(ls labels.Labels) string { return ls.Get("machine") }
	if t.opts.Whose != nil {
		whose = t.opts.Whose() // which may wait for somebody who waits for the turn
	}
	if !t.ready.Load() {
		return rows, false, nil
	}
	done, err := t.hold(ctx)
	if err != nil {
		return nil, false, err
	}
	defer done()
	ready, err := t.look(ctx, now)
	if err != nil || !ready {
		return rows, ready, err
	}
	machines := make(map[string][]*machine)
	for _, m := range t.state.Machines {
		if name := whose(labels.FromStrings("machine", m.Machine, "instance", m.Instance)); name != "" {
			machines[name] = append(machines[name], m)
		}
	}
	for name, all := range machines {
		if r, ok := t.row(name, all, now); ok {
			rows = append(rows, r)
		}
	}
	slices.SortFunc(rows, func(a, b Row) int { return strings.Compare(a.Machine, b.Machine) })
	return rows, true, nil
}

// What Records has, as rules name it.
const (
	recordMonth    = "machine:traffic_month:bytes"
	recordUsed     = "machine:traffic_quota_used:ratio"
	recordExpected = "machine:traffic_quota_expected:ratio"
)

// Records are the values of a recording rule, as of now, of machines with the label machine.
func (t *Traffic) Records(ctx context.Context, record string, now time.Time) (promql.Vector, error) {
	rows, _, err := t.Rows(ctx, now)
	if err != nil {
		return nil, err
	}
	var v promql.Vector
	add := func(r *Row, value float64, more ...string) {
		ls := append([]string{"machine", r.Machine}, more...)
		if r.availability != "" {
			ls = append(ls, "availability", r.availability)
		}
		v = append(v, promql.Sample{T: now.UnixMilli(), F: value, Metric: labels.FromStrings(ls...)})
	}
	for i := range rows {
		switch r := &rows[i]; {
		case record == recordMonth:
			add(r, r.Received, "direction", "received")
			add(r, r.Sent, "direction", "sent")
		case r.Quota == nil:
		case record == recordUsed:
			add(r, r.Quota.Used/r.Quota.Bytes)
		case record == recordExpected && r.Quota.Expected != nil:
			add(r, *r.Quota.Expected/r.Quota.Bytes)
		}
	}
	return v, nil
}

func number(v float64) *float64 { return &v }
