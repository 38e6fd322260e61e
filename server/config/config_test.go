package config

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/discovery"
)

func write(t *testing.T, name, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	return file
}

func TestNothingConfiguredScrapesLocalJobs(t *testing.T) {
	t.Chdir(t.TempDir())
	l := NewLoader(Options{Local: []LocalJob{{Name: "clanmon", Port: 9090}, {Name: "node", Port: 9100, Socket: "@here"}}})
	cfg, err := l.Load(nil)
	require.NoError(t, err)

	require.Equal(t, model.Duration(15*time.Second), cfg.GlobalConfig.ScrapeInterval)
	require.Len(t, cfg.ScrapeConfigs, 2)
	require.Equal(t, "node", cfg.ScrapeConfigs[0].JobName)
	text := cfg.String()
	require.Contains(t, text, "node.in-process.invalid:80")
	require.Contains(t, text, "instance: "+machineName()+":9100")
	require.Contains(t, text, "replacement: always")
	require.Contains(t, text, "__unix_socket__: '@here'")

	// A configuration that appears later is what a reload reads.
	require.NoError(t, os.WriteFile(DefaultFile, []byte("scrape_configs: [{job_name: mine}]"), 0o600))
	cfg, err = l.Load(nil)
	require.NoError(t, err)
	require.Len(t, cfg.ScrapeConfigs, 1)
	require.Equal(t, "mine", cfg.ScrapeConfigs[0].JobName)
}

func TestNamedFileHasToExist(t *testing.T) {
	_, err := NewLoader(Options{File: "/does/not/exist.yml"}).Load(nil)
	require.ErrorContains(t, err, "/does/not/exist.yml")
}

func TestBrokenFileNamesLineAndField(t *testing.T) {
	file := write(t, "p.yml", "global:\n  scrape_intervall: 5s\n")
	_, err := NewLoader(Options{File: file}).Load(nil)
	require.ErrorContains(t, err, file)
	require.ErrorContains(t, err, "line 2")
	require.ErrorContains(t, err, "scrape_intervall")
}

func TestAgentRefusesRules(t *testing.T) {
	file := write(t, "p.yml", "rule_files: [x.yml]\n")
	_, err := NewLoader(Options{File: file, Agent: true}).Load(nil)
	require.ErrorContains(t, err, "rule_files")
}

func TestValidateFindsBrokenRuleFile(t *testing.T) {
	rules := write(t, "r.yml", "groups: [{name: g, rules: [{record: x, expr: 'sum('}]}]\n")
	file := write(t, "p.yml", "rule_files: ["+rules+"]\n")
	l := NewLoader(Options{File: file, Parser: parser.NewParser(parser.Options{})})
	cfg, err := l.Load(nil)
	require.NoError(t, err)
	require.ErrorContains(t, l.Validate(cfg, nil), rules)
}

// Flags become defaults of the file; those of one server never reach another.
func TestDefaultsOfTwoLoadersDoNotMix(t *testing.T) {
	file := write(t, "p.yml", "{}\n")
	load := func(retention model.Duration, protobuf bool) *config.Config {
		cfg, err := NewLoader(Options{
			File: file, ProtobufFirst: protobuf,
			Retention: config.TSDBRetentionConfig{Time: retention},
		}).Load(nil)
		require.NoError(t, err)
		return cfg
	}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			retention := model.Duration(time.Duration(i+1) * time.Hour)
			cfg := load(retention, i%2 == 0)
			require.Equal(t, retention, cfg.StorageConfig.TSDBConfig.Retention.Time)
			require.Equal(t, i%2 == 0, len(cfg.GlobalConfig.ScrapeProtocols) > 0)
		})
	}
	wg.Wait()
	require.Nil(t, config.DefaultGlobalConfig.ScrapeProtocols, "upstream's defaults are put back")
}

