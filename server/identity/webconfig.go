package identity

import (
	"cmp"
	"crypto/x509"
	"net/http"
	"os"
	"sync"

	"go.yaml.in/yaml/v2"

	"github.com/clanmon/clanmon/internal/yamlerror"
	"github.com/clanmon/clanmon/server/internal/caller"
)

// webConfig is the exporter toolkit's file. The toolkit reads it for each request and has
// checked what a client presents; here it only matters what was asked for.
type webConfig struct {
	file string

	mu   sync.Mutex
	info os.FileInfo
	read asked
}

// asked is what the file asks clients for.
type asked struct {
	users map[string]string
	certs bool // everybody for a certificate
}

func (a asked) asks() bool { return len(a.users) > 0 || a.certs }

// load reads the file, unless it is as before.
func (c *webConfig) load() (asked, error) {
	if c.file == "" {
		return asked{}, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	info, err := os.Stat(c.file)
	if err != nil {
		c.info = nil
		return asked{}, err
	}
	if c.info != nil && unchanged(info, c.info) {
		return c.read, nil
	}
	read, err := readWebConfig(c.file)
	if err != nil { // tried again: who may read it changes without its time
		c.info = nil
		return asked{}, err
	}
	c.info, c.read = info, read
	return read, nil
}

func readWebConfig(file string) (asked, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return asked{}, err
	}
	var c struct {
		Users map[string]string `yaml:"basic_auth_users"`
		TLS   struct {
			ClientAuth string `yaml:"client_auth_type"`
		} `yaml:"tls_server_config"`
	}
	if err := yaml.Unmarshal(text, &c); err != nil {
		return asked{}, yamlerror.Hide(err)
	}
	return asked{c.Users, c.TLS.ClientAuth == "RequireAndVerifyClientCert"}, nil
}

// person is who the toolkit has let in by name.
func (c *webConfig) person(r *http.Request) person {
	if r.TLS != nil && len(r.TLS.VerifiedChains) > 0 && len(r.TLS.VerifiedChains[0]) > 0 {
		if name := certificateName(r.TLS.VerifiedChains[0][0]); name != "" && !prefixed(name) {
			return person{name: name, via: caller.ViaCertificate}
		}
	}
	user, _, ok := r.BasicAuth()
	if !ok {
		return person{}
	}
	file, err := c.load()
	if _, known := file.users[user]; err != nil || !known || prefixed(user) {
		return person{}
	}
	return person{name: user, via: caller.ViaPassword}
}

// certificateName is what a certificate is called, as people know it.
func certificateName(c *x509.Certificate) string {
	name := c.Subject.CommonName
	if len(c.DNSNames) > 0 {
		name = cmp.Or(name, c.DNSNames[0])
	}
	if len(c.EmailAddresses) > 0 {
		name = cmp.Or(name, c.EmailAddresses[0])
	}
	return cmp.Or(name, c.SerialNumber.String())
}
