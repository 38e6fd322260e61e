package events

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"github.com/clanmon/clanmon/discovery/contract"
	"github.com/clanmon/clanmon/server/internal/envelope"
)

// What else moved: the series of a machine, ranked by how unlike a window of time is to the
// four equal windows before it. Each window has four parts, so that a short change late in the
// window counts in full. The score of a series is how far the part furthest from the usual is
// from it: from the median of the 16 parts before, in units of how far these spread themselves.
const (
	windows = 4 // before the one that is looked at
	parts   = 4 // of a window
	usual   = windows * parts
	// movedPatience is how long may be read, waiting included.
	movedPatience = 1800 * time.Millisecond
	// maxMovedSamples is what may be read.
	maxMovedSamples = 40_000_000
	minWindow       = 5 * time.Minute
	maxWindow       = 24 * time.Hour
	// minScore is what is worth saying, maxScore what needs no distinction.
	minScore, maxScore = 5, 99
)

// Moved is a metric of a machine that was unlike before.
type Moved struct {
	Metric string            `json:"metric"`
	Labels map[string]string `json:"labels"` // of the series that moved most, without those of the target
	// Expr draws that series.
	Expr string `json:"expr"`
	// Rate reports whether Was and Is are per second.
	Rate bool `json:"rate"`
	// Was is the usual value, Is the one that is furthest from it, from Since on (Unix seconds).
	Was   float64 `json:"was"`
	Is    float64 `json:"is"`
	Since float64 `json:"since"`
	Score float64 `json:"score"`
	// More is how many other series of the metric moved too.
	More int `json:"more"`
}

// MovedAnswer has what moved, the most unlike first.
type MovedAnswer struct {
	From    float64 `json:"from"` // the window
	To      float64 `json:"to"`
	Moved   []Moved `json:"moved"`
	Series  int     `json:"series"`  // that were compared
	Partial string  `json:"partial"` // why not all were read, "" if they were
}

// MovedQuestion asks what moved in the window that ends at At.
type MovedQuestion struct {
	Machine string
	At      time.Time
	Window  time.Duration
	Limit   int
}

// Moved compares the series of a machine, for two seconds at most; what it has found until then
// is the answer.
func (e *Events) Moved(ctx context.Context, q MovedQuestion) (MovedAnswer, error) {
	from := q.At.Add(-q.Window)
	a := MovedAnswer{From: unix(from), To: unix(q.At), Moved: []Moved{}}
	if e.opts.Store == nil {
		return a, nil
	}
	ctx, cancel := context.WithTimeout(ctx, movedPatience)
	defer cancel()
	select {
	case e.moving <- struct{}{}:
		defer func() { <-e.moving }()
	case <-ctx.Done():
		a.Partial = "the server is busy with other requests of this kind"
		return a, nil
	}
	begin := q.At.Add(-(windows + 1) * q.Window)
	store, err := e.opts.Store.Querier(begin.UnixMilli(), q.At.UnixMilli())
	if err != nil {
		return a, err
	}
	defer store.Close()
	c := comparison{from: begin.UnixMilli(), part: q.Window.Milliseconds() / parts}
	best := make(map[string]*Moved)
	set := store.Select(ctx, false, &storage.SelectHints{Start: begin.UnixMilli(), End: q.At.UnixMilli()}, e.seriesOf(q.Machine)...)
	var it chunkenc.Iterator
	for set.Next() {
		if c.samples > maxMovedSamples {
			a.Partial = fmt.Sprintf("only %d series were read: ask for a shorter window", a.Series)
			break
		}
		s := set.At()
		name := s.Labels().Get(model.MetricNameLabel)
		if says(name) {
			continue
		}
		it = s.Iterator(it)
		m, ok := c.compare(name, it)
		if err := it.Err(); err != nil {
			return a, fmt.Errorf("read %s: %w", name, err)
		}
		a.Series = c.compared
		if ctx.Err() != nil {
			break
		}
		if !ok {
			continue
		}
		if other := best[name]; other != nil {
			m.More = other.More + 1
			if other.Score >= m.Score {
				other.More++
				continue
			}
		}
		m.describe(s.Labels())
		best[name] = &m
	}
	if err := set.Err(); err != nil && ctx.Err() == nil {
		return a, err
	}
	if ctx.Err() != nil {
		if errors.Is(ctx.Err(), context.Canceled) {
			return a, ctx.Err()
		}
		a.Partial = fmt.Sprintf("only %d series could be read within 2 seconds", a.Series)
	}
	for _, m := range best {
		a.Moved = append(a.Moved, *m)
	}
	slices.SortFunc(a.Moved, func(x, y Moved) int {
		return cmp.Or(cmp.Compare(y.Score, x.Score), cmp.Compare(x.Metric, y.Metric))
	})
	a.Moved = a.Moved[:min(len(a.Moved), q.Limit)]
	return a, nil
}

