package events

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"

	"github.com/clanmon/clanmon/discovery/contract"
)

// Every mount has a sample of this metric, also one whose server does not respond.
const mounted = "node_filesystem_device_error"

// What is mounted by programs for a while, or in memory, is not an event.
var (
	lasting = []*labels.Matcher{
		labels.MustNewMatcher(labels.MatchNotRegexp, "fstype", `|tmpfs|ramfs|devtmpfs|squashfs|overlay|iso9660|efivarfs|autofs|fuse[.](snapfuse|portal|lxcfs|gvfsd-fuse)`),
		labels.MustNewMatcher(labels.MatchNotRegexp, "mountpoint", `|/(dev|proc|run|sys|tmp|media|snap|var/lib/(docker|containers|containerd|kubelet|lxcfs|flatpak))(/.*)?`),
		labels.MustNewMatcher(labels.MatchNotRegexp, "device", `.*@.*`), // snapshots of ZFS
	}
	// comings is how often a mount may come back within what is read. Others, such as those of an
	// automounter or a stick, come and go.
	comings = 2
	// atOnce is how many mounts of a machine within five minutes are one event.
	atOnce = 4
)

// mount is a mount point of a machine, and when it was there.
type mount struct {
	there []span
	about string // its type and device
}

// filesystems are those that appeared or vanished while their machine was seen. What is mounted
// when a machine is seen for the first time, or again, is not an event unless it was mounted before.
func (r *reader) filesystems() error {
	machines, periods := make(map[string]map[string]*mount), make(map[string][]period)
	read := func(part *reader, wanted map[string]bool) error {
		return part.series(mounted, func(ls labels.Labels, it chunks.Iterator) error {
			if wanted != nil && !wanted[ls.Get(contract.MachineLabel)] {
				return nil
			}
			m, point := r.machine(ls), ls.Get("mountpoint")
			if machines[m] == nil {
				machines[m] = make(map[string]*mount)
			}
			if n, now := len(periods[m]), (period{part.from, part.to}); n == 0 || periods[m][n-1] != now {
				periods[m] = append(periods[m], now)
			}
			f := machines[m][point]
			if f == nil {
				f = &mount{}
				machines[m][point] = f
			}
			f.about = ls.Get("fstype") + ", " + ls.Get("device")
			there, err := part.there(it)
			f.there = append(f.there, there...)
			return err
		}, lasting...)
	}
	var err error
	if moments := r.moments(); moments == nil {
		err = read(r, nil)
	} else {
		err = r.differing(moments, mounted, func(from, to int64, moved map[string]bool) error {
			part, err := r.during(max(r.from, from-pause.Milliseconds()), to, moved)
			if err != nil {
				return err
			}
			defer part.close()
			err = read(part, moved)
			return err
		}, lasting...)
		for machine, mounts := range machines {
			r.unread(mounts, periods[machine])
		}
	}
	if err != nil {
		return err
	}
	for machine, mounts := range machines {
		r.mounts(machine, mounts)
	}
	return nil
}

// unread adds to the mounts of a machine the times that were not read, because the same ones were
// there at each moment.
func (r *reader) unread(mounts map[string]*mount, read []period) {
	slices.SortFunc(read, func(a, b period) int { return cmp.Compare(a.from, b.from) })
	moment := pause.Milliseconds() // is that long
	for _, f := range mounts {
		there := slices.Clone(f.there)
		add := func(at, from, to int64) {
			if from < to && slices.ContainsFunc(there, func(s span) bool { return s.first <= at && s.last >= at-moment }) {
				f.there = append(f.there, span{first: from, last: to})
			}
		}
		add(read[0].from+moment, r.from, read[0].from)
		until := read[0].to
		for _, p := range read[1:] {
			add(until, until, p.from)
			until = max(until, p.to)
		}
		add(until, until, r.end())
	}
}

