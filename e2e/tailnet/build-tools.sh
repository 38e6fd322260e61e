#!/bin/bash
# headscale, tailscaled and tailscale for the tests, from one module: headscale
# with the tailscale.com that it requires and its own go.sum.
#   build-tools.sh DIR
set -euo pipefail
out=$(readlink -m "${1:?DIR}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$out"
cd "$work"
printf 'module tools\n\ngo 1.26\n\nrequire (\n\tgithub.com/juanfont/headscale v0.28.0\n\ttailscale.com v1.94.1\n)\n' >go.mod
export CGO_ENABLED=0 GOFLAGS=-mod=mod
go mod download github.com/juanfont/headscale
cp "$(go env GOMODCACHE)/github.com/juanfont/headscale@v0.28.0/go.sum" go.sum
chmod u+w go.sum
go build -trimpath -ldflags='-s -w' -o "$out/headscale" github.com/juanfont/headscale/cmd/headscale
go build -trimpath -ldflags='-s -w' -tags ts_include_cli -o "$out/tailscaled" tailscale.com/cmd/tailscaled
ln -sf tailscaled "$out/tailscale"
