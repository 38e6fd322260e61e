#!/bin/sh
# After {{.Name}} has gone. Settings and data stay until "purge" of dpkg{{if .Server}}, and data
# also then unless somebody says otherwise{{end}}.
set -e
[ ! -d /run/systemd/system ] || systemctl daemon-reload
[ "${1:-}" = purge ] || exit 0
rm -f{{range .Sockets}} /etc/systemd/system/sockets.target.wants/{{.}}{{end}} /etc/systemd/system/multi-user.target.wants/{{.Name}}.service
{{- if .Server}}
rmdir --ignore-fail-on-non-empty /etc/clanmon 2>/dev/null || true
[ -d /var/lib/clanmon ] || exit 0
delete=false
if [ -e /usr/share/debconf/confmodule ]; then
	. /usr/share/debconf/confmodule
	db_version 2.0
	db_input high clanmon/delete-data || true
	db_go || true
	if db_get clanmon/delete-data; then delete=$RET; fi
	db_purge
	exec >&2 # debconf reads standard output
fi
if [ "$delete" = true ]; then
	rm -rf /var/lib/clanmon || true # a mount point stays, empty
else
	echo "clanmon: /var/lib/clanmon was kept: it has all that was stored. To delete it: rm -r /var/lib/clanmon"
fi
{{- else}}
rm -rf /var/lib/{{.Name}} || true # what a server may have missed; a mount point stays, empty
{{- end}}
