package harness

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// Service is a real nginx, PostgreSQL or Redis on loopback, with all of its files
// in a directory of its own.
type Service struct {
	Addr string // host and port
	Dir  string

	t      testing.TB
	path   string
	args   []string
	user   *syscall.Credential // nil for ours
	cmd    *exec.Cmd
	answer func() error
}

// start starts the service and waits until it answers. It is killed when the
// test ends.
func (s *Service) start() {
	s.t.Helper()
	s.t.Cleanup(func() {
		s.Kill()
		if s.t.Failed() {
			log, _ := os.ReadFile(filepath.Join(s.Dir, "log"))
			s.t.Logf("log of %s:\n%s", s.path, tail(string(log), 4000))
		}
	})
	s.Restart()
}

// Restart starts the service again after Kill.
func (s *Service) Restart() {
	s.t.Helper()
	_ = os.Remove(filepath.Join(s.Dir, "socket")) // nginx does not replace one left behind
	log, err := os.OpenFile(filepath.Join(s.Dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	require.NoError(s.t, err)
	defer log.Close()
	s.cmd = exec.Command(s.path, s.args...)
	s.cmd.Dir, s.cmd.Stdout, s.cmd.Stderr = s.Dir, log, log
	// A group of its own: the services have workers.
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true, Credential: s.user}
	require.NoError(s.t, onStarter(s.cmd.Start))
	Eventually(s.t, Patience, s.answer)
}

// Kill kills the service and its workers at once, as a crash would.
func (s *Service) Kill() {
	if s.cmd == nil {
		return
	}
	_ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL)
	_ = s.cmd.Wait() // killed
	s.cmd = nil
}

// Signal sends a signal to the service and its workers.
func (s *Service) Signal(sig syscall.Signal) {
	s.t.Helper()
	require.NoError(s.t, syscall.Kill(-s.cmd.Process.Pid, sig))
}

// newService makes the directory, which belongs to the named user.
func newService(t testing.TB, name, owner string) *Service {
	t.Helper()
	// Not t.TempDir, whose parent nobody else may enter.
	dir, err := os.MkdirTemp("", "clanmon-"+name+"-")
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	require.NoError(t, os.Chmod(dir, 0o755))
	s := &Service{t: t, Addr: Address(t), Dir: dir}
	if owner != "" {
		Root(t)
		u, err := user.Lookup(owner)
		require.NoError(t, err)
		uid, err := strconv.Atoi(u.Uid)
		require.NoError(t, err)
		gid, err := strconv.Atoi(u.Gid)
		require.NoError(t, err)
		require.NoError(t, os.Chown(dir, uid, gid))
		s.user = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	return s
}

// NewNginx starts nginx with its status at /stub_status.
func NewNginx(t testing.TB) *Service {
	t.Helper()
	s := newService(t, "nginx", "")
	s.path = Tool(t, "/usr/sbin/nginx", "nginx-light")
	conf := WriteFile(t, s.Dir, "nginx.conf", fmt.Sprintf(`worker_processes 1; daemon off; pid %[1]s/pid; error_log %[1]s/log;
events { worker_connections 64; }
http {
  access_log off;
  client_body_temp_path %[1]s/t1; proxy_temp_path %[1]s/t2; fastcgi_temp_path %[1]s/t3; uwsgi_temp_path %[1]s/t4; scgi_temp_path %[1]s/t5;
  server { listen %[2]s; location = /stub_status { stub_status; } location / { return 200 "hello\n"; } }
  server { listen unix:%[1]s/socket; location = /stub_status { stub_status; } }
}
`, s.Dir, s.Addr))
	s.args = []string{"-c", conf, "-p", s.Dir, "-e", filepath.Join(s.Dir, "log")}
	s.answer = func() error {
		r, err := http.Get("http://" + s.Addr + "/")
		if err == nil {
			r.Body.Close()
		}
		return err
	}
	s.start()
	return s
}

// Postgres is a PostgreSQL with a role "exporter", whose password is Password,
// and a database "app". Its socket is in Dir.
type Postgres struct {
	*Service
	Password string
}

// NewPostgres starts PostgreSQL.
func NewPostgres(t testing.TB) *Postgres {
	t.Helper()
	bins, err := filepath.Glob("/usr/lib/postgresql/*/bin")
	require.NoError(t, err)
	require.NotEmpty(t, bins, "PostgreSQL is not here; install the Debian package postgresql (e2e/deps.sh does)")
	bin := bins[len(bins)-1]
	p := &Postgres{Service: newService(t, "postgres", "postgres"), Password: "s3cret-of-postgres"}
	data := filepath.Join(p.Dir, "data")
	initdb := exec.Command(filepath.Join(bin, "initdb"), "-D", data, "--auth-local=trust", "--auth-host=scram-sha-256", "--no-sync", "-E", "UTF8", "--locale=C")
	initdb.Dir, initdb.SysProcAttr = p.Dir, &syscall.SysProcAttr{Credential: p.user}
	out, err := initdb.CombinedOutput()
	require.NoError(t, err, "%s", out)
	p.path = filepath.Join(bin, "postgres")
	p.args = []string{
		"-D", data, "-c", "listen_addresses=127.0.0.1", "-p", p.port(), "-c", "unix_socket_directories=" + p.Dir,
		"-c", "fsync=off", "-c", "shared_buffers=16MB", "-c", "shared_preload_libraries=pg_stat_statements",
	}
	p.answer = func() error { _, err := p.try("postgres", "select 1"); return err }
	p.start()
	p.SQL("postgres", "create role exporter login in role pg_monitor password '"+p.Password+"'")
	p.SQL("postgres", "create database app")
	p.SQL("postgres", "create extension pg_stat_statements")
	return p
}

func (s *Service) port() string { return s.Addr[len("127.0.0.1:"):] }

func (p *Postgres) try(database, sql string) (string, error) {
	out, err := exec.Command("psql", "-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-h", p.Dir, "-p", p.port(), "-d", database, "-c", sql).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%w: %s", err, out)
	}
	return string(out), err
}

