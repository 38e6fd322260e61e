package resend

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/golang/snappy"
	remoteapi "github.com/prometheus/client_golang/exp/api/remote"
	commonconfig "github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// receiving is a receiver of remote write that takes samples in order only, as engines do.
type receiving struct {
	*httptest.Server
	whole, v2, silent bool // refuses all of a message of 1.0; knows 2.0; responds without headers
	forbidden         int  // as many requests are not allowed

	mu       sync.Mutex
	newest   map[string]int64
	got      map[string][]int64
	requests int
}

func newReceiving(t *testing.T) *receiving {
	r := &receiving{newest: make(map[string]int64), got: make(map[string][]int64)}
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Close)
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	return r
}

func (x *receiving) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	x.mu.Lock()
	defer x.mu.Unlock()
	w.Header().Set("Connection", "close")
	x.requests++
	raw, _ := io.ReadAll(req.Body)
	body, _ := snappy.Decode(nil, raw)
	if x.requests <= x.forbidden {
		http.Error(w, "who are you?", http.StatusUnauthorized)
		return
	}
	var series []prompb.TimeSeries
	second := req.Header.Get("X-Prometheus-Remote-Write-Version") != "0.1.0"
	if second && !x.v2 {
		if !x.silent {
			http.Error(w, "unknown message", http.StatusUnsupportedMediaType)
		}
		return
	}
	if second {
		var m writev2.Request
		_ = m.Unmarshal(body)
		var b labels.ScratchBuilder
		for _, s := range m.Timeseries {
			ls, _ := s.ToLabels(&b, m.Symbols)
			one := prompb.TimeSeries{Labels: prompb.FromLabels(ls, nil)}
			for _, p := range s.Samples {
				one.Samples = append(one.Samples, prompb.Sample{Value: p.Value, Timestamp: p.Timestamp})
			}
			series = append(series, one)
		}
	} else {
		var m prompb.WriteRequest
		_ = m.Unmarshal(body)
		series = m.Timeseries
	}
	taken, refused := 0, 0
	newest, got := make(map[string]int64), make(map[string][]int64)
	for _, s := range series {
		name := s.Labels[0].Value
		if newest[name] == 0 {
			newest[name] = x.newest[name]
		}
		for _, p := range s.Samples {
			if p.Timestamp < newest[name] {
				refused++
				continue
			}
			taken++
			if p.Timestamp > newest[name] {
				newest[name] = p.Timestamp
				got[name] = append(got[name], p.Timestamp)
			}
		}
	}
	if refused == 0 || second || !x.whole {
		for name := range newest {
			x.newest[name] = newest[name]
			x.got[name] = append(x.got[name], got[name]...)
		}
	}
	if second {
		w.Header().Set("X-Prometheus-Remote-Write-Samples-Written", fmt.Sprint(taken))
	}
	if refused > 0 {
		http.Error(w, "out of order sample", http.StatusBadRequest)
	}
}

func (x *receiving) config(t *testing.T) *config.RemoteWriteConfig {
	c := config.DefaultRemoteWriteConfig
	u, err := url.Parse(x.URL)
	require.NoError(t, err)
	c.URL = &commonconfig.URL{URL: u}
	c.QueueConfig.MinBackoff, c.QueueConfig.MaxBackoff = 1e6, 5e6
	return &c
}

func testBatch(t *testing.T, series, from, to int) batch {
	var all []prompb.TimeSeries
	for i := range series {
		s := prompb.TimeSeries{Labels: []prompb.Label{{Name: "__name__", Value: fmt.Sprintf("s%d", i)}}}
		for at := from; at <= to; at++ {
			s.Samples = append(s.Samples, prompb.Sample{Timestamp: int64(at)})
		}
		all = append(all, s)
	}
	b, err := newBatch(all)
	require.NoError(t, err)
	return b
}

