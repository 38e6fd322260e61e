// Package backups knows backups by the names of their units. It has the only list.
package backups

import (
	"fmt"
	"regexp"
	"strings"
)

// known are the services that make backups, without .service. A * is the backup's name.
var known = []string{
	"borgbackup-job-*",             // NixOS, and clan's service borgbackup
	"localbackup", "localbackup-*", // clan's service localbackup, where a unit starts it
	"restic-backups-*", "rustic-backup-*", // NixOS
	"borgmatic", "borgmatic-*", "borgmatic@*",
	"btrbk", "btrbk-*",
	"sanoid", "syncoid", "syncoid-*",
	"zfs-autobackup", "zfs-autobackup-*", "zfs-autobackup@*",
	"rsnapshot", "rsnapshot-*", "rsnapshot@*",
	"duplicity", "duplicity-*", "duplicity@*",
	"tarsnap-*",
	"postgresqlBackup", "postgresqlBackup-*", "mysql-backup", // NixOS
	"backup-vaultwarden", // NixOS
}

// Units recognises the units that make backups.
type Units struct {
	patterns []*regexp.Regexp
	text     string
}

// New returns those of the list, and those that a pattern of more matches: names of services
// with or without .service, in which * is any text. An error names the pattern.
func New(more []string) (*Units, error) {
	u := &Units{}
	var all []string
	for _, p := range append(append([]string(nil), more...), known...) {
		p = strings.TrimSuffix(p, ".service")
		if p == "" || strings.Trim(p, "*") == "" || strings.ContainsAny(p, "/ ,\t\n") || len(p) > 255 {
			return nil, fmt.Errorf("%q is not a name of a unit such as my-backup or my-backup-*", p)
		}
		parts := strings.Split(p, "*")
		for i := range parts {
			parts[i] = regexp.QuoteMeta(parts[i])
		}
		u.patterns = append(u.patterns, regexp.MustCompile("^"+strings.Join(parts, "(.+)")+`\.service$`))
		all = append(all, strings.Join(parts, ".+"))
	}
	u.text = "(" + strings.Join(all, "|") + `)\.service`
	return u, nil
}

// Regex is a regular expression of all names, not anchored.
func (u *Units) Regex() string { return u.text }

// Backup is the name of the backup that a service makes: what * stands for in its pattern, or
// the name of the service; "" if it makes none.
func (u *Units) Backup(service string) string {
	for _, p := range u.patterns {
		m := p.FindStringSubmatch(service)
		switch {
		case m == nil:
		case len(m) > 1:
			return m[1]
		default:
			return strings.TrimSuffix(service, ".service")
		}
	}
	return ""
}
