#!/usr/bin/env bash
# Runs the benchmarks. Where no systemd answers on the system bus, and this runs
# as root, one is booted in a box (e2e/sdbox) with 250 more units, so that the
# kind systemd of the exporter is measured too. As root, nginx, PostgreSQL and
# Redis are started where they are installed, for the kinds that ask them.
set -euo pipefail
cd "$(dirname "$0")/../.."
cleanup=()
trap 'for c in "${cleanup[@]}"; do eval "$c" || true; done' EXIT
if [ ! -S /run/dbus/system_bus_socket ] && [ "$(id -u)" = 0 ] && [ -x /lib/systemd/systemd ]; then
	box=$(mktemp -d)
	tree=$(mktemp -d)
	chmod 755 "$tree" # it becomes / of the box
	cleanup+=("e2e/sdbox/sdbox.sh down $box; rm -rf $tree")
	units=$tree/etc/systemd/system
	mkdir -p "$units"
	for i in $(seq 250); do
		printf '[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\n' >"$units/bench-$i.service"
	done
	e2e/sdbox/sdbox.sh up "$box" "$tree" >/dev/null
	(cd "$units" && echo ./*.service | sed 's#\./##g') | xargs "$PWD/e2e/sdbox/sdbox.sh" exec "$box" systemctl start
	export DBUS_SYSTEM_BUS_ADDRESS=unix:path=/proc/$(cat "$box/init.pid")/root/run/dbus/system_bus_socket
fi
if [ "$(id -u)" = 0 ]; then
	dir=$(mktemp -d)
	chmod 755 "$dir"
	if [ -x /usr/sbin/nginx ]; then
		printf 'daemon off; worker_processes 1; pid %s/pid; error_log %s/log; events {} http { access_log off; server { listen 127.0.0.1:28780; location = /stub_status { stub_status; } } }' "$dir" "$dir" >"$dir/nginx.conf"
		/usr/sbin/nginx -c "$dir/nginx.conf" &
		cleanup+=("kill $!; wait $!")
		export BENCH_NGINX=http://127.0.0.1:28780/stub_status
	fi
	if redis=$(command -v redis-server); then
		"$redis" --port 28781 --bind 127.0.0.1 --save '' --dir "$dir" >/dev/null &
		cleanup+=("kill $!; wait $!")
		export BENCH_REDIS=redis://127.0.0.1:28781
	fi
	bins=(/usr/lib/postgresql/*/bin)
	if [ -x "${bins[-1]}/postgres" ]; then
		mkdir "$dir/pg"
		chown postgres "$dir/pg"
		(cd / && setpriv --reuid=postgres --regid=postgres --init-groups "${bins[-1]}/initdb" -D "$dir/pg/data" --auth=trust --no-sync -E UTF8 --locale=C >/dev/null)
		(cd / && exec setpriv --reuid=postgres --regid=postgres --init-groups "${bins[-1]}/postgres" -D "$dir/pg/data" -p 28782 -k "$dir/pg" -c listen_addresses=127.0.0.1 -c fsync=off 2>"$dir/pglog") &
		cleanup+=("kill -INT $!; wait $!")
		export BENCH_POSTGRES='postgres://postgres@127.0.0.1:28782/postgres?sslmode=disable'
	fi
	cleanup+=("rm -rf $dir")
fi
if [ ! -x bin/oracle/vmagent ] && [[ "$*" != *-only* || "$*" == *push* ]]; then
	e2e/bench/build-vmagent.sh bin/oracle || echo 'vmagent could not be built' >&2
fi
go build -o bin/bench ./e2e/bench
bin/bench "$@"