// What a receiver already has does not keep it from the rest, whichever way it refuses.
func TestRefusedSamplesDoNotTakeOthersWithThem(t *testing.T) {
	for _, c := range []struct {
		name   string
		set    func(*receiving)
		atMost int // requests for one batch with refused samples
	}{
		{"takes the rest of a message of version 2.0", func(r *receiving) { r.whole, r.v2 = true, true }, 2},
		{"knows 1.0 only and refuses whole messages", func(r *receiving) { r.whole = true }, 500},
		{"ignores what it does not understand", func(r *receiving) { r.whole, r.silent = true, true }, 500},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := newReceiving(t)
			c.set(x)
			s, err := newSender(&receiver{name: "n", url: x.URL, config: x.config(t)}, slog.New(slog.DiscardHandler))
			require.NoError(t, err)
			note := func(error) {}
			taken, refused, err := s.deliver(t.Context(), testBatch(t, 10, 1, 5), note)
			require.NoError(t, err)
			require.Equal(t, []int{50, 0}, []int{taken, refused})
			x.requests = 0
			taken, refused, err = s.deliver(t.Context(), testBatch(t, 10, 3, 8), note)
			require.NoError(t, err)
			require.LessOrEqual(t, x.requests, c.atMost)
			require.Equal(t, 60, taken+refused)
			require.Positive(t, refused)
			for i := range 10 {
				require.Equal(t, []int64{1, 2, 3, 4, 5, 6, 7, 8}, x.got[fmt.Sprintf("s%d", i)])
			}
		})
	}
}

