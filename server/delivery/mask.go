package delivery

import (
	"cmp"
	"encoding/base64"
	"net/url"
	"os"
	"reflect"
	"slices"
	"strings"

	amcommon "github.com/prometheus/alertmanager/config/common"
	commonconfig "github.com/prometheus/common/config"
)

// masker takes secrets out of what receivers say. Upstream's telegram shows its
// token where a connection breaks, and any service may repeat what it was sent.
type masker struct {
	secrets []string
	files   []string // of secrets; read when needed, for they may be exchanged
}

// shortest is the length from which on a secret is masked: shorter ones are
// parts of ordinary words.
const shortest = 4

func newMasker(c *Config, o Options) *masker {
	m := &masker{files: []string{o.HeartbeatURLFile}}
	m.add(o.HeartbeatURL)
	visit := func(path string, v reflect.Value) error {
		switch x := v.Interface().(type) {
		case amcommon.SecretURL:
			if x.URL != nil {
				m.add(x.URL.String())
			}
		case commonconfig.BasicAuth:
			m.add(base64.StdEncoding.EncodeToString([]byte(x.Username + ":" + string(x.Password))))
		default:
			switch {
			case v.Kind() != reflect.String:
			case strings.HasPrefix(v.Type().Name(), "Secret"):
				m.add(v.String())
			case strings.HasSuffix(path, "_file"):
				m.files = append(m.files, v.String())
			}
		}
		return nil
	}
	_ = walk("", reflect.ValueOf(c.Global), visit)
	_ = walk("", reflect.ValueOf(c.Receivers), visit)
	for _, list := range c.own {
		for _, own := range list {
			_ = walk("", reflect.ValueOf(own.conf), visit)
		}
	}
	return m
}

func (m *masker) add(secret string) {
	secret = strings.TrimSpace(secret)
	if len(secret) < shortest || strings.Contains(secret, "\n") { // a certificate
		return
	}
	m.secrets = append(m.secrets, secret)
	if u, err := url.Parse(secret); err == nil && u.Host != "" {
		// Who was asked may be said, what for may not.
		m.secrets = slices.DeleteFunc(m.secrets, func(s string) bool { return s == secret })
		if uri := u.RequestURI(); len(uri) >= shortest {
			m.secrets = append(m.secrets, uri)
		}
		if password, ok := u.User.Password(); ok {
			m.add(password)
		}
	}
}

// error is err without secrets. What it wraps stays in reach.
func (m *masker) error(err error) error {
	if m == nil || err == nil {
		return err
	}
	now := &masker{secrets: slices.Clone(m.secrets)}
	for _, f := range m.files {
		if text, readErr := os.ReadFile(f); f != "" && readErr == nil && len(text) < 1<<16 {
			now.add(string(text))
		}
	}
	slices.SortFunc(now.secrets, func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	var pairs []string
	for _, s := range now.secrets {
		pairs = append(pairs, s, "<secret>")
	}
	text := strings.NewReplacer(pairs...).Replace(err.Error())
	if text == err.Error() {
		return err
	}
	return &maskedError{text, err}
}

type maskedError struct {
	text string
	err  error
}

func (e *maskedError) Error() string { return e.text }
func (e *maskedError) Unwrap() error { return e.err }
