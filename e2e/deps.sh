#!/bin/sh
# Debian packages that the tests need, each with the file that shows it is here.
# As root with apt they are installed; else they are named.
set -eu
missing=

# Any Node from version 18 on will do; Debian's is named when there is none.
node_of_any_origin() {
	major=$(node -p 'process.versions.node.split(".")[0]' 2>/dev/null) || major=0
	[ "$major" -ge 18 ] || echo nodejs -
	command -v npm >/dev/null || echo npm -
}

while read -r package file; do
	# shellcheck disable=SC2086 # a * stands for the architecture
	[ -e $file ] || missing="$missing $package"
done <<LIST
$(node_of_any_origin)
gcc /usr/bin/gcc
libc6-dev /usr/include/stdio.h
git /usr/bin/git
curl /usr/bin/curl
openssl /usr/bin/openssl
iproute2 /usr/sbin/ip
util-linux /usr/bin/unshare
systemd /lib/systemd/systemd
dbus /usr/bin/dbus-daemon
libnss-systemd /usr/lib/*/libnss_systemd.so.2
prometheus /usr/bin/prometheus
prometheus-node-exporter /usr/bin/prometheus-node-exporter
rpm /usr/bin/rpm
qemu-user-static /usr/bin/qemu-aarch64-static
dnsmasq-base /usr/sbin/dnsmasq
nftables /usr/sbin/nft
nsd /usr/sbin/nsd
chromium /usr/bin/chromium
firefox-esr /usr/bin/firefox-esr
nginx-light /usr/sbin/nginx
postgresql /usr/lib/postgresql/*/bin/initdb
redis-server /usr/bin/redis-server
exim4-daemon-light /usr/sbin/exim4
openssh-server /usr/sbin/sshd
nix-bin /usr/bin/nix-instantiate
groff-base /usr/bin/groff
zsh /usr/bin/zsh
fish /usr/bin/fish
borgbackup /usr/bin/borg
restic /usr/bin/restic
LIST
[ -n "$missing" ] || exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
	echo "installing for the tests:$missing"
	export DEBIAN_FRONTEND=noninteractive
	apt-get update -qq
	# shellcheck disable=SC2086
	apt-get install -y -qq -o DPkg::Lock::Timeout=300 --no-install-recommends $missing >/dev/null
	exit 0
fi
echo "The tests need these Debian packages:$missing" >&2
echo "Install them as root:  apt-get install --no-install-recommends$missing" >&2
exit 1
