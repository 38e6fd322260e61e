package store

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/golang/snappy"
	"github.com/prometheus/client_golang/exp/api/remote"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	"github.com/prometheus/prometheus/storage"
	upstream "github.com/prometheus/prometheus/storage/remote"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/stretchr/testify/require"
)

type failing struct{ storage.AppenderV2 }

func (failing) Commit() error { return errors.New("no space left on device") }

type failingStore struct{ storage.AppendableV2 }

func (f failingStore) AppenderV2(ctx context.Context) storage.AppenderV2 {
	return failing{f.AppendableV2.AppenderV2(ctx)}
}

func TestArrivals(t *testing.T) {
	db, err := tsdb.Open(t.TempDir(), promslog.NewNopLogger(), nil, tsdb.DefaultOptions(), nil)
	require.NoError(t, err)
	t.Cleanup(func() { db.Close() })
	write := func(a *Arrivals, at time.Time) error {
		app := a.AppenderV2(t.Context())
		_, err := app.Append(0, labels.FromStrings("__name__", "a"), 0, at.UnixMilli(), 1, nil, nil, storage.AOptions{})
		return errors.Join(err, app.Commit())
	}
	a := NewArrivals(db)
	require.NoError(t, a.AppenderV2(t.Context()).Commit())
	require.Zero(t, a.Last(), "nothing was in it")
	now := time.Now()
	require.NoError(t, write(a, now))
	require.WithinDuration(t, now, a.Last(), time.Minute)

	full := NewArrivals(failingStore{db})
	require.Error(t, write(full, now.Add(time.Second)))
	require.Zero(t, full.Last(), "it was not stored")
	old := NewArrivals(db)
	require.Error(t, write(old, now.Add(-3*time.Hour)))
	require.Zero(t, old.Last(), "it was refused")
}

// Upstream's handlers ask the appender for more than its interface says.
func TestArrivalsTakeRemoteWrite(t *testing.T) {
	db, err := tsdb.Open(t.TempDir(), promslog.NewNopLogger(), nil, tsdb.DefaultOptions(), nil)
	require.NoError(t, err)
	t.Cleanup(func() { db.Close() })
	a := NewArrivals(storage.NewFanout(promslog.NewNopLogger(), db))
	h := upstream.NewWriteHandler(promslog.NewNopLogger(), prometheus.NewRegistry(), a, remote.MessageTypes{remote.WriteV1MessageType}, false, false)
	text, err := (&prompb.WriteRequest{Timeseries: []prompb.TimeSeries{{
		Labels:    []prompb.Label{{Name: "__name__", Value: "up"}, {Name: "machine", Value: "m"}},
		Samples:   []prompb.Sample{{Value: 1, Timestamp: time.Now().UnixMilli()}},
		Exemplars: []prompb.Exemplar{{Labels: []prompb.Label{{Name: "trace", Value: "x"}}, Value: 1, Timestamp: time.Now().UnixMilli()}},
	}}}).Marshal()
	require.NoError(t, err)
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodPost, "/api/v1/write", bytes.NewReader(snappy.Encode(nil, text)))
	r.Header.Set("Content-Type", "application/x-protobuf")
	r.Header.Set("Content-Encoding", "snappy")
	h.ServeHTTP(w, r)
	require.Equal(t, http.StatusNoContent, w.Code, w.Body)
	require.NotZero(t, a.Last())
}
