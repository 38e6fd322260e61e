// Package memnet is a network inside the process: a listener whose
// connections are pipes.
//
// The server uses it where one part of it speaks HTTP to another, so that no
// port, TLS or authentication comes between them. It is not a general network:
// one listener, no names. Close ends it; connections that are open stay with
// their owners.
package memnet

import (
	"context"
	"net"
	"sync"
)

// Listener is a net.Listener that Dial connects to. Both are safe for
// concurrent use.
type Listener struct {
	name   addr
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

// Listen returns a listener that reports name as its address.
func Listen(name string) *Listener {
	return &Listener{name: addr(name), conns: make(chan net.Conn), closed: make(chan struct{})}
}

// Dial connects to the listener; the accepted side reports remote as its peer's
// address, or the listener's own name where remote is empty. It waits for an
// Accept until ctx ends.
func (l *Listener) Dial(ctx context.Context, remote string) (net.Conn, error) {
	if remote == "" {
		remote = string(l.name)
	}
	client, server := net.Pipe()
	select {
	case l.conns <- &conn{Conn: server, local: l.name, remote: addr(remote)}:
		return &conn{Conn: client, local: addr(remote), remote: l.name}, nil
	case <-l.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Accept implements net.Listener.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (l *Listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

// Addr implements net.Listener.
func (l *Listener) Addr() net.Addr { return l.name }

type conn struct {
	net.Conn
	local, remote addr
}

func (c *conn) LocalAddr() net.Addr  { return c.local }
func (c *conn) RemoteAddr() net.Addr { return c.remote }

type addr string

func (a addr) Network() string { return "memory" }
func (a addr) String() string  { return string(a) }
