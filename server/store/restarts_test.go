package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/stretchr/testify/require"
)

// Seeds with series that have two references, a Prometheus between two runs, and blocks of
// samples that were out of order.
func TestKillsAndStops(t *testing.T) {
	for _, seed := range []uint64{1, 7, 8, 14, 18} {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			require.NotZero(t, killAndStop(t, seed, 40), "no snapshot was used")
		})
	}
}

// killAndStop does steps things to a store in an order that depends on seed, and looks
// after each restart that every sample is there, with its value, and no other. It returns
// how many restarts used a snapshot of memory.
func killAndStop(t *testing.T, seed uint64, steps int) (used int) {
	h := &history{T: t, random: rand.New(rand.NewPCG(seed, 0)), dir: t.TempDir(), want: make(map[string]map[int64]float64), now: start.Add(-24 * time.Hour)}
	h.open()
	defer func() { h.stop() }()
	for range steps {
		h.log = append(h.log, h.step())
	}
	h.restart(false)
	t.Logf("%d restarts, %d with a snapshot of memory", h.restarts, h.used)
	return h.used
}

// history is a store, and what has been written to it.
type history struct {
	*testing.T
	random *rand.Rand
	dir    string
	s      *Store
	stop   func()
	text   *textLog
	now    time.Time
	away   [40]bool                     // series that get no samples for now
	want   map[string]map[int64]float64 // series → milliseconds → value
	log    []string

	used, restarts int
}

func (h *history) options() tsdb.Options {
	o := *tsdb.DefaultOptions()
	o.MinBlockDuration, o.MaxBlockDuration = (20 * time.Minute).Milliseconds(), time.Hour.Milliseconds()
	o.OutOfOrderTimeWindow = (30 * time.Minute).Milliseconds()
	o.WALSegmentSize = 32 << 10
	o.EnableMemorySnapshotOnShutdown = true
	return o
}

func (h *history) open() {
	h.text = &textLog{}
	h.s, h.stop = runningWith(h.T, h.dir, func(o *Options) {
		o.TSDB, o.Logger = h.options(), h.text.logger()
	})
	h.s.local.db.Load().tsdb.DisableCompactions() // a copy of the directory has to be what a kill leaves
}

func (h *history) step() string {
	switch n := h.random.IntN(20); {
	case n < 8:
		minutes := 1 + h.random.IntN(25)
		h.write(h.s.Appender, minutes)
		return fmt.Sprintf("%d minutes", minutes)
	case n < 10:
		for i := range h.away {
			h.away[i] = h.random.IntN(3) == 0
		}
		return "others are away"
	case n < 12:
		h.late()
		return "late samples"
	case n < 15:
		require.NoError(h, h.s.local.db.Load().tsdb.Compact(h.Context()))
		return "compact"
	case n < 17:
		h.restart(true)
		return "kill"
	case n < 19:
		h.restart(false)
		return "stop"
	default:
		h.foreign()
		return "another program"
	}
}

func (h *history) write(appender func(context.Context) storage.Appender, minutes int) {
	for range minutes {
		h.now = h.now.Add(time.Minute)
		app := appender(h.Context())
		for i, away := range h.away {
			if !away {
				h.append(app, fmt.Sprint(i), h.now.UnixMilli())
			}
		}
		// Without new series upstream gives references again after a kill.
		h.append(app, h.now.Format(time.TimeOnly), h.now.UnixMilli())
		require.NoError(h, app.Commit())
	}
}

// late writes samples between those of the last minutes.
func (h *history) late() {
	app := h.s.Appender(h.Context())
	for i := range h.away {
		if h.random.IntN(4) == 0 {
			for m := range time.Duration(h.random.IntN(20)) {
				h.append(app, fmt.Sprint(i), h.now.Add(-m*time.Minute).UnixMilli()-1-h.random.Int64N(1000))
			}
		}
	}
	require.NoError(h, app.Commit())
}

func (h *history) append(app storage.Appender, name string, at int64) {
	value := h.random.Float64()
	if _, again := h.want[name][at]; again {
		return
	}
	_, err := app.Append(0, labels.FromStrings("__name__", "a", "i", name), at, value)
	require.NoError(h, err)
	if h.want[name] == nil {
		h.want[name] = make(map[int64]float64)
	}
	h.want[name][at] = value
}

func (h *history) restart(kill bool) {
	if kill {
		h.dir = copied(h.T, h.dir)
	}
	h.stop()
	h.open()
	h.restarts++
	if h.text.has(snapshotUsed) {
		h.used++
	}
	h.check()
}

// foreign is a Prometheus that has the directory for a while, with snapshots or without.
func (h *history) foreign() {
	h.stop()
	o := h.options()
	o.EnableMemorySnapshotOnShutdown = h.random.IntN(2) == 0
	db, err := tsdb.Open(h.dir, nil, nil, &o, nil)
	require.NoError(h, err)
	db.DisableCompactions()
	h.write(db.Appender, h.random.IntN(30))
	if h.random.IntN(2) == 0 {
		require.NoError(h, h.s.local.db.Load().tsdb.Compact(h.Context()))
	}
	if h.random.IntN(3) == 0 {
		h.dir = copied(h.T, h.dir)
	}
	require.NoError(h, db.Close())
	h.open()
	h.check()
}

// check compares what is stored with what should be.
func (h *history) check() {
	q, err := h.s.Querier(0, h.now.UnixMilli())
	require.NoError(h, err)
	defer q.Close()
	missing, wrong, first := 0, 0, ""
	want := maps.Clone(h.want)
	set := q.Select(h.Context(), false, nil, labels.MustNewMatcher(labels.MatchEqual, "__name__", "a"))
	for set.Next() {
		name := set.At().Labels().Get("i")
		rest := maps.Clone(want[name])
		it := set.At().Iterator(nil)
		for it.Next() != chunkenc.ValNone {
			at, value := it.At()
			if v, ok := rest[at]; !ok || v != value {
				wrong++
			}
			delete(rest, at)
		}
		require.NoError(h, it.Err())
		want[name] = rest
	}
	require.NoError(h, set.Err())
	for name, rest := range want {
		missing += len(rest)
		if len(rest) > 0 {
			first = fmt.Sprintf("%s at %v", name, time.UnixMilli(slices.Min(slices.Collect(maps.Keys(rest)))).Sub(start))
		}
	}
	require.True(h, missing == 0 && wrong == 0, "%d are missing (%s), %d are wrong, after %q at %v:\n%s", missing, first, wrong, h.log, h.now.Sub(start), h.text)
}

// copied is a copy of dir, as it is after a kill. It is made anew if a state file is
// written at that moment, which has another name until it is complete.
func copied(t *testing.T, dir string) string {
	t.Helper()
	for {
		to := t.TempDir()
		err := os.CopyFS(to, os.DirFS(dir))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		require.NoError(t, err)
		return to
	}
}
