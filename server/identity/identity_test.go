package identity

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/promslog"
	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/internal/tailscaled"
	"github.com/clanmon/clanmon/server/internal/caller"
)

// network is a tailscaled that knows these peers.
type network map[string]tailscaled.Who

func (n network) WhoIs(_ context.Context, address netip.AddrPort) (tailscaled.Who, error) {
	if who, ok := n[address.Addr().String()]; ok {
		return who, nil
	}
	return tailscaled.Who{}, tailscaled.ErrNoPeer
}

var peers = network{
	"100.64.0.1": {Login: "alice@example.com", Device: "laptop.tn"},
	"100.64.0.2": {Login: "bob@example.com"},
	"100.64.0.3": {Tags: []string{"tag:ci", "tag:build"}, Device: "runner.tn"},
	"100.64.0.4": {Login: "eve@other.org", Shared: true},
	"100.64.0.5": {Login: "carol@example.com", Capabilities: map[string][]json.RawMessage{Capability: {json.RawMessage(`{"role":"operator"}`)}}},
	"100.64.0.6": {Login: "dave@example.com", Capabilities: map[string][]json.RawMessage{Capability: {json.RawMessage(`"operator"`), json.RawMessage(`{"role":"root"}`)}}},
	"100.64.0.7": {Login: "tag:ci"}, // somebody's idea of a name
}

func base() Options {
	return Options{ExternalURL: &url.URL{Scheme: "http", Host: "h"}, RoutePrefix: "/", Logger: promslog.NewNopLogger(), Registerer: prometheus.NewRegistry()}
}

func newIdentity(t *testing.T, o Options) *Identity {
	t.Helper()
	i, err := New(o)
	require.NoError(t, err)
	i.tailnet.api = peers
	return i
}

// request comes from an address, with headers "Name: value".
func request(from string, headers ...string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.RemoteAddr = from + ":4711"
	if strings.Contains(from, ":") {
		r.RemoteAddr = "[" + from + "]:4711"
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Add(name, value)
	}
	local := net.Addr(&net.TCPAddr{IP: net.ParseIP("100.64.0.100"), Port: 9090})
	return r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, local))
}

func write(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	return file
}

func sum(token string) string {
	s := sha256.Sum256([]byte(token))
	return hex.EncodeToString(s[:])
}

