package store

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
)

// Arrivals appends to a store and remembers when it last stored a sample. Those
// who bring samples from outside share one; rules append to the store itself, so
// that what they record does not count. Safe for concurrent use.
type Arrivals struct {
	next storage.AppendableV2
	last atomic.Int64 // Unix milliseconds
}

// NewArrivals returns one that has stored nothing yet.
func NewArrivals(next storage.AppendableV2) *Arrivals { return &Arrivals{next: next} }

// Last is when a sample was last stored; the zero time if none was.
func (a *Arrivals) Last() time.Time {
	if ms := a.last.Load(); ms != 0 {
		return time.UnixMilli(ms)
	}
	return time.Time{}
}

// AppenderV2 implements storage.AppendableV2.
func (a *Arrivals) AppenderV2(ctx context.Context) storage.AppenderV2 {
	return &arrival{AppenderV2: a.next.AppenderV2(ctx), all: a}
}

type arrival struct {
	storage.AppenderV2
	all  *Arrivals
	some bool // a sample was accepted
}

func (a *arrival) Append(ref storage.SeriesRef, ls labels.Labels, st, t int64, v float64, h *histogram.Histogram, fh *histogram.FloatHistogram, o storage.AOptions) (storage.SeriesRef, error) {
	ref, err := a.AppenderV2.Append(ref, ls, st, t, v, h, fh, o)
	a.some = a.some || stored(err)
	return ref, err
}

// AppendExemplars implements storage.ExemplarAppenderV2, which remote write wants.
func (a *arrival) AppendExemplars(ref storage.SeriesRef, ls labels.Labels, es []exemplar.Exemplar) (storage.SeriesRef, error) {
	if e, ok := a.AppenderV2.(storage.ExemplarAppenderV2); ok {
		return e.AppendExemplars(ref, ls, es)
	}
	return 0, errors.ErrUnsupported
}

func (a *arrival) Commit() error {
	err := a.AppenderV2.Commit()
	if err == nil && a.some {
		a.all.last.Store(time.Now().UnixMilli())
	}
	return err
}