// SQL runs a statement as the superuser and returns what psql prints.
func (p *Postgres) SQL(database, sql string) string {
	p.t.Helper()
	out, err := p.try(database, sql)
	require.NoError(p.t, err)
	return out
}

// DSN is the data source of the role "exporter" with a password.
func (p *Postgres) DSN(password string) string {
	return "postgres://exporter:" + password + "@" + p.Addr + "/postgres?sslmode=disable"
}

// Redis is a Redis server.
type Redis struct {
	*Service
	cli []string
}

// NewRedis starts Redis with more arguments, such as "--requirepass" and a word.
// cli are the arguments with which redis-cli then reaches it.
func NewRedis(t testing.TB, cli []string, args ...string) *Redis {
	t.Helper()
	s := newService(t, "redis", "")
	r := &Redis{Service: s, cli: append([]string{"-h", "127.0.0.1", "-p", s.port()}, cli...)}
	s.path = Tool(t, "redis-server", "redis-server")
	s.args = append([]string{"--port", s.port(), "--bind", "127.0.0.1", "--dir", s.Dir, "--save", "", "--appendonly", "no"}, args...)
	for i, a := range args {
		if a == "--tls-port" {
			args[i+1] = s.port()
			s.args = append([]string{"--port", "0", "--bind", "127.0.0.1", "--dir", s.Dir, "--save", "", "--appendonly", "no"}, args...)
		}
	}
	s.answer = func() error {
		out, err := r.try("PING")
		if err == nil && out != "PONG\n" {
			err = fmt.Errorf("redis says %q", out)
		}
		return err
	}
	s.start()
	return r
}

func (r *Redis) try(command ...string) (string, error) {
	out, err := exec.Command("redis-cli", append(r.cli, command...)...).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%w: %s", err, out)
	}
	return string(out), err
}

// Do runs a command.
func (r *Redis) Do(command ...string) string {
	r.t.Helper()
	out, err := r.try(command...)
	require.NoError(r.t, err)
	return out
}
