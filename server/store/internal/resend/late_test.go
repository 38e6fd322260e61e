package resend

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// stored are the times of samples by the name of their series. Each is of the target with
// the job of that name.
type stored map[string][]int64

func series(name string) labels.Labels {
	return labels.FromStrings("__name__", name, "instance", "i", "job", name)
}

func (s stored) Read(_ context.Context, of Target, mint, maxt int64, each func(labels.Labels, []Sample) error) error {
	for _, name := range slices.Sorted(maps.Keys(s)) {
		var all []Sample
		for _, at := range s[name] {
			if at >= mint && at <= maxt {
				all = append(all, Sample{T: at})
			}
		}
		if !of.Has(series(name)) || len(all) == 0 {
			continue
		}
		if err := each(series(name), all); err != nil {
			return err
		}
	}
	return nil
}

// lateManager is a Manager whose upstream sends nothing.
func lateManager(t *testing.T, dir string, src Source, c *config.RemoteWriteConfig) *Manager {
	var m *Manager
	var reads atomic.Int64
	m = New(Options{
		File: filepath.Join(dir, "positions.json"), LateFile: filepath.Join(dir, "late.json"), Source: src,
		SetAside: func(file, _, _ string, _ error) error { return os.Rename(file, file+".aside") },
		Apply: func(c *config.Config) error {
			if len(c.RemoteWriteConfigs) > 0 { // the queue begins: nothing else is under way
				m.mu.Lock()
				m.lateness = 0
				m.mu.Unlock()
			}
			return nil
		},
		Metrics: func() (Metrics, error) { return Metrics{}, nil },
		Address: func(s string) string { return s }, Reads: func(string) float64 { return float64(reads.Add(1)) }, Failed: func(string, error) {},
		Logger: slog.New(slog.DiscardHandler),
	})
	t.Cleanup(m.Stop)
	cfg := &config.Config{RemoteWriteConfigs: []*config.RemoteWriteConfig{c}}
	cfg.GlobalConfig.ScrapeTimeout = model.Duration(time.Minute) // what is new is not late, on a slow machine either
	require.NoError(t, m.Apply(cfg, false))
	return m
}

// append stores samples, as the store does.
func (s stored) append(m *Manager, name string, at ...int64) {
	l := m.Late(time.Now())
	for _, one := range at {
		l.Add(series(name), one)
	}
	l.Note()
	s[name] = append(s[name], at...)
	l.Note()
}

// isPast waits for a later millisecond.
func isPast(at int64) {
	for time.Now().UnixMilli() <= at {
		time.Sleep(time.Millisecond)
	}
}

func (x *receiving) all() map[string][]int64 {
	x.mu.Lock()
	defer x.mu.Unlock()
	return maps.Clone(x.got)
}

// done waits until nothing is to be sent any more.
func (m *Manager) done(t *testing.T) {
	t.Helper()
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		m.lookLate(time.Now())
		m.mu.Lock()
		defer m.mu.Unlock()
		require.Empty(c, m.receivers[0].late)
		require.Empty(c, m.lateWritten[m.receivers[0].id])
	}, time.Minute, 10*time.Millisecond)
}

// A receiver gets what is stored late, of the targets it is of, once; also what it could not
// be sent before a restart.
func TestLateSamplesArrive(t *testing.T) {
	x, dir := newReceiving(t), t.TempDir()
	x.forbidden = 1 << 30 // it is away
	hour := time.Now().Add(-time.Hour).Truncate(time.Second).UnixMilli()
	src := stored{"gap": {hour - 1000, hour + 100_000}, "other": {hour, hour + 10_000}}
	c := x.config(t)
	m := lateManager(t, dir, src, c)
	src.append(m, "gap", hour, hour+10_000)
	src.append(m, "gap", hour+20_000)
	now := time.Now().UnixMilli()
	src.append(m, "new", now) // is not late

	// After a crash more is sent than what is known to be missing, but nothing less.
	late, err := readLate(m.opts.LateFile)
	require.NoError(t, err)
	require.Len(t, late[m.receivers[0].id], 1)
	m.Stop()
	m = lateManager(t, dir, src, c)
	m.lookLate(time.Now())
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		x.mu.Lock()
		defer x.mu.Unlock()
		require.Positive(c, x.requests, "it is tried")
	}, time.Minute, 10*time.Millisecond)
	x.mu.Lock()
	x.forbidden = 0
	x.mu.Unlock()
	m.done(t)
	require.Equal(t, map[string][]int64{"gap": {hour, hour + 10_000, hour + 20_000}, "new": {now}}, x.all())

	src.append(m, "gap", hour+30_000)
	m.done(t)
	require.Equal(t, []int64{hour, hour + 10_000, hour + 20_000, hour + 30_000}, x.all()["gap"])
	require.Equal(t, 5.0, m.Status()[0].Resent)
	m.Stop()
	late, err = readLate(m.opts.LateFile)
	require.NoError(t, err)
	require.Empty(t, late)
}

