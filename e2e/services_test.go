package e2e

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/e2e/harness"
	"github.com/clanmon/clanmon/e2e/oracle"
)

var services = []string{"nginx", "postgres", "redis"}

// upOf is the metric that says whether a kind's service answers.
var upOf = map[string]string{"nginx": "nginx_up", "postgres": "pg_up", "redis": "redis_up"}

// backends is one of each service, with something in it to measure.
type backends struct {
	nginx    *harness.Service
	postgres *harness.Postgres
	redis    *harness.Redis
}

func startBackends(t *testing.T) *backends {
	t.Helper()
	b := &backends{harness.NewNginx(t), harness.NewPostgres(t), harness.NewRedis(t, nil)}
	b.redis.Do("SET", "answer", "42")
	return b
}

// flags and env point an exporter at the services.
func (b *backends) flags() []string {
	return []string{"--nginx.scrape-uri=http://" + b.nginx.Addr + "/stub_status", "--redis.addr=redis://" + b.redis.Addr}
}

func (b *backends) env() []string {
	return []string{"DATA_SOURCE_NAME=" + b.postgres.DSN(b.postgres.Password)}
}

func families(t *testing.T, exposition string) map[string]*dto.MetricFamily {
	t.Helper()
	p := expfmt.NewTextParser(model.UTF8Validation)
	f, err := p.TextToMetricFamilies(strings.NewReader(exposition))
	require.NoError(t, err)
	return f
}

// labelSets are the series of a family without their values.
func labelSets(f *dto.MetricFamily) []string {
	var sets []string
	for _, m := range f.Metric {
		var pairs []string
		for _, l := range m.Label {
			value := l.GetValue()
			if l.GetName() == "queryid" {
				value = "" // which queries are among the slowest changes
			}
			pairs = append(pairs, l.GetName()+"="+value)
		}
		slices.Sort(pairs)
		sets = append(sets, strings.Join(pairs, ","))
	}
	slices.Sort(sets)
	return slices.Compact(sets)
}

func httpGet(url string) (string, error) {
	r, err := http.Get(url)
	if err != nil {
		return "", err
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err == nil && r.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", r.Status, body)
	}
	return string(body), err
}

// Beside the exporters of upstream on the same services: every series of theirs,
// of the same type and with the same labels.
func TestServicesHaveTheSeriesOfUpstream(t *testing.T) {
	t.Parallel()
	b := startBackends(t)
	flags := []string{"--check-keys=*", "--include-config-metrics=true", "--collector.stat_statements"}
	ours := harness.StartKinds(t, services, b.env(), append(b.flags(), flags...)...)
	for kind, upstream := range map[string]struct {
		program string
		args    []string
	}{
		"nginx":    {"nginx-prometheus-exporter", []string{"--nginx.scrape-uri=http://" + b.nginx.Addr + "/stub_status"}},
		"postgres": {"postgres_exporter", []string{"--collector.stat_statements"}},
		"redis":    {"redis_exporter", []string{"-redis.addr=redis://" + b.redis.Addr, "-check-keys=*", "-include-config-metrics=true"}},
	} {
		address := harness.Address(t)
		harness.Start(t, harness.Command{Path: oracle.Path(t, upstream.program), Args: append(upstream.args, "-"+"-web.listen-address="+address), Env: b.env()})
		scrape := func() (theirs string) {
			harness.Eventually(t, harness.Patience, func() (err error) {
				theirs, err = httpGet("http://" + address + "/metrics")
				return err
			})
			return theirs
		}
		// The first scrape of each leaves traces in the service, such as commands in
		// Redis' statistics.
		scrape()
		ours.Metrics(kind)
		theirs := families(t, scrape())
		us := families(t, ours.Metrics(kind))
		require.Equal(t, 1.0, us[upOf[kind]].Metric[0].GetGauge().GetValue(), kind)
		require.Greater(t, len(theirs), 30)
		for name, f := range theirs {
			require.Contains(t, us, name, kind)
			require.Equal(t, f.GetType(), us[name].GetType(), name)
			if strings.HasSuffix(name, "_build_info") {
				continue // says which program it is
			}
			require.Equal(t, f.GetHelp(), us[name].GetHelp(), name)
			if name == "pg_stat_activity_count" || name == "pg_stat_activity_max_tx_duration" {
				continue // who is connected at this very moment, an exporter among them
			}
			require.Subset(t, labelSets(us[name]), labelSets(f), name)
		}
	}
}

