package e2e

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/e2e/harness"
	"github.com/clanmon/clanmon/e2e/oracle"
)

// A Prometheus agent on a machine that nobody can reach pushes to a server that asks it for a
// token. The server says whose samples they are, and shows the machine.
func TestPush(t *testing.T) {
	t.Parallel()
	for _, message := range []string{"prometheus.WriteRequest", "io.prometheus.write.v2.Request"} {
		t.Run(message, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			tokens := filepath.Join(dir, "tokens")
			require.NoError(t, os.WriteFile(tokens, fmt.Appendf(nil, "laptop machine %x\n", sha256.Sum256([]byte("s3cret"))), 0o600))
			server := harness.StartServer(t, harness.ServerOptions{Config: "global: {scrape_interval: 1s, evaluation_interval: 1s}\n", Args: []string{"--push", "--web.token-file=" + tokens, "--rules.builtin=on"}})
			target := harness.NewTarget(t, "# TYPE answer gauge\nanswer 42\n")
			_, port, _ := strings.Cut(target.Host(), ":")
			agent := func(token string) *harness.Server {
				return harness.StartServer(t, harness.ServerOptions{Path: oracle.Path(t, "prometheus"), Agent: true, Config: fmt.Sprintf(`
global: {scrape_interval: 1s}
remote_write: [{url: "%s/api/v1/push", protobuf_message: %s, authorization: {credentials: %s}}]
scrape_configs: [{job_name: j, static_configs: [{targets: [%q], labels: {availability: always}}]}]
`, server.URL, message, token, target.Host())})
			}
			agent("wrong")
			harness.Eventually(t, harness.Patience, func() error {
				n, err := server.Metric(`clanmon_push_requests_refused_total{reason="not_identified"}`)
				if err != nil {
					return err
				}
				return atLeast(int(n), 1)
			})

			agent("s3cret")
			labels := fmt.Sprintf(`{availability="intermittent",instance="laptop:%s",job="j",machine="laptop"}`, port)
			server.WaitValue("answer"+labels, 42)
			server.WaitValue("up"+labels, 1)
			harness.Eventually(t, harness.Patience, func() error {
				if body := server.Get("/api/clanmon/v1/machines?machine=laptop").Body; !strings.Contains(body, `"method":"push"`) {
					return fmt.Errorf("not shown as a machine that pushes: %s", body)
				}
				return nil
			})
			require.NotContains(t, server.Log(), "s3cret")
		})
	}
}