// Who has which role, by what is configured.
func TestRoles(t *testing.T) {
	tokens := write(t, fmt.Sprintf("# programs\ngrafana viewer %s\n\nci operator %s\n", sum("g"), sum("c")))
	passwords := write(t, "basic_auth_users: {alice: x}\n")
	withPassword := request("10.0.0.9")
	withPassword.SetBasicAuth("alice", "verified before")
	otherPassword := request("10.0.0.9")
	otherPassword.SetBasicAuth("mallory", "not verified: the file does not know them")
	certificate := request("10.0.0.9")
	certificate.TLS = &tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{{Subject: pkix.Name{CommonName: "alice"}}}}}
	const nobody = ` via none, anonymous`
	proxied := func(h ...string) *http.Request { return request("10.0.0.1", h...) }
	for name, c := range map[string]struct {
		change func(*Options)
		want   map[*http.Request]string // "NAME via VIA, ROLE"; with "names only" where roles do not apply
	}{
		"nothing": {func(*Options) {}, map[*http.Request]string{
			request("100.64.0.1"):                       "alice@example.com via tailscale, names only",
			request("100.64.0.3"):                       "tag:ci via tailscale, names only",
			request("100.64.0.6"):                       "dave@example.com via tailscale, names only",
			request("100.64.0.7"):                       " via none, names only",
			request("100.64.9.9"):                       " via none, names only", // routed by a subnet router
			request("10.0.0.9"):                         " via none, names only",
			request("10.0.0.9", "Remote-User: alice"):   " via none, names only",
			request("10.0.0.9", "Authorization: Basic"): " via none, names only",
			withPassword:                                " via none, names only", // nobody has verified it
		}},
		"an operator": {func(o *Options) { o.Operators = []string{"Alice@Example.com"} }, map[*http.Request]string{
			request("100.64.0.1"): "alice@example.com via tailscale, operator",
			request("100.64.0.2"): "bob@example.com via tailscale, viewer",
			request("100.64.0.3"): "tag:ci via tailscale, viewer",
			request("100.64.0.4"): "eve@other.org via tailscale, viewer",
			request("10.0.0.9"):   " via none, viewer",
		}},
		"a tag": {func(o *Options) { o.Operators = []string{"tag:build"} }, map[*http.Request]string{
			request("100.64.0.3"): "tag:ci via tailscale, operator",
			request("100.64.0.1"): "alice@example.com via tailscale, viewer",
		}},
		"a tag that somebody is called": {func(o *Options) { o.Operators = []string{"tag:ci"} }, map[*http.Request]string{
			request("100.64.0.3"): "tag:ci via tailscale, operator",
			request("100.64.0.7"): " via none, viewer",
		}},
		"everybody in the tailnet": {func(o *Options) { o.Operators, o.Viewers = []string{Identified}, []string{Identified} }, map[*http.Request]string{
			request("100.64.0.2"): "bob@example.com via tailscale, operator",
			request("100.64.0.3"): "tag:ci via tailscale, viewer",
			request("100.64.0.4"): "eve@other.org via tailscale, viewer",
			request("10.0.0.9"):   nobody,
		}},
		"one who is shared in, by name": {func(o *Options) { o.Operators = []string{"eve@other.org"} }, map[*http.Request]string{
			request("100.64.0.4"): "eve@other.org via tailscale, operator",
		}},
		"some viewers": {func(o *Options) { o.Viewers = []string{"bob@example.com", "group:staff", "tag:ci"} }, map[*http.Request]string{
			request("100.64.0.1"): "alice@example.com via tailscale, anonymous",
			request("100.64.0.2"): "bob@example.com via tailscale, viewer",
			request("100.64.0.3"): "tag:ci via tailscale, viewer",
			request("100.64.0.5"): "carol@example.com via tailscale, operator", // by the tailnet's policy
			request("10.0.0.9"):   nobody,
		}},
		"tokens": {func(o *Options) { o.TokenFiles = []string{tokens}; o.Viewers = []string{"nobody"} }, map[*http.Request]string{
			request("10.0.0.9", "Authorization: Bearer g"):   "grafana via token, viewer",
			request("10.0.0.9", "Authorization: bearer  c"):  "ci via token, operator",
			request("10.0.0.9", "Authorization: Bearer x"):   nobody,
			request("10.0.0.9", "Authorization: Bearer"):     nobody,
			request("10.0.0.9", "Authorization: Bearer "):    nobody,
			request("100.64.0.2", "Authorization: Bearer c"): "ci via token, operator",
			request("100.64.0.2", "Authorization: Bearer x"): "bob@example.com via tailscale, anonymous",
		}},
		"tokens, and operators of their names": {func(o *Options) { o.TokenFiles = []string{tokens}; o.Operators = []string{Identified, "grafana"} }, map[*http.Request]string{
			request("10.0.0.9", "Authorization: Bearer g"): "grafana via token, viewer",
			request("10.0.0.9", "Authorization: Bearer c"): "ci via token, operator",
		}},
		"passwords": {func(o *Options) { o.WebConfigFile = passwords }, map[*http.Request]string{
			withPassword:  "alice via password, operator",
			otherPassword: " via none, viewer",
			certificate:   "alice via certificate, operator",
		}},
		"passwords, and an operator": {func(o *Options) { o.WebConfigFile, o.Operators = passwords, []string{"bob"} }, map[*http.Request]string{
			withPassword: "alice via password, viewer",
			certificate:  "alice via certificate, viewer",
		}},
		"a proxy": {func(o *Options) {
			o.Header, o.GroupsHeader, o.TrustedProxies = "remote-user", "Remote-Groups", []string{"10.0.0.0/29", "fd00::1", Unix}
			o.Operators, o.Viewers = []string{"alice", "group:admins"}, []string{Identified}
		}, map[*http.Request]string{
			proxied("Remote-User: alice"):                                              "alice via proxy, operator",
			proxied("Remote-User: bob"):                                                "bob via proxy, viewer",
			proxied("Remote-User: bob", "Remote-Groups: staff, admins"):                "bob via proxy, operator",
			proxied("Remote-User: group:admins"):                                       nobody,
			proxied("Remote-User: tag:x"):                                              nobody,
			proxied("Remote-User: admins"):                                             "admins via proxy, viewer",
			proxied("Remote-User: =?utf-8?q?J=C3=BCrgen?="):                            "Jürgen via proxy, viewer",
			proxied("Remote-User: "):                                                   nobody,
			proxied():                                                                  nobody,
			proxied("Remote-User: bob", "Remote-User: alice"):                          nobody,
			proxied("Remote-User: alice", "Remote-Groups: a", "Remote-Groups: admin"):  nobody,
			proxied("Remote-User: " + strings.Repeat("a", 8<<10)):                      nobody,
			proxied("Remote-User: bob", "Remote-Groups: "+strings.Repeat("a,", 4<<10)): nobody,
			proxied("Remote-User: a\xffb"):                                             nobody,
			request("fd00::1", "Remote-User: alice"):                                   "alice via proxy, operator",
			request("::ffff:10.0.0.1", "Remote-User: alice"):                           "alice via proxy, operator",
			request("10.0.0.9", "Remote-User: alice"):                                  nobody,
			request("100.64.0.2", "Remote-User: alice"):                                "bob@example.com via tailscale, viewer",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			o := base()
			c.change(&o)
			i := newIdentity(t, o)
			for r, want := range c.want {
				who := i.Identify(r)
				role := who.Role.String()
				if !who.Configured {
					role = "names only"
				}
				require.Equal(t, strings.TrimSpace(want), strings.TrimSpace(fmt.Sprintf("%s via %s, %s", who.Name, who.Via, role)), "%s %.200v", r.RemoteAddr, r.Header)
				if i.proxy != nil {
					for _, header := range []string{"Remote-User", "Remote-Groups"} {
						require.Empty(t, r.Header.Values(header), "nobody behind it can believe it")
					}
				}
			}
			if i.proxy != nil {
				for reason, n := range map[string]float64{untrusted: 2, repeated: 2, tooLong: 2, invalid: 3} {
					require.Equal(t, n, testutil.ToFloat64(i.removed.WithLabelValues(reason)), reason)
				}
			}
		})
	}
}

