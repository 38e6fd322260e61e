package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// binary is the program under test.
func binary(t testing.TB) string {
	t.Helper()
	path := os.Getenv("CLANMON_BIN")
	if path == "" {
		path = "../bin/clanmon"
	}
	path, err := filepath.Abs(path)
	require.NoError(t, err)
	_, err = os.Stat(path)
	require.NoError(t, err, "no binary to test; run make build")
	return path
}

// freeAddress is a loopback address that nobody listens on right now.
func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}

// eventually calls ok until it returns nil, and fails with its last error after
// limit.
func eventually(t testing.TB, limit time.Duration, ok func() error) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for {
		err := ok()
		if err == nil {
			return
		}
		require.True(t, time.Now().Before(deadline), "not within %s: %v", limit, err)
		<-time.After(30 * time.Millisecond) // polling, with the deadline above
	}
}

// process is a program that runs.
type process struct {
	t    testing.TB
	cmd  *exec.Cmd
	log  *lockedBuffer
	done chan struct{}
	err  error // of Wait, once done is closed
}

type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// start runs a program in dir; it is killed when the test ends, and its log is
// shown if the test failed.
func start(t testing.TB, dir, program string, args ...string) *process {
	t.Helper()
	return startCmd(t, dir, exec.Command(program, args...))
}

func startCmd(t testing.TB, dir string, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{t: t, cmd: cmd, log: &lockedBuffer{}, done: make(chan struct{})}
	p.cmd.Dir = dir
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	require.NoError(t, p.cmd.Start())
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.done
		if t.Failed() {
			t.Logf("log of %s:\n%s", filepath.Base(cmd.Path), tail(p.log.String(), 25))
		}
	})
	return p
}

func tail(s string, lines int) string {
	all := strings.Split(s, "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// stop sends sig and returns the exit code; -1 means killed by a signal.
func (p *process) stop(sig os.Signal) int {
	p.t.Helper()
	require.NoError(p.t, p.cmd.Process.Signal(sig))
	return p.exit(30 * time.Second)
}

// exit waits for the program to end and returns its exit code.
func (p *process) exit(limit time.Duration) int {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(limit):
		p.t.Fatalf("%s did not end within %s", p.cmd.Path, limit)
	}
	return p.cmd.ProcessState.ExitCode()
}

func (p *process) exited() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// server is a Prometheus-compatible server that runs.
type server struct {
	*process
	base string // URL
}

// startServer starts program, ours or upstream's, on a free port and waits
// until it is ready. Arguments are those of Prometheus; ours needs the role
// before them.
func startServer(t testing.TB, dir, program string, args ...string) *server {
	t.Helper()
	s := launchServer(t, dir, program, args...)
	s.ready()
	return s
}

func launchServer(t testing.TB, dir, program string, args ...string) *server {
	t.Helper()
	address := freeAddress(t)
	args = append(args, "--web.listen-address="+address)
	if filepath.Base(program) == "clanmon" {
		args = append([]string{"server"}, args...)
	}
	return &server{start(t, dir, program, args...), "http://" + address}
}

func (s *server) ready() {
	s.t.Helper()
	eventually(s.t, 60*time.Second, func() error {
		require.False(s.t, s.exited(), "the server ended: %s", tail(s.log.String(), 20))
		return s.answers("/-/ready")
	})
}

var client = &http.Client{Timeout: 30 * time.Second}

func (s *server) answers(path string) error {
	r, err := client.Get(s.base + path)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", path, r.Status)
	}
	return nil
}

// get returns the body of a GET and its status.
func (s *server) get(path string) (int, string) {
	s.t.Helper()
	return fetch(s.t, http.MethodGet, s.base+path)
}

func fetch(t testing.TB, method, url string) (int, string) {
	t.Helper()
	req, err := http.NewRequest(method, url, nil)
	require.NoError(t, err)
	r, err := client.Do(req)
	require.NoError(t, err)
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	require.NoError(t, err)
	return r.StatusCode, string(body)
}

// sample is one element of an instant vector.
type sample struct {
	Metric map[string]string
	Value  float64
}

// query evaluates expr now.
func (s *server) query(expr string) ([]sample, error) {
	r, err := client.Get(s.base + "/api/v1/query?" + url.Values{"query": {expr}}.Encode())
	if err != nil {
		return nil, err
	}
	defer r.Body.Close()
	var answer struct {
		Error string
		Data  struct {
			Result []struct {
				Metric map[string]string
				Value  [2]any
			}
		}
	}
	if err := json.NewDecoder(r.Body).Decode(&answer); err != nil {
		return nil, err
	}
	if answer.Error != "" {
		return nil, errors.New(answer.Error)
	}
	var out []sample
	for _, e := range answer.Data.Result {
		var v float64
		if _, err := fmt.Sscan(fmt.Sprint(e.Value[1]), &v); err != nil {
			return nil, err
		}
		out = append(out, sample{e.Metric, v})
	}
	return out, nil
}

// value waits until expr has exactly one element and returns its value.
func (s *server) value(expr string) (v float64) {
	s.t.Helper()
	eventually(s.t, 40*time.Second, func() error {
		got, err := s.query(expr)
		if err == nil && len(got) != 1 {
			err = fmt.Errorf("%s has %d elements", expr, len(got))
		}
		if err == nil {
			v = got[0].Value
		}
		return err
	})
	return v
}

// becomes waits until expr has one element of that value.
func (s *server) becomes(expr string, want float64) {
	s.t.Helper()
	eventually(s.t, 40*time.Second, func() error {
		got, err := s.query(expr)
		if err == nil && (len(got) != 1 || got[0].Value != want) {
			err = fmt.Errorf("%s is %v, not %v", expr, got, want)
		}
		return err
	})
}

// writeFile writes a file below dir and returns its path.
func writeFile(t testing.TB, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	return path
}

func copyDir(t testing.TB, from, to string) {
	t.Helper()
	require.NoError(t, os.CopyFS(to, os.DirFS(from)))
}

// target is something to scrape whose values are known.
type target struct {
	address string
	scrapes atomic.Int64
}

// startTarget serves a few series of each kind on loopback; counters grow with
// each scrape.
func startTarget(t testing.TB) *target {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	x := &target{address: l.Addr().String()}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		n := x.scrapes.Add(1)
		fmt.Fprintf(w, "# HELP demo_requests_total Requests.\n# TYPE demo_requests_total counter\n")
		for i := range 5 {
			fmt.Fprintf(w, "demo_requests_total{path=\"/%d\"} %d\n", i, n*int64(i+1))
		}
		fmt.Fprintf(w, "# HELP demo_temperature_celsius Temperature.\n# TYPE demo_temperature_celsius gauge\ndemo_temperature_celsius{room=\"hall \\\"<b>é\"} %g\n", 20+float64(n%7))
		fmt.Fprintf(w, "# TYPE demo_duration_seconds histogram\n")
		for _, le := range []string{"0.1", "1", "+Inf"} {
			fmt.Fprintf(w, "demo_duration_seconds_bucket{le=%q} %d\n", le, n*3)
		}
		fmt.Fprintf(w, "demo_duration_seconds_sum %d\ndemo_duration_seconds_count %d\n", n, n*3)
	})}
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { _ = srv.Shutdown(context.Background()) })
	return x
}
