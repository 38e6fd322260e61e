package integration

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"

	"github.com/prometheus/alertmanager/alert"
	"github.com/prometheus/alertmanager/notify"
	"github.com/prometheus/alertmanager/template"
	commonconfig "github.com/prometheus/common/config"
)

// GotifyConfig is one entry of gotify_configs.
type GotifyConfig struct {
	Common `yaml:",inline"`

	URL       string              `yaml:"url"` // of the server
	Token     commonconfig.Secret `yaml:"token,omitempty"`
	TokenFile string              `yaml:"token_file,omitempty"`
	// Priority is 1 to 10, or 0 for one that follows the severity.
	Priority int `yaml:"priority,omitempty"`
}

// UnmarshalYAML sets defaults and checks.
func (c *GotifyConfig) UnmarshalYAML(unmarshal func(any) error) error {
	*c = GotifyConfig{Common: common()}
	type plain GotifyConfig
	if err := unmarshal((*plain)(c)); err != nil {
		return err
	}
	return c.check()
}

func (c *GotifyConfig) check() error {
	c.URL = strings.TrimSuffix(c.URL, "/")
	if err := checkBase("url", c.URL); err != nil {
		return err
	}
	if c.Token == "" && c.TokenFile == "" {
		return errors.New("token_file (or token) is missing: the token of an application")
	}
	if c.Priority < 0 || c.Priority > 10 {
		return fmt.Errorf("priority is %d; it must be 1 to 10, or 0 to follow the severity", c.Priority)
	}
	return atMostOne("token", c.Token, c.TokenFile)
}

type gotify struct {
	sender
	conf *GotifyConfig
}

// NewGotify returns a receiver that sends to a Gotify application.
func NewGotify(c *GotifyConfig, t *template.Template, l *slog.Logger) (notify.Notifier, error) {
	s, err := newSender("gotify", c.Common, t, l)
	return &gotify{s, c}, err
}

func (g *gotify) Notify(ctx context.Context, alerts ...*alert.Alert) notify.NotifyVerdict {
	title, text, link, err := g.texts(ctx, alerts)
	if err != nil {
		return failed(err)
	}
	token, err := secret(g.conf.Token, g.conf.TokenFile)
	if err != nil {
		return failed(err)
	}
	// Its Android app makes a noise from 4 on and pops up from 8 on.
	priority := map[string]int{"critical": 8, "warning": 5, "info": 2, "": 1}[worst(alerts)]
	if g.conf.Priority != 0 {
		priority = g.conf.Priority
	}
	if text == "" {
		text = title // Gotify refuses an empty message
	}
	message := map[string]any{"title": title, "message": text, "priority": priority}
	if link != "" {
		message["extras"] = map[string]any{"client::notification": map[string]any{"click": map[string]any{"url": link}}}
	}
	return g.sendJSON(ctx, http.MethodPost, g.conf.URL+"/message", map[string]string{"X-Gotify-Key": token}, message)
}