func TestUnixSocketOfAProxy(t *testing.T) {
	o := base()
	o.Header, o.TrustedProxies = "Remote-User", []string{Unix}
	r := request("x", "Remote-User: alice")
	r.RemoteAddr = "@"
	require.Equal(t, "alice", newIdentity(t, o).Identify(r).Name)
	o.Registerer = prometheus.NewRegistry()
	r = request("x", "Remote-User: alice")
	r.RemoteAddr = "somewhere:else"
	require.Empty(t, newIdentity(t, o).Identify(r).Name, "an address that is not one is no unix socket")
	o.TrustedProxies, o.Registerer = []string{"127.0.0.1"}, prometheus.NewRegistry()
	r = request("x", "Remote-User: alice")
	r.RemoteAddr = "@"
	require.Empty(t, newIdentity(t, o).Identify(r).Name)
}

// Where several sources know somebody, the order of docs/security.md decides; a proxy's own
// name in the tailnet is nobody's.
func TestWhichSourceCounts(t *testing.T) {
	o := base()
	o.WebConfigFile = write(t, "basic_auth_users: {carol: x}")
	o.Header, o.TrustedProxies = "Remote-User", []string{"100.64.0.2"}
	i := newIdentity(t, o)
	behind := request("100.64.0.2", "Remote-User: alice")
	behind.SetBasicAuth("carol", "verified")
	require.Equal(t, "alice", i.Identify(behind).Name)
	who := i.Identify(request("100.64.0.2"))
	require.Empty(t, who.Name)
	require.Equal(t, caller.ViaNothing, who.Via)
	for _, name := range []string{"tag:admin", "group:admins"} { // which somebody had an authority sign
		r := request("10.0.0.9")
		r.TLS = &tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{{Subject: pkix.Name{CommonName: name}}}}}
		require.Empty(t, i.Identify(r).Name, name)
	}
}

