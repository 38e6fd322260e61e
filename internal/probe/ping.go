package probe

import (
	"fmt"
	"net"
	"os"
	"strings"
)

// pingRange is the file that says which groups may send ICMP without a capability.
const pingRange = "/proc/sys/net/ipv4/ping_group_range"

// CannotPing says what this process lacks to send ICMP; "" if nothing.
func CannotPing() string {
	if c, err := net.ListenPacket("ip4:icmp", "127.0.0.1"); err == nil {
		c.Close()
		return ""
	}
	text, err := os.ReadFile(pingRange)
	var from, to int
	if _, scanErr := fmt.Sscan(string(text), &from, &to); err != nil || scanErr != nil {
		return "" // not known
	}
	groups, _ := os.Getgroups()
	for _, g := range append(groups, os.Getgid()) {
		if from <= g && g <= to {
			return ""
		}
	}
	return fmt.Sprintf("%s is %q and leaves group %d out; set sysctl net.ipv4.ping_group_range to include it, or give the service CAP_NET_RAW", pingRange, strings.TrimSpace(string(text)), os.Getgid())
}
