package uptime

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"github.com/clanmon/clanmon/discovery/contract"
)

// The states of a second. Of several targets, the one that says most for the machine counts.
const (
	unknown = iota
	off
	down
	on
	up
)

// hold is how far apart two samples may be with the first still saying what is between them.
const hold = 5 * time.Minute

// ownJob is the server's own: it says that the server runs, not that its machine is reachable.
const ownJob = "clanmon"

// count adds what "up" says of a time, which is in one month, to what is in to.
func (u *Uptime) count(ctx context.Context, from, to time.Time, whose func(labels.Labels) string, in months) error {
	q, err := u.opts.Store.Querier(from.Add(-hold).UnixMilli(), to.Add(hold).UnixMilli())
	if err != nil {
		return err
	}
	defer q.Close()
	all := make(map[string][]uint8) // the seconds of each machine
	set := q.Select(ctx, false, nil, labels.MustNewMatcher(labels.MatchEqual, model.MetricNameLabel, "up"))
	var it chunkenc.Iterator
	for set.Next() {
		s := set.At()
		ls := s.Labels()
		machine := whose(ls)
		if machine == "" {
			machine = ls.Get(contract.MachineLabel) // of one that is gone
		}
		if machine == "" || ls.Get(model.JobLabel) == ownJob {
			continue
		}
		seconds := all[machine]
		if seconds == nil {
			seconds = make([]uint8, int(to.Sub(from).Seconds()))
			all[machine] = seconds
		}
		it = s.Iterator(it)
		if err := fill(it, seconds, from.UnixMilli(), ls.Get(contract.AvailabilityLabel) == contract.Intermittent); err != nil {
			return fmt.Errorf("read up: %w", err)
		}
	}
	if err := set.Err(); err != nil {
		return fmt.Errorf("read up: %w", err)
	}
	var silences []Silence
	for _, s := range u.opts.Maintenance(ctx) {
		if s.From.Before(to) && s.To.After(from) {
			silences = append(silences, s)
		}
	}
	for machine, seconds := range all {
		in.add(from, machine, tally(seconds, machine, from, silences))
	}
	return nil
}

// fill writes into seconds, which begin at from in milliseconds, what the samples of a target
// say. A sample counts until the next one, or, where none follows in time, for as long as the
// one before it did.
func fill(it chunkenc.Iterator, seconds []uint8, from int64, intermittent bool) error {
	second := func(t int64) int { return min(max(int((t-from)/1000), 0), len(seconds)) }
	write := func(a, b int64, v float64) {
		state := uint8(down)
		switch {
		case v == 1 && intermittent:
			state = on
		case v == 1:
			state = up
		case intermittent:
			state = off
		}
		for i, end := second(a), second(b); i < end; i++ {
			seconds[i] = max(seconds[i], state)
		}
	}
	var t, interval int64
	var v float64
	known := false
	for kind := it.Next(); kind != chunkenc.ValNone; kind = it.Next() {
		if kind != chunkenc.ValFloat {
			continue
		}
		nt, nv := it.At()
		if known {
			if gap := nt - t; gap <= hold.Milliseconds() {
				interval = gap
				write(t, nt, v)
			} else {
				write(t, t+interval, v)
			}
		}
		t, v, known = nt, nv, !value.IsStaleNaN(nv)
	}
	if known {
		write(t, t+interval, v)
	}
	return it.Err()
}

// tally counts the seconds of a machine. Silences may overlap.
func tally(seconds []uint8, machine string, from time.Time, silences []Silence) Time {
	const silenced = up + 1
	for _, s := range silences {
		if !s.Covers(machine) {
			continue
		}
		for i := max(0, int(s.From.Sub(from).Seconds())); i < min(len(seconds), int(s.To.Sub(from).Seconds())); i++ {
			if seconds[i] == down {
				seconds[i] = silenced
			}
		}
	}
	var n [silenced + 1]int64
	for _, s := range seconds {
		n[s]++
	}
	return Time{Up: n[up], Down: n[down], Maintenance: n[silenced], On: n[on], Off: n[off]}
}
