package identity

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// OIDCOptions are the settings of a login by OpenID Connect.
type OIDCOptions struct {
	Issuer, ClientID string
	ClientSecretFile string   // "" for a public client, which PKCE protects
	Scopes           []string // besides openid, profile and email
	NameClaim        string   // "" is "email"
}

// Paths below the route prefix.
const (
	LoginPath    = "/-/login"
	callbackPath = "/-/login/callback"
	LogoutPath   = "/-/logout"
)

// How long a login lasts, and how long one may take.
const (
	sessionTime = 12 * time.Hour
	loginTime   = 10 * time.Minute
)

// Each request to the provider is bounded, it is not asked again at once after it failed,
// and its endpoints are believed for some time.
const (
	providerTimeout = 10 * time.Second
	providerPause   = 5 * time.Second
	metadataTime    = time.Hour
)

// oidcLogin lets people log in at a provider, and remembers that in a cookie.
type oidcLogin struct {
	opts     OIDCOptions
	outside  string // URL of the server without a final slash
	base     string // route prefix without a final slash
	mentions func(group string) bool
	log      *slog.Logger
	client   *http.Client
	cookies  *cookies
	now      func() time.Time

	asking   sync.Mutex     // held while the provider is asked, and for what follows
	provider *oidc.Provider // nil until it is needed
	asked    time.Time
	failed   error // of the last question, if it failed

	mu    sync.Mutex
	ended map[string]time.Time // sessions that were logged out of, and when they would have ended
}

// checkOIDC looks at what the options say about a login, without the files.
func (o Options) checkOIDC() error {
	c := o.OIDC
	if c.Issuer == "" && c.ClientID == "" {
		for flag, given := range map[string]bool{"client-secret-file": c.ClientSecretFile != "", "scope": len(c.Scopes) > 0, "name-claim": c.NameClaim != ""} {
			if given {
				return fmt.Errorf("--web.oidc.%s needs --web.oidc.issuer and --web.oidc.client-id", flag)
			}
		}
		return nil
	}
	issuer, err := url.Parse(c.Issuer)
	switch {
	case c.Issuer == "":
		return errors.New("--web.oidc.client-id needs --web.oidc.issuer, the URL of the provider")
	case c.ClientID == "":
		return errors.New("--web.oidc.issuer needs --web.oidc.client-id, the name under which the provider knows this server")
	case err != nil || issuer.Host == "" || issuer.Scheme != "https" && !(issuer.Scheme == "http" && isLoopback(issuer.Hostname())):
		return fmt.Errorf("--web.oidc.issuer %q: must be an https URL, as the provider writes it", c.Issuer)
	case len(o.Viewers) == 0:
		return fmt.Errorf("--web.oidc.issuer needs --web.viewer, which says who may read: names, group:NAME, %q (whoever can log in at the issuer), or %q (everybody, without login)", Identified, Everybody)
	case o.ExternalURL != nil && o.ExternalURL.Scheme != "https":
		return fmt.Errorf("--web.oidc.issuer needs https, because a session over http can be stolen: set --web.external-url to the https URL of the reverse proxy, or a certificate in --web.config.file (the URL is %s now)", o.ExternalURL.Redacted())
	}
	return nil
}

// newOIDC reads the files of options that were checked; the provider is first asked when
// somebody logs in, so that the server starts without it.
func newOIDC(o Options, mentions func(group string) bool) (*oidcLogin, error) {
	c := o.OIDC
	if c.ClientSecretFile != "" {
		if _, err := c.secret(); err != nil {
			return nil, err
		}
	}
	l := &oidcLogin{
		opts: c, outside: strings.TrimSuffix(o.ExternalURL.String(), "/"), base: strings.TrimSuffix(o.RoutePrefix, "/"),
		mentions: mentions, log: o.Logger, now: time.Now, ended: make(map[string]time.Time),
		client: &http.Client{Timeout: providerTimeout},
	}
	var err error
	l.cookies, err = newCookies(o.Dir, l.outside, c.Issuer, c.ClientID)
	return l, err
}

func isLoopback(host string) bool { return host == "localhost" || host == "127.0.0.1" || host == "::1" }

// secret reads the file at each login: it may have been replaced.
func (c OIDCOptions) secret() (string, error) {
	if c.ClientSecretFile == "" {
		return "", nil
	}
	text, err := os.ReadFile(c.ClientSecretFile)
	if err != nil {
		return "", fmt.Errorf("--web.oidc.client-secret-file: %w", err)
	}
	if len(strings.TrimSpace(string(text))) == 0 {
		return "", fmt.Errorf("--web.oidc.client-secret-file %q: is empty", c.ClientSecretFile)
	}
	return strings.TrimSpace(string(text)), nil
}