// Who only has an address of that kind, or connects to another one of this machine, is not
// looked up.
func TestOnlyPeersAreLookedUp(t *testing.T) {
	i := newIdentity(t, base())
	d := &daemon{answer: func(context.Context) (tailscaled.Who, error) { return tailscaled.Who{Login: "alice"}, nil }}
	i.tailnet.api = d
	for _, r := range []*http.Request{request("10.0.0.9"), request("127.0.0.1"), request("100.64.0.1").WithContext(t.Context())} {
		require.Empty(t, i.Identify(r).Name, r.RemoteAddr)
	}
	require.Zero(t, d.asked.Load())
	require.Equal(t, "alice", i.Identify(request("100.64.0.1")).Name)
}

// Of several grants the highest counts, in any order.
func TestTheHighestGrantCounts(t *testing.T) {
	for _, roles := range [][]string{{"operator", "viewer"}, {"viewer", "operator"}} {
		var values []json.RawMessage
		for _, role := range roles {
			values = append(values, json.RawMessage(`{"role":"`+role+`"}`))
		}
		i := newIdentity(t, base())
		i.tailnet.api = network{"100.64.0.1": {Login: "alice", Capabilities: map[string][]json.RawMessage{Capability: values}}}
		require.Equal(t, caller.Operator, i.Identify(request("100.64.0.1")).Role, roles)
	}
}

// A group that nothing tells of is a misunderstanding.
func TestGroupsThatNobodyIsIn(t *testing.T) {
	for want, change := range map[string]func(*Options){
		"group:a group:b": func(o *Options) {
			o.Viewers, o.Header, o.TrustedProxies = []string{"group:b", "tag:c", "d"}, "Remote-User", []string{"10.0.0.1"}
		},
		"": func(o *Options) { outside(o); o.Dir = t.TempDir() },
		" ": func(o *Options) {
			o.Header, o.GroupsHeader, o.TrustedProxies = "Remote-User", "Remote-Groups", []string{"10.0.0.1"}
		},
	} {
		log := new(strings.Builder)
		o := base()
		o.Operators, o.Logger = []string{"group:a"}, slog.New(slog.NewTextHandler(log, nil))
		change(&o)
		newIdentity(t, o)
		require.Equal(t, strings.TrimSpace(want) != "", strings.Contains(log.String(), "Nobody is in a group"), want)
		require.Contains(t, log.String(), strings.TrimSpace(want))
	}
}

// The first grant that is seen says that somebody has configured roles, also after a restart.
func TestAGrantConfiguresRoles(t *testing.T) {
	o := base()
	o.Dir = t.TempDir()
	i := newIdentity(t, o)
	require.False(t, i.Identify(request("100.64.0.6")).Configured, "what is not a role grants nothing")
	require.False(t, i.Identify(request("100.64.0.1")).Configured)
	require.Equal(t, caller.Operator, i.Identify(request("100.64.0.5")).Role)
	require.True(t, i.Identify(request("100.64.0.1")).Configured)
	o.Registerer = prometheus.NewRegistry()
	require.True(t, newIdentity(t, o).Configured())
}

