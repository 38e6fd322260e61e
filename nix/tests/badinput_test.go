package tests

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const smallClan = `clan = { machines = { srv = [ ]; web = [ ]; }; instances.mon = {
  module = { name = "clanmon"; input = "self"; };
  roles.server.machines.srv.settings = { openFirewall = false; %s };
  roles.exporter.machines.web.settings = { openFirewall = false; %s };
}; };
machines = { srv = { %s }; web = { %s }; };`

// A mistake is an assertion or an error of the evaluation that names the option, with
// instance, role and machine unless clan-core names the settings itself; never a unit
// that fails.
func TestBadInput(t *testing.T) {
	t.Parallel()
	const server, exporter, onServer, onExporter = 0, 1, 2, 3
	for _, tc := range []struct {
		where int
		input string
		want  []string // words of one problem, or of the error
	}{
		{server, `discoveryMethod = "tailscal";`, []string{"settings.discoveryMethod", `"tailscal"`, "inventory"}},
		{server, `discoveryMethod = "tailscale";`, []string{"discoveryMethod", "services.tailscale.enable = true"}},
		{server, `discoveryMethod = "static";`, []string{"discoveryMethod", "staticTargets"}},
		{server, `discoveryMethod = "dns";`, []string{"discoveryMethod", "dnsDiscovery"}},
		{server, `discoveryMethod = "static"; staticTargets.web = [ "a" ];`, []string{"staticTargets.web", `"a"`, "a:PORT"}},
		{server, `discoveryMethod = "dns"; dnsDiscovery.web.names = [ "x" ];`, []string{"dnsDiscovery.web.port"}},
		{server, `additionalScrapeConfigs = [ { } ];`, []string{"additionalScrapeConfigs[0]", "job_name"}},
		{server, `additionalScrapeConfigs = [ { job_name = "node"; } ];`, []string{"additionalScrapeConfigs", `"node"`}},
		{server, `additionalScrapeConfigs = [ { job_name = "x"; } ]; scrapeConfigs = [ { job_name = "x"; } ];`, []string{"additionalScrapeConfigs", `"x"`}},
		{onServer, `services.prometheus.scrapeConfigs = [ { job_name = "systemd"; } ];`, []string{"scrapeConfigs", `"systemd"`, "inventory"}},
		{server, `additionalScrapeConfigs = [ { job_name = "x"; basic_auth = { username = "a"; password = "hunter2"; }; } ];`, []string{"additionalScrapeConfigs[0].basic_auth.password", "secret"}},
		{server, `remoteWrite = [ { url = "https://me:hunter2@host/"; } ];`, []string{"remoteWrite[0].url", "secret"}},
		{server, `remoteWrite = [ { url = "https://host/?api_key=hunter2"; } ];`, []string{"remoteWrite[0].url", "secret"}},
		{server, `alertmanagerConfig.receivers = [ { name = "a"; telegram_configs = [ { bot_token = "hunter2"; } ]; } ];`, []string{"alertmanagerConfig.receivers[0].telegram_configs[0].bot_token", "_file"}},
		{server, `alertmanagerConfig.global.slack_api_url = "https://hooks.slack.com/services/hunter2";`, []string{"alertmanagerConfig.global.slack_api_url", "_file"}},
		{server, `notify.ops.url = "ntfy://me:hunter2@ntfy.sh/x";`, []string{"notify.ops.url", "secretFile"}},
		{server, `notify.ops.url = "gotify://g?token=hunter2";`, []string{"notify.ops.url", "secretFile"}},
		{server, `notify.ops.url = "discord://1234/hunter2";`, []string{"notify.ops.url", "secretFile"}},
		{server, `notifications.quiet = [ "22:00-07:00" ]; alertmanagerConfig.route.receiver = "x";`, []string{"notifications.quiet", "mute_time_intervals"}},
		{server, `notify."a b".url = "ntfy://ntfy.sh/x";`, []string{`notify.a b`}},
		{server, `builtinRules.disable = [ "NoSuchRule" ];`, []string{"builtinRules", `"NoSuchRule"`, "FilesystemFull"}},
		{server, `builtinRules.set.FilesystemFull.treshold = 1;`, []string{"builtinRules.set.FilesystemFull.treshold", "threshold"}},
		{server, `retentionTim = "30d";`, []string{"services.prometheus.retentionTim"}},
		{server, `port = "9090";`, []string{"services.prometheus.port", "port"}},
		{exporter, `exporterType = "nodes";`, []string{"settings.exporterType", `"nodes"`}},
		{exporter, `enabledCollectors = [ "memroy" ];`, []string{"enabledCollectors", `"memroy"`, "memory", "meminfo"}},
		{exporter, `exporterType = "nginx"; enabledCollectors = [ "cpu" ];`, []string{"services.clanmon.exporter.exporters.nginx.enabledCollectors", "does not exist"}},
		{exporter, `enabledColectors = [ "cpu" ];`, []string{"services.clanmon.exporter.exporters.node.enabledColectors", "does not exist"}},
		{exporter, `exporters.foo = { };`, []string{"settings.exporters.foo", "does not exist"}},
		{exporter, `exporters.redis.adress = "x";`, []string{"settings.exporters.redis.adress", "does not exist"}},
		{exporter, `exporters.node.port = 99999;`, []string{"exporters.node.port"}},
		{exporter, `exporters.nginx.port = 9100;`, []string{"port 9100", "exporter nginx", "exporter node"}},
		{exporter, `exporters.postgres.dataSourceName = "host=x password=hunter2";`, []string{"exporters.postgres.dataSourceName", "dsnFile"}},
		{exporter, `exporters.redis.addr = "redis://:hunter2@localhost";`, []string{"exporters.redis.addr", "passwordFile"}},
		{exporter, `firewallFilter = "-i tailscale0 -p tcp --dport 9100";`, []string{"services.clanmon.exporter.exporters.node.firewallFilter", "does not exist"}},
		{exporter, `extraFlags = "--collector.wifi";`, []string{"services.clanmon.exporter.exporters.node.extraFlags", `"--collector.wifi"`, "list of string"}},
		{exporter, `exporters.nginx.settings = [ "--nginx.timeout=1s" ];`, []string{"settings.exporters.nginx.settings", "attribute set"}},
		{exporter, `exporterType = "nginx"; port = 9113; exporters.nginx.port = 9114;`, []string{"services.clanmon.exporter.exporters.nginx.port", "conflicting", "9114", "9113"}},
		{exporter, `exporterType = "blackboxes";`, []string{"settings.exporterType", "nginx"}},
		{exporter, `exporterType = "blackbox"; allow = "*";`, []string{"exporters.blackbox.allow", "list of string"}},
		{exporter, `exporterType = "nginx"; sslVerify = "yes";`, []string{"services.clanmon.exporter.exporters.nginx.sslVerify", `"yes"`, "boolean"}},
		{exporter, `interfaces = [ "a-name-of-an-interface" ];`, []string{"interfaces", `"a-name-of-an-interface"`, "15 characters"}},
		{exporter, `exporters.nginx.interfaces = [ "eth1 eth2" ];`, []string{"exporters.nginx.interfaces", `"eth1 eth2"`}},
		{server, `tls.enable = true; discoveryMethod = "static"; staticTargets.node = [ "a" ];`, []string{"tls.enable", "static", "tls.methods"}},
		{server, `backup = "metrics";`, []string{"settings.backup", `"metrics"`, "state"}},
		{server, `tls = { enable = true; authorities = [ ]; };`, []string{"settings.tls.authorities", "[]"}},
		{server, `interfaces = [ "eth1/24" ];`, []string{"interfaces", `"eth1/24"`}},
		{exporter, `availability = "sometimes";`, []string{"settings.availability", "intermittent"}},
		{onExporter, `services.prometheus.exporters.node.enable = true;`, []string{"exporters.node", "services.prometheus.exporters.node.enable"}},
	} {
		t.Run(tc.input, func(t *testing.T) {
			t.Parallel()
			given := []any{"", "", "", ""}
			given[tc.where] = tc.input
			all, err := evaluate(t, fmt.Sprintf(smallClan, given...))
			role, name, other := "server", "srv", "web"
			if tc.where == exporter || tc.where == onExporter {
				role, name, other = "exporter", "web", "srv"
			}
			where := "clan instance 'mon', role '" + role + "', machine '" + name + "'"
			if err != nil {
				for _, w := range tc.want {
					require.ErrorContains(t, err, w)
				}
				if strings.HasPrefix(tc.want[0], "services.") {
					require.ErrorContains(t, err, where)
				}
				return
			}
			require.Len(t, all[name].Problems, 1)
			for _, w := range append(tc.want, where) {
				require.Contains(t, all[name].Problems[0], w)
			}
			require.Empty(t, all[other].Problems)
			require.NotContains(t, strings.Join(all[name].Problems, ""), "hunter2")
		})
	}
}

