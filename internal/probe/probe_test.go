package probe

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/discovery/checks"
)

// authority signs certificates that this process trusts.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

var trusted authority

func TestMain(m *testing.M) {
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-1000 * time.Hour), NotAfter: time.Now().Add(1000 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	dir, err := os.MkdirTemp("", "checks")
	if err != nil {
		panic(err)
	}
	file := filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		panic(err)
	}
	os.Setenv("SSL_CERT_FILE", file) // read when the first certificate is verified
	certificate, _ := x509.ParseCertificate(der)
	trusted = authority{certificate, key}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// serve is a site with a certificate that is good from now+from to now+to.
func serve(t *testing.T, from, to time.Duration, name string, handler http.HandlerFunc) string {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), NotBefore: time.Now().Add(from), NotAfter: time.Now().Add(to), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if ip := net.ParseIP(name); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{name}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, trusted.certificate, &trusted.key.PublicKey, trusted.key)
	require.NoError(t, err)
	s := httptest.NewUnstartedServer(handler)
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: trusted.key}}}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.URL
}

func ok(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "all is well") }

// probed is the result of a check with this section.
func probed(t *testing.T, s checks.Section) (Result, string) {
	t.Helper()
	check, err := s.Complete("x")
	require.NoError(t, err)
	check.Timeout = min(check.Timeout, 6*time.Second)
	r := Run(t.Context(), check, Bounds{})
	var text strings.Builder
	for _, f := range r.Families {
		_, err := expfmt.MetricFamilyToText(&text, f)
		require.NoError(t, err)
	}
	require.Contains(t, text.String(), "\nprobe_success ")
	require.WithinDuration(t, time.Now(), r.At, time.Minute)
	return r, text.String()
}

