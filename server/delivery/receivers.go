package delivery

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"regexp"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/alertmanager/alert"
	"github.com/prometheus/alertmanager/notify"
	"github.com/prometheus/alertmanager/template"
	"github.com/prometheus/common/model"

	"github.com/clanmon/clanmon/server/delivery/integration"
)

// receiverBook remembers how the integrations of each receiver fare, by its name.
type receiverBook map[string][]*recorded

// recorded is an integration whose last results are kept.
type recorded struct {
	inner    notify.Integration
	receiver string
	mask     *masker
	budget   *budget // nil for none

	mu                sync.Mutex
	succeeded, failed time.Time
	err               string
}

// newReceiverBook begins with what old knows of the same integrations.
func newReceiverBook(c *built, old receiverBook) receiverBook {
	known := make(map[[2]string]*recorded)
	for name, list := range old {
		for _, r := range list {
			known[[2]string{name, r.inner.String()}] = r
		}
	}
	b := make(receiverBook, len(c.receivers))
	for name, list := range c.receivers {
		for _, i := range list {
			r := &recorded{inner: i, receiver: name, mask: c.mask}
			if name == c.budgeted && i.Name() != logKind {
				r.budget = newBudget(c.perMinute)
			}
			if k := known[[2]string{name, i.String()}]; k != nil {
				k.mu.Lock()
				r.succeeded, r.failed, r.err = k.succeeded, k.failed, k.err
				k.mu.Unlock()
				if r.budget != nil && k.budget != nil {
					r.budget = k.budget
				}
			}
			b[name] = append(b[name], r)
		}
	}
	return b
}

// integrations are those of a receiver as the pipeline wants them.
func (b receiverBook) integrations(receiver string) []notify.Integration {
	var all []notify.Integration
	for _, r := range b[receiver] {
		all = append(all, notify.NewIntegration(r, &r.inner, r.inner.Name(), r.inner.Index(), receiver))
	}
	return all
}

// Notify implements notify.Notifier.
func (r *recorded) Notify(ctx context.Context, alerts ...*alert.Alert) notify.NotifyVerdict {
	if r.budget != nil {
		return r.within(ctx, alerts)
	}
	return r.send(ctx, alerts)
}

// send notifies and remembers what came of it.
func (r *recorded) send(ctx context.Context, alerts []*alert.Alert) notify.NotifyVerdict {
	v := refined(r.inner.Name(), r.inner.Notify(ctx, alerts...))
	err := r.mask.error(v.Err())
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil {
		r.succeeded = time.Now()
		return v
	}
	r.failed, r.err = time.Now(), err.Error()
	if v.ShouldRetry() {
		return notify.Retry(v.Delay(), err, v.Reason())
	}
	return notify.Unrecoverable(err, v.Reason())
}

// retryAfter is how services say in a response how many seconds to wait.
var retryAfter = regexp.MustCompile(`(?i)retry[ _]after"?:? ?([0-9]{1,6}(?:\.[0-9]{1,3})?)`)

// refined is the verdict of an integration of Alertmanager's, with what it knows and does
// not use: a service that limits rates takes the message later, and says when; and what
// Telegram refuses it refuses again.
func refined(integration string, v notify.NotifyVerdict) notify.NotifyVerdict {
	switch reason := v.Reason(); {
	case v.Err() == nil:
	case reason == notify.RateLimitedReason && v.Delay() == 0:
		var wait time.Duration
		if found := retryAfter.FindStringSubmatch(v.Err().Error()); found != nil {
			seconds, _ := strconv.ParseFloat(found[1], 64)
			wait = time.Duration(seconds * float64(time.Second))
		}
		return notify.Retry(wait, v.Err(), reason)
	case integration == "telegram" && (reason == notify.ClientErrorReason || reason == notify.AuthErrorReason):
		return notify.Unrecoverable(v.Err(), reason)
	}
	return v
}

// ReceiverStatus is how one integration of a receiver fares.
type ReceiverStatus struct {
	Receiver    string     `json:"receiver"`
	Integration string     `json:"integration"` // kind and number, such as ntfy[0]
	LastSuccess *time.Time `json:"lastSuccess,omitempty"`
	LastFailure *time.Time `json:"lastFailure,omitempty"`
	LastError   string     `json:"lastError,omitempty"` // of the last failure
}

func (b receiverBook) status() []ReceiverStatus {
	all := []ReceiverStatus{}
	at := func(t time.Time) *time.Time {
		if t.IsZero() {
			return nil
		}
		return &t
	}
	for _, name := range sortedKeys(b) {
		for _, r := range b[name] {
			r.mu.Lock()
			all = append(all, ReceiverStatus{name, r.inner.String(), at(r.succeeded), at(r.failed), r.err})
			r.mu.Unlock()
		}
	}
	return all
}

// TestResult is what came of a test notification by one integration.
type TestResult struct {
	Receiver    string  `json:"receiver"`
	Integration string  `json:"integration"`
	OK          bool    `json:"ok"`
	Error       string  `json:"error,omitempty"` // what the receiver answered
	Seconds     float64 `json:"seconds"`
}

