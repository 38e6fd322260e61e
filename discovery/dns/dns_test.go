package dns

import (
	"context"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/discovery"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"go.yaml.in/yaml/v2"

	"github.com/clanmon/clanmon/discovery/contract"
)

// A discovery leaves no goroutine behind.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestParse(t *testing.T) {
	for text, want := range map[string]Lookup{
		"node=*.monitoring.local":          {"node", "*.monitoring.local", 9100, "A"},
		"node=web.example.org:9200/aaaa":   {"node", "web.example.org", 9200, "AAAA"},
		"node=_node._tcp.example.org":      {"node", "_node._tcp.example.org", 0, "SRV"},
		"mine=_mine._tcp.example.org./SRV": {"mine", "_mine._tcp.example.org.", 0, "SRV"},
		"redis=example.org/MX":             {"redis", "example.org", 9121, "MX"},
	} {
		got, err := Parse(text)
		require.NoError(t, err, text)
		require.Equal(t, want, got, text)
	}
	for text, want := range map[string]string{
		"example.org":  "JOB=NAME",
		"node=":        "it is empty",
		"node=a..b":    "an empty label between two dots",
		"node=a b":     "only letters",
		"node=x.*.org": "only letters",
		"node=" + strings.Repeat("a", 64) + ".org":   "longer than 63",
		"node=" + strings.Repeat("abc.", 70) + "org": "longer than 253",
		"node=a.org/TXT":             `record type "TXT"`,
		"node=a.org:http":            `port "http"`,
		"mine=a.org":                 `job "mine" has no default port`,
		"node=_node._tcp.a.org:9100": "SRV records contain the port",
		"node=*.a.org/NS":            "a wildcard needs the type A, AAAA or SRV",
	} {
		_, err := Parse(text)
		require.ErrorContains(t, err, want, text)
	}
}

func TestNamesStayDistinct(t *testing.T) {
	require.Equal(t,
		[]string{"web1", "db", "db", "mail.a.org", "mail.b.org", "10.0.0.1", "a_034b"},
		distinct([]string{"WEB1.a.org.", "db.a.org", "db.a.org.", "mail.a.org", "mail.b.org", "10.0.0.1", `a\034b.a.org`}))
}

func TestZoneToTargets(t *testing.T) {
	var records []dns.RR
	for line := range strings.Lines(`
$ORIGIN monitoring.local.
@ 60 IN SOA ns admin 1 60 60 60 60
@ 60 IN NS ns
@ 60 IN A 10.0.0.99
* 60 IN A 10.0.0.98
web1 60 IN A 10.0.0.1
web1 60 IN A 10.1.0.1
DB.rack1 60 IN A 10.0.0.2
six 60 IN AAAA fd00::6
www 60 IN CNAME web1
ring 60 IN CNAME ring2
ring2 60 IN CNAME ring
_node._tcp 60 IN SRV 0 0 9200 web1
other.example. 60 IN A 10.9.9.9
`) {
		if strings.HasPrefix(line, "$") || strings.TrimSpace(line) == "" {
			continue
		}
		p := dns.NewZoneParser(strings.NewReader(line), "monitoring.local.", "")
		rr, ok := p.Next()
		require.True(t, ok, "%s: %v", line, p.Err())
		records = append(records, rr)
	}
	found := func(typ string) map[string]string {
		m := make(map[string]string)
		for _, l := range pick(records, "*.monitoring.local", "monitoring.local.", typ, 9100) {
			require.EqualValues(t, "*.monitoring.local", l[nameLabel])
			m[string(l[machineLabel])] = string(l[model.AddressLabel])
		}
		return m
	}
	require.Equal(t, map[string]string{
		"web1.monitoring.local.": "10.0.0.1:9100", "db.rack1.monitoring.local.": "10.0.0.2:9100", "www.monitoring.local.": "10.0.0.1:9100",
	}, found("A"))
	require.Equal(t, map[string]string{"six.monitoring.local.": "[fd00::6]:9100"}, found("AAAA"))
	require.Equal(t, map[string]string{"web1.monitoring.local.": "web1.monitoring.local:9200"}, found("SRV"))
}

// Records that say that there is no service make no target, and none can name
// what the server calls its own jobs.
func TestRecordsThatNameNothing(t *testing.T) {
	d := &Discovery{}
	var refused []contract.Refused
	g := d.refine(t.Context(), &targetgroup.Group{Source: "x", Targets: []model.LabelSet{
		{model.AddressLabel: ":9100", srvTargetLabel: "."},
		{model.AddressLabel: ".:25", mxTargetLabel: "."},
		{model.AddressLabel: "node.in-process.Invalid.:80", srvTargetLabel: "node.in-process.Invalid."},
		{model.AddressLabel: "web1.lan:9100", srvTargetLabel: "web1.lan."},
		{model.AddressLabel: "web2.lan:0", srvTargetLabel: "web2.lan."},
		{model.AddressLabel: "!!!.lan:9100", srvTargetLabel: "!!!.lan."},
		{model.AddressLabel: "0/25.2.0.192.in-addr.arpa:9100", srvTargetLabel: "0/25.2.0.192.in-addr.arpa."},
	}}, &refused)
	require.Equal(t, []model.LabelSet{{
		model.AddressLabel: "web1.lan:9100", srvTargetLabel: "web1.lan.", machineLabel: "web1",
		contract.MetaMethod: "dns", contract.MetaMachine: "web1", contract.MetaFrom: "x", contract.MetaAsk: "true",
	}}, g.Targets)
	require.Equal(t, []contract.Refused{
		{Entry: "web2.lan:0 in x", Reason: "port 0: it must be between 1 and 65535"},
		{Entry: "!!!.lan:9100 in x", Reason: `name "!!!.lan." has no letter or digit for a machine name`},
		{Entry: "0/25.2.0.192.in-addr.arpa:9100 in x", Reason: `"0/25.2.0.192.in-addr.arpa" is neither a host name nor an address`},
	}, refused)
}

