package harness

import (
	"fmt"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// Lan is hosts on a switch, h1 to hN at 198.18.7.1 to N, and dns at 198.18.7.254,
// which all of them ask for names.
type Lan struct {
	t         testing.TB
	lab, tool string
}

// NewLan makes the hosts, and removes them when the test ends.
func NewLan(t testing.TB, n string) *Lan {
	t.Helper()
	Root(t)
	for tool, pkg := range map[string]string{"ip": "iproute2", "dnsmasq": "dnsmasq-base", "nft": "nftables"} {
		Tool(t, tool, pkg)
	}
	l := &Lan{t, unique("lan"), filepath.Join(Repo(t), "e2e", "tailnet", "netlab.sh")}
	t.Cleanup(func() { l.do("down") })
	l.do("up", n)
	return l
}

// unique is a name for network namespaces that nobody has: not a test beside this
// one, nor what a killed one left behind.
func unique(prefix string) string { return fmt.Sprintf("%s%08x", prefix, rand.Uint32()) }

func (l *Lan) do(cmd string, args ...string) {
	l.t.Helper()
	out, err := exec.Command(l.tool, append([]string{cmd, l.lab}, args...)...).CombinedOutput()
	require.NoError(l.t, err, "netlab.sh %s %v: %s", cmd, args, out)
}

// Host is a machine, or dns.
func (l *Lan) Host(name string) *Host { return &Host{l.lab + "-" + name} }

// StopDNS ends the name server of the host dns, for another one in its place.
func (l *Lan) StopDNS() {
	l.t.Helper()
	conf := "/run/netlab/" + l.lab + "/dnsmasq.conf"
	out, err := exec.Command("pkill", "-f", conf).CombinedOutput()
	require.NoError(l.t, err, "the name server of the lab: %s", out)
	Eventually(l.t, Patience, func() error {
		if pids, err := exec.Command("pgrep", "-f", conf).Output(); err == nil {
			return fmt.Errorf("the name server of the lab still runs: %s", pids)
		}
		return nil
	})
}

// Cut pulls the network cable of a host, Plug undoes it.
func (l *Lan) Cut(host string)  { l.t.Helper(); l.do("cut", host) }
func (l *Lan) Plug(host string) { l.t.Helper(); l.do("join", host) }

// Block drops what comes to a TCP port of a host, Clear undoes it.
func (l *Lan) Block(host, port string) { l.t.Helper(); l.do("block", host, port) }
func (l *Lan) Clear(host string)       { l.t.Helper(); l.do("clear", host) }
