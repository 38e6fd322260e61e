package browser

import (
	"fmt"
	"testing"

	"github.com/clanmon/clanmon/e2e/harness"
	"github.com/clanmon/clanmon/server/identity/oidctest"
)

// People log in at a provider: one may silence, the other may read.
func TestIdentity(t *testing.T) {
	t.Parallel()
	provider := oidctest.New(t)
	pki := harness.PKI(t, "clanmon")
	listen := harness.Address(t)
	s := harness.StartServer(t, harness.ServerOptions{
		Listen: listen, Client: harness.TLSClient(t, pki+"/ca.pem"),
		Config: "global: {scrape_interval: 1s, evaluation_interval: 1s}\nrule_files: [rules.yml]\n",
		Files: map[string]string{
			"web.yml":   fmt.Sprintf("tls_server_config: {cert_file: %s/clanmon.pem, key_file: %[1]s/clanmon.key}\n", pki),
			"rules.yml": "groups: [{name: g, rules: [{alert: DiskOdd, expr: vector(1), labels: {machine: box, severity: warning}, annotations: {summary: odd}}]}]\n",
		},
		Args: []string{
			"--web.config.file=web.yml", "--web.external-url=https://" + listen, "--web.oidc.issuer=" + provider.URL, "--web.oidc.client-id=" + oidctest.ClientID,
			"--web.viewer=group:staff", "--web.operator=group:admins",
			"--discovery.static=node=box@" + harness.NewTarget(t, plain).Host(), "--check=tcp://" + listen, "--notify=webhook+http://" + harness.Address(t) + "/",
		},
	})
	play(t, s.URL, "identity", options{"elsewhere": []string{provider.URL}})
}
