package traffic

import (
	"cmp"
	"context"
	"math"
	"net"
	"slices"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

const (
	received = 0
	sent     = 1

	receivedTotal = "node_network_receive_bytes_total"
	sentTotal     = "node_network_transmit_bytes_total"

	// virtualNet are the interfaces whose traffic is also that of others: as on Fleet.
	virtualNet = "lo|veth.*|ve-.*|vb-.*|vnet.*|tap.*|tun.*|ppp.*|br-.*|br[0-9].*|docker.*|podman.*|virbr.*|vmbr.*|fwbr.*|fwpr.*|fwln.*|lxcbr.*|lxdbr.*|incusbr.*|cni.*|flannel.*|cali.*|tailscale.*|wg.*|zt.*|ygg.*|nebula.*|bond.*|team.*|vlan.*|.+[.][0-9]+|dummy.*|ifb.*|sit.*"
)

var directionNames = [2]string{received: "received", sent: "sent"}

const (
	// window is how much is read at once.
	window = 24 * time.Hour
	// keptDays are enough for this month, the last, and four weeks before today.
	keptDays = 70
	// glitch: a counter that falls by less than this part has not begun again at zero. Some
	// drivers do that; what it says is left out until it is where it was.
	glitch = 0.01
)

// count reads at most one window of what was stored since the last time, and tells whether
// there is more until now. After an error it may be called again: what was counted is known.
func (t *Traffic) count(ctx context.Context, now time.Time) (more bool, err error) {
	s, end := t.state, now.UnixMilli()
	from := min(s.Until, end) // the clock may have been ahead
	if from == 0 {
		from = t.month(now).before().from.Add(-complete).UnixMilli()
	}
	to := min(end, from+window.Milliseconds())
	if to > from {
		if err := t.read(ctx, from+1, to); err != nil {
			return false, err
		}
		t.dirty = true
	}
	if s.Until = to; to < end {
		return true, nil
	}
	s.prune(dayOf(now.In(t.opts.Zone)) - keptDays)
	return false, nil
}

// place is one direction of an interface of a machine.
type place struct {
	machine, device string
	direction       int
}

// source is a series of a place, which may have several: two jobs, or a target that moved.
type source struct {
	series storage.Series
	hash   uint64
	from   int64 // begin of what it covers
}

func (t *Traffic) read(ctx context.Context, from, to int64) error {
	q, err := t.opts.Store.Querier(from, to)
	if err != nil {
		return err
	}
	defer q.Close()
	set := q.Select(ctx, false, &storage.SelectHints{Start: from, End: to},
		labels.MustNewMatcher(labels.MatchRegexp, model.MetricNameLabel, receivedTotal+"|"+sentTotal),
		labels.MustNewMatcher(labels.MatchNotRegexp, "device", virtualNet))
	places := make(map[place][]source)
	for set.Next() {
		one := set.At()
		ls := one.Labels()
		p := place{machine: identity(ls), device: ls.Get("device")}
		if ls.Get(model.MetricNameLabel) == sentTotal {
			p.direction = sent
		}
		if p.machine == "" || p.device == "" {
			continue
		}
		t.state.machine(p.machine).meet(ls)
		places[p] = append(places[p], source{series: one, hash: ls.Hash()})
	}
	if err := set.Err(); err != nil {
		return err
	}
	cal := calendar{zone: t.opts.Zone}
	var it chunkenc.Iterator
	for p, all := range places {
		m := t.state.Machines[p.machine]
		d := m.device(p.device)
		if len(all) > 1 {
			for i := range all {
				all[i].from = d.begin(all[i].series, all[i].hash, p.direction)
			}
			// Each covers all from its begin to its end. In this order, what ends later
			// has no gap to what was counted before.
			slices.SortFunc(all, func(a, b source) int { return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(a.hash, b.hash)) })
		}
		for _, one := range all {
			it = one.series.Iterator(it)
			if err := m.add(d, p.direction, one.hash, it, &cal); err != nil {
				return err
			}
		}
	}
	return nil
}