// there are the times in which a series had samples. A chunk that lasts longer than others with as
// many samples has a pause in it.
func (r *reader) there(it chunks.Iterator) ([]span, error) {
	var all []chunks.Meta
	usual := int64(math.MaxInt64)
	for it.Next() {
		if err := r.count(); err != nil {
			return nil, err
		}
		c := it.At()
		if n := int64(c.Chunk.NumSamples()); n > 1 {
			usual = min(usual, (c.MaxTime-c.MinTime)/(n-1))
		}
		all = append(all, c)
	}
	if len(all) > 0 { // its first chunk may be the only one, and have a pause
		r.it = all[0].Chunk.Iterator(r.it)
		r.it.Next()
		if r.it.Next() != chunkenc.ValNone {
			usual = min(usual, r.it.AtT()-all[0].MinTime)
		}
	}
	var out []span
	for _, c := range all {
		if n := int64(c.Chunk.NumSamples()); n < 2 || c.MaxTime-c.MinTime <= usual*(n-1)+pause.Milliseconds() {
			out = append(out, span{first: c.MinTime, last: c.MaxTime})
			continue
		}
		if err := r.samples(c, func(t int64, _ float64, _ bool) { out = append(out, span{first: t, last: t}) }); err != nil {
			return nil, err
		}
	}
	return joined(out), nil
}

// happened is that a mount appeared or vanished.
type happened struct {
	point, text, about string
	at                 int64
}

func (r *reader) mounts(machine string, mounts map[string]*mount) {
	var seen []span
	for _, f := range mounts {
		f.there = joined(f.there)
		seen = append(seen, f.there...)
	}
	seen = joined(seen)
	if len(seen) == 0 {
		return
	}
	var came, went []happened
	for _, point := range slices.Sorted(maps.Keys(mounts)) {
		f := mounts[point]
		f.there = lasted(f.there, seen)
		if len(f.there) == 0 || len(f.there) > comings {
			continue
		}
		before := seen[0].first
		for i, s := range f.there {
			if long, _ := overlap(seen, before, s.first); long > pause.Milliseconds() {
				came = append(came, happened{point, "mounted", f.about, s.first})
			}
			until := seen[len(seen)-1].last
			if i+1 < len(f.there) {
				until = f.there[i+1].first
			}
			if long, from := overlap(seen, s.last, until); long > pause.Milliseconds() {
				went = append(went, happened{point, "no longer mounted", "", from})
			}
			before = s.last
		}
	}
	r.tell(machine, came)
	r.tell(machine, went)
}

// tell adds what happened to mounts of a machine; to many at the same time is one event.
func (r *reader) tell(machine string, all []happened) {
	slices.SortStableFunc(all, func(a, b happened) int { return cmp.Compare(a.at, b.at) })
	for len(all) > 0 {
		n := 1
		for n < len(all) && all[n].at-all[0].at <= 5*60_000 {
			n++
		}
		same := all[:n]
		all = all[n:]
		if n >= atOnce {
			e := Event{Time: float64(same[0].at) / 1e3, Kind: KindFilesystem, Machine: machine}
			e.Text, e.like = fmt.Sprintf("%d filesystems %s", n, same[0].text), "filesystems "+same[0].text
			var points []string
			for _, h := range same[:min(n, named)] {
				points = append(points, h.point)
			}
			e.Detail = strings.Join(points, ", ")
			r.add(e)
			continue
		}
		for _, h := range same {
			r.add(Event{
				Time: float64(h.at) / 1e3, Kind: KindFilesystem, Machine: machine,
				Text: fmt.Sprintf("filesystem %s %s", h.point, h.text), Detail: h.about,
			})
		}
	}
}

// joined sorts spans and makes one of those with a short pause between them.
func joined(all []span) []span {
	slices.SortFunc(all, func(a, b span) int { return cmp.Compare(a.first, b.first) })
	out := all[:0]
	for _, s := range all {
		if n := len(out); n > 0 && s.first-out[n-1].last <= pause.Milliseconds() {
			out[n-1].last = max(out[n-1].last, s.last)
			continue
		}
		out = append(out, s)
	}
	return slices.Clone(out)
}

// lasted are the spans of a mount without short ones, except one that may last yet. Those between
// which its machine was hardly seen are one.
func lasted(all, seen []span) []span {
	end := seen[len(seen)-1].last
	var out []span
	for _, s := range all {
		if s.last-s.first < pause.Milliseconds() && end-s.last > pause.Milliseconds() {
			continue
		}
		if n := len(out); n > 0 {
			if long, _ := overlap(seen, out[n-1].last, s.first); long <= pause.Milliseconds() {
				out[n-1].last = s.last
				continue
			}
		}
		out = append(out, s)
	}
	return out
}

// overlap is for how long there were spans between two times, and since when.
func overlap(all []span, from, to int64) (long, since int64) {
	for _, s := range all {
		if n := min(s.last, to) - max(s.first, from); n > 0 {
			if long == 0 {
				since = max(s.first, from)
			}
			long += n
		}
	}
	return long, since
}
