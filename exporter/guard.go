package exporter

import (
	"fmt"
	"net/http"
	"net/url"
	"path"
	"strings"
)

// refuseOtherSites answers 403 to what a page of another site makes a browser ask
// for. An <img> on any page would otherwise reach the exporters of whoever looks at
// it, and make them connect somewhere.
func refuseOtherSites(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if fromOtherSite(r) {
			http.Error(w, "requests from pages of other sites are refused", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// fromOtherSite recognises browsers by what they say of a request's origin.
func fromOtherSite(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "cross-site", "same-site":
		// A link that somebody followed shows them the page and tells nobody else.
		return r.Header.Get("Sec-Fetch-Mode") != "navigate"
	}
	for _, name := range []string{"Origin", "Referer"} {
		if from := r.Header.Get(name); from != "" {
			if u, err := url.Parse(from); err != nil || !strings.EqualFold(u.Host, r.Host) {
				return true
			}
		}
	}
	return false
}

// probeAllowed reports whether a request may name target. Whoever reaches the port
// can have the exporter connect there, and sees what the answer was.
func probeAllowed(allowed []string, target string) bool {
	for _, pattern := range allowed {
		if pattern == "*" || pattern == target {
			return true
		}
	}
	// Parameters and key=value pairs could name another host than the URL does.
	if strings.ContainsAny(target, "?=# \\") {
		return false
	}
	if !strings.Contains(target, "://") {
		target = "any://" + target
	}
	u, err := url.Parse(target)
	if err != nil {
		return false
	}
	host := u.Host
	if host == "" {
		host = u.Path // a unix socket
	}
	for _, pattern := range allowed {
		if ok, err := path.Match(pattern, host); err == nil && ok {
			return true
		}
	}
	return false
}

func probeRefusal(kind, target string) string {
	return fmt.Sprintf("the target %q is not allowed: start the exporter with --%s.probe-target HOST:PORT, or a pattern such as 10.0.0.*:* (* for any target)", redactedTarget(target), kind)
}
