package push

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/model"
	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/exporter/history"
	exporter "github.com/clanmon/clanmon/exporter/push"
	wire "github.com/clanmon/clanmon/internal/history"
	"github.com/clanmon/clanmon/server/internal/caller"
)

// A laptop is an exporter's history and what pushes it to a server, by a link that can be cut. It
// gathers every minute and keeps 24 h.
type laptop struct {
	t      *testing.T
	dir    string
	server http.Handler
	cut    atomic.Bool

	spool  *history.Spool
	sender *exporter.Sender
	stop   func()
	last   int64   // gather
	lost   float64 // gathers, before the last start
	reg    *prometheus.Registry
}

const (
	laptopEvery = time.Minute
	laptopKeeps = 24 * time.Hour
	laptopFile  = time.Hour // that a file of the history covers
)

// RoundTrip implements http.RoundTripper.
func (l *laptop) RoundTrip(r *http.Request) (*http.Response, error) {
	if l.cut.Load() {
		return nil, errors.New("no route to host")
	}
	w := httptest.NewRecorder()
	l.server.ServeHTTP(w, r.WithContext(caller.With(r.Context(), caller.Caller{Machine: "laptop"})))
	return w.Result(), nil
}

func (l *laptop) start() {
	l.reg = prometheus.NewRegistry()
	spool, err := history.Open(l.dir, history.Options{
		Gathers: int(laptopKeeps / laptopEvery), PerSegment: int(laptopFile / laptopEvery), MaxBytes: 64 << 20,
		Dropping: func(from, to int64) { l.sender.Dropping(from, to) }, Logger: promslog.NewNopLogger(),
	})
	require.NoError(l.t, err)
	l.spool = spool
	_, l.last = spool.Span()
	l.sender = exporter.New(exporter.Options{
		URL: &url.URL{Scheme: "http", Host: "hub", Path: "/api/v1/push"}, Client: &http.Client{Transport: l},
		Dir: l.dir, Interval: laptopEvery, Instances: map[string]string{"node": "laptop:9100"},
		Read: spool.Read, Oldest: func() int64 { oldest, _ := spool.Span(); return oldest }, Last: l.last,
		UserAgent: "test", Registerer: l.reg, Logger: promslog.NewNopLogger(),
	})
	ctx, cancel := context.WithCancel(l.t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		l.sender.Run(ctx)
	}()
	l.stop = func() {
		cancel()
		<-ended
		require.NoError(l.t, spool.Close())
	}
}

func (l *laptop) restart() {
	l.lost = l.lostGathers()
	l.stop()
	l.start()
}

// run gathers for some time.
func (l *laptop) run(d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(laptopEvery) {
		g := &exporter.Gather{Time: time.Now().UnixMilli(), Before: l.last}
		l.sender.Expect(g.Time)
		require.NoError(l.t, l.spool.Append(g.Time, func(add func([]byte, float64)) {
			for _, name := range []string{"a", "b", "c"} {
				add(wire.AppendString(wire.AppendString(wire.AppendString(nil, "node"), "__name__"), name), float64(g.Time))
			}
		}, func(key string, bits uint64) { g.Values = append(g.Values, exporter.Value{Key: key, Bits: bits}) }))
		l.last = g.Time
		l.sender.Offer(g)
		synctest.Wait()
	}
}

func (l *laptop) metric(name string) (sum float64) {
	families, err := l.reg.Gather()
	require.NoError(l.t, err)
	for _, family := range families {
		if family.GetName() == "clanmon_exporter_push_"+name {
			for _, m := range family.Metric {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum
}

func (l *laptop) lostGathers() float64 { return l.lost + l.metric("lost_gathers_total") }

// The link to the server is cut for hours, by the clocks of both, and the exporter restarts in the
// middle of that. What the history keeps, 24 h, arrives, each sample once; what it had to drop is
// counted.
func TestOutage(t *testing.T) {
	for _, hours := range []int{1, 6, 26} {
		t.Run(fmt.Sprintf("%d h", hours), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { outage(t, time.Duration(hours)*time.Hour) })
		})
	}
}

func outage(t *testing.T, long time.Duration) {
	o := tsdb.DefaultOptions()
	o.OutOfOrderTimeWindow = (49 * time.Hour).Milliseconds() // as --push has it
	db, err := tsdb.Open(t.TempDir(), promslog.NewNopLogger(), nil, o, nil)
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	f := &fixture{t: t, db: db, dir: t.TempDir()}
	f.restart(0)
	l := &laptop{t: t, dir: t.TempDir(), server: f.Handler()}
	l.start()
	defer func() { l.stop() }()

	begin := time.Now()
	l.run(30 * time.Minute)
	l.cut.Store(true)
	cut := time.Now()
	l.run(long / 2)
	l.restart()
	l.run(long - long/2)
	l.cut.Store(false)
	back := time.Now()
	l.run(30 * time.Minute)
	require.Zero(t, l.metric("backlog_seconds"))

	gathered := int(time.Since(begin) / laptopEvery)
	for _, name := range []string{"a", "b", "c"} {
		stored := f.samplesOf(name)
		first := back // sample of the outage
		for at := begin; at.Before(time.Now()); at = at.Add(laptopEvery) {
			v, ok := stored[at.UnixMilli()]
			switch {
			case !ok:
				require.Equal(t, back, first, "a hole at %s, after %s", at, first)
				require.False(t, at.Before(cut), "lost at %s, before the outage", at)
				continue
			case first.Equal(back) && !at.Before(cut):
				first = at
			}
			require.Equal(t, float64(at.UnixMilli()), v)
		}
		require.Equal(t, float64(gathered-len(stored)), l.lostGathers(), "what was dropped is counted")
		if long <= laptopKeeps {
			require.Len(t, stored, gathered)
		} else {
			require.GreaterOrEqual(t, back.Sub(first), laptopKeeps-laptopEvery)
			require.LessOrEqual(t, back.Sub(first), laptopKeeps+laptopFile)
		}
	}
	require.Equal(t, 3*float64(len(f.samplesOf("a"))), testutil.ToFloat64(f.samples.WithLabelValues("laptop")), "each is sent once")
	require.Zero(t, l.metric("dropped_samples_total"))
}

// samplesOf are all samples of a metric, by time.
func (f *fixture) samplesOf(name string) map[int64]float64 {
	q, err := f.db.Querier(0, math.MaxInt64)
	require.NoError(f.t, err)
	defer q.Close()
	all := make(map[int64]float64)
	set := q.Select(f.t.Context(), false, nil, labels.MustNewMatcher(labels.MatchEqual, model.MetricNameLabel, name))
	for set.Next() {
		it := set.At().Iterator(nil)
		for it.Next() != chunkenc.ValNone {
			at, v := it.At()
			all[at] = v
		}
	}
	require.NoError(f.t, set.Err())
	return all
}
