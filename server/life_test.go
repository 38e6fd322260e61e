package server_test

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/clanmon/clanmon/internal/testport"
	"github.com/clanmon/clanmon/server"
	"github.com/clanmon/clanmon/server/servertest"
)

// Run leaves nothing behind, nor does a server that could not start.
func TestMain(m *testing.M) {
	var options []goleak.Option
	// Alertmanager's peer leaves the gossip, but cannot stop listening.
	for _, f := range []string{
		"(*Memberlist).checkBroadcastQueueDepth", "(*Memberlist).packetHandler", "(*Memberlist).packetListen", "(*Memberlist).pushPullTrigger",
		"(*Memberlist).streamListen", "(*Memberlist).triggerFunc", "(*NetTransport).tcpListen", "(*NetTransport).udpListen",
	} {
		options = append(options, goleak.IgnoreAnyFunction("github.com/hashicorp/memberlist."+f))
	}
	goleak.VerifyTestMain(m, options...)
}

func TestReloadWithoutTheFileIsOneError(t *testing.T) {
	s := servertest.Start(t, "{}", nil)
	require.NoError(t, os.Remove(s.Options.ConfigFile))
	s.Reload <- struct{}{} // as SIGHUP does
	s.Eventually("/metrics", "prometheus_config_last_reload_successful 0")
	require.NoError(t, s.Stop())
	require.Equal(t, 1, strings.Count(s.Log.String(), "level=ERROR"), s.Log.String())
}

// An early end leaves the gossip: the other of a pair must not wait for one that
// was stopped while it read its WAL.
func TestEarlyEndLeavesTheGossip(t *testing.T) {
	early := testport.Address(t)
	o, _ := servertest.Options(t)
	o.ConfigFile = filepath.Join(t.TempDir(), "prometheus.yml")
	require.NoError(t, os.WriteFile(o.ConfigFile, []byte("{}"), 0o600))
	o.Delivery.Cluster.ListenAddress = early
	first, err := server.New(o)
	require.NoError(t, err)

	second := servertest.Start(t, "{}", func(o *server.Options) {
		o.Delivery.Cluster.ListenAddress, o.Delivery.Cluster.Peers = testport.Address(t), []string{early}
	})
	peers := func() int {
		_, body := second.Get("/api/v2/status")
		var status struct{ Cluster struct{ Peers []any } }
		_ = json.Unmarshal([]byte(body), &status)
		return len(status.Cluster.Peers)
	}
	require.EventuallyWithT(t, func(c *assert.CollectT) { require.Equal(c, 2, peers()) }, waitFor, tick)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	require.NoError(t, first.Run(ctx))
	require.EventuallyWithT(t, func(c *assert.CollectT) { require.Equal(c, 1, peers()) }, waitFor, tick)
}

func TestNothingIsLeftOfAServerThatCouldNotStart(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	o, _ := servertest.Options(t)
	o.ConfigFile = filepath.Join(t.TempDir(), "prometheus.yml")
	require.NoError(t, os.WriteFile(o.ConfigFile, []byte("{}"), 0o600))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	o.Web.ListenAddresses = []string{l.Addr().String()}
	_, err = server.New(o)
	require.ErrorContains(t, err, "address already in use")
}

func TestNothingIsLeftOfAServerWhoseConfigurationDoesNotApply(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	o, _ := servertest.Options(t)
	o.ConfigFile = filepath.Join(t.TempDir(), "prometheus.yml")
	require.NoError(t, os.WriteFile(o.ConfigFile, []byte("global: {query_log_file: /proc/none/queries.log}"), 0o600))
	o.Rules.Builtin = "on" // their groups are loaded, and never evaluated
	s, err := server.New(o)
	require.NoError(t, err)
	require.ErrorContains(t, s.Run(t.Context()), "query_log_file")
}

// A service manager that was told that the server stops must not hear that it is
// ready again, which the end of a reload would say.
func TestNothingFollowsStopping(t *testing.T) {
	var mu sync.Mutex
	var told []server.Status
	s := servertest.Start(t, "{}", func(o *server.Options) {
		inner := o.Status
		o.Status = func(now server.Status) {
			mu.Lock()
			told = append(told, now)
			mu.Unlock()
			inner(now)
		}
	})
	for range 5 {
		select {
		case s.Reload <- struct{}{}:
		default:
		}
	}
	require.NoError(t, s.Stop())
	require.Equal(t, server.Stopping, told[len(told)-1], "%v", told)
}

func TestServerAnswersItself(t *testing.T) {
	s := servertest.Start(t, "{}", func(o *server.Options) {
		o.Web.ExternalURL.Path = "/mon"
		o.Web.RoutePrefix = "/mon"
	})
	require.NoError(t, s.Answers(t.Context()))
}