// What the older service took, it takes still, and says what is wrong with it.
func TestOlderServiceWarns(t *testing.T) {
	t.Parallel()
	m := one(t, "srv", `clan = { machines.srv = [ ]; instances.mon = {
  module = { name = "prometheus"; input = "self"; };
  roles.server.machines.srv.settings = {
    discoveryMethod = "tailscale";
    staticTargets.node = [ "192.168.1.10:9100" ];
    remoteWrite = [ { url = "https://x/"; basic_auth = { username = "a"; password = "hunter2"; }; } ];
  };
}; }; machines.srv = { };`)
	text := strings.Join(m.Warnings, "\n")
	for _, want := range []string{"remoteWrite[0].basic_auth.password", "services.tailscale.enable = true", "open on all interfaces"} {
		require.Contains(t, text, want)
	}
	// It scraped staticTargets whatever the method was.
	require.JSONEq(t, `{"discoveryMethod": ["static", "tailscale"], "staticTargets": {"node": ["192.168.1.10:9100"]}}`, m.Etc["clanmon/settings.json"])
}

// Its exporters were NixOS', whose flags were not quoted; its jobs had names of
// their own.
func TestOlderServiceIsTakenAsItStands(t *testing.T) {
	t.Parallel()
	m := one(t, "srv", `clan = { machines.srv = [ ]; instances.mon = {
  module = { name = "prometheus"; input = "self"; };
  roles.server.machines.srv.settings = {
    enableAutoDiscovery = false;
    discoveryMethod = "tailscale";
    staticTargets.node = [ "192.168.1.10:9100" ];
    scrapeConfigs = [ { job_name = "node"; static_configs = [ { targets = [ "a:1" ]; } ]; } ];
    additionalScrapeConfigs = [ { job_name = "redis"; static_configs = [ { targets = [ "b:1" ]; } ]; } ];
  };
  roles.exporter.machines.srv.settings = { exporterType = "redis"; firewallFilter = "-i eth0"; user = "me";
    extraFlags = [ "-redis.addr redis://x:1" "-include-config-metrics" "--check-keys='a*'" ]; };
}; }; machines.srv = { };`)
	require.Equal(t, []string{"--exporter=redis", "--redis.listen-address=:9121", "--redis.addr=redis://x:1", "--include-config-metrics", "--check-keys=a*", "--history=24h", "--history.path=/var/lib/clanmon-exporter/history"}, m.exporter(t))
	text := strings.Join(m.Warnings, "\n")
	require.Contains(t, text, "clan instance 'mon', role 'exporter', machine 'srv': firewallFilter has no effect: use `interfaces`")
	require.Contains(t, text, "user has no effect")
	require.JSONEq(t, `{"discoveryMethod": ["static"], "staticTargets": {"node": ["192.168.1.10:9100"]},
		"additionalScrapeConfigs": [{"job_name": "redis", "static_configs": [{"targets": ["b:1"]}]}]}`, m.Etc["clanmon/settings.json"])
	// Its own job had this name, and its series keep it.
	require.Contains(t, m.Etc["prometheus.yml"], `{"job_name":"node-configured","relabel_configs":[{"replacement":"node","target_label":"job"}]`)
	require.NotContains(t, m.Etc["prometheus.yml"], `"job_name":"node"`)
}