// Whatever is wrong has words of its own.
func TestWhatIsWrongWithASite(t *testing.T) {
	const day = 24 * time.Hour
	good := serve(t, -day, 2*day, "127.0.0.1", ok)
	plain := httptest.NewServer(http.HandlerFunc(ok))
	t.Cleanup(plain.Close)
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { silent.Close() })
	hangsUp, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { hangsUp.Close() })
	go func() {
		for {
			c, err := hangsUp.Accept()
			if err != nil {
				return
			}
			_, _ = http.ReadRequest(bufio.NewReader(c)) // what is left unread resets the connection
			c.Close()
		}
	}()
	self := httptest.NewTLSServer(http.HandlerFunc(ok)) // of httptest's own authority
	self.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	t.Cleanup(self.Close)
	answering := func(h http.HandlerFunc) string { return serve(t, -day, 2*day, "127.0.0.1", h) }
	endless := answering(func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := w.Write(make([]byte, 1<<16)); err != nil {
				return
			}
		}
	})
	trickle := answering(func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			_, _ = io.WriteString(w, ".")
			_ = http.NewResponseController(w).Flush()
			select {
			case <-time.After(50 * time.Millisecond):
			case <-r.Context().Done():
			}
		}
	})
	redirecting := func(to string) string {
		return answering(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", to)
			w.WriteHeader(http.StatusFound)
		})
	}
	var circle string
	circle = answering(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, circle, http.StatusFound) })

	section := func(url string) checks.Section { return checks.Section{URL: url} }
	body, wrongBody, status := section(good), section(good), section(good)
	body.Expect.Body, wrongBody.Expect.Body, status.Expect.Status = "is well", "is bad", []int{204}
	for name, test := range map[string]struct {
		section checks.Section
		why     string // "" succeeds
	}{
		"good":            {section(good), ""},
		"body":            {body, ""},
		"wrong body":      {wrongBody, "the response does not contain what was expected"},
		"status":          {status, "HTTP status 200"},
		"not found":       {section(answering(http.NotFound)), "HTTP status 404"},
		"expired":         {section(serve(t, -2*day, -day, "127.0.0.1", ok)), "certificate expired on " + time.Now().Add(-day).UTC().Format("2006-01-02")},
		"not yet":         {section(serve(t, day, 2*day, "127.0.0.1", ok)), "certificate is not valid before " + time.Now().Add(day).UTC().Format("2006-01-02")},
		"another address": {section(serve(t, -day, day, "127.0.0.2", ok)), "certificate is for 127.0.0.2, not for 127.0.0.1"},
		"self-signed":     {section(self.URL), "certificate is signed by an unknown authority"},
		"no TLS":          {section("https" + strings.TrimPrefix(plain.URL, "http")), "no TLS on this port"},
		"refused":         {section("https://127.0.0.1:1"), "connection refused"},
		"silent":          {section("https://" + silent.Addr().String()), "no response within 6s"},
		"hangs up":        {section("http://" + hangsUp.Addr().String()), "connection closed (empty reply)"},
		"no name":         {section("https://nothing.invalid"), "name not found"},
		"endless":         {section(endless), "the response is larger than 10 MiB"},
		"trickle":         {section(trickle), "no response within 6s"},
		"to a file":       {section(redirecting("file:///etc/passwd")), "redirected to file:, which is not HTTP"},
		"circle":          {section(circle), "more than 10 redirects"},
		"to link-local":   {section(redirecting("http://169.254.169.254/latest/meta-data/")), "redirected to 169.254.169.254, a link-local or metadata address"},
		"to link-local 6": {section(redirecting("https://[fe80::1]/")), "redirected to fe80::1, a link-local or metadata address"},
		"to mapped":       {section(redirecting("http://[::ffff:169.254.169.254]/")), "redirected to ::ffff:169.254.169.254, a link-local or metadata address"},
		"port":            {section("tcp" + strings.TrimPrefix(plain.URL, "http")), ""},
		"closed port":     {section("tcp://127.0.0.1:1"), "connection refused"},
		"TLS":             {section("tls" + strings.TrimPrefix(good, "https")), ""},
		"TLS expired":     {section("tls" + strings.TrimPrefix(serve(t, -2*day, -day, "127.0.0.1", ok), "https")), "certificate expired on "},
		"not SMTP":        {section("smtp+starttls" + strings.TrimPrefix(plain.URL, "http")), "no response within 6s"},
		"ping":            {section("ping://127.0.0.1"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, text := probed(t, test.section)
			require.Equal(t, test.why == "", r.OK, "%s\n%s", r.Why, r.Log)
			require.Contains(t, r.Why, test.why, r.Log)
			if name == "good" {
				require.WithinDuration(t, time.Now().Add(2*day), r.Expires, time.Minute)
				require.Contains(t, text, "probe_ssl_earliest_cert_expiry ")
				require.Contains(t, text, "probe_http_status_code 200")
			}
		})
	}
}

func TestReasonOfAnUnknownError(t *testing.T) {
	require.Equal(t, `Get "http://a": it is Tuesday`, reason([]string{`time=x level=ERROR msg="Error for HTTP request" err="Get \"http://a\": it is Tuesday"` + "\n"}, nil, time.Second))
	require.Equal(t, "odd", reason([]string{"level=ERROR msg=x err=odd\n"}, nil, time.Second))
}

// The mail server says what SMTP with STARTTLS says.
func TestSTARTTLS(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	template := &x509.Certificate{SerialNumber: big.NewInt(3), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(50 * time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, trusted.certificate, &trusted.key.PublicKey, trusted.key)
	require.NoError(t, err)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				say := func(c net.Conn, text string) { _, _ = io.WriteString(c, text+"\r\n") }
				hear := func(c net.Conn) string { b := make([]byte, 200); n, _ := c.Read(b); return string(b[:n]) }
				say(c, "220 mail ESMTP")
				hear(c)
				say(c, "250-mail\r\n250-SIZE 1\r\n250 STARTTLS")
				hear(c)
				say(c, "220 go")
				secure := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: trusted.key}}})
				hear(secure)
				say(secure, "250-mail\r\n250 AUTH PLAIN")
				hear(secure)
				say(secure, "221 bye")
			}()
		}
	}()
	r, text := probed(t, checks.Section{URL: "smtp+starttls://" + l.Addr().String()})
	require.True(t, r.OK, "%s\n%s", r.Why, r.Log)
	require.Contains(t, text, "probe_ssl_earliest_cert_expiry ")
	require.WithinDuration(t, time.Now().Add(50*time.Hour), r.Expires, time.Minute)
}

