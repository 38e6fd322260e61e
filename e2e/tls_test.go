package e2e

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
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/bcrypt"

	"github.com/clanmon/clanmon/e2e/harness"
)

// withPassword adds basic authentication to every request.
type withPassword struct {
	user, password string
	next           http.RoundTripper
}

func (w withPassword) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	if w.user != "" {
		r.SetBasicAuth(w.user, w.password)
	}
	return w.next.RoundTrip(r)
}

// secured writes a certificate and a web configuration that asks for the user
// alice, and returns the latter and a client that may enter.
func secured(t testing.TB) (webConfig string, client *http.Client, stranger *http.Client) {
	t.Helper()
	dir := t.TempDir()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "clanmon test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	require.NoError(t, err)
	keyDER, err := x509.MarshalECPrivateKey(key)
	require.NoError(t, err)
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	harness.WriteFile(t, dir, "cert.pem", string(cert))
	harness.WriteFile(t, dir, "key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER})))
	hash, err := bcrypt.GenerateFromPassword([]byte("wonderland"), bcrypt.MinCost)
	require.NoError(t, err)
	webConfig = harness.WriteFile(t, dir, "web.yml", fmt.Sprintf("tls_server_config: {cert_file: cert.pem, key_file: key.pem}\nbasic_auth_users: {alice: %q}\n", hash))

	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(cert)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}
	t.Cleanup(transport.CloseIdleConnections)
	return webConfig,
		&http.Client{Timeout: harness.Patience, Transport: withPassword{"alice", "wonderland", transport}},
		&http.Client{Timeout: harness.Patience, Transport: transport}
}

// TLS and a password at the door do not keep the server from scraping itself
// and its machine.
func TestServerWithTLSAndPassword(t *testing.T) {
	t.Parallel()
	webConfig, alice, stranger := secured(t)
	s := harness.StartServer(t, harness.ServerOptions{Client: alice, Args: []string{"--web.config.file=" + webConfig}})
	for _, job := range harness.LocalJobs() {
		s.WaitValue(fmt.Sprintf("up{job=%q}", job), 1)
	}
	for _, path := range []string{"/api/v1/query?query=up", "/metrics", "/", "/-/healthy", "/federate?match[]=up"} {
		r, err := stranger.Get(s.URL + path)
		require.NoError(t, err)
		r.Body.Close()
		require.Equal(t, http.StatusUnauthorized, r.StatusCode, path)
	}
}

// One web configuration guards all kinds of the exporter, and the server can
// scrape them.
func TestExporterWithTLSAndPassword(t *testing.T) {
	t.Parallel()
	webConfig, alice, stranger := secured(t)
	e := harness.StartExporter(t, "--web.config.file="+webConfig)
	for _, host := range []string{e.Node, e.Systemd} {
		r, err := stranger.Get("https://" + host + "/metrics")
		require.NoError(t, err)
		r.Body.Close()
		require.Equal(t, http.StatusUnauthorized, r.StatusCode)
		r, err = alice.Get("https://" + host + "/metrics")
		require.NoError(t, err)
		r.Body.Close()
		require.Equal(t, http.StatusOK, r.StatusCode)
	}
	s := harness.StartServer(t, harness.ServerOptions{Config: fmt.Sprintf(`
global: {scrape_interval: 1s}
scrape_configs:
- job_name: node
  scheme: https
  tls_config: {insecure_skip_verify: true}
  basic_auth: {username: alice, password: wonderland}
  static_configs: [{targets: [%q, %q]}]
`, e.Node, e.Systemd)})
	s.WaitValue("sum(up)", 2)
}
