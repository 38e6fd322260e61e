// Package jobs says of each job (what a timer starts, a oneshot service, a ping from elsewhere)
// when it last succeeded, how its last run ended, and when it runs next. Backups are jobs that
// are known by the names of their units.
//
// Jobs of systemd are read from the store: from the series of the exporters, and from what the
// built-in rules have recorded of them. Pings are received here, see pings.go.
package jobs

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/prometheus/storage"

	"github.com/clanmon/clanmon/server/internal/backups"
)

// Options for New.
type Options struct {
	// Store is read; nil for an agent, which keeps nothing.
	Store storage.Queryable
	// Recorded reports whether the built-in rules are evaluated, which remember successes.
	Recorded func() bool
	Backups  *backups.Units
	// Pings says where pings are written down now; nil for nowhere.
	Pings func() PingSource
	// Dir is the data directory, in which what pings said is kept.
	Dir string
	// Appendable takes the series of pings.
	Appendable storage.AppendableV2
	// SetAside moves a damaged file of Dir away, because of why.
	SetAside func(file, what, hint string, why error) error
	Logger   *slog.Logger
}

// Jobs answers for all jobs. It is safe for concurrent use.
type Jobs struct {
	opts   Options
	born   time.Time
	pings  pings
	pinged chan struct{} // a ping was received; buffered

	mu    sync.Mutex // held while the store is read
	at    time.Time  // of the last reading, zero before
	rows  map[key]*Job
	known map[key]*recorded
	ruled time.Time // when known was read
}

// key is a job of systemd.
type key struct{ machine, name string }

// New returns Jobs.
func New(o Options) *Jobs {
	return &Jobs{opts: o, born: time.Now(), pings: pings{opts: o, limits: make(map[hash]*rate)}, pinged: make(chan struct{}, 1)}
}

// Apply reads the file of pings. With an error those that are known stay.
func (j *Jobs) Apply() error { return j.pings.apply(time.Now()) }

const (
	// fresh is how long a reading serves those who ask.
	fresh = 10 * time.Second
	// leastAge is how old a backup is before it is late, however often it runs.
	leastAge = 26 * time.Hour
	// gapsAllowed is how many usual gaps may pass since the last success.
	gapsAllowed = 3
)

// All are all jobs, by machine and name.
func (j *Jobs) All(ctx context.Context) ([]Job, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	now := time.Now()
	if j.opts.Store != nil && now.Sub(j.at) >= fresh {
		if err := j.read(ctx, now); err != nil {
			return nil, err
		}
		j.at = now
	}
	all := append(make([]Job, 0, len(j.rows)), j.pings.rows(now)...)
	for _, r := range j.rows {
		all = append(all, *r)
	}
	slices.SortFunc(all, func(a, b Job) int {
		if c := strings.Compare(a.Machine, b.Machine); c != 0 {
			return c
		}
		return strings.Compare(a.Name, b.Name)
	})
	return all, nil
}

// read makes the rows of what is stored.
func (j *Jobs) read(ctx context.Context, now time.Time) error {
	if now.Sub(j.ruled) >= recordsEvery {
		known, err := j.readRecords(ctx, now)
		if err != nil {
			return err
		}
		j.known, j.ruled = known, now
	}
	rows, seen, err := j.readUnits(ctx, now)
	if err != nil {
		return err
	}
	for k, r := range j.known {
		row := rows[k]
		if row == nil {
			// Its machine is down, or nothing has loaded the unit.
			if seen[k.machine] && j.opts.Backups.Backup(k.name) == "" {
				continue
			}
			row = &Job{Machine: k.machine, Name: k.name, Kind: KindService, State: StateUnknown}
			if old := j.rows[k]; old != nil {
				*row = *old
				row.State, row.Next, row.Overdue = StateUnknown, nil, false
			}
			rows[k] = row
		}
		r.complete(row)
	}
	// What is known of machines that are down stays, also without rules.
	for k, old := range j.rows {
		if rows[k] == nil && !seen[k.machine] {
			old.State, old.Next, old.Overdue = StateUnknown, nil, false
			rows[k] = old
		}
	}
	recorded := j.opts.Recorded()
	for _, r := range rows {
		r.Backup = j.opts.Backups.Backup(r.Name)
		if r.State != StateUnknown {
			r.judge(now, recorded)
		}
	}
	j.rows = rows
	return nil
}

// judge sets Overdue and State. Without records nobody knows of a success before the last boot.
func (r *Job) judge(now time.Time, recorded bool) {
	if r.Backup != "" && r.LastSuccess != nil && r.State != StateRunning {
		limit := leastAge.Seconds()
		if r.Gap != nil {
			limit = max(limit, gapsAllowed**r.Gap)
		}
		r.Overdue = r.Overdue || unix(now)-*r.LastSuccess > limit
	}
	switch {
	case r.State == StateRunning:
	case r.LastResult != "" && r.LastResult != "success" && r.LastResult != "stopped":
		r.State = StateFailed
	case r.Overdue:
		r.State = StateLate
	case r.LastSuccess != nil || r.LastResult == "success":
		r.State = StateOK
	case recorded:
		r.State = StateNever
	default:
		r.State = StateUnknown
	}
}

func unix(t time.Time) float64 { return float64(t.UnixMilli()) / 1e3 }
