package traffic

import (
	"time"
)

const (
	// complete: data that begin this long after a month are those of the month.
	complete = time.Hour
	day      = 24 * time.Hour
)

// row is that of a machine, which may be known by several addresses.
func (t *Traffic) row(name string, all []*machine, now time.Time) (Row, bool) {
	now = now.In(t.opts.Zone)
	r := Row{Machine: name}
	this := t.month(now)
	last := this.before()
	today := dayOf(now)
	since := all[0].Since
	for _, m := range all {
		if m.Since > 0 && (since == 0 || m.Since < since) {
			since = m.Since
		}
		if m.Availability != "" {
			r.availability = m.Availability
		}
	}
	begin := time.UnixMilli(since).In(t.opts.Zone)
	if since == 0 || !begin.Before(now) {
		return r, false
	}
	late := func(s span) string {
		if begin.Sub(s.from) < complete {
			return ""
		}
		return begin.Format(time.DateOnly)
	}
	everything := func(string, int) bool { return true }
	perDay := days(all, everything)
	for d := dayOf(this.from); d <= today; d++ {
		r.Received += float64(perDay(d)[received])
		r.Sent += float64(perDay(d)[sent])
	}
	r.Since = late(this)
	sum := func(d int) float64 { x := perDay(d); return float64(x[received]) + float64(x[sent]) }
	if rate, ok := rate(sum, begin, now); ok {
		r.Expected = number(r.Received + r.Sent + rate*this.to.Sub(now).Seconds())
	}
	if begin.Before(last.to) {
		r.Last = &Month{Since: late(last)}
		for d := dayOf(last.from); d < dayOf(last.to); d++ {
			r.Last.Received += float64(perDay(d)[received])
			r.Last.Sent += float64(perDay(d)[sent])
		}
	}
	r.Quota = t.use(name, all, begin, now, this)
	return r, true
}

// use is what a machine has used of its quota.
func (t *Traffic) use(name string, all []*machine, begin, now time.Time, this span) *Use {
	if t.opts.Quota.Bytes == 0 || !t.machines.MatchString(name) {
		return nil
	}
	perDay := days(all, func(device string, direction int) bool {
		return t.devices.MatchString(device) && t.directions.MatchString(directionNames[direction])
	})
	sum := func(d int) float64 { x := perDay(d); return float64(x[received]) + float64(x[sent]) }
	u := &Use{Bytes: float64(t.opts.Quota.Bytes)}
	for d := dayOf(this.from); d <= dayOf(now); d++ {
		u.Used += sum(d)
		if u.Due == "" && u.Used >= u.Bytes {
			u.Due = time.Unix(int64(d)*86400, 0).UTC().Format(time.DateOnly)
		}
	}
	if rate, ok := rate(sum, begin, now); ok {
		u.Expected = number(u.Used + rate*this.to.Sub(now).Seconds())
		if u.Due == "" && *u.Expected > u.Bytes {
			u.Due = now.Add(time.Duration((u.Bytes - u.Used) / rate * float64(time.Second))).Format(time.DateOnly)
		}
	}
	return u
}

// days are the bytes by day of a machine. Where it is known by several addresses, that with
// the most counts.
func days(all []*machine, counts func(device string, direction int) bool) func(day int) [2]int64 {
	return func(day int) [2]int64 {
		var most [2]int64
		for _, m := range all {
			var x [2]int64
			for name, d := range m.Devices {
				v := d.on(day)
				for direction := range x {
					if counts(name, direction) {
						x[direction] += v[direction]
					}
				}
			}
			most[received], most[sent] = max(most[received], x[received]), max(most[sent], x[sent])
		}
		return most
	}
}

// rate is the present one, in bytes a second: that of the last 7 days and today. A day with
// more than all others together is left out if there was none like it in the three weeks
// before: a big copy is not the rule. It is false with less than a day of data.
func rate(sum func(day int) float64, begin, now time.Time) (float64, bool) {
	y, m, d := now.Date()
	from := time.Date(y, m, d-7, 0, 0, 0, 0, now.Location())
	if from.Before(begin) {
		from = begin
	}
	length := now.Sub(from)
	if length < day {
		return 0, false
	}
	today := dayOf(now)
	total, most, on := 0.0, 0.0, 0
	for d := dayOf(from.In(now.Location())); d <= today; d++ {
		v := sum(d)
		if total += v; v > most {
			most, on = v, d
		}
	}
	if rest := total - most; most > rest && length > 3*day {
		usual := false
		for d := today - 28; d < today-7; d++ {
			usual = usual || sum(d) > most/2
		}
		if !usual {
			out := day
			if on == today {
				out = now.Sub(time.Date(y, m, d, 0, 0, 0, 0, now.Location()))
			}
			return rest / (length - out).Seconds(), true
		}
	}
	return total / length.Seconds(), true
}
