package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"github.com/clanmon/clanmon/discovery/contract"
	"github.com/clanmon/clanmon/internal/atomicfile"
)

// A server can be fed: others scrape the machines and send what they find, by
// remote write or OTLP, or are asked for it by federation. Then there is no target
// that could be down; the machine is missed when its samples stop. That somebody
// sends a series and not this server is only seen while it arrives, and is kept in
// the data directory, so that a machine whose samples stop while the server is
// away is missed too.

// fedKey finds a target that others scrape.
type fedKey struct{ machine, job, instance string }

const (
	fedFile = "clanmon-fed.json"
	// saveFedEvery is how often times are written that have only grown.
	saveFedEvery = 10 * time.Minute
	// lookAgain is when a label value that named no machine is looked at again.
	lookAgain = 10 * time.Minute
	// lookAtMost is how many series are looked at to find out whether it does.
	lookAtMost = 50
)

// findFed looks for targets that somebody else scrapes.
func (f *Fleet) findFed(ctx context.Context, now time.Time) error {
	v := f.view
	feedDown := false
	machines := make(map[string]bool)
	for _, t := range v.own {
		feedDown = feedDown || t.feeds && t.down
		machines[t.machine] = true
	}
	samples, err := f.newest(ctx, now.Add(-quietAfter), now, eq(model.MetricNameLabel, "up"))
	if err != nil {
		return err
	}
	ended := make(map[fedKey]bool)
	alive := false
	for _, s := range samples {
		key := fedKey{s.labels.Get(contract.MachineLabel), s.labels.Get("job"), s.labels.Get("instance")}
		machines[key.machine] = true
		if _, own := v.own[seriesKey{key.job, key.instance}]; own {
			continue
		}
		_, known := v.fed[key]
		switch {
		case s.stale:
			ended[key] = true
		case !known && !s.t.After(f.born), !known && v.removed(key, now):
			// This server may have scraped it itself.
		default:
			alive = true
			v.fed[key] = f.pushed(fedMember(s))
		}
	}
	for key, m := range v.fed {
		_, own := v.own[seriesKey{key.job, key.instance}]
		if own || now.Sub(m.fed) > forgetQuiet || ended[key] && alive && !feedDown { // its sender does not know it any more
			delete(v.fed, key)
		}
	}
	return f.findLabelled(ctx, now, machines)
}

// removed reports whether a target was this server's own a short while ago: its
// last samples are still there.
func (v *view) removed(key fedKey, now time.Time) bool {
	t, was := v.wasOwn[seriesKey{key.job, key.instance}]
	return was && now.Sub(t) < 2*quietAfter
}

// findLabelled looks for machines that have the label machine and no up, as with
// OTLP. Others use the label for something else; theirs are series of targets of
// this server, or rules', or what servers say of a machine themselves.
func (f *Fleet) findLabelled(ctx context.Context, now time.Time, known map[string]bool) error {
	v := f.view
	q, err := f.opts.Store.Querier(now.Add(-quietAfter).UnixMilli(), now.UnixMilli())
	if err != nil {
		return err
	}
	values, _, err := q.LabelValues(ctx, contract.MachineLabel, nil)
	q.Close()
	if err != nil {
		return err
	}
	for _, name := range values {
		if known[name] || now.Sub(v.others[name]) < lookAgain {
			continue
		}
		found := false
		seen := 0
		enough := errors.New("enough")
		err := f.readUntil(ctx, now.Add(-quietAfter), now, func(ls labels.Labels, it chunkenc.Iterator) error {
			seen++
			key := fedKey{name, ls.Get("job"), ls.Get("instance")}
			metric := ls.Get(model.MetricNameLabel)
			_, own := v.own[seriesKey{key.job, key.instance}]
			_, before := v.fed[key]
			if s, ok := last(ls, it); ok && !own && !strings.Contains(metric, ":") && !s.stale && (before || s.t.After(f.born)) && !v.removed(key, now) {
				s.v = 1
				v.fed[key] = fedMember(s)
				found = true
			}
			if found || seen >= lookAtMost {
				return enough
			}
			return nil
		}, eq(contract.MachineLabel, name), labels.MustNewMatcher(labels.MatchNotRegexp, model.MetricNameLabel, "node_uname_info|ALERTS|ALERTS_FOR_STATE|clanmon_machine_.*|clanmon_ping_.*"))
		if err != nil && !errors.Is(err, enough) {
			return err
		}
		if !found {
			v.others[name] = now
		}
	}
	for name, t := range v.others {
		if now.Sub(t) > 2*lookAgain {
			delete(v.others, name)
		}
	}
	return nil
}

