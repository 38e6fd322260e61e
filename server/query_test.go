package server_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/golang/snappy"
	"github.com/prometheus/client_golang/exp/api/remote"
	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/server"
	"github.com/clanmon/clanmon/server/servertest"
)

// cacheTest is a server with two hours of two series, a minute apart, until a few minutes from now.
type cacheTest struct {
	*servertest.Server
	t   *testing.T
	now int64 // seconds, a whole minute to come: it does not get old enough to be cached
}

func newCacheTest(t *testing.T, change func(*server.Options)) *cacheTest {
	s := &cacheTest{t: t, now: time.Now().Unix()/60*60 + 300, Server: servertest.Start(t,
		"storage: {tsdb: {out_of_order_time_window: 30d}}", func(o *server.Options) {
			o.Web.EnableRemoteWriteReceiver = true
			o.Web.AcceptRemoteWriteProtoMsgs = remote.MessageTypes{remote.WriteV1MessageType}
			o.Web.EnableAdminAPI = true
			o.TSDB.BlockReloadInterval = time.Second
			if change != nil {
				change(o)
			}
		})}
	var samples []prompb.Sample
	for at := s.now - 7200; at <= s.now; at += 60 {
		if at != s.now-3600 { // is for a late sample
			samples = append(samples, prompb.Sample{Timestamp: at * 1000, Value: float64(at % 1000)})
		}
	}
	s.write("a", samples...)
	s.write("b", samples...)
	return s
}

func (s *cacheTest) write(name string, samples ...prompb.Sample) {
	body, err := (&prompb.WriteRequest{Timeseries: []prompb.TimeSeries{{
		Labels: []prompb.Label{{Name: "__name__", Value: name}}, Samples: samples,
	}}}).Marshal()
	require.NoError(s.t, err)
	r, err := http.Post(s.URL("/api/v1/write"), "application/x-protobuf", bytes.NewReader(snappy.Encode(nil, body)))
	require.NoError(s.t, err)
	r.Body.Close()
	require.Equal(s.t, http.StatusNoContent, r.StatusCode)
}

// same asks for the last hours of an expression with and without the cache, and says
// what the cache had.
func (s *cacheTest) same(query string, more ...string) (had string) {
	s.t.Helper()
	v := url.Values{"query": {query}, "start": {fmt.Sprint(s.now - 7200)}, "end": {fmt.Sprint(s.now)}, "step": {"60"}}
	path := "/api/v1/query_range?" + v.Encode() + strings.Join(more, "")
	before := s.counts()
	code, got := s.Get(path)
	require.Equal(s.t, http.StatusOK, code, got)
	after := s.counts()
	_, want := s.Get(path + "&nocache=1")
	require.Equal(s.t, want, got)
	for result := range after {
		if after[result] != before[result] {
			had += result
		}
	}
	return had
}

func (s *cacheTest) counts() map[string]string {
	_, text := s.Get("/metrics")
	counts := make(map[string]string)
	for line := range strings.Lines(text) {
		if result, ok := strings.CutPrefix(line, `clanmon_query_cache_queries_total{result="`); ok {
			name, count, _ := strings.Cut(result, `"} `)
			counts[name] = count
		}
	}
	return counts
}

