package units

import (
	"context"
	"net"
	"path/filepath"
	"testing"

	"github.com/godbus/dbus/v5"
	"github.com/stretchr/testify/require"
)

// The real systemd is asked in e2e; here is what only a broken one does.

func all(string) bool { return true }

func TestNoBus(t *testing.T) {
	t.Setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path="+filepath.Join(t.TempDir(), "none"))
	m := Open(User)
	for range 2 {
		_, err := m.Snapshot(t.Context(), all)
		require.ErrorContains(t, err, "no such file or directory")
	}
	require.NoError(t, m.Close())
}

// A bus that accepts and says nothing is waited for as long as the scrape lasts.
func TestBusThatHangs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bus")
	l, err := net.Listen("unix", path)
	require.NoError(t, err)
	defer l.Close()
	t.Setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path="+path)
	m := Open(User)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		c, err := l.Accept()
		if err == nil {
			defer c.Close()
		}
		cancel()
		<-t.Context().Done()
	}()
	_, err = m.Snapshot(ctx, all)
	require.ErrorIs(t, err, context.Canceled, "not the limit of a connection")
	require.NoError(t, m.Close())
}

func TestAllShareOneConnection(t *testing.T) {
	a, b := Open(User), Open(User)
	require.Same(t, a, b)
	require.NotSame(t, a, Open(Private))
	require.NoError(t, a.Close())
	require.Same(t, b, Open(User), "somebody still has it")
	require.NoError(t, b.Close())
	require.NoError(t, b.Close())
	c := Open(User)
	require.NotSame(t, b, c)
	require.NoError(t, c.Close())
}

func TestChangesAreTakenOnce(t *testing.T) {
	c := &changes{paths: map[dbus.ObjectPath]struct{}{}}
	c.DeliverSignal("", "PropertiesChanged", &dbus.Signal{Path: "/a"})
	c.DeliverSignal("", "PropertiesChanged", &dbus.Signal{Path: "/a"})
	paths, everything := c.take()
	require.Len(t, paths, 1)
	require.False(t, everything)
	paths, _ = c.take()
	require.Empty(t, paths)
	for i := range mostChanges + 1 {
		c.DeliverSignal("", "PropertiesChanged", &dbus.Signal{Path: dbus.ObjectPath(string(rune(i)))})
	}
	_, everything = c.take()
	require.True(t, everything, "so many that all may have changed")
	require.False(t, c.another())
	c.DeliverSignal("", "NameOwnerChanged", &dbus.Signal{Body: []any{name, ":1.1", ""}})
	require.True(t, c.another())
}

func TestNumbers(t *testing.T) {
	u := &Unit{properties: map[string]any{"a": uint64(5), "b": uint32(6), "none": ^uint64(0), "text": "x", "yes": true}}
	for property, want := range map[string]float64{"a": 5, "b": 6} {
		got, ok := u.Limited(property)
		require.True(t, ok)
		require.Equal(t, want, got)
	}
	for _, property := range []string{"none", "text", "missing"} {
		_, ok := u.Limited(property)
		require.False(t, ok, property)
	}
	require.True(t, u.Is("yes"))
	require.False(t, u.Is("missing"))
}

func TestFilter(t *testing.T) {
	wanted, err := Filter("collector.unit-", "ssh.*|nginx.service", ".+@.+")
	require.NoError(t, err)
	require.True(t, wanted("sshd.service"))
	require.False(t, wanted("sshd@1.service"))
	require.False(t, wanted("my-nginx.service"))
	_, err = Filter("collector.unit-", "(", "")
	require.ErrorContains(t, err, "--collector.unit-include")
	_, err = Filter("collector.unit-", "", "(")
	require.ErrorContains(t, err, "--collector.unit-exclude")
}
