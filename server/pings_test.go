package server_test

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/common/promslog"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/server"
	"github.com/clanmon/clanmon/server/servertest"
)

// With a configuration file alone clanmon adds nothing of its own; with jobs that report to
// it, it says when they fail.
func TestPingsSwitchOnTheBuiltInRules(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "pings.yml")
	require.NoError(t, os.WriteFile(file, []byte("pings: {photos: {token: 0123456789abcdef0123456789abcdef}}"), 0o600))
	for _, pings := range []string{"", file} {
		s := servertest.Start(t, "global: {scrape_interval: 1m}\n", func(o *server.Options) { o.PingFile = pings })
		code, text := s.Get("/api/v1/rules")
		require.Equal(t, http.StatusOK, code)
		if pings == "" {
			require.NotContains(t, text, "JobFailed")
		} else {
			require.Contains(t, text, "JobFailed")
		}
	}
}

// With --config.auto-reload, a change of --ping.file needs no signal, not even one that comes
// between the first reading and the first look for changes.
func TestAChangedPingFileIsReloaded(t *testing.T) {
	t.Parallel()
	for name, early := range map[string]bool{"once ready": false, "while it starts": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "pings.yml")
			write := func(name string) {
				assert.NoError(t, os.WriteFile(file, []byte("pings: {"+name+": {token: 0123456789abcdef0123456789abcdef}}"), 0o600))
			}
			write("photos")
			var change sync.Once
			s := servertest.Start(t, "global: {scrape_interval: 1m}\n", func(o *server.Options) {
				o.PingFile, o.AutoReload, o.AutoReloadInterval = file, true, 100*time.Millisecond
				if early {
					o.Logger = promslog.New(&promslog.Config{Writer: writerFunc(func(line []byte) {
						if bytes.Contains(line, []byte("Completed loading of configuration file")) {
							change.Do(func() { write("music") })
						}
					})})
				}
			})
			change.Do(func() { write("music") })
			require.EventuallyWithT(t, func(c *assert.CollectT) {
				_, text := s.Get("/api/clanmon/v1/jobs")
				assert.Contains(c, text, "music")
			}, waitFor, tick)
		})
	}
}

// writerFunc is called with each line of a log.
type writerFunc func([]byte)

func (f writerFunc) Write(line []byte) (int, error) {
	f(line)
	return len(line), nil
}
