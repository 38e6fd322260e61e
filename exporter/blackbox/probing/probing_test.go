package probing

import (
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

	"github.com/prometheus/blackbox_exporter/config"
	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/discovery/checks"
	"github.com/clanmon/clanmon/exporter"
	"github.com/clanmon/clanmon/exporter/blackbox"
	"github.com/clanmon/clanmon/internal/probe"
)

// kind serves the kind with these settings.
func kind(t *testing.T, c blackbox.Config) (exporter.Served, func(path string) (int, string)) {
	t.Helper()
	c.ProberLevel = "error"
	served, err := Serve(exporter.Config{Blackbox: c}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	mux := http.NewServeMux()
	for pattern, page := range served.Pages {
		mux.Handle(pattern, page)
	}
	return served, func(path string) (int, string) {
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		return w.Code, w.Body.String()
	}
}

func modules(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "blackbox.yml")
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	return file
}

// site counts its requests, and redirects where the parameter says.
func site(t *testing.T) (s *httptest.Server, requests *int) {
	t.Helper()
	requests = new(int)
	s = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*requests++
		if to := r.URL.Query().Get("to"); to != "" {
			w.Header().Set("Location", to)
			w.WriteHeader(http.StatusFound)
			return
		}
		_, _ = io.WriteString(w, "welcome")
	}))
	t.Cleanup(s.Close)
	return s, requests
}

// Whoever reaches the port can have nothing probed that the flags do not allow, by neither path.
func TestOnlyWhatIsAllowedIsProbed(t *testing.T) {
	allowed, _ := site(t)
	other, reached := site(t)
	host := strings.TrimPrefix(allowed.URL, "http://")
	file := modules(t, "modules: {http_2xx: {prober: http}, tcp: {prober: tcp}, unix: {prober: unix}, icmp: {prober: icmp}}")
	_, get := kind(t, blackbox.Config{File: file, Allow: []string{host}, TimeoutOffset: 0.5})
	check := func(url string) string {
		c, err := checks.Parse(url)
		require.NoError(t, err)
		return probe.Path + "?" + c.Query().Encode()
	}
	for path, want := range map[string]string{
		"/probe?target=" + host:                               "\nprobe_success 1",
		"/probe?module=http_2xx&target=" + allowed.URL + "/x": "\nprobe_success 1",
		"/probe?module=tcp&target=" + host:                    "\nprobe_success 1",
		check(allowed.URL):                                    `"ok":true`,
		check("tcp://" + host):                                `"ok":true`,
	} {
		code, text := get(path)
		require.Equal(t, http.StatusOK, code, "%s: %s", path, text)
		require.Contains(t, text, want, path)
	}
	for _, path := range []string{
		"/probe?target=" + other.URL,
		"/probe?target=" + url.QueryEscape("http://"+host+"@"+strings.TrimPrefix(other.URL, "http://")),
		"/probe?module=tcp&target=" + strings.TrimPrefix(other.URL, "http://"),
		"/probe?module=unix&target=/run/systemd/private",
		"/probe?module=icmp&target=127.0.0.1",
		"/probe?target=169.254.169.254",
		check(other.URL), check("ping://127.0.0.1"), check("http://169.254.169.254/"),
	} {
		code, text := get(path)
		require.Equal(t, http.StatusForbidden, code, "%s: %s", path, text)
		require.Contains(t, text, "not allowed: start the exporter with --blackbox.allow ", path)
	}
	code, text := get("/probe?debug=true&target=" + url.QueryEscape(allowed.URL+"/?to="+url.QueryEscape(other.URL)))
	require.Equal(t, http.StatusOK, code)
	require.Contains(t, text, "probe_success 0")
	require.Contains(t, text, "redirected to "+strings.TrimPrefix(other.URL, "http://")+", which is not allowed")
	_, text = get(check(allowed.URL + "/?to=" + url.QueryEscape(other.URL)))
	require.Contains(t, text, "which is not allowed")
	require.Zero(t, *reached)

	for path, want := range map[string]string{
		"/probe":                                 "Target parameter is missing",
		"/probe?module=no&target=" + other.URL:   `Unknown module "no"`,
		probe.Path:                               "timeout",
		probe.Path + "?timeout=1h&url=tcp://a:1": "timeout: 1h must be between",
		probe.Path + "?timeout=1s&url=file:///etc/passwd": "unknown scheme",
		probe.Path + "?timeout=1s&url=http://a&status=x":  `status "x" is not a number`,
	} {
		code, text := get(path)
		require.Equal(t, http.StatusBadRequest, code, path)
		require.Contains(t, text, want)
	}
}

