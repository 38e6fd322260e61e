package delivery

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"
)

func postAlerts(d *Delivery, path, body string) (int, string) {
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	d.Handler().ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

func held(t *testing.T, d *Delivery) (names []string) {
	t.Helper()
	var all []struct{ Labels map[string]string }
	require.NoError(t, json.Unmarshal([]byte(get(t, d, "/alerts")), &all))
	for _, a := range all {
		names = append(names, a.Labels["alertname"])
	}
	return names
}

func TestNumberOfAlertsFromOutside(t *testing.T) {
	o := testOptions(t, newWebhook(t).config())
	o.MaxReceived = 3
	d, _ := start(t, o)
	d.Send(firing("alertname", "Rule1"), firing("alertname", "Rule2"), firing("alertname", "Rule3")) // they do not count
	alerts := func(names ...string) string {
		var all []string
		for _, n := range names {
			all = append(all, fmt.Sprintf(`{"labels":{"alertname":%q}}`, n))
		}
		return "[" + strings.Join(all, ",") + "]"
	}
	code, answer := postAlerts(d, "/alerts", alerts("a", "b"))
	require.Equal(t, http.StatusOK, code, answer)
	code, answer = postAlerts(d, "/alerts/", alerts("c", "d", "b")) // upstream takes that path, too
	require.Equal(t, http.StatusTooManyRequests, code)
	require.Contains(t, answer, "1 of 3 alerts were refused")
	require.Contains(t, answer, "--alertmanager.alerts.max-received")
	require.Subset(t, held(t, d), []string{"a", "b", "c"})
	require.NotContains(t, held(t, d), "d")
	code, answer = postAlerts(d, "/alerts", alerts("a", "b", "c"))
	require.Equal(t, http.StatusOK, code, "those that are held may come again: %s", answer)
	code, _ = postAlerts(d, "/alerts", alerts("e"))
	require.Equal(t, http.StatusTooManyRequests, code)
	code, _ = postAlerts(d, "/alerts", "{")
	require.Equal(t, http.StatusBadRequest, code)
}

func TestAlertsThatAreGoneMakeRoom(t *testing.T) {
	gone := map[model.Fingerprint]bool{}
	h := received{holds: func(fp model.Fingerprint) bool { return !gone[fp] }}
	now := time.Now()
	take := func(fp model.Fingerprint, size int) bool { return h.take(fp, size, 2, now) }
	require.True(t, take(1, 10))
	require.True(t, take(2, 10))
	require.False(t, take(3, 10))
	require.True(t, take(2, 10))
	require.False(t, take(2, 2*perReceivedAlert), "few large alerts are as bad as many small ones")
	gone[1] = true
	require.False(t, take(3, 10), "it may still be on its way in")
	now = now.Add(2 * time.Minute)
	require.True(t, take(3, 10))
	require.False(t, take(1, 10))
	require.Equal(t, 20, h.bytes)
}

func TestSizeOfAlertsFromOutside(t *testing.T) {
	d, _ := start(t, testOptions(t, newWebhook(t).config()))
	many := func(n int) string {
		var all []string
		for i := range n {
			all = append(all, fmt.Sprintf(`"l%d":"x"`, i))
		}
		return "{" + strings.Join(all, ",") + "}"
	}
	long := func(n int) string { return strings.Repeat("x", n) }
	for body, want := range map[string]string{
		`[{"labels":` + many(65) + `}]`:                                               "65 labels exceed the limit of 64",
		`[{"labels":{"alertname":"A"},"annotations":` + many(65) + `}]`:               "65 annotations exceed the limit of 64",
		`[{"labels":{"alertname":"A","x":"` + long(5000) + `"}}]`:                     `label "x" has 5000 bytes; the limit is 4096`,
		`[{"labels":{"alertname":"A","` + long(5000) + `":"x"}}]`:                     "the name of a label exceeds the limit",
		`[{"labels":{"alertname":"A"},"annotations":{"x":"` + long(17000) + `"}}]`:    `annotation "x" has 17000 bytes; the limit is 16384`,
		`[{"labels":{"alertname":"A"},"generatorURL":"http://h/` + long(5000) + `"}]`: "generatorURL exceeds the limit",
		`[{"labels":{"alertname":"Fine"}},{"LABELS":` + many(65) + `}]`:               "65 labels",
	} {
		code, answer := postAlerts(d, "/alerts", body)
		require.Equal(t, http.StatusBadRequest, code, want)
		require.Contains(t, strings.ReplaceAll(answer, `\"`, `"`), want)
	}
	require.Empty(t, held(t, d))
	code, answer := postAlerts(d, "/alerts", `[{"labels":`+many(64)+`,"annotations":{"x":"`+long(16384)+`"}}]`)
	require.Equal(t, http.StatusOK, code, answer)
}

func TestSizeAndNumberOfSilences(t *testing.T) {
	o := testOptions(t, "")
	o.ConfigFile = "" // nothing but our own receivers: there are limits by default
	o.MaxSilences = 2
	d, _ := start(t, o)
	begin := time.Now()
	code, answer := postSilence(d, `{"name":"machine","value":"`+strings.Repeat("(a|b)*", 1000)+`","isRegex":true}`)
	require.Equal(t, http.StatusBadRequest, code)
	require.Contains(t, answer, "the limit is 4096")
	require.Less(t, time.Since(begin), 30*time.Second)
	var many []string
	for i := range 10 {
		many = append(many, fmt.Sprintf(`{"name":"l%d","value":"%s"}`, i, strings.Repeat("x", 4000)))
	}
	code, answer = postSilence(d, strings.Join(many, ","))
	require.Equal(t, http.StatusBadRequest, code)
	require.Contains(t, answer, "--alertmanager.silences.max-silence-size-bytes")
	for i, want := range []int{200, 200, 400} {
		code, answer = postSilence(d, fmt.Sprintf(`{"name":"machine","value":"m%d"}`, i))
		require.Equal(t, want, code, answer)
	}
	require.Contains(t, answer, "--alertmanager.silences.max-silences")

	r := httptest.NewRequest(http.MethodGet, "/alerts?filter=a%3D~"+strings.Repeat("x", 20000), nil)
	w := httptest.NewRecorder()
	d.Handler().ServeHTTP(w, r)
	require.Equal(t, http.StatusRequestURITooLong, w.Code)
}

// Whatever dates somebody sends, the answer names the field, and what is held can be
// listed.
func TestDatesFromOutside(t *testing.T) {
	d, _ := start(t, testOptions(t, newWebhook(t).config()))
	now := time.Now()
	for _, date := range []string{"9999-12-31T23:59:59Z", "9999-12-31T23:59:59-12:00", "0001-01-02T00:00:00Z", "1969-12-31T00:00:00Z", now.AddDate(2, 0, 0).Format(time.RFC3339)} {
		for _, field := range []string{"startsAt", "endsAt"} {
			code, answer := postAlerts(d, "/alerts", fmt.Sprintf(`[{"labels":{"alertname":"A"},%q:%q}]`, field, date))
			require.Equal(t, http.StatusBadRequest, code, date)
			require.Contains(t, answer, field)
		}
	}
	for _, date := range []string{"9999-12-31T23:59:59Z", "9999-12-31T23:59:59-12:00"} {
		code, answer := postAlerts(d, "/silences", fmt.Sprintf(`{"matchers":[{"name":"a","value":"b","isRegex":false}],"startsAt":%q,"endsAt":%q,"createdBy":"me","comment":"c"}`, now.Format(time.RFC3339), date))
		require.Equal(t, http.StatusBadRequest, code, date)
		require.Contains(t, answer, "endsAt")
	}
	code, answer := postAlerts(d, "/alerts", fmt.Sprintf(`[{"labels":{"alertname":"A"},"endsAt":%q},{"labels":{"alertname":"B"},"startsAt":"0001-01-01T00:00:00Z"}]`, now.AddDate(0, 3, 0).Format(time.RFC3339)))
	require.Equal(t, http.StatusOK, code, answer)
	require.ElementsMatch(t, []string{"A", "B"}, held(t, d))
}

// A few characters can stand for thousands.
func TestPatternsFromOutside(t *testing.T) {
	d, _ := start(t, testOptions(t, newWebhook(t).config()))
	for _, value := range []string{strings.Repeat("(abc{1000})", 300), strings.Repeat(`\\pL`, 1000)} {
		code, answer := postSilence(d, `{"name":"machine","value":"`+value+`","isRegex":true}`)
		require.Equal(t, http.StatusBadRequest, code)
		require.Contains(t, answer, "repeats too much")
	}
	var many []string
	for i := range 65 {
		many = append(many, fmt.Sprintf(`{"name":"l%d","value":"x"}`, i))
	}
	code, answer := postSilence(d, strings.Join(many, ","))
	require.Equal(t, http.StatusBadRequest, code)
	require.Contains(t, answer, "65 are over the limit of 64")
	code, answer = postSilence(d, `{"name":"machine","value":"[a-z]{1,60}|`+strings.Repeat("name|", 500)+`x","isRegex":true}`)
	require.Equal(t, http.StatusOK, code, answer)
	for filter, want := range map[string]int{
		`machine=~"` + strings.Repeat("(abc{1000})", 100) + `"`: http.StatusBadRequest,
		`machine=~"[a-z]{1,60}"`:                                http.StatusOK,
	} {
		for _, path := range []string{"/alerts", "/silences", "/alerts/groups"} {
			r := httptest.NewRequest(http.MethodGet, path+"?filter="+url.QueryEscape(filter), nil)
			w := httptest.NewRecorder()
			d.Handler().ServeHTTP(w, r)
			require.Equal(t, want, w.Code, "%s %s", path, w.Body)
		}
	}
}
