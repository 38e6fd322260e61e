package e2e

import (
	"cmp"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/e2e/harness"
)

// memory of a process in MiB: VmRSS now, VmHWM at most so far.
func memory(t *testing.T, pid int, what string) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	require.NoError(t, err)
	m := regexp.MustCompile(what + `:\s+(\d+) kB`).FindSubmatch(status)
	require.NotNil(t, m)
	kib, err := strconv.Atoi(string(m[1]))
	require.NoError(t, err)
	return kib >> 10
}

// A target may be any program on any machine. Whatever it answers costs itself: the
// server lives, stays small, and says what is wrong. The first of them ends a
// Prometheus.
func TestHostileTargets(t *testing.T) {
	t.Parallel()
	repeat := func(w io.Writer, text string, n int) {
		for range n {
			if _, err := io.WriteString(w, text); err != nil {
				return
			}
		}
	}
	mebibyte := strings.Repeat("v", 1<<20)
	for name, write := range map[string]func(w io.Writer){
		"label of 17 MiB": func(w io.Writer) {
			io.WriteString(w, `a{x="`)
			repeat(w, mebibyte, 17)
			io.WriteString(w, "\"} 1\n")
		},
		"a million labels": func(w io.Writer) {
			io.WriteString(w, "a{")
			for i := range 1000000 {
				fmt.Fprintf(w, "l%d=\"x\",", i)
			}
			io.WriteString(w, "} 1\n")
		},
		"comment of 64 MiB": func(w io.Writer) {
			io.WriteString(w, "# ")
			repeat(w, mebibyte, 64)
		},
		"endless series":   func(w io.Writer) { repeat(w, "a{b=\"c\"} 1\n", 1<<30) },
		"endless newlines": func(w io.Writer) { repeat(w, strings.Repeat("\n", 4096), 1<<30) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			hostile(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "text/plain; version=0.0.4")
				write(w)
			}, atMost[name])
		})
	}
	t.Run("gzip bomb of 1 GiB", func(t *testing.T) {
		t.Parallel()
		hostile(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/plain; version=0.0.4")
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			repeat(z, mebibyte, 1<<10)
			z.Close()
		}, 0)
	})
}

// atMost is how many MiB a payload may take where it is not 150. Labels are counted
// once all of a line is read: 12 MB of text are 240 then.
var atMost = map[string]int{"a million labels": 350}

func hostile(t *testing.T, h http.HandlerFunc, most int) {
	t.Helper()
	target := httptest.NewServer(h)
	t.Cleanup(target.CloseClientConnections)
	s := harness.StartServer(t, harness.ServerOptions{Config: fmt.Sprintf(
		"global: {scrape_interval: 5s, scrape_timeout: 5s}\nscrape_configs: [{job_name: hostile, static_configs: [{targets: ['%s']}]}]\n", strings.TrimPrefix(target.URL, "http://"))})
	begin := memory(t, s.Pid(), "VmRSS")
	harness.Eventually(t, harness.Patience, func() error {
		var answer struct {
			Data struct {
				ActiveTargets []struct{ Health, LastError string }
			}
		}
		require.False(t, s.Exited(), "the server died: %s", s.Log())
		if err := json.Unmarshal([]byte(s.Get("/api/v1/targets").Body), &answer); err != nil {
			return err
		}
		if a := answer.Data.ActiveTargets; len(a) != 1 || a[0].Health != "down" || a[0].LastError == "" {
			return fmt.Errorf("%+v", a)
		}
		return nil
	})
	s.WaitValue(`up{job="hostile"}`, 0)
	grown := memory(t, s.Pid(), "VmHWM") - begin
	t.Logf("%d MiB, at most %d more", begin, grown)
	require.Less(t, grown, cmp.Or(most, 150))
}
