//go:build long

package e2e

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/e2e/harness"
)

// A server that is killed, stopped, reloaded, given hostile and dead targets, and whose
// disk fills and empties, in random order: every sample that it acknowledged is there at
// the end, with its value. CLANMON_SOAK is how long (30m by default), CLANMON_SEED the
// order of an earlier run, which the log names.
func TestSoak(t *testing.T) {
	length, err := time.ParseDuration(cmp.Or(os.Getenv("CLANMON_SOAK"), "30m"))
	require.NoError(t, err)
	seed, err := strconv.ParseUint(cmp.Or(os.Getenv("CLANMON_SEED"), fmt.Sprint(time.Now().UnixNano())), 10, 64)
	require.NoError(t, err)
	t.Logf("CLANMON_SEED=%d", seed)
	random := rand.New(rand.NewPCG(seed, 0))

	d := newDisk(t, "400m")
	listen := harness.Address(t)
	hostile := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "a{x=%q} 1\n", strings.Repeat("v", 17<<20))
	}))
	defer hostile.Close()
	config := func(targets string) string {
		return "global: {scrape_interval: 1s, scrape_timeout: 1s}\nscrape_configs: [{job_name: x, static_configs: [{targets: [" + targets + "]}]}]\n"
	}
	configs := []string{config("'" + listen + "'"), config("'127.0.0.1:1'"), config("'" + strings.TrimPrefix(hostile.URL, "http://") + "'")}
	o := harness.ServerOptions{Config: configs[0], Listen: listen, Data: filepath.Join(d.dir, "data"), Args: append(receiving, "--enable-feature=memory-snapshot-on-shutdown")}
	s := harness.StartServer(t, o)

	// Records are larger than a page of the WAL, or none would tear.
	l := newLedger(t, 2000)
	l.server.Store(s)

	begin := time.Now()
	restart := func(launch bool) {
		s = harness.LaunchServer(t, o)
		l.server.Store(s)
		if !launch {
			s.WaitReady()
		}
	}
	counts := make(map[string]int)
	for time.Since(begin) < length {
		time.Sleep(time.Duration(2000+random.IntN(4000)) * time.Millisecond)
		what := []string{"kill", "term", "full and free", "full, kill, start", "full, term, start", "reload"}[random.IntN(6)]
		counts[what]++
		t.Logf("%s %s", time.Now().UTC().Format("15:04:05.000"), what)
		switch what {
		case "kill":
			s.Kill()
			restart(false)
		case "term":
			require.Zero(t, s.Terminate())
			restart(false)
		case "full and free":
			d.fill()
			time.Sleep(time.Duration(random.IntN(5000)) * time.Millisecond)
			d.free()
		case "full, kill, start":
			d.fill()
			time.Sleep(time.Duration(random.IntN(3000)) * time.Millisecond)
			s.Kill()
			restart(true)
			time.Sleep(time.Duration(random.IntN(3000)) * time.Millisecond)
			d.free()
			s.WaitReady()
		case "full, term, start":
			d.fill()
			time.Sleep(time.Duration(random.IntN(3000)) * time.Millisecond)
			s.Terminate() // its last snapshots find no room
			d.free()
			restart(false)
		case "reload":
			require.NoError(t, os.WriteFile(s.Config, []byte(configs[random.IntN(len(configs))]), 0o600))
			s.Signal(syscall.SIGHUP)
		}
		require.False(t, s.Exited(), "%s: the server died:\n%s", what, s.Log())
	}
	t.Log(counts)
	l.end(s)
}
