package uptime

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/clanmon/clanmon/server/internal/envelope"
)

// Answer is what Handler responds with. Times are in Unix seconds.
type Answer struct {
	At       int64     `json:"at"`
	From     int64     `json:"from"`              // before this, no data was stored
	Counted  int64     `json:"counted,omitempty"` // stored data is still being read: until here it has been
	Months   []Month   `json:"months"`            // ascending
	Machines []Machine `json:"machines"`
}

// Month is a calendar month, as far as it is over and there can be data.
type Month struct {
	Name string `json:"name"` // such as 2026-11
	From int64  `json:"from"`
	To   int64  `json:"to"`
}

// Machine is a machine of which something is known, by the names of months.
type Machine struct {
	Machine string            `json:"machine"`
	Months  map[string]*Share `json:"months"`
}

// Share is a month of a machine. Ratio is what people call uptime: reachable, of the time in
// which that was known and expected. It is missing where there is no such time.
type Share struct {
	Time
	Ratio *float64 `json:"ratio,omitempty"`
}

// Handler serves GET /api/clanmon/v1/uptime. The parameter machine selects one machine.
func (u *Uptime) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !envelope.Reads(w, r) {
			return
		}
		a, err := u.Find(r.Context(), r.URL.Query().Get("machine"))
		if err != nil {
			envelope.Error(w, http.StatusInternalServerError, "read uptime: "+err.Error())
			return
		}
		envelope.Success(w, a)
	})
}

// Find returns the months of a machine, or with "" of all.
func (u *Uptime) Find(ctx context.Context, only string) (Answer, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	now := u.now()
	if err := u.readRecent(ctx, now); err != nil {
		return Answer{}, err
	}
	a := Answer{At: now.Unix(), From: u.counts.From, Months: []Month{}, Machines: []Machine{}}
	if u.behind(now) {
		a.Counted = u.counts.Through
	}
	found := make(map[string]map[string]*Share)
	known := make(map[string]bool)
	for _, all := range []months{u.counts.Months, u.recent} {
		for month, machines := range all {
			known[month] = true
			for machine, t := range machines {
				if only != "" && machine != only || *t == (Time{}) {
					continue
				}
				if found[machine] == nil {
					found[machine] = make(map[string]*Share)
				}
				if found[machine][month] == nil {
					found[machine][month] = new(Share)
				}
				found[machine][month].add(*t)
			}
		}
	}
	for name := range known {
		from, err := time.Parse(monthForm, name)
		if err != nil {
			continue
		}
		a.Months = append(a.Months, Month{name, max(from.Unix(), a.From), min(from.AddDate(0, 1, 0).Unix(), a.At)})
	}
	slices.SortFunc(a.Months, func(x, y Month) int { return cmp.Compare(x.Name, y.Name) })
	for machine, months := range found {
		for _, m := range months {
			if expected := m.Up + m.Down; expected > 0 {
				ratio := float64(m.Up) / float64(expected)
				m.Ratio = &ratio
			}
		}
		a.Machines = append(a.Machines, Machine{machine, months})
	}
	slices.SortFunc(a.Machines, func(x, y Machine) int { return cmp.Compare(x.Machine, y.Machine) })
	return a, nil
}

// behind reports whether more is to be counted than what may still change.
func (u *Uptime) behind(now time.Time) bool {
	return now.Unix()-u.counts.Through > int64((late + 2*window).Seconds())
}

// readRecent counts what may still change.
func (u *Uptime) readRecent(ctx context.Context, now time.Time) error {
	if err := u.load(); err != nil {
		return err
	}
	if u.recent != nil && u.recentOf == u.counts.Through && now.Sub(u.recentAt) < fresh {
		return nil
	}
	recent := make(months)
	if !u.behind(now) {
		whose := u.opts.Whose()
		for from := time.Unix(u.counts.Through, 0); from.Before(now); from = from.Add(window) {
			to := from.Add(window)
			if to.After(now) {
				to = now
			}
			if err := u.count(ctx, from, to, whose, recent); err != nil {
				return err
			}
		}
	}
	u.recent, u.recentAt, u.recentOf = recent, now, u.counts.Through
	return nil
}
