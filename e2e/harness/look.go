package harness

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/bcrypt"
)

// PKI writes ca.pem, and NAME.pem and NAME.key for each name, which everybody may read.
func PKI(t testing.TB, names ...string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	require.NoError(t, os.Chmod(filepath.Dir(dir), 0o755))
	newKey := func() *ecdsa.PrivateKey {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		require.NoError(t, err)
		return key
	}
	write := func(name, kind string, der []byte) {
		text := pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), text, 0o644))
	}
	template := x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	key := newKey()
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	require.NoError(t, err)
	ca, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	write("ca.pem", "CERTIFICATE", der)
	for _, name := range names {
		own := newKey()
		der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
			SerialNumber: big.NewInt(2), DNSNames: []string{name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		}, ca, &own.PublicKey, key)
		require.NoError(t, err)
		write(name+".pem", "CERTIFICATE", der)
		der, err = x509.MarshalECPrivateKey(own)
		require.NoError(t, err)
		write(name+".key", "EC PRIVATE KEY", der)
	}
	return dir
}

// LookServer is the name in the certificate of servers that may look at a LookBox.
const LookServer = "server.clanmon.internal"

// LookBox is a machine on which the package's units run, and which servers may look at.
type LookBox struct {
	*Box
	pki string
}

// NewLookBox boots one; args are further arguments of its exporter.
func NewLookBox(t testing.TB, args string, binds ...string) *LookBox {
	t.Helper()
	dir := PKI(t, LookServer, "web1", "web2")
	files := filepath.Join(Repo(t), "cmd", "internal", "release", "files")
	b := &LookBox{NewBox(t, append(binds, dir+":/etc/pki", files+":/opt/files")...), dir}
	b.Exec("sh", "-ec", `
		ln -s /opt/clanmon/clanmon-exporter /usr/bin/clanmon-exporter
		cp /opt/files/clanmon-exporter.sysusers /usr/lib/sysusers.d/clanmon-exporter.conf
		cp /opt/files/clanmon-exporter.service /opt/files/clanmon-look* /etc/systemd/system
		cat > /etc/web.yml <<EOT
tls_server_config:
  cert_file: /etc/pki/web1.pem
  key_file: /etc/pki/web1.key
  client_ca_file: /etc/pki/ca.pem
  client_auth_type: RequireAndVerifyClientCert
  client_allowed_sans: [`+LookServer+`]
EOT
		echo 'ARGS="--look --web.config.file=/etc/web.yml `+args+`"' > /etc/default/clanmon-exporter
		systemd-sysusers clanmon-exporter.conf
		systemctl daemon-reload
		systemctl start clanmon-look.socket clanmon-exporter.service`)
	return b
}

// Passwords of a server of a LookBox; alice is its only operator.
const (
	LookOperator = "alice"
	LookViewer   = "bob"
	LookPassword = "wonderland"
)

// CA is the path to the certificate of who signed that of the server.
func (b *LookBox) CA() string { return filepath.Join(b.pki, "ca.pem") }

// TLSClient returns a client that trusts the authority in a file.
func TLSClient(t testing.TB, ca string) *http.Client {
	t.Helper()
	text, err := os.ReadFile(ca)
	require.NoError(t, err)
	pool := x509.NewCertPool()
	require.True(t, pool.AppendCertsFromPEM(text))
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Timeout: Patience, Transport: transport}
}

// Client returns a client of the server as a user.
func (b *LookBox) Client(user string) *http.Client {
	b.t.Helper()
	c := TLSClient(b.t, b.CA())
	c.Transport = asUser{user, c.Transport}
	return c
}

type asUser struct {
	name string
	next http.RoundTripper
}

func (u asUser) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.SetBasicAuth(u.name, LookPassword)
	return u.next.RoundTrip(r)
}

// Server starts a server on this machine that scrapes the box as the machine "box", and
// may look at it.
func (b *LookBox) Server(args ...string) *Server {
	b.t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(LookPassword), bcrypt.MinCost)
	require.NoError(b.t, err)
	config := "global: {scrape_interval: 1s, evaluation_interval: 1s}\nscrape_configs:\n"
	host := b.Host()
	for job, address := range map[string]string{"node": "127.0.0.1:9100", "systemd": "127.0.0.1:9558"} {
		config += fmt.Sprintf(`- job_name: %s
  scheme: https
  tls_config: {ca_file: %s/ca.pem, cert_file: %[2]s/%s.pem, key_file: %[2]s/%[3]s.key}
  static_configs: [{targets: [%q], labels: {machine: box}}]
`, job, b.pki, LookServer, host.Forward(b.t, address))
	}
	web := fmt.Sprintf("tls_server_config: {cert_file: %s/web1.pem, key_file: %[1]s/web1.key}\nbasic_auth_users: {%s: %q, %s: %[3]q}\n", b.pki, LookOperator, hash, LookViewer)
	s := StartServer(b.t, ServerOptions{
		Config: config, Files: map[string]string{"web.yml": web}, Client: b.Client(LookOperator),
		Args: append([]string{"--look", "--web.config.file=web.yml", "--web.operator=" + LookOperator}, args...),
	})
	s.WaitValue(`sum(up{machine="box"})`, 2)
	return s
}
