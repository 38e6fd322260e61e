package exporter

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kingpin/v2"
	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/exporter/internal/kindflags"
)

// lookup makes an environment of a map.
func lookup(env map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		v, ok := env[name]
		return v, ok
	}
}

func TestEnvironmentOfOneKindIsForItsPortOnly(t *testing.T) {
	env := map[string]string{
		"LISTEN_ADDRESS": "127.0.0.1:1\n[::1]:1", "TELEMETRY_PATH": "/nginx", "CONFIG_FILE": "/etc/web.yml",
		"REDIS_EXPORTER_WEB_LISTEN_ADDRESS": "127.0.0.1:2", "REDIS_EXPORTER_WEB_TELEMETRY_PATH": "/redis",
		"PG_EXPORTER_WEB_TELEMETRY_PATH": "/postgres",
	}
	o := Options{Kinds: []string{"node", "nginx", "postgres", "redis"}}
	require.NoError(t, o.Environment(lookup(env)))
	require.Equal(t, map[string][]string{"nginx": {"127.0.0.1:1", "[::1]:1"}, "redis": {"127.0.0.1:2"}}, o.Listen)
	for kind, want := range map[string][2]string{"node": {"/metrics", ""}, "nginx": {"/nginx", "/etc/web.yml"}, "postgres": {"/postgres", ""}, "redis": {"/redis", ""}} {
		require.Equal(t, want, [2]string{o.web(kind).TelemetryPath, o.web(kind).ConfigFile}, kind)
	}

	o = Options{Kinds: []string{"node", "redis"}}
	require.NoError(t, o.Environment(lookup(map[string]string{"LISTEN_ADDRESS": ":80", "CONFIG_FILE": "/etc/app.yml", "TELEMETRY_PATH": "/x", "SYSTEMD_SOCKET": "true"})))
	require.Equal(t, Options{Kinds: []string{"node", "redis"}}, o, "anybody's names, and no nginx")
}

func TestFlagsComeBeforeTheEnvironment(t *testing.T) {
	o := Options{
		Kinds: []string{"nginx"}, Listen: map[string][]string{"nginx": {":1"}}, TelemetryPath: "/flag", WebConfigFile: "flag.yml", SystemdSocket: true,
	}
	require.NoError(t, o.Environment(lookup(map[string]string{"LISTEN_ADDRESS": ":2", "CONFIG_FILE": "env.yml", "TELEMETRY_PATH": "/env", "SYSTEMD_SOCKET": "false"})))
	require.Equal(t, []string{":1"}, o.Listen["nginx"])
	require.Equal(t, WebSettings{ConfigFile: "flag.yml", ConfigFileSource: "--web.config.file", TelemetryPath: "/flag"}, o.web("nginx"))
	require.True(t, o.SystemdSocket)
}

func TestSocketsOfSystemdByTheEnvironment(t *testing.T) {
	o := Options{Kinds: []string{"nginx"}}
	require.NoError(t, o.Environment(lookup(map[string]string{"SYSTEMD_SOCKET": "true"})))
	require.True(t, o.SystemdSocket)
	o = Options{Kinds: []string{"node", "nginx"}}
	require.ErrorContains(t, o.Environment(lookup(map[string]string{"SYSTEMD_SOCKET": "true"})), "--web.systemd-socket")
}