// identity is what a machine is known by over time.
func identity(ls labels.Labels) string {
	if name := ls.Get("machine"); name != "" {
		return name
	}
	instance := ls.Get("instance")
	if host, _, err := net.SplitHostPort(instance); err == nil {
		return "@" + host
	}
	if instance != "" {
		return "@" + instance
	}
	return ""
}

// begin is where what a series covers begins.
func (d *device) begin(s storage.Series, hash uint64, direction int) int64 {
	if c, ok := d.Counters[direction][hash]; ok {
		return c.At
	}
	if it := s.Iterator(nil); it.Next() == chunkenc.ValFloat {
		return it.AtT()
	}
	return math.MaxInt64
}

// add counts the samples of a source.
func (m *machine) add(d *device, direction int, hash uint64, it chunkenc.Iterator, cal *calendar) error {
	counters := d.Counters[direction]
	if counters == nil {
		counters = make(map[uint64]counter)
		d.Counters[direction] = counters
	}
	var counted int64 // the end of what others of the same place covered
	for _, c := range counters {
		counted = max(counted, c.At)
	}
	c, known := counters[hash]
	for kind := it.Next(); kind != chunkenc.ValNone; kind = it.Next() {
		if kind != chunkenc.ValFloat {
			continue
		}
		at, v := it.At()
		if math.IsNaN(v) || math.IsInf(v, 0) || v < 0 || known && at <= c.At { // stale, or read before
			continue
		}
		if known && at > counted {
			from, more := max(c.At, counted), v-c.Value
			switch {
			case v < c.Value*(1-glitch):
				more = v
			case v < c.Value:
				v, more = c.Value, 0
			}
			cal.split(from, at, more*float64(at-from)/float64(at-c.At), func(day int, bytes int64) { d.count(day, direction, bytes) })
		}
		if m.Since == 0 || at < m.Since {
			m.Since = at
		}
		c, known = counter{at, v}, true
	}
	if known {
		counters[hash] = c
	}
	return it.Err()
}

// calendar has the days of a zone.
type calendar struct {
	zone     *time.Location
	day      int
	from, to int64 // of the day
}

// split gives each day its part of what was counted evenly between two times.
func (c *calendar) split(from, to int64, bytes float64, add func(day int, bytes int64)) {
	if bytes <= 0 {
		return
	}
	length := float64(to - from)
	for from < to {
		if from < c.from || from >= c.to {
			at := time.UnixMilli(from).In(c.zone)
			y, m, d := at.Date()
			c.day = dayOf(at)
			c.from, c.to = time.Date(y, m, d, 0, 0, 0, 0, c.zone).UnixMilli(), time.Date(y, m, d+1, 0, 0, 0, 0, c.zone).UnixMilli()
		}
		end := min(to, c.to)
		add(c.day, int64(math.Round(bytes*float64(end-from)/length)))
		from = end
	}
}

// dayOf numbers the days of a calendar.
func dayOf(t time.Time) int {
	y, m, d := t.Date()
	return int(time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Unix() / 86400)
}

// span is a month: of the calendar, or from one day of it to the same of the next.
type span struct {
	from, to time.Time
}

// month is the one that a time is in.
func (t *Traffic) month(at time.Time) span {
	y, m, d := at.In(t.opts.Zone).Date()
	if d < t.opts.Quota.Day {
		m--
	}
	begin := func(m time.Month) time.Time { return time.Date(y, m, t.opts.Quota.Day, 0, 0, 0, 0, t.opts.Zone) }
	return span{begin(m), begin(m + 1)}
}

// before is the month before.
func (s span) before() span {
	y, m, d := s.from.Date()
	return span{time.Date(y, m-1, d, 0, 0, 0, 0, s.from.Location()), s.from}
}
