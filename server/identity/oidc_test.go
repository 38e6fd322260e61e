package identity

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/server/identity/oidctest"
	"github.com/clanmon/clanmon/server/internal/caller"
)

// browser keeps cookies of https://mon.example.org/mon and follows no redirect.
type browser struct {
	t       *testing.T
	i       *Identity
	cookies map[string]*http.Cookie
}

func (b *browser) do(method, target string) *http.Response {
	b.t.Helper()
	u, err := url.Parse(target)
	require.NoError(b.t, err)
	r := httptest.NewRequest(method, strings.TrimPrefix(u.RequestURI(), "/mon"), nil)
	for _, c := range b.cookies {
		r.AddCookie(c)
	}
	w := httptest.NewRecorder()
	b.i.LoginHandler().ServeHTTP(w, r)
	for _, c := range w.Result().Cookies() {
		require.True(b.t, strings.HasPrefix(c.Name, "__Host-") && c.Secure && c.HttpOnly && c.Path == "/" && c.Domain == "", "%v", c)
		b.cookies[c.Name] = c
		if c.MaxAge < 0 {
			delete(b.cookies, c.Name)
		}
	}
	return w.Result()
}

func (b *browser) who() caller.Caller {
	r := request("10.0.0.9")
	for _, c := range b.cookies {
		r.AddCookie(c)
	}
	return b.i.Identify(r)
}

// login logs in and returns the last response.
func (b *browser) login(p *oidctest.Provider, query string) *http.Response {
	b.t.Helper()
	res := b.do(http.MethodGet, "https://mon.example.org/mon/-/login"+query)
	require.Equal(b.t, http.StatusFound, res.StatusCode)
	return b.do(http.MethodGet, p.Authorize(res.Header.Get("Location")))
}

func text(res *http.Response) string {
	var b strings.Builder
	_ = res.Write(&b)
	return b.String()
}

func newLogin(t *testing.T, p *oidctest.Provider, change func(*Options)) *browser {
	t.Helper()
	o := base()
	o.ExternalURL, o.RoutePrefix = &url.URL{Scheme: "https", Host: "mon.example.org", Path: "/mon"}, "/mon"
	o.Dir, o.Viewers, o.Operators = t.TempDir(), []string{Identified}, []string{"group:admins"}
	o.OIDC = OIDCOptions{Issuer: p.URL, ClientID: oidctest.ClientID}
	if change != nil {
		change(&o)
	}
	return &browser{t, newIdentity(t, o), make(map[string]*http.Cookie)}
}

func TestLogin(t *testing.T) {
	p := oidctest.New(t)
	var dir string
	b := newLogin(t, p, func(o *Options) { dir = o.Dir })
	require.Equal(t, caller.Anonymous, b.who().Role)
	res := b.login(p, "?return=%2Falerts%3Fq%3D1")
	require.Equal(t, http.StatusFound, res.StatusCode)
	require.Equal(t, "https://mon.example.org/mon/alerts?q=1", res.Header.Get("Location"))
	require.Equal(t, caller.Caller{Name: "alice@example.com", Via: caller.ViaOIDC, Groups: []string{"admins"}, Configured: true, Role: caller.Operator}, b.who())
	info, err := os.Stat(filepath.Join(dir, keyFile))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())

	// A restart keeps logins; another data directory, URL or provider does not know them.
	restarted := newLogin(t, p, func(o *Options) { o.Dir = dir })
	restarted.cookies = b.cookies
	require.Equal(t, "alice@example.com", restarted.who().Name)
	for name, change := range map[string]func(*Options){
		"another server":   func(o *Options) { o.Dir = t.TempDir() },
		"another client":   func(o *Options) { o.Dir, o.OIDC.ClientID = dir, "other" },
		"another provider": func(o *Options) { o.Dir, o.OIDC.Issuer = dir, "https://other" },
	} {
		other := newLogin(t, p, change)
		other.cookies = b.cookies
		require.Empty(t, other.who().Name, name)
	}

	// The next key of the provider is fetched when it is needed.
	p.Rotate("2")
	again := newLogin(t, p, nil)
	again.login(p, "")
	p.Rotate("3")
	require.Equal(t, http.StatusFound, again.login(p, "").StatusCode)

	// It lasts for twelve hours.
	b.i.oidc.now = func() time.Time { return time.Now().Add(sessionTime - time.Minute) }
	require.Equal(t, "alice@example.com", b.who().Name)
	b.i.oidc.now = func() time.Time { return time.Now().Add(sessionTime + time.Second) }
	require.Empty(t, b.who().Name)
	b.i.oidc.now = time.Now

	// A copy of the cookie is worth nothing after logging out.
	copied := make(map[string]*http.Cookie)
	for name, c := range b.cookies {
		copied[name] = c
	}
	res = b.do(http.MethodPost, "https://mon.example.org/mon/-/logout")
	require.Equal(t, "https://mon.example.org/mon/-/logout", res.Header.Get("Location"))
	require.Empty(t, b.cookies)
	require.Contains(t, text(b.do(http.MethodGet, "https://mon.example.org/mon/-/logout")), "You are logged out")
	b.cookies = copied
	require.Empty(t, b.who().Name)
}

