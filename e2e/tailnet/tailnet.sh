#!/bin/bash
# A real tailnet of N hosts with real tun devices, each host its own network namespace (netlab.sh): 100.64.0.x is routed natively.
#   tailnet.sh up DIR LAB [N]      h1 (tag:server), h2.. (tag:node); headscale + DERP/STUN on LAB-dns (198.18.7.254:8443)
#   tailnet.sh exec DIR hI CMD     CMD on host I; resolv.conf there = MagicDNS 100.100.100.100, search tn.test
#   tailnet.sh ts DIR hI ARGS      tailscale CLI of host I
#   tailnet.sh down DIR
set -euo pipefail
here=$(dirname "$(readlink -f "$0")"); LABSH=$here/netlab.sh
: "${CLANMON_ORACLE_DIR:=$here/../../bin/oracle}"
HEADSCALE=$CLANMON_ORACLE_DIR/headscale TAILSCALE=$CLANMON_ORACLE_DIR/tailscale TAILSCALED=$CLANMON_ORACLE_DIR/tailscaled
cmd=$1; D=$(readlink -m "$2"); shift 2
if [ "$cmd" = up ]; then L=$1; N=${2:-3}; mkdir -p "$D"; echo "$L" > "$D/lab"; echo "$N" > "$D/n"; else L=$(cat "$D/lab"); N=$(cat "$D/n"); fi
C=198.18.7.254; U=https://$C:8443
hs() { ip netns exec "$L-dns" "$HEADSCALE" -c "$D/config.yaml" "$@"; }
wait_for() { local n=$1; shift; for _ in $(seq "$n"); do "$@" >/dev/null 2>&1 && return; sleep 0.05; done; echo "timeout: $*" >&2; return 1; }
alive() { grep -qs '^State:[[:space:]]*[^ZX]' "/proc/$1/status"; }
case $cmd in
up) "$LABSH" up "$L" "$N"
  cat > "$D/policy.hujson" <<J
{"tagOwners": {"tag:node": ["ci@"], "tag:server": ["ci@"], "tag:laptop": ["ci@"]}, "acls": [{"action": "accept", "src": ["*"], "dst": ["*:*"]}]}
J
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=$C -addext subjectAltName=IP:$C -keyout "$D/tls.key" -out "$D/tls.crt" 2>/dev/null
  cat > "$D/config.yaml" <<J
server_url: $U
listen_addr: $C:8443
metrics_listen_addr: 127.0.0.1:9091
grpc_listen_addr: 127.0.0.1:50443
tls_cert_path: $D/tls.crt
tls_key_path: $D/tls.key
noise: {private_key_path: $D/noise.key}
prefixes: {v4: 100.64.0.0/10, v6: "fd7a:115c:a1e0::/48", allocation: sequential}
derp:
  server: {enabled: true, region_id: 999, region_code: ci, region_name: ci, verify_clients: true, stun_listen_addr: ":3478",
           private_key_path: $D/derp.key, automatically_add_embedded_derp_region: true, ipv4: $C}
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
  ip netns exec "$L-dns" "$HEADSCALE" -c "$D/config.yaml" serve </dev/null >"$D/headscale.log" 2>&1 & echo $! > "$D/headscale.pid"
  wait_for 200 ip netns exec "$L-dns" curl -sf --cacert "$D/tls.crt" $U/health || { tail -5 "$D/headscale.log"; exit 1; }
  hs users create ci >/dev/null; # the first user has the number 1
  key() { hs preauthkeys create -u 1 --reusable --expiration 1h --tags "$1" -o json | sed -n 's/^.*"key": *"\([^"]*\)".*$/\1/p'; }
  kn=$(key tag:node); ks=$(key tag:server)
  for i in $(seq "$N"); do mkdir -p "$D/h$i"
    printf 'nameserver 100.100.100.100\nsearch tn.test\noptions timeout:1 attempts:2\n' > "/etc/netns/$L-h$i/resolv.conf"
    ip netns exec "$L-h$i" env TS_NO_LOGS_NO_SUPPORT=true SSL_CERT_FILE="$D/tls.crt" "$TAILSCALED" --tun=tailscale0 --statedir="$D/h$i" --state="$D/h$i/state" \
      --socket="$D/h$i.sock" --port=41641 --no-logs-no-support </dev/null >"$D/h$i.log" 2>&1 & echo $! > "$D/h$i.pid"; done
  P=
  for i in $(seq "$N"); do wait_for 200 test -S "$D/h$i.sock"; k=$kn; [ "$i" = 1 ] && k=$ks
    "$TAILSCALE" --socket="$D/h$i.sock" up --login-server=$U --auth-key="$k" --hostname="h$i" --accept-dns=false --netfilter-mode=off --timeout=30s & P+=" $!"; done
  for p in $P; do wait "$p"; done
  P=; for i in $(seq "$N"); do for j in $(seq "$N"); do [ "$i" = "$j" ] || { "$TAILSCALE" --socket="$D/h$i.sock" ping -c 10 --timeout=1s "h$j" >/dev/null & P+=" $!"; }; done; done
  for p in $P; do wait "$p"; done ;;
exec) exec "$LABSH" exec "$L" "$@" ;;
ts) h=$1; shift; exec "$TAILSCALE" --socket="$D/$h.sock" "$@" ;;
down) for f in "$D"/*.pid; do kill "$(cat "$f")" 2>/dev/null || true; done
  for f in "$D"/*.pid; do for _ in $(seq 60); do alive "$(cat "$f")" || break; sleep 0.05; done; done
  "$LABSH" down "$L"; rm -rf "$D" ;;
esac
