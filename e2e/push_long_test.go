//go:build long

package e2e

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Server, exporter and link go away 50 times, in an order from a seed (PUSH_SEED), several at once
// perhaps, without a warning. In the end every sample that was gathered is in the store, once.
func TestPushOfManyKills(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("PUSH_SEED"); text != "" {
		var err error
		seed, err = strconv.ParseUint(text, 10, 64)
		require.NoError(t, err)
	}
	t.Logf("PUSH_SEED=%d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	p := newPusher(t)
	for range 50 {
		what := 1 + random.IntN(7) // a bit for each
		server, exporter, link := what&1 != 0, what&2 != 0, what&4 != 0
		if server {
			p.server.server.Kill()
		}
		if link {
			p.link.cut()
		}
		if exporter {
			p.exporter.Kill()
			time.Sleep(time.Duration(random.IntN(2000)) * time.Millisecond)
			p.start()
		}
		time.Sleep(time.Duration(random.IntN(5000)) * time.Millisecond)
		if link {
			p.link.plug()
		}
		if server {
			p.server.again()
		}
		time.Sleep(time.Duration(random.IntN(3000)) * time.Millisecond) // perhaps in the middle of the backlog
	}
	p.sent(5 * time.Minute)
	p.complete()
}
