package redis

import (
	"bytes"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	upstream "github.com/oliver006/redis_exporter/exporter"
	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/exporter/collector/collectortest"
)

// Against no server at all; the real one is asked in e2e.
func TestDown(t *testing.T) {
	for _, addr := range []string{"redis://127.0.0.1:1", "127.0.0.1:1", "valkey://user:hunter2@127.0.0.1:1/2", "rediss://127.0.0.1:1", "unix:///none"} {
		var log bytes.Buffer
		s, err := New(Config{Addr: addr}, slog.New(slog.NewTextHandler(&log, nil)))
		require.NoError(t, err)
		families := collectortest.Gather(t, s, nil)
		require.Zero(t, families["redis_up"].Metric[0].Gauge.GetValue(), addr)
		require.NotContains(t, log.String(), "unknown network", "the reason, not upstream's second attempt")
		require.Contains(t, log.String(), "connect: ")
		last := families["redis_exporter_last_scrape_error"]
		require.Len(t, last.Metric, 1)
		require.Equal(t, 1.0, last.Metric[0].Gauge.GetValue())
		reason := last.Metric[0].Label[0].GetValue()
		require.Contains(t, reason, "connect: ")
		require.Contains(t, log.String(), strings.ReplaceAll(reason, `"`, `\"`), "the metric says what the log says")
		require.NotContains(t, log.String()+families["redis_exporter_last_scrape_error"].String(), "hunter2")
	}
	s, err := New(Config{Addr: "127.0.0.1:1"}, collectortest.Discard())
	require.NoError(t, err)
	collectortest.Check(t, s, collectortest.Expect{Prefix: "redis_", Families: []string{"redis_up"}, Upstream: true})
}

// An error in a label has nothing in it that differs at each scrape.
func TestTheReasonMakesNoNewSeries(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = c.(*net.TCPConn).SetLinger(0)
			c.Close()
		}
	}()
	s, err := New(Config{Addr: l.Addr().String()}, collectortest.Discard())
	require.NoError(t, err)
	reasons := map[string]bool{}
	for range 5 {
		reasons[collectortest.Gather(t, s, nil)["redis_exporter_last_scrape_error"].Metric[0].Label[0].GetValue()] = true
	}
	require.LessOrEqual(t, len(reasons), 3, "reset while connecting, reading or writing: %v", reasons)
}

func TestProbeTakesItsParameters(t *testing.T) {
	_, err := NewProbe(Config{}, url.Values{}, collectortest.Discard())
	require.EqualError(t, err, "'target' parameter must be specified")
	_, err = NewProbe(Config{}, url.Values{"target": {"redis://a:%zz@b"}}, collectortest.Discard())
	require.ErrorContains(t, err, "target is not an address")
	require.NotContains(t, err.Error(), "zz")
	_, err = NewProbe(Config{Options: upstream.Options{}}, url.Values{"target": {"h:1"}, "check-keys": {"db=x=y=z"}}, collectortest.Discard())
	require.Error(t, err, "upstream parses it")
}

// Upstream repeats its errors at each scrape.
func TestEachErrorOfUpstreamIsLoggedOnceAnHour(t *testing.T) {
	var log bytes.Buffer
	h := &hook{log: slog.New(slog.NewTextHandler(&log, nil)), seen: map[string]time.Time{}}
	at := time.Now()
	fire := func(level logrus.Level, text string) int {
		log.Reset()
		require.NoError(t, h.Fire(&logrus.Entry{Level: level, Message: text, Time: at}))
		return strings.Count(log.String(), "\n")
	}
	require.Equal(t, 1, fire(logrus.ErrorLevel, "a"))
	require.Zero(t, fire(logrus.ErrorLevel, "a"))
	require.Equal(t, 1, fire(logrus.WarnLevel, "b"))
	at = at.Add(again)
	require.Equal(t, 1, fire(logrus.ErrorLevel, "a"))
	require.Zero(t, fire(logrus.ErrorLevel, "Couldn't connect to redis instance (x)"), "the result says it")
	for i := range 10 * mostSeen {
		fire(logrus.ErrorLevel, strings.Repeat("x", i))
	}
	require.LessOrEqual(t, len(h.seen), mostSeen)
}
