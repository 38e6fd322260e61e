package api

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/grafana/regexp"
	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/util/httputil"
	upstream "github.com/prometheus/prometheus/web"
	"github.com/stretchr/testify/require"
)

func TestHeadersOnEverything(t *testing.T) {
	s := guarded(t, nil)
	for _, path := range []string{"/mon/api/v1/query", "/mon/metrics", "/mon/debug/pprof/", "/", "/nothing"} {
		for _, host := range []string{"10.1.2.3", "evil.example"} {
			r, err := http.NewRequest(http.MethodGet, s.URL+path, nil)
			require.NoError(t, err)
			r.Host, r.Header = host, firefox.Clone()
			answer, err := s.Client().Do(r)
			require.NoError(t, err)
			answer.Body.Close()
			require.Equal(t, []string{"nosniff"}, answer.Header["X-Content-Type-Options"], path)
			require.Equal(t, []string{"frame-ancestors 'none'"}, answer.Header["Content-Security-Policy"], path)
		}
	}
}

// A page may drop what gives a browser away, and so may a proxy; not all of it.
func TestBrowsersByWhatTheySend(t *testing.T) {
	s := guarded(t, nil)
	for _, h := range []http.Header{
		with(curl, "Referer", "http://evil.example/"), with(curl, "Origin", "null"),
		with(curl, "Sec-Fetch-Site", "cross-site"), with(curl, "Sec-Fetch-Site", "none"), with(curl, "Sec-Fetch-Dest", "image"),
	} {
		code, _ := ask(t, s, "GET", "evil.example", "/mon/api/v1/query", h)
		require.Equal(t, http.StatusForbidden, code, h)
	}
}

func TestLogSaysWhoReachesWhat(t *testing.T) {
	for _, c := range []struct {
		address string
		who     known
		writes  string
		admin   bool
		want    []string
	}{
		{"0.0.0.0:0", known{}, WritesAuto, false, []string{`anyone_can="read everything"`, "this machine and its networks"}},
		{"[::]:0", known{}, WritesOpen, true, []string{"delete samples", "silence_and_alert=anyone"}},
		{":0", known{}, WritesOff, false, []string{"silence_and_alert=nobody"}},
		{"127.0.0.1:0", known{}, WritesAuto, false, nil},
		{"0.0.0.0:0", known{byPassword: true}, WritesAuto, false, nil},
		{"0.0.0.0:0", known{closed: true}, WritesAuto, false, nil},
	} {
		var log bytes.Buffer
		a := &API{deps: Deps{
			Options:  upstream.Options{ListenAddresses: []string{c.address}, EnableAdminAPI: c.admin},
			Identity: c.who, Writes: c.writes, Logger: promslog.New(&promslog.Config{Writer: &log}),
		}}
		a.sayWhoReaches()
		if c.want == nil {
			require.Empty(t, log.String(), c.address)
		}
		for _, want := range c.want {
			require.Contains(t, log.String(), want)
		}
	}
}

// Whatever --web.cors.origin allows, upstream's API answers with what it makes of
// Origin; where there is none, no page may read.
func TestPagesOfOtherSitesReadNoSettings(t *testing.T) {
	a := &API{deps: Deps{Options: upstream.Options{ExternalURL: &url.URL{Scheme: "http", Host: "h"}, RoutePrefix: "/mon", ListenAddresses: []string{"0.0.0.0:9090"}}}}
	s := httptest.NewServer(a.guard(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		httputil.SetCORS(w, regexp.MustCompile("^(?:.*)$"), r)
	})))
	defer s.Close()
	for path, want := range map[string]string{
		"query": "*", "labels": "*", "metadata": "*", "rules": "*",
		"status/flags": "", "status/config": "", "status/buildinfo": "", "targets": "", "targets/metadata": "", "%74argets": "",
		"scrape_pools": "", "alertmanagers": "", "notifications": "", "notifications/live": "",
	} {
		for _, method := range []string{"GET", "OPTIONS"} {
			r, err := http.NewRequest(method, s.URL+"/mon/api/v1/"+path, nil)
			require.NoError(t, err)
			r.Header.Set("Origin", "http://evil.example")
			answer, err := s.Client().Do(r)
			require.NoError(t, err)
			answer.Body.Close()
			require.Equal(t, want, answer.Header.Get("Access-Control-Allow-Origin"), path)
		}
	}
}
