package api

import (
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"testing"

	upstream "github.com/prometheus/prometheus/web"
	"github.com/stretchr/testify/require"
)

// What programs send. Those of browsers are what they send by plain http to a
// machine that is not theirs, where there is no Sec-Fetch-Site.
var (
	firefox = http.Header{
		"User-Agent": {"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"}, "Accept": {"*/*"},
		"Accept-Language": {"en-US,en;q=0.5"}, "Accept-Encoding": {"gzip, deflate"}, "Connection": {"keep-alive"},
	}
	// In Firefox and Safari a page may choose what its requests call themselves.
	disguised = with(firefox, "User-Agent", "curl/8.5", "Accept-Language", "")
	nodeFetch = http.Header{"User-Agent": {"node"}, "Accept": {"*/*"}, "Accept-Language": {"*"}, "Sec-Fetch-Mode": {"cors"}, "Accept-Encoding": {"gzip, deflate"}, "Connection": {"keep-alive"}}
	curl      = http.Header{"User-Agent": {"curl/8.5"}, "Accept": {"*/*"}}
	requests  = http.Header{"User-Agent": {"python-requests/2.32"}, "Accept": {"*/*"}, "Accept-Encoding": {"gzip, deflate"}, "Connection": {"keep-alive"}}
	federate  = http.Header{"User-Agent": {"Prometheus/3.16.0"}, "Accept": {"text/plain"}, "Accept-Encoding": {"gzip"}, "X-Prometheus-Scrape-Timeout-Seconds": {"10"}}
)

func with(h http.Header, pairs ...string) http.Header {
	h = maps.Clone(h)
	for i := 0; i < len(pairs); i += 2 {
		h[pairs[i]] = []string{pairs[i+1]}
	}
	return h
}

// guarded serves "reached" behind the guard.
func guarded(t *testing.T, change func(*Deps)) *httptest.Server {
	t.Helper()
	external, err := url.Parse("https://mon.example.org/mon")
	require.NoError(t, err)
	d := Deps{
		Options:   upstream.Options{ExternalURL: external, RoutePrefix: "/mon", ListenAddresses: []string{"0.0.0.0:9090"}},
		KnownHost: func(host string) bool { return host == "alpha" || host == "alpha.tail1.ts.net" },
	}
	if change != nil {
		change(&d)
	}
	s := httptest.NewServer((&API{deps: d}).guard(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "reached")
	})))
	t.Cleanup(s.Close)
	return s
}

func ask(t *testing.T, s *httptest.Server, method, host, path string, h http.Header) (int, string) {
	t.Helper()
	r, err := http.NewRequest(method, s.URL+path, strings.NewReader(""))
	require.NoError(t, err)
	r.Host, r.Header = host, maps.Clone(h)
	answer, err := s.Client().Do(r)
	require.NoError(t, err)
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	return answer.StatusCode, string(body)
}

// Probes of load balancers, orchestrators and uptime monitors use any name.
func TestProbesAreAnsweredUnderAnyName(t *testing.T) {
	s := guarded(t, nil)
	for _, path := range []string{"/mon/-/healthy", "/mon/-/ready"} {
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			code, _ := ask(t, s, method, "uptime.example.net", path, firefox)
			require.Equal(t, http.StatusOK, code, path)
		}
	}
	for _, path := range []string{"/mon/-/healthy/../reload", "/-/healthy", "/mon/-/healthyx", "/mon/"} {
		code, _ := ask(t, s, http.MethodGet, "uptime.example.net", path, firefox)
		require.Equal(t, http.StatusForbidden, code, path)
	}
}

func TestNamesThatABrowserMayUse(t *testing.T) {
	host, err := os.Hostname()
	require.NoError(t, err)
	s := guarded(t, func(d *Deps) { d.AllowedHosts = []string{"Clanmon.Home.Arpa"} })
	for _, ours := range []string{
		"127.0.0.1:9090", "192.168.1.5", "[::1]:9090", "[fd7a::1]", "localhost:9090", "LOCALHOST", "a.localhost",
		host, strings.ToUpper(host) + ":9090", "mon.example.org", "mon.example.org.:443", "alpha:9090", "ALPHA.tail1.ts.net", "clanmon.home.arpa",
	} {
		code, body := ask(t, s, "GET", ours, "/mon/api/v2/silences", firefox)
		require.Equal(t, http.StatusOK, code, "%s: %s", ours, body)
	}
	for _, foreign := range []string{"evil.example", "evil.example:9090", "127.0.0.1.evil.example", "localhost.evil.example", "alpha.evil.example", "xlocalhost", "mon.example.org.evil.example", "beta"} {
		for name, browser := range map[string]http.Header{
			"Firefox": firefox, "disguised": disguised, "cross": with(curl, "Origin", "http://evil.example"), "no origin": with(curl, "Origin", "null"),
		} {
			code, body := ask(t, s, "GET", foreign, "/mon/api/v2/silences", browser)
			require.Equal(t, http.StatusForbidden, code, "%s as %s", foreign, name)
			require.Contains(t, body, "--web.allowed-host="+strings.TrimSuffix(foreign, ":9090"))
		}
	}
}

// Programs may call the server as they like: what resolves a name for them is
// not a page.
func TestProgramsMayUseAnyName(t *testing.T) {
	s := guarded(t, nil)
	for _, program := range []http.Header{curl, requests, nodeFetch, federate, {"User-Agent": {""}}} {
		for _, host := range []string{"prometheus:9090", "prometheus.monitoring.svc", "clanmon.example.net"} {
			code, body := ask(t, s, "POST", host, "/mon/api/v2/alerts", program)
			require.Equal(t, http.StatusOK, code, "%v: %s", program, body)
		}
	}
}

