package jobs

import (
	"context"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
)

// readThemselves are the records that depend on their own last value. The rules look 2 hours
// back for it: looking further would cost more at each evaluation than all else.
var readThemselves = []string{
	successRecord, gapRecord, minRecord, maxRecord,
	"job:gone_since:timestamp_seconds", "backup:late_since:timestamp_seconds", "backup:first_seen:timestamp_seconds",
}

const (
	// bridged is how long a stop the rules bridge by themselves.
	bridged = time.Hour
	// lastValues is how long before the stop a series had to have a sample.
	lastValues = 10 * time.Minute
)

// restoreFrom are how far back values are looked for, the usual case first.
var restoreFrom = []time.Duration{bridged, 24 * time.Hour, 7 * 24 * time.Hour, 30 * 24 * time.Hour}

// Restore appends what was recorded before a longer stop of the server, so that the rules find
// it. It must have returned before they are evaluated.
func (j *Jobs) Restore(ctx context.Context, now time.Time) error {
	if j.opts.Store == nil || !j.opts.Recorded() {
		return nil
	}
	type sample struct {
		labels labels.Labels
		t      int64
		v      float64
	}
	for _, back := range restoreFrom {
		var all []sample
		stop := int64(0)
		err := j.latest(ctx, now, back, func(_ string, ls labels.Labels, t int64, v float64) {
			all = append(all, sample{ls, t, v})
			stop = max(stop, t)
		}, readThemselves...)
		if err != nil || len(all) > 0 && back == bridged {
			return err
		}
		if len(all) == 0 {
			continue
		}
		app := j.opts.Appendable.AppenderV2(ctx)
		for _, s := range all {
			if stop-s.t > lastValues.Milliseconds() {
				continue // it had ended
			}
			if _, err := app.Append(0, s.labels, 0, now.UnixMilli(), s.v, nil, nil, storage.AOptions{}); err != nil {
				_ = app.Rollback()
				return err
			}
		}
		return app.Commit()
	}
	return nil
}
