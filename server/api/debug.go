package api

import (
	"net/http"
	"net/netip"
	"strings"

	"github.com/clanmon/clanmon/server/internal/caller"
)

// debuggable stands before profiles: each takes CPU time for as long as somebody
// asks, stops the process while it lists goroutines, and shows what is in memory.
func (a *API) debuggable(next http.Handler) http.Handler {
	base := strings.TrimSuffix(a.deps.RoutePrefix, "/")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, base+"/debug") && !mayProfile(r) && !a.fromHere(r) {
			refuse(w, "Profiles are for this machine (http://localhost), and for operators: clients with a password or certificate of --web.config.file, or who --web.operator names.")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// mayProfile reports whether the client of r has proved who it is, and may make changes.
func mayProfile(r *http.Request) bool {
	c := caller.From(r.Context())
	return c.Configured && c.Role >= caller.Operator || !c.Configured && hasCertificate(r)
}

// fromHere reports whether r was sent on this machine, and not on behalf of somebody
// elsewhere: neither by a proxy nor by a page of another site.
func (a *API) fromHere(r *http.Request) bool {
	client, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || proxied(r) != "" {
		return false
	}
	switch r.Header.Get("Sec-Fetch-Site") {
	case "cross-site", "same-site":
		return false
	}
	address := client.Addr().Unmap().WithZone("")
	return address.IsLoopback() || a.surroundings().has(address)
}