// What the disk refused is saved when tailscaled is asked again.
func TestAGrantIsSavedLater(t *testing.T) {
	log := new(strings.Builder)
	o := base()
	o.Dir, o.Logger = filepath.Join(t.TempDir(), "data"), slog.New(slog.NewTextHandler(log, nil))
	i := newIdentity(t, o)
	connect := func(port int) {
		r := request("100.64.0.5")
		r.RemoteAddr = fmt.Sprintf("100.64.0.5:%d", port)
		require.Equal(t, caller.Operator, i.Identify(r).Role)
	}
	connect(1)
	connect(2)
	require.Equal(t, 1, strings.Count(log.String(), "Could not save that the tailnet's policy grants roles"), log)
	require.NoError(t, os.Mkdir(o.Dir, 0o700))
	connect(3)
	o.Registerer = prometheus.NewRegistry()
	require.True(t, newIdentity(t, o).Configured())
}

func TestOptionsThatAreWrong(t *testing.T) {
	for want, change := range map[string]func(*Options){
		"--web.operator \"\"":                          func(o *Options) { o.Operators = []string{""} },
		"--web.operator \"tag:\": has no name":         func(o *Options) { o.Operators = []string{"tag:"} },
		"use --web.writes=open":                        func(o *Options) { o.Operators = []string{"*"} },
		"--web.viewer \" a\"":                          func(o *Options) { o.Viewers = []string{" a"} },
		"need --web.identity.header":                   func(o *Options) { o.TrustedProxies = []string{"10.0.0.1"} },
		"needs --web.trusted-proxy":                    func(o *Options) { o.Header = "Remote-User" },
		"--web.trusted-proxy \"proxy\": must be":       func(o *Options) { o.Header, o.TrustedProxies = "Remote-User", []string{"proxy"} },
		"contains every address":                       func(o *Options) { o.Header, o.TrustedProxies = "Remote-User", []string{"0.0.0.0/0"} },
		"does not contain a user's name":               func(o *Options) { o.Header, o.TrustedProxies = "cookie", []string{"10.0.0.1"} },
		"is the header of the name too":                func(o *Options) { o.Header, o.GroupsHeader, o.TrustedProxies = "a", "A", []string{"10.0.0.1"} },
		"no such file":                                 func(o *Options) { o.TokenFiles = []string{"missing"} },
		"line 2: 2 words":                              func(o *Options) { o.TokenFiles = []string{write(t, "#\nci secret\n")} },
		"line 1: the second word":                      func(o *Options) { o.TokenFiles = []string{write(t, "ci admin "+sum("x"))} },
		"line 1: the third word must be":               func(o *Options) { o.TokenFiles = []string{write(t, "ci viewer secret")} },
		"SHA-256 of an empty token":                    func(o *Options) { o.TokenFiles = []string{write(t, "ci viewer "+sum(""))} },
		"line 2: the same token":                       func(o *Options) { o.TokenFiles = []string{write(t, "a viewer "+sum("x")+"\nb operator "+sum("x"))} },
		"needs --web.viewer":                           func(o *Options) { o.OIDC = OIDCOptions{Issuer: "https://i", ClientID: "c"} },
		"needs https":                                  func(o *Options) { o.OIDC, o.Viewers = OIDCOptions{Issuer: "https://i", ClientID: "c"}, []string{"*"} },
		"needs --web.oidc.client-id":                   func(o *Options) { o.OIDC, o.Viewers = OIDCOptions{Issuer: "https://i"}, []string{"*"} },
		"needs --web.oidc.issuer":                      func(o *Options) { o.OIDC, o.Viewers = OIDCOptions{ClientID: "c"}, []string{"*"} },
		"--web.oidc.issuer \"http://i\": must be":      func(o *Options) { outside(o); o.OIDC.Issuer = "http://i" },
		"--web.oidc.client-secret-file: open missing:": func(o *Options) { outside(o); o.OIDC.ClientSecretFile = "missing" },
		"is empty": func(o *Options) { outside(o); o.OIDC.ClientSecretFile = write(t, "\n") },
		"has 3 bytes": func(o *Options) {
			outside(o)
			o.Dir = t.TempDir()
			require.NoError(t, os.WriteFile(filepath.Join(o.Dir, keyFile), []byte("key"), 0o600))
		},
	} {
		o := base()
		change(&o)
		_, err := New(o)
		require.ErrorContains(t, err, want)
		require.NotContains(t, err.Error(), "secret\"", "a token that somebody wrote in place of its sum")
	}
}

