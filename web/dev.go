package web

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
)

// DevPaths are the patterns that DevHandler serves: those of Paths and what
// Vite's development server has below its root.
func DevPaths(agent bool) []string {
	return append(Paths(agent), "/@vite/", "/@id/", "/@fs/", "/@react-refresh", "/src/", "/node_modules/")
}

// DevHandler serves the UI from a Vite development server, which reloads what
// changes. Its pages contain inline scripts and a web socket, so there is no
// policy that forbids them: it is for developers, and knows no prefix.
func DevHandler(vite *url.URL, o Options) http.Handler {
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(vite) // also its host, which Vite wants to see
			p := r.In.URL.Path
			inRoot := strings.HasPrefix(p, "/@") || strings.HasPrefix(p, "/src/") || strings.HasPrefix(p, "/node_modules/") || strings.HasPrefix(p, "/favicon")
			if !inRoot && r.In.Header.Get("Upgrade") == "" {
				r.Out.URL.Path, r.Out.URL.RawPath = "/", ""
			}
			r.Out.Header.Del("Accept-Encoding") // the page is changed below
		},
		ModifyResponse: func(r *http.Response) error {
			if !strings.HasPrefix(r.Header.Get("Content-Type"), "text/html") {
				return nil
			}
			page, err := io.ReadAll(r.Body)
			if err != nil {
				return err
			}
			r.Body.Close()
			page = render(string(page), o)
			r.Body = io.NopCloser(bytes.NewReader(page))
			r.Header.Set("Content-Length", strconv.Itoa(len(page)))
			r.Header.Del("Etag")
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			http.Error(w, fmt.Sprintf("the development server does not respond: %v\nStart it: npm run dev (in web/ui)", err), http.StatusBadGateway)
		},
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/graph" {
			redirectGraph(w, r, o)
			return
		}
		proxy.ServeHTTP(w, r)
	})
}
