package push

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gogo/protobuf/proto"
	"github.com/golang/snappy"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/internal/history"
	"github.com/clanmon/clanmon/server/internal/caller"
)

// fixture is a Push and the store behind it.
type fixture struct {
	*Push
	aside   func(file, what, lost string, why error) error
	t       *testing.T
	db      *tsdb.DB
	dir     string
	mu      sync.Mutex
	targets map[Target]bool
	header  http.Header // of requests
}

// scraped sets what the server scrapes.
func (f *fixture) scraped(all map[Target]bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.targets = all
}

func newFixture(t *testing.T, limit uint) *fixture {
	o := tsdb.DefaultOptions()
	o.OutOfOrderTimeWindow = (2 * time.Hour).Milliseconds()
	db, err := tsdb.Open(t.TempDir(), promslog.NewNopLogger(), nil, o, nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	f := &fixture{t: t, db: db, dir: t.TempDir(), aside: func(file, _, _ string, _ error) error { return os.Rename(file, file+".aside") }}
	f.restart(limit)
	return f
}

// restart is a server that knows what is on the disk.
func (f *fixture) restart(limit uint) {
	f.Push = New(Options{
		Appendable: f.db, Store: f.db, Scraped: func() map[Target]bool {
			f.mu.Lock()
			defer f.mu.Unlock()
			return f.targets
		}, Reserved: []string{"clanmon"},
		Availability: "intermittent", MaxSeries: limit, Dir: f.dir,
		SetAside:   f.aside,
		Registerer: prometheus.NewRegistry(), Logger: promslog.NewNopLogger(),
	})
}

// series are label pairs and a sample each.
type series struct {
	labels []string
	t      time.Time
	v      float64
}

// send pushes as machine, by remote write 1 or 2.
func (f *fixture) send(version int, machine string, all ...series) *httptest.ResponseRecorder {
	f.t.Helper()
	var body []byte
	var err error
	contentType := "application/x-protobuf"
	if version == 1 {
		var req prompb.WriteRequest
		for _, s := range all {
			ts := prompb.TimeSeries{Samples: []prompb.Sample{{Value: s.v, Timestamp: s.t.UnixMilli()}}}
			for i := 0; i < len(s.labels); i += 2 {
				ts.Labels = append(ts.Labels, prompb.Label{Name: s.labels[i], Value: s.labels[i+1]})
			}
			req.Timeseries = append(req.Timeseries, ts)
		}
		body, err = proto.Marshal(&req)
	} else {
		contentType += ";proto=io.prometheus.write.v2.Request"
		symbols := writev2.NewSymbolTable()
		var req writev2.Request
		for _, s := range all {
			req.Timeseries = append(req.Timeseries, writev2.TimeSeries{
				LabelsRefs: symbols.SymbolizeLabels(labels.FromStrings(s.labels...), nil),
				Samples:    []writev2.Sample{{Value: s.v, Timestamp: s.t.UnixMilli()}},
			})
		}
		req.Symbols = symbols.Symbols()
		body, err = proto.Marshal(&req)
	}
	require.NoError(f.t, err)
	r := httptest.NewRequest(http.MethodPost, "/api/v1/push", bytes.NewReader(snappy.Encode(nil, body)))
	r.Header.Set("Content-Type", contentType)
	r.Header.Set("Content-Encoding", "snappy")
	maps.Copy(r.Header, f.header)
	r = r.WithContext(caller.With(r.Context(), caller.Caller{Machine: machine}))
	w := httptest.NewRecorder()
	f.Handler().ServeHTTP(w, r)
	return w
}

// stored are the samples of a metric: values by labels.
func (f *fixture) stored(metric string) map[string][]float64 {
	f.t.Helper()
	q, err := f.db.Querier(math.MinInt64, math.MaxInt64)
	require.NoError(f.t, err)
	defer q.Close()
	found := make(map[string][]float64)
	set := q.Select(context.Background(), true, nil, labels.MustNewMatcher(labels.MatchEqual, "__name__", metric))
	for set.Next() {
		it := set.At().Iterator(nil)
		for it.Next() == chunkenc.ValFloat {
			_, v := it.At()
			found[set.At().Labels().String()] = append(found[set.At().Labels().String()], v)
		}
	}
	require.NoError(f.t, set.Err())
	return found
}

func load(t time.Time, v float64, more ...string) series {
	return series{append([]string{"__name__", "node_load1"}, more...), t, v}
}

// The server says which machine, and which instance, samples are of.
func TestLabelsAreOfTheProof(t *testing.T) {
	for _, version := range []int{1, 2} {
		t.Run(fmt.Sprint(version), func(t *testing.T) {
			f := newFixture(t, 0)
			now := time.Now()
			w := f.send(version, "laptop",
				load(now, 1, "instance", "web1:9100", "job", "node"),
				load(now, 2, "job", "node", "machine", "laptop", "availability", "always"),
				load(now, 3, "instance", "nowhere"),
				series{[]string{"__name__", "up", "instance", "web1:9100", "job", "node"}, now, 0},
			)
			require.Equal(t, http.StatusNoContent, w.Code, w.Body)
			require.Equal(t, map[string][]float64{
				`{__name__="node_load1", availability="intermittent", instance="laptop:9100", job="node", machine="laptop"}`: {1},
				`{__name__="node_load1", availability="intermittent", instance="laptop", job="node", machine="laptop"}`:      {2},
				`{__name__="node_load1", availability="intermittent", instance="laptop", job="push", machine="laptop"}`:      {3},
			}, f.stored("node_load1"))
			require.Empty(t, f.stored("up"), "which the server writes")
		})
	}
}

// What is refused is refused for good: the sender does not try again, and is told why.
func TestRefused(t *testing.T) {
	now := time.Now()
	for name, c := range map[string]struct {
		machine string
		series  series
		code    int
		says    string
	}{
		"nobody":               {"", load(now, 1), http.StatusUnauthorized, "a token of the role machine"},
		"another's name":       {"laptop", load(now, 1, "machine", "web1"), http.StatusBadRequest, `machine="web1", but this is laptop`},
		"a job of this server": {"laptop", load(now, 1, "job", "clanmon"), http.StatusBadRequest, `job="clanmon"`},
		"the future":           {"laptop", load(now.Add(time.Hour), 1), http.StatusBadRequest, "The clock of laptop seems to be ahead. The time of this server is "},
	} {
		for _, version := range []int{1, 2} {
			t.Run(fmt.Sprint(name, version), func(t *testing.T) {
				f := newFixture(t, 0)
				w := f.send(version, c.machine, load(now, 7, "job", "node"), c.series)
				require.Equal(t, c.code, w.Code, w.Body)
				require.Contains(t, w.Body.String(), c.says)
				if name != "the future" { // the rest of which is stored with 2.0
					require.Empty(t, f.stored("node_load1"), "nothing of it is stored")
				}
			})
		}
	}
	f := newFixture(t, 0)
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodGet, "/api/v1/push", nil)
	f.Handler().ServeHTTP(w, r.WithContext(caller.With(r.Context(), caller.Caller{Machine: "laptop"})))
	require.Equal(t, http.StatusMethodNotAllowed, w.Code)
}

