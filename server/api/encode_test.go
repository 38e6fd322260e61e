package api

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// serve runs h behind encoded on a real connection, and asks without any of
// net/http's own decompression.
func serve(t *testing.T, h http.HandlerFunc) func(method string, header http.Header) (*http.Response, []byte) {
	s := httptest.NewServer(encoded(h))
	t.Cleanup(s.Close)
	client := &http.Client{Transport: &http.Transport{DisableCompression: true}}
	t.Cleanup(client.CloseIdleConnections)
	return func(method string, header http.Header) (*http.Response, []byte) {
		r, err := http.NewRequest(method, s.URL, nil)
		require.NoError(t, err)
		r.Header = header
		resp, err := client.Do(r)
		require.NoError(t, err)
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return resp, body
	}
}

func unzip(t *testing.T, body []byte) string {
	z, err := gzip.NewReader(bytes.NewReader(body))
	require.NoError(t, err)
	text, err := io.ReadAll(z)
	require.NoError(t, err)
	return string(text)
}

func answering(kind string, code int, text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", kind)
		w.WriteHeader(code)
		_, _ = io.WriteString(w, text)
	}
}

var long = `{"data":"` + strings.Repeat("machine ", 1000) + `"}`

func TestJSONIsCompressedForWhoAcceptsIt(t *testing.T) {
	ask := serve(t, answering("application/json", http.StatusOK, long))
	for accept, zipped := range map[string]bool{
		"": false, "gzip": true, "gzip, deflate, br, zstd": true, "br;q=1.0, gzip;q=0.8": true,
		"gzip;q=0": false, "gzip; q=0.0, *": false, "*": true, "*;q=0": false, "identity": false, "deflate": false,
	} {
		resp, body := ask(http.MethodGet, http.Header{"Accept-Encoding": {accept}})
		require.Equal(t, "Accept-Encoding", resp.Header.Get("Vary"))
		if !zipped {
			require.Empty(t, resp.Header.Get("Content-Encoding"), accept)
			require.Equal(t, long, string(body), accept)
			continue
		}
		require.Equal(t, "gzip", resp.Header.Get("Content-Encoding"), accept)
		require.Less(t, len(body), len(long)/10)
		require.Equal(t, long, unzip(t, body))
	}
}

func TestConditionalRequests(t *testing.T) {
	text := long
	ask := serve(t, func(w http.ResponseWriter, r *http.Request) {
		answering("application/json; charset=utf-8", http.StatusOK, text)(w, r)
	})
	resp, _ := ask(http.MethodGet, nil)
	tag := resp.Header.Get("ETag")
	require.NotEmpty(t, tag)
	require.Equal(t, "private, no-cache", resp.Header.Get("Cache-Control"), "no-store would keep browsers from asking with the ETag")
	for _, known := range []string{tag, `"other", ` + tag, "*", strings.TrimPrefix(tag, "W/")} {
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			resp, body := ask(method, http.Header{"If-None-Match": {known}, "Accept-Encoding": {"gzip"}})
			require.Equal(t, http.StatusNotModified, resp.StatusCode, known)
			require.Equal(t, tag, resp.Header.Get("ETag"), "one ETag, compressed or not")
			require.Empty(t, body)
		}
	}
	text = strings.Replace(long, "machine", "MACHINE", 1)
	resp, body := ask(http.MethodGet, http.Header{"If-None-Match": {tag}, "Accept-Encoding": {"gzip"}})
	require.Equal(t, http.StatusOK, resp.StatusCode)
	require.Equal(t, text, unzip(t, body))
	resp, _ = ask(http.MethodPost, http.Header{"If-None-Match": {"*"}})
	require.Equal(t, http.StatusOK, resp.StatusCode, "only what changes nothing is asked about")
}

func TestErrorsAndOtherMediaTypesArePassedOn(t *testing.T) {
	accept := http.Header{"Accept-Encoding": {"gzip"}, "If-None-Match": {"*"}}
	resp, body := serve(t, answering("text/plain", http.StatusOK, long))(http.MethodGet, accept)
	require.Equal(t, http.StatusOK, resp.StatusCode)
	require.Empty(t, resp.Header.Get("Content-Encoding"))
	require.Equal(t, long, string(body))

	resp, body = serve(t, answering("application/json", http.StatusNotFound, `{"status":"error"}`))(http.MethodGet, accept)
	require.Equal(t, http.StatusNotFound, resp.StatusCode)
	require.Empty(t, resp.Header.Get("ETag"))
	require.JSONEq(t, `{"status":"error"}`, string(body))

	resp, body = serve(t, func(http.ResponseWriter, *http.Request) {})(http.MethodGet, accept)
	require.Equal(t, http.StatusOK, resp.StatusCode)
	require.Empty(t, body)

	resp, body = serve(t, answering("application/json", http.StatusOK, strings.Repeat(" ", maxHeld+1)))(http.MethodGet, accept)
	require.Equal(t, http.StatusOK, resp.StatusCode, "too long to be held for an ETag")
	require.Len(t, unzip(t, body), maxHeld+1)
}

// A handler that panics in the middle must not look as if it had answered.
func TestPanicIsNoAnswer(t *testing.T) {
	s := httptest.NewServer(encoded(func(w http.ResponseWriter, _ *http.Request) {
		answering("application/json", http.StatusOK, `{"status":"success"`)(w, nil)
		panic(http.ErrAbortHandler)
	}))
	defer s.Close()
	_, err := http.Get(s.URL)
	require.Error(t, err)
}

// What is flushed arrives at once, compressed or not.
func TestStreamsAreNotHeld(t *testing.T) {
	for _, kind := range []string{"text/event-stream", "application/json"} {
		next := make(chan struct{})
		s := httptest.NewServer(encoded(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", kind)
			for range 2 {
				_, _ = io.WriteString(w, "row\n")
				require.NoError(t, http.NewResponseController(w).Flush())
				<-next
			}
		}))
		defer s.Close()
		resp, err := http.Get(s.URL) // decompresses by itself
		require.NoError(t, err)
		defer resp.Body.Close()
		for range 2 {
			row := make([]byte, 4)
			_, err = io.ReadFull(resp.Body, row)
			require.NoError(t, err)
			require.Equal(t, "row\n", string(row))
			next <- struct{}{}
		}
	}
}
