package tests

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/e2e/harness"
)

func TestMain(m *testing.M) {
	code := m.Run()
	harness.RemoveBuilt()
	os.Exit(code)
}

// machine is what machines.nix says of one.
type machine struct {
	Problems, Warnings, Checks, Foreign, Users []string
	Etc                                        map[string]string
	Firewall                                   struct {
		All        []int
		Interfaces map[string][]int
	}
	Services map[string]service
	State    map[string]struct {
		Folders                                                                []string
		PreBackupScript, PostBackupScript, PreRestoreScript, PostRestoreScript string
	}
	Generators map[string]struct {
		Share        bool
		Script       string
		Dependencies []string
		Validation   map[string]string
		Files        map[string]struct {
			Secret, Deploy bool
			RestartUnits   []string
		}
	}
	Grafana struct {
		Enable      bool
		Datasources []struct{ Name, Type, UID, URL string }
		Providers   []struct {
			Name    string
			Options struct{ Path string }
		}
	}
	Prometheus struct {
		Enable        bool
		Package       string
		Port          int
		ExtraFlags    []string
		Rules         []string
		RuleFiles     []string
		RemoteWrite   []any
		Alertmanagers []any
		CheckConfig   any
		RetentionTime string
	}
	NginxStatusPage bool
	Sockets         map[string]struct {
		SocketConfig map[string]any
		WantedBy     []string
	}
}

type service struct {
	After          []string
	PartOf         []string
	ReloadTriggers []string
	ServiceConfig  map[string]any
	Environment    map[string]string
	Script         string
}

// nix runs one of Nix' programs on a store of its own.
func nix(t testing.TB, program string, args ...string) (string, error) {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command(harness.Tool(t, program, "nix-bin"), args...)
	cmd.Env = append(os.Environ(), "XDG_CACHE_HOME="+dir)
	for _, name := range []string{"STORE", "STATE", "LOG", "CONF", "LOCALSTATE"} {
		cmd.Env = append(cmd.Env, "NIX_"+name+"_DIR="+filepath.Join(dir, name))
	}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		err = errors.New(stderr.String())
	}
	return string(out), err
}

// evaluate is machines.nix with arguments, in Nix' language. Who has nixpkgs may
// name the folder of its lib in CLANMON_NIX_LIB; else it is the stand-in.
func evaluate(t testing.TB, arguments string) (map[string]machine, error) {
	t.Helper()
	here, err := os.Getwd()
	require.NoError(t, err)
	if lib := os.Getenv("CLANMON_NIX_LIB"); lib != "" {
		arguments += fmt.Sprintf(" lib = import %s;", lib)
	}
	out, err := nix(t, "nix-instantiate", "--eval", "--strict", "--json", "--expr", fmt.Sprintf("import %s/machines.nix {%s}", here, arguments))
	if err != nil {
		return nil, err
	}
	var machines map[string]machine
	require.NoError(t, json.Unmarshal([]byte(out), &machines))
	return machines, nil
}

// one evaluates a clan and gives one machine, which has to be without fault.
func one(t testing.TB, name, arguments string) machine {
	t.Helper()
	all, err := evaluate(t, arguments)
	require.NoError(t, err)
	m, ok := all[name]
	require.True(t, ok)
	require.Empty(t, m.Problems)
	return m
}

// addresses are those of the machines in the inventory.
func (m machine) addresses(t testing.TB) map[string][]string {
	t.Helper()
	var inventory struct {
		Machines map[string]struct{ Addresses []string }
	}
	require.NoError(t, json.Unmarshal([]byte(m.Etc["clanmon/inventory.json"]), &inventory))
	addresses := make(map[string][]string)
	for name, m := range inventory.Machines {
		addresses[name] = m.Addresses
	}
	return addresses
}

func (m machine) exporter(t testing.TB) []string {
	t.Helper()
	return strings.Fields(m.Services["clanmon-exporter"].ServiceConfig["ExecStart"].(string))[1:]
}

