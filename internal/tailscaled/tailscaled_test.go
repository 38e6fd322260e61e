package tailscaled

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// Tests run as root, whom no socket refuses, so the error is made here.
func TestNoPermission(t *testing.T) {
	refused := &url.Error{Op: "Get", URL: "http://x", Err: &net.OpError{Op: "dial", Net: "unix", Err: os.NewSyscallError("connect", syscall.EACCES)}}
	err := New("/run/s", "--flag").explain(refused)
	require.ErrorContains(t, err, "permission denied for tailscaled at /run/s: run clanmon as a user who may open the socket")
}

// serve answers whois on a socket and returns a client for it.
func serve(t *testing.T, answer http.HandlerFunc) *Client {
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	require.NoError(t, err)
	s := &httptest.Server{Listener: l, Config: &http.Server{Handler: answer}}
	s.Start()
	t.Cleanup(s.Close)
	return New(socket, "--flag")
}

func TestWhoIs(t *testing.T) {
	peer := netip.MustParseAddrPort("100.64.0.2:4711")
	for name, c := range map[string]struct {
		status int
		body   string
		want   Who
		err    string
	}{
		"a user": {200, `{"Node": {"Name": "laptop.tn.ts.net.", "Addresses": ["100.64.0.2/32", "fd7a:115c:a1e0::2/128"], "User": 7, "Hostinfo": {}}, "UserProfile": {"LoginName": "alice@example.com"},
			"CapMap": {"clanmon.dev/cap/role": [{"role": "operator"}], "x": null}}`,
			Who{Login: "alice@example.com", Device: "laptop.tn.ts.net", Capabilities: map[string][]json.RawMessage{"clanmon.dev/cap/role": {json.RawMessage(`{"role": "operator"}`)}, "x": nil}}, ""},
		"a tagged device":                    {200, `{"Node": {"Name": "ci", "Addresses": ["100.64.0.2/32"], "Tags": ["tag:ci"]}, "UserProfile": {"LoginName": "tagged-devices"}}`, Who{Tags: []string{"tag:ci"}, Device: "ci"}, ""},
		"one to whom this device is shared":  {200, `{"Node": {"Name": "b", "Addresses": ["100.64.0.2/32"], "User": 9, "Hostinfo": {"ShareeNode": true}}, "UserProfile": {"LoginName": "bob@other.org"}}`, Who{Login: "bob@other.org", Device: "b", Shared: true}, ""},
		"a device shared by another tailnet": {200, `{"Node": {"Name": "b", "Addresses": ["100.64.0.2/32"], "User": 9, "Sharer": 10}, "UserProfile": {"LoginName": "bob@other.org"}}`, Who{Login: "bob@other.org", Device: "b", Shared: true}, ""},
		"behind a subnet router":             {404, "no match for IP:port", Who{}, "not the address of a device"},
		"only routed by the device":          {200, `{"Node": {"Name": "r", "Addresses": ["100.64.0.9/32", "100.64.0.0/24"]}}`, Who{}, "not the address of a device"},
		"refused":                            {403, "whois access denied", Who{}, "403 Forbidden"},
		"no JSON":                            {200, "hello", Who{}, "its response to whois is invalid"},
	} {
		t.Run(name, func(t *testing.T) {
			client := serve(t, func(w http.ResponseWriter, r *http.Request) {
				require.Equal(t, "/localapi/v0/whois", r.URL.Path)
				require.Equal(t, peer.String(), r.URL.Query().Get("addr"))
				w.WriteHeader(c.status)
				io.WriteString(w, c.body)
			})
			// A socket that listens on IPv6 too shows IPv4 addresses so.
			who, err := client.WhoIs(t.Context(), netip.MustParseAddrPort("[::ffff:100.64.0.2]:4711"))
			if c.err != "" {
				require.ErrorContains(t, err, c.err)
				return
			}
			require.NoError(t, err)
			require.Equal(t, c.want, who)
		})
	}
}

func TestWhoIsEndsWithItsContext(t *testing.T) {
	client := serve(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := client.WhoIs(ctx, netip.MustParseAddrPort("100.64.0.2:1"))
	require.ErrorIs(t, err, context.Canceled)
}

func TestIsPeer(t *testing.T) {
	for _, c := range []struct {
		remote, local string
		want          bool
	}{
		{"100.64.0.2", "100.101.1.1", true},
		{"::ffff:100.64.0.2", "100.101.1.1", true},
		{"fd7a:115c:a1e0::2", "fd7a:115c:a1e0::1", true},
		{"100.64.0.2", "192.168.1.5", false}, // a carrier's network
		{"100.64.0.2", "fd7a:115c:a1e0::1", false},
		{"192.168.1.77", "100.101.1.1", false}, // behind a subnet router
		{"127.0.0.1", "127.0.0.1", false},
	} {
		require.Equal(t, c.want, IsPeer(netip.MustParseAddr(c.remote), netip.MustParseAddr(c.local)), "%s to %s", c.remote, c.local)
	}
	require.False(t, IsPeer(netip.Addr{}, netip.Addr{}))
}
