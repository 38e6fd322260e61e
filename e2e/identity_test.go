package e2e

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/e2e/harness"
	"github.com/clanmon/clanmon/e2e/oracle"
)

// who is what /api/clanmon/v1/whoami answers.
type who struct{ Name, Via, Role, Device, Unknown string }

// identityOf asks a server who a client is.
func identityOf(t *testing.T, c *http.Client, url string, headers ...string) (w who) {
	t.Helper()
	code, body := send(t, c, http.MethodGet, url+"/api/clanmon/v1/whoami", "", headers...)
	require.Equal(t, http.StatusOK, code, body)
	var answer struct{ Data who }
	require.NoError(t, json.Unmarshal([]byte(body), &answer))
	return answer.Data
}

// send sends a request with headers "Name: value".
func send(t *testing.T, c *http.Client, method, url, body string, headers ...string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, bytes.NewReader([]byte(body)))
	require.NoError(t, err)
	r.Header.Set("Content-Type", "application/json")
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Add(name, value)
		if name == "Host" {
			r.Host = value
		}
	}
	res, err := c.Do(r)
	require.NoError(t, err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return res.StatusCode, string(text)
}

func silence(t *testing.T, c *http.Client, url string, headers ...string) (int, string) {
	t.Helper()
	now := time.Now().UTC()
	return send(t, c, http.MethodPost, url+"/api/v2/silences", fmt.Sprintf(
		`{"matchers":[{"name":"machine","value":"x","isRegex":false}],"startsAt":%q,"endsAt":%q,"createdBy":"root","comment":"c"}`,
		now.Format(time.RFC3339), now.Add(time.Hour).Format(time.RFC3339)), headers...)
}

