package api

import (
	"net"
	"net/netip"
	"sync"
)

// shares keep one client from taking all connections: an address may have so many at
// one time, over all listeners, and further ones are closed. This machine may have
// any number: a reverse proxy on it stands for all its clients.
type shares struct {
	max int

	mu   sync.Mutex
	open map[netip.Addr]int
}

func newShares(limit int) *shares {
	return &shares{max: max(1, limit), open: make(map[netip.Addr]int)}
}

// listener accepts from l what the shares allow.
func (s *shares) listener(l net.Listener) net.Listener { return &sharedListener{l, s} }

type sharedListener struct {
	net.Listener
	shares *shares
}

func (l *sharedListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		client := shareOf(c.RemoteAddr())
		if !client.IsValid() || client.IsLoopback() {
			return c, nil
		}
		if l.shares.take(client) {
			return &sharedConn{Conn: c, release: sync.OnceFunc(func() { l.shares.release(client) })}, nil
		}
		c.Close()
	}
}

func (s *shares) take(client netip.Addr) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[client] >= s.max {
		return false
	}
	s.open[client]++
	return true
}

func (s *shares) release(client netip.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[client]--; s.open[client] == 0 {
		delete(s.open, client)
	}
}

// shareOf is whom an address counts for: with IPv6 its network, for a machine may
// choose from all addresses of that.
func shareOf(a net.Addr) netip.Addr {
	client := addrOf(a)
	if client.Is6() && !client.IsLoopback() {
		p, _ := client.Prefix(64)
		return p.Addr()
	}
	return client
}

type sharedConn struct {
	net.Conn
	release func()
}

func (c *sharedConn) Close() error {
	defer c.release()
	return c.Conn.Close()
}
