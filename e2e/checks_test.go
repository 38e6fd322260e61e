package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/e2e/harness"
)

// site is a server of nginx with a certificate of its own.
type site struct {
	name     string
	from, to time.Duration // when the certificate is good
	host     string        // that it is for
	self     bool          // signed by itself
	address  string
}

// sites starts nginx with all of them, and returns the file of the authority. Certificates
// count from now.
func sites(t *testing.T, now time.Time, all []*site) (authority string) {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.Chmod(dir, 0o755))
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	keyDER, err := x509.MarshalECPrivateKey(key)
	require.NoError(t, err)
	keyFile := harness.WriteFile(t, dir, "key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER})))
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "clanmon test"}, NotBefore: time.Now().Add(-1e4 * time.Hour), NotAfter: time.Now().Add(1e4 * time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, &key.PublicKey, key)
	require.NoError(t, err)
	authority = harness.WriteFile(t, dir, "ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caDER})))
	var servers strings.Builder
	for i, s := range all {
		template := &x509.Certificate{SerialNumber: big.NewInt(int64(i + 2)), NotBefore: now.Add(s.from), NotAfter: now.Add(s.to), IPAddresses: []net.IP{net.ParseIP(s.host)}}
		parent := ca
		if s.self {
			template.Subject.CommonName = "nobody knows me"
			parent = template
		}
		der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, key)
		require.NoError(t, err)
		cert := harness.WriteFile(t, dir, s.name+".pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
		s.address = harness.Address(t)
		fmt.Fprintf(&servers, "  server { listen %s ssl; ssl_certificate %s; ssl_certificate_key %s; location / { return 200 \"welcome\\n\"; } location /moved { return 302 /; } }\n", s.address, cert, keyFile)
	}
	conf := harness.WriteFile(t, dir, "nginx.conf", fmt.Sprintf(`worker_processes 1; daemon off; pid %[1]s/pid; error_log %[1]s/log;
events { worker_connections 64; }
http {
  access_log off;
  client_body_temp_path %[1]s/t1; proxy_temp_path %[1]s/t2; fastcgi_temp_path %[1]s/t3; uwsgi_temp_path %[1]s/t4; scgi_temp_path %[1]s/t5;
%[2]s}
`, dir, servers.String()))
	harness.Start(t, harness.Command{Path: harness.Tool(t, "/usr/sbin/nginx", "nginx-light"), Args: []string{"-c", conf, "-p", dir, "-e", filepath.Join(dir, "log")}, Dir: dir})
	return authority
}

// mailServer starts exim with the certificate of the site that is called name, and returns its address.
func mailServer(t *testing.T, authority, name string) string {
	t.Helper()
	// Not below the test's directory, which its user may not enter.
	dir, err := os.MkdirTemp("", "exim")
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	require.NoError(t, os.Chmod(dir, 0o777))
	for _, file := range []string{name + ".pem", "key.pem"} {
		text, err := os.ReadFile(filepath.Join(filepath.Dir(authority), file))
		require.NoError(t, err)
		harness.WriteFile(t, dir, file, string(text))
	}
	address := harness.Address(t)
	_, port, _ := net.SplitHostPort(address)
	conf := harness.WriteFile(t, dir, "conf", fmt.Sprintf(`primary_hostname = mail.test
local_interfaces = 127.0.0.1
tls_advertise_hosts = *
tls_certificate = %[1]s/%[2]s.pem
tls_privatekey = %[1]s/key.pem
spool_directory = %[1]s
log_file_path = %[1]s/%%slog
host_lookup =
rfc1413_hosts =
keep_environment =
`, dir, name))
	harness.Start(t, harness.Command{Path: harness.Tool(t, "/usr/sbin/exim4", "exim4-daemon-light"), Args: []string{"-C", conf, "-bdf", "-oX", port, "-oP", ""}, Dir: dir})
	return address
}

