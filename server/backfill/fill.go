package backfill

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/relabel"
	"github.com/prometheus/prometheus/scrape"
	"github.com/prometheus/prometheus/storage"

	wire "github.com/clanmon/clanmon/internal/history"
)

const (
	// patience is how long a target may take to respond, and to go on.
	patience = 30 * time.Second
	// maxSkew is how far the clock of a machine may be off. The times of its samples are by
	// its clock, those of a scrape by ours.
	maxSkew = 2 * time.Second
	// maxSeries and maxKeys, which is bytes of their names and labels, bound the memory of
	// one response.
	maxSeries = 200_000
	maxKeys   = 16 << 20
	// An exporter gathers every minInterval milliseconds at most; slack more gathers are
	// allowed, for intervals are not exact and some are asked for twice.
	minInterval, slack = 1000, 1000
)

// fillable reports whether a history has what a scrape of the job has: one that converts
// histograms stores other series than those that the exporter exposes.
func fillable(c *config.ScrapeConfig) bool {
	return c.ConvertClassicHistogramsToNHCB == nil || !*c.ConvertClassicHistogramsToNHCB
}

// asksMetrics reports whether a target is scraped for all that its exporter has: parameters
// choose collectors, or what is probed.
func asksMetrics(t *scrape.Target) bool { return t.URL().RawQuery == "" }

var errDown = errors.New("the target is down")

// fill asks a target for what is missing of a gap. An error that is not final may be gone
// the next time.
func (b *Backfill) fill(ctx context.Context, g *gap) error {
	t := b.target(g)
	if t == nil {
		return errDown
	}
	cfg, err := b.opts.Job(g.job)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	slow := time.AfterFunc(patience, func() { cancel(fmt.Errorf("no response in %s", patience)) })
	defer slow.Stop()
	body, err := b.ask(ctx, g, t.URL())
	if err != nil {
		return because(ctx, err)
	}
	defer body.Close()
	return because(ctx, b.append(ctx, g, cfg, labeller{t, cfg}, body, slow))
}

// because prefers why a request was ended.
func because(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); err != nil && cause != nil {
		return cause
	}
	return err
}

// target is where a gap is filled from; nil if it does not respond.
func (b *Backfill) target(g *gap) *scrape.Target {
	for _, t := range b.opts.Targets()[g.job] {
		if t.Health() == scrape.HealthGood && labels.Equal(t.Labels(labels.NewBuilder(labels.EmptyLabels())), g.target) {
			return t
		}
	}
	return nil
}

// ask returns the history of a target from where a gap is filled.
func (b *Backfill) ask(ctx context.Context, g *gap, scraped *url.URL) (io.ReadCloser, error) {
	client, err := b.opts.Client(g.job)
	if err != nil {
		return nil, err
	}
	where := &url.URL{Scheme: scraped.Scheme, Host: scraped.Host, Path: wire.Path, RawQuery: url.Values{
		"after": {strconv.FormatInt(g.at, 10)}, "before": {strconv.FormatInt(g.to, 10)}, "path": {scraped.Path},
	}.Encode()}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, where.String(), nil)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	res, err := client.Do(req)
	if failed, ok := errors.AsType[*url.Error](err); ok {
		err = failed.Err // without the URL
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", where.Host, err)
	}
	switch {
	case res.StatusCode == http.StatusOK && res.Header.Get("Content-Type") == wire.ContentType:
	case passes(res.StatusCode):
		res.Body.Close()
		return nil, fmt.Errorf("%s responds with %s", where.Host, res.Status)
	default:
		res.Body.Close()
		return nil, final("no_history", slog.LevelDebug, "%s keeps no history: it responds with %s to %s", where.Host, res.Status, wire.Path)
	}
	theirs, err := strconv.ParseInt(res.Header.Get(wire.TimeHeader), 10, 64)
	ended := time.Now()
	if at := time.UnixMilli(theirs); err != nil || at.Before(began.Add(-maxSkew)) || at.After(ended.Add(maxSkew)) {
		res.Body.Close()
		return nil, fmt.Errorf("%s: its clock is off by %s, so the times of its samples are wrong", where.Host, at.Sub(ended).Round(time.Second))
	}
	return res.Body, nil
}