// What comes late is stored as far as possible, and the rest does not hold up its batch.
func TestLateSamples(t *testing.T) {
	for _, version := range []int{1, 2} {
		t.Run(fmt.Sprint(version), func(t *testing.T) {
			f := newFixture(t, 0)
			now := time.Now()
			require.Equal(t, http.StatusNoContent, f.send(version, "laptop", load(now, 5)).Code)
			w := f.send(version, "laptop", load(now.Add(-time.Hour), 4), load(now.Add(-3*time.Hour), 1), load(now, 9), load(now, 5))
			require.Equal(t, http.StatusNoContent, w.Code, w.Body)
			require.Equal(t, [][]float64{{4, 5}}, values(f.stored("node_load1")))
			require.Equal(t, 1.0, count(f.dropped.WithLabelValues("laptop", reasonTooOld)))
			require.Equal(t, 1.0, count(f.dropped.WithLabelValues("laptop", reasonDuplicate)))
			require.GreaterOrEqual(t, count(f.samples.WithLabelValues("laptop")), 2.0)
		})
	}
}

func values(m map[string][]float64) (all [][]float64) {
	for _, v := range m {
		all = append(all, v)
	}
	return all
}

func TestWhatIsScrapedIsIgnored(t *testing.T) {
	f := newFixture(t, 0)
	f.targets = map[Target]bool{{"laptop", "node"}: true}
	now := time.Now()
	require.Equal(t, http.StatusNoContent, f.send(2, "laptop", load(now, 1, "job", "node"), load(now, 2, "job", "nginx")).Code)
	require.Equal(t, [][]float64{{2}}, values(f.stored("node_load1")))
	require.Equal(t, 1.0, count(f.dropped.WithLabelValues("laptop", reasonScraped)))
	require.Zero(t, f.Heard("laptop", "node", "laptop"))
	require.NotZero(t, f.Heard("laptop", "nginx", "laptop"))
}

