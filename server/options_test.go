package server

import (
	"testing"

	"github.com/grafana/regexp"
	"github.com/prometheus/prometheus/web"
	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/server/delivery"
)

// Whose pages may read the API: everybody's only where clanmon stands in for
// Prometheus and nothing else.
func TestDefaultOrigins(t *testing.T) {
	const page = "https://evil.example"
	for _, c := range []struct {
		name    string
		managed bool
		deliver delivery.Options
		flag    *regexp.Regexp
		want    bool
	}{
		{"a Prometheus configuration", false, delivery.Options{}, nil, true},
		{"nothing configured, or discovery", true, delivery.Options{}, nil, false},
		{"--notify", false, delivery.Options{Notify: make([]delivery.NotifyURL, 1)}, nil, false},
		{"an alertmanager.yml", false, delivery.Options{ConfigFile: "am.yml"}, nil, false},
		{"a heartbeat", false, delivery.Options{HeartbeatURLFile: "f"}, nil, false},
		{"the flag", true, delivery.Options{}, regexp.MustCompile("^https://evil.*$"), true},
		{"the flag in a drop-in", false, delivery.Options{}, regexp.MustCompile("^none$"), false},
	} {
		o := Options{Delivery: c.deliver, Web: web.Options{CORSOrigin: c.flag, Flags: map[string]string{"web.cors.origin": ""}}}
		o.defaultOrigins(c.managed)
		require.Equal(t, c.want, o.Web.CORSOrigin.MatchString(page), c.name)
		if c.flag == nil {
			require.Equal(t, map[bool]string{true: ".*", false: "none"}[c.want], o.Web.Flags["web.cors.origin"], c.name)
		}
	}
}
