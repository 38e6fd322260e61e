package e2e

import (
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/e2e/harness"
	"github.com/clanmon/clanmon/e2e/oracle"
)

// timed are the lines of a probe whose value is a time.
var timed = regexp.MustCompile(`(?m)^(probe_\w*(?:duration|lookup_time)_seconds(?:\{[^}]*\})?) \S+$`)

// /probe and /metrics of the exporter are those of blackbox_exporter.
func TestBlackboxIsBlackboxExporter(t *testing.T) {
	t.Parallel()
	site := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header()["Date"] = nil
		switch r.URL.Path {
		case "/missing":
			http.NotFound(w, r)
		case "/moved":
			http.Redirect(w, r, "/", http.StatusFound)
		case "/circle":
			http.Redirect(w, r, "/circle", http.StatusFound)
		case "/private":
			if _, password, _ := r.BasicAuth(); password != "secret" {
				w.WriteHeader(http.StatusUnauthorized)
			}
		case "/echo":
			_, _ = io.Copy(w, r.Body)
		case "/json":
			_, _ = io.WriteString(w, `{"status": "up"}`)
		default:
			w.Header().Set("Last-Modified", "Mon, 02 Jan 2006 15:04:05 GMT")
			_, _ = fmt.Fprintf(w, "welcome to %s", r.Host)
		}
	})
	plain, secure := httptest.NewServer(site), httptest.NewUnstartedServer(site)
	secure.EnableHTTP2 = true
	secure.StartTLS()
	t.Cleanup(plain.Close)
	t.Cleanup(secure.Close)
	dir := t.TempDir()
	ca := harness.WriteFile(t, dir, "ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw})))
	socket, err := net.Listen("unix", filepath.Join(dir, "s"))
	require.NoError(t, err)
	t.Cleanup(func() { socket.Close() })
	go func() {
		for {
			c, err := socket.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, "hello\n")
			c.Close()
		}
	}()
	dns := harness.Address(t)
	_, dnsPort, _ := net.SplitHostPort(dns)
	harness.Start(t, harness.Command{Path: harness.Tool(t, "/usr/sbin/dnsmasq", "dnsmasq-base"), Args: []string{
		"--keep-in-foreground", "--no-resolv", "--no-hosts", "--conf-file=/dev/null", "--pid-file=", "--listen-address=127.0.0.1", "--bind-interfaces", "--port=" + dnsPort,
		"--address=/known.test/10.1.2.3", "--user=root",
	}})
	harness.Listens(t, dns)
	closed := harness.Address(t)
	address := func(u string) string { parsed, _ := url.Parse(u); return parsed.Host }

	type probe struct{ module, target string }
	probes := map[string]probe{}
	var config strings.Builder
	config.WriteString("modules:\n")
	add := func(name, module, target string) {
		fmt.Fprintf(&config, "  %s: %s\n", name, module)
		probes[name] = probe{name, target}
	}
	add("http_2xx", `{prober: http}`, plain.URL)
	add("no_scheme", `{prober: http}`, address(plain.URL))
	add("missing", `{prober: http}`, plain.URL+"/missing")
	add("missing_is_right", `{prober: http, http: {valid_status_codes: [404]}}`, plain.URL+"/missing")
	add("moved", `{prober: http}`, plain.URL+"/moved")
	add("not_followed", `{prober: http, http: {follow_redirects: false}}`, plain.URL+"/moved")
	add("circle", `{prober: http}`, plain.URL+"/circle")
	add("body", `{prober: http, http: {fail_if_body_not_matches_regexp: [welcome]}}`, plain.URL)
	add("wrong_body", `{prober: http, http: {fail_if_body_matches_regexp: [welcome]}}`, plain.URL)
	add("header", `{prober: http, http: {fail_if_header_not_matches: [{header: Last-Modified, regexp: "2006"}]}}`, plain.URL)
	add("short_body", `{prober: http, http: {body_size_limit: 3B}}`, plain.URL)
	add("json", `{prober: http, http: {fail_if_body_json_not_matches_cel: "body.status == 'up'"}}`, plain.URL+"/json")
	add("post", `{prober: http, http: {method: POST, body: "xyz"}}`, plain.URL+"/echo")
	add("login", `{prober: http, http: {basic_auth: {username: a, password: secret}}}`, plain.URL+"/private")
	add("no_login", `{prober: http}`, plain.URL+"/private")
	add("no_tls", `{prober: http, http: {fail_if_not_ssl: true}}`, plain.URL)
	add("ip6_only", `{prober: http, http: {preferred_ip_protocol: ip6, ip_protocol_fallback: false}}`, plain.URL)
	add("refused", `{prober: http}`, "http://"+closed)
	add("no_name", `{prober: http}`, "http://nothing.invalid")
	add("tls", fmt.Sprintf(`{prober: http, http: {tls_config: {ca_file: %s, server_name: example.com}}}`, ca), secure.URL)
	add("http1", fmt.Sprintf(`{prober: http, http: {enable_http2: false, tls_config: {ca_file: %s}}}`, ca), secure.URL+"/moved")
	add("wrong_name", fmt.Sprintf(`{prober: http, http: {tls_config: {ca_file: %s, server_name: other}}}`, ca), secure.URL)
	add("unknown_ca", `{prober: http}`, secure.URL)
	add("unverified", `{prober: http, http: {tls_config: {insecure_skip_verify: true}, fail_if_ssl: true}}`, secure.URL)
	add("tcp", `{prober: tcp}`, address(plain.URL))
	add("tcp_refused", `{prober: tcp}`, closed)
	add("tcp_no_port", `{prober: tcp}`, "127.0.0.1")
	add("tcp_tls", fmt.Sprintf(`{prober: tcp, tcp: {tls: true, tls_config: {ca_file: %s}}}`, ca), address(secure.URL))
	add("tcp_starttls", fmt.Sprintf(`{prober: tcp, tcp: {query_response: [{starttls: true}], tls_config: {ca_file: %s}}}`, ca), address(secure.URL))
	add("tcp_says", `{prober: tcp, tcp: {query_response: [{send: "GET / HTTP/1.0\r\n\r"}, {expect: "^HTTP/1.0 (2..)", labels: [{name: code, value: "${1}"}]}]}}`, address(plain.URL))
	add("icmp", `{prober: icmp}`, "127.0.0.1")
	add("dns", `{prober: dns, dns: {query_name: known.test, query_type: A, validate_answer_rrs: {fail_if_not_matches_regexp: ["10.1.2.3"]}}}`, dns)
	add("dns_tcp", `{prober: dns, dns: {query_name: known.test, query_type: A, transport_protocol: tcp}}`, dns)
	add("dns_none", `{prober: dns, dns: {query_name: unknown.test}}`, dns)
	add("unix", `{prober: unix, unix: {query_response: [{expect: "^hel"}]}}`, socket.Addr().String())
	add("unix_none", `{prober: unix}`, filepath.Join(dir, "none"))
	add("grpc_refused", `{prober: grpc, timeout: 1s, grpc: {service: x}}`, closed)
	require.GreaterOrEqual(t, len(probes), 30)

	file := harness.WriteFile(t, dir, "blackbox.yml", config.String())
	theirs := harness.Address(t)
	harness.Start(t, harness.Command{Path: oracle.Path(t, "blackbox_exporter"), Args: []string{"--config.file=" + file, "--web.listen-address=" + theirs}})
	ours := harness.StartKinds(t, []string{"blackbox"}, nil, "--blackbox.config.file="+file).Addr["blackbox"]
	harness.Eventually(t, harness.Patience, func() error { _, err := httpGet("http://" + theirs + "/metrics"); return err })
	get := func(address, path string) string {
		r, err := http.Get("http://" + address + path)
		require.NoError(t, err)
		defer r.Body.Close()
		text, err := io.ReadAll(r.Body)
		require.NoError(t, err)
		return fmt.Sprintf("%d %s\n%s", r.StatusCode, r.Header.Get("Content-Type"), timed.ReplaceAllString(string(text), "$1 TIME"))
	}
	succeeded := 0
	for name, p := range probes {
		path := "/probe?module=" + p.module + "&target=" + url.QueryEscape(p.target)
		want := get(theirs, path)
		require.Equal(t, want, get(ours, path), name)
		if strings.Contains(want, "\nprobe_success 1") {
			succeeded++
		}
	}
	require.Equal(t, 19, succeeded, "not everything fails")
	for _, path := range []string{
		"/probe", "/probe?module=nope&target=x", "/probe?target=" + url.QueryEscape(plain.URL), "/probe?module=http_2xx",
		"/probe?module=http_2xx&hostname=other.example&target=" + url.QueryEscape(plain.URL), "/-/healthy",
	} {
		require.Equal(t, get(theirs, path), get(ours, path), path)
	}

	want, got := families(t, bodyOf(get(theirs, "/metrics"))), families(t, bodyOf(get(ours, "/metrics")))
	for name, f := range want {
		require.Contains(t, got, name)
		require.Equal(t, f.GetType(), got[name].GetType(), name)
		if strings.HasSuffix(name, "_build_info") {
			continue // says which program it is
		}
		require.Equal(t, f.GetHelp(), got[name].GetHelp(), name)
		require.Equal(t, labelSets(f), labelSets(got[name]), name)
		if strings.HasPrefix(name, "net_conntrack_") || name == "blackbox_module_unknown_total" {
			require.Equal(t, f.Metric[0].GetCounter().GetValue(), got[name].Metric[0].GetCounter().GetValue(), name)
		}
	}
	for name := range got {
		if !strings.HasPrefix(name, "clanmon_") {
			require.Contains(t, want, name)
		}
	}
}

// bodyOf is what get added the status and the type to.
func bodyOf(text string) string {
	_, body, _ := strings.Cut(text, "\n")
	return body
}
