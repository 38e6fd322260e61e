package look

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	wire "github.com/clanmon/clanmon/internal/look"
)

func webConfig(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "web.yml")
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	return file
}

const mutual = "tls_server_config: {cert_file: c, key_file: k, client_ca_file: ca, client_auth_type: RequireAndVerifyClientCert, client_allowed_sans: [server.clanmon.internal]}\n"

func TestLookIsRefusedUnlessCallersAreNamed(t *testing.T) {
	for text, want := range map[string]string{
		"":                                    "does not require client certificates",
		"basic_auth_users: {alice: $2y$10$x}": "does not require client certificates",
		"tls_server_config: {cert_file: c, key_file: k}":                                                   "does not require client certificates",
		strings.Replace(mutual, "RequireAndVerifyClientCert", "VerifyClientCertIfGiven", 1):                "does not require client certificates",
		strings.Replace(mutual, "client_allowed_sans: [server.clanmon.internal]", "min_version: TLS13", 1): "accepts every certificate of its authority",
		"a: [": "--web.config.file",
	} {
		_, err := NewHandler(Options{Enabled: true, WebConfigFile: webConfig(t, text)})
		require.ErrorContains(t, err, want, text)
	}
	_, err := NewHandler(Options{Enabled: true})
	require.ErrorContains(t, err, "client_allowed_sans")
	_, err = NewHandler(Options{Enabled: true, WebConfigFile: webConfig(t, mutual)})
	require.NoError(t, err)
	_, err = NewHandler(Options{Enabled: true, WebConfigFile: webConfig(t, mutual), Units: wire.Units{"a["}})
	require.ErrorContains(t, err, "--look.units")
}

// authority issues certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return authority{cert, key}
}

func (a authority) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

func (a authority) issue(t *testing.T, name string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), DNSNames: []string{name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	require.NoError(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// door is an exporter's port, with a service behind the socket that Listen answers for.
type door struct {
	t   *testing.T
	ca  authority
	url string
	log *bytes.Buffer
}

func newDoor(t *testing.T, change func(*Options)) door {
	t.Helper()
	d := door{t: t, ca: newAuthority(t), log: &bytes.Buffer{}}
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	require.NoError(t, err)
	go func() { _ = Listen(t.Context(), l, time.Hour, nil, slog.New(slog.DiscardHandler)) }()
	o := Options{Enabled: true, Socket: socket, WebConfigFile: webConfig(t, mutual), Logger: slog.New(slog.NewTextHandler(d.log, nil))}
	change(&o)
	h, err := NewHandler(o)
	require.NoError(t, err)
	s := httptest.NewUnstartedServer(h)
	// As the toolkit, but for the check of names: a session that is resumed has none.
	s.TLS = &tls.Config{ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: d.ca.pool(), Certificates: []tls.Certificate{d.ca.issue(t, "web1")}}
	s.StartTLS()
	t.Cleanup(s.Close)
	d.url = s.URL
	return d
}

func (d door) ask(certificates []tls.Certificate, body string) (int, string) {
	d.t.Helper()
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: d.ca.pool(), Certificates: certificates}}
	defer tr.CloseIdleConnections()
	r, err := (&http.Client{Transport: tr}).Post(d.url+wire.Path, "application/json", strings.NewReader(body))
	require.NoError(d.t, err)
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	require.NoError(d.t, err)
	return r.StatusCode, string(text)
}

func TestWhoMayLook(t *testing.T) {
	journalctl(t, lines(t, line(1, `"hello"`)))
	d := newDoor(t, func(*Options) {})
	server := []tls.Certificate{d.ca.issue(t, "server.clanmon.internal")}
	const request = `{"kind":"journal","unit":"a.service","lines":5,"by":"alice\u001b[31m"}`

	code, text := d.ask(server, request)
	require.Equal(t, http.StatusOK, code, text)
	require.Equal(t, []string{"hello"}, parseResponse(t, []byte(text)).messages())
	require.Contains(t, d.log.String(), "by=\"alice␛[31m via server.clanmon.internal\"")
	require.Contains(t, d.log.String(), "unit=a.service")

	for name, certificates := range map[string][]tls.Certificate{
		"no certificate":    nil,
		"none of the names": {d.ca.issue(t, "web2")},
	} {
		code, text := d.ask(certificates, request)
		require.Equal(t, http.StatusForbidden, code)
		require.Contains(t, text, name)
	}
	code, text = d.ask(server, `{"kind":"journal","unit":"--file=/etc/shadow","lines":5}`)
	require.Equal(t, http.StatusBadRequest, code)
	require.Contains(t, text, "unit")
}

