package integration

import (
	"context"
	"encoding/base64"
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

// NtfyConfig is one entry of ntfy_configs.
type NtfyConfig struct {
	Common `yaml:",inline"`

	URL string `yaml:"url,omitempty"` // of the server, https://ntfy.sh by default
	// Topic is a secret: whoever knows it reads the alerts and can send false ones.
	Topic     commonconfig.Secret `yaml:"topic,omitempty"`
	TopicFile string              `yaml:"topic_file,omitempty"`

	Token        commonconfig.Secret `yaml:"token,omitempty"`
	TokenFile    string              `yaml:"token_file,omitempty"`
	Username     string              `yaml:"username,omitempty"`
	Password     commonconfig.Secret `yaml:"password,omitempty"`
	PasswordFile string              `yaml:"password_file,omitempty"`

	// Priority is 1 to 5, or 0 for one that follows the severity.
	Priority int `yaml:"priority,omitempty"`
}

// UnmarshalYAML sets defaults and checks.
func (c *NtfyConfig) UnmarshalYAML(unmarshal func(any) error) error {
	*c = NtfyConfig{Common: common(), URL: "https://ntfy.sh"}
	type plain NtfyConfig
	if err := unmarshal((*plain)(c)); err != nil {
		return err
	}
	return c.check()
}

func (c *NtfyConfig) check() error {
	c.URL = strings.TrimSuffix(c.URL, "/")
	if c.Topic == "" && c.TopicFile == "" {
		return errors.New("topic is missing")
	}
	if err := atMostOne("topic", c.Topic, c.TopicFile); err != nil {
		return err
	}
	if c.Priority < 0 || c.Priority > 5 {
		return fmt.Errorf("priority is %d; it must be 1 to 5, or 0 to follow the severity", c.Priority)
	}
	if err := checkBase("url", c.URL); err != nil {
		return err
	}
	if err := atMostOne("token", c.Token, c.TokenFile); err != nil {
		return err
	}
	return atMostOne("password", c.Password, c.PasswordFile)
}

type ntfy struct {
	sender
	conf *NtfyConfig
}

// NewNtfy returns a receiver that publishes to a topic of ntfy.
func NewNtfy(c *NtfyConfig, t *template.Template, l *slog.Logger) (notify.Notifier, error) {
	s, err := newSender("ntfy", c.Common, t, l)
	return &ntfy{s, c}, err
}

// ntfy turns longer messages into attachments.
const ntfyMaxBytes = 4096

func (n *ntfy) Notify(ctx context.Context, alerts ...*alert.Alert) notify.NotifyVerdict {
	title, text, link, err := n.texts(ctx, alerts)
	if err != nil {
		return failed(err)
	}
	authorization, err := n.authorization()
	if err != nil {
		return failed(err)
	}
	topic, err := secret(n.conf.Topic, n.conf.TopicFile)
	if err != nil {
		return failed(err)
	}
	priority, tag := 2, "white_check_mark"
	switch worst(alerts) {
	case "critical":
		priority, tag = 5, "rotating_light"
	case "warning":
		priority, tag = 4, "warning"
	case "info":
		priority, tag = 3, "information_source"
	}
	if n.conf.Priority != 0 {
		priority = n.conf.Priority
	}
	text, _ = notify.TruncateInBytes(text, ntfyMaxBytes)
	title, _ = notify.TruncateInRunes(title, 250)
	message := map[string]any{"topic": topic, "title": title, "message": text, "priority": priority, "tags": []string{tag}}
	if link != "" {
		message["click"] = link
	}
	return n.sendJSON(ctx, http.MethodPost, n.conf.URL+"/", map[string]string{"Authorization": authorization}, message)
}

func (n *ntfy) authorization() (string, error) {
	token, err := secret(n.conf.Token, n.conf.TokenFile)
	if err != nil || token != "" {
		return "Bearer " + token, err
	}
	if n.conf.Username == "" {
		return "", nil
	}
	password, err := secret(n.conf.Password, n.conf.PasswordFile)
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(n.conf.Username+":"+password)), err
}
