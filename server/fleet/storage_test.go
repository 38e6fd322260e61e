package fleet

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/scrape"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/discovery/contract"
)

// Where no sample is stored, nobody knows that a machine is well; that one does not
// respond is known.
func TestNothingIsKnownWhileNothingIsStored(t *testing.T) {
	target := func(machine string, err error) *scrape.Target {
		x := scrape.NewTarget(labels.FromStrings("job", "x", "instance", machine+":1", "machine", machine, "__address__", machine+":1"),
			&config.DefaultScrapeConfig, model.LabelSet{}, model.LabelSet{})
		x.Report(time.Now(), time.Second, err)
		return x
	}
	storage := Storage{Refuses: true, Since: time.Now().Add(-time.Minute), Reason: "disk full"}
	f := New(Options{
		Discovered: func(string) bool { return false },
		Status:     func() []contract.Status { return nil },
		Targets: func() map[string][]*scrape.Target {
			return map[string][]*scrape.Target{"x": {target("well", nil), target("refused", tsdb.ErrNotReady), target("gone", errors.New("EOF"))}}
		},
		Storage:    func() Storage { return storage },
		Registerer: prometheus.NewRegistry(), Logger: slog.New(slog.DiscardHandler),
	})
	s := f.refresh(t.Context(), never)
	for name, want := range map[string][2]string{"well": {stateWaiting, "unknown"}, "refused": {stateWaiting, "unknown"}, "gone": {stateDown, "down"}} {
		j := s.machines[name]
		require.Equal(t, want[0], j.state, name)
		require.Equal(t, want[1], j.members[0].Health, name)
		require.Zero(t, newRow(j, nil).Up, name)
	}
	require.Equal(t, storage.Since, s.machines["well"].since)
	notices := func() (all []string) {
		for _, n := range f.notices(s) {
			if n.Kind == "storage" {
				all = append(all, n.Level+" "+n.Text)
			}
		}
		return all
	}
	require.Equal(t, []string{"critical Samples are not stored: disk full"}, notices())

	storage = Storage{Unsafe: true, Damaged: "block 01M8"}
	time.Sleep(freshFor)
	s = f.refresh(t.Context(), never)
	require.Equal(t, stateUnjudged, s.machines["well"].state)
	require.Equal(t, 1, newRow(s.machines["well"], nil).Up)
	require.Equal(t, []string{"critical Do not restart: samples in memory are not safe yet", "warning Damaged data was set aside: block 01M8"}, notices())
}

// A machine whose samples stopped is not up, though its last sample said so.
func TestAQuietMachineIsNotUp(t *testing.T) {
	f, _ := newFleet(t, &strings.Builder{}, twoMethods)
	for name, ago := range map[string]time.Duration{"a": 2 * quietAfter, "b": 5 * time.Second} {
		f.view.fed[fedKey{name, "x", name}] = fedMember(sample{labels: labels.FromStrings("machine", name, "job", "x", "instance", name), t: time.Now().Add(-ago), v: 1})
	}
	s := f.refresh(t.Context(), never)
	require.Zero(t, newRow(s.machines["a"], nil).Up)
	require.Equal(t, "down", s.machines["a"].members[0].Health)
	require.Equal(t, stateDown, s.machines["a"].state)
	require.Equal(t, 1, newRow(s.machines["b"], nil).Up)
	fed := func() string {
		for _, n := range f.notices(s) {
			if n.Kind == "fed" {
				return n.Level + " " + n.Text
			}
		}
		return ""
	}
	require.Equal(t, "warning Samples of a stopped arriving", fed())
	delete(s.machines, "a")
	require.Regexp(t, "^info Fed by remote write, last sample [56] s ago$", fed())
}
