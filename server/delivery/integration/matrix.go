package integration

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/prometheus/alertmanager/alert"
	"github.com/prometheus/alertmanager/notify"
	"github.com/prometheus/alertmanager/template"
	commonconfig "github.com/prometheus/common/config"
)

// MatrixConfig is one entry of matrix_configs. The user whose token it is has
// to be in the room. The room must not be encrypted: messages are sent in clear.
type MatrixConfig struct {
	Common `yaml:",inline"`

	URL       string              `yaml:"url"`            // of the homeserver's client API
	Room      string              `yaml:"room,omitempty"` // !id:server or #alias:server
	RoomFile  string              `yaml:"room_file,omitempty"`
	Token     commonconfig.Secret `yaml:"token,omitempty"`
	TokenFile string              `yaml:"token_file,omitempty"`
	// MsgType is m.text, or m.notice, which most clients show without a noise.
	MsgType string `yaml:"msgtype,omitempty"`
}

// UnmarshalYAML sets defaults and checks.
func (c *MatrixConfig) UnmarshalYAML(unmarshal func(any) error) error {
	*c = MatrixConfig{Common: common(), MsgType: "m.text"}
	type plain MatrixConfig
	if err := unmarshal((*plain)(c)); err != nil {
		return err
	}
	return c.check()
}

func (c *MatrixConfig) check() error {
	c.URL = strings.TrimSuffix(c.URL, "/")
	if err := checkBase("url", c.URL); err != nil {
		return err
	}
	if c.Room != "" && c.RoomFile != "" {
		return errors.New("only one of room and room_file can be set")
	}
	if c.RoomFile == "" {
		if err := checkRoom(c.Room); err != nil {
			return err
		}
	}
	if c.Token == "" && c.TokenFile == "" {
		return errors.New("token_file (or token) is missing: the access token of the sending user")
	}
	return atMostOne("token", c.Token, c.TokenFile)
}

func checkRoom(room string) error {
	if !strings.HasPrefix(room, "!") && !strings.HasPrefix(room, "#") {
		return fmt.Errorf("room %q must be an ID, !id:example.org, or an alias, #name:example.org", room)
	}
	return nil
}

type matrix struct {
	sender
	conf *MatrixConfig

	mu        sync.Mutex
	alias, id string // the alias that was looked up last, and its room
}

// NewMatrix returns a receiver that writes into a Matrix room.
func NewMatrix(c *MatrixConfig, t *template.Template, l *slog.Logger) (notify.Notifier, error) {
	s, err := newSender("matrix", c.Common, t, l)
	return &matrix{sender: s, conf: c}, err
}

func (m *matrix) Notify(ctx context.Context, alerts ...*alert.Alert) notify.NotifyVerdict {
	title, text, link, err := m.texts(ctx, alerts)
	if err != nil {
		return failed(err)
	}
	token, err := secret(m.conf.Token, m.conf.TokenFile)
	if err != nil {
		return failed(err)
	}
	headers := map[string]string{"Authorization": "Bearer " + token}
	name := m.conf.Room
	if m.conf.RoomFile != "" {
		if name, err = secret("", m.conf.RoomFile); err == nil {
			err = checkRoom(name)
		}
		if err != nil {
			return failed(err)
		}
	}
	room, v := m.roomID(ctx, name, headers)
	if v.Err() != nil {
		return v
	}
	sign := map[string]string{"critical": "🚨", "warning": "⚠️", "info": "ℹ️", "": "✅"}[worst(alerts)]
	formatted := "<strong>" + sign + " " + html.EscapeString(title) + "</strong>"
	plain := sign + " " + title
	if text != "" {
		plain += "\n" + text
		formatted += "<br>" + strings.ReplaceAll(html.EscapeString(text), "\n", "<br>")
	}
	if link != "" {
		plain += "\n" + link
		formatted += `<br><a href="` + html.EscapeString(link) + `">Open in clanmon</a>`
	}
	message := map[string]string{"msgtype": m.conf.MsgType, "body": plain, "format": "org.matrix.custom.html", "formatted_body": formatted}
	path := "/_matrix/client/v3/rooms/" + url.PathEscape(room) + "/send/m.room.message/" + transaction(ctx, room, alerts)
	return m.sendJSON(ctx, http.MethodPut, m.conf.URL+path, headers, message)
}

// transaction is the same for every attempt of one notification, so that the
// homeserver drops a repetition of what did arrive.
func transaction(ctx context.Context, room string, alerts []*alert.Alert) string {
	key, _ := notify.GroupKey(ctx)
	now, _ := notify.Now(ctx)
	sum := sha256.New()
	fmt.Fprintln(sum, key, room, now.UnixNano())
	for _, a := range alerts {
		fmt.Fprintln(sum, a.Fingerprint(), a.Status())
	}
	return "clanmon-" + hex.EncodeToString(sum.Sum(nil)[:12])
}

func (m *matrix) roomID(ctx context.Context, name string, headers map[string]string) (id string, v notify.NotifyVerdict) {
	if strings.HasPrefix(name, "!") {
		return name, notify.Success()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.alias == name {
		return m.id, notify.Success()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, m.conf.URL+"/_matrix/client/v3/directory/room/"+url.PathEscape(name), nil)
	if err != nil {
		return "", failed(notify.RedactURL(err))
	}
	for name, value := range headers {
		req.Header.Set(name, value)
	}
	body, v := m.send(req)
	if v.Err() != nil {
		return "", about("look up room "+name, v)
	}
	var answer struct {
		ID string `json:"room_id"`
	}
	if err := json.Unmarshal(body, &answer); err != nil || answer.ID == "" {
		return "", failed(fmt.Errorf("look up room %s: the response has no room_id", name))
	}
	m.alias, m.id = name, answer.ID
	return m.id, notify.Success()
}
