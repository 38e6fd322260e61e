package fleet

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/scrape"
	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/discovery/contract"
)

// The version is that of the answer, and another one only if the answer is another one.
func TestVersion(t *testing.T) {
	target := scrape.NewTarget(labels.FromStrings("job", "x", "instance", "m:1", "machine", "m", "__address__", "m:1"),
		&config.DefaultScrapeConfig, model.LabelSet{}, model.LabelSet{})
	target.Report(time.Now(), time.Second, nil)
	var peers []Peer
	f := New(Options{
		Discovered: func(string) bool { return false },
		Status:     func() []contract.Status { return nil },
		Targets:    func() map[string][]*scrape.Target { return map[string][]*scrape.Target{"x": {target}} },
		Peers:      func() []Peer { return peers },
		Registerer: prometheus.NewRegistry(), Logger: slog.New(slog.DiscardHandler),
	})
	answer := func() (a struct{ Data fleetAnswer }) {
		w := httptest.NewRecorder()
		f.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/fleet", nil))
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &a))
		return a
	}
	// later looks again, as after a while.
	later := func() string {
		old := *f.view.now.Load()
		old.at = time.Time{}
		f.view.now.Store(&old)
		f.refresh(t.Context(), never)
		return f.Version(t.Context())
	}
	first := later()
	require.Equal(t, first, answer().Data.Cursor)
	for range 3 {
		target.Report(time.Now(), time.Second, nil)
		require.Equal(t, first, later())
	}
	target.Report(time.Now(), time.Second, errors.New("EOF"))
	down := later()
	require.NotEqual(t, first, down)
	require.Equal(t, down, answer().Data.Cursor)
	peers = []Peer{{"The rules differ", "on b"}}
	warned := later()
	require.NotEqual(t, down, warned)
	require.Equal(t, warned, answer().Data.Cursor)

	// A cursor of other notices gives the rows that changed, as before.
	w := httptest.NewRecorder()
	f.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/fleet?since="+down, nil))
	var since struct{ Data fleetAnswer }
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &since))
	require.False(t, since.Data.Full)
	require.Empty(t, since.Data.Rows)
	require.Len(t, since.Data.Notices, len(answer().Data.Notices))
}