func TestEveryFileParses(t *testing.T) {
	t.Parallel()
	files := []string{"../../flake.nix"}
	require.NoError(t, filepath.WalkDir("..", func(path string, _ fs.DirEntry, err error) error {
		if strings.HasSuffix(path, ".nix") {
			files = append(files, path)
		}
		return err
	}))
	require.Greater(t, len(files), 12)
	for _, f := range files {
		// Read here, so that a change of one makes go test run again.
		_, err := os.ReadFile(f)
		require.NoError(t, err)
		_, err = nix(t, "nix-instantiate", "--parse", f)
		require.NoError(t, err)
	}
}

const clan = `clan = {
  machines = { srv = [ "web" ]; web = [ "web" ]; lap = [ "laptop" ]; };
  instances.monitoring = {
    module = { name = "clanmon"; input = "self"; };
    roles.server.machines.srv.settings = {
      retentionTime = "30d";
      globalConfig.scrape_interval = "30s";
      notify.ops = { url = "ntfy://ntfy.sh/x?priority=4"; secret = true; };
      notify.chat = { url = "discord://?username=clanmon"; secretFile = "/run/discord"; };
      notify.mail = { url = "mailto:ops@example.org"; secretFile = "/run/mail"; };
      builtinRules = { disable = [ "MachineNew" ]; set.FilesystemFull.threshold = 0.05; };
      %s
    };
    roles.exporter.tags = { all = { }; laptop.settings.availability = "intermittent"; };
    roles.exporter.machines.web.settings = { exporters.nginx = { }; host = "10.0.0.3"; tags = [ "web" ]; };
  };
};
machines = { srv.services.tailscale.enable = true; web.services.nginx.enable = true; };`

// One instance makes a server that knows all machines, with exporters on them.
func TestClan(t *testing.T) {
	t.Parallel()
	all, err := evaluate(t, fmt.Sprintf(clan, ""))
	require.NoError(t, err)
	srv, web := all["srv"], all["web"]
	require.Empty(t, srv.Problems)
	require.Empty(t, srv.Warnings)
	require.True(t, srv.Prometheus.Enable)
	require.Equal(t, "prometheus", srv.Prometheus.Package, "clanmon under this name")
	require.Equal(t, "30d", srv.Prometheus.RetentionTime)
	require.Equal(t, []string{
		"--clan.settings=/etc/clanmon/settings.json",
		"--web.allowed-host=srv",
		"--web.allowed-host=srv.clan",
		"--web.allowed-host=monitoring.clan",
		"--notify=discord://?username=clanmon&url_file=/run/credentials/prometheus.service/notify-chat",
		"--notify=mailto:ops@example.org?password_file=/run/credentials/prometheus.service/notify-mail",
		"--notify=ntfy://ntfy.sh/x?priority=4&token_file=/run/credentials/prometheus.service/notify-ops",
		"--rules.disable=MachineNew",
		"--rules.set=FilesystemFull.threshold=0.05",
	}, srv.Prometheus.ExtraFlags)
	require.Equal(t, []any{"notify-chat:/run/discord", "notify-mail:/run/mail", "notify-ops:/run/secrets/vars/clanmon-monitoring-notify-ops/secret"},
		srv.Services["prometheus"].ServiceConfig["LoadCredential"])
	require.Equal(t, []any{`notify-chat:\n`, `notify-mail:\n`, `notify-ops:\n`}, srv.Services["prometheus"].ServiceConfig["SetCredential"], "without its secret a receiver does not stop the server")
	require.Equal(t, []string{"prometheus.service"}, srv.Generators["clanmon-monitoring-notify-ops"].Files["secret"].RestartUnits, "a new secret counts")

	var inventory struct {
		Machines map[string]struct {
			Addresses, Tags []string
			Availability    string
			Exporters       map[string]int
		}
	}
	require.NoError(t, json.Unmarshal([]byte(srv.Etc["clanmon/inventory.json"]), &inventory))
	require.Equal(t, []string{"localhost"}, inventory.Machines["srv"].Addresses)
	require.Equal(t, []string{"lap.clan"}, inventory.Machines["lap"].Addresses)
	require.Equal(t, "intermittent", inventory.Machines["lap"].Availability)
	require.Equal(t, []string{"10.0.0.3"}, inventory.Machines["web"].Addresses)
	require.Equal(t, []string{"web"}, inventory.Machines["web"].Tags)
	require.Equal(t, map[string]int{"node": 9100, "systemd": 9558, "nginx": 9113}, inventory.Machines["web"].Exporters)

	require.Empty(t, web.Problems)
	require.True(t, web.NginxStatusPage)
	require.Equal(t, []string{"--exporter=node,systemd,nginx", "--node.listen-address=:9100", "--systemd.listen-address=:9558", "--nginx.listen-address=:9113", "--nginx.scrape-uri=http://localhost/nginx_status", "--history=24h", "--history.path=/var/lib/clanmon-exporter/history"}, web.exporter(t))
	require.Contains(t, web.Users, "clanmon-exporter")

	// Open on the VPN where there is one; else closed, and somebody is told.
	require.Empty(t, srv.Firewall.All)
	require.Len(t, srv.Firewall.Interfaces, 1)
	require.ElementsMatch(t, []int{9100, 9558, 9090}, srv.Firewall.Interfaces["tailscale0"])
	require.Empty(t, web.Firewall.All)
	require.Empty(t, web.Firewall.Interfaces)
	require.Len(t, web.Warnings, 1)
	require.Contains(t, web.Warnings[0], "clan instance 'monitoring', role 'exporter', machine 'web': port 9113 (the exporter nginx), port 9100 (the exporter node), port 9558 (the exporter systemd): closed")
	require.Contains(t, web.Warnings[0], `Open with `+"`"+`interfaces = [ "eth1" ];`)
}

