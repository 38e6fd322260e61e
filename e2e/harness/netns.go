package harness

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// Host is a machine as far as the network is concerned: a network namespace with
// its own addresses and its own name servers.
type Host struct{ Namespace string }

// NewHost makes a host that has only a loopback, and removes it when the test
// ends. resolvConf is its /etc/resolv.conf.
func NewHost(t testing.TB, resolvConf string) *Host {
	t.Helper()
	name := unique("host")
	Root(t)
	ip := Tool(t, "ip", "iproute2")
	run := func(args ...string) {
		t.Helper()
		out, err := exec.Command(ip, args...).CombinedOutput()
		require.NoError(t, err, "ip %q: %s", args, out)
	}
	run("netns", "add", name)
	etc := filepath.Join("/etc/netns", name)
	t.Cleanup(func() {
		run("netns", "del", name)
		os.RemoveAll(etc)
	})
	run("-n", name, "link", "set", "lo", "up")
	require.NoError(t, os.MkdirAll(etc, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(etc, "resolv.conf"), []byte(resolvConf), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(etc, "nsswitch.conf"), []byte("hosts: files dns\n"), 0o644))
	return &Host{name}
}

// Command is c, run on the host.
func (h *Host) Command(t testing.TB, c Command) Command {
	t.Helper()
	if c.Path == "" {
		c.Path = Clanmon(t)
	}
	c.Args = append([]string{"netns", "exec", h.Namespace, c.Path}, c.Args...)
	c.Path = Tool(t, "ip", "iproute2")
	return c
}

// Client makes its connections from the host.
func (h *Host) Client() *http.Client {
	return &http.Client{Timeout: Patience, Transport: &http.Transport{DialContext: h.dial}}
}

// dial connects from the host; the address has to be a literal one.
func (h *Host) dial(ctx context.Context, network, address string) (conn net.Conn, err error) {
	if net.ParseIP(hostOf(address)) == nil {
		return nil, errors.New("no literal address: " + address)
	}
	inErr := h.in(func() { conn, err = new(net.Dialer).DialContext(ctx, network, address) })
	return conn, errors.Join(inErr, err)
}

// Listen listens on the host.
func (h *Host) Listen(t testing.TB, address string) (l net.Listener) {
	t.Helper()
	var err error
	require.NoError(t, h.in(func() { l, err = net.Listen("tcp", address) }))
	require.NoError(t, err)
	return l
}

// in does something on a thread that is in the host's namespace meanwhile. The
// thread is brought back and not ended: the kernel kills processes that it
// started, as the harness asks it to.
func (h *Host) in(do func()) error {
	home, err := os.Open("/proc/self/ns/net")
	if err != nil {
		return err
	}
	defer home.Close()
	there, err := os.Open("/run/netns/" + h.Namespace)
	if err != nil {
		return err
	}
	defer there.Close()

	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Setns(int(there.Fd()), unix.CLONE_NEWNET); err != nil {
		return err
	}
	do()
	if back := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); back != nil {
		panic(back) // the thread would do other tests' work in the wrong place
	}
	return nil
}

func hostOf(address string) string {
	host, _, _ := net.SplitHostPort(address)
	return host
}

// Forward listens on a loopback address of this machine, which it returns, and passes
// connections on to an address of the host.
func (h *Host) Forward(t testing.TB, address string) string {
	t.Helper()
	l, err := net.Listen("tcp", Address(t))
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer near.Close()
				far, err := h.dial(context.Background(), "tcp", address)
				if err != nil {
					return
				}
				defer far.Close()
				done := make(chan struct{}, 2)
				for _, way := range [][2]net.Conn{{near, far}, {far, near}} {
					go func() {
						_, _ = io.Copy(way[0], way[1])
						done <- struct{}{}
					}()
				}
				<-done // one of them has gone, and takes the other along
			}()
		}
	}()
	return l.Addr().String()
}
