package delivery

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	amconfig "github.com/prometheus/alertmanager/config"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/promslog"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// everyReceiver has all kinds of receivers, with secrets wherever one can be.
const everyReceiver = `route: {receiver: r, group_wait: 10ms, group_interval: 1h}
receivers:
- name: r
  webhook_configs: [{url: "URL/s3cret?k=s3cret", http_config: {basic_auth: {username: u, password: s3cret}}}]
  email_configs: [{to: a@b, from: a@b, smarthost: "HOST", auth_username: u, auth_password: s3cret, require_tls: false}]
  pagerduty_configs: [{routing_key: s3cret, url: "URL/pd"}]
  opsgenie_configs: [{api_key: s3cret, api_url: "URL/"}]
  wechat_configs: [{api_secret: s3cret, corp_id: c, api_url: "URL/"}]
  slack_configs: [{api_url: "URL/s3cret"}]
  victorops_configs: [{api_key: s3cret, api_url: "URL/", routing_key: r}]
  pushover_configs: [{user_key: s3cret, token: s3cret, http_config: {proxy_url: "URL"}}]
  sns_configs: [{api_url: "URL", topic_arn: "arn:aws:sns:us-east-1:1:t", sigv4: {region: us-east-1, access_key: a, secret_key: s3cret}}]
  telegram_configs: [{bot_token: s3cret, chat_id: 1, api_url: "URL"}]
  discord_configs: [{webhook_url: "URL/s3cret"}]
  webex_configs: [{room_id: r, api_url: "URL/", http_config: {authorization: {credentials: s3cret}}}]
  msteams_configs: [{webhook_url: "URL/s3cret"}]
  msteamsv2_configs: [{webhook_url: "URL/s3cret"}]
  jira_configs: [{api_url: "URL/", project: p, issue_type: t, http_config: {basic_auth: {username: u, password: s3cret}}}]
  incidentio_configs: [{url: "URL/x", alert_source_token: s3cret}]
  rocketchat_configs: [{api_url: "URL/", token: s3cret, token_id: s3cret, channel: c}]
  mattermost_configs: [{webhook_url: "URL/s3cret"}]
  ntfy_configs: [{url: "URL", topic: t, token: s3cret}]
  gotify_configs: [{url: "URL", token: s3cret}]
  matrix_configs: [{url: "URL", token: s3cret, room: "!r:m"}]
`

// Whatever a receiver answers, no secret is in what is shown or logged: not when
// it fails, nor when it breaks the connection, nor when it repeats what it was
// sent, as some services do in the text of an error.
func TestNoReceiverShowsItsSecrets(t *testing.T) {
	kinds := 3 // ours
	for f := range reflect.TypeFor[amconfig.Receiver]().NumField() {
		if reflect.TypeFor[amconfig.Receiver]().Field(f).Type.Kind() == reflect.Slice {
			kinds++
		}
	}
	for name, handle := range map[string]http.HandlerFunc{
		"500":    func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
		"broken": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"echo": func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusBadRequest)
			body, _ := io.ReadAll(r.Body)
			_ = json.NewEncoder(w).Encode(map[string]any{"message": r.URL.String() + " " + r.Header.Get("Authorization") + string(body), "error": r.URL.String()})
		},
	} {
		t.Run(name, func(t *testing.T) {
			srv := httptest.NewServer(handle)
			defer srv.Close()
			smtp, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			defer smtp.Close()
			go func() {
				for {
					c, err := smtp.Accept()
					if err != nil {
						return
					}
					_, _ = io.WriteString(c, "554 go away\r\n")
					c.Close()
				}
			}()
			text := strings.NewReplacer("URL", srv.URL, "HOST", smtp.Addr().String()).Replace(everyReceiver)
			o := testOptions(t, text)
			var log lockedBuffer
			level := promslog.NewLevel()
			require.NoError(t, level.Set("debug"))
			o.Logger = promslog.New(&promslog.Config{Writer: &log, Level: level})
			d, stop := start(t, o)
			d.Send(firing("alertname", "A", "machine", "m"))
			var status []ReceiverStatus
			require.EventuallyWithT(t, func(c *assert.CollectT) {
				status = d.Receivers()
				require.Len(c, status, kinds)
				for _, s := range status {
					require.NotEmpty(c, s.LastError, s.Integration)
				}
			}, time.Minute, 20*time.Millisecond)
			for _, s := range status {
				assert.NotContains(t, s.LastError, "s3cret", s.Integration)
				assert.NotContains(t, s.LastError, "dTpzM2NyZXQ=", s.Integration) // u:s3cret
			}
			assert.NotContains(t, get(t, d, "/status"), "s3cret")
			stop()
			for line := range strings.Lines(log.String()) {
				assert.NotContains(t, line, "s3cret")
			}
		})
	}
}