// passes reports whether a status may be another one later: when the exporter or a proxy
// works again, or when the credentials are right.
func passes(status int) bool {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusTooManyRequests:
		return true
	}
	return status >= 500
}

// append appends what a response has.
func (b *Backfill) append(ctx context.Context, g *gap, cfg *config.ScrapeConfig, l labeller, body io.Reader, slow *time.Timer) error {
	in, err := wire.NewReader(bufio.NewReaderSize(body, 64<<10), maxSeries, maxKeys)
	if errors.Is(err, wire.ErrVersion) {
		return final("refused", slog.LevelWarn, "the target runs another version of clanmon's exporter: its response is %s", err)
	}
	if err != nil {
		return fmt.Errorf("the response broke off: %w", err)
	}
	var all []*series
	for {
		slow.Reset(patience)
		t, values, err := in.Next()
		switch {
		case wire.Ended(err):
			return b.unmark(ctx, g)
		case errors.Is(err, wire.ErrLimit):
			return final("refused", slog.LevelWarn, "the target's history has too many series: %s", err)
		case errors.Is(err, io.EOF), errors.Is(err, wire.ErrTorn):
			return errors.New("the response broke off or is damaged")
		case err != nil:
			return err
		}
		slow.Stop() // others may keep us waiting
		for i := len(all); i < in.Series(); i++ {
			s, err := l.series(in.Key(i))
			if err != nil {
				return final("refused", slog.LevelWarn, "the target's history is invalid: %s", err)
			}
			all = append(all, s)
		}
		if len(g.times) > int((g.to-g.from)/minInterval)+slack {
			return final("refused", slog.LevelWarn, "the target's history has more gathers than %s can have", time.Duration(g.to-g.from)*time.Millisecond)
		}
		if t <= g.from || t >= g.to {
			return final("refused", slog.LevelWarn, "the target's history has samples of other times than those asked for")
		}
		n, err := b.appendAll(ctx, t, values, all, cfg)
		if err != nil {
			return err
		}
		g.times = append(g.times, t)
		b.mu.Lock()
		if g.samples += n; t > g.at {
			g.at = t
			b.known.add(g.target.String(), g.from, g.at)
		}
		b.mu.Unlock()
		b.metrics.samples.Add(float64(n))
	}
}

// series is one of a response.
type series struct {
	labels labels.Labels // none if relabelling dropped it
	ref    storage.SeriesRef
}

// appendAll appends a gather as one transaction, and returns the number of its samples.
func (b *Backfill) appendAll(ctx context.Context, t int64, values []wire.Value, all []*series, cfg *config.ScrapeConfig) (n int, err error) {
	for _, v := range values {
		if !all[v.Series].labels.IsEmpty() && v.Bits != wire.StaleNaN {
			n++
		}
	}
	if cfg.SampleLimit > 0 && n > int(cfg.SampleLimit) {
		return 0, nil // a scrape would have failed
	}
	b.pace.wait(ctx, len(values))
	if err := context.Cause(ctx); err != nil {
		return 0, err
	}
	app := b.opts.Appendable.AppenderV2(ctx)
	n = 0
	for _, v := range values {
		s := all[v.Series]
		if s.labels.IsEmpty() {
			continue
		}
		ref, err := app.Append(s.ref, s.labels, 0, t, math.Float64frombits(v.Bits), nil, nil, storage.AOptions{})
		switch {
		case err == nil:
			s.ref = ref
			n++
		case errors.Is(err, storage.ErrDuplicateSampleForTimestamp):
		case errors.Is(err, storage.ErrTooOldSample), errors.Is(err, storage.ErrOutOfOrderSample), errors.Is(err, storage.ErrOutOfBounds):
			b.metrics.tooOld.Inc()
		default:
			return 0, errors.Join(err, app.Rollback())
		}
	}
	return n, app.Commit()
}

// labeller gives the series of a history the labels that a scrape of the target gives them.
type labeller struct {
	target *scrape.Target
	cfg    *config.ScrapeConfig
}

