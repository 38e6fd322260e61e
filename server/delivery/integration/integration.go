// Package integration has the receivers that Alertmanager lacks: ntfy, Gotify
// and Matrix, the heartbeat that a Watchdog alert feeds, and the log. Each is
// behind Alertmanager's notify.Notifier and tells it whether trying again helps.
//
// It makes requests and decides nothing: when and what to send is Alertmanager's
// business. Nothing runs between two notifications. Secrets are read from their
// files at each notification, so that they can be exchanged, and never show in
// an error.
package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/prometheus/alertmanager/alert"
	amcommon "github.com/prometheus/alertmanager/config/common"
	"github.com/prometheus/alertmanager/notify"
	"github.com/prometheus/alertmanager/template"
	commonconfig "github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
)

// Common are the settings that all our receivers have.
type Common struct {
	amcommon.NotifierConfig `yaml:",inline"`
	// HTTP is Alertmanager's http_config: proxy, TLS, authentication.
	HTTP *commonconfig.HTTPClientConfig `yaml:"http_config,omitempty"`
	// Title and Message are templates.
	Title   string `yaml:"title,omitempty"`
	Message string `yaml:"message,omitempty"`
}

func common() Common {
	return Common{
		NotifierConfig: amcommon.NotifierConfig{VSendResolved: true},
		Title:          `{{ template "clanmon.title" . }}`,
		Message:        `{{ template "clanmon.text" . }}`,
	}
}

// sender is what the receivers share: a client, and texts.
type sender struct {
	conf   Common
	tmpl   *template.Template
	log    *slog.Logger
	client *http.Client
}

func newSender(name string, c Common, t *template.Template, l *slog.Logger) (sender, error) {
	conf := commonconfig.DefaultHTTPClientConfig
	if c.HTTP != nil {
		conf = *c.HTTP
	}
	client, err := notify.NewClientWithTracing(conf, name)
	if err != nil {
		return sender{}, fmt.Errorf("http_config: %w", err)
	}
	// A redirect would carry a secret to a place that nobody named.
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return sender{c, t, l, client}, nil
}

// texts are title, message, and the address of the page that shows the alerts, "" for
// none.
func (s sender) texts(ctx context.Context, alerts []*alert.Alert) (title, message, link string, err error) {
	data := notify.GetTemplateData(ctx, s.tmpl, alerts, s.log)
	text := notify.TmplText(s.tmpl, data, &err)
	title, message = strings.TrimSpace(text(s.conf.Title)), strings.TrimSpace(text(s.conf.Message))
	link = text(`{{ template "clanmon.link" . }}`)
	if err != nil {
		return "", "", "", fmt.Errorf("template: %w", err)
	}
	return title, message, link, nil
}

// failed is the verdict on a notification for which nothing was sent.
func failed(err error) notify.NotifyVerdict { return notify.Unrecoverable(err, notify.DefaultReason) }

// about says in a failed verdict what was being done.
func about(what string, v notify.NotifyVerdict) notify.NotifyVerdict {
	err := fmt.Errorf("%s: %w", what, v.Err())
	if v.ShouldRetry() {
		return notify.Retry(v.Delay(), err, v.Reason())
	}
	return notify.Unrecoverable(err, v.Reason())
}

// send makes a request; the verdict says whether it may be repeated, and when.
// 429 may: all three services limit rates, and the answer to that is patience.
func (s sender) send(req *http.Request) (body []byte, v notify.NotifyVerdict) {
	resp, err := s.client.Do(req)
	if err != nil {
		return nil, notify.Retry(0, notify.RedactURL(err), notify.DefaultReason)
	}
	defer notify.Drain(resp)
	received := time.Now()
	body, err = io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil {
		return nil, notify.Retry(0, fmt.Errorf("read response: %w", err), notify.DefaultReason)
	}
	switch {
	case resp.StatusCode/100 == 2:
		return body, notify.Success()
	case resp.StatusCode/100 == 3:
		err = fmt.Errorf("response %s to %q: redirects are not followed; use that URL", resp.Status, resp.Header.Get("Location"))
	default:
		err = fmt.Errorf("response %s: %s", resp.Status, strings.TrimSpace(string(body[:min(len(body), 300)])))
	}
	reason := notify.GetFailureReasonFromStatusCode(resp.StatusCode)
	if resp.StatusCode/100 == 5 || resp.StatusCode == http.StatusTooManyRequests {
		return nil, notify.Retry(notify.ParseRetryAfter(resp.Header, received), err, reason)
	}
	return nil, notify.Unrecoverable(err, reason)
}

func (s sender) sendJSON(ctx context.Context, method, to string, headers map[string]string, message any) notify.NotifyVerdict {
	text, err := json.Marshal(message)
	if err != nil {
		return failed(err)
	}
	req, err := http.NewRequestWithContext(ctx, method, to, bytes.NewReader(text))
	if err != nil {
		return failed(notify.RedactURL(err))
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "clanmon")
	for name, value := range headers {
		if value != "" {
			req.Header.Set(name, value)
		}
	}
	_, v := s.send(req)
	return v
}

// secret reads the secret of a receiver.
func secret(inline commonconfig.Secret, file string) (string, error) {
	if file == "" {
		return string(inline), nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	return strings.TrimSpace(string(text)), nil
}

func checkBase(field, value string) error {
	u, err := url.Parse(value)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return fmt.Errorf("%s must be an http or https URL, such as https://example.org", field)
	}
	if u.User != nil {
		return fmt.Errorf("%s must not contain a user or password", field)
	}
	return nil
}

func atMostOne(inlineName string, inline commonconfig.Secret, file string) error {
	if inline != "" && file != "" {
		return fmt.Errorf("only one of %s and %s_file can be set", inlineName, inlineName)
	}
	return nil
}

// worst is the gravest severity among alerts that fire, "" when none does.
func worst(alerts []*alert.Alert) string {
	rank := map[model.LabelValue]int{"critical": 3, "warning": 2, "info": 1}
	found, best := "", 0
	for _, a := range alerts {
		if a.Resolved() {
			continue
		}
		severity := a.Labels["severity"]
		if r := max(1, rank[severity]); r > best {
			found, best = string(severity), r
			if r == 1 {
				found = "info"
			}
		}
	}
	return found
}