// A target of discovery that does not respond, such as that of a laptop elsewhere, is no reason
// to lose what the machine pushes.
func TestWhatDoesNotRespondIsPushed(t *testing.T) {
	f := newFixture(t, 0)
	f.targets = map[Target]bool{{"laptop", "node"}: false}
	now := time.Now()
	require.Equal(t, http.StatusNoContent, f.send(2, "laptop", load(now, 1, "job", "node")).Code)
	require.Equal(t, [][]float64{{1}}, values(f.stored("node_load1")))
	f.store(t.Context(), now)
	require.Empty(t, f.stored("up"), "which is that of the scrape")
	require.NotZero(t, f.Heard("laptop", "node", "laptop"))
	f.targets = nil
	f.store(t.Context(), now.Add(time.Second))
	require.Equal(t, [][]float64{{1}}, values(f.stored("up")))
}

func TestSeriesOfAMachineAreLimited(t *testing.T) {
	f := newFixture(t, 10)
	at := time.Now()
	batch := func(machine string, from, to int) *httptest.ResponseRecorder {
		var all []series
		for i := from; i < to; i++ {
			all = append(all, load(at, 1, "i", fmt.Sprint(i)))
		}
		at = at.Add(time.Millisecond)
		return f.send(2, machine, all...)
	}
	w := batch("laptop", 0, 11)
	require.Equal(t, http.StatusBadRequest, w.Code)
	require.Contains(t, w.Body.String(), "laptop has 11 series, and --push.series-limit is 10")
	for range 9 { // the same series may come as often as they like
		require.Equal(t, http.StatusNoContent, batch("laptop", 0, 9).Code)
	}
	refused := false
	for i := 0; i < 10 && !refused; i++ { // new ones may not
		refused = batch("laptop", 10+5*i, 15+5*i).Code == http.StatusBadRequest
	}
	require.True(t, refused)
	require.LessOrEqual(t, len(f.stored("node_load1")), 30)
	require.Equal(t, http.StatusNoContent, batch("web1", 0, 9).Code, "another machine has its own")

	app := f.db.Appender(t.Context()) // what rules recorded, and a check of a site
	for i := range 20 {
		_, err := app.Append(0, labels.FromStrings("__name__", "unit:failed", "machine", "nas", "name", fmt.Sprint(i)), at.UnixMilli(), 1)
		require.NoError(t, err)
		_, err = app.Append(0, labels.FromStrings("__name__", "probe_success", "machine", "nas", "job", "blackbox", "instance", fmt.Sprint(i)), at.UnixMilli(), 1)
		require.NoError(t, err)
	}
	require.NoError(t, app.Commit())
	require.Equal(t, http.StatusNoContent, batch("nas", 0, 9).Code, "these are not the machine's")
}

