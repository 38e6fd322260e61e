package store

import (
	"context"
	"path/filepath"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"github.com/clanmon/clanmon/server/store/internal/resend"
)

// remoteFile is the name of the file in the data directory that says what receivers of
// remote write have, and remoteLateFile of the one that says what they lack of what was
// stored late.
const (
	remoteFile     = "clanmon-remote-write.json"
	remoteLateFile = "clanmon-remote-write-late.json"
)

// remoteSource is what receivers of remote write may have missed.
type remoteSource struct{ *Store }

// Read implements resend.Source.
func (s remoteSource) Read(ctx context.Context, of resend.Target, mint, maxt int64, each func(labels.Labels, []resend.Sample) error) error {
	if s.opts.Agent {
		return readWAL(ctx, filepath.Join(s.opts.Dir, walDir), of, mint, maxt, each)
	}
	q, err := s.local.Querier(mint, maxt)
	if err != nil {
		return err
	}
	defer q.Close()
	matchers := []*labels.Matcher{labels.MustNewMatcher(labels.MatchEqual, "", "")}
	if !of.Any {
		matchers = []*labels.Matcher{
			labels.MustNewMatcher(labels.MatchEqual, model.JobLabel, of.Job), labels.MustNewMatcher(labels.MatchEqual, model.InstanceLabel, of.Instance),
		}
	}
	set := q.Select(ctx, false, nil, matchers...)
	var (
		it  chunkenc.Iterator
		all []resend.Sample
	)
	for set.Next() {
		series := set.At()
		it, all = series.Iterator(it), all[:0]
		for kind := it.Next(); kind != chunkenc.ValNone; kind = it.Next() {
			var one resend.Sample
			switch kind {
			case chunkenc.ValFloat:
				one.T, one.V = it.At()
			case chunkenc.ValHistogram:
				one.T, one.H = it.AtHistogram(nil)
			case chunkenc.ValFloatHistogram:
				one.T, one.FH = it.AtFloatHistogram(nil)
			}
			if one.T >= mint && one.T <= maxt {
				all = append(all, one)
			}
		}
		if err := it.Err(); err != nil {
			return err
		}
		if len(all) > 0 {
			if err := each(series.Labels(), all); err != nil {
				return err
			}
		}
	}
	return set.Err()
}

// remoteRegistry registers the metrics of remote write with the process', and keeps them
// where they can be looked up cheaply.
type remoteRegistry struct {
	prometheus.Registerer
	own    *prometheus.Registry
	closed atomic.Bool
}

// Register implements prometheus.Registerer.
func (r *remoteRegistry) Register(c prometheus.Collector) error {
	if err := r.Registerer.Register(c); err != nil {
		return err
	}
	return r.own.Register(c)
}

// MustRegister implements prometheus.Registerer.
func (r *remoteRegistry) MustRegister(all ...prometheus.Collector) {
	r.Registerer.MustRegister(all...)
	r.own.MustRegister(all...)
}

// Unregister implements prometheus.Registerer.
func (r *remoteRegistry) Unregister(c prometheus.Collector) bool {
	if !r.closed.Load() {
		r.own.Unregister(c)
	}
	return r.Registerer.Unregister(c)
}

// keep makes what is unregistered from now on still be found here.
func (r *remoteRegistry) keep() { r.closed.Store(true) }
