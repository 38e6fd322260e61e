package integration

import (
	"context"
	"log/slog"
	"maps"
	"strings"

	"github.com/prometheus/alertmanager/alert"
	"github.com/prometheus/alertmanager/notify"
	"github.com/prometheus/alertmanager/notify/email"
	"github.com/prometheus/alertmanager/template"
)

// MailConfig is Alertmanager's, with the recipient in a file if ToFile is set. An empty
// From is the first recipient.
type MailConfig struct {
	email.EmailConfig `yaml:",inline"`
	ToFile            string `yaml:"to_file,omitempty"`
}

type mail struct {
	conf *MailConfig
	tmpl *template.Template
	log  *slog.Logger
}

// NewMail returns a receiver that sends mail.
func NewMail(c *MailConfig, t *template.Template, l *slog.Logger) notify.Notifier {
	return &mail{c, t, l}
}

func (m *mail) Notify(ctx context.Context, alerts ...*alert.Alert) notify.NotifyVerdict {
	c := m.conf.EmailConfig
	if m.conf.ToFile != "" {
		to, err := secret("", m.conf.ToFile)
		if err != nil {
			return failed(err)
		}
		c.To = to
	}
	if c.From == "" {
		first, _, _ := strings.Cut(c.To, ",")
		c.From = strings.TrimSpace(first)
	}
	c.Headers = maps.Clone(c.Headers) // which New adds to
	return email.New(&c, m.tmpl, m.log).Notify(ctx, alerts...)
}
