package collector_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/exporter/collector"
)

// collect is a Collector made of a function.
type collect func(context.Context, chan<- prometheus.Metric) error

func (f collect) Collect(ctx context.Context, ch chan<- prometheus.Metric) error { return f(ctx, ch) }
func (collect) Close() error                                                     { return nil }

func metric(name string) prometheus.Metric {
	return prometheus.MustNewConstMetric(prometheus.NewDesc(name, "Help.", nil, nil), prometheus.GaugeValue, 1)
}

// works is a Collector that finds one metric.
func works(name string) collect {
	return func(_ context.Context, ch chan<- prometheus.Metric) error {
		ch <- metric(name)
		return nil
	}
}

// bench is a Set with its log.
type bench struct {
	*collector.Set
	log bytes.Buffer
}

func newBench(level slog.Level, members map[string]collector.Collector) *bench {
	b := &bench{}
	b.Set = collector.NewSet(members, slog.New(slog.NewTextHandler(&b.log, &slog.HandlerOptions{Level: level})), collector.Report)
	return b
}

// logged are the lines that were logged since the last call.
func (b *bench) logged() []string {
	defer b.log.Reset()
	return strings.FieldsFunc(b.log.String(), func(r rune) bool { return r == '\n' })
}

// scrape runs the collectors and returns the values found, with the label of
// collector in braces.
func (b *bench) scrape(ctx context.Context, names ...string) map[string]float64 {
	ch := make(chan prometheus.Metric)
	go func() {
		defer close(ch)
		b.Collect(ctx, names, ch)
	}()
	values := map[string]float64{}
	for m := range ch {
		var d dto.Metric
		if err := m.Write(&d); err != nil {
			panic(err)
		}
		name := strings.Split(m.Desc().String(), `"`)[1]
		for _, l := range d.Label {
			name += "{" + l.GetValue() + "}"
		}
		values[name] = d.GetGauge().GetValue()
	}
	return values
}

const (
	success  = "clanmon_exporter_collector_success"
	duration = "clanmon_exporter_collector_duration_seconds"
)

func within(d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), d)
}

func TestOneCollectorFailsForItselfOnly(t *testing.T) {
	b := newBench(slog.LevelInfo, map[string]collector.Collector{
		"good": works("good"),
		"bad":  collect(func(context.Context, chan<- prometheus.Metric) error { return errors.New("no such device") }),
		"part": collect(func(_ context.Context, ch chan<- prometheus.Metric) error {
			ch <- metric("part")
			return errors.New("half of it")
		}),
		"panic": collect(func(context.Context, chan<- prometheus.Metric) error { panic("out of range") }),
	})
	got := b.scrape(t.Context())
	for name, want := range map[string]float64{"good": 1, "bad": 0, "part": 0, "panic": 0} {
		require.Equal(t, want, got[success+"{"+name+"}"], name)
		require.Contains(t, got, duration+"{"+name+"}")
	}
	require.Contains(t, got, "good")
	require.Contains(t, got, "part", "what was found before the error counts")
	require.Len(t, got, 10)
	require.Len(t, b.logged(), 3)
}

func TestOnlyTheNamedCollectorsRun(t *testing.T) {
	b := newBench(slog.LevelInfo, map[string]collector.Collector{"a": works("a"), "b": works("b"), "c": works("c")})
	require.Equal(t, []string{"a", "b", "c"}, b.Names())
	got := b.scrape(t.Context(), "c", "a", "unknown")
	require.Contains(t, got, "a")
	require.Contains(t, got, "c")
	require.Len(t, got, 6)
}

func TestErrorsAreLoggedWhenTheyChange(t *testing.T) {
	var err error
	b := newBench(slog.LevelInfo, map[string]collector.Collector{
		"x": collect(func(context.Context, chan<- prometheus.Metric) error { return err }),
	})
	for _, step := range []struct {
		err  error
		line string // "" for none
	}{
		{nil, ""},
		{errors.New("dial from :40001: refused"), "Collector failed"},
		{errors.New("dial from :40002: refused"), ""}, // the same but for a number
		{errors.New("permission denied"), "permission denied"},
		{errors.New("permission denied"), ""},
		{nil, "succeeded again"},
		{nil, ""},
		{errors.New("permission denied"), "permission denied"},
		{collector.ErrNoData, ""}, // debug
		{nil, ""},
	} {
		err = step.err
		b.scrape(t.Context())
		lines := b.logged()
		if step.line == "" {
			require.Empty(t, lines, "%v", step.err)
			continue
		}
		require.Len(t, lines, 1)
		require.Contains(t, lines[0], step.line)
		require.Contains(t, lines[0], "collector=x")
	}
}

func TestNoDataIsNoSuccessAndLoggedForDebuggingOnly(t *testing.T) {
	b := newBench(slog.LevelDebug, map[string]collector.Collector{
		"x": collect(func(context.Context, chan<- prometheus.Metric) error {
			return fmt.Errorf("hwmon: %w", collector.ErrNoData)
		}),
	})
	require.Zero(t, b.scrape(t.Context())[success+"{x}"])
	lines := b.logged()
	require.Len(t, lines, 1)
	require.Contains(t, lines[0], "level=DEBUG")
}

