package exporter

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestProbeAllowed(t *testing.T) {
	for _, tc := range []struct {
		allowed []string
		target  string
		want    bool
	}{
		{nil, "db:6379", false},
		{[]string{"*"}, "anything=at all", true},
		{[]string{"db:6379"}, "db:6379", true},
		{[]string{"db:6379"}, "redis://user:pw@db:6379/0", true},
		{[]string{"db:*"}, "postgres://db:6379/x?host=evil.example", false},
		{[]string{"db:*"}, "host=db port=1", false},
		{[]string{"db:6379"}, "db:6379.evil.example:1", false},
		{[]string{"db:6379"}, "evil:1/@db:6379", false},
		{[]string{"db:6379"}, `evil:1\\@db:6379`, false},
		{[]string{"10.0.0.*:*"}, "rediss://10.0.0.7:1", true},
		{[]string{"10.0.0.*:*"}, "10.0.1.7:1", false},
		{[]string{"db:5432"}, "db:5432/postgres", true},
		{[]string{"/run/redis.sock"}, "unix:///run/redis.sock", true},
		{[]string{"["}, "db:1", false},
	} {
		require.Equal(t, tc.want, probeAllowed(tc.allowed, tc.target), "%v %s", tc.allowed, tc.target)
	}
}

// Prometheus, curl and a person who follows a link may look; a page may not.
func TestRefuseOtherSites(t *testing.T) {
	h := refuseOtherSites(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	for _, tc := range []struct {
		header map[string]string
		want   int
	}{
		{nil, 200},
		{map[string]string{"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate"}, 200},
		{map[string]string{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, 200},
		{map[string]string{"Sec-Fetch-Site": "same-origin", "Referer": "http://host:9121/"}, 200},
		{map[string]string{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, 403},
		{map[string]string{"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors"}, 403},
		{map[string]string{"Origin": "http://evil.example"}, 403},
		{map[string]string{"Origin": "null"}, 403},
		{map[string]string{"Referer": "http://evil.example/x"}, 403},
	} {
		r := httptest.NewRequest(http.MethodGet, "http://host:9121/scrape?target=x", nil)
		for k, v := range tc.header {
			r.Header.Set(k, v)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		require.Equal(t, tc.want, w.Code, "%v", tc.header)
	}
}
