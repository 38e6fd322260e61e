package tests

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
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
	Services   map[string]service
	State      map[string]struct{ Folders []string }
	Generators map[string]struct {
		Share  bool
		Script string
		Files  map[string]struct {
			Secret, Deploy bool
			RestartUnits   []string
		}
	}
	Prometheus struct {
		Enable        bool
		Package       string
		Port          int
		ExtraFlags    []string
		Rules         []string
		RetentionTime string
	}
	NginxStatusPage bool
}

type service struct {
	After         []string
	ServiceConfig map[string]any
	Environment   map[string]string
	Script        string
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
	require.Equal(t, "clanmon", srv.Prometheus.Package)
	require.Equal(t, "30d", srv.Prometheus.RetentionTime)
	require.Equal(t, []string{
		"--clan.settings=/etc/clanmon/settings.json",
		"--web.allowed-host=srv",
		"--web.allowed-host=srv.clan",
		"--web.allowed-host=monitoring.clan",
		"--notify=mailto:ops@example.org?password_file=/run/credentials/prometheus.service/notify-mail",
		"--notify=ntfy://ntfy.sh/x?priority=4&token_file=/run/credentials/prometheus.service/notify-ops",
		"--rules.disable=MachineNew",
		"--rules.set=FilesystemFull.threshold=0.05",
	}, srv.Prometheus.ExtraFlags)
	require.Equal(t, []any{"notify-mail:/run/mail", "notify-ops:/run/secrets/vars/clanmon-monitoring-notify-ops/secret"},
		srv.Services["prometheus"].ServiceConfig["LoadCredential"])
	require.Equal(t, []string{"/var/lib/prometheus2"}, srv.State["clanmon"].Folders)
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
	require.Equal(t, []string{"--exporter=node,systemd,nginx", "--node.listen-address=:9100", "--systemd.listen-address=:9558", "--nginx.listen-address=:9113", "--nginx.scrape-uri=http://localhost/nginx_status"}, web.exporter(t))
	require.Contains(t, web.Users, "clanmon-exporter")

	// Open on the VPN where there is one; else closed, and somebody is told.
	require.Empty(t, srv.Firewall.All)
	require.Len(t, srv.Firewall.Interfaces, 1)
	require.ElementsMatch(t, []int{9100, 9558, 9090}, srv.Firewall.Interfaces["tailscale0"])
	require.Empty(t, web.Firewall.All)
	require.Empty(t, web.Firewall.Interfaces)
	require.Len(t, web.Warnings, 1)
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
      tls.enable = true;
      heartbeat.secretFile = "/run/heartbeat";`))
	require.NoError(t, err)
	srv := all["srv"]
	require.Empty(t, srv.Problems)
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
      roles.exporter = { machines.srv.settings = { exporterType = "blackbox"; configFile = "/etc/blackbox.yml"; }; };
    };
  }; };
  machines = { srv.services.tailscale.enable = true; };`)
	require.ElementsMatch(t, []int{9090, 9100, 9558, 9115}, m.Firewall.All)
	require.Equal(t, []string{"blackbox"}, m.Foreign)
	require.Equal(t, 9090, m.Prometheus.Port)
	require.Equal(t, "30d", m.Prometheus.RetentionTime)
	require.Equal(t, []string{"groups: []"}, m.Prometheus.Rules)
	require.Subset(t, m.exporter(t), []string{"--exporter=node,systemd", "--collector.systemd", "--collector.cpu", "--collector.meminfo", "--collector.filesystem", "--collector.netdev"})
	require.JSONEq(t, `{"discoveryMethod": ["tailscale"], "additionalScrapeConfigs": [
		{"job_name": "external-service", "static_configs": [{"targets": ["api.example.com:9090"]}]}]}`, m.Etc["clanmon/settings.json"])
	require.Len(t, m.Warnings, 1)
	require.Contains(t, m.Warnings[0], `change module.name to "clanmon"`)
}