// After a crash it is only known that samples may be missing until some time. Those that are
// new are sent once, before the late ones.
func TestLateSamplesAfterACrash(t *testing.T) {
	x, dir := newReceiving(t), t.TempDir()
	src := stored{}
	c := x.config(t)
	m := lateManager(t, dir, src, c)
	src.append(m, "gap", time.Now().Add(-lateAhead/2).UnixMilli())
	left, err := os.ReadFile(m.opts.LateFile)
	require.NoError(t, err)
	m.Stop()
	require.NoError(t, os.WriteFile(m.opts.LateFile, left, 0o600))

	now := m.receivers[0].position + 1
	isPast(now)
	src["gap"] = append(src["gap"], now)
	m = lateManager(t, dir, src, c)
	m.done(t)
	require.Equal(t, map[string][]int64{"gap": {now}}, x.all(), "this receiver takes samples in order only")
	require.Equal(t, []float64{1, 1}, []float64{m.Status()[0].Resent, m.Status()[0].Refused})
}

// A receiver that takes samples in order only costs few requests, and is not asked again.
func TestLateSamplesThatAReceiverRefusesAreGivenUp(t *testing.T) {
	x := newReceiving(t)
	x.whole = true // knows 1.0 only
	now := time.Now()
	x.newest["gap"] = now.UnixMilli()
	src := stored{}
	m := lateManager(t, t.TempDir(), src, x.config(t))
	var all []int64
	for i := range 10_000 {
		all = append(all, now.Add(-time.Hour).UnixMilli()+int64(i))
	}
	src.append(m, "gap", all...)
	m.done(t)
	require.Empty(t, x.all()["gap"])
	require.Equal(t, 10_000.0, m.Status()[0].Refused)
	require.False(t, m.Status()[0].Rejecting, "it takes what is new")
	x.mu.Lock()
	defer x.mu.Unlock()
	require.Less(t, x.requests, 200)
}

// That a receiver refuses all of a range does not keep it from the part of another that it
// would take.
func TestLateSamplesThatAReceiverTakesInPart(t *testing.T) {
	x := newReceiving(t)
	x.whole = true
	hour := time.Now().Add(-time.Hour).UnixMilli()
	x.newest["a"], x.newest["b"] = time.Now().UnixMilli(), hour+1000
	src := stored{}
	c := x.config(t)
	c.QueueConfig.MaxSamplesPerSend = 2000
	m := lateManager(t, t.TempDir(), src, c)
	var all []int64
	for i := range int64(2000) {
		all = append(all, hour+i)
	}
	src.append(m, "a", all...)
	src.append(m, "b", all...)
	m.done(t)
	require.Equal(t, map[string][]int64{"b": all[1001:]}, x.all())
}

// A receiver that refuses many ranges costs few requests for each. What it takes of one that
// follows is sent, the half that it takes at least, and from then on every sample.
func TestManyLateRangesThatAReceiverRefuses(t *testing.T) {
	x := newReceiving(t)
	x.whole = true
	hour := time.Now().Add(-time.Hour).UnixMilli()
	src := stored{}
	m := lateManager(t, t.TempDir(), src, x.config(t))
	var all []int64
	for i := range int64(200) {
		all = append(all, hour+i)
	}
	for i := range 50 {
		name := fmt.Sprintf("s%d", i)
		x.newest[name] = time.Now().UnixMilli()
		src.append(m, name, all...)
	}
	m.done(t)
	require.Equal(t, 50*200.0, m.Status()[0].Refused)
	x.mu.Lock()
	require.Less(t, x.requests, 900)
	x.newest["first"], x.newest["second"] = hour+50, hour+50
	x.mu.Unlock()

	src.append(m, "first", all...)
	src.append(m, "second", all...)
	m.done(t)
	got := x.all()
	require.Subset(t, got["first"], all[100:])
	require.Equal(t, all[51:], got["second"])
}

