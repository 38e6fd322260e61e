// Package testport gives tests ports that nothing else takes: neither the kernel nor the tests of
// another package, which run at the same time.
package testport

import (
	"fmt"
	"net"
	"os"
	"sync"
	"testing"
)

// The range is below the one from which the kernel hands out ports itself.
const from, to = 20000, 32000

var ports struct {
	sync.Mutex
	next int
	held []net.Listener
}

// Port returns a free port of TCP and UDP on the loopback. No other process of tests gets it,
// because this one holds an abstract socket of that name.
func Port(t testing.TB) int {
	t.Helper()
	ports.Lock()
	defer ports.Unlock()
	if ports.next == 0 {
		ports.next = from + os.Getpid()%100*100
	}
	for range to - from {
		port := ports.next
		if ports.next++; ports.next == to {
			ports.next = from
		}
		name, err := net.Listen("unix", fmt.Sprintf("@clanmon-test-port-%d", port))
		if err != nil {
			continue
		}
		ports.held = append(ports.held, name)
		if free(port) {
			return port
		}
	}
	t.Fatalf("no free port between %d and %d", from, to)
	return 0
}

func free(port int) bool {
	l, err := net.Listen("tcp", fmt.Sprintf(":%d", port))
	if err != nil {
		return false
	}
	defer l.Close()
	u, err := net.ListenPacket("udp", fmt.Sprintf(":%d", port))
	if err != nil {
		return false
	}
	return u.Close() == nil
}

// Address is one of the loopback with such a port.
func Address(t testing.TB) string {
	t.Helper()
	return fmt.Sprintf("127.0.0.1:%d", Port(t))
}