// What Nix writes is what the program takes: its own checks say so, as they do in
// a build.
func TestTheProgramTakesWhatIsWritten(t *testing.T) {
	t.Parallel()
	all, err := evaluate(t, fmt.Sprintf(clan, `
      discoveryMethod = [ "inventory" "tailscale" "dns" "static" ];
      tailscale = { jobs = [ "node" "nginx@tag:web" ]; intermittentTags = [ "laptop" ]; };
      dnsDiscovery.redis = { names = [ "*.example.org" ]; };
      staticTargets.postgres = [ "db@10.0.0.7" ];
      additionalScrapeConfigs = [ { job_name = "mine"; scrape_interval = "5s"; static_configs = [ { targets = [ "h:1" ]; } ]; } ];
      tls = { enable = true; methods = [ "inventory" "tailscale" ]; };
      checks.cloud = { url = "https://cloud.example.org"; every = "30s"; expect = { status = [ 200 ]; certificateDays = 20; }; machine = "web"; severity = "critical"; };
      checks.nas.url = "ping://10.0.0.9";
      notifications = { quiet = [ "22:00-07:00" ]; digest = "weekly"; digestAt = "sun 09:00"; timeZone = "Europe/Berlin"; };
      heartbeat.secretFile = "/run/heartbeat";`))
	require.NoError(t, err)
	srv := all["srv"]
	require.Empty(t, srv.Problems)
	require.Contains(t, srv.Etc["clanmon/settings.json"], `"nas":{"url":"ping://10.0.0.9"}`)
	require.Contains(t, srv.Etc["clanmon/settings.json"], `"expect":{"certificateDays":20,"status":[200]}`)
	require.Contains(t, srv.Etc["clanmon/settings.json"], `"methods":["inventory","tailscale"]`)
	require.Contains(t, srv.Etc["clanmon/settings.json"], `"notifications":{"digest":"weekly","digestAt":"sun 09:00","quiet":["22:00-07:00"],"timeZone":"Europe/Berlin"}`)
	dir := t.TempDir()
	inventory := harness.WriteFile(t, dir, "inventory.json", srv.Etc["clanmon/inventory.json"])
	settings := harness.WriteFile(t, dir, "settings.json", strings.ReplaceAll(srv.Etc["clanmon/settings.json"], "/etc/clanmon/inventory.json", inventory))
	check := func(args ...string) (string, error) {
		out, err := exec.Command(harness.Clanmon(t), append([]string{"check"}, args...)...).CombinedOutput()
		return string(out), err
	}
	out, err := check("settings", "--syntax-only", settings)
	require.NoError(t, err, out)
	out, err = check(append([]string{"flags", "server", "--"}, srv.Prometheus.ExtraFlags...)...)
	require.NoError(t, err, out)
	for _, m := range all {
		flags := slices.DeleteFunc(m.exporter(t), func(f string) bool { return strings.HasPrefix(f, "--web.config.file") })
		out, err = check(append([]string{"flags", "exporter", "--"}, flags...)...)
		require.NoError(t, err, out)
	}
	// And the check of the build is this one.
	require.Contains(t, strings.Join(srv.Checks, ""), "check settings")
	require.Contains(t, strings.Join(srv.Checks, ""), "check flags server -- '--web.allowed-host=srv'")
}

