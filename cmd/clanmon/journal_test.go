package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/cmd/internal/cli"
)

// journal runs the command against a server that answers one request after the other.
func journal(t *testing.T, args []string, answers ...http.HandlerFunc) (code int, out, errs string, asked []string) {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.RawQuery)
		if len(asked) > len(answers) {
			http.Error(w, `{"status":"error","error":"no more"}`, http.StatusBadGateway)
			return
		}
		answers[len(asked)-1](w, r)
	}))
	defer s.Close()
	var stdout, stderr strings.Builder
	code = run(append([]string{"clanmon", "journal", "--server", s.URL}, args...), cli.Env{Stdout: &stdout, Stderr: &stderr})
	return code, stdout.String(), stderr.String(), asked
}

func text(s string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, s)
	}
}

func TestJournal(t *testing.T) {
	t.Setenv("TZ", "UTC")
	lines := text(`{"status":"success","data":{"machine":"web1","limit":"bytes","incomplete":"journalctl failed: signal: killed","lines":[
		{"__CURSOR":"s=1;i=1","__REALTIME_TIMESTAMP":"1700000000000000","SYSLOG_IDENTIFIER":"db","_PID":"7","MESSAGE":"one\ntwo"},
		{"MESSAGE":"begin","length":20000}]}}`)
	code, out, errs, asked := journal(t, []string{"web1", "db", "-n", "20", "-p", "err", "--since", "1700000000", "-g", "one"}, lines)
	require.Equal(t, 0, code, errs)
	require.Regexp(t, `(?m)^Nov 1[45] \d\d:\d\d:20 db\[7\]: one\n +two\n- -: begin… \(20000 bytes\)\n$`, out)
	require.Contains(t, errs, "older lines are left out")
	require.Contains(t, errs, "incomplete: journalctl failed: signal: killed")
	require.Equal(t, []string{"grep=one&lines=20&machine=web1&priority=err&since=1700000000&unit=db.service"}, asked)

	_, out, _, asked = journal(t, []string{"web1", "db.socket", "--json"}, lines)
	require.Contains(t, out, `{"__CURSOR":"s=1;i=1","__REALTIME_TIMESTAMP":"1700000000000000","SYSLOG_IDENTIFIER":"db","_PID":"7","MESSAGE":"one\ntwo"}`+"\n")
	require.Contains(t, asked[0], "unit=db.socket")

	code, _, errs, _ = journal(t, []string{"web1"}, text(`{"status":"error","error":"looking at machines is off: start the server with --look"}`))
	require.Equal(t, 1, code)
	require.Contains(t, errs, "--look")
	code, _, errs, _ = journal(t, []string{"web1"}, text(`<html>`))
	require.Equal(t, 1, code)
	require.Contains(t, errs, "not a clanmon server")
}

func TestJournalFollows(t *testing.T) {
	lines := text(`{"status":"success","data":{"lines":[{"__CURSOR":"s=1;i=1","MESSAGE":"one"}]}}`)
	events := func(s string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			fmt.Fprint(w, s)
		}
	}
	code, out, errs, asked := journal(t, []string{"web1", "-f"}, lines,
		events("id: s=1;i=2\ndata: {\"__CURSOR\":\"s=1;i=2\",\"MESSAGE\":\"two\"}\n\n"),
		events("event: end\ndata: {\"error\":\"the machine is gone\"}\n\n"))
	require.Equal(t, 1, code)
	require.Equal(t, "- -: one\n- -: two\n", out)
	require.Contains(t, errs, "the machine is gone")
	require.Equal(t, []string{"lines=200&machine=web1", "after=s%3D1%3Bi%3D1&follow=true&machine=web1", "after=s%3D1%3Bi%3D2&follow=true&machine=web1"}, asked)

	// Of nothing, everything from now on.
	_, _, _, asked = journal(t, []string{"web1", "-f"}, text(`{"status":"success","data":{"lines":[]}}`))
	require.Regexp(t, `^follow=true&machine=web1&since=\d+$`, asked[1])
}