func outside(o *Options) {
	o.ExternalURL, o.Viewers = &url.URL{Scheme: "https", Host: "mon.example.org"}, []string{Identified}
	o.OIDC = OIDCOptions{Issuer: "https://issuer", ClientID: "c"}
}

// Tokens are added and revoked without a restart.
func TestTokensAreReadAgain(t *testing.T) {
	file := write(t, "ci operator "+sum("c"))
	o := base()
	o.TokenFiles = []string{file}
	i := newIdentity(t, o)
	has := func(token string) bool {
		return i.HasToken(request("10.0.0.9", "Authorization: Bearer "+token))
	}
	require.True(t, has("c"))
	change := func(text string) {
		require.NoError(t, os.WriteFile(file+".new", []byte(text), 0o600))
		require.NoError(t, os.Rename(file+".new", file))
	}
	change("ci operator " + sum("d"))
	require.False(t, has("c"))
	require.True(t, has("d"))
	change("this line is wrong\nci operator " + sum("e"))
	require.True(t, has("e"), "one wrong line does not revoke the others")
	require.NoError(t, os.Remove(file))
	require.False(t, has("e"))
	require.False(t, has("e"))
	change("ci operator " + sum("c"))
	require.True(t, has("c"))
}

// A machine's token proves its name and nothing else: it gives no role, and does not make roles
// apply to others.
func TestTokensOfMachines(t *testing.T) {
	file := write(t, "laptop machine "+sum("m"))
	o := base()
	o.TokenFiles = []string{file}
	i := newIdentity(t, o)
	with := func(token string) caller.Caller {
		return i.Identify(request("10.0.0.9", "Authorization: Bearer "+token))
	}
	require.Equal(t, caller.Caller{Name: "laptop", Machine: "laptop", Via: caller.ViaToken}, with("m"))
	require.False(t, i.Configured())

	require.NoError(t, os.WriteFile(file, []byte("laptop machine "+sum("m")+"\nci operator "+sum("c")), 0o600))
	require.Equal(t, caller.Caller{Name: "laptop", Machine: "laptop", Via: caller.ViaToken, Configured: true}, with("m"))
	require.Equal(t, caller.Caller{Name: "ci", Via: caller.ViaToken, Configured: true, Role: caller.Operator}, with("c"))
	require.NoError(t, os.Remove(file))
	require.True(t, i.Configured(), "what was closed does not open because a file is gone")

	o = base()
	o.TokenFiles = []string{write(t, "laptop machine "+sum("m")), write(t, "ci operator "+sum("c"))}
	i = newIdentity(t, o)
	require.Equal(t, "laptop", with("m").Machine, "one of several files")
	require.Equal(t, caller.Operator, with("c").Role)
	require.NoError(t, os.WriteFile(o.TokenFiles[1], []byte("ci operator "+sum("m")), 0o600))
	o.Registerer = prometheus.NewRegistry()
	c := newIdentity(t, o).Identify(request("10.0.0.9", "Authorization: Bearer m"))
	require.Empty(t, c.Machine, "a token that two files give to different owners is nobody's")
	require.Less(t, c.Role, caller.Operator)
	o.TokenFiles[1] = "missing"
	require.ErrorContains(t, o.CheckFiles(), "--web.token-file")

	o = base()
	o.TokenFiles = []string{write(t, "")}
	require.True(t, newIdentity(t, o).Configured(), "nobody is let in by an empty file")
	o = base()
	o.TokenFiles = []string{write(t, "web/1 machine "+sum("m"))}
	_, err := New(o)
	require.ErrorContains(t, err, "machine name")
}