// seriesOf selects the series of a machine.
func (e *Events) seriesOf(machine string) []*labels.Matcher {
	if e.opts.Select != nil {
		if ms := e.opts.Select(machine); ms != nil {
			return ms
		}
	}
	return []*labels.Matcher{labels.MustNewMatcher(labels.MatchEqual, contract.MachineLabel, machine)}
}

// unsaid are metrics that say nothing of a machine: of the exporters themselves, what is made of
// others, times, and parts of histograms.
var unsaid = regexp.MustCompile(`^(ALERTS.*|scrape_.*|go_.*|process_.*|promhttp_.*|prometheus_.*|node_scrape_.*|node_timex_.*|clanmon_exporter_.*|.*:.*|.*_bucket|.*timestamp.*|.*_time_seconds|.*_info)$`)

func says(name string) bool { return unsaid.MatchString(name) }

// describe says which series it is.
func (m *Moved) describe(ls labels.Labels) {
	m.Metric, m.Labels = ls.Get(model.MetricNameLabel), make(map[string]string)
	ls.Range(func(l labels.Label) {
		switch l.Name {
		case model.MetricNameLabel, model.JobLabel, model.InstanceLabel, contract.MachineLabel, contract.AvailabilityLabel:
		default:
			m.Labels[l.Name] = l.Value
		}
	})
	if m.Expr = ls.String(); model.LegacyValidation.IsValidMetricName(m.Metric) {
		m.Expr = m.Metric + ls.MatchLabels(false, model.MetricNameLabel).String()
	}
	if m.Rate {
		m.Expr = "rate(" + m.Expr + "[5m])"
	}
}

// comparison compares series, one after the other.
type comparison struct {
	from, part int64 // milliseconds
	samples    int
	compared   int // series that had enough samples
	cells      [usual + parts]cell
}

// cell is what a part of a window has of a series.
type cell struct {
	n     int     // samples
	sum   float64 // of the values
	grown float64 // since the sample before, resets left out
	first int64   // the time of that, or of the first sample
	last  int64
}

// compare reads a series and reports whether it is unlike before.
func (c *comparison) compare(name string, it chunkenc.Iterator) (Moved, bool) {
	c.cells = [usual + parts]cell{}
	var before float64
	var beforeT int64
	rises, falls := 0, false
	for kind := it.Next(); kind != chunkenc.ValNone; kind = it.Next() {
		if kind != chunkenc.ValFloat {
			return Moved{}, false
		}
		t, v := it.At()
		c.samples++
		if t < c.from || value.IsStaleNaN(v) || math.IsNaN(v) || math.IsInf(v, 0) {
			continue
		}
		x := &c.cells[min(int((t-c.from)/c.part), usual+parts-1)]
		if x.n == 0 {
			x.first = t
			if beforeT != 0 {
				x.first = beforeT
			}
		}
		x.n++
		x.sum += v
		x.last = t
		if beforeT != 0 {
			switch {
			case v > before:
				rises++
				x.grown += v - before
			case v < before: // a counter began anew
				falls = true
				x.grown += max(0, v)
			}
		}
		before, beforeT = v, t
	}
	counter := strings.HasSuffix(name, "_total") || strings.HasSuffix(name, "_sum") || strings.HasSuffix(name, "_count")
	// Many metrics of kernels are counters by another name.
	counter = counter || !falls && rises >= 2*usual
	return c.judge(counter)
}

