package exporter

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/exporter/look"
)

func TestPushOptions(t *testing.T) {
	to := func(texts ...string) (all []*url.URL) {
		for _, text := range texts {
			u, err := url.Parse(text)
			require.NoError(t, err)
			all = append(all, u)
		}
		return all
	}
	good := func() Options {
		return Options{
			Push:    PushOptions{URLs: to("https://hub:9090"), TokenFile: "token"},
			History: HistoryOptions{Keep: time.Hour, Interval: 15 * time.Second, MaxBytes: minHistoryBytes, Dir: "x"}, Logger: quiet(),
		}
	}
	require.NoError(t, Check(good()))
	for want, change := range map[string]func(*Options){
		"--push.config.file and --push.token-file need --push":                            func(o *Options) { o.Push.URLs = nil },
		"--push sends from the history: --history must not be 0":                          func(o *Options) { o.History = HistoryOptions{} },
		"--push needs a directory for what is not sent yet: set --history.path":           func(o *Options) { o.History.Dir = "" },
		"--push.config.file cannot be combined with --push.token-file":                    func(o *Options) { o.Push.ConfigFile = "c" },
		"--push.token-file and CLANMON_PUSH_TOKEN both set the token; remove one":         func(o *Options) { o.Push.Token = "t" },
		"--look needs a port, and with --push none is open by default":                    func(o *Options) { o.Look = look.Options{Enabled: true} },
		"--push https://hub/write is set twice":                                           func(o *Options) { o.Push.URLs = to("https://hub/write", "http://hub/write", "https://hub/write") },
		"--push.token-file: open " + filepath.Join(os.TempDir(), "none", "such") + ": no": nil,
	} {
		o := good()
		if change == nil { // files are not read by a check
			o.Push.TokenFile, o.History.Dir = filepath.Join(os.TempDir(), "none", "such"), t.TempDir()
			require.NoError(t, Check(o))
			_, err := New(o)
			require.ErrorContains(t, err, want)
			continue
		}
		change(&o)
		err := Check(o)
		require.ErrorContains(t, err, want)
	}

	o := good()
	o.History.Dir, o.Push.TokenFile, o.Push.ConfigFile = t.TempDir(), "", filepath.Join(t.TempDir(), "push.yml")
	require.NoError(t, os.WriteFile(o.Push.ConfigFile, []byte("\nauthorization: s3cret-of-mine\n"), 0o600))
	_, err := New(o)
	require.ErrorContains(t, err, "line 2: cannot unmarshal !!str into ")
	require.ErrorContains(t, err, o.Push.ConfigFile)
	require.NotContains(t, err.Error(), "s3c")
}

func TestParseReceiver(t *testing.T) {
	for _, text := range []string{"https://hub:9090", "http://hub/api/v1/push", "https://[fd00::1]:9090/"} {
		u, err := ParseReceiver(text)
		require.NoError(t, err)
		require.Equal(t, text, u.String())
	}
	for text, want := range map[string]string{
		"https://me:s3cret@hub":          "must not contain a user or password",
		"https://s3cret@hub":             "use --push.token-file",
		"me:s3cret@hub:9090":             "must not contain a user or password",
		"https://me:s3cret@hub:port":     "not a URL; it must be https://HOST:PORT",
		"hub:9090":                       `"hub:9090" must be https://HOST:PORT or https://HOST/PATH`,
		"":                               `"" must be https://HOST:PORT`,
		"https://hub/write?token=s3cret": `"https://hub/write?…" must not have a query or fragment`,
		"hub/write?token=s3cret":         "must not have a query or fragment",
		"https://hub/write#s3cret":       "http_headers in the file of --push.config.file",
		"https://hub?":                   "must not have a query or fragment",
	} {
		_, err := ParseReceiver(text)
		require.ErrorContains(t, err, want, text)
		require.NotContains(t, err.Error(), "s3cret")
	}
}

// Who only pushes listens nowhere; who is asked to listens too.
func TestListens(t *testing.T) {
	o := Options{}
	require.True(t, o.Listens())
	o.Push.URLs = []*url.URL{{Scheme: "http", Host: "hub"}}
	require.False(t, o.Listens())
	o.Listen = map[string][]string{"node": nil}
	require.False(t, o.Listens())
	o.Listen["node"] = []string{":9100"}
	require.True(t, o.Listens())
	o.Listen, o.SystemdSocket = nil, true
	require.True(t, o.Listens())
}

// A receiver repeats all that it was sent: no secret of a client configuration is logged, nor much of the rest.
func TestPushedSecretsAreNotLogged(t *testing.T) {
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/token" {
			if err := r.ParseForm(); err != nil || r.Form.Get("scope") == "broken" {
				http.Error(w, "no token for "+r.Form.Encode(), http.StatusBadRequest)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"access_token": "acc3ss-t0ken", "token_type": "Bearer"}`)
			return
		}
		var all bytes.Buffer
		_ = r.Header.Write(&all)
		user, password, _ := r.BasicAuth()
		fmt.Fprintln(&all, user, password)
		w.Header().Set("X-Prometheus-Remote-Write-Samples-Written", "0")
		w.WriteHeader(http.StatusBadRequest)
		for range 1000 {
			_, _ = w.Write(all.Bytes())
		}
	}))
	t.Cleanup(receiver.Close)
	u, err := url.Parse(receiver.URL)
	require.NoError(t, err)
	dir := t.TempDir()
	file := filepath.Join(dir, "secret")
	require.NoError(t, os.WriteFile(file, []byte("f1le-s3cret\n"), 0o600))
	for name, conf := range map[string]string{
		"credentials":       "authorization: {credentials: 1nline-s3cret}",
		"credentials_file":  "authorization: {credentials_file: secret}",
		"password":          "basic_auth: {username: laptop, password: 1nline-s3cret}",
		"password_file":     "basic_auth: {username: laptop, password_file: secret}",
		"http_headers":      "http_headers: {X-Token: {secrets: [1nline-s3cret], files: [secret]}}",
		"oauth2":            "oauth2: {client_id: laptop, client_secret: 1nline-s3cret, token_url: " + receiver.URL + "/token}",
		"oauth2 fails":      "oauth2: {client_id: laptop, client_secret_file: secret, scopes: [broken], token_url: " + receiver.URL + "/token}",
		"--push.token-file": "",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			log := &syncBuffer{}
			o := Options{
				Kinds: []string{"systemd"}, Logger: slog.New(slog.NewTextHandler(log, nil)), Push: PushOptions{URLs: []*url.URL{u}, TokenFile: file},
				History: HistoryOptions{Keep: time.Hour, Interval: time.Second, MaxBytes: minHistoryBytes, Dir: t.TempDir()},
			}
			if conf != "" {
				o.Push.TokenFile, o.Push.ConfigFile = "", filepath.Join(dir, name+".yml")
				require.NoError(t, os.WriteFile(o.Push.ConfigFile, []byte(conf), 0o600))
			}
			e, err := New(o)
			require.NoError(t, err)
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error)
			go func() { ended <- e.Run(ctx) }()
			require.Eventually(t, func() bool { return strings.Contains(log.String(), "400 Bad Request") }, time.Minute, 10*time.Millisecond)
			cancel()
			require.NoError(t, <-ended)
			for _, secret := range []string{"s3cret", "acc3ss", base64.StdEncoding.EncodeToString([]byte("laptop:1nline-s3cret"))[:12]} {
				require.NotContains(t, log.String(), secret)
			}
			for line := range strings.Lines(log.String()) {
				require.Less(t, len(line), 700)
			}
		})
	}
}