// A provider, or somebody who poses as one, that does not do what it should.
func TestLoginsThatFail(t *testing.T) {
	set := func(name string, value any) func(*oidctest.Provider) {
		return func(p *oidctest.Provider) { p.Claims = func(c map[string]any) { c[name] = value } }
	}
	for want, change := range map[string]func(*oidctest.Provider){
		"expected audience":              set("aud", "another client"),
		"issued by a different provider": set("iss", "https://evil.example"),
		"token is expired":               set("exp", time.Now().Add(-time.Second).Unix()),
		"belongs to another login":       set("nonce", "other"),
		"has not verified the address":   set("email_verified", false),
		"not verified the address":       set("email_verified", "false"),
		`has no claim`:                   set("email", nil),
		"is not a name":                  set("email", "group:admins"),
		`claim "email" is not a name`:    set("email", "a\x1b[31m@example.com"),
		"unexpected signature algorithm": func(p *oidctest.Provider) {
			p.Header, p.Sign = map[string]any{"alg": "none"}, func(string) []byte { return nil }
		},
		// The public key as the secret of an HMAC.
		`algorithm "HS256"`: func(p *oidctest.Provider) {
			p.Header = map[string]any{"alg": "HS256", "kid": p.KeyID}
			p.Sign = func(input string) []byte {
				mac := hmac.New(sha256.New, p.Key.N.Bytes())
				mac.Write([]byte(input))
				return mac.Sum(nil)
			}
		},
		"failed to verify signature": func(p *oidctest.Provider) { p.Sign = func(string) []byte { return []byte("x") } },
		"sent no ID token": func(p *oidctest.Provider) {
			p.Exchange = func(w http.ResponseWriter) bool {
				w.Header().Set("Content-Type", "application/json")
				_, _ = w.Write([]byte(`{"access_token": "a"}`))
				return true
			}
		},
		"refuses the code: 400": func(p *oidctest.Provider) { p.Codes = map[string]url.Values{} },
	} {
		p := oidctest.New(t)
		b := newLogin(t, p, nil)
		res := b.do(http.MethodGet, "https://mon.example.org/mon/-/login")
		back := p.Authorize(res.Header.Get("Location"))
		change(p)
		res = b.do(http.MethodGet, back)
		body := text(res)
		require.Equal(t, http.StatusForbidden, res.StatusCode, want)
		require.Contains(t, strings.NewReplacer("&#34;", `"`, "&#39;", "'").Replace(body), want)
		require.NotContains(t, body, "access_token")
		require.Empty(t, b.who().Name, want)
	}
}

func TestLoginsThatSomebodyElseStarted(t *testing.T) {
	p := oidctest.New(t)
	b := newLogin(t, p, nil)
	res := b.do(http.MethodGet, "https://mon.example.org/mon/-/login")
	back := p.Authorize(res.Header.Get("Location"))
	// Somebody sends a link with their own code: it would log the victim in as them.
	victim := newLogin(t, p, nil)
	require.Contains(t, text(victim.do(http.MethodGet, back)), "was not started in this browser")
	victim.do(http.MethodGet, "https://mon.example.org/mon/-/login")
	require.Contains(t, text(victim.do(http.MethodGet, back)), "was not started in this browser")
	require.Empty(t, victim.who().Name)
	// The cookie of a login is no session, even with a name in it.
	for name, c := range b.cookies {
		c.Name = strings.Replace(name, loginCookie, sessionCookie, 1)
	}
	require.Empty(t, b.who().Name)

	// The provider says no, and the text of its error is shown as text.
	b = newLogin(t, p, nil)
	res = b.do(http.MethodGet, "https://mon.example.org/mon/-/login")
	u, err := url.Parse(res.Header.Get("Location"))
	require.NoError(t, err)
	res = b.do(http.MethodGet, "https://mon.example.org/mon/-/login/callback?error=access_denied&error_description=%3Cscript%3E&state="+u.Query().Get("state"))
	require.Equal(t, http.StatusForbidden, res.StatusCode)
	require.NotContains(t, text(res), "<script")

	// Ten minutes are enough.
	b = newLogin(t, p, nil)
	res = b.do(http.MethodGet, "https://mon.example.org/mon/-/login")
	b.i.oidc.now = func() time.Time { return time.Now().Add(loginTime) }
	require.Contains(t, text(b.do(http.MethodGet, p.Authorize(res.Header.Get("Location")))), "took longer than 10m")
}