// A server asks its exporters where they listen.
func TestAddresses(t *testing.T) {
	t.Parallel()
	for settings, want := range map[string]string{
		``:                              "localhost, web.clan",
		`host = "10.0.0.7";`:            "10.0.0.7, 10.0.0.7",
		`listenAddress = "0.0.0.0";`:    "localhost, web.clan",
		`listenAddress = "127.0.0.1";`:  "localhost, web.clan",
		`listenAddress = "100.64.0.1";`: "100.64.0.1, 100.64.0.1",
		`listenAddress = "[fd00::1]";`:  "fd00::1, fd00::1",
		`exporters.nginx.listenAddress = "10.0.0.1"; exporters.redis.listenAddress = "10.0.0.2";`: "srv.clan, web.clan",
	} {
		m := one(t, "srv", fmt.Sprintf(`clan = { machines = { srv = [ ]; web = [ ]; }; instances.a = { module = { name = "clanmon"; input = "self"; };
  roles.server.machines.srv = { }; roles.exporter.tags.all.settings = { exporters.systemd.enable = false; %s }; }; }; machines.srv = { };`, settings))
		var inventory struct {
			Machines map[string]struct{ Addresses []string }
		}
		require.NoError(t, json.Unmarshal([]byte(m.Etc["clanmon/inventory.json"]), &inventory))
		require.Equal(t, want, strings.Join(append(inventory.Machines["srv"].Addresses, inventory.Machines["web"].Addresses...), ", "), settings)
	}
}

