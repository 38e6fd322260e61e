// Package oidctest is an OpenID Connect provider for tests, which they can make misbehave. It
// accepts every client and redirect URI, and asks nobody for a password: use it in tests only.
package oidctest

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// ClientID is the audience of ID tokens.
const ClientID = "clanmon"

// Provider is a running provider; its URL is the issuer. Its fields are for tests that
// change them while nobody logs in.
type Provider struct {
	*httptest.Server

	Key      *rsa.PrivateKey
	KeyID    string
	Header   map[string]any                 // of ID tokens; nil is RS256
	Claims   func(map[string]any)           // changes them; nil changes nothing
	Sign     func(input string) []byte      // nil is with Key
	Codes    map[string]url.Values          // what the browser brought, by the code that it got
	Exchange func(http.ResponseWriter) bool // answers in place of the provider; nil never does

	t     testing.TB
	mu    sync.Mutex
	names map[string]string // mail addresses of who logged in, by code
}

// Users are those who may be chosen on the provider's page, with their groups. Who is not
// chosen there is the first.
var Users = []struct {
	Email  string
	Groups []string
}{
	{"alice@example.com", []string{"staff", "admins", "admins"}},
	{"bob@example.com", []string{"staff"}},
}

// New starts a provider, which ends with the test.
func New(t testing.TB) *Provider {
	p := &Provider{t: t, Codes: make(map[string]url.Values), names: make(map[string]string)}
	p.Rotate("1")
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]any{
			"issuer": p.URL, "authorization_endpoint": p.URL + "/auth", "token_endpoint": p.URL + "/token", "jwks_uri": p.URL + "/keys",
			"id_token_signing_alg_values_supported": []string{"RS256", "HS256", "none"},
		})
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		_ = json.NewEncoder(w).Encode(map[string]any{"keys": []any{map[string]any{
			"kty": "RSA", "use": "sig", "alg": "RS256", "kid": p.KeyID, "n": b64(p.Key.N.Bytes()), "e": b64(big.NewInt(int64(p.Key.E)).Bytes()),
		}}})
	})
	mux.HandleFunc("GET /auth", p.page)
	mux.HandleFunc("POST /token", p.token)
	p.Server = httptest.NewServer(mux)
	t.Cleanup(p.Close)
	return p
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// Rotate makes a new key.
func (p *Provider) Rotate(kid string) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(p.t, err)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.Key, p.KeyID = key, kid
}

// Authorize is what the provider does once the first of Users has logged in there: it
// returns the URL that the browser is sent back to.
func (p *Provider) Authorize(to string) string {
	u, err := url.Parse(to)
	require.NoError(p.t, err)
	require.Equal(p.t, p.URL+"/auth", u.Scheme+"://"+u.Host+u.Path)
	require.Equal(p.t, "S256", u.Query().Get("code_challenge_method"))
	return p.back(u.Query(), Users[0].Email)
}

func (p *Provider) back(q url.Values, email string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	code := rand.Text()
	p.Codes[code], p.names[code] = q, email
	return q.Get("redirect_uri") + "?" + url.Values{"code": {code}, "state": {q.Get("state")}}.Encode()
}

// page lets a browser choose who it is.
func (p *Provider) page(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	fmt.Fprint(w, `<!doctype html><html lang="en"><link rel="icon" href="data:,"><title>Provider</title>`)
	for _, u := range Users {
		fmt.Fprintf(w, "<p><a href=%q>%s</a></p>", html.EscapeString(p.back(r.URL.Query(), u.Email)), u.Email)
	}
}

func (p *Provider) token(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.Exchange != nil && p.Exchange(w) {
		return
	}
	code := r.FormValue("code")
	asked := p.Codes[code]
	delete(p.Codes, code)
	challenge := sha256.Sum256([]byte(r.FormValue("code_verifier")))
	if asked == nil || asked.Get("code_challenge") != b64(challenge[:]) || r.FormValue("redirect_uri") != asked.Get("redirect_uri") {
		w.WriteHeader(http.StatusBadRequest)
		_ = json.NewEncoder(w).Encode(map[string]string{"error": "invalid_grant"})
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"access_token": "a", "token_type": "Bearer", "id_token": p.idToken(p.names[code], asked.Get("nonce"))})
}

// idToken says who has logged in. p.mu is held.
func (p *Provider) idToken(email, nonce string) string {
	now := time.Now()
	claims := map[string]any{
		"iss": p.URL, "aud": ClientID, "sub": email, "iat": now.Unix(), "exp": now.Add(time.Minute).Unix(), "nonce": nonce,
		"email": email, "email_verified": true, "preferred_username": email[:len(email)-len("@example.com")],
	}
	for _, u := range Users {
		if u.Email == email {
			claims["groups"] = u.Groups
		}
	}
	if p.Claims != nil {
		p.Claims(claims)
	}
	header := p.Header
	if header == nil {
		header = map[string]any{"alg": "RS256", "kid": p.KeyID}
	}
	h, _ := json.Marshal(header)
	c, _ := json.Marshal(claims)
	input := b64(h) + "." + b64(c)
	if p.Sign != nil {
		return input + "." + b64(p.Sign(input))
	}
	digest := sha256.Sum256([]byte(input))
	signature, err := rsa.SignPKCS1v15(rand.Reader, p.Key, crypto.SHA256, digest[:])
	require.NoError(p.t, err)
	return input + "." + b64(signature)
}