func TestAgentWithoutReceiverWarns(t *testing.T) {
	const warning = "Samples of this agent are not sent anywhere: add remote_write"
	s := servertest.Start(t, "{}", func(o *server.Options) { o.Agent = true })
	require.Equal(t, 1, strings.Count(s.Log.String(), warning))
	s.Eventually("/api/clanmon/v1/fleet", `"level":"critical","kind":"agent","text":"Samples of this agent are not sent anywhere`)
	s = servertest.Start(t, "remote_write: [{url: 'http://127.0.0.1:1/'}]", func(o *server.Options) { o.Agent = true })
	require.NotContains(t, s.Log.String(), warning)
	s = servertest.Start(t, "{}", nil)
	require.NotContains(t, s.Log.String(), warning, "no agent")
}

// What an agent has sent and what not can be read, without its secrets.
func TestRemoteWriteCanBeRead(t *testing.T) {
	t.Chdir(t.TempDir())
	var up atomic.Bool
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if !up.Load() {
			http.Error(w, "see https://u:s3cret@h/p?token=s3cret", http.StatusServiceUnavailable)
		}
	}))
	defer receiver.Close()
	s := servertest.Start(t, `
global: {scrape_interval: 1s}
scrape_configs: [{job_name: self, static_configs: [{targets: [`+"'"+strings.TrimPrefix(receiver.URL, "http://")+"'"+`]}]}]
remote_write:
- name: hub
  url: `+strings.Replace(receiver.URL, "http://", "http://me:s3cret@", 1)+`/api/v1/write?token=s3cret
  queue_config: {min_backoff: 10ms, max_backoff: 20ms, batch_send_deadline: 50ms}
`, func(o *server.Options) { o.Agent = true })

	type remote struct {
		Name, URL, State, LastError string
		LastSent                    string
		Sent, Pending, Retried      float64
		BehindSeconds               float64
	}
	read := func() remote {
		_, body := s.Get("/api/clanmon/v1/remote-write")
		require.NotContains(t, body, "s3cret")
		var answer struct{ Data []remote }
		require.NoError(t, json.Unmarshal([]byte(body), &answer), body)
		require.Len(t, answer.Data, 1)
		return answer.Data[0]
	}
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		got := read()
		require.Equal(c, "hub", got.Name)
		require.Equal(c, receiver.URL+"/api/v1/write", got.URL)
		require.Positive(c, got.Pending)
		require.Positive(c, got.Retried)
		require.Zero(c, got.Sent)
		require.Equal(c, "behind", got.State, "nothing has arrived")
		require.Empty(c, got.LastSent)
		require.Contains(c, got.LastError, "503")
	}, waitFor, tick)
	s.Eventually("/api/clanmon/v1/fleet", `"level":"critical","kind":"agent"`)
	_, body := s.Get("/api/clanmon/v1/fleet")
	require.Contains(t, body, "Remote write to "+receiver.URL+"/api/v1/write has never succeeded")
	require.NotContains(t, body, "s3cret")
	up.Store(true)
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		got := read()
		require.Positive(c, got.Sent)
		require.NotEmpty(c, got.LastSent)
		require.Equal(c, "ok", got.State)
		require.Less(c, got.BehindSeconds, 30.0)
	}, waitFor, tick)
	_, body = s.Get("/api/clanmon/v1/fleet")
	require.NotContains(t, body, `"kind":"agent"`)
	_, metrics := s.Get("/metrics")
	require.Contains(t, metrics, `url="`+receiver.URL+`/api/v1/write"`)
	require.NotContains(t, metrics, "s3cret")

	require.NoError(t, os.WriteFile(s.Options.ConfigFile, []byte("remote_write: [{url: 'http://me:s3cret@h/?t=s3cret'}, {url: 'http://me:s3cret@h/?t=s3cret'}]"), 0o600))
	s.Reload <- struct{}{}
	s.Eventually("/metrics", "prometheus_config_last_reload_successful 0")
	log := s.Log.String()
	require.Contains(t, log, "Failed to send batch")
	require.Contains(t, log, "duplicate")
	require.NotContains(t, log, "s3cret")
}

func TestFileWinsOverRetentionFlagAndSaysSo(t *testing.T) {
	const said = "overrides the flag"
	const file = "storage: {tsdb: {retention: {time: 3d}}}"
	s := servertest.Start(t, file, func(o *server.Options) { o.RetentionSet = true })
	require.Contains(t, s.Log.String(), said)
	_, body := s.Get("/api/v1/status/runtimeinfo")
	require.Contains(t, body, `"storageRetention":"3d"`)
	s = servertest.Start(t, file, nil)
	require.NotContains(t, s.Log.String(), said, "no flag was given")
}