// The server finds its own metrics where its pages are.
func TestServerScrapesItself(t *testing.T) {
	t.Parallel()
	for settings, path := range map[string]string{
		``:                       "/metrics",
		`webExternalUrl = null;`: "/metrics",
		`webExternalUrl = "https://x.org/prom/";`:                                             "/prom/metrics",
		`webExternalUrl = "https://x.org/prom"; extraFlags = [ "--web.route-prefix=/" ];`:     "/metrics",
		`webExternalUrl = "https://x.org"; extraFlags = [ "--web.route-prefix /sub/pages" ];`: "/sub/pages/metrics",
	} {
		m := one(t, "srv", fmt.Sprintf(`clan = { machines.srv = [ ]; instances.a = { module = { name = "clanmon"; input = "self"; };
  roles.server.machines.srv.settings = { %s }; }; }; machines.srv = { };`, settings))
		require.Contains(t, m.Etc["clanmon/settings.json"], `"job_name":"clanmon","metrics_path":"`+path+`"`, settings)
	}
}

// A package contains itself. Wherever settings may hold one, nothing walks into it.
func TestPackagesInSettings(t *testing.T) {
	t.Parallel()
	const settings = `clan = let p = name: let self = { type = "derivation"; inherit name; outPath = "/nix/store/${name}"; out = self; all = [ self ]; }; in self; in { machines.srv = [ ]; instances = {
    a = { module = { name = "%s"; input = "self"; };
      roles.server.machines.srv.settings = { ruleFiles = [ (p "r.yml") ]; scrapeConfigs = [ { job_name = "x"; tls_config.ca_file = p "ca.pem"; } ]; };
      roles.exporter.machines.srv.settings = { %s }; };
  }; }; machines.srv = { };`
	for name, exporter := range map[string]string{
		"clanmon":    `exporters.redis.passwordFile = p "password";`,
		"prometheus": `exporters.json = { enable = true; configFile = p "b.yml"; };`,
	} {
		all, err := evaluate(t, fmt.Sprintf(settings, name, exporter))
		require.NoError(t, err)
		require.NotEmpty(t, all["srv"].Services)
	}
	// The packages of the modules are cyclic too.
	m := one(t, "srv", `machines.srv = { imports = [ ../nixos/server.nix ../nixos/exporter.nix ]; services.clanmon = { server.enable = true; exporter.enable = true; }; };`)
	require.Equal(t, "/nix/store/clanmon/bin/prometheus", strings.Fields(m.Services["prometheus"].ServiceConfig["ExecStart"].(string))[0])
	require.Equal(t, []string{"--exporter=node,systemd", "--node.listen-address=:9100", "--systemd.listen-address=:9558"}, m.exporter(t))
}

func TestTwoInstancesOnOneMachine(t *testing.T) {
	t.Parallel()
	const instances = `clan = { machines.srv = [ ]; instances = {
    a = { module = { name = "clanmon"; input = "self"; }; roles.exporter.machines.srv.settings = { openFirewall = false; %s }; %s };
    b = { module = { name = "clanmon"; input = "self"; }; roles.exporter.machines.srv.settings = { interfaces = [ "eth1" ]; %s }; %s };
  }; }; machines.srv = { };`
	// Two that agree are one process with both; the firewall is open for both.
	m := one(t, "srv", fmt.Sprintf(instances, `exporterType = "nginx";`, "", `enabledCollectors = [ "systemd" ];`, ""))
	require.Equal(t, []string{"--exporter=node,systemd,nginx", "--node.listen-address=:9100", "--collector.systemd", "--systemd.listen-address=:9558", "--nginx.listen-address=:9113", "--history=24h", "--history.path=/var/lib/clanmon-exporter/history"}, m.exporter(t))
	require.Equal(t, map[string][]int{"eth1": {9100, 9558}}, m.Firewall.Interfaces)

	// Open wherever one of them wants it, whatever the other says.
	for said, want := range map[[2]string]string{
		{`openFirewall = true;`, `interfaces = [ "eth1" ];`}: `all [9100 9558], eth1`,
		{``, `interfaces = [ "eth1" ];`}:                     `all [], eth1 tailscale0`,
		{`openFirewall = false;`, ``}:                        `all [], tailscale0`,
	} {
		m := one(t, "srv", fmt.Sprintf(`clan = { machines.srv = [ ]; instances = {
    a = { module = { name = "clanmon"; input = "self"; }; roles.exporter.machines.srv.settings = { %s }; };
    b = { module = { name = "clanmon"; input = "self"; }; roles.exporter.machines.srv.settings = { %s }; };
  }; }; machines.srv.services.tailscale.enable = true;`, said[0], said[1]))
		require.Equal(t, want, fmt.Sprintf("all %v, %s", m.Firewall.All, strings.Join(slices.Sorted(maps.Keys(m.Firewall.Interfaces)), " ")), said)
	}

	// What contradicts is an error that names both.
	for input, want := range map[[4]string]string{
		{`port = 9101;`, "", `port = 9102;`, ""}: "services.clanmon.exporter.exporters.node.port",
		{"", "roles.server.machines.srv.settings.openFirewall = false;", "", "roles.server.machines.srv.settings.openFirewall = false;"}: "there is one services.prometheus on a machine",
		{"", "roles.server.machines.srv.settings.tls.enable = true;", "", "roles.server.machines.other.settings.tls.enable = false;"}:    "services.clanmon.exporter.tls.enable",
	} {
		all, err := evaluate(t, fmt.Sprintf(strings.Replace(instances, "machines.srv = [ ];", "machines = { srv = [ ]; other = [ ]; };", 1), input[0], input[1], input[2], input[3]))
		var text string
		if err != nil {
			text = err.Error()
		} else {
			require.Len(t, all["srv"].Problems, 1)
			text = all["srv"].Problems[0]
		}
		require.Contains(t, text, want)
		require.Contains(t, text, "clan instance 'a'")
		require.Contains(t, text, "clan instance 'b'")
	}
}

