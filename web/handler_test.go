package web

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func get(t *testing.T, o Options, path string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, path, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	Handler(o).ServeHTTP(w, r)
	return w
}

// links are the paths of what the page loads at once.
func links(t *testing.T, page, prefix string) []string {
	t.Helper()
	var all []string
	for _, l := range regexp.MustCompile(`(?:href|src)="`+prefix+`(/assets/[^"]+)"`).FindAllStringSubmatch(page, -1) {
		all = append(all, l[1])
	}
	require.NotEmpty(t, all)
	return all
}

func TestPageAndItsAssets(t *testing.T) {
	o := Options{PathPrefix: "/mon", PageTitle: `<script>alert("x")</script>`, Version: "v1.2-3"}
	for _, p := range []string{"/", "/targets", "/m/alpha", "/status/flags"} {
		page := get(t, o, p)
		require.Equal(t, http.StatusOK, page.Code)
		require.Equal(t, "no-cache", page.Header().Get("Cache-Control"))
		require.Equal(t, "text/html; charset=utf-8", page.Header().Get("Content-Type"))
		require.NotContains(t, page.Body.String(), "<script>alert", "the title is text")
		require.Contains(t, page.Body.String(), `data-prefix="/mon"`)
		require.Contains(t, page.Body.String(), `data-version="v1.2-3"`)
		require.NotContains(t, page.Body.String(), `"./`)
		require.NotContains(t, page.Body.String(), "{{")
		for _, l := range links(t, page.Body.String(), "/mon") {
			asset := get(t, o, l)
			require.Equal(t, http.StatusOK, asset.Code, l)
			require.Equal(t, "public, max-age=31536000, immutable", asset.Header().Get("Cache-Control"))
			require.Equal(t, "nosniff", asset.Header().Get("X-Content-Type-Options"))
			stale := strings.Replace(l, "/assets/", "/assets/0", 1)
			require.Equal(t, http.StatusNotFound, get(t, o, stale).Code, "an asset of another version")
		}
	}
	require.Equal(t, http.StatusNotFound, get(t, o, "/assets/").Code)
	require.Equal(t, http.StatusNotFound, get(t, o, "/assets/../index.html").Code)
}

func TestEveryFileCompressedAndPlain(t *testing.T) {
	_, files := built()
	require.NotEmpty(t, files)
	for p := range files {
		packed := get(t, Options{}, p, "Accept-Encoding", "br, gzip;q=0.8")
		require.Equal(t, "gzip", packed.Header().Get("Content-Encoding"), p)
		require.Equal(t, "Accept-Encoding", packed.Header().Get("Vary"))
		require.Equal(t, contentTypes[path.Ext(p)], packed.Header().Get("Content-Type"))
		require.Equal(t, fmt.Sprint(packed.Body.Len()), packed.Header().Get("Content-Length"))
		r, err := gzip.NewReader(packed.Body)
		require.NoError(t, err)
		inside, err := io.ReadAll(r)
		require.NoError(t, err)

		for _, refusal := range []string{"", "identity", "gzip;q=0, br", "gzip; q=0.0"} {
			plain := get(t, Options{}, p, "Accept-Encoding", refusal)
			require.Empty(t, plain.Header().Get("Content-Encoding"), "Accept-Encoding: %s", refusal)
			require.Equal(t, "Accept-Encoding", plain.Header().Get("Vary"))
			require.True(t, bytes.Equal(inside, plain.Body.Bytes()), p)
		}
	}
}

// What a first visit costs; everything else is loaded when it is needed.
func TestFirstViewIsSmall(t *testing.T) {
	page := get(t, Options{}, "/").Body.String()
	total := len(page)
	for _, l := range links(t, page, "") {
		total += get(t, Options{}, l, "Accept-Encoding", "gzip").Body.Len()
	}
	t.Logf("first view: %d bytes compressed", total)
	require.LessOrEqual(t, total, 150_000)
}