func TestRangeResultsAreCached(t *testing.T) {
	s := newCacheTest(t, nil)
	const a, b = "sum(rate(a[5m])) + count(a)", "b"
	require.Equal(t, "miss", s.same(a))
	require.Equal(t, "partial", s.same(a))
	require.Equal(t, "miss", s.same(b))
	require.Equal(t, "partial", s.same(b))

	// New samples of now do not matter to what is kept.
	s.write("a", prompb.Sample{Timestamp: s.now*1000 + 1, Value: 7})
	require.Equal(t, "partial", s.same(a))

	// A late one changes the results that it is in, and those only.
	s.write("a", prompb.Sample{Timestamp: (s.now - 3600) * 1000, Value: 4711})
	require.Equal(t, "partial", s.same(a), "what is older stays")
	require.Equal(t, "partial", s.same(b))
	s.write("b", prompb.Sample{Timestamp: (s.now - 7200 - 60) * 1000, Value: 4711})
	require.Equal(t, "miss", s.same(b))
	require.Equal(t, "partial", s.same(a))

	// The same for what is deleted.
	code, body := s.Do(http.MethodPost, "/api/v1/admin/tsdb/delete_series?match[]=b")
	require.Equal(t, http.StatusNoContent, code, body)
	require.Equal(t, "miss", s.same(b))
	require.Equal(t, "miss", s.same(a))

	// What cannot be put together or tells of the evaluation is not cached.
	for _, query := range []string{"a @ end()", "a @ start()", "topk(1, a + 0)", "time()"} {
		require.Equal(t, "bypass", s.same(query), query)
	}
	code, body = s.Get(fmt.Sprintf("/api/v1/query_range?query=a&start=%d&end=%d&step=60&stats=all", s.now-7200, s.now))
	require.Equal(t, http.StatusOK, code)
	require.Contains(t, body, "totalQueryableSamples")

	// A block that somebody puts into the directory is found.
	require.Equal(t, "miss", s.same("old"))
	dir := t.TempDir()
	id := writeBlock(t, dir, labels.FromStrings("__name__", "old"), (s.now-7000)*1000)
	require.NoError(t, os.Rename(dir+"/"+id, s.Options.Dir+"/"+id))
	require.Eventually(t, func() bool {
		_, body := s.Get(fmt.Sprintf("/api/v1/query_range?query=old&start=%d&end=%d&step=60", s.now-7200, s.now))
		return strings.Contains(body, `"old"`)
	}, time.Minute, 50*time.Millisecond)
	s.same("old")

	// Nobody tells of changes elsewhere.
	require.Eventually(t, func() bool { return s.same(a) == "partial" }, time.Minute, 50*time.Millisecond, "the head is truncated after the block was found")
	require.NoError(t, os.WriteFile(s.Options.ConfigFile, []byte("remote_read: [{url: 'http://127.0.0.1:1/read', read_recent: false}]"), 0o600))
	s.Reload <- struct{}{}
	require.Eventually(t, func() bool { // or the two answers that same compares could be of before and after
		return strings.Count(s.Log.String(), "Completed loading of configuration file") == 2
	}, time.Minute, 5*time.Millisecond)
	require.Equal(t, "bypass", s.same(a))
}

func writeBlock(t *testing.T, dir string, ls labels.Labels, at int64) (id string) {
	t.Helper()
	w, err := tsdb.NewBlockWriter(promslog.NewNopLogger(), dir, tsdb.DefaultBlockDuration)
	require.NoError(t, err)
	app := w.Appender(t.Context())
	_, err = app.Append(0, ls, at, 1)
	require.NoError(t, err)
	require.NoError(t, app.Commit())
	u, err := w.Flush(t.Context())
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return u.String()
}

func TestNoCacheOfResults(t *testing.T) {
	s := newCacheTest(t, func(o *server.Options) { o.Query.ResultCacheSize = 0 })
	for range 2 {
		require.Empty(t, s.same("a"), "not even metrics")
	}
}

// A query log has every query as it was asked, so none is answered from the cache.
func TestQueryLogHasEveryQuery(t *testing.T) {
	s := newCacheTest(t, nil)
	file := filepath.Join(t.TempDir(), "queries.log")
	require.NoError(t, os.WriteFile(s.Options.ConfigFile, []byte("global: {query_log_file: "+file+"}\nstorage: {tsdb: {out_of_order_time_window: 30d}}\n"), 0o600))
	require.NotEqual(t, "", s.same("a"))
	s.Reload <- struct{}{}
	s.Eventually("/api/v1/status/config", "query_log_file")
	require.Eventually(t, func() bool { // the file is opened by the engine's part of the reload
		_, err := os.Stat(file)
		return err == nil
	}, time.Minute, 5*time.Millisecond)
	for range 3 {
		s.same("a")
	}
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, 6, strings.Count(string(text), `"query":"a"`), "%s", text)
}

// The query log has what users and rules ask, and not what this server asks itself.
func TestOwnQueriesAreNotInTheQueryLog(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "queries.log")
	s := servertest.Start(t, fmt.Sprintf("global: {scrape_interval: 1s, query_log_file: %q}\nscrape_configs: [{job_name: node, static_configs: [{targets: [%q], labels: {machine: m}}]}]\n", file, newExporter(t, "node_uname_info 1\n").address),
		func(o *server.Options) { o.Rules.Builtin = "off" })
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		_, text := s.Get("/api/clanmon/v1/machines")
		assert.Contains(c, text, `"health":"up"`)
	}, waitFor, tick)
	for _, path := range []string{"fleet", "capacity", "capacity?machine=m", "jobs", "checks"} {
		code, text := s.Get("/api/clanmon/v1/" + path)
		require.Equal(t, http.StatusOK, code, text)
	}
	code, _ := s.Get("/api/v1/query?query=" + url.QueryEscape(`vector(42)`))
	require.Equal(t, http.StatusOK, code)
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, 1, bytes.Count(text, []byte("\n")), "%s", text)
	require.Contains(t, string(text), "vector(42)")
}
