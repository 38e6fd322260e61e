// Package calendar reads hours of the week as people write them in flags and settings:
// quiet hours, and the time of a digest.
package calendar

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // a machine need not have the names of time zones
)

// Plan says when people are notified. The zero Plan has no quiet hours and no digest.
type Plan struct {
	Quiet []Hours
	// Digest is "", Daily or Weekly, and At is when it is due.
	Digest string
	At     At
	// Zone is that of all times, nil for the local one.
	Zone *time.Location
}

// What Digest can be.
const (
	Daily  = "daily"
	Weekly = "weekly"
)

// DefaultAt is when a digest is due if nothing else is said.
var DefaultAt = At{Day: time.Monday, Minute: 8 * 60}

// Location is the zone of all times.
func (p Plan) Location() *time.Location {
	if p.Zone == nil {
		return time.Local
	}
	return p.Zone
}

// Equal reports whether both plans say the same.
func (p Plan) Equal(q Plan) bool {
	same := func(a, b Hours) bool { return a.String() == b.String() }
	return slices.EqualFunc(p.Quiet, q.Quiet, same) && p.Digest == q.Digest && p.At == q.At && p.Location().String() == q.Location().String()
}

// Words are a Plan as it is written; an empty field says nothing.
type Words struct {
	Quiet            []string
	Digest, DigestAt string
	Zone             string
}

// Or fills the empty fields of w from v.
func (w Words) Or(v Words) Words {
	if len(w.Quiet) == 0 {
		w.Quiet = v.Quiet
	}
	w.Digest, w.DigestAt, w.Zone = cmp.Or(w.Digest, v.Digest), cmp.Or(w.DigestAt, v.DigestAt), cmp.Or(w.Zone, v.Zone)
	return w
}

// Parse reads them. names are what the fields are called where they were written, in the
// order of Words; an error begins with one.
func (w Words) Parse(names [4]string) (Plan, error) {
	var p Plan
	for _, text := range w.Quiet {
		h, err := ParseHours(text)
		if err != nil {
			return Plan{}, fmt.Errorf("%s: %w", names[0], err)
		}
		p.Quiet = append(p.Quiet, h)
	}
	if w.Digest != "" && w.Digest != Daily && w.Digest != Weekly {
		return Plan{}, fmt.Errorf("%s: %q must be %s or %s", names[1], w.Digest, Daily, Weekly)
	}
	p.Digest, p.At = w.Digest, DefaultAt
	if w.DigestAt != "" {
		at, err := ParseAt(w.DigestAt)
		if err != nil {
			return Plan{}, fmt.Errorf("%s: %w", names[2], err)
		}
		if p.Digest == "" {
			return Plan{}, fmt.Errorf("%s needs %s", names[2], names[1])
		}
		if _, err := parseDay(strings.Fields(w.DigestAt)[0]); err == nil && p.Digest == Daily {
			return Plan{}, fmt.Errorf("%s: %q has a day, but the digest is daily; write %q", names[2], w.DigestAt, clock(at.Minute))
		}
		p.At = at
	}
	if w.Zone != "" {
		zone, err := time.LoadLocation(w.Zone)
		if err != nil {
			return Plan{}, fmt.Errorf("%s: unknown time zone %q; it must be a name such as Europe/Berlin or UTC", names[3], w.Zone)
		}
		p.Zone = zone
	}
	return p, nil
}

// Hours are a part of some days. If they end at or before their start, they end on the
// day after.
type Hours struct {
	Days     []time.Weekday // on which they start; empty for all
	From, To int            // minutes since midnight; To is 1440 at most
}

// ParseHours reads "22:00-07:00", "sat,sun 00:00-24:00" or "mon-fri 22:00-07:00".
func ParseHours(text string) (Hours, error) {
	const want = "it must be HH:MM-HH:MM, such as 22:00-07:00, with days in front if it is not for all: mon-fri 22:00-07:00"
	fields := strings.Fields(text)
	if len(fields) == 0 || len(fields) > 2 {
		return Hours{}, fmt.Errorf("%q: %s", text, want)
	}
	var h Hours
	var err error
	if len(fields) == 2 {
		if h.Days, err = parseDays(fields[0]); err != nil {
			return Hours{}, fmt.Errorf("%q: %w", text, err)
		}
	}
	from, to, found := strings.Cut(fields[len(fields)-1], "-")
	if !found {
		return Hours{}, fmt.Errorf("%q: %s", text, want)
	}
	if h.From, err = parseClock(from); err == nil {
		h.To, err = parseClock(to)
	}
	switch {
	case err != nil:
		return Hours{}, fmt.Errorf("%q: %w", text, err)
	case h.From == h.To:
		return Hours{}, fmt.Errorf("%q: the end is the start; a whole day is 00:00-24:00", text)
	case h.From == day:
		return Hours{}, fmt.Errorf("%q: the start must be before 24:00", text)
	}
	return h, nil
}

