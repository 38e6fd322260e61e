package delivery

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// postSilence posts a silence with these matchers, for an hour. One without isRegex
// is no expression.
func postSilence(d *Delivery, matchers string) (int, string) {
	matchers = strings.ReplaceAll(matchers, `{"name"`, `{"isRegex":false,"name"`) // the last of two counts
	body := fmt.Sprintf(`{"matchers":[%s],"startsAt":%q,"endsAt":%q,"createdBy":"me","comment":"c"}`,
		matchers, time.Now().UTC().Format(time.RFC3339), time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	r := httptest.NewRequest(http.MethodPost, "/silences", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	d.Handler().ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

func TestSilencesThatMuteNothingAreRefused(t *testing.T) {
	h := newWebhook(t)
	d, _ := start(t, testOptions(t, h.config()))
	d.Send(firing("alertname", "Mine", "team", "db"), firing("alertname", "Full", "machine", "a", "team", "web"))
	h.wait(t, 2)
	for matchers, want := range map[string]string{
		`{"name":"machine","value":""},{"name":"severity","value":"warning"}`:                   `machine="" matches alerts without the label machine`,
		`{"name":"machine","value":"","isRegex":true},{"name":"team","value":"web"}`:            `write machine=~"^$"`,
		`{"name":"machine","value":"a","isEqual":true},{"name":"machine","value":"b"}`:          `no alert can match both machine="a" and machine="b"`,
		`{"name":"machine","value":"a"},{"name":"machine","value":"b|c","isRegex":true}`:        `no alert can match both`,
		`{"name":"machine","value":"a"},{"name":"machine","value":"a","isEqual":false}`:         `no alert can match both`,
		`{"name":"machine","value":""},{"name":"machine","value":"a"},{"name":"x","value":"y"}`: `no alert can match both`,
		`{"name":"","value":"x"}`:                        "",
		`{"name":"machine","value":"(","isRegex":true}`:  "",
		`{"name":"machine","value":".*","isRegex":true}`: "", // upstream: matches the empty string
	} {
		code, answer := postSilence(d, matchers)
		require.GreaterOrEqual(t, code, 400, matchers)
		require.Less(t, code, 500, matchers)
		require.NotContains(t, answer, "is active")
		if want != "" {
			require.Contains(t, strings.ReplaceAll(answer, `\"`, `"`), want)
		}
	}
	require.Equal(t, "[]\n", get(t, d, "/silences"))

	for _, matchers := range []string{
		`{"name":"machine","value":""},{"name":"team","value":"db"}`, // mutes Mine
		`{"name":"machine","value":"^$","isRegex":true},{"name":"alertname","value":"Later"}`,
		`{"name":"machine","value":"","isEqual":false},{"name":"alertname","value":"Later"}`,
		`{"name":"machine","value":"not-there-yet"}`,
		`{"name":"machine","value":"a|b","isRegex":true},{"name":"machine","value":"a","isEqual":false}`,
	} {
		code, answer := postSilence(d, matchers)
		require.Equal(t, http.StatusOK, code, answer)
	}
}

// A silence that upstream refused is not in force, whatever the disk says.
func TestRefusedSilenceIsNeverSaidToBeInForce(t *testing.T) {
	o := testOptions(t, newWebhook(t).config())
	d, _ := start(t, o)
	dir := filepath.Join(o.Dir, "alertmanager")
	require.NoError(t, os.Rename(dir, dir+".away")) // nothing can be saved
	t.Cleanup(func() { _ = os.Rename(dir+".away", dir) })
	code, answer := postSilence(d, `{"name":"machine","value":"(","isRegex":true}`)
	require.GreaterOrEqual(t, code, 400)
	require.Less(t, code, 500, answer)
	require.NotContains(t, answer, "is active")
	code, answer = postSilence(d, `{"name":"machine","value":"a"}`)
	require.Equal(t, http.StatusInternalServerError, code)
	require.Contains(t, answer, "active, but could not be saved")
}

func TestLimitsOfAlertmanager(t *testing.T) {
	o := testOptions(t, newWebhook(t).config())
	o.MaxSilences, o.MaxSilenceBytes, o.PerAlertnameLimit = 1, 300, 2
	d, _ := start(t, o)
	code, answer := postSilence(d, `{"name":"machine","value":"`+strings.Repeat("x", 400)+`"}`)
	require.Equal(t, http.StatusBadRequest, code)
	require.Contains(t, answer, "exceeded maximum size")
	code, answer = postSilence(d, `{"name":"machine","value":"a"}`)
	require.Equal(t, http.StatusOK, code, answer)
	code, answer = postSilence(d, `{"name":"machine","value":"b"}`)
	require.Equal(t, http.StatusBadRequest, code, answer)
	for i := range 5 {
		d.Send(firing("alertname", "Same", "machine", fmt.Sprint(i)))
	}
	d.Send(firing("alertname", "Other", "machine", "m"))
	require.EventuallyWithT(t, func(c *assert.CollectT) { require.Contains(c, get(t, d, "/alerts"), "Other") }, time.Minute, 20*time.Millisecond)
	require.Equal(t, 2, strings.Count(get(t, d, "/alerts"), `"Same"`))
}

// Nothing is sent before the delay is over; alerts are taken in meanwhile.
func TestDispatchStartDelay(t *testing.T) {
	h := newWebhook(t)
	o := testOptions(t, h.config())
	o.DispatchStartDelay = 2 * time.Second
	begin := time.Now()
	d, _ := start(t, o)
	d.Send(firing("alertname", "A", "machine", "m"))
	h.wait(t, 1)
	require.GreaterOrEqual(t, time.Since(begin), o.DispatchStartDelay)
}