// A link-local address is probed only if it is named itself, in whatever form, and a redirect goes
// only where allow lets it.
func TestGuard(t *testing.T) {
	for _, tc := range []struct{ host, named, refused string }{
		{"10.0.0.1", "", ""},
		{"localhost", "", ""},
		{"nothing.invalid", "", ""}, // the probe says so
		{"169.254.169.254", "", "refused to probe 169.254.169.254, a link-local or metadata address: name it itself if it is meant"},
		{"169.254.169.254", "169.254.169.254", ""},
		{"::ffff:169.254.169.254", "169.254.169.254", ""},
		{"169.254.169.254", "169.254.0.1", ", a link-local"},
		{"100.100.100.200", "", ", a link-local"},
		{"fd00:ec2::254", "fd00:ec2:0::254", ""},
		{"fe80::1%lo", "", ", a link-local"},
		{"fe80::1%lo", "fe80::1", ""},
	} {
		_, err := Guard(t.Context(), tc.host, Bounds{Named: tc.named})
		if tc.refused == "" {
			require.NoError(t, err, tc.host)
			continue
		}
		require.ErrorContains(t, err, tc.refused, tc.host)
	}

	reached := false
	to := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached = true }))
	t.Cleanup(to.Close)
	from := httptest.NewServer(http.RedirectHandler("/here", http.StatusFound))
	t.Cleanup(from.Close)
	from.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/" {
			http.Redirect(w, r, "/here", http.StatusFound)
			return
		}
		http.Redirect(w, r, to.URL, http.StatusFound)
	})
	check, err := checks.Parse(from.URL)
	require.NoError(t, err)
	address := strings.TrimPrefix(to.URL, "http://")
	asked := ""
	allow := func(host, port string) bool { asked += net.JoinHostPort(host, port) + " "; return false }
	r := Run(t.Context(), check, Bounds{Allow: allow})
	require.Equal(t, "redirected to "+address+", which is not allowed", r.Why, r.Log)
	require.Equal(t, address+" ", asked, "a redirect to the same host and port is one to what was allowed")
	require.False(t, reached)
	require.True(t, Run(t.Context(), check, Bounds{Allow: func(string, string) bool { return true }}).OK)
	require.True(t, reached)
}

// Whatever connects tells the guard where, also if no request was seen before: a name server may
// answer differently the second time.
func TestGuardLooksAtConnections(t *testing.T) {
	ctx, err := Guard(t.Context(), "localhost", Bounds{})
	require.NoError(t, err)
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", "169.254.169.254:80")
	if err == nil {
		c.Close()
	}
	require.Error(t, err)
	require.ErrorContains(t, context.Cause(ctx), "refused to probe localhost, which resolves to 169.254.169.254, a link-local or metadata address")
}

// What one machine writes another one reads; of series only those of probes.
func TestAResultOnTheWire(t *testing.T) {
	r, _ := probed(t, checks.Section{URL: serve(t, -time.Hour, 50*time.Hour, "127.0.0.1", ok)})
	var text bytes.Buffer
	require.NoError(t, r.Encode(&text))
	got, err := Decode(strings.NewReader(strings.Replace(text.String(), "# HELP probe_success", `up{machine=\"x\"} 1\n# HELP probe_success`, 1)))
	require.NoError(t, err)
	require.Len(t, got.Families, len(r.Families))
	require.Equal(t, r.Expires, got.Expires)
	require.Equal(t, r.Log, got.Log)
	require.True(t, got.OK)
	require.InDelta(t, r.Duration.Seconds(), got.Duration.Seconds(), 1e-6)
	for text, want := range map[string]string{
		"<html>":                            "not a result of a check",
		`{"series": "a{"}`:                  "series of the check",
		strings.Repeat(" ", 300<<10) + "{}": "larger than 256 KiB",
	} {
		_, err := Decode(strings.NewReader(text))
		require.ErrorContains(t, err, want)
	}
}
