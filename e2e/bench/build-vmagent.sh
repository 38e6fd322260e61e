#!/usr/bin/env bash
# vmagent for the part push, outside of our module.
#   build-vmagent.sh DIR
# The module proxy lacks metrics v1.44.1 and metricsql v0.87.5, which v1.154.0
# requires; these two are the nearest that it has.
set -euo pipefail
out=$(readlink -m "${1:?DIR}")
module=github.com/VictoriaMetrics/VictoriaMetrics version=v1.154.0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$out"
cd "$work"
export CGO_ENABLED=0 GOFLAGS='-mod=mod -buildvcs=false' GOTOOLCHAIN=go1.27.2
printf 'module tools\n\ngo 1.26\n' >go.mod
go mod download $module@$version
cp -r "$(go env GOMODCACHE)/github.com/!victoria!metrics/!victoria!metrics@$version" source
chmod -R u+w source
cd source
go mod edit -replace github.com/VictoriaMetrics/metrics=github.com/VictoriaMetrics/metrics@v1.45.0 \
	-replace github.com/VictoriaMetrics/metricsql=github.com/VictoriaMetrics/metricsql@v0.87.3
nice go build -trimpath -ldflags="-s -w -X $module/lib/buildinfo.Version=vmagent-$version" -o "$out/vmagent" ./app/vmagent
