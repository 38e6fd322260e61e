//go:build long

package e2e

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/e2e/harness"
	"github.com/clanmon/clanmon/e2e/oracle"
)

// digestZone is one that no machine of tests is in, so that flags are what counts.
const digestZone = "Asia/Kathmandu"

// digestServer has one machine, one alert of it, and a daily digest.
func digestServer(t *testing.T, h *hook, at time.Time, data string, args ...string) {
	t.Helper()
	zone, err := time.LoadLocation(digestZone)
	require.NoError(t, err)
	address, _ := exporterStandIn(t, "bad 1\n")
	rules := "groups: [{name: g, rules: [{alert: Bad, expr: bad == 1, labels: {severity: warning}}]}]\n"
	harness.LaunchServer(t, harness.ServerOptions{
		Config: fmt.Sprintf("global: {scrape_interval: 5s, evaluation_interval: 5s}\nrule_files: [rules.yml]\n"+
			"scrape_configs: [{job_name: node, static_configs: [{targets: [%q], labels: {machine: m1, instance: m1}}]}]\n", address),
		Files: map[string]string{"rules.yml": rules}, Data: data,
		Args: append(args, "--notify=webhook+"+h.URL, "--notify.digest=daily", "--notify.digest-at="+at.In(zone).Format("15:04"), "--notify.time-zone="+digestZone),
	})
}

// digests are those that arrived.
func (h *hook) digests() (all []notification) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, n := range h.got {
		for _, a := range n.Alerts {
			if a.Labels["alertname"] == "Digest" {
				all = append(all, n)
			}
		}
	}
	return all
}

// waitDigest waits for the first one. A server sends none in the first six minutes.
func (h *hook) waitDigest(t *testing.T) notification {
	t.Helper()
	harness.Eventually(t, 15*time.Minute, func() error {
		if len(h.digests()) == 0 {
			return fmt.Errorf("no digest: %+v", h.told("firing"))
		}
		return nil
	})
	return h.digests()[0]
}

// A pair sends the digest when it is due, once.
func TestDigestIsSentAtItsTime(t *testing.T) {
	t.Parallel()
	h, due := localHook(t), time.Now().Truncate(time.Minute).Add(8*time.Minute)
	gossip := [2]string{harness.Address(t), harness.Address(t)}
	for i := range gossip {
		digestServer(t, h, due, "", "--cluster.listen-address="+gossip[i], "--cluster.peer="+gossip[1-i])
	}
	n := h.waitDigest(t)
	require.False(t, n.at.Before(due), "%s is before %s", n.at, due)
	require.Len(t, n.Alerts, 1)
	require.Equal(t, "firing", n.Status)
	require.Regexp(t, `^Daily digest: 1 machine, \d+(\.\d+)? % uptime, 1 alert$`, n.Alerts[0].Annotations["summary"])
	text := n.Alerts[0].Annotations["description"]
	require.Contains(t, text, "Alerts: 1 fired: Bad on m1")
	require.Contains(t, text, "Still firing: Bad on m1")

	// The other server waits for this one, and both look once a minute.
	quiet := n.at.Add(2*time.Minute + 30*time.Second)
	harness.Eventually(t, 5*time.Minute, func() error {
		if time.Now().Before(quiet) {
			return fmt.Errorf("waiting for a second digest")
		}
		return nil
	})
	require.Len(t, h.digests(), 1)
}

// A server that was off when the digest was due sends it later, if it was there in the time
// that the digest is about.
func TestDigestIsSentLate(t *testing.T) {
	t.Parallel()
	h, due := localHook(t), time.Now().Add(-10*time.Minute)
	var text strings.Builder
	text.WriteString("# TYPE up gauge\n")
	for at := due.Add(-25 * time.Hour); at.Before(due); at = at.Add(time.Minute) {
		value := 1
		if due.Sub(at) < 6*time.Hour {
			value = 0
		}
		fmt.Fprintf(&text, "up{job=\"node\",instance=\"m1\",machine=\"m1\"} %d %d\n", value, at.Unix())
	}
	text.WriteString("# EOF\n")
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	out, err := exec.Command(oracle.Path(t, "promtool"), "tsdb", "create-blocks-from", "openmetrics", harness.WriteFile(t, dir, "om", text.String()), data).CombinedOutput()
	require.NoError(t, err, "%s", out)
	digestServer(t, h, due, data)
	n := h.waitDigest(t)
	require.Regexp(t, `^Daily digest: 1 machine, 7\d(\.\d+)? % uptime, 1 alert$`, n.Alerts[0].Annotations["summary"])
}
