package push

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"maps"
	"math"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gogo/protobuf/proto"
	"github.com/golang/snappy"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/exporter/history"
	wire "github.com/clanmon/clanmon/internal/history"
)

// receiver is what a Sender sends to, without a network.
type receiver struct {
	t *testing.T

	mu       sync.Mutex
	answer   func(version int, times []int64) (status int, header map[string]string, body string)
	sized    func(version, samples int) (status int, header map[string]string, body string)
	backlogs int                          // requests
	received []string                     // version and times of each request
	stored   map[string]map[int64]float64 // by labels
	at       []time.Time                  // of requests
}

// RoundTrip implements http.RoundTripper.
func (r *receiver) RoundTrip(req *http.Request) (*http.Response, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	compressed, err := io.ReadAll(req.Body)
	require.NoError(r.t, err)
	body, err := snappy.Decode(nil, compressed)
	require.NoError(r.t, err)
	version, samples, n := 1, map[string]map[int64]float64{}, 0
	add := func(ls labels.Labels, t int64, v float64) {
		require.NotEmpty(r.t, ls.Get("__name__"))
		if samples[ls.String()] == nil {
			samples[ls.String()] = map[int64]float64{}
		}
		samples[ls.String()][t] = v
		n++
	}
	builder := labels.NewScratchBuilder(0)
	if strings.Contains(req.Header.Get("Content-Type"), "v2") {
		version = 2
		var all writev2.Request
		require.NoError(r.t, proto.Unmarshal(body, &all))
		for _, ts := range all.Timeseries {
			ls, err := ts.ToLabels(&builder, all.Symbols)
			require.NoError(r.t, err)
			for _, s := range ts.Samples {
				add(ls, s.Timestamp, s.Value)
			}
		}
	} else {
		var all prompb.WriteRequest
		require.NoError(r.t, proto.Unmarshal(body, &all))
		for _, ts := range all.Timeseries {
			ls := ts.ToLabels(&builder, nil)
			for _, s := range ts.Samples {
				add(ls, s.Timestamp, s.Value)
			}
		}
	}
	times := map[int64]bool{}
	for _, of := range samples {
		for t := range of {
			times[t] = true
		}
	}
	sorted := slices.Sorted(maps.Keys(times))
	status, header, text := 204, map[string]string(nil), ""
	if version == 2 {
		header = map[string]string{"X-Prometheus-Remote-Write-Samples-Written": strconv.Itoa(n)}
	}
	if r.answer != nil {
		status, header, text = r.answer(version, sorted)
	}
	if r.sized != nil {
		status, header, text = r.sized(version, n)
	}
	what := "v" + strconv.Itoa(version)
	if req.Header.Get(wire.BacklogHeader) == "1" {
		r.backlogs++
	}
	for _, t := range sorted {
		what += " " + strconv.FormatInt(t, 10)
	}
	r.received, r.at = append(r.received, what), append(r.at, time.Now())
	if status/100 == 2 {
		for name, of := range samples {
			if r.stored[name] == nil {
				r.stored[name] = map[int64]float64{}
			}
			maps.Copy(r.stored[name], of)
		}
	}
	res := &http.Response{StatusCode: status, Status: strconv.Itoa(status) + " " + http.StatusText(status), Header: http.Header{}, Body: io.NopCloser(strings.NewReader(text)), Request: req}
	for k, v := range header {
		res.Header.Set(k, v)
	}
	return res, nil
}

func (r *receiver) set(answer func(version int, times []int64) (int, map[string]string, string)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = answer
}

// takes sets an answer that depends on the number of samples.
func (r *receiver) takes(answer func(version, samples int) (int, map[string]string, string)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer, r.sized = nil, answer
}

// requests are those since the last call.
func (r *receiver) requests() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := r.received
	r.received = nil
	return all
}

// fixture is a history and a Sender, in a bubble of synctest.
type fixture struct {
	*receiver
	dir    string
	spool  *history.Spool
	sender *Sender
	kept   int64
	log    *bytes.Buffer
	reg    *prometheus.Registry
	stop   func()
}