// A web configuration that cannot be read may have asked everybody for a password.
func TestRolesApplyWhileTheWebConfigurationIsBroken(t *testing.T) {
	o := base()
	o.TokenFiles = []string{write(t, "laptop machine "+sum("m"))}
	o.WebConfigFile = write(t, "basic_auth_users: [")
	c := newIdentity(t, o).Identify(request("10.0.0.9", "Authorization: Bearer m"))
	require.True(t, c.Configured)
	require.False(t, c.May(caller.Viewer))
}

// A device of this tailnet is a machine, one of another tailnet is not.
func TestMachinesOfTheTailnet(t *testing.T) {
	for want, who := range map[string]tailscaled.Who{
		"laptop": {Login: "alice@example.com", Device: "laptop.tailnet.ts.net"},
		"web1":   {Tags: []string{"tag:server"}, Device: "web1.tailnet.ts.net"},
		"":       {Login: "eve@example.com", Device: "laptop.other.ts.net", Shared: true},
	} {
		i := newIdentity(t, base())
		i.tailnet.api = &daemon{answer: func(context.Context) (tailscaled.Who, error) { return who, nil }}
		require.Equal(t, want, i.Identify(request("100.64.0.1")).Machine)
	}
}

// asNobody runs f as somebody whom permissions of files bind, which they do not bind root.
func asNobody(t *testing.T, f func()) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if os.Geteuid() == 0 {
		require.NoError(t, syscall.Setfsuid(65534))
		defer func() { require.NoError(t, syscall.Setfsuid(0)) }()
	}
	f()
}

// A file that could not be read is read when its permissions change, which its time does
// not show.
func TestFilesThatBecomeReadable(t *testing.T) {
	tokens, web := write(t, "ci operator "+sum("c")), write(t, "basic_auth_users: {alice: x}")
	require.NoError(t, os.Chmod(filepath.Dir(filepath.Dir(tokens)), 0o755))
	o := base()
	o.TokenFiles, o.WebConfigFile = []string{tokens}, web
	log := new(strings.Builder)
	o.Logger = slog.New(slog.NewTextHandler(log, nil))
	i := newIdentity(t, o)
	request := request("10.0.0.9", "Authorization: Bearer c")
	for round := range 2 {
		for _, file := range []string{tokens, web} { // as an editor writes it that loses permissions
			require.NoError(t, os.Chmod(file, 0))
			require.NoError(t, os.Chtimes(file, time.Time{}, time.Unix(int64(round), 0)))
		}
		asNobody(t, func() {
			for range 3 {
				require.False(t, i.HasToken(request))
				_, err := i.ByPassword()
				require.ErrorIs(t, err, fs.ErrPermission)
			}
		})
		require.Equal(t, round+1, strings.Count(log.String(), "Tokens are not accepted"), "once each time")
		for _, file := range []string{tokens, web} {
			require.NoError(t, os.Chmod(file, 0o644))
		}
		asNobody(t, func() {
			require.True(t, i.HasToken(request))
			passwords, err := i.ByPassword()
			require.NoError(t, err)
			require.True(t, passwords)
		})
	}
}

// Who presents a token that does not count is told so, however else they are not known.
func TestATokenThatIsNotKnown(t *testing.T) {
	o := base()
	o.TokenFiles = []string{write(t, "ci operator "+sum("c"))}
	o.Header, o.TrustedProxies = "Remote-User", []string{"10.0.0.1"}
	i := newIdentity(t, o)
	for _, from := range []string{"10.0.0.9", "10.0.0.1", "100.64.0.7"} {
		require.Equal(t, "the token in the header Authorization is not in --web.token-file", i.Identify(request(from, "Authorization: Bearer x")).Unknown, from)
		require.Empty(t, i.Identify(request(from)).Unknown, from)
	}
	require.Empty(t, i.Identify(request("10.0.0.9", "Authorization: Basic x")).Unknown)
}

