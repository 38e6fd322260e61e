package api

import (
	"bufio"
	"cmp"
	"encoding/hex"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/clanmon/clanmon/server/internal/caller"
)

// Who may change something by /api/v2 and /api/clanmon: send alerts, silence, test
// receivers, forget machines. What flags such as --web.enable-lifecycle turn on is open
// to everybody, unless roles are configured, or with WritesIdentified.
const (
	// WritesAuto lets in operators; while nothing identifies anybody, this machine and
	// the networks that it is on.
	WritesAuto       = "auto"
	WritesOpen       = "open"       // everybody, as Alertmanager does
	WritesIdentified = "identified" // operators, or who has a client certificate
	WritesOff        = "off"        // nobody
)

// Writes are the values of --web.writes.
var Writes = []string{WritesAuto, WritesOpen, WritesIdentified, WritesOff}

// enabledByFlag reports whether what a path changes is off unless a flag such as
// --web.enable-lifecycle is given. As in Prometheus it is then open to everybody,
// unless the server is strict.
func enabledByFlag(path string) bool {
	for _, p := range []string{"/-/", "/api/v1/admin/", "/api/v1/write", "/api/v1/otlp/"} {
		if strings.HasPrefix(path, p) {
			return true
		}
	}
	return false
}

// maxWrite is the size in bytes of what a change may send.
const maxWrite = 1 << 20

// refusal says why the client of r may change nothing; "" if it may.
func (a *API) refusal(r *http.Request) string {
	const remedy = "name who may with --web.operator, set a password or client certificates in --web.config.file, or start the server with --web.writes=open"
	switch a.deps.Writes {
	case WritesOpen, "":
		return ""
	case WritesOff:
		return "changes are off: the server was started with --web.writes=off"
	}
	c := caller.From(r.Context())
	_, err := a.deps.Identity.ByPassword()
	switch {
	case err != nil:
		return fmt.Sprintf("changes are refused while --web.config.file %q cannot be read: %v", a.deps.WebConfigFile, err)
	case c.Configured && !c.May(caller.Operator):
		return "changes are for operators: " + a.lacks(c, caller.Operator)
	case c.Configured || hasCertificate(r):
		return ""
	case a.deps.Writes == WritesIdentified:
		return "changes require authentication (--web.writes=identified), but --web.config.file does not configure it, and neither --web.operator nor another flag of docs/security.md does"
	}
	if header := proxied(r); header != "" {
		return fmt.Sprintf("changes through a proxy (the request has the header %s) are not allowed, because the client is unknown: %s", header, remedy)
	}
	client, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return "changes are not allowed from an unknown address: " + remedy
	}
	local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if near(client.Addr().Unmap().WithZone(""), addrOf(local), a.surroundings()) {
		return ""
	}
	return fmt.Sprintf("changes are not allowed from %s, which is not in a network of this server: %s", client.Addr(), remedy)
}

// proxied is the header of r by which a proxy says whom it asks for; "" if there is
// none.
func proxied(r *http.Request) string {
	for name := range r.Header {
		switch {
		case name == "Forwarded", name == "Via", name == "X-Real-Ip", strings.HasPrefix(name, "X-Forwarded"):
			return name
		}
	}
	return ""
}

// sayWhoReaches logs what is open to whom, where that is more than one may think: on
// all interfaces, and nobody asked who they are.
func (a *API) sayWhoReaches() {
	asks, err := a.deps.Identity.ByPassword()
	if asks || !a.deps.Identity.Open() || err != nil || a.deps.SystemdSocket || !slices.ContainsFunc(a.deps.ListenAddresses, everywhere) {
		return
	}
	changes := map[string]string{WritesAuto: "this machine and its networks", WritesIdentified: "nobody", WritesOff: "nobody"}[a.deps.Writes]
	can := []string{"read everything"}
	for _, c := range []struct {
		on   bool
		what string
	}{
		{a.deps.EnableRemoteWriteReceiver || a.deps.EnableOTLPWriteReceiver, "send samples"},
		{a.deps.EnableAdminAPI, "delete samples"},
		{a.deps.EnableLifecycle, "stop and reload the server"},
	} {
		if c.on && a.deps.Writes != WritesIdentified {
			can = append(can, c.what)
		}
	}
	a.deps.Logger.Info("Listening on all interfaces without authentication: configure it in --web.config.file, or set --web.listen-address to a private address",
		"anyone_can", strings.Join(can, ", "), "silence_and_alert", cmp.Or(changes, "anyone"))
}