func newFixture(t *testing.T) *fixture {
	f := &fixture{receiver: &receiver{t: t, stored: map[string]map[int64]float64{}}, dir: t.TempDir(), log: &bytes.Buffer{}}
	f.begin()
	t.Cleanup(func() { f.stop() })
	return f
}

// begin is the start of an exporter with what is on the disk.
func (f *fixture) begin() {
	logger := slog.New(slog.NewTextHandler(f.log, nil))
	spool, err := history.Open(f.dir, history.Options{Gathers: 1000, MaxBytes: 16 << 20, PerSegment: 10, Logger: logger, Dropping: func(from, to int64) { f.sender.Dropping(from, to) }})
	require.NoError(f.t, err)
	f.spool = spool
	_, f.kept = spool.Span()
	f.reg = prometheus.NewRegistry()
	f.sender = New(Options{
		URL: &url.URL{Scheme: "http", Host: "hub", Path: "/push"}, Client: &http.Client{Transport: f.receiver, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
		Dir: f.dir, Interval: 15 * time.Second, Instances: map[string]string{"node": "laptop:9100"},
		Read: spool.Read, Oldest: func() int64 { oldest, _ := spool.Span(); return oldest }, Last: f.kept,
		Secrets: func() []string { return []string{"", "s3cret", "s3cret-and-more"} }, UserAgent: "test", Registerer: f.reg, Logger: logger,
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		f.sender.Run(ctx)
	}()
	f.stop = sync.OnceFunc(func() {
		cancel()
		<-done
		require.NoError(f.t, spool.Close())
	})
}

// gather is one at time t, of a counter whose value is the time, and one of another kind.
func (f *fixture) gather(t int64, more ...string) {
	f.t.Helper()
	g := &Gather{Time: t, Before: f.kept}
	f.sender.Expect(t)
	require.NoError(f.t, f.spool.Append(t, func(add func([]byte, float64)) {
		for _, name := range append([]string{"counter"}, more...) {
			add(wire.AppendString(wire.AppendString(wire.AppendString(nil, "node"), "__name__"), name), float64(t))
		}
		add(wire.AppendString(wire.AppendString(wire.AppendString(nil, "blackbox"), "__name__"), "other"), 1)
	}, func(key string, bits uint64) { g.Values = append(g.Values, Value{key, bits}) }))
	f.kept = t
	f.sender.Offer(g)
	synctest.Wait()
}

// pass lets time pass, and waits for what happens at its end.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// has are the times of the counter that the receiver stores.
func (f *fixture) has() []int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Sorted(maps.Keys(f.stored[`{__name__="counter", instance="laptop:9100", job="node"}`]))
}

func down(int, []int64) (int, map[string]string, string) { return 503, nil, "later" }

func refuses(status int, text string) func(int, []int64) (int, map[string]string, string) {
	return func(int, []int64) (int, map[string]string, string) {
		return status, map[string]string{"X-Prometheus-Remote-Write-Samples-Written": "0"}, text
	}
}

func (f *fixture) metric(name string) float64 {
	f.t.Helper()
	families, err := f.reg.Gather()
	require.NoError(f.t, err)
	for _, m := range families {
		if m.GetName() == "clanmon_exporter_push_"+name {
			sum := 0.0
			for _, one := range m.Metric {
				sum += one.GetCounter().GetValue() + one.GetGauge().GetValue()
			}
			return sum
		}
	}
	require.Fail(f.t, "no metric "+name)
	return 0
}

// What is new is sent first when the receiver is back, then what it missed.
func TestNewestFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.gather(100)
		require.Equal(t, []string{"v2 100"}, f.requests())
		f.set(down)
		for _, at := range []int64{200, 300, 400, 500} {
			f.gather(at)
		}
		pass(time.Minute)
		require.Equal(t, []int64{100}, f.has())
		f.requests()
		f.set(nil)
		pass(15 * time.Second)
		require.Equal(t, []string{"v2 500", "v2 200 300 400"}, f.requests())
		require.Equal(t, 1, f.backlogs, "the other may overtake it")
		require.Equal(t, []int64{100, 200, 300, 400, 500}, f.has())
		require.Equal(t, 1, strings.Count(f.log.String(), "Could not push"), f.log)
		require.Contains(t, f.log.String(), "Pushing works again")
		require.Zero(t, f.metric("backlog_seconds"))
		f.gather(600)
		require.Equal(t, []string{"v2 600"}, f.requests())
		for name := range f.stored {
			require.NotContains(t, name, "other", "a kind that is not sent")
		}
	})
}