// Without a file and patterns nothing is probed; with "*" everything but where machines find
// credentials, which has to be named.
func TestDefaults(t *testing.T) {
	s, _ := site(t)
	q := url.Values{"url": {s.URL}, "timeout": {"3s"}}
	_, get := kind(t, blackbox.Config{})
	code, text := get(probe.Path + "?" + q.Encode())
	require.Equal(t, http.StatusForbidden, code, text)
	code, text = get("/probe?target=" + s.URL)
	require.Equal(t, http.StatusBadRequest, code)
	require.Contains(t, text, "Unknown module")
	code, _ = get("/-/healthy")
	require.Equal(t, http.StatusOK, code)

	file := modules(t, "modules: {http_2xx: {prober: http, timeout: 200ms}}")
	for _, allow := range [][]string{nil, {"*"}, {"169.254.*"}} {
		_, get = kind(t, blackbox.Config{File: file, Allow: allow})
		code, text = get("/probe?target=169.254.169.254")
		require.Equal(t, http.StatusForbidden, code)
		require.Contains(t, text, "a link-local or metadata address: name it itself if it is meant")
		_, text = get(probe.Path + "?timeout=1s&url=" + url.QueryEscape("http://169.254.169.254/latest"))
		require.Contains(t, text, `"ok":false,"why":"refused to probe 169.254.169.254, a link-local`)
	}
	_, get = kind(t, blackbox.Config{File: file, Allow: []string{"169.254.169.254:80"}})
	code, text = get("/probe?target=169.254.169.254")
	require.Equal(t, http.StatusOK, code, "it is named")
	require.Contains(t, text, "probe_success 0")
}

// A file that is wrong stops the start, and changes nothing later.
func TestTheConfigurationFile(t *testing.T) {
	_, err := Serve(exporter.Config{Blackbox: blackbox.Config{File: "/nowhere.yml", ProberLevel: "info"}}, slog.New(slog.DiscardHandler))
	require.ErrorContains(t, err, `--blackbox.config.file "/nowhere.yml"`)
	file := modules(t, "modules: {a: {prober: tcp}}")
	served, get := kind(t, blackbox.Config{File: file})
	known := func(module string) bool {
		code, _ := get("/probe?target=127.0.0.1:1&module=" + module)
		return code == http.StatusOK
	}
	require.True(t, known("a"))
	require.NoError(t, os.WriteFile(file, []byte("modules: {b: {proper: tcp}}"), 0o600))
	require.ErrorContains(t, served.Reload(), "proper")
	require.True(t, known("a"))
	require.NoError(t, os.WriteFile(file, []byte("modules: {b: {prober: tcp}}"), 0o600))
	require.NoError(t, served.Reload())
	require.False(t, known("a"))
	require.True(t, known("b"))
}

// A target means to the guard what it means to the prober.
func TestHostPort(t *testing.T) {
	dot := config.Module{Prober: "dns"}
	dot.DNS.DNSOverTLS = true
	for _, tc := range []struct {
		module       config.Module
		target, want string
	}{
		{config.Module{Prober: "http"}, "a", "a 80"},
		{config.Module{Prober: "http"}, "a:81/x", "a 81"},
		{config.Module{Prober: "http"}, "https://a/x?http://b", "a 443"},
		{config.Module{Prober: "http"}, "http://b@a", "a 80"},
		{config.Module{Prober: "http"}, "ftp://a", "ftp 80"},
		{config.Module{Prober: "http"}, "http://[fd00::1]:8/", "fd00::1 8"},
		{config.Module{Prober: "grpc"}, "a:9", "a 9"},
		{config.Module{Prober: "tcp"}, "a:22", "a 22"},
		{config.Module{Prober: "dns"}, "a", "a 53"},
		{dot, "a", "a 853"},
		{config.Module{Prober: "icmp"}, "a", "a "},
		{config.Module{Prober: "unix"}, "/run/a", "/run/a "},
	} {
		host, port := hostPort(tc.module, tc.target)
		require.Equal(t, tc.want, fmt.Sprint(host, " ", port), tc.target)
	}
}