// everywhere reports whether an address to listen on is that of all interfaces.
func everywhere(address string) bool {
	host, _, err := net.SplitHostPort(address)
	ip, _ := netip.ParseAddr(host)
	return err == nil && (host == "" || ip.IsUnspecified())
}

// hasCertificate reports whether r came with a client certificate that was verified.
func hasCertificate(r *http.Request) bool { return r.TLS != nil && len(r.TLS.VerifiedChains) > 0 }

// network is what this machine knows of its surroundings.
type network struct {
	prefixes []netip.Prefix // of its interfaces, with its own addresses
	gateways []netip.Addr
}

// has reports whether an address is this machine's.
func (n network) has(client netip.Addr) bool {
	return slices.ContainsFunc(n.prefixes, func(p netip.Prefix) bool { return p.Addr() == client })
}

// near reports whether a client is this machine, or on a network that it is on.
func near(client, local netip.Addr, n network) bool {
	if client.IsLoopback() {
		return true
	}
	tailnet := []netip.Prefix{netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("fd7a:115c:a1e0::/48")}
	if n.has(client) {
		return true
	}
	// What a gateway passes on, of a container's bridge too, comes from anywhere.
	if slices.Contains(n.gateways, client) {
		return false
	}
	for _, p := range tailnet {
		if p.Contains(client) {
			return p.Contains(local) // an interface has an address of its own there
		}
	}
	return slices.ContainsFunc(n.prefixes, func(p netip.Prefix) bool { return !p.IsSingleIP() && p.Contains(client) })
}

func addrOf(a net.Addr) netip.Addr {
	if a == nil {
		return netip.Addr{}
	}
	ap, _ := netip.ParseAddrPort(a.String())
	return ap.Addr().Unmap().WithZone("")
}

func (a *API) surroundings() network {
	if a.deps.network != nil {
		return a.deps.network()
	}
	return interfaces()
}

// interfaces looks at the interfaces and routes of this machine.
func interfaces() network {
	var n network
	addrs, _ := net.InterfaceAddrs()
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			n.prefixes = append(n.prefixes, p)
		}
	}
	for file, parse := range map[string]func(fields []string) (netip.Addr, bool){"/proc/net/route": gateway4, "/proc/net/ipv6_route": gateway6} {
		f, err := os.Open(file)
		if err != nil {
			continue
		}
		for lines := bufio.NewScanner(f); lines.Scan(); {
			if gateway, ok := parse(strings.Fields(lines.Text())); ok {
				n.gateways = append(n.gateways, gateway)
			}
		}
		f.Close()
	}
	return n
}

// gateway4 reads a line of /proc/net/route: interface, destination, gateway, …, with
// addresses in hexadecimal and the byte order of the machine.
func gateway4(fields []string) (netip.Addr, bool) {
	if len(fields) < 3 || fields[2] == "00000000" {
		return netip.Addr{}, false
	}
	b, err := hex.DecodeString(fields[2])
	if err != nil || len(b) != 4 {
		return netip.Addr{}, false
	}
	slices.Reverse(b)
	return netip.AddrFromSlice(b)
}

// gateway6 reads a line of /proc/net/ipv6_route, of which the fifth field is the
// next hop.
func gateway6(fields []string) (netip.Addr, bool) {
	if len(fields) < 5 || strings.Trim(fields[4], "0") == "" {
		return netip.Addr{}, false
	}
	b, err := hex.DecodeString(fields[4])
	if err != nil {
		return netip.Addr{}, false
	}
	return netip.AddrFromSlice(b)
}