// session is somebody who has logged in, as the cookie has it.
type session struct {
	ID     string
	Name   string
	Groups []string `json:",omitempty"` // those that a role depends on
	Until  int64    // Unix time
}

// attempt is a login that has begun, as the cookie has it.
type attempt struct {
	State, Nonce, Verifier string
	Return                 string // path of the page to return to
	Until                  int64
}

// session returns that of r, if there is a valid one.
func (l *oidcLogin) session(r *http.Request) (s session, ok bool) {
	if !l.cookies.read(r, sessionCookie, &s) || l.now().Unix() >= s.Until || s.Name == "" {
		return session{}, false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	_, ended := l.ended[s.ID]
	return s, !ended
}

func (l *oidcLogin) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+LoginPath, l.login)
	mux.HandleFunc("GET "+callbackPath, l.callback)
	mux.HandleFunc("POST "+LogoutPath, l.logout)
	mux.HandleFunc("GET "+LogoutPath, func(w http.ResponseWriter, _ *http.Request) {
		l.page(w, http.StatusOK, "You are logged out.")
	})
	return mux
}

// config asks the provider for its endpoints, once an hour.
func (l *oidcLogin) config() (*oauth2.Config, *oidc.Provider, error) {
	secret, err := l.opts.secret()
	if err != nil {
		return nil, nil, err
	}
	l.asking.Lock()
	defer l.asking.Unlock()
	age := l.now().Sub(l.asked)
	if l.failed != nil && age < providerPause {
		return nil, nil, l.failed
	}
	if l.provider == nil || age > metadataTime {
		// The provider keeps the context for the keys that it fetches later.
		provider, err := oidc.NewProvider(oidc.ClientContext(context.Background(), l.client), l.opts.Issuer)
		l.asked, l.failed = l.now(), nil
		if err != nil {
			l.failed = fmt.Errorf("query the provider %s: %w", l.opts.Issuer, err)
			return nil, nil, l.failed
		}
		l.provider = provider
	}
	return &oauth2.Config{
		ClientID: l.opts.ClientID, ClientSecret: secret, Endpoint: l.provider.Endpoint(), RedirectURL: l.outside + callbackPath,
		Scopes: append([]string{oidc.ScopeOpenID, "profile", "email"}, l.opts.Scopes...),
	}, l.provider, nil
}

// login sends a browser to the provider.
func (l *oidcLogin) login(w http.ResponseWriter, r *http.Request) {
	config, _, err := l.config()
	if err != nil {
		l.fail(w, http.StatusBadGateway, err)
		return
	}
	a := attempt{
		State: rand.Text(), Nonce: rand.Text(), Verifier: oauth2.GenerateVerifier(),
		Return: l.local(r.URL.Query().Get("return")), Until: l.now().Add(loginTime).Unix(),
	}
	l.cookies.write(w, loginCookie, a, loginTime)
	w.Header().Set("Cache-Control", "no-store")
	http.Redirect(w, r, config.AuthCodeURL(a.State, oidc.Nonce(a.Nonce), oauth2.S256ChallengeOption(a.Verifier)), http.StatusFound)
}

// local is path, if that is a page of this server, and the first page otherwise.
func (l *oidcLogin) local(path string) string {
	u, err := url.Parse(path)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil || !strings.HasPrefix(path, "/") ||
		strings.ContainsAny(path, "\\\r\n\t") || len(path) > 1024 {
		return "/"
	}
	return path
}

// callback takes what the provider sends a browser back with.
func (l *oidcLogin) callback(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	q := r.URL.Query()
	var a attempt
	if !l.cookies.read(r, loginCookie, &a) || a.State == "" || a.State != q.Get("state") || l.now().Unix() >= a.Until {
		// Several pages that are opened at one time overwrite each other's cookie.
		if _, ok := l.session(r); ok {
			http.Redirect(w, r, l.outside+"/", http.StatusFound)
			return
		}
		l.fail(w, http.StatusBadRequest, errors.New("this login was not started in this browser, or took longer than "+loginTime.String()))
		return
	}
	l.cookies.remove(w, loginCookie)
	if reason := q.Get("error"); reason != "" {
		l.fail(w, http.StatusForbidden, fmt.Errorf("the provider refuses: %.200q %.200q", reason, q.Get("error_description")))
		return
	}
	s, err := l.verify(r.Context(), a, q.Get("code"))
	if err != nil {
		l.fail(w, http.StatusForbidden, err)
		return
	}
	l.cookies.write(w, sessionCookie, s, sessionTime)
	l.log.Info("Logged in", "who", s.Name, "via", "oidc", "client", r.RemoteAddr)
	http.Redirect(w, r, l.outside+a.Return, http.StatusFound)
}

