package delivery

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/promslog"
	"github.com/stretchr/testify/require"
)

// FuzzNotifyURL reads addresses of --notify. What is taken can be built, and what is
// shown of it names no more than its host.
func FuzzNotifyURL(f *testing.F) {
	for _, u := range []string{
		"ntfy://ntfy.sh/topic-of-mine?priority=4", "ntfy+http://127.0.0.1:1/t?token_file=/f", "gotify://h/path?token_file=/f&priority=5", "matrix://h/!room:server?token_file=/f",
		"mailto:me@example.org?smarthost=h:25&from=a@b&username=u&password_file=/f&require_tls=false", "slack://?url_file=/f&channel=c", "webhook+https://h/p?token=secret-of-mine",
		"webhook://?url_file=/f", "ntfy://u:p@h/t", "mailto:", "mailto:a@b?smarthost=:", "webhook:?url_file", "ntfy://[::1]:99999/x", "webhook+http://h:1/%zz", "matrix://h/%23a:b", "://", "",
	} {
		f.Add(u)
	}
	f.Fuzz(func(t *testing.T, text string) {
		n, err := ParseNotifyURL(text)
		if err != nil {
			require.NotEmpty(t, err.Error())
			return
		}
		shown := n.String()
		for _, values := range n.Query() {
			for _, v := range values {
				require.False(t, len(v) >= 8 && !strings.Contains(n.Host, v) && strings.Contains(shown, v), "%s shows %q", shown, v)
			}
		}
		if path := strings.Trim(n.Path, "/"); len(path) >= 8 && n.Scheme != "mailto" && !strings.Contains(n.Host, path) {
			require.NotContains(t, shown, path)
		}
		_, err = defaultConfig(Options{Notify: []NotifyURL{n}, ExternalURL: &url.URL{}})
		require.NoError(t, err, "an address that is taken makes a configuration")
	})
}

// FuzzConfig reads an alertmanager.yml.
func FuzzConfig(f *testing.F) {
	for _, text := range []string{
		"route: {receiver: a, group_by: ['...'], routes: [{matchers: [a=~\"b\"], receiver: b, continue: true}]}\nreceivers: [{name: a}, {name: b, webhook_configs: [{url: 'http://h'}]}]\n",
		"route: {receiver: a}\nreceivers: [{name: a, ntfy_configs: [{url: 'https://ntfy.sh', topic: t}], gotify_configs: [{url: 'http://h', token: t}], matrix_configs: [{url: 'http://h', room: '!r:s', token: t}]}]\n",
		"route: {receiver: a}\nreceivers: [{name: a, email_configs: [{to: a@b, smarthost: 'h:25', from: c@d}]}]\ninhibit_rules: [{source_matchers: [a=b], target_matchers: [c=d], equal: [e]}]\ntime_intervals: [{name: t, time_intervals: [{weekdays: [monday]}]}]\n",
		"route: {receiver: a}\nreceivers: &a [{name: a, ntfy_configs: *a}]\n", "receivers: [{ntfy_configs: 1}]", "receivers: {a: b}", "&a [*a]", "{", "", "\x00",
	} {
		f.Add([]byte(text))
	}
	initMatchers(promslog.NewNopLogger())
	f.Fuzz(func(t *testing.T, text []byte) {
		if strings.Contains(string(text), "templates") {
			return // would read files
		}
		c, err := parseConfig(text)
		if err != nil {
			require.NotEmpty(t, err.Error())
			return
		}
		_ = c.warnings()
		b, err := c.build(Options{ExternalURL: &url.URL{}}, promslog.NewNopLogger())
		if err == nil {
			require.NotEmpty(t, b.receivers)
		}
	})
}

// FuzzRequests sends to /api/v2 and to our own API of receivers whatever comes to
// mind: nothing panics, nothing is the server's own fault, and what is held can be
// listed.
func FuzzRequests(f *testing.F) {
	silence := `{"matchers":[{"name":"a","value":"b","isRegex":true}],"startsAt":"2026-01-01T00:00:00Z","endsAt":"2126-01-01T00:00:00Z","createdBy":"me","comment":"c"}`
	for _, s := range [][3]string{
		{"POST", "/alerts", `[{"labels":{"alertname":"A"},"endsAt":"2026-12-31T23:59:59-12:00"}]`}, {"POST", "/silences", silence}, {"DELETE", "/silence/x", ""},
		{"GET", "/alerts?filter=a%3D~%22(b%7B9%7D)%22&receiver=x", ""}, {"GET", "/alerts/groups?active=maybe", ""}, {"PUT", "//alerts/", "null"}, {"GET", "/silences?filter=%ff", ""},
	} {
		f.Add(s[0], s[1], s[2])
	}
	d, _ := start(f, testOptions(f, "route: {receiver: nobody}\nreceivers: [{name: nobody}]\n"))
	require.Eventually(f, func() bool { // it starts in the background
		w := httptest.NewRecorder()
		d.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/alerts/groups", nil))
		return w.Code == http.StatusOK
	}, time.Minute, 5*time.Millisecond)
	f.Fuzz(func(t *testing.T, method, target, body string) {
		u, err := url.ParseRequestURI(target)
		if err != nil || strings.ContainsAny(method, " \r\n") || method == "" {
			return
		}
		for _, h := range []http.Handler{d.Handler(), d.ReceiversHandler()} {
			r := httptest.NewRequest(http.MethodGet, "/", strings.NewReader(body))
			again := *u
			r.Method, r.URL = method, &again
			r.Header.Set("Content-Type", "application/json")
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			require.NotEqual(t, http.StatusInternalServerError, w.Code, "%s %s %s: %s", method, target, body, w.Body)
		}
		for _, path := range []string{"/alerts", "/silences", "/alerts/groups"} {
			w := httptest.NewRecorder()
			d.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
			require.Equal(t, http.StatusOK, w.Code, "%s after %s %s %s: %s", path, method, target, body, w.Body)
		}
	})
}