// up is what the server heard: it follows the pace of the machine and is not invented for a time
// in which nobody listened.
func TestUpIsWhatWasHeard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, 0)
		ctx, cancel := context.WithCancel(t.Context())
		run := func() { require.NoError(t, f.Run(ctx)) }
		go run()
		const name = `{__name__="up", availability="intermittent", instance="laptop:9100", job="node", machine="laptop"}`
		for range 3 { // every minute
			require.Equal(t, http.StatusNoContent, f.send(2, "laptop", load(time.Now(), 1, "instance", "l:9100", "job", "node")).Code)
			time.Sleep(time.Minute)
		}
		up := f.stored("up")[name]
		require.NotEmpty(t, up)
		require.NotContains(t, up, 0.0)
		require.Equal(t, 1, f.count(time.Now()))

		time.Sleep(4 * time.Minute)
		up = f.stored("up")[name]
		require.Equal(t, 0.0, up[len(up)-1])
		require.Zero(t, f.count(time.Now()))

		// The backlog comes first, then what is now.
		require.Equal(t, http.StatusNoContent, f.send(2, "laptop", load(time.Now().Add(-3*time.Minute), 1, "instance", "l:9100", "job", "node")).Code)
		time.Sleep(upEvery + time.Second)
		up = f.stored("up")[name]
		require.Equal(t, 1.0, up[len(up)-1])

		// The server scrapes it: its own up ends, once.
		f.scraped(map[Target]bool{{"laptop", "node"}: true})
		before := len(up)
		time.Sleep(3 * upEvery)
		up = f.stored("up")[name]
		require.Len(t, up, before+1)
		require.True(t, value.IsStaleNaN(up[before]))
		f.scraped(nil)

		// The server is away for an hour.
		cancel()
		synctest.Wait()
		time.Sleep(time.Hour)
		before = len(f.stored("up")[name])
		f.restart(0)
		ctx, cancel = context.WithCancel(t.Context())
		defer func() { cancel(); synctest.Wait() }()
		go run()
		time.Sleep(upEvery + time.Second)
		require.Len(t, f.stored("up")[name], before, "it is not known yet")
		time.Sleep(20 * time.Minute)
		up = f.stored("up")[name]
		require.Greater(t, len(up), before)
		require.Equal(t, 0.0, up[len(up)-1])

		f.Forget("laptop", "node", "laptop:9100")
		time.Sleep(upEvery + time.Second)
		up = f.stored("up")[name]
		require.True(t, value.IsStaleNaN(up[len(up)-1]))
	})
}

func TestADamagedListIsSetAside(t *testing.T) {
	f := newFixture(t, 0)
	file := filepath.Join(f.dir, heardFile)
	require.NoError(t, os.WriteFile(file, []byte(`[{"machine"`), 0o600))
	f.restart(0)
	require.FileExists(t, file+".aside")
	require.Equal(t, http.StatusNoContent, f.send(2, "laptop", load(time.Now(), 1)).Code)
	f.save()
	require.FileExists(t, file)

	require.NoError(t, os.WriteFile(file, []byte("damaged"), 0o600))
	f.aside = func(string, string, string, error) error { return os.ErrPermission }
	f.restart(0)
	require.Equal(t, http.StatusNoContent, f.send(2, "laptop", load(time.Now(), 1)).Code)
	f.save()
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, "damaged", string(text), "it could not be set aside")
}

// A list that the disk refuses is saved later, also if nobody pushes until then.
func TestAListIsSavedLater(t *testing.T) {
	f := newFixture(t, 0)
	f.dir = filepath.Join(f.dir, "data")
	f.restart(0)
	require.Equal(t, http.StatusNoContent, f.send(2, "laptop", load(time.Now(), 1)).Code)
	f.save()
	require.NoError(t, os.Mkdir(f.dir, 0o700))
	f.save()
	require.FileExists(t, filepath.Join(f.dir, heardFile))
}