// Under both names of the service on one machine there is one process, too.
func TestBothNamesOnOneMachine(t *testing.T) {
	t.Parallel()
	m := one(t, "srv", `clan = { machines.srv = [ ]; instances = {
    a = { module = { name = "clanmon"; input = "self"; }; roles.exporter.machines.srv = { }; };
    b = { module = { name = "prometheus"; input = "self"; }; roles.exporter.machines.srv.settings.exporterType = "redis"; };
  }; }; machines.srv = { };`)
	require.Equal(t, "--exporter=node,systemd,redis", m.exporter(t)[0])
	require.Equal(t, []int{9121}, m.Firewall.All)
}

// Names of interfaces are written as the firewall of the machine wants them, and
// only VPNs of one's own count.
func TestFirewall(t *testing.T) {
	t.Parallel()
	const exporter = `clan = { machines.srv = [ ]; instances.a = { module = { name = "clanmon"; input = "self"; }; roles.exporter.machines.srv.settings = { %s }; }; }; machines.srv = { %s };`
	for _, tc := range []struct {
		settings, machine string
		all               []int
		interfaces        []string
		warns             bool
	}{
		{``, ``, nil, nil, true},
		{``, `networking.firewall.enable = false;`, nil, nil, false},
		{`openFirewall = false;`, `services.tailscale.enable = true;`, nil, nil, false},
		{`openFirewall = true;`, ``, []int{9100, 9558}, nil, false},
		{`openFirewall = true; interfaces = [ "eth1" ];`, ``, nil, []string{"eth1"}, false},
		{`interfaces = [ "tailscale0" "wg+" ];`, ``, nil, []string{"tailscale0", "wg+"}, false},
		{`interfaces = [ "wg+" ];`, `networking.nftables.enable = true;`, nil, []string{"wg*"}, false},
		{``, `services.zerotierone.enable = true;`, nil, []string{"zt+"}, false},
		{``, `services.zerotierone.enable = true; networking.nftables.enable = true;`, nil, []string{"zt*"}, false},
		{``, `services.tailscale = { enable = true; interfaceName = "ts1"; };`, nil, []string{"ts1"}, false},
		{``, `services.tailscale = { enable = true; interfaceName = "userspace-networking"; };`, nil, []string{"lo"}, false},
		{``, `networking.wireguard.interfaces = { ours.peers = [ { allowedIPs = [ "fd00::/64" ]; } ]; mullvad.peers = [ { allowedIPs = [ "0.0.0.0/0" ]; } ]; }; networking.wg-quick.interfaces.file.configFile = "/etc/wg.conf";`, nil, []string{"ours"}, false},
		{``, `services.yggdrasil = { enable = true; settings.IfName = "ygg"; };`, nil, nil, true},
		{``, `services.yggdrasil = { enable = true; settings.IfName = "ygg"; }; clan.core.networking.internalListenAddresses = [ "200::1" ];`, nil, []string{"ygg"}, false},
	} {
		m := one(t, "srv", fmt.Sprintf(exporter, tc.settings, tc.machine))
		var names []string
		for name, ports := range m.Firewall.Interfaces {
			names = append(names, name)
			require.Equal(t, []int{9100, 9558}, ports)
		}
		require.ElementsMatch(t, tc.interfaces, names, "%s %s", tc.settings, tc.machine)
		require.ElementsMatch(t, tc.all, m.Firewall.All, "%s %s", tc.settings, tc.machine)
		require.Equal(t, tc.warns, strings.Contains(strings.Join(m.Warnings, ""), "closed"), "%s %s: %q", tc.settings, tc.machine, m.Warnings)
	}
}