func TestAPanicIsLoggedOnceWithItsStack(t *testing.T) {
	b := newBench(slog.LevelInfo, map[string]collector.Collector{
		"x": collect(func(context.Context, chan<- prometheus.Metric) error { panic(new(int)) }),
		"y": collect(func(context.Context, chan<- prometheus.Metric) error { panic("out of range") }),
	})
	b.scrape(t.Context(), "y")
	lines := b.logged()
	require.Len(t, lines, 1)
	require.Contains(t, lines[0], "panic: out of range")
	require.Contains(t, lines[0], "collector_test.go")
	b.scrape(t.Context(), "y")
	require.Empty(t, b.logged(), "the same panic from another goroutine")
}

// A hanging collector costs a scrape no more than its deadline, later ones
// nothing, and is called again once it came back.
func TestHangAndRecover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int32
		release := make(chan struct{})
		b := newBench(slog.LevelInfo, map[string]collector.Collector{
			"good": works("good"),
			"hang": collect(func(_ context.Context, ch chan<- prometheus.Metric) error {
				ch <- metric("hang")
				if calls.Add(1) == 1 {
					<-release
					for range 100 { // more than any buffer: nobody waits for these
						ch <- metric("late")
					}
				}
				return nil
			}),
		})
		begin := time.Now()
		ctx, cancel := within(3 * time.Second)
		defer cancel()
		got := b.scrape(ctx)
		require.Equal(t, 3*time.Second, time.Since(begin))
		require.Contains(t, got, "good")
		require.NotContains(t, got, "hang")
		require.Equal(t, 0.0, got[success+"{hang}"])
		require.Equal(t, 3.0, got[duration+"{hang}"])
		require.Len(t, b.logged(), 1)

		for range 3 {
			begin = time.Now()
			ctx, cancel := within(3 * time.Second)
			got = b.scrape(ctx)
			cancel()
			require.Zero(t, time.Since(begin), "a second scrape does not wait for a collector known to hang")
			require.Equal(t, 0.0, got[success+"{hang}"])
			require.Equal(t, 1.0, got[success+"{good}"])
		}
		require.Empty(t, b.logged(), "it is still the same hang")
		require.EqualValues(t, 1, calls.Load(), "no second run beside the one that hangs")

		close(release)
		synctest.Wait()
		ctx, cancel = within(3 * time.Second)
		defer cancel()
		got = b.scrape(ctx)
		require.Equal(t, 1.0, got[success+"{hang}"])
		require.Contains(t, got, "hang")
		require.NotContains(t, got, "late")
		lines := b.logged()
		require.Len(t, lines, 1)
		require.Contains(t, lines[0], "succeeded again")
	})
}

// A scraper that grants next to no time learns nothing, and takes nothing from
// others nor from the log.
func TestAnImpatientScraperHarmsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(slog.LevelInfo, map[string]collector.Collector{
			"x": collect(func(_ context.Context, ch chan<- prometheus.Metric) error {
				time.Sleep(100 * time.Millisecond)
				ch <- metric("x")
				return nil
			}),
		})
		for range 3 {
			ctx, cancel := within(time.Millisecond)
			require.Equal(t, 0.0, b.scrape(ctx)[success+"{x}"])
			cancel()
			ctx, cancel = within(time.Second) // while the run of the impatient one is under way
			require.Equal(t, 1.0, b.scrape(ctx)[success+"{x}"])
			cancel()
		}
		require.Empty(t, b.logged())
	})
}

// Two servers may scrape the same machine at one moment.
func TestScrapesAtOneTimeWaitForEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var running atomic.Int32
		b := newBench(slog.LevelInfo, map[string]collector.Collector{
			"slow": collect(func(ctx context.Context, ch chan<- prometheus.Metric) error {
				if running.Add(1) > 1 {
					return errors.New("called while it runs")
				}
				defer running.Add(-1)
				<-time.After(time.Second)
				ch <- metric("slow")
				return nil
			}),
		})
		results := make(chan map[string]float64, 3)
		begin := time.Now()
		for range 3 {
			go func() {
				ctx, cancel := within(10 * time.Second)
				defer cancel()
				results <- b.scrape(ctx)
			}()
		}
		for range 3 {
			got := <-results
			require.Contains(t, got, "slow")
			require.Equal(t, 1.0, got[success+"{slow}"])
			require.Equal(t, 1.0, got[duration+"{slow}"], "waiting for one's turn is not the collector's time")
		}
		require.Equal(t, 3*time.Second, time.Since(begin))
		require.Empty(t, b.logged())
	})
}

// A scraper that hangs up says nothing about the collector.
func TestCancelledScrape(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(slog.LevelDebug, map[string]collector.Collector{
			"x": collect(func(_ context.Context, ch chan<- prometheus.Metric) error {
				<-time.After(time.Second)
				ch <- metric("x")
				return nil
			}),
		})
		ctx, cancel := context.WithCancel(context.Background())
		time.AfterFunc(time.Millisecond, cancel)
		require.NotContains(t, b.scrape(ctx), "x")
		require.Empty(t, b.logged())

		ctx, cancel = within(5 * time.Second)
		defer cancel()
		require.Contains(t, b.scrape(ctx), "x", "the next scrape waits for the run that is still under way")
		require.Empty(t, b.logged())
	})
}

func TestCollectorsSeeTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ended atomic.Bool
		b := newBench(slog.LevelInfo, map[string]collector.Collector{
			"x": collect(func(ctx context.Context, _ chan<- prometheus.Metric) error {
				<-ctx.Done()
				ended.Store(true)
				return ctx.Err()
			}),
		})
		ctx, cancel := within(time.Second)
		defer cancel()
		require.Zero(t, b.scrape(ctx)[success+"{x}"])
		synctest.Wait()
		require.True(t, ended.Load())
		require.Len(t, b.logged(), 1)
	})
}

func TestCloseClosesAll(t *testing.T) {
	a, b := &closer{}, &closer{err: errors.New("stuck")}
	set := collector.NewSet(map[string]collector.Collector{"a": a, "b": b}, slog.New(slog.DiscardHandler), collector.Report)
	require.ErrorIs(t, set.Close(), b.err)
	require.Equal(t, []int{1, 1}, []int{a.closed, b.closed})
}

type closer struct {
	collect
	closed int
	err    error
}

func (c *closer) Close() error {
	c.closed++
	return c.err
}

// down is a service that hangs until let go.
type down struct{ letGo chan struct{} }

func (d down) Collect(context.Context, chan<- prometheus.Metric) error { <-d.letGo; return nil }
func (down) Close() error                                              { return nil }
func (down) Down() []prometheus.Metric {
	return []prometheus.Metric{prometheus.MustNewConstMetric(prometheus.NewDesc("x_up", "Help.", nil, nil), prometheus.GaugeValue, 0)}
}

func TestABackendThatMissesTheDeadlineIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := down{make(chan struct{})}
		s := collector.NewSet(map[string]collector.Collector{"x": d}, slog.New(slog.DiscardHandler), collector.Report)
		scrape := func() int {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			ch := make(chan prometheus.Metric, 10)
			s.Collect(ctx, nil, ch)
			return len(ch)
		}
		require.Equal(t, 3, scrape(), "down and the two reports")
		require.Equal(t, 3, scrape(), "while that run hangs")
		close(d.letGo)
		synctest.Wait()
		require.Equal(t, 2, scrape())
	})
}

// overtaker is a Collector that may be called while earlier calls hang.
type overtaker struct{ collect }

func (overtaker) Overtakes() bool { return true }

// What node_exporter does about a dead mount: the run that met it never ends, and
// the next one leaves it out.
func TestTheNextRunGoesRoundWhatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int32
		dead := make(chan struct{})
		b := newBench(slog.LevelInfo, map[string]collector.Collector{
			"mounts": overtaker{func(_ context.Context, ch chan<- prometheus.Metric) error {
				if calls.Add(1) == 1 {
					<-dead
					ch <- metric("late")
					return nil
				}
				ch <- metric("others")
				return nil
			}},
		})
		scrape := func() map[string]float64 {
			ctx, cancel := within(3 * time.Second)
			defer cancel()
			return b.scrape(ctx)
		}
		require.Zero(t, scrape()[success+"{mounts}"])
		require.Len(t, b.logged(), 1)
		for range 3 {
			begin := time.Now()
			got := scrape()
			require.Equal(t, 1.0, got[success+"{mounts}"])
			require.Contains(t, got, "others")
			require.Zero(t, time.Since(begin))
		}
		lines := b.logged()
		require.Len(t, lines, 1)
		require.Contains(t, lines[0], "stuck_runs=1")

		close(dead)
		synctest.Wait()
		got := scrape()
		require.Equal(t, 1.0, got[success+"{mounts}"])
		require.NotContains(t, got, "late")
	})
}

// Runs that all hang are not started without end, and go on once they end.
func TestStuckRunsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var running, most atomic.Int32
		dead := make(chan struct{})
		b := newBench(slog.LevelInfo, map[string]collector.Collector{
			"x": overtaker{func(_ context.Context, ch chan<- prometheus.Metric) error {
				most.Store(max(most.Load(), running.Add(1)))
				defer running.Add(-1)
				<-dead
				ch <- metric("x")
				return nil
			}},
		})
		for range 20 {
			ctx, cancel := within(3 * time.Second)
			require.Zero(t, b.scrape(ctx)[success+"{x}"])
			cancel()
		}
		require.EqualValues(t, 8, most.Load())
		begin := time.Now()
		ctx, cancel := within(3 * time.Second)
		require.Zero(t, b.scrape(ctx)[success+"{x}"])
		cancel()
		require.Zero(t, time.Since(begin), "no scrape waits once there are enough of them")
		require.Len(t, b.logged(), 1)

		close(dead)
		synctest.Wait()
		for range 3 {
			ctx, cancel = within(3 * time.Second)
			require.Contains(t, b.scrape(ctx), "x")
			cancel()
		}
		require.Zero(t, running.Load())
	})
}
