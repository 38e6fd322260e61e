package push

import (
	"cmp"
	"crypto/x509"
	"net/http"
	"strings"

	"github.com/clanmon/clanmon/discovery/contract"
	"github.com/clanmon/clanmon/server/internal/caller"
)

// proven is the machine that r is of, or why that is not known. A certificate says more than an
// address.
func proven(r *http.Request) (machine, why string) {
	if r.TLS != nil && len(r.TLS.VerifiedChains) > 0 && len(r.TLS.VerifiedChains[0]) > 0 {
		if machine = certified(r.TLS.VerifiedChains[0][0]); machine != "" {
			return machine, ""
		}
	}
	c := caller.From(r.Context())
	return c.Machine, cmp.Or(c.Unknown, "use a client certificate with its name, a token of the role machine in --web.token-file, or a device of the tailnet")
}

// certified is the machine that a certificate is of: its first DNS name without a dot, else the
// first label of the first one. Without DNS names it is the common name.
func certified(c *x509.Certificate) string {
	names := c.DNSNames
	if len(names) == 0 && c.Subject.CommonName != "" {
		names = []string{c.Subject.CommonName}
	}
	for _, name := range names {
		if !strings.Contains(name, ".") && contract.CheckMachine(name) == nil {
			return name
		}
	}
	if len(names) > 0 && contract.CheckMachine(contract.Short(names[0])) == nil {
		return contract.Short(names[0])
	}
	return ""
}
