package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/e2e/harness"
)

// nameServer runs NSD, a real authoritative name server, on a host of its own
// whose /etc/resolv.conf points at it.
func nameServer(t *testing.T, transferable map[string]bool, zones map[string]string) *harness.Host {
	t.Helper()
	h := harness.NewHost(t, "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
	startNSD(t, h, "127.0.0.1", transferable, zones)
	return h
}

// startNSD serves zones. One whose text is broken is answered with SERVFAIL.
func startNSD(t *testing.T, h *harness.Host, address string, transferable map[string]bool, zones map[string]string) *harness.Process {
	t.Helper()
	nsd := harness.Tool(t, "/usr/sbin/nsd", "nsd")
	dir := t.TempDir()
	conf := fmt.Sprintf("server:\n ip-address: %s\n username: \"\"\n chroot: \"\"\n zonesdir: %s\n database: \"\"\n pidfile: %s/pid\n xfrdfile: %s/xfrd\n zonelistfile: %s/list\n xfrdir: %s\n server-count: 1\nremote-control:\n control-enable: no\n", address, dir, dir, dir, dir, dir)
	for zone, text := range zones {
		require.NoError(t, os.WriteFile(filepath.Join(dir, zone), []byte(
			"$ORIGIN "+zone+".\n$TTL 1\n@ SOA ns admin 1 60 60 60 1\n@ NS ns\nns A "+address+"\n"+text), 0o644))
		conf += "zone:\n name: " + zone + "\n zonefile: " + zone + "\n"
		if transferable[zone] {
			conf += " provide-xfr: 0.0.0.0/0 NOKEY\n"
		}
	}
	file := harness.WriteFile(t, dir, "nsd.conf", conf)
	c := h.Command(t, harness.Command{Path: nsd, Args: []string{"-d", "-c", file, "-V", "2"}})
	p := harness.Start(t, c)
	harness.Eventually(t, harness.Patience, func() error {
		if p.Exited() && strings.Contains(p.Log(), "Address already in use") { // by a child of the one before
			p = harness.Start(t, c)
		}
		if !strings.Contains(p.Log(), "nsd started") {
			return fmt.Errorf("nsd: %s", p.Log())
		}
		return nil
	})
	return p
}

// What a name server can do to those who ask it: a failure leaves the targets as
// they were, an answer does not.
func TestDNSWhileNameServersFail(t *testing.T) {
	t.Parallel()
	lan := harness.NewLan(t, "3")
	lan.StopDNS()
	for _, host := range []string{"h2", "h3"} {
		harness.Start(t, lan.Host(host).Command(t, harness.Command{Args: []string{"exporter", "--exporter=node", "--collectors=load"}}))
	}
	zone := func(hosts ...int) map[string]string {
		text := ""
		for _, i := range hosts {
			text += fmt.Sprintf("h%d A 198.18.7.%d\n_node._tcp SRV 0 0 9100 h%d\n", i, i, i)
		}
		return map[string]string{"lab.test": text}
	}
	permitted := map[string]bool{"lab.test": true}
	serve := func(zones map[string]string) *harness.Process {
		return startNSD(t, lan.Host("dns"), "198.18.7.254", permitted, zones)
	}
	ns := serve(zone(2))
	s := harness.StartServer(t, harness.ServerOptions{
		Host: lan.Host("h1"), Listen: "127.0.0.1:9090",
		Config: `
global: {scrape_interval: 500ms}
scrape_configs:
- job_name: node
  machine_dns_sd_configs: [{names: [_node._tcp.lab.test], refresh_interval: 500ms}]
  relabel_configs: [{source_labels: [__meta_dns_machine], target_label: machine}]
- job_name: zone
  machine_dns_sd_configs: [{names: ["*.lab.test"], type: A, port: 9100, refresh_interval: 500ms}]
`,
	})
	targets := func(want ...string) {
		t.Helper()
		harness.Eventually(t, harness.Patience, func() error {
			body := s.Get("/api/v1/targets?state=active").Body
			for _, host := range want {
				if !strings.Contains(body, `"machine":"`+host+`"`) {
					return fmt.Errorf("no target %s: %s", host, body)
				}
			}
			if n := strings.Count(body, `"scrapePool":"node"`); n != len(want) {
				return fmt.Errorf("%d targets, want %v: %s", n, want, body)
			}
			return nil
		})
	}
	failures := func() float64 {
		v, err := s.Metric(`prometheus_sd_refresh_failures_total{config="node",mechanism="machine_dns"}`)
		require.NoError(t, err)
		return v
	}
	// fails waits for three refreshes that fail.
	fails := func(how string) {
		t.Helper()
		before := failures()
		harness.Eventually(t, harness.Patience, func() error {
			if n := failures() - before; n < 3 {
				return fmt.Errorf("%s: %v refreshes failed", how, n)
			}
			return nil
		})
	}
	targets("h2")
	s.WaitValue(`up{machine="h2"}`, 1)

	ns.Terminate()
	fails("no name server")
	targets("h2")
	methods := discovered(s).Methods
	require.Len(t, methods, 3, "*.lab.test, _node._tcp.lab.test, and the jobs of the file")
	require.NotZero(t, methods[1].LastSuccess)
	fails("no name server")
	require.Equal(t, methods[1].LastSuccess, discovered(s).Methods[1].LastSuccess, "a failure is no success")
	require.Regexp(t, `name "_node._tcp.lab.test": name server 198\.18\.7\.254: `, methods[1].Error)
	harness.Eventually(t, harness.Patience, func() error { return atLeast(strings.Count(s.Log(), "level=ERROR"), 2) })
	require.Equal(t, 2, strings.Count(s.Log(), "level=ERROR"), "it is said once for each")

	ns = serve(zone(2, 3))
	targets("h2", "h3")
	s.WaitValue(`up{machine="h3"}`, 1)
	ns.Terminate()

	ns = serve(map[string]string{"lab.test": "this is no record\n"})
	fails("SERVFAIL")
	targets("h2", "h3")
	ns.Terminate()

	ns = serve(map[string]string{"other.test": ""})
	fails("REFUSED")
	targets("h2", "h3")
	ns.Terminate()

	// Too long for UDP, and no TCP: half an answer is none.
	var many []int
	for i := range 200 {
		many = append(many, 2+i)
	}
	lan.Block("dns", "53")
	ns = serve(zone(many...))
	fails("truncated")
	targets("h2", "h3")
	lan.Clear("dns")
	harness.Eventually(t, harness.Patience, func() error {
		if n := strings.Count(s.Get("/api/v1/targets?state=active").Body, `"scrapePool":"node"`); n != len(many) {
			return fmt.Errorf("%d targets of %d", n, len(many))
		}
		return nil
	})
	ns.Terminate()

	// A transfer that fails leaves the machines of the last one. One that is not
	// permitted any more ends it.
	zoneTargets := func(n int) {
		t.Helper()
		harness.Eventually(t, harness.Patience, func() error {
			if got := strings.Count(s.Get("/api/v1/targets?state=active").Body, `"scrapePool":"zone"`); got != n {
				return fmt.Errorf("%d targets of the zone, not %d", got, n)
			}
			return nil
		})
	}
	ns = serve(zone(2, 3))
	zoneTargets(3) // the name server is one
	lan.Block("dns", "53")
	s.WaitLog("keeping the previous targets")
	zoneTargets(3)
	lan.Clear("dns")
	s.WaitLog("Zone transfer works again")
	ns.Terminate()
	permitted = nil
	ns = serve(zone(2, 3))
	zoneTargets(0)
	ns.Terminate()

	// A cable that is cut, and comes back.
	ns = serve(zone(2, 3))
	targets("h2", "h3")
	s.WaitValue(`up{machine="h2"}`, 1)
	lan.Cut("h2")
	s.WaitValue(`up{machine="h2"}`, 0)
	lan.Plug("h2")
	s.WaitValue(`up{machine="h2"}`, 1)
	lan.Cut("dns")
	fails("no way to the name server")
	targets("h2", "h3")
	lan.Plug("dns")
	ns.Terminate()

	// That there is no such name is an answer.
	serve(zone())
	targets()
}

func TestDNSFindsMachines(t *testing.T) {
	t.Parallel()
	h := nameServer(t, map[string]bool{"monitoring.local": true}, map[string]string{
		"monitoring.local": "web1 A 127.0.1.1\ndb A 127.0.1.2\ndb A 127.0.1.9\n_node._tcp SRV 0 0 9300 web1\n",
		"wild.test":        "* A 127.0.1.3\nsrv A 127.0.1.3\n_x._tcp SRV 0 0 9301 srv\n_x._tcp SRV 0 0 9301 " + strings.Repeat("y", 63) + "\n" + strings.Repeat("y", 63) + " A 127.0.1.4\n",
		"127.in-addr.arpa": "3.1.0 PTR gateway.wild.test.\n",
	})
	for _, address := range []string{"127.0.1.1:9100", "127.0.1.2:9100", "127.0.1.1:9300", "127.0.1.3:9400", "127.0.1.3:9301", "127.0.1.4:9301", "127.0.1.5:9500"} {
		harness.Start(t, h.Command(t, harness.Command{Args: []string{"exporter", "--exporter=node", "--collectors=load", "--web.listen-address=" + address}}))
	}
	s := harness.StartServer(t, harness.ServerOptions{
		Host: h, Listen: "127.0.0.1:9090",
		Config: "global: {scrape_interval: 1s}",
		Args: []string{
			"--discovery=dns",
			"--discovery.dns=node=*.monitoring.local",
			"--discovery.dns=service=*.monitoring.local/SRV",
			"--discovery.dns=wild=*.wild.test:9400",
			"--discovery.dns=target=_x._tcp.wild.test",
			"--discovery.static=lonely=127.0.1.5:9500",
		},
	})
	for _, series := range []string{
		// The zone may be transferred: all its names, each once.
		`up{job="node",machine="web1",instance="web1:9100"}`,
		`up{job="node",machine="db",instance="db:9100"}`,
		`up{job="service",machine="web1",instance="web1:9300"}`,
		// This one may not: the wildcard record itself, named by its reverse look-up.
		`up{job="wild",machine="gateway",instance="gateway:9400"}`,
		// The targets of SRV records, one of them with the longest name there is.
		`up{job="target",machine="srv",instance="srv:9301"}`,
		`up{job="target",machine="` + strings.Repeat("y", 63) + `"}`,
		`up{job="lonely",machine="127.0.1.5",instance="127.0.1.5:9500"}`,
	} {
		s.WaitValue(series, 1)
	}
	require.Equal(t, 2, strings.Count(s.Get("/api/v1/targets?state=active").Body, `"scrapePool":"node"`), "web1, and db, which has two addresses and is one machine; not ns, which never answered")
	harness.Eventually(t, harness.Patience, func() error {
		if w := discovered(s).Waiting; len(w) != 1 || w[0].Machine != "ns" || w[0].Reason != "refused" {
			return fmt.Errorf("waiting: %+v", w)
		}
		return nil
	})
	require.Contains(t, s.Log(), "Zone transfer failed")
	require.Equal(t, 1, strings.Count(s.Log(), "Zone transfer failed"))
}

// Several methods that name one machine give one set of targets, and what is
// known of it from all of them.
func TestMethodsAgreeOnAMachine(t *testing.T) {
	t.Parallel()
	h := nameServer(t, map[string]bool{"lan.test": true}, map[string]string{"lan.test": "web1 A 127.0.1.1\nweb2 A 127.0.1.2\n"})
	for _, address := range []string{"127.0.1.1:9100", "127.0.1.2:9100", "127.0.2.1:9100", "127.0.3.1:9100"} {
		harness.Start(t, h.Command(t, harness.Command{Args: []string{"exporter", "--exporter=node", "--collectors=load", "--web.listen-address=" + address}}))
	}
	dir := t.TempDir()
	inventory := harness.WriteFile(t, dir, "inventory.json", `{"machines": {
		"web1": {"addresses": ["127.0.2.1"], "tags": ["web"], "exporters": {"node": null}},
		"extra": {"addresses": ["127.0.3.1"], "tags": ["b", "a"], "availability": "intermittent", "exporters": {"node": null}}}}`)
	settings := harness.WriteFile(t, dir, "settings.yml", `
discoveryMethod: [dns, inventory]
dnsDiscovery: {node: {names: ["*.lan.test"]}}
inventoryFile: `+inventory+`
additionalScrapeConfigs:
- job_name: also
  static_configs: [{targets: ["127.0.1.2:9100"]}]
`)
	s := harness.StartServer(t, harness.ServerOptions{
		Host: h, Listen: "127.0.0.1:9090", Config: "global: {scrape_interval: 1s}",
		Args: []string{"--clan.settings=" + settings, "--web.enable-lifecycle"},
	})
	s.WaitValue(`up{job="also"}`, 1)
	s.WaitValue(`up{job="node",machine="web2"}`, 1)
	s.WaitValue(`up{job="node",machine="extra",availability="intermittent"}`, 1)
	s.WaitValue(`count(up{job="node",machine="web1"})`, 1)
	s.WaitValue(`count(clanmon_machine_info{machine="web1",tags=",web,",source="dns,inventory"})`, 1)
	s.WaitValue(`count(clanmon_machine_info{machine="extra",tags=",a,b,"})`, 1)
	targets := s.Get("/api/v1/targets?state=active").Body
	require.Contains(t, targets, `"scrapeUrl":"http://127.0.2.1:9100/metrics"`, "what a person wrote down comes first")
	require.NotContains(t, targets, `"scrapeUrl":"http://127.0.1.1:9100/metrics"`)

	// The inventory is read again when it changes; without a reload.
	harness.WriteFile(t, dir, "inventory.json", `{"machines": {}}`)
	harness.Eventually(t, harness.Patience, func() error {
		targets := s.Get("/api/v1/targets?state=active").Body
		if strings.Contains(targets, "127.0.2.1") || strings.Contains(targets, "127.0.3.1") || !strings.Contains(targets, "127.0.1.1") {
			return fmt.Errorf("targets: %s", targets)
		}
		return nil
	})

	// The settings are read again at a reload, and a mistake changes nothing.
	harness.WriteFile(t, dir, "settings.yml", "discoveryMethod: dns\ndnsDiscovery: {mine: {names: [x.test]}}\n")
	a := s.Post("/-/reload", "", "")
	require.Equal(t, 500, a.Status)
	require.Contains(t, a.Body, `dnsDiscovery.mine: job "mine" has no default port`)
	require.Contains(t, s.Get("/api/v1/targets?state=active").Body, "127.0.1.2:9100")
	harness.WriteFile(t, dir, "settings.yml", "discoveryMethod: none\n")
	require.Equal(t, 200, s.Post("/-/reload", "", "").Status)
	harness.Eventually(t, harness.Patience, func() error {
		if targets := s.Get("/api/v1/targets?state=active").Body; strings.Contains(targets, "127.0.1.") {
			return fmt.Errorf("targets: %s", targets)
		}
		return nil
	})
}

// What is wrong is said at start, with exit code 2 as for any other setting.
func TestDiscoveryMistakes(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ arg, config, want string }{
		{"--discovery=tailscail", "", "tailscail"},
		{"--discovery=dns", "", "needs a name"},
		{"--discovery.static=web=host1", "", "has no default port"},
		{"--discovery.dns=node=a..b", "", "an empty label between two dots"},
		{"--discovery.inventory=/does/not/exist", "", "/does/not/exist"},
		{"--clan.settings=/does/not/exist", "", "/does/not/exist"},
		{"--discovery.static=node=host1", "scrape_configs: [{job_name: node}]", `defines the job \"node\"`},
	} {
		s := harness.LaunchServer(t, harness.ServerOptions{Config: test.config, Args: []string{test.arg}})
		require.Equal(t, 2, s.Wait(), test.arg)
		require.Contains(t, s.Log(), test.want)
	}
}
