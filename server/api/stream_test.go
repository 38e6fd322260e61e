package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	upstream "github.com/prometheus/prometheus/web"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/server/internal/envelope"
)

const silencesPath = "/api/v2/silences"

// streaming is a stream of a server with two answers, one of which is the fleet's.
type streaming struct {
	*stream
	url   string
	text  atomic.Value
	fleet atomic.Value
	looks atomic.Int64 // at the answers
}

func newStreaming(t *testing.T, maxConnections int) *streaming {
	t.Helper()
	s := &streaming{}
	s.text.Store("a")
	s.fleet.Store("x-1-0")
	s.stream = newStream("/mon", maxConnections, func(context.Context) string {
		s.looks.Add(1)
		return s.fleet.Load().(string)
	})
	s.every = time.Millisecond
	mux := http.NewServeMux()
	mux.HandleFunc("/mon"+silencesPath, encoded(func(w http.ResponseWriter, _ *http.Request) { envelope.Success(w, s.text.Load()) }))
	s.answers = mux
	mux.Handle("/mon"+streamPath, s.stream)
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	s.url = srv.URL + "/mon"
	return s
}

// follow connects, and returns what gives the versions of the next event "changed"; nil
// at the end of the stream.
func (s *streaming) follow(t *testing.T, query string) (res *http.Response, next func() map[string]string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+streamPath+query, nil)
	require.NoError(t, err)
	res, err = http.DefaultClient.Do(r)
	require.NoError(t, err)
	t.Cleanup(func() { res.Body.Close() })
	lines := bufio.NewScanner(res.Body)
	return res, func() map[string]string {
		for lines.Scan() {
			if lines.Text() != "event: changed" {
				continue
			}
			lines.Scan()
			var now map[string]string
			require.NoError(t, json.Unmarshal([]byte(strings.TrimPrefix(lines.Text(), "data: ")), &now))
			return now
		}
		return nil
	}
}

// tag is the ETag that a page gets with an answer.
func (s *streaming) tag(t *testing.T) string {
	t.Helper()
	res, err := http.Get(s.url + silencesPath)
	require.NoError(t, err)
	res.Body.Close()
	return strings.Trim(res.Header.Get("ETag"), `W/"`)
}

func TestStreamSaysWhatChanged(t *testing.T) {
	s := newStreaming(t, 100)
	res, next := s.follow(t, "")
	require.Equal(t, "text/event-stream", res.Header.Get("Content-Type"))
	require.Equal(t, "no", res.Header.Get("X-Accel-Buffering"))
	first := next()
	require.Equal(t, map[string]string{silencesPath: s.tag(t), fleetPath: "x-1-0"}, first, "what is not served has no version")

	// Nothing is sent while nothing changes: the next event is the change.
	seen := s.looks.Load()
	require.Eventually(t, func() bool { return s.looks.Load() > seen+5 }, time.Minute, time.Millisecond)
	s.text.Store("b")
	second := next()
	require.Equal(t, s.tag(t), second[silencesPath])
	require.NotEqual(t, first[silencesPath], second[silencesPath])
	s.fleet.Store("x-2-0")
	require.Equal(t, map[string]string{silencesPath: second[silencesPath], fleetPath: "x-2-0"}, next())

	// Who comes later begins with the same.
	_, other := s.follow(t, "")
	require.Equal(t, map[string]string{silencesPath: second[silencesPath], fleetPath: "x-2-0"}, other())
}

func TestStreamsLookOnceForAll(t *testing.T) {
	s := newStreaming(t, 100)
	s.every = time.Hour
	for range 5 {
		_, next := s.follow(t, "")
		require.NotNil(t, next())
	}
	require.EqualValues(t, 1, s.looks.Load())
}

func TestStreamsAreLimited(t *testing.T) {
	s := newStreaming(t, 16)
	code := func(query string) int {
		res, next := s.follow(t, query)
		if res.StatusCode == http.StatusOK {
			next()
		}
		return res.StatusCode
	}
	first, _ := s.follow(t, "?browser=a")
	require.Equal(t, http.StatusOK, first.StatusCode)
	require.Equal(t, http.StatusOK, code("?browser=a"))
	require.Equal(t, http.StatusOK, code("?browser=a"))
	require.Equal(t, http.StatusNoContent, code("?browser=a"), "the fourth of a browser")
	require.Equal(t, http.StatusOK, code("?browser=b"))
	require.Equal(t, http.StatusNoContent, code("?browser=c"), "the fifth of all")
	first.Body.Close()
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		res, err := http.Get(s.url + streamPath + "?browser=c")
		require.NoError(c, err)
		res.Body.Close()
		require.Equal(c, http.StatusOK, res.StatusCode)
	}, time.Minute, 10*time.Millisecond)
}

// A write deadline ends a stream of HTTP/2 also while nothing is written.
func TestStreamOutlivesSilence(t *testing.T) {
	t.Parallel()
	s := newStreaming(t, 100)
	s.write, s.beat = 5*time.Second, 8*time.Second
	srv := httptest.NewUnstartedServer(s.stream)
	srv.EnableHTTP2 = true
	srv.StartTLS()
	defer srv.Close()
	res, err := srv.Client().Get(srv.URL + streamPath)
	require.NoError(t, err)
	defer res.Body.Close()
	require.Equal(t, 2, res.ProtoMajor)
	for lines := bufio.NewScanner(res.Body); ; {
		require.True(t, lines.Scan(), "the stream ended: %v", lines.Err())
		if lines.Text() == "event: alive" {
			return
		}
	}
}

// A shutdown ends streams; it does not wait for them.
func TestStreamEndsAtShutdown(t *testing.T) {
	var log bytes.Buffer
	a := New(Deps{
		Options: upstream.Options{
			ExternalURL: &url.URL{}, RoutePrefix: "/mon", ListenAddresses: []string{"127.0.0.1:0"}, MaxConnections: 100,
			Flags: map[string]string{}, Registerer: prometheus.NewRegistry(), Gatherer: prometheus.NewRegistry(), IsAgent: true,
		},
		Logger:   slog.New(slog.NewTextHandler(&log, nil)),
		Identity: known{},
		Mounts:   func() map[string]http.Handler { return nil },
	})
	a.SetReady(upstream.Ready)
	require.NoError(t, a.Listen())
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error)
	go func() { served <- a.Run(ctx) }()
	s := &streaming{url: "http://" + a.Addr().String() + "/mon"}
	_, next := s.follow(t, "")
	require.NotNil(t, next())
	require.NoError(t, a.drain(time.Minute))
	require.Nil(t, next())
	stop()
	require.NoError(t, <-served)
	require.NotContains(t, log.String(), "Aborting")
}
