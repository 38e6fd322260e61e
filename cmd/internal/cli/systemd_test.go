package cli

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/common/promslog"
	"github.com/stretchr/testify/require"
)

// A server that hangs must not be called alive, or systemd never restarts it.
func TestWatchdogIsPattedOnlyByAServerThatAnswers(t *testing.T) {
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "notify"), Net: "unixgram"})
	require.NoError(t, err)
	defer socket.Close()
	t.Setenv("NOTIFY_SOCKET", socket.LocalAddr().String())
	t.Setenv("WATCHDOG_USEC", "60000")
	t.Setenv("WATCHDOG_PID", "")
	var hangs atomic.Bool
	var asked atomic.Int32
	hangs.Store(true)
	NewServiceManager(t.Context(), promslog.NewNopLogger()).Watchdog(func(ctx context.Context) error {
		asked.Add(1)
		if hangs.Load() {
			<-ctx.Done()
			return errors.New("no response")
		}
		return nil
	})
	require.Eventually(t, func() bool { return asked.Load() >= 3 }, time.Minute, time.Millisecond)
	message := make([]byte, 100)
	require.NoError(t, socket.SetReadDeadline(time.Now()))
	_, err = socket.Read(message)
	require.ErrorIs(t, err, os.ErrDeadlineExceeded, "nothing was said")
	hangs.Store(false)
	require.NoError(t, socket.SetReadDeadline(time.Now().Add(time.Minute)))
	n, err := socket.Read(message)
	require.NoError(t, err)
	require.Equal(t, "WATCHDOG=1", string(message[:n]))
}
