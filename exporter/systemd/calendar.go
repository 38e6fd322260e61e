package systemd

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// calendar is a calendar expression of systemd, in the normalized form in which
// systemd itself writes it: "Mon..Fri *-*-* 06,18:00:00 Europe/Berlin". Fractions of
// a second are left out.
type calendar struct {
	weekdays             [7]bool // by time.Weekday
	year, month, day     chain
	fromEnd              bool // days are counted from the end of the month
	hour, minute, second chain
	zone                 *time.Location
}

// chain is what a component may be; nil is anything.
type chain []span

// span is start, or start to stop, or every so many from start on.
type span struct{ start, stop, repeat int }

var weekdayNames = []string{"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"}

// parseCalendar reads an expression; local is the time zone where it names none.
// It returns nil for what it does not understand.
func parseCalendar(text string, local *time.Location) *calendar {
	c := &calendar{zone: local}
	words := strings.Fields(text)
	if len(words) > 0 && slices.Contains(weekdayNames, words[0][:min(3, len(words[0]))]) {
		if !c.parseWeekdays(words[0]) {
			return nil
		}
		words = words[1:]
	} else {
		c.weekdays = [7]bool{true, true, true, true, true, true, true}
	}
	if len(words) == 3 {
		zone, err := time.LoadLocation(words[2])
		if err != nil {
			return nil
		}
		c.zone, words = zone, words[:2]
	}
	if len(words) != 2 {
		return nil
	}
	date, month, ok := strings.Cut(words[0], "-")
	month, day, two := strings.Cut(month, "-")
	if !two {
		month, day, two = strings.Cut(month, "~")
		c.fromEnd = true
	}
	clock := strings.Split(words[1], ":")
	if !ok || !two || len(clock) != 3 {
		return nil
	}
	for _, part := range []struct {
		text string
		into *chain
	}{{date, &c.year}, {month, &c.month}, {day, &c.day}, {clock[0], &c.hour}, {clock[1], &c.minute}, {clock[2], &c.second}} {
		if *part.into, ok = parseChain(part.text); !ok {
			return nil
		}
	}
	return c
}

func (c *calendar) parseWeekdays(text string) bool {
	for part := range strings.SplitSeq(text, ",") {
		from, to, isRange := strings.Cut(part, "..")
		a, b := slices.Index(weekdayNames, from), slices.Index(weekdayNames, to)
		if !isRange {
			b = a
		}
		if a < 0 || b < 0 {
			return false
		}
		for d := a; ; d = (d + 1) % 7 { // the week ends with Sunday
			c.weekdays[d] = true
			if d == b {
				break
			}
		}
	}
	return true
}

func parseChain(text string) (chain, bool) {
	if text == "*" {
		return nil, true
	}
	var found chain
	for part := range strings.SplitSeq(text, ",") {
		part, every, repeats := strings.Cut(part, "/")
		from, to, isRange := strings.Cut(part, "..")
		start, ok := whole(from)
		s := span{start: start, stop: start}
		if repeats {
			var is bool
			s.repeat, is = whole(every)
			ok = ok && is && s.repeat > 0
			s.stop = 1 << 30
		}
		if isRange {
			var is bool
			s.stop, is = whole(to)
			ok = ok && is
			s.repeat = max(s.repeat, 1)
		}
		if !ok {
			return nil, false
		}
		found = append(found, s)
	}
	return found, true
}

// whole is a number without its fraction.
func whole(text string) (int, bool) {
	text, _, _ = strings.Cut(text, ".")
	n, err := strconv.Atoi(text)
	return n, err == nil && n >= 0
}

func (c chain) has(n int) bool {
	return c == nil || slices.ContainsFunc(c, func(s span) bool {
		return n == s.start || s.repeat > 0 && n > s.start && n <= s.stop && (n-s.start)%s.repeat == 0
	})
}

// hasDay is has for a day of a month with so many days.
func (c *calendar) hasDay(day, days int) bool {
	if !c.fromEnd || c.day == nil {
		return c.day.has(day)
	}
	return slices.ContainsFunc(c.day, func(s span) bool {
		if s.repeat == 0 {
			return day == days+1-s.start
		}
		// A range is written from the earlier day to the later one.
		stop := days
		if s.stop <= 31 {
			stop = days + 1 - s.stop
		}
		return chain{{days + 1 - s.start, stop, s.repeat}}.has(day)
	})
}

// horizon is how many years an expression is followed.
const horizon = 9

// next is the first time after t, zero if there is none for years.
func (c *calendar) next(t time.Time) time.Time {
	t = t.In(c.zone).Truncate(time.Second).Add(time.Second)
	end := t.Year() + horizon
	for day := time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, c.zone); day.Year() <= end; {
		y, m, d := day.Date()
		switch {
		case !c.year.has(y):
			day = time.Date(y+1, 1, 1, 0, 0, 0, 0, c.zone)
			continue
		case !c.month.has(int(m)):
			day = time.Date(y, m+1, 1, 0, 0, 0, 0, c.zone)
			continue
		}
		days := time.Date(y, m+1, 0, 0, 0, 0, 0, time.UTC).Day()
		if c.weekdays[day.Weekday()] && c.hasDay(d, days) {
			if at := c.within(y, m, d, t); !at.IsZero() {
				return at
			}
		}
		day = time.Date(y, m, d+1, 0, 0, 0, 0, c.zone)
	}
	return time.Time{}
}

// within is the first time of a day that is not before t, zero if there is none.
func (c *calendar) within(y int, m time.Month, d int, t time.Time) time.Time {
	for hour := range 24 {
		if !c.hour.has(hour) || time.Date(y, m, d, hour, 59, 59, 0, c.zone).Before(t) {
			continue
		}
		for minute := range 60 {
			if !c.minute.has(minute) || time.Date(y, m, d, hour, minute, 59, 0, c.zone).Before(t) {
				continue
			}
			for second := range 60 {
				if at := time.Date(y, m, d, hour, minute, second, 0, c.zone); c.second.has(second) && !at.Before(t) {
					return at
				}
			}
		}
	}
	return time.Time{}
}
