package discovery

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/prometheus/common/model"
	promconfig "github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/scrape"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v2"

	"github.com/clanmon/clanmon/discovery/contract"
	"github.com/clanmon/clanmon/discovery/static"
	"github.com/clanmon/clanmon/discovery/tailscale"
)

func write(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "settings.yml")
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	return file
}

const inventoryText = `{"machines": {"web1": {"addresses": ["10.0.0.1"], "exporters": {"node": null, "mine": 1}}}}`

// Flags and file are two ways to say the same.
func TestFlagsAndFileGiveTheSame(t *testing.T) {
	inventory := write(t, inventoryText)
	flags := Flags{
		Methods: []string{"tailscale", "dns", "static", "inventory"},
		DNS:     []string{"node=*.monitoring.local", "node=web.example.org", "postgres=_pg._tcp.example.org/SRV", "mine=x.org:80/AAAA"},
		Static:  []string{"node=web1,db@10.0.0.7:9101", "mine=[fd00::1]:80"}, Inventory: inventory,
		TailscaleSocket: "/run/x.sock", TailscaleJobs: []string{"node", "nginx@web"}, TailscaleTags: []string{"server"}, TailscaleIntermittent: []string{"tag:phone"},
	}
	yaml := `
enableAutoDiscovery: true
discoveryMethod: [tailscale, dns, static, inventory]
dnsDiscovery:
  node: {names: ["*.monitoring.local", web.example.org], port: 9100, type: A}
  postgres: {names: [_pg._tcp.example.org], type: SRV, port: null}
  mine: {names: [x.org], type: AAAA, port: 80}
staticTargets:
  node: [web1, "db@10.0.0.7:9101"]
  mine: ["[fd00::1]:80"]
inventoryFile: ` + inventory + `
tailscale: {socket: /run/x.sock, jobs: [node, nginx@web], tags: ["tag:server"], intermittentTags: [phone]}
`
	json := `{"enableAutoDiscovery": true, "discoveryMethod": ["tailscale", "dns", "static", "inventory"],
	"dnsDiscovery": {"node": {"names": ["*.monitoring.local", "web.example.org"], "type": "A"}, "postgres": {"names": ["_pg._tcp.example.org"], "type": "SRV"}, "mine": {"names": ["x.org"], "type": "AAAA", "port": 80}},
	"staticTargets": {"node": ["web1", "db@10.0.0.7:9101"], "mine": ["[fd00::1]:80"]}, "inventoryFile": "` + inventory + `",
	"tailscale": {"socket": "/run/x.sock", "jobs": ["node", "nginx@web"], "tags": ["server"], "intermittentTags": ["tag:phone"]}}`
	want := assemble(t, flags)
	require.Len(t, want, 7, "node, systemd, nginx, postgres, redis, blackbox, mine")
	require.Equal(t, want, assemble(t, Flags{SettingsFile: write(t, yaml)}))
	require.Equal(t, want, assemble(t, Flags{SettingsFile: write(t, json)}))
}

func assemble(t *testing.T, f Flags) []map[string]any {
	t.Helper()
	s, err := ReadFlags(f)
	require.NoError(t, err)
	require.Empty(t, s.Ignored)
	parts, err := s.Parts()
	require.NoError(t, err)
	jobs := Assemble(parts)
	for _, job := range jobs { // where a target is written down differs
		list, _ := job["static_configs"].([]any)
		for _, section := range list {
			ls := section.(map[string]any)["labels"].(map[string]string)
			require.Contains(t, []string{static.Flag, "staticTargets in " + f.SettingsFile}, ls[contract.MetaFrom])
			delete(ls, contract.MetaFrom)
		}
	}
	return jobs
}

// A flag that is about a method chooses it.
func TestFlagsImplyMethods(t *testing.T) {
	s, err := ReadFlags(Flags{Methods: []string{"tailscale"}, Static: []string{"node=a"}, DNS: []string{"node=b"}, Inventory: "x"})
	require.NoError(t, err)
	require.Equal(t, Methods, s.Methods)
	for _, f := range []Flags{{TailscaleTags: []string{"web"}}, {TailscaleJobs: []string{"node"}}, {TailscaleSocket: "/x"}, {TailscaleIntermittent: []string{"x"}}} {
		s, err := ReadFlags(f)
		require.NoError(t, err)
		require.Equal(t, []string{"tailscale"}, s.Methods)
	}
}