// The table of options in the README is made of the interface.
func TestOptionsTableIsCurrent(t *testing.T) {
	out, err := nix(t, "nix-instantiate", "--eval", "--strict", "--json", "options.nix")
	require.NoError(t, err)
	type option struct{ Name, Type, Default, Description string }
	var roles struct{ Clanmon, Older map[string][]option }
	require.NoError(t, json.Unmarshal([]byte(out), &roles))
	var table strings.Builder
	for _, role := range []string{"server", "exporter"} {
		fmt.Fprintf(&table, "\n### %s\n\n| option | type | default | |\n|---|---|---|---|\n", role)
		require.Greater(t, len(roles.Clanmon[role]), 8)
		for i, o := range roles.Clanmon[role] {
			require.NotEmpty(t, o.Description, o.Name)
			value := "`" + o.Default + "`"
			if o.Default == "" {
				value = "must be set"
			}
			if older := roles.Older[role][i].Default; older != o.Default {
				value += "; as `prometheus` `" + older + "`"
			}
			cell := func(s string) string {
				return strings.ReplaceAll(strings.Join(strings.Fields(s), " "), "|", `\|`)
			}
			fmt.Fprintf(&table, "| `%s` | %s | %s | %s |\n", o.Name, cell(o.Type), cell(value), cell(o.Description))
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

// What NixOS' own module asks of a package.
func TestPackage(t *testing.T) {
	t.Parallel()
	const expression = `let
  lib = import ./standin.nix;
  file = import ../package.nix;
  # nixpkgs' callPackage gives an argument its package of that name, whatever its default is.
  others = lib.genAttrs [ "build" "commit" "slim" "version" ] (name: throw "pkgs.${name} is another package");
  make = go: args: let
    f = file (builtins.intersectAttrs (builtins.functionArgs file) others // args // { inherit lib; go.version = go; buildGo126Module = f: buildGoModule f // { with126 = true; }; inherit buildGoModule; runCommand = name: _: script: { inherit name script; }; });
    buildGoModule = f: let p = f (p // { finalPackage = p // { outPath = "/nix/store/clanmon"; }; }); in p;
  in { with126 = f.with126 or false; inherit (f) pname version ldflags tags subPackages outputs postInstall; inherit (f.meta) mainProgram; cli = f.passthru.cli.outPath; command = f.passthru.command.script; };
in { full = make "1.27.1" { }; slim = make "1.25.4" { withoutClouds = true; buildVersion = "1"; }; }`
	here, err := os.Getwd()
	require.NoError(t, err)
	out, err := nix(t, "nix-instantiate", "--eval", "--strict", "--json", "--expr", strings.ReplaceAll(strings.ReplaceAll(expression, "./standin", here+"/standin"), "../package", here+"/../package"))
	require.NoError(t, err)
	var packages map[string]struct {
		Pname, Version, MainProgram, Cli, Command, PostInstall string
		Tags, Ldflags, Outputs                                 []string
		With126                                                bool
	}
	require.NoError(t, json.Unmarshal([]byte(out), &packages))
	full, slim := packages["full"], packages["slim"]
	require.Equal(t, "unstable", full.Version)
	require.Contains(t, slim.Ldflags, "-X github.com/clanmon/clanmon/cmd/internal/cli.BuildVersion=1")
	require.False(t, full.With126, "a newer Go is fine")
	require.True(t, slim.With126, "an older one is not")
	require.Equal(t, "prometheus", full.MainProgram)
	require.Equal(t, "/nix/store/clanmon", full.Cli)
	require.Empty(t, full.Tags)
	require.Equal(t, []string{"out", "exporter"}, full.Outputs, "what is installed is the first one")
	require.Contains(t, full.PostInstall, `moveToOutput bin/clanmon-exporter "$exporter"`)
	require.Equal(t, []string{"remove_all_sd", "enable_dns_sd"}, slim.Tags)
	for _, name := range []string{"prometheus", "promtool"} {
		require.Contains(t, full.PostInstall, "$out/bin/"+name)
		require.NotContains(t, full.Command, name, "on everybody's PATH")
	}
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
  } // lib.genAttrs [ "go" "gnumake" "nix" "nixfmt" "nodejs" "openssl" ] (n: n);
  out = import %[1]s/../outputs.nix {
    self = { lastModifiedDate = "20261125101112"; dirtyShortRev = "abc-dirty"; };
    nixpkgs = { inherit lib; legacyPackages = lib.genAttrs [ "x86_64-linux" "aarch64-linux" ] (_: pkgs); };
    clan-core = throw "for the checks alone";
  };
  system = out.packages.aarch64-linux;
in {
  outputs = lib.attrNames out;
  version = system.default.buildVersion;
  commit = system.clanmon.buildCommit;
  slim = system.clanmon-slim.withoutClouds;
  app = out.apps.x86_64-linux.default.program;
  shell = out.devShells.x86_64-linux.default.packages;
  modules = map (m: builtins.pathExists m) ([ out.nixosModules.server out.nixosModules.exporter out.clan.modules.clanmon out.clan.modules.prometheus ] ++ out.nixosModules.default.imports);
  manifests = lib.mapAttrs (_: m: (import m { inherit lib; config.instances = { }; }).manifest.name) out.clan.modules;
}`, here))
	require.NoError(t, err)
	require.JSONEq(t, `{
		"outputs": ["apps", "checks", "clan", "devShells", "nixosModules", "overlays", "packages"],
		"version": "unstable-20261125", "commit": "abc-dirty", "slim": true, "app": "/nix/store/clanmon/bin/clanmon",
		"shell": ["go", "gnumake", "nix", "nixfmt", "nodejs", "openssl"],
		"modules": [true, true, true, true, true, true],
		"manifests": {"clanmon": "clanmon", "prometheus": "prometheus"}
	}`, out)
}
