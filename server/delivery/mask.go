package delivery

import (
	"cmp"
	"context"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"

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

// error is err without secrets, and no longer than longest. What it wraps stays in
// reach.
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
	text := cut(strings.NewReplacer(pairs...).Replace(err.Error()))
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

// longest is how many bytes of what somebody else says are kept and logged. Some
// receivers answer with a page, and upstream's webhook repeats all of it.
const longest = 1 << 10

// cut shortens text to longest bytes and says by how much.
func cut(text string) string {
	if len(text) <= longest {
		return text
	}
	end := longest
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return fmt.Sprintf("%s… (%d more bytes)", text[:end], len(text)-end)
}

// cutting is a handler that cuts what Alertmanager's packages log: messages, texts
// and errors.
type cutting struct{ slog.Handler }

func (h cutting) Handle(ctx context.Context, r slog.Record) error {
	short := slog.NewRecord(r.Time, r.Level, cut(r.Message), r.PC)
	r.Attrs(func(a slog.Attr) bool {
		short.AddAttrs(cutAttr(a))
		return true
	})
	return h.Handler.Handle(ctx, short)
}

func (h cutting) WithAttrs(as []slog.Attr) slog.Handler {
	short := make([]slog.Attr, len(as))
	for i, a := range as {
		short[i] = cutAttr(a)
	}
	return cutting{h.Handler.WithAttrs(short)}
}

func (h cutting) WithGroup(name string) slog.Handler { return cutting{h.Handler.WithGroup(name)} }

func cutAttr(a slog.Attr) slog.Attr {
	a.Value = a.Value.Resolve()
	switch a.Value.Kind() {
	case slog.KindString:
		a.Value = slog.StringValue(cut(a.Value.String()))
	case slog.KindGroup:
		var short []slog.Attr
		for _, in := range a.Value.Group() {
			short = append(short, cutAttr(in))
		}
		a.Value = slog.GroupValue(short...)
	case slog.KindAny:
		// Errors, byte slices and structures that hold an answer.
		if text := fmt.Sprint(a.Value.Any()); len(text) > longest {
			a.Value = slog.StringValue(cut(text))
		}
	}
	return a
}
