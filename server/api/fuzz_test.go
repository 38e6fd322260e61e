package api

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	upstream "github.com/prometheus/prometheus/web"
	"github.com/stretchr/testify/require"
)

// FuzzGuard sends requests as a page of evil.example could make a browser send them:
// it chooses everything but the name, which is its own.
func FuzzGuard(f *testing.F) {
	f.Add("GET", "/mon/api/v1/query", "evil.example:9090", "Mozilla/5.0", "")
	f.Add("POST", "/mon/api/v2/silences", "evil.example.", "Mozilla/5.0", "null")
	f.Add("DELETE", "/mon/../mon/api/clanmon/v1/machines/a", "EVIL.example", "x", "http://evil.example")
	f.Add("OPTIONS", "//mon/-/quit", "127.0.0.1.evil.example", "Mozilla/5.0", "http://localhost")
	f.Add("POST", "/mon/api/v1/%71uery", "localhost.evil.example", "Mozilla/5.0", "http://10.1.2.3")
	external, err := url.Parse("https://mon.example.org/mon")
	require.NoError(f, err)
	a := &API{deps: Deps{
		Options:   upstream.Options{ExternalURL: external, RoutePrefix: "/mon", ListenAddresses: []string{"0.0.0.0:9090"}},
		KnownHost: func(string) bool { return false }, network: func() network { return network{} }, Writes: WritesAuto, Identity: known{},
	}}
	var reached bool
	h := a.guard(a.roles(a.debuggable(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached = true }))))
	f.Fuzz(func(t *testing.T, method, path, host, agent, from string) {
		u, err := url.ParseRequestURI(path)
		if err != nil || strings.ContainsAny(method, " \r\n") || method == "" {
			return
		}
		r := httptest.NewRequest(http.MethodGet, "/", strings.NewReader("{}"))
		r.Method, r.URL, r.Host, r.RemoteAddr = method, u, host, "203.0.113.9:1"
		r.Header = http.Header{"User-Agent": {agent}, "Origin": {from}}
		reached = false
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		name := hostOf(host)
		require.Equal(t, "nosniff", w.Header().Get("X-Content-Type-Options"))
		if !reached {
			return
		}
		if strings.HasSuffix(name, ".example") && (strings.Contains(agent, "Mozilla/") || from != "") {
			require.True(t, strings.HasSuffix(u.Path, "/-/healthy") || strings.HasSuffix(u.Path, "/-/ready"), "%s %s of %s", method, path, host)
		}
		for _, ours := range []string{"/mon/api/v2/", "/mon/api/clanmon/"} {
			require.False(t, strings.HasPrefix(u.Path, ours) && !safe(method), "%s %s from the internet", method, path)
		}
		require.False(t, strings.HasPrefix(u.Path, "/mon/debug"), path)
	})
}
