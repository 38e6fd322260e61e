package e2e

import (
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/e2e/bench/proc"
	"github.com/clanmon/clanmon/e2e/harness"
)

var hostilePeer = flag.String("hostile.peer", "", "program that TestHostileRequests asks in place of clanmon, to see how another one does; nothing is expected of it")

// hostileAsk is a request that nobody means well with.
type hostileAsk struct {
	name         string
	method, path string
	form         url.Values // in the URL of a GET, in the body of a POST
	code         int
	says         string // part of the answer
}

func hostileAsks() []hostileAsk {
	around := func(n int, open, middle, end string) string {
		return strings.Repeat(open, n) + middle + strings.Repeat(end, n)
	}
	post := func(path, param, value string) hostileAsk {
		return hostileAsk{method: http.MethodPost, path: "/api/v1/" + path, form: url.Values{param: {value}}}
	}
	var asks []hostileAsk
	add := func(name string, a hostileAsk, code int, says string) {
		a.name, a.code, a.says = name+": "+strings.TrimPrefix(a.path, "/api/v1/"), code, says
		asks = append(asks, a)
	}
	const nesting, length = "--query.max-nesting allows 500", "--query.max-length allows"
	for name, query := range map[string]string{
		"1e6 brackets":     around(1e6/2, "(", "1", ")"),
		"1e6 signs":        around(1e6, "-", "1", ""),
		"1e5 operators":    around(1e5, "", "1", "+1"),
		"1e5 sets":         around(1e5, "", "up", " or up"),
		"1e5 functions":    around(1e5, "abs(", "up", ")"),
		"5e4 aggregations": around(5e4, "sum by (a) (", "up", ")"),
		"4e4 subqueries":   around(4e4, "", "up", "[1m:1m]"),
	} {
		for _, path := range []string{"query", "query_range", "query_exemplars", "format_query", "parse_query"} {
			a := post(path, "query", query)
			for k, v := range map[string]string{"start": "0", "end": "60", "step": "15"} {
				a.form.Set(k, v)
			}
			add(name, a, http.StatusBadRequest, nesting)
		}
		add(name, post("series", "match[]", query), http.StatusBadRequest, nesting)
		add(name, post("labels", "match[]", query), http.StatusBadRequest, nesting)
	}
	patterns := `up{a=~"` + strings.Repeat("(abc{1000})", 1000) + `",b=~"` + strings.Repeat("(abc{1000})", 1000) + `"}`
	add("regular expressions", post("query", "query", patterns), http.StatusBadRequest, length)
	add("regular expressions", post("series", "match[]", patterns), http.StatusBadRequest, length)
	add("a string of 4 MiB", post("query", "query", `"`+strings.Repeat("x", 4<<20)+`"`), http.StatusBadRequest, length)
	add("5e3 selectors", hostileAsk{method: http.MethodPost, path: "/api/v1/series", form: url.Values{"match[]": strings.Split(strings.Repeat("up,", 5e3), ",")}}, http.StatusBadRequest, nesting)

	brackets := around(1e5, "(", "up", ")")
	get := func(path, param string) hostileAsk {
		return hostileAsk{method: http.MethodGet, path: path, form: url.Values{param: {brackets}}}
	}
	add("1e5 brackets", get("/api/v1/label/job/values", "match[]"), http.StatusBadRequest, nesting)
	add("1e5 brackets", get("/api/v1/rules", "match[]"), http.StatusBadRequest, nesting)
	add("1e5 brackets", get("/api/v1/targets/metadata", "match_target"), http.StatusBadRequest, nesting)
	add("1e5 brackets", get("/federate", "match[]"), http.StatusBadRequest, nesting)
	add("1e5 brackets", get("/api/v2/alerts", "filter"), http.StatusRequestURITooLong, "limit is 16384")
	add("1e5 brackets", get("/api/v2/silences", "filter"), http.StatusRequestURITooLong, "limit is 16384")
	add("1e5 brackets", get("/api/v2/alerts/groups", "receiver"), http.StatusRequestURITooLong, "limit is 16384")

	// What is just allowed.
	most := around(490, "sum by (a) (", "up", ")")
	add("490 aggregations", post("query", "query", most), http.StatusOK, "success")
	add("490 aggregations", post("format_query", "query", most), http.StatusOK, "success")
	add("490 aggregations", post("parse_query", "query", most), http.StatusOK, "success")
	names := `up{instance=~"` + strings.Repeat("machine-1.example.org:9100|", 38000) + `"}`
	add("1 MiB of names", post("query", "query", names), http.StatusOK, "success")
	add("1 MiB of names", post("series", "match[]", names), http.StatusOK, "success")
	return asks
}

// Whatever somebody asks is answered or refused soon and in little memory, and the
// refusal names the flag.
func TestHostileRequests(t *testing.T) {
	t.Parallel()
	o := harness.ServerOptions{Config: "scrape_configs: []\n", Path: *hostilePeer}
	s := harness.StartServer(t, o)
	client := &http.Client{Timeout: harness.Patience}
	for _, a := range hostileAsks() {
		if *hostilePeer != "" { // one that is busy with the last request would be slow with the next one
			s.Kill()
			s = harness.StartServer(t, o)
		}
		begin := memory(t, s.Pid(), "VmRSS")
		require.NoError(t, os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", s.Pid()), []byte("5"), 0)) // VmHWM starts anew
		started, busy := time.Now(), cpuTime(t, s.Pid())
		code, body := a.send(t, client, s.URL)
		took := time.Since(started)
		busy = cpuTime(t, s.Pid()) - busy
		grown := memory(t, s.Pid(), "VmHWM") - begin
		t.Logf("%-40s %d after %6.3f s, %4d MiB more", a.name, code, took.Seconds(), grown)
		if *hostilePeer != "" {
			continue
		}
		require.Equal(t, a.code, code, "%s: %.300s", a.name, body)
		require.Contains(t, body, a.says, a.name)
		require.Less(t, grown, 150, a.name)
		if a.code != http.StatusOK {
			// It takes milliseconds, however long that is on a busy machine.
			require.Less(t, busy, 5.0, "%s: seconds of CPU", a.name)
		}
	}
}

func cpuTime(t *testing.T, pid int) float64 {
	t.Helper()
	stat, err := proc.Read(pid)
	require.NoError(t, err)
	return stat.CPU
}

// send returns 0 for an answer that does not come.
func (a hostileAsk) send(t *testing.T, client *http.Client, base string) (code int, body string) {
	t.Helper()
	text := a.form.Encode()
	address, r := base+a.path, strings.NewReader("")
	if a.method == http.MethodPost {
		r = strings.NewReader(text)
	} else {
		address += "?" + text
	}
	req, err := http.NewRequest(a.method, address, r)
	require.NoError(t, err)
	if a.method == http.MethodPost {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	require.NoError(t, err)
	return resp.StatusCode, string(answer)
}