// The figures are those that the services' own tools show.
func TestServicesHaveTheFiguresOfTheirOwnTools(t *testing.T) {
	t.Parallel()
	b := startBackends(t)
	for i := range 5 {
		b.redis.Do("SET", fmt.Sprint("key", i), "value")
	}
	b.redis.Do("CONFIG", "SET", "maxmemory", "50mb")
	b.postgres.SQL("app", "create table t as select generate_series(1, 10000) as n")
	e := harness.StartKinds(t, services, b.env(), b.flags()...)
	requireValue := func(kind, series string, want float64) {
		t.Helper()
		got, err := harness.MetricIn(e.Metrics(kind), series)
		require.NoError(t, err)
		require.Equal(t, want, got, series)
	}
	requireValue("redis", `redis_db_keys{db="db0"}`, 6)
	requireValue("redis", "redis_config_maxmemory", 50<<20)
	var size float64
	_, err := fmt.Sscan(b.postgres.SQL("postgres", "select pg_database_size('app')"), &size)
	require.NoError(t, err)
	requireValue("postgres", `pg_database_size_bytes{datname="app"}`, size)
	requireValue("postgres", `pg_settings_shared_buffers_bytes{server="`+b.postgres.Addr+`"}`, 16<<20)

	before, err := harness.MetricIn(e.Metrics("nginx"), "nginx_http_requests_total")
	require.NoError(t, err)
	for range 7 {
		_, err := httpGet("http://" + b.nginx.Addr + "/")
		require.NoError(t, err)
	}
	requireValue("nginx", "nginx_http_requests_total", before+8) // and the scrape itself
}

// Services that crash and come back cost nothing but their own metrics, and a
// line in the log for each change.
func TestServicesGoAndComeBack(t *testing.T) {
	t.Parallel()
	b := startBackends(t)
	e := harness.StartKinds(t, services, b.env(), b.flags()...)
	for _, kind := range services {
		e.WaitMetric(kind, upOf[kind], 1)
	}
	b.nginx.Kill()
	b.postgres.Kill()
	b.redis.Kill()
	for range 3 {
		for _, kind := range services {
			e.WaitMetric(kind, upOf[kind], 0)
		}
	}
	b.nginx.Restart()
	b.postgres.Restart()
	b.redis.Restart()
	for _, kind := range services {
		e.WaitMetric(kind, upOf[kind], 1)
		e.WaitMetric(kind, `clanmon_exporter_collector_success{collector="`+kind+`"}`, 1)
		require.Equal(t, 1, strings.Count(e.Log(), `msg="Collector succeeded again" kind=`+kind), e.Log())
		about := linesWith(e.Log(), `msg="Collector failed" kind=`+kind)
		// PostgreSQL says in between that it is starting up.
		require.LessOrEqual(t, len(about), 3, "one line per change:\n%s", e.Log())
		require.Contains(t, strings.Join(about, ""), "connect: connection refused")
	}
	require.NotContains(t, e.Log(), b.postgres.Password)
}

func linesWith(text, part string) []string {
	var found []string
	for l := range strings.Lines(text) {
		if strings.Contains(l, part) {
			found = append(found, l)
		}
	}
	return found
}

