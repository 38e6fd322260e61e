package look

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/prometheus/config"
	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/server/internal/caller"
)

// machine is the exporter of a machine, and the server that looks at it as somebody.
type machine struct {
	t       *testing.T
	answer  http.HandlerFunc
	mu      sync.Mutex
	asked   []string
	more    []Exporter // asked before it
	enabled bool
	who     caller.Caller
	later   caller.Caller // who it is when it is asked again
	recheck time.Duration
	log     bytes.Buffer
	url     string
}

var operator = caller.Caller{Name: "alice", Via: caller.ViaToken, Configured: true, Role: caller.Operator}

func newMachine(t *testing.T, answer http.HandlerFunc) *machine {
	t.Helper()
	m := &machine{t: t, answer: answer, enabled: true, who: operator, later: operator, recheck: time.Hour}
	exporter := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		m.mu.Lock()
		m.asked = append(m.asked, r.Method+" "+r.URL.Path+" "+string(body))
		answer := m.answer
		m.mu.Unlock()
		answer(w, r)
	}))
	t.Cleanup(exporter.Close)
	m.url = exporter.URL
	return m
}

func (m *machine) server() *httptest.Server {
	m.t.Helper()
	own, err := url.Parse(m.url + "/metrics?collect[]=cpu")
	require.NoError(m.t, err)
	l := New(Options{
		Enabled: m.enabled,
		Exporters: func(name string) ([]Exporter, bool) {
			if name == "bare" {
				return nil, true
			}
			return append(m.more, Exporter{"node", own}), name == "web1"
		},
		Dial: new(net.Dialer).DialContext, Logger: slog.New(slog.NewTextHandler(&m.log, nil)),
	})
	l.recheck = m.recheck
	jobs := filepath.Join(m.t.TempDir(), "jobs.yml")
	require.NoError(m.t, os.WriteFile(jobs, []byte("scrape_configs: [{job_name: node}]\n"), 0o600))
	cfg, err := config.Load(fmt.Sprintf("scrape_config_files: [%q]\n", jobs), slog.New(slog.DiscardHandler))
	require.NoError(m.t, err)
	require.NoError(m.t, l.ApplyConfig(cfg))
	mux := http.NewServeMux()
	mux.Handle("/journal", http.StripPrefix("/journal", l.JournalHandler()))
	mux.Handle("/processes", http.StripPrefix("/processes", l.ProcessesHandler()))
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mux.ServeHTTP(w, r.WithContext(caller.WithAgain(caller.With(r.Context(), m.who), func() caller.Caller { return m.later })))
	}))
	m.t.Cleanup(s.Close)
	return s
}

// get asks the server, and returns the status and data or error of its answer.
func (m *machine) get(path string, header ...string) (int, string) {
	m.t.Helper()
	req, err := http.NewRequest(http.MethodGet, m.server().URL+path, nil)
	require.NoError(m.t, err)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	require.NoError(m.t, err)
	defer res.Body.Close()
	var a struct {
		Data  json.RawMessage
		Error string
	}
	require.NoError(m.t, json.NewDecoder(res.Body).Decode(&a))
	return res.StatusCode, string(a.Data) + a.Error
}

func says(lines ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/x-ndjson")
		io.WriteString(w, strings.Join(lines, "\n")+"\n")
	}
}

func TestJournalOfAUnit(t *testing.T) {
	m := newMachine(t, says(
		`{"entry":{"__CURSOR":"s=1;i=1","__REALTIME_TIMESTAMP":"1700000000000000","PRIORITY":"3","MESSAGE":"disk I/O error"}}`,
		`{"entry":{"MESSAGE":"\u001b[31m\u202egnp"}}`,
		`{"end":{"reason":"lines"}}`,
	))
	code, text := m.get("/journal?machine=web1&unit=db.service&lines=2&since=2023-11-14T22:13:20.5Z&until=1700000100&priority=err&grep=disk%7Cgnp&boot=0")
	require.Equal(t, http.StatusOK, code, text)
	require.JSONEq(t, `{"machine":"web1","unit":"db.service","limit":"lines","lines":[
		{"__CURSOR":"s=1;i=1","__REALTIME_TIMESTAMP":"1700000000000000","PRIORITY":"3","MESSAGE":"disk I/O error"},
		{"MESSAGE":"␛[31m<U+202E>gnp"}]}`, text)
	require.Equal(t, []string{`POST /look {"kind":"journal","by":"alice","unit":"db.service","lines":2,"since":1700000000.5,"until":1700000100,"priority":3,"grep":"disk|gnp","boot":"0"}` + "\n"}, m.asked)
	require.Contains(t, m.log.String(), `who=alice via=token client=127.0.0.1`)
	require.Contains(t, m.log.String(), `machine=web1 kind=journal unit=db.service`)
	require.NotContains(t, m.log.String(), "gnp", "what somebody searches for is not logged")

	_, _ = m.get("/journal?machine=web1")
	require.Equal(t, `POST /look {"kind":"journal","by":"alice","lines":200}`+"\n", m.asked[1])
}