// A name server that is away must not rename a machine; one that says that there
// is no name any more does.
func TestReverseKeepsNameWhileNobodyAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		names, err := []string{"web1.lan.", "alias.lan."}, error(nil)
		asked := 0
		r := newReverser(func(context.Context, string) ([]string, error) { asked++; return names, err })
		require.Equal(t, "alias.lan.", r.name(t.Context(), "10.0.0.1"))
		require.Equal(t, "alias.lan.", r.name(t.Context(), "10.0.0.1"))
		require.Equal(t, 1, asked, "a fresh answer is not asked for again")

		time.Sleep(2 * reverseFresh)
		names, err = nil, &net.DNSError{Err: "timeout", IsTimeout: true}
		require.Equal(t, "alias.lan.", r.name(t.Context(), "10.0.0.1"))
		require.Equal(t, "10.0.0.2", r.name(t.Context(), "10.0.0.2"), "never known")

		time.Sleep(2 * reverseFresh)
		err = &net.DNSError{Err: "no such host", IsNotFound: true}
		require.Equal(t, "10.0.0.1", r.name(t.Context(), "10.0.0.1"))

		time.Sleep(2 * reverseFresh)
		names, err = []string{"..."}, nil
		require.Equal(t, "10.0.0.1", r.name(t.Context(), "10.0.0.1"), "a name of which nothing is left")

		// Addresses that are not found any more do not pile up.
		for range 25 {
			time.Sleep(time.Hour)
			r.name(t.Context(), "10.0.0.1")
			r.prune(time.Now())
		}
		require.Len(t, r.known, 1)
	})
}

type discoverer func(context.Context, chan<- []*targetgroup.Group)

func (f discoverer) Run(ctx context.Context, up chan<- []*targetgroup.Group) { f(ctx, up) }

// What upstream asks of a discovery: whole groups under a name that stays, and an
// end with the context, also while nobody takes what it found.
func TestRunEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c SDConfig
		require.NoError(t, yaml.UnmarshalStrict([]byte("names: [_x._tcp.lan]"), &c))
		reg := discovery.NewRefreshMetrics(prometheus.NewRegistry())
		made, err := c.NewDiscoverer(discovery.DiscovererOptions{Metrics: c.NewDiscovererMetrics(nil, reg), SetName: "node"})
		require.NoError(t, err)
		d := made.(*Discovery)
		d.inner = discoverer(func(ctx context.Context, up chan<- []*targetgroup.Group) {
			for {
				select {
				case up <- []*targetgroup.Group{{Source: "_x._tcp.lan", Targets: []model.LabelSet{
					{model.AddressLabel: "web1.lan.:9100", srvTargetLabel: "web1.lan."},
					{model.AddressLabel: "web2.lan.:9100", srvTargetLabel: "web2.lan."},
				}}}:
				case <-ctx.Done():
					return
				}
			}
		})
		ctx, cancel := context.WithCancel(t.Context())
		up := make(chan []*targetgroup.Group)
		go d.Run(ctx, up) // the bubble waits for it and all that it starts
		for range 2 {
			groups := <-up
			require.Len(t, groups, 1)
			require.Equal(t, "_x._tcp.lan", groups[0].Source)
			require.Len(t, groups[0].Targets, 2)
			require.EqualValues(t, "web1", groups[0].Targets[0][machineLabel])
		}
		synctest.Wait()
		cancel()
	})
}

func TestSections(t *testing.T) {
	for text, want := range map[string]string{
		"names: []":                          "at least one",
		"{names: [x], type: A}":              "port is required",
		"{names: [x], refresh_interval: 0s}": "refresh_interval",
		"{names: [x], type: TXT, port: 1}":   "TXT",
		"{name: x}":                          "name",
	} {
		require.ErrorContains(t, yaml.UnmarshalStrict([]byte(text), new(SDConfig)), want, text)
	}
	var c SDConfig
	require.NoError(t, yaml.UnmarshalStrict([]byte("{names: [x], type: A, port: 80}"), &c))
	out, err := yaml.Marshal(&c)
	require.NoError(t, err)
	require.Contains(t, string(out), "port: 80")
}