// A service that accepts and never answers: its scrape ends in time and says
// down, the other kinds do not notice.
func TestServicesThatHang(t *testing.T) {
	t.Parallel()
	b := startBackends(t)
	e := harness.StartKinds(t, append(services, "node"), b.env(), b.flags()...)
	stopped := []*harness.Service{b.nginx, b.postgres.Service, b.redis.Service}
	for _, s := range stopped {
		s.Signal(syscall.SIGSTOP)
	}
	for range 2 {
		for _, kind := range services {
			text, took := e.Get(kind, "/metrics", 2*time.Second)
			require.Less(t, took, 9*time.Second, kind) // the machine may be busy with other tests
			up, err := harness.MetricIn(text, upOf[kind])
			require.NoError(t, err)
			require.Zero(t, up, kind)
		}
	}
	text := e.Metrics("node")
	require.Contains(t, text, "node_memory_MemTotal_bytes")
	for _, s := range stopped {
		s.Signal(syscall.SIGCONT)
	}
	for _, kind := range services {
		e.WaitMetric(kind, upOf[kind], 1)
		require.Len(t, linesWith(e.Log(), `msg="Collector failed" kind=`+kind), 1, e.Log())
	}
}

// A wrong password is a service that is down. Why is in the log; the password is
// nowhere.
func TestServicesWithAWrongPassword(t *testing.T) {
	t.Parallel()
	const wrong = "hunter2-is-wrong"
	p := harness.NewPostgres(t)
	r := harness.NewRedis(t, []string{"-a", "right", "--no-auth-warning"}, "--requirepass", "right")
	dsn := harness.WriteFile(t, t.TempDir(), "dsn", p.DSN(wrong)+"\n")
	password := harness.WriteFile(t, t.TempDir(), "password", wrong+"\n")
	e := harness.StartKinds(t, []string{"postgres", "redis"}, nil, "--log.level=debug",
		"--postgres.dsn-file="+dsn, "--redis.addr=redis://"+r.Addr, "--redis.password-file="+password)
	for range 2 {
		for kind, why := range map[string]string{"postgres": "password authentication failed for user", "redis": "WRONGPASS"} {
			e.WaitMetric(kind, upOf[kind], 0)
			about := linesWith(e.Log(), `msg="Collector failed" kind=`+kind)
			require.Len(t, about, 1, e.Log())
			require.Contains(t, about[0], why)
			require.NotContains(t, e.Metrics(kind), wrong)
		}
	}
	require.NotContains(t, e.Log(), wrong)
}

// Passwords from files, TLS, and a replica.
func TestRedisBehindTLSWithAPasswordAndAReplica(t *testing.T) {
	t.Parallel()
	webConfig, _, _ := secured(t)
	dir := filepath.Dir(webConfig)
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	cli := []string{"-a", "pa ss", "--no-auth-warning", "--tls", "--cacert", cert}
	tlsArgs := []string{"--tls-port", "0", "--tls-cert-file", cert, "--tls-key-file", key, "--tls-ca-cert-file", cert, "--tls-auth-clients", "no", "--requirepass", "pa ss"}
	master := harness.NewRedis(t, cli, slices.Clone(tlsArgs)...)
	host, port, _ := strings.Cut(master.Addr, ":")
	replica := harness.NewRedis(t, cli, append(slices.Clone(tlsArgs), "--tls-replication", "yes", "--masterauth", "pa ss", "--replicaof", host+" "+port)...)
	password := harness.WriteFile(t, t.TempDir(), "password", "pa ss\n")
	e := harness.StartKinds(t, []string{"redis"}, nil, "--redis.addr=rediss://"+master.Addr, "--tls-ca-cert-file="+cert, "--redis.password-file="+password)
	e.WaitMetric("redis", "redis_up", 1)
	e.WaitMetric("redis", "redis_connected_slaves", 1)

	passwords := harness.WriteFile(t, t.TempDir(), "passwords.json", fmt.Sprintf(`{"rediss://%s": "pa ss", "rediss://%s": "no"}`, replica.Addr, master.Addr))
	e = harness.StartKinds(t, []string{"redis"}, nil, "--tls-ca-cert-file="+cert, "--redis.password-file="+passwords, "--redis.probe-target=127.0.0.1:*")
	harness.Eventually(t, harness.Patience, func() error {
		text, _ := e.Get("redis", "/scrape?target=rediss://"+replica.Addr, harness.Patience)
		up, err := harness.MetricIn(text, fmt.Sprintf("redis_master_link_up{master_host=%q,master_port=%q}", host, port))
		if err == nil && up != 1 {
			err = fmt.Errorf("link is %v", up)
		}
		return err
	})
	text, _ := e.Get("redis", "/scrape?target=rediss://"+master.Addr, harness.Patience)
	up, err := harness.MetricIn(text, "redis_up")
	require.NoError(t, err)
	require.Zero(t, up, "the password of the one is not the other's")
}

