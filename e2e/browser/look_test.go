package browser

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clanmon/clanmon/e2e/harness"
)

// A unit of a machine with a real systemd fails, and whoever sees the alert reads why.
func TestLook(t *testing.T) {
	t.Parallel()
	b := harness.NewLookBox(t, "")
	crash := func() {
		_, err := b.Try("systemctl", "start", "t-crash.service")
		require.Error(t, err)
	}
	crash()
	s := b.Server("--rules.builtin=on", "--rules.set=UnitFailed.for=0s", "--rules.set=MachineNew.seconds=0",
		// They count in the kernel, which the box shares with other tests.
		"--rules.disable=OomKill", "--rules.disable=KernelHungTask")
	again := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { crash() }))
	t.Cleanup(again.Close)
	harness.Eventually(t, 4*harness.Patience, func() error {
		if a := s.Get("/api/v2/alerts"); !strings.Contains(a.Body, "UnitFailed") {
			return fmt.Errorf("no UnitFailed in %s", a.Body)
		}
		return nil
	})
	play(t, s.URL, "look", options{"user": harness.LookOperator, "viewer": harness.LookViewer, "password": harness.LookPassword, "crash": again.URL})
}
