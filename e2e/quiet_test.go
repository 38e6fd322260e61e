package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/e2e/harness"
)

// In quiet hours only what is critical is sent; what still fires is sent when they end. They
// cover all hours here, until the settings say otherwise.
func TestQuietHours(t *testing.T) {
	t.Parallel()
	h := localHook(t)
	dir := t.TempDir()
	settings := filepath.Join(dir, "settings.json")
	write := func(hours string) {
		t.Helper()
		require.NoError(t, os.WriteFile(settings, []byte(`{"notifications": {"quiet": [`+hours+`]}}`), 0o600))
	}
	write(`"00:00-24:00"`)
	rules := harness.WriteFile(t, dir, "rules.yml", `
groups:
- name: g
  rules:
  - {alert: Late, expr: vector(1), labels: {severity: warning, machine: m}}
  - {alert: Grave, expr: vector(1), labels: {severity: critical, machine: m}}
`)
	s := harness.StartServer(t, harness.ServerOptions{
		Config: fmt.Sprintf("global: {evaluation_interval: 1s}\nrule_files: [%q]\n", rules),
		Args: []string{
			"--notify=webhook+" + h.URL, "--clan.settings=" + settings,
			"--rules.alert.resend-delay=1s", "--web.enable-lifecycle",
		},
	})
	h.wait(t, 2*harness.Patience, "firing", "Grave/m")
	// The other one was evaluated with it, and waits.
	harness.Eventually(t, harness.Patience, func() error {
		a := s.Get("/api/clanmon/v1/fleet")
		if a.Status != http.StatusOK || !strings.Contains(a.Body, "Quiet hours: only critical alerts are sent") {
			return fmt.Errorf("fleet: %s", a.Body)
		}
		return nil
	})
	require.NotContains(t, h.told("firing"), "Late/m")

	write("")
	require.Equal(t, http.StatusOK, s.Post("/-/reload", "", "").Status)
	h.wait(t, 2*harness.Patience, "firing", "Late/m")
}