// One exporter for many servers, as upstream's have it.
func TestProbing(t *testing.T) {
	t.Parallel()
	p, r := harness.NewPostgres(t), harness.NewRedis(t, nil)
	modules := harness.WriteFile(t, t.TempDir(), "modules.yml", fmt.Sprintf("auth_modules:\n  first: {type: userpass, userpass: {username: exporter, password: %s}, options: {sslmode: disable}}\n", p.Password))
	nobody := harness.Address(t)
	e := harness.StartKinds(t, []string{"postgres", "redis"}, []string{"DATA_SOURCE_NAME=postgres://nobody@" + nobody + "/x?sslmode=disable"},
		"--config.file="+modules, "--redis.addr="+nobody, "--redis.probe-target=*", "--postgres.probe-target=*")
	for _, tc := range []struct {
		kind, path string
		up         float64
	}{
		{"postgres", "/probe?auth_module=first&target=" + p.Addr + "/postgres", 1},
		{"postgres", "/probe?auth_module=first&target=" + nobody + "/postgres", 0},
		{"redis", "/scrape?target=" + r.Addr, 1},
		{"redis", "/scrape?target=redis://" + nobody, 0},
		{"postgres", "/metrics", 0},
		{"redis", "/metrics", 0},
	} {
		for range 2 {
			text, _ := e.Get(tc.kind, tc.path, harness.Patience)
			up, err := harness.MetricIn(text, upOf[tc.kind])
			require.NoError(t, err)
			require.Equal(t, tc.up, up, tc.path)
		}
	}
	for path, want := range map[string]string{
		e.Addr["postgres"] + "/probe":                                 "target is required",
		e.Addr["postgres"] + "/probe?target=x&auth_module=third":      "auth_module third not found",
		e.Addr["postgres"] + "/probe?target=postgres://a:hunter%25zz": "could not configure dsn",
		e.Addr["redis"] + "/scrape":                                   "'target' parameter must be specified",
		e.Addr["redis"] + "/scrape?target=http://x":                   "must be redis://",
	} {
		_, err := httpGet("http://" + path)
		require.ErrorContains(t, err, want)
		require.ErrorContains(t, err, "400")
		require.NotContains(t, err.Error(), "hunter")
	}
	require.NotContains(t, e.Log(), p.Password)
}

// Whoever reaches the port names a server of their own: it is not connected to, and
// where any target is allowed it does not get the password.
func TestProbingGivesNothingAway(t *testing.T) {
	t.Parallel()
	const secret = "TOPSECRETREDIS"
	attacker, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer attacker.Close()
	heard := make(chan string, 100)
	go func() {
		for {
			c, err := attacker.Accept()
			if err != nil {
				return
			}
			text := make([]byte, 1000)
			n, _ := c.Read(text)
			heard <- string(text[:n])
			c.Close()
		}
	}()
	for _, args := range [][]string{nil, {"--redis.probe-target=*"}} {
		e := harness.StartKinds(t, []string{"redis"}, []string{"REDIS_PASSWORD=" + secret}, append(args, "--redis.addr=127.0.0.1:1", "--redis.user=u")...)
		for _, target := range []string{attacker.Addr().String(), "redis://x:y@" + attacker.Addr().String()} {
			_, err := httpGet("http://" + e.Addr["redis"] + "/scrape?target=" + target)
			if args == nil {
				require.ErrorContains(t, err, "403")
				require.ErrorContains(t, err, "--redis.probe-target")
			}
		}
		// An <img> on any page.
		r, err := http.NewRequest(http.MethodGet, "http://"+e.Addr["redis"]+"/metrics", nil)
		require.NoError(t, err)
		r.Header.Set("Referer", "http://evil.example/page")
		a, err := http.DefaultClient.Do(r)
		require.NoError(t, err)
		a.Body.Close()
		require.Equal(t, http.StatusForbidden, a.StatusCode)
	}
	attacker.Close()
	close(heard)
	said := 0
	for text := range heard {
		require.NotContains(t, text, secret)
		said++
	}
	require.Positive(t, said, "it was connected to where that is allowed")
}