// Services of the machine are found.
func TestLocalServices(t *testing.T) {
	t.Parallel()
	const exporters = `clan = { machines.srv = [ ]; instances.a = { module = { name = "clanmon"; input = "self"; };
    roles.exporter.machines.srv.settings = { openFirewall = false; exporters = { nginx = { }; postgres = { }; redis = { }; }; }; }; };
  machines.srv = { services.nginx.enable = true; services.postgresql = { enable = true; settings.port = %d; }; services.redis.servers = { %s }; };`
	m := one(t, "srv", fmt.Sprintf(exporters, 5432, `"" = { enable = true; port = 6379; bind = "127.0.0.1"; requirePassFile = "/run/redis-password"; };`))
	require.True(t, m.NginxStatusPage)
	require.Subset(t, m.exporter(t), []string{"--exporter=node,systemd,nginx,postgres,redis", "--nginx.scrape-uri=http://localhost/nginx_status", "--redis.addr=redis://127.0.0.1:6379", "--redis.password-file=%d/redis-password"})
	require.Equal(t, []any{"redis-password:/run/redis-password"}, m.Services["clanmon-exporter"].ServiceConfig["LoadCredential"])
	require.Contains(t, m.Services["clanmon-exporter-postgresql"].Script, `GRANT pg_monitor TO "clanmon-exporter"`)
	require.Empty(t, m.Services["clanmon-exporter"].Environment)

	m = one(t, "srv", fmt.Sprintf(exporters, 5433, `app = { enable = true; port = 0; unixSocket = "/run/redis-app/redis.sock"; group = "redis-app"; };`))
	require.Contains(t, m.exporter(t), "--redis.addr=unix:///run/redis-app/redis.sock")
	require.Equal(t, []any{"redis-app"}, m.Services["clanmon-exporter"].ServiceConfig["SupplementaryGroups"])
	require.Contains(t, m.Services["clanmon-exporter"].Environment["DATA_SOURCE_NAME"], "port=5433")
}

// Lists of a role and of its machines add up.
func TestListsAddUp(t *testing.T) {
	t.Parallel()
	m := one(t, "srv", `clan = { machines.srv = [ ]; instances.a = { module = { name = "clanmon"; input = "self"; };
  roles.server.settings = { openFirewall = false; rules = [ "groups: []" ]; ruleFiles = [ "/a.yml" ]; extraFlags = [ "--one" ]; scrapeConfigs = [ { job_name = "a"; } ]; remoteWrite = [ { url = "http://a"; } ]; alertmanagers = [ { scheme = "http"; } ]; };
  roles.server.machines.srv.settings = { rules = [ "groups: [] # mine" ]; ruleFiles = [ "/b.yml" ]; extraFlags = [ "--two" ]; scrapeConfigs = [ { job_name = "b"; } ]; remoteWrite = [ { url = "http://b"; } ]; alertmanagers = [ { scheme = "https"; } ]; }; }; };
  machines.srv = { };`)
	require.ElementsMatch(t, []string{"groups: []", "groups: [] # mine"}, m.Prometheus.Rules)
	require.Len(t, m.Prometheus.RuleFiles, 2)
	require.Subset(t, m.Prometheus.ExtraFlags, []string{"--one", "--two"})
	require.Len(t, m.Prometheus.RemoteWrite, 2)
	require.Len(t, m.Prometheus.Alertmanagers, 2)
	require.Contains(t, m.Etc["prometheus.yml"], `[{"job_name":"a"},{"job_name":"b"}]`)
}

// The networks of a clan know how machines are reached. What needs a proxy is no
// address, and what does not exist yet is none.
func TestAddressesOfNetworks(t *testing.T) {
	t.Parallel()
	m := one(t, "srv", `clan = {
  exports = {
    "core/zerotier:zt::" = { networking = { priority = 900; module = "clan_lib.network.zerotier"; }; peer = null; };
    "core/zerotier:zt::web".peer.hosts = [ { plain = "fd80::1\n"; } ];
    "core/zerotier:zt::new".peer.hosts = [ { plain = throw "run clan vars generate"; } ];
    "core/zerotier:zt::srv".peer.hosts = [ { plain = "fd80::2"; } ];
    "core/wireguard:wg:peer:web" = { peer.hosts = [ { plain = "web.wg"; } ]; networking = null; };
    "core/tor:tor::".networking = { priority = 10; module = "clan_lib.network.tor"; };
    "core/tor:tor:server:web".peer.hosts = [ { plain = "web.onion"; } { var.file = "hostname"; } ];
    "core/internet:i:default:web".peer.hosts = [ { plain = "web.example.org"; } ];
    "clanmon:a:server:srv".endpoints.hosts = [ "a.clan" ];
  };
  machines = { srv = [ ]; web = [ ]; new = [ ]; named = [ ]; };
  instances.a = { module = { name = "clanmon"; input = "self"; };
    roles.server.machines.srv.settings.openFirewall = false;
    roles.exporter = { tags.all.settings.openFirewall = false; machines.named.settings.host = "10.0.0.7"; }; };
}; machines.srv = { };`)
	require.Equal(t, map[string][]string{
		"srv":   {"localhost"},
		"web":   {"web.wg", "fd80::1", "web.example.org", "web.clan"},
		"new":   {"new.clan"},
		"named": {"10.0.0.7"},
	}, m.addresses(t))
	require.Contains(t, m.Prometheus.ExtraFlags, "--web.allowed-host=fd80::2", "browsers use it too")
}