// everySecretFile has all kinds of receivers, with a file wherever a secret can be in one.
const everySecretFile = `route: {receiver: r}
receivers:
- name: r
  webhook_configs: [{url_file: /no/url, http_config: {tls_config: {ca_file: /no/ca, cert_file: /no/cert, key_file: /no/key}}}]
  email_configs: [{to: a@b, from: a@b, smarthost: "h:25", auth_username: u, auth_password_file: /no/password, tls_config: {ca_file: /no/ca}}]
  pagerduty_configs: [{routing_key_file: /no/key, http_config: {oauth2: {client_id: i, client_secret_file: /no/secret, token_url: "http://h/"}}}]
  opsgenie_configs: [{api_key_file: /no/key}]
  wechat_configs: [{api_secret_file: /no/secret, corp_id: c}]
  slack_configs: [{api_url_file: /no/url, http_config: {authorization: {credentials_file: /no/token}}}]
  victorops_configs: [{api_key_file: /no/key, routing_key: r}]
  pushover_configs: [{user_key_file: /no/key, token_file: /no/token}]
  sns_configs: [{api_url: "http://h", topic_arn: "arn:aws:sns:us-east-1:1:t", sigv4: {region: us-east-1}, http_config: {tls_config: {ca_file: /no/ca}}}]
  telegram_configs: [{bot_token_file: /no/token, chat_id: 1}]
  discord_configs: [{webhook_url_file: /no/url}]
  webex_configs: [{room_id: r, http_config: {authorization: {credentials_file: /no/token}}}]
  msteams_configs: [{webhook_url_file: /no/url}]
  msteamsv2_configs: [{webhook_url_file: /no/url}]
  jira_configs: [{api_url: "http://h/", project: p, issue_type: t, http_config: {basic_auth: {username: u, password_file: /no/password}}}]
  incidentio_configs: [{url_file: /no/url, alert_source_token_file: /no/token}]
  rocketchat_configs: [{token_file: /no/token, token_id_file: /no/id, channel: c}]
  mattermost_configs: [{webhook_url_file: /no/url}]
  ntfy_configs: [{url: "http://h", topic: t, token_file: /no/token, http_config: {tls_config: {ca_file: /no/ca}}}]
  gotify_configs: [{url: "http://h", token_file: /no/token}]
  matrix_configs: [{url: "http://h", token_file: /no/token, room_file: /no/room}]
`

// A build's sandbox has none of the secrets, of whatever receiver.
func TestCheckWithoutSecrets(t *testing.T) {
	log := promslog.NewNopLogger()
	lines := strings.Split(everySecretFile, "\n")
	for f := range reflect.TypeFor[amconfig.Receiver]().NumField() {
		if key, _, _ := strings.Cut(reflect.TypeFor[amconfig.Receiver]().Field(f).Tag.Get("yaml"), ","); strings.HasSuffix(key, "_configs") {
			require.Contains(t, everySecretFile, key)
		}
	}
	for _, line := range lines[3 : len(lines)-1] {
		file := write(t, "am.yml", strings.Join(append(lines[:3:3], line), "\n"))
		_, _, err := Check(file, true, log)
		require.NoError(t, err, line)
		_, _, err = Check(file, false, log)
		if !strings.Contains(line, "sns") || err != nil {
			require.ErrorContains(t, err, "/no/", line)
		}
	}
	// What is wrong is still found.
	_, _, err := Check(write(t, "am.yml", strings.Replace(everySecretFile, "corp_id: c", "corp_id: c, message_type: x", 1)), true, log)
	require.Error(t, err)
}

// A receiver whose secret is missing fails alone, and works once the secret is there.
func TestMissingSecretOfAReceiver(t *testing.T) {
	lines := strings.Split(everySecretFile, "\n")
	for _, line := range lines[3 : len(lines)-1] {
		o := testOptions(t, strings.Join(append(lines[:3:3], line), "\n"))
		d, stop := start(t, o)
		if !strings.Contains(line, "sns") {
			require.NotZero(t, testutil.ToFloat64(d.inside.metrics.missing), line)
		}
		stop()
	}

	well, late := newWebhook(t), newWebhook(t)
	secrets := t.TempDir()
	o := testOptions(t, "route:\n  receiver: well\n  group_wait: 10ms\n  group_interval: 100ms\n  routes: [{receiver: late, continue: true}, {receiver: broken, continue: true}, {receiver: well}]\nreceivers:\n"+
		"- {name: well, webhook_configs: [{url: '"+well.URL+"'}]}\n"+
		"- {name: late, webhook_configs: [{url_file: "+secrets+"/url}]}\n"+
		"- {name: broken, webhook_configs: [{url: '"+late.URL+"', http_config: {tls_config: {ca_file: "+secrets+"/ca}}}]}\n")
	d, _ := start(t, o)
	require.EqualValues(t, 2, testutil.ToFloat64(d.inside.metrics.missing))
	d.Send(firing("alertname", "A", "machine", "m"))
	well.wait(t, 1)
	require.Eventually(t, func() bool { return strings.Contains(get(t, d, "/receivers"), "late") }, time.Minute, 20*time.Millisecond)
	require.NoError(t, os.WriteFile(filepath.Join(secrets, "url"), []byte("\n"), 0o600))
	d.inside.lookAgain()
	require.EqualValues(t, 2, testutil.ToFloat64(d.inside.metrics.missing), "an empty file is none")
	require.Empty(t, late.all())

	require.NoError(t, os.WriteFile(filepath.Join(secrets, "url"), []byte(late.URL), 0o600))
	d.inside.lookAgain()
	require.EqualValues(t, 1, testutil.ToFloat64(d.inside.metrics.missing))
	late.wait(t, 1)
	require.NoError(t, d.ApplyAlertmanager(nil), "a reload is not refused for it either")
	require.EqualValues(t, 1, testutil.ToFloat64(d.inside.metrics.missing))
}
