package api

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	upstream "github.com/prometheus/prometheus/web"
	"github.com/stretchr/testify/require"
)

// The table of docs/security.md, row by row.
func TestWhoMayChangeSomething(t *testing.T) {
	here := network{
		prefixes: []netip.Prefix{
			netip.MustParsePrefix("127.0.0.1/8"), netip.MustParsePrefix("192.168.1.5/24"), netip.MustParsePrefix("172.17.0.2/16"),
			netip.MustParsePrefix("100.101.1.1/32"), netip.MustParsePrefix("2001:db8:1::5/64"),
		},
		gateways: []netip.Addr{netip.MustParseAddr("192.168.1.1"), netip.MustParseAddr("172.17.0.1")},
	}
	passwords := filepath.Join(t.TempDir(), "web.yml")
	require.NoError(t, os.WriteFile(passwords, []byte("basic_auth_users: {a: x}\n"), 0o600))
	plain := filepath.Join(t.TempDir(), "tls.yml")
	require.NoError(t, os.WriteFile(plain, []byte("tls_server_config: {cert_file: c, key_file: k}\n"), 0o600))
	certificate := &tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{}}}

	type from struct {
		remote, local string
		header        string
		tls           *tls.ConnectionState
	}
	self, itself, neighbour := from{remote: "127.0.0.1:1"}, from{remote: "192.168.1.5:1"}, from{remote: "192.168.1.77:1"}
	clients := []struct {
		name string
		from
		open, auto, identified, withPassword string // for each mode: yes, or what the refusal says
	}{
		{"this machine", self, "yes", "yes", "asks for none", "yes"},
		{"this machine, own address", itself, "yes", "yes", "asks for none", "yes"},
		{"a neighbour", neighbour, "yes", "yes", "asks for none", "yes"},
		{"a neighbour by IPv6", from{remote: "[2001:db8:1::77]:1"}, "yes", "yes", "asks for none", "yes"},
		{"a peer of the tailnet", from{remote: "100.70.0.9:1", local: "100.101.1.1:9090"}, "yes", "yes", "asks for none", "yes"},
		{"such an address elsewhere", from{remote: "100.70.0.9:1", local: "192.168.1.5:9090"}, "yes", "on no network", "asks for none", "yes"},
		{"another network", from{remote: "10.9.9.9:1"}, "yes", "on no network", "asks for none", "yes"},
		{"the internet", from{remote: "203.0.113.9:1"}, "yes", "on no network", "asks for none", "yes"},
		{"through the router", from{remote: "192.168.1.1:1"}, "yes", "on no network", "asks for none", "yes"},
		{"through a container's bridge", from{remote: "172.17.0.1:1"}, "yes", "on no network", "asks for none", "yes"},
		{"through a proxy here", from{remote: "127.0.0.1:1", header: "X-Forwarded-For"}, "yes", "through a proxy", "asks for none", "yes"},
		{"through another proxy", from{remote: "192.168.1.77:1", header: "Via"}, "yes", "through a proxy", "asks for none", "yes"},
		{"with a client certificate", from{remote: "203.0.113.9:1", tls: certificate}, "yes", "yes", "yes", "yes"},
	}
	for _, c := range clients {
		for _, mode := range []struct{ writes, file, want string }{
			{WritesOpen, "", c.open}, {WritesAuto, "", c.auto}, {WritesAuto, plain, c.auto}, {WritesIdentified, "", c.identified},
			{WritesAuto, passwords, c.withPassword}, {WritesIdentified, passwords, c.withPassword}, {WritesOff, "", "are off"}, {WritesOff, passwords, "are off"},
			{WritesAuto, "missing.yml", "cannot be read"},
		} {
			a := &API{deps: Deps{Options: upstream.Options{RoutePrefix: "/mon", ExternalURL: &url.URL{}}, Writes: mode.writes, WebConfigFile: mode.file, network: func() network { return here }}}
			h := a.writable(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "reached") }))
			for _, path := range []string{"/mon/api/v2/alerts", "/mon/api/v2/silence/1", "/mon/api/clanmon/v1/receivers/test", "/mon/api/clanmon/v1/machines/a"} {
				for _, method := range []string{http.MethodPost, http.MethodDelete, http.MethodPut, http.MethodGet} {
					r := httptest.NewRequest(method, path, strings.NewReader("{}"))
					r.RemoteAddr, r.TLS = c.remote, c.tls
					if c.header != "" {
						r.Header.Set(c.header, "1.2.3.4")
					}
					if c.local != "" {
						local, err := net.ResolveTCPAddr("tcp", c.local)
						require.NoError(t, err)
						r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, net.Addr(local)))
					}
					w := httptest.NewRecorder()
					h.ServeHTTP(w, r)
					if mode.want == "yes" || method == http.MethodGet {
						require.Equal(t, "reached", w.Body.String(), "%s, %s, %s %s", c.name, mode.writes, method, path)
						continue
					}
					require.Equal(t, http.StatusForbidden, w.Code, "%s, %s, %s %s", c.name, mode.writes, method, path)
					require.Contains(t, w.Body.String(), mode.want, "%s, %s", c.name, mode.writes)
				}
			}
		}
	}
}

// The routes of the kernel, as it writes them.
func TestGateways(t *testing.T) {
	a, ok := gateway4(strings.Fields("eth0	00000000	0101A8C0	0003	0	0	100	00000000	0	0	0"))
	require.True(t, ok)
	require.Equal(t, "192.168.1.1", a.String())
	_, ok = gateway4(strings.Fields("eth0	0001A8C0	00000000	0001	0	0	100	00FFFFFF	0	0	0"))
	require.False(t, ok)
	a, ok = gateway6(strings.Fields("00000000000000000000000000000000 00 00000000000000000000000000000000 00 fe800000000000000000000000000001 00000400 00000001 00000000 00000003 eth0"))
	require.True(t, ok)
	require.Equal(t, "fe80::1", a.String())
	_, ok = gateway6(strings.Fields("fe800000000000000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000001 eth0"))
	require.False(t, ok)
	require.NotEmpty(t, interfaces().prefixes)
}
