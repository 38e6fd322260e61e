// Package servertest runs a real server inside a test: its own directory, a
// port of its own, its own metrics. It is for tests of the server's rooms
// together; what needs a process of its own is in e2e.
//
// The server stops when the test ends.
package servertest

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/grafana/regexp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/agent"
	"github.com/prometheus/prometheus/util/compression"
	"github.com/prometheus/prometheus/web"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/server"
)

// Server is a server that runs.
type Server struct {
	*server.Server
	Options server.Options
	Reload  chan struct{} // asks for a reload
	Log     *Log

	t    testing.TB
	stop context.CancelFunc
	done chan struct{}
	err  error
}

// Log is what the server has logged so far.
type Log struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write implements io.Writer.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// Options are what the flags' defaults amount to, for a server on a free port
// of loopback with scrapes that start at once.
func Options(t testing.TB) (server.Options, *Log) {
	t.Helper()
	log := &Log{}
	level := promslog.NewLevel()
	reg := prometheus.NewRegistry()
	tsdbOptions := *tsdb.DefaultOptions()
	tsdbOptions.WALCompression = compression.Snappy
	o := server.Options{
		Dir: t.TempDir(), TSDB: tsdbOptions, AgentDB: *agent.DefaultOptions(),
		Retention:                   config.TSDBRetentionConfig{Time: model.Duration(15 * 24 * time.Hour)},
		RemoteFlushDeadline:         time.Second,
		Query:                       server.QueryOptions{Lookback: 5 * time.Minute, Timeout: time.Minute, Concurrency: 20, MaxSamples: 5e7, ResultCacheSize: 32 << 20},
		Rules:                       server.RuleOptions{OutageTolerance: time.Hour, ForGracePeriod: time.Minute, ResendDelay: time.Minute, MaxConcurrentEvals: 4},
		MaxNotificationsSubscribers: 4,
		Parser:                      parser.Options{},
		Web: web.Options{
			ListenAddresses: []string{"127.0.0.1:0"}, MaxConnections: 100, ReadTimeout: time.Minute,
			ExternalURL: &url.URL{Scheme: "http", Host: "test"}, RoutePrefix: "/", CORSOrigin: regexp.MustCompile(".*"),
			RemoteReadConcurrencyLimit: 10, RemoteReadBytesInFrame: 1 << 20, Version: &web.PrometheusVersion{Version: "test"},
			Flags: map[string]string{},
		},
		Logger:     promslog.New(&promslog.Config{Level: level, Writer: log}),
		LogLevel:   level,
		Registerer: reg, Gatherer: reg,
	}
	o.Notifier.QueueCapacity, o.Notifier.MaxBatchSize = 100, 10
	o.Scrape.DiscoveryReloadInterval = model.Duration(10 * time.Millisecond)
	return o, log
}

// Start runs a server with the configuration file text; change, if not nil,
// changes the options first. It returns when the server is ready.
func Start(t testing.TB, text string, change func(*server.Options)) *Server {
	t.Helper()
	o, log := Options(t)
	if text != "" {
		o.ConfigFile = filepath.Join(t.TempDir(), "prometheus.yml")
		require.NoError(t, os.WriteFile(o.ConfigFile, []byte(text), 0o600))
	}
	s := &Server{t: t, Log: log, Reload: make(chan struct{}, 1), done: make(chan struct{})}
	o.Reload = s.Reload
	ready := make(chan struct{})
	var once sync.Once
	o.Status = func(now server.Status) {
		if now == server.Ready {
			once.Do(func() { close(ready) })
		}
	}
	if change != nil {
		change(&o)
	}
	s.Options = o
	var err error
	s.Server, err = server.New(o)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	s.stop = cancel
	go func() {
		s.err = s.Run(ctx)
		close(s.done)
	}()
	t.Cleanup(func() { _ = s.Stop() })
	select {
	case <-ready:
	case <-s.done:
		t.Fatalf("the server ended: %v\n%s", s.err, log)
	case <-time.After(30 * time.Second):
		t.Fatalf("the server is not ready\n%s", log)
	}
	return s
}

// Stop stops the server and returns what Run returned.
func (s *Server) Stop() error {
	s.stop()
	<-s.done
	return s.err
}

// URL is the address of a path on the server.
func (s *Server) URL(path string) string { return "http://" + s.Addr().String() + path }

// Get returns the answer to a GET.
func (s *Server) Get(path string) (int, string) {
	s.t.Helper()
	return s.Do(http.MethodGet, path)
}

// Do returns the answer to a request without a body.
func (s *Server) Do(method, path string) (int, string) {
	s.t.Helper()
	req, err := http.NewRequest(method, s.URL(path), nil)
	require.NoError(s.t, err)
	r, err := http.DefaultClient.Do(req)
	require.NoError(s.t, err)
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	require.NoError(s.t, err)
	return r.StatusCode, string(body)
}

// Eventually waits until a GET of path contains want.
func (s *Server) Eventually(path, want string) {
	s.t.Helper()
	require.EventuallyWithT(s.t, func(c *assert.CollectT) {
		_, body := s.Get(path)
		require.Contains(c, body, want)
	}, time.Minute, 20*time.Millisecond, "%s", path)
}
