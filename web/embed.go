package web

import (
	"bytes"
	"compress/gzip"
	"embed"
	"io"
	"io/fs"
	"net/http"
	"path"
	"strconv"
	"strings"
)

// dist is what "make ui" builds of the folder ui: index.html, and every other
// file compressed. It is committed, so that building clanmon needs no Node.
//
//go:embed all:dist
var dist embed.FS

// file is one of the built files.
type file struct {
	contentType string
	compressed  []byte // by gzip
}

// contentTypes are named here, for what the standard library would answer
// depends on the machine.
var contentTypes = map[string]string{
	".css":         "text/css; charset=utf-8",
	".ico":         "image/x-icon",
	".js":          "text/javascript; charset=utf-8",
	".json":        "application/json",
	".png":         "image/png",
	".svg":         "image/svg+xml",
	".txt":         "text/plain; charset=utf-8",
	".webmanifest": "application/manifest+json",
	".woff2":       "font/woff2",
}

// built reads the embedded files: the text of index.html, and the others by
// their path, such as "/assets/index-Bx3.js".
func built() (index string, files map[string]file) {
	files = make(map[string]file)
	root, err := fs.Sub(dist, "dist")
	if err != nil {
		panic(err) // the folder is embedded
	}
	err = fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := fs.ReadFile(root, name)
		if plain, ok := strings.CutSuffix(name, ".gz"); ok {
			kind := contentTypes[path.Ext(plain)]
			if kind == "" {
				panic("web: the type of " + plain + " is unknown; add it to contentTypes")
			}
			files["/"+plain] = file{kind, content}
		} else {
			index = string(content)
		}
		return err
	})
	if err != nil {
		panic(err)
	}
	return index, files
}

// serve answers with f as it is stored, where the client takes that.
func (f file) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", f.contentType)
	h.Add("Vary", "Accept-Encoding")
	if takesGzip(r.Header) {
		h.Set("Content-Encoding", "gzip")
		h.Set("Content-Length", strconv.Itoa(len(f.compressed)))
		_, _ = w.Write(f.compressed)
		return
	}
	plain, err := gzip.NewReader(bytes.NewReader(f.compressed))
	if err != nil {
		panic(err) // a test reads every file
	}
	_, _ = io.Copy(w, plain)
}

// takesGzip tells whether Accept-Encoding names gzip, or everything, and not
// with the weight 0.
func takesGzip(h http.Header) bool {
	for _, line := range h.Values("Accept-Encoding") {
		for option := range strings.SplitSeq(line, ",") {
			coding, weight, _ := strings.Cut(option, ";")
			if coding = strings.TrimSpace(coding); !strings.EqualFold(coding, "gzip") && coding != "*" {
				continue
			}
			_, q, found := strings.Cut(weight, "=")
			value, err := strconv.ParseFloat(strings.TrimSpace(q), 64)
			if !found || err == nil && value > 0 {
				return true
			}
		}
	}
	return false
}
