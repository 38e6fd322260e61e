package harness

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Tailnet is a real one: headscale, and machines with tailscaled and a tun device
// each, h1 to hN, in network namespaces.
type Tailnet struct {
	t      testing.TB
	script string
	dir    string
	lab    string
}

// NewTailnet makes a tailnet of n machines, none of which is a member yet.
func NewTailnet(t testing.TB, n string) *Tailnet {
	t.Helper()
	Root(t)
	for tool, pkg := range map[string]string{"ip": "iproute2", "dnsmasq": "dnsmasq-base", "openssl": "openssl", "curl": "curl"} {
		Tool(t, tool, pkg)
	}
	for _, tool := range []string{"headscale", "tailscaled", "tailscale"} {
		require.FileExists(t, filepath.Join(os.Getenv("CLANMON_ORACLE_DIR"), tool), "run make oracle")
	}
	// Not t.TempDir, whose path is too long for a socket.
	dir, err := os.MkdirTemp("", "tn-")
	require.NoError(t, err)
	n4 := &Tailnet{t, filepath.Join(Repo(t), "e2e", "tailnet", "tailnet.sh"), dir, unique("tn")}
	t.Cleanup(func() { n4.do("down") })
	n4.do("up", n4.lab, n)
	return n4
}

func (n *Tailnet) do(cmd string, args ...string) string {
	n.t.Helper()
	// Daemons inherit what the script writes to, so a pipe would never end.
	log, err := os.CreateTemp(n.t.TempDir(), "tailnet-")
	require.NoError(n.t, err)
	defer log.Close()
	c := exec.Command(n.script, append([]string{cmd, n.dir}, args...)...)
	c.Stdout, c.Stderr = log, log
	err = c.Run()
	out, _ := os.ReadFile(log.Name())
	require.NoError(n.t, err, "tailnet.sh %s %v: %s", cmd, args, out)
	return string(out)
}

// Join makes a machine a member.
func (n *Tailnet) Join(host, tag string) { n.t.Helper(); n.do("join", host, tag) }

// JoinAs makes a machine a member that belongs to a user.
func (n *Tailnet) JoinAs(host, user string) { n.t.Helper(); n.do("joinas", host, user) }

// Address is the IPv4 address of a member in the tailnet.
func (n *Tailnet) Address(host string) string {
	n.t.Helper()
	return strings.TrimSpace(n.do("ts", host, "ip", "-4"))
}

// Serve lets a member pass HTTP requests to a port of its address on to a local address.
func (n *Tailnet) Serve(host, port, local string) {
	n.t.Helper()
	n.do("ts", host, "serve", "--bg", "--http="+port, "http://"+local)
}

// Reachable waits until all members reach each other.
func (n *Tailnet) Reachable() { n.t.Helper(); n.do("ping") }

// StartDaemon and StopDaemon are about the tailscaled of a member.
func (n *Tailnet) StartDaemon(host string) { n.t.Helper(); n.do("start", host) }
func (n *Tailnet) StopDaemon(host string)  { n.t.Helper(); n.do("stop", host) }

// Cut pulls the network cable of a machine.
func (n *Tailnet) Cut(host string) { n.t.Helper(); n.lan("cut", host) }

func (n *Tailnet) lan(cmd, host string) {
	n.t.Helper()
	out, err := exec.Command(filepath.Join(filepath.Dir(n.script), "netlab.sh"), cmd, n.lab, host).CombinedOutput()
	require.NoError(n.t, err, "%s", out)
}

// Headscale runs a command of the coordination server.
func (n *Tailnet) Headscale(args ...string) string { n.t.Helper(); return n.do("hs", args...) }

// Plug undoes Cut.
func (n *Tailnet) Plug(host string) { n.t.Helper(); n.lan("join", host) }

// Host is a machine.
func (n *Tailnet) Host(host string) *Host { return &Host{n.lab + "-" + host} }

// Socket is that of a machine's tailscaled.
func (n *Tailnet) Socket(host string) string { return filepath.Join(n.dir, host+".sock") }
