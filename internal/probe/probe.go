// Package probe runs checks with the packages of blackbox_exporter, for the server and for the
// blackbox exporter, which do not know each other. Run probes once; Guard is what keeps any of
// upstream's probers away from addresses that nobody named. The package starts nothing that
// outlives a probe.
package probe

import (
	"bytes"
	"cmp"
	"context"
	"log/slog"
	"strings"
	"time"

	"github.com/prometheus/blackbox_exporter/config"
	"github.com/prometheus/blackbox_exporter/prober"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	commonconfig "github.com/prometheus/common/config"
	"github.com/prometheus/common/version"

	"github.com/clanmon/clanmon/discovery/checks"
)

const (
	// maxBody is how much of an HTTP response is read, in bytes.
	maxBody = 10 << 20
	// maxLog is how much of a probe's log is kept, in bytes.
	maxLog = 16 << 10
)

// Result is one probe.
type Result struct {
	At       time.Time // when it began
	OK       bool
	Duration time.Duration
	Why      string    // it failed, for people; "" if it succeeded
	Log      string    // upstream's, at level debug, at most 16 KiB
	Expires  time.Time // the first certificate; zero without one
	// Families are upstream's metrics of the probe.
	Families []*dto.MetricFamily
}

// Run probes what c names once, for at most c.Timeout, within bounds. It is safe for concurrent
// use.
func Run(ctx context.Context, c checks.Check, bounds Bounds) Result {
	registry := prometheus.NewRegistry()
	success := prometheus.NewGauge(prometheus.GaugeOpts{Name: "probe_success", Help: "Displays whether or not the probe was a success"})
	duration := prometheus.NewGauge(prometheus.GaugeOpts{Name: "probe_duration_seconds", Help: "Returns how long the probe took to complete in seconds"})
	registry.MustRegister(success, duration)

	log := &probeLog{}
	logger := slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	r := Result{At: time.Now()}
	module := moduleOf(c)
	guarded, err := Guard(ctx, c.URL.Hostname(), bounds)
	if err != nil {
		logger.Error(err.Error())
	} else {
		// A body that the deadline cut short may look like its end.
		r.OK = prober.Probers[module.Prober](guarded, target(c), module, registry, logger) && guarded.Err() == nil
	}
	r.Duration = time.Since(r.At)
	duration.Set(r.Duration.Seconds())
	if r.OK {
		success.Set(1)
	} else {
		r.Why = reason(log.errors, ctx.Err(), c.Timeout)
	}
	r.Log = log.text.String()
	r.Families, _ = registry.Gather() // gauges cannot fail
	r.Expires = expiry(r.Families)
	return r
}

// moduleOf is upstream's configuration for a check.
func moduleOf(c checks.Check) config.Module {
	m := config.DefaultModule
	m.Timeout = c.Timeout
	// Of a name with both kinds of addresses, the one that works in more homes.
	m.HTTP.IPProtocol, m.TCP.IPProtocol, m.ICMP.IPProtocol, m.DNS.IPProtocol = "ip4", "ip4", "ip4", "ip4"
	switch c.URL.Scheme {
	case "http", "https":
		m.Prober = "http"
		m.HTTP.ValidStatusCodes = c.Status
		m.HTTP.BodySizeLimit = maxBody
		m.HTTP.Headers = map[string]string{"User-Agent": "clanmon/" + cmp.Or(version.Version, "check")}
		m.HTTP.HTTPClientConfig = commonconfig.DefaultHTTPClientConfig
		if c.Body != nil {
			m.HTTP.FailIfBodyNotMatchesRegexp = []config.Regexp{{Regexp: c.Body}}
		}
	case "ping":
		m.Prober = "icmp"
	case "dns":
		m.Prober = "dns"
		m.DNS.QueryName = strings.Trim(c.URL.Path, "/")
		m.DNS.QueryType = strings.ToUpper(cmp.Or(c.URL.Query().Get("type"), "A"))
	default:
		m.Prober = "tcp"
		m.TCP.QueryResponse = dialogues[c.URL.Scheme]
	}
	return m
}

func expect(pattern string) config.QueryResponse {
	return config.QueryResponse{Expect: config.MustNewRegexp(pattern)}
}

func send(text string) config.QueryResponse { return config.QueryResponse{Send: text} }

// dialogues are what is said before TLS begins: RFC 3207, 3501 and 2595.
var dialogues = map[string][]config.QueryResponse{
	// Not upstream's option tls, which dials without the context that Guard ends.
	"tls": {{StartTLS: true}},
	"smtp+starttls": {
		expect("^220[ -]"), send("EHLO clanmon\r"), expect("^250[ -]STARTTLS"), send("STARTTLS\r"), expect("^220"),
		{StartTLS: true}, send("EHLO clanmon\r"), expect("^250 "), send("QUIT\r"),
	},
	"imap+starttls": {
		expect("^\\* OK"), send("a STARTTLS\r"), expect("^a OK"), {StartTLS: true}, send("b LOGOUT\r"), expect("BYE"),
	},
	"pop3+starttls": {
		expect("^\\+OK"), send("STLS\r"), expect("^\\+OK"), {StartTLS: true}, send("QUIT\r"), expect("^\\+OK"),
	},
}

// target is what upstream's prober of a check is given.
func target(c checks.Check) string {
	switch c.URL.Scheme {
	case "http", "https":
		return c.URL.String()
	case "ping":
		return c.URL.Hostname()
	}
	return c.HostPort()
}

// expiry is when the first certificate of a probe expires; zero without one.
func expiry(families []*dto.MetricFamily) time.Time {
	for _, f := range families {
		if f.GetName() == "probe_ssl_earliest_cert_expiry" && len(f.Metric) == 1 {
			if s := f.Metric[0].GetGauge().GetValue(); s > 0 {
				return time.Unix(int64(s), 0)
			}
		}
	}
	return time.Time{}
}

// probeLog keeps the log of a probe, and what its errors say.
type probeLog struct {
	text   bytes.Buffer
	errors []string
}

// Write implements io.Writer; slog writes a line at a time, and one at a time.
func (l *probeLog) Write(line []byte) (int, error) {
	text := string(line)
	if room := maxLog - l.text.Len(); room > 0 {
		l.text.WriteString(text[:min(room, len(text))])
	}
	if len(l.errors) < 10 && (strings.Contains(text, "level=ERROR") || strings.Contains(text, "level=WARN") && !strings.Contains(text, "Received redirect")) {
		l.errors = append(l.errors, text)
	}
	return len(line), nil
}
