package server_test

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

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

// With --config.auto-reload, a change of --ping.file needs no signal.
func TestAChangedPingFileIsReloaded(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "pings.yml")
	write := func(name string) {
		require.NoError(t, os.WriteFile(file, []byte("pings: {"+name+": {token: 0123456789abcdef0123456789abcdef}}"), 0o600))
	}
	write("photos")
	s := servertest.Start(t, "global: {scrape_interval: 1m}\n", func(o *server.Options) {
		o.PingFile, o.AutoReload, o.AutoReloadInterval = file, true, 100*time.Millisecond
	})
	write("music")
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		_, text := s.Get("/api/clanmon/v1/jobs")
		assert.Contains(c, text, "music")
	}, waitFor, tick)
}
