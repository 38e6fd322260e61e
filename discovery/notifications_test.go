package discovery

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/internal/calendar"
)

// When people are notified is read from the file and the flags, each of which wins for
// itself.
func TestNotifications(t *testing.T) {
	file := filepath.Join(t.TempDir(), "settings.yml")
	read := func(text string, flags calendar.Words) (calendar.Plan, error) {
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		s, err := ReadFlags(Flags{SettingsFile: file, Notifications: flags})
		if err != nil {
			return calendar.Plan{}, err
		}
		return s.Plan, nil
	}
	const all = "notifications: {quiet: '22:00-07:00', digest: weekly, digestAt: sun 09:00, timeZone: Europe/Berlin}"
	p, err := read(all, calendar.Words{})
	require.NoError(t, err)
	require.Equal(t, "22:00-07:00", p.Quiet[0].String())
	require.Equal(t, calendar.At{Day: time.Sunday, Minute: 540}, p.At)
	require.Equal(t, "Europe/Berlin", p.Location().String())

	p, err = read(all, calendar.Words{Quiet: []string{"sat 00:00-24:00"}, Zone: "UTC"})
	require.NoError(t, err)
	require.Len(t, p.Quiet, 1)
	require.Equal(t, "sat 00:00-24:00", p.Quiet[0].String())
	require.Equal(t, "weekly", p.Digest)
	require.Equal(t, "UTC", p.Location().String())

	for want, text := range map[string]string{
		`settings.yml": notifications.quiet: "22": it must be HH:MM-HH:MM`:   "notifications: {quiet: ['22']}",
		`settings.yml": notifications.digest: "often" must be daily or week`: "notifications: {digest: often}",
		`settings.yml": notifications.timeZone: unknown time zone "Berlin"`:  "notifications: {timeZone: Berlin}",
		`notifications.{quiet,digest,digestAt,timeZone}`:                     "notifications: {quite: []}",
	} {
		_, err := read(text, calendar.Words{})
		require.ErrorContains(t, err, want)
	}
	_, err = read(all, calendar.Words{Digest: "never"})
	require.ErrorContains(t, err, `--notify.digest: "never" must be daily or weekly`)
}
