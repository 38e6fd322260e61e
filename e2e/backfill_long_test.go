//go:build long

package e2e

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/e2e/harness"
)

// Server, exporter and link go away 50 times, in an order from a seed (SPOOL_SEED), several at
// once perhaps, without a warning. In the end every sample that the exporter kept for a gap is
// in the store, once.
func TestGapsOfManyKills(t *testing.T) {
	random := seeded(t, "SPOOL_SEED")
	s := newSpooled(t)
	s.scrapes(3)
	for range 50 {
		what := 1 + random.IntN(7) // a bit for each
		server, exporter, link := what&1 != 0, what&2 != 0, what&4 != 0
		if server {
			s.server.Kill()
		}
		if link {
			s.link.cut()
		}
		if exporter {
			s.exporter.Kill()
			time.Sleep(time.Duration(random.IntN(3000)) * time.Millisecond)
			s.exporter.Process = harness.Start(t, harness.Command{Args: []string{
				"exporter", "--node.listen-address=" + s.exporter.Node, "--systemd.listen-address=" + s.exporter.Systemd,
				"--history=1h", "--history.interval=1s", "--history.path=" + s.dir,
			}})
		}
		time.Sleep(time.Duration(1000+random.IntN(6000)) * time.Millisecond)
		if link {
			s.link.plug()
		}
		if server {
			s.again()
		}
		time.Sleep(time.Duration(random.IntN(4000)) * time.Millisecond) // perhaps in the middle of filling
	}
	gaps, _ := s.gaps()
	require.NotEmpty(t, gaps)
	s.filledWithin(15*time.Minute, len(gaps)) // attempts that failed are repeated ever less often
}
