package fleet

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	commonconfig "github.com/prometheus/common/config"
	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/discovery/contract"
	"github.com/clanmon/clanmon/server/internal/memnet"
)

// hosts is a network in which requests are counted. An address that has no
// handler refuses.
type hosts struct {
	mu       sync.Mutex
	handlers map[string]http.HandlerFunc
	failures map[string]error
	asked    map[string][]time.Time
}

func (h *hosts) set(address string, handler http.HandlerFunc) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.handlers[address] = handler
}

func (h *hosts) times(address string) []time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.asked[address]
}

func (h *hosts) dial(ctx context.Context, _, address string) (net.Conn, error) {
	h.mu.Lock()
	h.asked[address] = append(h.asked[address], time.Now())
	handler, failure := h.handlers[address], h.failures[address]
	h.mu.Unlock()
	switch {
	case failure != nil:
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: failure}
	case handler == nil:
		<-ctx.Done()
		return nil, ctx.Err()
	}
	l := memnet.Listen(address)
	server := &http.Server{Handler: handler, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)}
	go func() { _ = server.Serve(l) }()
	c, err := l.Dial(ctx, "")
	l.Close()
	return c, err
}

func exposition(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "up_and_well 1\n") }

// gated is a Fleet that finds machines in hosts, and runs until the test ends or
// stop is called.
func gated(t *testing.T, dir string, h *hosts) (f *Fleet, stop func()) {
	t.Helper()
	f, _ = newFleet(t, &strings.Builder{}, twoMethods)
	f.gate = newGate(dir, nil, h.dial, slog.New(slog.DiscardHandler))
	require.NoError(t, f.gate.applyConfig(f.jobs))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- f.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		require.NoError(t, <-done)
	})
	t.Cleanup(stop)
	return f, stop
}

func newHosts() *hosts {
	return &hosts{handlers: map[string]http.HandlerFunc{}, failures: map[string]error{}, asked: map[string][]time.Time{}}
}

func found(names ...string) groups {
	g := static("here", "10.0.0.9:9100")
	ts := *g
	ts.Source, ts.Labels, ts.Targets = "ts", nil, nil
	for i, name := range names {
		ts.Targets = append(ts.Targets, tailscale(name, fmt.Sprintf("100.64.0.%d", i+1)))
	}
	both := groups{"node": {g, &ts}}
	both["mine"] = both["node"]
	return both
}

// A device that never answered is no target; one that has answered stays one.
func TestADeviceIsATargetOnceItHasAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, dir := newHosts(), t.TempDir()
		h.set("100.64.0.1:9100", exposition)
		h.failures["100.64.0.2:9100"] = syscall.ECONNREFUSED
		f, stop := gated(t, dir, h)
		given := found("web1", "web2")
		merged := f.Merge(given)
		require.Equal(t, []string{"10.0.0.9:9100"}, addresses(merged["node"]), "what somebody wrote down is a target at once")
		require.Len(t, addresses(merged["mine"]), 3, "a job of the user's own is not gated")
		names := func() (all []string) {
			for _, m := range f.Machines() {
				all = append(all, m.Name)
			}
			return all
		}
		require.Equal(t, []string{"here"}, names())

		<-f.Changed()
		require.Equal(t, []string{"10.0.0.9:9100", "100.64.0.1:9100"}, addresses(f.Merge(given)["node"]))
		require.Equal(t, []string{"here", "web1"}, names())
		require.Empty(t, h.times("10.0.0.9:9100"), "asks only where it has to know")

		// Until it answers it is asked ever more rarely, but never less than every six minutes.
		time.Sleep(time.Hour)
		asked := h.times("100.64.0.2:9100")
		require.Less(t, asked[1].Sub(asked[0]), 10*time.Second)
		for i := 2; i < len(asked); i++ {
			pause := asked[i].Sub(asked[i-1])
			require.LessOrEqual(t, pause, 6*time.Minute+time.Second)
			if i > 8 {
				require.GreaterOrEqual(t, pause, 5*time.Minute)
			}
		}
		require.Less(t, len(asked), 25)
		require.Len(t, h.times("100.64.0.1:9100"), 1, "who has answered is not asked again")
		h.mu.Lock()
		delete(h.failures, "100.64.0.2:9100")
		h.mu.Unlock()
		h.set("100.64.0.2:9100", exposition)
		<-f.Changed()
		require.Len(t, addresses(f.Merge(given)["node"]), 3)
		stop()

		// A restart while the machines are down: they are missed.
		f, stop = gated(t, dir, newHosts())
		require.Len(t, addresses(f.Merge(given)["node"]), 3)
		stop()

		// What was not discovered for a quarter of a year is forgotten.
		time.Sleep(100 * 24 * time.Hour)
		f, _ = gated(t, dir, newHosts())
		require.Len(t, addresses(f.Merge(given)["node"]), 1)
	})
}

// One that is still discovered is remembered, however long it is down.
func TestADeadMachineIsNotForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, dir := newHosts(), t.TempDir()
		h.set("100.64.0.1:9100", exposition)
		f, stop := gated(t, dir, h)
		f.Merge(found("web1"))
		<-f.Changed()
		for range 3 {
			stop()
			time.Sleep(60 * 24 * time.Hour)
			f, stop = gated(t, dir, newHosts())
			require.Len(t, addresses(f.Merge(found("web1"))["node"]), 2)
		}
	})
}

func TestWhyADeviceDoesNotAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHosts()
		names := []string{"refused", "timeout", "no route", "name not found", "TLS", "HTTP status", "no metrics", "no metrics 2", "slow", "error"}
		address := func(name string) string { return fmt.Sprintf("100.64.0.%d:9100", slices.Index(names, name)+1) }
		h.failures[address("refused")] = syscall.ECONNREFUSED
		h.failures[address("no route")] = syscall.EHOSTUNREACH
		h.failures[address("name not found")] = &net.DNSError{Err: "no such host", Name: "x", IsNotFound: true}
		h.failures[address("TLS")] = tls.RecordHeaderError{Msg: "first record does not look like a TLS handshake"}
		h.failures[address("error")] = syscall.EPERM
		h.set(address("HTTP status"), func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) })
		h.set(address("no metrics"), func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>hello</html>\n") })
		h.set(address("no metrics 2"), func(http.ResponseWriter, *http.Request) {})
		h.set(address("slow"), func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, "a 1\n")
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		})
		f, _ := gated(t, "", h)
		f.Merge(found(names...))
		time.Sleep(10 * time.Second)
		got := map[string]string{}
		for _, w := range f.gate.list() {
			got[w.Machine] = w.Reason
			require.Positive(t, w.Attempts)
			require.NotEmpty(t, w.Error)
		}
		want := map[string]string{"no metrics 2": "no metrics", "slow": "timeout"}
		for _, name := range names {
			if want[name] == "" {
				want[name] = name
			}
		}
		require.Equal(t, want, got)
	})
}

// A machine that comes online is asked at once, whatever its turn was.
func TestAMachineThatComesOnlineIsAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHosts()
		f, _ := gated(t, "", h)
		given := found("lap")
		lap := given["node"][1].Targets[0]
		lap[contract.MetaOnline] = "false"
		f.Merge(given)
		time.Sleep(24 * time.Hour)
		h.set("100.64.0.1:9100", exposition)
		begin := time.Now()
		online := lap.Clone()
		online[contract.MetaOnline] = "true"
		given["node"][1].Targets[0] = online
		f.Merge(given)
		<-f.Changed()
		require.Less(t, time.Since(begin), 3*time.Second)
	})
}

// A thousand that never answer do not keep one waiting that does.
func TestThoseThatAreOfflineComeLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHosts()
		f, _ := gated(t, "", h)
		var given groups
		g := found()["node"][1]
		for i := range 1000 {
			g.Targets = append(g.Targets, tailscale(fmt.Sprintf("off%d", i), fmt.Sprintf("100.65.%d.%d", i/250, i%250), "online", "false"))
		}
		g.Targets = append(g.Targets, tailscale("web1", "100.64.0.1"))
		h.set("100.64.0.1:9100", exposition)
		given = groups{"node": {g}}
		f.Merge(given)
		begin := time.Now()
		<-f.Changed()
		require.Less(t, time.Since(begin), time.Minute)
		h.mu.Lock()
		dialed := len(h.asked)
		h.mu.Unlock()
		require.Less(t, dialed, 500, "spread over time")
		time.Sleep(10 * time.Minute)
		h.mu.Lock()
		dialed = len(h.asked)
		h.mu.Unlock()
		require.Equal(t, 1001, dialed)
	})
}

// What is remembered can be broken: it is said, and learnt anew.
func TestBrokenMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		file := filepath.Join(dir, "clanmon-discovered.json")
		require.NoError(t, os.WriteFile(file, []byte(`{"node`), 0o644))
		log := &strings.Builder{}
		newGate(dir, nil, nil, slog.New(slog.NewTextHandler(log, nil)))
		require.Contains(t, log.String(), file)

		h := newHosts()
		h.set("100.64.0.1:9100", exposition)
		f, stop := gated(t, dir, h)
		f.Merge(found("web1"))
		<-f.Changed()
		stop()
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		require.JSONEq(t, `{"node": {"tailscale nweb1:9100": "`+day(time.Now())+` 100.64.0.1:9100"}}`, string(text))
	})
}

// A gate asks with the settings of its job.
func TestAsksAsTheJobScrapes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHosts()
		var path, user string
		h.set("100.64.0.1:9100", func(w http.ResponseWriter, r *http.Request) {
			path = r.URL.RequestURI()
			user, _, _ = r.BasicAuth()
			exposition(w, r)
		})
		f, _ := gated(t, "", h)
		cfg := *f.jobs["node"]
		cfg.MetricsPath, cfg.Params = "/mine", map[string][]string{"collect[]": {"load"}}
		cfg.HTTPClientConfig.BasicAuth = &commonconfig.BasicAuth{Username: "me", Password: "secret"}
		f.jobs["node"] = &cfg
		require.NoError(t, f.gate.applyConfig(f.jobs))
		f.Merge(found("web1"))
		<-f.Changed()
		require.Equal(t, "/mine?collect%5B%5D=load", path)
		require.Equal(t, "me", user)
	})
}

// With many machines, discovery costs what they say and no goroutine each.
func BenchmarkAwait(b *testing.B) {
	f := New(Options{
		Discovered: func(string) bool { return true },
		Registerer: prometheus.NewRegistry(), Logger: slog.New(slog.DiscardHandler),
	})
	all := make([]candidate, 5000)
	for i := range all {
		all[i] = candidate{job: "node", who: endpoint{"node", fmt.Sprint(i)}, address: fmt.Sprint(i)}
	}
	b.ReportAllocs()
	for b.Loop() {
		f.gate.await(all)
		f.gate.nextDue()
	}
}