// An exporter that is protected by its environment never answers everybody
// because its program was exchanged.
func TestAProtectionThatWasAskedForIsNeverDropped(t *testing.T) {
	for _, name := range []string{
		"REDIS_EXPORTER_BASIC_AUTH_USERNAME", "REDIS_EXPORTER_BASIC_AUTH_PASSWORD", "REDIS_EXPORTER_TLS_SERVER_KEY_FILE",
		"REDIS_EXPORTER_TLS_SERVER_CERT_FILE", "REDIS_EXPORTER_TLS_SERVER_CA_CERT_FILE", "REDIS_EXPORTER_TLS_SERVER_MIN_VERSION",
	} {
		o := Options{Kinds: []string{"node", "redis"}}
		err := o.Environment(lookup(map[string]string{name: "s3cret"}))
		require.ErrorContains(t, err, name)
		require.ErrorContains(t, err, "--web.config.file")
		require.NotContains(t, err.Error(), "s3cret")

		o = Options{Kinds: []string{"node"}}
		require.NoError(t, o.Environment(lookup(map[string]string{name: "s3cret"})), "no Redis is served")
	}
	for value, want := range map[string]string{"json": "--log.format=json", "txt": "", "": ""} {
		o := Options{Kinds: []string{"redis"}}
		err := o.Environment(lookup(map[string]string{"REDIS_EXPORTER_LOG_FORMAT": value, "REDIS_EXPORTER_DEBUG": "false"}))
		if want == "" {
			require.NoError(t, err)
		} else {
			require.ErrorContains(t, err, want)
		}
	}

	file := filepath.Join(t.TempDir(), "web.yml")
	require.NoError(t, os.WriteFile(file, []byte("basic_auth_users: {alibaba: $2a$04$q03A7GdF7CBcnrfHG6BpJ.ENOUv0ekJG9k2fHSnROR/VojI9n4lqC}\n"), 0o600))
	o := Options{Kinds: []string{"node", "nginx"}, Listen: map[string][]string{"node": {"127.0.0.1:0"}, "nginx": {"127.0.0.1:0"}}}
	require.NoError(t, o.Environment(lookup(map[string]string{"CONFIG_FILE": file})))
	r := start(t, o)
	code, _ := r.get(t, "nginx", "/metrics")
	require.Equal(t, 401, code)
	code, _ = r.get(t, "node", "/metrics?collect[]=loadavg")
	require.Equal(t, 200, code)
	r.stop()

	o = Options{Kinds: []string{"nginx"}, Listen: map[string][]string{"nginx": {"127.0.0.1:0"}}, Logger: quiet()}
	require.NoError(t, os.WriteFile(file, []byte("listen: 80\n"), 0o600))
	require.NoError(t, o.Environment(lookup(map[string]string{"CONFIG_FILE": file})))
	_, err := New(o)
	require.ErrorContains(t, err, "CONFIG_FILE")
}

// Every variable in upstream's sources is one that we know.
func TestEveryVariableOfUpstreamIsKnown(t *testing.T) {
	app := kingpin.New("", "")
	known := []string{
		"REDIS_PASSWORD",                                                              // read by package redis
		"DATA_SOURCE_NAME", "DATA_SOURCE_USER", "DATA_SOURCE_PASS", "DATA_SOURCE_URI", // by upstream's package
		"DATA_SOURCE_USER_FILE", "DATA_SOURCE_PASS_FILE", "DATA_SOURCE_URI_FILE",
	}
	var c Config
	for _, k := range kinds {
		if k.Flags != nil {
			set := kindflags.New(app)
			k.Flags(&c, set)
			known = append(known, set.Variables()...)
		}
		known = append(known, k.Web.ListenAddress, k.Web.TelemetryPath, k.Web.ConfigFile, k.Web.SystemdSocket)
		for name := range k.Web.Refused {
			known = append(known, name)
		}
	}
	variable := regexp.MustCompile(`(?:getEnv(?:Bool|Int64)?|Envar|Getenv|LookupEnv)\("([A-Z_]+)"`)
	for _, k := range kinds {
		if k.Flags == nil || k.New == nil {
			continue // node and systemd: of the global application, which reads them itself; blackbox: has none
		}
		out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", k.Module).Output()
		require.NoError(t, err)
		found := 0
		require.NoError(t, filepath.WalkDir(strings.TrimSpace(string(out)), func(path string, _ os.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || strings.Contains(path, "/vendor/") {
				return err
			}
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			for _, m := range variable.FindAllSubmatch(text, -1) {
				found++
				if !slices.Contains(known, string(m[1])) {
					t.Errorf("%s: $%s of upstream is neither honoured nor refused", k.Name, m[1])
				}
			}
			return nil
		}))
		require.Greater(t, found, 7, k.Name)
	}
}
