package api

import (
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/prometheus/common/promslog"
	upstream "github.com/prometheus/prometheus/web"
	"github.com/stretchr/testify/require"
)

// fakeListener accepts a connection of each address that it is sent.
type fakeListener struct {
	net.Listener
	from chan string
}

func (l fakeListener) Accept() (net.Conn, error) {
	client, ok := <-l.from
	if !ok {
		return nil, net.ErrClosed
	}
	return &fakeConn{client: client}, nil
}

type fakeConn struct {
	net.Conn
	client string
	closed bool
}

func (c *fakeConn) RemoteAddr() net.Addr { a, _ := net.ResolveTCPAddr("tcp", c.client); return a }
func (c *fakeConn) Close() error         { c.closed = true; return nil }

func TestOneClientCannotTakeAllConnections(t *testing.T) {
	from := make(chan string, 20)
	l := newShares(2).listener(fakeListener{from: from})
	accept := func(clients ...string) net.Conn {
		t.Helper()
		for _, c := range clients {
			from <- c
		}
		c, err := l.Accept()
		require.NoError(t, err)
		return c
	}
	first := accept("192.0.2.1:1000")
	accept("192.0.2.1:1001")
	// Those above the limit are closed, and the next client comes through.
	require.Equal(t, "192.0.2.2:5", accept("192.0.2.1:1002", "192.0.2.1:1003", "192.0.2.2:5").RemoteAddr().String())
	require.NoError(t, first.Close())
	require.NoError(t, first.Close(), "a second time gives nothing back")
	accept("192.0.2.1:1004")
	require.Equal(t, "192.0.2.2:6", accept("192.0.2.1:1005", "192.0.2.2:6").RemoteAddr().String())
	// A network is one client with IPv6, and this machine has no limit.
	accept("[2001:db8::1]:1")
	accept("[2001:db8::2]:1")
	require.Equal(t, "[2001:db8:0:1::1]:1", accept("[2001:db8::3]:1", "[2001:db8:0:1::1]:1").RemoteAddr().String())
	for range 5 {
		accept("127.0.0.1:1")
		accept("[::1]:1")
	}
}

// Whoever begins a header and never ends it is cut long before --web.read-timeout.
func TestTimeoutsOfTheListener(t *testing.T) {
	a := &API{}
	for _, c := range []struct{ read, header, idle time.Duration }{
		{5 * time.Minute, 10 * time.Second, 2 * time.Minute},
		{5 * time.Second, 5 * time.Second, 5 * time.Second},
		{0, 10 * time.Second, 2 * time.Minute},
	} {
		a.deps = Deps{Options: upstream.Options{ReadTimeout: c.read}, Logger: promslog.NewNopLogger()}
		s := a.newServer(http.NotFoundHandler())
		require.Equal(t, c.read, s.ReadTimeout)
		require.Equal(t, c.header, s.ReadHeaderTimeout)
		require.Equal(t, c.idle, s.IdleTimeout)
	}
}