func TestIdentity(t *testing.T) {
	t.Parallel()
	all, err := evaluate(t, fmt.Sprintf(clan, `
      identity = {
        operators = [ "alice@example.com" "group:admins" ];
        viewers = [ "identified" ];
        header = "Remote-User";
        trustedProxies = [ "127.0.0.1" ];
        tokenFile = "/etc/clanmon-tokens";
        oidc = { issuer = "https://id.example.org"; clientId = "clanmon"; clientSecretFile = "/run/secrets/oidc"; scopes = [ "groups" ]; };
      };`))
	require.NoError(t, err)
	srv := all["srv"]
	require.Empty(t, srv.Problems)
	require.Subset(t, srv.Prometheus.ExtraFlags, []string{
		"--web.operator=alice@example.com", "--web.operator=group:admins", "--web.viewer=identified", "--web.identity.header=Remote-User", "--web.trusted-proxy=127.0.0.1",
		"--web.token-file=/etc/clanmon-tokens", "--web.oidc.issuer=https://id.example.org", "--web.oidc.client-id=clanmon",
		"--web.oidc.client-secret-file=/run/credentials/prometheus.service/oidc-client-secret", "--web.oidc.scope=groups",
	})
	require.Contains(t, srv.Services["prometheus"].ServiceConfig["LoadCredential"], "oidc-client-secret:/run/secrets/oidc")
	require.NotContains(t, srv.Etc["clanmon/settings.json"], `"job_name":"clanmon"`, "its own scrape has no token")
	out, err := exec.Command(harness.Clanmon(t), append([]string{"check", "flags", "server", "--"}, srv.Prometheus.ExtraFlags...)...).CombinedOutput()
	require.NoError(t, err, string(out))
}

// What the README of the older community service shows, under its name.
func TestInventoryOfTheOlderService(t *testing.T) {
	t.Parallel()
	m := one(t, "srv", `clan = { machines = { srv = [ "monitoring-server" ]; web = [ ]; }; instances = {
    "monitoring" = {
      module.name = "prometheus";
      module.input = "self";
      roles.server = {
        tags."monitoring-server" = {};
        settings = {
          enableAutoDiscovery = true;
          discoveryMethod = "tailscale";
          port = 9090;
          retentionTime = "30d";
          rules = [ "groups: []" ];
          additionalScrapeConfigs = [
            { job_name = "external-service"; static_configs = [{ targets = [ "api.example.com:9090" ]; }]; }
          ];
        };
      };
      roles.exporter = {
        tags."all" = {};
        settings = {
          exporterType = "node";
          port = 9100;
          enabledCollectors = [ "systemd" "cpu" "memory" "disk" "network" ];
        };
      };
    };
    "systemd-monitoring" = {
      module.name = "prometheus";
      module.input = "self";
      roles.exporter = { tags."all" = { }; settings = { exporterType = "systemd"; port = 9558; }; };
    };
    "probes" = {
      module.name = "prometheus";
      module.input = "self";
      roles.exporter = { machines.srv.settings = { exporterType = "snmp"; configFile = "/etc/snmp.yml"; }; };
    };
  }; };
  machines = { srv.services.tailscale.enable = true; };`)
	require.ElementsMatch(t, []int{9090, 9100, 9558, 9116}, m.Firewall.All)
	require.Equal(t, []string{"snmp"}, m.Foreign)
	require.Equal(t, 9090, m.Prometheus.Port)
	require.Equal(t, "30d", m.Prometheus.RetentionTime)
	require.Equal(t, []string{"groups: []"}, m.Prometheus.Rules)
	require.Subset(t, m.exporter(t), []string{"--exporter=node,systemd", "--collector.systemd", "--collector.cpu", "--collector.meminfo", "--collector.filesystem", "--collector.netdev"})
	require.JSONEq(t, `{"discoveryMethod": ["tailscale"], "additionalScrapeConfigs": [
		{"job_name": "external-service", "static_configs": [{"targets": ["api.example.com:9090"]}]}]}`, m.Etc["clanmon/settings.json"])
	require.Len(t, m.Warnings, 1)
	require.Contains(t, m.Warnings[0], `change module.name to "clanmon"`)
}