func TestNobodyIsSentElsewhere(t *testing.T) {
	p := oidctest.New(t)
	for _, to := range []string{
		"https://evil.example/", "//evil.example", `/\evil.example`, `\\evil.example`, "/\t/evil.example", "javascript:alert(1)", "evil.example", "https:evil.example", "", "/" + strings.Repeat("a", 2000),
	} {
		res := newLogin(t, p, nil).login(p, "?return="+url.QueryEscape(to))
		require.Equal(t, "https://mon.example.org/mon/", res.Header.Get("Location"), to)
	}
}

// A server starts without its provider, and says so to who logs in.
func TestProviderThatIsAway(t *testing.T) {
	p := oidctest.New(t)
	b := newLogin(t, p, nil)
	p.Close()
	res := b.do(http.MethodGet, "https://mon.example.org/mon/-/login")
	require.Equal(t, http.StatusBadGateway, res.StatusCode)
	require.Contains(t, text(res), "connection refused")

	// It is not queried again at once for everybody who tries.
	p = oidctest.New(t)
	b = newLogin(t, p, nil)
	b.i.oidc.failed, b.i.oidc.asked = errors.New("as before"), time.Now()
	require.Contains(t, text(b.do(http.MethodGet, "https://mon.example.org/mon/-/login")), "as before")
	b.i.oidc.now = func() time.Time { return time.Now().Add(providerPause) }
	require.Equal(t, http.StatusFound, b.do(http.MethodGet, "https://mon.example.org/mon/-/login").StatusCode)
}

func TestPagesAreSentToTheLogin(t *testing.T) {
	p := oidctest.New(t)
	b := newLogin(t, p, nil)
	ask := func(i *Identity, method, path, accept string) (string, bool) {
		r := httptest.NewRequest(method, path, nil)
		r.Header.Set("Accept", accept)
		w := httptest.NewRecorder()
		sent := i.SendToLogin(w, r)
		return w.Header().Get("Location"), sent
	}
	to, sent := ask(b.i, http.MethodGet, "/mon/m/web1?range=6h", "text/html,*/*")
	require.True(t, sent)
	require.Equal(t, "https://mon.example.org/mon/-/login?return=%2Fm%2Fweb1%3Frange%3D6h", to)
	for _, c := range [][2]string{{http.MethodGet, "application/json"}, {http.MethodPost, "text/html"}} {
		_, sent = ask(b.i, c[0], "/mon/", c[1])
		require.False(t, sent, c)
	}
	_, sent = ask(newIdentity(t, base()), http.MethodGet, "/", "text/html")
	require.False(t, sent)
}

// Cookies that this server has not made.
func TestForgedCookies(t *testing.T) {
	p := oidctest.New(t)
	b := newLogin(t, p, nil)
	b.login(p, "")
	name := b.i.oidc.cookies.name(sessionCookie)
	good := b.cookies[name].Value
	body, signature, _ := strings.Cut(good, ".")
	forged := base64.RawURLEncoding.EncodeToString([]byte(`{"ID":"x","Name":"mallory","Until":99999999999}`))
	for _, value := range []string{"", ".", body, body + ".", forged + "." + signature, good + "x", body + ".x." + signature, strings.Repeat("a", 8000)} {
		b.cookies = map[string]*http.Cookie{name: {Name: name, Value: value}}
		require.Empty(t, b.who().Name, value)
	}
	b.cookies = map[string]*http.Cookie{name: {Name: name, Value: good}}
	require.Equal(t, "alice@example.com", b.who().Name)

	// What was signed for one purpose counts for no other.
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.AddCookie(&http.Cookie{Name: b.i.oidc.cookies.name(loginCookie), Value: good})
	require.False(t, b.i.oidc.cookies.read(r, loginCookie, new(map[string]any)))
}