// Exporters that nobody scrapes are a mistake.
func TestNoServer(t *testing.T) {
	t.Parallel()
	m := one(t, "srv", `clan = { machines.srv = [ ]; instances.a = { module = { name = "clanmon"; input = "self"; };
  roles.exporter.machines.srv.settings.openFirewall = false; }; }; machines.srv = { };`)
	require.Len(t, m.Warnings, 1)
	require.Contains(t, m.Warnings[0], "clan instance 'a', role 'exporter', machine 'srv': no instance has a machine with the role server")
}

// What a backup has is chosen.
func TestBackup(t *testing.T) {
	t.Parallel()
	for backup, want := range map[string]string{
		``:                  "--only-state /var/lib/prometheus2/backup",
		`backup = "state";`: "--only-state /var/lib/prometheus2/backup",
		`backup = "all";`:   "--storage.tsdb.path=/var/lib/prometheus2/data /var/lib/prometheus2/backup",
		`backup = "none";`:  "",
	} {
		m := one(t, "srv", fmt.Sprintf(`clan = { machines.srv = [ ]; instances.a = { module = { name = "clanmon"; input = "self"; };
  roles.server.machines.srv.settings = { openFirewall = false; %s }; }; }; machines.srv = { };`, backup))
		require.Equal(t, want != "", len(m.State) > 0, backup)
		require.Contains(t, m.State["clanmon"].PreBackupScript, want)
	}
}

// New settings are a reload, in NixOS' own way where that is on.
func TestReload(t *testing.T) {
	t.Parallel()
	for enable, want := range map[string]any{"false": "/usr/bin/kill -HUP $MAINPID", "true": nil} {
		m := one(t, "srv", fmt.Sprintf(`machines.srv = { imports = [ ../nixos/server.nix ]; services.clanmon.server = { enable = true; openFirewall = false; }; services.prometheus.enableReload = %s; };`, enable))
		unit := m.Services["prometheus"]
		require.Equal(t, want, unit.ServiceConfig["ExecReload"])
		require.Equal(t, []string{m.Etc["clanmon/settings.json"]}, unit.ReloadTriggers)
	}
}

// A machine that cannot run the package builds without the checks.
func TestCrossBuild(t *testing.T) {
	t.Parallel()
	const machine = `canExecute = %s; machines.srv = { imports = [ ../nixos/server.nix ../nixos/exporter.nix ]; services.clanmon = { server.enable = true; exporter.enable = true; %s }; };`
	m := one(t, "srv", fmt.Sprintf(machine, "true", ""))
	require.Len(t, m.Checks, 2)
	require.Equal(t, true, m.Prometheus.CheckConfig)
	for _, arguments := range [][]any{{"false", ""}, {"true", "checkConfig = false;"}} {
		m = one(t, "srv", fmt.Sprintf(machine, arguments...))
		require.Empty(t, m.Checks)
		require.Equal(t, false, m.Prometheus.CheckConfig)
	}
}

// The options that the server had while it was a unit of its own.
func TestRenamedOptions(t *testing.T) {
	t.Parallel()
	m := one(t, "srv", `machines.srv = { imports = [ ../nixos/server.nix ]; services.clanmon.server = { enable = true; openFirewall = false; port = 9091; retentionTime = "90d"; stateDir = "clanmon"; extraFlags = [ "--one" ]; }; };`)
	require.Equal(t, 9091, m.Prometheus.Port)
	require.Equal(t, "90d", m.Prometheus.RetentionTime)
	require.Contains(t, m.Prometheus.ExtraFlags, "--one")
	require.Equal(t, "clanmon", m.Services["prometheus"].ServiceConfig["StateDirectory"])
	require.Len(t, m.Warnings, 4)
	require.Contains(t, m.Warnings[0], "services.prometheus.")
}

