package cli

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestEvent(t *testing.T) {
	answer := `{"status":"success","data":{"unknown":["wbe1"]}}`
	var sent map[string]any
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		sent = nil
		_ = json.Unmarshal(body, &sent)
		if r.URL.Path != "/p/api/clanmon/v1/events" || r.Header.Get("Content-Type") != "application/json" {
			answer = `{"status":"error","error":"wrong request"}`
		}
		_, _ = io.WriteString(w, answer)
	}))
	defer s.Close()
	t.Setenv("CLANMON_SERVER", s.URL+"/p")
	event := func(args ...string) (string, error) {
		var errs strings.Builder
		err := Run(NewEventCommand(Env{Stdout: io.Discard, Stderr: &errs}, "clanmon event"), args)
		return errs.String(), err
	}
	errs, err := event("new disk", "--machine", "web1", "--machine=wbe1", "--by=ada")
	require.NoError(t, err)
	require.Equal(t, map[string]any{"text": "new disk", "machines": []any{"web1", "wbe1"}, "by": "ada"}, sent)
	require.Contains(t, errs, `the server knows no machine "wbe1"`)
	_, err = event("earlier", "--time=2026-11-28T12:00:00Z")
	require.NoError(t, err)
	require.Equal(t, map[string]any{"text": "earlier", "time": 1795867200.0}, sent)
	before := time.Now().Add(-time.Hour)
	_, err = event("ago", "--time=1h")
	require.NoError(t, err)
	require.InDelta(t, float64(before.Unix()), sent["time"], 60)

	_, err = event("x", "--time=tomorrow")
	require.ErrorContains(t, err, "--time")
	_, err = event()
	require.ErrorContains(t, err, "text")
	answer = `{"status":"error","error":"this is for operators"}`
	_, err = event("x")
	require.ErrorContains(t, err, "this is for operators")
	answer = `<html>`
	_, err = event("x")
	require.ErrorContains(t, err, "not a clanmon server; set --server")
}