func fedMember(s sample) member {
	h := "down"
	if s.v != 0 {
		h = "up"
	}
	return member{
		health: health{
			Target: Target{Job: s.labels.Get("job"), Instance: s.labels.Get("instance")}, Method: sourceStored,
			Health: h, LastScrape: s.t.UTC().Format(time.RFC3339),
		},
		series: s.labels.Get("job"), labels: s.labels, fed: s.t,
	}
}

// pushed marks a target that the machine itself sends. This server writes its up all the time;
// the target was there when it was last heard.
func (f *Fleet) pushed(m member) member {
	if f.opts.Pushed == nil {
		return m
	}
	if last := f.opts.Pushed(m.labels.Get(contract.MachineLabel), m.Job, m.Instance); !last.IsZero() {
		m.Method, m.LastScrape = sourcePush, last.UTC().Format(time.RFC3339)
	}
	return m
}

// savedFed is a target that others scrape, in the file.
type savedFed struct {
	Labels model.LabelSet `json:"labels"`
	Last   time.Time      `json:"last"`
}

// recallFed reads what was fed before the start.
func (f *Fleet) recallFed() {
	if f.opts.Dir == "" {
		return
	}
	text, err := os.ReadFile(filepath.Join(f.opts.Dir, fedFile))
	if errors.Is(err, os.ErrNotExist) {
		return
	}
	var all []savedFed
	if err == nil {
		err = json.Unmarshal(text, &all)
	}
	if err != nil {
		f.opts.Logger.Warn("Could not read the list of machines whose samples arrive from elsewhere: they appear with their next samples", "file", fedFile, "err", err)
		setAside(f.opts.SetAside, filepath.Join(f.opts.Dir, fedFile), "list of machines whose samples others send", err, f.opts.Logger)
		return
	}
	for _, x := range all {
		ls := make(map[string]string, len(x.Labels))
		for name, value := range x.Labels {
			ls[string(name)] = string(value)
		}
		s := sample{labels: labels.FromMap(ls), t: x.Last, v: 1}
		f.view.fed[fedKey{s.labels.Get(contract.MachineLabel), s.labels.Get("job"), s.labels.Get("instance")}] = fedMember(s)
	}
	f.view.fedCount = len(f.view.fed)
}

// saveFed writes what is fed, when something came or went, and from time to time.
func (f *Fleet) saveFed(now time.Time) {
	v := f.view
	if f.opts.Dir == "" || len(v.fed) == v.fedCount && (len(v.fed) == 0 || now.Sub(v.fedSaved) < saveFedEvery) {
		return
	}
	all := make([]savedFed, 0, len(v.fed))
	for _, m := range v.fed {
		all = append(all, savedFed{labelSet(m.labels), m.fed})
	}
	err := atomicfile.Write(filepath.Join(f.opts.Dir, fedFile), 0o644, func(w io.Writer) error { return json.NewEncoder(w).Encode(all) })
	if err != nil {
		f.opts.Logger.Warn("Could not save the list of machines whose samples arrive from elsewhere", "file", fedFile, "err", err)
	}
	v.fedCount, v.fedSaved = len(v.fed), now
}