// Without a flag nginx is looked for in the usual places, PostgreSQL at its
// socket; a unix socket of nginx works too.
func TestNginxBehindASocketAndPostgresBySocket(t *testing.T) {
	t.Parallel()
	n, p := harness.NewNginx(t), harness.NewPostgres(t)
	_, port, _ := strings.Cut(p.Addr, ":")
	e := harness.StartKinds(t, []string{"nginx", "postgres"}, []string{"PGHOST=" + p.Dir, "PGPORT=" + port, "PGUSER=postgres"},
		"--nginx.scrape-uri=unix:"+filepath.Join(n.Dir, "socket")+":/stub_status", "--nginx.scrape-uri=http://user:hunter2@"+n.Addr+"/stub_status")
	e.WaitMetric("postgres", "pg_up", 1)
	e.WaitMetric("nginx", `nginx_up{addr="unix:`+n.Dir+`/socket:/stub_status"}`, 1)
	e.WaitMetric("nginx", `nginx_up{addr="http://user:xxxxx@`+n.Addr+`/stub_status"}`, 1)
	require.NotContains(t, e.Metrics("nginx"), "hunter2")
}

// All kinds on a Debian machine as its packages set it up, without a flag: the
// status page at one of the usual places, the socket, the usual port.
func TestServicesWithoutAnyFlag(t *testing.T) {
	t.Parallel()
	for tool, pkg := range map[string]string{"/usr/sbin/nginx": "nginx-light", "pg_lsclusters": "postgresql", "redis-server": "redis-server"} {
		harness.Tool(t, tool, pkg)
	}
	b := harness.NewBox(t)
	b.Exec("sh", "-ec", `for service in nginx postgresql redis; do mkdir -p /var/log/$service; done
		chown postgres: /var/log/postgresql; chown redis: /var/log/redis
		version=$(ls /usr/lib/postgresql | tail -n 1); [ -e /etc/postgresql/$version/main ] || pg_createcluster $version main
		echo 'server { listen 127.0.0.1:8080; location = /stub_status { stub_status; } }' > /etc/nginx/conf.d/status.conf
		systemctl start nginx redis-server postgresql@$version-main
		systemd-run --quiet --uid=postgres --unit=all-kinds --property=Type=notify /opt/clanmon/clanmon exporter --exporter node,systemd,nginx,postgres,redis`)
	for series, port := range map[string]string{"nginx_up": "9113", "pg_up": "9187", "redis_up": "9121"} {
		b.WaitMetric("127.0.0.1:"+port+"/metrics", series, 1)
	}
	for unit, port := range map[string]string{"nginx.service": "9558", "redis-server.service": "9558"} {
		b.WaitMetric("127.0.0.1:"+port+"/metrics", unitState(unit, "active"), 1)
	}
	text, err := b.Get("127.0.0.1:9100/metrics")
	require.NoError(t, err)
	require.Contains(t, text, "clanmon_reboot_required")
}

