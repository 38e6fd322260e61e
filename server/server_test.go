package server_test

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/bcrypt"

	"github.com/clanmon/clanmon/server"
	"github.com/clanmon/clanmon/server/servertest"
)

func job(name, metric string) server.LocalJob {
	return server.LocalJob{Name: name, Port: 9100, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, metric)
	})}
}

const upOf = "/api/v1/query?query=up"

func TestUnconfiguredServersInOneProcess(t *testing.T) {
	t.Chdir(t.TempDir()) // no prometheus.yml
	start := func(metric string) *servertest.Server {
		return servertest.Start(t, "", func(o *server.Options) { o.LocalJobs = []server.LocalJob{job("node", metric)} })
	}
	a, b := start("demo 1"), start("demo 2")
	for want, s := range map[string]*servertest.Server{`"1"]`: a, `"2"]`: b} {
		s.Eventually("/api/v1/query?query=demo", want)
		s.Eventually(upOf, `"job":"clanmon"`)
		_, config := s.Get("/api/v1/status/config")
		require.Contains(t, config, "node.in-process.invalid")
	}
	_, body := a.Get("/api/v1/query?query=demo")
	require.Contains(t, body, `"availability":"always"`)
	require.Regexp(t, `"instance":"[^"]+:9100"`, body)
	require.NoError(t, a.Stop())
	b.Eventually(upOf, `"1"]`)
}

// A target on a unix socket is asked there, and the local jobs are beside it.
func TestTargetsOnUnixSockets(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	require.NoError(t, err)
	target := &http.Server{Handler: job("", "demo 7").Handler}
	defer target.Close()
	go func() { _ = target.Serve(l) }()
	s := servertest.Start(t, fmt.Sprintf(`
global: {scrape_interval: 100ms}
scrape_configs:
- {job_name: near, static_configs: [{targets: ["127.0.0.1:1"], labels: {__unix_socket__: %q}}]}
`, socket), nil)
	s.Eventually("/api/v1/query?query=demo", `"7"]`)
}

// The local jobs have sockets of their own, so what protects the port does not
// matter to them.
func TestLocalJobsBehindAuthentication(t *testing.T) {
	t.Chdir(t.TempDir())
	hash, err := bcrypt.GenerateFromPassword([]byte("secret"), bcrypt.MinCost)
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "web.yml")
	require.NoError(t, os.WriteFile(file, fmt.Appendf(nil, "basic_auth_users: {me: %q}\n", hash), 0o600))
	s := servertest.Start(t, "", func(o *server.Options) {
		o.WebConfigFile = file
		o.LocalJobs = []server.LocalJob{job("node", "demo 1")}
	})
	code, _ := s.Get(upOf)
	require.Equal(t, http.StatusUnauthorized, code)
	address := strings.Replace(s.URL(upOf+"%7Bjob%3D%22node%22%7D%20%3D%3D%201"), "http://", "http://me:secret@", 1)
	require.Eventually(t, func() bool {
		r, err := http.Get(address)
		require.NoError(t, err)
		defer r.Body.Close()
		body := make([]byte, 1000)
		n, _ := r.Body.Read(body)
		return strings.Contains(string(body[:n]), `"job":"node"`)
	}, waitFor, tick)
}

func TestReloadKeepsWhatRunsWhenTheFileIsBroken(t *testing.T) {
	s := servertest.Start(t, "global: {external_labels: {site: one}}\n", func(o *server.Options) { o.Web.EnableLifecycle = true })
	rewrite := func(text string) { require.NoError(t, os.WriteFile(s.Options.ConfigFile, []byte(text), 0o600)) }
	success := func(n int) { s.Eventually("/metrics", fmt.Sprintf("prometheus_config_last_reload_successful %d", n)) }

	rewrite("global:\n  external_labls: {site: two}\n")
	code, body := s.Do(http.MethodPost, "/-/reload")
	require.Equal(t, http.StatusInternalServerError, code)
	require.Contains(t, body, "external_labls")
	success(0)
	_, config := s.Get("/api/v1/status/config")
	require.Contains(t, config, "site: one")

	rewrite("global: {external_labels: {site: two}}\n")
	s.Reload <- struct{}{} // as SIGHUP does
	success(1)
	s.Eventually("/api/v1/status/config", "site: two")
	require.Contains(t, s.Log.String(), "Completed loading of configuration file")
}

func TestQuitByHTTP(t *testing.T) {
	s := servertest.Start(t, "{}", func(o *server.Options) { o.Web.EnableLifecycle = true })
	code, _ := s.Do(http.MethodPost, "/-/quit")
	require.Equal(t, http.StatusOK, code)
	require.Eventually(t, func() bool { return strings.Contains(s.Log.String(), "See you next time!") }, waitFor, tick)
	require.NoError(t, s.Stop())
}

// Rules before scrapes, scrapes before delivery, and the store after all that
// write to it.
func TestOrderOfStopping(t *testing.T) {
	s := servertest.Start(t, "{}", nil)
	require.NoError(t, s.Stop())
	log := s.Log.String()
	last := -1
	for _, stage := range []string{`"http requests"`, "reload", "ruler", "ingest", "delivery", "store", "http"} { // what only closes is not logged
		at := strings.Index(log, "msg=Stopped stage="+stage+" ")
		require.Greater(t, at, last, "%s in\n%s", stage, log)
		last = at
	}
}

