package api

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/prometheus/common/promslog"
	"github.com/stretchr/testify/require"
)

// A query that takes for ever must not keep the store from closing.
func TestDrainCutsWhatIsStillUnderWay(t *testing.T) {
	reached, cut := make(chan struct{}), make(chan struct{})
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(reached)
		<-r.Context().Done()
		close(cut)
	}))
	srv.Start()
	defer srv.Close()
	a := &API{server: srv.Config, deps: Deps{Logger: promslog.NewNopLogger()}}
	go func() {
		if resp, err := http.Get(srv.URL); err == nil {
			resp.Body.Close()
		}
	}()
	<-reached
	require.NoError(t, a.drain(10*time.Millisecond))
	select {
	case <-cut:
	case <-time.After(20 * time.Second):
		t.Fatal("the request goes on")
	}
}

func TestAnswers(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	var handle http.HandlerFunc
	a := &API{deps: Deps{}, server: &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handle(w, r) })}}
	a.deps.RoutePrefix = "/mon"
	handle = func(_ http.ResponseWriter, r *http.Request) { require.Equal(t, "/mon/-/healthy", r.URL.Path) }
	require.NoError(t, a.Answers(t.Context()))
	handle = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }
	require.ErrorContains(t, a.Answers(t.Context()), "502")
	handle = func(http.ResponseWriter, *http.Request) { panic("broken") }
	require.ErrorContains(t, a.Answers(t.Context()), "500")
	handle = func(http.ResponseWriter, *http.Request) { <-release } // as behind a lock that nobody gives back
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	require.ErrorContains(t, a.Answers(ctx), "no answer")
}

func TestCloseAfterRun(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	a := &API{listeners: []net.Listener{l}}
	require.NoError(t, a.Close())
	require.NoError(t, a.Close())
}