// Machines that are off for a week trust the old authority and the new one until all
// have changed.
func TestRenewal(t *testing.T) {
	t.Parallel()
	at := func(authorities string) machine {
		return one(t, "srv", fmt.Sprintf(`clan = { machines = { srv = [ ]; web = [ ]; }; instances.a = { module = { name = "clanmon"; input = "self"; };
    roles.server = { machines.srv.settings = { openFirewall = false; }; settings.tls = { enable = true; authorities = [ %s ]; }; };
    roles.exporter.tags.all.settings.openFirewall = false; }; }; machines.srv = { };`, authorities))
	}
	trusts := func(m machine) string {
		credentials := fmt.Sprint(m.Services["clanmon-exporter"].ServiceConfig["LoadCredential"])
		require.Equal(t, strings.Fields(credentials)[0], "["+strings.Fields(strings.Trim(fmt.Sprint(m.Services["prometheus"].ServiceConfig["LoadCredential"]), "[]"))[0])
		return strings.TrimPrefix(strings.Fields(credentials)[0], "[tls-ca:")
	}
	issued := func(m machine, issuer string) {
		t.Helper()
		tls := m.Generators["clanmon-tls"]
		require.Equal(t, []string{issuer}, tls.Dependencies)
		require.Equal(t, issuer, tls.Validation["issuer"], "clan makes a new certificate when this changes")
		require.Contains(t, tls.Script, "ca=$in/"+issuer+"\n")
	}
	m := at(`"ca"`)
	require.Equal(t, "/run/secrets/vars/clanmon-ca/ca.pem", trusts(m))
	issued(m, "clanmon-ca")
	m = at(`"ca" "ca2"`)
	require.Equal(t, "/nix/store/clanmon-authorities.pem?/run/secrets/vars/clanmon-ca/ca.pem,/run/secrets/vars/clanmon-ca2/ca.pem", trusts(m))
	issued(m, "clanmon-ca")
	m = at(`"ca2" "ca"`)
	require.Contains(t, trusts(m), "clanmon-ca/ca.pem")
	issued(m, "clanmon-ca2")
	require.False(t, m.Generators["clanmon-ca2"].Files["ca.key"].Deploy)
	m = at(`"ca2"`)
	require.Equal(t, "/run/secrets/vars/clanmon-ca2/ca.pem", trusts(m))
	require.NotContains(t, m.Generators, "clanmon-ca")
}

// The pages have a certificate for the name that people use.
func TestCertificateOfThePages(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		`null`:                          "DNS:a.clan\n",
		`"https://m.example.org/prom/"`: "DNS:a.clan,DNS:m.example.org\n",
		`"https://m.example.org:9090"`:  "DNS:a.clan,DNS:m.example.org\n",
		`"https://10.0.0.1:9090"`:       "DNS:a.clan,IP:10.0.0.1\n",
		`"https://[fd80::1]:9090/"`:     "DNS:a.clan,IP:fd80::1\n",
	} {
		m := one(t, "srv", fmt.Sprintf(`clan = { machines.srv = [ ]; instances.a = { module = { name = "clanmon"; input = "self"; };
  roles.server.machines.srv.settings = { openFirewall = false; tls = { enable = true; pages = true; }; webExternalUrl = %s; }; }; }; machines.srv = { };`, url))
		require.Contains(t, m.Generators["clanmon-tls"].Script, "names=DNS:srv,DNS:srv.clan,DNS:server.clanmon.internal,"+want)
	}
}

// NixOS up to 25.05 asks for agent mode by a flag that Prometheus 3 does not have.
func TestAgentMode(t *testing.T) {
	t.Parallel()
	for release, agent := range map[string]bool{"25.05": true, "25.11": false} {
		m := one(t, "srv", fmt.Sprintf(`lib = let lib = import ./standin.nix; in lib // { trivial.release = "%s"; }; machines.srv = { imports = [ ../nixos/server.nix ]; services.prometheus.enableAgentMode = true; services.clanmon.server = { enable = true; openFirewall = false; }; };`, release))
		require.Equal(t, agent, slices.Contains(m.Prometheus.ExtraFlags, "--agent"))
	}
}

// A machine without an exporter, such as a Mac of the tag "all", is no target.
func TestMachineWithoutAnExporter(t *testing.T) {
	t.Parallel()
	m := one(t, "srv", `clan = { machines = { srv = [ ]; mac = [ ]; }; instances.a = { module = { name = "clanmon"; input = "self"; };
  roles.server.machines.srv.settings.openFirewall = false;
  roles.exporter = { tags.all.settings.openFirewall = false; machines.mac.settings.exporters.node.enable = false; }; }; }; machines.srv = { };`)
	require.Equal(t, map[string][]string{"srv": {"localhost"}}, m.addresses(t))
}