// A job that is given several times is for the machines of all.
func TestJobsOfOneName(t *testing.T) {
	for _, jobs := range [][]string{{"node@a", "node"}, {"node", "node@a"}} {
		s, err := ReadFlags(Flags{TailscaleJobs: jobs})
		require.NoError(t, err)
		require.Equal(t, []tailscale.Job{{Name: "node", Port: 9100}}, s.Tailscale.Jobs)
	}
	s, err := ReadFlags(Flags{TailscaleJobs: []string{"node@a", "node@b"}})
	require.NoError(t, err)
	require.Equal(t, []string{"tag:a", "tag:b"}, s.Tailscale.Jobs[0].Tags)
	_, err = ReadFlags(Flags{TailscaleJobs: []string{"node", "node:9101"}})
	require.ErrorContains(t, err, `--discovery.tailscale.job: "node:9101": job "node" already has port 9100`)
}

// The file's sections belong to its discoveryMethod, as in the clan service.
func TestSectionsOfOtherMethods(t *testing.T) {
	s, err := ReadFlags(Flags{SettingsFile: write(t, "discoveryMethod: static\nstaticTargets: {node: [a]}\ndnsDiscovery: {node: {names: [x]}}\n")})
	require.NoError(t, err)
	require.Equal(t, []string{"static"}, s.Methods)
	require.Equal(t, []string{"dnsDiscovery"}, s.Ignored)

	for _, text := range []string{"discoveryMethod: none", "enableAutoDiscovery: false\ndiscoveryMethod: tailscale", "{}", ""} {
		s, err := ReadFlags(Flags{SettingsFile: write(t, text)})
		require.NoError(t, err, text)
		require.False(t, s.Enabled(), text)
	}
}

// Where the server was started is of no concern to the file.
func TestInventoryIsBesideTheFile(t *testing.T) {
	file := write(t, "discoveryMethod: inventory\ninventoryFile: machines.json\n")
	s, err := ReadFlags(Flags{SettingsFile: file})
	require.NoError(t, err)
	require.Equal(t, filepath.Join(filepath.Dir(file), "machines.json"), s.Inventory)
}

func TestMistakesAreNamed(t *testing.T) {
	for _, test := range []struct {
		flags Flags
		want  string
	}{
		{Flags{Methods: []string{"tailscail"}}, `--discovery: unknown method "tailscail"; one of static, inventory, dns, tailscale`},
		{Flags{Methods: []string{"dns"}}, `discovery method "dns" needs a name`},
		{Flags{Methods: []string{"static"}}, `discovery method "static" needs machines`},
		{Flags{Methods: []string{"inventory"}}, `discovery method "inventory" needs a file`},
		{Flags{Static: []string{"web=host1"}}, `--discovery.static: target "host1": job "web" has no default port`},
		{Flags{DNS: []string{"node=a..b"}}, `--discovery.dns: "node=a..b": DNS name "a..b"`},
		{Flags{TailscaleJobs: []string{"mine"}}, `--discovery.tailscale.job: "mine"`},
		{Flags{TailscaleTags: []string{"a b"}}, `--discovery.tailscale.tag: tag "a b"`},
		{Flags{SettingsFile: "/does/not/exist"}, "/does/not/exist"},
		{Flags{SettingsFile: "discoveryMethods: tailscale"}, "line 1: field discoveryMethods is unknown; valid are enableAutoDiscovery"},
		{Flags{SettingsFile: "\ndiscoveryMethod: tailscail"}, `discoveryMethod: unknown method "tailscail"`},
		{Flags{SettingsFile: "discoveryMethod: dns\ndnsDiscovery: {mine: {names: [x]}}"}, `dnsDiscovery.mine: job "mine" has no default port`},
		{Flags{SettingsFile: "discoveryMethod: dns\ndnsDiscovery: {node: {names: []}}"}, "dnsDiscovery.node: names is empty"},
		{Flags{SettingsFile: "discoveryMethod: dns\ndnsDiscovery: {node: {names: [x], port: 0}}"}, "dnsDiscovery.node: port 0"},
		{Flags{SettingsFile: "discoveryMethod: static\nstaticTargets: {node: ['a:b:c']}"}, `staticTargets.node: target "a:b:c"`},
		{Flags{SettingsFile: "enableAutoDiscovery: 7"}, "line 1: cannot unmarshal !!int: it must be true or false"},
		{Flags{SettingsFile: "\nstaticTargets: {node: web1}"}, "line 2: cannot unmarshal !!str: it must be a list"},
		{Flags{SettingsFile: "[]"}, "line 1: cannot unmarshal !!seq: it must be a map"},
		{Flags{SettingsFile: "enableAutoDiscovery: false\ndiscoveryMethod: bogus"}, `unknown method "bogus"`},
		{Flags{SettingsFile: "discoveryMethod: none\n---\ndiscoveryMethod: static"}, "more than one document"},
	} {
		if f := test.flags.SettingsFile; f != "" && f[0] != '/' {
			test.flags.SettingsFile = write(t, f)
		}
		_, err := ReadFlags(test.flags)
		require.ErrorContains(t, err, test.want)
	}
}