// The blackbox exporter is in the large program alone, and reaches more than its own network.
func TestBlackbox(t *testing.T) {
	t.Parallel()
	for _, module := range []string{"clanmon", "prometheus"} {
		all, err := evaluate(t, fmt.Sprintf(`clan = { machines.srv = [ ]; machines.web = [ ]; instances.mon = {
			module = { name = %q; input = "self"; };
			roles.server.machines.srv.settings.checks.cloud = { url = "https://cloud.example.org"; from = [ "srv" "web" ]; };
			roles.exporter.machines.web.settings = { exporterType = "blackbox"; configFile = "/etc/b.yml"; allow = [ "cloud.example.org" "*.lan:22" ]; };
		}; }; machines.srv = { }; machines.web = { };`, module))
		require.NoError(t, err)
		web := all["web"]
		unit := web.Services["clanmon-exporter"].ServiceConfig
		require.Equal(t, "/nix/store/clanmon/bin/clanmon", strings.Fields(unit["ExecStart"].(string))[0])
		require.Equal(t, []string{
			"exporter", "--exporter=blackbox", "--blackbox.listen-address=:9115", "--blackbox.config.file=/etc/b.yml",
			"--blackbox.allow=cloud.example.org", "--blackbox.allow=*.lan:22", "--history=24h", "--history.path=/var/lib/clanmon-exporter/history",
		}, web.exporter(t))
		require.Equal(t, "any", unit["IPAddressAllow"])
		require.Contains(t, all["srv"].Etc["clanmon/settings.json"], `"cloud":{"from":["srv","web"],"url":"https://cloud.example.org"}`)
		if module == "clanmon" {
			require.Contains(t, all["srv"].Etc["clanmon/inventory.json"], `"blackbox":9115`)
		}
	}
	web := one(t, "web", `machines.web = { imports = [ ../nixos/exporter.nix ]; services.clanmon.exporter = { enable = true; exporters.node = { }; exporters.blackbox.allow = [ "a" ]; }; };`)
	require.Equal(t, []string{"exporter", "--exporter=node,systemd,blackbox"}, web.exporter(t)[:2])
}

// The table of options in the README is made of the interface.
func TestOptionsTableIsCurrent(t *testing.T) {
	out, err := nix(t, "nix-instantiate", "--eval", "--strict", "--json", "options.nix")
	require.NoError(t, err)
	type option struct{ Name, Type, Default, Older, Description string }
	var roles map[string][]option
	require.NoError(t, json.Unmarshal([]byte(out), &roles))
	long := regexp.MustCompile(`one of \[[^\]]{100,}\]| \([^)]*\)`)
	common := regexp.MustCompile(`^exporters\.\w+\.(enable|port|listenAddress|extraFlags|settings|openFirewall|interfaces)$`)
	var table strings.Builder
	for _, role := range []string{"server", "exporter"} {
		fmt.Fprintf(&table, "\n### %s\n\n| option | type | default | |\n|---|---|---|---|\n", role)
		require.Greater(t, len(roles[role]), 8)
		seen := make(map[string]bool)
		for _, o := range roles[role] {
			require.NotEmpty(t, o.Description, o.Name)
			o.Name = common.ReplaceAllString(o.Name, "exporters.<type>.$1")
			if seen[o.Name] {
				continue
			}
			seen[o.Name] = true
			value := "`" + o.Default + "`"
			if o.Default == "" {
				value = "must be set"
			}
			if o.Older != o.Default {
				value += "; as `prometheus` `" + o.Older + "`"
			}
			cell := func(s string) string {
				return strings.ReplaceAll(strings.Join(strings.Fields(s), " "), "|", `\|`)
			}
			fmt.Fprintf(&table, "| `%s` | %s | %s | %s |\n", o.Name, cell(long.ReplaceAllStringFunc(o.Type, shortType)), cell(value), cell(o.Description))
		}
	}
	readme, err := os.ReadFile("../README.md")
	require.NoError(t, err)
	before, rest, ok := strings.Cut(string(readme), "make nix -->\n")
	require.True(t, ok)
	_, after, ok := strings.Cut(rest, "<!-- end of options -->")
	require.True(t, ok)
	requireGenerated(t, "../README.md", before+"make nix -->\n"+table.String()+"\n<!-- end of options -->"+after)
}

