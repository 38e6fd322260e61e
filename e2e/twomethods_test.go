package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/e2e/harness"
)

// fakeTailscaled is a tailscaled with these peers, for what a real one cannot be
// brought to say.
func fakeTailscaled(t *testing.T, peers ...map[string]any) (socket string) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	require.NoError(t, err)
	byKey := make(map[string]any)
	for i, p := range peers {
		byKey[fmt.Sprintf("nodekey:%02d", i)] = p
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /localapi/v0/status", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]any{
			"Version": "1.102.5", "BackendState": "Running", "Peer": byKey, "MagicDNSSuffix": "tn.test",
			"Self": map[string]any{"ID": "self", "DNSName": "hall.tn.test.", "OS": "linux", "TailscaleIPs": []string{"127.9.0.1"}, "Online": true},
		})
	})
	server := &http.Server{Handler: mux}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { server.Close() })
	return socket
}

// stub is an exporter at an address.
func stub(t *testing.T, address string) *httptest.Server {
	t.Helper()
	l, err := net.Listen("tcp", address)
	require.NoError(t, err)
	s := &httptest.Server{Listener: l, Config: &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "stub 1\n")
	})}}
	s.Start()
	t.Cleanup(s.Close)
	return s
}

// A laptop that is intermittent in the inventory is in the tailnet too, without a
// tag. When its lid is closed nobody is paged; what is gone for good can be
// forgotten; and one bad entry, here or there, costs only itself.
func TestALaptopThatTwoMethodsKnow(t *testing.T) {
	t.Parallel()
	node, redis := stub(t, "127.0.7.71:0"), stub(t, "127.0.7.72:0")
	nodePort, redisPort := node.Listener.Addr().(*net.TCPAddr).Port, redis.Listener.Addr().(*net.TCPAddr).Port
	peer := func(id, name, address string) map[string]any {
		p := map[string]any{"ID": id, "HostName": name, "DNSName": name + ".tn.test.", "OS": "linux", "Online": true}
		if address != "" {
			p["TailscaleIPs"] = []string{address}
		}
		return p
	}
	odd := peer("4", "odd", "127.0.7.74")
	odd["KeyExpiry"] = "1999-12-31T00:00:00Z"
	socket := fakeTailscaled(t, peer("1", "lap", "127.0.7.72"), peer("2", "nowhere", ""), odd)
	dir := t.TempDir()
	inventory := harness.WriteFile(t, dir, "inventory.json", fmt.Sprintf(`{"machines": {
		"lap": {"addresses": ["127.0.7.71"], "availability": "intermittent", "exporters": {"node": %d}},
		"bad name": {"addresses": ["127.0.7.79"], "exporters": {"node": null}}}}`, nodePort))
	opts := harness.ServerOptions{
		Config: "global: {scrape_interval: 1s, evaluation_interval: 1s}", Data: t.TempDir(),
		Args: []string{
			"--discovery.inventory=" + inventory, "--discovery.tailscale.socket=" + socket, "--discovery.static=systemd=attic@127.0.7.75:1",
			"--discovery.tailscale.job=node:9", "--discovery.tailscale.job=redis:" + fmt.Sprint(redisPort), "--discovery.tailscale.job=nginx:9",
		},
	}
	s := harness.StartServer(t, opts)
	s.WaitValue(`up{job="node",machine="lap",availability="intermittent"}`, 1)
	s.WaitValue(`up{job="redis",machine="lap",availability="intermittent"}`, 1)

	var found struct {
		Data struct {
			Methods []struct {
				Method string
				Jobs   []string
			}
			Refused []struct{ Entry, Method, Reason string }
		}
	}
	a := s.Get("/api/clanmon/v1/discovery")
	require.NoError(t, json.Unmarshal([]byte(a.Body), &found), a.Body)
	jobs := make(map[string]string)
	for _, m := range found.Data.Methods {
		jobs[m.Method] = strings.Join(m.Jobs, " ")
	}
	require.Equal(t, map[string]string{"local": "clanmon", "static": "systemd", "inventory": "node systemd nginx postgres redis blackbox", "tailscale": "node nginx redis"}, jobs)
	refused := make(map[string]string)
	for _, r := range found.Data.Refused {
		refused[r.Entry] = r.Reason
	}
	require.Contains(t, refused["bad name"], `machine name "bad name"`)
	require.Contains(t, refused["nowhere.tn.test"], "no address")
	require.Contains(t, refused["odd.tn.test: key expiry"], "before the year 2000")
	require.Len(t, refused, 3)

	// The lid is closed.
	node.Close()
	redis.Close()
	s.WaitValue(`up{job="redis",machine="lap",availability="intermittent"}`, 0)
	s.WaitValue(`max(up{machine="lap"})`, 0)
	s.WaitValue(`max by (machine) (up{machine!="",availability!="intermittent"}) == 0`, 0) // attic, and nothing else
	require.NotContains(t, s.Get("/api/v1/query?query=max+by+(machine)+(up{machine!%3D%22%22,availability!%3D%22intermittent%22})+%3D%3D+0").Body, "lap")

	// Redis is gone for good.
	forget := func(args ...string) string {
		out, _ := exec.Command(harness.Clanmon(t), append([]string{"forget", "--server=" + s.URL}, args...)...).CombinedOutput()
		return string(out)
	}
	require.Contains(t, forget("lap"), fmt.Sprintf("lap:%d (job node) is listed in %s: remove it there", nodePort, inventory))
	require.Contains(t, forget("attic"), "is listed in --discovery.static: remove it there")
	require.Contains(t, forget("nobody"), `no target belongs to a machine "nobody"`)
	require.Equal(t, fmt.Sprintf("forgotten: lap:%d (job redis)\n", redisPort), forget("lap", "--job=redis"))
	gone := func() error {
		if a := s.Get("/api/v1/targets?state=active").Body; strings.Contains(a, `"job":"redis"`) {
			return fmt.Errorf("targets: %s", a)
		}
		return nil
	}
	harness.Eventually(t, harness.Patience, gone)
	s.Kill()
	s = harness.StartServer(t, opts)
	s.WaitValue(`up{job="node",machine="lap"}`, 0)
	require.NoError(t, gone(), "after a restart")
	stub(t, fmt.Sprintf("127.0.7.72:%d", redisPort))
	s.WaitValue(`up{job="redis",machine="lap",availability="intermittent"}`, 1)
}
