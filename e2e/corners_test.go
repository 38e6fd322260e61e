package e2e

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/e2e/harness"
)

var assetLink = regexp.MustCompile(`(?:src|href)="([^"]+)"`)

// A route prefix alone, as in Prometheus' unit files behind nothing: every page
// finds all that it loads.
func TestRoutePrefixWithoutExternalURL(t *testing.T) {
	t.Parallel()
	s := harness.LaunchServer(t, harness.ServerOptions{Args: []string{"--web.route-prefix=/prom"}})
	s.WaitLog("Server is ready to receive web requests.")
	for _, path := range []string{"/prom/", "/prom/targets", "/prom/status/flags", "/prom/query"} {
		page := s.Get(path)
		require.Equal(t, http.StatusOK, page.Status, path)
		require.Contains(t, page.Body, `data-prefix="/prom"`, "where the pages look for the API")
		links := assetLink.FindAllStringSubmatch(page.Body, -1)
		require.NotEmpty(t, links)
		for _, link := range links {
			require.True(t, strings.HasPrefix(link[1], "/prom/"), "%s on %s", link[0], path)
			asset := s.Get(link[1])
			require.Equal(t, http.StatusOK, asset.Status, link[1])
		}
	}
	require.Equal(t, http.StatusOK, s.Get("/prom/api/v1/status/runtimeinfo").Status)
	require.Equal(t, http.StatusOK, s.Get("/prom/-/healthy").Status)
}

// Flags of Alertmanager's program that its file does not replace.
func TestFlagsOfAlertmanager(t *testing.T) {
	t.Parallel()
	s := harness.StartServer(t, harness.ServerOptions{Args: []string{
		"--alertmanager.data.retention=48h", "--alertmanager.silences.max-silences=10", "--alertmanager.silences.max-silence-size-bytes=4096",
		"--alertmanager.alerts.per-alertname-limit=100", "--alertmanager.dispatch.start-delay=1s",
		"--cluster.listen-address=127.0.0.1:0", "--cluster.gossip-interval=100ms", "--cluster.pushpull-interval=30s", "--cluster.tcp-timeout=5s",
		"--cluster.probe-timeout=1s", "--cluster.probe-interval=2s", "--cluster.peers-resolve-timeout=5s", "--cluster.settle-timeout=1s",
		"--cluster.reconnect-interval=5s", "--cluster.reconnect-timeout=1h", "--cluster.peer-name=hub",
	}})
	require.Contains(t, s.Get("/api/v2/status").Body, `"name":"hub"`)
	require.Zero(t, s.Terminate())
}

// With TLS on the port the links in notifications are https, and notify-test
// reaches it without a secret on the command line.
func TestNotificationsOfAServerWithTLS(t *testing.T) {
	t.Parallel()
	webConfig, alice, _ := secured(t)
	got := make(chan string, 10)
	phone := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got <- string(body)
	}))
	defer phone.Close()
	s := harness.StartServer(t, harness.ServerOptions{Client: alice, Args: []string{"--web.config.file=" + webConfig, "--notify=ntfy+" + phone.URL + "/topic"}})
	dir := filepath.Dir(webConfig)
	harness.WriteFile(t, dir, "password", "wonderland\n")
	harness.WriteFile(t, dir, "http.yml", "basic_auth: {username: alice, password_file: password}\ntls_config: {ca_file: cert.pem}\n")
	run := func(args ...string) (string, error) {
		out, err := exec.Command(harness.Clanmon(t), append([]string{"notify-test", "--server=" + s.URL}, args...)...).CombinedOutput()
		return string(out), err
	}
	cert, password := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "password")
	out, err := run("--ca-file="+cert, "--username=alice", "--password-file="+password)
	require.NoError(t, err, out)
	require.Contains(t, out, ": ok")
	require.Regexp(t, `"click":"https://[^"]+/alerts`, <-got)
	// It gets through as well; but one test in a while is enough.
	out, err = run("--http.config.file=" + filepath.Join(dir, "http.yml"))
	require.Error(t, err)
	require.Contains(t, out, "one test in 30 s")
	out, err = run()
	require.Error(t, err)
	require.Contains(t, out, "certificate")
	require.Contains(t, out, "--ca-file")
	out, err = run("--ca-file=" + cert)
	require.Error(t, err)
	require.Contains(t, out, "--password-file")
}

// SIGHUP without the file is one error, and what runs goes on.
func TestHangupWithoutTheFile(t *testing.T) {
	t.Parallel()
	s := harness.StartServer(t, harness.ServerOptions{Config: "global: {}\n"})
	require.NoError(t, os.Remove(s.Config))
	s.Signal(syscall.SIGHUP)
	s.WaitLog("Error reloading config")
	require.Equal(t, 1, strings.Count(s.Log(), "level=ERROR"), s.Log())
	require.Equal(t, http.StatusOK, s.Get("/-/ready").Status)
}