// shortType is what the table says instead of many names or an explanation.
func shortType(s string) string {
	if strings.HasPrefix(s, "one of") {
		return "known names"
	}
	return ""
}

// What NixOS' own module asks of a package.
func TestPackage(t *testing.T) {
	t.Parallel()
	const expression = `let
  lib = import ./standin.nix;
  file = import ../package.nix;
  # nixpkgs' callPackage gives an argument its package of that name, whatever its default is.
  others = lib.genAttrs [ "build" "commit" "slim" "version" ] (name: throw "pkgs.${name} is another package");
  runCommandLocal = name: env: script: env.passthru // { inherit name script; inherit (env) meta; };
  make = args: let
    f = file (builtins.intersectAttrs (builtins.functionArgs file) others // args // { inherit lib buildGoModule runCommandLocal; testers = throw "only to be tested"; });
    buildGoModule = f: let p = f (p // { finalPackage = p // { outPath = "/nix/store/clanmon"; }; }); in p;
  in { inherit (f) pname version ldflags tags outputs postInstall; meta = { inherit (f.meta) mainProgram homepage changelog maintainers; };
    prometheus = f.passthru.prometheus.meta.mainProgram; script = f.passthru.prometheus.script; cli = f.passthru.prometheus.cli.script; };
in { full = make { }; slim = make { withoutClouds = true; buildVersion = "1"; }; }`
	here, err := os.Getwd()
	require.NoError(t, err)
	out, err := nix(t, "nix-instantiate", "--eval", "--strict", "--json", "--expr", strings.ReplaceAll(strings.ReplaceAll(expression, "./standin", here+"/standin"), "../package", here+"/../package"))
	require.NoError(t, err)
	var packages map[string]struct {
		Pname, Version, Prometheus, Script, Cli, PostInstall string
		Tags, Ldflags, Outputs                               []string
		Meta                                                 struct {
			MainProgram, Homepage, Changelog string
			Maintainers                      []string
		}
	}
	require.NoError(t, json.Unmarshal([]byte(out), &packages))
	full, slim := packages["full"], packages["slim"]
	require.Regexp(t, `^0-unstable-\d{4}-\d\d-\d\d$`, full.Version)
	require.Contains(t, slim.Ldflags, "-X github.com/clanmon/clanmon/cmd/internal/cli.BuildVersion=1")
	require.Equal(t, "clanmon", full.Meta.MainProgram)
	require.NotEmpty(t, full.Meta.Homepage)
	require.NotEmpty(t, full.Meta.Changelog)
	require.Empty(t, full.Tags)
	require.Equal(t, []string{"out", "exporter"}, full.Outputs, "what is installed is the first one")
	require.Contains(t, full.PostInstall, `moveToOutput bin/clanmon-exporter "$exporter"`)
	require.Equal(t, []string{"remove_all_sd", "enable_dns_sd"}, slim.Tags)
	// What NixOS' module asks of a package is a package of its own, not on everybody's PATH.
	require.Equal(t, "prometheus", full.Prometheus)
	for _, name := range []string{"prometheus", "promtool"} {
		require.Contains(t, full.Script, "/nix/store/clanmon/bin/clanmon $out/bin/"+name)
		require.NotContains(t, full.PostInstall, name)
	}
	require.Equal(t, full.Script, full.Cli, "promtool")
}

