package api

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/promslog"
	upstream "github.com/prometheus/prometheus/web"
	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/server/internal/caller"
)

// known is an Identity that knows everybody as caller.
type known struct {
	caller             caller.Caller
	byPassword, closed bool
	err                error
	login              http.Handler
}

func (k known) Identify(*http.Request) caller.Caller                { return k.caller }
func (k known) HasToken(*http.Request) bool                         { return false }
func (k known) ByPassword() (bool, error)                           { return k.byPassword, k.err }
func (k known) Open() bool                                          { return !k.closed }
func (k known) LoginHandler() http.Handler                          { return k.login }
func (k known) SendToLogin(http.ResponseWriter, *http.Request) bool { return false }

func newChanges() *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "changes"}, []string{"via", "role"})
}

// The table of docs/security.md, row by row.
func TestWhoMayChangeSomething(t *testing.T) {
	here := network{
		prefixes: []netip.Prefix{
			netip.MustParsePrefix("127.0.0.1/8"), netip.MustParsePrefix("192.168.1.5/24"), netip.MustParsePrefix("172.17.0.2/16"),
			netip.MustParsePrefix("100.101.1.1/32"), netip.MustParsePrefix("2001:db8:1::5/64"),
		},
		gateways: []netip.Addr{netip.MustParseAddr("192.168.1.1"), netip.MustParseAddr("172.17.0.1")},
	}
	// What --web.config.file asks for: nothing, or of everybody a password; or it cannot be read.
	none, passwords, missing := known{}, known{byPassword: true, caller: caller.Caller{Name: "a", Via: caller.ViaPassword, Configured: true, Role: caller.Operator}}, known{err: errors.New("missing.yml: no such file")}
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
		profiles                             bool   // without a password
	}{
		{"this machine", self, "yes", "yes", "does not configure it", "yes", true},
		{"this machine, own address", itself, "yes", "yes", "does not configure it", "yes", true},
		{"a neighbour", neighbour, "yes", "yes", "does not configure it", "yes", false},
		{"a neighbour by IPv6", from{remote: "[2001:db8:1::77]:1"}, "yes", "yes", "does not configure it", "yes", false},
		{"a peer of the tailnet", from{remote: "100.70.0.9:1", local: "100.101.1.1:9090"}, "yes", "yes", "does not configure it", "yes", false},
		{"such an address elsewhere", from{remote: "100.70.0.9:1", local: "192.168.1.5:9090"}, "yes", "not in a network", "does not configure it", "yes", false},
		{"another network", from{remote: "10.9.9.9:1"}, "yes", "not in a network", "does not configure it", "yes", false},
		{"the internet", from{remote: "203.0.113.9:1"}, "yes", "not in a network", "does not configure it", "yes", false},
		{"through the router", from{remote: "192.168.1.1:1"}, "yes", "not in a network", "does not configure it", "yes", false},
		{"through a container's bridge", from{remote: "172.17.0.1:1"}, "yes", "not in a network", "does not configure it", "yes", false},
		{"through a proxy here", from{remote: "127.0.0.1:1", header: "X-Forwarded-For"}, "yes", "through a proxy", "does not configure it", "yes", false},
		{"through another proxy", from{remote: "192.168.1.77:1", header: "Via"}, "yes", "through a proxy", "does not configure it", "yes", false},
		{"with a client certificate", from{remote: "203.0.113.9:1", tls: certificate}, "yes", "yes", "yes", "yes", true},
	}
	for _, c := range clients {
		for _, mode := range []struct {
			writes string
			who    known
			want   string
		}{
			{WritesOpen, none, c.open}, {WritesAuto, none, c.auto}, {WritesIdentified, none, c.identified},
			{WritesAuto, passwords, c.withPassword}, {WritesIdentified, passwords, c.withPassword}, {WritesOff, none, "are off"}, {WritesOff, passwords, "are off"},
			{WritesAuto, missing, "cannot be read"},
		} {
			a := &API{deps: Deps{Options: upstream.Options{RoutePrefix: "/mon", ExternalURL: &url.URL{}}, Writes: mode.writes, Identity: mode.who, Logger: promslog.NewNopLogger(), network: func() network { return here }}, changes: newChanges()}
			h := a.roles(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "reached") }))
			ask := func(h http.Handler, method, path string) *httptest.ResponseRecorder {
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
				return w
			}
			reached := http.StatusForbidden
			if c.profiles || mode.who.byPassword {
				reached = http.StatusOK
			}
			for _, path := range []string{"/mon/debug/pprof/profile", "/mon/debug/pprof/", "/mon/debug"} {
				require.Equal(t, reached, ask(a.roles(a.debuggable(h)), http.MethodGet, path).Code, "%s, %s, %v %s", c.name, mode.writes, mode.who, path)
			}
			require.Equal(t, http.StatusOK, ask(a.roles(a.debuggable(h)), http.MethodGet, "/mon/metrics").Code)
			for _, path := range []string{"/mon/api/v2/alerts", "/mon/api/v2/silence/1", "/mon/api/clanmon/v1/receivers/test", "/mon/api/clanmon/v1/machines/a"} {
				for _, method := range []string{http.MethodPost, http.MethodDelete, http.MethodPut, http.MethodGet} {
					w := ask(h, method, path)
					if mode.want == "yes" || method == http.MethodGet {
						require.Equal(t, "reached", w.Body.String(), "%s, %s, %s %s", c.name, mode.writes, method, path)
						continue
					}
					require.Equal(t, http.StatusForbidden, w.Code, "%s, %s, %s %s", c.name, mode.writes, method, path)
					require.Contains(t, w.Body.String(), mode.want, "%s, %s", c.name, mode.writes)
				}
			}
			// What a flag has to turn on.
			for _, path := range []string{"/mon/-/quit", "/mon/-/reload", "/mon/api/v1/admin/tsdb/delete_series", "/mon/api/v1/write", "/mon/api/v1/otlp/v1/metrics"} {
				code := http.StatusOK
				if mode.writes == WritesIdentified && mode.want != "yes" {
					code = http.StatusForbidden
				}
				require.Equal(t, code, ask(h, http.MethodPost, path).Code, "%s, %s %s", c.name, mode.writes, path)
				require.Equal(t, http.StatusOK, ask(h, http.MethodGet, path).Code)
			}
			require.Equal(t, http.StatusOK, ask(h, http.MethodPost, "/mon/api/v1/query").Code, "it changes nothing")
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
