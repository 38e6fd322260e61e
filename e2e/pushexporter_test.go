package e2e

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"math"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/e2e/harness"
	"github.com/clanmon/clanmon/internal/history"
)

// A pusher is an exporter without a port that pushes every second, a link, and a server.
type pusher struct {
	t        testing.TB
	dir      string // of the history
	token    string // file
	link     *link
	exporter *harness.Process
	server   *spooled // of which only the server is used
}

func newPusher(t testing.TB) *pusher {
	p := &pusher{t: t, dir: t.TempDir(), token: filepath.Join(t.TempDir(), "token")}
	tokens := filepath.Join(t.TempDir(), "tokens")
	require.NoError(t, os.WriteFile(p.token, []byte("s3cret\n"), 0o600))
	require.NoError(t, os.WriteFile(tokens, fmt.Appendf(nil, "laptop machine %x\n", sha256.Sum256([]byte("s3cret"))), 0o600))
	p.server = &spooled{t: t, options: harness.ServerOptions{
		Listen: harness.Address(t), Data: t.TempDir(), Config: "global: {scrape_interval: 1s, evaluation_interval: 1s}\n",
		Args: []string{"--push", "--web.token-file=" + tokens},
	}}
	p.server.again()
	p.link = newLink(t, p.server.options.Listen)
	p.start()
	return p
}

func (p *pusher) start() {
	p.t.Helper()
	p.exporter = harness.Start(p.t, harness.Command{Path: harness.SmallExporter(p.t), Args: []string{
		"--exporter=node", "--push=http://" + p.link.address, "--push.token-file=" + p.token, "--history.interval=1s", "--history.path=" + p.dir,
	}})
}

// cursor is what the exporter has written down.
func (p *pusher) cursor() (c struct {
	Newest  int64
	Missing [][2]int64
}, err error) {
	files, err := filepath.Glob(filepath.Join(p.dir, "push-*.json"))
	if err != nil || len(files) != 1 {
		return c, fmt.Errorf("cursors %v: %v", files, err)
	}
	content, err := os.ReadFile(files[0])
	if err != nil {
		return c, err
	}
	return c, json.Unmarshal(content, &c)
}

// sent waits until something gathered from now on is sent, and all before it.
func (p *pusher) sent(limit time.Duration) {
	p.t.Helper()
	from := time.Now().UnixMilli()
	harness.Eventually(p.t, limit, func() error {
		c, err := p.cursor()
		switch {
		case p.exporter.Exited():
			require.Fail(p.t, "the exporter exited", p.exporter.Log())
		case err != nil:
			return err
		case c.Newest < from || len(c.Missing) > 0:
			return fmt.Errorf("sent up to %d of %d, without %v", c.Newest, from, c.Missing)
		}
		return nil
	})
}

// complete compares what the exporter gathered with what the server stores. What it has not sent yet
// when it is killed may be there or not.
func (p *pusher) complete() {
	p.t.Helper()
	p.exporter.Kill()
	c, err := p.cursor()
	require.NoError(p.t, err)
	acknowledged := func(at int64) bool {
		return at <= c.Newest && !slices.ContainsFunc(c.Missing, func(g [2]int64) bool { return at > g[0] && at < g[1] })
	}
	kept, gathers := p.kept()
	stored := p.server.raw(`{machine="laptop",__name__!="up"}`)
	lost, wrong, more, samples := 0, 0, 0, 0
	for name, want := range kept {
		for at, v := range want {
			got, ok := stored[name][at]
			switch {
			case !ok && acknowledged(at):
				lost++
			case ok && got != v && !(math.IsNaN(got) && math.IsNaN(v)):
				wrong++
			}
			samples++
		}
	}
	for name, got := range stored {
		for at := range got {
			if _, ok := kept[name][at]; !ok {
				more++
			}
		}
	}
	require.Zero(p.t, lost+wrong+more, "of %d samples: %d lost, %d wrong; %d that the exporter did not gather", samples, lost, wrong, more)
	require.Greater(p.t, gathers, 5)
	p.t.Logf("%d samples of %d gathers: all there, once", samples, gathers)
}

// kept is what is in the files of the exporter, with the labels that the server gives.
func (p *pusher) kept() (all map[string]map[int64]float64, gathers int) {
	p.t.Helper()
	all = map[string]map[int64]float64{}
	files, err := filepath.Glob(filepath.Join(p.dir, "*.history"))
	require.NoError(p.t, err)
	for _, file := range files {
		f, err := os.Open(file)
		require.NoError(p.t, err)
		r, err := history.NewReader(bufio.NewReader(f), 1e6, 1e9)
		require.NoError(p.t, err)
		for {
			at, values, err := r.Next()
			if err != nil { // the end, perhaps a torn one
				break
			}
			gathers++
			for _, v := range values {
				if v.Bits == history.StaleNaN {
					continue
				}
				name := p.name(r.Key(v.Series))
				if all[name] == nil {
					all[name] = map[int64]float64{}
				}
				all[name][at] = math.Float64frombits(v.Bits)
			}
		}
		f.Close()
	}
	return all, gathers
}