// What upstream's queue sends is sent again only if the server ends before that is certain.
func TestLateSamplesThatUpstreamSends(t *testing.T) {
	x, dir := newReceiving(t), t.TempDir()
	src := stored{}
	c := x.config(t)
	m := lateManager(t, dir, src, c)
	at := time.Now().Add(-time.Hour).UnixMilli()
	began := func(m *Manager) {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.receivers[0].since = time.UnixMilli(at - 1000)
	}
	began(m)
	src.append(m, "gap", at)
	m.lookLate(time.Now().Add(time.Hour))
	m.running.Wait()
	require.Empty(t, x.all())
	m.Stop()

	m = lateManager(t, dir, src, c)
	m.done(t)
	require.Equal(t, map[string][]int64{"gap": {at}}, x.all())

	began(m)
	src.append(m, "gap", at+1000)
	isPast(time.Now().UnixMilli())
	m.mu.Lock()
	m.receivers[0].position = time.Now().UnixMilli() // it has all that was stored until now
	m.mu.Unlock()
	m.lookLate(time.Now().Add(2 * time.Minute))
	require.Empty(t, m.receivers[0].late)
	require.Equal(t, map[string][]int64{"gap": {at}}, x.all())
}

// The ranges are bounded, whatever comes; nothing is missing afterwards.
func TestManyLateTargets(t *testing.T) {
	x := newReceiving(t)
	src, want := stored{}, make(map[string][]int64)
	m := lateManager(t, t.TempDir(), src, x.config(t))
	hour := time.Now().Add(-time.Hour).UnixMilli()
	l := m.Late(time.Now())
	for i := range maxLate + 100 {
		name := fmt.Sprintf("s%d", i)
		src[name] = []int64{hour + int64(i)}
		want[name] = src[name]
		l.Add(series(name), src[name][0])
	}
	l.Note()
	m.mu.Lock()
	require.Less(t, m.receivers[0].late.len(), maxLate)
	m.mu.Unlock()
	m.done(t)
	require.Equal(t, want, x.all())
}

// What many commits note at the same time is on disk before each of them, by few writes.
func TestManyLateNotesShareWrites(t *testing.T) {
	x := newReceiving(t)
	src := stored{}
	m := lateManager(t, t.TempDir(), src, x.config(t))
	const targets = 200
	writes := 0 // one at a time
	write := m.write
	m.write = func(file string, perm fs.FileMode, content func(io.Writer) error) error {
		for writes++; writes == 1; { // the others come while this one writes
			m.mu.Lock()
			notes := m.lateNotes
			m.mu.Unlock()
			if notes == targets {
				break
			}
			time.Sleep(time.Millisecond)
		}
		return write(file, perm, content)
	}
	hour := time.Now().Add(-time.Hour).UnixMilli()
	var all sync.WaitGroup
	for i := range targets {
		l := m.Late(time.Now())
		name := fmt.Sprintf("s%d", i)
		l.Add(series(name), hour)
		all.Go(func() {
			l.Note()
			text, err := os.ReadFile(m.opts.LateFile)
			assert.NoError(t, err)
			assert.Contains(t, string(text), fmt.Sprintf("%q", name))
		})
	}
	all.Wait()
	require.LessOrEqual(t, writes, 2)
}

// damaged cannot be read where it is of the job bad.
type damaged struct{ stored }

func (d damaged) Read(ctx context.Context, of Target, mint, maxt int64, each func(labels.Labels, []Sample) error) error {
	if of.Job == "bad" {
		return errors.New("corrupted chunk")
	}
	return d.stored.Read(ctx, of, mint, maxt, each)
}

// What cannot be read is given up at some time, and counted. The rest arrives.
func TestLateSamplesThatCannotBeRead(t *testing.T) {
	x := newReceiving(t)
	src := stored{}
	m := lateManager(t, t.TempDir(), damaged{src}, x.config(t))
	hour := time.Now().Add(-time.Hour).UnixMilli()
	src.append(m, "bad", hour)
	src.append(m, "good", hour)
	m.mu.Lock()
	for _, l := range m.receivers[0].late[Target{Job: "bad", Instance: "i"}] {
		l.failed = maxLateTries - 1
	}
	m.mu.Unlock()
	m.done(t)
	require.Equal(t, map[string][]int64{"good": {hour}}, x.all())
	require.Equal(t, 1.0, m.Status()[0].Unreadable)
}

// A damaged file is not a reason not to start.
func TestDamagedLateFile(t *testing.T) {
	x, dir := newReceiving(t), t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "late.json"), []byte("{"), 0o600))
	src := stored{}
	m := lateManager(t, dir, src, x.config(t))
	require.FileExists(t, filepath.Join(dir, "late.json.aside"))
	src.append(m, "gap", time.Now().Add(-time.Hour).UnixMilli())
	m.done(t)
	require.Len(t, x.all()["gap"], 1)
}
