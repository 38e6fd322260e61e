#!/bin/sh
# After unpacking {{.Name}}: its user and its service. Arguments are those of dpkg, or of rpm.
set -e
say() { echo "{{.Name}}: $*"; }

case ${1:-} in
configure) [ -n "${2:-}" ] && upgrade=yes || upgrade= ;;
1) upgrade= ;;
2) upgrade=yes ;;
*) exit 0 ;; # dpkg takes something back; what ran before still runs
esac

if command -v systemd-sysusers >/dev/null; then
	systemd-sysusers {{.Name}}.conf
elif ! getent passwd {{.Name}} >/dev/null; then
	useradd --system --user-group --no-create-home --home-dir {{.Home}} --shell /usr/sbin/nologin {{.Name}}
fi

if [ ! -d /run/systemd/system ]; then
	say "systemd does not run here, so nothing is started. By hand, as the user {{.Name}}:"
	say "  {{.ByHand}}"
	exit 0
fi
systemctl daemon-reload

if [ -n "$upgrade" ]; then
	# What is disabled stays off, unless somebody started it by hand.
	if [ "$1" = configure ] && systemctl --quiet is-enabled {{.Name}}.service 2>/dev/null; then
		deb-systemd-invoke restart {{.Name}}.service || say "it did not start: journalctl -u {{.Name}}"
	else
		systemctl try-restart {{.Name}}.service || say "it did not start: journalctl -u {{.Name}}"
	fi
	exit 0
fi
if [ "$1" = 1 ]; then # an rpm starts nothing by itself
	say "to start it, now and at boot: systemctl enable --now {{.Name}}"
	exit 0
fi

# Who has the port or does the work keeps it, also at the next boot.
port={{.Port}} why=
if systemctl --quiet is-active {{.Rival}}.service; then
	why="{{.Rival}} runs here"
elif grep -qsi "^ *[0-9]*: [0-9A-F]*:$(printf %04X $port) [0-9A-F]*:0000 0A " /proc/net/tcp /proc/net/tcp6; then
	why="port $port is in use"
fi
if [ -n "$why" ]; then
	say "$why, so the service is neither enabled nor started."
	say "To continue {{.Rival}} with its {{.Keeps}}: {{.Name}}-takeover"
	say "To run on another port: set --web.listen-address=:PORT in /etc/default/{{.Name}},"
	say "then: systemctl enable --now {{.Name}}"
	exit 0
fi
systemctl --quiet enable {{.Name}}.service
deb-systemd-invoke start {{.Name}}.service || say "it did not start: journalctl -u {{.Name}}"