func TestABodyThatIsTooLarge(t *testing.T) {
	f := newFixture(t, 0)
	r := httptest.NewRequest(http.MethodPost, "/api/v1/push", bytes.NewReader(make([]byte, maxBody+1)))
	r.Header.Set("Content-Type", "application/x-protobuf")
	r.Header.Set("Content-Encoding", "snappy")
	w := httptest.NewRecorder()
	f.Handler().ServeHTTP(w, r.WithContext(caller.With(r.Context(), caller.Caller{Machine: "laptop"})))
	require.GreaterOrEqual(t, w.Code, 400)
	require.Less(t, w.Code, 500, "or it would be sent again")
}

// Too many at the same time are asked to come back.
func TestManyAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, 0)
		for range atOnce {
			f.turns <- struct{}{}
		}
		w := f.send(2, "laptop", load(time.Now(), 1))
		require.Equal(t, http.StatusTooManyRequests, w.Code)
		require.Equal(t, retryAfter, w.Header().Get("Retry-After"))
		<-f.turns
		require.Equal(t, http.StatusNoContent, f.send(2, "laptop", load(time.Now(), 1)).Code)
	})
}

// What is new does not wait until the backlogs of all machines are stored.
func TestBacklogsLeaveATurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, 0)
		f.header = http.Header{history.BacklogHeader: {"1"}}
		for range backlogs {
			f.backlog <- struct{}{}
			f.turns <- struct{}{}
		}
		require.Equal(t, http.StatusTooManyRequests, f.send(2, "laptop", load(time.Now(), 1)).Code)
		f.header = nil
		require.Equal(t, http.StatusNoContent, f.send(2, "web1", load(time.Now(), 1)).Code)
	})
}

func TestMachineOfACertificate(t *testing.T) {
	for want, c := range map[string]x509.Certificate{
		"web1":  {DNSNames: []string{"web1.clan", "web1"}, Subject: pkix.Name{CommonName: "clanmon"}},
		"web2":  {DNSNames: []string{"web2.clan"}},
		"alice": {Subject: pkix.Name{CommonName: "alice"}},
		"":      {DNSNames: []string{"*"}},
	} {
		r := httptest.NewRequest(http.MethodPost, "/", nil)
		r.TLS = &tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{&c}}}
		machine, _ := proven(r)
		require.Equal(t, want, machine)
	}
	r := httptest.NewRequest(http.MethodPost, "/", nil)
	r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{{DNSNames: []string{"web1"}}}}
	machine, why := proven(r)
	require.Empty(t, machine, "nobody has verified it")
	require.NotEmpty(t, why)
}

// count is the value of a counter.
func count(c prometheus.Counter) float64 { return testutil.ToFloat64(c) }

// A machine learns how much of it is stored, also from a server that was killed, so that it can send
// again what a backup lacks.
func TestWhatIsStoredIsSaid(t *testing.T) {
	f := newFixture(t, 0)
	now := time.Now().Truncate(time.Millisecond)
	newest := func(machine string, at time.Time) string {
		t.Helper()
		w := f.send(2, machine, series{[]string{"__name__", "x", "job", "node"}, at, 1})
		require.Equal(t, http.StatusNoContent, w.Code, w.Body)
		return w.Header().Get(history.NewestHeader)
	}
	ms := func(at time.Time) string { return fmt.Sprint(at.UnixMilli()) }
	require.Equal(t, "0", newest("m1", now))
	require.Equal(t, ms(now), newest("m1", now.Add(time.Minute)))
	require.Equal(t, ms(now.Add(time.Minute)), newest("m1", now.Add(-time.Minute)), "of the backlog")
	require.Equal(t, "0", newest("m2", now))
	f.save()
	newest("m1", now.Add(2*time.Minute))
	f.restart(0) // with a file that is older than the store
	app := f.db.Appender(t.Context())
	_, err := app.Append(0, labels.FromStrings("__name__", "recorded", "machine", "m1", "job", "node"), now.Add(4*time.Minute).UnixMilli(), 1)
	require.NoError(t, err)
	require.NoError(t, app.Commit())
	require.Equal(t, ms(now.Add(2*time.Minute)), newest("m1", now.Add(3*time.Minute)))
	require.Equal(t, ms(now.Add(3*time.Minute)), newest("m1", now.Add(4*time.Minute)))
	f.targets = map[Target]bool{{"m1", "node"}: true}
	f.scrapedTill = time.Time{}
	require.Empty(t, newest("m1", now.Add(5*time.Minute)), "what is left out is not missing")
}