func TestGarbageIsCollectedEarlierThanByPrometheus(t *testing.T) {
	given := gogcGiven
	t.Cleanup(func() { gogcGiven = given })
	gogcGiven = false
	t.Setenv("GOGC", "75") // as the server sets it
	percent := func(o Options) int {
		cfg, err := NewLoader(o).Load(nil)
		require.NoError(t, err)
		return cfg.Runtime.GoGC
	}
	discovered := func(text string) Options {
		return Options{File: write(t, "p.yml", text), Discovery: discovery.Flags{Methods: []string{"static"}, Static: []string{"node=web1"}}}
	}
	require.Equal(t, 60, percent(discovered("")))
	require.Equal(t, 60, percent(discovered("global: {scrape_interval: 1m}\n")))
	require.Equal(t, 60, percent(discovered("runtime:\n")))
	require.Equal(t, 75, percent(discovered("runtime: {gogc: 75}\n")))
	require.Equal(t, 60, percent(discovered("runtime: {log_level: warn}\n")))
	require.Equal(t, 75, percent(Options{File: write(t, "p.yml", "")}), "a file alone means what it means to Prometheus")
	gogcGiven = true
	require.Equal(t, config.DefaultRuntimeConfig.GoGC, percent(discovered("")))
	gogcGiven = false
	t.Chdir(t.TempDir())
	require.Equal(t, 60, percent(Options{}), "nothing is configured")
}

func TestFileWinsOverRetentionFlag(t *testing.T) {
	file := write(t, "p.yml", "storage: {tsdb: {retention: {time: 3d}}}\n")
	cfg, err := NewLoader(Options{File: file, Retention: config.TSDBRetentionConfig{Time: model.Duration(time.Hour)}}).Load(nil)
	require.NoError(t, err)
	require.Equal(t, model.Duration(72*time.Hour), cfg.StorageConfig.TSDBConfig.Retention.Time)
}

func TestChecksumFollowsRuleFiles(t *testing.T) {
	rules := write(t, "r.yml", "groups: []\n")
	l := NewLoader(Options{File: write(t, "p.yml", "rule_files: ["+rules+"]\n")})
	before, err := l.Checksum()
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(rules, []byte("groups: [] # changed\n"), 0o600))
	after, err := l.Checksum()
	require.NoError(t, err)
	require.NotEqual(t, before, after)
}

func TestLocalAddressRoundTrip(t *testing.T) {
	job, ok := LocalJobName(LocalAddress("node"))
	require.True(t, ok)
	require.Equal(t, "node", job)
	_, ok = LocalJobName("node.example.org:9100")
	require.False(t, ok)
	require.True(t, strings.HasSuffix(LocalAddress("x"), ".invalid:80"))
}

// What stands in additionalScrapeConfigs means what it means in a file of
// Prometheus, to the letter.
func TestAdditionalScrapeConfigsStayAsWritten(t *testing.T) {
	const scrapes = `
- job_name: mine
  basic_auth: {username: 0123, password_file: pw}
  params: {module: [1.10, yes]}
  static_configs:
  - targets: ["a:1"]
    labels: {version: 1.10, zip: 01234, enabled: yes, id: 12345678901234567890123, n: no}
  file_sd_configs: [{files: [t.json]}]
- {job_name: clanmon, static_configs: [{targets: ["b:1"]}]}
`
	dir := t.TempDir()
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(file, []byte(text), 0o644))
		return file
	}
	plain, err := NewLoader(Options{File: write("plain.yml", "scrape_configs:"+scrapes)}).Load(nil)
	require.NoError(t, err)
	empty := write("empty.yml", "")
	for _, text := range []string{"additionalScrapeConfigs:" + scrapes, "discoveryMethod: static\nstaticTargets: {node: [a]}\nadditionalScrapeConfigs:" + scrapes} {
		l := NewLoader(Options{
			File: empty, Local: []LocalJob{{Name: SelfJob}}, Discovery: discovery.Flags{SettingsFile: write("settings.yml", text)},
		})
		cfg, err := l.Load(nil)
		require.NoError(t, err)
		made := cfg.ScrapeConfigs
		require.Equal(t, plain.ScrapeConfigs, made[len(made)-2:])
	}
}

