package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/alertmanager/alert"
	"github.com/prometheus/alertmanager/notify"
	"github.com/prometheus/alertmanager/template"
	commonconfig "github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
	"github.com/prometheus/common/promslog"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v2"
)

const token = "t0ken-that-must-not-leak"

// request is what a receiver was sent.
type request struct {
	method, path string
	header       http.Header
	body         map[string]any
}

// service is an HTTP server that speaks as ntfy, Gotify and a Matrix homeserver
// document it; the real ones are not to be had in a test.
type service struct {
	URL  string
	got  []request
	code int
}

func newService(t *testing.T) *service {
	t.Helper()
	s := &service{code: http.StatusOK}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		q := request{method: r.Method, path: r.URL.EscapedPath(), header: r.Header}
		_ = json.Unmarshal(text, &q.body)
		s.got = append(s.got, q)
		w.WriteHeader(s.code)
		if strings.Contains(q.path, "/directory/room/") {
			io.WriteString(w, `{"room_id":"!found:example.org","servers":[]}`)
			return
		}
		io.WriteString(w, `{"event_id":"$1"}`)
	}))
	t.Cleanup(srv.Close)
	s.URL = srv.URL
	return s
}

func tokenFile(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(file, []byte(token+"\n"), 0o600))
	return file
}

func texts(t *testing.T) *template.Template {
	t.Helper()
	tmpl, err := Templates(nil)
	require.NoError(t, err)
	tmpl.ExternalURL = &url.URL{Scheme: "https", Host: "mon.example.org"}
	return tmpl
}

// receivers are all three, towards base.
func receivers(t *testing.T, base string) map[string]notify.Notifier {
	t.Helper()
	file := tokenFile(t)
	decode := func(text string, into any) {
		require.NoError(t, yaml.UnmarshalStrict([]byte(text), into))
	}
	n, g, m := &NtfyConfig{}, &GotifyConfig{}, &MatrixConfig{}
	decode("{url: '"+base+"', topic: ops, token_file: '"+file+"'}", n)
	decode("{url: '"+base+"', token_file: '"+file+"'}", g)
	decode("{url: '"+base+"', room: '!ops:example.org', token_file: '"+file+"'}", m)
	log := promslog.NewNopLogger()
	all := make(map[string]notify.Notifier)
	var err error
	all["ntfy"], err = NewNtfy(n, texts(t), log)
	require.NoError(t, err)
	all["gotify"], err = NewGotify(g, texts(t), log)
	require.NoError(t, err)
	all["matrix"], err = NewMatrix(m, texts(t), log)
	require.NoError(t, err)
	return all
}

func firing(name, severity, summary string) *alert.Alert {
	return alert.New(model.Alert{
		StartsAt: time.Now(), EndsAt: time.Now().Add(time.Hour),
		Labels:      model.LabelSet{"alertname": model.LabelValue(name), "severity": model.LabelValue(severity), "machine": "web1"},
		Annotations: model.LabelSet{"summary": model.LabelValue(summary), "description": model.LabelValue(summary + " <b>why</b>")},
	}, time.Now(), false)
}

func resolved(a *alert.Alert) *alert.Alert {
	a.StartsAt, a.EndsAt = time.Now().Add(-time.Hour), time.Now().Add(-time.Minute)
	return a
}

func notification(t *testing.T) context.Context {
	t.Helper()
	ctx := notify.WithGroupKey(t.Context(), "key")
	ctx = notify.WithGroupLabels(ctx, model.LabelSet{"machine": "web1"})
	ctx = notify.WithReceiverName(ctx, "r")
	ctx = notify.WithNow(ctx, time.Unix(1, 0))
	ctx = notify.WithNotificationReason(ctx, notify.ReasonFirstNotification)
	return notify.WithRouteLabels(ctx, model.LabelSet{})
}