// daemon is a tailscaled of which the test says how it answers.
type daemon struct {
	asked  atomic.Int32
	answer func(context.Context) (tailscaled.Who, error)
}

func (d *daemon) WhoIs(ctx context.Context, _ netip.AddrPort) (tailscaled.Who, error) {
	d.asked.Add(1)
	return d.answer(ctx)
}

func TestWhoisThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &daemon{answer: func(ctx context.Context) (tailscaled.Who, error) { <-ctx.Done(); return tailscaled.Who{}, ctx.Err() }}
		i := newIdentity(t, base())
		i.tailnet.api = d
		begin := time.Now()
		who := i.Identify(request("100.64.0.1"))
		require.Equal(t, time.Second, time.Since(begin))
		require.Empty(t, who.Name)
		require.Contains(t, who.Unknown, "did not say within 1s")
		begin = time.Now()
		i.Identify(request("100.64.0.1"))
		require.Zero(t, time.Since(begin), "not every request waits")
		require.EqualValues(t, 1, d.asked.Load())

		// It comes back.
		d.answer = func(context.Context) (tailscaled.Who, error) { return tailscaled.Who{Login: "alice"}, nil }
		time.Sleep(unknownFor + time.Second)
		require.Equal(t, "alice", i.Identify(request("100.64.0.1")).Name)
		require.Equal(t, "alice", i.Identify(request("100.64.0.1")).Name)
		require.EqualValues(t, 2, d.asked.Load())
		// It is restarted.
		d.answer = func(context.Context) (tailscaled.Who, error) {
			return tailscaled.Who{}, errors.New("connection refused")
		}
		require.Equal(t, "alice", i.Identify(request("100.64.0.1")).Name, "for as long as it is known")
		time.Sleep(knownFor + time.Second)
		require.Contains(t, i.Identify(request("100.64.0.1")).Unknown, "could not be asked")
		// There is none.
		d.answer = func(context.Context) (tailscaled.Who, error) { return tailscaled.Who{}, fs.ErrNotExist }
		time.Sleep(unknownFor + time.Second)
		require.Equal(t, caller.Caller{Via: caller.ViaNothing}, i.Identify(request("100.64.0.1")))
	})
}

// Many connections ask for what tailscaled can bear, and are remembered up to a limit.
func TestWhoisIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var now, most atomic.Int32
		d := &daemon{answer: func(context.Context) (tailscaled.Who, error) {
			most.Store(max(most.Load(), now.Add(1)))
			time.Sleep(time.Millisecond)
			now.Add(-1)
			return tailscaled.Who{Login: "alice"}, nil
		}}
		n := newTailnet(d, func() {}, promslog.NewNopLogger())
		local := netip.MustParseAddr("100.64.0.100")
		for port := range uint16(2 * maxAnswers) {
			go n.person(t.Context(), netip.AddrPortFrom(netip.MustParseAddr("100.64.0.1"), port+1), local)
			if port%128 == 0 {
				time.Sleep(20 * time.Millisecond)
			}
		}
		synctest.Wait()
		time.Sleep(time.Second)
		require.LessOrEqual(t, most.Load(), int32(maxQuestion))
		require.LessOrEqual(t, len(n.answers), maxAnswers)
	})
}

func BenchmarkIdentify(b *testing.B) {
	o := base()
	o.Operators = []string{"alice@example.com"}
	i, err := New(o)
	require.NoError(b, err)
	i.tailnet.api = peers
	for name, r := range map[string]*http.Request{"tailnet": request("100.64.0.1"), "lan": request("10.0.0.9")} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				i.Identify(r)
			}
		})
	}
}
