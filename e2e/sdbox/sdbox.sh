#!/bin/bash
# sdbox: a real systemd as PID 1 of private pid/mount/uts/ipc/net/cgroup namespaces, on an
# overlay of the host's own root.  No image, no download.   Needs: root, systemd, dbus, util-linux.
#   sdbox.sh up   DIR [TREE]      boot; TREE is copied over / first (etc/systemd/system/x.service, etc/sysusers.d/x.conf, ...).
#                                 Ready when it returns (prints running or degraded).
#   sdbox.sh exec DIR CMD...      run CMD inside (all namespaces)
#   sdbox.sh down DIR [clean]     SIGKILL init (0.1 s), remove; clean: stop units in order first (about 2 s)
# env: SDBOX_NET=private (default)|host|NAME (of `ip netns`; its /etc/netns files too)  SDBOX_HOSTNAME=sdbox   SDBOX_BIND="src:dst src:dst"
#      SDBOX_CGROUP=hybrid|unified (default: as the host has it)
# A systemd manager outside of a cgroup namespace of its own would move every process of the machine into its scope.
set -euo pipefail
if [ "$(stat -fc %T /sys/fs/cgroup)" = cgroup2fs ]; then SDBOX_CGROUP=${SDBOX_CGROUP:-unified}; else SDBOX_CGROUP=${SDBOX_CGROUP:-hybrid}; fi
export SDBOX_CGROUP
hierarchies() { # the roots of the host's cgroup trees
  if [ "$(stat -fc %T /sys/fs/cgroup)" = cgroup2fs ]; then echo /sys/fs/cgroup/; else ls -d /sys/fs/cgroup/*/ | grep -v /cpuset/; fi
}
self=$(readlink -f "$0"); cmd=${1:?up|exec|down}; D=$(readlink -m "${2:?DIR}"); shift 2

alive() { grep -qs '^State:[[:space:]]*[^ZX]' "/proc/$1/status"; }  # an unreaped zombie is not alive

inner() { # runs as PID 1 of the new namespaces, cgroup already ours
  D=$1 UNITS=$2
  mount --make-rprivate /
  mount -t tmpfs -o mode=755 tmpfs "$D/fs"
  mkdir "$D/fs/upper" "$D/fs/work" "$D/fs/root"
  mount -t overlay overlay -o "lowerdir=/,upperdir=$D/fs/upper,workdir=$D/fs/work" "$D/fs/root"
  R=$D/fs/root
  mount -t proc  -o nosuid,nodev,noexec proc "$R/proc"
  mount -t sysfs -o nosuid,nodev,noexec,ro sysfs "$R/sys"   # shows the interfaces of our network namespace
  mount -t tmpfs -o mode=755,nosuid tmpfs "$R/dev"
  for n in null zero full random urandom tty; do touch "$R/dev/$n"; mount --bind "/dev/$n" "$R/dev/$n"; done
  if [ -e /dev/net/tun ]; then mkdir "$R/dev/net"; touch "$R/dev/net/tun"; mount --bind /dev/net/tun "$R/dev/net/tun"; fi
  mkdir "$R/dev/pts" "$R/dev/shm"; mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts "$R/dev/pts"
  ln -s pts/ptmx "$R/dev/ptmx"; ln -s /proc/self/fd "$R/dev/fd"
  for i in 0:stdin 1:stdout 2:stderr; do ln -s /proc/self/fd/${i%%:*} "$R/dev/${i##*:}"; done
  mount -t tmpfs -o mode=1777 tmpfs "$R/dev/shm"
  mount -t tmpfs -o mode=755,nosuid,nodev tmpfs "$R/run"
  mount -t tmpfs -o mode=1777 tmpfs "$R/tmp"
  if [ "$SDBOX_CGROUP" = hybrid ]; then
    mount -t tmpfs -o mode=755 tmpfs "$R/sys/fs/cgroup"
    mkdir "$R/sys/fs/cgroup/systemd" "$R/sys/fs/cgroup/unified"
    mount -t cgroup  -o none,name=systemd cgroup "$R/sys/fs/cgroup/systemd"
    mount -t cgroup2 cgroup2 "$R/sys/fs/cgroup/unified"
    for c in pids memory cpu cpuacct blkio devices freezer; do
      mkdir "$R/sys/fs/cgroup/$c"; mount -t cgroup -o $c cgroup "$R/sys/fs/cgroup/$c" || rmdir "$R/sys/fs/cgroup/$c"
    done
  else mount -t cgroup2 cgroup2 "$R/sys/fs/cgroup"; fi
  # only the distribution's own static units and ours: hide what is enabled on the host
  mount -t tmpfs -o mode=755 tmpfs "$R/etc/systemd/system"
  for u in systemd-timesyncd systemd-udevd systemd-udev-trigger systemd-networkd systemd-resolved \
           systemd-remount-fs systemd-sysctl systemd-modules-load systemd-random-seed systemd-update-utmp \
           systemd-update-utmp-runlevel systemd-pstore systemd-machine-id-commit getty@ console-getty \
           kmod-static-nodes keyboard-setup dpkg-db-backup; do
    ln -s /dev/null "$R/etc/systemd/system/$u.service"; done
  for u in apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer fstrim.timer dpkg-db-backup.timer man-db.timer \
     dev-hugepages.mount dev-mqueue.mount sys-kernel-debug.mount sys-kernel-tracing.mount sys-kernel-config.mount \
     sys-fs-fuse-connections.mount proc-sys-fs-binfmt_misc.automount getty.target; do
    ln -s /dev/null "$R/etc/systemd/system/$u"; done
  ln -s /lib/systemd/system/multi-user.target "$R/etc/systemd/system/default.target"
  : > "$R/etc/fstab"; printf '%s\n' "$(head -c16 /dev/urandom | od -An -tx1 | tr -d ' \n')" > "$R/etc/machine-id"
  printf '%s\n' "${SDBOX_HOSTNAME:-sdbox}" > "$R/etc/hostname"
  case ${SDBOX_NET:-private} in private|host) ;; *) cp -a /etc/netns/"$SDBOX_NET"/. "$R/etc/" 2>/dev/null || true ;; esac
  # nothing else of the host that starts by SysV script or generator
  mount -t tmpfs -o mode=755 tmpfs "$R/etc/init.d"; mount -t tmpfs -o mode=755 tmpfs "$R/var/log"
  [ -z "$UNITS" ] || cp -a --no-preserve=ownership "$UNITS"/. "$R/"
  for b in ${SDBOX_BIND:-}; do mkdir -p "$R${b##*:}"; mount --rbind "${b%%:*}" "$R${b##*:}"; done
  [ "${SDBOX_NET:-private}" = private ] && ip link set lo up || true
  cd "$R"; mkdir -p .old; pivot_root . .old
  exec /usr/bin/env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 \
    container=sdbox /bin/sh -c 'umount -l /.old; rmdir /.old 2>/dev/null; mount --make-rshared /; exec /lib/systemd/systemd --system --log-target=console --show-status=0 --log-level=notice'
}

case $cmd in
__inner) inner "$D" "${1:-}" ;;
up)
  units=${1:-}; mkdir -p "$D/fs"; name=sdbox.$(basename "$D").$$; echo "$name" > "$D/cgname"
  net=--net; enter=; case ${SDBOX_NET:-private} in private) ;; host) net= ;; *) net=; enter="nsenter --net=/run/netns/$SDBOX_NET --" ;; esac
  ( for h in $(hierarchies); do
      mkdir -p "$h$name"; echo $BASHPID > "$h$name/cgroup.procs"; done
    exec setsid $enter unshare --cgroup --pid --fork --mount --uts --ipc $net --kill-child -- "$self" __inner "$D" "$units"
  ) </dev/null >"$D/console.log" 2>&1 &
  echo $! > "$D/outer.pid"
  for i in $(seq 1200); do  # PID of the container's init, as the host sees it
    p=$(cat /proc/$(cat "$D/outer.pid")/task/*/children 2>/dev/null | awk '{print $1}')
    if [ -n "$p" ] && [ "$(cat /proc/$p/comm 2>/dev/null)" = systemd ]; then echo $p > "$D/init.pid"; break; fi
    kill -0 "$(cat "$D/outer.pid")" || { cat "$D/console.log" >&2; exit 1; }; sleep 0.05; done
  for i in $(seq 1200); do
    s=$("$self" exec "$D" systemctl is-system-running 2>/dev/null || true)
    case $s in running|degraded) echo "$s"; exit 0;; esac; sleep 0.05; done
  echo "sdbox: not up in 60 s: $s" >&2; tail -40 "$D/console.log" >&2; exit 1 ;;
exec) exec nsenter -t "$(cat "$D/init.pid")" -a -- /usr/bin/env container=sdbox "$@" ;;
down)
  p=$(cat "$D/init.pid" 2>/dev/null || true); o=$(cat "$D/outer.pid" 2>/dev/null || true)
  if [ -n "$p" ] && alive "$p"; then
    if [ "${1:-}" = clean ]; then kill -RTMIN+4 "$p" 2>/dev/null || true   # poweroff.target
      for i in $(seq 100); do alive "$p" || break; sleep 0.05; done; fi
    kill -9 "$p" 2>/dev/null || true; fi
  [ -z "$o" ] || for i in $(seq 40); do alive "$o" || break; sleep 0.05; done
  name=$(cat "$D/cgname" 2>/dev/null || true)
  [ -z "$name" ] || for h in $(hierarchies); do [ -d "$h$name" ] && find "$h$name" -depth -type d -exec rmdir {} \; 2>/dev/null || true; done
  rm -rf --one-file-system "$D" ;;
esac
