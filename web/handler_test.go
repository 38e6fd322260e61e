package web

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func get(t *testing.T, o Options, path string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	Handler(o).ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	return w
}

func TestPageAndItsAssets(t *testing.T) {
	o := Options{PathPrefix: "/mon", PageTitle: `<script>alert("x")</script>`}
	page := get(t, o, "/targets")
	require.Equal(t, http.StatusOK, page.Code)
	require.Equal(t, "no-cache", page.Header().Get("Cache-Control"))
	require.NotContains(t, page.Body.String(), "<script>alert", "the title is text")
	require.Contains(t, page.Body.String(), `data-prefix="/mon"`)

	links := regexp.MustCompile(`(?:href|src)="/mon(/assets/[^"]+)"`).FindAllStringSubmatch(page.Body.String(), -1)
	require.NotEmpty(t, links)
	for _, l := range links {
		asset := get(t, o, l[1])
		require.Equal(t, http.StatusOK, asset.Code, l[1])
		require.Contains(t, asset.Header().Get("Cache-Control"), "immutable")
	}
	stale := strings.Replace(links[0][1], "/assets/", "/assets/0", 1)
	require.Equal(t, http.StatusNotFound, get(t, o, stale).Code, "an asset of another version")
	require.Equal(t, http.StatusNotFound, get(t, o, "/assets/").Code)
}

func TestNothingForeignRuns(t *testing.T) {
	policy := get(t, Options{}, "/").Header().Get("Content-Security-Policy")
	require.Contains(t, policy, "default-src 'none'")
	require.NotContains(t, policy, "unsafe")
	page := get(t, Options{}, "/").Body.String()
	require.NotRegexp(t, `(href|src)="(https?:)?//`, page, "no other host")
	require.NotRegexp(t, `<script[^>]*>[^<]`, page, "no inline script")
	require.NotRegexp(t, `\son[a-z]+=|style=`, page)
}

func TestOldLinksOfAlertsOpenTheQueryPage(t *testing.T) {
	w := get(t, Options{PathPrefix: "/mon"}, "/graph?g0.expr=up&g0.tab=1")
	require.Equal(t, http.StatusFound, w.Code)
	require.Equal(t, "/mon/query?g0.expr=up&g0.tab=1", w.Header().Get("Location"))
}

func TestPathsAreThoseOfPrometheus(t *testing.T) {
	require.Subset(t, Paths(false), []string{"/query", "/graph", "/alerts", "/targets", "/rules", "/config", "/flags", "/status", "/tsdb-status", "/service-discovery", "/alertmanager-discovery"})
	require.Contains(t, Paths(true), "/agent")
	require.NotContains(t, Paths(true), "/rules")
	for _, p := range Paths(false) { // all are patterns that a mux takes
		http.NewServeMux().Handle("GET "+p, http.NotFoundHandler())
	}
}

func TestFavicon(t *testing.T) {
	require.Equal(t, "image/svg+xml", get(t, Options{}, "/favicon.svg").Header().Get("Content-Type"))
}
