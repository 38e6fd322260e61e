package backups

import (
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestBackupsAreKnownByName(t *testing.T) {
	u, err := New([]string{"my-dump", "photos-*.service"})
	require.NoError(t, err)
	all := regexp.MustCompile("^(?:" + u.Regex() + ")$")
	for unit, want := range map[string]string{
		"borgbackup-job-home.service":        "home",
		"borgbackup-job-a-b@c.service":       "a-b@c",
		"restic-backups-photos.service":      "photos",
		"btrbk.service":                      "btrbk",
		"btrbk-home.service":                 "home",
		"sanoid.service":                     "sanoid",
		"syncoid-tank-home.service":          "tank-home",
		"postgresqlBackup.service":           "postgresqlBackup",
		"postgresqlBackup-nextcloud.service": "nextcloud",
		"borgmatic.service":                  "borgmatic",
		"duplicity.service":                  "duplicity",
		"zfs-autobackup-tank.service":        "tank",
		"rsnapshot@daily.service":            "daily",
		"localbackup.service":                "localbackup",
		"my-dump.service":                    "my-dump",
		"photos-nas.service":                 "nas",

		"borgbackup-job-home.timer":    "",
		"borgbackup-job-.service":      "",
		"borgbackup-repo-home.service": "",
		"xbtrbk.service":               "",
		"sanoid-prune.service":         "",
		"postgresql.service":           "",
		"my-dumpXservice":              "",
		"apt-daily.service":            "",
	} {
		require.Equal(t, want, u.Backup(unit), unit)
		require.Equal(t, want != "", all.MatchString(unit), unit)
	}
}

func TestPatternsOfUsers(t *testing.T) {
	for _, bad := range []string{"", "*", ".service", "a,b", "a b", "/etc/x"} {
		_, err := New([]string{bad})
		require.ErrorContains(t, err, "is not a name of a unit such as my-backup", bad)
	}
	u, err := New([]string{"a.b+c*"})
	require.NoError(t, err)
	require.Equal(t, "x", u.Backup("a.b+cx.service"))
	require.Empty(t, u.Backup("aXbbcx.service"), "only * is special")
}