// judge compares the cells.
func (c *comparison) judge(counter bool) (Moved, bool) {
	var known []float64
	for _, x := range c.cells[:usual] {
		if v, ok := x.value(counter); ok {
			known = append(known, v)
		}
	}
	if len(known) < usual/2 {
		return Moved{}, false
	}
	c.compared++
	median := medianOf(slices.Clone(known))
	furthest, spread := 0.0, make([]float64, len(known))
	for i, v := range known {
		spread[i] = math.Abs(v - median)
		furthest = max(furthest, spread[i])
	}
	// Three times the deviation is what happens anyway.
	scale := max(1.4826*medianOf(spread), furthest/3, c.floor(counter, median))
	m := Moved{Was: median, Rate: counter}
	for i := usual; i < len(c.cells); i++ {
		v, ok := c.cells[i].value(counter)
		if !ok {
			continue
		}
		if score := min(maxScore, math.Abs(v-median)/scale); score > m.Score {
			m.Score, m.Is, m.Since = score, v, float64(c.from+int64(i)*c.part)/1e3
		}
	}
	return m, m.Score >= minScore
}

// floor is how much a value has to differ to matter at all.
func (c *comparison) floor(counter bool, median float64) float64 {
	if counter { // a few events more or less are chance
		seconds := float64(c.part) / 1e3
		return max(0.05*median, math.Sqrt(median*seconds+1)/seconds)
	}
	if median == 0 { // nothing to compare with: anything is another state
		return c.size() / 20
	}
	return 0.02 * math.Abs(median)
}

// size is the largest value that was seen.
func (c *comparison) size() float64 {
	most := math.SmallestNonzeroFloat64
	for _, x := range c.cells {
		if v, ok := x.value(false); ok {
			most = max(most, math.Abs(v))
		}
	}
	return most
}

// value is the mean, or the growth per second.
func (x cell) value(counter bool) (float64, bool) {
	switch {
	case x.n == 0:
		return 0, false
	case !counter:
		return x.sum / float64(x.n), true
	case x.last <= x.first:
		return 0, false
	}
	return x.grown * 1e3 / float64(x.last-x.first), true
}

// medianOf sorts all.
func medianOf(all []float64) float64 {
	slices.Sort(all)
	n := len(all)
	return (all[(n-1)/2] + all[n/2]) / 2
}

// MovedHandler serves GET /api/clanmon/v1/moved. Parameters: machine; at, by default now, as those
// of events; window, by default 30m; limit, by default 12.
func (e *Events) MovedHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !envelope.Reads(w, r) {
			return
		}
		q, err := movedQuestion(r.URL.Query(), time.Now())
		if err != nil {
			envelope.Error(w, http.StatusBadRequest, err.Error())
			return
		}
		a, err := e.Moved(r.Context(), q)
		if err != nil {
			envelope.Error(w, http.StatusInternalServerError, "find what moved: "+err.Error())
			return
		}
		envelope.Success(w, a)
	})
}

func movedQuestion(params url.Values, now time.Time) (q MovedQuestion, err error) {
	q = MovedQuestion{Machine: params.Get("machine"), Window: 30 * time.Minute}
	if q.Machine == "" {
		return q, errors.New("machine is missing: the name of a machine")
	}
	if q.At, err = instant(params, "at", now); err != nil {
		return q, err
	}
	if text := params.Get("window"); text != "" {
		d, err := model.ParseDuration(text)
		if q.Window = time.Duration(d); err != nil || q.Window < minWindow || q.Window > maxWindow {
			return q, fmt.Errorf("window %q: use a duration from 5m to 1d", text)
		}
	}
	q.Limit, err = limit(params, 12)
	return q, err
}