// A real tailnet: of two users one may, the other may not; a tagged device may read.
func TestIdentityInATailnet(t *testing.T) {
	t.Parallel()
	net := harness.NewTailnet(t, "4")
	net.Join("h1", "tag:server")
	net.JoinAs("h2", "alice")
	net.JoinAs("h3", "bob")
	net.Join("h4", "tag:laptop")
	net.Reachable()
	address := net.Address("h1")
	s := harness.StartServer(t, harness.ServerOptions{
		Host: net.Host("h1"), Listen: "0.0.0.0:9090", Config: "{}",
		Args: []string{"--discovery.tailscale.socket=" + net.Socket("h1"), "--discovery=tailscale", "--web.operator=alice"},
	})
	url := "http://" + address + ":9090"
	alice, bob, laptop := net.Host("h2").Client(), net.Host("h3").Client(), net.Host("h4").Client()
	w := identityOf(t, alice, url)
	require.Equal(t, who{Name: "alice", Via: "tailscale", Role: "operator", Device: w.Device}, w)
	require.Contains(t, w.Device, "h2")
	w = identityOf(t, bob, url)
	require.Equal(t, "bob viewer", w.Name+" "+w.Role)
	w = identityOf(t, laptop, url)
	require.Equal(t, "tag:laptop viewer", w.Name+" "+w.Role)

	code, answer := silence(t, alice, url)
	require.Equal(t, http.StatusOK, code, answer)
	for _, other := range []*http.Client{bob, laptop} {
		code, answer = silence(t, other, url)
		require.Equal(t, http.StatusForbidden, code, answer)
		code, _ = send(t, other, http.MethodGet, url+"/api/v1/query?query=1", "")
		require.Equal(t, http.StatusOK, code)
	}
	_, silences := send(t, bob, http.MethodGet, url+"/api/v2/silences", "")
	require.Contains(t, silences, `"createdBy":"alice"`)
	require.Contains(t, s.Log(), "who=alice via=tailscale role=operator")

	// tailscale serve in front of a server that only its machine reaches.
	net.Serve("h1", "8080", "127.0.0.1:9091")
	behind := harness.StartServer(t, harness.ServerOptions{
		Host: net.Host("h1"), Listen: "127.0.0.1:9091", Config: "{}",
		Args: []string{
			"--discovery.tailscale.socket=" + net.Socket("h1"), "--web.external-url=http://h1.tn.test:8080", "--web.viewer=identified", "--web.operator=alice",
			"--web.identity.header=Tailscale-User-Login", "--web.trusted-proxy=127.0.0.1",
		},
	})
	served, forged := "http://"+address+":8080", []string{"Host: h1.tn.test:8080", "Tailscale-User-Login: alice"}
	require.Equal(t, who{Name: "alice", Via: "proxy", Role: "operator"}, identityOf(t, alice, served, forged[0]))
	require.Equal(t, who{Name: "bob", Via: "proxy", Role: "viewer"}, identityOf(t, bob, served, forged...))
	w = identityOf(t, laptop, served, forged...)
	require.Equal(t, " anonymous", w.Name+" "+w.Role, "it sends no name of a tagged device")
	code, answer = silence(t, alice, served, forged[0])
	require.Equal(t, http.StatusOK, code, answer)
	code, answer = silence(t, bob, served, forged...)
	require.Equal(t, http.StatusForbidden, code, answer)
	require.Contains(t, behind.Log(), "who=alice via=proxy role=operator")

	// tailscaled is restarted: connections that begin until then are unknown.
	net.StopDaemon("h1")
	net.StartDaemon("h1")
	harness.Eventually(t, harness.Patience, func() error {
		res, err := net.Host("h2").Client().Get(url + "/api/clanmon/v1/whoami")
		if err != nil {
			return err
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if err == nil && !strings.Contains(string(body), `"role":"operator"`) {
			err = fmt.Errorf("%s", body)
		}
		return err
	})
}

// A real nginx that asks something else whether a request may pass, and tells clanmon who
// sent it; from elsewhere its header counts for nothing.
func TestIdentityBehindNginx(t *testing.T) {
	t.Parallel()
	s := harness.StartServer(t, harness.ServerOptions{Config: "{}", Args: []string{
		"--web.identity.header=Remote-User", "--web.identity.groups-header=Remote-Groups", "--web.trusted-proxy=127.0.0.77",
		"--web.operator=group:admins", "--web.viewer=identified", "--web.external-url=http://mon.example.org/",
	}})
	dir := t.TempDir()
	nginx := harness.Address(t)
	conf := harness.WriteFile(t, dir, "nginx.conf", fmt.Sprintf(`user root; worker_processes 1; daemon off; pid %[1]s/pid; error_log %[1]s/log;
events {}
http {
  access_log off; client_body_temp_path %[1]s/a; proxy_temp_path %[1]s/b; fastcgi_temp_path %[1]s/c; uwsgi_temp_path %[1]s/d; scgi_temp_path %[1]s/e;
  map $http_cookie $login { default ""; "session=alice" alice; "session=bob" bob; }
  map $login $group { default staff; alice "staff,admins"; }
  server {
    listen %[2]s;
    location / {
      auth_request /auth;
      auth_request_set $user $upstream_http_remote_user;
      auth_request_set $groups $upstream_http_remote_groups;
      proxy_set_header Remote-User $user;
      proxy_set_header Remote-Groups $groups;
      proxy_set_header Host $host;
      proxy_set_header X-Forwarded-For $remote_addr;
      proxy_bind 127.0.0.77;
      proxy_pass %[3]s;
    }
    location = /auth { internal; proxy_pass http://unix:%[1]s/auth.sock; proxy_pass_request_body off; proxy_set_header Content-Length ""; }
  }
  server {
    listen unix:%[1]s/auth.sock;
    if ($login = "") { return 401; }
    add_header Remote-User $login;
    add_header Remote-Groups $group;
    location / { return 204; }
  }
}
`, dir, nginx, s.URL))
	harness.Start(t, harness.Command{Path: harness.Tool(t, "/usr/sbin/nginx", "nginx-light"), Args: []string{"-c", conf, "-p", dir, "-e", filepath.Join(dir, "log")}, Dir: dir})
	harness.Eventually(t, harness.Patience, func() error {
		res, err := http.Get("http://" + nginx)
		if err == nil {
			res.Body.Close()
		}
		return err
	})
	front := "http://" + nginx
	c := &http.Client{}

	require.Equal(t, who{Name: "alice", Via: "proxy", Role: "operator"}, identityOf(t, c, front, "Cookie: session=alice"))
	forged := []string{"Cookie: session=bob", "Remote-User: alice", "Remote-Groups: admins"}
	require.Equal(t, who{Name: "bob", Via: "proxy", Role: "viewer"}, identityOf(t, c, front, forged...))
	code, _ := send(t, c, http.MethodGet, front+"/", "")
	require.Equal(t, http.StatusUnauthorized, code)
	code, answer := silence(t, c, front, "Cookie: session=alice")
	require.Equal(t, http.StatusOK, code, answer)
	code, answer = silence(t, c, front, forged...)
	require.Equal(t, http.StatusForbidden, code, answer)
	_, silences := send(t, c, http.MethodGet, front+"/api/v2/silences", "", "Cookie: session=bob")
	require.Contains(t, silences, `"createdBy":"alice"`)

	// Past the proxy.
	w := identityOf(t, c, s.URL, "Remote-User: alice", "Remote-Groups: admins")
	require.Equal(t, "anonymous", w.Role)
	require.Contains(t, w.Unknown, "is believed only from a --web.trusted-proxy")
	code, answer = send(t, c, http.MethodGet, s.URL+"/api/v1/query?query=1", "", "Remote-User: alice")
	require.Equal(t, http.StatusUnauthorized, code, answer)
	code, _ = send(t, c, http.MethodGet, s.URL+"/-/healthy", "")
	require.Equal(t, http.StatusOK, code)
}

// Upstream's programs send tokens.
func TestTokensOfPrograms(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	harness.WriteFile(t, dir, "tokens", fmt.Sprintf("amtool operator %x\npromtool viewer %x\n", sha256.Sum256([]byte("a")), sha256.Sum256([]byte("p"))))
	s := harness.StartServer(t, harness.ServerOptions{Config: "{}", Args: []string{"--web.token-file=" + filepath.Join(dir, "tokens"), "--web.viewer=nobody"}})
	config := func(token string) string {
		harness.WriteFile(t, dir, token, token)
		return harness.WriteFile(t, dir, "http-"+token+".yml", "authorization: {credentials_file: "+filepath.Join(dir, token)+"}\n")
	}
	run := func(program, token string, args ...string) string {
		out, err := exec.Command(oracle.Path(t, program), append(args, "--http.config.file="+config(token))...).CombinedOutput()
		require.NoError(t, err, "%s %v: %s", program, args, out)
		return string(out)
	}
	require.Contains(t, run("promtool", "p", "query", "instant", s.URL, "1+1"), "2 @")
	run("amtool", "a", "--alertmanager.url="+s.URL, "silence", "add", "--author=root", "--comment=c", "machine=x")
	require.Contains(t, run("amtool", "a", "--alertmanager.url="+s.URL, "silence", "query", "-o", "json"), `"createdBy":"amtool"`)
}

// BenchmarkIdentity compares a page and a query of a server that knows who asks, by a proxy's
// header beside tokens and roles, with those of one that does not, and that one with another
// of its kind: what the machine does besides. Figures are ratios of medians of short rounds,
// in alternating order.
func BenchmarkIdentity(b *testing.B) {
	tokens := harness.WriteFile(b, b.TempDir(), "tokens", fmt.Sprintf("ci operator %x\n", sha256.Sum256([]byte("c"))))
	const peers = 3 // without, without, with
	servers := make([]*harness.Server, peers)
	for i := range servers {
		var args []string
		if i == peers-1 {
			args = []string{"--web.identity.header=Remote-User", "--web.trusted-proxy=127.0.0.1", "--web.token-file=" + tokens, "--web.viewer=identified", "--web.operator=group:admins"}
		}
		servers[i] = harness.StartServer(b, harness.ServerOptions{Config: "{}", Args: args})
	}
	c := &http.Client{}
	for name, path := range map[string]string{"page": "/", "query": "/api/v1/query?query=vector(1)"} {
		b.Run(name, func(b *testing.B) {
			rounds := make([][]float64, peers)
			for n := 0; b.Loop(); n++ {
				for i := range peers {
					i = (i + n) % peers
					begin := time.Now()
					for range 20 {
						r, err := http.NewRequest(http.MethodGet, servers[i].URL+path, nil)
						require.NoError(b, err)
						r.Header.Set("Remote-User", "alice")
						res, err := c.Do(r)
						require.NoError(b, err)
						_, err = io.Copy(io.Discard, res.Body)
						require.NoError(b, err)
						res.Body.Close()
						require.Equal(b, http.StatusOK, res.StatusCode)
					}
					rounds[i] = append(rounds[i], time.Since(begin).Seconds()/20)
				}
			}
			median := func(i int) float64 {
				slices.Sort(rounds[i])
				return rounds[i][len(rounds[i])/2]
			}
			b.ReportMetric(median(0)*1e6, "µs/request")
			b.ReportMetric(median(1)/median(0), "control")
			b.ReportMetric(median(2)/median(0), "with-identity")
		})
	}
}