// The example and the inventories of the README are accepted as they stand.
func TestExample(t *testing.T) {
	t.Parallel()
	all, err := evaluate(t, `
  clan = let i = import ../example.nix; in {
    machines = { hub = [ "server" "nixos" ]; web1 = [ "server" "web" "nixos" ]; db1 = [ "server" "nixos" ]; lap = [ "laptop" "nixos" ]; };
    inherit (i) instances;
  };
  machines = {
    hub.services.tailscale.enable = true;
    web1 = { services.tailscale.enable = true; services.nginx.enable = true; };
    db1 = { services.tailscale.enable = true; services.postgresql.enable = true; services.redis.servers."" = { enable = true; port = 6379; }; };
    lap.services.tailscale.enable = true;
  };`)
	require.NoError(t, err)
	for name, m := range all {
		require.Empty(t, m.Problems, name)
		require.Empty(t, m.Warnings, name)
	}
	var inventory struct {
		Machines map[string]struct {
			Availability string
			Exporters    map[string]int
		}
	}
	require.NoError(t, json.Unmarshal([]byte(all["hub"].Etc["clanmon/inventory.json"]), &inventory))
	require.Equal(t, "intermittent", inventory.Machines["lap"].Availability)
	require.Contains(t, inventory.Machines["web1"].Exporters, "nginx")
	require.Contains(t, inventory.Machines["db1"].Exporters, "postgres")

	readme, err := os.ReadFile("../README.md")
	require.NoError(t, err)
	for block := range strings.SplitSeq(string(readme), "```nix\n") {
		code, _, fenced := strings.Cut(block, "```")
		if fenced && strings.HasPrefix(code, "{") {
			_, err := nix(t, "nix-instantiate", "--parse", "--expr", "{ inputs, pkgs, ... }: "+code)
			require.NoError(t, err, code)
		}
	}
}

// The outputs of the flake are there, as far as that can be told without nixpkgs.
func TestOutputs(t *testing.T) {
	t.Parallel()
	here, err := os.Getwd()
	require.NoError(t, err)
	out, err := nix(t, "nix-instantiate", "--eval", "--strict", "--json", "--expr", fmt.Sprintf(`let
  lib = import %[1]s/standin.nix;
  pkgs = {
    mkShell = s: s;
    callPackage = _: args: lib.genAttrs [ "outPath" "name" ] (_: "/nix/store/clanmon") // args // { override = a: args // a; };
  } // lib.genAttrs [ "go" "gnumake" "nix" "nixfmt" "nixfmt-tree" "nodejs" "openssl" ] (n: n);
  nixpkgs = { inherit lib; legacyPackages = lib.genAttrs [ "x86_64-linux" "aarch64-linux" ] (_: pkgs); };
  flake = import %[1]s/../../flake.nix;
  out = flake.outputs { inherit nixpkgs; self = { lastModifiedDate = "20261125101112"; dirtyShortRev = "abc-dirty"; }; };
  system = out.packages.aarch64-linux;
in {
  inputs = lib.attrNames flake.inputs;
  outputs = lib.attrNames out;
  version = system.default.buildVersion;
  commit = system.clanmon.buildCommit;
  slim = system.clanmon-slim.withoutClouds;
  shell = out.devShells.x86_64-linux.default.packages;
  modules = map (m: builtins.pathExists m) ([ out.nixosModules.server out.nixosModules.exporter out.clan.modules.clanmon out.clan.modules.prometheus ] ++ out.nixosModules.default.imports);
  manifests = lib.mapAttrs (_: m: (import m { inherit lib; clanLib = { }; directory = throw "does not exist yet"; config.instances = { }; }).manifest.name) out.clan.modules;
  deprecated = out.clan.deprecatedModules;
  checks = lib.attrNames (import %[1]s/flake.nix).inputs;
}`, here))
	require.NoError(t, err)
	require.JSONEq(t, `{
		"inputs": ["nixpkgs"],
		"outputs": ["checks", "clan", "devShells", "formatter", "nixosModules", "overlays", "packages"],
		"version": "0-unstable-2026-11-25", "commit": "abc-dirty", "slim": true,
		"shell": ["go", "gnumake", "nix", "nixfmt", "nodejs", "openssl"],
		"modules": [true, true, true, true, true, true],
		"manifests": {"clanmon": "clanmon", "prometheus": "prometheus"},
		"deprecated": ["prometheus"],
		"checks": ["clan-core", "clanmon", "nixpkgs"]
	}`, out)
}
