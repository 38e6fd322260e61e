package api

import (
	"context"
	"fmt"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/clanmon/clanmon/server/internal/envelope"
)

// Nobody logs in here, so what a person may do, every page in that person's
// browser could do. The guard stands before everything that is served and
// refuses three things: names under which a foreign page could pose as ours (DNS
// rebinding), changes asked for by pages of other sites, and, for clanmon's own
// API, changes in a form that a page can send without being asked first.
//
// Programs are not browsers and are let through; so is what a proxy or Grafana
// sends on its own behalf.
func (a *API) guard(next http.Handler) http.Handler {
	base := strings.TrimSuffix(a.deps.RoutePrefix, "/")
	own := newOwnNames(a.deps.AllowedHosts, a.deps.ExternalURL.Hostname(), a.deps.ListenAddresses)
	trusted := func(host string) bool {
		return isAddress(host) || own.quick(host) || a.deps.KnownHost != nil && a.deps.KnownHost(host) || own.lookUp(host)
	}
	anyHost := slices.Contains(a.deps.AllowedHosts, AnyHost)
	// Load balancers and uptime monitors ask under names of their own, some of them
	// as a browser. The answer says nothing that a foreign page could use.
	probe := func(path string) bool { return path == base+"/-/healthy" || path == base+"/-/ready" }

	cross := http.NewCrossOriginProtection()
	_ = cross.AddTrustedOrigin(origin(a.deps.ExternalURL)) // one without a host has no pages
	// Whether a page may read the answer is up to --web.cors.origin.
	for _, read := range readsByPost {
		cross.AddInsecureBypassPattern("POST " + base + "/api/v1/" + read)
	}

	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// Some of our handlers have a policy of their own that says more.
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Content-Security-Policy", "frame-ancestors 'none'")
		if host := hostOf(r.Host); !anyHost && fromBrowser(r) && !probe(r.URL.Path) && !trusted(host) {
			refuse(w, fmt.Sprintf("The host name %q is not a known name of this server. If it is correct, start clanmon with --web.allowed-host=%s, or set --web.external-url to the URL that people use.", host, host))
			return
		}
		if cross.Check(r) != nil {
			refuse(w, "Changes from pages of other sites are refused. If this is clanmon's own page behind a reverse proxy, set --web.external-url to the URL that people use.")
			return
		}
		// DELETE has no body, and no page of another site can send it without asking.
		if !safe(r.Method) && r.Method != http.MethodDelete && strings.HasPrefix(r.URL.Path, base+"/api/clanmon/") && !isJSON(r) {
			envelope.Error(w, http.StatusUnsupportedMediaType, "the Content-Type must be application/json")
			return
		}
		if private(strings.TrimPrefix(r.URL.Path, base)) {
			r.Header.Del("Origin") // whereupon upstream allows no page to read the answer
		}
		next.ServeHTTP(w, r)
	})
}

// readsByPost are what long queries are sent to as POST, below /api/v1. They change
// nothing and could be asked as GET as well.
var readsByPost = []string{
	"query", "query_range", "query_cost", "query_range_cost", "query_exemplars", "format_query", "parse_query", "labels", "series",
	"search/metric_names", "search/label_names", "search/label_values",
}

// private reports whether a path says more of this server than metrics: settings,
// addresses, messages for its operator. No page of another site may read it, whatever
// --web.cors.origin is.
func private(path string) bool {
	for _, p := range []string{"status/", "targets", "scrape_pools", "alertmanagers", "notifications"} {
		if strings.HasPrefix(path, "/api/v1/"+p) {
			return true
		}
	}
	return false
}

// origin is how browsers write where pages of u come from.
func origin(u *url.URL) string {
	host := u.Host
	if usual := map[string]string{"http": "80", "https": "443"}[u.Scheme]; u.Port() == usual {
		host = strings.TrimSuffix(host, ":"+usual)
	}
	return u.Scheme + "://" + host
}

// AnyHost among the allowed hosts turns the check of names off.
const AnyHost = "*"

func refuse(w http.ResponseWriter, why string) {
	http.Error(w, why, http.StatusForbidden)
}

func safe(method string) bool {
	return method == http.MethodGet || method == http.MethodHead || method == http.MethodOptions
}

func isJSON(r *http.Request) bool {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return err == nil && kind == "application/json"
}

