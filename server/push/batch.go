package push

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"

	"github.com/clanmon/clanmon/discovery/contract"
)

// defaultJob is of series without the label job.
const defaultJob = "push"

// batch is a request of a machine.
type batch struct {
	push    *Push
	machine string
	now     time.Time
	why     error // the batch is refused
	feeds   map[feed]*sent
	stored  int
	series  int // started so far, of which each counts against the limit
}

// sent is what a batch has of a feed.
type sent struct {
	newest  int64
	before  int64 // the newest sample that was stored before the batch, unless scraped
	scraped bool
}

// refuse makes the batch fail, with an error that its sender reads.
func (b *batch) refuse(format string, args ...any) error {
	b.why = fmt.Errorf(format, args...)
	return b.why
}

// appender stores the samples of a batch as those of its machine.
type appender struct {
	storage.AppenderV2
	batch *batch

	// The series of the sample before. Upstream appends those of a series one after the other.
	from   labels.Labels
	to     labels.Labels
	feed   *sent
	known  bool
	reason string // why its samples are left out
}

// Append implements storage.AppenderV2.
func (a *appender) Append(ref storage.SeriesRef, ls labels.Labels, st, t int64, v float64, h *histogram.Histogram, fh *histogram.FloatHistogram, o storage.AOptions) (storage.SeriesRef, error) {
	b := a.batch
	if !a.known || !labels.Equal(ls, a.from) {
		if err := a.next(ls); err != nil {
			return 0, err
		}
		ref = 0
	}
	if a.feed != nil {
		a.feed.newest = max(a.feed.newest, t)
	}
	if a.reason != "" {
		b.drop(a.reason)
		return 0, nil
	}
	ref, err := a.AppenderV2.Append(ref, a.to, st, t, v, h, fh, o)
	switch {
	case err == nil, errors.Is(err, (*storage.AppendPartialError)(nil)):
		b.stored++
	case errors.Is(err, storage.ErrDuplicateSampleForTimestamp):
		b.drop(reasonDuplicate)
		err = nil
	case errors.Is(err, storage.ErrTooOldSample), errors.Is(err, storage.ErrOutOfBounds):
		b.drop(reasonTooOld)
		err = nil
	case errors.Is(err, storage.ErrOutOfOrderSample):
		b.drop(reasonOutOfOrder)
		err = nil
	}
	return ref, err
}

func (b *batch) drop(reason string) { b.push.dropped.WithLabelValues(b.machine, reason).Inc() }

// next begins a series.
func (a *appender) next(ls labels.Labels) error {
	b := a.batch
	a.known, a.from, a.reason, a.feed = true, ls.Copy(), "", nil
	claimed := ls.Get(contract.MachineLabel)
	architecture := ""
	if ls.Get(model.MetricNameLabel) == "node_uname_info" { // the one metric with such a label of its own
		claimed, architecture = "", claimed
	}
	if claimed != "" && claimed != b.machine {
		return b.refuse("a series is labelled machine=%q, but this is %s: leave the label out", claimed, b.machine)
	}
	job := ls.Get(model.JobLabel)
	if job == "" {
		job = defaultJob
	}
	if slices.Contains(b.push.opts.Reserved, job) {
		return b.refuse("a series is labelled job=%q, which is reserved: use another name", job)
	}
	of := feed{Target{b.machine, job}, instance(b.machine, ls.Get(model.InstanceLabel))}
	a.feed = b.feeds[of]
	if a.feed == nil {
		a.feed = &sent{scraped: b.push.scrapes(of.Target, b.now)}
		if !a.feed.scraped {
			a.feed.before = b.push.newest(of, b.now)
		}
		b.feeds[of] = a.feed
	}
	switch {
	case a.feed.scraped:
		a.reason = reasonScraped
		return nil
	case ls.Get(model.MetricNameLabel) == "up":
		a.reason = reasonUp
		return nil
	}
	b.series++
	if n, ok := b.push.room(b); !ok {
		return b.refuse("%s has %d series, and --push.series-limit is %d", b.machine, n, b.push.opts.MaxSeries)
	}
	build := labels.NewBuilder(ls)
	build.Set(contract.MachineLabel, b.machine)
	if architecture != "" && architecture != b.machine {
		build.Set(model.ExportedLabelPrefix+contract.MachineLabel, architecture)
	}
	build.Set(model.JobLabel, job)
	build.Set(model.InstanceLabel, of.instance)
	build.Set(contract.AvailabilityLabel, b.push.opts.Availability)
	a.to = build.Labels()
	return nil
}

// instance is the address by which series of a machine are told apart: its name, with the port
// that it says.
func instance(machine, said string) string {
	if _, port, err := net.SplitHostPort(said); err == nil {
		if _, err := contract.ParsePort(port); err == nil {
			return net.JoinHostPort(machine, port)
		}
	}
	return machine
}

// AppendExemplars implements storage.ExemplarAppenderV2, which upstream's handler wants.
func (a *appender) AppendExemplars(ref storage.SeriesRef, ls labels.Labels, es []exemplar.Exemplar) (storage.SeriesRef, error) {
	e, ok := a.AppenderV2.(storage.ExemplarAppenderV2)
	if !ok || a.reason != "" || !a.known || !labels.Equal(ls, a.from) {
		return 0, nil
	}
	return e.AppendExemplars(ref, a.to, es)
}

// Commit implements storage.AppenderTransaction.
func (a *appender) Commit() error {
	if err := a.AppenderV2.Commit(); err != nil {
		return err
	}
	a.batch.push.hear(a.batch)
	return nil
}
