// Package e2e tests the built binary as its users meet it: as processes that
// are started, spoken to over HTTP, signalled and killed, beside the upstream
// programs that it replaces and on a real systemd.
//
// It has no code but its tests. They need root and the Debian packages that
// deps.sh lists.
package e2e
