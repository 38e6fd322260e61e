//go:build long

package e2e

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/prometheus/prompb"
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
	o := harness.ServerOptions{Config: configs[0], Listen: listen, Data: filepath.Join(d.dir, "data"), Args: []string{"--web.enable-remote-write-receiver"}}
	s := harness.StartServer(t, o)

	// The writer sends what was refused once more, as every sender does.
	// Records are larger than a page of the WAL, or none would tear; what is looked at in
	// the end is a part of the series.
	const series, checked = 2000, 50
	acknowledged := make(map[int64]float64) // milliseconds → value, the same for all series
	var mu sync.Mutex
	server := s
	stop := make(chan struct{})
	written := make(chan struct{})
	go func() {
		defer close(written)
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for value := 1.0; ; value++ {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			mu.Lock()
			to := server
			mu.Unlock()
			at := time.Now().UnixMilli()
			var batch []prompb.TimeSeries
			for i := range series {
				batch = append(batch, harness.Series([]prompb.Sample{{Timestamp: at, Value: value}}, "soak", "i", fmt.Sprint(i)))
			}
			if to.TryWrite(batch...) == nil {
				acknowledged[at] = value
			}
		}
	}()

	begin := time.Now()
	restart := func(launch bool) {
		fresh := harness.LaunchServer(t, o)
		mu.Lock()
		server = fresh
		mu.Unlock()
		s = fresh
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
	close(stop)
	<-written
	t.Logf("%v, %d batches of %d samples acknowledged", counts, len(acknowledged), series)
	require.NotEmpty(t, acknowledged)

	type answer struct {
		Data struct {
			Result []struct {
				Metric map[string]string
				Values [][2]any
			}
		}
	}
	lost, wrong := 0, 0
	stored := make(map[string]map[int64]float64)
	var a answer
	path := fmt.Sprintf("/api/v1/query?time=%d&query=soak%%7Bi%%3D~%%22%%5B0-9%%5D%%7C%%5B1-4%%5D%%5B0-9%%5D%%22%%7D%%5B%ds%%5D", time.Now().Unix(), int(time.Since(begin).Seconds())+60)
	require.NoError(t, json.Unmarshal([]byte(s.Get(path).Body), &a))
	for _, r := range a.Data.Result {
		values := make(map[int64]float64, len(r.Values))
		for _, v := range r.Values {
			value, err := strconv.ParseFloat(v[1].(string), 64)
			require.NoError(t, err)
			values[int64(v[0].(float64)*1000+0.5)] = value
		}
		stored[r.Metric["i"]] = values
	}
	require.Len(t, stored, checked)
	for _, values := range stored {
		for at, want := range acknowledged {
			switch got, ok := values[at]; {
			case !ok:
				lost++
				if lost <= 5 {
					t.Logf("lost: a sample of %s", time.UnixMilli(at).UTC().Format("15:04:05.000"))
				}
			case got != want:
				wrong++
			}
		}
	}
	require.Zero(t, lost, "samples lost")
	require.Zero(t, wrong, "samples with another value")
}