func TestNothingForeignRuns(t *testing.T) {
	policy := get(t, Options{}, "/").Header().Get("Content-Security-Policy")
	require.Contains(t, policy, "default-src 'none'")
	require.NotContains(t, policy, "unsafe")
	page := get(t, Options{}, "/").Body.String()
	require.NotRegexp(t, `(href|src)="(https?:)?//`, page, "no other host")
	require.NotRegexp(t, `<script[^>]*>[^<]`, page, "no inline script")
	require.NotRegexp(t, `<style|\son[a-z]+=|style=`, page)
	err := fs.WalkDir(dist, "dist", func(name string, d fs.DirEntry, err error) error {
		require.NotEqual(t, ".map", path.Ext(strings.TrimSuffix(name, ".gz")), "%s: source maps are as large as all else", name)
		return err
	})
	require.NoError(t, err)
}

func TestOldLinksOfAlertsOpenTheQueryPage(t *testing.T) {
	w := get(t, Options{PathPrefix: "/mon"}, "/graph?g0.expr=up&g0.tab=1")
	require.Equal(t, http.StatusFound, w.Code)
	require.Equal(t, "/mon/query?g0.expr=up&g0.tab=1", w.Header().Get("Location"))
}

func TestPathsAreThoseOfPrometheusAndOurs(t *testing.T) {
	require.Subset(t, Paths(false), []string{"/query", "/graph", "/alerts", "/targets", "/rules", "/config", "/flags", "/status", "/tsdb-status", "/service-discovery", "/alertmanager-discovery"})
	require.Subset(t, Paths(false), []string{"/{$}", "/m/{machine}", "/services", "/silences", "/explore", "/status/{page}", "/favicon.svg"})
	require.Contains(t, Paths(true), "/agent")
	require.Subset(t, Paths(true), []string{"/rules", "/alerts", "/query", "/m/{machine}"}, "an agent says there that it is one")
	for _, agent := range []bool{false, true} { // all are patterns that one mux takes
		mux := http.NewServeMux()
		for _, p := range DevPaths(agent) {
			mux.Handle("GET "+p, http.NotFoundHandler())
		}
	}
}

func TestFavicon(t *testing.T) {
	for _, p := range []string{"/favicon.svg", "/favicon.ico"} {
		require.Equal(t, "image/svg+xml", get(t, Options{}, p).Header().Get("Content-Type"))
	}
}

// A stand-in for Vite: what it is asked for shows in its answers.
func TestDevelopmentServer(t *testing.T) {
	vite := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" {
			w.Header().Set("Content-Type", "text/javascript")
			fmt.Fprintf(w, "path %s query %s host %s", r.URL.Path, r.URL.RawQuery, r.Host)
			return
		}
		w.Header().Set("Content-Type", "text/html")
		io.WriteString(w, `<html data-title="{{.PageTitle}}"><script type="module">import "/@vite/client"</script>`)
	}))
	defer vite.Close()
	target, err := url.Parse(vite.URL)
	require.NoError(t, err)
	front := httptest.NewServer(DevHandler(target, Options{PageTitle: "a <b>"}))
	defer front.Close()
	read := func(p string) (*http.Response, string) {
		r, err := http.Get(front.URL + p)
		require.NoError(t, err)
		defer r.Body.Close()
		b, err := io.ReadAll(r.Body)
		require.NoError(t, err)
		return r, string(b)
	}
	for _, p := range []string{"/", "/m/alpha?tab=disks", "/graph?g0.expr=up"} {
		r, body := read(p)
		require.Contains(t, body, `data-title="a &lt;b&gt;"`)
		require.Contains(t, body, "@vite/client")
		require.Empty(t, r.Header.Get("Content-Security-Policy"))
	}
	_, body := read("/src/main.tsx?t=1")
	require.Equal(t, "path /src/main.tsx query t=1 host "+target.Host, body)

	vite.Close()
	r, body := read("/")
	require.Equal(t, http.StatusBadGateway, r.StatusCode)
	require.Contains(t, body, "npm run dev")
}