// A certificate that nobody verified proves nothing, whatever names it has.
func TestAnUnverifiedCertificate(t *testing.T) {
	h, err := NewHandler(Options{Enabled: true, Socket: "/nonexistent/s", WebConfigFile: webConfig(t, mutual), Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	given := newAuthority(t).issue(t, "server.clanmon.internal")
	cert, err := x509.ParseCertificate(given.Certificate[0])
	require.NoError(t, err)
	r := httptest.NewRequest(http.MethodPost, wire.Path, strings.NewReader(`{"kind":"processes"}`))
	r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{cert}}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	require.Equal(t, http.StatusForbidden, w.Code)
}

func TestNamesAreReadAgain(t *testing.T) {
	journalctl(t, lines(t, line(1, `"hello"`)))
	var file string
	d := newDoor(t, func(o *Options) { file = o.WebConfigFile })
	server := []tls.Certificate{d.ca.issue(t, "server.clanmon.internal")}
	const request = `{"kind":"journal","lines":5}`
	code, _ := d.ask(server, request)
	require.Equal(t, http.StatusOK, code)
	for _, text := range []string{strings.Replace(mutual, "server.clanmon.internal", "another", 1), strings.Replace(mutual, "RequireAndVerifyClientCert", "RequestClientCert", 1), "{"} {
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		code, _ = d.ask(server, request)
		require.Equal(t, http.StatusForbidden, code, text)
	}
}

func TestRefusalsInWords(t *testing.T) {
	off := newDoor(t, func(o *Options) { o.Enabled = false })
	code, text := off.ask(nil, `{}`)
	require.Equal(t, http.StatusForbidden, code)
	require.Contains(t, text, "--look")

	d := newDoor(t, func(o *Options) { o.Units = wire.Units{"nginx"} })
	server := []tls.Certificate{d.ca.issue(t, "server.clanmon.internal")}
	code, text = d.ask(server, `{"kind":"journal","unit":"sshd.service","lines":5}`)
	require.Equal(t, http.StatusForbidden, code)
	require.Contains(t, text, "sshd.service may not be looked at")

	code, text = d.ask(server, `{"kind":"processes","units":["*"]}`)
	require.Equal(t, http.StatusOK, code, text)
	require.Empty(t, parseResponse(t, []byte(text)).processes, "none of these are of nginx, whatever the server asks for")

	d = newDoor(t, func(o *Options) { o.Socket = filepath.Join(t.TempDir(), "none") })
	code, text = d.ask([]tls.Certificate{d.ca.issue(t, "server.clanmon.internal")}, `{"kind":"processes"}`)
	require.Equal(t, http.StatusBadGateway, code)
	require.Contains(t, text, "systemctl enable --now clanmon-look.socket")
}

// What is behind the socket sends for ever: the exporter passes on no more than a response
// may have.
func TestAResponseIsBounded(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				for line := []byte(strings.Repeat("x", 64<<10)); ; {
					if _, err := c.Write(line); err != nil {
						return
					}
				}
			}()
		}
	}()
	d := newDoor(t, func(o *Options) { o.Socket = socket })
	for asked, want := range map[string]int{`{"kind":"processes"}`: wire.MaxBytes + slackBytes, `{"kind":"journal","follow":true,"since":1}`: wire.MaxFollowBytes + slackBytes} {
		_, text := d.ask([]tls.Certificate{d.ca.issue(t, "server.clanmon.internal")}, asked)
		require.Len(t, text, want, asked)
	}
}