// sshServer starts sshd and returns its address.
func sshServer(t *testing.T) string {
	t.Helper()
	harness.Root(t)
	require.NoError(t, os.MkdirAll("/run/sshd", 0o755))
	key := filepath.Join(t.TempDir(), "key")
	out, err := exec.Command("/usr/bin/ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key).CombinedOutput()
	require.NoError(t, err, "%s", out)
	address := harness.Address(t)
	_, port, _ := net.SplitHostPort(address)
	harness.Start(t, harness.Command{Path: harness.Tool(t, "/usr/sbin/sshd", "openssh-server"), Args: []string{
		"-D", "-e", "-f", "/dev/null", "-h", key, "-p", port, "-o", "ListenAddress=127.0.0.1", "-o", "PidFile=none",
	}})
	return address
}

type checkRow struct {
	Name, State, Why, From, Since string
	CertificateExpires            string
	LastFailure                   *struct{ Log string }
	Places                        []checkRow
}

// checkRows are the checks of a server by name.
func checkRows(t *testing.T, s *harness.Server) map[string]checkRow {
	t.Helper()
	var a struct{ Data struct{ Checks []checkRow } }
	got := s.Get("/api/clanmon/v1/checks")
	require.NoError(t, json.Unmarshal([]byte(got.Body), &a), got.Body)
	all := make(map[string]checkRow)
	for _, r := range a.Data.Checks {
		all[r.Name] = r
	}
	return all
}

// Checks of real nginx, exim, sshd, dnsmasq and Redis: each fault has words of its own, certificates alert
// before they expire, and a service that is checked makes no machine of its owner.
func TestChecks(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	good, soon := &site{name: "good", from: -day, to: 60 * day, host: "127.0.0.1"}, &site{name: "soon", from: -day, to: 2*day + time.Hour, host: "127.0.0.1"}
	expired, wrong := &site{name: "expired", from: -2 * day, to: -day, host: "127.0.0.1"}, &site{name: "wrong", from: -day, to: day, host: "127.0.0.2"}
	self := &site{name: "self", from: -day, to: day, host: "127.0.0.1", self: true}
	now := time.Now()
	authority := sites(t, now, []*site{good, soon, expired, wrong, self})
	redis := harness.NewRedis(t, nil)
	dns := harness.Address(t)
	_, dnsPort, _ := net.SplitHostPort(dns)
	harness.Start(t, harness.Command{Path: harness.Tool(t, "/usr/sbin/dnsmasq", "dnsmasq-base"), Args: []string{
		"--keep-in-foreground", "--no-resolv", "--no-hosts", "--conf-file=/dev/null", "--pid-file=", "--listen-address=127.0.0.1", "--bind-interfaces", "--port=" + dnsPort,
		"--address=/known.test/10.1.2.3", "--user=" + "root",
	}})
	var settings strings.Builder
	add := func(name, url, more string) {
		fmt.Fprintf(&settings, "  %s: {url: %q, every: 5s, timeout: 3s%s}\n", name, url, more)
	}
	settings.WriteString("checks:\n")
	add("good", "https://"+good.address+"/moved", ", expect: {body: welcome}, machine: web1")
	add("soon", "https://"+soon.address, "")
	add("expired", "https://"+expired.address, ", severity: critical")
	add("wrong", "https://"+wrong.address, "")
	add("self", "https://"+self.address, "")
	add("redis", "tcp://"+redis.Addr, "")
	add("mail", "smtp+starttls://"+mailServer(t, authority, "soon"), "")
	add("mail-expired", "smtp+starttls://"+mailServer(t, authority, "expired"), "")
	add("ssh", "tcp://"+sshServer(t), "")
	add("ping", "ping://127.0.0.1", "")
	add("dns", "dns://"+dns+"/known.test", "")
	add("dns-none", "dns://"+dns+"/unknown.test", "")
	s := harness.StartServer(t, harness.ServerOptions{
		Env:   []string{"SSL_CERT_FILE=" + authority},
		Files: map[string]string{"settings.yml": settings.String()},
		Args:  []string{"--clan.settings=settings.yml", "--rules.set=CertificateExpiring.for=0s", "--rules.set=CheckFailing.for=0s"},
	})
	rows := func() map[string]checkRow { return checkRows(t, s) }
	want := map[string]string{
		"good": "", "soon": "", "redis": "", "ping": "", "dns": "", "mail": "", "ssh": "",
		"mail-expired": "certificate expired on " + now.Add(-day).UTC().Format("2006-01-02"),
		"expired":      "certificate expired on " + now.Add(-day).UTC().Format("2006-01-02"),
		"wrong":        "certificate is for 127.0.0.2, not for 127.0.0.1",
		"self":         "certificate is signed by an unknown authority",
		"dns-none":     "the name server refused the lookup",
	}
	var got map[string]checkRow
	harness.Eventually(t, harness.Patience, func() error { // services start while they are checked
		got = rows()
		for name, why := range want {
			r := got[name]
			if state := map[bool]string{true: "ok", false: "failing"}[why == ""]; r.State != state || !strings.Contains(r.Why, why) {
				return fmt.Errorf("check %s: %s %s, want %s %s", name, r.State, r.Why, state, why)
			}
		}
		return nil
	})
	require.Len(t, got, 12)
	expires, err := time.Parse(time.RFC3339, got["soon"].CertificateExpires)
	require.NoError(t, err)
	require.WithinDuration(t, now.Add(2*day+time.Hour), expires, time.Minute)
	require.Equal(t, got["soon"].CertificateExpires, got["mail"].CertificateExpires)
	require.EqualValues(t, 200, s.Value(`probe_http_status_code{check="good",machine="web1"}`))
	require.EqualValues(t, 1, s.Value(`probe_success{job="blackbox",check="dns"}`))

	for _, alert := range []string{`alertname="CertificateExpiring",check="soon",severity="critical"`, `alertname="CheckFailing",check="expired",severity="critical"`, `alertname="CheckFailing",check="self",severity="warning"`} {
		// The group is evaluated every 30 s, from a moment that its name decides.
		harness.Eventually(t, 3*harness.Patience, func() error {
			if found, err := s.TryQuery(`ALERTS{alertstate="firing",`+alert+`}`, time.Time{}); err != nil || len(found) != 1 {
				return fmt.Errorf("%s: %v %v", alert, found, err)
			}
			return nil
		})
	}
	require.NotContains(t, s.Get("/api/clanmon/v1/machines").Body, `"web1"`, "nobody scrapes web1")

	// By hand, with the log of the probe; a reload takes other checks.
	harness.Eventually(t, harness.Patience, func() error { // refused within a second of a scheduled probe
		run := s.Post("/api/clanmon/v1/checks/self/run", "application/json", "")
		if run.Status != http.StatusOK || !strings.Contains(run.Body, "unknown authority") {
			return fmt.Errorf("%d %s", run.Status, run.Body)
		}
		return nil
	})
	harness.WriteFile(t, s.Dir, "settings.yml", "checks: {only: {url: 'ping://127.0.0.1', every: 5s}}\n")
	s.Signal(syscall.SIGHUP)
	harness.Eventually(t, harness.Patience, func() error {
		if r := rows(); len(r) != 1 || r["only"].State != "ok" {
			return fmt.Errorf("%+v", r)
		}
		return nil
	})
	harness.WriteFile(t, s.Dir, "settings.yml", "checks: {only: {url: 'ftp://127.0.0.1'}}\n")
	s.Signal(syscall.SIGHUP)
	s.WaitLog(`unknown scheme \"ftp\"`)
	require.Len(t, rows(), 1, "what is wrong changes nothing")
}

// A check runs from this server and from another machine's exporter, where discovery knows it. A
// place that cannot run it says why; a restart of the server changes no state.
func TestChecksFromOtherMachines(t *testing.T) {
	t.Parallel()
	var broken atomic.Bool
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if broken.Load() {
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(site.Close)
	other := harness.Address(t)
	exporter := harness.StartKinds(t, []string{"blackbox"}, nil, "--blackbox.allow="+strings.TrimPrefix(site.URL, "http://"))
	here, err := os.Hostname()
	require.NoError(t, err)
	here, _, _ = strings.Cut(strings.ToLower(here), ".")
	settings := fmt.Sprintf(`discoveryMethod: static
staticTargets: {blackbox: ["web1@%s"]}
checks:
  site: {url: %q, every: 5s, timeout: 2s, from: [%s, web1, gone]}
  other: {url: "tcp://%s", every: 5s, from: [web1]}
`, exporter.Addr["blackbox"], site.URL, here, other)
	data := filepath.Join(t.TempDir(), "data")
	start := func() *harness.Server {
		return harness.StartServer(t, harness.ServerOptions{Data: data, Files: map[string]string{"settings.yml": settings}, Args: []string{"--clan.settings=settings.yml"}})
	}
	s := start()
	places := func(check string) map[string]checkRow {
		all := make(map[string]checkRow)
		for _, p := range checkRows(t, s)[check].Places {
			all[p.From] = p
		}
		return all
	}
	wait := func(check, from, state, why string) {
		t.Helper()
		harness.Eventually(t, harness.Patience, func() error {
			if p := places(check)[from]; p.State != state || !strings.Contains(p.Why, why) {
				return fmt.Errorf("%s from %s is %+v, want %s: %s", check, from, p, state, why)
			}
			return nil
		})
	}
	wait("site", here, "ok", "")
	wait("site", "web1", "ok", "")
	wait("site", "gone", "not run", `no machine "gone" is discovered`)
	wait("other", "web1", "not run", "HTTP status 403: probes of "+other+" are not allowed: start the exporter with --blackbox.allow "+other)
	require.Equal(t, "not run", checkRows(t, s)["site"].State)
	s.WaitValue(`probe_success{job="blackbox",check="site",from="web1",instance="`+site.URL+`"}`, 1)
	s.WaitValue(`up{job="blackbox",check="site",from="gone"}`, 0)
	s.WaitValue(`up{job="blackbox",machine="web1",check=""}`, 1)
	s.WaitValue(`count(probe_success{machine!=""}) or vector(0)`, 0)

	broken.Store(true)
	wait("site", "web1", "failing", "HTTP status 404")
	wait("site", here, "failing", "HTTP status 404")
	before := places("site")
	require.NotEmpty(t, before["web1"].Since)
	s.Terminate()
	s = start()
	after := places("site")
	for _, from := range []string{here, "web1"} {
		require.Equal(t, "failing", after[from].State, from)
		was, err := time.Parse(time.RFC3339, before[from].Since)
		require.NoError(t, err)
		is, err := time.Parse(time.RFC3339, after[from].Since)
		require.NoError(t, err)
		require.WithinDuration(t, was, is, 2*time.Second, from)
	}
	wait("site", "web1", "failing", "HTTP status 404")

	exporter.Kill()
	wait("site", "web1", "not run", "the blackbox exporter of web1 at "+exporter.Addr["blackbox"]+" does not respond: ")
	wait("site", here, "failing", "HTTP status 404")
}

// A host that loses packets, one that receives none, and names that lead where nobody means, in a
// network of their own.
func TestChecksInANetwork(t *testing.T) {
	t.Parallel()
	host := harness.NewHost(t, "nameserver 127.0.0.1\n")
	records := []string{"--keep-in-foreground", "--no-resolv", "--no-hosts", "--conf-file=/dev/null", "--pid-file=", "--listen-address=127.0.0.1", "--bind-interfaces", "--user=root", "--local=/test/",
		"--host-record=metadata.test,169.254.169.254", "--host-record=half.test,127.0.0.7", "--host-record=half.test,169.254.0.9"}
	for i := range 100 {
		records = append(records, fmt.Sprintf("--host-record=many.test,127.0.1.%d", i+1))
	}
	harness.Start(t, host.Command(t, harness.Command{Path: harness.Tool(t, "/usr/sbin/dnsmasq", "dnsmasq-base"), Args: records}))
	nft := harness.Tool(t, "/usr/sbin/nft", "nftables")
	for _, rule := range []string{
		"add table ip loss", "add chain ip loss in { type filter hook input priority 0; }", "add chain ip loss out { type filter hook output priority 0; }",
		"add rule ip loss in ip daddr 127.0.0.8 icmp type echo-request numgen inc mod 2 0 drop",
		"add rule ip loss in ip daddr 127.0.0.9 icmp type echo-request drop",
		"add rule ip loss out ip daddr 127.0.0.10 icmp type echo-request drop",
	} {
		code, out := harness.Run(t, host.Command(t, harness.Command{Path: nft, Args: strings.Fields(rule)}))
		require.Zero(t, code, "%s: %s", rule, out)
	}
	harness.Start(t, host.Command(t, harness.Command{Args: []string{"exporter", "--exporter=blackbox", "--web.listen-address=127.0.0.1:9115", "--blackbox.allow=127.0.0.*", "--blackbox.allow=*.test"}}))
	client := host.Client()
	ping := func(to string) (r struct {
		OK  bool
		Why string
	}) {
		t.Helper()
		harness.Eventually(t, harness.Patience, func() error {
			got, err := client.Get("http://127.0.0.1:9115/check?timeout=2s&url=ping://" + to)
			if err != nil {
				return err
			}
			defer got.Body.Close()
			return json.NewDecoder(got.Body).Decode(&r)
		})
		return r
	}
	require.True(t, ping("127.0.0.7").OK)
	harness.Eventually(t, harness.Patience, func() error { // dnsmasq starts
		if r := ping("many.test"); !r.OK {
			return errors.New(r.Why)
		}
		return nil
	})
	require.Equal(t, "name not found", ping("none.test").Why)
	require.Equal(t, "refused to probe metadata.test, which resolves to 169.254.169.254, a link-local or metadata address", ping("metadata.test").Why)
	require.Equal(t, "refused to probe half.test, which resolves to 169.254.0.9, a link-local or metadata address", ping("half.test").Why)
	results := map[bool]int{}
	for range 6 {
		results[ping("127.0.0.8").OK]++
	}
	require.Equal(t, map[bool]int{true: 3, false: 3}, results, "every second packet is lost")
	require.Equal(t, "no response within 2s", ping("127.0.0.9").Why)
	require.Equal(t, "not sent: a firewall on the machine that checks drops it", ping("127.0.0.10").Why)
}