func TestWhatIsSent(t *testing.T) {
	s := newService(t)
	all := receivers(t, s.URL)
	a := firing("UnitFailed", "critical", "web1: nginx.service has failed")

	err := all["ntfy"].Notify(notification(t), a).Err()
	require.NoError(t, err)
	q := s.got[len(s.got)-1]
	require.Equal(t, "POST /", q.method+" "+q.path)
	require.Equal(t, "Bearer "+token, q.header.Get("Authorization"))
	require.Equal(t, map[string]any{
		"topic": "ops", "title": "Critical: web1: nginx.service has failed", "message": "web1: nginx.service has failed <b>why</b>",
		"priority": 5.0, "tags": []any{"rotating_light"}, "click": "https://mon.example.org/alerts?alert=" + a.Fingerprint().String() + "+UnitFailed+web1",
	}, q.body)

	err = all["gotify"].Notify(notification(t), a).Err()
	require.NoError(t, err)
	q = s.got[len(s.got)-1]
	require.Equal(t, "POST /message", q.method+" "+q.path)
	require.Equal(t, token, q.header.Get("X-Gotify-Key"))
	require.Equal(t, "Critical: web1: nginx.service has failed", q.body["title"])
	require.EqualValues(t, 8, q.body["priority"])

	err = all["matrix"].Notify(notification(t), a).Err()
	require.NoError(t, err)
	q = s.got[len(s.got)-1]
	require.Equal(t, "PUT", q.method)
	require.True(t, strings.HasPrefix(q.path, "/_matrix/client/v3/rooms/%21ops:example.org/send/m.room.message/"), q.path)
	require.Equal(t, "Bearer "+token, q.header.Get("Authorization"))
	require.Equal(t, "m.text", q.body["msgtype"])
	require.Contains(t, q.body["formatted_body"], "&lt;b&gt;why", "texts never become markup")
}

func TestTextsOfManyAndOfTheEnd(t *testing.T) {
	s := newService(t)
	n := receivers(t, s.URL)["ntfy"]
	send := func(alerts ...*alert.Alert) map[string]any {
		err := n.Notify(notification(t), alerts...).Err()
		require.NoError(t, err)
		return s.got[len(s.got)-1].body
	}
	got := send(firing("A", "warning", "one"), firing("B", "warning", "two"), resolved(firing("C", "warning", "three")))
	require.Equal(t, "web1: 2 × alerts", got["title"])
	require.Equal(t, "one\none <b>why</b>\ntwo\ntwo <b>why</b>\nResolved: three", got["message"])
	require.EqualValues(t, 4, got["priority"])

	got = send(resolved(firing("A", "critical", "one")))
	require.Equal(t, "Resolved: one", got["title"])
	require.EqualValues(t, 2, got["priority"], "good news wakes nobody")
	require.Equal(t, []any{"white_check_mark"}, got["tags"])

	linked := firing("A", "warning", "one")
	linked.Annotations["runbook_url"] = "https://mon.example.org/runbooks/A"
	require.Equal(t, "one <b>why</b>\nhttps://mon.example.org/runbooks/A", send(linked)["message"])
	require.NotContains(t, send(linked, firing("B", "warning", "two"))["message"], "/runbooks/", "one link does not fit many")

	// An alert of somebody else's rules has no texts.
	bare := firing("Mine", "warning", "")
	bare.Annotations = nil
	require.Equal(t, "Mine", send(bare)["title"])
}

func TestAttemptsOfOneNotificationAreOneMatrixMessage(t *testing.T) {
	s := newService(t)
	m := receivers(t, s.URL)["matrix"]
	a := firing("A", "warning", "one")
	for range 2 {
		err := m.Notify(notification(t), a).Err()
		require.NoError(t, err)
	}
	require.Equal(t, s.got[0].path, s.got[1].path)
	err := m.Notify(notify.WithNow(notification(t), time.Unix(2, 0)), a).Err()
	require.NoError(t, err)
	require.NotEqual(t, s.got[0].path, s.got[2].path, "a later notification is another message")
}

func TestMatrixAliasIsLookedUpOnce(t *testing.T) {
	s := newService(t)
	c := &MatrixConfig{}
	require.NoError(t, yaml.UnmarshalStrict([]byte("{url: '"+s.URL+"', room: '#ops:example.org', token: x}"), c))
	m, err := NewMatrix(c, texts(t), promslog.NewNopLogger())
	require.NoError(t, err)
	for range 2 {
		err = m.Notify(notification(t), firing("A", "warning", "one")).Err()
		require.NoError(t, err)
	}
	require.Len(t, s.got, 3)
	require.Equal(t, "/_matrix/client/v3/directory/room/%23ops:example.org", s.got[0].path)
	require.Contains(t, s.got[1].path, "%21found:example.org")
}

func TestWhatIsTriedAgain(t *testing.T) {
	s := newService(t)
	for name, n := range receivers(t, s.URL) {
		for code, retry := range map[int]bool{429: true, 500: true, 503: true, 400: false, 401: false, 404: false, 307: false} {
			s.code = code
			verdict := n.Notify(notification(t), firing("A", "warning", "one"))
			require.Error(t, verdict.Err(), "%s %d", name, code)
			require.Equal(t, retry, verdict.ShouldRetry(), "%s %d", name, code)
			require.NotContains(t, verdict.Err().Error(), token)
		}
	}
}