func (h Hours) String() string {
	text := clock(h.From) + "-" + clock(h.To)
	if len(h.Days) == 0 {
		return text
	}
	var days []string
	for _, d := range h.Days {
		days = append(days, dayNames[d])
	}
	return strings.Join(days, ",") + " " + text
}

// A Span is a part of one day.
type Span struct {
	Days     []time.Weekday // empty for all
	From, To int            // minutes since midnight, From < To ≤ 1440
}

// Spans are the hours cut at midnight.
func (h Hours) Spans() []Span {
	if h.From < h.To {
		return []Span{{h.Days, h.From, h.To}}
	}
	spans := []Span{{h.Days, h.From, day}}
	if h.To > 0 {
		var next []time.Weekday
		for _, d := range h.Days {
			next = append(next, (d+1)%7)
		}
		spans = append(spans, Span{next, 0, h.To})
	}
	return spans
}

// At is a time of a week, or of each day where its Day is not used.
type At struct {
	Day    time.Weekday
	Minute int // since midnight
}

// ParseAt reads "08:00", "mon 08:00" or "mon".
func ParseAt(text string) (At, error) {
	at := DefaultAt
	fields := strings.Fields(text)
	wrong := fmt.Errorf("%q must be a time such as 08:00, or a day and a time such as mon 08:00", text)
	if len(fields) == 0 || len(fields) > 2 {
		return At{}, wrong
	}
	for i, f := range fields {
		if d, err := parseDay(f); err == nil && i == 0 {
			at.Day = d
			continue
		}
		minute, err := parseClock(f)
		if err != nil || minute == day || i < len(fields)-1 {
			return At{}, wrong
		}
		at.Minute = minute
	}
	return at, nil
}

// Last is the latest time at or before now at which the digest of p was due, and the one
// before that. Clocks that change do not add or leave out one.
func (p Plan) Last(now time.Time) (due, before time.Time) {
	due = p.on(now, 0)
	step := 1
	if p.Digest == Weekly {
		step = 7
		due = p.on(now, -int((now.In(p.Location()).Weekday()-p.At.Day+7)%7))
	}
	if due.After(now) {
		due = p.on(due, -step)
	}
	return due, p.on(due, -step)
}

// Next is the first time after now at which the digest is due.
func (p Plan) Next(now time.Time) time.Time {
	due, _ := p.Last(now)
	if p.Digest == Weekly {
		return p.on(due, 7)
	}
	return p.on(due, 1)
}

// on is the time of p some days after the day of t.
func (p Plan) on(t time.Time, days int) time.Time {
	t = t.In(p.Location())
	return time.Date(t.Year(), t.Month(), t.Day()+days, p.At.Minute/60, p.At.Minute%60, 0, 0, p.Location())
}

// day is the length of one in minutes.
const day = 24 * 60

func clock(minute int) string { return fmt.Sprintf("%02d:%02d", minute/60, minute%60) }

func parseClock(text string) (int, error) {
	wrong := fmt.Errorf("%q is not a time; it must be HH:MM", text)
	h, m, found := strings.Cut(text, ":")
	if !found || len(h) == 0 || len(h) > 2 || len(m) != 2 {
		return 0, wrong
	}
	hour, err1 := strconv.ParseUint(h, 10, 8)
	minute, err2 := strconv.ParseUint(m, 10, 8)
	total := int(hour)*60 + int(minute)
	if err := errors.Join(err1, err2); err != nil || minute > 59 || total > day {
		return 0, wrong
	}
	return total, nil
}

var dayNames = [7]string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

func parseDay(text string) (time.Weekday, error) {
	text = strings.ToLower(text)
	for d, short := range dayNames {
		if text == short || text == strings.ToLower(time.Weekday(d).String()) {
			return time.Weekday(d), nil
		}
	}
	return 0, fmt.Errorf("%q is not a day; it must be one of mon, tue, wed, thu, fri, sat, sun", text)
}

// parseDays reads "mon-fri,sun".
func parseDays(text string) ([]time.Weekday, error) {
	var days []time.Weekday
	for part := range strings.SplitSeq(text, ",") {
		first, last, found := strings.Cut(part, "-")
		if !found {
			last = first
		}
		from, err := parseDay(first)
		if err != nil {
			return nil, err
		}
		to, err := parseDay(last)
		if err != nil {
			return nil, err
		}
		for d := from; ; d = (d + 1) % 7 {
			if !slices.Contains(days, d) {
				days = append(days, d)
			}
			if d == to {
				break
			}
		}
	}
	return days, nil
}