// An exporter that is killed goes on where it was, also with what it did not write down.
func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.gather(100)
		f.set(down)
		f.gather(200)
		f.gather(300)
		f.stop()
		f.set(nil)
		f.requests()
		f.begin()
		pass(time.Minute)
		require.Empty(t, f.requests(), "nothing new yet")
		f.gather(400)
		require.Equal(t, []string{"v2 400", "v2 200 300"}, f.requests())

		// Damaged, or of another version: this receiver does not say what it lacks.
		for _, content := range []string{"{", `{"version":2}`, `{"version":1,"newest":5,"missing":[[9,8]]}`} {
			f.stop()
			require.NoError(t, os.WriteFile(cursorFile(f.dir, "http://hub/push"), []byte(content), 0o600))
			f.begin()
			require.Contains(t, f.log.String(), "Could not read what was pushed before")
			f.log.Reset()
			f.gather(f.kept + 100)
			require.Len(t, f.requests(), 1, content)
		}
	})
}

// A receiver that says that it has less than it acknowledged gets it again; so does one that has nothing.
func TestReceiverOfABackup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		for _, at := range []int64{100, 200, 300, 400} {
			f.gather(at)
		}
		f.requests()
		newest := int64(200)
		f.set(func(version int, times []int64) (int, map[string]string, string) {
			had := newest
			newest = max(newest, times[len(times)-1])
			return 204, map[string]string{wire.NewestHeader: strconv.FormatInt(had, 10), "X-Prometheus-Remote-Write-Samples-Written": "1"}, ""
		})
		f.gather(500)
		require.Equal(t, []string{"v2 500", "v2 300 400"}, f.requests())
		newest = 0
		f.gather(600)
		require.Equal(t, []string{"v2 600", "v2 100 200 300 400 500"}, f.requests())
		f.gather(700)
		require.Equal(t, []string{"v2 700"}, f.requests())
	})
}

// The clock was ahead and is set back: what is gathered from then on is sent, although later times were.
func TestClockSetBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		for _, at := range []int64{100, 1000, 1100} {
			f.gather(at)
		}
		f.set(down)
		f.gather(200)
		f.gather(300)
		f.stop()
		f.begin()
		f.set(nil)
		f.gather(400)
		require.Equal(t, []int64{100, 200, 300, 400, 1000, 1100}, f.has())
	})
}

// What a receiver refuses is lost and said once, with what may be wrong. Who may not send keeps what it has.
func TestRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.gather(100)
		f.set(func(int, []int64) (int, map[string]string, string) {
			return 400, map[string]string{"Date": time.Now().Add(-11 * time.Minute).UTC().Format(http.TimeFormat)}, "s3cret\nis too new"
		})
		f.gather(200)
		f.gather(300)
		pass(time.Minute)
		require.Equal(t, []string{"v2 100", "v2 200", "v2 300"}, f.requests(), "never again")
		require.Equal(t, 2.0, f.metric("dropped_samples_total"))
		require.InDelta(t, 660, f.metric("clock_skew_seconds"), 2)
		log := f.log.String()
		require.Equal(t, 1, strings.Count(log, "The receiver refused samples; they are not sent again"), log)
		require.Contains(t, log, "<secret> is too new; the clock of this machine is 11m")
		require.NotContains(t, log, "s3cret")

		for _, status := range []int{301, 401, 403, 404, 408, 429, 500} {
			f.set(refuses(status, "no"))
			f.gather(f.kept + 100)
			f.gather(f.kept + 100)
			pass(time.Minute)
			f.set(nil)
			pass(15 * time.Second)
			require.Contains(t, f.has(), f.kept-100, status)
			require.Contains(t, f.has(), f.kept, status)
		}
		require.Equal(t, 2.0, f.metric("dropped_samples_total"))
	})
}

