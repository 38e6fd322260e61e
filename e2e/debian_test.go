package e2e

import (
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/e2e/harness"
)

// The data directory of Debian's own Prometheus package, which is years older,
// opens with everything in it, stopped or killed.
func TestDataDirectoryOfDebianPackage(t *testing.T) {
	t.Parallel()
	debian := harness.Tool(t, "/usr/bin/prometheus", "prometheus")
	for name, signal := range map[string]syscall.Signal{"stopped": syscall.SIGTERM, "killed": syscall.SIGKILL} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			target := harness.NewTarget(t, "# TYPE answer gauge\nanswer{to=\"all\"} 42\n# TYPE asked_total counter\nasked_total 7\n")
			old := harness.StartServer(t, harness.ServerOptions{Path: debian, Config: scrapeConfig("j", target.Host())})
			old.WaitValue("count_over_time(answer[1m]) >= bool 3", 1)
			stored := old.Value("count_over_time(answer[1m])")
			at := time.Now()
			old.Signal(signal)
			old.Wait()

			s := harness.StartServer(t, harness.ServerOptions{Config: "global: {}\n", Data: old.Data})
			for expr, atLeast := range map[string]float64{
				`count_over_time(answer{job="j",to="all"}[2m])`: stored,
				`sum_over_time(answer[2m]) / 42`:                stored,
				`last_over_time(asked_total[2m])`:               7,
				`count_over_time(up{job="j"}[2m])`:              stored,
				`count({__name__=~".+",job="j"})`:               7, // two, up and four about the scrape
			} {
				v, err := s.TryQuery(expr, at)
				require.NoError(t, err)
				require.Len(t, v, 1, expr)
				require.GreaterOrEqual(t, v[0].Value, atLeast, expr)
			}
			require.NotContains(t, s.Log(), "level=ERROR")
			require.Zero(t, s.Terminate())
		})
	}
}