// A receiver that says nothing about the samples is waited for.
func TestAnErrorThatIsNotAboutSamplesLosesNone(t *testing.T) {
	x := newReceiving(t)
	x.forbidden = 3
	s, err := newSender(&receiver{name: "n", url: x.URL, config: x.config(t)}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	taken, refused, err := s.deliver(t.Context(), testBatch(t, 2, 1, 5), func(error) {})
	require.NoError(t, err)
	require.Equal(t, []int{10, 0}, []int{taken, refused})
	require.Equal(t, 4, x.requests)
}

// VictoriaMetrics and Thanos respond to version 2.0 with 2xx and keep nothing.
func TestASilentReceiverIsAFailure(t *testing.T) {
	x := newReceiving(t)
	x.silent = true
	c := x.config(t)
	c.ProtobufMessage = remoteapi.WriteV2MessageType
	s, err := newSender(&receiver{name: "n", url: x.URL, config: c}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	_, _, err = s.deliver(ctx, testBatch(t, 1, 1, 5), func(err error) {
		require.ErrorIs(t, err, errUnacknowledged)
		cancel()
	})
	require.ErrorIs(t, err, context.Canceled)
}

// The position is never ahead of what has arrived.
func TestPositionFollowsWhatArrives(t *testing.T) {
	start := time.UnixMilli(1_000_000_000)
	r := &receiver{name: "q", live: true, position: start.UnixMilli()}
	m := Metrics{}
	set := func(metric string, v float64) { m[metric] = map[string]float64{"q": v} }
	set("shards", 1)
	set("max_samples_per_send", 2000)
	at := start
	look := func(begun, pending float64) int64 {
		at = at.Add(5 * time.Second)
		set("samples_total", begun)
		set("samples_pending", pending)
		set("queue_highest_timestamp_seconds", float64(at.Unix()))
		r.look(at, m, time.Second)
		return r.position - start.UnixMilli()
	}
	require.Zero(t, look(100, 50), "some are under way")
	require.Equal(t, int64(4000), look(150, 0), "these have arrived")
	require.Equal(t, int64(9000), look(200, 0))
	for n := range 50 { // away: the same are tried again and again
		set("samples_retried_total", float64(n*100))
		set("enqueue_retries_total", float64(n))
		require.LessOrEqual(t, look(300+float64(n*100), 10000), int64(14000))
	}
	held := r.position
	require.Equal(t, held, r.position)
	set("samples_retried_total", 5000)
	look(5300+10000, 0)
	require.LessOrEqual(t, r.position, at.Add(-5*time.Second).UnixMilli())
	look(5300+10000, 0)
	look(5300+10000, 0)
	require.Greater(t, r.position, held)

	held = r.position
	for n := 1; n < 5; n++ { // everything is refused
		set("samples_failed_total", float64(n*100))
		look(15300+float64(n*100), 0)
	}
	require.True(t, r.rejecting)
	require.Equal(t, held, r.position)
	look(15300+400+50, 0)
	look(15300+400+100, 0)
	require.False(t, r.rejecting)
	require.Greater(t, r.position, held)
}

func TestPositionsAreKeptAndForgotten(t *testing.T) {
	file := filepath.Join(t.TempDir(), "positions.json")
	none := sourceFunc(func() error { return nil })
	open := func() *Manager {
		return New(Options{
			File: file, SetAside: func(file, _, _ string, _ error) error { return os.Rename(file, file+".aside") }, Source: none, Apply: func(*config.Config) error { return nil },
			Metrics: func() (Metrics, error) { return nil, errors.New("none") }, Address: func(s string) string { return s },
			Reads: func(string) float64 { return 0 }, Failed: func(string, error) {}, Logger: slog.New(slog.DiscardHandler),
		})
	}
	x := newReceiving(t)
	one, two := x.config(t), x.config(t)
	one.Name, two.Name = "one", "two"
	m := open()
	require.NoError(t, m.Apply(&config.Config{RemoteWriteConfigs: []*config.RemoteWriteConfig{one, two}}, false))
	first := m.Status()
	require.False(t, first[0].CatchingUp, "a new receiver gets what is new")
	m.Stop()
	m = open()
	require.NoError(t, m.Apply(&config.Config{RemoteWriteConfigs: []*config.RemoteWriteConfig{two}}, false))
	require.Equal(t, first[1].Position, m.Status()[0].Position)
	require.Len(t, m.positions, 1)
	m.Stop()

	require.NoError(t, os.WriteFile(file, []byte("{"), 0o600))
	open().Stop()
	require.FileExists(t, file+".aside")
}

// What is so new that more of it may be stored is sent in parts if it is too much at a time.
func TestTooManyNewSamples(t *testing.T) {
	x := newReceiving(t)
	now := time.Now().Truncate(time.Second)
	src := &crowded{}
	for at := -50; at < 0; at++ {
		src.times = append(src.times, now.Add(time.Duration(at)*time.Second).UnixMilli())
	}
	var m *Manager
	reads := 0.0
	m = New(Options{
		File: filepath.Join(t.TempDir(), "positions.json"), Source: src,
		Apply: func(c *config.Config) error {
			if len(c.RemoteWriteConfigs) > 0 { // promoted: nothing is late any more
				m.mu.Lock()
				m.lateness = 0
				m.mu.Unlock()
			}
			return nil
		},
		Metrics: func() (Metrics, error) { return nil, errors.New("none") }, Address: func(s string) string { return s },
		Reads: func(string) float64 { reads++; return reads }, Failed: func(string, error) {}, Logger: slog.New(slog.DiscardHandler),
	})
	defer m.Stop()
	c := x.config(t)
	c.Name = "one"
	m.positions[identify(c.Name, x.URL)] = now.Add(-55 * time.Second).UnixMilli()
	cfg := &config.Config{RemoteWriteConfigs: []*config.RemoteWriteConfig{c}}
	cfg.GlobalConfig.ScrapeTimeout = model.Duration(10 * time.Minute)
	require.NoError(t, m.Apply(cfg, false))
	require.Eventually(t, func() bool { return m.Status()[0].Position.After(now.Add(-time.Second)) }, time.Minute, 10*time.Millisecond)
	require.False(t, m.Status()[0].CatchingUp)
	x.mu.Lock()
	defer x.mu.Unlock()
	require.Equal(t, map[string][]int64{"a": src.times, "b": src.times}, x.got)
	require.Zero(t, m.Status()[0].Refused)
	require.EqualValues(t, 100, m.Status()[0].Resent, "each of them once")
}

// crowded has two series with too many samples for more than shortSpan at a time.
type crowded struct{ times []int64 }

func (c *crowded) Read(_ context.Context, _ Target, mint, maxt int64, each func(labels.Labels, []Sample) error) error {
	for _, name := range []string{"a", "b"} {
		var all []Sample
		for _, at := range c.times {
			if at >= mint && at <= maxt {
				all = append(all, Sample{T: at})
			}
		}
		if err := each(labels.FromStrings("__name__", name), all); err != nil {
			return err
		}
		if TooMany(maxSamples+1, mint, maxt) {
			return ErrMany
		}
	}
	return nil
}

type sourceFunc func() error

func (s sourceFunc) Read(context.Context, Target, int64, int64, func(labels.Labels, []Sample) error) error {
	return s()
}