func TestProcessesOfAMachine(t *testing.T) {
	m := newMachine(t, says(`{"process":{"pid":1,"name":"sys\u0007temd","command":"/sbin/init","unit":"init.scope","cpu":0.5,"memory":1024,"unitIO":3}}`, `{"end":{"total":99}}`))
	code, text := m.get("/processes?machine=web1")
	require.Equal(t, http.StatusOK, code, text)
	require.JSONEq(t, `{"machine":"web1","total":99,"processes":[{"pid":1,"name":"sys␇temd","command":"/sbin/init","unit":"init.scope","cpu":0.5,"memory":1024,"unitIO":3}]}`, text)
	require.Equal(t, []string{`POST /look {"kind":"processes","by":"alice"}` + "\n"}, m.asked)
}

func TestWhoMayLook(t *testing.T) {
	m := newMachine(t, says(`{"end":{}}`))
	for _, path := range []string{"/journal?machine=web1", "/processes?machine=web1"} {
		for want, who := range map[string]caller.Caller{
			"name operators with --web.operator": {Name: "alice", Via: caller.ViaTailscale},
			"bob has the role viewer":            {Name: "bob", Via: caller.ViaOIDC, Configured: true, Role: caller.Viewer},
			"somebody who is not identified":     {Configured: true},
		} {
			m.who = who
			code, text := m.get(path)
			require.Equal(t, http.StatusForbidden, code)
			require.Contains(t, text, want)
		}
		m.who = operator
		code, text := m.get(path, "Sec-Fetch-Site", "cross-site")
		require.Equal(t, http.StatusForbidden, code)
		require.Contains(t, text, "other sites")
		m.enabled = false
		code, text = m.get(path)
		require.Equal(t, http.StatusForbidden, code)
		require.Contains(t, text, "start the server with --look")
		m.enabled = true
		require.Empty(t, m.asked, "the machine was asked")
		code, _ = m.get(path)
		require.Equal(t, http.StatusOK, code)
		m.asked = nil
	}
}

func TestParametersThatCannotBeUsed(t *testing.T) {
	m := newMachine(t, says(`{"end":{}}`))
	for query, want := range map[string]string{
		"":                                     "machine",
		"machine=web1&machine=web2":            "2 times",
		"machine=web1&units=a.service":         `unknown parameter "units"`,
		"machine=web1&unit=--file=/etc/shadow": "unit",
		"machine=web1&unit=a%20b":              "unit",
		"machine=web1&unit=%5Cx2d":             "unit",
		"machine=web1&unit=" + strings.Repeat("a", 292) + ".service": "unit",
		"machine=web1&lines=2001":                                    "lines",
		"machine=web1&lines=many":                                    "lines",
		"machine=web1&since=yesterday":                               "since",
		"machine=web1&since=NaN":                                     "since",
		"machine=web1&until=1e300":                                   "until",
		"machine=web1&priority=loud":                                 "priority",
		"machine=web1&priority=8":                                    "priority",
		"machine=web1&grep=(":                                        "grep",
		"machine=web1&boot=last":                                     "boot",
		"machine=web1&follow=perhaps":                                "follow",
		"machine=web1&follow=1&until=5":                              "until",
		"machine=web1&follow=1&after=x":                              "after",
	} {
		code, text := m.get("/journal?" + query)
		require.Equal(t, http.StatusBadRequest, code, query)
		require.Contains(t, text, want, query)
	}
	code, text := m.get("/journal?machine=web7")
	require.Equal(t, http.StatusNotFound, code)
	require.Contains(t, text, `no machine is named "web7"`)
	code, text = m.get("/processes?machine=bare")
	require.Equal(t, http.StatusNotFound, code)
	require.Contains(t, text, "scrapes no exporter")
	require.Empty(t, m.asked)
}

// What a machine responds instead reaches who asked in words.
func TestMachinesThatCannotBeLookedAt(t *testing.T) {
	m := newMachine(t, nil)
	for want, answer := range map[string]http.HandlerFunc{
		"start its exporter with --look": func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "looking at this machine is off: start its exporter with --look (docs/look.md)", http.StatusForbidden)
		},
		"run clanmon's exporter with --look":       http.NotFound,
		"web1: this machine keeps no journal":      says(`{"end":{"error":"this machine keeps no journal"}}`),
		"broke off before its end":                 says(`{"entry":{"MESSAGE":"a"}}`),
		"not JSON as expected":                     says(`<html>`),
		"broke off: bufio.Scanner: token too long": says(`{"entry":{"MESSAGE":"` + strings.Repeat("a", 1<<20) + `"}}`),
		"responds with 302 Found": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://169.254.169.254/", http.StatusFound)
		},
		"responds with 200 OK": func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") },
		"EOF":                  func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		m.mu.Lock()
		m.answer = answer
		m.mu.Unlock()
		code, text := m.get("/journal?machine=web1")
		require.GreaterOrEqual(t, code, 400)
		require.Contains(t, text, want)
		require.NotContains(t, text, "collect[]")
	}
}