// A receiver may store a part and refuse the rest: only that is counted as dropped.
func TestRefusedInPart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.gather(100, "second", "third")
		for stored, want := range map[string]float64{"2": 2, "0": 0, "9": 3} {
			dropped, samples := f.metric("dropped_samples_total"), f.metric("samples_total")
			f.set(func(int, []int64) (int, map[string]string, string) {
				return 400, map[string]string{"X-Prometheus-Remote-Write-Samples-Written": stored}, "out of bounds"
			})
			f.gather(f.kept+100, "second", "third")
			require.Equal(t, want, f.metric("samples_total")-samples, stored)
			require.Equal(t, 3-want, f.metric("dropped_samples_total")-dropped, stored)
		}
		require.NotContains(t, f.log.String(), "lost")
	})
}

// What is left of a long response may end in a part of a secret.
func TestClean(t *testing.T) {
	long := strings.Repeat("s3cret-", 100)
	s := &Sender{opts: Options{Secrets: func() []string { return []string{"", "abc", "s3cret-", long} }}}
	for text, want := range map[string]string{
		"400: abc\n\n \xff s3cret- x": "400: abc ? <secret> x",
		"":                            "no reason",
		"400:" + long + strings.Repeat(" ", 16<<10):   "400:<secret>",
		strings.Repeat(long+" ", 30)[:maxRead+50]:     "",
		strings.Repeat("é", 20000):                    strings.Repeat("é", maxWords/2) + "…",
		strings.Repeat(" ", maxRead-350) + long[:350]: "",
	} {
		got := s.clean(text)
		if want != "" {
			require.Equal(t, want, got)
		}
		require.NotContains(t, got, "s3cret")
	}
}

func TestRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.set(func(int, []int64) (int, map[string]string, string) {
			return 429, map[string]string{"Retry-After": "120"}, "slow down"
		})
		f.gather(100)
		pass(5 * time.Minute)
		f.mu.Lock()
		defer f.mu.Unlock()
		require.Len(t, f.at, 3)
		for i, at := range f.at[1:] {
			require.GreaterOrEqual(t, at.Sub(f.at[i]), 2*time.Minute)
			require.Less(t, at.Sub(f.at[i]), 130*time.Second)
		}
	})
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"": 0, "-1": 0, "x": 0, "7": 7 * time.Second, "99999999": maxRetryAfter, "99999999999999999999": 0,
		now.Add(time.Minute).Format(http.TimeFormat): time.Minute, now.Add(-time.Minute).Format(http.TimeFormat): 0,
	} {
		require.Equal(t, want, retryAfter(text, now), text)
	}
}

// While a receiver fails, attempts are at most an interval apart, and not all at once.
func TestDelay(t *testing.T) {
	s := &Sender{opts: Options{Interval: 15 * time.Second}}
	for failures, most := range map[int]time.Duration{1: time.Second, 2: 2 * time.Second, 4: 8 * time.Second, 5: 15 * time.Second, 1000: 15 * time.Second} {
		for range 100 {
			d := s.delay(failures, io.EOF)
			require.GreaterOrEqual(t, d, most/2)
			require.LessOrEqual(t, d, most)
		}
	}
}

// A receiver that does not know version 2 gets version 1: it says so, or acknowledges nothing.
func TestVersions(t *testing.T) {
	for name, status := range map[string]int{"silent": 204, "says so": 415, "cannot read it": 400} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t)
				f.set(func(version int, _ []int64) (int, map[string]string, string) {
					if version == 2 {
						return status, nil, ""
					}
					return 204, nil, ""
				})
				f.gather(100)
				f.gather(200)
				require.Equal(t, []string{"v2 100", "v1 100", "v1 200"}, f.requests())
				require.Zero(t, f.metric("dropped_samples_total"))
			})
		})
	}
}

