//go:build long

package e2e

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/e2e/harness"
)

// keepFull takes what becomes free, each second, until the test ends.
func (d disk) keepFull() {
	d.fill()
	stop, done := make(chan struct{}), make(chan struct{})
	d.t.Cleanup(func() { close(stop); <-done })
	go func() {
		defer close(done)
		page := make([]byte, 4096)
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Second):
			}
			f, err := os.OpenFile(filepath.Join(d.dir, "fill"), os.O_WRONLY|os.O_APPEND, 0)
			for err == nil {
				_, err = f.Write(page)
			}
			f.Close()
		}
	}()
}

// A machine dies while the disk of the server is full and stays so: somebody is told of
// both, and no heartbeat says that all is well.
func TestBlindServerTells(t *testing.T) {
	t.Parallel()
	d := newDisk(t, "14m")
	var beats atomic.Int64
	beat := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { beats.Add(1) }))
	defer beat.Close()
	hook := localHook(t)
	names := func() (told []string) {
		hook.mu.Lock()
		defer hook.mu.Unlock()
		for _, n := range hook.got {
			for _, a := range n.Alerts {
				if a.Status == "firing" {
					told = append(told, a.Labels["alertname"]+" "+a.Labels["machine"])
				}
			}
		}
		return told
	}
	exporter := harness.StartExporter(t)
	s := harness.StartServer(t, harness.ServerOptions{Data: filepath.Join(d.dir, "data"), Args: []string{
		"--discovery.static", "node=m1@" + exporter.Node,
		"--notify", "webhook+" + hook.URL, "--notify.heartbeat-url", beat.URL,
	}})
	s.WaitValue(`up{machine="m1"}`, 1)
	harness.Eventually(t, 3*time.Minute, func() error {
		if beats.Load() == 0 {
			return fmt.Errorf("no heartbeat yet")
		}
		return nil
	})
	d.keepFull()
	exporter.Kill()
	harness.Eventually(t, 6*time.Minute, func() error {
		if got := names(); !slices.Contains(got, "StorageBlind ") || !slices.Contains(got, "MachineDown m1") {
			return fmt.Errorf("told %q", got)
		}
		return nil
	})
	before := beats.Load()
	time.Sleep(2 * time.Minute) // two heartbeats would be due
	require.Equal(t, before, beats.Load())
	require.False(t, s.Exited(), "%s", s.Log())
}
