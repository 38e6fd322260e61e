// Package web serves the browser UI: built files embedded in the binary, and one
// page for all paths, which takes its data from the HTTP API. The source is the
// folder ui, which "make ui" builds into the folder dist.
//
// It knows nothing of the server: paths in, files out. There is no state;
// nothing runs, so nothing stops.
package web

import (
	"bytes"
	"html/template"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// Options are what the page has to know before it asks the API.
type Options struct {
	PathPrefix string // path under which browsers see the server, "" or "/x"
	PageTitle  string
	Version    string // of clanmon
	Agent      bool   // no queries, rules or alerts
}

// pages are the paths that the UI answers. Those of Prometheus' own UI are among
// them, so that links and bookmarks keep working. At a path of serverPages an agent
// says that it is one.
var (
	pages       = []string{"/{$}", "/targets", "/status", "/status/{page}", "/runbooks", "/runbooks/{alert}", "/config", "/flags", "/service-discovery"}
	serverPages = []string{"/m/{machine}", "/compare", "/services", "/checks", "/jobs", "/alerts", "/changes", "/capacity", "/uptime", "/silences", "/boards", "/boards/{board}", "/explore", "/query", "/rules", "/tsdb-status", "/alertmanager-discovery"}
	agentPages  = []string{"/agent"}
)

// Paths are the patterns, in the syntax of http.ServeMux, that Handler serves.
func Paths(agent bool) []string {
	_, files := built()
	paths := append([]string{"/graph", "/assets/", "/favicon.ico"}, pages...)
	for _, p := range slices.Sorted(maps.Keys(files)) {
		if !strings.HasPrefix(p, "/assets/") {
			paths = append(paths, p)
		}
	}
	paths = append(paths, serverPages...)
	if agent {
		paths = append(paths, agentPages...)
	}
	return paths
}

// securityPolicy allows nothing but our own files: no inline script or style,
// no other host. Images may be data, for the favicon that shows a number.
const securityPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

// Handler serves the UI, given paths below the prefix.
func Handler(o Options) http.Handler {
	source, files := built()
	page := render(source, o)
	files["/favicon.ico"] = files["/favicon.svg"]
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", securityPolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin")
		p := r.URL.Path
		f, ok := files[p]
		switch {
		case p == "/graph":
			redirectGraph(w, r, o)
		case ok && strings.HasPrefix(p, "/assets/"):
			// Their names have a hash of what is in them, so they never change.
			h.Set("Cache-Control", "public, max-age=31536000, immutable")
			f.serve(w, r)
		case ok:
			h.Set("Cache-Control", "max-age=86400")
			f.serve(w, r)
		case strings.HasPrefix(p, "/assets/"): // of another version, as a rule
			http.NotFound(w, r)
		default:
			servePage(w, page)
		}
	})
}

// redirectGraph sends the links of Prometheus 2 on, which alerts still have.
func redirectGraph(w http.ResponseWriter, r *http.Request, o Options) {
	http.Redirect(w, r, o.PathPrefix+"/query?"+r.URL.RawQuery, http.StatusFound)
}

func servePage(w http.ResponseWriter, page []byte) {
	h := w.Header()
	h.Set("Cache-Control", "no-cache")
	h.Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write(page)
}

// render fills index.html in. Its links are relative to the prefix, for nobody
// knows that when the page is built; as it is served at many paths, they have to
// become absolute.
func render(source string, o Options) []byte {
	source = strings.ReplaceAll(source, `="./`, `="{{.PathPrefix}}/`)
	var b bytes.Buffer
	err := template.Must(template.New("index.html").Parse(source)).Execute(&b, o)
	if err != nil {
		panic(err)
	}
	return b.Bytes()
}