func (p *pusher) name(key string) string {
	metric := map[string]string{}
	kind, key, err := history.CutString(key)
	require.NoError(p.t, err)
	for key != "" {
		var name, value string
		name, key, err = history.CutString(key)
		require.NoError(p.t, err)
		value, key, err = history.CutString(key)
		require.NoError(p.t, err)
		if name == "machine" { // of node_uname_info
			name = "exported_machine"
		}
		metric[name] = value
	}
	maps.Copy(metric, map[string]string{"job": kind, "instance": "laptop:9100", "machine": "laptop", "availability": "intermittent"})
	return fmt.Sprint(metric)
}

// An exporter without a port pushes to a server. It, the server and the link go away in turn,
// without a warning. In the end the server has every sample once.
func TestPushedSamplesSurvive(t *testing.T) {
	t.Parallel()
	p := newPusher(t)
	p.sent(harness.Patience)
	require.Empty(t, listening(t, p.exporter), "no port is open")
	p.server.server.WaitValue(`up{availability="intermittent",instance="laptop:9100",job="node",machine="laptop"}`, 1)

	p.link.cut()
	p.exporter.WaitLog("Could not push")
	time.Sleep(3 * time.Second) // some gathers
	p.link.plug()
	p.sent(harness.Patience)
	p.exporter.WaitLog("Pushing works again")

	p.server.server.Kill()
	p.exporter.Kill()
	p.start()
	time.Sleep(3 * time.Second)
	p.server.again()
	p.sent(harness.Patience)
	require.NotContains(t, p.exporter.Log(), "s3cret")
	p.complete()
}

// A certificate is the proof of a machine that pushes and has a port too. While the server finds and
// scrapes it, what it pushes is ignored; when its port is gone, that is stored.
func TestPushedAndScraped(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "laptop"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	require.NoError(t, err)
	keyDER, err := x509.MarshalECPrivateKey(key)
	require.NoError(t, err)
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	certFile := harness.WriteFile(t, dir, "cert.pem", string(cert))
	keyFile := harness.WriteFile(t, dir, "key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER})))
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	require.NoError(t, err)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(cert)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{pair}}}
	t.Cleanup(transport.CloseIdleConnections)

	scraped := newLink(t, harness.Address(t))
	_, port, err := net.SplitHostPort(scraped.address)
	require.NoError(t, err)
	server := harness.StartServer(t, harness.ServerOptions{
		Client: &http.Client{Timeout: harness.Patience, Transport: transport}, Config: "global: {scrape_interval: 1s, evaluation_interval: 1s}\n",
		Args: []string{
			"--push", "--discovery.inventory=" + harness.WriteFile(t, dir, "inventory.json", fmt.Sprintf(`{"machines": {"laptop": {"addresses": ["127.0.0.1"], "exporters": {"node": %s}}}}`, port)),
			"--web.config.file=" + harness.WriteFile(t, dir, "web.yml", "tls_server_config: {cert_file: cert.pem, key_file: key.pem, client_auth_type: RequireAndVerifyClientCert, client_ca_file: cert.pem}\n"),
		},
	})
	exporter := harness.Start(t, harness.Command{Path: harness.SmallExporter(t), Args: []string{
		"--exporter=node", "--web.listen-address=" + scraped.to, "--push=" + server.URL, "--history.interval=1s", "--history.path=" + filepath.Join(dir, "history"),
		"--push.config.file=" + harness.WriteFile(t, dir, "push.yml", "tls_config: {ca_file: cert.pem, cert_file: cert.pem, key_file: key.pem}\n"),
	}})
	server.WaitValue(`up{machine="laptop",job="node"}`, 1)
	atLeastOne := func(series string) {
		t.Helper()
		harness.Eventually(t, harness.Patience, func() error {
			n, err := server.Metric(series)
			if err != nil {
				return err
			}
			return atLeast(int(n), 1)
		})
	}
	atLeastOne(`clanmon_push_samples_dropped_total{machine="laptop",reason="scraped"}`)
	server.WaitValue(`count by (job) (up{machine="laptop"})`, 1)

	scraped.cut()
	server.WaitValue(`count by (instance) (node_boot_time_seconds{machine="laptop",instance="laptop:9100"})`, 1)
	require.False(t, exporter.Exited())
}