// A machine with several exporters is asked where one of them lets it.
func TestTheExporterThatCanBeLookedThrough(t *testing.T) {
	m := newMachine(t, says(`{"end":{}}`))
	other := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(other.Close)
	for _, address := range []string{other.URL, "http://127.0.0.1:1"} {
		u, err := url.Parse(address)
		require.NoError(t, err)
		m.more = []Exporter{{"node", u}}
		code, text := m.get("/processes?machine=web1")
		require.Equal(t, http.StatusOK, code, text)
	}
	m.answer = http.NotFound
	code, text := m.get("/processes?machine=web1")
	require.Equal(t, http.StatusBadGateway, code)
	require.Contains(t, text, "connection refused", "the first has the most to say")
}

// Lines reach a follower as they come; when the follower goes away, so does the request
// to the machine.
func TestFollow(t *testing.T) {
	gone, next := make(chan struct{}), make(chan struct{})
	m := newMachine(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/x-ndjson")
		fmt.Fprintln(w, `{"entry":{"__CURSOR":"s=1;i=1","MESSAGE":"one\ntwo"}}`)
		_ = http.NewResponseController(w).Flush()
		<-next
		fmt.Fprintln(w, `{"entry":{"__CURSOR":"s=1;i=2","MESSAGE":"three"}}`)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
		close(gone)
	})
	res, err := http.Get(m.server().URL + "/journal?machine=web1&follow=true&after=s%3D1%3Bi%3D0")
	require.NoError(t, err)
	require.Equal(t, "text/event-stream", res.Header.Get("Content-Type"))
	lines := bufio.NewScanner(res.Body)
	expect := func(want string) {
		t.Helper()
		require.True(t, lines.Scan())
		require.Equal(t, want, lines.Text())
	}
	expect("id: s=1;i=1")
	expect(`data: {"__CURSOR":"s=1;i=1","MESSAGE":"one\ntwo"}`)
	expect("")
	close(next)
	expect("id: s=1;i=2")
	res.Body.Close()
	select {
	case <-gone:
	case <-time.After(time.Minute):
		t.Fatal("the machine still sends")
	}
	require.Contains(t, m.asked[0], `"follow":true,"after":"s=1;i=0"`)
}

// Who loses the role while following gets no more lines, and is told why.
func TestFollowEndsWithTheRole(t *testing.T) {
	gone := make(chan struct{})
	m := newMachine(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/x-ndjson")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
		close(gone)
	})
	m.recheck, m.later = time.Millisecond, caller.Caller{Name: "alice", Via: caller.ViaToken, Configured: true, Role: caller.Viewer}
	res, err := http.Get(m.server().URL + "/journal?machine=web1&follow=true")
	require.NoError(t, err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	require.Equal(t, "event: end\ndata: {\"error\":\"looking at machines is for operators, and alice has the role viewer\"}\n\n", string(text))
	<-gone
}

// Lines of a journalctl that died are shown, with the reason why there are no more.
func TestIncompleteJournal(t *testing.T) {
	m := newMachine(t, says(`{"entry":{"MESSAGE":"a"}}`, `{"end":{"incomplete":"journalctl failed:\u001b killed"}}`))
	code, text := m.get("/journal?machine=web1")
	require.Equal(t, http.StatusOK, code)
	require.JSONEq(t, `{"machine":"web1","lines":[{"MESSAGE":"a"}],"incomplete":"journalctl failed:␛ killed"}`, text)
	res, err := http.Get(m.server().URL + "/journal?machine=web1&follow=true")
	require.NoError(t, err)
	defer res.Body.Close()
	all, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	require.Contains(t, string(all), "event: end\ndata: {\"error\":\"journalctl failed:␛ killed\"}")
}

// A browser that connects again goes on after the last line, and ends where it is told.
func TestFollowAgain(t *testing.T) {
	m := newMachine(t, says(`{"end":{"error":"journalctl failed"}}`))
	req, err := http.NewRequest(http.MethodGet, m.server().URL+"/journal?machine=web1&follow=true&since=5", nil)
	require.NoError(t, err)
	req.Header.Set("Last-Event-ID", "s=1;i=7")
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	require.Equal(t, "event: end\ndata: {\"error\":\"journalctl failed\"}\n\n", string(text))
	require.Contains(t, m.asked[0], `"after":"s=1;i=7"`)
	require.NotContains(t, m.asked[0], "since")
}
