package delivery

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/alertmanager/alert"
	"github.com/prometheus/alertmanager/dispatch"
	"github.com/prometheus/alertmanager/notify"
	"github.com/prometheus/common/model"

	"github.com/clanmon/clanmon/internal/calendar"
)

// A digest is sent as an alert of its own name, so that each receiver writes it as it
// writes alerts. It passes Alertmanager's pipeline: the notification log, which survives
// restarts and is shared with the other server of a pair, keeps it from being sent twice.

// Digest is a report for people.
type Digest struct {
	Title string `json:"title"`
	Text  string `json:"text"` // lines
}

// digestAlert is the name of the alert that a digest is sent as.
const digestAlert = "Digest"

// What a digest waits for and takes at most.
const (
	digestLate    = 24 * time.Hour   // how late it is still sent
	digestSettle  = 6 * time.Minute  // after a start, until the slow rules were evaluated
	digestTimeout = 5 * time.Minute  // of an attempt
	digestRetry   = 10 * time.Minute // after an attempt that failed
)

// digester sends the digests.
type digester struct {
	in        *inside
	done      time.Time // the last digest that was sent or had nothing to say
	notBefore time.Time // of the next attempt
}

func (g *digester) run(ctx context.Context) {
	if g.in.opts.Digest == nil {
		return
	}
	g.notBefore = time.Now().Add(digestSettle)
	for {
		// By the minute: the servers of a pair, which look at the same time, then wait for
		// each other as the pipeline makes them.
		now := time.Now()
		wait := time.NewTimer(now.Truncate(time.Minute).Add(time.Minute).Sub(now))
		select {
		case now = <-wait.C:
			g.look(ctx, now)
		case <-ctx.Done():
			wait.Stop()
			return
		}
	}
}

// look sends the digest if one is due.
func (g *digester) look(ctx context.Context, now time.Time) {
	in, p := g.in, g.in.pipeline.Load()
	if p.config == nil || p.config.plan.Digest == "" || now.Before(g.notBefore) {
		return
	}
	due, before := p.config.plan.Last(now)
	if !due.After(g.done) || now.Sub(due) >= digestLate {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, digestTimeout)
	defer cancel()
	if err := in.sendDigest(ctx, p, before, due, now); err != nil {
		g.notBefore = now.Add(digestRetry)
		in.log.Error("Could not send the digest; retrying", "err", err, "retry_after", digestRetry)
		return
	}
	g.done = due
}

// sendDigest sends the digest that was due to all receivers that its alert is routed to
// and that have not got it.
func (in *inside) sendDigest(ctx context.Context, p *pipeline, from, due, now time.Time) error {
	if now.Sub(due) > digestSettle { // a server that is new since has nothing to say of that time
		report, err := in.opts.Digest(ctx, from, due)
		if err != nil || report.Title == "" {
			return err
		}
	}
	report, err := in.opts.Digest(ctx, from, now)
	if err != nil || report.Title == "" {
		return err
	}
	a := digestOf(p.config.plan, report, now)
	var errs []error
	for _, route := range dispatch.NewRoute(p.config.Route, nil).Match(a.Labels) {
		ctx := notificationContext(ctx, route.RouteOpts.Receiver, digestAlert, now)
		ctx = notify.WithGroupKey(ctx, fmt.Sprintf("{}/{digest=%q}:{due=%q}", p.config.plan.Digest, due.UTC().Format(time.RFC3339)))
		ctx = notify.WithRepeatInterval(ctx, 8*24*time.Hour) // it is never repeated
		_, _, err := p.stages.Exec(ctx, in.log, a)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func digestOf(p calendar.Plan, d Digest, now time.Time) *alert.Alert {
	every := "Weekly"
	if p.Digest == calendar.Daily {
		every = "Daily"
	}
	return alert.New(model.Alert{
		StartsAt: now, EndsAt: now.Add(digestLate),
		Labels: model.LabelSet{model.AlertNameLabel: digestAlert, "severity": "info"},
		Annotations: model.LabelSet{
			"summary": model.LabelValue(every + " digest: " + d.Title), "description": model.LabelValue(d.Text),
			pageAnnotation: "/",
		},
	}, now, false)
}

// DigestPreview is a digest as it would be sent now, whether or not digests are sent.
type DigestPreview struct {
	Digest
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
}

// PreviewDigest writes a digest of a week, or of a day if digests are daily. Its Title is
// "" where there is nothing to report. Safe for concurrent use.
func (d *Delivery) PreviewDigest(ctx context.Context, now time.Time) (DigestPreview, error) {
	if d.inside == nil || d.opts.Digest == nil {
		return DigestPreview{}, errors.New("this server does not send digests")
	}
	d.inside.mu.Lock()
	plan := d.inside.config.plan
	d.inside.mu.Unlock()
	days := 7
	if plan.Digest == calendar.Daily {
		days = 1
	}
	p := DigestPreview{From: now.AddDate(0, 0, -days), To: now}
	var err error
	p.Digest, err = d.opts.Digest(ctx, p.From, p.To)
	return p, err
}
