package systemd

import (
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The two times after Thursday, 29 February 2024, 12:00:30.
func TestCalendar(t *testing.T) {
	after := time.Date(2024, 2, 29, 12, 0, 30, 0, time.UTC)
	for text, want := range map[string][2]string{
		"*-*-* *:*:*":                      {"2024-02-29 12:00:31", "2024-02-29 12:00:32"},
		"*-*-* *:*:00":                     {"2024-02-29 12:01:00", "2024-02-29 12:02:00"},
		"*-*-* *:00:00":                    {"2024-02-29 13:00:00", "2024-02-29 14:00:00"},
		"*-*-* 00:00:00":                   {"2024-03-01 00:00:00", "2024-03-02 00:00:00"},
		"*-*-* 12:00:30.500000":            {"2024-03-01 12:00:30", "2024-03-02 12:00:30"},
		"*-*-* 06,18:00:00":                {"2024-02-29 18:00:00", "2024-03-01 06:00:00"},
		"*-*-* *:00/15:00":                 {"2024-02-29 12:15:00", "2024-02-29 12:30:00"},
		"*-*-* 09..17:30:00":               {"2024-02-29 12:30:00", "2024-02-29 13:30:00"},
		"*-*-* 00..12/6:00:00":             {"2024-03-01 00:00:00", "2024-03-01 06:00:00"},
		"Mon *-*-* 00:00:00":               {"2024-03-04 00:00:00", "2024-03-11 00:00:00"},
		"Mon..Fri *-*-* 23:00:00":          {"2024-02-29 23:00:00", "2024-03-01 23:00:00"},
		"Sat,Sun *-*-* 03:00:00":           {"2024-03-02 03:00:00", "2024-03-03 03:00:00"},
		"Sat..Mon *-*-* 03:00:00":          {"2024-03-02 03:00:00", "2024-03-03 03:00:00"},
		"Sun *-*-01..07 03:10:00":          {"2024-03-03 03:10:00", "2024-04-07 03:10:00"},
		"*-*-01 00:00:00":                  {"2024-03-01 00:00:00", "2024-04-01 00:00:00"},
		"*-01,04,07,10-01 00:00:00":        {"2024-04-01 00:00:00", "2024-07-01 00:00:00"},
		"*-01-01 00:00:00":                 {"2025-01-01 00:00:00", "2026-01-01 00:00:00"},
		"*-*-01/10 00:00:00":               {"2024-03-01 00:00:00", "2024-03-11 00:00:00"},
		"*-02-29 00:00:00":                 {"2028-02-29 00:00:00", "2032-02-29 00:00:00"},
		"*-*~01 00:00:00":                  {"2024-03-31 00:00:00", "2024-04-30 00:00:00"},
		"*-02~03 00:00:00":                 {"2025-02-26 00:00:00", "2026-02-26 00:00:00"},
		"Mon *-05~07/1 00:00:00":           {"2024-05-27 00:00:00", "2025-05-26 00:00:00"},
		"2025-06-01 00:00:00":              {"2025-06-01 00:00:00", ""},
		"2020-01-01 00:00:00":              {"", ""},
		"*-*-* 00:00:00 UTC":               {"2024-03-01 00:00:00", "2024-03-02 00:00:00"},
		"*-*-* 00:00:00 America/New_York":  {"2024-03-01 05:00:00", "2024-03-02 05:00:00"},
		"*-03-30,31 02:30:00 Europe/Paris": {"2024-03-30 01:30:00", "2024-03-31 01:30:00"}, // the latter day has no 02:30
	} {
		c := parseCalendar(text, time.UTC)
		require.NotNil(t, c, text)
		at := after
		for _, w := range want {
			if at = c.next(at); w == "" {
				require.True(t, at.IsZero(), "%s: %v", text, at)
				break
			}
			require.Equal(t, w, at.UTC().Format("2006-01-02 15:04:05"), text)
		}
	}
	for _, text := range []string{"", "daily", "*-*-*", "*-*-* 00:00", "x-*-* 00:00:00", "Mox *-*-* 00:00:00", "*-*-* 00:00:00 Nowhere/City", "*-*-* 0/0:00:00", "*-*-* a..b:00:00", "Mon..x *-*-* 00:00:00"} {
		require.Nil(t, parseCalendar(text, time.UTC), text)
	}
}

// Beside systemd's own tool.
func TestCalendarBesideSystemd(t *testing.T) {
	tool, err := exec.LookPath("systemd-analyze")
	require.NoError(t, err, "install systemd (Debian)")
	for _, text := range []string{
		"minutely", "hourly", "daily", "weekly", "monthly", "quarterly", "semiannually", "yearly", "Mon..Fri 8..18/2:15", "*:0/7", "Sat *-*~07/1 4:00",
		"*-*-1,8,15,22,29 6,18:00", "Sun 03:10:17", "*-2-29 1:1", "2000..2100-6..8-* 12:34", "Wed *-1/3-10..20 0/6:30",
	} {
		out, err := exec.Command(tool, "calendar", "--iterations=8", "--base-time=2024-02-29 12:00:30 UTC", text+" UTC").Output()
		require.NoError(t, err, text)
		var normal string
		var want []string
		for line := range strings.Lines(string(out)) {
			key, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
			switch value = strings.TrimSpace(value); {
			case key == "Normalized form":
				normal = value
			case key == "Next elapse", strings.HasPrefix(key, "Iter"):
				want = append(want, value)
			}
		}
		c := parseCalendar(normal, time.UTC)
		require.NotNil(t, c, normal)
		require.Len(t, want, 8, string(out))
		at := time.Date(2024, 2, 29, 12, 0, 30, 0, time.UTC)
		for _, w := range want {
			at = c.next(at)
			require.Equal(t, w, at.UTC().Format("Mon 2006-01-02 15:04:05 MST"), normal)
		}
	}
}
