# Refuses to start with an empty directory while the metrics of an older version of the
# module are in another one, and says how to move them. $1 is the stateDir of
# services.prometheus.
data="/var/lib/$1/data"
[ -e /var/lib/clanmon/wal ] || exit 0
for f in "$data"/*; do
  [ ! -e "$f" ] || exit 0
done
cat >&2 <<END
clanmon: /var/lib/clanmon has the metrics of an older version of this module, and $data is empty. Move them as root:
  install -d -m 0700 -o prometheus -g prometheus /var/lib/$1 $data
  find /var/lib/clanmon -mindepth 1 -maxdepth 1 ! -name data -exec mv -t $data {} +
  chown -R prometheus:prometheus $data
  systemctl restart prometheus.service
To start without them: mv /var/lib/clanmon/wal /var/lib/clanmon/wal.old
END
exit 1