// A server with a thousand databases, one of them with a name that is meant to
// confuse: every one is there, in time.
func TestAThousandDatabases(t *testing.T) {
	t.Parallel()
	p := harness.NewPostgres(t)
	const n, odd = 1000, "o\"d\\d\nü"
	// Creating them takes minutes and 7 GB. To whoever looks at the catalogue and
	// the files they are there without it.
	p.SQL("postgres", fmt.Sprintf(`set allow_system_table_mods = on;
		create temp table new as select d.*, i from pg_database d, generate_series(1, %d) i where datname = 'app';
		update new set oid = 100000 + i, datname = case i when 1 then e'o"d\\d\nü' else 'db' || i end;
		alter table new drop column i; insert into pg_database select * from new;`, n))
	for i := range n {
		harness.WriteFile(t, filepath.Join(p.Dir, "data", "base", fmt.Sprint(100001+i)), "PG_VERSION", "15\n")
	}
	e := harness.StartKinds(t, []string{"postgres"}, []string{"DATA_SOURCE_NAME=" + p.DSN(p.Password)})
	text := e.Metrics("postgres")
	f := families(t, text)
	require.Equal(t, 1.0, f["pg_up"].Metric[0].GetGauge().GetValue())
	sizes := labelSets(f["pg_database_size_bytes"])
	require.Greater(t, len(sizes), n)
	require.Contains(t, sizes, "datname="+odd)
	require.Contains(t, text, `pg_database_size_bytes{datname="o\"d\\d\nü"} 3`)
	require.Less(t, strings.Count(text, "\n"), 60*n)
}

// What is wrong is named, and no secret with it.
func TestBadInputOfServices(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	two := harness.WriteFile(t, dir, "two", "postgres://a:hunter2@b/c\nsecond\n")
	badURL := harness.WriteFile(t, dir, "bad", "postgres://a:hunter2%zz@b/c\n")
	badJSON := harness.WriteFile(t, dir, "bad.json", `{"redis://a": hunter2}`)
	empty := harness.WriteFile(t, dir, "empty", "")
	for _, tc := range []struct {
		name string
		env  string
		args []string
		want []string
	}{
		{"missing DSN file", "", []string{"--exporter=postgres", "--postgres.dsn-file=" + dir + "/none"}, []string{"--postgres.dsn-file", "none: no such file"}},
		{"DSN file of two lines", "", []string{"--exporter=postgres", "--postgres.dsn-file=" + two}, []string{"--postgres.dsn-file", "one line"}},
		{"DSN no URL", "", []string{"--exporter=postgres", "--postgres.dsn-file=" + badURL}, []string{"--postgres.dsn-file", "percent-encode special"}},
		{"DSN in the environment", "DATA_SOURCE_NAME=hunter2", []string{"--exporter=postgres"}, []string{"DATA_SOURCE_NAME", "key=value"}},
		{"config file", "", []string{"--exporter=postgres", "--config.file=" + badURL}, []string{"--config.file"}},
		{"collection timeout", "", []string{"--exporter=postgres", "--collection-timeout=1us"}, []string{"--collection-timeout", "1µs is too short"}},
		{"nginx URL", "", []string{"--exporter=nginx", "--nginx.scrape-uri=ftp://x"}, []string{"--nginx.scrape-uri", "ftp://x", "must be http://"}},
		{"nginx URL no URL", "", []string{"--exporter=nginx", "--nginx.scrape-uri=http://a:hunter2%zz@x"}, []string{"--nginx.scrape-uri is not a URL"}},
		{"nginx twice", "", []string{"--exporter=nginx", "--nginx.scrape-uri=http://x/a", "--nginx.scrape-uri=http://x/a"}, []string{"given twice"}},
		{"nginx certificate", "", []string{"--exporter=nginx", "--nginx.ssl-ca-cert=" + empty}, []string{"--nginx.ssl-ca-cert", "no certificate"}},
		{"nginx key only", "", []string{"--exporter=nginx", "--nginx.ssl-client-key=" + empty}, []string{"--nginx.ssl-client-cert", "go together"}},
		{"nginx timeout", "TIMEOUT=hunter2", []string{"--exporter=nginx"}, []string{"environment variable TIMEOUT", "--nginx.timeout"}},
		{"redis address", "", []string{"--exporter=redis", "--redis.addr=http://x"}, []string{"--redis.addr", "http://x", "must be redis://"}},
		{"redis address no URL", "REDIS_ADDR=redis://a:hunter2%zz@x", []string{"--exporter=redis"}, []string{"--redis.addr is not an address"}},
		{"redis password", "", []string{"--exporter=redis", "-redis.password=hunter2"}, []string{"--redis.password-file"}},
		{"redis password file", "", []string{"--exporter=redis", "--redis.password-file=" + empty}, []string{"--redis.password-file", "is empty"}},
		{"redis passwords", "", []string{"--exporter=redis", "--redis.password-file=" + badJSON}, []string{"--redis.password-file", "JSON object"}},
		{"redis key only", "", []string{"--exporter=redis", "--tls-client-key-file=" + empty}, []string{"--tls-client-cert-file", "go together"}},
		{"redis CA", "", []string{"--exporter=redis", "--tls-ca-cert-file=" + dir + "/none"}, []string{"--tls-ca-cert-file", "no such file"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			code, output := harness.Run(t, harness.Command{Args: append([]string{"exporter"}, tc.args...), Env: []string{tc.env}})
			require.NotZero(t, code)
			for _, want := range tc.want {
				require.Contains(t, output, want)
			}
			require.NotContains(t, output, "hunter2")
		})
	}
	// What is in the environment for one kind is nothing to another.
	e := harness.StartKinds(t, []string{"node"}, []string{"TIMEOUT=hunter2", "NGINX_PLUS=maybe"})
	require.Contains(t, e.Metrics("node"), "node_memory_MemTotal_bytes")
}