// A receiver of version 2 that stores nothing behind a 204 has failed: nothing is lost by that.
func TestNothingAcknowledged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.gather(100)
		for _, header := range []map[string]string{{"X-Prometheus-Remote-Write-Samples-Written": "0"}, nil} {
			f.set(func(int, []int64) (int, map[string]string, string) { return 204, header, "" })
			f.gather(f.kept + 100)
			f.gather(f.kept + 100)
			require.Contains(t, f.log.String(), "Could not push")
			f.log.Reset()
			f.requests()
			f.set(nil)
			pass(15 * time.Second)
			require.Len(t, f.requests(), 2, "both gathers are sent")
		}
		require.Equal(t, []int64{100, 200, 300, 400, 500}, f.has())
		f.set(func(int, []int64) (int, map[string]string, string) {
			return 204, map[string]string{"X-Prometheus-Remote-Write-Samples-Written": "1"}, ""
		})
		f.gather(600, "second", "third")
		require.Equal(t, 2.0, f.metric("dropped_samples_total"), "some of them")
		require.Contains(t, f.log.String(), "acknowledges fewer samples than were sent")
	})
}

// A backlog is sent in requests of a limited size.
func TestLargeBacklog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.set(down)
		for at := int64(1); at <= 23; at++ {
			f.gather(at, manyMetrics()...)
		}
		f.requests()
		f.set(nil)
		pass(15 * time.Second)
		all := f.requests()
		require.Equal(t, "v2 23", all[0])
		for _, r := range all {
			require.LessOrEqual(t, strings.Count(r, " "), maxSamples/2000, r)
		}
		require.Len(t, f.has(), 23)
	})
}

// A receiver, or a proxy in front of it, takes small requests only: all arrives in parts, and the
// next requests are small at once.
func TestTooLarge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.set(down)
		for at := int64(1); at <= 7; at++ {
			f.gather(at, manyMetrics()...)
		}
		refused := 0
		f.takes(func(version, samples int) (int, map[string]string, string) {
			if samples > 1500 {
				refused++
				return 413, nil, "too large"
			}
			return 204, map[string]string{"X-Prometheus-Remote-Write-Samples-Written": strconv.Itoa(samples)}, ""
		})
		pass(15 * time.Second)
		for at := int64(8); at <= 10; at++ {
			f.gather(at, manyMetrics()...)
		}
		require.Len(t, f.has(), 10)
		require.Len(t, f.stored, 2000)
		for name, of := range f.stored {
			require.Len(t, of, 10, name)
		}
		require.Equal(t, 1, refused)
		require.Zero(t, f.metric("dropped_samples_total"))
		require.Equal(t, 20_000.0, f.metric("samples_total"))
		require.Contains(t, f.log.String(), "too large")

		// Nothing is small enough: that is not tried forever.
		f.takes(func(int, int) (int, map[string]string, string) { return 413, nil, "too large" })
		f.requests()
		f.gather(11, manyMetrics()...)
		pass(time.Minute)
		require.LessOrEqual(t, len(f.requests()), 10)
		require.Equal(t, 2000.0, f.metric("dropped_samples_total"))
	})
}

// A request that is sent in parts is one: what is stored of it counts once, also if a part fails and
// all of it is sent again, and the rest is lost as if it were not divided.
func TestParts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.gather(1)
		parts := 0
		second := func(status int, written string) { // the answer to every second part
			f.takes(func(_, samples int) (int, map[string]string, string) {
				if samples > 1000 {
					return 413, nil, "too large"
				}
				if parts++; parts%2 == 0 {
					return status, map[string]string{"X-Prometheus-Remote-Write-Samples-Written": written}, ""
				}
				return 204, map[string]string{"X-Prometheus-Remote-Write-Samples-Written": strconv.Itoa(samples)}, ""
			})
		}
		second(503, "0")
		f.gather(2, manyMetrics()...)
		pass(15 * time.Second)
		require.Greater(t, parts, 2, "it is tried again")
		require.Equal(t, 1.0, f.metric("samples_total"))
		second(204, "1000")
		pass(15 * time.Second)
		require.Equal(t, 2001.0, f.metric("samples_total"))
		require.Zero(t, f.metric("dropped_samples_total"))

		before := parts
		second(204, "0")
		f.gather(3, manyMetrics()...)
		pass(time.Minute)
		require.Equal(t, before+2, parts, "never again")
		require.Equal(t, 3001.0, f.metric("samples_total"))
		require.Equal(t, 1000.0, f.metric("dropped_samples_total"))
		require.Contains(t, f.log.String(), "acknowledges fewer samples than were sent")
		require.Zero(t, f.metric("backlog_seconds"))
	})
}