// A job of discovery keeps its labels to itself, however many methods share it
// with this process.
func TestOnlyTheServersOwnJobHonoursLabels(t *testing.T) {
	t.Chdir(t.TempDir())
	l := NewLoader(Options{
		Local:     []LocalJob{{Name: SelfJob}, {Name: "node", Port: 9100}},
		Discovery: discovery.Flags{Static: []string{"node=a"}},
	})
	cfg, err := l.Load(nil)
	require.NoError(t, err)
	for _, s := range cfg.ScrapeConfigs {
		require.Equal(t, s.JobName == SelfJob, s.HonorLabels, s.JobName)
	}
	_, err = NewLoader(Options{Local: []LocalJob{{Name: SelfJob}}, Discovery: discovery.Flags{Static: []string{"clanmon=a:1"}}}).Load(nil)
	require.ErrorContains(t, err, "choose another name")
	var flag *FlagError
	require.ErrorAs(t, err, &flag)
}

// What settings contain may be a secret.
func TestErrorsOfSettingsHaveNoValues(t *testing.T) {
	for _, text := range []string{
		"additionalScrapeConfigs: [{job_name: mine, authorization: s3cret}]",
		"additionalScrapeConfigs: [{job_name: mine, basic_auth: {password:s3cret}}]",
		"additionalScrapeConfigs: [{job_name: mine, proxy_url: 'http://u:s3cret/@h'}]",
		"remoteWrite: [{url: 'http://u:s3cret/@h'}]",
		"remoteWrite: [{url: http://h, basic_auth: s3cret}]",
		"remoteWrite: s3cret",
		"pings: s3cret",
	} {
		file := write(t, "settings.yml", text)
		_, err := NewLoader(Options{File: write(t, "p.yml", ""), Local: []LocalJob{{Name: SelfJob}}, Discovery: discovery.Flags{SettingsFile: file}}).Load(nil)
		require.ErrorContains(t, err, file, text)
		require.NotContains(t, err.Error(), "s3c", text)
	}
}

func TestReplicaIsAnExternalLabel(t *testing.T) {
	o := Options{File: write(t, "p.yml", "global: {external_labels: {site: home}}"), Replica: "a", ReplicaLabels: []string{"replica", "prometheus_replica"}}
	cfg, err := NewLoader(o).Load(nil)
	require.NoError(t, err)
	require.Equal(t, `{replica="a", site="home"}`, cfg.GlobalConfig.ExternalLabels.String())

	o.File = write(t, "p.yml", "global: {external_labels: {prometheus_replica: b}}")
	_, err = NewLoader(o).Load(nil)
	require.EqualError(t, err, `external_labels: prometheus_replica is "b", and --replica is "a": set one of the two`)
}

// Checks make one job, with or without a file; no machine is discovered by them.
func TestChecksMakeAJob(t *testing.T) {
	o := Options{
		File:      write(t, "p.yml", "scrape_configs: [{job_name: mine}]"),
		Local:     []LocalJob{{Name: SelfJob, Port: 9090, Socket: "@self"}},
		Checks:    LocalJob{Name: "clanmon-checks", Socket: "@checks"},
		Discovery: discovery.Flags{Checks: []string{"cloud=https://cloud.example.org", "ping://10.0.0.9"}},
	}
	l := NewLoader(o)
	cfg, err := l.Load(nil)
	require.NoError(t, err)
	var names []string
	for _, s := range cfg.ScrapeConfigs {
		names = append(names, s.JobName)
	}
	require.Equal(t, []string{"mine", SelfJob, "clanmon-checks"}, names)
	require.False(t, l.Discovered("clanmon-checks"))
	require.True(t, l.Managed(), "the built-in rules are on")
	all, from := l.Checks()
	require.Len(t, all, 2)
	require.NotEmpty(t, from)

	o.File = write(t, "p.yml", "scrape_configs: [{job_name: clanmon-checks}]")
	_, err = NewLoader(o).Load(nil)
	require.ErrorContains(t, err, `--check defines the job "clanmon-checks", and so does the configuration file`)
	o.Discovery.Checks = []string{"https://a", "https://a"}
	_, err = NewLoader(o).Load(nil)
	require.ErrorContains(t, err, `--check: check "a" exists twice`)
}
