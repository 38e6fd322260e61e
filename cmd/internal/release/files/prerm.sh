#!/bin/sh
# Before {{.Name}} goes: "remove" of dpkg, "0" of rpm. An upgrade restarts afterwards.
set -e
case ${1:-} in remove | 0) ;; *) exit 0 ;; esac
[ -d /run/systemd/system ] || exit 0
systemctl stop{{range .Sockets}} {{.}}{{end}} {{.Name}}.service
[ "$1" = remove ] || systemctl --quiet disable{{range .Sockets}} {{.}}{{end}} {{.Name}}.service