// The receiver may take more than it once did.
func TestLargerRequestsAreTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.takes(func(_, samples int) (int, map[string]string, string) {
			if samples > 1500 {
				return 413, nil, "too large"
			}
			return 204, map[string]string{"X-Prometheus-Remote-Write-Samples-Written": strconv.Itoa(samples)}, ""
		})
		f.gather(1, manyMetrics()...)
		f.takes(nil)
		f.requests()
		f.gather(2, manyMetrics()...)
		require.Len(t, f.requests(), 2)
		pass(25 * time.Hour)
		f.gather(3, manyMetrics()...)
		require.Len(t, f.requests(), 1)
	})
}

// Gathers that the history drops before they are sent are counted and said.
func TestHistoryTooSmall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.stop()
		f.dir = filepath.Join(t.TempDir(), "small")
		f.begin()
		f.gather(1)
		f.set(down)
		for at := int64(2); at <= 1035; at++ { // 1000 are kept, in files of 10
			f.gather(at)
		}
		require.Equal(t, 29.0, f.metric("lost_gathers_total"), "all of three files but the first")
		require.Contains(t, f.log.String(), "Dropped gathers that were not pushed yet")
		f.set(nil)
		pass(15 * time.Second)
		require.Len(t, f.has(), 1006)
	})
}

func TestCursor(t *testing.T) {
	c := cursor{Newest: 100}
	c.sent(200, 100)
	c.sent(500, 400)
	c.sent(600, 500)
	c.sent(900, 800)
	require.Equal(t, []gap{{200, 500}, {600, 900}}, c.Missing)
	require.True(t, c.valid())
	for at, want := range map[int64]bool{100: false, 200: false, 201: true, 499: true, 500: false, 700: true, 900: false, 901: true} {
		require.Equal(t, want, c.pending(at), at)
	}
	require.Equal(t, 0.6, c.seconds(0))
	require.Equal(t, 0.4, c.seconds(400))
	require.Zero(t, c.seconds(math.MaxInt64))
	require.True(t, c.filled(gap{200, 500}, 300))
	require.False(t, c.filled(gap{200, 500}, 400), "not that any more")
	require.True(t, c.filled(gap{300, 500}, 499))
	require.Equal(t, []gap{{600, 900}}, c.Missing)
	require.False(t, c.void(900))
	require.True(t, c.void(700))
	require.Equal(t, cursor{Newest: 600, Missing: []gap{}}, c)

	for i := range int64(2 * maxMissing) {
		at := 1000 + 10*i
		c.sent(at, at-1)
	}
	require.Len(t, c.Missing, maxMissing)
	require.True(t, c.valid())
	require.True(t, c.pending(601))
}

func TestLabels(t *testing.T) {
	key := []byte(nil)
	for _, part := range []string{"node", "__name__", "node_uname_info", "machine", "x86_64", "job", "mine", "a", "b"} {
		key = wire.AppendString(key, part)
	}
	instances := map[string]string{"node": "laptop:9100"}
	got, err := labelsOf(string(key), instances)
	require.NoError(t, err)
	require.Equal(t, []label{{"__name__", "node_uname_info"}, {"a", "b"}, {"exported_job", "mine"}, {"exported_machine", "x86_64"}, {"instance", "laptop:9100"}, {"job", "node"}}, got)
	_, err = labelsOf(string(key[:len(key)-1]), instances)
	require.Error(t, err)
	_, err = labelsOf(string(wire.AppendString(wire.AppendString(key, "a"), "c")), instances)
	require.ErrorContains(t, err, "label a twice")
}

// manyMetrics are names of metrics that make a gather of 2,000 samples with the one it has.
func manyMetrics() []string {
	all := make([]string, 1999)
	for i := range all {
		all[i] = "m" + strconv.Itoa(i)
	}
	return all
}
