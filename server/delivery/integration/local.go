package integration

import (
	"context"
	"log/slog"
	"net/http"
	"os"
	"strings"

	"github.com/prometheus/alertmanager/alert"
	"github.com/prometheus/alertmanager/notify"
	"github.com/prometheus/alertmanager/template"
)

// logger writes notifications into the log.
type logger struct{ log *slog.Logger }

// NewLog returns a receiver that writes each alert as a line of the log.
func NewLog(l *slog.Logger) notify.Notifier { return logger{l} }

func (l logger) Notify(_ context.Context, alerts ...*alert.Alert) notify.NotifyVerdict {
	for _, a := range alerts {
		l.log.Info("Alert", "status", a.Status(), "alertname", a.Name(), "severity", a.Labels["severity"],
			"machine", a.Labels["machine"], "summary", a.Annotations["summary"], "since", a.StartsAt)
	}
	return notify.Success()
}

type heartbeat struct {
	sender
	url, file string
}

// NewHeartbeat returns a receiver that gets an address for as long as an alert
// fires: proof that alerts are evaluated and delivered. The address is url, or
// what is in file.
func NewHeartbeat(url, file string, t *template.Template, l *slog.Logger) (notify.Notifier, error) {
	if file == "" {
		if err := checkBase("the heartbeat's URL", url); err != nil {
			return nil, err
		}
	}
	s, err := newSender("heartbeat", Common{}, t, l)
	return &heartbeat{s, url, file}, err
}

func (h *heartbeat) Notify(ctx context.Context, alerts ...*alert.Alert) notify.NotifyVerdict {
	if worst(alerts) == "" {
		return notify.Success()
	}
	to := h.url
	if h.file != "" {
		text, err := os.ReadFile(h.file)
		if err != nil {
			return failed(err)
		}
		to = strings.TrimSpace(string(text))
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, to, nil)
	if err != nil {
		return failed(notify.RedactURL(err))
	}
	req.Header.Set("User-Agent", "clanmon")
	_, v := h.send(req)
	return v
}