// Grafana's proxy is Go's: it passes on what the browser sent it but for some
// headers, and calls itself Grafana.
func TestGrafanaAsAProxy(t *testing.T) {
	s := guarded(t, nil)
	//lint:ignore SA1019 it is what Grafana uses, with the headers that it adds
	grafana := httptest.NewServer(&httputil.ReverseProxy{Director: func(r *http.Request) {
		r.URL.Scheme, r.URL.Host, r.Host = "http", strings.TrimPrefix(s.URL, "http://"), "prometheus.monitoring.svc:9090"
		r.Header.Del("Origin")
		r.Header.Del("Referer")
		r.Header.Set("User-Agent", "Grafana/9.0.0")
	}})
	defer grafana.Close()
	browser := with(firefox, "Origin", "https://grafana.example.org", "Sec-Fetch-Site", "same-origin", "Sec-Fetch-Mode", "cors")
	for _, method := range []string{"GET", "POST"} {
		code, body := ask(t, grafana, method, "grafana.example.org", "/mon/api/v1/query_range", browser)
		require.Equal(t, http.StatusOK, code, body)
	}
}

func TestPagesOfOtherSitesChangeNothing(t *testing.T) {
	s := guarded(t, nil)
	const here = "10.1.2.3:9090"
	writes := []string{"/mon/api/v2/silences", "/mon/api/v2/alerts", "/mon/-/reload", "/mon/-/quit", "/mon/api/v1/admin/tsdb/delete_series", "/mon/api/v1/write", "/mon/api/v1/otlp/v1/metrics", "/mon/api/v1/read", "/mon/api/v1/query/", "/mon/api/v1/../-/quit"}
	for _, path := range writes {
		for _, method := range []string{"POST", "PUT", "DELETE"} {
			for _, from := range []http.Header{
				with(firefox, "Origin", "http://evil.example"), with(firefox, "Origin", "null"), with(firefox, "Origin", "http://10.1.2.3:8080"),
				with(firefox, "Sec-Fetch-Site", "cross-site"), with(firefox, "Sec-Fetch-Site", "same-site", "Origin", "http://10.1.2.3:8080"),
			} {
				code, body := ask(t, s, method, here, path, from)
				require.Equal(t, http.StatusForbidden, code, "%s %s %v", method, path, from)
				require.Contains(t, body, "--web.external-url")
			}
			for _, from := range []http.Header{
				with(firefox, "Origin", "http://"+here), with(firefox, "Sec-Fetch-Site", "same-origin", "Origin", "http://"+here),
				with(firefox, "Origin", "https://mon.example.org"), // behind a proxy that changes the host
				curl, federate,
			} {
				code, body := ask(t, s, method, here, path, from)
				require.Equal(t, http.StatusOK, code, "%s %s %v: %s", method, path, from, body)
			}
		}
	}
}

// Grafana in the browser sends long queries by POST from another origin; that is
// what --web.cors.origin is about.
func TestPagesOfOtherSitesMayQuery(t *testing.T) {
	s := guarded(t, nil)
	page := with(firefox, "Origin", "http://grafana.example.org", "Content-Type", "application/x-www-form-urlencoded")
	for _, read := range []string{"query", "query_range", "query_exemplars", "format_query", "parse_query", "labels", "series"} {
		code, _ := ask(t, s, "POST", "10.1.2.3:9090", "/mon/api/v1/"+read, page)
		require.Equal(t, http.StatusOK, code, read)
	}
	code, _ := ask(t, s, "OPTIONS", "10.1.2.3:9090", "/mon/api/v1/query", page)
	require.Equal(t, http.StatusOK, code, "the question before such a request")
}

func TestOwnWritesAreJSON(t *testing.T) {
	s := guarded(t, nil)
	const path = "/mon/api/clanmon/v1/receivers/test"
	for _, kind := range []string{"", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/jsonp", ";"} {
		code, body := ask(t, s, "POST", "10.1.2.3", path, with(curl, "Content-Type", kind))
		require.Equal(t, http.StatusUnsupportedMediaType, code, kind)
		require.JSONEq(t, `{"status": "error", "error": "the Content-Type must be application/json"}`, body)
	}
	code, _ := ask(t, s, "POST", "10.1.2.3", path, with(curl, "Content-Type", "application/json; charset=utf-8"))
	require.Equal(t, http.StatusOK, code)
	code, _ = ask(t, s, "GET", "10.1.2.3", path, curl)
	require.Equal(t, http.StatusOK, code)
	code, _ = ask(t, s, "POST", "10.1.2.3", "/mon/api/v1/query", with(curl, "Content-Type", "text/plain"))
	require.Equal(t, http.StatusOK, code, "Prometheus' API is as it was")
	code, _ = ask(t, s, "DELETE", "10.1.2.3", path, curl)
	require.Equal(t, http.StatusOK, code, "it has no body")
	code, _ = ask(t, s, "DELETE", "10.1.2.3:9090", path, with(firefox, "Origin", "http://evil.example"))
	require.Equal(t, http.StatusForbidden, code)
}

func TestAnyNameIfAskedFor(t *testing.T) {
	s := guarded(t, func(d *Deps) { d.AllowedHosts = []string{AnyHost} })
	code, _ := ask(t, s, "GET", "whatever.example", "/mon/", firefox)
	require.Equal(t, http.StatusOK, code)
	code, _ = ask(t, s, "POST", "whatever.example", "/mon/-/quit", with(firefox, "Origin", "http://evil.example"))
	require.Equal(t, http.StatusForbidden, code, "the rest still holds")
}