func TestAgentForwardsAndRefusesQueries(t *testing.T) {
	s := servertest.Start(t, "{}", func(o *server.Options) { o.Agent = true })
	code, body := s.Get(upOf)
	require.Equal(t, http.StatusUnprocessableEntity, code)
	require.Contains(t, body, "unavailable with Prometheus Agent")
	_, body = s.Get("/-/healthy")
	require.Equal(t, "Prometheus Agent is Healthy.\n", body)
}

func TestMistakesAreFoundBeforeAnythingRuns(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(t *testing.T, o *server.Options)
		want   string
	}{
		"no such file": {func(_ *testing.T, o *server.Options) { o.ConfigFile = "/none.yml" }, "/none.yml"},
		"features that exclude each other": {func(_ *testing.T, o *server.Options) {
			o.Features = []string{"otlp-deltatocumulative,otlp-native-delta-ingestion"}
		}, "remove one"},
		"directory is a file": {func(t *testing.T, o *server.Options) {
			o.Dir = filepath.Join(t.TempDir(), "f")
			require.NoError(t, os.WriteFile(o.Dir, nil, 0o600))
		}, "data directory"},
		"port in use": {func(t *testing.T, o *server.Options) {
			o.Web.ListenAddresses = []string{servertest.Start(t, "{}", nil).Addr().String()}
		}, "address already in use"},
		"web configuration": {func(_ *testing.T, o *server.Options) { o.WebConfigFile = "/none.yml" }, "--web.config.file"},
	} {
		t.Run(name, func(t *testing.T) {
			o, _ := servertest.Options(t)
			o.ConfigFile = filepath.Join(t.TempDir(), "prometheus.yml")
			require.NoError(t, os.WriteFile(o.ConfigFile, []byte("{}"), 0o600))
			tc.change(t, &o)
			_, err := server.New(o)
			require.ErrorContains(t, err, tc.want)
		})
	}
}

func TestRoutePrefix(t *testing.T) {
	s := servertest.Start(t, "{}", func(o *server.Options) {
		o.Web.ExternalURL.Path = "/mon"
		o.Web.RoutePrefix = server.RoutePrefix("", "/mon")
	})
	for _, path := range []string{"/mon/-/ready", "/mon/metrics", "/mon/api/v1/query?query=1", "/mon/query", "/mon/"} {
		code, _ := s.Get(path)
		require.Equal(t, http.StatusOK, code, path)
	}
	_, page := s.Get("/mon/query")
	require.Contains(t, page, `src="/mon/assets/`)
	code, _ := s.Get("/metrics")
	require.Equal(t, http.StatusNotFound, code)
}

// All that the rooms mount is compressed and answers conditional requests.
func TestMountsAreCompressedAndConditional(t *testing.T) {
	s := servertest.Start(t, "{}", nil)
	for _, path := range []string{
		"/api/v2/status", "/api/v2/silences", "/api/clanmon/v1/machines", "/api/clanmon/v1/discovery",
		"/api/clanmon/v1/receivers", "/api/clanmon/v1/notifications", "/api/clanmon/v1/shipped-rules",
	} {
		ask := func(tag string) *http.Response {
			r, err := http.NewRequest(http.MethodGet, s.URL(path), nil)
			require.NoError(t, err)
			r.Header.Set("Accept-Encoding", "gzip")
			r.Header.Set("If-None-Match", tag)
			resp, err := http.DefaultClient.Do(r)
			require.NoError(t, err)
			resp.Body.Close()
			return resp
		}
		first := ask("")
		require.Equal(t, http.StatusOK, first.StatusCode, path)
		require.Contains(t, first.Header.Values("Vary"), "Accept-Encoding", path)
		require.Equal(t, http.StatusNotModified, ask(first.Header.Get("ETag")).StatusCode, path)
		if path == "/api/clanmon/v1/shipped-rules" {
			require.Equal(t, "gzip", first.Header.Get("Content-Encoding"))
		}
	}
}

func TestExternalURL(t *testing.T) {
	u, err := server.ExternalURL("", "0.0.0.0:9090", "")
	require.NoError(t, err)
	require.Equal(t, "9090", u.Port())
	u, err = server.ExternalURL("https://example.org/mon/", ":1", "")
	require.NoError(t, err)
	require.Equal(t, "/mon", u.Path)
	tls := filepath.Join(t.TempDir(), "web.yml")
	require.NoError(t, os.WriteFile(tls, []byte("tls_server_config: {cert_file: a.crt, key_file: a.key}"), 0o600))
	u, err = server.ExternalURL("", ":9090", tls)
	require.NoError(t, err)
	require.Equal(t, "https", u.Scheme)
	for _, raw := range []string{`"http://x"`, "http://x:port", "%"} {
		_, err = server.ExternalURL(raw, ":1", "")
		require.Error(t, err, raw)
	}
	_, err = server.ExternalURL("", "9090", "")
	require.ErrorContains(t, err, "--web.listen-address")
}

const (
	waitFor = time.Minute
	tick    = 20 * time.Millisecond
)