// Targets of the inventory have the clan's certificates; a printer that is listed by hand
// has not, unless the settings say so.
func TestTLSByMethod(t *testing.T) {
	inventory := filepath.Join(t.TempDir(), "inventory.json")
	require.NoError(t, os.WriteFile(inventory, []byte(`{"machines": {"web1": {"addresses": ["10.0.0.1"], "exporters": {"node": null}}}}`), 0o600))
	settings := func(tls string) []map[string]any {
		return assemble(t, Flags{SettingsFile: write(t, `
discoveryMethod: [static, inventory]
inventoryFile: `+inventory+`
staticTargets: {node: ["printer@10.0.0.9"], redis: [cache]}
tls: {`+tls+`caFile: /c/ca, certFile: /c/cert, keyFile: /c/key, serverName: exporter.x}
additionalScrapeConfigs: [{job_name: mine}]
`)})
	}
	urls := func(jobs []map[string]any) map[string]string {
		text, err := yaml.Marshal(map[string]any{"scrape_configs": jobs})
		require.NoError(t, err)
		cfg, err := promconfig.Load(string(text), slog.New(slog.DiscardHandler))
		require.NoError(t, err, "%s", text)
		byMethod := make(map[string]string)
		for _, job := range cfg.ScrapeConfigs {
			for _, method := range []string{"static", "inventory"} {
				target := model.LabelSet{model.AddressLabel: "h:1", contract.MetaMethod: model.LabelValue(method), contract.MetaMachine: "m"}
				l, err := scrape.PopulateLabels(labels.NewBuilder(labels.EmptyLabels()), job, target, nil)
				require.NoError(t, err)
				byMethod[job.JobName+" "+method] = scrape.NewTarget(l, job, target, nil).URL().Scheme
			}
		}
		return byMethod
	}
	jobs := settings("")
	require.Equal(t, map[string]string{"ca_file": "/c/ca", "cert_file": "/c/cert", "key_file": "/c/key", "server_name": "exporter.x"}, jobs[0]["tls_config"])
	got := urls(jobs)
	require.Equal(t, "https", got["node inventory"])
	require.Equal(t, "http", got["node static"])
	require.Equal(t, "http", got["redis static"])
	got = urls(settings("methods: static, "))
	require.Equal(t, "http", got["node inventory"])
	require.Equal(t, "https", got["node static"])

	for settings, want := range map[string]string{
		"tls: {ca: x}": "tls.{methods,caFile",
		"discoveryMethod: static\nstaticTargets: {node: [a]}\ntls: {caFile: x}": `tls: applies to targets of the method "inventory", which is not enabled`,
		"discoveryMethod: tailscale\ntls: {methods: [tailscal]}":                `tls.methods: unknown method "tailscal"`,
	} {
		_, err := ReadFlags(Flags{SettingsFile: write(t, settings)})
		require.ErrorContains(t, err, want)
	}
}