// named are the receivers of that name, or all that have something to send by where
// it is "".
func (b receiverBook) named(receiver string) ([]string, error) {
	all := sortedKeys(b)
	if receiver == "" {
		return all, nil
	}
	if _, known := b[receiver]; !known {
		return nil, fmt.Errorf("receiver %q does not exist or has no integration; receivers: %q", receiver, all)
	}
	return []string{receiver}, nil
}

// testPause is how long a receiver is left alone after a test: a service that blocks
// an account for too many messages also blocks the alerts.
const testPause = 30 * time.Second

// TooSoonError says that a receiver was tested less than testPause ago.
type TooSoonError struct {
	Receiver string
	Wait     time.Duration // until the next test is allowed
}

func (e *TooSoonError) Error() string {
	return fmt.Sprintf("receiver %q was tested %d s ago; one test in %d s is allowed: try again in %d s",
		e.Receiver, int((testPause - e.Wait).Seconds()), int(testPause.Seconds()), e.seconds())
}

func (e *TooSoonError) seconds() int { return int(math.Ceil(e.Wait.Seconds())) }

// testPace remembers when each receiver was tested. It outlives reloads. Its zero
// value is ready; safe for concurrent use.
type testPace struct {
	mu   sync.Mutex
	last map[string]time.Time
}

// take allows a test of all receivers or of none.
func (p *testPace) take(receivers []string, now time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, name := range receivers {
		if wait := p.last[name].Add(testPause).Sub(now); wait > 0 {
			return &TooSoonError{name, wait}
		}
	}
	if p.last == nil {
		p.last = make(map[string]time.Time)
	}
	for _, name := range receivers {
		p.last[name] = now
	}
	return nil
}

// test sends a test alert by every integration of the receivers, each once and
// without retries.
func (b receiverBook) test(ctx context.Context, receivers []string) []TestResult {
	var todo []*recorded
	for _, name := range receivers {
		todo = append(todo, b[name]...)
	}
	results := make([]TestResult, len(todo))
	var wg sync.WaitGroup
	for i, r := range todo {
		wg.Go(func() {
			begin := time.Now()
			ctx, cancel := context.WithTimeout(notificationContext(ctx, r.receiver, "Test", begin), 15*time.Second)
			defer cancel()
			err := r.send(ctx, []*alert.Alert{testAlert(begin)}).Err()
			results[i] = TestResult{Receiver: r.receiver, Integration: r.inner.String(), OK: err == nil, Seconds: time.Since(begin).Seconds()}
			if err != nil {
				results[i].Error = err.Error()
			}
		})
	}
	wg.Wait()
	return results
}

// pageAnnotation is where notifications of an alert that no page lists lead to, below the
// external URL.
const pageAnnotation = "clanmon_page"

func testAlert(now time.Time) *alert.Alert {
	return alert.New(model.Alert{
		StartsAt: now, EndsAt: now.Add(5 * time.Minute),
		Labels: model.LabelSet{"alertname": "Test", "severity": "info"},
		Annotations: model.LabelSet{
			"summary":      "Test notification of clanmon",
			"description":  "This is a test. Nothing is wrong: notifications reach you.",
			pageAnnotation: "/alerts",
		},
	}, now, false)
}

// notificationContext is for a notification of an alert of that name that no rule
// raised.
func notificationContext(ctx context.Context, receiver, alertname string, now time.Time) context.Context {
	labels := model.LabelSet{"alertname": model.LabelValue(alertname)}
	ctx = notify.WithGroupKey(ctx, fmt.Sprintf("{}:{alertname=%q}", alertname))
	ctx = notify.WithReceiverName(ctx, receiver)
	ctx = notify.WithGroupLabels(ctx, labels)
	ctx = notify.WithRouteLabels(ctx, model.LabelSet{})
	ctx = notify.WithRepeatInterval(ctx, time.Hour)
	ctx = notify.WithNotificationReason(ctx, notify.ReasonFirstNotification)
	return notify.WithNow(ctx, now)
}

// always is a notify.ResolvedSender.
type always bool

func (a always) SendResolved() bool { return bool(a) }

const logKind = "log"

func logIntegration() ownIntegration {
	return ownIntegration{kind: logKind, rs: always(true), make: func(_ *template.Template, l *slog.Logger) (notify.Notifier, error) {
		return integration.NewLog(l), nil
	}}
}

func heartbeatIntegration(o Options) ownIntegration {
	file := struct { // as a file of a secret is called in a configuration
		Path string `yaml:"url_file"`
	}{o.HeartbeatURLFile}
	return ownIntegration{kind: "heartbeat", rs: always(false), conf: &file, make: func(t *template.Template, l *slog.Logger) (notify.Notifier, error) {
		return integration.NewHeartbeat(o.HeartbeatURL, o.HeartbeatURLFile, t, l)
	}}
}
