package calendar

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var names = [4]string{"--notify.quiet", "--notify.digest", "--notify.digest-at", "--notify.time-zone"}

func TestHours(t *testing.T) {
	for text, want := range map[string][]Span{
		"22:00-07:00":           {{nil, 22 * 60, 24 * 60}, {nil, 0, 7 * 60}},
		"13:00-14:30":           {{nil, 13 * 60, 14*60 + 30}},
		"22:00-24:00":           {{nil, 22 * 60, 24 * 60}},
		"22:00-00:00":           {{nil, 22 * 60, 24 * 60}},
		"fri,sat 23:00-9:00":    {{[]time.Weekday{5, 6}, 23 * 60, 24 * 60}, {[]time.Weekday{6, 0}, 0, 9 * 60}},
		"sat-mon 00:00-24:00":   {{[]time.Weekday{6, 0, 1}, 0, 24 * 60}},
		"Sunday 08:00-09:00":    {{[]time.Weekday{0}, 8 * 60, 9 * 60}},
		"mon-fri,sun 1:00-2:00": {{[]time.Weekday{1, 2, 3, 4, 5, 0}, 60, 120}},
	} {
		h, err := ParseHours(text)
		require.NoError(t, err, text)
		require.Equal(t, want, h.Spans(), text)
		again, err := ParseHours(h.String())
		require.NoError(t, err, text)
		require.Equal(t, h, again, text)
	}
	for text, want := range map[string]string{
		"":                    "HH:MM-HH:MM",
		"22-7":                `"22" is not a time; it must be HH:MM`,
		"22:00":               "HH:MM-HH:MM",
		"22:00-25:00":         `"25:00" is not a time`,
		"22:60-07:00":         `"22:60" is not a time`,
		"24:00-07:00":         "the start must be before 24:00",
		"07:00-07:00":         "a whole day is 00:00-24:00",
		"foo 22:00-07:00":     `"foo" is not a day; it must be one of mon`,
		"mon - fri 1:00-2:00": "HH:MM-HH:MM",
		"-1:00-02:00":         "is not a time",
	} {
		_, err := ParseHours(text)
		require.ErrorContains(t, err, want, text)
	}
}

func TestWords(t *testing.T) {
	p, err := Words{Quiet: []string{"22:00-07:00"}, Digest: "weekly", Zone: "Europe/Berlin"}.Parse(names)
	require.NoError(t, err)
	require.Equal(t, DefaultAt, p.At)
	require.Equal(t, "Europe/Berlin", p.Location().String())
	for want, w := range map[string]Words{
		`--notify.quiet: "x": it must be HH:MM-HH:MM`:                               {Quiet: []string{"x"}},
		`--notify.digest: "monthly" must be daily or weekly`:                        {Digest: "monthly"},
		`--notify.digest-at: "noon" must be a time such as 08:00`:                   {Digest: "weekly", DigestAt: "noon"},
		`--notify.digest-at: "mon 24:00" must be a time`:                            {Digest: "weekly", DigestAt: "mon 24:00"},
		`--notify.digest-at: "mon 09:00" has a day, but the digest is daily`:        {Digest: "daily", DigestAt: "mon 09:00"},
		`--notify.digest-at needs --notify.digest`:                                  {DigestAt: "09:00"},
		`--notify.time-zone: unknown time zone "Berlin"; it must be a name such as`: {Zone: "Berlin"},
	} {
		_, err := w.Parse(names)
		require.ErrorContains(t, err, want)
	}
}

// A digest is due at its time by the clock on the wall, also on the days on which that
// changes.
func TestDigestIsDue(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	require.NoError(t, err)
	at := func(text string) time.Time {
		parsed, err := time.ParseInLocation("2006-01-02 15:04", text, berlin)
		require.NoError(t, err)
		return parsed
	}
	weekly := Plan{Digest: Weekly, At: DefaultAt, Zone: berlin}
	daily := Plan{Digest: Daily, At: At{Minute: 150}, Zone: berlin} // 02:30, which one day lacks and another has twice
	for _, x := range []struct {
		plan              Plan
		now               string
		due, before, next string
	}{
		{weekly, "2026-11-30 08:00", "2026-11-30 08:00", "2026-11-23 08:00", "2026-12-07 08:00"},
		{weekly, "2026-11-30 07:59", "2026-11-23 08:00", "2026-11-16 08:00", "2026-11-30 08:00"},
		{weekly, "2026-11-29 12:00", "2026-11-23 08:00", "2026-11-16 08:00", "2026-11-30 08:00"},
		{weekly, "2026-03-30 09:00", "2026-03-30 08:00", "2026-03-23 08:00", "2026-04-06 08:00"},
		{weekly, "2026-10-26 09:00", "2026-10-26 08:00", "2026-10-19 08:00", "2026-11-02 08:00"},
		{daily, "2026-03-29 12:00", "2026-03-29 03:30", "2026-03-28 02:30", "2026-03-30 02:30"},
		{daily, "2026-10-25 12:00", "2026-10-25 02:30", "2026-10-24 02:30", "2026-10-26 02:30"},
	} {
		due, before := x.plan.Last(at(x.now))
		require.Equal(t, at(x.due).UTC(), due.UTC(), x.now)
		require.Equal(t, at(x.before).UTC(), before.UTC(), x.now)
		require.Equal(t, at(x.next).UTC(), x.plan.Next(at(x.now)).UTC(), x.now)
	}
}
