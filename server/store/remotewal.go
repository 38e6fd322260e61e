package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/tsdb/record"
	"github.com/prometheus/prometheus/tsdb/wlog"

	"github.com/clanmon/clanmon/server/store/internal/resend"
)

// readWAL reads the samples of a target from mint to maxt, in milliseconds, of a WAL that may be
// written to. It is what an agent has instead of a database.
func readWAL(ctx context.Context, dir string, of resend.Target, mint, maxt int64, each func(labels.Labels, []resend.Sample) error) error {
	checkpoint, _, err := wlog.LastCheckpoint(dir)
	if err != nil && !errors.Is(err, record.ErrNotFound) {
		return err
	}
	first, last, err := wlog.Segments(dir)
	if err != nil {
		return err
	}
	w := walReader{of: of, mint: mint, maxt: maxt, series: make(map[chunks.HeadSeriesRef]labels.Labels), samples: make(map[chunks.HeadSeriesRef][]resend.Sample)}
	if checkpoint != "" {
		if err := w.read(ctx, wlog.SegmentRange{Dir: checkpoint, First: -1, Last: -1}); err != nil {
			return fmt.Errorf("%s: %w", checkpoint, err)
		}
	}
	for i := first; i <= last; i++ {
		info, err := os.Stat(wlog.SegmentName(dir, i))
		if errors.Is(err, fs.ErrNotExist) {
			continue // it has been truncated meanwhile
		}
		if err != nil {
			return err
		}
		// What was written before mint has samples from before mint only.
		w.seriesOnly = info.ModTime().UnixMilli() < mint-time.Minute.Milliseconds()
		err = w.read(ctx, wlog.SegmentRange{Dir: dir, First: i, Last: i})
		if damage := (*wlog.CorruptionErr)(nil); errors.As(err, &damage) && i == last {
			err = nil // a record that is being written
		}
		if err != nil {
			return err
		}
	}
	for ref, all := range w.samples {
		if err := each(w.series[ref], all); err != nil {
			return err
		}
	}
	return nil
}

type walReader struct {
	of         resend.Target
	mint, maxt int64
	series     map[chunks.HeadSeriesRef]labels.Labels
	samples    map[chunks.HeadSeriesRef][]resend.Sample
	seriesOnly bool // samples are passed over
	n          int
}

func (w *walReader) read(ctx context.Context, part wlog.SegmentRange) error {
	segments, err := wlog.NewSegmentsRangeReader(part)
	if err != nil {
		return err
	}
	defer segments.Close()
	var (
		r   = wlog.NewReader(segments)
		dec = record.NewDecoder(nil, nil)
	)
	for r.Next() {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := w.record(&dec, r.Record()); err != nil {
			return err
		}
		if resend.TooMany(w.n, w.mint, w.maxt) {
			return resend.ErrMany
		}
	}
	return r.Err()
}

func (w *walReader) record(dec *record.Decoder, rec []byte) error {
	kind := dec.Type(rec)
	if w.seriesOnly && kind != record.Series {
		return nil
	}
	switch kind {
	case record.Series:
		all, err := dec.Series(rec, nil)
		for _, s := range all {
			if w.of.Has(s.Labels) {
				w.series[s.Ref] = s.Labels
			}
		}
		return err
	case record.Samples, record.SamplesV2:
		all, err := dec.Samples(rec, nil)
		for _, s := range all {
			w.add(s.Ref, resend.Sample{T: s.T, V: s.V})
		}
		return err
	case record.HistogramSamples, record.CustomBucketsHistogramSamples, record.HistogramSamplesV2:
		all, err := dec.HistogramSamples(rec, nil)
		for _, s := range all {
			w.add(s.Ref, resend.Sample{T: s.T, H: s.H})
		}
		return err
	case record.FloatHistogramSamples, record.CustomBucketsFloatHistogramSamples, record.FloatHistogramSamplesV2:
		all, err := dec.FloatHistogramSamples(rec, nil)
		for _, s := range all {
			w.add(s.Ref, resend.Sample{T: s.T, FH: s.FH})
		}
		return err
	}
	return nil
}

func (w *walReader) add(ref chunks.HeadSeriesRef, s resend.Sample) {
	if _, ok := w.series[ref]; ok && s.T >= w.mint && s.T <= w.maxt {
		w.samples[ref] = append(w.samples[ref], s)
		w.n++
	}
}