// fromBrowser tells whether a browser sent r of its own accord, which is what a
// rebinding page can make it do. Every browser calls itself Mozilla. In Firefox
// and Safari a page may send another name instead; but it can neither take
// Accept-Language away nor Connection: keep-alive. Programs send at most one of
// these, and Grafana's and other proxies keep the second to themselves. Node's
// fetch sends both, and Sec-Fetch-Mode, which browsers send only where rebinding
// is impossible: to https and to their own machine. Grafana passes on what its own
// pages send, Sec-Fetch-Site: same-origin included, but neither Origin nor Referer.
func fromBrowser(r *http.Request) bool {
	h := r.Header
	if strings.Contains(h.Get("User-Agent"), "Mozilla/") || h.Get("Origin") != "" || h.Get("Referer") != "" {
		return true
	}
	if site, dest := h.Get("Sec-Fetch-Site"), h.Get("Sec-Fetch-Dest"); site != "" && site != "same-origin" || dest != "" && dest != "empty" {
		return true
	}
	_, language := h["Accept-Language"]
	return language && strings.EqualFold(h.Get("Connection"), "keep-alive") && h.Get("Sec-Fetch-Mode") == ""
}

// hostOf is the name in a Host header, as it is compared: without port, brackets
// and final dot, in lower case.
func hostOf(header string) string {
	host, _, err := net.SplitHostPort(header)
	if err != nil {
		host = strings.Trim(header, "[]")
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

// isAddress reports whether host cannot be rebound: an address, a name that
// browsers never look up, or none at all.
func isAddress(host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil || host == "" || host == "localhost" || strings.HasSuffix(host, ".localhost")
}

// ownNames are what this machine and this server are called.
type ownNames struct {
	hostname string
	fixed    map[string]bool

	mu     sync.Mutex
	found  map[string]bool
	looked time.Time
}

func newOwnNames(allowed []string, external string, listen []string) *ownNames {
	n := &ownNames{fixed: make(map[string]bool)}
	add := func(name string) {
		if name = hostOf(name); name != "" {
			n.fixed[name] = true
		}
	}
	for _, name := range allowed {
		add(name)
	}
	add(external)
	for _, address := range listen {
		add(address)
	}
	if host, err := os.Hostname(); err == nil {
		n.hostname = hostOf(host)
		short, _, _ := strings.Cut(n.hostname, ".")
		add(n.hostname)
		add(short)
		add(short + ".local") // as mDNS has it
	}
	return n
}

func (n *ownNames) quick(host string) bool { return n.fixed[host] }

// How often names are looked up, and how long that may take.
const (
	lookUpPause = time.Minute
	lookUpLimit = 2 * time.Second
	maxLookUps  = 64
)

// lookUp reports whether the network calls this machine by that name: the domain
// of its host name, and what its addresses are called in /etc/hosts and DNS. It
// asks only when a browser used a name that is not known otherwise.
func (n *ownNames) lookUp(host string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.found[host] {
		return true
	}
	if !n.looked.IsZero() && time.Since(n.looked) < lookUpPause {
		return false
	}
	n.found = lookUpNames(n.hostname)
	n.looked = time.Now()
	return n.found[host]
}

func lookUpNames(hostname string) map[string]bool {
	ctx, cancel := context.WithTimeout(context.Background(), lookUpLimit)
	defer cancel()
	// What cannot be looked up is no name.
	addresses, _ := net.DefaultResolver.LookupHost(ctx, hostname)
	interfaces, _ := net.InterfaceAddrs()
	for _, i := range interfaces {
		if p, err := netip.ParsePrefix(i.String()); err == nil && !p.Addr().IsLoopback() && !p.Addr().IsLinkLocalUnicast() {
			addresses = append(addresses, p.Addr().String())
		}
	}
	slices.Sort(addresses)
	addresses = slices.Compact(addresses)
	addresses = addresses[:min(len(addresses), maxLookUps)]

	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		names = make(map[string]bool)
	)
	add := func(all ...string) {
		mu.Lock()
		defer mu.Unlock()
		for _, name := range all {
			names[hostOf(name)] = true
		}
	}
	wg.Go(func() {
		if name, err := net.DefaultResolver.LookupCNAME(ctx, hostname); err == nil {
			add(name)
		}
	})
	for _, address := range addresses {
		wg.Go(func() {
			if all, err := net.DefaultResolver.LookupAddr(ctx, address); err == nil {
				add(all...)
			}
		})
	}
	wg.Wait()
	return names
}
