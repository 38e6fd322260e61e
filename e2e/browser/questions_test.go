package browser

import (
	"fmt"
	"math"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/e2e/harness"
	"github.com/clanmon/clanmon/e2e/oracle"
)

// Questions of an administrator, each answered within three interactions.
func TestQuestions(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	week := harness.WriteFile(t, t.TempDir(), "week.om", history(time.Now()))
	out, err := exec.Command(oracle.Path(t, "promtool"), "tsdb", "create-blocks-from", "--max-block-duration=240h", "openmetrics", week, data).CombinedOutput()
	require.NoError(t, err, "%s", out)
	const now = `node_cpu_seconds_total{cpu="0",mode="user"} 1e7
node_cpu_seconds_total{cpu="0",mode="idle"} 1e7
node_memory_MemTotal_bytes 8e9
node_memory_MemAvailable_bytes 6e9
`
	target := func(more string) string { return harness.NewTarget(t, now+more).Host() }
	s := harness.StartServer(t, harness.ServerOptions{
		Data:   data,
		Config: "global: {scrape_interval: 1s, evaluation_interval: 1s}\n",
		Args: []string{
			"--discovery.static=node=alpha@" + target(units(1)) + ",beta@" + target("") + ",gamma@" + target("clanmon_reboot_required 1\n"),
			"--rules.builtin=on", "--rules.set=MemoryAlmostGone.threshold=0.25",
		},
	})
	s.WaitValue(`count(count_over_time(node_memory_MemTotal_bytes[10m]) > 4)`, 3)
	for _, scenario := range []string{"questions", "phone"} {
		t.Run(scenario, func(t *testing.T) { play(t, s.URL, scenario, nil) })
	}
}

// units are what two units of a machine use.
func units(factor float64) string {
	return fmt.Sprintf("systemd_unit_memory_bytes{kind=\"current\",name=\"postgresql.service\",type=\"service\"} %g\n", 3e9*factor) +
		fmt.Sprintf("systemd_unit_memory_bytes{kind=\"current\",name=\"sshd.service\",type=\"service\"} %g\n", 1e7*factor)
}

// history is nine days of two machines up to a moment before end, as OpenMetrics: a
// sample each five minutes.
func history(end time.Time) string {
	var cpu, memory strings.Builder
	for _, m := range []string{"alpha", "beta"} {
		labels := fmt.Sprintf(`machine=%q,job="node",instance="%s:1"`, m, m)
		for _, mode := range []string{"user", "idle"} {
			total := 0.0
			for at := end.Add(-9 * 24 * time.Hour); at.Before(end.Add(-time.Minute)); at = at.Add(5 * time.Minute) {
				busy := 0.3 + 0.2*math.Sin(float64(at.Unix())/9000)
				if mode == "idle" {
					busy = 1 - busy
				}
				total += 300 * busy
				fmt.Fprintf(&cpu, "node_cpu_seconds_total{cpu=\"0\",mode=%q,%s} %.3f %d\n", mode, labels, total, at.Unix())
			}
		}
	}
	for _, unit := range []string{"postgresql.service", "sshd.service"} {
		for at := end.Add(-25 * time.Hour); at.Before(end.Add(-time.Minute)); at = at.Add(5 * time.Minute) {
			fmt.Fprintf(&memory, "systemd_unit_memory_bytes{kind=\"current\",name=%q,type=\"service\",machine=\"alpha\",job=\"node\",instance=\"alpha:1\"} %d %d\n", unit, 1000*len(unit), at.Unix())
		}
	}
	return "# TYPE node_cpu_seconds counter\n" + cpu.String() + "# TYPE systemd_unit_memory_bytes gauge\n" + memory.String() + "# EOF\n"
}
