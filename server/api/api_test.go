package api

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/config"
	upstream "github.com/prometheus/prometheus/web"
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
	a := &API{servers: []*http.Server{srv.Config}, deps: Deps{Logger: promslog.NewNopLogger()}}
	go func() {
		if resp, err := http.Get(srv.URL); err == nil {
			resp.Body.Close()
		}
	}()
	<-reached
	require.NoError(t, a.drain(10*time.Millisecond))
	select {
	case <-cut:
	case <-time.After(time.Minute):
		t.Fatal("the request goes on")
	}
}

func TestAnswers(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	var handle http.HandlerFunc
	a := &API{handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handle(w, r) })}
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
	require.ErrorContains(t, a.Answers(ctx), "no response")
}

// Probes come early and often; what takes long to make is not made for them.
func TestProbesNeedNothingElse(t *testing.T) {
	made := false
	a := New(Deps{
		Options: upstream.Options{
			ExternalURL: &url.URL{}, RoutePrefix: "/mon", ListenAddresses: []string{"127.0.0.1:0"}, AppName: "Prometheus Server",
			Flags: map[string]string{}, Registerer: prometheus.NewRegistry(), Gatherer: prometheus.NewRegistry(), IsAgent: true,
		},
		Logger:   promslog.NewNopLogger(),
		Identity: known{},
		Progress: func() string { return "Replaying the WAL: segment 3 of 17" },
		Mounts: func() map[string]http.Handler {
			made = true
			return nil
		},
	})
	ask := func(method, path string) (int, string) {
		w := httptest.NewRecorder()
		a.handler.ServeHTTP(w, httptest.NewRequest(method, path, nil))
		return w.Code, w.Body.String()
	}
	expect := func(path string, wantCode int, want string) {
		t.Helper()
		code, body := ask(http.MethodGet, path)
		require.Equal(t, wantCode, code)
		require.Equal(t, want, body)
		code, _ = ask(http.MethodHead, path)
		require.Equal(t, wantCode, code)
	}
	expect("/mon/-/healthy", 200, "Prometheus Server is Healthy.\n")
	expect("/mon/-/ready", 503, "Service Unavailable\nReplaying the WAL: segment 3 of 17\n")
	require.NoError(t, a.ApplyConfig(&config.Config{}))
	a.SetReady(upstream.Ready)
	expect("/mon/-/ready", 200, "Prometheus Server is Ready.\n")
	require.NoError(t, a.Answers(t.Context()))
	require.False(t, made)

	// What is made later knows what was said before.
	ctx, stop := context.WithCancel(t.Context())
	require.NoError(t, a.Listen())
	served := make(chan error)
	go func() { served <- a.Run(ctx) }()
	code, _ := ask(http.MethodGet, "/mon/api/v1/status/buildinfo")
	require.Equal(t, 200, code)
	require.True(t, made)
	code, body := ask(http.MethodGet, "/mon/version")
	require.Equal(t, 200, code, body)
	expect("/mon/-/ready", 200, "Prometheus Server is Ready.\n")
	a.SetReady(upstream.Stopping)
	expect("/mon/-/ready", 503, "Service Unavailable")
	stop()
	require.NoError(t, <-served)
}

func TestCloseAfterRun(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	a := &API{listeners: []net.Listener{l}}
	require.NoError(t, a.Close())
	require.NoError(t, a.Close())
}