// series returns one by its key. It has no labels if relabelling drops it.
func (l labeller) series(key string) (*series, error) {
	_, rest, err := wire.CutString(key)
	if err != nil {
		return nil, err
	}
	exposed := labels.NewScratchBuilder(8)
	for rest != "" {
		var name, text string
		if name, rest, err = wire.CutString(rest); err == nil {
			text, rest, err = wire.CutString(rest)
		}
		if err != nil {
			return nil, err
		}
		exposed.Add(strings.Clone(name), strings.Clone(text))
	}
	exposed.Sort()
	ls := exposed.Labels()
	if name, twice := ls.HasDuplicateLabelNames(); twice {
		return nil, fmt.Errorf("a series has the label %q twice", name)
	}
	if !ls.Has(model.MetricNameLabel) {
		return nil, errors.New("a series has no name")
	}
	ls = l.relabel(ls)
	if ls.IsEmpty() {
		return &series{}, nil
	}
	if !ls.Has(model.MetricNameLabel) || !ls.IsValid(l.cfg.MetricNameValidationScheme) {
		return nil, fmt.Errorf("invalid name or labels of %.200s", ls)
	}
	return &series{labels: ls}, l.limits(ls)
}

// relabel does to the labels of an exposed series what upstream's scrapes do.
func (l labeller) relabel(ls labels.Labels) labels.Labels {
	lb := labels.NewBuilder(ls)
	var conflicting []labels.Label
	l.target.LabelsRange(func(t labels.Label) {
		exposed := ls.Get(t.Name)
		if l.cfg.HonorLabels && ls.Has(t.Name) {
			return
		}
		if exposed != "" {
			conflicting = append(conflicting, labels.Label{Name: t.Name, Value: exposed})
		}
		lb.Set(t.Name, t.Value)
	})
	slices.SortStableFunc(conflicting, func(a, b labels.Label) int { return len(a.Name) - len(b.Name) })
	for _, c := range conflicting {
		name := model.ExportedLabelPrefix + c.Name
		for lb.Get(name) != "" {
			name = model.ExportedLabelPrefix + name
		}
		lb.Set(name, c.Value)
	}
	if !relabel.ProcessBuilder(lb, l.cfg.MetricRelabelConfigs...) {
		return labels.EmptyLabels()
	}
	return lb.Labels()
}

// limits are those of the job for one series.
func (l labeller) limits(ls labels.Labels) error {
	if most := int(l.cfg.LabelLimit); most > 0 && ls.Len() > most {
		return fmt.Errorf("a series has %d labels, label_limit is %d", ls.Len(), most)
	}
	return ls.Validate(func(x labels.Label) error {
		if most := int(l.cfg.LabelNameLengthLimit); most > 0 && len(x.Name) > most {
			return fmt.Errorf("the name of a label has %d bytes, label_name_length_limit is %d", len(x.Name), most)
		}
		if most := int(l.cfg.LabelValueLengthLimit); most > 0 && len(x.Value) > most {
			return fmt.Errorf("the value of the label %s has %d bytes, label_value_length_limit is %d", x.Name, len(x.Value), most)
		}
		return nil
	})
}

// unmark removes the markers that ended all series when the target did not respond, where
// its history shows that they went on: charts would have a hole there.
func (b *Backfill) unmark(ctx context.Context, g *gap) error {
	slices.Sort(g.times)
	usual := int64(math.MaxInt64) // time between two gathers
	for i := range g.times {
		if i > 0 && g.times[i] > g.times[i-1] {
			usual = min(usual, g.times[i]-g.times[i-1])
		}
	}
	for _, mark := range g.marks {
		i, exactly := slices.BinarySearch(g.times, mark)
		if exactly || i == 0 || i == len(g.times) || (g.times[i]-g.times[i-1])/2 > usual {
			continue
		}
		if err := b.opts.Delete(ctx, mark, mark, ofTarget(g.target)...); err != nil {
			return fmt.Errorf("remove the markers of the scrape that failed: %w", err)
		}
	}
	return nil
}

// ofTarget selects the series of a target but for those that the server itself writes.
func ofTarget(target labels.Labels) []*labels.Matcher {
	ms := []*labels.Matcher{labels.MustNewMatcher(labels.MatchNotRegexp, model.MetricNameLabel, "up|scrape_.+|ALERTS.*|.*:.*")}
	target.Range(func(l labels.Label) {
		ms = append(ms, labels.MustNewMatcher(labels.MatchEqual, l.Name, l.Value))
	})
	return ms
}