// What was scraped is not asked for again when the scrapes end, also by a server that restarts then.
// What was ignored after the last scrape is.
func TestWhatWasScrapedIsNotSentAgain(t *testing.T) {
	for _, pushedBefore := range []bool{true, false} {
		for _, restart := range []bool{true, false} {
			t.Run(fmt.Sprint("pushed before ", pushedBefore, ", restart ", restart), func(t *testing.T) {
				f := newFixture(t, 0)
				start := time.Now().Add(-time.Hour).Truncate(time.Millisecond)
				at := func(minutes int) time.Time { return start.Add(time.Duration(minutes) * time.Minute) }
				push := func(minutes int) string {
					t.Helper()
					w := f.send(2, "m1", load(at(minutes), 1, "job", "node", "instance", "m1:9100"))
					require.Equal(t, http.StatusNoContent, w.Code, w.Body)
					return w.Header().Get(history.NewestHeader)
				}
				scrape := func(minutes int, metric string, v float64) {
					t.Helper()
					app := f.db.Appender(t.Context())
					_, err := app.Append(0, labels.FromStrings("__name__", metric, "machine", "m1", "job", "node", "instance", "10.0.0.1:9100"), at(minutes).UnixMilli(), v)
					require.NoError(t, err)
					require.NoError(t, app.Commit())
				}
				if pushedBefore {
					require.Equal(t, "0", push(0))
				}
				f.targets, f.scrapedTill = map[Target]bool{{"m1", "node"}: true}, time.Time{}
				for m := 10; m < 15; m++ {
					scrape(m, "node_load1", 1)
					require.Empty(t, push(m))
				}
				push(15)
				scrape(16, "node_load1", math.Float64frombits(value.StaleNaN)) // it does not respond
				scrape(16, "scrape_duration_seconds", 10)
				scrape(16, "machine:load:sum", 1)
				f.targets, f.scrapedTill = nil, time.Time{}
				if restart {
					f.save()
					f.restart(0)
				}
				require.Equal(t, fmt.Sprint(at(14).UnixMilli()), push(17))
				require.Equal(t, fmt.Sprint(at(17).UnixMilli()), push(18))
			})
		}
	}
}

// node_uname_info has a label that says nothing about who sends it.
func TestArchitecture(t *testing.T) {
	f := newFixture(t, 0)
	w := f.send(1, "m1", series{[]string{"__name__", "node_uname_info", "job", "node", "machine", "x86_64"}, time.Now(), 1})
	require.Equal(t, http.StatusNoContent, w.Code, w.Body)
	require.Equal(t, map[string][]float64{`{__name__="node_uname_info", availability="intermittent", exported_machine="x86_64", instance="m1", job="node", machine="m1"}`: {1}}, f.stored("node_uname_info"))
}

// Where machines would take the connections that the server accepts, each is closed after its
// request.
func TestConnectionsAreShared(t *testing.T) {
	f := newFixture(t, 0)
	f.opts.MaxConnections = 8
	for i, want := range []string{"", "", "", "close", "close"} {
		w := f.send(2, fmt.Sprintf("m%d", i), load(time.Now(), 1))
		require.Equal(t, http.StatusNoContent, w.Code)
		require.Equal(t, want, w.Header().Get("Connection"), "machine %d", i)
	}
}
