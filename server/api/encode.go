package api

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/cespare/xxhash/v2"
)

const (
	maxHeld = 8 << 20 // bytes of an answer that are held until it is complete
	minZip  = 512     // bytes from which compression is worth it
)

// encoded compresses the JSON that h answers, for clients that accept gzip, and
// lets them ask whether it has changed: an answer of 200 has an ETag, and
// If-None-Match is answered with 304.
//
// The ETag is in the header, so an answer is held until it is complete. One that
// is flushed, or longer than maxHeld, is passed on as it comes, without an ETag.
// Other media types are passed on as they are.
func encoded(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		e := &encoder{ResponseWriter: w, request: r}
		h(e, r)
		e.finish() // not after a panic: the client must not take the rest for an answer
	}
}

// encoder is the http.ResponseWriter of one request.
type encoder struct {
	http.ResponseWriter
	request *http.Request

	code    int  // 0 until the handler has written its header
	json    bool // what the handler writes is encoded
	started bool // the header is sent; nothing is held any more
	held    bytes.Buffer
	zip     *gzip.Writer // nil where the answer is not compressed
}

// WriteHeader implements http.ResponseWriter.
func (e *encoder) WriteHeader(code int) {
	if code < 200 || e.code != 0 { // informational, or a mistake that net/http logs
		e.ResponseWriter.WriteHeader(code)
		return
	}
	h := e.Header()
	kind, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	e.code = code
	e.json = strings.TrimSpace(kind) == "application/json" && h.Get("Content-Encoding") == "" && h.Get("ETag") == ""
	if !e.json {
		e.start(false)
	}
}

// Write implements http.ResponseWriter.
func (e *encoder) Write(p []byte) (int, error) {
	if e.code == 0 {
		e.WriteHeader(http.StatusOK)
	}
	if !e.started && e.held.Len()+len(p) > maxHeld {
		e.start(true)
	}
	switch {
	case !e.started:
		return e.held.Write(p)
	case e.zip != nil:
		return e.zip.Write(p)
	}
	return e.ResponseWriter.Write(p)
}

// Flush implements http.Flusher.
func (e *encoder) Flush() {
	if e.code == 0 {
		e.WriteHeader(http.StatusOK)
	}
	e.start(true)
	if e.zip != nil {
		_ = e.zip.Flush() // its error comes again with the next write
	}
	_ = http.NewResponseController(e.ResponseWriter).Flush()
}

// Unwrap is for http.ResponseController.
func (e *encoder) Unwrap() http.ResponseWriter { return e.ResponseWriter }

// start sends the header and what is held, compressed if zip and the client
// accepts it.
func (e *encoder) start(zip bool) {
	if e.started {
		return
	}
	e.started = true
	h := e.Header()
	if e.json {
		h.Add("Vary", "Accept-Encoding")
		if zip && acceptsGzip(e.request.Header) {
			h.Del("Content-Length")
			h.Set("Content-Encoding", "gzip")
			e.zip = zips.Get().(*gzip.Writer)
			e.zip.Reset(e.ResponseWriter)
		}
	}
	e.ResponseWriter.WriteHeader(e.code)
	if e.held.Len() > 0 {
		_, _ = e.Write(e.held.Bytes())
	}
}

// finish sends an answer that is complete.
func (e *encoder) finish() {
	if e.code == 0 {
		return // net/http answers what an empty handler does
	}
	if !e.started && e.unchanged() {
		e.held.Reset()
		e.code = http.StatusNotModified
		e.start(false)
		return
	}
	e.start(e.held.Len() >= minZip)
	if e.zip != nil {
		_ = e.zip.Close()
		zips.Put(e.zip)
	}
}

// unchanged gives the answer its ETag and reports whether the client has it.
func (e *encoder) unchanged() bool {
	if e.code != http.StatusOK || !safe(e.request.Method) {
		return false
	}
	// Weak: the same for the answer compressed and not.
	tag := fmt.Sprintf(`W/"%x"`, xxhash.Sum64(e.held.Bytes()))
	h := e.Header()
	h.Set("ETag", tag)
	h.Set("Cache-Control", "private, no-cache") // the browser keeps it, and asks each time
	for _, known := range listed(e.request.Header, "If-None-Match") {
		if known == "*" || strings.TrimPrefix(known, "W/") == strings.TrimPrefix(tag, "W/") {
			return true
		}
	}
	return false
}

var zips = sync.Pool{New: func() any { return gzip.NewWriter(nil) }}

// acceptsGzip reads Accept-Encoding: gzip, or anything, with a weight that is not 0.
func acceptsGzip(h http.Header) bool {
	anything := false
	for _, coding := range listed(h, "Accept-Encoding") {
		name, params, _ := strings.Cut(coding, ";")
		q, weighed := strings.CutPrefix(strings.ReplaceAll(params, " ", ""), "q=")
		weight, err := strconv.ParseFloat(q, 64)
		accepted := !weighed || err == nil && weight > 0
		switch strings.TrimSpace(name) {
		case "gzip":
			return accepted
		case "*":
			anything = accepted
		}
	}
	return anything
}

// listed are the elements of a header that is a list.
func listed(h http.Header, name string) []string {
	var all []string
	for _, line := range h.Values(name) {
		for element := range strings.SplitSeq(line, ",") {
			all = append(all, strings.TrimSpace(element))
		}
	}
	return all
}