// verify exchanges the code for who has logged in.
func (l *oidcLogin) verify(ctx context.Context, a attempt, code string) (s session, err error) {
	config, provider, err := l.config()
	if err != nil {
		return s, err
	}
	tokens, err := config.Exchange(oidc.ClientContext(ctx, l.client), code, oauth2.VerifierOption(a.Verifier))
	if e, ok := errors.AsType[*oauth2.RetrieveError](err); ok { // whose text has all of the response
		return s, fmt.Errorf("the provider refuses the code: %s %.200q", e.Response.Status, e.ErrorCode)
	}
	if err != nil {
		return s, fmt.Errorf("exchange the code: %w", err)
	}
	raw, _ := tokens.Extra("id_token").(string)
	if raw == "" {
		return s, errors.New("the provider sent no ID token")
	}
	id, err := provider.Verifier(&oidc.Config{ClientID: l.opts.ClientID, Now: l.now}).Verify(oidc.ClientContext(ctx, l.client), raw)
	if err != nil {
		return s, fmt.Errorf("the ID token is invalid: %w", err)
	}
	if id.Nonce != a.Nonce {
		return s, errors.New("the ID token belongs to another login")
	}
	var claims map[string]any
	if err := id.Claims(&claims); err != nil {
		return s, fmt.Errorf("the ID token is invalid: %w", err)
	}
	s = session{ID: rand.Text(), Until: l.now().Add(sessionTime).Unix()}
	if s.Name, err = l.name(claims); err != nil {
		return session{}, err
	}
	s.Groups = l.groups(claims["groups"])
	return s, nil
}

// name is the claim that people are known by.
func (l *oidcLogin) name(claims map[string]any) (string, error) {
	claim := l.opts.NameClaim
	if claim == "" {
		claim = "email"
	}
	name, _ := claims[claim].(string)
	switch {
	case name == "":
		return "", fmt.Errorf("the ID token has no claim %q: set --web.oidc.name-claim to one that it has, or add a scope with --web.oidc.scope", claim)
	case claim == "email" && (claims["email_verified"] == false || claims["email_verified"] == "false"): // as some providers write it
		return "", fmt.Errorf("the provider has not verified the address %q", name)
	case len(name) > maxName || prefixed(name) || !printable(name):
		return "", fmt.Errorf("the claim %q is not a name", claim)
	}
	return name, nil
}

// groups are those of a claim that a role depends on: all of them may not fit in a cookie.
func (l *oidcLogin) groups(claim any) []string {
	var all []string
	switch c := claim.(type) {
	case string:
		all = append(all, c)
	case []any:
		for _, g := range c {
			if text, ok := g.(string); ok {
				all = append(all, text)
			}
		}
	}
	all = slices.DeleteFunc(all, func(group string) bool { return !l.mentions(group) })
	slices.Sort(all)
	return slices.Compact(all)
}

// maxEnded bounds how many sessions are remembered as logged out of.
const maxEnded = 10_000

// logout ends the session, for copies of its cookie too.
func (l *oidcLogin) logout(w http.ResponseWriter, r *http.Request) {
	if s, ok := l.session(r); ok {
		l.mu.Lock()
		now := l.now()
		for id, until := range l.ended {
			if now.After(until) || len(l.ended) >= maxEnded {
				delete(l.ended, id)
			}
		}
		l.ended[s.ID] = time.Unix(s.Until, 0)
		l.mu.Unlock()
		l.log.Info("Logged out", "who", s.Name, "via", "oidc", "client", r.RemoteAddr)
	}
	l.cookies.remove(w, sessionCookie)
	http.Redirect(w, r, l.outside+LogoutPath, http.StatusSeeOther)
}

func (l *oidcLogin) fail(w http.ResponseWriter, code int, err error) {
	l.log.Warn("Login failed", "err", err)
	l.page(w, code, "Login failed: "+err.Error()+".")
}

// page is a sentence and a link, for people who have no other page yet.
func (l *oidcLogin) page(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	_ = pageTemplate.Execute(w, map[string]string{"Text": text, "Login": l.outside + LoginPath}) // fails only when the client is gone
}

var pageTemplate = template.Must(template.New("").Parse(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>clanmon</title></head>
<body><p>{{.Text}}</p><p><a href="{{.Login}}">Log in</a></p></body></html>
`))

// SendToLogin sends a browser that wants a page to the login, and reports that; it does
// nothing without OpenID Connect, or for anything else.
func (i *Identity) SendToLogin(w http.ResponseWriter, r *http.Request) bool {
	if i.oidc == nil || r.Method != http.MethodGet || !strings.Contains(r.Header.Get("Accept"), "text/html") {
		return false
	}
	path := strings.TrimPrefix(r.URL.RequestURI(), i.oidc.base)
	w.Header().Set("Cache-Control", "no-store")
	http.Redirect(w, r, i.oidc.outside+LoginPath+"?return="+url.QueryEscape(path), http.StatusFound)
	return true
}
