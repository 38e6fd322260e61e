#!/usr/bin/env bash
# Runs the benchmarks. Where no systemd answers on the system bus, and this runs
# as root, one is booted in a box (e2e/sdbox) with 250 more units, so that the
# kind systemd of the exporter is measured too.
set -euo pipefail
cd "$(dirname "$0")/../.."
if [ ! -S /run/dbus/system_bus_socket ] && [ "$(id -u)" = 0 ] && [ -x /lib/systemd/systemd ]; then
	box=$(mktemp -d)
	tree=$(mktemp -d)
	chmod 755 "$tree" # it becomes / of the box
	trap 'e2e/sdbox/sdbox.sh down "$box"; rm -rf "$tree"' EXIT
	units=$tree/etc/systemd/system
	mkdir -p "$units"
	for i in $(seq 250); do
		printf '[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\n' >"$units/bench-$i.service"
	done
	e2e/sdbox/sdbox.sh up "$box" "$tree" >/dev/null
	(cd "$units" && echo ./*.service | sed 's#\./##g') | xargs "$PWD/e2e/sdbox/sdbox.sh" exec "$box" systemctl start
	export DBUS_SYSTEM_BUS_ADDRESS=unix:path=/proc/$(cat "$box/init.pid")/root/run/dbus/system_bus_socket
fi
go build -o bin/bench ./e2e/bench
bin/bench "$@"
