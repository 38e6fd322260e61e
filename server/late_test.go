package server_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang/snappy"
	"github.com/prometheus/client_golang/exp/api/remote"
	"github.com/prometheus/prometheus/prompb"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/server"
	"github.com/clanmon/clanmon/server/servertest"
)

// What a server stores late, as a filled gap, reaches a receiver as everything else does:
// each sample once, also what the receiver could not take before a restart.
func TestReceiverGetsWhatIsStoredLate(t *testing.T) {
	const window = "storage: {tsdb: {out_of_order_time_window: 1d}}\n"
	takes := func(o *server.Options) {
		o.Web.EnableRemoteWriteReceiver, o.Web.AcceptRemoteWriteProtoMsgs = true, remote.MessageTypes{remote.WriteV1MessageType}
	}
	receiver := servertest.Start(t, window, takes)
	to, err := url.Parse(receiver.URL("/"))
	require.NoError(t, err)
	var away atomic.Bool
	forward := httputil.NewSingleHostReverseProxy(to)
	link := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if away.Load() {
			http.Error(w, "away", http.StatusServiceUnavailable)
			return
		}
		forward.ServeHTTP(w, r)
	}))
	defer link.Close()
	defer http.DefaultClient.CloseIdleConnections()

	config := fmt.Sprintf(`
global: {external_labels: {from: sender}}
remote_write:
- url: %s/api/v1/write
  queue_config: {min_backoff: 10ms, max_backoff: 100ms}
  write_relabel_configs: [{source_labels: [__name__], regex: private, action: drop}]
`, link.URL) + window
	hour := time.Now().Add(-time.Hour).Truncate(time.Minute)
	var want []string
	store := func(s *servertest.Server, from int) {
		var samples []prompb.Sample
		for i := from; i < from+100; i++ {
			samples = append(samples, prompb.Sample{Timestamp: hour.Add(time.Duration(i) * time.Second).UnixMilli(), Value: float64(i)})
			want = append(want, fmt.Sprintf(`[%d,"%d"]`, hour.Unix()+int64(i), i))
		}
		var series []prompb.TimeSeries
		for _, name := range []string{"answer", "private"} {
			series = append(series, prompb.TimeSeries{Samples: samples, Labels: []prompb.Label{
				{Name: "__name__", Value: name}, {Name: "instance", Value: "m:9100"}, {Name: "job", Value: "node"},
			}})
		}
		body, err := (&prompb.WriteRequest{Timeseries: series}).Marshal()
		require.NoError(t, err)
		r, err := http.Post(s.URL("/api/v1/write"), "application/x-protobuf", bytes.NewReader(snappy.Encode(nil, body)))
		require.NoError(t, err)
		r.Body.Close()
		require.Equal(t, http.StatusNoContent, r.StatusCode)
	}
	arrived := func() {
		t.Helper()
		require.EventuallyWithT(t, func(c *assert.CollectT) {
			_, body := receiver.Get("/api/v1/query?" + url.Values{"query": {`answer{from="sender",job="node"}[3h]`}}.Encode())
			require.Contains(c, body, `"values":[`+strings.Join(want, ",")+`]}]`)
		}, time.Minute, 50*time.Millisecond)
	}

	away.Store(true)
	sender := servertest.Start(t, config, takes)
	store(sender, 0)
	require.NoError(t, sender.Stop())
	sender = servertest.Start(t, config, func(o *server.Options) {
		takes(o)
		o.Dir = sender.Options.Dir
	})
	store(sender, 1000)
	away.Store(false)
	arrived()
	store(sender, 2000)
	arrived()
	_, body := receiver.Get("/api/v1/query?query=" + url.QueryEscape("private[3h]"))
	require.Contains(t, body, `"result":[]`)
	_, body = sender.Get("/api/clanmon/v1/remote-write")
	require.Contains(t, body, `"state":"ok"`)
}