// No more looks at one time than a machine can bear, and one that is left makes room.
func TestLooksAtOneTime(t *testing.T) {
	journalctl(t, lines(t, line(1, `"hello"`))+"exec sleep 1000")
	d := newDoor(t, func(*Options) {})
	server := []tls.Certificate{d.ca.issue(t, "server.clanmon.internal")}
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: d.ca.pool(), Certificates: server}}
	defer tr.CloseIdleConnections()
	follow := fmt.Sprintf(`{"kind":"journal","follow":true,"since":%d}`, time.Now().Unix())
	var open []*http.Response
	for range maxOpen {
		r, err := (&http.Client{Transport: tr}).Post(d.url+wire.Path, "application/json", strings.NewReader(follow))
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, r.StatusCode)
		open = append(open, r)
	}
	code, text := d.ask(server, `{"kind":"processes"}`)
	require.Equal(t, http.StatusServiceUnavailable, code)
	require.Contains(t, text, "try again")
	for _, r := range open {
		r.Body.Close()
	}
	require.Eventually(t, func() bool {
		code, _ := d.ask(server, `{"kind":"processes"}`)
		return code == http.StatusOK
	}, time.Minute, 10*time.Millisecond)
}

// whois is a tailscaled that knows peers by their address.
func whois(t *testing.T, known map[string]string) (socket string) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	require.NoError(t, err)
	s := &httptest.Server{Listener: l, Config: &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, _ := net.SplitHostPort(r.URL.Query().Get("addr"))
		switch text, ok := known[host]; {
		case text == "hang":
			<-r.Context().Done()
		case !ok:
			http.Error(w, "no match for IP:port", http.StatusNotFound)
		default:
			fmt.Fprintf(w, `{"Node": {"Addresses": ["%s/32"], %s}, "UserProfile": {"LoginName": "alice@example.com"}}`, host, text)
		}
	})}}
	s.Start()
	t.Cleanup(s.Close)
	return socket
}

func TestPeersOfTheTailnetThatMayLook(t *testing.T) {
	journalctl(t, lines(t, line(1, `"hello"`)))
	socket := whois(t, map[string]string{
		"100.64.0.1": `"Name": "hub.tn.ts.net.", "User": 7`,
		"100.64.0.2": `"Name": "laptop.tn.ts.net.", "User": 7`,
		"100.64.0.3": `"Name": "mon.tn.ts.net.", "Tags": ["tag:monitor"]`,
		"100.64.0.4": `"Name": "hub.other.ts.net.", "User": 9, "Sharer": 10`,
		"100.64.0.5": "hang",
		"100.64.0.7": `"Name": "ci.tn.ts.net.", "Tags": ["tag:ci"]`,
	})
	h, err := NewHandler(Options{Enabled: true, From: []string{"hub", "tag:monitor"}, TailscaleSocket: socket, Socket: "/nonexistent/s", Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	ask := func(remote, local string) string {
		r := httptest.NewRequest(http.MethodPost, wire.Path, strings.NewReader(`{"kind":"processes"}`))
		r.RemoteAddr = remote + ":1234"
		addr := net.TCPAddrFromAddrPort(netip.MustParseAddrPort(local + ":9100"))
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, addr)))
		return w.Body.String()
	}
	for _, peer := range []string{"100.64.0.1", "100.64.0.3"} {
		require.Contains(t, ask(peer, "100.64.0.9"), "nothing listens on /nonexistent/s", "%s gets past the door", peer)
	}
	for peer, want := range map[string]string{
		"100.64.0.2": "not one of --look.from",
		"100.64.0.4": "not one of --look.from", // shared in
		"100.64.0.5": "deadline exceeded",
		"100.64.0.7": "not one of --look.from",
		"100.64.0.6": "not the address of a device",
		"10.0.0.7":   "not a peer of the tailnet",
	} {
		require.Contains(t, ask(peer, "100.64.0.9"), want, peer)
	}
	require.Contains(t, ask("100.64.0.1", "192.168.0.9"), "not a peer", "the range is a carrier's too")

	for _, from := range []string{"", "*", "tag:", "alice@example.com"} {
		_, err := NewHandler(Options{Enabled: true, From: []string{from}})
		require.ErrorContains(t, err, "--look.from", from)
	}
}