// The server's own metrics stay those of Prometheus.
func TestEmbeddedExportersLeaveTheServersMetricsAlone(t *testing.T) {
	t.Parallel()
	s := harness.StartServer(t, harness.ServerOptions{Config: "global: {}\n"})
	require.NotContains(t, s.Get("/metrics").Body, "postgres_exporter")
}

// Of several databases one that refuses, one that is not there, and one whose name is
// not valid UTF-8 cost what is theirs.
func TestDatabasesThatRefuse(t *testing.T) {
	t.Parallel()
	p := harness.NewPostgres(t)
	p.SQL("postgres", "create database closed")
	p.SQL("postgres", "revoke connect on database closed from public")
	dead := "postgres://nobody@127.0.0.1:1/postgres?sslmode=disable"
	requireSeries := func(e *harness.Kinds, series string, want float64) {
		t.Helper()
		got, err := harness.MetricIn(e.Metrics("postgres"), series)
		require.NoError(t, err)
		require.Equal(t, want, got, series)
	}
	for name, c := range map[string]struct{ env, flag string }{
		"one of two sources":       {"DATA_SOURCE_NAME=" + p.DSN(p.Password) + "," + dead, "--log.level=info"},
		"one database of a server": {"DATA_SOURCE_NAME=" + p.DSN(p.Password), "--auto-discover-databases"},
	} {
		t.Run(name, func(t *testing.T) {
			e := harness.StartKinds(t, []string{"postgres"}, []string{c.env}, c.flag)
			e.WaitMetric("postgres", "pg_up", 1)
			requireSeries(e, `clanmon_exporter_collector_success{collector="postgres"}`, 0)
			require.Contains(t, e.Metrics("postgres"), `pg_database_size_bytes{datname="postgres"}`, "of upstream's newer collectors")
			require.NotContains(t, e.Metrics("postgres")+e.Log(), p.Password)
		})
	}

	p.SQL("postgres", "create database raw encoding 'SQL_ASCII' template template0")
	p.SQL("raw", "create database \"caf\xe9\" encoding 'SQL_ASCII' template template0")
	e := harness.StartKinds(t, []string{"postgres", "node"}, []string{"DATA_SOURCE_NAME=" + p.DSN(p.Password)})
	for range 2 {
		e.WaitMetric("postgres", "pg_up", 1)
		requireSeries(e, `pg_scrape_collector_success{collector="replication_slot"}`, 1)
		require.NotEmpty(t, e.Metrics("node"))
	}
	require.False(t, e.Exited())
}