// A receiver that hangs up, that never answers, or is not there.
func TestBrokenConnections(t *testing.T) {
	hangUp := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		c, _, err := w.(http.Hijacker).Hijack()
		if err == nil {
			c.Close()
		}
	}))
	defer hangUp.Close()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer silent.Close()
	for _, base := range []string{hangUp.URL, "http://" + silent.Addr().String(), "http://127.0.0.1:1"} {
		for name, n := range receivers(t, base) {
			ctx, cancel := context.WithTimeout(notification(t), 100*time.Millisecond)
			verdict := n.Notify(ctx, firing("A", "warning", "one"))
			cancel()
			require.Error(t, verdict.Err(), name)
			require.True(t, verdict.ShouldRetry(), "%s: %v", name, verdict.Err())
			require.NotContains(t, verdict.Err().Error(), token)
		}
	}
}

func TestMissingSecretIsNamedAndNotTriedAgain(t *testing.T) {
	s := newService(t)
	c := &GotifyConfig{}
	require.NoError(t, yaml.UnmarshalStrict([]byte("{url: '"+s.URL+"', token_file: /does/not/exist}"), c))
	n, err := NewGotify(c, texts(t), promslog.NewNopLogger())
	require.NoError(t, err)
	verdict := n.Notify(notification(t), firing("A", "warning", "one"))
	require.ErrorContains(t, verdict.Err(), "/does/not/exist")
	require.False(t, verdict.ShouldRetry())
	require.Empty(t, s.got)
}

func TestNtfyPassword(t *testing.T) {
	s := newService(t)
	c := &NtfyConfig{}
	require.NoError(t, yaml.UnmarshalStrict([]byte("{url: '"+s.URL+"', topic: a, username: me, password: pw}"), c))
	n, err := NewNtfy(c, texts(t), promslog.NewNopLogger())
	require.NoError(t, err)
	err = n.Notify(notification(t), firing("A", "warning", "one")).Err()
	require.NoError(t, err)
	r := &http.Request{Header: s.got[0].header}
	user, password, ok := r.BasicAuth()
	require.True(t, ok)
	require.Equal(t, "me:pw", user+":"+password)
}

func TestLongMessagesAreCut(t *testing.T) {
	s := newService(t)
	err := receivers(t, s.URL)["ntfy"].Notify(notification(t), firing("A", "warning", strings.Repeat("ä", 10000))).Err()
	require.NoError(t, err)
	require.LessOrEqual(t, len(s.got[0].body["message"].(string)), ntfyMaxBytes)
}

func TestHeartbeatBeatsWhileTheAlertFires(t *testing.T) {
	s := newService(t)
	h, err := NewHeartbeat(s.URL+"/ping/1", "", texts(t), promslog.NewNopLogger())
	require.NoError(t, err)
	err = h.Notify(notification(t), firing("Watchdog", "none", "x")).Err()
	require.NoError(t, err)
	require.Equal(t, "GET /ping/1", s.got[0].method+" "+s.got[0].path)
	err = h.Notify(notification(t), resolved(firing("Watchdog", "none", "x"))).Err()
	require.NoError(t, err)
	require.Len(t, s.got, 1, "an alert that ended is no sign of life")
	_, err = NewHeartbeat("hc.example.org", "", texts(t), promslog.NewNopLogger())
	require.Error(t, err)
}

func TestWrongSettings(t *testing.T) {
	for text, want := range map[string]string{
		"{topic: ''}":                         "topic is missing",
		"{topic: a, url: ntfy.sh}":            "http or https URL",
		"{topic: a, url: 'https://u:p@x'}":    "user or password",
		"{topic: a, priority: 9}":             "priority is 9; it must be 1 to 5",
		"{topic: a, token: x, token_file: y}": "only one of token and token_file",
		"{topic: a, tokenfile: y}":            "tokenfile",
	} {
		require.ErrorContains(t, yaml.UnmarshalStrict([]byte(text), &NtfyConfig{}), want, text)
	}
	require.ErrorContains(t, yaml.UnmarshalStrict([]byte("{url: 'https://x'}"), &GotifyConfig{}), "token_file (or token) is missing")
	require.ErrorContains(t, yaml.UnmarshalStrict([]byte("{url: 'https://x', token: x, room: ops}"), &MatrixConfig{}), "!id:example.org")
}

func TestSecretsAreMaskedWhereAConfigurationIsShown(t *testing.T) {
	c := GotifyConfig{Common: common(), URL: "https://x", Token: commonconfig.Secret(token)}
	text, err := yaml.Marshal(c)
	require.NoError(t, err)
	require.NotContains(t, string(text), token)
}

func TestLog(t *testing.T) {
	var out bytes.Buffer
	err := NewLog(promslog.New(&promslog.Config{Writer: &out})).Notify(t.Context(), firing("A", "warning", "one burns")).Err()
	require.NoError(t, err)
	require.Contains(t, out.String(), "one burns")
}
