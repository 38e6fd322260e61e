#!/bin/bash
# A real tailnet of N hosts with real tun devices, each host a network namespace
# (netlab.sh): 100.64.0.x is routed natively. headscale with its DERP and STUN is
# on LAB-dns, 198.18.7.254.
#   tailnet.sh up DIR LAB N         hosts h1 to hN; none is a member yet
#   tailnet.sh join DIR hI TAG      host I becomes a member: tag:server, tag:node or tag:laptop
#   tailnet.sh joinas DIR hI USER   host I becomes a member, of a user who is made if they are new
#   tailnet.sh start|stop DIR hI    its tailscaled
#   tailnet.sh ping DIR             until every member reaches every other
#   tailnet.sh ts DIR hI ARGS       its tailscale command
#   tailnet.sh hs DIR ARGS          the coordination server's headscale command
#   tailnet.sh down DIR
# CLANMON_ORACLE_DIR has headscale, tailscale and tailscaled (build-tools.sh).
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
netlab=$here/netlab.sh
: "${CLANMON_ORACLE_DIR:=$here/../../bin/oracle}"
headscale=$CLANMON_ORACLE_DIR/headscale tailscale=$CLANMON_ORACLE_DIR/tailscale tailscaled=$CLANMON_ORACLE_DIR/tailscaled
cmd=$1 D=$(readlink -m "$2")
shift 2
if [ "$cmd" = up ]; then
	L=$1 N=$2
	mkdir -p "$D"
	echo "$L" >"$D/lab"
else
	L=$(cat "$D/lab")
fi
control=198.18.7.254
url=https://$control:8443

hs() { ip netns exec "$L-dns" "$headscale" -c "$D/config.yaml" "$@"; }
wait_for() {
	local n=$1
	shift
	for _ in $(seq "$n"); do
		"$@" >/dev/null 2>&1 && return
		sleep 0.05
	done
	echo "timeout: $*" >&2
	return 1
}
alive() { grep -qs '^State:[[:space:]]*[^ZX]' "/proc/$1/status"; }
gone() { ! alive "$1"; }
stop() { # PIDFILE
	[ -e "$1" ] || return 0
	kill "$(cat "$1")" 2>/dev/null || true
	wait_for 1200 gone "$(cat "$1")"
	rm -f "$1"
}
start_daemon() {
	ip netns exec "$L-$1" env TS_NO_LOGS_NO_SUPPORT=true SSL_CERT_FILE="$D/tls.crt" "$tailscaled" --tun=tailscale0 \
		--statedir="$D/$1" --state="$D/$1/state" --socket="$D/$1.sock" --port=41641 --no-logs-no-support \
		</dev/null >>"$D/$1.log" 2>&1 &
	echo $! >"$D/$1.pid"
	wait_for 1200 test -S "$D/$1.sock"
}

case $cmd in
up)
	"$netlab" up "$L" "$N"
	cat >"$D/policy.hujson" <<-J
		{"tagOwners": {"tag:node": ["ci@"], "tag:server": ["ci@"], "tag:laptop": ["ci@"]},
		 "acls": [{"action": "accept", "src": ["*"], "dst": ["*:*"]}]}
	J
	# The embedded DERP, without which a first packet to a peer is lost and only
	# tried again after 5 s, wants https.
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=$control \
		-addext subjectAltName=IP:$control -keyout "$D/tls.key" -out "$D/tls.crt" 2>/dev/null
	cat >"$D/config.yaml" <<-J
		server_url: $url
		listen_addr: $control:8443
		metrics_listen_addr: 127.0.0.1:9091
		grpc_listen_addr: 127.0.0.1:50443
		tls_cert_path: $D/tls.crt
		tls_key_path: $D/tls.key
		noise: {private_key_path: $D/noise.key}
		prefixes: {v4: 100.64.0.0/10, v6: "fd7a:115c:a1e0::/48", allocation: sequential}
		derp:
		  server: {enabled: true, region_id: 999, region_code: ci, region_name: ci, verify_clients: true, stun_listen_addr: ":3478",
		           private_key_path: $D/derp.key, automatically_add_embedded_derp_region: true, ipv4: $control}
		  urls: []
		  paths: []
		  auto_update_enabled: false
		disable_check_updates: true
		database: {type: sqlite, sqlite: {path: $D/db.sqlite, write_ahead_log: true}}
		policy: {mode: file, path: $D/policy.hujson}
		dns: {magic_dns: true, base_domain: tn.test, override_local_dns: false, nameservers: {global: []}}
		unix_socket: $D/hs.sock
		unix_socket_permission: "0700"
		logtail: {enabled: false}
		tuning: {batch_change_delay: 20ms, node_store_batch_timeout: 10ms}
		log: {level: info, format: text}
	J
	ip netns exec "$L-dns" "$headscale" -c "$D/config.yaml" serve </dev/null >"$D/headscale.log" 2>&1 &
	echo $! >"$D/headscale.pid"
	wait_for 1200 ip netns exec "$L-dns" curl -sf --cacert "$D/tls.crt" $url/health || {
		tail -5 "$D/headscale.log"
		exit 1
	}
	hs users create ci >/dev/null
	;;
join | joinas)
	mkdir -p "$D/$1"
	start_daemon "$1"
	if [ "$cmd" = join ]; then
		whose="-u 1 --tags $2" # the first user has the number 1
	else
		hs users create "$2" >/dev/null 2>&1 || true
		whose="-u $(hs users list --name "$2" -o json | sed -n 's/^.*"id": *\([0-9]*\).*$/\1/p' | head -1)"
	fi
	# shellcheck disable=SC2086 # several words
	key=$(hs preauthkeys create $whose --expiration 1h -o json | sed -n 's/^.*"key": *"\([^"]*\)".*$/\1/p')
	"$tailscale" --socket="$D/$1.sock" up --login-server=$url --auth-key="$key" --hostname="$1" --accept-dns=false --netfilter-mode=off --timeout=60s
	;;
start) start_daemon "$1" ;;
stop) stop "$D/$1.pid" ;;
ping)
	jobs=
	for a in "$D"/h[0-9]*.sock; do
		for b in "$D"/h[0-9]*.sock; do
			[ "$a" = "$b" ] || {
				"$tailscale" --socket="$a" ping -c 60 --timeout=1s "$(basename "$b" .sock)" >/dev/null &
				jobs+=" $!"
			}
		done
	done
	for j in $jobs; do wait "$j"; done
	;;
ts)
	h=$1
	shift
	exec "$tailscale" --socket="$D/$h.sock" "$@"
	;;
hs) hs "$@" ;;
down)
	for f in "$D"/*.pid; do stop "$f"; done
	"$netlab" down "$L"
	rm -rf "$D"
	;;
esac
