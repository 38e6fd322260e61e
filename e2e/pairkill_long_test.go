//go:build long

package e2e

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/e2e/simfleet/sim"
)

// As TestAPairKilled, 20 times in an order from a seed (PAIR_SEED), with ten simulated machines more,
// and with queries all the time.
func TestAPairOfManyKills(t *testing.T) {
	random := seeded(t, "PAIR_SEED")
	fleet, err := sim.New(10, 1)
	require.NoError(t, err)
	machines := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.Atoi(r.URL.Path[1:])
		_, _ = w.Write(fleet.Machines[n].Metrics(time.Now(), false))
	}))
	t.Cleanup(machines.Close)
	var job strings.Builder
	job.WriteString("- job_name: sim\n  static_configs:\n")
	for n := range fleet.Machines {
		fmt.Fprintf(&job, "  - {targets: [%q], labels: {__metrics_path__: /%d, machine: sim%d}}\n", machines.Listener.Addr(), n, n)
	}
	p := newKilledPair(t, job.String())

	ctx, stop := context.WithCancel(t.Context())
	t.Cleanup(stop)
	for i := range p.options {
		go func() {
			for ctx.Err() == nil {
				query := "http://" + p.options[i].Listen + "/api/v1/query?query=sum+by(machine)(rate({__name__=~'node_.*'}[5m]))"
				if req, err := http.NewRequestWithContext(ctx, http.MethodGet, query, nil); err == nil {
					if r, err := http.DefaultClient.Do(req); err == nil { // or it is killed
						r.Body.Close()
					}
				}
				select {
				case <-time.After(500 * time.Millisecond):
				case <-ctx.Done():
				}
			}
		}()
	}
	for n, order := 0, random.Perm(2); n < 20; n++ {
		victim := random.IntN(2)
		if n < 2 { // each at least once
			victim = order[n]
		}
		p.round(random, victim, 5)
	}
	p.finish(random)
}
