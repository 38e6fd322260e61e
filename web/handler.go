// Package web serves the browser UI: static files embedded in the binary and
// one page that takes its data from the HTTP API.
//
// It knows nothing of the server: paths in, files out. There is no build step
// and no state; nothing runs, so nothing stops.
package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"html/template"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"
)

//go:embed ui
var files embed.FS

// Options are what the page has to know before it asks the API.
type Options struct {
	PathPrefix string // path under which browsers see the server, "" or "/x"
	PageTitle  string
	Agent      bool // no queries, rules or alerts
}

// pages are the paths that the UI answers; they are those of Prometheus' own
// UI, so that links and bookmarks keep working.
var (
	pages       = []string{"/targets", "/status", "/config", "/flags", "/service-discovery"}
	serverPages = []string{"/query", "/alerts", "/rules", "/tsdb-status", "/alertmanager-discovery"}
	agentPages  = []string{"/agent"}
)

// Paths are the patterns, in the syntax of http.ServeMux, that Handler serves.
func Paths(agent bool) []string {
	paths := append([]string{"/{$}", "/graph", "/assets/", "/favicon.svg", "/favicon.ico"}, pages...)
	if agent {
		return append(paths, agentPages...)
	}
	return append(paths, serverPages...)
}

// securityPolicy allows nothing but our own files: no inline script or style,
// no other host.
const securityPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

// Handler serves the UI, given paths below the prefix.
func Handler(o Options) http.Handler {
	page, tag := index(o)
	assets, err := fs.Sub(files, "ui")
	if err != nil {
		panic(err) // the folder is embedded
	}
	fileServer := http.FileServerFS(assets)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", securityPolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin")
		switch p := r.URL.Path; {
		case p == "/graph":
			// Prometheus 2 linked here, and alerts still do.
			http.Redirect(w, r, o.PathPrefix+"/query?"+r.URL.RawQuery, http.StatusFound)
		case p == "/favicon.svg" || p == "/favicon.ico":
			h.Set("Cache-Control", "max-age=86400")
			http.ServeFileFS(w, r, assets, "favicon.svg")
		case strings.HasPrefix(p, "/assets/"):
			// The page names assets with their hash, so they never change.
			name := strings.TrimPrefix(p, "/assets/"+tag+"/")
			if name == p || name == "index.html" || name == "" || path.Ext(name) == "" {
				http.NotFound(w, r)
				return
			}
			h.Set("Cache-Control", "public, max-age=31536000, immutable")
			r.URL.Path = "/" + name
			fileServer.ServeHTTP(w, r)
		default:
			h.Set("Cache-Control", "no-cache")
			h.Set("Content-Type", "text/html; charset=utf-8")
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(page))
		}
	})
}

// index renders the page and returns it with the hash of all assets.
func index(o Options) (page []byte, tag string) {
	sum := sha256.New()
	err := fs.WalkDir(files, "ui", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := files.ReadFile(name)
		sum.Write(content)
		return err
	})
	if err != nil {
		panic(err)
	}
	tag = hex.EncodeToString(sum.Sum(nil))[:12]
	var b bytes.Buffer
	err = template.Must(template.ParseFS(files, "ui/index.html")).Execute(&b, struct {
		Options
		Tag string
	}{o, tag})
	if err != nil {
		panic(err)
	}
	return b.Bytes(), tag
}
