package identity

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/clanmon/clanmon/internal/atomicfile"
)

// What cookies are for; a part of their name.
const (
	sessionCookie = "session"
	loginCookie   = "login"
)

// keyFile in the data directory has the key that signs cookies. Whoever has it can log in
// as anybody; without it everybody is logged out.
const keyFile = "clanmon-session.key"

const keySize = 32

// cookies are values that only this server can have made.
type cookies struct {
	key    []byte
	suffix string // browsers keep one set of cookies for all ports of a host
}

// newCookies reads the key, or makes one. Cookies for another URL or another provider
// are not valid.
func newCookies(dir string, audience ...string) (*cookies, error) {
	file := filepath.Join(dir, keyFile)
	key, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		key = make([]byte, keySize)
		_, _ = rand.Read(key) // never fails
		if err = os.MkdirAll(dir, 0o777); err == nil {
			err = atomicfile.Write(file, 0o600, func(w io.Writer) error { _, err := w.Write(key); return err })
		}
	}
	if err != nil {
		return nil, fmt.Errorf("key of sessions: %w", err)
	}
	if len(key) != keySize {
		return nil, fmt.Errorf("key of sessions %q: has %d bytes, not %d: remove the file to have a new one made", file, len(key), keySize)
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(strings.Join(audience, "\n")))
	name := sha256.Sum256([]byte(audience[0]))
	return &cookies{key: mac.Sum(nil), suffix: hex.EncodeToString(name[:4])}, nil
}

// name has the prefix with which browsers take a cookie only over https, for this host
// and all of its paths.
func (c *cookies) name(purpose string) string {
	return "__Host-clanmon-" + purpose + "-" + c.suffix
}

func (c *cookies) sign(purpose, text string) []byte {
	mac := hmac.New(sha256.New, c.key)
	mac.Write([]byte(purpose + "." + text))
	return mac.Sum(nil)
}

func (c *cookies) write(w http.ResponseWriter, purpose string, value any, age time.Duration) {
	text, _ := json.Marshal(value) // strings and numbers
	body := base64.RawURLEncoding.EncodeToString(text)
	c.set(w, purpose, body+"."+base64.RawURLEncoding.EncodeToString(c.sign(purpose, body)), int(age.Seconds()))
}

func (c *cookies) remove(w http.ResponseWriter, purpose string) { c.set(w, purpose, "", -1) }

func (c *cookies) set(w http.ResponseWriter, purpose, value string, age int) {
	http.SetCookie(w, &http.Cookie{
		Name: c.name(purpose), Value: value, Path: "/", MaxAge: age,
		// The provider sends the browser back, which Strict would count as another site.
		Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
}

// read fills value with what write wrote, and reports whether that is so.
func (c *cookies) read(r *http.Request, purpose string, value any) bool {
	cookie, err := r.Cookie(c.name(purpose))
	if err != nil {
		return false
	}
	body, signature, _ := strings.Cut(cookie.Value, ".")
	given, err := base64.RawURLEncoding.DecodeString(signature)
	if err != nil || !hmac.Equal(given, c.sign(purpose, body)) {
		return false
	}
	text, err := base64.RawURLEncoding.DecodeString(body)
	return err == nil && json.Unmarshal(text, value) == nil
}
